//! Who leaf nodes and hubs are to each other (topology rows 6, 12, 16, 23, 33, 39, 50, 108, 109).

use std::net::SocketAddr;
use std::time::Duration;

use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::directory::TempDir;
use crate::support::hub::Hub;
use crate::support::server::Server;
use crate::support::signer::{Trust, key};

const LISTEN: &str = "listen: \"127.0.0.1:-1\"";

#[track_caller]
fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

/// A leaf node's CONNECT with these fields, sent; `sign` gets the nonce.
#[track_caller]
fn connecting(server: &Server, sign: impl Fn(&str) -> Value) -> Client {
    let mut leaf = Client::dial(leaf_address(server));
    let info = leaf.info_line();
    let mut connect = json!({"name": "edge", "headers": true, "protocol": 3,
                             "version": "2.15.1", "remote_account": "X"});
    let more = sign(info["nonce"].as_str().expect("a nonce"));
    for (name, value) in more.as_object().expect("a map") {
        connect[name] = value.clone();
    }
    leaf.send(format!("CONNECT {connect}\r\n"));
    leaf
}

fn signed(key: &KeyPair, nonce: &str) -> String {
    let signature = key.sign(nonce.as_bytes()).expect("has its seed");
    data_encoding::BASE64URL_NOPAD.encode(&signature)
}

#[track_caller]
fn let_in(mut leaf: Client) -> (Client, Value) {
    let info = leaf.info_line();
    leaf.ask("");
    (leaf, info)
}

#[track_caller]
fn refused(mut leaf: Client, text: &str) {
    let heard = leaf.closed();
    let heard: Vec<_> = heard.iter().filter(|it| it.starts_with("-ERR")).collect();
    assert_eq!(heard, [&format!("-ERR '{text}'")]);
}

#[test]
fn topo_006_names_of_clusters_have_no_spaces() {
    let server = Server::with_config(&format!("leafnodes {{ {LISTEN} }}"));
    let leaf = connecting(&server, |_| json!({"cluster": "a b"}));
    refused(leaf, "cluster name cannot contain spaces");
    // Nor does a hub's.
    let hub = Hub::new();
    let _server = Server::with_config(&hub.remote(""));
    let mut info = Hub::info();
    info["cluster"] = json!("a b");
    let mut link = hub.accept();
    link.send(format!("INFO {info}\r\n"));
    let heard = link.closed();
    assert!(
        heard.iter().all(|it| !it.starts_with("CONNECT")),
        "{heard:?}"
    );
}

#[test]
fn topo_012_leaf_nodes_sign_or_name_themselves() {
    let user = key(KeyPairType::User, 21);
    let other = key(KeyPairType::User, 22);
    let id = user.public_key();
    let server = Server::with_config(&format!(
        "accounts {{ A {{ users [ {{nkey: {id}}}, {{user: a, password: p}} ] }} }}
         leafnodes {{ {LISTEN} }}"
    ));
    let leaf = connecting(
        &server,
        |nonce| json!({"nkey": id, "sig": signed(&user, nonce)}),
    );
    assert_eq!(let_in(leaf).1["remote_account"], "A");
    let leaf = connecting(&server, |_| json!({"user": "a", "pass": "p"}));
    assert_eq!(let_in(leaf).1["remote_account"], "A");
    for wrong in [
        connecting(
            &server,
            |nonce| json!({"nkey": id, "sig": signed(&other, nonce)}),
        ),
        connecting(
            &server,
            |_| json!({"nkey": id, "sig": signed(&user, "another")}),
        ),
        connecting(&server, |_| json!({"nkey": id})),
        connecting(&server, |_| json!({"user": "a", "pass": "q"})),
        connecting(&server, |_| json!({})),
    ] {
        refused(wrong, "Authorization Violation");
    }
    let server = Server::with_config(&format!(
        "authorization {{ token: secret }}\nleafnodes {{ {LISTEN} }}"
    ));
    // A name without a password is a token, too.
    let token = json!({"user": "secret", "auth_token": "secret"});
    let_in(connecting(&server, |_| token.clone()));
    refused(
        connecting(&server, |_| json!({"auth_token": "wrong"})),
        "Authorization Violation",
    );
}

#[test]
fn topo_012_019_what_we_say_to_a_hub() {
    let trust = Trust::new();
    let seed = trust.user.seed().expect("a seed");
    let hub = Hub::new();
    let nonce = Hub::info()["nonce"].as_str().expect("text").to_owned();
    let good = |sig: &Value| {
        let sig = sig.as_str().expect("a signature");
        let sig = data_encoding::BASE64URL_NOPAD.decode(sig.as_bytes());
        let sig = sig.expect("unpadded");
        trust.user.verify(nonce.as_bytes(), &sig).expect("ours");
    };
    {
        let _server = Server::with_config(&hub.remote(&format!("nkey: {seed}")));
        let connect = hub.greet(&Hub::info()).connect;
        assert_eq!(connect["nkey"], trust.user.public_key());
        assert!(connect["jwt"].is_null());
        good(&connect["sig"]);
    }
    {
        let dir = TempDir::new();
        let file = dir.write(
            "user.creds",
            &format!(
                "-----BEGIN NATS USER JWT-----\nTOKEN\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            ),
        );
        let hub = Hub::new();
        let _server = Server::with_config(&hub.remote(&format!("credentials: \"{file}\"")));
        let connect = hub.greet(&Hub::info()).connect;
        assert_eq!(connect["jwt"], "TOKEN");
        good(&connect["sig"]);
    }
    for (user, expected) in [
        ("u:p", json!({"user": "u", "pass": "p", "auth_token": null})),
        (
            "token",
            json!({"user": "token", "pass": null, "auth_token": "token"}),
        ),
    ] {
        let hub = Hub::new();
        let _server = Server::with_config(&format!(
            "leafnodes {{ remotes [ {{ url: \"nats-leaf://{user}@{}\" }} ] }}",
            hub.address()
        ));
        let connect = hub.greet(&Hub::info()).connect;
        for (field, value) in expected.as_object().expect("a map") {
            assert_eq!(&connect[field], value, "{user}: {field}");
        }
    }
}

#[test]
fn topo_016_some_leaf_nodes_must_come_through_a_known_proxy() {
    let (proxy, other) = (KeyPair::new_user(), KeyPair::new_user());
    let server = Server::with_config(&format!(
        "proxies {{ trusted: [ {{key: {}}} ] }}
         leafnodes {{ {LISTEN}, authorization {{ users [
            {{user: u, password: p, proxy_required: true}}, {{user: v, password: p}} ] }} }}",
        proxy.public_key()
    ));
    let by = |user: &'static str, key: &KeyPair, nonce: &str| json!({"user": user, "pass": "p", "proxy_sig": signed(key, nonce)});
    let_in(connecting(&server, |nonce| by("u", &proxy, nonce)));
    let_in(connecting(&server, |nonce| by("v", &proxy, nonce)));
    let_in(connecting(&server, |_| json!({"user": "v", "pass": "p"})));
    for wrong in [
        connecting(&server, |_| json!({"user": "u", "pass": "p"})),
        connecting(&server, |nonce| by("u", &other, nonce)),
        connecting(&server, |nonce| by("v", &other, nonce)),
    ] {
        refused(wrong, "Authorization Violation");
    }
}

#[test]
fn topo_033_nothing_goes_back_to_the_cluster_it_came_from() {
    let server = Server::with_config(&format!("leafnodes {{ {LISTEN} }}"));
    let link = |name: &str, cluster: &str| {
        let connect = json!({"name": name, "cluster": cluster, "remote_account": "$G"});
        let_in(connecting(&server, |_| connect.clone())).0
    };
    // As many as it takes to be on every shard.
    let mut same: Vec<_> = (0..6).map(|at| link(&format!("e{at}"), "east")).collect();
    let mut other = link("w", "west");
    for one in &mut same {
        one.ask("LS+ x\r\n");
    }
    let told = other.ask("LS+ x\r\n");
    assert_eq!(told, ["LS+ x"]);
    let giver = same.first_mut().expect("one of them");
    giver.ask("LMSG x 1\r\na\r\n");
    other.expect(&["LMSG x 1", "a"]);
    // What a client says goes to all: nothing was there before it.
    let mut client = server.client();
    client.quietly("PUB x 1\r\nb\r\n");
    for one in &mut same {
        let mut heard = vec![one.line(), one.line()];
        // The interest of the west is told before.
        if heard[0] == "LS+ x" {
            heard = vec![heard[1].clone(), one.line()];
        }
        assert_eq!(heard, ["LMSG x 1", "b"]);
    }
}

#[test]
fn topo_039_answers_of_services_find_their_way_back() {
    let server = Server::with_config(&format!(
        "accounts {{
            S {{ users [{{user: s, password: p}}], exports [{{service: q}}] }},
            C {{ users [{{user: c, password: p}}], imports [{{service: {{account: S, subject: q}}}}] }} }}
         leafnodes {{ {LISTEN} }}"
    ));
    let (mut service, _) = let_in(connecting(&server, |_| json!({"user": "s", "pass": "p"})));
    // Nobody has asked anything yet.
    let told = service.ask("LS+ q\r\n");
    assert!(!told.iter().any(|it| it.contains("_R_.")), "{told:?}");
    let mut client = server.client_with("{\"user\":\"c\",\"pass\":\"p\"}");
    client.quietly("SUB answer 1\r\n");
    client.send("PUB q answer 3\r\nwhy\r\n");
    // The answer's subject is wanted, or one above it, before the request that names it.
    let mut wanted = Vec::new();
    let (reply, size) = loop {
        let line = service.line();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["LS+", subject] => wanted.push(subject.to_owned()),
            ["HMSG", "q", reply, _, size] => break (reply.to_owned(), size.to_owned()),
            ["LMSG", "q", reply, size] => break (reply.to_owned(), size.to_owned()),
            _ => {}
        }
    };
    assert!(reply.starts_with("_R_."), "{reply}");
    let above = |it: &String| reply.starts_with(it.trim_end_matches('>'));
    assert!(wanted.iter().any(above), "{wanted:?} and {reply}");
    let size: usize = size.parse().expect("a number");
    service.bytes(size + 2);
    service.send(format!("LMSG {reply} 7\r\nbecause\r\n"));
    assert_eq!(client.message().payload, b"because");
}

#[test]
fn topo_015_049_050_what_a_configuration_must_not_say() {
    let runs = |config: &str| Server::builder().config(config).flags("-p -1").run().stderr;
    for (config, text) in [
        (
            "remotes [ {url: \"nats-leaf://h:1\", account: NONE} ]",
            "cannot find local account \"NONE\" specified in leafnode remote",
        ),
        (
            "port: -1, authorization { user: a, password: b, account: NONE }",
            "cannot find local account \"NONE\" specified in leafnode authorization",
        ),
        (
            "remotes [ {urls: [\"nats-leaf://h:1\", \"ws://h:2\"]} ]",
            "remote leaf node configuration cannot have a mix of websocket and non-websocket urls: \
             [\"nats-leaf://h:1\" \"ws://h:2\"]",
        ),
        (
            "port: -1, min_version: \"2.7.9\"",
            "the minimum version should be at least 2.8.0",
        ),
        (
            "port: -1, min_version: \"new\"",
            "invalid leafnode's minimum version: invalid semver",
        ),
        (
            "remotes [ {url: \"nats-leaf://h:1\"}, {url: \"nats-leaf://h:1\"} ]",
            "duplicate remote urls=[\"nats-leaf://h:1\"], account=\"$G\"",
        ),
        (
            "port: -1, authorization { users [ {user: a, password: b}, {user: a, password: c} ] }",
            "duplicate user \"a\" detected in leafnode authorization",
        ),
        (
            "remotes [ {url: \"nats-leaf://h:1\", nkey: \"SUABAD\"} ]",
            "Remote leafnode nkey is not a valid seed",
        ),
        (
            "port: -1, authorization { nkey: UBAD }",
            "Not a valid public nkey for leafnode authorization",
        ),
    ] {
        let said = runs(&format!("leafnodes {{ {config} }}"));
        assert!(said.contains(text), "{config}: {said}");
    }
    // Operators know accounts by their keys.
    let trust = Trust::new();
    let operator = trust.memory(&trust.account_token(&json!({})));
    let remote = "remotes [ {url: \"nats-leaf://h:1\"";
    for (config, text) in [
        (
            format!("{remote}}} ]"),
            "operator mode requires account nkeys in remotes.",
        ),
        (
            format!("{remote}, account: A}} ]"),
            "operator mode requires account nkeys in remotes.",
        ),
        (
            "port: -1, authorization { users [ {user: a, password: b} ] }".to_owned(),
            "operator mode does not allow specifying users in leafnode config",
        ),
    ] {
        let said = runs(&format!("{operator}\nleafnodes {{ {config} }}"));
        assert!(said.contains(text), "{config}: {said}");
    }
    let hub = Hub::new();
    let account = trust.account.public_key();
    let server = Server::with_config(&format!(
        "{operator}\n{}",
        hub.remote(&format!("account: {account}"))
    ));
    assert_eq!(hub.greet(&Hub::info()).connect["remote_account"], account);
    // Nor does a reload make it so.
    let reason = server.refused_reload(&format!("{operator}\n{}", hub.remote("account: A")));
    assert!(
        reason.contains("operator mode requires account nkeys"),
        "{reason}"
    );
}

#[test]
fn topo_023_107_108_109_a_shared_system_account_hears_of_both_servers() {
    let system = "accounts { $SYS { users [{user: s, password: s}] } }";
    let hub = Server::with_config(&format!(
        "server_name: hub\n{system}\nleafnodes {{ {LISTEN} }}"
    ));
    let edge = Server::with_config(&format!(
        "server_name: edge\n{system}\nleafnodes {{ remotes [ {{ account: \"$SYS\",
            url: \"nats-leaf://s:s@{}\" }} ] }}",
        leaf_address(&hub)
    ));
    for server in [&hub, &edge] {
        let mut admin = server.client_with("{\"user\":\"s\",\"pass\":\"s\"}");
        // Not quietly: a server may tell of itself at once.
        admin.send("SUB $SYS.SERVER.*.STATSZ 1\r\nSUB pong 2\r\n");
        let mut names = Vec::new();
        let mut attempt = 0;
        // What a server tells of itself, by itself and when it is asked.
        while !names.contains(&"hub".to_owned()) || !names.contains(&"edge".to_owned()) {
            attempt += 1;
            assert!(attempt < 1500, "{names:?}");
            std::thread::sleep(Duration::from_millis(20));
            admin.send("PUB $SYS.REQ.SERVER.PING pong 0\r\n\r\n");
            let message = admin.message();
            let told: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let of = &told["server"];
            for field in ["name", "host", "id", "ver", "time"] {
                assert!(of[field].is_string(), "{field}: {told}");
            }
            for field in ["seq", "jetstream", "flags"] {
                assert!(!of[field].is_null(), "{field}: {told}");
            }
            assert!(told["statsz"]["start"].is_string(), "{told}");
            names.push(of["name"].as_str().expect("text").to_owned());
        }
    }
}
