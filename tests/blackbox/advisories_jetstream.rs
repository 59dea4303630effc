//! Advisories of section 4 that touch JetStream's API as a way into other accounts, and numbers it
//! takes.

use crate::support::jetstream::JetStream;
use crate::support::server::beyond_stock;
use serde_json::{Value, json};
use std::io::Write;

const ACCOUNTS: &str = r#"
    jetstream { store_dir: "@DIR@/store" }
    accounts {
        A { users: [{user: a, password: p}], jetstream: enabled }
        B { users: [{user: b, password: p}], jetstream: enabled }
        C { users: [{user: c, password: p}] }
    }
"#;

fn options(name: &str) -> String {
    json!({"user": name, "pass": "p"}).to_string()
}

/// Counts of copies that there cannot be, as numbers and as something else.
#[test]
fn t11_counts_of_replicas_that_cannot_be() {
    let mut jetstream = JetStream::start();
    for replicas in ["-1", "2", "6", "2147483648", "1e400", "1.5", "\"3\"", "[]"] {
        let config = format!("{{\"name\":\"A\",\"subjects\":[\"a\"],\"num_replicas\":{replicas}}}");
        let answer = jetstream.ask("STREAM.CREATE.A", &config);
        assert!(answer["error"]["code"].is_u64(), "{replicas}: {answer}");
    }
    jetstream.stream("A", &["a"], json!({"num_replicas": 0}));
    for replicas in ["-1", "2", "6", "2147483648", "1.5", "\"3\""] {
        let config = format!(
            "{{\"stream_name\":\"A\",\"config\":{{\"durable_name\":\"c\",\
             \"ack_policy\":\"explicit\",\"num_replicas\":{replicas}}}}}"
        );
        let answer = jetstream.ask("CONSUMER.CREATE.A.c", &config);
        assert!(answer["error"]["code"].is_u64(), "{replicas}: {answer}");
    }
    assert_eq!(jetstream.publish("a", "x"), 1);
}

/// Every verb, asked by others than the stream's account: as if it were not there, and it is
/// unharmed.
#[test]
fn t15_no_verb_reaches_a_stream_of_another_account() {
    let mut owner = JetStream::with_config(ACCOUNTS, &options("a"));
    owner.stream("S", &["s.>"], json!({"allow_direct": true}));
    owner.consumer(
        "S",
        "c",
        json!({"durable_name": "c", "ack_policy": "explicit"}),
    );
    assert_eq!(owner.publish("s.1", "secret"), 1);
    let consumer = json!({"stream_name": "S",
        "config": {"durable_name": "d", "ack_policy": "explicit"}})
    .to_string();
    let verbs = [
        ("STREAM.UPDATE.S", "{\"name\":\"S\",\"subjects\":[\"x\"]}"),
        ("STREAM.INFO.S", ""),
        ("STREAM.PURGE.S", ""),
        ("STREAM.DELETE.S", ""),
        ("STREAM.MSG.GET.S", "{\"seq\":1}"),
        ("STREAM.MSG.DELETE.S", "{\"seq\":1}"),
        ("STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"d\"}"),
        ("STREAM.LEADER.STEPDOWN.S", ""),
        ("STREAM.PEER.REMOVE.S", "{\"peer\":\"x\"}"),
        ("CONSUMER.CREATE.S", &consumer),
        ("CONSUMER.CREATE.S.d", &consumer),
        ("CONSUMER.DURABLE.CREATE.S.d", &consumer),
        ("CONSUMER.INFO.S.c", ""),
        ("CONSUMER.DELETE.S.c", ""),
        ("CONSUMER.NAMES.S", ""),
        ("CONSUMER.LIST.S", ""),
        (
            "CONSUMER.PAUSE.S.c",
            "{\"pause_until\":\"2099-01-01T00:00:00Z\"}",
        ),
        ("CONSUMER.LEADER.STEPDOWN.S.c", ""),
        ("CONSUMER.MSG.NEXT.S.c", "1"),
        ("DIRECT.GET.S", "{\"seq\":1}"),
        ("DIRECT.GET.S.s.1", ""),
        ("ACCOUNT.PURGE.A", ""),
        ("ACCOUNT.STREAM.MOVE.A.S", "{}"),
        ("ACCOUNT.STREAM.CANCEL_MOVE.A.S", "{}"),
        ("SERVER.REMOVE", "{\"peer\":\"x\"}"),
        ("META.LEADER.STEPDOWN", ""),
    ];
    for other in ["b", "c"] {
        let mut stranger = owner.switch(&options(other));
        for (verb, body) in verbs {
            // Some are for nobody, or for the system account alone, and stay without an answer.
            for subject in [
                format!("$JS.API.{verb}"),
                format!("$JS.any.API.{verb}"),
                format!("$JS.A.API.{verb}"),
            ] {
                let size = body.len();
                stranger
                    .client
                    .send(format!("PUB {subject} answer.x {size}\r\n{body}\r\n"));
            }
        }
        for line in stranger.client.ask("") {
            assert!(!line.contains("secret"), "{other}: {line}");
        }
        let listed = stranger.ask("STREAM.NAMES", "");
        assert!(
            listed["streams"].as_array().is_none_or(Vec::is_empty),
            "{listed}"
        );
        owner = stranger.switch(&options("a"));
    }
    let info = owner.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], 1, "{info}");
    assert_eq!(info["state"]["consumer_count"], 1, "{info}");
    assert_eq!(info["config"]["subjects"], json!(["s.>"]));
    assert_eq!(owner.consumer_info("S", "c")["num_pending"], 1);
}

/// Names in a copy lead nowhere: not in the format of today, not in the tar of before.
#[test]
fn t08_names_in_a_copy_lead_nowhere() {
    const CONFIG: &str = r#"{"config": {"name": "ONE", "subjects": ["one.>"]}, "state": {}}"#;
    let mut jetstream = JetStream::start();
    let directory = jetstream.server.dir().path().to_owned();
    let absolute = directory.join("planted").display().to_string();
    let mut copies = Vec::new();
    for name in ["../../../../planted", &absolute, "..", "a/../planted"] {
        let config = json!({"name": name, "durable_name": name, "ack_policy": "explicit"});
        let consumer = json!({"config": config, "state": {}}).to_string();
        let state = r#"{"messages": 0, "first_seq": 1, "last_seq": 0, "consumer_count": 1}"#;
        let entries = [
            ("state.json", state),
            (&*format!("consumers/{name}"), &*consumer),
        ];
        copies.push((name, archive(&entries)));
        copies.push((name, archive(&[(name, state)])));
        copies.push((name, tar(name, b'0')));
    }
    // Links that lead out, and what follows them.
    copies.push(("a link", [tar("a", b'2'), tar("a/planted", b'0')].concat()));
    copies.push(("a hard link", tar("planted", b'1')));
    for (name, copy) in copies {
        let answer = jetstream.done("STREAM.RESTORE.ONE", CONFIG);
        let subject = answer["deliver_subject"].as_str().expect("a subject");
        jetstream.request(subject, "", compressed(&copy));
        let answer = jetstream.request(subject, "", "");
        let answer: Value = serde_json::from_str(answer.text()).expect("JSON");
        assert!(answer["error"]["code"].is_u64(), "{name:?}: {answer}");
        // Stock keeps the empty stream.
        match beyond_stock() {
            true => assert_eq!(jetstream.done("STREAM.NAMES", "")["total"], 0, "{name:?}"),
            false => drop(jetstream.ask("STREAM.DELETE.ONE", "")),
        }
    }
    let mut open = vec![directory.clone()];
    while let Some(at) = open.pop() {
        assert!(!at.ends_with("planted"), "{}", at.display());
        if at.is_dir() {
            let entries = std::fs::read_dir(&at).expect("a directory");
            open.extend(entries.flatten().map(|it| it.path()));
        }
    }
    for above in directory.ancestors().skip(1) {
        assert!(!above.join("planted").exists(), "{}", above.display());
    }
}

/// A copy in today's format: names and contents.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = b"NATSARC1".to_vec();
    for (name, content) in entries {
        // A time of 1, no sequence, no headers.
        for number in [name.len(), 2, 0, 0, content.len()] {
            let mut left = number;
            while left >= 0x80 {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(content.as_bytes());
    }
    bytes.extend_from_slice(&[0; 5]);
    bytes
}

/// A tar of one entry of this kind: a file, a hard link or a link to what lies above.
fn tar(name: &str, kind: u8) -> Vec<u8> {
    let mut head = [0; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, b"00000000004\0");
    put(156, &[kind]);
    put(157, b"../../..");
    put(257, b"ustar\x0000");
    put(148, b"        ");
    let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = head.to_vec();
    if kind == b'0' {
        bytes.extend_from_slice(b"evil");
        bytes.resize(1024, 0);
    }
    bytes
}

/// As copies travel.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).expect("memory");
    encoder.into_inner().expect("memory")
}
