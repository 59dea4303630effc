//! Sections 19 and 20 of JetStream: what the server has for streams, and what it does with their
//! files.

use crate::support::jetstream::JetStream;
use crate::support::server::Server;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// What `/varz` and `/jsz` say the server has; they agree.
#[track_caller]
fn configured(server: &Server) -> Value {
    let varz = server.get("/varz").json()["jetstream"]["config"].clone();
    assert_eq!(server.get("/jsz").json()["config"], varz);
    varz
}

/// JS-246: three quarters of the memory (or of `GOMEMLIMIT`) and of the free disk where the
/// configuration names no limit; accounts have none of their own.
#[test]
fn js_246_limits_without_a_configured_one() {
    for (limits, memory, storage, both) in [
        ("", Some(48 * MIB), None, false),
        ("max_mem: 1MB", Some(MIB), None, false),
        ("max_file: 3MB", Some(48 * MIB), Some(3 * MIB), false),
        (
            "max_mem: 1MB, max_file: 3MB",
            Some(MIB),
            Some(3 * MIB),
            true,
        ),
        ("max_mem: 0, max_file: 3MB", Some(0), Some(3 * MIB), false),
    ] {
        let text = format!("http: '127.0.0.1:-1'\njetstream {{ store_dir: '@DIR@/s', {limits} }}");
        let builder = Server::builder().config(&text).env("GOMEMLIMIT", "64MiB");
        let mut jetstream = JetStream::of(builder.start(), "{}");
        let config = configured(&jetstream.server);
        let disk = config["max_storage"].as_u64().expect("bytes");
        assert_eq!(config["max_memory"].as_u64(), memory, "{limits}");
        assert!(storage.map_or(disk > 0 && disk < 1 << 60, |it| it == disk));
        assert_eq!(config.get("compress_ok"), both.then_some(&json!(true)));
        let info = jetstream.done("INFO", "");
        assert_eq!(info["limits"]["max_memory"], -1);
        assert_eq!(info["limits"]["max_storage"], -1);
        // More than there is cannot be reserved.
        for (storage, most, refused) in [
            ("memory", memory.unwrap_or(0), (500, 10028)),
            ("file", disk, (500, 10047)),
        ] {
            let stream = json!({"name": "S", "storage": storage, "max_bytes": most + 1});
            let (code, number, _) = jetstream.refused("STREAM.CREATE.S", stream);
            assert_eq!((code, number), refused, "{limits}");
        }
    }
}

/// JS-100: an account's usage counts subject, headers, body and what each record takes beside them,
/// in memory and in files.
#[test]
fn js_100_usage_is_that_of_whole_records() {
    let text = r#"
        jetstream { store_dir: "@DIR@/s", max_mem: 1MB, max_file: 1MB }
        accounts {
            A { jetstream: {max_mem: 1000, max_file: 1000}, users: [{user: a, password: a}] }
        }
    "#;
    let mut jetstream = JetStream::with_config(text, r#"{"user": "a", "pass": "a"}"#);
    for (storage, plain, with_headers) in [("memory", 16, 16), ("file", 30, 34)] {
        jetstream.stream("S", &["s.>"], json!({"storage": storage}));
        let block = "NATS/1.0\r\nK: v\r\n\r\n".len() as u64;
        let sizes = [
            ("", 3 + 100 + plain),
            ("K: v", 3 + block + 100 + with_headers),
        ];
        let body = "x".repeat(100);
        let (mut used, mut turn) = (0, 0);
        loop {
            let (headers, size) = sizes[turn % 2];
            let answer = jetstream.store("s.1", headers, &body);
            if used + size > 1000 {
                assert_eq!(answer["error"]["err_code"], 10002, "{storage}: {used}");
                break;
            }
            assert_eq!(answer["seq"], turn + 1, "{storage}: {used} and {size}");
            used += size;
            turn += 1;
        }
        let info = jetstream.done("INFO", "");
        let field = if storage == "file" {
            "storage"
        } else {
            "memory"
        };
        assert_eq!(info[field], used);
        let info = jetstream.done("STREAM.INFO.S", "");
        assert_eq!(info["state"]["bytes"], used);
        jetstream.done("STREAM.DELETE.S", "");
    }
}

/// JS-98: what a stream cannot take in time is refused, and its publisher told.
#[test]
fn js_98_a_stream_with_too_much_waiting_refuses() {
    let text = r#"jetstream {
        store_dir: "@DIR@/s", max_mem: 64MB, max_file: 64MB, max_buffered_size: 10000
    }"#;
    let mut jetstream = JetStream::with_config(text, "{}");
    jetstream.stream("S", &["s"], json!({}));
    let inbox = jetstream.inbox.clone();
    let body = "x".repeat(1000);
    let (mut sent, mut refused) = (0, 0);
    // A machine may be quick enough for one burst.
    for _ in 0..20 {
        let mut burst = String::new();
        for at in 0..1000 {
            burst += &format!("PUB s {inbox}.burst{at} 1000\r\n{body}\r\n");
        }
        jetstream.client.send(burst);
        for _ in 0..1000 {
            let message = jetstream.client.message();
            let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
            if answer["error"].is_null() {
                assert_eq!(message.status(), None);
                sent += 1;
                continue;
            }
            refused += 1;
            assert_eq!(message.status(), Some("429 Too Many Requests"));
            let error = json!({
                "code": 429, "err_code": 10167, "description": "too many requests",
            });
            assert_eq!(answer, json!({"error": error, "stream": "S", "seq": 0}));
        }
        if refused > 0 {
            break;
        }
    }
    assert!(sent > 0 && refused > 0, "{sent} and {refused}");
    let info = jetstream.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], sent);
}

/// JS-249: whose traffic a cluster's is may be said where there is none.
#[test]
fn js_249_cluster_traffic_is_taken_from_the_configuration() {
    for (traffic, works) in [("owner", true), ("system", true), ("nobody", false)] {
        let text = format!(
            "jetstream {{ store_dir: '@DIR@/s' }}\naccounts {{
                SYS {{ users: [{{user: sys, password: s}}] }}
                A {{ jetstream: {{cluster_traffic: {traffic}}}, users: [{{user: a, password: a}}] }}
            }}\nsystem_account: SYS\n"
        );
        if !works {
            let finished = Server::builder().own_listener().config(&text).run();
            assert_eq!(finished.code, 1, "{}", finished.stderr);
            assert!(
                finished.stderr.contains("cluster_traffic"),
                "{}",
                finished.stderr
            );
            continue;
        }
        let mut jetstream = JetStream::with_config(&text, r#"{"user": "a", "pass": "a"}"#);
        jetstream.stream("S", &["s"], json!({}));
        assert_eq!(jetstream.publish("s", "x"), 1);
    }
}

/// JS-251: what was acknowledged survives the process, however files are flushed; a stream that
/// persists later acknowledges as well.
#[test]
fn js_251_what_was_acknowledged_outlives_the_process() {
    for sync in ["", "sync_interval: always", "sync_interval: 1m"] {
        let text = format!("jetstream {{ store_dir: '@DIR@/s', {sync} }}");
        let mut jetstream = JetStream::with_config(&text, "{}");
        let shown = jetstream.stream("S", &["s"], json!({}));
        assert_eq!(shown["config"].get("persist_mode"), None);
        let later = jetstream.stream("L", &["l"], json!({"persist_mode": "async"}));
        assert_eq!(later["config"]["persist_mode"], "async");
        for at in 1..=100 {
            assert_eq!(jetstream.publish("s", "x"), at);
            assert_eq!(jetstream.publish("l", "x"), at);
        }
        let mut jetstream = JetStream::of(jetstream.server.crash(), "{}");
        let state = jetstream.done("STREAM.INFO.S", "")["state"].clone();
        assert_eq!(
            (&state["messages"], &state["last_seq"]),
            (&json!(100), &json!(100))
        );
        // In good order nothing is lost of the other either.
        let last = jetstream.publish("l", "y");
        let mut jetstream = jetstream.restart();
        let state = jetstream.done("STREAM.INFO.L", "")["state"].clone();
        assert_eq!(state["last_seq"], last);
    }
}

/// JS-255: compression is not seen: neither in messages nor in figures.
#[test]
fn js_255_compression_is_not_seen() {
    let mut jetstream = JetStream::start();
    jetstream.stream("P", &["p"], json!({}));
    let made = jetstream.stream("C", &["c"], json!({"compression": "s2"}));
    assert_eq!(made["config"]["compression"], "s2");
    let body = "compressible ".repeat(1000);
    for at in 0..50 {
        jetstream.store("p", "K: v", &format!("{at} {body}"));
        jetstream.store("c", "K: v", &format!("{at} {body}"));
    }
    let mut jetstream = jetstream.restart();
    let [plain, compressed] = ["P", "C"].map(|name| {
        jetstream.done(&format!("STREAM.INFO.{name}"), "")["state"]["bytes"]
            .as_u64()
            .expect("bytes")
    });
    assert_eq!(plain, compressed);
    assert!(plain > 50 * 13_000);
    for at in [0, 17, 49] {
        let answer = jetstream.done("STREAM.MSG.GET.C", json!({"seq": at + 1}));
        let data = answer["message"]["data"].as_str().expect("base64");
        let data = data_encoding::BASE64.decode(data.as_bytes());
        assert_eq!(data.expect("base64"), format!("{at} {body}").as_bytes());
    }
    // It may be switched off and on again.
    let config = json!({"name": "C", "subjects": ["c"], "compression": "none"});
    let changed = jetstream.done("STREAM.UPDATE.C", config);
    assert_eq!(changed["config"]["compression"], "none");
    assert_eq!(changed["state"]["bytes"], compressed);
}
