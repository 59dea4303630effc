//! Leaf nodes, from the wire (topology rows 8 to 36): this test is the other server.

use std::net::SocketAddr;

use serde_json::{Value, json};

use rcgen::SanType;

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::Authority;

const PLAIN: &str = "leafnodes { listen: \"127.0.0.1:-1\" }";

/// Where leaf nodes connect.
#[track_caller]
fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

/// A leaf node that has read the first INFO.
#[track_caller]
fn opened(server: &Server) -> (Client, Value) {
    let mut leaf = Client::dial(leaf_address(server));
    let info = leaf.info_line();
    (leaf, info)
}

/// A leaf node that has been let in: what it was told until then is read, the second INFO returned.
#[track_caller]
pub fn linked(server: &Server, connect: Value) -> (Client, Value) {
    let (mut leaf, _) = opened(server);
    leaf.send(format!("CONNECT {connect}\r\n"));
    let info = leaf.info_line();
    leaf.ask("");
    (leaf, info)
}

/// What a leaf node of this name says of itself.
pub fn named(name: &str) -> Value {
    json!({"name": name, "headers": true, "protocol": 3, "version": "2.15.1",
           "remote_account": "$G"})
}

#[test]
fn topo_008_011_both_infos() {
    let server = Server::with_config(PLAIN);
    let (_, info) = opened(&server);
    assert_eq!(info["auth_required"], true);
    assert_eq!(info["info_on_connect"], true);
    assert_eq!(info["proto"], 3);
    assert!(info["nonce"].is_string() && info["leafnode_urls"].is_array());
    assert!(info["client_id"].as_u64().is_some_and(|id| id > 0));
    let (_, info) = linked(&server, named("edge"));
    assert_eq!(info["connect_info"], true);
    assert_eq!(info["remote_account"], "$G");
}

#[test]
fn topo_004_core_050_a_client_is_told_that_this_is_another_port() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = opened(&server);
    leaf.send("CONNECT {\"lang\":\"go\",\"verbose\":false}\r\n");
    let lines = leaf.closed();
    let told = "-ERR 'attempted to connect to leaf node port'";
    assert!(lines.iter().any(|line| line == told), "{lines:?}");
}

/// The ports of routes and of gateways.
#[test]
fn topo_004_core_050_clients_are_told_that_they_have_the_ports_of_servers() {
    let server = Server::with_config(
        "cluster { name: C, listen: \"127.0.0.1:-1\", compression: off }
         gateway { name: C, listen: \"127.0.0.1:-1\" }",
    );
    let routes = server.logged("Listening for route connections on ");
    let gateways = server.logged("Listening for gateways connections on ");
    for (line, kind) in [(routes, "route"), (gateways, "gateway")] {
        let address = line.rsplit(' ').next().expect("an address");
        let address = address.trim().parse().expect("numeric");
        let opened = || {
            let mut client = Client::dial(address);
            let info = client.info_line();
            (client, info)
        };
        let (mut client, info) = opened();
        let name = if kind == "route" { "cluster" } else { kind };
        assert_eq!((&info["proto"], &info[name]), (&json!(3), &json!("C")));
        client.send("CONNECT {\"lang\":\"go\",\"verbose\":false}\r\nPING\r\n");
        let told = format!("-ERR 'attempted to connect to {kind} port'");
        assert_eq!(client.closed(), [told]);
        for first in ["PING\r\n", "HELLO\r\n", "SUB a 1\r\n"] {
            let (mut client, _) = opened();
            client.send(first);
            let told = "-ERR 'Authorization Violation'";
            assert_eq!(client.closed(), [told], "{kind} {first}");
        }
        server.logged("connection closed: Incorrect Port");
        server.logged("connection closed: Authentication Failure");
    }
    // Another cluster's server.
    let line = server.logged("Listening for route connections on ");
    let address = line.rsplit(' ').next().expect("an address");
    let mut other = Client::dial(address.trim().parse().expect("numeric"));
    other.info_line();
    other.send("CONNECT {\"name\":\"s\",\"cluster\":\"D\"}\r\n");
    let told = "-ERR 'Rejecting connection, cluster name \"D\" does not match \"C\"'";
    assert_eq!(other.closed(), [told]);
}

#[test]
fn topo_010_nothing_before_connect() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = opened(&server);
    leaf.send("LS+ a\r\n");
    let lines = leaf.closed();
    assert_eq!(lines, ["-ERR 'Authorization Violation'"]);
}

#[test]
fn topo_013_users_of_the_block_bind_their_account() {
    let server = Server::with_config(
        "accounts { A { users [ { user: a, password: a } ] } }
         leafnodes { listen: \"127.0.0.1:-1\"
            authorization { users [ { user: l, password: p, account: A } ] } }",
    );
    let mut connect = named("edge");
    connect["user"] = json!("l");
    connect["pass"] = json!("p");
    let (_, info) = linked(&server, connect.clone());
    assert_eq!(info["remote_account"], "A");
    connect["pass"] = json!("wrong");
    let (mut leaf, _) = opened(&server);
    leaf.send(format!("CONNECT {connect}\r\n"));
    assert_eq!(leaf.closed(), ["-ERR 'Authorization Violation'"]);
}

#[test]
fn topo_014_a_later_link_of_the_same_server_takes_over() {
    let server = Server::with_config(PLAIN);
    let (mut first, _) = linked(&server, named("edge"));
    let (mut other, _) = linked(&server, named("other"));
    let (mut second, _) = linked(&server, named("edge"));
    let lines = first.closed();
    let told = "-ERR 'Duplicate Remote LeafNode Connection'";
    assert!(lines.iter().any(|line| line == told), "{lines:?}");
    second.ask("");
    other.ask("");
}

#[test]
fn topo_026_029_interest_is_told_when_it_begins_and_ends() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = linked(&server, named("edge"));
    let mut one = server.client();
    let mut two = server.client();
    one.quietly("SUB a 1\r\nSUB q g 2\r\n");
    two.quietly("SUB a 1\r\nSUB q g 2\r\n");
    leaf.expect(&["LS+ a", "LS+ q g 1", "LS+ q g 2"]);
    one.quietly("UNSUB 1\r\nUNSUB 2\r\n");
    leaf.expect(&["LS+ q g 1"]);
    two.quietly("UNSUB 1\r\nUNSUB 2\r\n");
    leaf.expect(&["LS- a", "LS- q g"]);
}

#[test]
fn topo_027_028_messages_come_once_with_the_groups_they_are_for() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = linked(&server, named("edge"));
    leaf.ask("LS+ a.*\r\nLS+ a.>\r\nLS+ q g 3\r\nLS+ q\r\n");
    for mut client in server.clients() {
        client.quietly(
            "PUB a.b r 2\r\nhi\r\nPUB q 1\r\nx\r\nHPUB q s 12 13\r\nNATS/1.0\r\n\r\ny\r\n",
        );
        leaf.expect(&["LMSG a.b r 2", "hi", "LMSG q | g 1", "x"]);
        leaf.expect(&["HMSG q + s g 12 13", "NATS/1.0", "", "y"]);
    }
}

#[test]
fn topo_028_members_of_this_server_come_first() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = linked(&server, named("edge"));
    leaf.ask("LS+ q g 100\r\n");
    let mut member = server.client();
    member.quietly("SUB q g 1\r\n");
    for mut client in server.clients() {
        client.quietly("PUB q 1\r\nx\r\n");
        member.expect(&["MSG q 1 1", "x"]);
    }
    let lines = leaf.ask("");
    assert!(
        !lines.iter().any(|line| line.starts_with("LMSG")),
        "{lines:?}"
    );
}

#[test]
fn topo_028_groups_take_only_what_names_them() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = linked(&server, named("edge"));
    let mut plain = server.client();
    let mut member = server.client();
    plain.quietly("SUB a 1\r\n");
    member.quietly("SUB a g 1\r\n");
    leaf.ask("LMSG a 1\r\nx\r\nLMSG a + r g 1\r\ny\r\n");
    plain.expect(&["MSG a 1 1", "x", "MSG a 1 r 1", "y"]);
    member.expect(&["MSG a 1 r 1", "y"]);
}

#[test]
fn topo_031_033_leaf_nodes_hear_of_each_other_but_not_within_a_cluster() {
    let server = Server::with_config(PLAIN);
    let in_cluster = |name: &str, cluster: &str| {
        let mut connect = named(name);
        connect["cluster"] = json!(cluster);
        connect
    };
    let mut same: Vec<Client> = (0..4)
        .map(|number| linked(&server, in_cluster(&format!("c{number}"), "C")).0)
        .collect();
    let (mut other, _) = linked(&server, in_cluster("d", "D"));
    same[0].ask("LS+ x\r\n");
    other.expect(&["LS+ x"]);
    other.ask("LS+ y\r\n");
    for leaf in &mut same {
        leaf.expect(&["LS+ y"]);
    }
    for leaf in &mut same[1..] {
        leaf.ask("LS+ z\r\n");
    }
    same[0].ask("LMSG z 1\r\n1\r\nLMSG y 1\r\n2\r\n");
    other.expect(&["LS+ z", "LMSG y 1", "2"]);
    for leaf in &mut same[1..] {
        assert_eq!(leaf.ask(""), [""; 0], "nothing from its own cluster");
    }
}

#[test]
fn topo_032_our_own_loop_detection_ends_a_link() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, _) = opened(&server);
    leaf.send(format!("CONNECT {}\r\n", named("edge")));
    leaf.info_line();
    let lines = leaf.ask("");
    let own = lines.iter().find(|line| line.starts_with("LS+ $LDS."));
    leaf.send(format!("{}\r\n", own.expect("loop detection")));
    let told =
        "-ERR 'Loop detected for leafnode account=\"$G\". Delaying attempt to reconnect for 30s'";
    assert_eq!(leaf.closed(), [told]);
}

#[test]
fn topo_035_permissions_of_the_user_count_both_ways() {
    let server = Server::with_config(
        "leafnodes { listen: \"127.0.0.1:-1\" }
         authorization { users [ { user: l, password: p, permissions {
            publish: \"in.>\", subscribe: \"out.>\" } }, { user: c, password: c } ] }",
    );
    let mut connect = named("edge");
    connect["user"] = json!("l");
    connect["pass"] = json!("p");
    let (mut leaf, info) = linked(&server, connect.clone());
    assert_eq!(info["import"], json!({"allow": ["out.>"]}));
    assert_eq!(info["export"], json!({"allow": ["in.>"]}));
    leaf.ask("LS+ >\r\n");
    let mut client = server.client_with(r#"{"user":"c","pass":"c"}"#);
    client.quietly("PUB no 1\r\nx\r\nPUB out.1 1\r\ny\r\n");
    leaf.expect(&["LMSG out.1 1", "y"]);
    leaf.send("LS+ no\r\n");
    assert_eq!(
        leaf.closed(),
        ["-ERR 'Permissions Violation for Subscription to \"no\"'"]
    );
    client.quietly("SUB in.> 1\r\n");
    let (mut leaf, _) = linked(&server, connect);
    // What came with it is still delivered, and no second word is said.
    leaf.send("LMSG no 1\r\nx\r\nLMSG no 1\r\ny\r\nLMSG in.1 1\r\nz\r\n");
    assert_eq!(
        leaf.closed(),
        ["-ERR 'Permissions Violation for Publish to \"no\"'"]
    );
    assert_eq!(client.message().payload, b"z");
}

/// Beyond stock, whose leaf listener takes no PROXY header (CORE-91).
#[test]
fn core_091_leaf_nodes_may_come_through_a_proxy() {
    if !beyond_stock() {
        return;
    }
    let config = format!("proxy_protocol: true\n{PLAIN}");
    let server = Server::with_config(&config);
    for header in ["PROXY TCP4 203.0.113.7 127.0.0.1 5555 7422\r\n", ""] {
        let (mut leaf, _) = opened(&server);
        leaf.send(format!("{header}CONNECT {}\r\n", named("edge")));
        leaf.info_line();
        leaf.ask("");
        leaf.send("nonsense\r\n");
        leaf.closed();
    }
    server.logged("203.0.113.7:5555 - lid:");
    let (mut leaf, _) = opened(&server);
    leaf.send("PROXY TCP4 nonsense\r\n");
    leaf.closed();
}

#[test]
fn topo_013_certificates_say_who_leaf_nodes_are() {
    let authority = Authority::new();
    let pair = authority.server().config();
    let config = format!(
        "accounts {{ A {{}}, B {{}} }}
         leafnodes {{ listen: \"127.0.0.1:-1\",
            tls {{ {pair}, ca_file: {:?}, verify_and_map: true }}
            authorization {{ users: [ {{user: \"a.example\", account: A}},
                                      {{user: \"b.example\", account: B}} ] }} }}",
        authority.ca()
    );
    let server = Server::with_config(&config);
    for (name, account) in [("a.example", "A"), ("b.example", "B"), ("c.example", "")] {
        let shown = authority.issue(&format!("{name}-leaf"), |params| {
            let name = name.try_into().expect("a name");
            params.subject_alt_names = vec![SanType::DnsName(name)];
        });
        let mut leaf = Client::open(leaf_address(&server));
        authority.client().showing(&shown).begin(&mut leaf);
        leaf.send(format!("CONNECT {}\r\n", named("edge")));
        if account.is_empty() {
            assert_eq!(leaf.closed(), ["-ERR 'Authorization Violation'"]);
            continue;
        }
        let info = leaf.info_line();
        assert_eq!(info["remote_account"], account, "{name}");
        leaf.ask("");
    }
}

#[test]
fn topo_017_a_listener_on_all_addresses_names_one_that_leads_here() {
    let server = Server::with_config("leafnodes { listen: \"0.0.0.0:-1\" }");
    let port = leaf_address(&server).port();
    let mut leaf = Client::dial(([127, 0, 0, 1], port).into());
    let info = leaf.info_line();
    let named = info["leafnode_urls"][0].as_str().expect("an address");
    if server.count_in_log("Could not find any non-local IP") == 0 {
        assert!(!named.starts_with("0.0.0.0:"), "{named}");
        assert_eq!(info["host"], named.rsplit_once(':').expect("a port").0);
    }
    assert!(named.ends_with(&format!(":{port}")), "{named}");
}
