//! Section 8 of JetStream: messages stored as they come, answered many at a time.

use crate::support::client::Client;
use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

/// A publisher of fast batches, and what it was told.
struct Publisher {
    client: Client,
}

impl Publisher {
    fn new(jetstream: &JetStream) -> Self {
        let mut client = jetstream.server.client();
        client.quietly("SUB fi.> 1\r\n");
        Self { client }
    }

    /// Publishes; `says` is `<id>.<flow>.<gap>.<sequence>.<operation>`.
    fn send(&mut self, says: &str, headers: &str) {
        let block = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        let total = block.len() + 1;
        let size = block.len();
        let line = format!("HPUB f.a fi.{says}.$FI {size} {total}\r\n{block}x\r\n");
        self.client.send(line);
    }

    #[track_caller]
    fn told(&mut self) -> String {
        String::from_utf8(self.client.message().payload).expect("text")
    }
}

fn start(fields: Value) -> (JetStream, Publisher) {
    let mut jetstream = JetStream::start();
    let mut config = json!({"allow_batched": true});
    for (key, value) in fields.as_object().expect("an object") {
        config[key] = value.clone();
    }
    jetstream.stream("F", &["f.>"], config);
    let publisher = Publisher::new(&jetstream);
    (jetstream, publisher)
}

fn messages(jetstream: &mut JetStream) -> u64 {
    let info = jetstream.done("STREAM.INFO.F", "");
    info["state"]["messages"].as_u64().expect("a number")
}

#[test]
fn js_129_no_more_batches_than_may_be_under_way() {
    let config = "jetstream { store_dir: \"@DIR@/js\", \
                  limits { batch { max_inflight_per_stream: 2 } } }";
    let mut jetstream = JetStream::with_config(config, "{}");
    jetstream.stream("F", &["f.>"], json!({"allow_batched": true}));
    let mut publisher = Publisher::new(&jetstream);
    for id in ["one", "two"] {
        publisher.send(&format!("{id}.1.fail.1.0"), "");
        assert_eq!(publisher.told(), r#"{"type":"ack","seq":0,"msgs":1}"#);
        assert_eq!(publisher.told(), r#"{"type":"ack","seq":1,"msgs":1}"#);
    }
    publisher.send("three.1.fail.1.0", "");
    let told = publisher.told();
    assert!(told.contains("10211"), "{told}");
    // One that ends makes room.
    publisher.send("one.1.fail.2.2", "");
    publisher.told();
    publisher.send("three.1.fail.1.0", "");
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":0,"msgs":1}"#);
}

#[test]
fn js_130_131_answers_come_for_many_messages() {
    let (mut jetstream, mut publisher) = start(json!({}));
    publisher.send("id.2.fail.1.0", "");
    for at in 2..=5 {
        publisher.send(&format!("id.2.fail.{at}.1"), "");
    }
    publisher.send("id.2.fail.6.2", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":2}"#,
        r#"{"type":"ack","seq":2,"msgs":2}"#,
        r#"{"type":"ack","seq":4,"msgs":2}"#,
        r#"{"stream":"F","seq":6,"batch":"id","count":6}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    assert_eq!(messages(&mut jetstream), 6);
    // The end may be a message of its own, which is not stored; one message may be all.
    publisher.send("two.10.ok.1.0", "");
    publisher.send("two.10.ok.2.3", "");
    publisher.send("one.10.ok.1.2", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":10}"#,
        r#"{"stream":"F","seq":7,"batch":"two","count":1}"#,
        r#"{"stream":"F","seq":8,"batch":"one","count":1}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    assert_eq!(messages(&mut jetstream), 8);
}

/// Alone a batch gets what it asks for, up to 500; beside others it begins with each message.
#[test]
fn js_130_how_many_messages_for_an_answer() {
    let (_jetstream, mut publisher) = start(json!({}));
    for (says, messages) in [
        ("a.9000.ok.1.0", 500),
        ("b.9000.ok.1.0", 1),
        ("c.0.ok.1.0", 1),
    ] {
        publisher.send(says, "");
        let first = format!(r#"{{"type":"ack","seq":0,"msgs":{messages}}}"#);
        assert_eq!(publisher.told(), first);
        if messages == 1 {
            // Then twice as many at each answer, as far as it has asked for.
            assert_eq!(publisher.told(), r#"{"type":"ack","seq":1,"msgs":2}"#);
        }
    }
    for at in 2..=7 {
        publisher.send(&format!("b.9000.ok.{at}.1"), "");
    }
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":3,"msgs":4}"#);
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":7,"msgs":8}"#);
}

#[test]
fn js_131_132_gaps() {
    let (mut jetstream, mut publisher) = start(json!({}));
    publisher.send("id.10.ok.1.0", "");
    publisher.send("id.10.ok.4.1", "");
    publisher.send("id.10.ok.5.2", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":10}"#,
        r#"{"type":"gap","last_seq":2,"seq":4}"#,
        r#"{"stream":"F","seq":3,"batch":"id","count":5}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    publisher.send("no.10.fail.1.0", "");
    publisher.send("no.10.fail.2.1", "");
    publisher.send("no.10.fail.4.1", "");
    publisher.send("no.10.fail.5.1", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":10}"#,
        r#"{"type":"gap","last_seq":3,"seq":4}"#,
        r#"{"stream":"F","seq":5,"batch":"no","count":2}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    assert!(publisher.told().contains("10208"), "it is over");
    assert_eq!(messages(&mut jetstream), 5);
}

#[test]
fn js_132_errors_of_single_messages() {
    let (mut jetstream, mut publisher) = start(json!({}));
    publisher.send("id.10.ok.1.0", "");
    publisher.send("id.10.ok.2.1", "Nats-Expected-Stream: other");
    publisher.send("id.10.ok.3.2", "");
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":0,"msgs":10}"#);
    let failed: Value = serde_json::from_str(&publisher.told()).expect("JSON");
    assert_eq!(
        (&failed["type"], &failed["seq"]),
        (&json!("err"), &json!(2))
    );
    assert_eq!(failed["error"]["err_code"], 10060);
    assert_eq!(
        publisher.told(),
        r#"{"stream":"F","seq":2,"batch":"id","count":3}"#
    );
    // Where nothing may be missing it ends there.
    publisher.send("no.10.fail.1.0", "");
    publisher.send("no.10.fail.2.1", "Nats-Expected-Stream: other");
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":0,"msgs":10}"#);
    assert!(publisher.told().contains(r#""type":"err","seq":2"#));
    assert_eq!(
        publisher.told(),
        r#"{"stream":"F","seq":3,"batch":"no","count":1}"#
    );
    // The first one's error is that of any publish.
    publisher.send("first.10.fail.1.2", "Nats-Expected-Stream: other");
    let refused: Value = serde_json::from_str(&publisher.told()).expect("JSON");
    assert_eq!(refused["error"]["err_code"], 10060);
    assert_eq!(refused["stream"], "F");
    assert_eq!(messages(&mut jetstream), 3);
}

#[test]
fn js_132_what_was_stored_before_is_counted() {
    let (mut jetstream, mut publisher) = start(json!({}));
    jetstream.store("f.old", "Nats-Msg-Id: known", "x");
    publisher.send("id.2.fail.1.0", "");
    publisher.send("id.2.fail.2.1", "Nats-Msg-Id: known");
    publisher.send("id.2.fail.3.2", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":2}"#,
        r#"{"type":"ack","seq":2,"msgs":2}"#,
        r#"{"stream":"F","seq":3,"batch":"id","count":3}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    assert_eq!(messages(&mut jetstream), 3);
}

#[test]
fn js_133_a_ping_tells_how_far_it_is() {
    let (mut jetstream, mut publisher) = start(json!({}));
    publisher.send("id.2.ok.1.0", "");
    publisher.send("id.2.ok.2.1", "");
    publisher.send("id.2.ok.3.1", "");
    publisher.send("id.2.ok.3.4", "");
    publisher.send("id.2.ok.5.4", "");
    publisher.send("id.2.ok.6.2", "");
    for told in [
        r#"{"type":"ack","seq":0,"msgs":2}"#,
        r#"{"type":"ack","seq":2,"msgs":2}"#,
        r#"{"type":"ack","seq":2,"msgs":2}"#,
        r#"{"type":"gap","last_seq":4,"seq":6}"#,
        r#"{"type":"ack","seq":4,"msgs":2}"#,
        r#"{"stream":"F","seq":4,"batch":"id","count":6}"#,
    ] {
        assert_eq!(publisher.told(), told);
    }
    assert_eq!(messages(&mut jetstream), 4);
}

#[test]
fn js_128_129_what_reply_subjects_say_wrong() {
    let (mut jetstream, mut publisher) = start(json!({}));
    let long = "x".repeat(65);
    for (says, code) in [
        ("id.10.ok.2.0", 10206),
        ("id.10.ok.1.1", 10206),
        ("id.10.ok.1.3", 10206),
        ("id.10.ok.0.1", 10206),
        ("id.10.ok.1.9", 10206),
        ("id.10.never.1.0", 10206),
        ("id.10.ok.7.1", 10208),
        (&format!("{long}.10.ok.1.0")[..], 10207),
    ] {
        publisher.send(says, "");
        let told: Value = serde_json::from_str(&publisher.told()).expect("JSON");
        assert_eq!(told["error"]["err_code"], code, "{says}");
    }
    jetstream.done(
        "STREAM.UPDATE.F",
        json!({"name": "F", "subjects": ["f.>"], "allow_batched": false}),
    );
    publisher.send("id.10.ok.1.0", "");
    assert!(publisher.told().contains("10205"));
    assert_eq!(messages(&mut jetstream), 0);
}

/// What is told of a batch is told where its publisher is, in another account, too.
#[test]
fn js_128_through_an_import() {
    let config = "jetstream { store_dir: \"@DIR@/js\" }
        accounts {
          S { jetstream: enabled, users [ { user: s, password: s } ]
              exports [ { service: \"f.>\", response_type: stream } ] }
          P { users [ { user: p, password: p } ]
              imports [ { service: { account: S, subject: \"f.>\" } } ] }
        }";
    let mut jetstream = JetStream::with_config(config, r#"{"user":"s","pass":"s"}"#);
    jetstream.stream("F", &["f.>"], json!({"allow_batched": true}));
    let mut client = jetstream.server.client_with(r#"{"user":"p","pass":"p"}"#);
    client.quietly("SUB fi.> 1\r\n");
    let mut publisher = Publisher { client };
    publisher.send("id.10.ok.1.0", "");
    assert_eq!(publisher.told(), r#"{"type":"ack","seq":0,"msgs":10}"#);
    publisher.send("id.10.ok.2.2", "");
    assert_eq!(
        publisher.told(),
        r#"{"stream":"F","seq":2,"batch":"id","count":2}"#
    );
    assert_eq!(messages(&mut jetstream), 2);
}
