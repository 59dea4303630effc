//! Section 22 of JetStream: what monitoring tells of streams, with the shapes stock 2.15.1 gives.

use crate::support::jetstream::JetStream;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;
use serde_json::{Value, json};

const CONFIG: &str = r#"
    http: "127.0.0.1:-1"
    server_name: probe
    jetstream {
        store_dir: "@DIR@/store", max_mem: 64MB, max_file: 256MB, sync_interval: 10s
        limits { max_ack_pending: 500 }
    }
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { jetstream: enabled, users: [{user: a, password: a}] }
        B { jetstream: {max_mem: 1MB, max_file: 2MB}, users: [{user: b, password: b}] }
        C { users: [{user: c, password: c}] }
    }
    system_account: SYS
"#;

/// A server with a stream `ONE` in a file and its consumer `c`, and `TWO` in memory, all of `A`.
fn filled() -> JetStream {
    let mut jetstream = JetStream::with_config(CONFIG, r#"{"user": "a", "pass": "a"}"#);
    jetstream.stream("ONE", &["one.>"], json!({"max_bytes": 1_000_000}));
    jetstream.stream("TWO", &["two.>"], json!({"storage": "memory"}));
    for at in 1..=5 {
        jetstream.publish(&format!("one.{at}"), "hello");
    }
    jetstream.publish("two.x", "hello");
    jetstream.consumer(
        "ONE",
        "c",
        json!({"durable_name": "c", "ack_policy": "explicit"}),
    );
    jetstream.refused("STREAM.INFO.NONE", "");
    jetstream
}

/// Times and random names are `#`; lists of what has a name are in its order.
fn fixed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let all = fields.iter().map(|(key, value)| {
                let varies = [
                    "now",
                    "created",
                    "ts",
                    "first_ts",
                    "last_ts",
                    "last_active",
                    "server_id",
                    "store_dir",
                ];
                let value = match varies.contains(&key.as_str()) {
                    true => json!("#"),
                    false => fixed(value),
                };
                (key.clone(), value)
            });
            Value::Object(all.collect())
        }
        Value::Array(all) => {
            let mut all: Vec<Value> = all.iter().map(fixed).collect();
            all.sort_by_key(|it| it["name"].to_string());
            Value::Array(all)
        }
        other => other.clone(),
    }
}

fn whole() -> Value {
    json!({
        "memory": 26, "storage": 200, "reserved_memory": 0, "reserved_storage": 1_000_000,
        "accounts": 2, "ha_assets": 0, "api": {"level": 5, "total": 4, "errors": 1},
        "server_id": "#", "now": "#",
        "config": {
            "max_memory": 67_108_864, "max_storage": 268_435_456, "store_dir": "#",
            "sync_interval": 10_000_000_000_u64, "compress_ok": true, "strict": true,
        },
        "limits": {"max_ack_pending": 500, "default_max_consumers": 1000},
        "streams": 2, "consumers": 1, "messages": 6, "bytes": 226, "total": 2,
    })
}

fn account_a() -> Value {
    json!({
        "name": "A", "id": "A", "memory": 26, "storage": 200,
        "reserved_memory": u64::MAX, "reserved_storage": u64::MAX, "accounts": 0, "ha_assets": 0,
        "api": {"level": 0, "total": 4, "errors": 1},
    })
}

fn account_b() -> Value {
    json!({
        "name": "B", "id": "B", "memory": 0, "storage": 0,
        "reserved_memory": 1_048_576, "reserved_storage": 2_097_152, "accounts": 0, "ha_assets": 0,
        "api": {"level": 0, "total": 0, "errors": 0},
    })
}

fn streams() -> Value {
    let state = |messages: u64, bytes: u64, consumers: u64| {
        json!({
            "messages": messages, "bytes": bytes, "first_seq": 1, "first_ts": "#",
            "last_seq": messages, "last_ts": "#", "num_subjects": messages,
            "consumer_count": consumers,
        })
    };
    json!([
        {"name": "ONE", "created": "#", "cluster": {"leader": "probe"}, "state": state(5, 200, 1)},
        {"name": "TWO", "created": "#", "cluster": {"leader": "probe"}, "state": state(1, 26, 0)},
    ])
}

fn consumer() -> Value {
    json!({
        "stream_name": "ONE", "name": "c", "created": "#",
        "delivered": {"consumer_seq": 0, "stream_seq": 0},
        "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
        "num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0, "num_pending": 5, "ts": "#",
    })
}

/// MON-35, MON-36.
#[test]
fn js_261_jsz_shows_what_is_asked_for() {
    let server = filled().server;
    let (mut with_streams, mut with_consumers) = (account_a(), account_a());
    with_streams["stream_detail"] = streams();
    with_consumers["stream_detail"] = streams();
    with_consumers["stream_detail"][0]["consumer_detail"] = json!([consumer()]);
    let (a, b) = (account_a(), account_b());
    for (query, details) in [
        ("", json!(null)),
        ("leader-only=true", json!(null)),
        ("accounts=true", json!([a, b])),
        ("accounts=1&limit=1", json!([a])),
        ("accounts=1&offset=1", json!([b])),
        ("accounts=1&offset=1&limit=1", json!([b])),
        ("accounts=1&offset=2", json!(null)),
        ("acc=A", json!([a])),
        ("acc=B", json!([b])),
        ("acc=C", json!(null)),
        ("acc=C&streams=1", json!(null)),
        ("acc=NONE&streams=1", json!(null)),
        ("streams=1", json!([with_streams, b])),
        ("streams=1&stream-leader-only=1", json!([with_streams, b])),
        ("consumers=1&limit=1", json!([with_consumers])),
        ("acc=A&consumers=true", json!([with_consumers])),
        (
            "acc=A&consumers=1&direct-consumers=1",
            json!([with_consumers]),
        ),
    ] {
        let mut expected = whole();
        if !details.is_null() {
            expected["account_details"] = details;
        }
        let found = fixed(&server.json(&format!("/jsz?{query}")));
        assert_eq!(found, expected, "{query}");
    }
    for query in ["limit=x", "offset=x", "streams=x", "acc=A&consumers=maybe"] {
        let response = server.get(&format!("/jsz?{query}"));
        assert_eq!(response.status, 400, "{query}");
    }
}

#[test]
fn js_261_jsz_shows_configurations_of_streams_and_consumers() {
    let mut jetstream = filled();
    let answer = jetstream.server.json("/jsz?acc=A&consumers=1&config=1");
    let stream = &fixed(&answer)["account_details"][0]["stream_detail"][0];
    let info = jetstream.done("STREAM.INFO.ONE", "");
    let shown = |config: &Value| {
        let mut config = config.clone();
        // What is added as it is shown to clients.
        if let Some(metadata) = config["metadata"].as_object_mut() {
            metadata.retain(|key, _| key == "_nats.req.level");
        }
        config
    };
    assert_eq!(shown(&stream["config"]), shown(&info["config"]));
    let info = jetstream.consumer_info("ONE", "c");
    let consumer = &stream["consumer_detail"][0];
    assert_eq!(shown(&consumer["config"]), shown(&info["config"]));
}

/// MON-35.
#[test]
fn js_261_jsz_of_a_server_without_jetstream() {
    let server = Server::with_monitor("");
    let answer = fixed(&server.json("/jsz?accounts=1&streams=1"));
    let expected = json!({
        "memory": 0, "storage": 0, "reserved_memory": 0, "reserved_storage": 0, "accounts": 0,
        "ha_assets": 0, "api": {"level": 0, "total": 0, "errors": 0}, "server_id": "#", "now": "#",
        "disabled": true, "config": {"max_memory": 0, "max_storage": 0},
        "streams": 0, "consumers": 0, "messages": 0, "bytes": 0, "total": 0,
    });
    let mut found = answer;
    if let Some(fields) = found.as_object_mut() {
        fields.remove("limits");
    }
    assert_eq!(found, expected);
}

#[test]
fn js_262_js_263_healthz_looks_for_what_is_named() {
    let server = filled().server;
    let fine = |query: &str| {
        let response = server.get(&format!("/healthz?{query}"));
        assert_eq!(response.status, 200, "{query}");
        assert_eq!(response.json(), json!({"status": "ok"}), "{query}");
    };
    for query in [
        "",
        "js-enabled-only=true",
        "js-server-only=1",
        "js-meta-only=1",
        "account=A",
        "account=A&stream=ONE",
        "account=A&stream=ONE&consumer=c",
        "account=NONE&js-enabled-only=1",
        "account=A&stream=NONE&js-server-only=1",
    ] {
        fine(query);
    }
    let no_account = r#"JetStream account "NONE" not found"#;
    let no_stream = r#"JetStream stream "NONE" not found on account "A""#;
    let no_consumer = r#"JetStream consumer "no" not found for stream "ONE" on account "A""#;
    for (query, named, error) in [
        (
            "account=NONE",
            json!({"type": "ACCOUNT", "account": "NONE"}),
            no_account,
        ),
        (
            "account=A&stream=NONE",
            json!({"type": "STREAM", "account": "A", "stream": "NONE"}),
            no_stream,
        ),
        (
            "account=A&stream=NONE&consumer=no",
            json!({"type": "STREAM", "account": "A", "stream": "NONE"}),
            no_stream,
        ),
        (
            "account=A&stream=ONE&consumer=no",
            json!({"type": "CONSUMER", "account": "A", "stream": "ONE", "consumer": "no"}),
            no_consumer,
        ),
    ] {
        let response = server.get(&format!("/healthz?{query}"));
        let expected = json!({"status": "unavailable", "error": error});
        assert_eq!(
            (response.status, response.json()),
            (404, expected),
            "{query}"
        );
        let response = server.get(&format!("/healthz?{query}&details=1"));
        let mut detail = named;
        detail["error"] = json!(error);
        let expected = json!({"status": "error", "errors": [detail]});
        assert_eq!(
            (response.status, response.json()),
            (404, expected),
            "{query}"
        );
    }
    for query in ["stream=ONE", "account=A&consumer=c"] {
        assert_eq!(
            server.get(&format!("/healthz?{query}")).status,
            400,
            "{query}"
        );
    }
}

/// JS-263: what was there and cannot be read makes the server ill, and names it.
#[test]
fn js_263_a_stream_that_cannot_be_read_is_named() {
    if !beyond_stock() {
        return; // its files are others
    }
    let builder = Server::builder().config(CONFIG);
    let path = builder.dir().path().join("store/jetstream/A/streams/LOST");
    std::fs::create_dir_all(&path).expect("a directory");
    std::fs::write(path.join("00000001.0.segment"), [7; 4096]).expect("a file");
    let server = builder.start();
    let error = "JetStream stream 'A > LOST' could not be recovered";
    let response = server.get("/healthz");
    let expected = json!({"status": "unavailable", "error": error});
    assert_eq!((response.status, response.json()), (503, expected));
    let response = server.get("/healthz?details=1");
    let detail = json!({"type": "STREAM", "account": "A", "stream": "LOST", "error": error});
    let expected = json!({"status": "error", "errors": [detail]});
    assert_eq!((response.status, response.json()), (503, expected));
    assert_eq!(server.get("/healthz?js-enabled-only=1").status, 200);
}

/// JS-265, JS-261: the same over the system account.
#[test]
fn js_265_the_system_account_is_told() {
    let server = filled().server;
    let options = r#"{"user": "sys", "pass": "s", "verbose": false}"#;
    let mut client = server.client_with(options);
    client.quietly("SUB answer 1\r\n");
    let mut ask = |subject: &str, body: &str| -> Value {
        client.send(format!(
            "PUB $SYS.REQ.{subject} answer {}\r\n{body}\r\n",
            body.len()
        ));
        fixed(&serde_json::from_slice(&client.message().payload).expect("JSON"))
    };
    let mut expected = whole();
    assert_eq!(ask("SERVER.PING.JSZ", "")["data"], expected);
    let mut a = account_a();
    a["stream_detail"] = streams();
    expected["account_details"] = json!([a]);
    let answer = ask("SERVER.PING.JSZ", r#"{"account": "A", "streams": true}"#);
    assert_eq!(answer["data"], expected);
    let answer = ask("ACCOUNT.A.JSZ", r#"{"streams": true}"#);
    assert_eq!(answer["data"], a);
    let answer = ask("ACCOUNT.C.JSZ", "");
    let error = json!({"code": 500, "description": "account \"C\" not jetstream enabled"});
    assert_eq!(answer["error"], error);
    for (body, expected) in [
        ("", json!({"status": "ok", "status_code": 200})),
        (
            r#"{"account": "A", "stream": "NONE"}"#,
            json!({
                "status": "unavailable", "status_code": 404,
                "error": "JetStream stream \"NONE\" not found on account \"A\"",
            }),
        ),
        (
            r#"{"account": "A", "stream": "NONE", "js-server-only": true}"#,
            json!({"status": "ok", "status_code": 200}),
        ),
    ] {
        assert_eq!(ask("SERVER.PING.HEALTHZ", body)["data"], expected, "{body}");
    }
    let mut own = whole();
    let config = own["config"].as_object_mut().expect("an object");
    config.remove("store_dir");
    let statsz = &ask("SERVER.PING.STATSZ", "")["statsz"]["jetstream"];
    assert_eq!(statsz["config"], own["config"]);
    assert_eq!(statsz["limits"], own["limits"]);
    for field in ["memory", "storage", "reserved_storage", "accounts", "api"] {
        assert_eq!(statsz["stats"][field], own[field], "{field}");
    }
    let account = &ask("ACCOUNT.A.INFO", "")["data"];
    assert_eq!(account["jetstream_enabled"], true);
    let account = &ask("ACCOUNT.C.INFO", "")["data"];
    assert_eq!(account["jetstream_enabled"], false);
}

#[test]
fn js_261_varz_has_jetstream_in_it() {
    let server = filled().server;
    let varz = fixed(&server.json("/varz"));
    let whole = whole();
    let jetstream = &varz["jetstream"];
    assert_eq!(jetstream["config"], whole["config"]);
    assert_eq!(jetstream["limits"], whole["limits"]);
    for field in ["memory", "storage", "reserved_storage", "accounts", "api"] {
        assert_eq!(jetstream["stats"][field], whole[field], "{field}");
    }
}

/// `/metrics` has the exporter's names; stock has no such page.
#[test]
fn metrics_tell_of_streams_and_consumers() {
    if !beyond_stock() {
        return;
    }
    let server = filled().server;
    let metrics = server.get("/metrics").body;
    let value = |name: &str, label: &str| -> f64 {
        let begin = format!("{name}{{");
        let mut lines = metrics.lines().filter(|it| it.starts_with(&begin));
        let line = lines.find(|it| it.contains(label));
        let line = line.unwrap_or_else(|| panic!("no {name} with {label}"));
        let value = line.rsplit(' ').next().expect("a value");
        value.parse().expect("a number")
    };
    let one = r#"stream_name="ONE""#;
    for (name, label, expected) in [
        ("jetstream_server_total_streams", "", 2.0),
        ("jetstream_server_total_consumers", "", 1.0),
        ("jetstream_server_total_messages", "", 6.0),
        ("jetstream_server_total_message_bytes", "", 226.0),
        ("jetstream_server_max_storage", "", 268_435_456.0),
        ("jetstream_server_api_requests", "", 4.0),
        ("jetstream_server_api_errors", "", 1.0),
        ("jetstream_server_left_out_streams", "", 0.0),
        ("jetstream_account_storage_used", r#"account="A""#, 200.0),
        ("jetstream_account_memory_used", r#"account="A""#, 26.0),
        ("jetstream_account_storage_reserved", r#"account="A""#, 1e6),
        (
            "jetstream_account_max_storage",
            r#"account="B""#,
            2_097_152.0,
        ),
        ("jetstream_stream_total_messages", one, 5.0),
        ("jetstream_stream_total_bytes", one, 200.0),
        ("jetstream_stream_last_seq", one, 5.0),
        ("jetstream_stream_consumer_count", one, 1.0),
        (
            "jetstream_consumer_num_pending",
            r#"consumer_name="c""#,
            5.0,
        ),
        (
            "jetstream_consumer_num_ack_pending",
            r#"consumer_name="c""#,
            0.0,
        ),
    ] {
        assert_eq!(value(name, label), expected, "{name}");
    }
}

/// Whoever makes streams and consumers makes no metrics without end; the sums are of all.
#[test]
fn metrics_name_a_bounded_number_of_streams_and_consumers() {
    if !beyond_stock() {
        return;
    }
    let config = "http: \"127.0.0.1:-1\"\njetstream { store_dir: \"@DIR@/store\" }";
    let mut jetstream = JetStream::with_config(config, "{}");
    let mut requests = String::new();
    let mut ask = |subject: &str, body: &Value| {
        let body = body.to_string();
        requests.push_str(&format!("PUB {subject} {}\r\n{body}\r\n", body.len()));
    };
    for at in 0..1003 {
        let config = json!({"name": format!("S{at}"), "storage": "memory"});
        ask(&format!("$JS.API.STREAM.CREATE.S{at}"), &config);
    }
    for at in 0..2004 {
        let (stream, name) = (format!("S{}", at % 3), format!("c{at}"));
        let body = json!({"stream_name": stream, "config": {"durable_name": name}});
        ask(&format!("$JS.API.CONSUMER.CREATE.{stream}.{name}"), &body);
    }
    jetstream.client.quietly(&requests);
    wait_until("all of them", || {
        let info = jetstream.done("INFO", "");
        (info["consumers"] == 2004 && info["streams"] == 1003).then_some(())
    });
    let metrics = jetstream.server.get("/metrics").body;
    let of = |name: &str| -> Vec<&str> {
        let begin = format!("{name}{{");
        let lines = metrics.lines().filter(|it| it.starts_with(&begin));
        lines
            .map(|it| it.rsplit(' ').next().expect("a value"))
            .collect()
    };
    assert_eq!(of("jetstream_stream_total_messages").len(), 1000);
    assert_eq!(of("jetstream_consumer_num_pending").len(), 2000);
    for (name, expected) in [
        ("total_streams", "1003.0"),
        ("total_consumers", "2004.0"),
        ("left_out_streams", "3.0"),
        ("left_out_consumers", "4.0"),
    ] {
        let value = of(&format!("jetstream_server_{name}"));
        assert_eq!(value, [expected], "{name}");
    }
}

/// What is asked below a domain is asked of the API, and told of as a mapping.
#[test]
fn js_265_accounts_show_what_the_domain_maps() {
    let config = CONFIG.replacen("jetstream {", "jetstream { domain: hub,", 1);
    let server = Server::with_config(&config);
    let mappings = |account: &str| {
        let answer = server.json(&format!("/accountz?acc={account}"));
        answer["account_detail"]["mappings"].clone()
    };
    let to = |subject: &str| json!([{"subject": subject, "weight": 100}]);
    for account in ["A", "C"] {
        let shown = mappings(account);
        assert_eq!(shown.as_object().map(|it| it.len()), Some(9), "{shown}");
        assert_eq!(shown["$JS.hub.API.INFO"], to("$JS.API.INFO"));
        assert_eq!(shown["$JS.hub.API.STREAM.>"], to("$JS.API.STREAM.>"));
        assert_eq!(shown["$JS.hub.API.$KV.>"], to("$KV.>"));
    }
    let shown = mappings("SYS");
    assert_eq!(shown, json!({"$JS.hub.API.>": to("$JS.API.>")}));
}
