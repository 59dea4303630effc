//! Section 3.7: an operator vouches for accounts, accounts for users.

use crate::support::client::{Client, delivered};
use crate::support::server::Server;
use crate::support::signer::{Trust, credentials, key, now, sign};
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};

/// A connection of `key` with `token`.
#[track_caller]
fn login(server: &Server, key: &KeyPair, token: &str) -> Client {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.connect(&credentials(key, token, &nonce));
    client
}

/// What a connection hears that may not log in.
#[track_caller]
fn refused(server: &Server, key: &KeyPair, token: &str) {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let options = credentials(key, token, &nonce);
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    assert_eq!(
        client.closed(),
        ["-ERR 'Authorization Violation'"],
        "{token}"
    );
}

/// A user with these claims is let in (or not) by an account with those.
#[track_caller]
fn check(account: Value, user: Value, let_in: bool) {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&account)));
    let token = trust.user_token(&user);
    match let_in {
        true => drop(login(&server, &trust.user, &token)),
        false => refused(&server, &trust.user, &token),
    }
}

#[test]
fn auth_050_a_user_presents_a_token_and_signs_the_nonce() {
    let trust = Trust::new();
    let server = Server::with_monitor(&trust.memory(&trust.account_token(&json!({}))));
    let open = server.open();
    assert_eq!(open.info["auth_required"], true);
    let token = trust.user_token(&json!({}));
    let client = login(&server, &trust.user, &token);
    assert_eq!(client.info["remote_account"], trust.account.public_key());
    let admin = login(&server, &trust.admin, &trust.admin_token());
    assert_eq!(admin.info["acc_is_sys"], true);
    let connz = server.json("/connz?auth=1");
    let connections = connz["connections"].as_array().expect("list");
    let own = connections
        .iter()
        .find(|it| it["account"] == trust.account.public_key());
    let own = own.expect("the user's connection");
    assert_eq!(own["authorized_user"], trust.user.public_key());

    // Somebody else's signature, none, and none of the token.
    refused(&server, &trust.admin, &token);
    for options in ["{}".to_owned(), json!({"jwt": token}).to_string()] {
        let mut client = server.open();
        client.send(format!("CONNECT {options}\r\n"));
        assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    }
}

#[test]
fn auth_050_bearers_need_not_sign_unless_the_account_says_so() {
    let trust = Trust::new();
    let bearer = trust.user_token(&json!({"nats": {"bearer_token": true}}));
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    server.client_with(&json!({"jwt": bearer}).to_string());
    let strict = json!({"nats": {"limits": {"disallow_bearer": true}}});
    check(strict, json!({"nats": {"bearer_token": true}}), false);
}

#[test]
fn auth_051_chain_of_issuers() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    let stranger = key(KeyPairType::Account, 9);
    // An account nobody vouches for, and a signer the account does not know.
    let claims = Trust::user_claims(&trust.user, &json!({}));
    refused(&server, &trust.user, &sign(&stranger, &claims));
    let over = json!({"nats": {"issuer_account": trust.account.public_key()}});
    let claims = Trust::user_claims(&trust.user, &over);
    refused(&server, &trust.user, &sign(&stranger, &claims));
    // An account another operator vouches for.
    let other = key(KeyPairType::Operator, 8);
    let account = Trust::account_claims(&trust.account, &json!({}));
    let server = Server::with_config(&trust.memory(&sign(&other, &account)));
    refused(&server, &trust.user, &trust.user_token(&json!({})));
}

#[test]
fn auth_051_signing_keys_of_operator_and_account() {
    let trust = Trust::new();
    let (operator_key, account_key) = (key(KeyPairType::Operator, 6), key(KeyPairType::Account, 7));
    let with_key = json!({"nats": {"signing_keys": [account_key.public_key()]}});
    let account = sign(
        &operator_key,
        &Trust::account_claims(&trust.account, &with_key),
    );
    let system = sign(
        &operator_key,
        &Trust::account_claims(&trust.system, &json!({})),
    );
    let over = json!({"nats": {
        "signing_keys": [operator_key.public_key()], "strict_signing_key_usage": true,
    }});
    let config = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload {{ {}: {system}, {}: {account} }}\n",
        trust.operator_token(&over),
        trust.system.public_key(),
        trust.account.public_key(),
    );
    let server = Server::with_config(&config);
    let over = json!({"nats": {"issuer_account": trust.account.public_key()}});
    let token = sign(&account_key, &Trust::user_claims(&trust.user, &over));
    login(&server, &trust.user, &token);
    // A strict operator's accounts sign with signing keys only.
    refused(&server, &trust.user, &trust.user_token(&json!({})));
}

#[test]
fn auth_052_times_of_tokens() {
    check(json!({}), json!({"exp": now() + 60}), true);
    check(json!({}), json!({"exp": now() - 2}), false);
    check(json!({}), json!({"nbf": now() + 60}), false);
    check(json!({"exp": now() - 2}), json!({}), false);
    check(json!({"nbf": now() + 60}), json!({}), false);
}

#[test]
fn auth_052_networks_hours_and_kinds_of_connection() {
    let user = |fields: Value| json!({"nats": fields});
    check(json!({}), user(json!({"src": ["127.0.0.0/8"]})), true);
    check(json!({}), user(json!({"src": ["10.0.0.0/8"]})), false);
    check(
        json!({}),
        user(json!({"src": "10.0.0.0/8,127.0.0.1/32"})),
        true,
    );
    check(json!({}), user(json!({"src": ["nonsense"]})), false);
    let times = |start: &str, end: &str| user(json!({"times": [{"start": start, "end": end}]}));
    let hour = |add: i64| format!("{:02}:30:00", (now() / 3600 + add).rem_euclid(24));
    let zoned = |start: i64, end: i64| {
        let mut over = times(&hour(start), &hour(end));
        over["nats"]["times_location"] = "UTC".into();
        over
    };
    check(json!({}), zoned(-2, 2), true);
    check(json!({}), zoned(2, 4), false);
    check(json!({}), times("25:00:00", "26:00:00"), false);
    let mut nowhere = zoned(-2, 2);
    nowhere["nats"]["times_location"] = "No/Where".into();
    check(json!({}), nowhere, false);
    let kinds = |list: Value| user(json!({"allowed_connection_types": list}));
    check(json!({}), kinds(json!(["STANDARD"])), true);
    check(json!({}), kinds(json!(["standard", "UNKNOWN"])), true);
    check(json!({}), kinds(json!(["WEBSOCKET"])), false);
    check(json!({}), kinds(json!(["UNKNOWN"])), false);
}

#[test]
fn auth_052_permissions_and_limits() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    let token = trust.user_token(&json!({"nats": {
        "pub": {"allow": ["a.>"], "deny": ["a.no"]},
        "sub": {"allow": ["b", "_INBOX.>"]},
        "subs": 2, "payload": 8,
    }}));
    let mut client = login(&server, &trust.user, &token);
    assert_eq!(
        client.ask("PUB a.no 0\r\n\r\nPUB x 0\r\n\r\nSUB c 1\r\nSUB b 2\r\nSUB b 3\r\nSUB b 4\r\n"),
        [
            "-ERR 'Permissions Violation for Publish to \"a.no\"'",
            "-ERR 'Permissions Violation for Publish to \"x\"'",
            "-ERR 'Permissions Violation for Subscription to \"c\"'",
            "-ERR 'maximum subscriptions exceeded'",
        ]
    );
    client.send("PUB a.b 9\r\n123456789\r\n");
    assert_eq!(client.closed(), ["-ERR 'Maximum Payload Violation'"]);
}

#[test]
fn auth_052_answers() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    let responder = trust.user_token(&json!({"nats": {"resp": {"max": 1, "ttl": 0}}}));
    let mut responder = login(&server, &trust.user, &responder);
    let other = key(KeyPairType::User, 11);
    let token = sign(&trust.account, &Trust::user_claims(&other, &json!({})));
    let mut requester = login(&server, &other, &token);
    responder.quietly("SUB service 1\r\n");
    requester.quietly("SUB reply 1\r\n");
    requester.send("PUB service reply 0\r\n\r\n");
    responder.message();
    let heard = responder.ask("PUB reply 2\r\nok\r\nPUB reply 2\r\nno\r\nPUB x 0\r\n\r\n");
    assert_eq!(
        heard,
        [
            "-ERR 'Permissions Violation for Publish to \"reply\"'",
            "-ERR 'Permissions Violation for Publish to \"x\"'",
        ]
    );
    assert_eq!(requester.message().payload, b"ok");
}

#[test]
fn auth_053_the_connection_ends_with_the_token() {
    let trust = Trust::new();
    let server = Server::with_monitor(&trust.memory(&trust.account_token(&json!({}))));
    let token = trust.user_token(&json!({"exp": now() + 6}));
    let mut client = login(&server, &trust.user, &token);
    assert_eq!(client.closed(), ["-ERR 'User Authentication Expired'"]);
    let connz = server.json("/connz?state=closed");
    assert_eq!(connz["connections"][0]["reason"], "Authentication Expired");
    let account = trust.account_token(&json!({"exp": now() + 6}));
    let server = Server::with_config(&trust.memory(&account));
    let mut client = login(&server, &trust.user, &trust.user_token(&json!({})));
    assert_eq!(client.closed(), ["-ERR 'Account Authentication Expired'"]);
}

#[test]
fn auth_054_scopes() {
    let trust = Trust::new();
    let scoped = key(KeyPairType::Account, 7);
    let account = trust.account_token(&json!({"nats": {"tags": ["dept:x"], "signing_keys": [{
        "kind": "user_scope", "key": scoped.public_key(), "role": "r", "template": {
            "pub": {"allow": ["{{name()}}.>", "{{tag(team)}}.{{account-tag(dept)}}"]},
            "sub": {"allow": ["{{subject()}}", "{{tag(none)}}.x"], "deny": ["{{account-name()}}"]},
            "subs": 3, "payload": -1,
        },
    }]}}));
    let server = Server::with_config(&trust.memory(&account));
    let plain = json!({"sub": trust.user.public_key(), "name": "bob", "nats": {
        "type": "user", "version": 2, "issuer_account": trust.account.public_key(),
        "tags": ["team:a", "team:b"],
    }});
    let mut client = login(&server, &trust.user, &sign(&scoped, &plain));
    let own = trust.user.public_key();
    let text = format!(
        "PUB bob.x 0\r\n\r\nPUB a.x 0\r\n\r\nPUB b.x 0\r\n\r\nPUB c.x 0\r\n\r\nSUB {own} 1\r\n\
         SUB ACC 2\r\nSUB x 3\r\n"
    );
    assert_eq!(
        client.ask(text),
        [
            "-ERR 'Permissions Violation for Publish to \"c.x\"'",
            "-ERR 'Permissions Violation for Subscription to \"ACC\"'",
            "-ERR 'Permissions Violation for Subscription to \"x\"'",
        ]
    );
    // Whom a scope governs has no permissions of his own.
    let mut own = plain.clone();
    own["nats"]["pub"] = json!({"allow": [">"]});
    refused(&server, &trust.user, &sign(&scoped, &own));
    // What is denied must be known.
    let denied = trust.account_token(&json!({"nats": {"signing_keys": [{
        "kind": "user_scope", "key": scoped.public_key(),
        "template": {"sub": {"deny": ["{{tag(none)}}"]}},
    }]}}));
    let server = Server::with_config(&trust.memory(&denied));
    refused(&server, &trust.user, &sign(&scoped, &plain));
}

#[test]
fn auth_055_revoked_users_are_refused() {
    let user = Trust::new().user.public_key();
    let revoked = |key: &str, time: i64| json!({"nats": {"revocations": {key: time}}});
    let issued = now() - 100;
    let token = json!({"iat": issued});
    check(revoked(&user, issued), token.clone(), false);
    check(revoked(&user, issued - 1), token.clone(), true);
    check(revoked("*", issued), token.clone(), false);
    check(revoked("*", issued - 1), token, true);
}

#[test]
fn auth_056_limits_and_mappings_of_the_account() {
    let trust = Trust::new();
    let account = trust.account_token(&json!({"nats": {
        "limits": {"conn": 2, "subs": 1, "payload": 8},
        "mappings": {"from": [{"subject": "to"}]},
        "default_permissions": {"pub": {"deny": ["secret"]}},
    }}));
    let server = Server::with_config(&trust.memory(&account));
    let token = trust.user_token(&json!({}));
    let mut first = login(&server, &trust.user, &token);
    let mut second = login(&server, &trust.user, &token);
    assert_eq!(first.info["max_payload"], 8);
    assert_eq!(
        first.ask("SUB to 1\r\nSUB b 2\r\nPUB secret 0\r\n\r\n"),
        [
            "-ERR 'maximum subscriptions exceeded'",
            "-ERR 'Permissions Violation for Publish to \"secret\"'",
        ]
    );
    second.send("PUB from 1\r\nx\r\n");
    assert_eq!(first.message().subject, "to");
    let mut third = server.open();
    let nonce = third.info["nonce"].as_str().expect("nonce").to_owned();
    third.send(format!(
        "CONNECT {}\r\n",
        credentials(&trust.user, &token, &nonce)
    ));
    let heard = third.closed();
    assert_eq!(
        heard[0],
        "-ERR 'maximum account active connections exceeded'"
    );
}

#[test]
fn auth_059_auth_067_what_does_not_go_together() {
    let trust = Trust::new();
    let operator = format!("operator: {}\n", trust.operator_token(&json!({})));
    let memory = format!("{operator}resolver: MEMORY\n");
    let version = |asserted: &str| {
        let over = json!({"nats": {"assert_server_version": asserted}});
        format!(
            "operator: {}\nresolver: MEMORY\n",
            trust.operator_token(&over)
        )
    };
    let other = key(KeyPairType::Account, 9).public_key();
    for (config, text) in [
        // Stock asks an account server without an address.
        (operator.clone(), ""),
        (
            format!("{memory}accounts {{ A {{}} }}\n"),
            "operators do not allow Accounts to be configured directly",
        ),
        (
            format!("{memory}authorization {{ users [ {{user: a, password: b}} ] }}\n"),
            "operators do not allow users to be configured directly",
        ),
        (
            format!("{memory}system_account: {other}\n"),
            "system_account in config and operator JWT must be identical",
        ),
        (
            format!("{memory}resolver_pinned_accounts: [x]\n"),
            "pinned account key \"x\" is not a valid public account nkey",
        ),
        (
            version("99.0.0"),
            "expected major version 99 > server major version 2",
        ),
        (
            "operator: eyJx\nresolver: MEMORY\n".into(),
            "expected 3 chunks",
        ),
        ("trusted_keys: [x]\n".into(), "trust key \"x\""),
    ] {
        let finished = Server::builder().config(&config).run();
        assert_eq!(finished.code, 1, "{config}");
        assert!(
            finished.stderr.contains(text),
            "{text}: {}",
            finished.stderr
        );
    }
}

#[test]
fn auth_051_cfg_056_pinned_accounts() {
    let trust = Trust::new();
    let memory = trust.memory(&trust.account_token(&json!({})));
    let pinned = |key: &str| format!("{memory}resolver_pinned_accounts: [{key}]\n");
    let token = trust.user_token(&json!({}));
    let server = Server::with_config(&pinned(&trust.account.public_key()));
    login(&server, &trust.user, &token);
    login(&server, &trust.admin, &trust.admin_token());
    let server = Server::with_config(&pinned(&trust.system.public_key()));
    refused(&server, &trust.user, &token);
}

#[test]
fn auth_070_cfg_056_a_reload_updates_accounts_in_memory() {
    let trust = Trust::new();
    let config = |over: Value| trust.memory(&trust.account_token(&over));
    let server = Server::with_config(&config(json!({"nats": {"limits": {"subs": 9}}})));
    let token = trust.user_token(&json!({"iat": now() - 10}));
    let mut client = login(&server, &trust.user, &token);
    let user = trust.user.public_key();
    let revoked = json!({"nats": {"revocations": {user: now() - 5}}});
    server.reload(&config(revoked));
    let heard = client.closed();
    assert!(
        heard == ["-ERR 'User Authentication Revoked'"]
            || heard == ["-ERR 'Authorization Violation'"],
        "{heard:?}"
    );
    refused(&server, &trust.user, &token);
    server.reload(&config(json!({"nats": {"limits": {"subs": 8}}})));
    login(&server, &trust.user, &token);
}

#[test]
fn auth_050_accounts_are_separate() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    let token = trust.user_token(&json!({}));
    let mut user = login(&server, &trust.user, &token);
    let mut other = login(&server, &trust.user, &token);
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    user.quietly("SUB x 1\r\n");
    admin.quietly("SUB x 1\r\n");
    admin.send("PUB x 0\r\n\r\n");
    admin.message();
    assert_eq!(delivered(&mut other, &mut user, ""), [""; 0]);
}

#[test]
fn t02_t38_malformed_tokens_are_refused() {
    let trust = Trust::new();
    let mut server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    let good = trust.user_token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let signed = |claims: Value| sign(&trust.account, &claims);
    let mut cases = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.AAAA", parts[0], parts[1]),
        format!("{}.e30.{}", parts[0], parts[2]),
        trust.account_token(&json!({})),
        trust.operator_token(&json!({})),
    ];
    for claims in [
        json!({}),
        json!({"nats": null}),
        json!({"nats": []}),
        json!({"nats": {"type": "user", "version": 3}}),
        json!({"nats": {"type": "user", "version": "2"}}),
        json!({"nats": {"type": "cluster", "version": 2}}),
        json!({"iss": null, "nats": {"type": "user", "version": 2}}),
        json!({"iss": "A", "nats": {"type": "user", "version": 2}}),
        json!({"iss": "", "nats": {"type": "user", "version": 2}}),
    ] {
        cases.push(signed(claims));
    }
    for (field, value) in [
        ("pub", json!([1])),
        ("sub", json!({"allow": [null]})),
        ("sub", json!({"allow": ["a b c"]})),
        ("pub", json!({"allow": ["a b"]})),
        ("times", json!([null])),
        ("times", json!("x")),
        ("src", json!({"a": 1})),
        ("subs", json!(1.5)),
        ("subs", json!("1")),
        ("issuer_account", json!("A")),
        ("resp", json!([])),
    ] {
        cases.push(trust.user_token(&json!({"nats": {field: value}})));
    }
    for token in cases {
        refused(&server, &trust.user, &token);
    }
    assert!(server.is_running());
    login(&server, &trust.user, &good);
}

/// Without an operator's token nothing is known of it but its key, so its system account is named
/// beside it.
#[test]
fn cfg_057_keys_of_operators_may_stand_for_their_tokens() {
    let trust = Trust::new();
    let strangers = key(KeyPairType::Operator, 8).public_key();
    let operator = format!("operator: {}\n", trust.operator_token(&json!({})));
    let memory = trust.memory(&trust.account_token(&json!({})));
    let rest = memory.strip_prefix(&operator).expect("the operator first");
    let system = trust.system.public_key();
    let with = |keys: &str| format!("{keys}\nsystem_account: {system}\n{rest}");
    let own = trust.operator.public_key();
    let token = trust.user_token(&json!({}));
    for keys in [
        format!("trusted_keys: {own}"),
        format!("trusted: [{strangers}, {own}]"),
    ] {
        let server = Server::with_config(&with(&keys));
        login(&server, &trust.user, &token);
        let admin = login(&server, &trust.admin, &trust.admin_token());
        assert_eq!(admin.info["acc_is_sys"], true, "{keys}");
    }
    let server = Server::with_config(&with(&format!("trusted_keys: {own}")));
    let reason = server.refused_reload(&with(&format!("trusted_keys: [{own}, {strangers}]")));
    assert!(reason.contains("TrustedKeys"), "{reason}");
    login(&server, &trust.user, &token);
    let run = Server::builder()
        .config(&format!("{memory}trusted_keys: {own}\n"))
        .run();
    assert_eq!(run.code, 1);
    let why = "conflicting options for 'TrustedKeys' and 'TrustedOperators'";
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[test]
fn cfg_058_who_brings_no_token_has_the_default_one() {
    let trust = Trust::new();
    let memory = trust.memory(&trust.account_token(&json!({})));
    let with = |sentinel: &str| format!("{memory}default_sentinel: {sentinel}\n");
    let may = |subject: &str| {
        let pub_ = json!({"allow": [subject]});
        trust.user_token(&json!({"nats": {"bearer_token": true, "pub": pub_}}))
    };
    let server = Server::with_config(&with(&may("a")));
    let mut client = server.client();
    assert_eq!(client.info["remote_account"], trust.account.public_key());
    client.quietly("PUB a 0\r\n\r\n");
    let told = client.ask("PUB b 0\r\n\r\n");
    assert_eq!(told, ["-ERR 'Permissions Violation for Publish to \"b\"'"]);
    // Those who bring one are judged by it.
    login(&server, &trust.user, &trust.user_token(&json!({}))).quietly("PUB b 0\r\n\r\n");
    refused(&server, &trust.admin, &trust.user_token(&json!({})));

    server.reload(&with(&may("b")));
    server.client().quietly("PUB b 0\r\n\r\n");

    for (config, why) in [
        (
            with(&trust.user_token(&json!({}))),
            "default sentinel must be a bearer token",
        ),
        (with("x"), "default sentinel JWT not valid"),
        (
            format!("default_sentinel: {}\n", may("a")),
            "default sentinel requires operators and accounts",
        ),
    ] {
        let run = Server::builder().config(&config).run();
        assert_eq!(run.code, 1, "{config}");
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
    }
}
