//! Section 4.3: `/connz`.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::wait_until;
use serde_json::{Value, json};

fn entries(connz: &Value) -> Vec<Value> {
    connz["connections"]
        .as_array()
        .expect("connections")
        .clone()
}

/// The open connections once there are `count` of them.
#[track_caller]
fn connections(server: &Server, query: &str, count: usize) -> Vec<Value> {
    wait_until("the connections", || {
        let list = entries(&server.json(&format!("/connz{query}")));
        (list.len() == count).then_some(list)
    })
}

/// A client that says its name.
#[track_caller]
fn named(server: &Server, name: &str) -> Client {
    server.client_with(&format!("{{\"name\":\"{name}\"}}"))
}

#[test]
fn mon_017_019_connz_has_its_frame() {
    let server = Server::with_monitor("");
    let connz = server.json("/connz");
    assert_eq!(connz["server_id"], server.open().info["server_id"]);
    assert!(connz["now"].is_string());
    for (field, value) in [
        ("num_connections", 0),
        ("total", 0),
        ("offset", 0),
        ("limit", 1024),
    ] {
        assert_eq!(connz[field], value, "{field}");
    }
    assert_eq!(connz["connections"], json!([]));
}

#[test]
fn mon_020_connz_describes_each_connection() {
    let server = Server::with_monitor("");
    let mut client = named(&server, "who");
    assert_eq!(
        client
            .ask("SUB a 1\r\nSUB b q 2\r\nPUB a 5\r\nhello\r\nPUB c 1\r\nx\r\n")
            .len(),
        2
    );
    let entry = connections(&server, "", 1).remove(0);
    assert_eq!(entry["cid"], client.info["client_id"]);
    let port = client.socket().local_addr().expect("address").port();
    for (field, value) in [
        ("kind", json!("Client")),
        ("type", json!("nats")),
        ("ip", json!("127.0.0.1")),
        ("port", json!(port)),
        ("pending_bytes", json!(0)),
        ("in_msgs", json!(2)),
        ("out_msgs", json!(1)),
        ("in_bytes", json!(6)),
        ("out_bytes", json!(5)),
        ("subscriptions", json!(2)),
        ("name", json!("who")),
        ("lang", json!("raw")),
        ("version", json!("1.0")),
    ] {
        assert_eq!(entry[field], value, "{field}");
    }
    for field in ["start", "last_activity", "uptime", "idle"] {
        assert!(entry[field].is_string(), "{field}");
    }
    for absent in [
        "stop",
        "reason",
        "stalls",
        "tls_version",
        "tls_cipher_suite",
        "authorized_user",
        "account",
        "subscriptions_list",
        "subscriptions_list_detail",
        "jwt",
        "mqtt_client",
        "proxy",
    ] {
        assert!(entry[absent].is_null(), "{absent}");
    }
}

#[test]
fn mon_017_connz_pages_and_finds() {
    let server = Server::with_monitor("");
    let clients: Vec<Client> = (0..8)
        .map(|index| named(&server, &format!("c{index}")))
        .collect();
    connections(&server, "", 8);
    let ids: Vec<Value> = clients
        .iter()
        .map(|client| client.info["client_id"].clone())
        .collect();
    let page = server.json("/connz?sort=cid&offset=2&limit=3");
    for (field, value) in [
        ("num_connections", 3),
        ("total", 8),
        ("offset", 2),
        ("limit", 3),
    ] {
        assert_eq!(page[field], value, "{field}");
    }
    let listed: Vec<Value> = entries(&page)
        .iter()
        .map(|entry| entry["cid"].clone())
        .collect();
    assert_eq!(listed, ids[2..5]);
    let one = server.json(&format!("/connz?cid={}", ids[4]));
    assert_eq!(entries(&one).len(), 1);
    assert_eq!(one["connections"][0]["name"], "c4");
    assert_eq!(entries(&server.json("/connz?cid=999999")).len(), 0);
    assert_eq!(entries(&server.json("/connz?offset=100")).len(), 0);
}

#[test]
fn mon_018_connz_sorts() {
    let server = Server::with_monitor("");
    let mut clients: Vec<Client> = (0..4)
        .map(|index| named(&server, &format!("c{index}")))
        .collect();
    for (client, count) in clients.iter_mut().zip([2, 0, 3, 1]) {
        client.quietly("PUB nowhere 7\r\n1234567\r\n".repeat(count));
        let subscriptions: String = (0..count)
            .map(|sid| format!("SUB own.{sid} {sid}\r\n"))
            .collect();
        client.quietly(subscriptions);
    }
    let order = |key: &str| -> Vec<String> {
        let list = entries(&server.json(&format!("/connz?sort={key}")));
        list.iter()
            .map(|entry| entry["name"].as_str().expect("name").to_owned())
            .collect()
    };
    for key in ["cid", "start"] {
        assert_eq!(order(key), ["c0", "c1", "c2", "c3"], "{key}");
    }
    for key in ["subs", "msgs_from", "bytes_from"] {
        assert_eq!(order(key), ["c2", "c0", "c3", "c1"], "{key}");
    }
    for key in [
        "pending", "msgs_to", "bytes_to", "last", "idle", "rtt", "uptime",
    ] {
        assert_eq!(order(key).len(), 4, "{key}");
    }
}

#[test]
fn mon_021_connz_tells_users_only_when_asked() {
    let server = Server::with_monitor(
        "authorization { users: [{user: u, password: p}, {user: v, password: p}] }",
    );
    let _u = server.client_with("{\"user\":\"u\",\"pass\":\"p\"}");
    let _v = server.client_with("{\"user\":\"v\",\"pass\":\"p\"}");
    assert!(
        connections(&server, "", 2)
            .iter()
            .all(|entry| entry["authorized_user"].is_null())
    );
    let with_auth = connections(&server, "?auth=1&sort=cid", 2);
    assert_eq!(with_auth[0]["authorized_user"], "u");
    assert_eq!(with_auth[1]["authorized_user"], "v");
    assert_eq!(
        connections(&server, "?auth=1&user=v", 1)[0]["authorized_user"],
        "v"
    );
}

#[test]
fn mon_022_connz_lists_subscriptions_short_or_in_detail() {
    let server = Server::with_monitor("");
    let mut client = server.client();
    assert_eq!(
        client
            .ask("SUB a.* 1\r\nSUB b q 2\r\nUNSUB 2 9\r\nPUB a.x 0\r\n\r\n")
            .len(),
        2
    );
    let entry = connections(&server, "?subs=1", 1).remove(0);
    let mut list: Vec<&str> = entry["subscriptions_list"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    list.sort_unstable();
    assert_eq!(list, ["a.*", "b"]);
    let entry = connections(&server, "?subs=detail", 1).remove(0);
    let mut list = entry["subscriptions_list_detail"]
        .as_array()
        .expect("list")
        .clone();
    list.sort_by_key(|detail| detail["sid"].to_string());
    let cid = &client.info["client_id"];
    assert_eq!(
        (&list[0]["subject"], &list[0]["sid"], &list[0]["msgs"]),
        (&json!("a.*"), &json!("1"), &json!(1))
    );
    assert_eq!(
        (&list[1]["subject"], &list[1]["qgroup"], &list[1]["max"]),
        (&json!("b"), &json!("q"), &json!(9))
    );
    assert!(list.iter().all(|detail| detail["cid"] == *cid));
}

#[test]
fn mon_023_024_closed_connections_keep_their_reason() {
    let server = Server::with_monitor("max_payload: 100\nmax_control_line: 300\n");
    let violations = [
        ("parse", "SUB\r\n", "Protocol Violation"),
        ("verb", "WHAT\r\n", "Protocol Violation"),
        (
            "payload",
            "PUB a 101\r\n",
            "Maximum Message Payload Exceeded",
        ),
        (
            "line",
            &format!("SUB {} 1\r\n", "x".repeat(400)),
            "Maximum Control Line Exceeded",
        ),
        (
            "proto",
            "CONNECT {\"name\":\"proto\",\"protocol\":5}\r\n",
            "Bad Client Protocol Version",
        ),
        (
            "nohdr",
            "CONNECT {\"name\":\"nohdr\",\"headers\":false,\"no_responders\":true}\r\n",
            "No Responders Requires Headers",
        ),
    ];
    for (name, input, _) in &violations {
        let mut client = named(&server, name);
        client.send_until_closed(input);
        client.closed();
    }
    drop(named(&server, "left"));
    let list = connections(&server, "?state=closed&sort=stop", violations.len() + 1);
    for (name, _, reason) in violations.iter().chain([&("left", "", "Client Closed")]) {
        let entry = list
            .iter()
            .find(|entry| entry["name"] == *name)
            .unwrap_or_else(|| panic!("{name}"));
        // Stock's word for bad arguments differs from that for a bad verb.
        let either = [json!(reason), json!("Parse Error")];
        assert!(
            either.contains(&entry["reason"]),
            "{name}: {}",
            entry["reason"]
        );
        assert!(entry["stop"].is_string(), "{name}");
    }
    assert_eq!(connections(&server, "?state=open", 0).len(), 0);
    for state in ["all", "any"] {
        assert_eq!(
            connections(&server, &format!("?state={state}"), violations.len() + 1).len(),
            violations.len() + 1
        );
    }
    assert_eq!(
        entries(&server.json("/connz?state=closed&sort=reason")).len(),
        violations.len() + 1
    );
}

#[test]
fn mon_024_only_so_many_closed_connections_are_kept() {
    let server = Server::with_monitor("max_closed_clients: 3\n");
    for index in 0..6 {
        let mut client = named(&server, &format!("c{index}"));
        client.send("BAD\r\n");
        client.closed();
        wait_until("the entry", || {
            let list = entries(&server.json("/connz?state=closed"));
            list.iter()
                .any(|entry| entry["name"] == format!("c{index}"))
                .then_some(())
        });
    }
    let names: Vec<Value> = connections(&server, "?state=closed&sort=cid", 3)
        .iter()
        .map(|entry| entry["name"].clone())
        .collect();
    assert_eq!(names, ["c3", "c4", "c5"]);
}

#[test]
fn mon_020_the_round_trip_time_follows_a_pong() {
    let server = Server::with_monitor("ping_interval: \"1s\"");
    let mut client = server.client();
    assert_eq!(client.raw_line(), "PING");
    client.send("PONG\r\n");
    wait_until("the round-trip time", || {
        client.quietly("");
        entries(&server.json("/connz"))[0]["rtt"]
            .is_string()
            .then_some(())
    });
}

#[test]
fn mon_022_a_closed_connection_keeps_its_subscriptions() {
    let server = Server::with_monitor("");
    let mut client = named(&server, "gone");
    client.quietly("SUB a 1\r\nSUB b q 2\r\n");
    drop(client);
    let entry = connections(&server, "?state=closed&subs=detail", 1).remove(0);
    assert_eq!(entry["subscriptions"], 2);
    let list = entry["subscriptions_list_detail"].as_array();
    let mut subjects: Vec<&str> = list
        .expect("a list")
        .iter()
        .filter_map(|it| it["subject"].as_str())
        .collect();
    subjects.sort_unstable(); // stock's have no order
    assert_eq!(subjects, ["a", "b"]);
    assert!(connections(&server, "?state=closed", 1)[0]["subscriptions_list_detail"].is_null());
}

/// The round trip is known from CONNECT on. Who has sent none has not said what it is written in:
/// somebody at a terminal, whom nobody asks.
#[test]
fn mon_025_nobody_without_a_language_is_pinged_for_the_round_trip_time() {
    let server = Server::with_monitor("");
    let mut silent = server.open();
    for _ in 0..3 {
        assert_eq!(connections(&server, "", 1)[0]["rtt"], "0s");
    }
    silent.send("PING\r\n");
    assert_eq!(silent.raw_line(), "PONG");
    let _named = named(&server, "named");
    let all = connections(&server, "", 2);
    let of_name = all.iter().find(|it| it["name"] == "named").expect("it");
    assert!(of_name["rtt"].is_string() && of_name["rtt"] != "0s");
}
