//! Section 3.9: an auth service decides who may connect.

use crate::support::client::{Client, Message};
use crate::support::server::{Server, beyond_stock};
use crate::support::signer::{Trust, credentials, key, now, overlay, sign};
use crate::support::tls::Authority;
use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType, XKey};
use serde_json::{Value, json};

const QUESTIONS: &str = "$SYS.REQ.USER.AUTH";

/// The key that signs answers.
fn issuer() -> KeyPair {
    key(KeyPairType::Account, 20)
}

/// A server without operators whose service is the user `auth` of the account AUTH.
fn server(more: &str) -> Server {
    patient(20, more)
}

/// The same, which waits this many seconds for an answer.
fn patient(seconds: u32, more: &str) -> Server {
    Server::with_monitor(&format!(
        "accounts {{
            AUTH {{ users [ {{user: auth, password: p}} ] }}
            APP {{ users [ {{user: own, password: p}} ] }}
        }}
        authorization {{ timeout: {seconds}, auth_callout {{
            issuer: {}, account: AUTH, auth_users: [auth] {more}
        }} }}",
        issuer().public_key(),
    ))
}

fn service(server: &Server) -> Client {
    let mut service = server.client_with(r#"{"user":"auth","pass":"p"}"#);
    service.quietly(format!("SUB {QUESTIONS} 1\r\n"));
    service
}

/// The claims of a token, unchecked.
fn claims(token: &[u8]) -> Value {
    let text = std::str::from_utf8(token).expect("text");
    let part = text.split('.').nth(1).expect("three parts");
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64");
    serde_json::from_slice(&json).expect("JSON")
}

/// The token that lets in whom `question` asks about, as this user.
fn answer(question: &Value, over: &Value) -> Value {
    let user = &question["nats"]["user_nkey"];
    let mut own = json!({"sub": user, "name": "alice", "aud": "APP", "nats": {
        "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}});
    overlay(&mut own, over);
    json!({"sub": user, "aud": question["nats"]["server_id"]["id"], "nats": {
        "type": "authorization_response", "version": 2, "jwt": sign(&issuer(), &own)}})
}

/// A connection whose CONNECT has been sent.
fn knocks(server: &Server) -> Client {
    let mut client = server.open();
    client.send(
        "CONNECT {\"user\":\"u\",\"pass\":\"secret\",\"name\":\"n\",\"verbose\":false}\r\nPING\r\n",
    );
    client
}

#[track_caller]
fn reply(service: &mut Client, question: &Message, payload: &[u8]) {
    service.send(format!("PUB {} {}\r\n", question.reply, payload.len()));
    service.send(payload);
    service.send("\r\n");
}

#[test]
fn auth_081_auth_082_auth_083_the_service_is_asked_and_its_word_counts() {
    let server = server("");
    let mut service = service(&server);
    let mut client = knocks(&server);
    let question = service.message();
    let asked = claims(&question.payload);
    assert_eq!(asked["aud"], "nats-authorization-request");
    assert_eq!(asked["sub"], issuer().public_key());
    assert_eq!(asked["iss"], client.info["server_id"]);
    let nats = &asked["nats"];
    assert_eq!(nats["type"], "authorization_request");
    assert_eq!(nats["server_id"]["id"], client.info["server_id"]);
    assert_eq!(nats["connect_opts"]["user"], "u");
    assert_eq!(nats["connect_opts"]["pass"], "secret");
    assert_eq!(nats["client_info"]["user"], "u");
    assert_eq!(nats["client_info"]["kind"], "Client");
    assert_eq!(nats["client_info"]["type"], "nats");
    assert_eq!(nats["client_info"]["host"], "127.0.0.1");
    assert_eq!(nats["client_info"]["id"], client.info["client_id"]);
    assert!(nats.get("request_nonce").is_none());
    let over = json!({"nats": {"pub": {"allow": ["a"]}}});
    let token = sign(&issuer(), &answer(&asked, &over));
    reply(&mut service, &question, token.as_bytes());
    client.expect(&["PONG"]);
    assert_eq!(
        client.ask("PUB b 0\r\n\r\n"),
        ["-ERR 'Permissions Violation for Publish to \"b\"'"]
    );
    let connz = server.json("/connz?auth=1&acc=APP");
    assert_eq!(connz["connections"][0]["authorized_user"], "alice");
}

#[test]
fn auth_081_users_of_the_file_are_asked_about_too_unless_named() {
    let server = server(", allowed_accounts: [AUTH]");
    let mut service = service(&server);
    // Not delegated: the file's word counts.
    drop(server.client_with(r#"{"user":"own","pass":"p"}"#));
    assert_eq!(service.ask(""), [""; 0]);
    // The service's own users may not ask it.
    let text = format!("PUB {QUESTIONS} 0\r\n\r\n");
    assert_eq!(
        service.ask(text),
        [format!(
            "-ERR 'Permissions Violation for Publish to \"{QUESTIONS}\"'"
        )]
    );
}

#[test]
fn auth_081_auth_083_bad_answers_and_none_refuse() {
    let server = patient(4, "");
    let mut service = service(&server);
    let good = |question: &Value| sign(&issuer(), &answer(question, &json!({})));
    let stranger = key(KeyPairType::Account, 21);
    type Answer<'a> = Box<dyn Fn(&Value) -> String + 'a>;
    let changed = |over: Value| -> Answer<'_> {
        Box::new(move |question: &Value| {
            let mut claims = answer(question, &json!({}));
            overlay(&mut claims, &over);
            sign(&issuer(), &claims)
        })
    };
    let user = |over: Value| -> Answer<'_> {
        Box::new(move |question: &Value| sign(&issuer(), &answer(question, &over)))
    };
    let other = key(KeyPairType::User, 22).public_key();
    let mut cases: Vec<Answer<'_>> = vec![
        Box::new(|_| String::new()),
        Box::new(|_| "nonsense".into()),
        Box::new(|question| good(question)[..40].to_owned()),
        changed(json!({"sub": other})),
        changed(json!({"aud": "X"})),
        changed(json!({"exp": now() - 10})),
        changed(json!({"nats": {"error": "no"}})),
        changed(json!({"nats": {"jwt": ""}})),
        user(json!({"sub": other})),
        user(json!({"aud": "NOWHERE"})),
        user(json!({"exp": now() - 10})),
        user(json!({"nats": {"issuer_account": issuer().public_key()}})),
        // Signed by somebody else.
        Box::new(|question| {
            let mut claims = answer(question, &json!({}));
            let own = json!({"sub": question["nats"]["user_nkey"], "aud": "APP", "nats": {
                "type": "user", "version": 2}});
            claims["nats"]["jwt"] = sign(&stranger, &own).into();
            sign(&issuer(), &claims)
        }),
    ];
    if beyond_stock() {
        // Stock asks whether it knows the kinds named, not whether this is one of them.
        let kinds = json!({"nats": {"allowed_connection_types": ["WEBSOCKET"]}});
        cases.push(user(kinds));
    }
    for (number, make) in cases.iter().enumerate() {
        let mut client = knocks(&server);
        let question = service.message();
        let token = make(&claims(&question.payload));
        reply(&mut service, &question, token.as_bytes());
        assert_eq!(
            client.closed(),
            ["-ERR 'Authorization Violation'"],
            "{number}"
        );
    }
    // An answer to another question, and none in time.
    let (mut first, mut second) = (knocks(&server), knocks(&server));
    let (one, two) = (service.message(), service.message());
    reply(&mut service, &one, good(&claims(&two.payload)).as_bytes());
    for client in [&mut first, &mut second] {
        assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    }
}

#[test]
fn auth_082_t13_sealed_questions_and_answers() {
    let theirs = XKey::new_from_raw([9; 32]);
    let server = server(&format!(", xkey: {}", theirs.public_key()));
    let mut service = service(&server);
    for sealed in [true, false] {
        let mut client = knocks(&server);
        let question = service.message();
        let header = String::from_utf8(question.headers.clone()).expect("text");
        let own = client.info["xkey"].as_str().expect("xkey");
        assert_eq!(
            header,
            format!("NATS/1.0\r\nNats-Server-Xkey: {own}\r\n\r\n")
        );
        assert!(!question.payload.starts_with(b"eyJ"));
        let own = XKey::from_public_key(own).expect("a key");
        // Nobody else opens it.
        assert!(
            XKey::new_from_raw([8; 32])
                .open(&question.payload, &own)
                .is_err()
        );
        let asked = claims(&theirs.open(&question.payload, &own).expect("opens"));
        assert_eq!(asked["nats"]["server_id"]["xkey"], own.public_key());
        let token = sign(&issuer(), &answer(&asked, &json!({})));
        let payload = match sealed {
            true => theirs.seal(token.as_bytes(), &own).expect("seals"),
            false => token.into_bytes(),
        };
        reply(&mut service, &question, &payload);
        client.expect(&["PONG"]);
    }
}

#[test]
fn auth_083_the_users_time_ends() {
    let server = server("");
    let mut service = service(&server);
    let mut client = knocks(&server);
    let question = service.message();
    let over = json!({"exp": now() + 4});
    let token = sign(&issuer(), &answer(&claims(&question.payload), &over));
    reply(&mut service, &question, token.as_bytes());
    assert_eq!(
        client.closed(),
        ["PONG", "-ERR 'User Authentication Expired'"]
    );
}

#[test]
fn auth_080_auth_083_a_service_of_an_operators_account() {
    let trust = Trust::new();
    let own = key(KeyPairType::User, 23);
    let account = trust.account_token(&json!({"nats": {"authorization": {
        "auth_users": [own.public_key()]}}}));
    let patient = "authorization { timeout: 20 }";
    let server = Server::with_config(&format!("{}{patient}\n", trust.memory(&account)));
    let login = |server: &Server, key: &KeyPair, token: &str| {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        let options = credentials(key, token, &nonce);
        client.send(format!("CONNECT {options}\r\nPING\r\n"));
        client
    };
    let token = sign(&trust.account, &Trust::user_claims(&own, &json!({})));
    let mut service = login(&server, &own, &token);
    service.expect(&["+OK", "PONG"]);

    assert_eq!(service.ask(format!("SUB {QUESTIONS} 1\r\n")), ["+OK"]);
    for lets_in in [true, false] {
        let mut client = login(&server, &trust.user, &trust.user_token(&json!({})));
        let line = service.line();
        assert!(line.starts_with("MSG $SYS.REQ.USER.AUTH 1 "), "{line}");
        let reply_to = line.split(' ').nth(3).expect("reply").to_owned();
        let asked = claims(service.line().as_bytes());
        assert_eq!(asked["sub"], trust.account.public_key());
        let user = &asked["nats"]["user_nkey"];
        let signer = if lets_in {
            &trust.account
        } else {
            &trust.system
        };
        let jwt = sign(
            signer,
            &json!({"sub": user, "name": "alice", "nats": {
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}}),
        );
        let token = sign(
            &trust.account,
            &json!({"sub": user,
            "aud": asked["nats"]["server_id"]["id"], "nats": {
            "type": "authorization_response", "version": 2, "jwt": jwt}}),
        );
        service.send(format!("PUB {reply_to} {}\r\n{token}\r\n", token.len()));
        service.expect(&["+OK"]);
        match lets_in {
            true => client.expect(&["+OK", "PONG"]),
            false => assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]),
        }
    }
}

#[test]
fn auth_082_the_service_is_told_of_tls_and_certificates() {
    let authority = Authority::new();
    for verify in [false, true] {
        let config = format!(
            "accounts {{ AUTH {{ users [ {{user: auth, password: p}} ] }}, APP {{}} }}
            authorization {{ timeout: 20, auth_callout {{
                issuer: {}, account: AUTH, auth_users: [auth]
            }} }}
            tls {{ timeout: 20, {}, ca_file: {:?}, verify: {verify} }}",
            issuer().public_key(),
            authority.server().config(),
            authority.ca(),
        );
        let server = Server::with_config(&config);
        let own = authority.issue("client", |_| {});
        let dialer = authority.client().showing(&own);
        let dial = |options: &str| {
            let mut client = server.open();
            dialer.begin(&mut client);
            client.send(format!("CONNECT {options}\r\nPING\r\n"));
            client
        };
        let mut service = dial(r#"{"user":"auth","pass":"p","verbose":false}"#);
        service.expect(&["PONG"]);
        service.quietly(format!("SUB {QUESTIONS} 1\r\n"));
        let _client = dial(r#"{"user":"u","pass":"secret","verbose":false}"#);
        let asked = claims(&service.message().payload);
        let tls = &asked["nats"]["client_tls"];
        assert_eq!(tls["version"], "1.3", "{asked}");
        assert!(
            tls["cipher"]
                .as_str()
                .is_some_and(|it| it.starts_with("TLS_"))
        );
        let shown = std::fs::read_to_string(&own.cert).expect("a certificate");
        let first = tls["verified_chains"][0][0]
            .as_str()
            .map(|it| it.replace("\r", ""));
        let root = std::fs::read_to_string(authority.ca()).expect("a certificate");
        let last = tls["verified_chains"][0][1].as_str();
        let last = last.map(|it| it.replace('\r', ""));
        match verify {
            true => assert_eq!(
                (first, last),
                (Some(shown.replace('\r', "")), Some(root.replace('\r', "")))
            ),
            false => assert_eq!((first, last), (None, None)),
        }
    }
}

/// Who is refused by the service is told of in the service's own account and to operators.
#[test]
fn auth_084_failures_are_told_of() {
    let server = Server::with_config(&format!(
        "accounts {{
            SYS {{ users: [{{user: sys, password: p}}] }}
            AUTH {{ users: [{{user: auth, password: p}}, {{user: other, password: p}}] }}
        }}
        system_account: SYS
        authorization {{ timeout: 20, auth_callout {{
            issuer: {}, account: AUTH, auth_users: [auth, other, sys]
        }} }}",
        issuer().public_key(),
    ));
    let mut service = service(&server);
    let mut other = server.client_with(r#"{"user":"other","pass":"p"}"#);
    let mut sys = server.client_with(r#"{"user":"sys","pass":"p"}"#);
    other.quietly("SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 1\r\n");
    sys.quietly("SUB $SYS.SERVER.*.CLIENT.AUTH.ERR 1\r\n");
    let mut client = knocks(&server);
    let question = service.message();
    let asked = claims(&question.payload);
    let mut no = answer(&asked, &json!({}));
    overlay(&mut no, &json!({"nats": {"error": "not you"}}));
    reply(&mut service, &question, sign(&issuer(), &no).as_bytes());
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    for (who, subject) in [
        (&mut other, "$SYS.ACCOUNT.CLIENT.AUTH.ERR".to_owned()),
        (
            &mut sys,
            format!(
                "$SYS.SERVER.{}.CLIENT.AUTH.ERR",
                client.info["server_id"].as_str().expect("an id")
            ),
        ),
    ] {
        let event = who.message();
        assert_eq!(event.subject, subject);
        let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
        assert_eq!(
            event["type"],
            "io.nats.server.advisory.v1.client_disconnect"
        );
        assert_eq!(event["client"]["user"], "u", "{event}");
    }
}
