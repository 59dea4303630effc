//! Sections 1, 2, 14, 15 and 21 of JetStream: consumers as requests make, change, show and reset
//! them, and what holds for all requests.

use crate::support::jetstream::{JetStream, texts};
use crate::support::wait_until;
use serde_json::{Value, json};

/// A stream `A` of `a.>` with `m1` to `m6` on `a.1`, `a.2`, `a.3`, `a.1`, ...
fn filled() -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({}));
    for at in 1..=6_u64 {
        let subject = format!("a.{}", (at - 1) % 3 + 1);
        assert_eq!(jetstream.publish(&subject, &format!("m{at}")), at);
    }
    jetstream
}

fn request(config: Value) -> Value {
    json!({"stream_name": "A", "config": config})
}

/// JS-33, JS-34, JS-52, JS-173.
#[test]
fn js_033_subject_and_body_must_agree() {
    let mut jetstream = filled();
    for (endpoint, config, expected) in [
        ("CREATE.A.c", json!({"durable_name": "d"}), 10017),
        ("CREATE.A.c.a.1", json!({"filter_subject": "a.2"}), 10131),
        ("CREATE.A.c.a.1", json!({"filter_subjects": ["a.1"]}), 10137),
        ("CREATE.A", json!({"durable_name": "d"}), 10020),
        ("DURABLE.CREATE.A.c", json!({}), 10018),
        ("DURABLE.CREATE.A.c", json!({"durable_name": "d"}), 10017),
        ("CREATE.A.c/d", json!({}), 10127),
    ] {
        let endpoint = format!("CONSUMER.{endpoint}");
        let (code, number, _) = jetstream.refused(&endpoint, request(config));
        assert_eq!((code, number), (400, expected), "{endpoint}");
    }
    let body = json!({"stream_name": "B", "config": {}});
    let (_, number, _) = jetstream.refused("CONSUMER.CREATE.A.c", body);
    assert_eq!(number, 10056);
    let body = json!({"stream_name": "B", "config": {}});
    let (code, number, _) = jetstream.refused("CONSUMER.CREATE.B.c", body);
    assert_eq!((code, number), (404, 10059));

    let body = request(json!({"filter_subject": "a.1"}));
    let created = jetstream.done("CONSUMER.CREATE.A.c.a.1", body);
    assert_eq!(
        (&created["name"], &created["num_pending"]),
        (&json!("c"), &json!(2))
    );
    let body = request(json!({"durable_name": "d", "ack_policy": "explicit"}));
    let created = jetstream.done("CONSUMER.DURABLE.CREATE.A.d", body);
    assert_eq!(created["config"]["name"], "d");
    let created = jetstream.done("CONSUMER.CREATE.A", request(json!({"name": "e"})));
    assert_eq!(created["name"], "e");
    let created = jetstream.done("CONSUMER.CREATE.A", request(json!({})));
    assert_eq!(created["name"].as_str().map(str::len), Some(8));
}

#[test]
fn js_035_what_is_to_be_done_can_be_said() {
    let mut jetstream = filled();
    let mut ask = |action: &str, config: Value| {
        let body = json!({"stream_name": "A", "action": action, "config": config});
        let answer = jetstream.ask("CONSUMER.CREATE.A.c", body);
        answer["error"]["err_code"].as_u64().unwrap_or(0)
    };
    let (old, new) = (
        json!({"durable_name": "c"}),
        json!({"durable_name": "c", "description": "d"}),
    );
    assert_eq!(ask("update", old.clone()), 10149);
    assert_eq!(ask("create", old.clone()), 0);
    assert_eq!(ask("create", old.clone()), 0);
    assert_eq!(ask("create", new.clone()), 10148);
    assert_eq!(ask("update", new.clone()), 0);
    assert_eq!(ask("", old), 0);
    assert_eq!(ask("nonsense", new), 10025);
}

/// JS-174.
#[test]
fn js_174_delivery_begins_where_asked() {
    let mut jetstream = filled();
    let time = jetstream.done("STREAM.MSG.GET.A", r#"{"seq":4}"#)["message"]["time"].clone();
    for (at, (config, expected)) in [
        (json!({"deliver_policy": "all"}), ["m1", "m2"]),
        (json!({"deliver_policy": "last"}), ["m6", "404 No Messages"]),
        (
            json!({"deliver_policy": "last", "filter_subject": "a.1"}),
            ["m4", "404 No Messages"],
        ),
        (json!({"deliver_policy": "new"}), ["404 No Messages", ""]),
        (
            json!({"deliver_policy": "by_start_sequence", "opt_start_seq": 5}),
            ["m5", "m6"],
        ),
        (
            json!({"deliver_policy": "by_start_time", "opt_start_time": time}),
            ["m4", "m5"],
        ),
        (
            json!({"deliver_policy": "last_per_subject", "filter_subject": "a.*"}),
            ["m4", "m5"],
        ),
        (
            json!({"deliver_policy": "all", "filter_subjects": ["a.3", "a.2"]}),
            ["m2", "m3"],
        ),
        (
            json!({"deliver_policy": "all", "filter_subject": "a.9"}),
            ["404 No Messages", ""],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{at}");
        jetstream.consumer("A", &name, config.clone());
        let got = jetstream.pull("A", &name, json!({"batch": 2, "no_wait": true}), 2);
        let expected = expected.into_iter().filter(|it| !it.is_empty());
        assert!(texts(&got).into_iter().eq(expected), "{config}: {got:?}");
    }
    for config in [
        json!({"deliver_policy": "all", "opt_start_seq": 1}),
        json!({"deliver_policy": "by_start_sequence"}),
        json!({"deliver_policy": "by_start_time"}),
        json!({"deliver_policy": "last_per_subject"}),
    ] {
        let (_, number, _) = jetstream.no_consumer("A", "x", config.clone());
        assert_eq!(number, 10094, "{config}");
    }
}

/// JS-179, JS-176, JS-178: what may be changed takes effect at once.
#[test]
fn js_179_filters_and_limits_can_be_changed() {
    let mut jetstream = filled();
    let config = json!({"ack_policy": "explicit", "filter_subject": "a.1", "max_ack_pending": 1});
    jetstream.consumer("A", "c", config);
    let got = jetstream.pull("A", "c", json!({"batch": 1}), 1);
    assert_eq!((texts(&got), got[0].place().pending), (vec!["m1"], 1));
    let config = json!({
        "ack_policy": "explicit", "filter_subjects": ["a.1", "a.2"], "max_ack_pending": 10,
    });
    let changed = jetstream.consumer("A", "c", config);
    assert_eq!(
        (&changed["num_pending"], &changed["num_ack_pending"]),
        (&json!(3), &json!(1))
    );
    let got = jetstream.pull("A", "c", json!({"batch": 3}), 3);
    assert_eq!(texts(&got), ["m2", "m4", "m5"]);
    assert_eq!(jetstream.consumer_info("A", "c")["num_pending"], 0);
}

/// JS-192, JS-193.
#[test]
fn js_192_what_cannot_be_changed_leaves_the_consumer_as_it_is() {
    let mut jetstream = filled();
    let config = json!({"ack_policy": "explicit", "filter_subject": "a.1"});
    jetstream.consumer("A", "c", config);
    jetstream.pull("A", "c", "", 1);
    let before = jetstream.consumer_info("A", "c");
    for (config, text) in [
        (
            json!({"ack_policy": "all"}),
            "ack policy can not be updated",
        ),
        (
            json!({"ack_policy": "explicit", "deliver_policy": "new"}),
            "deliver policy can not be updated",
        ),
        (
            json!({"ack_policy": "explicit", "replay_policy": "original"}),
            "replay policy can not be updated",
        ),
        (
            json!({"ack_policy": "explicit", "max_waiting": 3}),
            "max waiting can not be updated",
        ),
        (
            json!({"ack_policy": "explicit", "deliver_subject": "d"}),
            "can not update pull consumer to push based",
        ),
    ] {
        let refused = jetstream.no_consumer("A", "c", config);
        assert_eq!((refused.1, refused.2.as_str()), (10012, text));
    }
    let mut after = jetstream.consumer_info("A", "c");
    after["ts"] = before["ts"].clone();
    assert_eq!(after, before);
}

/// JS-43, JS-209.
#[test]
fn js_209_a_consumer_can_begin_again() {
    let mut jetstream = filled();
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    let got = jetstream.pull("A", "c", json!({"batch": 4}), 4);
    jetstream.ack(&got[0], "");
    let reset = jetstream.done("CONSUMER.RESET.A.c", "");
    assert_eq!(
        reset["type"],
        "io.nats.jetstream.api.v1.consumer_reset_response"
    );
    assert_eq!(
        (&reset["reset_seq"], &reset["num_pending"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(reset["num_ack_pending"], 0);
    let got = jetstream.pull("A", "c", "", 1);
    assert_eq!((got[0].place().stream, got[0].place().consumer), (2, 1));
    let reset = jetstream.done("CONSUMER.RESET.A.c", r#"{"seq": 5}"#);
    assert_eq!(reset["reset_seq"], 5);
    assert_eq!(texts(&jetstream.pull("A", "c", "", 1)), ["m5"]);
    let config = json!({"deliver_policy": "new"});
    jetstream.consumer("A", "new", config);
    let config = json!({"deliver_policy": "by_start_sequence", "opt_start_seq": 3});
    jetstream.consumer("A", "from", config);
    for (name, body) in [("new", r#"{"seq": 1}"#), ("from", r#"{"seq": 2}"#)] {
        let (code, number, _) = jetstream.refused(&format!("CONSUMER.RESET.A.{name}"), body);
        assert_eq!((code, number), (400, 10204), "{name}");
    }
    for subject in ["CONSUMER.RESET.A.x", "CONSUMER.RESET.B.c"] {
        jetstream.silent(&format!("$JS.API.{subject}"), "");
    }
}

/// JS-185: a consumer that lives on after its requests keeps where it stood.
#[test]
fn js_194_delivered_and_acknowledged_are_told_apart() {
    let mut jetstream = filled();
    jetstream.consumer(
        "A",
        "c",
        json!({"ack_policy": "explicit", "durable_name": "c"}),
    );
    let got = jetstream.pull("A", "c", json!({"batch": 4}), 4);
    jetstream.ack(&got[0], "");
    jetstream.ack(&got[2], "");
    let info = jetstream.consumer_info("A", "c");
    for (place, consumer, stream) in [("delivered", 4, 4), ("ack_floor", 1, 1)] {
        assert_eq!(info[place]["consumer_seq"], consumer, "{place}");
        assert_eq!(info[place]["stream_seq"], stream, "{place}");
        assert!(info[place]["last_active"].is_string(), "{place}");
    }
    assert_eq!(
        (&info["num_ack_pending"], &info["num_pending"]),
        (&json!(2), &json!(2))
    );
    let listed = jetstream.done("CONSUMER.LIST.A", "");
    assert_eq!(listed["consumers"][0]["delivered"], info["delivered"]);
    // What leaves the stream is neither pending nor awaited.
    jetstream.done("STREAM.PURGE.A", "");
    let info = jetstream.until("A", "c", |info| info["num_ack_pending"] == 0);
    assert_eq!(
        (&info["num_pending"], &info["ack_floor"]["stream_seq"]),
        (&json!(0), &json!(6))
    );
}

/// JS-2: who asks is nothing a client could say, and nothing that is kept.
#[test]
fn js_002_made_up_identities_are_not_stored() {
    let mut jetstream = filled();
    let header = "Nats-Request-Info: {\"acc\":\"X\"}\r\nK: v";
    jetstream.store("a.7", header, "m7");
    let got = jetstream.done("STREAM.MSG.GET.A", r#"{"seq":7}"#);
    assert_eq!(got["message"]["hdrs"], "TkFUUy8xLjANCks6IHYNCg0K");
    let message = jetstream.request("$JS.API.STREAM.INFO.A", header, "");
    let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
    assert_eq!(answer["state"]["messages"], 7);
}

/// JS-9: requests are answered however many wait.
#[test]
fn js_009_requests_do_not_get_lost_among_many() {
    let mut jetstream = filled();
    let mut other = jetstream.server.client();
    other.quietly("SUB mine.* 1\r\n");
    let all: String = (0..2000)
        .map(|at| {
            let endpoint = ["STREAM.INFO.A", "STREAM.NAMES", "INFO", "CONSUMER.NAMES.A"][at % 4];
            format!("PUB $JS.API.{endpoint} mine.{at} 0\r\n\r\n")
        })
        .collect();
    other.send(all);
    for _ in 0..2000 {
        let message = other.message();
        let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert_eq!(answer.get("error"), None);
    }
    jetstream.done("INFO", "");
}

/// JS-45..50: what only servers in a cluster or their operators hear.
#[test]
fn js_045_operators_requests_are_nobodys_here() {
    let mut jetstream = filled();
    for endpoint in [
        "META.LEADER.STEPDOWN",
        "SERVER.REMOVE",
        "SERVER.EVACUATE",
        "META.RESCUE",
        "ACCOUNT.PURGE.A",
    ] {
        jetstream.silent(&format!("$JS.API.{endpoint}"), "{}");
    }
}

/// JS-257.
#[test]
fn js_257_a_domain_is_another_way_to_the_same() {
    let config = r#"jetstream { store_dir: "@DIR@/store", domain: hub }"#;
    let mut jetstream = JetStream::with_config(config, "{}");
    let created = jetstream.stream("A", &["a.>", "$KV.A.>"], json!({"allow_direct": true}));
    assert_eq!(created.get("domain"), None);
    let answer = jetstream.store("a.1", "", "m1");
    assert_eq!(answer["domain"], "hub");
    assert_eq!(jetstream.done("INFO", "")["domain"], "hub");
    let mut through = |subject: &str, body: &str| jetstream.request(subject, "", body);
    let info = through("$JS.hub.API.STREAM.INFO.A", "");
    let info: Value = serde_json::from_slice(&info.payload).expect("JSON");
    assert_eq!(
        (&info["domain"], &info["state"]["messages"]),
        (&json!("hub"), &json!(1))
    );
    assert_eq!(through("$JS.hub.API.DIRECT.GET.A.a.1", "").text(), "m1");
    let stored = through("$JS.hub.API.$KV.A.k", "v");
    assert!(stored.text().contains("\"seq\":2"), "{}", stored.text());
    let got = through("$JS.hub.API.DIRECT.GET.A", r#"{"seq": 2}"#);
    assert_eq!((got.text(), got.header("Nats-Subject")), ("v", "$KV.A.k"));
    jetstream.consumer("A", "c", json!({}));
    let next = "$JS.hub.API.CONSUMER.MSG.NEXT.A.c";
    let got = jetstream.request_next(next, "2", 2);
    assert_eq!(texts(&got), ["m1", "v"]);
}

/// Who asks from one shard about what another one has: all of them see the same, at once.
#[test]
fn js_010_all_clients_see_the_same() {
    let mut jetstream = filled();
    let mut clients = jetstream.server.clients();
    for (at, client) in clients.iter_mut().enumerate() {
        let name = format!("S{at}");
        jetstream.stream(&name, &[&format!("s{at}")], json!({"storage": "memory"}));
        jetstream.consumer(&name, "c", json!({"ack_policy": "explicit"}));
        client.quietly("SUB mine 1\r\n");
        client.send(format!("PUB s{at} mine 1\r\nx\r\n"));
        assert!(client.message().text().contains("\"seq\":1"));
        client.send(format!(
            "PUB $JS.API.CONSUMER.MSG.NEXT.{name}.c mine 0\r\n\r\n"
        ));
        let message = client.message();
        assert_eq!(message.text(), "x");
        client.send(format!("PUB {} mine 0\r\n\r\n", message.reply));
        assert_eq!(client.message().status(), None);
        client.send(format!("PUB $JS.API.CONSUMER.INFO.{name}.c mine 0\r\n\r\n"));
        let info: Value = serde_json::from_slice(&client.message().payload).expect("JSON");
        assert_eq!(info["ack_floor"]["stream_seq"], 1, "{info}");
    }
    wait_until("the account's figures", || {
        let info = jetstream.done("INFO", "");
        (info["streams"] == 9 && info["consumers"] == 8).then_some(())
    });
}
