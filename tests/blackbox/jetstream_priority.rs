//! Section 16 of JetStream: consumers whose requests do not all have the same right.

use crate::support::client::{Client, Message};
use crate::support::jetstream::{JetStream, texts};
use serde_json::{Value, json};

/// A stream `A` of `a` with `m1`, `m2`, ..., and a consumer `c` of it with this policy.
fn filled(count: u64, policy: &str, fields: Value) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({}));
    for at in 1..=count {
        assert_eq!(jetstream.publish("a", &format!("m{at}")), at);
    }
    let mut config = fields;
    config["ack_policy"] = json!("explicit");
    config["priority_policy"] = json!(policy);
    config["priority_groups"] = json!(["g"]);
    jetstream.consumer("A", "c", config);
    jetstream
}

/// Somebody else who asks.
struct Asker(Client, String);

impl Asker {
    fn of(jetstream: &JetStream) -> Self {
        let mut client = jetstream.server.client();
        let inbox = format!("inbox.{}", client.info["client_id"]);
        client.quietly(format!("SUB {inbox} 1\r\n"));
        Self(client, inbox)
    }

    fn ask(&mut self, body: &Value) {
        let body = body.to_string();
        let len = body.len();
        let Self(client, inbox) = self;
        let subject = "$JS.API.CONSUMER.MSG.NEXT.A.c";
        client.send(format!("PUB {subject} {inbox} {len}\r\n{body}\r\n"));
    }

    fn message(&mut self) -> Message {
        self.0.message()
    }
}

#[test]
fn js_220_overflow_is_for_when_much_waits() {
    let mut jetstream = filled(3, "overflow", json!({}));
    let body = json!({"batch": 1, "group": "g", "min_pending": 4, "expires": 200_000_000});
    assert_eq!(
        texts(&jetstream.pull("A", "c", &body, 1)),
        ["408 Request Timeout"]
    );
    jetstream.publish("a", "m4");
    assert_eq!(texts(&jetstream.pull("A", "c", &body, 1)), ["m1"]);
    let body = json!({"batch": 1, "group": "g", "min_ack_pending": 2, "expires": 200_000_000});
    assert_eq!(
        texts(&jetstream.pull("A", "c", &body, 1)),
        ["408 Request Timeout"]
    );
    let got = jetstream.pull("A", "c", json!({"batch": 1, "group": "g"}), 1);
    assert_eq!(texts(&got), ["m2"]);
    assert_eq!(texts(&jetstream.pull("A", "c", &body, 1)), ["m3"]);
    // Either is enough.
    let body = json!({"batch": 1, "group": "g", "min_pending": 99, "min_ack_pending": 1});
    assert_eq!(texts(&jetstream.pull("A", "c", &body, 1)), ["m4"]);
}

/// JS-220..223: what does not go with the policy is refused.
#[test]
fn js_223_requests_must_fit_the_policy() {
    for (policy, body, expected) in [
        (
            "overflow",
            json!({}),
            "400 Bad Request - Priority Group missing",
        ),
        (
            "overflow",
            json!({"group": "x"}),
            "400 Bad Request - Invalid Priority Group",
        ),
        (
            "overflow",
            json!({"group": "g", "id": "x"}),
            "400 Bad Request - Not a Pinned Client Priority consumer",
        ),
        (
            "pinned_client",
            json!({"group": "g", "min_pending": 1}),
            "400 Bad Request - Not a Overflow Priority consumer",
        ),
        (
            "prioritized",
            json!({"group": "g", "priority": 10}),
            "400 Bad Request - Priority must be between 0 and 9",
        ),
    ] {
        let mut jetstream = filled(1, policy, json!({}));
        let got = jetstream.pull("A", "c", &body, 1);
        assert_eq!(texts(&got), [expected], "{policy} {body}");
    }
}

#[test]
fn js_221_one_client_is_pinned_and_others_stand_by() {
    let mut jetstream = filled(
        2,
        "pinned_client",
        json!({"priority_timeout": 3_000_000_000_u64}),
    );
    let mut events = jetstream.server.client();
    events.quietly("SUB $JS.EVENT.ADVISORY.CONSUMER.*.A.c 1\r\n");
    let got = jetstream.pull("A", "c", json!({"batch": 1, "group": "g"}), 1);
    let id = got[0].header("Nats-Pin-Id").to_owned();
    assert_eq!((got[0].text(), id.is_empty()), ("m1", false));
    let event = events.message();
    assert_eq!(event.subject, "$JS.EVENT.ADVISORY.CONSUMER.PINNED.A.c");
    let event: Value = serde_json::from_str(event.text()).expect("JSON");
    assert_eq!(
        (&event["group"], &event["pinned_id"]),
        (&json!("g"), &json!(id))
    );
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["priority_groups"][0]["pinned_client_id"], json!(id));

    let wrong = json!({"batch": 1, "group": "g", "id": "wrong"});
    let got = jetstream.pull("A", "c", wrong, 1);
    assert_eq!(texts(&got), ["423 Nats-Pin-Id mismatch"]);
    let mut other = Asker::of(&jetstream);
    other.ask(&json!({"batch": 1, "group": "g"}));
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    let got = jetstream.pull("A", "c", json!({"batch": 1, "group": "g", "id": id}), 1);
    assert_eq!((got[0].text(), got[0].header("Nats-Pin-Id")), ("m2", &*id));
    // The pinned client is silent for too long: the next one takes its place.
    jetstream.publish("a", "m3");
    let got = other.message();
    let next = got.header("Nats-Pin-Id");
    assert_eq!(got.text(), "m3");
    assert!(!next.is_empty() && next != id, "{next}");
    let event = events.message();
    assert_eq!(event.subject, "$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.A.c");
    let event: Value = serde_json::from_str(event.text()).expect("JSON");
    assert_eq!(event["reason"], "timeout");
}

/// JS-42.
#[test]
fn js_042_a_client_can_be_unpinned() {
    let mut jetstream = filled(2, "pinned_client", json!({}));
    let got = jetstream.pull("A", "c", json!({"batch": 1, "group": "g"}), 1);
    let id = got[0].header("Nats-Pin-Id").to_owned();
    jetstream.done("CONSUMER.UNPIN.A.c", r#"{"group":"g"}"#);
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["priority_groups"][0].get("pinned_client_id"), None);
    let mut other = Asker::of(&jetstream);
    other.ask(&json!({"batch": 1, "group": "g"}));
    let got = other.message();
    assert_eq!(got.text(), "m2");
    assert!(!got.header("Nats-Pin-Id").is_empty());
    assert_ne!(got.header("Nats-Pin-Id"), id);
    let got = jetstream.pull("A", "c", json!({"batch": 1, "group": "g", "id": id}), 1);
    assert_eq!(texts(&got), ["423 Nats-Pin-Id mismatch"]);
}

#[test]
fn js_222_lower_priorities_are_served_first() {
    let mut jetstream = filled(0, "prioritized", json!({}));
    let mut askers = Vec::new();
    for (waiting, priority) in (1..).zip([5, 1, 5, 0]) {
        let mut asker = Asker::of(&jetstream);
        asker.ask(&json!({"batch": 1, "group": "g", "priority": priority}));
        jetstream.until("A", "c", |info| info["num_waiting"] == waiting);
        askers.push(asker);
    }
    for at in 1..=4 {
        jetstream.publish("a", &format!("m{at}"));
    }
    let got: Vec<String> = askers
        .iter_mut()
        .map(|it| it.message().text().to_owned())
        .collect();
    assert_eq!(got, ["m3", "m2", "m4", "m1"]);
}
