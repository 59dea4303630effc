//! Sections 18 and 19 of JetStream: what accounts may use, by configuration and by token, and events
//! of the API.

use crate::support::directory::TempDir;
use crate::support::jetstream::JetStream;
use crate::support::server::{Server, beyond_stock};
use crate::support::signer::{Trust, credentials};
use rustix::process::Signal;
use serde_json::{Value, json};

const A: &str = r#"{"user": "a", "pass": "a"}"#;
const B: &str = r#"{"user": "b", "pass": "b"}"#;
const MIB: u64 = 1 << 20;

/// A server with an account `A` that may use this of JetStream, and an account `B` that may not.
fn config(limits: &str, more: &str) -> String {
    format!(
        "jetstream {{ store_dir: \"@DIR@/store\", max_mem: 8MB, max_file: 32MB }}\n\
         accounts {{\n\
           A: {{ users: [{{user: a, password: a}}], jetstream: {limits} }}\n\
           B: {{ users: [{{user: b, password: b}}] }}\n{more}\n}}\n"
    )
}

fn refused(jetstream: &mut JetStream, config: Value) -> u64 {
    let endpoint = format!("STREAM.CREATE.{}", config["name"].as_str().expect("a name"));
    let answer = jetstream.ask(&endpoint, config);
    answer["error"]["err_code"].as_u64().unwrap_or(0)
}

#[test]
fn js_244_limits_of_the_configuration_are_shown() {
    let limits = "{max_mem: 1MB, max_file: 2MB, max_streams: 3, max_consumers: 4, \
         max_ack_pending: 5, mem_max_stream_bytes: 6, disk_max_stream_bytes: 7, \
         max_bytes_required: true}";
    let mut jetstream = JetStream::with_config(&config(limits, ""), A);
    let info = jetstream.done("INFO", "");
    let expected = json!({
        "max_memory": MIB, "max_storage": 2 * MIB, "max_streams": 3, "max_consumers": 4,
        "max_ack_pending": 5, "memory_max_stream_bytes": 6, "storage_max_stream_bytes": 7,
        "max_bytes_required": true,
    });
    assert_eq!(info["limits"], expected);
    let mut jetstream = jetstream.switch(B);
    for endpoint in ["INFO", "STREAM.NAMES", "STREAM.INFO.S", "STREAM.CREATE.S"] {
        let (code, number, _) = jetstream.refused(endpoint, "");
        assert_eq!((code, number), (503, 10039), "{endpoint}");
    }
}

#[test]
fn js_049_the_system_account_purges_another() {
    let more = "C: { users: [{user: c, password: c}], jetstream: enabled }\n\
                SYS: { users: [{user: sys, password: s}] }";
    let config = format!("{}\nsystem_account: SYS", config("enabled", more));
    let mut jetstream = JetStream::with_config(&config, A);
    for name in ["ONE", "TWO"] {
        jetstream.stream(name, &[name], json!({}));
        jetstream.publish(name, "x");
    }
    let mut jetstream = jetstream.switch(r#"{"user": "c", "pass": "c"}"#);
    jetstream.stream("OTHER", &["other"], json!({}));
    let mut jetstream = jetstream.switch(r#"{"user": "sys", "pass": "s"}"#);
    let kind = "io.nats.jetstream.api.v1.account_purge_response";
    let purging = json!({"type": kind, "initiated": true});
    for account in ["A", "A", "NONE"] {
        let answer = jetstream.ask(&format!("ACCOUNT.PURGE.{account}"), "");
        assert_eq!(answer, purging, "{account}");
    }
    let (code, number, text) = jetstream.refused("ACCOUNT.PURGE.a/b", "");
    assert_eq!((code, number), (500, 10051), "{text}");
    let mut jetstream = jetstream.switch(A);
    let left = jetstream.done("STREAM.NAMES", "");
    assert_eq!(left["total"], 0, "{left}");
    let info = jetstream.done("INFO", "");
    assert_eq!((&info["streams"], &info["storage"]), (&json!(0), &json!(0)));
    // Their names are free again.
    jetstream.stream("ONE", &["ONE"], json!({}));
    assert_eq!(jetstream.publish("ONE", "x"), 1);
    let mut jetstream = jetstream.switch(r#"{"user": "c", "pass": "c"}"#);
    assert_eq!(jetstream.done("STREAM.NAMES", "")["total"], 1);
}

#[test]
fn js_245_streams_must_fit_into_their_account() {
    let limits = "{max_mem: 1MB, max_file: 2MB, max_streams: 3, max_consumers: 4}";
    let mut jetstream = JetStream::with_config(&config(limits, ""), A);
    let mut at = 0;
    let mut create = |fields: Value| {
        at += 1;
        let mut config = fields;
        config["name"] = json!(format!("S{at}"));
        config["subjects"] = json!([format!("s{at}")]);
        refused(&mut jetstream, config)
    };
    for (fields, expected) in [
        (json!({"max_consumers": 5}), 10026),
        (json!({"max_bytes": 2 * MIB + 1}), 10047),
        (json!({"max_bytes": MIB + 1, "storage": "memory"}), 10028),
        (json!({"max_bytes": MIB}), 0),
        (json!({"max_bytes": MIB + 1}), 10047),
        (json!({"max_bytes": MIB, "storage": "memory"}), 0),
        (json!({"storage": "memory"}), 10028),
        (json!({"max_bytes": MIB}), 0),
        (json!({"storage": "memory", "max_bytes": 1}), 10027),
    ] {
        assert_eq!(create(fields.clone()), expected, "{fields}");
    }
    let info = jetstream.done("INFO", "");
    let reserved = (&info["reserved_memory"], &info["reserved_storage"]);
    assert_eq!(reserved, (&json!(MIB), &json!(2 * MIB)));
    // Growing is judged as well.
    let more = json!({"name": "S4", "subjects": ["s4"], "max_bytes": MIB + 1});
    assert_eq!(jetstream.refused("STREAM.UPDATE.S4", more).1, 10047);
}

#[test]
fn js_059_js_245_streams_of_some_accounts_need_bounds() {
    let limits =
        "{mem_max_stream_bytes: 1000, disk_max_stream_bytes: 2000, max_bytes_required: on}";
    let mut jetstream = JetStream::with_config(&config(limits, ""), A);
    for (fields, expected) in [
        (json!({}), 10113),
        (json!({"max_bytes": 2001}), 10122),
        (json!({"max_bytes": 1001, "storage": "memory"}), 10122),
        (json!({"max_bytes": 2000}), 0),
    ] {
        let mut config = fields.clone();
        config["name"] = json!("S");
        assert_eq!(refused(&mut jetstream, config), expected, "{fields}");
    }
}

/// The streams are on different shards, and so is what they use.
#[test]
fn js_245_all_streams_of_an_account_use_the_same_bytes() {
    let mut jetstream = JetStream::with_config(&config("{max_mem: 60KB, max_file: 60KB}", ""), A);
    for storage in ["file", "memory"] {
        for at in 0..5 {
            let subject = format!("{storage}.{at}");
            let name = format!("{storage}{at}");
            jetstream.stream(&name, &[&subject], json!({"storage": storage}));
        }
        let payload = "x".repeat(1000);
        let overhead = payload.len() + storage.len() + 2 + if storage == "file" { 30 } else { 16 };
        let most = 60 * 1024 / overhead;
        for at in 0..most {
            jetstream.publish(&format!("{storage}.{}", at % 5), &payload);
        }
        let full = json!({"code": 400, "err_code": 10002,
            "description": "resource limits exceeded for account"});
        for at in 0..5 {
            let answer = jetstream.store(&format!("{storage}.{at}"), "", &payload);
            assert_eq!(answer["error"], full, "{storage}");
        }
        let info = jetstream.done("INFO", "");
        let used = if storage == "file" {
            "storage"
        } else {
            "memory"
        };
        assert_eq!(info[used], most * overhead);
        // What goes makes room.
        jetstream.done(&format!("STREAM.PURGE.{storage}0"), "");
        jetstream.publish(&format!("{storage}.4"), &payload);
        jetstream.done(&format!("STREAM.DELETE.{storage}1"), "");
        for _ in 0..most / 5 {
            jetstream.publish(&format!("{storage}.2"), &payload);
        }
    }
}

/// What one account is promised the others cannot have.
#[test]
fn js_245_js_248_a_server_has_bounds_of_its_own() {
    let more = "C: { users: [{user: b2, password: b}], jetstream: enabled }";
    let config = config("enabled", more).replace("max_mem: 8MB", "max_mem: 64KB");
    let mut jetstream = JetStream::with_config(&config, A);
    jetstream.stream("S", &["s"], json!({"max_bytes": 20 * MIB}));
    jetstream.stream("M", &["m"], json!({"storage": "memory"}));
    let mut jetstream = jetstream.switch(r#"{"user": "b2", "pass": "b"}"#);
    let config = json!({"name": "S", "subjects": ["s"], "max_bytes": 13 * MIB});
    assert_eq!(refused(&mut jetstream, config), 10047);
    jetstream.stream("S", &["s"], json!({"max_bytes": 12 * MIB}));
    jetstream.stream("M", &["m"], json!({"storage": "memory"}));
    let payload = "x".repeat(1000);
    // The message that goes over is stored; then nothing is, in any account.
    for _ in 0..65 {
        jetstream.publish("m", &payload);
    }
    let full = json!({"code": 503, "err_code": 10023, "description": "insufficient resources"});
    assert_eq!(jetstream.store("m", "", "x")["error"], full);
    jetstream.publish("s", "x");
    let mut jetstream = jetstream.switch(A);
    assert_eq!(jetstream.store("m", "", "x")["error"], full);
}

#[test]
fn js_244_a_reload_brings_accounts_and_limits() {
    let text = config("{max_file: 1MB}", "");
    let mut jetstream = JetStream::with_config(&text, A);
    jetstream.stream("S", &["s"], json!({"max_bytes": MIB}));
    let added = "C: { users: [{user: c, password: c}], jetstream: {max_streams: 1} }";
    jetstream.server.reload(&config("{max_file: 1500}", added));
    let info = jetstream.done("INFO", "");
    assert_eq!(info["limits"]["max_storage"], 1500);
    jetstream.publish("s", &"x".repeat(1000));
    let answer = jetstream.store("s", "", &"x".repeat(1000));
    assert_eq!(answer["error"]["err_code"], 10002);

    let mut jetstream = jetstream.switch(r#"{"user": "c", "pass": "c"}"#);
    jetstream.stream("S", &["s"], json!({}));
    assert_eq!(jetstream.publish("s", "x"), 1);
    assert_eq!(refused(&mut jetstream, json!({"name": "T"})), 10027);
}

/// A server whose account's token has these limits.
fn with_token(limits: &Value) -> (Trust, JetStream) {
    let trust = Trust::new();
    let token = trust.account_token(&json!({"nats": {"limits": limits}}));
    let text = trust.memory(&token) + "jetstream { store_dir: \"@DIR@/store\" }\n";
    let server = Server::with_config(&text);
    let jetstream = log_in(&trust, server);
    (trust, jetstream)
}

fn log_in(trust: &Trust, server: Server) -> JetStream {
    let client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let options = credentials(&trust.user, &trust.user_token(&json!({})), &nonce);
    JetStream::through(server, client, &options)
}

#[test]
fn js_244_limits_of_a_token() {
    let limits = json!({
        "mem_storage": MIB, "disk_storage": 2 * MIB, "streams": 3, "consumer": 4,
        "mem_max_stream_bytes": 1000, "max_bytes_required": true,
    });
    let (trust, mut jetstream) = with_token(&limits);
    let info = jetstream.done("INFO", "");
    let expected = json!({
        "max_memory": MIB, "max_storage": 2 * MIB, "max_streams": 3, "max_consumers": 4,
        "max_ack_pending": -1, "memory_max_stream_bytes": 1000, "storage_max_stream_bytes": -1,
        "max_bytes_required": true,
    });
    assert_eq!(info["limits"], expected);
    assert_eq!(info.get("tiers"), None);
    assert_eq!(refused(&mut jetstream, json!({"name": "S"})), 10113);
    jetstream.stream("S", &["s"], json!({"max_bytes": 2000}));

    // A new token counts at once.
    let token =
        trust.account_token(&json!({"nats": {"limits": {"disk_storage": 1500, "mem_storage": 1}}}));
    let text = trust.memory(&token) + "jetstream { store_dir: \"@DIR@/store\" }\n";
    jetstream.server.reload(&text);
    let info = jetstream.done("INFO", "");
    assert_eq!(info["limits"]["max_storage"], 1500);
    jetstream.publish("s", &"x".repeat(1000));
    let answer = jetstream.store("s", "", &"x".repeat(1000));
    assert_eq!(answer["error"]["err_code"], 10002);
}

#[test]
fn js_244_tokens_have_tiers() {
    let tier =
        |disk: u64| json!({"disk_storage": disk, "mem_storage": -1, "streams": 2, "consumer": -1});
    let (_, mut jetstream) =
        with_token(&json!({"tiered_limits": {"R1": tier(2000), "R3": tier(3000)}}));
    jetstream.stream("S", &["s"], json!({"max_bytes": 1000}));
    jetstream.publish("s", "hello");
    let info = jetstream.done("INFO", "");
    let limits = |disk: u64| {
        json!({
            "max_memory": -1, "max_storage": disk, "max_streams": 2, "max_consumers": -1,
            "max_ack_pending": -1, "memory_max_stream_bytes": -1, "storage_max_stream_bytes": -1,
            "max_bytes_required": false,
        })
    };
    let (one, three) = (&info["tiers"]["R1"], &info["tiers"]["R3"]);
    assert_eq!(
        (&one["limits"], &three["limits"]),
        (&limits(2000), &limits(3000))
    );
    assert_eq!(
        (&one["streams"], &one["reserved_storage"]),
        (&json!(1), &json!(1000))
    );
    assert_eq!(
        (&one["storage"], &info["storage"]),
        (&json!(36), &json!(36))
    );
    assert_eq!(info["limits"]["max_storage"], 0);
    assert_eq!(
        refused(&mut jetstream, json!({"name": "T", "max_bytes": 1001})),
        10047
    );
    jetstream.stream("T", &["t"], json!({}));
    assert_eq!(refused(&mut jetstream, json!({"name": "U"})), 10027);

    let (_, mut jetstream) = with_token(&json!({"tiered_limits": {"R3": tier(2000)}}));
    let (code, number, text) = jetstream.refused("STREAM.CREATE.S", json!({"name": "S"}));
    let expected = (
        400,
        10120,
        "no JetStream default or applicable tiered limit present",
    );
    assert_eq!((code, number, text.as_str()), expected);
}

#[test]
fn js_244_a_token_without_bytes_has_no_jetstream() {
    let (trust, mut jetstream) = with_token(&json!({"streams": -1}));
    assert_eq!(jetstream.refused("INFO", "").1, 10039);
    let token = trust.account_token(&json!({"nats": {"limits": {
        "disk_storage": -1, "mem_storage": -1, "streams": -1, "consumer": -1}}}));
    let text = trust.memory(&token) + "jetstream { store_dir: \"@DIR@/store\" }\n";
    jetstream.server.reload(&text);
    jetstream.stream("S", &["s"], json!({}));
    assert_eq!(jetstream.publish("s", "x"), 1);
}

/// JS-242: requests are told of to those who want to hear of them.
#[test]
fn js_011_js_242_requests_are_audited() {
    let mut jetstream = JetStream::start();
    jetstream
        .client
        .quietly("SUB $JS.EVENT.ADVISORY.API audit\r\n");
    let body = json!({"name": "S", "subjects": ["s"]});
    for (endpoint, body, kind) in [
        ("STREAM.CREATE.S", body.to_string(), "stream_create"),
        ("STREAM.INFO.none", String::new(), "stream_info"),
        ("STREAM.MSG.GET.S", r#"{"seq":9}"#.to_owned(), "msg_get"),
        ("INFO", String::new(), "account_info"),
    ] {
        let subject = format!("$JS.API.{endpoint}");
        let answer = jetstream.request(&subject, "", &body);
        let event = jetstream.client.message();
        assert_eq!(event.subject, "$JS.EVENT.ADVISORY.API");
        let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
        assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.api_audit");
        assert_eq!(event["subject"], subject);
        assert_eq!(event["response"], answer.text());
        assert!(answer.text().contains(kind), "{event}");
        match body.as_str() {
            "" => assert_eq!(event.get("request"), None),
            body => assert_eq!(event["request"], body),
        }
        let client = &event["client"];
        assert_eq!(
            (&client["acc"], &client["kind"]),
            (&json!("$G"), &json!("Client"))
        );
        for field in ["start", "host", "server", "client_type"] {
            assert!(client[field].is_string(), "{event}");
        }
        for field in ["server", "id", "timestamp"] {
            assert!(event[field].is_string(), "{event}");
        }
        // Of messages that are read nobody is told: the next event is about the next request.
        if endpoint == "STREAM.CREATE.S" {
            jetstream.publish("s", "x");
            jetstream.done("STREAM.MSG.GET.S", json!({"seq": 1}));
        }
    }
}

/// JS-9: where too many requests wait all of them are dropped, and the system account hears of it.
#[test]
fn js_009_js_242_too_many_requests_are_dropped() {
    let config = |key: &str| {
        format!(
            "jetstream {{ store_dir: \"@DIR@/store\", {key}: 1 }}\n\
             accounts {{\n\
               A: {{ users: [{{user: a, password: a}}], jetstream: enabled }}\n\
               S: {{ users: [{{user: s, password: s}}] }}\n}}\nsystem_account: S\n"
        )
    };
    for (key, kept, dropped) in [
        ("request_queue_limit", None, "STREAM.CREATE.S"),
        ("info_queue_limit", Some("STREAM.CREATE.S"), "STREAM.INFO.S"),
    ] {
        let mut jetstream = JetStream::with_config(&config(key), A);
        let mut system = jetstream
            .server
            .client_with(r#"{"user": "s", "pass": "s"}"#);
        system.quietly("SUB $JS.EVENT.ADVISORY.API.LIMIT_REACHED 1\r\n");
        let body = json!({"name": "S", "subjects": ["s"]}).to_string();
        if let Some(kept) = kept {
            jetstream.done(kept, &body);
        }
        let request = format!("PUB $JS.API.{dropped} nowhere {}\r\n{body}\r\n", body.len());
        jetstream.client.quietly(request);
        let event = system.message();
        let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
        let kind = "io.nats.jetstream.advisory.v1.api_limit_reached";
        assert_eq!(event["type"], kind);
        // One of stock's workers may have been quicker.
        let dropped = event["dropped"].as_u64().expect("a number");
        assert!(dropped == 1 || dropped == 0 && !beyond_stock(), "{event}");
        for field in ["server", "id", "timestamp"] {
            assert!(event[field].is_string(), "{event}");
        }
        // With one limit for both nothing is answered any more.
        if kept.is_some() {
            let names = jetstream.ask("STREAM.DELETE.S", "");
            assert_eq!(names["success"], true);
        }
    }
}

/// Accounts whose tokens are kept apart are there with their streams before anybody asks for them.
#[test]
fn js_244_streams_of_accounts_that_come_later_are_restored() {
    let kept = TempDir::new();
    let path = kept.path().to_str().expect("text");
    let trust = Trust::new();
    let limits = json!({"disk_storage": -1, "mem_storage": -1, "streams": -1, "consumer": -1});
    let token = trust.account_token(&json!({"nats": {"limits": limits}}));
    let config = trust.directory(&token, "").replace("@DIR@", path);
    let config = config.replace("type: full", "type: cache")
        + &format!("jetstream {{ store_dir: \"{path}/store\" }}\n");
    let mut jetstream = log_in(&trust, Server::with_config(&config));
    jetstream.stream("S", &["s"], json!({}));
    jetstream.consumer(
        "S",
        "c",
        json!({"durable_name": "c", "ack_policy": "explicit"}),
    );
    jetstream.publish("s", "hello");
    jetstream.server.signal(Signal::TERM);
    jetstream.server.exited();

    let mut jetstream = log_in(&trust, Server::with_config(&config));
    let info = jetstream.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], 1);
    assert_eq!(jetstream.publish("s", "again"), 2);
    let got = jetstream.pull("S", "c", json!({"batch": 2}), 2);
    assert_eq!(got[0].text(), "hello");
}

#[test]
fn js_244_a_reload_restores_the_streams_of_its_accounts() {
    let kept = TempDir::new();
    let path = kept.path().to_str().expect("text");
    let added = "C: { users: [{user: b2, password: b}], jetstream: enabled }";
    let config = |more: &str| config("enabled", more).replace("@DIR@", path);
    let options = r#"{"user": "b2", "pass": "b"}"#;
    let mut jetstream = JetStream::with_config(&config(added), options);
    jetstream.stream("S", &["s"], json!({}));
    jetstream.publish("s", "hello");
    jetstream.server.signal(Signal::TERM);
    jetstream.server.exited();

    let mut jetstream = JetStream::with_config(&config(""), A);
    assert_eq!(jetstream.refused("STREAM.INFO.S", "").1, 10059);
    jetstream.server.reload(&config(added));
    let mut jetstream = jetstream.switch(options);
    let info = jetstream.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], 1);
    assert_eq!(jetstream.publish("s", "again"), 2);
}

#[test]
fn js_244_an_account_may_lose_jetstream_and_get_it_back() {
    let mut jetstream = JetStream::with_config(&config("enabled", ""), A);
    jetstream.stream("S", &["s"], json!({}));
    jetstream.consumer(
        "S",
        "c",
        json!({"durable_name": "c", "ack_policy": "explicit"}),
    );
    jetstream.publish("s", "x");
    jetstream.server.reload(&config("disabled", ""));
    assert_eq!(jetstream.refused("STREAM.INFO.S", "").1, 10039);
    let nobody = jetstream.request("s", "", "x");
    assert_eq!(nobody.status(), Some("503"));
    let nobody = jetstream.request("$JS.API.CONSUMER.MSG.NEXT.S.c", "", "");
    assert_eq!(nobody.status(), Some("503"));
    jetstream.server.reload(&config("enabled", ""));
    let info = jetstream.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], 1);
    assert_eq!(jetstream.publish("s", "y"), 2);
    let got = jetstream.pull("S", "c", "1", 1);
    assert_eq!(got[0].text(), "x");
}

/// A new token is sent to the server as `nsc push` does.
#[test]
fn js_244_a_token_that_is_pushed_counts_at_once() {
    let trust = Trust::new();
    let token = |limits: Value| trust.account_token(&json!({"nats": {"limits": limits}}));
    let all = json!({"disk_storage": -1, "mem_storage": -1, "streams": -1, "consumer": -1});
    let config = trust.directory(&token(json!({})), "");
    let config = config + "jetstream { store_dir: \"@DIR@/store\" }\n";
    let mut jetstream = log_in(&trust, Server::with_config(&config));
    assert_eq!(jetstream.refused("INFO", "").1, 10039);
    let mut admin = jetstream.server.open();
    let nonce = admin.info["nonce"].as_str().expect("nonce").to_owned();
    admin.connect(&credentials(&trust.admin, &trust.admin_token(), &nonce));
    admin.quietly("SUB answers 1\r\n");
    let mut push = |token: &str| {
        let size = token.len();
        admin.send(format!(
            "PUB $SYS.REQ.CLAIMS.UPDATE answers {size}\r\n{token}\r\n"
        ));
        let answer: Value = serde_json::from_slice(&admin.message().payload).expect("JSON");
        assert_eq!(answer["data"]["code"], 200, "{answer}");
    };
    push(&token(all.clone()));
    jetstream.stream("S", &["s"], json!({}));
    jetstream.publish("s", &"x".repeat(1000));
    let mut some = all;
    some["disk_storage"] = json!(1500);
    push(&token(some));
    assert_eq!(jetstream.done("INFO", "")["limits"]["max_storage"], 1500);
    let answer = jetstream.store("s", "", &"x".repeat(1000));
    assert_eq!(answer["error"]["err_code"], 10002);
}
