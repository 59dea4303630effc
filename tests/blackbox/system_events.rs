//! Section 4.6: what the server tells the system account, with the shapes stock 2.15.1 gives.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::Server;

const CONFIG: &str = r#"
    server_name: probe
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { users: [{user: a, password: a}], limits: {} }
    }
    system_account: SYS
"#;

fn login(server: &Server, user: &str, password: &str) -> Client {
    let options = json!({
        "user": user, "pass": password, "name": format!("client {user}"), "lang": "test",
        "version": "1",
    });
    server.client_with(&options.to_string())
}

/// An operator who listens to `subject`.
fn listener(server: &Server, subject: &str) -> Client {
    let mut sys = login(server, "sys", "s");
    // An event may come before the PONG: it is another one's.
    sys.ask(format!("SUB {subject} 1\r\n"));
    sys
}

fn event(client: &mut Client) -> (String, Value) {
    let message = client.message();
    let body = serde_json::from_slice(&message.payload).expect("JSON");
    (message.subject, body)
}

/// The next event that `wanted` says yes to.
fn event_with(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> (String, Value) {
    loop {
        let found = event(client);
        if wanted(&found.1) {
            return found;
        }
    }
}

/// Asserts that `value` has exactly these fields; those with `?` may be absent.
#[track_caller]
fn fields(value: &Value, expected: &[&str]) {
    let object = value.as_object().expect("an object");
    for field in expected {
        let optional = field.ends_with('?');
        assert!(
            optional || object.contains_key(*field),
            "{field} is missing in {value}"
        );
    }
    for field in object.keys() {
        let known = expected.iter().any(|it| it.trim_end_matches('?') == field);
        assert!(known, "{field} is not stock's: {value}");
    }
}

const SERVER: [&str; 9] = [
    "name",
    "host",
    "id",
    "ver",
    "feature_flags",
    "jetstream",
    "flags",
    "seq",
    "time",
];

/// Type, id, time and server are as in every event (MON-68).
#[track_caller]
fn is_event(body: &Value, kind: &str) {
    assert_eq!(body["type"], format!("io.nats.server.advisory.v1.{kind}"));
    let id = body["id"].as_str().expect("an id");
    assert!(
        id.len() == 22 && id.bytes().all(|it| it.is_ascii_alphanumeric()),
        "{id}"
    );
    let time = body["timestamp"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.starts_with("20"), "{time}");
    fields(&body["server"], &SERVER);
    assert_eq!(body["server"]["name"], "probe");
}

#[test]
fn mon_059_a_login_is_told() {
    let server = Server::with_config(CONFIG);
    let mut sys = listener(&server, "$SYS.ACCOUNT.*.CONNECT");
    let _a = login(&server, "a", "a");
    let (subject, body) = event(&mut sys);
    assert_eq!(subject, "$SYS.ACCOUNT.A.CONNECT");
    fields(&body, &["type", "id", "timestamp", "server", "client"]);
    is_event(&body, "client_connect");
    let client = &body["client"];
    fields(
        client,
        &[
            "start",
            "host",
            "id",
            "acc",
            "user",
            "name",
            "lang",
            "ver",
            "name_tag",
            "kind",
            "client_type",
        ],
    );
    assert_eq!(
        (&client["acc"], &client["user"]),
        (&json!("A"), &json!("a"))
    );
    assert_eq!(
        (&client["name"], &client["kind"]),
        (&json!("client a"), &json!("Client"))
    );
    assert_eq!(
        (&client["host"], &client["client_type"]),
        (&json!("127.0.0.1"), &json!("nats"))
    );
}

#[test]
fn mon_060_a_departure_is_told() {
    let server = Server::with_config(CONFIG);
    let mut sys = listener(&server, "$SYS.ACCOUNT.*.DISCONNECT");
    let mut a = login(&server, "a", "a");
    a.quietly("SUB x 1\r\n");
    let lines = a.ask("PUB x 3\r\nabc\r\nPUB y 5\r\nabcde\r\n");
    assert_eq!(lines.len(), 2);
    drop(a);
    let (subject, body) = event(&mut sys);
    assert_eq!(subject, "$SYS.ACCOUNT.A.DISCONNECT");
    fields(
        &body,
        &[
            "type",
            "id",
            "timestamp",
            "server",
            "client",
            "sent",
            "received",
            "reason",
        ],
    );
    is_event(&body, "client_disconnect");
    fields(
        &body["client"],
        &[
            "start",
            "host",
            "id",
            "acc",
            "user",
            "name",
            "lang",
            "ver",
            "rtt",
            "stop",
            "name_tag",
            "kind",
            "client_type",
        ],
    );
    assert_eq!(body["sent"], json!({ "msgs": 2, "bytes": 8 }));
    assert_eq!(body["received"], json!({ "msgs": 1, "bytes": 3 }));
    assert_eq!(body["reason"], "Client Closed");
    assert!(body["client"]["rtt"].is_u64());
}

#[test]
fn mon_061_a_failed_login_is_told() {
    let server = Server::with_config(CONFIG);
    let mut sys = listener(&server, "$SYS.SERVER.*.CLIENT.AUTH.ERR");
    let mut client = server.open();
    client.send("CONNECT {\"user\":\"a\",\"pass\":\"wrong\",\"name\":\"n\"}\r\nPING\r\n");
    client.closed();
    let (subject, body) = event(&mut sys);
    assert!(subject.starts_with("$SYS.SERVER.N") && subject.ends_with(".CLIENT.AUTH.ERR"));
    is_event(&body, "client_disconnect");
    assert_eq!(body["reason"], "Authentication Failure");
    assert_eq!(
        (&body["client"]["user"], &body["client"]["acc"]),
        (&json!("a"), &json!("$G"))
    );
}

#[test]
fn mon_061_the_account_hears_of_it_too() {
    let config = r#"
        accounts { SYS { users: [{user: sys, password: s}] } }
        system_account: SYS
        authorization { users: [{user: g, password: g}] }
    "#;
    let server = Server::with_config(config);
    let mut global = login(&server, "g", "g");
    global.quietly("SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 1\r\n");
    let mut client = server.open();
    client.send("CONNECT {\"user\":\"g\",\"pass\":\"wrong\"}\r\nPING\r\n");
    client.closed();
    let (_, body) = event(&mut global);
    assert_eq!(body["type"], "io.nats.server.advisory.v1.client_disconnect");
    assert_eq!(body["client"]["acc"], "$G");
}

#[test]
fn mon_062_connections_of_an_account_are_told_under_both_subjects() {
    let server = Server::with_config(CONFIG);
    for subject in ["$SYS.ACCOUNT.*.SERVER.CONNS", "$SYS.SERVER.ACCOUNT.*.CONNS"] {
        let mut sys = listener(&server, subject);
        let a = login(&server, "a", "a");
        let (found, body) = event_with(&mut sys, |body| body["acc"] == "A" && body["conns"] == 1);
        assert_eq!(found, subject.replace('*', "A"));
        fields(
            &body,
            &[
                "type",
                "id",
                "timestamp",
                "server",
                "acc",
                "name",
                "conns",
                "leafnodes",
                "total_conns",
                "num_subscriptions",
                "sent",
                "received",
                "slow_consumers",
            ],
        );
        is_event(&body, "account_connections");
        fields(
            &body["sent"],
            &["msgs", "bytes", "gateways", "routes", "leafs"],
        );
        drop(a);
        event_with(&mut sys, |body| body["acc"] == "A" && body["conns"] == 0);
    }
}

#[test]
fn mon_063_figures_are_told_by_themselves_and_on_demand() {
    let server = Server::with_config(CONFIG);
    let mut sys = listener(&server, "$SYS.SERVER.*.STATSZ");
    let (subject, body) = event(&mut sys);
    assert!(subject.starts_with("$SYS.SERVER.N"));
    fields(&body, &["server", "statsz"]);
    sys.send("PUB $SYS.REQ.SERVER.PING 0\r\n\r\n");
    let (_, body) = event(&mut sys);
    assert_eq!(body["statsz"]["connections"], 1);
}

#[test]
fn mon_064_the_end_is_told() {
    let server = Server::with_config(CONFIG);
    let mut listeners: Vec<Client> = (0..6)
        .map(|_| listener(&server, "$SYS.SERVER.*.SHUTDOWN"))
        .collect();
    server.signal(Signal::TERM);
    for sys in &mut listeners {
        let (subject, body) = event(sys);
        assert!(subject.ends_with(".SHUTDOWN"));
        fields(&body, &SERVER);
    }
}

#[test]
fn mon_064_lame_duck_mode_is_told() {
    let server = Server::with_config(CONFIG);
    let mut sys = listener(&server, "$SYS.SERVER.*.LAMEDUCK");
    server.signal(Signal::USR2);
    loop {
        let line = sys.line();
        if line.starts_with("INFO") {
            continue;
        }
        assert!(line.contains(".LAMEDUCK"), "{line}");
        break;
    }
    let body: Value = serde_json::from_str(&sys.line()).expect("JSON");
    fields(&body, &SERVER);
}
