//! Section 3.8: another resolver takes the place of the one before at a reload.

use crate::account_server::AccountServer;
use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::signer::{Trust, credentials, key, now, sign};
use crate::support::wait_until;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::fs;

fn login(server: &Server, key: &KeyPair, token: &str) -> Option<Client> {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let mut options: Value = serde_json::from_str(&credentials(key, token, &nonce)).expect("JSON");
    options["no_responders"] = true.into();
    options["headers"] = true.into();
    options["verbose"] = false.into();
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    loop {
        match client.line_unless_closed()?.as_str() {
            "PONG" => return Some(client),
            line if line.starts_with("-ERR") => return None,
            _ => {}
        }
    }
}

/// What answers requests about tokens, if anything does. Asks again: a request that comes while the
/// services change places may be nobody's.
fn answer(server: &Server, trust: &Trust, subject: &str, payload: &str) -> Option<Value> {
    let mut admin = login(server, &trust.admin, &trust.admin_token()).expect("let in");
    let inbox = format!("answers.{}", admin.info["client_id"]);
    admin.send(format!("SUB {inbox} 1\r\n"));
    let size = payload.len();
    wait_until("an answer or that there is none", || {
        admin.send(format!(
            "PUB {subject} {inbox} {size}\r\n{payload}\r\nPING\r\n"
        ));
        let lines = admin.up_to("PONG");
        let nobody = lines.iter().any(|it| it.starts_with("NATS/1.0 503"));
        let answer = lines.iter().find(|it| it.starts_with('{'));
        let answer = answer.map(|it| Some(serde_json::from_str(it).expect("JSON")));
        answer.or(nobody.then_some(None))
    })
}

/// What the account server, the directories and the memory know.
struct World {
    trust: Trust,
    accounts: AccountServer,
    /// Token of an account that the account server alone has, and a user of it.
    other: String,
    user: (KeyPair, String),
}

impl World {
    fn new() -> Self {
        let trust = Trust::new();
        let accounts = AccountServer::start();
        let account = key(KeyPairType::Account, 9);
        let claims = Trust::account_claims(&account, &json!({"name": "other"}));
        let other = sign(&trust.operator, &claims);
        accounts.put(&trust.system, trust.system_token());
        accounts.put(&trust.account, trust.account_token(&json!({})));
        accounts.put(&account, other.clone());
        let user = key(KeyPairType::User, 8);
        let token = sign(&account, &Trust::user_claims(&user, &json!({})));
        Self {
            trust,
            accounts,
            other,
            user: (user, token),
        }
    }

    /// The user whom all know.
    fn known(&self, server: &Server) -> Option<Client> {
        let token = self.trust.user_token(&json!({}));
        login(server, &self.trust.user, &token)
    }

    fn newcomer(&self, server: &Server) -> Option<Client> {
        login(server, &self.user.0, &self.user.1)
    }

    fn directory(&self, name: &str) -> String {
        let account = self.trust.account_token(&json!({}));
        let config = self.trust.directory(&account, "");
        config.replace("/jwt\"", &format!("/{name}\""))
    }
}

/// CFG-55.
#[test]
fn auth_070_auth_071_auth_072_another_resolver_takes_over_and_those_who_are_connected_stay() {
    let world = World::new();
    let server = Server::with_config(&world.directory("first"));
    let mut connected = world.known(&server).expect("let in");
    assert!(world.newcomer(&server).is_none());

    server.reload(&world.accounts.config(&world.trust));
    let mut newcomer = world
        .newcomer(&server)
        .expect("the account server knows it");
    for client in [&mut connected, &mut newcomer] {
        client.quietly("");
    }

    // It is in use, and so it stays where the directory has never heard of it.
    server.reload(&world.directory("second"));
    world.newcomer(&server).expect("let in").quietly("");
    for client in [&mut connected, &mut newcomer] {
        client.quietly("");
    }

    // To memory: who is not in it goes.
    let account = world.trust.account_token(&json!({}));
    let memory = world.trust.memory(&account);
    server.reload(&memory);
    newcomer.closed();
    assert!(world.newcomer(&server).is_none());
    assert!(world.known(&server).is_some());
    connected.quietly("");
    // Stock takes even this, and knows nobody then.
    if beyond_stock() {
        let none = memory.replace("resolver: MEMORY\n", "");
        assert!(!server.refused_reload(&none).is_empty());
        connected.quietly("");
    }
}

/// Stock's services go on with the first directory, whatever comes after it.
#[test]
fn auth_072_auth_074_the_services_of_a_directory_begin_and_end_with_it() {
    if !beyond_stock() {
        return;
    }
    const LIST: &str = "$SYS.REQ.CLAIMS.LIST";
    let world = World::new();
    let server = Server::with_config(&world.directory("first"));
    let ask = |subject, payload: &str| answer(&server, &world.trust, subject, payload);
    assert!(ask(LIST, "").is_some());
    server.reload(&world.accounts.config(&world.trust));
    wait_until("nobody to answer", || ask(LIST, "").is_none().then_some(()));
    server.reload(&world.directory("second"));
    let listed = wait_until("the directory to answer", || ask(LIST, ""));
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    let answer = ask("$SYS.REQ.CLAIMS.UPDATE", &world.other).expect("an answer");
    assert_eq!(answer["data"]["code"], 200, "{answer}");
    let files = fs::read_dir(server.dir().file("second")).expect("directory");
    assert_eq!(files.count(), 3);
    world.newcomer(&server).expect("let in").quietly("");
    // The same directory under other rules.
    let token = world
        .trust
        .account_token(&json!({"name": "renamed", "iat": now()}));
    let answer = ask("$SYS.REQ.CLAIMS.UPDATE", &token).expect("an answer");
    assert_eq!(answer["data"]["code"], 200, "{answer}");
    let lasting = world
        .directory("second")
        .replace("type: full", "type: full, allow_delete: true");
    server.reload(&lasting);
    assert!(world.known(&server).is_some());
    let listed = wait_until("the directory to answer", || ask(LIST, ""));
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(3));
}
