//! Section 18 of JetStream: what is told of streams and consumers, whole.

use crate::support::client::Client;
use crate::support::jetstream::JetStream;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Who listens, and what has come that nobody asked for yet.
struct Listener {
    client: Client,
    early: BTreeMap<String, Vec<Value>>,
}

impl Listener {
    fn of(jetstream: &JetStream) -> Self {
        let mut client = jetstream.server.client();
        client.quietly("SUB $JS.EVENT.> 1\r\n");
        Self {
            client,
            early: BTreeMap::new(),
        }
    }

    /// The next event on this subject below `$JS.EVENT`: without what all have, which is looked at
    /// (JS-231).
    #[track_caller]
    fn next(&mut self, subject: &str) -> Value {
        let subject = format!("$JS.EVENT.{subject}");
        loop {
            if let Some(event) = self.early.get_mut(&subject).and_then(Vec::pop) {
                return event;
            }
            let message = self.client.message();
            let mut event: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let object = event.as_object_mut().expect("an object");
            let id = object.remove("id").expect("an id");
            let id = id.as_str().expect("text");
            assert_eq!(id.len(), 22, "{id}");
            let time = object.remove("timestamp").expect("a time");
            assert!(time.as_str().expect("text").ends_with('Z'), "{time}");
            self.early
                .entry(message.subject)
                .or_default()
                .insert(0, event);
        }
    }

    /// The next event on this subject has this type and nothing but this content.
    #[track_caller]
    fn hears(&mut self, subject: &str, kind: &str, content: Value) {
        let mut expected = content;
        expected["type"] = json!(format!("io.nats.jetstream.{kind}"));
        assert_eq!(self.next(subject), expected, "{subject}");
    }
}

#[test]
fn js_231_js_232_streams_come_change_and_go() {
    let mut jetstream = JetStream::start();
    let mut listener = Listener::of(&jetstream);
    let mut config = json!({"name": "S", "subjects": ["s.>"]});
    jetstream.done("STREAM.CREATE.S", &config);
    let action = |action: &str| json!({"stream": "S", "action": action});
    let kind = "advisory.v1.stream_action";
    listener.hears("ADVISORY.STREAM.CREATED.S", kind, action("create"));
    config["max_msgs"] = json!(10);
    jetstream.done("STREAM.UPDATE.S", &config);
    listener.hears("ADVISORY.STREAM.UPDATED.S", kind, action("modify"));
    jetstream.done("STREAM.DELETE.S", "");
    listener.hears("ADVISORY.STREAM.DELETED.S", kind, action("delete"));
}

#[test]
fn js_233_js_234_js_235_js_243_consumers_and_their_messages() {
    let mut jetstream = JetStream::start();
    let mut listener = Listener::of(&jetstream);
    jetstream.stream("S", &["s.>"], json!({}));
    for text in ["m1", "m2", "m3"] {
        jetstream.publish("s.1", text);
    }
    let config = json!({
        "ack_policy": "explicit", "max_deliver": 2, "ack_wait": 300_000_000, "sample_freq": "100",
    });
    jetstream.consumer("S", "c", config);
    let action = |action: &str| json!({"stream": "S", "consumer": "c", "action": action});
    let kind = "advisory.v1.consumer_action";
    listener.hears("ADVISORY.CONSUMER.CREATED.S.c", kind, action("create"));
    let message = |consumer: u64, stream: u64, deliveries: u64| {
        json!({"stream": "S", "consumer": "c", "consumer_seq": consumer, "stream_seq": stream,
            "deliveries": deliveries})
    };

    let got = jetstream.pull("S", "c", json!({"batch": 2}), 2);
    jetstream.ack(&got[0], "+ACK");
    let subject = "METRIC.CONSUMER.ACK.S.c";
    let mut event = listener.next(subject);
    let object = event.as_object_mut().expect("an object");
    let took = object.remove("ack_time").and_then(|it| it.as_u64());
    assert!(took > Some(0), "{took:?}");
    let mut expected = message(1, 1, 1);
    expected["type"] = json!("io.nats.jetstream.metric.v1.consumer_ack");
    assert_eq!(event, expected);

    jetstream.ack(&got[1], "-NAK");
    let subject = "ADVISORY.CONSUMER.MSG_NAKED.S.c";
    listener.hears(subject, "advisory.v1.nak", message(2, 2, 1));
    let got = jetstream.pull("S", "c", "", 1);
    jetstream.ack(&got[0], "+TERM of <no> use");
    let mut expected = message(3, 2, 2);
    expected["reason"] = json!("of <no> use");
    let subject = "ADVISORY.CONSUMER.MSG_TERMINATED.S.c";
    listener.hears(subject, "advisory.v1.terminated", expected);

    let body = json!({"batch": 3, "expires": 1_500_000_000});
    let got = jetstream.pull("S", "c", body, 3);
    assert_eq!((got[0].text(), got[1].text()), ("m3", "m3"));
    let expected = json!({"stream": "S", "consumer": "c", "stream_seq": 3, "deliveries": 2});
    let subject = "ADVISORY.CONSUMER.MAX_DELIVERIES.S.c";
    listener.hears(subject, "advisory.v1.max_deliver", expected);

    jetstream.done("CONSUMER.DELETE.S.c", "");
    listener.hears("ADVISORY.CONSUMER.DELETED.S.c", kind, action("delete"));
}

#[test]
fn js_236_pauses() {
    let mut jetstream = JetStream::start();
    let mut listener = Listener::of(&jetstream);
    jetstream.stream("S", &["s.>"], json!({}));
    jetstream.consumer("S", "c", json!({"ack_policy": "explicit"}));
    let (subject, kind) = ("ADVISORY.CONSUMER.PAUSE.S.c", "advisory.v1.consumer_pause");
    let mut pause = |paused: bool, body: &str, until: &str| {
        jetstream.done("CONSUMER.PAUSE.S.c", body);
        let expected = json!({
            "stream": "S", "consumer": "c", "paused": paused, "pause_until": until,
        });
        listener.hears(subject, kind, expected);
    };
    let until = "2500-01-01T00:00:00Z";
    pause(true, &json!({"pause_until": until}).to_string(), until);
    pause(false, "", "0001-01-01T00:00:00Z");
    // One that begins with a pause says so, too.
    let config = json!({"ack_policy": "explicit", "pause_until": until});
    jetstream.consumer("S", "d", config);
    let expected = json!({
        "stream": "S", "consumer": "d", "paused": true, "pause_until": until,
    });
    listener.hears("ADVISORY.CONSUMER.PAUSE.S.d", kind, expected);
}

#[test]
fn js_237_pins() {
    let mut jetstream = JetStream::start();
    let mut listener = Listener::of(&jetstream);
    jetstream.stream("S", &["s.>"], json!({}));
    jetstream.publish("s.1", "m1");
    let config = json!({
        "ack_policy": "explicit", "priority_policy": "pinned_client", "priority_groups": ["g"],
    });
    jetstream.consumer("S", "c", config);
    let got = jetstream.pull("S", "c", json!({"batch": 1, "group": "g"}), 1);
    let of_group = |name: &str, value: &str| {
        let mut event = json!({"account": "$G", "stream": "S", "consumer": "c", "group": "g"});
        event[name] = json!(value);
        event
    };
    listener.hears(
        "ADVISORY.CONSUMER.PINNED.S.c",
        "advisory.v1.consumer_group_pinned",
        of_group("pinned_id", got[0].header("Nats-Pin-Id")),
    );
    jetstream.done("CONSUMER.UNPIN.S.c", r#"{"group":"g"}"#);
    listener.hears(
        "ADVISORY.CONSUMER.UNPINNED.S.c",
        "advisory.v1.consumer_group_unpinned",
        of_group("reason", "admin"),
    );
}

/// JS-231, JS-257: a domain is named in all of them, and nothing is sent to nobody.
#[test]
fn js_257_events_name_the_domain() {
    let config = "jetstream { store_dir: \"@DIR@/store\", domain: hub }\n";
    let mut jetstream = JetStream::with_config(config, "{}");
    let mut listener = Listener::of(&jetstream);
    jetstream.stream("S", &["s.>"], json!({}));
    jetstream.consumer("S", "c", json!({"ack_policy": "explicit"}));
    jetstream.publish("s.1", "m1");
    let got = jetstream.pull("S", "c", "", 1);
    jetstream.ack(&got[0], "-NAK");
    for subject in [
        "ADVISORY.STREAM.CREATED.S",
        "ADVISORY.CONSUMER.CREATED.S.c",
        "ADVISORY.CONSUMER.MSG_NAKED.S.c",
        "ADVISORY.API",
    ] {
        assert_eq!(listener.next(subject)["domain"], "hub", "{subject}");
    }
}
