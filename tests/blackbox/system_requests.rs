//! Section 4.5: requests to the system account, with the shapes stock 2.15.1 gives.

use serde_json::{Value, json};

use crate::support::client::{Client, Message};
use crate::support::server::Server;

const CONFIG: &str = r#"
    server_name: probe
    server_tags: [a, "b:c"]
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { users: [{user: a, password: a}] }
        B { users: [{user: b, password: b}] }
    }
    system_account: SYS
"#;

fn server() -> Server {
    Server::with_config(CONFIG)
}

fn login(server: &Server, user: &str, password: &str) -> Client {
    let options = json!({
        "user": user, "pass": password, "name": format!("client {user}"), "lang": "test",
        "version": "1", "headers": true, "no_responders": true, "verbose": false, "protocol": 1,
    });
    server.client_with(&options.to_string())
}

fn operator(server: &Server) -> Client {
    login(server, "sys", "s")
}

/// Sends a request; its answer is the next message.
fn request(client: &mut Client, subject: &str, header: &str, body: &str) -> Message {
    client.quietly("SUB _INBOX.1 9\r\n");
    if header.is_empty() {
        client.send(format!(
            "PUB {subject} _INBOX.1 {}\r\n{body}\r\n",
            body.len()
        ));
    } else {
        let block = format!("NATS/1.0\r\n{header}\r\n\r\n");
        let (head, all) = (block.len(), block.len() + body.len());
        client.send(format!(
            "HPUB {subject} _INBOX.1 {head} {all}\r\n{block}{body}\r\n"
        ));
    }
    let answer = client.message();
    client.quietly("UNSUB 9\r\n");
    answer
}

fn ask(client: &mut Client, subject: &str, body: &str) -> Value {
    let answer = request(client, subject, "", body);
    serde_json::from_slice(&answer.payload).unwrap_or_else(|_| panic!("{subject}: {answer:?}"))
}

/// Nobody answers: the 503 comes at once.
fn unanswered(client: &mut Client, subject: &str) {
    let answer = request(client, subject, "", "");
    assert!(
        answer.headers.starts_with(b"NATS/1.0 503"),
        "{subject}: {answer:?}"
    );
}

/// Nothing comes within the time a stock server takes to answer: another request's answer is
/// first.
fn silent(client: &mut Client, subject: &str, body: &str) {
    client.quietly("SUB _INBOX.2 8\r\n");
    client.send(format!(
        "PUB {subject} _INBOX.2 {}\r\n{body}\r\n",
        body.len()
    ));
    let answer = ask(client, "$SYS.REQ.SERVER.PING.IDZ", "");
    assert_eq!(answer["name"], "probe", "{subject}");
    client.quietly("UNSUB 8\r\n");
}

fn id(server: &Server) -> String {
    let info = server.open().info;
    info["server_id"].as_str().expect("an id").to_owned()
}

/// Asserts that `value` has exactly these fields; those with `?` may be absent.
#[track_caller]
fn fields(value: &Value, expected: &[&str]) {
    let object = value.as_object().expect("an object");
    for field in expected {
        let optional = field.ends_with('?');
        assert!(
            optional || object.contains_key(*field),
            "{field} is missing in {value}"
        );
    }
    for field in object.keys() {
        let known = expected.iter().any(|it| it.trim_end_matches('?') == field);
        assert!(
            known || field.starts_with("ramjet"),
            "{field} is not stock's: {value}"
        );
    }
}

#[track_caller]
fn is_server(server: &Value) {
    fields(
        server,
        &[
            "name",
            "host",
            "id",
            "ver",
            "tags",
            "feature_flags",
            "jetstream",
            "flags",
            "seq",
            "time",
        ],
    );
    assert_eq!(server["name"], "probe");
    assert_eq!(server["tags"], json!(["a", "b:c"]));
    assert!(server["seq"].is_u64() && server["flags"] == 0 && server["jetstream"] == false);
}

#[test]
fn mon_041_045_every_question_is_answered_by_ping_and_by_id() {
    let server = server();
    let id = id(&server);
    let mut sys = operator(&server);
    for (name, expected) in [
        (
            "VARZ",
            &["server_id", "connections", "mem", "cpu", "http_req_stats"][..],
        ),
        (
            "SUBSZ",
            &[
                "server_id",
                "num_subscriptions",
                "num_cache",
                "total",
                "limit",
            ],
        ),
        (
            "CONNZ",
            &["server_id", "num_connections", "total", "connections"],
        ),
        (
            "ROUTEZ",
            &["server_id", "server_name", "num_routes", "routes"],
        ),
        (
            "GATEWAYZ",
            &["server_id", "outbound_gateways", "inbound_gateways"],
        ),
        ("LEAFZ", &["server_id", "leafnodes", "leafs"]),
        ("ACCOUNTZ", &["server_id", "system_account", "accounts"]),
        (
            "JSZ",
            &["server_id", "disabled", "config", "memory", "api", "total"],
        ),
        ("HEALTHZ", &["status", "status_code"]),
        ("PROFILEZ", &["profile", "error"]),
        ("EXPVARZ", &["memstats", "cmdline"]),
        ("IPQUEUESZ", &[]),
        ("RAFTZ", &[]),
    ] {
        for place in ["PING", &id] {
            let answer = ask(&mut sys, &format!("$SYS.REQ.SERVER.{place}.{name}"), "");
            fields(&answer, &["server", "data"]);
            is_server(&answer["server"]);
            for field in expected {
                assert!(
                    answer["data"].get(field).is_some(),
                    "{name}: {field}: {answer}"
                );
            }
        }
    }
    unanswered(&mut sys, "$SYS.REQ.SERVER.PING.FOO");
    unanswered(&mut sys, "$SYS.REQ.SERVER.PING.RELOAD");
    unanswered(&mut sys, &format!("$SYS.REQ.SERVER.{id}.FOO"));
}

#[test]
fn mon_040_only_the_system_account_may_ask() {
    let server = server();
    let id = id(&server);
    let mut a = login(&server, "a", "a");
    for subject in [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.ACCOUNT.A.CONNZ",
    ] {
        unanswered(&mut a, subject);
    }
    for order in ["RELOAD", "KICK", "LDM", "CONNZ"] {
        unanswered(&mut a, &format!("$SYS.REQ.SERVER.{id}.{order}"));
    }
}

#[test]
fn mon_040_without_a_system_account_nobody_answers() {
    let server = Server::with_config("no_system_account: true");
    let mut client = server.client_with(r#"{"headers":true,"no_responders":true,"verbose":false}"#);
    for subject in [
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.ACCOUNT.PING.STATZ",
        "$SYS.REQ.SERVER.PING",
    ] {
        unanswered(&mut client, subject);
    }
}

#[test]
fn mon_042_servers_not_meant_are_silent() {
    let server = server();
    let mut sys = operator(&server);
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.HEALTHZ"] {
        for meant in [
            r#"{"server_name":"rob"}"#,
            r#"{"server_name":"probe","exact_match":true}"#,
            r#"{"tags":["a"]}"#,
            r#"{"tags":["A","b:c"]}"#,
            r#"{"host":"0"}"#,
        ] {
            is_server(&ask(&mut sys, subject, meant)["server"]);
        }
        for other in [
            r#"{"server_name":"rob","exact_match":true}"#,
            r#"{"server_name":"zz"}"#,
            r#"{"tags":["a","zz"]}"#,
            r#"{"host":"zz"}"#,
            r#"{"cluster":"zz"}"#,
            r#"{"domain":"zz"}"#,
        ] {
            silent(&mut sys, subject, other);
        }
    }
}

#[test]
fn mon_041_bodies_that_make_no_sense_are_refused() {
    let server = server();
    let mut sys = operator(&server);
    for (subject, body, code, without_data) in [
        ("$SYS.REQ.SERVER.PING", "{x", 400, false),
        ("$SYS.REQ.SERVER.PING.VARZ", "{x", 400, false),
        ("$SYS.REQ.SERVER.PING.CONNZ", r#"{"limit":"x"}"#, 400, false),
        (
            "$SYS.REQ.SERVER.PING.CONNZ",
            r#"{"state":"closed"}"#,
            400,
            false,
        ),
        ("$SYS.REQ.SERVER.PING.CONNZ", "[]", 400, false),
        ("$SYS.REQ.SERVER.PING.CONNZ", r#"{"sort":"zz"}"#, 500, true),
        (
            "$SYS.REQ.SERVER.PING.CONNZ",
            r#"{"sort":"stop"}"#,
            500,
            true,
        ),
        (
            "$SYS.REQ.SERVER.PING.SUBSZ",
            r#"{"test":"a.*","subscriptions":true}"#,
            500,
            true,
        ),
        (
            "$SYS.REQ.SERVER.PING.ACCOUNTZ",
            r#"{"account":"NOPE"}"#,
            500,
            true,
        ),
        ("$SYS.REQ.ACCOUNT.NOPE.INFO", "", 500, true),
        ("$SYS.REQ.ACCOUNT.A.JSZ", "", 500, true),
    ] {
        let answer = ask(&mut sys, subject, body);
        is_server(&answer["server"]);
        assert_eq!(answer["error"]["code"], code, "{subject} {body}: {answer}");
        assert!(
            answer["error"]["description"]
                .as_str()
                .is_some_and(|it| !it.is_empty())
        );
        let data = answer.get("data");
        assert_eq!(
            data,
            without_data.then_some(&Value::Null),
            "{subject} {body}"
        );
    }
    let answer = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", r#"{"limit":"x"}"#);
    assert_eq!(
        answer["error"]["description"],
        "json: cannot unmarshal string into Go struct field ConnzEventOptions.limit of type int"
    );
}

#[test]
fn mon_043_answers_are_packed_on_request() {
    let server = server();
    let mut sys = operator(&server);
    for (accepted, named, start) in [
        ("snappy", "snappy", &b"\xff\x06\x00\x00sNaPpY"[..]),
        ("s2", "snappy", b"\xff\x06\x00\x00sNaPpY"),
        ("gzip", "gzip", b"\x1f\x8b"),
        ("br", "identity", b"{\"server\":"),
    ] {
        let header = format!("Accept-Encoding: {accepted}");
        let answer = request(&mut sys, "$SYS.REQ.SERVER.PING.VARZ", &header, "");
        let expected = format!("NATS/1.0\r\nContent-Encoding: {named}\r\n\r\n");
        assert_eq!(answer.headers, expected.as_bytes());
        assert!(answer.payload.starts_with(start), "{accepted}");
        for plain in ["$SYS.REQ.SERVER.PING.STATSZ", "$SYS.REQ.SERVER.PING.IDZ"] {
            let answer = request(&mut sys, plain, &header, "");
            assert!(
                answer.headers.is_empty() && answer.payload.starts_with(b"{"),
                "{plain}"
            );
        }
    }
}

#[test]
fn mon_044_statsz_has_an_envelope_of_its_own() {
    let server = server();
    let mut sys = operator(&server);
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.STATSZ"] {
        let answer = ask(&mut sys, subject, "");
        fields(&answer, &["server", "statsz"]);
        is_server(&answer["server"]);
        let statsz = &answer["statsz"];
        fields(
            statsz,
            &[
                "start",
                "mem",
                "cores",
                "cpu",
                "connections",
                "total_connections",
                "active_accounts",
                "subscriptions",
                "sent",
                "sent_to_clients",
                "received",
                "received_from_clients",
                "slow_consumers",
                "slow_consumer_stats?",
                "stale_connections?",
                "stale_connection_stats?",
                "stalled_clients?",
                "active_servers",
                "gomemlimit?",
                "gomaxprocs",
            ],
        );
        assert_eq!(statsz["connections"], 1);
        assert_eq!(statsz["active_servers"], 1);
        fields(&statsz["sent"], &["msgs", "bytes"]);
    }
}

#[test]
fn mon_046_idz_is_bare() {
    let server = server();
    let mut sys = operator(&server);
    let answer = ask(&mut sys, "$SYS.REQ.SERVER.PING.IDZ", "{bad");
    fields(&answer, &["name", "host", "id"]);
}

#[test]
fn mon_047_connz_takes_its_options_from_the_body() {
    let server = server();
    let mut sys = operator(&server);
    let _a = login(&server, "a", "a");
    let mut b = login(&server, "b", "b");
    b.quietly("SUB foo.* q 1\r\n");
    let mut connz = |body: &str| ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", body)["data"].clone();
    let page = connz(r#"{"limit":2,"offset":1}"#);
    assert_eq!(
        (&page["num_connections"], &page["total"]),
        (&json!(2), &json!(3))
    );
    let one = connz(r#"{"user":"b","auth":true,"subscriptions":true}"#);
    assert_eq!(one["connections"][0]["account"], "B");
    assert_eq!(
        one["connections"][0]["subscriptions_list"],
        json!(["foo.*"])
    );
    let one = connz(r#"{"acc":"B","subscriptions":true,"subscriptions_detail":true}"#);
    assert_eq!(
        one["connections"][0]["subscriptions_list_detail"][0]["qgroup"],
        "q"
    );
    let one = connz(r#"{"acc":"B","filter_subject":"foo.x"}"#);
    assert_eq!(one["connections"][0]["name"], "client b");
    let none = connz(r#"{"acc":"B","filter_subject":"bar"}"#);
    assert_eq!(none["connections"], json!([]));
    let closed = connz(r#"{"state":1}"#);
    assert_eq!(closed["total"], 0);
    let all = connz(r#"{"state":2}"#);
    assert_eq!(all["total"], 3);
    let cid = all["connections"][2]["cid"].as_u64().expect("a cid");
    let one = connz(&format!(r#"{{"cid":{cid}}}"#));
    assert_eq!(one["connections"][0]["cid"], cid);
    let sorted = connz(r#"{"sort":"subs"}"#);
    assert_eq!(sorted["connections"].as_array().expect("rows").len(), 3);
}

#[test]
fn mon_048_subsz_and_accountz_take_theirs() {
    let server = server();
    let mut sys = operator(&server);
    let mut b = login(&server, "b", "b");
    b.quietly("SUB foo.* q 1\r\n");
    let body = r#"{"subscriptions":true,"account":"B","test":"foo.x"}"#;
    let subsz = ask(&mut sys, "$SYS.REQ.SERVER.PING.SUBSZ", body)["data"].clone();
    assert_eq!(subsz["total"], 1);
    assert_eq!(subsz["subscriptions_list"][0]["subject"], "foo.*");
    let body = r#"{"account":"B"}"#;
    let accountz = ask(&mut sys, "$SYS.REQ.SERVER.PING.ACCOUNTZ", body)["data"].clone();
    assert_eq!(accountz["account_detail"]["account_name"], "B");
    assert_eq!(accountz["account_detail"]["client_connections"], 1);
}

#[test]
fn mon_049_healthz_has_its_status_inside() {
    let server = server();
    let mut sys = operator(&server);
    let mut healthz =
        |body: &str| ask(&mut sys, "$SYS.REQ.SERVER.PING.HEALTHZ", body)["data"].clone();
    assert_eq!(healthz(""), json!({ "status": "ok", "status_code": 200 }));
    let failed = healthz(r#"{"stream":"s"}"#);
    assert_eq!(
        (&failed["status"], &failed["status_code"]),
        (&json!("error"), &json!(400))
    );
}

#[test]
fn mon_050_a_profile_that_cannot_be_had_says_why() {
    let server = server();
    let mut sys = operator(&server);
    for (body, error) in [
        ("", "Profile name not specified"),
        (r#"{"name":"zz"}"#, "Profile \"zz\" not found"),
        (
            r#"{"name":"cpu"}"#,
            "Duration 0s should be between 0s and 15s",
        ),
    ] {
        let answer = ask(&mut sys, "$SYS.REQ.SERVER.PING.PROFILEZ", body);
        assert_eq!(answer["data"], json!({ "profile": null, "error": error }));
    }
}

#[test]
fn mon_051_reload_by_request() {
    let server = server();
    let id = id(&server);
    let mut sys = operator(&server);
    let subject = format!("$SYS.REQ.SERVER.{id}.RELOAD");
    server.rewrite_config(&format!("{CONFIG}\nmax_payload: 2048"));
    let answer = ask(&mut sys, &subject, "");
    fields(&answer, &["server"]);
    let varz = ask(&mut sys, "$SYS.REQ.SERVER.PING.VARZ", "");
    assert_eq!(varz["data"]["max_payload"], 2048);
    server.rewrite_config(&format!("{CONFIG}\nmax_payload: {{"));
    let answer = ask(&mut sys, &subject, "");
    assert_eq!(answer["error"]["code"], 500);
    assert!(answer.get("data").is_none());
}

#[test]
fn mon_052_core_097_a_client_is_kicked() {
    let server = server();
    let id = id(&server);
    let mut sys = operator(&server);
    let mut victim = login(&server, "a", "a");
    let list = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", r#"{"user":"a"}"#);
    let cid = list["data"]["connections"][0]["cid"]
        .as_u64()
        .expect("a cid");
    let kick = format!("$SYS.REQ.SERVER.{id}.KICK");
    let answer = ask(&mut sys, &kick, &format!(r#"{{"cid":{cid}}}"#));
    fields(&answer, &["server"]);
    let lines = victim.closed();
    assert!(!lines.iter().any(|it| it.starts_with("-ERR")), "{lines:?}");
    let closed = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", r#"{"state":1}"#);
    let rows = closed["data"]["connections"].as_array().expect("rows");
    assert!(rows.iter().any(|it| it["reason"] == "Kicked"), "{closed}");
    for body in [r#"{"cid":999}"#, "{}"] {
        let answer = ask(&mut sys, &kick, body);
        let error = json!({ "code": 500, "description": "no such client or leafnode id" });
        assert_eq!(answer["error"], error);
    }
    silent(&mut sys, &kick, "[]");
    silent(&mut sys, &kick, r#"{"cid":"x"}"#);
}

#[test]
fn mon_053_core_097_one_client_alone_hears_of_lame_duck_mode() {
    let server = server();
    let id = id(&server);
    let mut sys = operator(&server);
    let mut told = login(&server, "a", "a");
    let list = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", r#"{"user":"a"}"#);
    let cid = list["data"]["connections"][0]["cid"]
        .as_u64()
        .expect("a cid");
    let ldm = format!("$SYS.REQ.SERVER.{id}.LDM");
    let answer = ask(&mut sys, &ldm, &format!(r#"{{"cid":{cid}}}"#));
    fields(&answer, &["server"]);
    let info = loop {
        let info = told.info_line();
        if info.get("ldm").is_some() {
            break info;
        }
    };
    assert_eq!(info["ldm"], true);
    let answer = ask(&mut sys, &ldm, r#"{"cid":999}"#);
    assert_eq!(answer["error"]["description"], "no such client id");
    let deaf = server.client_with(r#"{"user":"b","pass":"b","verbose":false,"protocol":0}"#);
    let list = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", r#"{"user":"b"}"#);
    let cid = list["data"]["connections"][0]["cid"]
        .as_u64()
        .expect("a cid");
    let answer = ask(&mut sys, &ldm, &format!(r#"{{"cid":{cid}}}"#));
    assert_eq!(
        answer["error"]["description"],
        "client does not support Lame Duck Mode or is not ready to receive the notification"
    );
    drop(deaf);
}

#[test]
fn mon_054_questions_about_one_account() {
    let server = server();
    let mut sys = operator(&server);
    let mut a = login(&server, "a", "a");
    a.quietly("SUB x 1\r\n");
    let mut of =
        |name: &str| ask(&mut sys, &format!("$SYS.REQ.ACCOUNT.A.{name}"), "")["data"].clone();
    assert_eq!(of("CONNZ")["total"], 1);
    let list = of("SUBSZ")["subscriptions_list"].clone();
    assert!(
        list.as_array()
            .expect("a list")
            .iter()
            .any(|it| it["subject"] == "x")
    );
    assert_eq!(of("LEAFZ")["leafnodes"], 0);
    let info = of("INFO");
    assert_eq!(
        (&info["account_name"], &info["client_connections"]),
        (&json!("A"), &json!(1))
    );
    let stat = of("STATZ")["account_statz"][0].clone();
    let stat_fields = [
        "acc",
        "name",
        "conns",
        "leafnodes",
        "total_conns",
        "num_subscriptions",
        "sent",
        "received",
        "slow_consumers",
    ];
    fields(&stat, &stat_fields);
    let conns = ask(&mut sys, "$SYS.REQ.ACCOUNT.A.CONNS", "");
    let event = ["type", "id", "timestamp", "server"];
    fields(&conns, &[&event[..], &stat_fields].concat());
    assert_eq!(
        conns["type"],
        "io.nats.server.advisory.v1.account_connections"
    );
    silent(&mut sys, "$SYS.REQ.ACCOUNT.B.CONNS", "");
    silent(&mut sys, "$SYS.REQ.ACCOUNT.B.STATZ", "");
    silent(&mut sys, "$SYS.REQ.ACCOUNT.NOPE.CONNS", "");
    let unused = ask(
        &mut sys,
        "$SYS.REQ.ACCOUNT.B.STATZ",
        r#"{"include_unused":true}"#,
    );
    assert_eq!(unused["data"]["account_statz"][0]["conns"], 0);
    unanswered(&mut sys, "$SYS.REQ.ACCOUNT.A.FOO");
}

#[test]
fn mon_055_figures_of_several_accounts() {
    let server = server();
    let mut sys = operator(&server);
    let _a = login(&server, "a", "a");
    let mut names = |body: &str| {
        let answer = ask(&mut sys, "$SYS.REQ.ACCOUNT.PING.STATZ", body);
        let rows = answer["data"]["account_statz"]
            .as_array()
            .expect("rows")
            .clone();
        let mut names: Vec<String> = rows
            .iter()
            .map(|it| it["acc"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["A", "SYS"]);
    assert_eq!(names(r#"{"accounts":["A","NOPE"]}"#), ["A"]);
    assert_eq!(names(r#"{"accounts":["B"],"include_unused":true}"#), ["B"]);
}

#[test]
fn mon_056_user_info() {
    let server = server();
    let mut a = login(&server, "a", "a");
    let answer = ask(&mut a, "$SYS.REQ.USER.INFO", "");
    fields(&answer, &["server", "data"]);
    is_server(&answer["server"]);
    assert_eq!(
        answer["data"],
        json!({ "user": "a", "account": "A", "account_name": "A" })
    );
}

#[test]
fn mon_057_every_account_may_ask_about_itself_and_no_other() {
    let server = server();
    let mut a = login(&server, "a", "a");
    let _b = login(&server, "b", "b");
    for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
        for body in ["", r#"{"acc":"B"}"#, r#"{"auth":true}"#] {
            let data = ask(&mut a, subject, body)["data"].clone();
            assert_eq!(data["total"], 1, "{subject} {body}");
            assert_eq!(data["connections"][0]["name"], "client a");
        }
    }
    for body in ["", r#"{"accounts":["B"]}"#] {
        let data = ask(&mut a, "$SYS.REQ.ACCOUNT.PING.STATZ", body)["data"].clone();
        let rows = data["account_statz"].as_array().expect("rows").clone();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["acc"], "A");
    }
}

/// CORE-72: the server itself is a receiver, so no 503 comes before its answer.
#[test]
fn mon_058_subscribers_are_counted() {
    let server = server();
    let mut sys = operator(&server);
    sys.quietly("SUB foo.* 1\r\nSUB foo.x q 2\r\nSUB foo.x q 3\r\n");
    for (body, expected) in [("foo.x", 3), ("foo.x q", 2), ("foo.*", 3), ("foo.x zz", 0)] {
        assert_eq!(
            ask(&mut sys, "$SYS.DEBUG.SUBSCRIBERS", body),
            expected,
            "{body}"
        );
    }
}

#[test]
fn mon_067_other_servers_may_have_subscribers_counted() {
    const NSUBS: &str = "$SYS.REQ.ACCOUNT.NSUBS";
    let server = server();
    let mut sys = operator(&server);
    let mut a = login(&server, "a", "a");
    a.ask("SUB x 1\r\nSUB x q 2\r\nSUB x.* 3\r\nSUB > 4\r\n");
    // Nobody is connected to B, nobody knows Z: the next message is the answer to the next request.
    sys.quietly("SUB nobody 8\r\n");
    for body in [
        "",
        "nonsense",
        r#"{"acc":"B"}"#,
        r#"{"acc":"Z","subject":">"}"#,
    ] {
        let size = body.len();
        sys.send(format!("PUB {NSUBS} nobody {size}\r\n{body}\r\n"));
    }
    for (subject, queue, expected) in [
        ("x", "", 3),
        ("x", r#","queue":"cQ==""#, 1),
        ("x", r#","queue":"eA==""#, 0),
        ("x.>", "", 1),
        (">", "", 4),
        (">", r#","queue":"cQ==""#, 1),
        ("y", "", 1),
    ] {
        let body = format!(r#"{{"acc":"A","subject":"{subject}"{queue}}}"#);
        assert_eq!(ask(&mut sys, NSUBS, &body), expected, "{body}");
    }
}

#[test]
fn t43_pages_at_the_edges_of_numbers() {
    let server = server();
    let mut sys = operator(&server);
    for body in [
        r#"{"offset":9223372036854775807,"limit":9223372036854775807}"#,
        r#"{"offset":-9223372036854775808,"limit":-1}"#,
        r#"{"offset":1,"limit":9223372036854775807,"state":2}"#,
    ] {
        let answer = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", body);
        assert!(answer["data"]["num_connections"].is_u64(), "{answer}");
    }
}

#[test]
fn t20_t29_no_answer_holds_a_secret() {
    let secret = "s3cr3t-planted";
    let config = format!(
        "accounts {{ SYS {{ users: [{{user: sys, password: s}}] }}, \
         A {{ users: [{{user: a, password: \"{secret}\"}}] }} }}\nsystem_account: SYS"
    );
    let server = Server::with_config(&config);
    let mut sys = server.client_with(r#"{"user":"sys","pass":"s","verbose":false,"headers":true}"#);
    sys.ask("SUB $SYS.ACCOUNT.> 1\r\nSUB $SYS.SERVER.> 2\r\n");
    let wrong = format!(r#"{{"user":"a","pass":"{secret}x","auth_token":"{secret}y"}}"#);
    let mut client = server.open();
    client.send(format!("CONNECT {wrong}\r\nPING\r\n"));
    client.closed();
    let right = format!(r#"{{"user":"a","pass":"{secret}","verbose":false}}"#);
    drop(server.client_with(&right));
    for _ in 0..3 {
        let event = sys.message();
        let text = String::from_utf8_lossy(&event.payload).into_owned();
        assert!(!text.contains(secret), "{text}");
    }
    let mut asker = operator(&server);
    for name in ["VARZ", "CONNZ", "SUBSZ", "ACCOUNTZ"] {
        let body = r#"{"auth":true,"subscriptions":true}"#;
        let answer = ask(&mut asker, &format!("$SYS.REQ.SERVER.PING.{name}"), body);
        assert!(!answer.to_string().contains(secret), "{answer}");
    }
}
