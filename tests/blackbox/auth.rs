//! Section 3.1: users, tokens, nkeys and who may connect without any.

use crate::support::server::Server;
use crate::support::wait_until;
use nkeys::KeyPair;
use rustix::process::Signal;
use serde_json::Value;

/// Bcrypt of `s3cret` at the lowest cost.
const HASH: &str = "$2a$04$P/.bd.7unw9Ew7yWJqXsluq.xINPxlVXBIzO8DC8KDb3ymQzt65ZC";
const VIOLATION: &str = "-ERR 'Authorization Violation'";

/// CONNECT with `options` is accepted.
#[track_caller]
fn admits(server: &Server, options: &str) {
    server.client_with(options).quietly("");
}

/// CONNECT with `options` is refused.
#[track_caller]
fn refuses(server: &Server, options: &str) {
    let mut client = server.open();
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    assert_eq!(client.closed(), [VIOLATION], "{options}");
}

#[test]
fn auth_001_a_token_must_match() {
    let server = Server::with_config("authorization { token: \"s3cr3t\" }");
    admits(&server, "{\"auth_token\":\"s3cr3t\"}");
    for options in [
        "{}",
        "{\"auth_token\":\"\"}",
        "{\"auth_token\":\"s3cr3\"}",
        "{\"auth_token\":\"s3cr3tt\"}",
        "{\"auth_token\":\"S3CR3T\"}",
        "{\"user\":\"s3cr3t\"}",
        "{\"pass\":\"s3cr3t\"}",
    ] {
        refuses(&server, options);
    }
}

#[test]
fn auth_001_a_single_user_must_match() {
    for config in [
        "authorization { user: u, password: p }",
        "authorization { username: u, pass: p }",
        "authorization: { user = \"u\"\n pass = 'p' }",
    ] {
        let server = Server::with_config(config);
        admits(&server, "{\"user\":\"u\",\"pass\":\"p\"}");
        for options in [
            "{}",
            "{\"user\":\"u\"}",
            "{\"pass\":\"p\"}",
            "{\"user\":\"U\",\"pass\":\"p\"}",
            "{\"user\":\"u\",\"pass\":\"\"}",
            "{\"user\":\"u\",\"pass\":\"pp\"}",
            "{\"auth_token\":\"p\"}",
        ] {
            refuses(&server, options);
        }
    }
}

#[test]
fn auth_002_passwords_and_tokens_may_be_bcrypt() {
    let secret = "s3cret";
    for prefix in ["$2a$", "$2b$", "$2y$", "$2x$"] {
        let hash = HASH.replace("$2a$", prefix);
        let server = Server::with_config(&format!(
            "authorization {{ user: u, password: \"{hash}\" }}"
        ));
        admits(
            &server,
            &format!("{{\"user\":\"u\",\"pass\":\"{secret}\"}}"),
        );
        refuses(&server, "{\"user\":\"u\",\"pass\":\"x\"}");
        refuses(&server, &format!("{{\"user\":\"u\",\"pass\":\"{hash}\"}}"));
        refuses(&server, "{\"user\":\"u\"}");
    }
    let server = Server::with_config(&format!("authorization {{ token: {HASH} }}"));
    admits(&server, &format!("{{\"auth_token\":\"{secret}\"}}"));
    refuses(&server, "{\"auth_token\":\"x\"}");
    let server = Server::with_config(&format!(
        "authorization {{ users: [{{user: a, password: {HASH}}}, {{user: b, password: plain}}] }}"
    ));
    admits(
        &server,
        &format!("{{\"user\":\"a\",\"pass\":\"{secret}\"}}"),
    );
    admits(&server, "{\"user\":\"b\",\"pass\":\"plain\"}");
    refuses(
        &server,
        &format!("{{\"user\":\"b\",\"pass\":\"{secret}\"}}"),
    );
}

#[test]
fn auth_003_several_users_each_with_their_password() {
    let server = Server::with_config(
        "authorization { users: [{user: a, password: 1x}, {username: b, pass: 2x}, {user: c}] }",
    );
    admits(&server, "{\"user\":\"a\",\"pass\":\"1x\"}");
    admits(&server, "{\"user\":\"b\",\"pass\":\"2x\"}");
    refuses(&server, "{\"user\":\"a\",\"pass\":\"2x\"}");
    refuses(&server, "{\"user\":\"d\",\"pass\":\"1x\"}");
    refuses(&server, "{}");
}

#[test]
fn auth_003_a_user_twice_is_an_error() {
    let key = KeyPair::new_user().public_key();
    for (users, text) in [
        (
            "{user: a, password: b}, {user: a, password: c}".to_owned(),
            "Duplicate user \"a\" detected".to_owned(),
        ),
        (
            format!("{{nkey: {key}}}, {{nkey: {key}}}"),
            format!("Duplicate nkey \"{key}\" detected"),
        ),
    ] {
        let run = Server::builder()
            .config(&format!("authorization {{ users: [{users}] }}"))
            .run();
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains(&text), "{}", run.stderr);
    }
}

#[test]
fn auth_004_an_nkey_signs_the_nonce() {
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let key = user.public_key();
    let server = Server::with_config(&format!("authorization {{ users: [{{nkey: {key}}}] }}"));
    for standard in [false, true] {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        let signature = user.sign(nonce.as_bytes()).expect("signature");
        let text = base64(&signature, standard);
        client.connect(&format!("{{\"nkey\":\"{key}\",\"sig\":\"{text}\"}}"));
        client.quietly("");
        // The signature fits that connection's nonce only.
        refuses(
            &server,
            &format!("{{\"nkey\":\"{key}\",\"sig\":\"{text}\"}}"),
        );
    }
    let mut stranger = server.open();
    let nonce = stranger.info["nonce"].as_str().expect("nonce").to_owned();
    let forged = base64(&other.sign(nonce.as_bytes()).expect("signature"), false);
    stranger.send(format!(
        "CONNECT {{\"nkey\":\"{key}\",\"sig\":\"{forged}\"}}\r\n"
    ));
    assert_eq!(stranger.closed(), [VIOLATION]);
    refuses(&server, &format!("{{\"nkey\":\"{key}\"}}"));
    refuses(&server, &format!("{{\"nkey\":\"{key}\",\"sig\":\"\"}}"));
    refuses(
        &server,
        &format!("{{\"nkey\":\"{}\",\"sig\":\"AAAA\"}}", other.public_key()),
    );
    refuses(&server, "{}");
}

#[test]
fn auth_004_t38_odd_nkeys_and_signatures_are_only_refused() {
    let user = KeyPair::new_user().public_key();
    let server = Server::with_config(&format!("authorization {{ users: [{{nkey: {user}}}] }}"));
    let account = KeyPair::new_account().public_key();
    let mut keys = vec![
        String::new(),
        "U".into(),
        "UA".into(),
        user.to_lowercase(),
        account,
    ];
    keys.push(format!("{user}A"));
    keys.push(user[..55].to_owned());
    keys.push("U".repeat(56));
    keys.push("1".repeat(56));
    keys.push("A".repeat(1000));
    keys.push(format!("{}\u{1F680}", &user[..52]));
    for key in keys.iter().chain([&user]) {
        for signature in [
            "",
            "A",
            "AAAA",
            "%%%%",
            "====",
            &"A".repeat(86),
            &"A".repeat(2000),
            "\u{1F680}",
        ] {
            refuses(
                &server,
                &format!("{{\"nkey\":\"{key}\",\"sig\":\"{signature}\"}}"),
            );
        }
    }
}

#[test]
fn auth_004_a_bad_nkey_in_the_file_is_an_error() {
    for key in ["ABC", &KeyPair::new_account().public_key(), &"U".repeat(56)] {
        let run = Server::builder()
            .config(&format!("authorization {{ users: [{{nkey: {key}}}] }}"))
            .run();
        assert_eq!(run.code, 1);
        assert!(
            run.stderr.contains("Not a valid public nkey for a user"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn auth_005_the_no_auth_user_stands_in_for_those_without_credentials() {
    let server = Server::with_config(
        "no_auth_user: guest\nauthorization { users: [{user: guest, password: g, permissions: \
         {publish: \"g.>\"}}, {user: u, password: p}] }",
    );
    let refused = "-ERR 'Permissions Violation for Publish to \"x\"'";
    assert_eq!(
        server.client().ask("PUB x 0\r\n\r\nPUB g.x 0\r\n\r\n"),
        [refused]
    );
    server
        .client_with("{\"user\":\"u\",\"pass\":\"p\"}")
        .quietly("PUB x 0\r\n\r\n");
    server
        .client_with("{\"user\":\"guest\",\"pass\":\"g\"}")
        .quietly("PUB g.x 0\r\n\r\n");
    refuses(&server, "{\"user\":\"u\"}");
    refuses(&server, "{\"user\":\"guest\",\"pass\":\"wrong\"}");
    refuses(&server, "{\"auth_token\":\"x\"}");
}

#[test]
fn auth_006_default_permissions_are_for_users_without_their_own() {
    for key in ["default_permissions", "default_permission", "permissions"] {
        let server = Server::with_config(&format!(
            "authorization {{ {key}: {{publish: \"d\"}}\n users: [{{user: a, password: p}}, \
             {{user: b, password: p, permissions: {{publish: \"own\"}}}}] }}"
        ));
        let refused =
            |subject| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'");
        let mut a = server.client_with("{\"user\":\"a\",\"pass\":\"p\"}");
        assert_eq!(a.ask("PUB d 0\r\n\r\nPUB own 0\r\n\r\n"), [refused("own")]);
        let mut b = server.client_with("{\"user\":\"b\",\"pass\":\"p\"}");
        assert_eq!(b.ask("PUB d 0\r\n\r\nPUB own 0\r\n\r\n"), [refused("d")]);
    }
}

#[test]
fn auth_007_the_timeout_is_a_number_of_seconds_or_a_duration() {
    for (text, seconds) in [
        ("1", 1.0),
        ("0.25", 0.25),
        ("\"250ms\"", 0.25),
        ("\"1m\"", 60.0),
    ] {
        let varz = Server::with_monitor(&format!("authorization {{ token: t, timeout: {text} }}"))
            .json("/varz");
        assert_eq!(varz["auth_timeout"].as_f64(), Some(seconds), "{text}");
    }
    let server = Server::with_config("authorization { timeout: 61 }");
    server.logged("timeout of 61");
    let mut server = Server::with_config("authorization { token: t, timeout: \"100ms\" }");
    assert_eq!(server.open().closed(), ["-ERR 'Authentication Timeout'"]);
    assert!(server.is_running());
}

#[test]
fn auth_008_users_may_be_bound_to_kinds_of_connections() {
    let server = Server::with_config(
        "authorization { users: [\n\
         {user: std, password: p, allowed_connection_types: [STANDARD, websocket]}\n\
         {user: low, password: p, connection_types: [\"standard\"]}\n\
         {user: all, password: p, clients: []}\n\
         {user: ws, password: p, allowed_connection_types: [\"WEBSOCKET\", LEAFNODE, LEAFNODE_WS, MQTT, MQTT_WS, IN_PROCESS]} ] }",
    );
    for user in ["std", "low", "all"] {
        admits(&server, &format!("{{\"user\":\"{user}\",\"pass\":\"p\"}}"));
    }
    refuses(&server, "{\"user\":\"ws\",\"pass\":\"p\"}");
    let run = Server::builder()
        .config(
            "authorization { users: [{user: a, password: b, allowed_connection_types: [FOO]}] }",
        )
        .run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("invalid connection types [\"FOO\"]"),
        "{}",
        run.stderr
    );
}

#[test]
fn auth_008_t39_the_no_auth_user_is_bound_too() {
    let server = Server::with_config(
        "no_auth_user: ws\nauthorization { users: [{user: ws, password: p, \
         allowed_connection_types: [WEBSOCKET]}, {user: u, password: p}] }",
    );
    refuses(&server, "{}");
    for first in ["PING\r\n", "SUB a 1\r\n", "PUB a 0\r\n\r\n"] {
        let mut client = server.open();
        client.send(first);
        assert_eq!(client.closed(), [VIOLATION], "{first:?}");
    }
}

#[test]
fn t14_anonymous_only_where_meant() {
    for (config, anonymous) in [
        ("port: -1", true),
        ("authorization { timeout: 1 }", true),
        ("authorization { users: [] }", true),
        ("authorization { token: t }", false),
        ("authorization { user: u, password: p }", false),
        ("authorization { users: [{user: u, password: p}] }", false),
        (
            "no_auth_user: u\nauthorization { users: [{user: u, password: p}] }",
            true,
        ),
        (
            "authorization { default_permissions: {publish: a}, users: [{user: u, password: p}] }",
            false,
        ),
        (
            "authorization { user: u, password: p, permissions: {publish: a} }",
            false,
        ),
    ] {
        let server = Server::with_config(config);
        let mut client = server.open();
        client.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
        assert_eq!(
            client.raw_line(),
            if anonymous { "PONG" } else { VIOLATION },
            "{config}"
        );
        let mut client = server.open();
        client.send("PING\r\n");
        assert_eq!(
            client.raw_line(),
            if anonymous { "PONG" } else { VIOLATION },
            "{config}"
        );
    }
}

#[test]
fn auth_023_closed_connections_say_why() {
    let server = Server::with_monitor("authorization { user: u, password: p, timeout: 3 }");
    refuses(&server, "{\"user\":\"u\",\"pass\":\"x\",\"name\":\"bad\"}");
    assert_eq!(server.open().closed(), ["-ERR 'Authentication Timeout'"]);
    let reasons = wait_until("two closed connections", || {
        let connz = server.json("/connz?state=closed&sort=cid");
        let list = connz["connections"]
            .as_array()
            .expect("connections")
            .clone();
        (list.len() == 2).then(|| {
            list.iter()
                .map(|entry| entry["reason"].clone())
                .collect::<Vec<_>>()
        })
    });
    assert_eq!(
        reasons,
        [
            Value::from("Authentication Failure"),
            Value::from("Authentication Timeout")
        ]
    );
}

#[test]
fn t20_planted_secrets_show_nowhere() {
    let config = "authorization { users: [{user: u, password: planted-a}], timeout: 20 }\ndebug: true\ntrace: true\n";
    let mut server = Server::builder().config(config).flags("-m -1").start();
    let mut client = server.client_with(
        "{\"user\":\"u\",\"pass\":\"planted-a\",\"auth_token\":\"planted-b\",\"sig\":\"planted-c\",\
         \"tls_key\":\"planted-d\"}",
    );
    client.quietly("SUB a 1\r\n");
    refuses(&server, "{\"user\":\"u\",\"pass\":\"planted-e\"}");
    for path in [
        "/",
        "/varz",
        "/connz?auth=1&subs=detail",
        "/connz?state=all&auth=1",
        "/subsz?subs=1",
        "/healthz",
        "/debug/vars",
        "/stacksz",
    ] {
        assert!(!server.get(path).body.contains("planted-"), "{path}");
    }
    server.signal(Signal::TERM);
    server.exited();
    let log = server.log().replace("planted-d", "");
    assert!(!log.contains("planted-"), "{log}");
}

fn base64(bytes: &[u8], standard: bool) -> String {
    let mut alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect();
    alphabet.extend(if standard { ['+', '/'] } else { ['-', '_'] });
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(alphabet[(word >> (18 - 6 * place) & 63) as usize]);
        }
        if standard {
            (chunk.len()..3).for_each(|_| text.push('='));
        }
    }
    text
}
