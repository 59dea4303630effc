//! Section 13 of JetStream: copies of streams, and streams made of them.

use crate::support::client::Message;
use crate::support::jetstream::JetStream;
use crate::support::server::{Server, beyond_stock};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A copy of stream `ONE` as stock 2.15.1 makes it: of five messages `one.1` to `one.5`, of which
/// the third was removed; its consumer `c` got the first two, the second one twice, and had the
/// first one acknowledged.
const OF_STOCK: &[u8] = include_bytes!("../fixtures/jetstream/stock-2.15.1.arc.s2");

/// The same of stock 2.12.8, in the format before 2.15; the fifth message has a header.
const OF_OLDER: &[u8] = include_bytes!("../fixtures/jetstream/stock-2.12.8.tar.s2");

/// Text that is not worth compressing.
fn noise(len: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..len).map(letter).collect()
}

/// A stream `ONE` of `count` messages of 1,000 bytes.
fn filled(count: u64) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("ONE", &["one.>"], json!({}));
    for at in 1..=count {
        jetstream.publish(&format!("one.{at}"), &noise(1000, at));
    }
    jetstream.client.quietly("SUB copy 2\r\n");
    jetstream
}

/// The pieces of a copy, each confirmed, and the message behind them.
fn pieces(jetstream: &mut JetStream, fields: Value) -> (Vec<Message>, Message) {
    let mut request = fields;
    request["deliver_subject"] = json!("copy");
    jetstream.done("STREAM.SNAPSHOT.ONE", request);
    let mut pieces = Vec::new();
    loop {
        let message = jetstream.client.message();
        if message.subject != "copy" {
            continue;
        }
        if message.payload.is_empty() {
            return (pieces, message);
        }
        if !message.reply.is_empty() {
            let confirm = format!("PUB {} 0\r\n\r\n", message.reply);
            jetstream.client.send(confirm);
        }
        pieces.push(message);
    }
}

fn joined(pieces: &[Message]) -> Vec<u8> {
    let all = pieces.iter();
    all.flat_map(|it| it.payload.iter().copied()).collect()
}

/// Where the pieces of a new stream `ONE` go.
fn begin(jetstream: &mut JetStream, config: Value) -> String {
    let request = json!({"config": config, "state": {}});
    let answer = jetstream.done("STREAM.RESTORE.ONE", request);
    let subject = answer["deliver_subject"].as_str().expect("a subject");
    assert!(
        subject.starts_with("$JS.SNAPSHOT.RESTORE.ONE."),
        "{subject}"
    );
    subject.to_owned()
}

/// Makes `ONE` of a copy: what is answered to its end.
fn restored(jetstream: &mut JetStream, config: Value, copy: &[u8]) -> Value {
    let subject = begin(jetstream, config);
    for piece in copy.chunks(2000) {
        let answer = jetstream.request(&subject, "", piece);
        assert_eq!(answer.payload.len(), 0, "{answer:?}");
    }
    let answer = jetstream.request(&subject, "", b"");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

fn config() -> Value {
    json!({"name": "ONE", "subjects": ["one.>"]})
}

#[test]
fn js_167_js_168_topo_118_pieces_are_confirmed_and_end_with_a_status() {
    let mut jetstream = filled(10);
    let (pieces, end) = pieces(
        &mut jetstream,
        json!({"chunk_size": 1024, "window_size": 1024}),
    );
    assert_eq!(end.status(), Some("204"));
    let (last, whole) = pieces.split_last().expect("pieces");
    assert!(whole.len() >= 10, "{}", whole.len());
    let front = whole[0].reply.strip_suffix(".1024.1").expect("a number");
    assert!(front.starts_with("$JS.SNAPSHOT.ACK.ONE."), "{front}");
    for (at, piece) in whole.iter().enumerate() {
        assert_eq!(piece.payload.len(), 1024);
        assert_eq!(piece.reply, format!("{front}.1024.{}", at + 1));
    }
    assert!(last.reply.is_empty() && last.payload.len() <= 1024);
}

#[test]
fn js_168_one_short_piece_ends_without_a_status() {
    let mut jetstream = filled(1);
    let (pieces, end) = pieces(&mut jetstream, json!({}));
    assert_eq!((pieces.len(), end.status()), (1, None));
    assert!(pieces[0].payload.starts_with(b"\xff\x06\x00\x00S2sTwO"));
}

#[test]
fn js_168_a_receiver_that_confirms_nothing_is_given_up() {
    let mut jetstream = filled(10);
    let request = json!({"deliver_subject": "copy", "chunk_size": 1024, "window_size": 2048});
    jetstream.done("STREAM.SNAPSHOT.ONE", request);
    let mut count = 0;
    let end = loop {
        let message = jetstream.client.message();
        match message.status() {
            Some(status) => break status.to_owned(),
            None => count += 1,
        }
    };
    assert_eq!((count, end.as_str()), (2, "408 No Flow Response"));
}

#[test]
fn js_168_js_171_a_receiver_that_is_not_there_is_given_up() {
    let mut jetstream = filled(1);
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.> 3\r\n");
    jetstream.done("STREAM.SNAPSHOT.ONE", json!({"deliver_subject": "nobody"}));
    let mut event = || listener.message();
    assert!(event().subject.ends_with(".SNAPSHOT_CREATE.ONE"));
    let event = event();
    assert!(event.subject.ends_with(".SNAPSHOT_COMPLETE.ONE"));
}

/// JS-168: a client's requests are answered to a pattern below which the receiver subscribes later.
#[test]
fn js_168_the_receiver_itself_is_waited_for() {
    let mut jetstream = filled(3);
    let request = json!({"deliver_subject": "answer.copy"});
    jetstream.done("STREAM.SNAPSHOT.ONE", request);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut receiver = jetstream.server.client();
    receiver.quietly("SUB answer.copy 1\r\n");
    assert!(receiver.message().payload.starts_with(b"\xff\x06"));
    assert!(receiver.message().payload.is_empty());
}

/// JS-169, JS-170: messages keep sequences, times and headers, consumers their places.
#[test]
fn js_169_js_170_a_stream_comes_back_as_it_was() {
    for storage in ["file", "memory"] {
        let mut jetstream = filled(0);
        jetstream.done("STREAM.DELETE.ONE", "");
        let fields = json!({"storage": storage, "max_msgs_per_subject": 20});
        jetstream.stream("ONE", &["one.>"], fields);
        for at in 1..=40 {
            jetstream.store("one.x", "A: b", &noise(at * 17, at as u64));
        }
        jetstream.consumer(
            "ONE",
            "pulls",
            json!({"durable_name": "pulls", "ack_policy": "explicit"}),
        );
        jetstream.consumer(
            "ONE",
            "new",
            json!({"durable_name": "new", "ack_policy": "explicit", "deliver_policy": "new"}),
        );
        let got = jetstream.pull("ONE", "pulls", json!({"batch": 5}), 5);
        jetstream.ack(&got[0], "");
        jetstream.ack(&got[2], "");
        jetstream.done("STREAM.MSG.DELETE.ONE", json!({"seq": 30}));
        jetstream.done("STREAM.MSG.DELETE.ONE", json!({"seq": 40}));
        let describe = |jetstream: &mut JetStream| {
            let mut info = jetstream.done("STREAM.INFO.ONE", json!({"deleted_details": true}));
            // That of a message which is gone is not in a copy.
            info["state"]["last_ts"] = json!(null);
            let message = jetstream.done("STREAM.MSG.GET.ONE", json!({"seq": 33}));
            let place = |name: &str, jetstream: &mut JetStream| {
                let info = jetstream.consumer_info("ONE", name);
                let fields = ["num_ack_pending", "num_pending", "num_redelivered"];
                let numbers = fields.map(|it| info[it].clone());
                let places = ["delivered", "ack_floor"].map(|it| info[it]["consumer_seq"].clone());
                (numbers, places, info["config"].clone())
            };
            let consumers = ["pulls", "new"].map(|it| place(it, jetstream));
            (
                info["config"].clone(),
                info["state"].clone(),
                message,
                consumers,
            )
        };
        let before = describe(&mut jetstream);
        let (pieces, _) = pieces(&mut jetstream, json!({}));
        jetstream.done("STREAM.DELETE.ONE", "");
        let answer = restored(&mut jetstream, before.0.clone(), &joined(&pieces));
        assert_eq!(
            answer["type"],
            "io.nats.jetstream.api.v1.stream_create_response"
        );
        assert_eq!(answer["state"]["messages"], 18, "{answer}");
        let after = describe(&mut jetstream);
        assert_eq!(after, before, "{storage}");
        // It goes on where it was.
        assert_eq!(jetstream.publish("one.x", "next"), 41);
        let next = jetstream.pull("ONE", "pulls", json!({"batch": 1}), 1);
        assert_eq!(next[0].place().stream, 26);
        let next = jetstream.pull("ONE", "new", json!({"batch": 1}), 1);
        assert_eq!(next[0].place().stream, 41);
    }
}

#[test]
fn js_169_a_copy_of_stock_becomes_a_stream() {
    becomes_a_stream(OF_STOCK, "");
}

/// JS-169, JS-170: the format is seen from the first bytes.
#[test]
fn js_170_a_copy_of_an_older_server_becomes_a_stream() {
    becomes_a_stream(OF_OLDER, "v");
    // One that ends too early does not.
    let mut jetstream = filled(0);
    jetstream.done("STREAM.DELETE.ONE", "");
    let answer = restored(&mut jetstream, config(), &OF_OLDER[..700]);
    assert_eq!(answer["error"]["err_code"], 10062, "{answer}");
    jetstream.stream("TWO", &["one.>"], json!({}));
}

fn becomes_a_stream(copy: &[u8], header: &str) {
    let mut jetstream = filled(0);
    jetstream.done("STREAM.DELETE.ONE", "");
    let answer = restored(&mut jetstream, config(), copy);
    assert_eq!(answer.get("error"), None, "{answer}");
    let info = jetstream.done("STREAM.INFO.ONE", json!({"deleted_details": true}));
    let state = &info["state"];
    assert_eq!(
        (&state["messages"], &state["last_seq"]),
        (&json!(4), &json!(5))
    );
    assert_eq!(state["deleted"], json!([3]));
    assert_eq!(state["consumer_count"], 1);
    let message = jetstream.done("STREAM.MSG.GET.ONE", json!({"seq": 5}));
    assert_eq!(message["message"]["subject"], "one.5");
    let block = message["message"]["hdrs"].as_str().unwrap_or_default();
    let block = data_encoding::BASE64.decode(block.as_bytes());
    let block = String::from_utf8(block.expect("base64")).expect("text");
    let value = block.lines().find_map(|line| line.strip_prefix("K: "));
    assert_eq!(value.unwrap_or_default(), header);
    let consumer = jetstream.consumer_info("ONE", "c");
    let numbers = ["num_ack_pending", "num_redelivered", "num_pending"];
    assert_eq!(
        numbers.map(|it| consumer[it].clone()),
        [1, 1, 2].map(|it| json!(it))
    );
    assert_eq!(consumer["delivered"]["consumer_seq"], 3);
    assert_eq!(consumer["ack_floor"]["stream_seq"], 1);
}

#[test]
fn js_172_consumers_may_be_left_out() {
    let mut jetstream = filled(3);
    jetstream.consumer("ONE", "c", json!({"durable_name": "c"}));
    let (pieces, _) = pieces(&mut jetstream, json!({"no_consumers": true, "jsck": true}));
    jetstream.done("STREAM.DELETE.ONE", "");
    let answer = restored(&mut jetstream, config(), &joined(&pieces));
    let state = &answer["state"];
    assert_eq!(
        (&state["messages"], &state["consumer_count"]),
        (&json!(3), &json!(0))
    );
}

#[test]
fn js_027_js_028_what_is_wrong_with_requests() {
    let mut jetstream = filled(0);
    let invalid = "deliver subject not valid";
    let missing = (404, 10059, "stream not found".to_owned());
    let bad = (400, 10003, "bad request".to_owned());
    for (endpoint, body, expected) in [
        ("STREAM.SNAPSHOT.ONE", "", bad.clone()),
        ("STREAM.SNAPSHOT.ONE", "{}", bad.clone()),
        ("STREAM.SNAPSHOT.NONE", "x", missing.clone()),
        (
            "STREAM.SNAPSHOT.NONE",
            r#"{"deliver_subject": "x"}"#,
            missing,
        ),
        (
            "STREAM.SNAPSHOT.ONE",
            r#"{"deliver_subject": "x.*"}"#,
            (400, 10015, invalid.to_owned()),
        ),
        (
            "STREAM.SNAPSHOT.ONE",
            r#"{"deliver_subject": "two words"}"#,
            (400, 10015, invalid.to_owned()),
        ),
        ("STREAM.RESTORE.ONE", "", bad),
        (
            "STREAM.RESTORE.ONE",
            r#"{"config": {"name": "TWO"}}"#,
            (
                400,
                10056,
                "stream name in subject does not match request".to_owned(),
            ),
        ),
        (
            "STREAM.RESTORE.ONE",
            r#"{"config": {"name": "ONE", "subjects": ["one.>"]}}"#,
            (
                400,
                10130,
                "stream name already in use, cannot restore".to_owned(),
            ),
        ),
        (
            "STREAM.RESTORE.ONE",
            r#"{"config": {"name": "ONE", "subjects": ["other"]}}"#,
            (
                400,
                10130,
                "stream name already in use, cannot restore".to_owned(),
            ),
        ),
    ] {
        assert_eq!(
            jetstream.refused(endpoint, body),
            expected,
            "{endpoint} {body}"
        );
    }
}

#[test]
fn js_171_js_238_copies_are_told_of() {
    let mut jetstream = filled(2);
    let (pieces, _) = pieces(&mut jetstream, json!({}));
    let mut listener = jetstream.server.client();
    listener.quietly("SUB $JS.EVENT.ADVISORY.STREAM.*.ONE 3\r\n");
    let mut event = |word: &str| -> Value {
        loop {
            let message = listener.message();
            if message.subject.ends_with(&format!(".{word}.ONE")) {
                return serde_json::from_slice(&message.payload).expect("JSON");
            }
        }
    };
    let names = |event: &Value| -> Vec<String> {
        let fields = event.as_object().expect("an object");
        fields.keys().cloned().collect()
    };
    let request = json!({"deliver_subject": "copy"});
    jetstream.done("STREAM.SNAPSHOT.ONE", request);
    let begun = event("SNAPSHOT_CREATE");
    assert_eq!(
        begun["type"],
        "io.nats.jetstream.advisory.v1.snapshot_create"
    );
    assert_eq!(
        names(&begun),
        ["type", "id", "timestamp", "stream", "state", "client"]
    );
    assert_eq!(begun["state"]["messages"], 2);
    assert_eq!(begun["client"]["acc"], "$G");
    let done = event("SNAPSHOT_COMPLETE");
    assert_eq!(
        names(&done),
        [
            "type",
            "id",
            "timestamp",
            "stream",
            "start",
            "end",
            "client"
        ]
    );
    jetstream.done("STREAM.DELETE.ONE", "");
    let subject = begin(&mut jetstream, config());
    let begun = event("RESTORE_CREATE");
    assert_eq!(
        begun["type"],
        "io.nats.jetstream.advisory.v1.restore_create"
    );
    assert_eq!(
        names(&begun),
        ["type", "id", "timestamp", "stream", "client"]
    );
    let copy = joined(&pieces);
    jetstream.request(&subject, "", &copy);
    jetstream
        .client
        .send(format!("PUB {subject} answer.last 0\r\n\r\n"));
    let done = event("RESTORE_COMPLETE");
    let fields = [
        "type",
        "id",
        "timestamp",
        "stream",
        "start",
        "end",
        "bytes",
        "client",
    ];
    assert_eq!(names(&done), fields);
    assert_eq!(done["bytes"], copy.len());
}

#[test]
fn js_170_a_copy_without_its_end_is_no_stream() {
    let mut jetstream = filled(50);
    let (pieces, _) = pieces(&mut jetstream, json!({}));
    jetstream.done("STREAM.DELETE.ONE", "");
    let copy = joined(&pieces);
    for (part, why) in [
        (&copy[..0], ""),
        (b"no copy", ""),
        (&copy[..copy.len() - 9], ""),
    ] {
        let answer = restored(&mut jetstream, config(), part);
        let error = &answer["error"];
        assert_eq!(
            (&error["code"], &error["err_code"]),
            (&json!(500), &json!(10062)),
            "{why}"
        );
        let text = error["description"].as_str().expect("text");
        assert!(text.starts_with("restore failed: "), "{text}");
        if beyond_stock() {
            // Stock leaves what it had so far.
            assert_eq!(jetstream.refused("STREAM.INFO.ONE", "").1, 10059);
        } else {
            jetstream.ask("STREAM.DELETE.ONE", "");
        }
    }
    let answer = restored(&mut jetstream, config(), &copy);
    assert_eq!(answer["state"]["messages"], 50, "{answer}");
}

/// JS-170: subjects that are another stream's are told of at the end.
#[test]
fn js_170_a_copy_does_not_take_subjects_from_others() {
    let mut jetstream = filled(5);
    let (pieces, _) = pieces(&mut jetstream, json!({}));
    jetstream.done("STREAM.DELETE.ONE", "");
    jetstream.stream("OTHER", &["one.*"], json!({}));
    let copy = joined(&pieces);
    let answer = restored(&mut jetstream, config(), &copy);
    let error = json!({
        "code": 500, "err_code": 10062,
        "description": "restore failed: error adding stream: subjects overlap with an existing stream (10065)",
    });
    assert_eq!(answer["error"], error, "{answer}");
    assert_eq!(jetstream.refused("STREAM.INFO.ONE", "").1, 10059);
    assert_eq!(jetstream.publish("one.1", "x"), 1);
    jetstream.done("STREAM.DELETE.OTHER", "");
    let answer = restored(&mut jetstream, config(), &copy);
    assert_eq!(answer["state"]["messages"], 5, "{answer}");
}

/// JS-170: more than one replica is refused at the end, too.
#[test]
fn js_170_a_copy_with_replicas_is_refused_at_the_end() {
    let mut jetstream = filled(5);
    let (pieces, _) = pieces(&mut jetstream, json!({}));
    jetstream.done("STREAM.DELETE.ONE", "");
    let mut replicated = config();
    replicated["num_replicas"] = json!(3);
    let answer = restored(&mut jetstream, replicated, &joined(&pieces));
    let error = json!({
        "code": 500, "err_code": 10062,
        "description": "restore failed: error adding stream: replicas > 1 not supported in non-clustered mode (10074)",
    });
    assert_eq!(answer["error"], error, "{answer}");
    assert_eq!(jetstream.refused("STREAM.INFO.ONE", "").1, 10059);
}

/// JS-170: its name is taken, and nobody sees it.
#[test]
fn js_170_a_stream_is_there_once_it_is_whole() {
    if !beyond_stock() {
        return; // it shows parts
    }
    let mut jetstream = filled(0);
    jetstream.done("STREAM.DELETE.ONE", "");
    let subject = begin(&mut jetstream, config());
    jetstream.request(&subject, "", &OF_STOCK[..OF_STOCK.len() / 2]);
    assert_eq!(jetstream.refused("STREAM.INFO.ONE", "").1, 10059);
    assert_eq!(jetstream.refused("STREAM.DELETE.ONE", "").1, 10059);
    assert_eq!(jetstream.refused("STREAM.CREATE.ONE", config()).1, 10058);
    assert_eq!(jetstream.done("STREAM.NAMES", "")["streams"], Value::Null);
    jetstream.request(&subject, "", &OF_STOCK[OF_STOCK.len() / 2..]);
    let answer = jetstream.request(&subject, "", b"");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer["state"]["messages"], 4, "{answer}");
    assert_eq!(
        jetstream.done("STREAM.NAMES", "")["streams"],
        json!(["ONE"])
    );
}

#[test]
fn js_170_a_server_that_dies_meanwhile_leaves_nothing() {
    let mut jetstream = filled(0);
    jetstream.stream("TWO", &["two"], json!({}));
    jetstream.done("STREAM.DELETE.ONE", "");
    let subject = begin(&mut jetstream, config());
    jetstream.request(&subject, "", &OF_STOCK[..OF_STOCK.len() / 2]);
    jetstream.publish("two", "what is written later is on the disk, too");
    jetstream.server.signal(Signal::KILL);
    let store = jetstream.server.dir().file("store");
    let server = Server::builder()
        .flags(&format!("-js -m -1 -sd {store}"))
        .start();
    assert_eq!(server.get("/healthz").status, 200);
    let answer = server.json("/jsz?streams=1");
    let streams = &answer["account_details"][0]["stream_detail"];
    let names: Vec<&Value> = streams
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| &it["name"])
        .collect();
    if beyond_stock() {
        assert_eq!(names, [&json!("TWO")]);
    }
}
