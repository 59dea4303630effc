//! Section 9 of JetStream: counters.

use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

fn counting(jetstream: &mut JetStream, more: Value) {
    let mut config = json!({"allow_msg_counter": true});
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    jetstream.stream("C", &["c.>"], config);
}

fn answer(jetstream: &mut JetStream, subject: &str, headers: &str, body: &str) -> Value {
    let message = jetstream.request(subject, headers, body);
    serde_json::from_slice(&message.payload).expect("JSON")
}

fn count(jetstream: &mut JetStream, subject: &str, by: &str) -> Value {
    answer(jetstream, subject, &format!("Nats-Incr: {by}"), "")
}

/// JS-85, JS-135: on the wire, too.
#[test]
fn js_135_totals_are_exact_and_each_subject_has_its_own() {
    let mut jetstream = JetStream::start();
    counting(&mut jetstream, json!({"max_msgs_per_subject": 3}));
    let nines = "9".repeat(40);
    let one = format!("1{}", "0".repeat(40));
    for (at, (subject, by, total)) in [
        ("c.a", "1", "1"),
        ("c.a", "+5", "6"),
        ("c.b", &nines[..], &nines[..]),
        ("c.a", "-10", "-4"),
        ("c.b", "1", &one),
        ("c.a", "0", "-4"),
        ("c.a", "-0", "-4"),
        ("c.a", "0004", "0"),
        ("c.a", "18446744073709551616", "18446744073709551616"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = jetstream.request(subject, &format!("Nats-Incr: {by}"), "");
        let seq = at + 1;
        let expected = format!(r#"{{"stream":"C","seq":{seq},"val":"{total}"}}"#);
        assert_eq!(answer.text(), expected, "{by}");
    }
    let last = jetstream.done("STREAM.MSG.GET.C", json!({"last_by_subj": "c.a"}));
    // {"val":"18446744073709551616"}, and the increment as it came.
    assert_eq!(
        last["message"]["data"],
        "eyJ2YWwiOiIxODQ0Njc0NDA3MzcwOTU1MTYxNiJ9"
    );
    assert_eq!(
        last["message"]["hdrs"],
        "TkFUUy8xLjANCk5hdHMtSW5jcjogMTg0NDY3NDQwNzM3MDk1NTE2MTYNCg0K"
    );
    // What went for the limits is in the totals.
    let info = jetstream.done("STREAM.INFO.C", "");
    assert_eq!(info["state"]["messages"], 5);
    // The last one's removal is seen.
    jetstream.done("STREAM.MSG.DELETE.C", json!({"seq": 9}));
    assert_eq!(count(&mut jetstream, "c.a", "1")["val"], "1");
}

#[test]
fn js_134_what_is_no_increment_is_refused() {
    let mut jetstream = JetStream::start();
    counting(&mut jetstream, json!({"allow_rollup_hdrs": true}));
    jetstream.stream("P", &["p"], json!({}));
    for (subject, headers, body, code) in [
        ("c.a", "", "", 10169),
        ("c.a", "X: y", "", 10169),
        ("c.a", "Nats-Incr:", "", 10169),
        ("c.a", "", "1", 10169),
        ("c.a", "Nats-Incr: 1", "body", 10170),
        ("c.a", "Nats-Incr: x", "", 10171),
        ("c.a", "Nats-Incr: x", "body", 10171),
        ("c.a", "Nats-Incr: 1.5", "", 10171),
        ("c.a", "Nats-Incr: 1_0", "", 10171),
        ("c.a", "Nats-Incr: --1", "", 10171),
        ("c.a", "Nats-Incr: +", "", 10171),
        ("c.a", "Nats-Incr: 0x1", "", 10171),
        ("c.a", "Nats-Incr: 1\r\nNats-Rollup: sub", "", 10171),
        ("c.a", "Nats-Incr: 1\r\nNats-Expected-Stream: C", "", 10171),
        (
            "c.a",
            "Nats-Incr: 1\r\nNats-Expected-Last-Sequence: 0",
            "",
            10171,
        ),
        (
            "c.a",
            "Nats-Incr: 1\r\nNats-Expected-Last-Msg-Id: i",
            "",
            10171,
        ),
        (
            "c.a",
            "Nats-Incr: 1\r\nNats-Expected-Last-Subject-Sequence: 0",
            "",
            10171,
        ),
        ("p", "Nats-Incr: 1", "", 10168),
        ("p", "Nats-Incr: 1", "body", 10168),
        ("p", "Nats-Incr: x", "", 10171),
    ] {
        let refused = answer(&mut jetstream, subject, headers, body);
        let got = &refused["error"]["err_code"];
        assert_eq!(*got, json!(code), "{headers:?} {body:?}: {refused}");
        assert_eq!(refused.get("val"), None, "{refused}");
    }
    assert_eq!(count(&mut jetstream, "c.a", "1")["seq"], 1);
}

#[test]
fn js_088_js_135_a_repeated_increment_counts_once() {
    let mut jetstream = JetStream::start();
    counting(&mut jetstream, json!({}));
    let headers = "Nats-Incr: 2\r\nNats-Msg-Id: i";
    assert_eq!(answer(&mut jetstream, "c.a", headers, "")["val"], "2");
    let again = jetstream.request("c.a", headers, "");
    assert_eq!(again.text(), r#"{"stream":"C","seq":1,"duplicate": true}"#);
    assert_eq!(count(&mut jetstream, "c.a", "1")["val"], "3");
}

#[test]
fn js_101_js_135_totals_are_republished() {
    let mut jetstream = JetStream::start();
    let republish = json!({"src": "c.>", "dest": "r.>"});
    counting(&mut jetstream, json!({"republish": republish}));
    count(&mut jetstream, "c.a", "2");
    jetstream.client.quietly("SUB r.> 9\r\n");
    jetstream
        .client
        .send("HPUB c.a 26 26\r\nNATS/1.0\r\nNats-Incr: 3\r\n\r\n\r\n");
    let copy = jetstream.client.message();
    assert_eq!((&copy.subject[..], copy.text()), ("r.a", r#"{"val":"5"}"#));
    assert_eq!(copy.header("Nats-Last-Sequence"), "1");
}

/// Many increments that come at once while the totals are still on disk alone.
#[test]
fn js_135_totals_survive_a_restart() {
    let mut jetstream = JetStream::start();
    counting(&mut jetstream, json!({}));
    const COUNTERS: usize = 40;
    for at in 0..COUNTERS {
        count(&mut jetstream, &format!("c.{at}"), &format!("{at}"));
    }
    let mut jetstream = jetstream.restart();
    let mut text = String::new();
    for by in 1..=3 {
        for at in 0..COUNTERS {
            let inbox = &jetstream.inbox;
            let head = format!("NATS/1.0\r\nNats-Incr: {by}\r\n\r\n");
            let len = head.len();
            text += &format!("HPUB c.{at} {inbox}.r.{at} {len} {len}\r\n{head}\r\n");
        }
    }
    jetstream.client.send(text);
    let mut seq = COUNTERS;
    for by in [1, 3, 6] {
        for at in 0..COUNTERS {
            let message = jetstream.client.message();
            seq += 1;
            let total = at + by;
            let expected = format!(r#"{{"stream":"C","seq":{seq},"val":"{total}"}}"#);
            assert_eq!(message.text(), expected);
            assert!(message.subject.ends_with(&format!(".r.{at}")));
        }
    }
}
