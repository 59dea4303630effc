//! Section 3.8: accounts that are fetched when somebody comes who needs them, from an account
//! server or from other servers.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::signer::{Trust, credentials, key, now, sign};
use crate::support::tls::Authority;
use crate::support::wait_until;
use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// An account server of accounts by their keys. Ends with the test's process.
#[derive(Clone)]
pub struct AccountServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    accounts: HashMap<String, String>,
    /// Keys asked for.
    asked: Vec<String>,
    /// Asked for, and not answered before this is over.
    held: bool,
}

impl AccountServer {
    pub fn start() -> Self {
        Self::with(|stream| Box::new(stream))
    }

    fn with(wrap: impl Fn(std::net::TcpStream) -> Box<dyn Conversation> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let this = Self {
            address: listener.local_addr().expect("address"),
            state: Arc::default(),
        };
        let state = Arc::clone(&this.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                let stream = wrap(stream);
                thread::spawn(move || answer(stream, &state));
            }
        });
        this
    }

    pub fn put(&self, key: &KeyPair, token: String) {
        let mut state = self.state.lock().expect("whole");
        state.accounts.insert(key.public_key(), token);
    }

    /// Whether to let questions wait.
    fn hold(&self, held: bool) {
        self.state.lock().expect("whole").held = held;
    }

    fn asked(&self, key: &KeyPair) -> usize {
        let state = self.state.lock().expect("whole");
        state
            .asked
            .iter()
            .filter(|it| **it == key.public_key())
            .count()
    }

    pub fn config(&self, trust: &Trust) -> String {
        let operator = trust.operator_token(&json!({}));
        let address = self.address;
        format!(
            "operator: {operator}\nresolver: URL(http://{address}/jwt/v1/accounts)\n\
             authorization {{ timeout: 30 }}\n"
        )
    }
}

trait Conversation: Read + Write + Send {}
impl<T: Read + Write + Send> Conversation for T {}

fn answer(stream: Box<dyn Conversation>, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => lines.push(line),
            }
        }
        let path = lines.first().and_then(|it| it.split(' ').nth(1));
        let path = path.unwrap_or_default().to_owned();
        let key = path.strip_prefix("/jwt/v1/accounts/").map(str::to_owned);
        let found = {
            let mut state = state.lock().expect("whole");
            state.asked.extend(key.clone());
            match key.as_deref() {
                Some("") => Some("all is well".to_owned()),
                Some(key) => state.accounts.get(key).cloned(),
                None => None,
            }
        };
        while state.lock().expect("whole").held {
            thread::sleep(Duration::from_millis(5));
        }
        let (status, body) = match found {
            Some(token) => ("200 OK", token),
            None => ("404 Not Found", String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream
            .get_mut()
            .write_all(format!("{head}{body}").as_bytes());
        if sent.and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

#[track_caller]
fn login(server: &Server, key: &KeyPair, token: &str) -> Client {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.connect(&credentials(key, token, &nonce));
    client
}

#[track_caller]
fn refused(server: &Server, key: &KeyPair, token: &str) {
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.send(format!("CONNECT {}\r\n", credentials(key, token, &nonce)));
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
}

#[track_caller]
fn ask(admin: &mut Client, subject: &str, payload: &str) -> Value {
    let size = payload.len();
    admin.send(format!("PUB {subject} answers {size}\r\n{payload}\r\n"));
    serde_json::from_slice(&admin.message().payload).expect("JSON")
}

#[test]
fn auth_071_accounts_are_fetched_when_somebody_comes() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    let server = Server::with_config(&accounts.config(&trust));
    let token = trust.user_token(&json!({}));
    // Nobody knows it yet.
    refused(&server, &trust.user, &token);
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let first = login(&server, &trust.user, &token);
    assert_eq!(first.info["remote_account"], trust.account.public_key());
    let asked = accounts.asked(&trust.account);
    let _second = login(&server, &trust.user, &token);
    assert_eq!(accounts.asked(&trust.account), asked, "known by now");
    let admin = login(&server, &trust.admin, &trust.admin_token());
    assert_eq!(admin.info["acc_is_sys"], true);
}

#[test]
fn auth_071_many_who_wait_cause_one_fetch_and_others_go_on() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let server = Server::with_config(&accounts.config(&trust));
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    accounts.hold(true);
    let token = trust.user_token(&json!({}));
    let mut waiting: Vec<Client> = (0..10).map(|_| server.open()).collect();
    let hello = |client: &Client| {
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        let options = credentials(&trust.user, &token, &nonce);
        format!("CONNECT {options}\r\nPING\r\n")
    };
    let hellos: Vec<String> = waiting.iter().map(hello).collect();
    for (client, hello) in waiting.iter_mut().zip(hellos) {
        client.send(hello);
    }
    // Meanwhile others are served: else nobody would let these go on in time.
    wait_until("a question", || {
        (accounts.asked(&trust.account) > 0).then_some(())
    });
    admin.ask("");
    accounts.hold(false);
    for client in &mut waiting {
        client.expect(&["+OK", "PONG"]);
    }
    if crate::support::server::beyond_stock() {
        assert_eq!(accounts.asked(&trust.account), 1);
    }
}

#[test]
fn auth_071_what_the_account_server_says_is_checked() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    let server = Server::with_config(&accounts.config(&trust));
    let token = trust.user_token(&json!({}));
    let claims = Trust::account_claims(&trust.account, &json!({}));
    let stranger = key(KeyPairType::Operator, 9);
    for answer in [
        "".to_owned(),
        "nonsense".to_owned(),
        trust.system_token(),
        sign(&stranger, &claims),
        trust.account_token(&json!({"exp": now() - 10})),
    ] {
        accounts.put(&trust.account, answer);
        refused(&server, &trust.user, &token);
    }
}

#[test]
fn auth_071_it_must_be_there_at_the_start() {
    let trust = Trust::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = free.local_addr().expect("address");
    drop(free);
    let operator = trust.operator_token(&json!({}));
    let config = format!("operator: {operator}\nresolver: URL(\"http://{address}/a\")\n");
    let ended = Server::builder().config(&config).flags("-p -1").run();
    assert_eq!(ended.code, 1);
    let expected = format!("could not fetch <\"http://{address}/a/\">: ");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    // Somebody is there, but it is not an account server.
    let other = AccountServer::start().address;
    let config = format!("operator: {operator}\nresolver: URL(http://u:secret@{other}/b)\n");
    let ended = Server::builder().config(&config).flags("-p -1").run();
    assert_eq!(ended.code, 1);
    let expected = format!("could not fetch <\"http://u:xxxxx@{other}/b/\">: 404 Not Found");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

#[test]
fn auth_070_an_account_server_takes_no_preload() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    let (key, token) = (trust.system.public_key(), trust.system_token());
    let config = format!(
        "{}resolver_preload {{ {key}: {token} }}\n",
        accounts.config(&trust)
    );
    let ended = Server::builder().config(&config).flags("-p -1").run();
    assert_eq!(ended.code, 1);
    let expected =
        "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

#[test]
fn auth_058_the_operator_names_its_account_server() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let url = format!("http://{}/jwt/v1", accounts.address);
    let operator = trust.operator_token(&json!({"nats": {"account_server_url": url}}));
    let server = Server::with_config(&format!("operator: {operator}\n"));
    login(&server, &trust.user, &trust.user_token(&json!({})));
}

#[test]
fn auth_071_imports_bring_their_exporters() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    let exporter = key(KeyPairType::Account, 12);
    accounts.put(&trust.system, trust.system_token());
    let exports = json!({"nats": {"exports": [{"name": "q", "subject": "q", "type": "service"}]}});
    let claims = Trust::account_claims(&exporter, &exports);
    accounts.put(&exporter, sign(&trust.operator, &claims));
    let imports = json!({"nats": {"imports": [{
        "name": "q", "subject": "q", "account": exporter.public_key(), "type": "service",
    }]}});
    accounts.put(&trust.account, trust.account_token(&imports));
    let server = Server::with_config(&accounts.config(&trust));
    let mut asker = login(&server, &trust.user, &trust.user_token(&json!({})));
    let other = key(KeyPairType::User, 13);
    let token = sign(&exporter, &Trust::user_claims(&other, &json!({})));
    let mut responder = login(&server, &other, &token);
    responder.quietly("SUB q 1\r\n");
    asker.quietly("SUB inbox 1\r\n");
    asker.quietly("PUB q inbox 1\r\n?\r\n");
    let request = responder.message();
    let reply = request.reply;
    responder.quietly(format!("PUB {reply} 1\r\n!\r\n"));
    assert_eq!(asker.message().payload, b"!");
}

#[test]
fn auth_071_the_system_account_may_come_later() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let server = Server::with_config(&accounts.config(&trust));
    server.logged("Using bootstrapping system account");
    // Its users may come before its token is there.
    let admin = login(&server, &trust.admin, &trust.admin_token());
    assert_eq!(admin.info["acc_is_sys"], true);
    login(&server, &trust.user, &trust.user_token(&json!({})));
    accounts.put(&trust.system, trust.system_token());
    server.logged("System account fetched and updated");
    login(&server, &trust.admin, &trust.admin_token());
}

#[test]
fn auth_071_a_silent_account_server_is_waited_for_in_vain() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let server = Server::with_config(&accounts.config(&trust));
    accounts.hold(true);
    let begun = Instant::now();
    refused(&server, &trust.user, &trust.user_token(&json!({})));
    assert!(begun.elapsed() > Duration::from_millis(1500));
}

#[test]
fn auth_074_updates_hold_for_accounts_in_use() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    accounts.put(&trust.system, trust.system_token());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let server = Server::with_config(&accounts.config(&trust));
    updates_hold_for_accounts_in_use(&server, &trust, false);
}

#[test]
fn auth_074_updates_hold_for_accounts_in_memory() {
    let trust = Trust::new();
    let server = Server::with_config(&trust.memory(&trust.account_token(&json!({}))));
    updates_hold_for_accounts_in_use(&server, &trust, true);
}

fn updates_hold_for_accounts_in_use(server: &Server, trust: &Trust, known: bool) {
    let mut admin = login(server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    let id = trust.account.public_key();
    let subject = format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.UPDATE");
    let limited = trust.account_token(&json!({"nats": {"limits": {"conn": 1}}}));
    if !known {
        let answer = ask(&mut admin, &subject, &limited);
        let expected = json!({"account": id, "code": 200, "message": "jwt update skipped"});
        assert_eq!(answer["data"], expected);
    }
    let token = trust.user_token(&json!({}));
    let _first = login(server, &trust.user, &token);
    let mut second = login(server, &trust.user, &token);
    let answer = ask(&mut admin, &subject, &limited);
    let expected = json!({"account": id, "code": 200, "message": "jwt updated"});
    assert_eq!(answer["data"], expected);
    let closed = second.closed();
    assert_eq!(
        closed,
        ["-ERR 'maximum account active connections exceeded'"]
    );
    let failed = |answer: Value, why: &str| {
        assert_eq!(answer["error"]["code"], 500, "{answer}");
        let text = answer["error"]["description"].as_str().expect("text");
        assert!(text.starts_with(why), "{text}");
    };
    let why = "jwt update error - request body is empty";
    failed(ask(&mut admin, &subject, ""), why);
    let why = "jwt update resulted in error - subject does not match jwt content";
    failed(ask(&mut admin, &subject, &trust.system_token()), why);
    let claims = Trust::account_claims(&trust.account, &json!({}));
    let strange = sign(&key(KeyPairType::Operator, 9), &claims);
    let why = "jwt update resulted in error - account validation failed";
    failed(ask(&mut admin, &subject, &strange), why);
    let old = format!("$SYS.ACCOUNT.{id}.CLAIMS.UPDATE");
    let free = trust.account_token(&json!({"name": "free"}));
    assert_eq!(
        ask(&mut admin, &old, &free)["data"]["message"],
        "jwt updated"
    );
    login(server, &trust.user, &token);
}

#[test]
fn auth_071_cfg_056_https_with_an_own_authority() {
    let (trust, authority) = (Trust::new(), Authority::new());
    let config = server_config(&authority);
    let accounts = AccountServer::with(move |stream| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).expect("session");
        Box::new(rustls::StreamOwned::new(session, stream))
    });
    accounts.put(&trust.system, trust.system_token());
    accounts.put(&trust.account, trust.account_token(&json!({})));
    let config = accounts.config(&trust).replace("http://", "https://");
    let config = config.replace("127.0.0.1", "localhost");
    let ended = Server::builder().config(&config).flags("-p -1").run();
    assert_eq!(ended.code, 1, "nobody has signed it whom the system knows");
    let tls = format!("resolver_tls {{ ca_file: \"{}\" }}\n", authority.ca());
    let server = Server::with_config(&format!("{config}{tls}"));
    login(&server, &trust.user, &trust.user_token(&json!({})));
}

fn server_config(authority: &Authority) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let pair = authority.server();
    let chain = CertificateDer::pem_file_iter(&pair.cert).expect("file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("versions");
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    Arc::new(config.expect("certificate"))
}

/// A server that keeps what it has fetched from others, and knows the system account.
fn cache(trust: &Trust, more: &str) -> (Server, Client) {
    // The usual two seconds are short for an answer on a busy machine.
    let patience = if more.contains("timeout") {
        ""
    } else {
        ", timeout: \"9s\""
    };
    let config = format!(
        "operator: {}\nresolver: {{type: cache, dir: \"@DIR@/jwt\"{patience}{more}}}\nresolver_preload {{ {}: {} }}\n",
        trust.operator_token(&json!({})),
        trust.system.public_key(),
        trust.system_token(),
    );
    let server = Server::with_config(&config);
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    (server, admin)
}

/// Stands for another server: answers one question about an account.
fn answer_lookup(admin: &mut Client, key: &KeyPair, token: &str) {
    let question = admin.message();
    let subject = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", key.public_key());
    assert_eq!(question.subject, subject);
    let reply = question.reply;
    admin.quietly(format!("PUB {reply} {}\r\n{token}\r\n", token.len()));
}

#[test]
fn auth_073_other_servers_are_asked_and_their_answer_is_kept() {
    let trust = Trust::new();
    let (server, mut admin) = cache(&trust, "");
    server.logged("Managing some jwt in exclusive directory");
    admin.quietly("SUB $SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP 2\r\n");
    let token = trust.user_token(&json!({}));
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let options = credentials(&trust.user, &token, &nonce);
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    let account = trust.account_token(&json!({}));
    answer_lookup(&mut admin, &trust.account, &account);
    client.expect(&["+OK", "PONG"]);
    let id = trust.account.public_key();
    let file = server.dir().file(&format!("jwt/{id}.jwt"));
    assert_eq!(fs::read_to_string(file).expect("stored"), account);
    let list = ask(&mut admin, "$SYS.REQ.CLAIMS.LIST", "");
    let mut keys = [id, trust.system.public_key()];
    keys.sort();
    let mut listed: Vec<&str> = list["data"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, keys);
    // The next one finds it here.
    login(&server, &trust.user, &token);
}

#[test]
fn auth_073_what_nobody_knows_is_not_there() {
    let trust = Trust::new();
    let (server, mut admin) = cache(&trust, ", timeout: \"1.9s\"");
    admin.quietly("SUB $SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP 2\r\n");
    let token = trust.user_token(&json!({}));
    // Nobody answers.
    let begun = Instant::now();
    refused(&server, &trust.user, &token);
    assert!(begun.elapsed() > Duration::from_millis(1500));
    let _ = admin.message();
    for answer in ["", "nonsense"] {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        client.send(format!(
            "CONNECT {}\r\n",
            credentials(&trust.user, &token, &nonce)
        ));
        answer_lookup(&mut admin, &trust.account, answer);
        assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    }
}

#[test]
fn auth_073_only_accounts_in_use_are_updated() {
    let trust = Trust::new();
    let (server, mut admin) = cache(&trust, "");
    let id = trust.account.public_key();
    let subject = format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.UPDATE");
    let account = trust.account_token(&json!({}));
    for subject in [subject.as_str(), "$SYS.REQ.CLAIMS.UPDATE"] {
        let answer = ask(&mut admin, subject, &account);
        let expected = json!({"account": id, "code": 200, "message": "jwt update cache skipped"});
        assert_eq!(answer["data"], expected);
    }
    fs::write(server.dir().file(&format!("jwt/{id}.jwt")), &account).expect("written");
    let wrong = ask(&mut admin, &subject, &trust.system_token());
    let text = "jwt update cache resulted in error - subject does not match jwt content";
    assert_eq!(wrong["error"]["description"], text);
}

#[test]
fn auth_073_files_from_before_are_used_and_updated() {
    let trust = Trust::new();
    let id = trust.account.public_key();
    let before = crate::support::directory::TempDir::new();
    let account = trust.account_token(&json!({}));
    fs::write(before.file(&format!("{id}.jwt")), &account).expect("written");
    let config = format!(
        "operator: {}\nresolver: {{type: cache, dir: \"{}\", ttl: \"1h\"}}\nresolver_preload {{ {}: {} }}\n",
        trust.operator_token(&json!({})),
        before.path().display(),
        trust.system.public_key(),
        trust.system_token(),
    );
    let server = Server::with_config(&config);
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    let token = trust.user_token(&json!({}));
    let mut client = login(&server, &trust.user, &token);
    let revoked = json!({"nats": {"revocations": {"*": now()}}});
    let revoked = trust.account_token(&revoked);
    let answer = ask(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", &revoked);
    let expected = json!({"account": id, "code": 200, "message": "jwt updated cache"});
    assert_eq!(answer["data"], expected);
    assert_eq!(client.closed(), ["-ERR 'User Authentication Revoked'"]);
    let stored = fs::read_to_string(before.file(&format!("{id}.jwt"))).expect("stored");
    assert_eq!(stored, revoked);
}

#[test]
fn auth_073_the_limit_and_the_time_to_live() {
    let trust = Trust::new();
    let (server, mut admin) = cache(&trust, ", limit: 1, ttl: \"8s\"");
    admin.quietly("SUB $SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP 2\r\n");
    let token = trust.user_token(&json!({}));
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    let options = credentials(&trust.user, &token, &nonce);
    client.send(format!("CONNECT {options}\r\nPING\r\n"));
    answer_lookup(&mut admin, &trust.account, &trust.account_token(&json!({})));
    client.expect(&["+OK", "PONG"]);
    let file = |key: &KeyPair| server.dir().file(&format!("jwt/{}.jwt", key.public_key()));
    assert!(
        !fs::exists(file(&trust.system)).expect("looked"),
        "it made room"
    );
    assert!(fs::exists(file(&trust.account)).expect("looked"));
    wait_until("the file to go", || {
        (!fs::exists(file(&trust.account)).expect("looked")).then_some(())
    });
    // Who is connected stays.
    client.ask("");
}

#[test]
fn auth_073_what_a_cache_cannot_have() {
    let trust = Trust::new();
    for (more, text) in [
        ("interval: \"1m\"", "CACHE does not accept sync"),
        ("allow_delete: true", "CACHE does not accept allow_delete"),
        ("hard_delete: true", "CACHE does not accept hard_delete"),
    ] {
        let config = format!(
            "operator: {}\nresolver: {{type: cache, dir: \"@DIR@/jwt\", {more}}}\n",
            trust.operator_token(&json!({})),
        );
        let ended = Server::builder().config(&config).flags("-p -1").run();
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
}

#[test]
fn auth_077_a_full_directory_asks_others_for_what_it_does_not_have() {
    let trust = Trust::new();
    let config = format!(
        "operator: {}\nresolver: {{type: full, dir: \"@DIR@/jwt\", timeout: \"9s\"}}\n",
        trust.operator_token(&json!({})),
    );
    // Its system account is to come, too.
    let server = Server::with_config(&config);
    server.logged("Using bootstrapping system account");
    let mut admin = login(&server, &trust.admin, &trust.admin_token());
    admin.quietly("SUB answers 1\r\n");
    for token in [trust.system_token(), trust.account_token(&json!({}))] {
        let answer = ask(&mut admin, "$SYS.REQ.CLAIMS.UPDATE", &token);
        assert_eq!(answer["data"]["message"], "jwt updated", "{answer}");
    }
    login(&server, &trust.user, &trust.user_token(&json!({})));
    let other = key(KeyPairType::Account, 12);
    admin.quietly(format!(
        "SUB $SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP 2\r\n",
        other.public_key()
    ));
    let user = key(KeyPairType::User, 13);
    let token = sign(&other, &Trust::user_claims(&user, &json!({})));
    let mut client = server.open();
    let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
    client.send(format!(
        "CONNECT {}\r\nPING\r\n",
        credentials(&user, &token, &nonce)
    ));
    let claims = Trust::account_claims(&other, &json!({}));
    answer_lookup(&mut admin, &other, &sign(&trust.operator, &claims));
    client.expect(&["+OK", "PONG"]);
}

/// The service may put users into any account, and names one that nobody here has used yet.
#[test]
fn auth_083_the_account_of_an_answer_is_looked_for() {
    let (trust, accounts) = (Trust::new(), AccountServer::start());
    let (own, target) = (key(KeyPairType::User, 23), key(KeyPairType::Account, 24));
    accounts.put(&trust.system, trust.system_token());
    let over = json!({"nats": {"authorization": {
        "auth_users": [own.public_key()], "allowed_accounts": ["*"]}}});
    accounts.put(&trust.account, trust.account_token(&over));
    let claims = Trust::account_claims(&target, &json!({"name": "TARGET"}));
    accounts.put(&target, sign(&trust.operator, &claims));
    let server = Server::with_config(&accounts.config(&trust));
    let token = sign(&trust.account, &Trust::user_claims(&own, &json!({})));
    let mut service = login(&server, &own, &token);
    assert_eq!(service.ask("SUB $SYS.REQ.USER.AUTH 1\r\n"), [""; 0]);
    for (signer, known) in [(&target, true), (&key(KeyPairType::Account, 25), false)] {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        let options = credentials(&trust.user, &trust.user_token(&json!({})), &nonce);
        client.send(format!("CONNECT {options}\r\nPING\r\n"));
        // Asked again when the account is at hand; stock keeps the answer and looks meanwhile.
        for _ in 0..1 + u8::from(beyond_stock()) {
            answer_login(&mut service, &trust.account, signer);
        }
        match known {
            true => client.expect(&["+OK", "PONG"]),
            false => assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]),
        }
    }
}

/// Lets the user of the next question into the account of `signer`.
fn answer_login(service: &mut Client, issuer: &KeyPair, signer: &KeyPair) {
    let question = service.message();
    let token = String::from_utf8_lossy(&question.payload).into_owned();
    let body = token.split('.').nth(1).expect("claims");
    let body = BASE64URL_NOPAD.decode(body.as_bytes()).expect("base64");
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let user = &asked["nats"]["user_nkey"];
    let user_claims = json!({"sub": user, "name": "alice", "nats": {
        "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}});
    let jwt = sign(signer, &user_claims);
    let answer = json!({"sub": user, "aud": asked["nats"]["server_id"]["id"], "nats": {
        "type": "authorization_response", "version": 2, "jwt": jwt}});
    let answer = sign(issuer, &answer);
    let (reply, size) = (question.reply, answer.len());
    service.send(format!("PUB {reply} {size}\r\n{answer}\r\n"));
}
