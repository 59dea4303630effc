//! Sections 23 and 24 of JetStream: what clients make of streams, requests as their libraries send
//! them.

use crate::support::client::Message;
use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

fn bucket(history: u64, more: Value) -> JetStream {
    let mut jetstream = JetStream::start();
    let mut config = json!({
        "max_msgs_per_subject": history, "discard": "new", "allow_rollup_hdrs": true,
        "deny_delete": true, "allow_direct": true, "duplicate_window": 120_000_000_000_u64,
        "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "max_msgs": -1, "storage": "file",
        "num_replicas": 1, "compression": "s2",
    });
    for (key, value) in more.as_object().expect("fields") {
        config[key] = value.clone();
    }
    let info = jetstream.stream("KV_b", &["$KV.b.>"], config.clone());
    for (key, value) in config.as_object().expect("fields") {
        assert_eq!(&info["config"][key], value, "{key}");
    }
    jetstream
}

fn put(jetstream: &mut JetStream, key: &str, headers: &str, value: &str) -> Result<u64, u64> {
    let answer = jetstream.store(&format!("$KV.b.{key}"), headers, value);
    match answer["error"]["err_code"].as_u64() {
        Some(number) => Err(number),
        None => Ok(answer["seq"].as_u64().expect("a sequence")),
    }
}

fn get(jetstream: &mut JetStream, key: &str) -> Message {
    jetstream.request(&format!("$JS.API.DIRECT.GET.KV_b.$KV.b.{key}"), "", "")
}

fn expecting(revision: u64) -> String {
    format!("Nats-Expected-Last-Subject-Sequence: {revision}")
}

/// What an ordered consumer of these subjects sends: everything there is.
fn watched(jetstream: &mut JetStream, stream: &str, more: Value) -> Vec<Message> {
    let mut watcher = jetstream.server.client();
    watcher.quietly("SUB watch 1\r\n");
    let mut config = json!({
        "deliver_policy": "last_per_subject", "ack_policy": "none", "max_deliver": 1,
        "deliver_subject": "watch", "mem_storage": true, "num_replicas": 1,
        "flow_control": true, "idle_heartbeat": 5_000_000_000_u64,
        "ack_wait": 79_200_000_000_000_u64,
    });
    for (key, value) in more.as_object().expect("fields") {
        config[key] = value.clone();
    }
    let body = json!({"stream_name": stream, "config": config});
    let created = jetstream.done(&format!("CONSUMER.CREATE.{stream}"), body);
    let count = created["num_pending"].as_u64().expect("a number")
        + created["delivered"]["consumer_seq"]
            .as_u64()
            .expect("a number");
    let mut all = Vec::new();
    for at in 1..=count {
        let message = watcher.message();
        let place = message.place();
        assert_eq!((place.consumer, place.pending), (at, count - at));
        all.push(message);
    }
    let name = created["name"].as_str().expect("a name");
    jetstream.done(&format!("CONSUMER.DELETE.{stream}.{name}"), "");
    all
}

#[test]
fn js_266_js_267_js_268_js_270_keys_and_values() {
    let mut jetstream = bucket(1, json!({}));
    assert_eq!(put(&mut jetstream, "k", "", "v1"), Ok(1));
    // What is full of one value takes the next one.
    assert_eq!(put(&mut jetstream, "k", "", "v2"), Ok(2));
    for (expected, outcome) in [(0, Err(10071)), (1, Err(10071)), (2, Ok(3))] {
        assert_eq!(
            put(&mut jetstream, "k", &expecting(expected), "v3"),
            outcome
        );
    }
    assert_eq!(put(&mut jetstream, "new", &expecting(0), "v4"), Ok(4));
    assert_eq!(put(&mut jetstream, "k", "KV-Operation: DEL", ""), Ok(5));
    let gone = get(&mut jetstream, "k");
    assert_eq!((gone.text(), gone.header("KV-Operation")), ("", "DEL"));
    assert_eq!(gone.header("Nats-Sequence"), "5");
    assert_eq!(put(&mut jetstream, "k", &expecting(0), "v6"), Err(10071));
    assert_eq!(put(&mut jetstream, "k", &expecting(5), "v6"), Ok(6));
    let purge = "KV-Operation: PURGE\r\nNats-Rollup: sub";
    assert_eq!(put(&mut jetstream, "k", purge, ""), Ok(7));
    let info = jetstream.done("STREAM.INFO.KV_b", json!({"subjects_filter": "$KV.b.>"}));
    assert_eq!(
        info["state"]["subjects"],
        json!({"$KV.b.k": 1, "$KV.b.new": 1})
    );
    // Messages are not deleted one by one.
    let (code, number, _) = jetstream.refused("STREAM.MSG.DELETE.KV_b", json!({"seq": 4}));
    assert_eq!((code, number), (500, 10057));
}

#[test]
fn js_269_reading_and_watching() {
    let mut jetstream = bucket(3, json!({}));
    for (key, value) in [
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
        ("c.d", "4"),
        ("a", "5"),
        ("a", "6"),
    ] {
        put(&mut jetstream, key, "", value).expect("stored");
    }
    put(&mut jetstream, "b", "KV-Operation: DEL", "").expect("stored");
    let got = get(&mut jetstream, "a");
    assert_eq!((got.text(), got.header("Nats-Subject")), ("6", "$KV.b.a"));
    assert_eq!(
        get(&mut jetstream, "none").status(),
        Some("404 Message Not Found")
    );
    let got = jetstream.request("$JS.API.DIRECT.GET.KV_b", "", r#"{"seq":3}"#);
    assert_eq!((got.text(), got.header("Nats-Subject")), ("3", "$KV.b.a"));
    let got = jetstream.request("$JS.API.DIRECT.GET.KV_b", "", r#"{"seq":1}"#);
    assert_eq!(got.status(), Some("404 Message Not Found"));

    let shown = |all: &[Message]| -> Vec<(String, String)> {
        let all = all.iter();
        all.map(|it| (it.subject.clone(), it.text().to_owned()))
            .collect()
    };
    let pair = |key: &str, value: &str| (format!("$KV.b.{key}"), value.to_owned());
    let all = watched(&mut jetstream, "KV_b", json!({"filter_subject": "$KV.b.>"}));
    assert_eq!(
        shown(&all),
        [pair("c.d", "4"), pair("a", "6"), pair("b", "")]
    );
    assert_eq!(all[2].header("KV-Operation"), "DEL");
    let keys = json!({"filter_subject": "$KV.b.>", "headers_only": true});
    let all = watched(&mut jetstream, "KV_b", keys);
    assert_eq!(shown(&all), [pair("c.d", ""), pair("a", ""), pair("b", "")]);
    let history = json!({"filter_subject": "$KV.b.a", "deliver_policy": "all"});
    let all = watched(&mut jetstream, "KV_b", history);
    assert_eq!(
        shown(&all),
        [pair("a", "3"), pair("a", "5"), pair("a", "6")]
    );
    let some = json!({"filter_subjects": ["$KV.b.a", "$KV.b.c.>"]});
    let all = watched(&mut jetstream, "KV_b", some);
    assert_eq!(shown(&all), [pair("c.d", "4"), pair("a", "6")]);
    let later = json!({
        "filter_subject": "$KV.b.>", "deliver_policy": "by_start_sequence", "opt_start_seq": 6,
    });
    let all = watched(&mut jetstream, "KV_b", later);
    assert_eq!(shown(&all), [pair("a", "6"), pair("b", "")]);
    assert!(watched(&mut jetstream, "KV_b", json!({"filter_subject": "$KV.b.z"})).is_empty());
}

#[test]
fn js_271_what_expires_leaves_a_marker() {
    let markers = json!({
        "allow_msg_ttl": true, "subject_delete_marker_ttl": 2_000_000_000, "max_age": 0,
    });
    let mut jetstream = bucket(1, markers);
    put(&mut jetstream, "k", "Nats-TTL: 2s", "v").expect("stored");
    let got = crate::support::wait_until("a marker", || {
        let got = get(&mut jetstream, "k");
        (got.header("Nats-Sequence") == "2").then_some(got)
    });
    assert_eq!(
        (got.text(), got.header("Nats-Marker-Reason")),
        ("", "MaxAge")
    );
}

#[test]
fn js_273_js_274_js_275_objects() {
    let mut jetstream = JetStream::start();
    let config = json!({
        "discard": "new", "allow_rollup_hdrs": true, "allow_direct": true, "storage": "file",
        "max_age": 0, "num_replicas": 1,
    });
    let subjects = ["$O.b.C.>", "$O.b.M.>"];
    jetstream.stream("OBJ_b", &subjects, config.clone());
    let chunk = "c".repeat(128 * 1024);
    let info = |size: usize, deleted: bool| {
        json!({"name": "o", "bucket": "b", "nuid": "n1", "size": size, "chunks": 3,
            "digest": "SHA-256=x", "deleted": deleted})
        .to_string()
    };
    for _ in 0..3 {
        jetstream.publish("$O.b.C.n1", &chunk);
    }
    let answer = jetstream.store("$O.b.M.bw==", "Nats-Rollup: sub", &info(3, false));
    assert_eq!(answer["seq"], 4);
    // Another description takes the place of the first one.
    let answer = jetstream.store("$O.b.M.bw==", "Nats-Rollup: sub", &info(4, false));
    assert_eq!(answer["seq"], 5);

    let got = jetstream.request("$JS.API.DIRECT.GET.OBJ_b.$O.b.M.bw==", "", "");
    let got: Value = serde_json::from_str(got.text()).expect("JSON");
    assert_eq!((&got["size"], &got["nuid"]), (&json!(4), &json!("n1")));
    let chunks = json!({"filter_subject": "$O.b.C.n1", "deliver_policy": "all"});
    let all = watched(&mut jetstream, "OBJ_b", chunks);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|it| it.payload == chunk.as_bytes()));
    let all = watched(
        &mut jetstream,
        "OBJ_b",
        json!({"filter_subject": "$O.b.M.>"}),
    );
    assert_eq!(all.len(), 1);
    let names = jetstream.done("STREAM.NAMES", json!({"subject": "$O.*.C.>"}));
    assert_eq!(names["streams"], json!(["OBJ_b"]));

    jetstream.store("$O.b.M.bw==", "Nats-Rollup: sub", &info(0, true));
    let purged = jetstream.done("STREAM.PURGE.OBJ_b", json!({"filter": "$O.b.C.n1"}));
    assert_eq!(purged["purged"], 3);
    let mut sealed = config;
    (sealed["name"], sealed["subjects"]) = (json!("OBJ_b"), json!(subjects));
    sealed["sealed"] = json!(true);
    let info = jetstream.done("STREAM.UPDATE.OBJ_b", sealed);
    assert_eq!(info["config"]["sealed"], true);
    let answer = jetstream.store("$O.b.C.n2", "", "x");
    assert_eq!(answer["error"]["err_code"], 10109);
}
