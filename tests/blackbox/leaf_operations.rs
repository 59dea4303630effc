//! What operators do to leaf nodes and hear of them: tokens revoked and restored, events, figures.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::directory::TempDir;
use crate::support::hub::Hub;
use crate::support::server::Server;
use crate::support::signer::{Trust, credentials, now, sign};
use crate::support::wait_until;

const LISTEN: &str = "leafnodes { listen: \"127.0.0.1:-1\" }\n";
const ACCOUNTS: &str = "accounts { A { users [{user: a, password: a}] }, \
                        B { users [{user: b, password: b}] }, \
                        $SYS { users [{user: s, password: s}] } }\n";

fn leaf_address(server: &Server) -> String {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().to_owned()
}

/// A leaf node that the case plays, up to the answer to its CONNECT: `None` if it is refused.
fn knock(server: &Server, trust: &Trust, token: &str) -> Option<Client> {
    let address = leaf_address(server).parse().expect("an address");
    let mut leaf = Client::dial(address);
    let info = leaf.info_line();
    let nonce = info["nonce"].as_str().expect("nonce");
    let mut connect: Value =
        serde_json::from_str(&credentials(&trust.user, token, nonce)).expect("JSON");
    let more = json!({"name": "edge", "headers": true, "protocol": 3, "version": "2.15.1",
                      "remote_account": "X"});
    for (key, value) in more.as_object().expect("a map") {
        connect[key] = value.clone();
    }
    leaf.send(format!("CONNECT {connect}\r\n"));
    let line = leaf.line();
    match line.starts_with("INFO ") {
        true => Some(leaf),
        false => {
            assert_eq!(line, "-ERR 'Authorization Violation'");
            None
        }
    }
}

fn login(server: &Server, key: &nkeys::KeyPair, token: &str) -> Client {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.connect(&credentials(key, token, &nonce));
    client
}

#[track_caller]
fn update(admin: &mut Client, token: &str) {
    let size = token.len();
    admin.send(format!(
        "PUB $SYS.REQ.CLAIMS.UPDATE answers {size}\r\n{token}\r\n"
    ));
    let answer: Value = serde_json::from_slice(&admin.message().payload).expect("JSON");
    assert_eq!(answer["data"]["code"], 200, "{answer}");
}

#[test]
fn auth_055_topo_012_a_leaf_whose_user_is_revoked_goes_and_comes_back_when_restored() {
    let trust = Trust::new();
    let open = trust.account_token(&json!({}));
    let server = Server::with_config(&format!("{}{LISTEN}", trust.directory(&open, "")));
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    let token = trust.user_token(&json!({"iat": now() - 10}));
    let id = trust.user.public_key();
    for round in 0..3 {
        let mut leaf = knock(&server, &trust, &token).expect("let in");
        leaf.ask("");
        let revoked = json!({"nats": {"revocations": {&id: now() - 5}}});
        update(&mut admin, &trust.account_token(&revoked));
        let heard = leaf.closed();
        assert_eq!(
            heard.last().map(String::as_str),
            Some("-ERR 'User Authentication Revoked'"),
            "round {round}: {heard:?}"
        );
        assert!(knock(&server, &trust, &token).is_none());
        update(&mut admin, &trust.account_token(&json!({})));
    }
    // Everybody, while a client of the same account goes with it.
    let mut leaf = knock(&server, &trust, &token).expect("let in");
    leaf.ask("");
    let all = json!({"nats": {"revocations": {"*": now() + 5}}});
    update(&mut admin, &trust.account_token(&all));
    let heard = leaf.closed();
    assert!(heard.contains(&"-ERR 'User Authentication Revoked'".to_owned()));
}

/// A whole server as the leaf: it comes back by itself once it may, and traffic goes on.
#[test]
fn auth_055_topo_021_a_revoked_leaf_comes_back_by_itself() {
    let trust = Trust::new();
    let config = |over: Value| {
        let memory = trust.memory(&trust.account_token(&over));
        format!("{memory}{LISTEN}")
    };
    let hub = Server::with_config(&config(json!({})));
    let token = trust.user_token(&json!({"iat": now() - 10}));
    let seed = trust.user.seed().expect("a seed");
    let dir = TempDir::new();
    let file = dir.write(
        "user.creds",
        &format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ),
    );
    let edge = Server::with_config(&format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [ {{ url: \"nats-leaf://{}\", \
         credentials: \"{file}\" }} ] }}",
        leaf_address(&hub)
    ));
    let mut receiver = edge.client();
    receiver.quietly("SUB news.> 1\r\n");
    let key = crate::support::signer::key(nkeys::KeyPairType::User, 11);
    let other = sign(&trust.account, &Trust::user_claims(&key, &json!({})));
    let mut number = 0;
    let mut arrives = || {
        let mut giver = login(&hub, &key, &other);
        wait_until("a message over the link", || {
            number += 1;
            giver.quietly(format!("PUB news.{number} 1\r\nx\r\n"));
            (receiver.ask("") != [""; 0]).then_some(())
        });
    };
    arrives();
    let id = trust.user.public_key();
    hub.reload(&config(json!({"nats": {"revocations": {&id: now() - 5}}})));
    edge.logged("Leafnode connection closed");
    edge.logged("Authorization Violation");
    hub.reload(&config(json!({"nats": {"limits": {"subs": 99}}})));
    arrives();
}

/// The next event on a subject, as JSON; others are passed over.
#[track_caller]
fn event(admin: &mut Client, subject: &str) -> Value {
    loop {
        let message = admin.message();
        if message.subject == subject {
            return serde_json::from_slice(&message.payload).expect("JSON");
        }
    }
}

#[test]
fn topo_040_mon_059_060_062_events_of_links_that_others_make() {
    let server = Server::with_monitor(&format!("{ACCOUNTS}{LISTEN}"));
    let mut admin = server.client_with("{\"user\":\"s\",\"pass\":\"s\"}");
    admin.ask("SUB $SYS.ACCOUNT.A.> 1\r\n");
    let mut leaf = Client::dial(leaf_address(&server).parse().expect("an address"));
    leaf.info_line();
    let connect = json!({"name": "edge", "user": "a", "pass": "a", "headers": true,
                         "protocol": 3, "version": "2.15.1", "remote_account": "X"});
    leaf.send(format!("CONNECT {connect}\r\nLS+ x\r\n"));
    leaf.ask("");
    let connected = event(&mut admin, "$SYS.ACCOUNT.A.CONNECT");
    let client = &connected["client"];
    assert_eq!(client["kind"], "Leafnode");
    assert_eq!(client["name"], "edge");
    assert_eq!(
        (&client["acc"], &client["user"]),
        (&json!("A"), &json!("a"))
    );
    assert_eq!(client["ver"], "2.15.1");
    assert!(client["client_type"].is_null(), "{client}");
    let mut user = server.client_with("{\"user\":\"a\",\"pass\":\"a\"}");
    user.quietly("SUB y 1\r\n");
    user.quietly("PUB x 4\r\nfour\r\nPUB x 4\r\nfour\r\n");
    leaf.send("LMSG y 5\r\nfive5\r\nLMSG y 5\r\nfive5\r\nLMSG y 5\r\nfive5\r\n");
    wait_until("figures of the link", || {
        let figures = server.json("/accstatz?unused=1");
        let accounts = figures["account_statz"].as_array().expect("a list").clone();
        let account = accounts.into_iter().find(|it| it["acc"] == "A")?;
        let sent = &account["sent"]["leafs"];
        let received = &account["received"]["leafs"];
        (sent == &json!({"msgs": 2, "bytes": 8}) && received == &json!({"msgs": 3, "bytes": 15}))
            .then(|| {
                assert_eq!(
                    (&account["conns"], &account["leafnodes"]),
                    (&json!(1), &json!(1))
                )
            })
    });
    drop(leaf);
    // In either order.
    let (mut left, mut count) = (Value::Null, Value::Null);
    while left.is_null() || count.is_null() {
        let message = admin.message();
        let body: Value = serde_json::from_slice(&message.payload).expect("JSON");
        match message.subject.strip_prefix("$SYS.ACCOUNT.A.") {
            Some("DISCONNECT") => left = body,
            Some("SERVER.CONNS") if body["leafnodes"] == 0 && body["conns"] == 1 => count = body,
            _ => {}
        }
    }
    assert_eq!(left["client"]["kind"], "Leafnode");
    assert_eq!(left["sent"], json!({"msgs": 3, "bytes": 15}));
    assert_eq!(left["received"], json!({"msgs": 2, "bytes": 8}));
    // The second where it has not read all there was.
    const REASONS: [&str; 2] = ["Client Closed", "Read Error"];
    let reason = left["reason"].as_str().expect("text");
    assert!(REASONS.contains(&reason), "{reason}");
    assert_eq!(count["sent"]["leafs"], json!({"msgs": 2, "bytes": 8}));
    assert_eq!(count["received"]["leafs"], json!({"msgs": 3, "bytes": 15}));
    let closed = server.json("/connz?state=closed");
    let closed = closed["connections"].as_array().expect("a list").clone();
    let link = closed.iter().find(|it| it["kind"] == "Leafnode");
    let link = link.expect("the link is among them");
    assert_eq!(
        (&link["name"], &link["reason"]),
        (&json!("edge"), &json!(reason))
    );
}

/// Where links have users of their own nobody hears that one comes, only that it goes.
#[test]
fn topo_040_mon_060_events_of_links_with_users_of_their_own() {
    let server = Server::with_config(&format!(
        "{ACCOUNTS}leafnodes {{ listen: \"127.0.0.1:-1\", \
         authorization {{ users [{{user: l, password: l, account: A}}] }} }}"
    ));
    let mut admin = server.client_with("{\"user\":\"s\",\"pass\":\"s\"}");
    admin.ask("SUB $SYS.ACCOUNT.A.CONNECT 1\r\nSUB $SYS.ACCOUNT.A.DISCONNECT 2\r\n");
    let mut leaf = Client::dial(leaf_address(&server).parse().expect("an address"));
    leaf.info_line();
    let connect = json!({"name": "edge", "user": "l", "pass": "l", "headers": true,
                         "protocol": 3, "version": "2.15.1", "remote_account": "X"});
    leaf.send(format!("CONNECT {connect}\r\n"));
    leaf.ask("");
    drop(leaf);
    let first = admin.message();
    assert_eq!(first.subject, "$SYS.ACCOUNT.A.DISCONNECT");
    let left: Value = serde_json::from_slice(&first.payload).expect("JSON");
    assert_eq!(left["client"]["kind"], "Leafnode");
    assert_eq!(left["client"]["user"], "l");
}

#[test]
fn topo_040_mon_059_060_events_of_links_that_we_make() {
    let hub = Hub::new();
    let remote = hub.remote("account: B");
    let server = Server::with_config(&format!("{ACCOUNTS}{remote}"));
    let mut first = hub.link();
    first.ask("");
    let mut admin = server.client_with("{\"user\":\"s\",\"pass\":\"s\"}");
    admin.ask("SUB $SYS.ACCOUNT.B.> 1\r\n");
    drop(first);
    let left = event(&mut admin, "$SYS.ACCOUNT.B.DISCONNECT");
    assert_eq!(left["client"]["kind"], "Leafnode");
    assert!(left["client"]["user"].is_null(), "{left}");
    let mut second = hub.link();
    second.ask("");
    let came = event(&mut admin, "$SYS.ACCOUNT.B.CONNECT");
    assert_eq!(came["client"]["kind"], "Leafnode");
    assert!(came["client"]["name"].is_null(), "{came}");
    assert_eq!(came["client"]["name_tag"], "B");
}
