//! Section 7 of JetStream: messages stored all together, or not at all.

use std::fmt::Write as _;

use crate::support::jetstream::JetStream;
use crate::support::wait_until;
use serde_json::{Value, json};

fn batches(jetstream: &mut JetStream, more: Value) {
    let mut config = json!({"allow_atomic": true});
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    jetstream.stream("B", &["b.>"], config);
}

/// What comes for message `at` of a batch, with `more` header lines.
#[track_caller]
fn send(jetstream: &mut JetStream, batch: &str, at: &str, more: &str, subject: &str) -> String {
    let mut lines = format!("Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {at}");
    if !more.is_empty() {
        write!(lines, "\r\n{more}").expect("text");
    }
    let answer = jetstream.request(subject, &lines, format!("{batch}{at}"));
    answer.text().to_owned()
}

const COMMIT: &str = "Nats-Batch-Commit: 1";

#[track_caller]
fn refused(answer: &str) -> u64 {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    answer["error"]["err_code"].as_u64().expect("an error")
}

fn messages(jetstream: &mut JetStream) -> u64 {
    let info = jetstream.done("STREAM.INFO.B", "");
    info["state"]["messages"].as_u64().expect("a number")
}

#[test]
fn js_122_127_all_of_a_batch_is_stored_with_its_last_message() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({}));
    jetstream.publish("b.before", "x");
    assert_eq!(send(&mut jetstream, "one", "1", "", "b.1"), "");
    assert_eq!(send(&mut jetstream, "two", "1", "", "b.2"), "");
    assert_eq!(send(&mut jetstream, "one", "2", "", "b.1"), "");
    assert_eq!(messages(&mut jetstream), 1, "nothing is seen before");
    assert_eq!(
        send(&mut jetstream, "one", "3", COMMIT, "b.3"),
        r#"{"stream":"B","seq":4,"batch":"one","count":3}"#
    );
    // The one that only says that it is over is not stored; the last one before is marked.
    assert_eq!(send(&mut jetstream, "two", "2", "", "b.2"), "");
    assert_eq!(
        send(&mut jetstream, "two", "3", "Nats-Batch-Commit: eob", "b.x"),
        r#"{"stream":"B","seq":6,"batch":"two","count":2}"#
    );
    assert_eq!(
        send(&mut jetstream, "alone", "1", COMMIT, "b.1"),
        r#"{"stream":"B","seq":7,"batch":"alone","count":1}"#
    );
    jetstream.consumer("B", "c", json!({"ack_policy": "none"}));
    let got = jetstream.pull("B", "c", json!({"batch": 7}), 7);
    let told: Vec<String> = got
        .iter()
        .map(|it| {
            let commit = it.header("Nats-Batch-Commit");
            format!("{} {} {commit}", it.subject, it.text())
        })
        .collect();
    let expected = [
        "b.before x ",
        "b.1 one1 ",
        "b.1 one2 ",
        "b.3 one3 1",
        "b.2 two1 ",
        "b.2 two2 1",
        "b.1 alone1 1",
    ];
    assert_eq!(told, expected);
}

#[test]
fn js_121_what_headers_may_say() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({}));
    jetstream.stream("N", &["n"], json!({}));
    let longest = "x".repeat(64);
    for (batch, at, more, subject, code) in [
        ("a", "1", COMMIT, "n", 10174),
        (&format!("{longest}x")[..], "1", "", "b.1", 10179),
        ("a", "", "", "b.1", 10175),
        ("a", "x", "", "b.1", 10175),
        ("a", "1", "Nats-Batch-Commit: 2", "b.1", 10200),
        ("a", "1", "Nats-Batch-Commit: eob", "b.1", 10176),
        ("a", "2", "", "b.1", 10176),
        ("a", "1001", "", "b.1", 10199),
        ("a", "1002", "Nats-Batch-Commit: eob", "b.1", 10199),
        ("a", "1001", "Nats-Batch-Commit: eob", "b.1", 10176),
    ] {
        let answer = send(&mut jetstream, batch, at, more, subject);
        assert_eq!(refused(&answer), code, "{batch} {at} {more}");
    }
    let answer = send(&mut jetstream, &longest, "1", COMMIT, "b.1");
    assert!(answer.contains(r#""count":1"#), "{answer}");
}

#[test]
fn js_123_241_a_gap_ends_a_batch_and_is_told() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.* 1\r\n");
    send(&mut jetstream, "gap", "1", "", "b.1");
    assert_eq!(refused(&send(&mut jetstream, "gap", "3", "", "b.1")), 10176);
    assert_eq!(
        refused(&send(&mut jetstream, "gap", "2", COMMIT, "b.1")),
        10176
    );
    let event = listener.message();
    assert_eq!(event.subject, "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.B");
    let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
    let kind = "io.nats.jetstream.advisory.v1.stream_batch_abandoned";
    for (field, value) in [
        ("type", kind),
        ("stream", "B"),
        ("batch", "gap"),
        ("reason", "incomplete"),
    ] {
        assert_eq!(event[field], value);
    }
    assert_eq!(messages(&mut jetstream), 0);
    // The same id may begin anew.
    send(&mut jetstream, "gap", "1", "", "b.1");
    let answer = send(&mut jetstream, "gap", "2", COMMIT, "b.1");
    assert!(
        answer.contains(r#""seq":2,"batch":"gap","count":2"#),
        "{answer}"
    );
}

#[test]
fn js_241_the_system_account_hears_whose_batch_it_was() {
    let config = "accounts { A { jetstream: enabled, users: [{user: a, password: a}] }\n\
                  SYS { users: [{user: s, password: s}] } }\nsystem_account: SYS\n\
                  jetstream { store_dir: \"@DIR@/js\" }";
    let mut jetstream = JetStream::with_config(config, "{\"user\":\"a\",\"pass\":\"a\"}");
    batches(&mut jetstream, json!({}));
    let subject = "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.B";
    let mut listeners = [("a", json!(null)), ("s", json!("A"))].map(|(user, told)| {
        let login = json!({"user": user, "pass": user}).to_string();
        let mut listener = jetstream.server.client_with(&login);
        listener.quietly(format!("SUB {subject} 1\r\n"));
        (listener, told)
    });
    send(&mut jetstream, "gap", "1", "", "b.1");
    assert_eq!(refused(&send(&mut jetstream, "gap", "3", "", "b.1")), 10176);
    for (listener, told) in &mut listeners {
        let event = listener.message();
        assert_eq!(event.subject, subject);
        let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
        assert_eq!(
            (&event["account"], &event["batch"]),
            (&*told, &json!("gap"))
        );
    }
}

#[test]
fn js_124_241_a_batch_ends_when_nothing_comes() {
    let config = "jetstream { store_dir: \"@DIR@/js\", limits { batch { timeout: 300ms } } }";
    let mut jetstream = JetStream::with_config(config, "{}");
    batches(&mut jetstream, json!({}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.* 1\r\n");
    for batch in ["late", "later"] {
        send(&mut jetstream, batch, "1", "", "b.1");
    }
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let event: Value = serde_json::from_slice(&listener.message().payload).expect("JSON");
        reasons.push(format!("{} {}", event["batch"], event["reason"]));
    }
    reasons.sort();
    assert_eq!(reasons, [r#""late" "timeout""#, r#""later" "timeout""#]);
    let answer = send(&mut jetstream, "late", "2", COMMIT, "b.1");
    assert_eq!(refused(&answer), 10176);
    assert_eq!(messages(&mut jetstream), 0);
}

#[test]
fn js_124_batches_under_way_are_counted() {
    let limits = "max_inflight_per_stream: 2, max_inflight_total: 3, max_msgs: 3";
    let config =
        format!("jetstream {{ store_dir: \"@DIR@/js\", limits {{ batch {{ {limits} }} }} }}");
    let mut jetstream = JetStream::with_config(&config, "{}");
    batches(&mut jetstream, json!({}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.* 1\r\n");
    for at in ["1", "2", "3"] {
        send(&mut jetstream, "large", at, "", "b.1");
    }
    let answer = send(&mut jetstream, "large", "4", COMMIT, "b.1");
    assert_eq!(refused(&answer), 10199);
    let event = String::from_utf8(listener.message().payload).expect("text");
    assert!(event.contains(r#""reason":"large""#), "{event}");
    jetstream.stream("O", &["o.>"], json!({"allow_atomic": true}));
    send(&mut jetstream, "one", "1", "", "b.1");
    send(&mut jetstream, "two", "1", "", "b.1");
    assert_eq!(
        refused(&send(&mut jetstream, "three", "1", "", "b.1")),
        10210
    );
    send(&mut jetstream, "one", "1", "", "o.1");
    assert_eq!(refused(&send(&mut jetstream, "two", "1", "", "o.1")), 10210);
    // One that is over leaves its place.
    send(&mut jetstream, "one", "2", COMMIT, "b.1");
    assert_eq!(send(&mut jetstream, "two", "1", "", "o.1"), "");
    // A stream that takes none any more forgets those it has.
    let config = json!({"name": "O", "subjects": ["o.>"], "allow_atomic": false});
    jetstream.done("STREAM.UPDATE.O", config);
    wait_until("their places", || {
        let answer = send(&mut jetstream, "new", "1", "", "b.1");
        answer.is_empty().then_some(())
    });
}

#[test]
fn js_125_what_one_message_may_not_no_message_does() {
    let mut jetstream = JetStream::start();
    batches(
        &mut jetstream,
        json!({"allow_rollup_hdrs": true, "allow_msg_ttl": true}),
    );
    jetstream.store("b.old", "Nats-Msg-Id: known", "x");
    for (first, second, code) in [
        ("Nats-Msg-Id: known", "", 10201),
        ("Nats-Msg-Id: twice", "Nats-Msg-Id: twice", 10201),
        ("Nats-Expected-Last-Msg-Id: known", "", 10177),
        ("Nats-Expected-Stream: other", "", 10060),
        ("Nats-Expected-Last-Sequence: 7", "", 10071),
        ("", "Nats-Expected-Last-Sequence: 2", 10164),
        ("", "Nats-Expected-Last-Sequence: 9", 10071),
        ("Nats-Expected-Last-Subject-Sequence: 3", "", 10071),
        ("", "Nats-Expected-Last-Subject-Sequence: 0", 10164),
        ("", "Nats-Rollup: sub", 10111),
        ("", "Nats-Rollup: all", 10111),
        ("", "Nats-Rollup: none", 10111),
        ("", "Nats-TTL: x", 10165),
        ("", "Nats-Incr: 1", 10168),
        ("", "Nats-Stream-Source: x", 10227),
    ] {
        assert_eq!(send(&mut jetstream, "b", "1", first, "b.1"), "", "{first}");
        let last = format!("{COMMIT}\r\n{second}");
        let last = last.trim_end();
        let answer = send(&mut jetstream, "b", "2", last, "b.1");
        assert_eq!(refused(&answer), code, "{first} {second}: {answer}");
    }
    assert_eq!(messages(&mut jetstream), 1);
    // What may stand on the first.
    let first = "Nats-Expected-Last-Sequence: 1\r\nNats-Rollup: all\r\nNats-Msg-Id: new";
    send(&mut jetstream, "b", "1", first, "b.1");
    let last = format!("{COMMIT}\r\nNats-Expected-Last-Subject-Sequence: 0");
    let answer = send(&mut jetstream, "b", "2", &last, "b.2");
    assert!(answer.contains(r#""seq":3"#), "{answer}");
    assert_eq!(messages(&mut jetstream), 2);
    let again = jetstream.store("b.1", "Nats-Msg-Id: new", "x");
    assert_eq!(
        (&again["duplicate"], &again["seq"]),
        (&json!(true), &json!(2))
    );
}

#[test]
fn js_125_a_full_stream_takes_none_of_a_batch() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({"discard": "new", "max_msgs": 2}));
    for at in ["1", "2"] {
        send(&mut jetstream, "b", at, "", "b.1");
    }
    assert_eq!(
        refused(&send(&mut jetstream, "b", "3", COMMIT, "b.1")),
        10077
    );
    assert_eq!(messages(&mut jetstream), 0);
}

#[test]
fn js_126_a_level_too_high_ends_a_batch() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.* 1\r\n");
    send(
        &mut jetstream,
        "b",
        "1",
        "Nats-Required-Api-Level: 2",
        "b.1",
    );
    let last = format!("{COMMIT}\r\nNats-Required-Api-Level: 99");
    assert_eq!(
        refused(&send(&mut jetstream, "b", "2", &last, "b.1")),
        10185
    );
    let event = String::from_utf8(listener.message().payload).expect("text");
    assert!(event.contains(r#""reason":"unsupported""#), "{event}");
    // What is stored does not say which level it needs.
    let alone = format!("{COMMIT}\r\nNats-Required-Api-Level: 1");
    send(&mut jetstream, "c", "1", &alone, "b.1");
    jetstream.consumer("B", "c", json!({"ack_policy": "none"}));
    let got = jetstream.pull("B", "c", json!({"batch": 1}), 1);
    assert_eq!(got[0].header("Nats-Required-Api-Level"), "");
    assert_eq!(got[0].header("Nats-Batch-Id"), "c");
}

/// JS-135: each sees the total of those before it.
#[test]
fn js_125_counters_in_batches() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({"allow_msg_counter": true}));
    for (at, more) in [("1", ""), ("2", ""), ("3", COMMIT)] {
        let lines =
            format!("Nats-Batch-Id: b\r\nNats-Batch-Sequence: {at}\r\nNats-Incr: {at}\r\n{more}");
        jetstream.request("b.n", lines.trim_end(), "");
    }
    let last = jetstream.done("STREAM.MSG.GET.B", json!({"last_by_subj": "b.n"}));
    assert_eq!(last["message"]["data"], "eyJ2YWwiOiI2In0=", "6");
}

/// Of what was not committed nothing is left, of what was, all is.
#[test]
fn js_122_after_a_restart() {
    let mut jetstream = JetStream::start();
    batches(&mut jetstream, json!({}));
    for (at, more) in [("1", ""), ("2", ""), ("3", COMMIT)] {
        send(&mut jetstream, "whole", at, more, "b.1");
    }
    send(&mut jetstream, "part", "1", "", "b.2");
    let mut jetstream = jetstream.restart();
    assert_eq!(messages(&mut jetstream), 3);
    assert_eq!(
        refused(&send(&mut jetstream, "part", "2", COMMIT, "b.2")),
        10176
    );
}
