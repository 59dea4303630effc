//! Published weaknesses of servers like this one (research section 4), each named by its number;
//! those that belong to one feature are with the cases of that feature.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::signer::{Trust, credentials, key, now, sign};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::fs;

#[track_caller]
fn user(server: &Server, name: &str) -> Client {
    server.client_with(&json!({"user": name, "pass": "p"}).to_string())
}

fn greet(server: &Server, key: &KeyPair, token: &str) -> Client {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let options = credentials(key, token, &nonce).replacen('{', "{\"verbose\":false,", 1);
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    client
}

#[track_caller]
fn login(server: &Server, key: &KeyPair, token: &str) -> Client {
    let mut client = greet(server, key, token);
    client.expect(&["PONG"]);
    client
}

#[track_caller]
fn refused(server: &Server, key: &KeyPair, token: &str) {
    let closed = greet(server, key, token).closed();
    assert_eq!(closed, ["-ERR 'Authorization Violation'"]);
}

#[test]
fn t01_what_a_connect_says_beside_the_point_is_kept_nowhere() {
    let config = "accounts { SYS: { users: [{user: s, password: p}] }, A: { users: [{user: a, password: p}] } }\n\
                  system_account: SYS\ndebug: true\n";
    let server = Server::builder().config(config).flags("-m -1").start();
    let mut system = user(&server, "s");
    system.ask("SUB $SYS.ACCOUNT.> 1\r\nSUB answer 2\r\n");
    let options = json!({
        "user": "a", "pass": "p", "name": "n", "tls_key": "planted-a",
        "tls": {"key": "planted-b", "ca": ["planted-c"]}, "reconnect_token": "planted-d",
    });
    let mut client = server.client_with(&options.to_string());
    client.quietly("SUB x 1\r\n");
    let event = String::from_utf8_lossy(&system.message().payload).into_owned();
    assert!(!event.contains("planted-"), "{event}");
    system
        .send("PUB $SYS.REQ.SERVER.PING.CONNZ answer 27\r\n{\"auth\":true,\"state\":\"all\"}\r\n");
    loop {
        let message = system.message();
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        assert!(!text.contains("planted-"), "{text}");
        if message.subject == "answer" {
            break;
        }
    }
    for path in [
        "/connz?auth=1&subs=detail&state=all",
        "/varz",
        "/subsz?subs=1",
        "/accountz?acc=A",
    ] {
        let body = server.get(path).body;
        assert!(!body.contains("planted-"), "{path}: {body}");
    }
    assert!(!server.log().contains("planted-"), "{}", server.log());
}

#[test]
fn t03_what_has_expired_or_was_revoked_lets_nobody_in() {
    let trust = Trust::new();
    let start = |over: &Value| Server::with_config(&trust.memory(&trust.account_token(over)));
    let good = trust.user_token(&json!({}));
    let server = start(&json!({}));
    login(&server, &trust.user, &good);
    refused(
        &server,
        &trust.user,
        &trust.user_token(&json!({"exp": now() - 1})),
    );
    refused(
        &server,
        &trust.user,
        &trust.user_token(&json!({"nbf": now() + 60})),
    );
    let mut soon = login(
        &server,
        &trust.user,
        &trust.user_token(&json!({"exp": now() + 6})),
    );
    assert_eq!(soon.closed(), ["-ERR 'User Authentication Expired'"]);
    for revoked in [trust.user.public_key(), "*".to_owned()] {
        let server = start(&json!({"nats": {"revocations": {revoked: now() + 5}}}));
        refused(&server, &trust.user, &good);
    }
    refused(&start(&json!({"exp": now() - 1})), &trust.user, &good);
    let server = start(&json!({"exp": now() + 60}));
    login(&server, &trust.user, &good);
}

/// Who imports what; the exporter's activation is for `trust.account` and `q.one`.
#[test]
fn t05_an_activation_is_good_for_one_account_and_one_subject() {
    let trust = Trust::new();
    let (exporter, other) = (key(KeyPairType::Account, 12), key(KeyPairType::Account, 14));
    let owner = key(KeyPairType::User, 13);
    let exports = json!({"nats": {"exports": [
        {"name": "q", "subject": "q.*", "type": "service", "token_req": true},
        {"name": "s", "subject": "s.>", "type": "stream", "token_req": true},
    ]}});
    let activation = |subject: &str, kind: &str, issuer: &KeyPair| {
        let claims = json!({"sub": trust.account.public_key(), "nats": {
            "type": "activation", "version": 2, "subject": subject, "kind": kind,
        }});
        sign(issuer, &claims)
    };
    let import = |subject: &str, kind: &str, token: &str| {
        json!({"nats": {"imports": [{
            "name": "i", "subject": subject, "account": exporter.public_key(), "type": kind,
            "local_subject": subject, "token": token,
        }]}})
    };
    // Does a message of the importer, or of the exporter, get across?
    let crosses = |importer: &KeyPair, over: &Value, kind: &str| {
        let accounts = [
            (&trust.system, json!({"name": "SYS"})),
            (&exporter, exports.clone()),
            (importer, over.clone()),
        ];
        let preload: String = accounts
            .iter()
            .map(|(key, over)| {
                let token = sign(&trust.operator, &Trust::account_claims(key, over));
                format!("{}: {token}\n", key.public_key())
            })
            .collect();
        let operator = trust.operator_token(&json!({}));
        let config =
            format!("operator: {operator}\nresolver: MEMORY\nresolver_preload {{ {preload} }}\n");
        let server = Server::with_config(&config);
        let token = |account: &KeyPair, user: &KeyPair| {
            sign(account, &Trust::user_claims(user, &json!({})))
        };
        let mut giver = login(&server, &owner, &token(&exporter, &owner));
        let (from, to) = ("PUB q.one back 0\r\n\r\n", "PUB s.one 0\r\n\r\n");
        // Somebody whose account was refused does not come in at all.
        let mut taker = greet(&server, &trust.user, &token(importer, &trust.user));
        if taker.line() != "PONG" {
            return false;
        }
        taker.quietly("SUB s.> 1\r\n");
        giver.quietly("SUB q.* 1\r\n");
        let (speaker, listener, text) = match kind {
            "service" => (&mut taker, &mut giver, from),
            _ => (&mut giver, &mut taker, to),
        };
        speaker.ask(text);
        let lines = listener.ask("");
        lines
            .iter()
            .any(|it| it.starts_with("MSG") || it.starts_with("HMSG"))
    };
    let good = activation("q.one", "service", &exporter);
    let good_stream = activation("s.one", "stream", &exporter);
    let own = &trust.account;
    assert!(crosses(own, &import("q.one", "service", &good), "service"));
    assert!(crosses(
        own,
        &import("s.one", "stream", &good_stream),
        "stream"
    ));
    // Another account's, another subject's, a wider one's, another kind's, somebody else's, none.
    assert!(!crosses(
        &other,
        &import("q.one", "service", &good),
        "service"
    ));
    assert!(!crosses(
        &other,
        &import("s.one", "stream", &good_stream),
        "stream"
    ));
    let elsewhere = activation("q.two", "service", &exporter);
    assert!(!crosses(
        own,
        &import("q.one", "service", &elsewhere),
        "service"
    ));
    assert!(!crosses(own, &import("q.*", "service", &good), "service"));
    assert!(!crosses(
        own,
        &import("s.>", "stream", &good_stream),
        "stream"
    ));
    assert!(!crosses(own, &import("s.one", "stream", &good), "stream"));
    let forged = activation("q.one", "service", own);
    assert!(!crosses(
        own,
        &import("q.one", "service", &forged),
        "service"
    ));
    assert!(!crosses(own, &import("q.one", "service", ""), "service"));
}

#[test]
fn t09_names_of_accounts_lead_out_of_no_directory() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.directory(&trust.account_token(&json!({})), ""));
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    let entries = || {
        let mut found: Vec<String> = [".", "jwt"]
            .iter()
            .flat_map(|it| fs::read_dir(server.dir().file(it)).expect("directory"))
            .map(|it| it.expect("entry").path().display().to_string())
            .collect();
        found.sort();
        found
    };
    let before = entries();
    for name in [
        "../x",
        "..",
        "/tmp/x",
        "x/../../y",
        "A/../B",
        "AAAA",
        "a\\b",
        "%2e%2e%2fx",
    ] {
        let claims = Trust::account_claims(&trust.account, &json!({"sub": name}));
        let token = sign(&trust.operator, &claims);
        for subject in [
            "$SYS.REQ.CLAIMS.UPDATE".to_owned(),
            format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", name.replace('.', "_")),
        ] {
            let size = token.len();
            admin.send(format!("PUB {subject} answers {size}\r\n{token}\r\n"));
            let answer: Value = serde_json::from_slice(&admin.message().payload).expect("JSON");
            assert_eq!(answer["error"]["code"], 500, "{answer}");
        }
        let subject = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", name.replace('.', "_"));
        admin.quietly(format!("PUB {subject} elsewhere 0\r\n\r\n"));
        let pack = format!("{name}|{token}");
        let size = pack.len();
        // As another server sends what it has.
        let inbox = format!(
            "$SYS._INBOX.{}",
            admin.info["server_id"].as_str().expect("id")
        );
        admin.quietly(format!("PUB {inbox} {size}\r\n{pack}\r\n"));
    }
    assert_eq!(entries(), before);
}

const SHARED: &str = r#"
accounts {
  A { users: [ {user: a, password: p} ]
      mappings: { public: "x.secret" }
      exports: [ {service: "q.>"}, {service: "open", allow_trace: true}, {stream: "s.>"} ] }
  B { users: [
        {user: b, password: p}
        {user: n, password: p, permissions: {publish: {deny: "tr.>"}}}
        {user: d, password: p, permissions: {subscribe: {deny: ["x.secret", "x.secret q"]}}}
      ]
      mappings: { public: "x.secret" }
      imports: [
        {service: {account: A, subject: "q.shared"}, share: true}, {service: {account: A, subject: "q.plain"}}
        {service: {account: A, subject: "open"}}
        {stream: {account: A, subject: "s.secret"}, to: "x.secret"}
      ] }
}
"#;

/// CORE-76, CORE-77: the header the server sets takes the place of those that are there.
#[test]
fn t24_requesters_cannot_say_who_they_are() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB q.> 1\r\n");
    let forged = r#"{"acc":"SYS","user":"root"}"#;
    let spellings = [
        format!("Nats-Request-Info: {forged}\r\n"),
        format!("Nats-Request-Info:{forged}\r\nNats-Request-Info: {forged}\r\n"),
        format!("A: b\r\nNats-Request-Info:   {forged}\r\nC: d\r\n"),
        format!(
            "Nats-Request-Info: {forged}\r\nA: b\r\nNats-Request-Info: {forged}\r\nB: c\r\nNats-Request-Info: {forged}\r\n"
        ),
    ];
    for subject in ["q.shared", "q.plain"] {
        for lines in &spellings {
            let block = format!("NATS/1.0\r\n{lines}\r\n");
            let (head, all) = (block.len(), block.len() + 1);
            asker.send(format!("HPUB {subject} back {head} {all}\r\n{block}?\r\n"));
            let request = service.message();
            let headers = String::from_utf8_lossy(&request.headers).into_owned();
            let named = headers.matches("Nats-Request-Info:").count();
            assert_eq!(named, 1, "{headers}");
            assert!(headers.contains("\"acc\":\"B\""), "{headers}");
            assert!(!headers.contains("root"), "{headers}");
        }
    }
}

#[test]
fn t31_t39_who_stands_for_strangers_keeps_his_restrictions() {
    for (restriction, let_in) in [
        ("", true),
        (", allowed_connection_types: [STANDARD]", true),
        (", allowed_connection_types: [WEBSOCKET]", false),
        (", allowed_connection_types: [MQTT, LEAFNODE]", false),
        (", proxy_required: true", false),
    ] {
        let config = format!(
            "authorization {{ users: [{{user: u, password: p{restriction}}}] }}\nno_auth_user: u\n"
        );
        let server = Server::with_config(&config);
        for first in [
            "PING\r\n",
            "SUB a 1\r\nPING\r\n",
            "CONNECT {\"verbose\":false}\r\nPING\r\n",
        ] {
            let mut client = server.open();
            client.send(first);
            match let_in {
                true => {
                    let line = client.line();
                    assert!(
                        line == "PONG" || line == "+OK",
                        "{restriction} {first:?}: {line}"
                    );
                }
                false => {
                    let closed = client.closed();
                    let expected = ["-ERR 'Authorization Violation'"];
                    assert_eq!(closed, expected, "{restriction} {first:?}");
                }
            }
        }
    }
}

#[test]
fn t35_traces_through_imports_go_where_the_sender_may_publish() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "n"));
    let mut listener = user(&server, "b");
    service.quietly("SUB open 1\r\nSUB tr.> 2\r\n");
    listener.quietly("SUB tr.> 1\r\n");
    let block = "NATS/1.0\r\nNats-Trace-Dest: tr.x\r\n\r\n";
    let size = block.len();
    let lines = asker.ask(format!("HPUB open {size} {size}\r\n{block}\r\n"));
    assert_eq!(
        lines,
        ["-ERR 'Permissions Violation for Publish to \"tr.x\"'"]
    );
    listener.send("PUB tr.mark 0\r\n\r\n");
    assert_eq!(listener.message().subject, "tr.mark");
    service.send("PUB tr.mark 0\r\n\r\n");
    assert_eq!(service.message().subject, "tr.mark");
}

#[test]
fn t37_what_tokens_say_breaks_no_line() {
    let trust = Trust::new();
    let exporter = key(KeyPairType::Account, 12);
    for text in [
        "b\r\nMSG evil 9 0\r\n",
        "b\nPING",
        "b c",
        "b\tc",
        "b\u{0}c",
        "b\r",
    ] {
        let id = exporter.public_key();
        for over in [
            json!({"nats": {"mappings": {"a": [{"subject": text}]}}}),
            json!({"nats": {"mappings": {text: [{"subject": "a"}]}}}),
            json!({"nats": {"imports": [
                {"name": "i", "subject": "a", "account": id, "type": "stream", "local_subject": text},
            ]}}),
            json!({"nats": {"exports": [{"name": "e", "subject": text, "type": "stream"}]}}),
            json!({"name": text, "nats": {"default_permissions": {"sub": {"deny": [text]}}}}),
        ] {
            let mut config = trust.memory(&trust.account_token(&over));
            let exports =
                json!({"nats": {"exports": [{"name": "e", "subject": "a", "type": "stream"}]}});
            let token = sign(&trust.operator, &Trust::account_claims(&exporter, &exports));
            config = config.replace(" }\n", &format!(", {id}: {token} }}\n"));
            let server = Server::with_config(&config);
            let name = trust.user_token(&json!({"name": text}));
            let mut client = greet(&server, &trust.user, &name);
            // The account may be refused as a whole; if not, lines are lines.
            if client.line() != "PONG" {
                continue;
            }
            client.quietly("SUB > 1\r\n");
            let lines = client.ask("PUB a 0\r\n\r\n");
            let evil = lines.iter().any(|it| it.contains("evil") || it == "PING");
            assert!(!evil, "{over}: {lines:?}");
            let heads = lines.iter().filter(|it| it.starts_with("MSG"));
            for head in heads {
                assert_eq!(head.split(' ').count(), 4, "{over}: {head:?}");
            }
        }
    }
}

#[test]
fn t41_what_is_denied_comes_by_no_way() {
    let server = Server::with_config(SHARED);
    let mut denied = user(&server, "d");
    let (mut exporter, mut friend) = (user(&server, "a"), user(&server, "b"));
    denied.quietly("SUB > 1\r\nSUB x.* 2\r\nSUB x.> q 3\r\nSUB *.secret q 4\r\n");
    friend.quietly("SUB x.> 1\r\n");
    // Straight, by a mapping, by an import, as an answer.
    friend.send("PUB x.secret 1\r\n1\r\nPUB public 1\r\n2\r\n");
    for payload in [b"1", b"2"] {
        assert_eq!(friend.message().payload, payload);
    }
    exporter.quietly("PUB s.secret 1\r\n3\r\nSUB q.plain 1\r\n");
    denied.send("PUB q.plain x.secret 0\r\n\r\n");
    let request = exporter.message();
    exporter.quietly(format!(
        "PUB {} 1\r\n4\r\nPUB s.secret 1\r\n5\r\n",
        request.reply
    ));
    friend.send("PUB x.done 0\r\n\r\n");
    let mut rest: Vec<Vec<u8>> = (0..4).map(|_| friend.message().payload).collect();
    rest.sort();
    assert_eq!(rest, [&b""[..], b"3", b"4", b"5"]);
    // Plain subscriptions and groups: the request it sent itself, and the mark.
    let mut seen: Vec<String> = (0..4).map(|_| denied.message().subject).collect();
    seen.sort();
    assert_eq!(seen, ["q.plain", "x.done", "x.done", "x.done"]);
}

#[test]
fn t30_the_right_to_trace_goes_with_the_permission() {
    let server = Server::with_config(SHARED);
    let mut asker = user(&server, "b");
    asker.quietly("SUB tr.> 1\r\n");
    let block = "NATS/1.0\r\nNats-Trace-Dest: tr.x\r\n\r\n";
    let size = block.len();
    let publish = format!("HPUB y {size} {size}\r\n{block}\r\n");
    asker.send(&publish);
    assert_eq!(asker.message().subject, "tr.x");
    let less = SHARED.replace(
        "{user: b, password: p}",
        "{user: b, password: p, permissions: {publish: {deny: \"tr.>\"}}}",
    );
    server.reload(&less);
    let lines = asker.ask(&publish);
    assert_eq!(
        lines,
        ["-ERR 'Permissions Violation for Publish to \"tr.x\"'"]
    );
}
