//! Sections 3 and 14 of JetStream: configurations of streams and consumers, held against what
//! 2.15.1 made of the same requests.

use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

/// Steps of a thousand requests: see `src/jetstream/golden_tests.rs`.
const REQUESTS: &str = include_str!("../fixtures/jetstream/configurations.json");
/// Bodies that cannot be read, and why.
const BODIES: &str = include_str!("../fixtures/jetstream/bodies.json");

const LIMITED: &str = r#"
jetstream {
  store_dir: "@DIR@/store", max_mem: 5000, max_file: 5000
  limits { duplicate_window: "1m", max_ack_pending: 400, max_request_batch: 100 }
}
accounts { A {
  jetstream { max_mem: 1000, max_file: 2000, max_streams: 3, max_consumers: 2
              max_ack_pending: 300, disk_max_stream_bytes: 1000, max_bytes_required: true }
  users [ { user: u, password: p } ]
} }
"#;

/// `<x*n>` stands for `n` times `x`.
fn expanded(text: &str) -> String {
    let mut parts = text.split("<x*");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (count, rest) = part.split_once('>').expect("an end");
        out.push_str(&"x".repeat(count.parse().expect("a count")));
        out.push_str(rest);
    }
    out
}

/// `base` with `changes`; `null` takes a field away.
fn changed(base: &Value, changes: &Value) -> Value {
    let mut config = base.clone();
    for (key, value) in changes.as_object().expect("changes") {
        if value.is_null() {
            config.as_object_mut().expect("an object").remove(key);
        } else {
            config[key] = value.clone();
        }
    }
    config
}

fn compare(server: &str, jetstream: &mut JetStream) {
    let golden: Value = serde_json::from_str(&expanded(REQUESTS)).expect("JSON");
    let mut wrong = Vec::new();
    let scenarios = golden["scenarios"].as_array().expect("scenarios").iter();
    for scenario in scenarios.filter(|it| it["server"] == server) {
        for step in scenario["steps"].as_array().expect("steps") {
            let subject = step["subject"].as_str().expect("a subject");
            let mut answer = jetstream.ask(subject, &step["body"]);
            let expected = match step.get("config") {
                Some(changes) => {
                    let of_stream = subject.starts_with("STREAM");
                    let kind = if of_stream { "stream" } else { "consumer" };
                    changed(&golden["base"][kind], changes)
                }
                None => step["error"].clone(),
            };
            let metadata = answer["config"]["metadata"].as_object_mut();
            let got = if let Some(metadata) = metadata {
                // JS-82: what the server adds to what is stored.
                assert_eq!(metadata.remove("_nats.ver"), Some(json!("2.15.1")));
                assert_eq!(metadata.remove("_nats.level"), Some(json!("5")));
                &answer["config"]
            } else {
                &answer["error"]
            };
            let refused = got["description"].as_str().unwrap_or_default();
            if refused.ends_with("are not served by this version") {
                // What follows is about a stream that is not there.
                break;
            }
            if *got != expected {
                let mut body = step["body"].to_string();
                body.truncate(300);
                wrong.push(format!(
                    "{subject} {body}\n  stock {expected}\n  here  {got}"
                ));
                break;
            }
        }
        jetstream.clear();
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// JS-15, JS-16, JS-18, JS-19, JS-53..80, JS-82, JS-83, JS-173..193.
#[test]
fn js_053_configurations_are_those_stock_makes() {
    compare("default", &mut JetStream::start());
}

/// JS-74, JS-81, JS-178, JS-184, JS-244, JS-245, JS-247.
#[test]
fn js_245_limits_of_server_and_account_hold() {
    let mut jetstream = JetStream::with_config(LIMITED, r#"{"user":"u","pass":"p"}"#);
    compare("limited", &mut jetstream);
}

#[test]
fn js_003_bodies_that_cannot_be_read_are_refused_in_stocks_words() {
    let mut jetstream = JetStream::start();
    jetstream.done("STREAM.CREATE.A", r#"{"name":"A"}"#);
    let bodies: Vec<(String, String, String)> = serde_json::from_str(BODIES).expect("JSON");
    for (endpoint, body, expected) in bodies {
        let refused = jetstream.refused(&endpoint, &body);
        assert_eq!(refused, (400, 10025, expected), "{endpoint} {body}");
    }
}

#[test]
fn js_003_who_is_not_strict_ignores_what_is_unknown() {
    let config = r#"jetstream { store_dir: "@DIR@/store", strict: false }"#;
    let mut jetstream = JetStream::with_config(config, "{}");
    jetstream.done("STREAM.CREATE.A", r#"{"name":"A","foo":{"a":[1]}}"#);
    jetstream.done("STREAM.INFO.A", r#"{"foo":1}"#);
    let (_, number, text) = jetstream.refused("STREAM.CREATE.A", r#"{"name":5}"#);
    assert_eq!(number, 10025);
    assert!(
        text.ends_with("StreamConfigRequest.name of type string"),
        "{text}"
    );
}

/// In 2.15.1 a stream that does not say how many consumers it may have gets 1000 (JS-64).
#[test]
fn js_064_consumers_are_bounded_where_the_stream_says_nothing() {
    let config = r#"jetstream { store_dir: "@DIR@/store", limits { default_max_consumers: 2 } }"#;
    let mut jetstream = JetStream::with_config(config, "{}");
    jetstream.done("STREAM.CREATE.A", r#"{"name":"A"}"#);
    let consumer = r#"{"stream_name":"A","config":{}}"#;
    jetstream.done("CONSUMER.CREATE.A.a", consumer);
    jetstream.done("CONSUMER.CREATE.A.b", consumer);
    let (code, number, text) = jetstream.refused("CONSUMER.CREATE.A.c", consumer);
    assert_eq!((code, number), (400, 10026));
    assert_eq!(text, "maximum consumers limit reached");
    let answer = jetstream.done("STREAM.UPDATE.A", r#"{"name":"A","max_consumers":3}"#);
    assert_eq!(answer["config"]["max_consumers"], 3);
    jetstream.done("CONSUMER.CREATE.A.c", consumer);
}
