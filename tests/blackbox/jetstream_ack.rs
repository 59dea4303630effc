//! Section 15 of JetStream: what is delivered, acknowledged and delivered again.

use crate::support::jetstream::{JetStream, Place, texts};
use serde_json::json;
use std::time::{Duration, Instant};

/// A stream `A` of `a.>` with `m1`, `m2`, ... on `a.1`, `a.2`, ...
fn filled(count: u64) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({}));
    for at in 1..=count {
        assert_eq!(jetstream.publish(&format!("a.{at}"), &format!("m{at}")), at);
    }
    jetstream
}

#[test]
fn js_195_replies_tell_where_a_message_stands() {
    let mut jetstream = filled(3);
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    let got = jetstream.pull("A", "c", json!({"batch": 3}), 3);
    assert_eq!(texts(&got), ["m1", "m2", "m3"]);
    for (at, message) in (1..).zip(&got) {
        assert_eq!(message.subject, format!("a.{at}"));
        let expected = Place {
            deliveries: 1,
            stream: at,
            consumer: at,
            pending: 3 - at,
        };
        assert_eq!(message.place(), expected);
    }
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_ack_pending"], 3);
    assert_eq!(
        (&info["num_pending"], &info["num_redelivered"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(info["delivered"]["stream_seq"], 3);
    assert_eq!(info["ack_floor"]["stream_seq"], 0);
}

/// JS-195, JS-196: acknowledgements with domain and account hash are always understood.
#[test]
fn js_196_topo_118_acknowledgements_may_name_domain_and_account() {
    let mut jetstream = filled(2);
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    let rest = got[0]
        .reply
        .strip_prefix("$JS.ACK.")
        .expect("an ack subject");
    for (reply, floor) in [
        (format!("$JS.ACK._.szMpdrwD.{rest}"), 1),
        (
            format!(
                "$JS.ACK._.szMpdrwD.{}.random",
                &got[1].reply["$JS.ACK.".len()..]
            ),
            2,
        ),
    ] {
        let answer = jetstream.request(&reply, "", "");
        assert_eq!(
            (answer.status(), answer.payload.len()),
            (None, 0),
            "{reply}"
        );
        let info = jetstream.consumer_info("A", "c");
        assert_eq!(info["ack_floor"]["stream_seq"], floor);
    }
}

#[test]
fn js_197_some_words_acknowledge_and_others_change_nothing() {
    let mut jetstream = filled(6);
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    let got = jetstream.pull("A", "c", json!({"batch": 6}), 6);
    for (message, (word, pending)) in got.iter().zip([
        ("", 5),
        ("+ACK", 4),
        ("+OK", 3),
        ("+TERM", 2),
        ("+TERM no use", 1),
    ]) {
        jetstream.ack(message, word);
        let info = jetstream.consumer_info("A", "c");
        assert_eq!(info["num_ack_pending"], pending, "{word:?}");
    }
    jetstream
        .client
        .quietly(format!("PUB {} 5\r\n+WHAT\r\n", got[5].reply));
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_ack_pending"], 1);
    assert_eq!(info["ack_floor"]["stream_seq"], 5);
}

#[test]
fn js_197_progress_keeps_a_message_from_coming_again() {
    let mut jetstream = filled(1);
    let config = json!({"ack_policy": "explicit", "ack_wait": 2_000_000_000});
    jetstream.consumer("A", "c", config);
    let got = jetstream.pull("A", "c", "", 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        jetstream.ack(&got[0], "+WPI");
        std::thread::sleep(Duration::from_millis(20));
    }
    let none = jetstream.pull("A", "c", json!({"batch": 1, "no_wait": true}), 1);
    assert_eq!(texts(&none), ["404 No Messages"]);
    let again = jetstream.pull(
        "A",
        "c",
        json!({"batch": 1, "expires": 10_000_000_000_u64}),
        1,
    );
    assert_eq!(again[0].place().deliveries, 2);
}

/// JS-197: `+NXT` acknowledges and asks for more, on the acknowledgement's own reply subject.
#[test]
fn js_197_the_next_can_be_asked_for_with_an_acknowledgement() {
    let mut jetstream = filled(5);
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    let got = jetstream.pull("A", "c", "", 1);
    let next = jetstream.request_next(&got[0].reply, "+NXT", 1);
    assert_eq!(texts(&next), ["m2"]);
    let next = jetstream.request_next(&next[0].reply, "+NXT 2", 2);
    assert_eq!(texts(&next), ["m3", "m4"]);
    jetstream.ack(&next[0], "");
    let body = r#"+NXT {"batch": 2, "no_wait": true}"#;
    let next = jetstream.request_next(&next[1].reply, body, 2);
    assert_eq!(texts(&next), ["m5", "404 No Messages"]);
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_ack_pending"], 1);
}

#[test]
fn js_198_who_needs_no_acknowledgement_hears_none() {
    let mut jetstream = filled(1);
    jetstream.consumer("A", "c", json!({"ack_policy": "none"}));
    let got = jetstream.pull("A", "c", "", 1);
    assert_eq!(texts(&got), ["m1"]);
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_ack_pending"], 0);
    assert_eq!(info["ack_floor"]["stream_seq"], 1);
    let answer = jetstream.request(&got[0].reply, "", "");
    assert_eq!(answer.status(), Some("503"));
}

#[test]
fn js_199_one_acknowledgement_may_stand_for_all_before_it() {
    let mut jetstream = filled(4);
    jetstream.consumer("A", "all", json!({"ack_policy": "all"}));
    jetstream.consumer("A", "each", json!({"ack_policy": "explicit"}));
    let all = jetstream.pull("A", "all", json!({"batch": 4}), 4);
    jetstream.ack(&all[2], "");
    let info = jetstream.consumer_info("A", "all");
    assert_eq!(
        (&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]),
        (&json!(1), &json!(3))
    );
    let each = jetstream.pull("A", "each", json!({"batch": 4}), 4);
    jetstream.ack(&each[2], "");
    let info = jetstream.consumer_info("A", "each");
    assert_eq!(
        (&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]),
        (&json!(3), &json!(0))
    );
    // Late ones are ignored, and answered.
    jetstream.ack(&all[0], "");
    jetstream.ack(&each[2], "-NAK");
    jetstream.ack(&each[0], "");
    let info = jetstream.consumer_info("A", "each");
    assert_eq!(
        (&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn js_200_what_is_not_acknowledged_comes_again() {
    let mut jetstream = filled(2);
    let config = json!({"ack_policy": "explicit", "ack_wait": 2_000_000_000});
    jetstream.consumer("A", "c", config);
    let first = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    jetstream.ack(&first[1], "");
    let again = jetstream.pull(
        "A",
        "c",
        json!({"batch": 1, "expires": 10_000_000_000_u64}),
        1,
    );
    let expected = Place {
        deliveries: 2,
        stream: 1,
        consumer: 3,
        pending: 0,
    };
    assert_eq!((again[0].text(), again[0].place()), ("m1", expected));
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["num_redelivered"], 1);
    jetstream.ack(&again[0], "");
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(
        (&info["num_redelivered"], &info["num_ack_pending"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn js_200_backoff_says_how_long_each_delivery_waits() {
    let mut jetstream = filled(1);
    let config = json!({
        "ack_policy": "explicit", "max_deliver": 4, "backoff": [50_000_000, 500_000_000],
    });
    let created = jetstream.consumer("A", "c", config);
    assert_eq!(created["config"]["ack_wait"], 50_000_000);
    let body = json!({"batch": 1, "expires": 10_000_000_000_u64});
    // From the start each time: whoever is slow to look has waited less, not the server.
    let began = Instant::now();
    for (deliveries, at_least) in [(1, 0), (2, 40), (3, 540), (4, 1040)] {
        let got = jetstream.pull("A", "c", &body, 1);
        assert_eq!(got[0].place().deliveries, deliveries);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(at_least), "{took:?}");
    }
}

#[test]
fn js_201_what_is_refused_comes_again_before_what_is_new() {
    let mut jetstream = filled(3);
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    for word in ["-NAK", "-NAK nonsense", r#"-NAK {"delay": "x"}"#] {
        let got = jetstream.pull("A", "c", "", 1);
        assert_eq!(texts(&got), ["m1"], "{word}");
        jetstream.ack(&got[0], word);
    }
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    assert_eq!(texts(&got), ["m1", "m2"]);
    let began = Instant::now();
    for (word, message) in [
        ("-NAK 3s", &got[0]),
        (r#"-NAK {"delay": 3000000000}"#, &got[1]),
    ] {
        jetstream.ack(message, word);
    }
    let body = json!({"batch": 3, "expires": 10_000_000_000_u64});
    let got = jetstream.pull("A", "c", body, 3);
    assert_eq!(texts(&got)[0], "m3");
    assert!(began.elapsed() >= Duration::from_millis(2900));
    assert_eq!(got[2].place().deliveries, 2);
}

#[test]
fn js_202_a_message_comes_max_deliver_times() {
    let mut jetstream = filled(1);
    let subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.A.c";
    let mut watcher = jetstream.server.client();
    watcher.quietly(format!("SUB {subject} 1\r\n"));
    let config = json!({"ack_policy": "explicit", "max_deliver": 2, "ack_wait": 50_000_000});
    jetstream.consumer("A", "c", config);
    let body = json!({"batch": 1, "expires": 2_000_000_000});
    for deliveries in [1, 2] {
        let got = jetstream.pull("A", "c", &body, 1);
        assert_eq!(got[0].place().deliveries, deliveries);
    }
    let got = jetstream.pull("A", "c", json!({"batch": 1, "expires": 300_000_000}), 1);
    assert_eq!(got[0].status(), Some("408 Request Timeout"));
    let event: serde_json::Value = serde_json::from_str(watcher.message().text()).expect("JSON");
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.max_deliver");
    assert_eq!(
        (&event["stream_seq"], &event["deliveries"]),
        (&json!(1), &json!(2))
    );
    let info = jetstream.done("STREAM.INFO.A", "");
    assert_eq!(info["state"]["messages"], 1);
}

#[test]
fn js_203_unacknowledged_messages_are_bounded() {
    let mut jetstream = filled(4);
    let config = json!({"ack_policy": "explicit", "max_ack_pending": 2, "ack_wait": 200_000_000});
    jetstream.consumer("A", "c", config);
    let mut got = jetstream.pull("A", "c", json!({"batch": 4}), 4);
    assert_eq!(texts(&got)[..2], ["m1", "m2"]);
    // What is delivered again is not held back.
    let mut again = got.split_off(2);
    again.sort_by_key(|it| it.place().stream);
    assert_eq!(texts(&again), ["m1", "m2"]);
    jetstream.ack(&again[0], "");
    let got = jetstream.pull("A", "c", json!({"batch": 1, "expires": 150_000_000}), 1);
    assert_eq!(texts(&got), ["m3"]);
}

#[test]
fn js_205_headers_can_be_had_without_bodies() {
    let mut jetstream = filled(1);
    jetstream.store("a.h", "K: v", "12345");
    let config = json!({"ack_policy": "explicit", "headers_only": true});
    jetstream.consumer("A", "c", config);
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    assert_eq!(texts(&got), ["", ""]);
    assert_eq!(
        (got[0].header("Nats-Msg-Size"), got[0].header("K")),
        ("2", "")
    );
    assert_eq!(
        (got[1].header("Nats-Msg-Size"), got[1].header("K")),
        ("5", "v")
    );
}

#[test]
fn js_207_acknowledgements_are_sampled() {
    let mut jetstream = filled(2);
    let subject = "$JS.EVENT.METRIC.CONSUMER.ACK.A.c";
    let mut watcher = jetstream.server.client();
    watcher.quietly(format!("SUB {subject} 1\r\n"));
    jetstream.consumer(
        "A",
        "c",
        json!({"ack_policy": "explicit", "sample_freq": "100%"}),
    );
    let got = jetstream.pull("A", "c", json!({"batch": 2}), 2);
    jetstream.ack(&got[1], "");
    let event: serde_json::Value = serde_json::from_str(watcher.message().text()).expect("JSON");
    assert_eq!(event["type"], "io.nats.jetstream.metric.v1.consumer_ack");
    assert_eq!(
        (&event["stream"], &event["consumer"]),
        (&json!("A"), &json!("c"))
    );
    assert_eq!(
        (&event["stream_seq"], &event["consumer_seq"]),
        (&json!(2), &json!(2))
    );
    assert!(event["ack_time"].as_u64() > Some(0));
    assert_eq!(event["deliveries"], 1);
}

/// JS-202: what comes no more says so when it is ended, too.
#[test]
fn js_197_ended_messages_are_told_of() {
    let mut jetstream = filled(1);
    let mut watcher = jetstream.server.client();
    watcher.quietly("SUB $JS.EVENT.ADVISORY.CONSUMER.> 1\r\n");
    jetstream.consumer("A", "c", json!({"ack_policy": "explicit"}));
    assert!(watcher.message().subject.ends_with("CREATED.A.c"));
    let got = jetstream.pull("A", "c", "", 1);
    jetstream.ack(&got[0], "-NAK");
    let event = watcher.message();
    assert_eq!(event.subject, "$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.A.c");
    let got = jetstream.pull("A", "c", "", 1);
    jetstream.ack(&got[0], "+TERM because");
    let event = watcher.message();
    assert_eq!(
        event.subject,
        "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.A.c"
    );
    let event: serde_json::Value = serde_json::from_str(event.text()).expect("JSON");
    assert_eq!(
        (&event["reason"], &event["deliveries"]),
        (&json!("because"), &json!(2))
    );
}
