//! Section 9 of JetStream: counters.

use crate::support::jetstream::JetStream;
use crate::support::wait_until;
use data_encoding::BASE64;
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

/// Makes a stream.
fn stream(jetstream: &mut JetStream, name: &str, mut fields: Value) {
    fields["name"] = json!(name);
    jetstream.done(&format!("STREAM.CREATE.{name}"), fields);
}

/// A subject's last message, once it says `total`: headers without the first line and those that
/// say where it came from.
#[track_caller]
fn counted(jetstream: &mut JetStream, name: &str, subject: &str, total: &str) -> String {
    let body = BASE64.encode(format!(r#"{{"val":"{total}"}}"#).as_bytes());
    let message = wait_until("the total", || {
        let request = json!({"last_by_subj": subject});
        let answer = jetstream.ask(&format!("STREAM.MSG.GET.{name}"), request);
        (answer["message"]["data"] == json!(body)).then(|| answer["message"].clone())
    });
    let headers = message["hdrs"].as_str().expect("headers");
    let headers = BASE64.decode(headers.as_bytes()).expect("base64");
    let headers = String::from_utf8(headers).expect("text");
    let lines = headers.split_inclusive('\n').skip(1);
    lines
        .filter(|line| !line.starts_with("Nats-Stream-Source: "))
        .collect()
}

#[test]
fn js_136_counters_of_sources_are_counted_together() {
    let mut jetstream = JetStream::start();
    for name in ["A", "B"] {
        let subjects = json!([format!("{}.>", name.to_lowercase())]);
        let fields =
            json!({"subjects": subjects, "allow_msg_counter": true, "max_msgs_per_subject": 1});
        stream(&mut jetstream, name, fields);
    }
    // Only the last of three is there still.
    for by in ["3", "4", "-2"] {
        count(&mut jetstream, "a.x", by);
    }
    count(&mut jetstream, "a.y", "100");
    let source = |name: &str| {
        let src = format!("{}.*", name.to_lowercase());
        let transforms = json!([{"src": src, "dest": "t.{{wildcard(1)}}"}]);
        json!({"name": name, "subject_transforms": transforms})
    };
    let sources = json!([source("A"), source("B")]);
    let fields = json!({"subjects": ["t.>"], "allow_msg_counter": true, "sources": sources});
    stream(&mut jetstream, "T", fields);
    let plain = json!({"sources": [{"name": "A"}]});
    stream(&mut jetstream, "P", plain);
    assert_eq!(
        counted(&mut jetstream, "T", "t.x", "5"),
        "Nats-Incr: 5\r\nNats-Counter-Sources: {\"A\":{\"a.x\":\"5\"}}\r\n\r\n"
    );
    count(&mut jetstream, "b.x", "10");
    counted(&mut jetstream, "T", "t.x", "15");
    count(&mut jetstream, "b.x", "-3");
    assert_eq!(
        counted(&mut jetstream, "T", "t.x", "12"),
        "Nats-Incr: -3\r\nNats-Counter-Sources: {\"A\":{\"a.x\":\"5\"},\"B\":{\"b.x\":\"7\"}}\r\n\r\n"
    );
    // Who counts here, too, is told the sum.
    let own = count(&mut jetstream, "t.x", "1");
    assert_eq!(own["val"], "13");
    assert_eq!(
        counted(&mut jetstream, "T", "t.x", "13"),
        "Nats-Incr: 1\r\nNats-Counter-Sources: {\"A\":{\"a.x\":\"5\"},\"B\":{\"b.x\":\"7\"}}\r\n\r\n"
    );
    count(&mut jetstream, "a.x", "1");
    counted(&mut jetstream, "T", "t.x", "14");
    counted(&mut jetstream, "T", "t.y", "100");
    // A copy that is no counter has what was stored.
    let copy = counted(&mut jetstream, "P", "a.x", "6");
    assert_eq!(copy, "Nats-Incr: 1\r\n\r\n");
}

/// What comes from sources may find the totals on disk alone, too.
#[test]
fn js_136_totals_of_sources_survive_a_restart() {
    let mut jetstream = JetStream::start();
    counting(&mut jetstream, json!({}));
    let fields = json!({"allow_msg_counter": true, "sources": [{"name": "C"}]});
    stream(&mut jetstream, "T", fields);
    const COUNTERS: usize = 40;
    for at in 0..COUNTERS {
        count(&mut jetstream, &format!("c.{at}"), &format!("{at}"));
    }
    for at in 0..COUNTERS {
        counted(&mut jetstream, "T", &format!("c.{at}"), &at.to_string());
    }
    let mut jetstream = jetstream.restart();
    for by in 1..=3 {
        for at in 0..COUNTERS {
            count(&mut jetstream, &format!("c.{at}"), &by.to_string());
        }
    }
    for at in 0..COUNTERS {
        let (subject, total) = (format!("c.{at}"), at + 6);
        let headers = counted(&mut jetstream, "T", &subject, &total.to_string());
        let sources = format!("Nats-Counter-Sources: {{\"C\":{{\"{subject}\":\"{total}\"}}}}");
        assert_eq!(headers, format!("Nats-Incr: 3\r\n{sources}\r\n\r\n"));
    }
    let info = jetstream.done("STREAM.INFO.T", "");
    assert_eq!(info["state"]["messages"], 4 * COUNTERS);
}

/// What a source sends that is no counter is not stored.
#[test]
fn js_136_a_source_that_is_no_counter() {
    let mut jetstream = JetStream::start();
    jetstream.stream("P", &["p.>"], json!({}));
    jetstream.publish("p.a", "plain");
    counting(&mut jetstream, json!({"sources": [{"name": "P"}]}));
    assert_eq!(count(&mut jetstream, "c.a", "1")["val"], "1");
    let info = jetstream.done("STREAM.INFO.C", "");
    assert_eq!(info["state"]["messages"], 1);
}
