//! Section 12 of JetStream: messages asked for directly.

use crate::support::jetstream::{JetStream, texts};
use serde_json::{Value, json};

/// A stream `A` of `a.>` that allows it, with `m1` to `m6` on `a.1`, `a.2`, `a.3`, `a.1`, ...
fn filled() -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({"allow_direct": true}));
    for at in 1..=6_u64 {
        let subject = format!("a.{}", (at - 1) % 3 + 1);
        jetstream.store(&subject, "K: v", &format!("m{at}"));
    }
    jetstream
}

const GET: &str = "$JS.API.DIRECT.GET.A";

/// JS-44, JS-159, JS-160.
#[test]
fn js_160_a_message_comes_as_it_was_with_what_the_stream_knows() {
    let mut jetstream = filled();
    for (body, expected) in [
        (json!({"seq": 2}), "m2"),
        (json!({"last_by_subj": "a.1"}), "m4"),
        (json!({"last_by_subj": "a.*"}), "m6"),
        (json!({"next_by_subj": "a.1", "seq": 2}), "m4"),
        (json!({"next_by_subj": "a.1"}), "m1"),
        (
            json!({"start_time": "2020-01-01T00:00:00Z", "next_by_subj": "a.3"}),
            "m3",
        ),
    ] {
        let got = jetstream.request(GET, "", body.to_string());
        assert_eq!(got.text(), expected, "{body}");
        assert_eq!((got.header("K"), got.header("Nats-Stream")), ("v", "A"));
        let at: u64 = expected[1..].parse().expect("a number");
        assert_eq!(got.header("Nats-Sequence"), at.to_string());
        assert_eq!(
            got.header("Nats-Subject"),
            format!("a.{}", (at - 1) % 3 + 1)
        );
        assert!(got.header("Nats-Time-Stamp").ends_with('Z'));
        assert_eq!(got.header("Nats-Num-Pending"), "");
    }
    for body in [
        json!({"seq": 9}),
        json!({"last_by_subj": "b"}),
        json!({"next_by_subj": "a.1", "seq": 5}),
        json!({"start_time": "2099-01-01T00:00:00Z"}),
    ] {
        let got = jetstream.request(GET, "", body.to_string());
        assert_eq!(got.status(), Some("404 Message Not Found"), "{body}");
    }
    // Who does not want an answer gets none.
    jetstream
        .client
        .quietly(format!("PUB {GET} 9\r\n{{\"seq\":1}}\r\n"));
}

#[test]
fn js_161_requests_that_make_no_sense_are_told_so() {
    let mut jetstream = filled();
    for (body, expected) in [
        ("", "408 Empty Request"),
        ("{}", "408 Empty Request"),
        ("nonsense", "408 Malformed Request"),
        (r#"{"seq": "x"}"#, "408 Malformed Request"),
        (r#"{"seq": 1, "last_by_subj": "a.1"}"#, "408 Bad Request"),
        (
            r#"{"last_by_subj": "a.1", "next_by_subj": "a.1"}"#,
            "408 Bad Request",
        ),
        (r#"{"last_by_subj": "a.1", "batch": 2}"#, "408 Bad Request"),
        (
            r#"{"seq": 1, "start_time": "2020-01-01T00:00:00Z"}"#,
            "408 Bad Request",
        ),
        (
            r#"{"multi_last": ["a.1"], "next_by_subj": "a.1"}"#,
            "408 Bad Request",
        ),
        (
            r#"{"multi_last": ["a.1"], "up_to_seq": 3, "up_to_time": "2020-01-01T00:00:00Z"}"#,
            "408 Bad Request",
        ),
    ] {
        let got = jetstream.request(GET, "", body);
        assert_eq!(got.status(), Some(expected), "{body}");
    }
    let got = jetstream.request(GET, "Nats-Required-Api-Level: 99", r#"{"seq": 1}"#);
    assert_eq!(
        (got.status(), got.payload.len()),
        (Some("412 Required Api Level"), 0)
    );
    let got = jetstream.request(GET, "Nats-Required-Api-Level: 5", r#"{"seq": 1}"#);
    assert_eq!(got.text(), "m1");
}

#[test]
fn js_162_the_last_of_a_subject_is_in_the_subject() {
    let mut jetstream = filled();
    let got = jetstream.request(&format!("{GET}.a.2"), "", "");
    assert_eq!((got.text(), got.header("Nats-Subject")), ("m5", "a.2"));
    let got = jetstream.request(&format!("{GET}.a.9"), "", "");
    assert_eq!(got.status(), Some("404 Message Not Found"));
    let got = jetstream.request(&format!("{GET}.a.2"), "", r#"{"no_hdr": true}"#);
    assert_eq!((got.text(), got.headers.len()), ("m5", 0));
    let got = jetstream.request(&format!("{GET}.a.2"), "", r#"{"seq": 1}"#);
    assert_eq!(got.status(), Some("408 Bad Request"));
}

/// Sends a request for several messages: bodies, with what is pending and the one before, and how it
/// ends.
fn batch(jetstream: &mut JetStream, body: Value) -> (Vec<(String, String, String)>, String) {
    let mut got = jetstream.request_next(GET, &body.to_string(), 99);
    let end = got.pop().expect("an end");
    let told = |it: &crate::support::client::Message, name| it.header(name).to_owned();
    let all = got
        .iter()
        .map(|it| {
            let (pending, last) = (told(it, "Nats-Num-Pending"), told(it, "Nats-Last-Sequence"));
            (it.text().to_owned(), pending, last)
        })
        .collect();
    let words = [
        end.status().expect("a status").to_owned(),
        told(&end, "Nats-Num-Pending"),
        told(&end, "Nats-Last-Sequence"),
        told(&end, "Nats-UpTo-Sequence"),
    ];
    (all, words.join(" ").trim_end().to_owned())
}

fn expected(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let rows = rows.iter();
    rows.map(|(a, b, c)| (a.to_string(), b.to_string(), c.to_string()))
        .collect()
}

#[test]
fn js_163_several_come_with_what_is_left() {
    let mut jetstream = filled();
    let (all, end) = batch(&mut jetstream, json!({"batch": 2, "seq": 2}));
    assert_eq!(all, expected(&[("m2", "4", "0"), ("m3", "3", "2")]));
    assert_eq!(end, "204 EOB 3 3");
    let body = json!({"batch": 9, "next_by_subj": "a.1", "seq": 1});
    let (all, end) = batch(&mut jetstream, body);
    assert_eq!(all, expected(&[("m1", "1", "0"), ("m4", "0", "1")]));
    assert_eq!(end, "204 EOB 0 4");
    // One comes however small the bound.
    let (all, end) = batch(
        &mut jetstream,
        json!({"batch": 9, "seq": 1, "max_bytes": 1}),
    );
    assert_eq!(all, expected(&[("m1", "5", "0")]));
    assert_eq!(end, "204 EOB 5 1");
    let body = json!({"batch": 2, "start_time": "2020-01-01T00:00:00Z"});
    let (all, _) = batch(&mut jetstream, body);
    assert_eq!(all, expected(&[("m1", "5", "0"), ("m2", "4", "1")]));
    let (all, end) = batch(&mut jetstream, json!({"batch": 2, "seq": 9}));
    assert_eq!((all.len(), &*end), (0, "404 Message Not Found"));
}

/// JS-164, JS-165.
#[test]
fn js_164_the_last_of_several_subjects_come_in_order() {
    let mut jetstream = filled();
    let (all, end) = batch(&mut jetstream, json!({"multi_last": ["a.*"]}));
    assert_eq!(
        all,
        expected(&[("m4", "2", "0"), ("m5", "1", "4"), ("m6", "0", "5")])
    );
    assert_eq!(end, "204 EOB 0 6 6");
    let body = json!({"multi_last": ["a.1", "a.3"], "up_to_seq": 3});
    let (all, end) = batch(&mut jetstream, body);
    assert_eq!(all, expected(&[("m1", "1", "0"), ("m3", "0", "1")]));
    assert_eq!(end, "204 EOB 0 3 3");
    let body = json!({"multi_last": ["a.*"], "batch": 1});
    let (all, end) = batch(&mut jetstream, body);
    assert_eq!(all, expected(&[("m4", "2", "0")]));
    assert_eq!(end, "204 EOB 2 4 6");
    let (all, _) = batch(&mut jetstream, json!({"multi_last": ["a.*"], "seq": 5}));
    assert_eq!(all, expected(&[("m5", "1", "0"), ("m6", "0", "5")]));
    for body in [
        json!({"multi_last": ["b"]}),
        json!({"multi_last": ["a.*"], "up_to_time": "2020-01-01T00:00:00Z"}),
    ] {
        let (all, end) = batch(&mut jetstream, body);
        assert_eq!((all.len(), &*end), (0, "404 No Results"));
    }
    let body = json!({"multi_last": ["a.*"], "up_to_time": "2099-01-01T00:00:00Z"});
    assert_eq!(batch(&mut jetstream, body).0.len(), 3);
}

#[test]
fn js_164_there_is_an_end_to_how_many_subjects() {
    let mut jetstream = filled();
    let mut publisher = jetstream.server.client();
    let all: String = (0..1025)
        .map(|at| format!("PUB a.x.{at} 0\r\n\r\n"))
        .collect();
    publisher.quietly(all);
    crate::support::wait_until("the messages", || {
        let info = jetstream.done("STREAM.INFO.A", "");
        (info["state"]["messages"] == 1031).then_some(())
    });
    let (all, end) = batch(&mut jetstream, json!({"multi_last": ["a.x.*"]}));
    assert_eq!((all.len(), &*end), (0, "413 Too Many Results"));
    jetstream.done("STREAM.PURGE.A", json!({"filter": "a.x.7"}));
    let got = jetstream.request_next(GET, r#"{"multi_last": ["a.x.*"]}"#, 2000);
    assert_eq!(got.len(), 1025);
}

#[test]
fn js_166_headers_can_be_left_out() {
    let mut jetstream = filled();
    let got = jetstream.request(GET, "", r#"{"seq": 1, "no_hdr": true}"#);
    assert_eq!((got.text(), got.headers.len()), ("m1", 0));
    let body = r#"{"seq": 1, "batch": 2, "no_hdr": true}"#;
    let got = jetstream.request_next(GET, body, 3);
    assert_eq!(texts(&got), ["m1", "m2", "204 EOB"]);
    assert_eq!(
        (got[0].headers.len(), got[2].header("Nats-Last-Sequence")),
        (0, "2")
    );
}

/// JS-159: only of streams that allow it.
#[test]
fn js_159_who_does_not_allow_it_is_not_there() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a.>"], json!({}));
    jetstream.publish("a.1", "m1");
    let got = jetstream.request(GET, "", r#"{"seq": 1}"#);
    assert_eq!(got.status(), Some("503"));
    let config = json!({"name": "A", "subjects": ["a.>"], "allow_direct": true});
    jetstream.done("STREAM.UPDATE.A", config);
    let got = jetstream.request(GET, "", r#"{"seq": 1}"#);
    assert_eq!(got.text(), "m1");
    let config = json!({"name": "A", "subjects": ["a.>"]});
    jetstream.done("STREAM.UPDATE.A", config);
    let got = jetstream.request(GET, "", r#"{"seq": 1}"#);
    assert_eq!(got.status(), Some("503"));
}

/// JS-159: one that is only on the disk is read, and nothing else has to happen for that.
#[test]
fn js_159_a_message_comes_from_the_disk_at_once() {
    let mut jetstream = filled();
    for _ in 0..200 {
        jetstream.publish("a.9", &"x".repeat(1000));
    }
    for (seq, expected) in [(1, "m1"), (6, "m6")] {
        let began = std::time::Instant::now();
        let got = jetstream.request(GET, "", format!(r#"{{"seq": {seq}}}"#));
        assert_eq!(got.text(), expected);
        // A shard that nothing happens to looks around every ten seconds anyway.
        assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
    }
}
