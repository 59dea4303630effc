//! Sections 4 to 6 of JetStream: what is asked of messages, what is refused, and what readers see
//! meanwhile.

use crate::support::jetstream::JetStream;
use crate::support::wait_until;
use serde_json::{Value, json};

fn number(answer: &Value) -> (u64, u64) {
    let error = &answer["error"];
    let part = |name: &str| error[name].as_u64().unwrap_or_else(|| panic!("{answer}"));
    (part("code"), part("err_code"))
}

/// JS-86: how a publisher is told that its message is not stored.
#[test]
fn js_86_a_refusal_names_the_stream_and_no_sequence() {
    let mut jetstream = JetStream::start();
    jetstream.stream("S", &["s"], json!({"max_msg_size": 10}));
    let refused = jetstream.request("s", "", "x".repeat(11));
    let refused: Value = serde_json::from_slice(&refused.payload).expect("JSON");
    let error = json!({
        "code": 400, "err_code": 10054, "description": "message size exceeds maximum allowed",
    });
    assert_eq!(refused, json!({"error": error, "stream": "S", "seq": 0}));
}

/// JS-92: without a cluster nothing is on its way: the sequence is known, and told.
#[test]
fn js_92_a_wrong_sequence_of_the_subject_is_told() {
    let mut jetstream = JetStream::start();
    jetstream.stream("S", &["s.>"], json!({}));
    let inbox = jetstream.inbox.clone();
    let expecting = "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n";
    let (head, all) = (expecting.len(), expecting.len() + 1);
    let burst: String = (0..10)
        .map(|at| format!("HPUB s.1 {inbox}.b{at} {head} {all}\r\n{expecting}x\r\n"))
        .collect();
    jetstream.client.send(burst);
    for _ in 0..10 {
        // A refusal need not wait for the disk.
        let message = jetstream.client.message();
        let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
        if message.subject.ends_with(".b0") {
            assert_eq!(answer["seq"], 1);
            continue;
        }
        let error = json!({
            "code": 400, "err_code": 10071, "description": "wrong last sequence: 1",
        });
        assert_eq!(answer["error"], error);
    }
}

/// JS-95: what is too large is refused with its own number.
#[test]
fn js_95_sizes_have_limits() {
    let text = r#"
        max_payload: 200000
        jetstream { store_dir: "@DIR@/s", max_mem: 2000, max_file: 1MB }
    "#;
    let mut jetstream = JetStream::with_config(text, "{}");
    jetstream.stream("S", &["s"], json!({"max_msg_size": 100_000}));
    jetstream.stream("M", &["m"], json!({"storage": "memory"}));
    let value = |length: usize| format!("K: {}", "v".repeat(length));
    // `NATS/1.0\r\nK: ` and two ends of lines are around it.
    for (headers, body, refused) in [
        (value(65_535 - 17), "x".repeat(10), None),
        (value(65_536 - 17), "x".repeat(10), Some((400, 10097))),
        (String::new(), "x".repeat(100_000), None),
        (String::new(), "x".repeat(100_001), Some((400, 10054))),
        (value(30_000 - 17), "x".repeat(70_001), Some((400, 10054))),
        (value(30_000 - 17), "x".repeat(70_000), None),
    ] {
        let answer = jetstream.store("s", &headers, &body);
        match refused {
            None => assert_eq!(answer.get("error"), None, "{answer}"),
            Some(expected) => assert_eq!(number(&answer), expected),
        }
    }
    // The server's memory: once there is more than it may be.
    let mut answers = (0..5).map(|_| jetstream.store("m", "", &"x".repeat(900)));
    let refused = answers.find(|it| it.get("error").is_some());
    assert_eq!(number(&refused.expect("a refusal")), (503, 10023));
}

/// JS-96: a full stream refuses what is new, or lets go of what is old.
#[test]
fn js_96_full_streams_refuse_or_let_go() {
    let mut jetstream = JetStream::start();
    for (at, (limit, text)) in [
        (json!({"max_msgs": 2}), "maximum messages exceeded"),
        (json!({"max_bytes": 100}), "maximum bytes exceeded"),
        (
            json!({"max_msgs_per_subject": 2, "discard_new_per_subject": true}),
            "maximum messages per subject exceeded",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (new, old) = (format!("n{at}"), format!("o{at}"));
        let mut fields = limit.clone();
        fields["discard"] = json!("new");
        jetstream.stream(&new, &[&new], fields);
        for _ in 0..2 {
            jetstream.publish(&new, "twelve bytes");
        }
        let refused = jetstream.store(&new, "", "twelve bytes");
        let error = json!({"code": 503, "err_code": 10077, "description": text});
        assert_eq!(refused["error"], error);
        let mut fields = limit;
        fields
            .as_object_mut()
            .expect("fields")
            .remove("discard_new_per_subject");
        jetstream.stream(&old, &[&old], fields);
        for seq in 1..=5 {
            assert_eq!(jetstream.publish(&old, "twelve bytes"), seq);
        }
        let state = jetstream.done(&format!("STREAM.INFO.{old}"), "")["state"].clone();
        assert_eq!(
            (&state["messages"], &state["first_seq"]),
            (&json!(2), &json!(4))
        );
    }
}

/// JS-103: a trace ends at the stream; what is only traced is not stored.
#[test]
fn js_103_traces_end_at_streams() {
    let mut jetstream = JetStream::start();
    let moved = json!({"subject_transform": {"src": "s.*", "dest": "t.{{wildcard(1)}}"}});
    jetstream.stream("S", &["s.>"], moved);
    jetstream.stream("I", &["i"], json!({"retention": "interest"}));
    let mut traces = jetstream.server.client();
    traces.quietly("SUB tr 1\r\n");
    for (subject, stream, stored_as, unwanted) in
        [("s.1", "S", "t.1", false), ("i", "I", "i", true)]
    {
        for only in [true, false] {
            let mut headers = "Nats-Trace-Dest: tr".to_owned();
            if only {
                headers += "\r\nNats-Trace-Only: true";
            }
            let block = format!("NATS/1.0\r\n{headers}\r\n\r\n");
            let (head, all) = (block.len(), block.len() + 1);
            jetstream
                .client
                .quietly(format!("HPUB {subject} {head} {all}\r\n{block}x\r\n"));
            let trace: Value = serde_json::from_slice(&traces.message().payload).expect("JSON");
            let events = trace["events"].as_array().expect("events");
            let mut event = events.last().expect("an event").clone();
            let fields = event.as_object_mut().expect("fields");
            assert!(fields.remove("ts").is_some_and(|it| it.is_string()));
            let mut expected = json!({"type": "js", "stream": stream, "subject": stored_as});
            if unwanted {
                expected["nointerest"] = json!(true);
            }
            assert_eq!(event, expected, "{trace}");
            let state = jetstream.done(&format!("STREAM.INFO.{stream}"), "")["state"].clone();
            assert_eq!(state["last_seq"], u64::from(!only), "{stream}");
        }
    }
}

/// JS-104: who reads sees what was before a rollup or a purge, or what is after it.
#[test]
fn js_104_readers_see_no_half_done_rollups() {
    let mut jetstream = JetStream::start();
    let fields = json!({"allow_direct": true, "allow_rollup_hdrs": true});
    jetstream.stream("S", &["s.>"], fields);
    for at in 0..10 {
        jetstream.publish(&format!("s.{at}"), "x");
    }
    let mut writer = jetstream.server.client();
    let block = "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n";
    let (head, all) = (block.len(), block.len() + 1);
    for round in 0..50 {
        let burst: String = (0..10)
            .map(|at| format!("HPUB s.{at} {head} {all}\r\n{block}y\r\n"))
            .collect();
        writer.send(burst);
        let body = json!({"multi_last": ["s.>"]}).to_string();
        let got = jetstream.request_next("$JS.API.DIRECT.GET.S", &body, 11);
        assert_eq!(got.len(), 11, "{round}");
        assert_eq!(got[10].status(), Some("204 EOB"));
        let subject = format!("$JS.API.DIRECT.GET.S.s.{}", round % 10);
        assert_eq!(jetstream.request(&subject, "", "").status(), None);
    }
}

/// JS-106: interest retention keeps what somebody has yet to acknowledge, and what nobody wants
/// uses up a sequence.
#[test]
fn js_106_interest_keeps_what_is_wanted() {
    let mut jetstream = JetStream::start();
    let fields = json!({"retention": "interest", "allow_rollup_hdrs": true});
    jetstream.stream("S", &["s.>"], fields);
    let unwanted = jetstream.store("s.1", "Nats-Msg-Id: a", "x");
    assert_eq!(unwanted["seq"], 1);
    let again = jetstream.store("s.1", "Nats-Msg-Id: a", "x");
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(1), &json!(true))
    );
    for (name, filter) in [("one", "s.1"), ("two", "s.>")] {
        let config = json!({
            "durable_name": name, "ack_policy": "explicit", "filter_subject": filter,
        });
        jetstream.consumer("S", name, config);
    }
    for (seq, subject) in [(2, "s.1"), (3, "s.2"), (4, "s.1")] {
        assert_eq!(jetstream.publish(subject, "x"), seq);
    }
    let messages = |js: &mut JetStream, expected: u64| {
        wait_until("messages to leave", || {
            let info = js.done("STREAM.INFO.S", "");
            (info["state"]["messages"] == expected).then_some(())
        });
    };
    messages(&mut jetstream, 3);
    let got = jetstream.pull("S", "two", json!({"batch": 3}), 3);
    for message in &got {
        jetstream.ack(message, "");
    }
    // The second was wanted by nobody else.
    messages(&mut jetstream, 2);
    let got = jetstream.pull("S", "one", json!({"batch": 2}), 2);
    jetstream.ack(&got[0], "");
    messages(&mut jetstream, 1);
    // Whoever goes wants nothing any more.
    jetstream.done("CONSUMER.DELETE.S.one", "");
    messages(&mut jetstream, 0);
    jetstream.publish("s.3", "x");
    messages(&mut jetstream, 1);
    jetstream.done("CONSUMER.DELETE.S.two", "");
    messages(&mut jetstream, 0);
    // A rollup that nobody wants takes away what there is.
    let config = json!({"durable_name": "c", "ack_policy": "explicit", "filter_subject": "s.4"});
    jetstream.consumer("S", "c", config);
    jetstream.publish("s.4", "x");
    messages(&mut jetstream, 1);
    let rolled = jetstream.store("s.5", "Nats-Rollup: all", "x");
    assert_eq!(rolled.get("error"), None, "{rolled}");
    messages(&mut jetstream, 0);
}

/// JS-108: a work queue has one way for each subject, and lets go of what is done.
#[test]
fn js_108_a_work_queue_has_one_way_for_each_subject() {
    let mut jetstream = JetStream::start();
    jetstream.stream("W", &["w.>"], json!({"retention": "workqueue"}));
    let config = |more: Value| {
        let mut config = json!({"durable_name": "c", "ack_policy": "explicit"});
        for (key, value) in more.as_object().expect("fields") {
            config[key] = value.clone();
        }
        config
    };
    for (more, expected) in [
        (json!({"ack_policy": "none"}), (400, 10084)),
        (json!({"ack_policy": "all"}), (400, 10098)),
        (json!({"deliver_policy": "new"}), (400, 10101)),
    ] {
        let (code, number, _) = jetstream.no_consumer("W", "c", config(more));
        assert_eq!((code, number), expected);
    }
    jetstream.consumer("W", "c", config(json!({"filter_subject": "w.1"})));
    for (more, expected) in [
        (json!({"filter_subject": "w.*"}), (400, 10100)),
        (json!({"filter_subject": "w.1"}), (400, 10100)),
        (json!({}), (400, 10099)),
    ] {
        let mut other = config(more.clone());
        other["durable_name"] = json!("d");
        let (code, number, _) = jetstream.no_consumer("W", "d", other);
        assert_eq!((code, number), expected, "{more}");
    }
    for at in 1..=4 {
        assert_eq!(jetstream.publish("w.1", "x"), at);
    }
    let got = jetstream.pull("W", "c", json!({"batch": 3}), 3);
    jetstream.ack(&got[0], "+ACK");
    jetstream.ack(&got[1], "+TERM");
    jetstream.ack(&got[2], "-NAK {\"delay\": 100000000000}");
    wait_until("what is done to leave", || {
        let state = jetstream.done("STREAM.INFO.W", "")["state"].clone();
        (state["messages"] == 2 && state["first_seq"] == 3).then_some(())
    });
}

/// JS-117: where markers stay longer than a message asks for, it lives as long, and says so.
#[test]
fn js_117_times_are_raised_to_those_of_markers() {
    let mut jetstream = JetStream::start();
    for (most, stored) in [(-1, "10"), (1, "5s"), (2, "10")] {
        let fields = json!({
            "allow_msg_ttl": true, "allow_rollup_hdrs": true, "allow_direct": true,
            "subject_delete_marker_ttl": 10_000_000_000_u64, "max_msgs_per_subject": most,
        });
        jetstream.stream("S", &["s"], fields);
        jetstream.store("s", "Nats-TTL: 5s", "x");
        let got = jetstream.request("$JS.API.DIRECT.GET.S.s", "", "");
        assert_eq!(got.header("Nats-TTL"), stored, "{most}");
        jetstream.store("s", "Nats-TTL: 15s", "x");
        let got = jetstream.request("$JS.API.DIRECT.GET.S.s", "", "");
        assert_eq!(got.header("Nats-TTL"), "15s", "{most}");
        jetstream.done("STREAM.DELETE.S", "");
    }
}
