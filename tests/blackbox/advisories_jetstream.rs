//! Advisories of section 4 that touch JetStream's API as a way into other accounts, and numbers it
//! takes.

use crate::support::jetstream::JetStream;
use serde_json::json;

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
