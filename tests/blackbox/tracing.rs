//! Section 1.10: messages whose way is told.

use serde_json::{Value, json};

use crate::support::client::{Client, Message};
use crate::support::server::Server;

const CONFIG: &str = r#"
    server_name: probe
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A {
            users: [
                {user: a, password: a}
                {user: d, password: d, permissions: {
                    publish: {allow: ["foo.>", "x"]}, subscribe: {deny: "foo.no"}
                }}
            ]
            msg_trace: {dest: "account.traces", sampling: 100}
            mappings: {"map.a": "foo.mapped"}
            exports: [{service: "svc.ok", allow_trace: true}, {service: "svc.no"}, {stream: "str.>"}]
        }
        B {
            users: [{user: b, password: b}]
            imports: [
                {service: {account: A, subject: "svc.ok"}, to: "ok"}
                {service: {account: A, subject: "svc.no"}, to: "no"}
                {stream: {account: A, subject: "str.>"}, prefix: "in", allow_trace: true}
            ]
        }
    }
    system_account: SYS
"#;

const TRACE: &str = "Nats-Trace-Dest: tr.x";
const ONLY: &str = "Nats-Trace-Dest: tr.x\r\nNats-Trace-Only: true";

fn login(server: &Server, user: &str, name: &str) -> Client {
    let options = json!({ "user": user, "pass": user, "name": name });
    server.client_with(&options.to_string())
}

/// Publishes `hi` with header lines; gives what came before the PONG.
#[track_caller]
fn publish(client: &mut Client, subject: &str, lines: &str) -> Vec<String> {
    let block = format!("NATS/1.0\r\n{lines}\r\n\r\n");
    let (head, all) = (block.len(), block.len() + 2);
    client.ask(format!("HPUB {subject} {head} {all}\r\n{block}hi\r\n"))
}

/// A client of user `a` that listens on `subject`.
fn listener(server: &Server, name: &str, subject: &str) -> Client {
    let mut client = login(server, "a", name);
    client.quietly(format!("SUB {subject} 1\r\n"));
    client
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

/// Events of one type, without their times and numbers.
fn events(trace: &Value, kind: &str) -> Vec<Value> {
    let all = trace["events"].as_array().expect("events").iter();
    let mut found: Vec<Value> = all.filter(|it| it["type"] == kind).cloned().collect();
    for event in &mut found {
        let fields = event.as_object_mut().expect("an object");
        assert!(fields.remove("ts").is_some_and(|it| it.is_string()));
        if kind == "eg" || kind == "in" {
            assert!(fields.remove("cid").is_some_and(|it| it.is_u64()));
            assert_eq!(fields.remove("kind"), Some(json!(0)));
        }
        fields.remove("type");
    }
    found.sort_by_key(|it| it["name"].to_string());
    found
}

#[test]
fn core_098_099_a_traced_message_is_told_of_and_not_delivered() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    // More than there are shards to hide on.
    let mut receivers: Vec<Client> = (0..6)
        .map(|at| listener(&server, &format!("r{at}"), "foo.*"))
        .collect();
    let mut publisher = login(&server, "a", "publisher");
    assert_eq!(publish(&mut publisher, "foo.x", ONLY), [""; 0]);
    let message = traces.message();
    assert_eq!(message.subject, "tr.x");
    let trace = body(&message);
    assert_eq!(trace["server"]["name"], "probe");
    let request = json!({
        "header": { "Nats-Trace-Dest": ["tr.x"], "Nats-Trace-Only": ["true"] }, "msgsize": 60,
    });
    assert_eq!(trace["request"], request);
    let ingress = json!({ "name": "publisher", "acc": "A", "subj": "foo.x" });
    assert_eq!(events(&trace, "in"), [ingress]);
    assert_eq!(trace["events"][0]["type"], "in");
    let expected: Vec<Value> = (0..6)
        .map(|at| json!({ "name": format!("r{at}"), "sub": "foo.*" }))
        .collect();
    assert_eq!(events(&trace, "eg"), expected);
    publisher.quietly("PUB foo.y 1\r\na\r\n");
    for receiver in &mut receivers {
        assert_eq!(receiver.message().subject, "foo.y");
    }
}

#[test]
fn core_098_without_only_it_is_delivered_too() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut receivers: Vec<Client> = (0..6)
        .map(|at| listener(&server, &format!("r{at}"), "foo.*"))
        .collect();
    let mut members: Vec<Client> = (0..4).map(|_| login(&server, "a", "member")).collect();
    for member in &mut members {
        member.quietly("SUB foo.x q 1\r\n");
    }
    let mut publisher = login(&server, "a", "publisher");
    for only in ["", "\r\nNats-Trace-Only: off"] {
        publish(&mut publisher, "foo.x", &format!("{TRACE}{only}"));
        let trace = body(&traces.message());
        let egress = events(&trace, "eg");
        assert_eq!(egress.len(), 7, "{trace}");
        assert_eq!(
            egress[0],
            json!({ "name": "member", "sub": "foo.x", "queue": "q" })
        );
        for receiver in &mut receivers {
            let message = receiver.message();
            assert!(
                message
                    .headers
                    .starts_with(b"NATS/1.0\r\nNats-Trace-Dest: tr.x\r\n")
            );
        }
    }
}

#[test]
fn core_100_why_somebody_did_not_get_it() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let options = json!({ "user": "a", "pass": "a", "name": "own", "echo": false });
    let mut own = server.client_with(&options.to_string());
    own.quietly("SUB foo.* 1\r\n");
    let mut denied = login(&server, "d", "denied");
    denied.quietly("SUB foo.* 1\r\n");
    publish(&mut own, "foo.no", ONLY);
    let trace = body(&traces.message());
    assert_eq!(
        events(&trace, "eg"),
        [
            json!({
                "name": "denied", "sub": "foo.*",
                "error": "Not delivered because subscription denies this subject",
            }),
            json!({ "name": "own", "sub": "foo.*", "error": "Not delivered because of no echo" }),
        ]
    );
}

#[test]
fn core_099_a_mapped_subject_is_told() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let _receiver = listener(&server, "r", "foo.mapped");
    let mut publisher = login(&server, "a", "publisher");
    publish(&mut publisher, "map.a", ONLY);
    let trace = body(&traces.message());
    assert_eq!(events(&trace, "in")[0]["subj"], "map.a");
    assert_eq!(events(&trace, "sm"), [json!({ "to": "foo.mapped" })]);
    assert_eq!(events(&trace, "eg").len(), 1);
}

#[test]
fn core_101_t30_the_publisher_must_be_allowed_to_publish_to_the_destination() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut receiver = listener(&server, "r", "foo.*");
    let mut publisher = login(&server, "d", "publisher");
    for lines in [TRACE, ONLY] {
        let errors = publish(&mut publisher, "foo.x", lines);
        assert_eq!(
            errors,
            ["-ERR 'Permissions Violation for Publish to \"tr.x\"'"]
        );
    }
    // Neither the message nor a trace of it went anywhere.
    publisher.quietly("PUB foo.y 0\r\n\r\n");
    assert_eq!(receiver.message().subject, "foo.y");
    receiver.quietly("PUB tr.mark 0\r\n\r\n");
    assert_eq!(traces.message().subject, "tr.mark");
}

#[test]
fn core_101_a_subject_that_may_not_be_published_to_is_told() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "x");
    let mut publisher = login(&server, "d", "publisher");
    let errors = publish(&mut publisher, "no.x", "Nats-Trace-Dest: x");
    assert_eq!(errors.len(), 1);
    let trace = body(&traces.message());
    assert_eq!(
        events(&trace, "in")[0]["error"],
        "Permissions Violation for Publish to \"no.x\""
    );
}

#[test]
fn core_101_destinations_that_are_none_are_ignored() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut receiver = listener(&server, "r", "foo.*");
    let mut publisher = login(&server, "a", "publisher");
    for (lines, delivered) in [
        ("Nats-Trace-Dest: tr.*", true),
        ("Nats-Trace-Dest: tr.*\r\nNats-Trace-Only: 1", false),
        ("Nats-Trace-Dest: trace disabled", true),
        (
            "Nats-Trace-Dest: tr.x\r\nNats-Trace-Origin-Account: A",
            true,
        ),
        ("Nats-Trace-Only: true", true),
    ] {
        assert_eq!(publish(&mut publisher, "foo.x", lines), [""; 0], "{lines}");
        publisher.quietly("PUB foo.mark 0\r\n\r\n");
        let first = receiver.message().subject;
        assert_eq!(
            first,
            if delivered { "foo.x" } else { "foo.mark" },
            "{lines}"
        );
        if delivered {
            assert_eq!(receiver.message().subject, "foo.mark");
        }
    }
    publisher.quietly("PUB tr.mark 0\r\n\r\n");
    assert_eq!(traces.message().subject, "tr.mark");
}

#[test]
fn core_102_what_others_trace_is_told_to_the_account() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "account.traces");
    let mut receiver = listener(&server, "r", "foo.*");
    let mut publisher = login(&server, "a", "publisher");
    for name in ["traceparent", "TraceParent"] {
        publish(&mut publisher, "foo.x", &format!("{name}: 00-a-b-01"));
        let trace = body(&traces.message());
        assert_eq!(trace["request"]["header"][name], json!(["00-a-b-01"]));
        assert_eq!(events(&trace, "eg").len(), 1);
        assert_eq!(receiver.message().subject, "foo.x");
    }
    for value in ["00-a-b-00", "00-a-b", "x"] {
        publish(&mut publisher, "foo.x", &format!("traceparent: {value}"));
        assert_eq!(receiver.message().subject, "foo.x");
    }
    publisher.quietly("PUB account.traces 0\r\n\r\n");
    assert_eq!(traces.message().payload, b"");
}

#[test]
fn core_102_the_event_is_packed_on_request() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut publisher = login(&server, "a", "publisher");
    for (accepted, start) in [
        ("snappy", &b"\xff\x06\x00\x00sNaPpY"[..]),
        ("gzip", b"\x1f\x8b"),
    ] {
        publish(
            &mut publisher,
            "foo.x",
            &format!("{ONLY}\r\nAccept-Encoding: {accepted}"),
        );
        let message = traces.message();
        let expected = format!("NATS/1.0\r\nContent-Encoding: {accepted}\r\n\r\n");
        assert_eq!(message.headers, expected.as_bytes());
        assert!(message.payload.starts_with(start));
    }
}

#[test]
fn core_103_other_accounts_are_entered_where_that_is_allowed() {
    let server = Server::with_config(CONFIG);
    let mut services: Vec<Client> = (0..4)
        .map(|_| listener(&server, "service", "svc.*"))
        .collect();
    let mut traces = login(&server, "b", "tracer");
    traces.quietly("SUB tr.> 1\r\n");
    let mut requester = login(&server, "b", "requester");
    publish(&mut requester, "ok", ONLY);
    let trace = body(&traces.message());
    assert_eq!(
        events(&trace, "si"),
        [json!({ "acc": "A", "from": "ok", "to": "svc.ok" })]
    );
    let egress = events(&trace, "eg");
    assert_eq!(egress.len(), 4);
    assert_eq!(
        egress[0],
        json!({ "name": "service", "acc": "A", "sub": "svc.*" })
    );
    publish(&mut requester, "no", ONLY);
    let trace = body(&traces.message());
    assert_eq!(
        events(&trace, "si"),
        [json!({ "acc": "A", "from": "no", "to": "svc.no" })]
    );
    assert_eq!(events(&trace, "eg").len(), 0);
    publish(&mut requester, "no", TRACE);
    assert_eq!(events(&body(&traces.message()), "eg").len(), 0);
    for service in &mut services {
        assert_eq!(service.message().subject, "svc.no");
    }
}

#[test]
fn core_103_stream_imports_are_told() {
    let server = Server::with_config(CONFIG);
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut receiver = login(&server, "b", "importer");
    receiver.quietly("SUB in.str.* 1\r\n");
    let mut publisher = login(&server, "a", "publisher");
    publish(&mut publisher, "str.a", TRACE);
    let trace = body(&traces.message());
    assert_eq!(
        events(&trace, "se"),
        [json!({ "acc": "B", "to": "in.str.a" })]
    );
    let egress = events(&trace, "eg");
    assert_eq!(
        (&egress[0]["name"], &egress[0]["acc"]),
        (&json!("importer"), &json!("B"))
    );
    assert_eq!(receiver.message().subject, "in.str.a");
}

#[test]
fn core_104_a_message_that_is_too_large_is_told() {
    let server = Server::with_config(&format!("{CONFIG}\nmax_payload: 100"));
    let mut traces = listener(&server, "tracer", "tr.>");
    let mut publisher = login(&server, "a", "publisher");
    let block = format!("NATS/1.0\r\n{TRACE}\r\n\r\n");
    let (head, all) = (block.len(), block.len() + 200);
    publisher.send(format!("HPUB foo.x {head} {all}\r\n{block}"));
    assert_eq!(publisher.closed(), ["-ERR 'Maximum Payload Violation'"]);
    let told = body(&traces.message());
    assert_eq!(told["request"]["msgsize"], all, "{told}");
    let ingress = &told["events"][0];
    assert_eq!(ingress["type"], "in");
    assert_eq!(ingress["subj"], "foo.x");
    assert_eq!(ingress["error"], "maximum payload exceeded");
    // Nobody who has not said who he is traces anything.
    let mut stranger = server.open();
    stranger.send(format!("HPUB foo.x {head} {all}\r\n{block}"));
    stranger.closed();
    traces.quietly("");
}
