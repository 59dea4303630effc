//! Section 1.1 and the CONNECT rows of 1.2: INFO, CONNECT and its options.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::wait_until;
use crate::support::websocket::upgrade;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends `input` on a fresh connection of a default server; the connection must give `output` and
/// close.
#[track_caller]
fn closes(input: &str, output: &[&str]) {
    let server = Server::start();
    let mut client = server.open();
    client.send(input);
    assert_eq!(client.closed(), output);
}

const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

#[test]
fn core_001_the_server_speaks_first_with_one_info_line() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("INFO");
        bytes.push(byte[0]);
    }
    let line = String::from_utf8(bytes).expect("text");
    assert!(
        line.starts_with("INFO {") && line.ends_with("} \r\n"),
        "{line:?}"
    );
    stream.write_all(b"PING\r\n").expect("ping");
    let mut pong = [0; 6];
    stream
        .read_exact(&mut pong)
        .expect("nothing between INFO and PONG");
    assert_eq!(&pong, b"PONG\r\n");
}

#[test]
fn core_002_info_always_has_these_fields() {
    let server = Server::builder().flags("-n here").start();
    let info = server.open().info;
    let id = info["server_id"].as_str().expect("server_id");
    assert!(id.len() == 56 && id.starts_with('N'), "{id}");
    assert!(
        id.bytes()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')),
        "{id}"
    );
    assert_eq!(info["server_name"], "here");
    assert_eq!(info["version"], "2.15.1");
    assert_eq!(info["proto"], 1);
    assert!(info["go"].is_string());
    assert_eq!(info["host"], "127.0.0.1");
    assert_eq!(info["port"], server.address().port());
    assert_eq!(info["headers"], true);
    assert_eq!(info["max_payload"], 1_048_576);
}

#[test]
fn core_002_the_name_defaults_to_the_id() {
    let info = Server::start().open().info;
    assert_eq!(info["server_name"], info["server_id"]);
}

#[test]
fn core_003_info_leaves_empty_fields_out() {
    let server = Server::start();
    let first = server.open();
    let info = first.info.as_object().expect("object");
    for absent in [
        "auth_required",
        "tls_required",
        "tls_verify",
        "tls_available",
        "jetstream",
        "nonce",
        "cluster",
        "cluster_dynamic",
        "domain",
        "connect_urls",
        "ws_connect_urls",
        "ldm",
        "compression",
        "connect_info",
        "remote_account",
        "acc_is_sys",
        "import",
        "export",
        "route_pool_size",
        "gateway",
        "leafnode_urls",
        "lnoc",
        "info_on_connect",
    ] {
        assert!(!info.contains_key(absent), "{absent}");
    }
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert!(info["client_id"].is_u64());
}

#[test]
fn core_003_every_connection_has_its_own_client_id() {
    let server = Server::start();
    let clients: Vec<Client> = (0..20).map(|_| server.open()).collect();
    let ids: HashSet<u64> = clients
        .iter()
        .map(|client| client.info["client_id"].as_u64().expect("id"))
        .collect();
    assert_eq!(ids.len(), clients.len());
}

#[test]
fn core_005_info_has_api_level_and_xkey() {
    let info = Server::start().open().info;
    assert_eq!(info["api_lvl"], 5);
    let xkey = info["xkey"].as_str().expect("xkey");
    assert!(xkey.len() == 56 && xkey.starts_with('X'), "{xkey}");
}

#[test]
fn core_006_max_payload_is_the_configured_one() {
    let server = Server::with_config("max_payload: 4KB");
    assert_eq!(server.open().info["max_payload"], 4096);
}

#[test]
fn core_007_auth_required_follows_the_configuration() {
    for config in [
        "authorization { token: t }".to_owned(),
        "authorization { user: u, password: p }".to_owned(),
        "authorization { users: [{user: u, password: p}] }".to_owned(),
        format!("authorization {{ users: [{{nkey: {NKEY}}}] }}"),
    ] {
        let server = Server::with_config(&config);
        assert_eq!(server.open().info["auth_required"], true, "{config}");
    }
}

#[test]
fn core_007_with_a_no_auth_user_auth_required_shows_only_in_the_second_info() {
    let server =
        Server::with_config("no_auth_user: u\n authorization { users: [{user: u, password: p}] }");
    let mut client = server.open();
    assert_eq!(client.info["auth_required"], Value::Null);
    client.connect("{}");
    assert_eq!(client.info["connect_info"], true);
    assert_eq!(client.info["auth_required"], true);
}

#[test]
fn core_008_a_nonce_is_sent_only_where_nkeys_are_configured() {
    assert_eq!(Server::start().open().info["nonce"], Value::Null);
    let server = Server::with_config(&format!("authorization {{ users: [{{nkey: {NKEY}}}] }}"));
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let nonce = server.open().info["nonce"]
            .as_str()
            .expect("nonce")
            .to_owned();
        assert_eq!(nonce.len(), 15);
        assert!(
            nonce
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert!(seen.insert(nonce), "a nonce twice");
    }
}

#[test]
fn core_009_the_second_info_follows_the_first_pong_once() {
    let server = Server::start();
    let mut client = server.open();
    client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    client.expect(&["PONG"]);
    let info = client.info_line();
    assert_eq!(info["connect_info"], true);
    assert_eq!(info["remote_account"], "$G");
    assert_eq!(info["acc_is_sys"], Value::Null);
    assert_eq!(info["client_id"], client.info["client_id"]);
    client.quietly("");
    client.quietly("");
}

#[test]
fn core_009_protocol_zero_gets_no_second_info() {
    let server = Server::start();
    for connect in ["{\"verbose\":false}", "{\"verbose\":false,\"protocol\":0}"] {
        let mut client = server.open();
        client.quietly(format!("CONNECT {connect}\r\n"));
        client.quietly("");
    }
}

#[test]
fn core_011_connect_urls_are_absent_on_a_server_alone() {
    let server = Server::with_config("client_advertise: \"example.test:4333\"");
    let mut client = server.open();
    assert_eq!(client.info["connect_urls"], Value::Null);
    client.connect("{}");
    assert_eq!(client.info["connect_urls"], Value::Null);
}

#[test]
fn core_015_connections_over_the_limit_get_info_and_an_error() {
    let server = Server::with_config("max_connections: 2");
    let mut first = server.client();
    let mut second = server.client();
    let mut third = server.open();
    assert_eq!(third.closed(), ["-ERR 'maximum connections exceeded'"]);
    first.quietly("");
    second.quietly("");
    drop(first);
    wait_until("a free place", || {
        let mut next = server.open();
        next.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
        (next.raw_line() == "PONG").then_some(())
    });
}

#[test]
fn core_015_zero_connections_refuses_all() {
    let server = Server::with_config("max_connections: 0");
    assert_eq!(
        server.open().closed(),
        ["-ERR 'maximum connections exceeded'"]
    );
}

#[test]
fn core_023_unknown_and_odd_fields_of_connect_are_ignored() {
    let server = Server::start();
    let mut client = server.open();
    client.quietly(
        "CONNECT {\"verbose\":false,\"tls_required\":false,\"jwt\":\"\",\"sig\":\"\",\
         \"unknown\":{\"deep\":[1,{\"x\":null}]},\"name\":\"\u{1F680} \\u00e9\",\"lang\":\"\"}\r\n",
    );
}

#[test]
fn core_024_without_connect_the_defaults_are_verbose_pedantic_and_echo() {
    let server = Server::start();
    let mut client = server.open();
    assert_eq!(
        client.ask("SUB a 1\r\nPUB a 1\r\nx\r\n"),
        ["+OK", "+OK", "MSG a 1 1", "x"]
    );
    assert_eq!(
        client.ask("PUB b.* 0\r\n\r\n"),
        ["-ERR 'Invalid Publish Subject'", "+OK"]
    );
}

#[test]
fn core_024_an_empty_connect_keeps_the_defaults() {
    let server = Server::start();
    let mut client = server.open();
    assert_eq!(client.ask("CONNECT {}\r\nSUB a 1\r\n"), ["+OK", "+OK"]);
}

#[test]
fn core_025_verbose_acknowledges_each_accepted_operation() {
    let server = Server::start();
    let mut client = server.client_with("{\"verbose\":true}");
    assert_eq!(client.ask("SUB a 1\r\n"), ["+OK"]);
    assert_eq!(client.ask("UNSUB 1\r\n"), ["+OK"]);
    assert_eq!(client.ask("UNSUB 77\r\n"), ["+OK"]);
    assert_eq!(client.ask("PUB a 2\r\nhi\r\n"), ["+OK"]);
    assert_eq!(
        client.ask("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        ["+OK"]
    );
    assert_eq!(client.ask("PING\r\nPONG\r\n+OK\r\n"), [""; 0]);
}

#[test]
fn core_026_protocol_outside_zero_and_one_is_refused() {
    closes(
        "CONNECT {\"protocol\":2}\r\n",
        &["-ERR 'invalid client protocol'"],
    );
    closes(
        "CONNECT {\"protocol\":-1}\r\n",
        &["-ERR 'invalid client protocol'"],
    );
}

#[test]
fn core_027_no_responders_needs_headers() {
    closes(
        "CONNECT {\"verbose\":false,\"no_responders\":true}\r\n",
        &["-ERR 'no responders requires headers support'"],
    );
}

#[test]
fn core_028_t7_a_client_may_not_choose_its_account() {
    for fields in [
        "\"account\":\"$SYS\"",
        "\"account\":\"A\"",
        "\"new_account\":true",
    ] {
        closes(
            &format!("CONNECT {{\"verbose\":false,{fields}}}\r\n"),
            &["-ERR 'Authorization Violation'"],
        );
    }
}

#[test]
fn core_029_without_echo_own_messages_stay_away() {
    let server = Server::start();
    let mut quiet = server.client_with("{\"echo\":false}");
    quiet.quietly("SUB a 1\r\nPUB a 1\r\nx\r\n");
    for mut other in server.clients() {
        other.quietly("PUB a 1\r\ny\r\n");
        quiet.expect(&["MSG a 1 1", "y"]);
    }
}

#[test]
fn core_030_a_second_connect_drops_the_subscriptions() {
    let server = Server::start();
    let mut client = server.client();
    client.quietly("SUB a 1\r\n");
    client.quietly("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPUB a 1\r\nx\r\n");
    assert_eq!(
        client.ask("SUB a 1\r\nPUB a 1\r\nx\r\n"),
        ["MSG a 1 1", "x"]
    );
}

#[test]
fn core_030_a_second_connect_keeps_what_it_does_not_name() {
    let server = Server::start();
    let mut client = server.client_with("{\"echo\":false}");
    client.quietly("CONNECT {}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nHPUB a 1 1\r\nx\r\n");
    assert_eq!(
        client.ask("CONNECT {\"verbose\":true}\r\nSUB a 1\r\n"),
        ["+OK", "+OK"]
    );
}

#[test]
fn core_031_where_auth_is_required_connect_comes_first() {
    let server = Server::with_config("authorization { token: t }");
    for verb in ["PING\r\n", "SUB a 1\r\n", "PUB a 0\r\n\r\n", "UNSUB 1\r\n"] {
        let mut client = server.open();
        client.send(verb);
        assert_eq!(
            client.closed(),
            ["-ERR 'Authorization Violation'"],
            "{verb:?}"
        );
    }
}

#[test]
fn core_031_a_no_auth_user_needs_no_connect() {
    let server = Server::with_config(
        "no_auth_user: u\n authorization { users: [{user: u, password: p, \
         permissions: {publish: \"ok\"}}] }",
    );
    let mut client = server.open();
    let refused = "-ERR 'Permissions Violation for Publish to \"no\"'";
    assert_eq!(
        client.ask("SUB ok 1\r\nPUB no 0\r\n\r\nPUB ok 1\r\nx\r\n"),
        ["+OK", refused, "+OK", "MSG ok 1 1", "x"]
    );
}

/// Every verb in one conversation.
const CONVERSATION: &str = "CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\nSUB a.* q 7\r\n\
    PUB a.b  reply 5\r\nhello\r\nHPUB a.c 17 21\r\nNATS/1.0\r\nA:1\r\n\r\nbody\r\nUNSUB 7\r\n\
    PUB a.b 0\r\n\r\nPONG\r\nPING\r\n";
const ANSWER: [&str; 7] = [
    "PONG",
    "MSG a.b 7 reply 5",
    "hello",
    "HMSG a.c 7 17 21",
    "NATS/1.0",
    "A:1",
    "",
];

#[track_caller]
fn answers(client: &mut Client) {
    client.expect(&ANSWER);
    client.expect(&["body", "PONG"]);
}

#[test]
fn core_106_verbs_may_be_pipelined_in_one_write() {
    let server = Server::start();
    let mut client = server.open();
    client.send(CONVERSATION);
    answers(&mut client);
}

#[test]
fn core_106_verbs_may_be_split_at_any_byte() {
    let server = Server::start();
    let mut client = server.open();
    for byte in CONVERSATION.bytes() {
        client.send([byte]);
    }
    answers(&mut client);
    for split in 1..CONVERSATION.len() {
        let mut client = server.open();
        let (head, tail) = CONVERSATION.split_at(split);
        client.send(head);
        client.send(tail);
        answers(&mut client);
    }
}

#[test]
fn core_107_the_server_pings_soon_after_connect() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.raw_line(), "PING");
    client.send("PONG\r\n");
    client.quietly("");
}

#[test]
fn core_004_clients_are_not_told_what_servers_tell_each_other() {
    let server = Server::with_config(
        "leafnodes { listen: \"127.0.0.1:-1\", compression: s2_fast }
         websocket { listen: \"127.0.0.1:-1\", no_tls: true, compression: true }",
    );
    let mut plain = server.open();
    let mut websocket = Client::dial(server.websocket_address());
    upgrade(&mut websocket, "/", "");
    websocket.info_line();
    for client in [&mut plain, &mut websocket] {
        let first = client.info.clone();
        client.connect("{}");
        assert_eq!(client.info["connect_info"], true);
        for info in [&first, &client.info] {
            for absent in [
                "import",
                "export",
                "lnoc",
                "lnocu",
                "info_on_connect",
                "route_pool_size",
                "route_pool_idx",
                "route_account",
                "route_acc_add_reqid",
                "gossip_mode",
                "gateway",
                "gateway_urls",
                "gateway_url",
                "gateway_cmd",
                "gateway_cmd_payload",
                "gateway_nrp",
                "gateway_iom",
                "leafnode_urls",
            ] {
                assert!(info.get(absent).is_none(), "{absent}: {info}");
            }
        }
    }
}

/// Who takes the clients' port for another one is a client until it says what none says.
#[test]
fn core_050_other_servers_are_no_servers_at_the_clients_port() {
    let server = Server::start();
    let unknown = "-ERR 'Unknown Protocol Operation'";
    for (fields, word) in [
        (
            "\"server_id\":\"NX\",\"cluster\":\"c\",\"jetstream\":true",
            "LS+ a\r\n",
        ),
        (
            "\"server_id\":\"NX\",\"cluster\":\"c\",\"jetstream\":true",
            "LMSG a 0\r\n\r\n",
        ),
        (
            "\"name\":\"NX\",\"cluster\":\"c\",\"dynamic\":true,\"lnoc\":true",
            "RS+ $G a\r\n",
        ),
        (
            "\"name\":\"NX\",\"cluster\":\"c\",\"dynamic\":true,\"lnoc\":true",
            "RMSG $G a 0\r\n\r\n",
        ),
        ("\"name\":\"NX\",\"gateway\":\"g\"", "RS+ $G a\r\n"),
        ("\"name\":\"NX\",\"gateway\":\"g\"", "A- $G\r\n"),
    ] {
        let mut client = server.client_with(&format!("{{{fields}}}"));
        client.quietly("SUB a 1\r\nPUB b 0\r\n\r\n");
        client.send(word);
        assert_eq!(client.closed(), [unknown], "{fields} {word}");
    }
}

#[test]
fn core_105_clients_over_tcp_are_never_compressed() {
    let server = Server::with_config(
        "leafnodes { listen: \"127.0.0.1:-1\", compression: s2_fast }
         websocket { listen: \"127.0.0.1:-1\", no_tls: true, compression: true }",
    );
    for mode in ["s2_auto", "s2_fast", "s2_best", "accept"] {
        let mut client = server.open();
        assert!(client.info["compression"].is_null());
        // Text in, text out: nothing is agreed on.
        client.connect(&format!("{{\"compression\":{mode:?}}}"));
        assert!(client.info["compression"].is_null());
        let body = "x".repeat(64 * 1024);
        client.quietly("SUB a 1\r\n");
        client.send(format!("PUB a {}\r\n{body}\r\n", body.len()));
        client.expect(&[&format!("MSG a 1 {}", body.len()), &body]);
    }
}
