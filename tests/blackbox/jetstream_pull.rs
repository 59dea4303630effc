//! Section 16 of JetStream: requests for messages, and the statuses that answer them.

use crate::support::jetstream::{JetStream, texts};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stream `A` of `a` with `m1`, `m2`, ..., and a consumer `c` of it.
fn filled(count: u64, fields: Value) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({}));
    for at in 1..=count {
        assert_eq!(jetstream.publish("a", &format!("m{at}")), at);
    }
    let mut config = json!({"ack_policy": "none"});
    for (name, value) in fields.as_object().expect("fields") {
        config[name] = value.clone();
    }
    jetstream.consumer("A", "c", config);
    jetstream
}

/// JS-39, JS-210.
#[test]
fn js_210_a_body_may_be_a_number_or_nothing() {
    let mut jetstream = filled(9, json!({}));
    for (body, expected) in [
        (json!(""), ["m1"].as_slice()),
        (json!("2"), &["m2", "m3"]),
        (json!("{}"), &["m4"]),
        (json!(r#"{"batch": 0}"#), &["m5"]),
        (json!("something"), &["m6"]),
        (json!(r#"{"batch": 2}"#), &["m7", "m8"]),
        (json!(r#"{"batch": -1}"#), &["m9"]),
    ] {
        let body = body.as_str().expect("text");
        let got = jetstream.pull("A", "c", body, expected.len());
        assert_eq!(texts(&got), expected, "{body}");
    }
    // A completed request ends without a status.
    jetstream.begin_pull("A", "c", "");
    let info = jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    assert_eq!(info["num_pending"], 0);
}

#[test]
fn js_211_who_does_not_wait_is_told_that_there_is_no_more() {
    let mut jetstream = filled(1, json!({}));
    let got = jetstream.pull("A", "c", json!({"batch": 2, "no_wait": true}), 9);
    assert_eq!(texts(&got), ["m1", "404 No Messages"]);
    let got = jetstream.pull("A", "c", json!({"batch": 2, "no_wait": true}), 9);
    assert_eq!(texts(&got), ["404 No Messages"]);
    // With a time it waits for the first ones.
    let body = json!({"batch": 2, "no_wait": true, "expires": 200_000_000});
    let began = Instant::now();
    let got = jetstream.pull("A", "c", &body, 9);
    assert_eq!(texts(&got), ["408 Request Timeout"]);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[test]
fn js_212_what_is_left_of_a_request_is_told_when_its_time_is_over() {
    let mut jetstream = filled(2, json!({}));
    let body = json!({"batch": 5, "max_bytes": 10_000, "expires": 100_000_000});
    let got = jetstream.pull("A", "c", body, 9);
    assert_eq!(texts(&got), ["m1", "m2", "408 Request Timeout"]);
    assert_eq!(got[2].header("Nats-Pending-Messages"), "3");
    let left: u64 = got[2].header("Nats-Pending-Bytes").parse().expect("bytes");
    assert!((9000..10_000).contains(&left), "{left}");
    assert!(got[2].subject.starts_with("answer."));
}

#[test]
fn js_213_who_does_not_wait_is_sent_away_where_others_wait() {
    let config = json!({"ack_policy": "explicit", "max_ack_pending": 1});
    let mut jetstream = filled(3, config);
    jetstream.pull("A", "c", "", 1);
    jetstream.begin_pull("A", "c", json!({"batch": 3}));
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    let got = jetstream.pull("A", "c", json!({"batch": 1, "no_wait": true}), 1);
    assert_eq!(texts(&got), ["408 Requests Pending"]);
}

#[test]
fn js_214_bytes_bound_a_request() {
    let mut jetstream = filled(4, json!({}));
    let got = jetstream.pull("A", "c", json!({"batch": 4, "max_bytes": 10}), 9);
    assert_eq!(texts(&got), ["409 Message Size Exceeds MaxBytes"]);
    assert_eq!(got[0].header("Nats-Pending-Messages"), "4");
    assert_eq!(got[0].header("Nats-Pending-Bytes"), "10");
    // Subject, reply, and body count.
    let got = jetstream.pull("A", "c", json!({"batch": 4, "max_bytes": 150}), 9);
    let last = got.last().expect("a status");
    assert_eq!(last.status(), Some("409 Message Size Exceeds MaxBytes"));
    assert!((2..=4).contains(&got.len()), "{got:?}");
    let rest = 5 - got.len();
    let got = jetstream.pull("A", "c", json!({"batch": rest, "max_bytes": 100_000}), 9);
    let last = got.last().expect("a status");
    assert_eq!(last.status(), Some("409 Batch Completed"));
    assert_eq!(last.header("Nats-Pending-Messages"), "0");
}

#[test]
fn js_215_a_consumers_own_limits_hold() {
    let limits = json!({
        "max_batch": 2, "max_expires": 1_000_000_000, "max_bytes": 1000, "max_waiting": 1,
    });
    let mut jetstream = filled(0, limits);
    for (body, expected) in [
        (json!({"batch": 3}), "409 Exceeded MaxRequestBatch of 2"),
        (
            json!({"batch": 1, "expires": 2_000_000_000}),
            "409 Exceeded MaxRequestExpires of 1s",
        ),
        (
            json!({"batch": 1, "max_bytes": 1001}),
            "409 Exceeded MaxRequestMaxBytes of 1000",
        ),
    ] {
        let got = jetstream.pull("A", "c", &body, 1);
        assert_eq!(texts(&got), [expected], "{body}");
    }
    jetstream.begin_pull("A", "c", json!({"batch": 1, "expires": 900_000_000}));
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    let got = jetstream.pull("A", "c", json!({"batch": 1}), 1);
    assert_eq!(texts(&got), ["409 Exceeded MaxWaiting"]);
}

#[test]
fn js_215_a_consumer_that_pushes_cannot_be_asked() {
    let mut jetstream = filled(1, json!({"deliver_subject": "d"}));
    let got = jetstream.pull("A", "c", "", 1);
    assert_eq!(texts(&got), ["409 Consumer is push based"]);
}

#[test]
fn js_216_who_waits_is_told_that_the_consumer_has_gone() {
    let mut jetstream = filled(0, json!({}));
    let mut other = jetstream.server.client();
    other.quietly("SUB mine 1\r\n");
    let body = r#"{"batch":1}"#;
    let len = body.len();
    other.quietly(format!(
        "PUB $JS.API.CONSUMER.MSG.NEXT.A.c mine {len}\r\n{body}\r\n"
    ));
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    jetstream.done("CONSUMER.DELETE.A.c", "");
    assert_eq!(other.message().status(), Some("409 Consumer Deleted"));
    // And then nobody is there.
    let got = jetstream.pull("A", "c", "", 1);
    assert_eq!(texts(&got), ["503"]);
}

#[test]
fn js_217_who_waits_is_told_that_the_consumer_lives() {
    let mut jetstream = filled(2, json!({}));
    let body = json!({"batch": 3, "expires": 500_000_000, "idle_heartbeat": 100_000_000});
    let got = jetstream.pull("A", "c", body, 99);
    let beats: Vec<_> = got
        .iter()
        .filter(|it| it.status() == Some("100 Idle Heartbeat"))
        .collect();
    assert!(beats.len() >= 2, "{got:?}");
    assert_eq!(beats[0].header("Nats-Last-Consumer"), "2");
    assert_eq!(beats[0].header("Nats-Last-Stream"), "2");
    let last = got.last().expect("a status");
    assert_eq!(last.status(), Some("408 Request Timeout"));
    for (body, expected) in [
        (
            r#"{"batch": 1, "expires": 100000000, "idle_heartbeat": 60000000}"#,
            "400 Bad Request - heartbeat value too large",
        ),
        (
            r#"{"batch": "x"}"#,
            "400 Bad Request - json: cannot unmarshal string into Go struct field \
             .batch of type int",
        ),
        ("{", "400 Bad Request - unexpected end of JSON input"),
    ] {
        let got = jetstream.pull("A", "c", body, 1);
        assert_eq!(texts(&got), [expected]);
    }
}

/// Who has stopped listening is passed over, and what would have been his stays.
#[test]
fn js_218_a_request_goes_with_who_made_it() {
    let mut jetstream = filled(0, json!({"ack_policy": "explicit"}));
    let mut other = jetstream.server.client();
    other.quietly("SUB mine 1\r\n");
    other.quietly("PUB $JS.API.CONSUMER.MSG.NEXT.A.c mine 0\r\n\r\n");
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    drop(other);
    jetstream.until("A", "c", |info| info["num_waiting"] == 0);
    jetstream.publish("a", "m1");
    let got = jetstream.pull("A", "c", "", 1);
    assert_eq!(texts(&got), ["m1"]);
    assert_eq!(got[0].place().deliveries, 1);
}

#[test]
fn js_219_requests_are_served_in_turn() {
    let mut jetstream = filled(0, json!({}));
    let first = jetstream.begin_pull("A", "c", json!({"batch": 2}));
    jetstream.until("A", "c", |info| info["num_waiting"] == 1);
    let mut other = jetstream.server.client();
    other.quietly("SUB mine 1\r\n");
    other.quietly("PUB $JS.API.CONSUMER.MSG.NEXT.A.c mine 1\r\n2\r\n");
    jetstream.until("A", "c", |info| info["num_waiting"] == 2);
    let mut publisher = jetstream.server.client();
    publisher.quietly("PUB a 2\r\nm1\r\nPUB a 2\r\nm2\r\nPUB a 2\r\nm3\r\nPUB a 2\r\nm4\r\n");
    assert!(first.starts_with("answer."));
    assert_eq!(texts(&jetstream.received(2)), ["m1", "m3"]);
    assert_eq!(other.message().text(), "m2");
    assert_eq!(other.message().text(), "m4");
}

/// JS-219, JS-185: a consumer of no name goes when nobody asks it any more.
#[test]
fn js_185_who_is_asked_is_not_idle() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({}));
    let config = json!({"ack_policy": "none", "inactive_threshold": 3_000_000_000_u64});
    let request = json!({"stream_name": "A", "config": config});
    let created = jetstream.done("CONSUMER.CREATE.A", request);
    let name = created["name"].as_str().expect("a name").to_owned();
    assert_eq!(name.len(), 8);
    let got = jetstream.pull(
        "A",
        &name,
        json!({"batch": 1, "expires": 6_000_000_000_u64}),
        1,
    );
    assert_eq!(texts(&got), ["408 Request Timeout"]);
    jetstream.consumer_info("A", &name);
    crate::support::wait_until("the consumer to go", || {
        let names = jetstream.done("CONSUMER.NAMES.A", "");
        (names["consumers"] == json!([])).then_some(())
    });
}
