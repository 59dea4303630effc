//! Section 3.8: tokens of accounts in a directory, changed while clients are connected.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::signer::{Trust, credentials, key, now, sign};
use crate::support::wait_until;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::fs;

#[track_caller]
fn login(server: &Server, key: &KeyPair, token: &str) -> Client {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.connect(&credentials(key, token, &nonce));
    client
}

/// A server with a directory, and a connection of the system account's user.
fn start(account: &str, more: &str) -> (Trust, Server, Client) {
    let trust = Trust::new();
    let server = Server::with_config(&trust.directory(account, more));
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    (trust, server, admin)
}

/// The next answer to a request.
#[track_caller]
fn ask(admin: &mut Client, subject: &str, payload: &str) -> Vec<u8> {
    let size = payload.len();
    admin.send(format!("PUB {subject} answers {size}\r\n{payload}\r\n"));
    admin.message().payload
}

#[track_caller]
fn ask_json(admin: &mut Client, subject: &str, payload: &str) -> Value {
    serde_json::from_slice(&ask(admin, subject, payload)).expect("JSON")
}

#[track_caller]
fn update(admin: &mut Client, token: &str) {
    let answer = ask_json(admin, "$SYS.REQ.CLAIMS.UPDATE", token);
    assert_eq!(answer["data"]["code"], 200, "{answer}");
}

#[test]
fn auth_074_an_update_is_stored_and_answered() {
    let trust = Trust::new();
    let (_, server, mut admin) = start(&trust.account_token(&json!({})), "");
    let id = trust.account.public_key();
    let file = server.dir().file(&format!("jwt/{id}.jwt"));
    let token = trust.account_token(&json!({"name": "other"}));
    let answer = ask_json(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", &token);
    assert_eq!(
        answer["data"],
        json!({"account": id, "code": 200, "message": "jwt updated"})
    );
    assert!(answer["server"]["id"].is_string(), "{answer}");
    assert_eq!(fs::read_to_string(&file).expect("stored"), token);
    for subject in [
        "$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE",
        "$SYS.ACCOUNT.{}.CLAIMS.UPDATE",
    ] {
        let token = trust.account_token(&json!({"name": subject}));
        let answer = ask_json(&mut admin, &subject.replace("{}", &id), &token);
        assert_eq!(answer["data"]["message"], "jwt updated");
        assert_eq!(fs::read_to_string(&file).expect("stored"), token);
    }
}

#[test]
fn auth_074_updates_that_are_refused() {
    let trust = Trust::new();
    let (_, server, mut admin) = start(&trust.account_token(&json!({})), "");
    let id = trust.account.public_key();
    let other = key(KeyPairType::Account, 9).public_key();
    let token = trust.account_token(&json!({}));
    let named = format!("$SYS.REQ.ACCOUNT.{other}.CLAIMS.UPDATE");
    let answer = ask_json(&mut admin, &named, &token);
    assert_eq!(
        answer["error"],
        json!({"account": other, "code": 500, "description":
            "jwt update resulted in error - subject does not match jwt content"})
    );
    let answer = ask_json(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", "nonsense");
    assert_eq!(
        answer["error"],
        json!({"account": "n/a", "code": 500,
            "description": "jwt update resulted in error - expected 3 chunks"})
    );
    let bad = trust.account_token(&json!({"nats": {"limits": {"imports": 0},
        "imports": [{"subject": "a", "account": other, "type": "stream"}]}}));
    let answer = ask_json(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", &bad);
    assert_eq!(answer["error"]["account"], id);
    let text = answer["error"]["description"].as_str().expect("text");
    assert!(
        text.starts_with("jwt validation failed - validation errors: ["),
        "{text}"
    );
    // T9: a name that is no key is no file name.
    for name in ["..", "x", "../../x"] {
        let claims = json!({"sub": name, "nats": {"type": "account", "version": 2}});
        let token = sign(&trust.operator, &claims);
        let answer = ask_json(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", &token);
        assert_eq!(answer["error"]["code"], 500, "{answer}");
    }
    let files = fs::read_dir(server.dir().file("jwt")).expect("directory");
    assert_eq!(files.count(), 2);
}

#[test]
fn auth_075_auth_077_list_and_lookup() {
    let trust = Trust::new();
    let token = trust.account_token(&json!({}));
    let (_, _server, mut admin) = start(&token, "");
    let id = trust.account.public_key();
    let mut expected = [id.clone(), trust.system.public_key()];
    expected.sort();
    let answer = ask_json(&mut admin, "$SYS.REQ.CLAIMS.LIST", "");
    let mut keys: Vec<&str> = answer["data"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let lookup = |key: &str| format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP");
    assert_eq!(ask(&mut admin, &lookup(&id), ""), token.as_bytes());
    let nobody = key(KeyPairType::Account, 9).public_key();
    assert_eq!(ask(&mut admin, &lookup(&nobody), ""), b"");
}

#[test]
fn auth_076_deleted_accounts_take_their_clients_with_them() {
    let trust = Trust::new();
    let token = trust.account_token(&json!({}));
    let (_, server, mut admin) = start(&token, ", allow_delete: true");
    let mut user = login(&server, &trust.user, &trust.user_token(&json!({})));
    let delete = |keys: Value, signer: &KeyPair| {
        let claims = json!({"sub": signer.public_key(), "nats": {"accounts": keys}});
        sign(signer, &claims)
    };
    let id = trust.account.public_key();
    let subject = "$SYS.REQ.CLAIMS.DELETE";
    let answer = ask_json(&mut admin, subject, &delete(json!([id]), &trust.account));
    assert_eq!(
        answer["error"]["description"],
        format!("delete accounts request by {id} failed - not trusted")
    );
    let system = trust.system.public_key();
    let answer = ask_json(
        &mut admin,
        subject,
        &delete(json!([system]), &trust.operator),
    );
    let text = answer["error"]["description"].as_str().expect("text");
    assert!(
        text.ends_with("not allowed to delete system account"),
        "{text}"
    );
    let answer = ask_json(&mut admin, subject, &delete(json!([id]), &trust.operator));
    assert_eq!(answer["data"]["message"], "deleted 1 accounts");
    assert_eq!(user.closed(), ["-ERR 'Account Authentication Expired'"]);
    let path = server.dir().file(&format!("jwt/{id}.jwt.deleted"));
    assert!(fs::metadata(path).is_ok());

    let (_, _server, mut admin) = start(&token, "");
    let answer = ask_json(&mut admin, subject, &delete(json!([id]), &trust.operator));
    let text = answer["error"]["description"].as_str().expect("text");
    assert!(
        text.ends_with("delete must be enabled in server config"),
        "{text}"
    );
}

#[test]
fn auth_078_comparison_of_stores() {
    let trust = Trust::new();
    let token = trust.account_token(&json!({}));
    let (_, _server, mut admin) = start(&token, "");
    admin.send("PUB $SYS.REQ.CLAIMS.PACK answers 0\r\n\r\n");
    let mut packs: Vec<String> = Vec::new();
    loop {
        let payload = admin.message().payload;
        if payload.is_empty() {
            break;
        }
        packs.push(String::from_utf8(payload).expect("text"));
    }
    let id = trust.account.public_key();
    assert_eq!(packs.len(), 2);
    assert!(packs.contains(&format!("{id}|{token}")));
}

/// What other servers have comes with comparisons; of two tokens the one that was issued later
/// counts, whichever came first.
#[test]
fn auth_079_the_later_token_counts() {
    let trust = Trust::new();
    let base = now() - 1000;
    let issued = |at: i64, name: &str| {
        trust.account_token(&json!({"iat": base + at, "jti": name, "name": name}))
    };
    let (_, server, mut admin) = start(&issued(5, "five"), ", interval: \"300ms\"");
    // The server asks; this test is another server.
    admin.quietly("SUB $SYS.REQ.CLAIMS.PACK 2\r\n");
    let asked = admin.message();
    assert_eq!(asked.payload.len(), 32);
    admin.ask("UNSUB 2\r\n");
    let mut other = login(&server, &trust.admin, &trust.admin_token());
    other.quietly("SUB answers2 1\r\n");
    let id = trust.account.public_key();
    let file = server.dir().file(&format!("jwt/{id}.jwt"));
    let mut sends = |token: &str, then: &str| {
        let pack = format!("{id}|{token}");
        other.quietly(format!("PUB {} {}\r\n{pack}\r\n", asked.reply, pack.len()));
        // Answered behind it: both go to the same place. Stock merges at its leisure.
        other.send("PUB $SYS.REQ.CLAIMS.LIST answers2 0\r\n\r\n");
        other.message();
        wait_until("the token", || {
            (fs::read_to_string(&file).expect("a token") == then).then_some(())
        });
    };
    sends(&issued(1, "one"), &issued(5, "five"));
    sends(&issued(9, "nine"), &issued(9, "nine"));
    sends(&issued(7, "seven"), &issued(9, "nine"));
    // By hand an older one may come back.
    update(&mut login_for_answers(&server, &trust), &issued(2, "two"));
    assert_eq!(
        fs::read_to_string(&file).expect("a token"),
        issued(2, "two")
    );
    // What belongs to another account, or to none, changes nothing.
    let wrong = sign(
        &trust.operator,
        &Trust::account_claims(&trust.system, &json!({})),
    );
    sends(&wrong, &issued(2, "two"));
    sends("nonsense", &issued(2, "two"));
}

/// Another connection of the system account that hears answers.
fn login_for_answers(server: &Server, trust: &Trust) -> Client {
    let mut admin = login(server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    admin
}

#[test]
fn auth_055_revocation_and_its_end_take_effect_at_once() {
    let trust = Trust::new();
    let (_, server, mut admin) = start(&trust.account_token(&json!({})), "");
    let id = trust.user.public_key();
    let token = trust.user_token(&json!({"iat": now() - 10}));
    let other = key(KeyPairType::User, 11);
    let other_token = sign(&trust.account, &Trust::user_claims(&other, &json!({})));
    // On as many shards as there may be.
    let mut clients: Vec<Client> = (0..6)
        .map(|_| login(&server, &trust.user, &token))
        .collect();
    let mut stays = login(&server, &other, &other_token);
    let revoked = json!({"nats": {"revocations": {id: now() - 5}}});
    update(&mut admin, &trust.account_token(&revoked));
    for client in &mut clients {
        assert_eq!(client.closed(), ["-ERR 'User Authentication Revoked'"]);
    }
    stays.quietly("");
    let mut again = server.open();
    let nonce = again.info["nonce"].as_str().expect("nonce").to_owned();
    again.send(format!(
        "CONNECT {}\r\n",
        credentials(&trust.user, &token, &nonce)
    ));
    assert_eq!(again.closed(), ["-ERR 'Authorization Violation'"]);
    update(&mut admin, &trust.account_token(&json!({})));
    login(&server, &trust.user, &token);
    stays.quietly("");
    // Everybody.
    let all = json!({"nats": {"revocations": {"*": now() + 5}}});
    update(&mut admin, &trust.account_token(&all));
    assert_eq!(stays.closed(), ["-ERR 'User Authentication Revoked'"]);
}

#[test]
fn auth_056_new_limits_and_permissions_hold_for_those_connected() {
    let trust = Trust::new();
    let (_, server, mut admin) = start(&trust.account_token(&json!({})), "");
    let token = trust.user_token(&json!({}));
    let mut first = login(&server, &trust.user, &token);
    let mut second = login(&server, &trust.user, &token);
    first.quietly("SUB a 1\r\nSUB secret 2\r\n");
    let limited = json!({"nats": {"default_permissions": {"sub": {"deny": ["secret"]}},
        "limits": {"conn": 1, "payload": 4}}});
    update(&mut admin, &trust.account_token(&limited));
    // The oldest stays.
    assert_eq!(
        second.closed(),
        ["-ERR 'maximum account active connections exceeded'"]
    );
    let line = first.line();
    assert!(
        line.starts_with("-ERR 'Permissions Violation for Subscription to \"secret\""),
        "{line}"
    );
    assert_eq!(
        first.ask("SUB secret 3\r\n"),
        ["-ERR 'Permissions Violation for Subscription to \"secret\"'"]
    );
    first.send("PUB a 5\r\n12345\r\n");
    assert_eq!(first.closed(), ["-ERR 'Maximum Payload Violation'"]);
}

#[test]
fn auth_056_users_of_a_signing_key_go_with_it() {
    let trust = Trust::new();
    let signer = key(KeyPairType::Account, 7);
    let with_key = json!({"nats": {"signing_keys": [signer.public_key()]}});
    let (_, server, mut admin) = start(&trust.account_token(&with_key), "");
    let over = json!({"nats": {"issuer_account": trust.account.public_key()}});
    let token = sign(&signer, &Trust::user_claims(&trust.user, &over));
    let mut user = login(&server, &trust.user, &token);
    update(&mut admin, &trust.account_token(&json!({})));
    assert_eq!(user.closed(), [""; 0]);
    update(&mut admin, &trust.account_token(&with_key));
    login(&server, &trust.user, &token);
}

#[test]
fn auth_072_the_directory_outlives_the_server() {
    let trust = Trust::new();
    let token = trust.account_token(&json!({}));
    let config = trust.directory(&token, "");
    let builder = Server::builder().config(&config);
    let dir = builder.dir().file("jwt");
    fs::create_dir_all(&dir).expect("directory");
    // Another account, there before the server.
    let account = key(KeyPairType::Account, 12);
    let stored = sign(
        &trust.operator,
        &Trust::account_claims(&account, &json!({})),
    );
    let file = format!("{dir}/{}.jwt", account.public_key());
    fs::write(&file, &stored).expect("stored");
    fs::write(format!("{dir}/notes.txt"), "not a token").expect("stored");
    let server = builder.start();
    let user = sign(&account, &Trust::user_claims(&trust.user, &json!({})));
    login(&server, &trust.user, &user);
    wait_until("the preloaded account", || {
        fs::metadata(format!("{dir}/{}.jwt", trust.account.public_key())).ok()
    });
    server.logged("Managing all jwt in exclusive directory");
}

#[test]
fn auth_057_imports_of_public_and_private_exports() {
    let trust = Trust::new();
    let exporter = key(KeyPairType::Account, 12);
    let owner = key(KeyPairType::User, 13);
    let exports = json!({"nats": {"exports": [
        {"subject": "pub.>", "type": "stream"},
        {"subject": "priv.>", "type": "stream", "token_req": true},
        {"subject": "q", "type": "service"},
    ]}});
    let exported = sign(&trust.operator, &Trust::account_claims(&exporter, &exports));
    let activation = |subject: &str| {
        let claims = json!({"sub": trust.account.public_key(), "nats": {
            "type": "activation", "version": 2, "subject": subject, "kind": "stream",
        }});
        sign(&exporter, &claims)
    };
    let id = exporter.public_key();
    let imports = |token: &str| {
        trust.account_token(&json!({"nats": {"imports": [
            {"subject": "pub.>", "account": id, "type": "stream", "local_subject": "in.>"},
            {"subject": "priv.>", "account": id, "type": "stream", "token": token},
            {"subject": "q", "account": id, "type": "service", "local_subject": "ask"},
        ]}}))
    };
    let (_, server, mut admin) = start(&trust.account_token(&json!({})), "");
    update(&mut admin, &exported);
    update(&mut admin, &imports(&activation("priv.>")));
    let mut giver = login(
        &server,
        &owner,
        &sign(&exporter, &Trust::user_claims(&owner, &json!({}))),
    );
    let mut taker = login(&server, &trust.user, &trust.user_token(&json!({})));
    taker.quietly("SUB in.> 1\r\nSUB priv.a 2\r\nSUB answer 3\r\n");
    giver.quietly("SUB q 1\r\n");
    giver.send("PUB pub.x 1\r\n1\r\nPUB priv.a 1\r\n2\r\n");
    assert_eq!(taker.message().subject, "in.x");
    assert_eq!(taker.message().subject, "priv.a");
    taker.send("PUB ask answer 0\r\n\r\n");
    let request = giver.message();
    giver.send(format!("PUB {} 2\r\nok\r\n", request.reply));
    assert_eq!(taker.message().payload, b"ok");
    // Activations for something else are none; one that was revoked is none any more.
    let answer = ask_json(
        &mut admin,
        "$SYS.REQ.CLAIMS.UPDATE",
        &imports(&activation("other.>")),
    );
    assert_eq!(answer["error"]["code"], 500, "{answer}");
    let mut revoked = exports.clone();
    revoked["nats"]["exports"][1]["revocations"] = json!({trust.account.public_key(): now() + 5});
    update(
        &mut admin,
        &sign(&trust.operator, &Trust::account_claims(&exporter, &revoked)),
    );
    let mut again = login(&server, &trust.user, &trust.user_token(&json!({})));
    again.quietly("SUB in.> 1\r\nSUB priv.a 2\r\n");
    giver.send("PUB priv.a 1\r\n2\r\nPUB pub.y 1\r\n1\r\n");
    assert_eq!(again.message().subject, "in.y");
}

#[test]
fn mon_056_059_tokens_are_shown_with_names_and_labels() {
    let trust = Trust::new();
    let (_, server, mut admin) = start(&trust.account_token(&json!({"name": "tenant"})), "");
    admin.quietly("SUB $SYS.ACCOUNT.*.CONNECT 2\r\n");
    let over = json!({"name": "person", "exp": now() + 3600, "nats": {"tags": ["a", "b"]}});
    let token = trust.user_token(&over);
    let mut user = login(&server, &trust.user, &token);
    let (id, account) = (trust.user.public_key(), trust.account.public_key());

    let event = admin.message();
    assert_eq!(event.subject, format!("$SYS.ACCOUNT.{account}.CONNECT"));
    let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
    let client = &event["client"];
    assert_eq!(
        (&client["acc"], &client["user"]),
        (&json!(account), &json!(id))
    );
    assert_eq!(
        (&client["name_tag"], &client["tags"]),
        (&json!("tenant"), &json!(["a", "b"]))
    );
    assert_eq!(
        (&client["issuer_key"], &client["jwt"]),
        (&json!(account), &json!(token))
    );

    user.quietly("SUB answers 1\r\n");
    let info = ask_json(&mut user, "$SYS.REQ.USER.INFO", "")["data"].clone();
    assert_eq!(
        (&info["account"], &info["account_name"]),
        (&json!(account), &json!("tenant"))
    );
    assert_eq!(
        (&info["user"], &info["user_name"]),
        (&json!(id), &json!("person"))
    );
    let left = info["expires"].as_u64().expect("nanoseconds");
    assert!(
        (3_500_000_000_000..=3_600_000_000_000).contains(&left),
        "{left}"
    );

    admin.quietly("UNSUB 2\r\n");
    let body = format!("{{\"auth\":true,\"acc\":\"{account}\"}}");
    let connz = ask_json(&mut admin, "$SYS.REQ.SERVER.PING.CONNZ", &body);
    let row = &connz["data"]["connections"][0];
    assert_eq!(
        (&row["authorized_user"], &row["account"]),
        (&json!(id), &json!(account))
    );
    assert_eq!(
        (&row["name_tag"], &row["tags"]),
        (&json!("tenant"), &json!(["a", "b"]))
    );
    assert_eq!(
        (&row["issuer_key"], &row["jwt"]),
        (&json!(account), &json!(token))
    );
}

/// As the configuration that `nsc` generates has it; stock reads them and does not tell anybody.
#[test]
fn auth_072_files_put_there_by_hand_count_after_a_reload() {
    if !beyond_stock() {
        return;
    }
    let (trust, server, _admin) = start(&Trust::new().account_token(&json!({})), "");
    let id = trust.account.public_key();
    let mut client = login(&server, &trust.user, &trust.user_token(&json!({})));
    let revoked = json!({"nats": {"revocations": {"*": now()}}});
    let file = server.dir().file(&format!("jwt/{id}.jwt"));
    fs::write(file, trust.account_token(&revoked)).expect("written");
    let config = trust.directory(&trust.account_token(&json!({"iat": 1_600_000_000})), "");
    server.reload(&config);
    assert_eq!(client.closed(), ["-ERR 'User Authentication Revoked'"]);
}

/// What the account says is for users without permissions of their own, from the next moment on.
#[test]
fn auth_049_default_permissions_are_for_those_without_their_own() {
    let trust = Trust::new();
    let defaults = |denied: &str| {
        trust.account_token(&json!({"nats": {"default_permissions": {"pub": {"deny": [denied]}}}}))
    };
    let (_, server, mut admin) = start(&defaults("a"), "");
    let refused = |subject: &str| {
        vec![format!(
            "-ERR 'Permissions Violation for Publish to \"{subject}\"'"
        )]
    };
    let mut plain = login(&server, &trust.user, &trust.user_token(&json!({})));
    let own = json!({"nats": {"pub": {"deny": ["c"]}}});
    let mut own = login(&server, &trust.user, &trust.user_token(&own));
    let all = "PUB a 0\r\n\r\nPUB b 0\r\n\r\nPUB c 0\r\n\r\n";
    assert_eq!(plain.ask(all), refused("a"));
    assert_eq!(own.ask(all), refused("c"));
    update(&mut admin, &defaults("b"));
    assert_eq!(plain.ask(all), refused("b"));
    assert_eq!(own.ask(all), refused("c"));
}
