//! Sections 11 and 12 of JetStream: what mirrors answer in place of their origins, and what copies
//! keep to.

use crate::support::jetstream::JetStream;
use crate::support::wait_until;
use serde_json::{Value, json};

/// A stream that copies.
#[track_caller]
fn copy(js: &mut JetStream, name: &str, fields: Value) -> Value {
    let mut config = fields;
    config["name"] = json!(name);
    js.done(&format!("STREAM.CREATE.{name}"), config)
}

/// Waits until a stream has so many messages.
#[track_caller]
fn until_messages(js: &mut JetStream, name: &str, expected: u64) {
    wait_until(name, || {
        let info = js.done(&format!("STREAM.INFO.{name}"), "");
        (info["state"]["messages"] == expected).then_some(())
    });
}

/// JS-159, JS-272: with `mirror_direct` a mirror that has caught up answers for its origin: one of
/// the two, and alone once the origin has gone.
#[test]
fn js_159_272_mirrors_answer_for_their_origin() {
    let mut jetstream = JetStream::start();
    jetstream.stream("KV_b", &["$KV.b.>"], json!({"allow_direct": true}));
    // What the origin allows its mirrors allow.
    let made = copy(
        &mut jetstream,
        "KV_m",
        json!({"mirror": {"name": "KV_b"}, "allow_direct": true}),
    );
    assert_eq!(made["config"]["mirror_direct"], true);
    jetstream.publish("$KV.b.k", "v1");
    jetstream.publish("$KV.b.k", "v2");
    until_messages(&mut jetstream, "KV_m", 2);
    let seen = |js: &mut JetStream| {
        let got = js.request("$JS.API.DIRECT.GET.KV_b.$KV.b.k", "", "");
        assert_eq!((got.status(), got.text()), (None, "v2"));
        assert_eq!(got.header("Nats-Sequence"), "2");
        // A second answer would be taken for the next.
        let next = js.request("$JS.API.DIRECT.GET.KV_b", "", r#"{"seq": 1}"#);
        assert_eq!(next.text(), "v1");
        [
            got.header("Nats-Stream").to_owned(),
            next.header("Nats-Stream").to_owned(),
        ]
    };
    // Each has its turn.
    let mut by = std::collections::BTreeSet::new();
    wait_until("both to answer", || {
        by.extend(seen(&mut jetstream));
        (by.len() == 2).then_some(())
    });
    assert_eq!(by.iter().collect::<Vec<_>>(), ["KV_b", "KV_m"]);
    for _ in 0..50 {
        seen(&mut jetstream);
    }
    jetstream.done("STREAM.DELETE.KV_b", "");
    for _ in 0..10 {
        assert_eq!(seen(&mut jetstream), ["KV_m", "KV_m"]);
    }
    // Its own name is for it alone.
    let own = jetstream.request("$JS.API.DIRECT.GET.KV_m.$KV.b.k", "", "");
    assert_eq!((own.text(), own.header("Nats-Stream")), ("v2", "KV_m"));
    // One that goes answers nothing any more.
    jetstream.done("STREAM.DELETE.KV_m", "");
    let nobody = jetstream.request("$JS.API.DIRECT.GET.KV_b.$KV.b.k", "", "");
    assert_eq!(nobody.status(), Some("503"));
}

/// JS-272: buckets are reached through the domain's name as well.
#[test]
fn js_272_buckets_through_the_domain() {
    let text = r#"jetstream { store_dir: "@DIR@/s", domain: hub }"#;
    let mut jetstream = JetStream::with_config(text, "{}");
    jetstream.stream("KV_b", &["$KV.b.>"], json!({"allow_direct": true}));
    for (subject, seq) in [("$KV.b.k", 1), ("$JS.hub.API.$KV.b.k", 2)] {
        let answer = jetstream.store(subject, "", "v");
        assert_eq!(
            (&answer["domain"], &answer["seq"]),
            (&json!("hub"), &json!(seq))
        );
    }
    for front in ["$JS.hub.API", "$JS.API"] {
        let got = jetstream.request(&format!("{front}.DIRECT.GET.KV_b.$KV.b.k"), "", "");
        assert_eq!((got.text(), got.header("Nats-Subject")), ("v", "$KV.b.k"));
    }
    // A mirror of it is reached as well.
    copy(
        &mut jetstream,
        "KV_m",
        json!({"mirror": {"name": "KV_b"}, "allow_direct": true}),
    );
    until_messages(&mut jetstream, "KV_m", 2);
    let got = jetstream.request("$JS.hub.API.DIRECT.GET.KV_m.$KV.b.k", "", "");
    assert_eq!(got.header("Nats-Sequence"), "2");
}

/// JS-120: copies take messages that ask for a time though nobody may publish such to them. They
/// leave with their time where the copy's configuration allows it, and stay otherwise.
#[test]
fn js_120_copies_take_messages_that_ask_for_a_time() {
    let mut jetstream = JetStream::start();
    jetstream.stream("O", &["o.>"], json!({"allow_msg_ttl": true}));
    let all = ["M", "S", "TM", "TS"];
    for name in all {
        let mut fields = match &name[name.len() - 1..] {
            "M" => json!({"mirror": {"name": "O"}}),
            _ => json!({"sources": [{"name": "O"}]}),
        };
        if name == "S" {
            fields["subjects"] = json!(["s"]);
        }
        if name.starts_with('T') {
            fields["allow_msg_ttl"] = json!(true);
        }
        copy(&mut jetstream, name, fields);
    }
    let refused = jetstream.store("s", "Nats-TTL: 1s", "x");
    assert_eq!(refused["error"]["err_code"], 10166);
    jetstream.publish("o.1", "stays");
    jetstream.store("o.2", "Nats-TTL: 2s", "goes");
    for name in all {
        wait_until(name, || {
            let info = jetstream.done(&format!("STREAM.INFO.{name}"), "");
            (info["state"]["last_seq"] == 2).then_some(())
        });
    }
    for name in ["TM", "TS", "O"] {
        until_messages(&mut jetstream, name, 1);
    }
    for name in ["M", "S"] {
        let info = jetstream.done(&format!("STREAM.INFO.{name}"), "");
        assert_eq!(info["state"]["messages"], 2, "{name}");
        let answer = jetstream.done(&format!("STREAM.MSG.GET.{name}"), json!({"seq": 2}));
        let block = answer["message"]["hdrs"].as_str().expect("base64");
        let block = data_encoding::BASE64.decode(block.as_bytes());
        let block = String::from_utf8(block.expect("base64")).expect("text");
        assert!(block.contains("Nats-TTL: 2s\r\n"), "{block}");
    }
}

/// JS-155: a copy takes whatever its origin takes, as far as that can be seen.
#[test]
fn js_155_copies_take_messages_of_any_size_their_origin_takes() {
    let mut jetstream = JetStream::start();
    jetstream.stream("O", &["o.>"], json!({"max_msg_size": 1000}));
    for (fields, refused) in [
        (json!({"mirror": {"name": "O"}}), (400, 10030)),
        (json!({"sources": [{"name": "O"}]}), (400, 10046)),
    ] {
        let mut config = fields;
        config["name"] = json!("C");
        config["max_msg_size"] = json!(999);
        let (code, number, _) = jetstream.refused("STREAM.CREATE.C", &config);
        assert_eq!((code, number), refused);
        config["max_msg_size"] = json!(1000);
        jetstream.done("STREAM.CREATE.C", &config);
        jetstream.done("STREAM.DELETE.C", "");
        // What is not there cannot be asked.
        for part in ["mirror", "sources"] {
            if config.get(part).is_some() {
                config[part] = match part {
                    "mirror" => json!({"name": "GONE"}),
                    _ => json!([{"name": "GONE"}]),
                };
            }
        }
        config["max_msg_size"] = json!(1);
        jetstream.done("STREAM.CREATE.C", &config);
        jetstream.done("STREAM.DELETE.C", "");
    }
}

/// JS-158: a server alone names no alternates.
#[test]
fn js_158_no_alternates_without_a_cluster() {
    let mut jetstream = JetStream::start();
    jetstream.stream("O", &["o.>"], json!({}));
    copy(&mut jetstream, "M", json!({"mirror": {"name": "O"}}));
    for name in ["O", "M"] {
        let info = jetstream.done(&format!("STREAM.INFO.{name}"), "");
        assert_eq!(info.get("alternates"), None);
    }
}

/// JS-95, JS-245: copies are asked for the account's room as publishers are; there is a line in the
/// log.
#[test]
fn js_245_copies_keep_to_the_account_s_limits() {
    let text = r#"
        jetstream { store_dir: "@DIR@/s", max_mem: 1MB, max_file: 1MB }
        accounts {
            A { jetstream: {max_mem: 1MB, max_file: 1000}, users: [{user: a, password: a}] }
        }
    "#;
    for (fields, line) in [
        (
            json!({"mirror": {"name": "O"}}),
            "Error processing inbound mirror message for 'A' > 'C': ",
        ),
        (
            json!({"sources": [{"name": "O"}]}),
            "Error processing inbound source \"O > >\" for 'A' > 'C': ",
        ),
    ] {
        let mut jetstream = JetStream::with_config(text, r#"{"user": "a", "pass": "a"}"#);
        jetstream.stream("O", &["o"], json!({"storage": "memory"}));
        for _ in 0..4 {
            jetstream.publish("o", &"x".repeat(300));
        }
        copy(&mut jetstream, "C", fields);
        let logged = jetstream.server.logged(line);
        assert!(
            logged.contains("resource limits exceeded for account"),
            "{logged}"
        );
        let state = jetstream.done("STREAM.INFO.C", "")["state"].clone();
        assert!(
            state["bytes"].as_u64().is_some_and(|it| it <= 1000),
            "{state}"
        );
        assert!(
            state["messages"].as_u64().is_some_and(|it| it >= 2),
            "{state}"
        );
    }
}
