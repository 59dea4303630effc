//! Sections 5 and 6 of JetStream: how long messages are kept.

use crate::support::jetstream::{JetStream, texts};
use serde_json::{Value, json};
use std::time::Duration;

fn state(jetstream: &mut JetStream) -> (u64, u64, u64) {
    let info = jetstream.done("STREAM.INFO.A", "");
    let number = |part: &str| info["state"][part].as_u64().expect("a number");
    (number("messages"), number("first_seq"), number("last_seq"))
}

#[track_caller]
fn until(jetstream: &mut JetStream, expected: (u64, u64, u64)) {
    crate::support::wait_until(&format!("{expected:?}"), || {
        (state(jetstream) == expected).then_some(())
    });
}

fn filled(fields: Value, subjects: &[&str]) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], fields);
    for (at, subject) in subjects.iter().enumerate() {
        jetstream.publish(subject, &format!("m{}", at + 1));
    }
    jetstream
}

fn explicit(filter: &str) -> Value {
    json!({"ack_policy": "explicit", "filter_subject": filter})
}

#[test]
fn js_105_consumers_remove_nothing_by_default() {
    let mut jetstream = filled(json!({}), &["a.1", "a.2"]);
    jetstream.consumer("A", "c", explicit(""));
    for message in jetstream.pull("A", "c", json!({"batch": 2}), 2) {
        jetstream.ack(&message, "");
    }
    assert_eq!(state(&mut jetstream), (2, 1, 2));
}

#[test]
fn js_106_js_107_messages_are_kept_for_those_who_want_them() {
    let mut jetstream = filled(json!({"retention": "interest"}), &["a.1"]);
    // Nobody was there: only its sequence is left.
    assert_eq!(state(&mut jetstream), (0, 2, 1));
    jetstream.store("a.1", "Nats-Msg-Id: i", "x");
    assert_eq!(
        jetstream.store("a.1", "Nats-Msg-Id: i", "x")["duplicate"],
        true
    );
    jetstream.consumer("A", "c", explicit("a.1"));
    jetstream.consumer("A", "d", explicit("a.*"));
    for subject in ["a.1", "a.2", "a.3.4", "a.1"] {
        jetstream.publish(subject, "x");
    }
    assert_eq!(state(&mut jetstream), (3, 3, 6));
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    jetstream.ack(&got[0], "");
    assert_eq!(state(&mut jetstream), (3, 3, 6));
    let all = jetstream.pull("A", "d", json!({"batch": 3}), 3);
    jetstream.ack(&all[0], "");
    until(&mut jetstream, (2, 4, 6));
    jetstream.ack(&all[2], "+TERM");
    // `c` has not acknowledged the last one.
    assert_eq!(state(&mut jetstream), (2, 4, 6));
    jetstream.done("CONSUMER.DELETE.A.c", "");
    until(&mut jetstream, (1, 4, 6));
    jetstream.consumer("A", "d", explicit("a.1"));
    until(&mut jetstream, (0, 7, 6));
}

#[test]
fn js_107_messages_that_are_given_up_stay() {
    let mut jetstream = filled(json!({"retention": "interest"}), &[]);
    let mut config = explicit("");
    (config["max_deliver"], config["ack_wait"]) = (json!(1), json!(100_000_000));
    jetstream.consumer("A", "c", config);
    jetstream.publish("a.1", "x");
    jetstream.pull("A", "c", "1", 1);
    let body = json!({"batch": 1, "expires": 400_000_000});
    let got = jetstream.pull("A", "c", body, 1);
    assert_eq!(texts(&got), ["408 Request Timeout"]);
    assert_eq!(state(&mut jetstream), (1, 1, 1));
}

#[test]
fn js_108_js_109_js_110_a_queue_of_work() {
    let mut jetstream = filled(json!({"retention": "workqueue"}), &["a.1", "a.2", "a.1"]);
    let none = json!({"ack_policy": "none"});
    let late = json!({"ack_policy": "explicit", "deliver_policy": "new"});
    let mut many = explicit("");
    many["num_replicas"] = json!(3);
    for (config, expected) in [(none, 10084), (late, 10101), (many, 10074)] {
        let (_, number, _) = jetstream.no_consumer("A", "x", config.clone());
        assert!(number == expected || number == 10134, "{config}: {number}");
    }
    jetstream.consumer("A", "c", explicit("a.1"));
    assert_eq!(jetstream.no_consumer("A", "d", explicit("")).1, 10099);
    assert_eq!(jetstream.no_consumer("A", "d", explicit("a.*")).1, 10100);
    jetstream.consumer("A", "d", explicit("a.2"));
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    jetstream.ack(&got[0], "");
    until(&mut jetstream, (2, 2, 3));
    jetstream.ack(&got[1], "+TERM");
    until(&mut jetstream, (1, 2, 3));
    // Without its consumer a message waits for another one.
    jetstream.done("CONSUMER.DELETE.A.d", "");
    assert_eq!(state(&mut jetstream), (1, 2, 3));
    jetstream.consumer("A", "e", explicit("a.2"));
    let got = jetstream.pull("A", "e", "1", 1);
    jetstream.ack(&got[0], "");
    until(&mut jetstream, (0, 4, 3));
}

#[test]
fn js_109_without_acknowledgements_what_is_sent_goes() {
    let mut jetstream = filled(json!({"retention": "interest"}), &[]);
    jetstream.consumer("A", "c", json!({"ack_policy": "none"}));
    jetstream.publish("a.1", "x");
    assert_eq!(state(&mut jetstream), (1, 1, 1));
    jetstream.pull("A", "c", "1", 1);
    until(&mut jetstream, (0, 2, 1));
}

#[test]
fn js_111_purges() {
    let subjects = ["a.1", "a.2", "a.1", "a.2", "a.1", "a.1"];
    for (body, purged, after) in [
        ("", 6, (0, 7, 6)),
        ("{}", 6, (0, 7, 6)),
        (r#"{"filter":"a.1"}"#, 4, (2, 2, 6)),
        (r#"{"filter":"a.*"}"#, 6, (0, 7, 6)),
        (r#"{"filter":"b"}"#, 0, (6, 1, 6)),
        (r#"{"seq":3}"#, 2, (4, 3, 6)),
        (r#"{"seq":1}"#, 0, (6, 1, 6)),
        (r#"{"keep":2}"#, 4, (2, 5, 6)),
        (r#"{"filter":"a.1","keep":1}"#, 3, (3, 2, 6)),
        (r#"{"filter":"a.1","seq":4}"#, 2, (4, 2, 6)),
    ] {
        for storage in ["file", "memory"] {
            let mut jetstream = filled(json!({"storage": storage}), &subjects);
            let answer = jetstream.done("STREAM.PURGE.A", body);
            assert_eq!(answer["purged"], purged, "{body}");
            assert_eq!(state(&mut jetstream), after, "{body} {storage}");
            assert_eq!(jetstream.publish("a.1", "x"), 7);
        }
    }
    let mut jetstream = filled(json!({}), &[]);
    let both = r#"{"seq":1,"keep":1}"#;
    assert_eq!(jetstream.refused("STREAM.PURGE.A", both).1, 10003);
}

#[test]
fn js_112_consumers_follow_purges() {
    let mut jetstream = filled(json!({}), &["a.1", "a.2", "a.1", "a.1"]);
    jetstream.consumer("A", "all", explicit(""));
    jetstream.consumer("A", "one", explicit("a.1"));
    jetstream.pull("A", "all", json!({"batch": 3}), 3);
    jetstream.pull("A", "one", json!({"batch": 2}), 2);
    jetstream.done("STREAM.PURGE.A", r#"{"filter":"a.1"}"#);
    let info = jetstream.consumer_info("A", "one");
    let numbers = |info: &Value| {
        let number = |it: &Value| it.as_u64().expect("a number");
        (
            number(&info["num_ack_pending"]),
            number(&info["num_pending"]),
        )
    };
    assert_eq!(numbers(&info), (0, 0), "{info}");
    let info = jetstream.until("A", "all", |info| info["num_ack_pending"] == 1);
    assert_eq!(numbers(&info), (1, 0), "{info}");
}

#[test]
fn js_113_what_a_limit_removes_is_told_of() {
    let mut jetstream = filled(json!({"max_msgs": 2}), &["a.1", "a.1"]);
    let mut listener = jetstream.server.client();
    let subject = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.A.c";
    listener.quietly(format!("SUB {subject} 1\r\n"));
    jetstream.consumer("A", "c", explicit(""));
    jetstream.pull("A", "c", json!({"batch": 2}), 2);
    for seq in [1, 2] {
        match seq {
            1 => _ = jetstream.publish("a.1", "x"),
            _ => _ = jetstream.done("STREAM.MSG.DELETE.A", json!({"seq": 2})),
        }
        let event: Value = serde_json::from_slice(&listener.message().payload).expect("JSON");
        let reason = "Unacknowledged message was deleted";
        assert_eq!(
            (&event["reason"], &event["stream_seq"]),
            (&json!(reason), &json!(seq))
        );
    }
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_ack_pending"], 0);
}

#[test]
fn js_114_interest_that_comes_later() {
    let update = json!({"name": "A", "subjects": ["a.>"], "retention": "interest"});
    // What only others could want stays where anybody is there.
    for (filter, after) in [
        (Some(""), (2, 2, 3)),
        (Some("a.1"), (2, 2, 3)),
        (None, (0, 4, 3)),
    ] {
        let mut jetstream = filled(json!({}), &["a.1", "a.2", "a.1"]);
        if let Some(filter) = filter {
            jetstream.consumer("A", "c", explicit(filter));
            let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
            jetstream.ack(&got[0], "");
        }
        jetstream.done("STREAM.UPDATE.A", &update);
        until(&mut jetstream, after);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(state(&mut jetstream), after, "{filter:?}");
    }
}

#[test]
fn js_115_js_116_messages_have_lives_of_their_own() {
    let fields = json!({"allow_msg_ttl": true, "max_age": 60_000_000_000_u64});
    let mut jetstream = filled(fields, &[]);
    for (ttl, expected) in [
        ("1s", 0),
        ("1", 0),
        ("never", 0),
        ("NEVER", 0),
        ("0", 10165),
        ("1h", 0),
        ("500ms", 10165),
        ("-1s", 10165),
        ("x", 10165),
    ] {
        let answer = jetstream.store("a.1", &format!("Nats-TTL: {ttl}"), "x");
        let number = answer["error"]["err_code"].as_u64().unwrap_or(0);
        assert_eq!(number, expected, "{ttl}: {answer}");
    }
    // Those with a second are the first to go.
    until(&mut jetstream, (3, 3, 5));

    // No life is longer than the stream's allows, but `never` stays.
    let fields = json!({"allow_msg_ttl": true, "max_age": 1_000_000_000});
    let mut short = filled(fields, &[]);
    for ttl in ["1h", "never", "1h"] {
        let answer = short.store("a.1", &format!("Nats-TTL: {ttl}"), "x");
        assert_eq!(answer.get("error"), None, "{ttl}: {answer}");
    }
    until(&mut short, (1, 2, 3));

    let mut plain = filled(json!({}), &[]);
    let answer = plain.store("a.1", "Nats-TTL: 1s", "x");
    assert_eq!(answer["error"]["err_code"], 10166);
}

#[test]
fn js_117_js_118_js_119_markers_tell_what_has_gone() {
    let fields = json!({
        "allow_msg_ttl": true, "allow_rollup_hdrs": true,
        "subject_delete_marker_ttl": 3_000_000_000_u64,
    });
    let mut jetstream = filled(fields, &[]);
    jetstream.store("a.1", "Nats-TTL: 3s", "x");
    jetstream.store("a.2", "Nats-TTL: 3s\r\nKV-Operation: PURGE", "x");
    jetstream.publish("a.3", "x");
    let get = |jetstream: &mut JetStream, subject: &str| {
        jetstream.ask("STREAM.MSG.GET.A", json!({"last_by_subj": subject}))
    };
    let marker = crate::support::wait_until("a marker", || {
        let found = get(&mut jetstream, "a.1");
        (found["message"]["seq"] == 4).then_some(found)
    });
    assert_eq!(marker["message"].get("data"), None, "{marker}");
    let headers = marker["message"]["hdrs"].as_str().expect("headers");
    let headers = data_encoding::BASE64
        .decode(headers.as_bytes())
        .expect("base64");
    let headers = String::from_utf8(headers).expect("text");
    for line in [
        "Nats-Marker-Reason: MaxAge",
        "Nats-TTL: 3s",
        "Nats-Rollup: sub",
    ] {
        assert!(headers.contains(line), "{headers}");
    }
    // What was purged leaves none, and neither does the marker.
    until(&mut jetstream, (1, 3, 4));
    assert_eq!(get(&mut jetstream, "a.2")["error"]["err_code"], 10037);
    jetstream.done("STREAM.PURGE.A", "");
    assert_eq!(state(&mut jetstream), (0, 5, 4));
}

/// A lower limit takes the oldest messages, or, where the newest give way, none: until there is room
/// by other means nothing more is stored.
#[test]
fn js_96_a_lower_limit_takes_nothing_from_who_refuses_the_newest() {
    for storage in ["file", "memory"] {
        let mut jetstream = JetStream::start();
        for (discard, kept) in [("old", (2, 4, 5)), ("new", (5, 1, 5))] {
            let mut config = json!({"name": "A", "subjects": ["a.>"], "storage": storage});
            config["discard"] = json!(discard);
            jetstream.done("STREAM.CREATE.A", config.to_string());
            for at in 1..=5 {
                assert_eq!(jetstream.store(&format!("a.{at}"), "", "x")["seq"], at);
            }
            config["max_msgs"] = json!(2);
            jetstream.done("STREAM.UPDATE.A", config.to_string());
            assert_eq!(state(&mut jetstream), kept, "{storage} {discard}");
            if discard == "new" {
                let refused = jetstream.store("a.6", "", "x");
                assert_eq!(refused["error"]["err_code"], 10077, "{storage}: {refused}");
                jetstream.done("STREAM.PURGE.A", r#"{"keep":1}"#);
                assert_eq!(jetstream.store("a.6", "", "x")["seq"], 6);
            }
            jetstream.done("STREAM.DELETE.A", "");
        }
    }
}
