//! Section 4 of JetStream: what becomes of a message that is published to a stream.

use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

fn error(answer: &Value) -> (u64, u64, &str) {
    let error = &answer["error"];
    let number = |part: &str| error[part].as_u64().unwrap_or(0);
    let text = error["description"].as_str().unwrap_or_default();
    (number("code"), number("err_code"), text)
}

fn state(jetstream: &mut JetStream, stream: &str) -> (u64, u64, u64) {
    let info = jetstream.done(&format!("STREAM.INFO.{stream}"), "");
    let number = |part: &str| info["state"][part].as_u64().expect("a number");
    (number("messages"), number("first_seq"), number("last_seq"))
}

/// JS-14: payloads and headers of stored messages are base64, times in UTC.
#[test]
fn js_014_js_085_js_086_js_087_acknowledgements() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({"max_msg_size": 30}));
    let ack = jetstream.request("a.1", "X: y", "hello");
    assert_eq!(ack.text(), r#"{"stream":"A","seq":1}"#);
    let refused = jetstream.request("a.1", "", "hello, hello, hello, hello, hello");
    let expected = r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"A","seq":0}"#;
    assert_eq!(refused.text(), expected);
    let nobody = jetstream.request("b", "", "hello");
    assert_eq!(nobody.status(), Some("503"));
    assert_eq!(nobody.header("Nats-Subject"), "b");
    let got = jetstream.done("STREAM.MSG.GET.A", json!({"seq": 1}));
    let message = &got["message"];
    assert_eq!(
        (&message["data"], &message["subject"]),
        (&json!("aGVsbG8="), &json!("a.1"))
    );
    assert_eq!(message["hdrs"], "TkFUUy8xLjANClg6IHkNCg0K");
    // Nobody waits for an acknowledgement of this one.
    jetstream.client.quietly("PUB a.1 1\r\nx\r\n");
    assert_eq!(jetstream.publish("a.1", "y"), 3);
}

#[test]
fn js_088_messages_with_the_same_id_are_stored_once() {
    let mut jetstream = JetStream::start();
    jetstream.stream(
        "A",
        &["a.>"],
        json!({"duplicate_window": 3_000_000_000_u64}),
    );
    let id = "Nats-Msg-Id: i1";
    for (subject, headers, seq, duplicate) in [
        ("a.1", id, 1, false),
        ("a.1", id, 1, true),
        ("a.2", id, 1, true),
        ("a.1", "Nats-Msg-Id: i2", 2, false),
        ("a.1", "", 3, false),
    ] {
        let ack = jetstream.store(subject, headers, "x");
        assert_eq!(ack["seq"], seq, "{headers}");
        assert_eq!(ack.get("duplicate").is_some(), duplicate, "{headers}");
    }
    let raw = jetstream.request("a.1", id, "x");
    assert_eq!(raw.text(), r#"{"stream":"A","seq":1,"duplicate": true}"#);
    let ack = crate::support::wait_until("the end of the window", || {
        let ack = jetstream.store("a.1", id, "x");
        ack.get("duplicate").is_none().then_some(ack)
    });
    assert_eq!(ack["seq"], 4);
}

#[test]
fn js_089_js_090_js_091_js_093_js_099_what_a_publisher_expects() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({}));
    jetstream.publish("a.1", "m1");
    jetstream.store("a.2", "Nats-Msg-Id: i2", "m2");
    let wrong_last = |last: u64| (400, 10071, format!("wrong last sequence: {last}"));
    let ok = (0, 0, String::new());
    let by_subject = "Nats-Expected-Last-Subject-Sequence";
    for (headers, expected) in [
        (
            "Nats-Expected-Stream: B".to_owned(),
            (400, 10060, "expected stream does not match".into()),
        ),
        ("Nats-Expected-Last-Sequence: 1".into(), wrong_last(2)),
        ("Nats-Expected-Last-Sequence: 0".into(), wrong_last(2)),
        (format!("{by_subject}: 2"), wrong_last(1)),
        (format!("{by_subject}: 0"), wrong_last(1)),
        (
            format!("{by_subject}: 1\r\n{by_subject}-Subject: a.2"),
            wrong_last(2),
        ),
        (
            format!("{by_subject}: 1\r\n{by_subject}-Subject: a.3"),
            wrong_last(0),
        ),
        (
            format!("{by_subject}-Subject: a.2"),
            (
                400,
                10193,
                "missing sequence for expected last sequence per subject".into(),
            ),
        ),
        (
            "Nats-Expected-Last-Msg-Id: i1".into(),
            (400, 10070, "wrong last msg ID: i2".into()),
        ),
        (
            "Nats-Stream-Source: B 1 > > b".into(),
            (400, 10227, "message source header not allowed".into()),
        ),
        ("Nats-Expected-Last-Msg-Id: i2".into(), ok.clone()),
        (
            "Nats-Expected-Stream: A\r\nNats-Expected-Last-Sequence: 3".into(),
            ok.clone(),
        ),
        (format!("{by_subject}: 4"), ok.clone()),
        (
            format!("{by_subject}: 2\r\n{by_subject}-Subject: a.2"),
            ok.clone(),
        ),
        (
            format!("{by_subject}: 0\r\n{by_subject}-Subject: a.9"),
            ok.clone(),
        ),
    ] {
        let answer = jetstream.store("a.1", &headers, "x");
        let (code, number, text) = error(&answer);
        let (want_code, want_number, want_text) = &expected;
        assert_eq!(
            (code, number),
            (*want_code, *want_number),
            "{headers}: {answer}"
        );
        if number != 10193 && number != 10227 {
            assert_eq!(text, want_text, "{headers}");
        }
    }
    let first = jetstream.store("a.new", &format!("{by_subject}: 0"), "x");
    assert_eq!(first["seq"], 8);
}

#[test]
fn js_094_a_message_may_stand_for_those_before() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({"allow_rollup_hdrs": true}));
    jetstream.stream("B", &["b.>"], json!({}));
    for subject in ["a.1", "a.2", "a.1"] {
        jetstream.publish(subject, "x");
    }
    assert_eq!(jetstream.store("a.1", "Nats-Rollup: sub", "x")["seq"], 4);
    assert_eq!(state(&mut jetstream, "A"), (2, 2, 4));
    assert_eq!(jetstream.store("a.3", "Nats-Rollup: all", "x")["seq"], 5);
    assert_eq!(state(&mut jetstream, "A"), (1, 5, 5));
    for (subject, headers, expected) in [
        ("a.1", "Nats-Rollup: none", "rollup value invalid: \"none\""),
        ("b.1", "Nats-Rollup: all", "rollup not permitted"),
    ] {
        let answer = jetstream.store(subject, headers, "x");
        assert_eq!(error(&answer), (500, 10111, expected));
    }
}

#[test]
fn js_095_js_096_js_097_what_is_too_much() {
    let mut jetstream = JetStream::start();
    jetstream.stream("H", &["h"], json!({}));
    let headers = format!("K: {}", "v".repeat(66_000));
    let answer = jetstream.store("h", &headers, "x");
    assert_eq!(error(&answer).1, 10097);

    let new = |more: Value| {
        let mut fields = json!({"discard": "new"});
        for (key, value) in more.as_object().expect("fields") {
            fields[key] = value.clone();
        }
        fields
    };
    let full = |what: &str| (503, 10077, format!("maximum {what} exceeded"));
    for (name, fields, expected, after) in [
        (
            "N1",
            new(json!({"max_msgs": 2})),
            Some(full("messages")),
            (2, 1, 2),
        ),
        (
            "N2",
            new(json!({"max_bytes": 80})),
            Some(full("bytes")),
            (2, 1, 2),
        ),
        (
            "N3",
            new(json!({"max_msgs": 9, "max_msgs_per_subject": 1, "discard_new_per_subject": true})),
            Some(full("messages per subject")),
            (2, 1, 2),
        ),
        (
            "N4",
            new(json!({"max_msgs": 9, "max_msgs_per_subject": 1})),
            None,
            (2, 2, 3),
        ),
        ("O1", json!({"max_msgs": 2}), None, (2, 2, 3)),
        ("O2", json!({"max_bytes": 80}), None, (2, 2, 3)),
        ("O3", json!({"max_msgs_per_subject": 1}), None, (2, 2, 3)),
    ] {
        for storage in ["file", "memory"] {
            let mut fields = fields.clone();
            fields["storage"] = json!(storage);
            // The record around a message is smaller in memory.
            if storage == "memory" && fields.get("max_bytes").is_some() {
                fields["max_bytes"] = json!(55);
            }
            jetstream.stream(name, &[&format!("{name}.>")], fields);
            for at in [1, 2] {
                jetstream.publish(&format!("{name}.{at}"), "x");
            }
            let answer = jetstream.store(&format!("{name}.1"), "", "x");
            let (code, number, text) = error(&answer);
            let expected = expected.clone().unwrap_or((0, 0, String::new()));
            assert_eq!(
                (code, number, text),
                (expected.0, expected.1, &*expected.2),
                "{name}"
            );
            assert_eq!(state(&mut jetstream, name), after, "{name} {storage}");
            jetstream.done(&format!("STREAM.DELETE.{name}"), "");
        }
    }
}

#[test]
fn js_101_what_is_stored_may_be_published_again() {
    let mut jetstream = JetStream::start();
    let republish = json!({"src": "a.>", "dest": "r.>"});
    jetstream.stream("A", &["a.>"], json!({"republish": republish}));
    let republish = json!({"src": "b", "dest": "r.b", "headers_only": true});
    jetstream.stream("B", &["b"], json!({"republish": republish}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB r.> 1\r\n");
    for (subject, headers, body, last, seq) in [
        ("a.1", "X: y", "m1", "0", "1"),
        ("a.1", "", "m2", "1", "2"),
        ("b", "X: y", "m3", "0", "1"),
    ] {
        jetstream.store(subject, headers, body);
        let got = listener.message();
        let only = subject == "b";
        assert_eq!(got.subject, format!("r.{}", if only { "b" } else { "1" }));
        assert_eq!(got.text(), if only { "" } else { body });
        assert_eq!(got.header("Nats-Stream"), if only { "B" } else { "A" });
        assert_eq!(got.header("Nats-Subject"), subject);
        assert_eq!(
            (
                got.header("Nats-Sequence"),
                got.header("Nats-Last-Sequence")
            ),
            (seq, last)
        );
        assert!(got.header("Nats-Time-Stamp").ends_with('Z'));
        assert_eq!(got.header("Nats-Msg-Size"), if only { "2" } else { "" });
        assert_eq!(got.header("X"), if headers.is_empty() { "" } else { "y" });
    }
}

#[test]
fn js_102_subjects_are_changed_before_anything_else() {
    let mut jetstream = JetStream::start();
    let transform = json!({"src": "a.*", "dest": "t.{{wildcard(1)}}"});
    let fields = json!({"subject_transform": transform, "max_msgs_per_subject": 2});
    jetstream.stream("A", &["a.>", "b"], fields);
    for (subject, headers, stored) in [
        ("a.1", "", "t.1"),
        ("a.1", "Nats-Expected-Last-Subject-Sequence: 1", "t.1"),
        ("a.1.2", "", "a.1.2"),
        ("b", "", "b"),
    ] {
        let ack = jetstream.store(subject, headers, "x");
        assert_eq!(ack.get("error"), None, "{ack}");
        let got = jetstream.done("STREAM.MSG.GET.A", json!({"seq": ack["seq"]}));
        assert_eq!(got["message"]["subject"], stored);
    }
}

/// JS-138, JS-141: on a stream that has no schedules.
#[test]
fn js_138_js_141_schedules_are_not_stored_as_messages() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({}));
    let at = "Nats-Schedule: @at 2099-01-01T00:00:00Z";
    for (headers, code) in [
        (&format!("{at}\r\nNats-Schedule-Target: a.2")[..], 10188),
        (at, 10188),
        ("Nats-Schedule: never", 10188),
        ("Nats-Scheduler: a.2", 10212),
        ("Nats-Schedule-Next: purge", 10212),
        ("Nats-Schedule-Next: x\r\nNats-Scheduler: a.2", 10212),
        ("Nats-Schedule-Next: purge\r\nNats-Scheduler: a.1", 10212),
        ("Nats-Schedule-Next: purge\r\nNats-Scheduler: a.*", 10212),
        ("Nats-Schedule-Next: purge\r\nNats-Scheduler: a.2", 10188),
    ] {
        let answer = jetstream.request("a.1", headers, "x");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(error(&answer).1, code, "{headers}: {answer}");
    }
    // What names no schedule is a message.
    assert_eq!(jetstream.store("a.1", "Nats-Schedule:", "x")["seq"], 1);
}
