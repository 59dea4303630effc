//! AUTH-18: who leaf nodes are is said beside their listener, apart from clients.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::signer::key;
use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::net::SocketAddr;

const VIOLATION: &str = "-ERR 'Authorization Violation'";

#[track_caller]
fn leaf_port(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

/// The account a leaf node with these `credentials` is let into; a pair of keys signs the nonce.
#[track_caller]
fn account(server: &Server, credentials: &Value, signer: Option<&KeyPair>) -> Option<String> {
    let mut leaf = Client::open(leaf_port(server));
    let mut connect = json!({"name": "edge", "headers": true, "protocol": 3, "version": "2.15.1",
        "remote_account": "$G"});
    for (key, value) in credentials.as_object().expect("fields") {
        connect[key] = value.clone();
    }
    if let Some(signer) = signer {
        let nonce = leaf.info["nonce"].as_str().expect("a nonce");
        let sig = signer.sign(nonce.as_bytes()).expect("has its seed");
        connect["nkey"] = json!(signer.public_key());
        connect["sig"] = json!(BASE64URL_NOPAD.encode(&sig));
    }
    leaf.send(format!("CONNECT {connect}\r\n"));
    let line = leaf.line();
    if line == VIOLATION {
        return None;
    }
    let info: Value =
        serde_json::from_str(line.strip_prefix("INFO ").expect("INFO")).expect("JSON");
    Some(
        info["remote_account"]
            .as_str()
            .expect("an account")
            .to_owned(),
    )
}

fn with(authorization: &str) -> Server {
    Server::with_config(&format!(
        "accounts {{
            A {{ users [ {{user: top, password: t}} ] }}
            B {{ users [ {{user: other, password: o}} ] }}
        }}
        leafnodes {{ listen: \"127.0.0.1:-1\", {authorization} }}"
    ))
}

#[test]
fn auth_018_each_form_and_its_account() {
    let (own, strange) = (key(KeyPairType::User, 31), key(KeyPairType::User, 32));
    let login = |user: &str, pass: &str| json!({"user": user, "pass": pass});
    let one = with("authorization { user: l, password: p, account: B }");
    assert_eq!(account(&one, &login("l", "p"), None).as_deref(), Some("B"));
    // Theirs are no clients, and clients none of theirs.
    for credentials in [login("l", "x"), login("top", "t"), json!({})] {
        assert_eq!(account(&one, &credentials, None), None, "{credentials}");
    }
    let mut client = one.open();
    client.send("CONNECT {\"user\":\"l\",\"pass\":\"p\",\"verbose\":false}\r\nPING\r\n");
    assert_eq!(client.closed(), [VIOLATION]);
    one.client_with(r#"{"user":"top","pass":"t"}"#);

    let several = with(
        "authorization { users [ {user: a, password: a, account: A}, {user: b, password: b, account: B} ] }",
    );
    for (name, expected) in [("a", "A"), ("b", "B")] {
        let found = account(&several, &login(name, name), None);
        assert_eq!(found.as_deref(), Some(expected));
    }
    assert_eq!(account(&several, &login("a", "b"), None), None);

    let public = own.public_key();
    let signed = with(&format!("authorization {{ nkey: {public}, account: B }}"));
    let none = json!({});
    assert_eq!(account(&signed, &none, Some(&own)).as_deref(), Some("B"));
    assert_eq!(account(&signed, &none, Some(&strange)), None);
}

/// Without a word of who they are they are who clients are.
#[test]
fn auth_018_without_it_users_of_the_top_level_count() {
    let server = with("no_advertise: true");
    let found = account(&server, &json!({"user": "other", "pass": "o"}), None);
    assert_eq!(found.as_deref(), Some("B"));
    assert_eq!(
        account(&server, &json!({"user": "other", "pass": "x"}), None),
        None
    );
}
