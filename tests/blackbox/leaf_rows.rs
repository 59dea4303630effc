//! Leaf nodes, row by row (topology sections 1 to 6 and 10): this test is the leaf node. Asserted of
//! stock, too, unless said otherwise.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::hub::Hub;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;

const PLAIN: &str = "leafnodes { listen: \"127.0.0.1:-1\" }";

#[track_caller]
fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

fn named(name: &str) -> Value {
    json!({"name": name, "headers": true, "protocol": 3, "version": "2.15.1",
           "remote_account": "$G", "server_id": "N"})
}

/// [`named`] with other fields; null takes one away.
fn with(name: &str, fields: Value) -> Value {
    let mut connect = named(name);
    for (key, value) in fields.as_object().into_iter().flatten() {
        connect[key] = value.clone();
    }
    connect
}

/// A leaf node that has sent its CONNECT.
#[track_caller]
fn connecting(server: &Server, connect: &Value) -> Client {
    let mut leaf = Client::dial(leaf_address(server));
    leaf.info_line();
    leaf.send(format!("CONNECT {connect}\r\n"));
    leaf
}

/// One that has been let in, with the INFO that says so and what it was told at first.
#[track_caller]
fn linked(server: &Server, connect: &Value) -> (Client, Value, Vec<String>) {
    let mut leaf = connecting(server, connect);
    let info = leaf.info_line();
    let told = leaf.ask("");
    (leaf, info, told)
}

/// What is told of subjects whose first token this is.
fn about(lines: &[String], front: &str) -> Vec<String> {
    let mut found: Vec<_> = lines
        .iter()
        .filter(|it| {
            it.split(' ')
                .nth(1)
                .is_some_and(|subject| subject.starts_with(front))
        })
        .cloned()
        .collect();
    found.sort();
    found
}

/// Everything the server says until it closes, INFO left out.
#[track_caller]
fn refused(server: &Server, connect: &Value) -> Vec<String> {
    let lines = connecting(server, connect).closed();
    let words = lines
        .into_iter()
        .filter(|it| !it.starts_with("INFO") && !it.starts_with("LS+"));
    words.collect()
}

#[test]
fn topo_002_003_008_what_info_says() {
    let server = Server::with_config(&format!("server_name: hub\n{PLAIN}"));
    let address = leaf_address(&server);
    let mut leaf = Client::dial(address);
    let info = leaf.info_line();
    assert_eq!(info["server_name"], "hub");
    assert_eq!(info["proto"], 3);
    assert_eq!(info["ip"], address.to_string());
    assert_eq!(info["port"], address.port());
    assert_eq!(info["leafnode_urls"], json!([address.to_string()]));
    assert_eq!(info["compression"], "s2_auto");
    for field in ["server_id", "version", "go", "host", "nonce", "git_commit"] {
        assert!(info[field].is_string(), "{field}");
    }
    for field in [
        "cluster",
        "domain",
        "jetstream",
        "connect_info",
        "tls_required",
    ] {
        assert!(info[field].is_null(), "{field}");
    }
}

#[test]
fn topo_009_unknown_fields_are_nothing() {
    let server = Server::with_config(PLAIN);
    let connect = with(
        "edge",
        json!({"sent_by": {"later": ["versions"]}, "x": null, "y": 1e9}),
    );
    let (mut leaf, ..) = linked(&server, &connect);
    leaf.ask("");
}

#[test]
fn topo_010_time_for_connect() {
    let server = Server::with_config(
        "leafnodes { listen: \"127.0.0.1:-1\", authorization { timeout: 0.2 } }",
    );
    let mut leaf = Client::dial(leaf_address(&server));
    leaf.info_line();
    assert_eq!(leaf.closed(), ["-ERR 'Authentication Timeout'"]);
}

/// Who has answered INFO with a mode of compression takes everything for compressed.
#[test]
fn topo_005_042_no_pings_before_connect() {
    let server = Server::with_config(
        "ping_interval: \"20ms\"
         leafnodes { listen: \"127.0.0.1:-1\", authorization { timeout: 0.5 } }",
    );
    let mut leaf = Client::dial(leaf_address(&server));
    leaf.info_line();
    assert_eq!(leaf.raw_line(), "-ERR 'Authentication Timeout'");
    // Nor from who has connected.
    let hub = Hub::new();
    let remote = hub.remote("first_info_timeout: \"500ms\"");
    let _server = Server::with_config(&format!("ping_interval: \"20ms\"\n{remote}"));
    assert_eq!(hub.accept().drained(), 0);
}

#[test]
fn topo_011_the_system_account_is_named() {
    let server = Server::with_config(
        "accounts { S { users [ { user: s, password: s } ] } }, system_account: S
         leafnodes { listen: \"127.0.0.1:-1\",
            authorization { users [ { user: l, password: p, account: S } ] } }",
    );
    let (_, info, told) = linked(&server, &with("edge", json!({"user": "l", "pass": "p"})));
    assert_eq!(info["acc_is_sys"], true);
    assert_eq!(info["remote_account"], "S");
    for subject in [
        "$SYS.SERVER.*.STATSZ",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.ACCOUNT.*.LEAFNODE.CONNECT",
    ] {
        assert!(told.contains(&format!("LS+ {subject}")), "{subject}");
    }
}

#[test]
fn topo_014_015_refusals() {
    let cases = [
        (
            "",
            json!({"cluster": "a b"}),
            "cluster name cannot contain spaces",
        ),
        (
            "cluster { name: C }",
            json!({"cluster": "C"}),
            "remote leafnode has same cluster name",
        ),
        (
            "",
            json!({"lang": "go"}),
            "attempted to connect to leaf node port",
        ),
        (
            "",
            json!({"gateway": "G"}),
            "Rejecting connection from gateway \"G\" on the leafnode port",
        ),
    ];
    for (config, fields, text) in cases {
        let server = Server::with_config(&format!("{config}\n{PLAIN}"));
        let told = refused(&server, &with("edge", fields));
        assert_eq!(told, [format!("-ERR '{text}'")]);
    }
    let server =
        Server::with_config("leafnodes { listen: \"127.0.0.1:-1\", min_version: \"2.9.0\" }");
    let told = refused(&server, &with("edge", json!({"version": "2.8.4"})));
    assert!(
        told[0].contains("minimum version required is \"2.9.0\""),
        "{told:?}"
    );
    linked(&server, &with("edge", json!({"version": "2.9.0"})));
}

#[test]
fn topo_026_weights_and_what_is_no_interest() {
    let server = Server::with_config(PLAIN);
    for (line, stays) in [
        ("LS+ a g 3", true),
        ("LS+ a g 0", true),
        ("LS+ a g x", true),
        ("LS- nothing", true),
        ("LS- nothing g", true),
        ("LS+ a g", false),
        ("LS+ a g 1 1", false),
        ("LS+", false),
    ] {
        let (mut leaf, ..) = linked(&server, &named("edge"));
        leaf.send(format!("{line}\r\n"));
        match stays {
            true => _ = leaf.ask(""),
            false => _ = leaf.closed(),
        }
    }
}

#[test]
fn topo_027_forms_of_messages() {
    let server = Server::with_config(PLAIN);
    let (mut leaf, ..) = linked(&server, &named("edge"));
    let mut client = server.client();
    client.quietly("SUB m 1\r\nSUB m g 2\r\n");
    leaf.ask("");
    for (sent, got) in [
        ("LMSG m 1\r\na", vec!["MSG m 1 1", "a"]),
        ("LMSG m r 1\r\na", vec!["MSG m 1 r 1", "a"]),
        ("lmsg  m  r  1\r\na", vec!["MSG m 1 r 1", "a"]),
        ("LMSG m | other 1\r\na", vec!["MSG m 1 1", "a"]),
        (
            "LMSG m | g 1\r\na",
            vec!["MSG m 1 1", "a", "MSG m 2 1", "a"],
        ),
        (
            "LMSG m + r g h 1\r\na",
            vec!["MSG m 1 r 1", "a", "MSG m 2 r 1", "a"],
        ),
        (
            "HMSG m 12 13\r\nNATS/1.0\r\n\r\na",
            vec!["HMSG m 1 12 13", "NATS/1.0", "", "a"],
        ),
        ("LMSG m 0\r\n", vec!["MSG m 1 0", ""]),
    ] {
        leaf.ask(format!("{sent}\r\n"));
        let mut lines: Vec<_> = got.iter().map(|_| client.line()).collect();
        let mut got = got;
        if got.len() == 4 && !sent.starts_with('H') {
            // Who comes first is not said.
            lines.sort();
            got.sort_unstable();
        }
        assert_eq!(lines, got, "{sent:?}");
    }
}

#[test]
fn topo_028_payloads_too_large() {
    let server = Server::with_config(&format!("max_payload: 16\n{PLAIN}"));
    let (mut leaf, ..) = linked(&server, &named("edge"));
    leaf.send("LMSG a 17\r\n");
    assert_eq!(leaf.closed(), ["-ERR 'Maximum Payload Violation'"]);
}

#[test]
fn topo_030_054_interest_of_jetstream() {
    let server = Server::with_config(&format!(
        "jetstream {{ store_dir: \"@DIR@/js\", domain: hub }}\n{PLAIN}"
    ));
    let (mut leaf, info, told) = linked(&server, &with("edge", json!({"domain": "edge"})));
    assert_eq!(info["domain"], "hub");
    let expected = [
        "LS+ $JS.API.>",
        "LS+ $JS.hub.API.$KV.>",
        "LS+ $JS.hub.API.$OBJ.>",
        "LS+ $JS.hub.API.ACCOUNT.>",
        "LS+ $JS.hub.API.CONSUMER.>",
        "LS+ $JS.hub.API.DIRECT.>",
        "LS+ $JS.hub.API.INFO",
        "LS+ $JS.hub.API.META.>",
        "LS+ $JS.hub.API.SERVER.>",
        "LS+ $JS.hub.API.STREAM.>",
    ];
    assert_eq!(about(&told, "$JS"), expected);
    // Asked with the domain, and without: a hub answers both.
    leaf.ask("LS+ r\r\n");
    for api in ["$JS.hub.API", "$JS.API"] {
        leaf.send(format!("LMSG {api}.INFO r 0\r\n\r\n"));
        let line = wait_until("an answer", || {
            let line = leaf.line();
            line.starts_with("LMSG r ").then_some(line)
        });
        assert!(line.starts_with("LMSG r "), "{line}");
        let body: Value = serde_json::from_str(&leaf.line()).expect("JSON");
        assert_eq!(body["domain"], "hub");
    }
}

#[test]
fn topo_051_054_what_does_not_leave() {
    let server = Server::with_config(&format!(
        "jetstream {{ store_dir: \"@DIR@/js\", domain: hub }}\n{PLAIN}"
    ));
    let (mut leaf, ..) = linked(&server, &with("edge", json!({"domain": "edge"})));
    leaf.ask("LS+ $JS.API.>\r\nLS+ $KV.>\r\nLS+ $OBJ.>\r\nLS+ $JS.hub.API.>\r\nLS+ $JS.edge.API.>\r\nLS+ $JS.ACK.>\r\n");
    let mut client = server.client();
    for subject in [
        "$KV.b.k",
        "$OBJ.b.x",
        "$JS.API.INFO",
        "$JS.hub.API.INFO",
        "$JS.edge.API.INFO",
        "$JS.ACK.s",
    ] {
        client.quietly(format!("PUB {subject} 0\r\n\r\n"));
    }
    let got = leaf.up_to("LMSG $JS.ACK.s 0");
    let got: Vec<_> = got.iter().filter(|it| it.starts_with("LMSG")).collect();
    assert_eq!(got, ["LMSG $JS.edge.API.INFO 0", "LMSG $JS.ACK.s 0"]);
    assert_eq!(leaf.line(), "");
    // Nor is a leaf told what it may not have.
    client.quietly("SUB $KV.b.> 1\r\nSUB $OBJ.b 2\r\nSUB seen 3\r\n");
    assert_eq!(leaf.ask(""), ["LS+ seen"]);
}

#[test]
fn topo_052_the_system_account_keeps_its_jetstream() {
    let server = Server::with_config(
        "accounts { S { users [ { user: s, password: s } ] } }, system_account: S
         jetstream { store_dir: \"@DIR@/js\", domain: hub }
         leafnodes { listen: \"127.0.0.1:-1\",
            authorization { users [ { user: l, password: p, account: S } ] } }",
    );
    let login = json!({"user": "l", "pass": "p", "domain": "edge"});
    let (mut leaf, _, told) = linked(&server, &with("edge", login));
    assert_eq!(about(&told, "$JSC"), [""; 0]);
    leaf.ask("LS+ $NRG.>\r\nLS+ $JSC.>\r\nLS+ $JS.API.>\r\nLS+ seen\r\n");
    let mut client = server.client_with(r#"{"user":"s","pass":"s"}"#);
    client.quietly("PUB $JSC.x 0\r\n\r\nPUB $JS.API.INFO 0\r\n\r\nPUB seen 0\r\n\r\n");
    let got = leaf.up_to("LMSG seen 0");
    let got: Vec<_> = got.iter().filter(|it| it.starts_with("LMSG")).collect();
    assert_eq!(got, ["LMSG seen 0"]);
    server.logged("System account connected from edge");
    server.logged("JetStream not extended, domains differ");
}

#[test]
fn topo_031_mappings_and_questions_are_wanted() {
    let server = Server::with_config(&format!("mappings {{ map.a: map.b }}\n{PLAIN}"));
    let (.., told) = linked(&server, &named("edge"));
    assert_eq!(about(&told, "map."), ["LS+ map.a"]);
    let questions = [
        "LS+ $SYS.REQ.ACCOUNT.PING.CONNZ",
        "LS+ $SYS.REQ.ACCOUNT.PING.STATZ",
        "LS+ $SYS.REQ.SERVER.PING.CONNZ",
        "LS+ $SYS.REQ.USER.INFO",
    ];
    assert_eq!(about(&told, "$SYS.REQ"), questions);
    assert_eq!(about(&told, "$LDS.").len(), 1);
}

#[test]
fn topo_032_another_servers_loop_detection_is_passed_on() {
    let server = Server::with_config(PLAIN);
    let (mut one, ..) = linked(&server, &named("one"));
    let (mut two, ..) = linked(&server, &named("two"));
    one.ask("LS+ $LDS.somebodyelse\r\n");
    assert_eq!(two.ask(""), ["LS+ $LDS.somebodyelse"]);
    one.ask("LS- $LDS.somebodyelse\r\n");
    assert_eq!(two.ask(""), ["LS- $LDS.somebodyelse"]);
}

#[test]
fn topo_034_isolated_leaf_nodes() {
    for (config, fields) in [
        (
            "leafnodes { listen: \"127.0.0.1:-1\", isolate_leafnode_interest: true }",
            json!({}),
        ),
        (PLAIN, json!({"isolate": true})),
    ] {
        let server = Server::with_config(config);
        let (mut one, ..) = linked(&server, &with("one", fields));
        let (mut two, ..) = linked(&server, &named("two"));
        let mut client = server.client();
        two.ask("LS+ east\r\n");
        client.quietly("SUB own 1\r\n");
        assert_eq!(one.ask(""), ["LS+ own"]);
    }
}

#[test]
fn topo_035_interest_is_told_where_the_leaf_may_publish() {
    let server = Server::with_config(&format!(
        "authorization {{ users [ {{ user: l, password: p, permissions {{
            publish: {{ allow: [\"up.>\"], deny: \"up.no\" }}, subscribe: \"down.>\" }} }},
          {{ user: c, password: c }} ] }}\n{PLAIN}"
    ));
    let mut client = server.client_with(r#"{"user":"c","pass":"c"}"#);
    client.quietly(
        "SUB up.a 1\r\nSUB up.no 2\r\nSUB other 3\r\nSUB > 4\r\nSUB *.a 5\r\nSUB x.* 6\r\n",
    );
    let (mut leaf, _, told) = linked(&server, &with("edge", json!({"user": "l", "pass": "p"})));
    let mut first: Vec<_> = ["up.", "other", ">", "*", "x."]
        .iter()
        .flat_map(|front| about(&told, front))
        .collect();
    first.sort();
    assert_eq!(first, ["LS+ *.a", "LS+ >", "LS+ up.a"]);
    client.quietly("SUB up.b 7\r\nSUB down.b 8\r\n");
    assert_eq!(leaf.ask(""), ["LS+ up.b"]);
    // What comes is judged by itself.
    leaf.send("LMSG up.no 1\r\nx\r\n");
    let told = "-ERR 'Permissions Violation for Publish to \"up.no\"'";
    assert_eq!(leaf.closed(), [told]);
}

#[test]
fn topo_036_what_a_leaf_does_not_want() {
    let server = Server::with_config(PLAIN);
    let connect = with("edge", json!({"deny_pub": ["no.>"]}));
    let (mut leaf, ..) = linked(&server, &connect);
    leaf.ask("LS+ >\r\n");
    let mut client = server.client();
    client.quietly("PUB no.a 1\r\nx\r\nPUB yes 1\r\ny\r\n");
    leaf.expect(&["LMSG yes 1", "y"]);
}

#[test]
fn topo_037_answers_that_are_allowed() {
    let server = Server::with_config(&format!(
        "authorization {{ users [ {{ user: l, password: p, permissions {{ publish: {{ deny: \">\" }},
            subscribe: \"svc\", allow_responses: {{ max: 1, expires: \"1m\" }} }} }},
          {{ user: c, password: c }} ] }}\n{PLAIN}"
    ));
    let (mut leaf, ..) = linked(&server, &with("edge", json!({"user": "l", "pass": "p"})));
    leaf.ask("LS+ svc\r\n");
    let mut client = server.client_with(r#"{"user":"c","pass":"c"}"#);
    client.quietly("SUB r.* 1\r\nPUB svc r.1 1\r\n?\r\n");
    leaf.expect(&["LMSG svc r.1 1", "?"]);
    leaf.ask("LMSG r.1 1\r\n!\r\n");
    client.expect(&["MSG r.1 1 1", "!"]);
    leaf.send("LMSG r.1 1\r\n!\r\n");
    let told = "-ERR 'Permissions Violation for Publish to \"r.1\"'";
    assert_eq!(leaf.closed(), [told]);
}

#[test]
fn topo_040_limit_of_links_in_an_account() {
    let server = Server::with_monitor(
        "accounts { A { users [ { user: a, password: a } ], limits { max_leafnodes: 1 } } }
         leafnodes { listen: \"127.0.0.1:-1\" }",
    );
    let login = json!({"user": "a", "pass": "a", "remote_account": "X"});
    let (first, ..) = linked(&server, &with("one", login.clone()));
    let told = refused(&server, &with("two", login.clone()));
    assert_eq!(told, ["-ERR 'maximum account active connections exceeded'"]);
    let account = server.json("/accountz?acc=A");
    assert_eq!(account["account_detail"]["leafnode_connections"], 1);
    drop(first);
    wait_until("room for another", || {
        (server.json("/leafz")["leafnodes"] == 0).then_some(())
    });
    linked(&server, &with("two", login));
}

#[test]
fn topo_057_leafz_shows_every_field() {
    let server = Server::with_monitor(&format!("server_name: hub\n{PLAIN}"));
    let connect = with("edge", json!({"isolate": true, "compress_mode": "s2_fast"}));
    let (mut leaf, ..) = linked(&server, &connect);
    leaf.ask("LS+ a\r\nLS+ b g 2\r\nLMSG x 3\r\nabc\r\n");
    let mut client = server.client();
    client.quietly("PUB a 2\r\nhi\r\n");
    leaf.expect(&["LMSG a 2", "hi"]);
    let leafz = server.json("/leafz?subs=1");
    let link = &leafz["leafs"][0];
    for (field, value) in [
        ("name", json!("edge")),
        ("is_spoke", json!(false)),
        ("is_isolated", json!(true)),
        ("account", json!("$G")),
        ("ip", json!("127.0.0.1")),
        ("in_msgs", json!(1)),
        ("in_bytes", json!(3)),
        ("out_msgs", json!(1)),
        ("out_bytes", json!(2)),
        ("subscriptions", json!(2)),
        ("compression", json!("s2_fast")),
    ] {
        assert_eq!(link[field], value, "{field}");
    }
    let mut subjects: Vec<_> = link["subscriptions_list"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    subjects.sort_by_key(|it| it.to_string());
    assert_eq!(subjects, ["a", "b"]);
    let leaf = &server.json("/varz")["leaf"];
    assert_eq!(leaf["host"], "127.0.0.1");
    assert_eq!(leaf["port"], leaf_address(&server).port());
    if beyond_stock() {
        let metrics = server.get("/metrics").body;
        for name in [
            "rtt",
            "in_msgs",
            "out_msgs",
            "subscriptions_total",
            "pending_bytes",
        ] {
            let name = format!("gnatsd_leafz_conn_{name}{{");
            assert!(metrics.contains(&name), "{name}");
        }
    }
}
