//! Section 6: what the command line and the clients rely on. The tools themselves run in
//! `make interop`; here is what they look at, on the wire.

use crate::support::client::{Client, Message};
use crate::support::server::Server;
use crate::support::signer::{Trust, credentials, key, sign};
use nkeys::{KeyPair, KeyPairType};
use rustix::process::Signal;
use serde_json::{Value, json};

const CONFIG: &str = r#"
    server_name: probe
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { users: [
            {user: a, password: a}
            {user: b, password: b, permissions: {publish: "ok", subscribe: "ok"}}
        ] }
    }
    system_account: SYS
"#;

fn login(server: &Server, user: &str, password: &str) -> Client {
    server.client_with(&json!({"user": user, "pass": password}).to_string())
}

/// The answer to a request with these header lines.
fn request(client: &mut Client, subject: &str, header: &str, body: &str) -> Message {
    client.ask("SUB _INBOX.1 77\r\n");
    let head = format!("NATS/1.0\r\n{header}\r\n");
    client.send(format!(
        "HPUB {subject} _INBOX.1 {} {}\r\n{head}{body}\r\n",
        head.len(),
        head.len() + body.len()
    ));
    let answer = client.message();
    client.ask("UNSUB 77\r\n");
    answer
}

/// The next message after a request, for who hears answers there.
fn told(client: &mut Client, subject: &str, body: &str) -> Message {
    let size = body.len();
    client.send(format!("PUB {subject} _INBOX.1 {size}\r\n{body}\r\n"));
    client.message()
}

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

#[test]
fn cli_001_the_list_of_servers_has_what_is_shown_of_each() {
    let server = Server::with_config(CONFIG);
    let mut sys = login(&server, "sys", "s");
    let answer = json_of(&request(&mut sys, "$SYS.REQ.SERVER.PING", "", ""));
    for field in ["id", "name", "host", "ver", "jetstream", "time"] {
        assert!(!answer["server"][field].is_null(), "{field}: {answer}");
    }
    for field in [
        "connections",
        "subscriptions",
        "mem",
        "cpu",
        "cores",
        "slow_consumers",
        "start",
    ] {
        assert!(!answer["statsz"][field].is_null(), "{field}: {answer}");
    }
    assert_eq!(answer["statsz"]["active_servers"], 1);
}

/// A tool that says it can read snappy gets that, and is told so, or plain text; heartbeats are
/// always plain.
#[test]
fn cli_004_compressed_answers_say_so() {
    let server = Server::with_config(CONFIG);
    let mut sys = login(&server, "sys", "s");
    let accept = "Accept-Encoding: snappy\r\n";
    for (what, compressed) in [
        ("VARZ", true),
        ("CONNZ", true),
        ("STATSZ", false),
        ("IDZ", false),
    ] {
        let subject = format!("$SYS.REQ.SERVER.PING.{what}");
        let answer = request(&mut sys, &subject, accept, "");
        let headers = String::from_utf8_lossy(&answer.headers).into_owned();
        assert_eq!(
            headers.contains("Content-Encoding: snappy"),
            compressed,
            "{what}: {headers}"
        );
        if compressed {
            let mut text = String::new();
            let mut reader = snap::read::FrameDecoder::new(&*answer.payload);
            std::io::Read::read_to_string(&mut reader, &mut text).expect("snappy");
            serde_json::from_str::<Value>(&text).expect("JSON");
        } else {
            json_of(&answer);
        }
    }
}

/// "Ensure system privileges": who has none hears so at once.
#[test]
fn cli_005_others_are_told_that_nobody_answers() {
    let server = Server::with_config(CONFIG);
    let mut a = login(&server, "a", "a");
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ"] {
        let answer = request(&mut a, subject, "", "");
        assert!(answer.headers.starts_with(b"NATS/1.0 503"), "{answer:?}");
    }
}

/// `nats server check meta|stream|consumer` begin with these; there is no meta group yet.
#[test]
fn cli_009_checks_of_jetstream_are_answered_by_a_server_alone() {
    let server = Server::with_config(CONFIG);
    let mut sys = login(&server, "sys", "s");
    let jsz = json_of(&request(&mut sys, "$SYS.REQ.SERVER.PING.JSZ", "", "{}"));
    assert_eq!(jsz["data"]["disabled"], true, "{jsz}");
    assert!(jsz["data"].get("meta_cluster").is_none(), "{jsz}");
    let id = jsz["server"]["id"].as_str().expect("an id").to_owned();
    let healthz = json_of(&request(
        &mut sys,
        &format!("$SYS.REQ.SERVER.{id}.HEALTHZ"),
        "",
        "",
    ));
    assert_eq!(healthz["data"]["status"], "ok");
    assert_eq!(healthz["data"]["status_code"], 200);
}

/// `nats server watch`: a PING nobody waits for makes all servers tell their figures.
#[test]
fn cli_011_a_ping_without_an_answer_is_a_broadcast() {
    let server = Server::with_config(CONFIG);
    let mut sys = login(&server, "sys", "s");
    sys.ask("SUB $SYS.SERVER.*.STATSZ 1\r\nSUB $SYS.ACCOUNT.*.SERVER.CONNS 2\r\n");
    // The heartbeats of a server that has just started come more and more seldom: not for this.
    sys.send("PUB $SYS.REQ.SERVER.PING 0\r\n\r\n");
    let heartbeat = std::iter::repeat_with(|| sys.message()).find(|it| it.sid == "1");
    let statsz = json_of(&heartbeat.expect("one"));
    assert_eq!(statsz["server"]["name"], "probe");
    assert!(statsz["statsz"]["connections"].is_u64(), "{statsz}");
    let _a = login(&server, "a", "a");
    let of_a = std::iter::repeat_with(|| sys.message())
        .find(|it| it.subject == "$SYS.ACCOUNT.A.SERVER.CONNS");
    assert_eq!(json_of(&of_a.expect("one"))["conns"], 1);
}

/// `nats auth account push` and `query`, `nsc push`, `pull` and `push --prune`, in the life of an
/// account.
#[test]
fn cli_014_accounts_are_pushed_asked_for_and_pruned() {
    let trust = Trust::new();
    let config = trust.directory(&trust.account_token(&json!({})), ", allow_delete: true");
    let server = Server::with_config(&format!("server_name: probe\n{config}"));
    let signed_in = |key: &KeyPair, token: &str| {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        client.connect(&credentials(key, token, &nonce));
        client
    };
    let mut sys = signed_in(&trust.admin, &trust.admin_token());
    sys.quietly("SUB _INBOX.1 1\r\n");
    let account = key(KeyPairType::Account, 9);
    let id = account.public_key();
    let token = |name: &str| {
        let claims = Trust::account_claims(&account, &json!({"name": name}));
        sign(&trust.operator, &claims)
    };
    let lookup = format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.LOOKUP");
    let pushed = json!({"account": id, "code": 200, "message": "jwt updated"});
    for subject in [
        format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.UPDATE"),
        "$SYS.REQ.CLAIMS.UPDATE".to_owned(),
    ] {
        let token = token(&subject);
        let answer = json_of(&told(&mut sys, &subject, &token));
        assert_eq!(answer["server"]["name"], "probe");
        assert_eq!((&answer["data"], &answer["error"]), (&pushed, &Value::Null));
        assert_eq!(told(&mut sys, &lookup, "").payload, token.as_bytes());
    }
    let others = trust.account_token(&json!({}));
    let answer = json_of(&told(
        &mut sys,
        &format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.UPDATE"),
        &others,
    ));
    assert_eq!(answer["server"]["name"], "probe");
    let why = "jwt update resulted in error - subject does not match jwt content";
    assert_eq!(answer["error"]["description"], why);
    assert!(answer["data"].is_null(), "{answer}");

    let claims = Trust::user_claims(&trust.user, &json!({}));
    let mut user = signed_in(&trust.user, &sign(&account, &claims));
    assert_eq!(user.info["remote_account"], id);

    let list = json_of(&told(&mut sys, "$SYS.REQ.CLAIMS.LIST", ""));
    assert_eq!(list["server"]["name"], "probe");
    let listed = list["data"].as_array().expect("keys");
    assert!(listed.contains(&json!(id)), "{list}");
    // What is pulled ends with nothing.
    let mut packs = vec![told(&mut sys, "$SYS.REQ.CLAIMS.PACK", "").payload];
    while packs.last().is_some_and(|it| !it.is_empty()) {
        packs.push(sys.message().payload);
    }
    assert_eq!(packs.len(), 4);
    let own = format!("{id}|{}", token("$SYS.REQ.CLAIMS.UPDATE"));
    assert!(packs.contains(&own.into_bytes()), "{packs:?}");

    let operator = &trust.operator;
    let claims = json!({"sub": operator.public_key(), "nats": {"accounts": [id]}});
    let answer = json_of(&told(
        &mut sys,
        "$SYS.REQ.CLAIMS.DELETE",
        &sign(operator, &claims),
    ));
    assert_eq!(answer["data"]["message"], "deleted 1 accounts", "{answer}");
    assert_eq!(user.closed(), ["-ERR 'Account Authentication Expired'"]);
    assert_eq!(told(&mut sys, &lookup, "").payload, b"");
}

/// `nats events` shows what has a type, an id and a time.
#[test]
fn cli_015_events_can_be_told_apart() {
    let server = Server::with_config(CONFIG);
    let mut sys = login(&server, "sys", "s");
    sys.ask(
        "SUB $SYS.ACCOUNT.*.CONNECT 1\r\nSUB $SYS.ACCOUNT.*.DISCONNECT 2\r\n\
         SUB $SYS.SERVER.*.CLIENT.AUTH.ERR 3\r\n",
    );
    drop(login(&server, "a", "a"));
    let mut wrong = server.open();
    wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"x\"}\r\nPING\r\n");
    wrong.closed();
    let mut seen = [false; 3];
    while seen.contains(&false) {
        let message = sys.message();
        let event = json_of(&message);
        let kind = event["type"].as_str().expect("a type");
        assert!(
            kind.starts_with("io.nats.server.advisory.v1.client_"),
            "{kind}"
        );
        assert_eq!(event["id"].as_str().map(str::len), Some(22), "{event}");
        let time = event["timestamp"].as_str().expect("a time");
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        let at: usize = message.sid.parse().expect("a number");
        seen[at - 1] = true;
    }
}

/// Clients tell errors apart by these words, whatever their case.
#[test]
fn cli_022_errors_have_the_words_that_clients_look_for() {
    let closes = |config: &str, sends: &str, words: &str| {
        let server = Server::with_config(config);
        let _first = server.open();
        let mut client = server.open();
        client.send_until_closed(sends);
        let said = client.closed();
        let found = said.iter().any(|it| it.to_lowercase().contains(words));
        assert!(found, "{words}: {said:?}");
    };
    closes(
        "authorization { user: u, password: p }",
        "CONNECT {}\r\nPING\r\n",
        "authorization violation",
    );
    closes(
        "authorization { user: u, password: p, timeout: 0.2 }",
        "",
        "authentication timeout",
    );
    let server = Server::with_config("max_subscriptions: 1");
    let said = server.client().ask("SUB a 1\r\nSUB b 2\r\n").concat();
    assert_eq!(said.to_lowercase(), "-err 'maximum subscriptions exceeded'");
    closes("max_connections: 1", "", "maximum connections exceeded");
    let server = Server::with_config(
        "accounts { A { users: [{user: a, password: a}], limits: {max_conn: 1} } }",
    );
    let _first = login(&server, "a", "a");
    let mut second = server.open();
    second.send_until_closed("CONNECT {\"user\":\"a\",\"pass\":\"a\"}\r\nPING\r\n");
    let said = second.closed().concat().to_lowercase();
    assert!(
        said.contains("maximum account active connections exceeded"),
        "{said}"
    );
}

/// Clients take subject and queue out of the quotes.
#[test]
fn cli_023_permission_errors_quote_subject_and_queue() {
    let server = Server::with_config(CONFIG);
    let mut b = login(&server, "b", "b");
    let said = b.ask("SUB no 1\r\nSUB no workers 2\r\nPUB no 0\r\n\r\n");
    assert_eq!(
        said,
        [
            "-ERR 'Permissions Violation for Subscription to \"no\"'",
            "-ERR 'Permissions Violation for Subscription to \"no\" using queue \"workers\"'",
            "-ERR 'Permissions Violation for Publish to \"no\"'",
        ]
    );
}

#[test]
fn cli_024_a_ping_after_connect_tells_whether_it_worked() {
    let server = Server::with_config(CONFIG);
    let mut quiet = server.open();
    quiet.send("CONNECT {\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}\r\nPING\r\n");
    assert_eq!(quiet.line(), "PONG");
    let mut verbose = server.open();
    verbose.send("CONNECT {\"user\":\"a\",\"pass\":\"a\",\"verbose\":true}\r\nPING\r\n");
    verbose.expect(&["+OK", "PONG"]);
    for _ in 0..2 {
        let mut wrong = server.open();
        wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"x\",\"verbose\":true}\r\nPING\r\n");
        let said = wrong.closed();
        assert_eq!(
            said.last().map(String::as_str),
            Some("-ERR 'Authorization Violation'")
        );
    }
}

#[test]
fn cli_025_the_version_is_a_semantic_one_of_stock() {
    let info = Server::start().open().info;
    let version = info["version"].as_str().expect("text");
    let numbers: Vec<u32> = version
        .split(['.', '-'])
        .take(3)
        .map(|it| it.parse().expect("a number"))
        .collect();
    assert!(numbers >= vec![2, 15, 0], "{version}");
}

#[test]
fn cli_026_news_of_the_server_come_between_other_lines() {
    let server = Server::builder()
        .config("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"5s\"")
        .start();
    let mut client = server.open();
    client.connect("{\"protocol\":1}");
    client.quietly("SUB a 1\r\n");
    server.signal(Signal::USR2);
    let news = client.info_line();
    assert_eq!(news["ldm"], true);
    assert!(
        news.get("connect_urls").is_none(),
        "no other server: {news}"
    );
    client.send("PUB a 2\r\nhi\r\n");
    assert_eq!(client.message().payload, b"hi");
}
