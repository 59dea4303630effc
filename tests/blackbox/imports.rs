//! Sections 3.4 and 3.5: what accounts have of each other.

use crate::support::client::{Client, Message};
use crate::support::server::Server;
use serde_json::Value;

const SHARED: &str = r#"
accounts {
  A { users: [ { user: a, password: p }, { user: a2, password: p } ]
      exports: [
        { stream: "s.>" }, { stream: "w.*.*" }, { stream: "only" }
        { service: "q.one" }, { service: "q.stream", response: stream }
        { service: "q.chunk", response: chunked }, { service: "q.w.*.*" }
        { service: "q.late", response: stream, threshold: "3s" }
        { service: "q.lat", latency: lat }, { service: "q.lath", latency: { subject: lath, sampling: headers } }
        { service: "chain.a" }
      ] }
  B { users: [ { user: b, password: p }, { user: b2, password: p } ]
      imports: [
        { stream: { account: A, subject: "s.>" }, prefix: pre }
        { stream: { account: A, subject: "w.*.*" }, to: "t.$2.$1" }
        { stream: { account: A, subject: only } }
        { service: { account: A, subject: "q.one" } }
        { service: { account: A, subject: "q.stream" }, to: local.stream }
        { service: { account: A, subject: "q.chunk" } }
        { service: { account: A, subject: "q.w.*.*" }, to: "l.$2.$1", share: true }
        { service: { account: A, subject: "q.late" } }
        { service: { account: A, subject: "q.lat" }, share: true }
        { service: { account: A, subject: "q.lath" } }
        { service: { account: A, subject: "chain.a" }, to: chain.b }
      ]
      exports: [ { service: "chain.b" } ] }
  C { users: [ { user: c, password: p } ]
      imports: [ { service: { account: B, subject: "chain.b" }, to: chain.c } ] }
}
"#;

#[track_caller]
fn user(server: &Server, name: &str) -> Client {
    server.client_with(&format!("{{\"user\":\"{name}\",\"pass\":\"p\"}}"))
}

/// Several connections of each, so that they sit on all shards.
fn users(server: &Server, name: &str) -> Vec<Client> {
    (0..4).map(|_| user(server, name)).collect()
}

#[track_caller]
fn text(message: &Message) -> (String, String) {
    let payload = String::from_utf8_lossy(&message.payload).into_owned();
    (message.subject.clone(), payload)
}

#[test]
fn auth_032_imported_streams_arrive_under_their_local_names() {
    let server = Server::with_config(SHARED);
    let mut importers = users(&server, "b");
    for (at, importer) in importers.iter_mut().enumerate() {
        let queue = if at % 2 == 0 { "" } else { " q" };
        importer.quietly(format!(
            "SUB pre.s.> 1\r\nSUB t.*.y 2\r\nSUB only 3\r\nSUB > 4\r\nSUB x{queue} 5\r\n"
        ));
    }
    for mut exporter in users(&server, "a") {
        for (subject, name, sids) in [
            ("s.a.b", "pre.s.a.b", vec!["1", "4"]),
            ("w.y.z", "t.z.y", vec!["2", "4"]),
            ("w.z.y", "t.y.z", vec!["4"]),
            ("only", "only", vec!["3", "4"]),
        ] {
            exporter.send(format!("PUB {subject} r 2\r\nhi\r\n"));
            for importer in &mut importers {
                let mut found: Vec<Message> = sids.iter().map(|_| importer.message()).collect();
                found.sort_by(|a, b| a.sid.cmp(&b.sid));
                for (message, sid) in found.iter().zip(&sids) {
                    assert_eq!(
                        (message.subject.as_str(), message.sid.as_str()),
                        (name, *sid)
                    );
                    assert_eq!(
                        (message.reply.as_str(), &message.payload[..]),
                        ("r", &b"hi"[..])
                    );
                }
            }
        }
        exporter.quietly("PUB x 0\r\n\r\nPUB pre.s.a 0\r\n\r\n");
    }
    for importer in &mut importers {
        importer.quietly("");
    }
}

#[test]
fn auth_032_one_of_a_queue_gets_an_imported_message() {
    let server = Server::with_config(SHARED);
    let mut importers = users(&server, "b");
    for importer in &mut importers {
        importer.quietly("SUB pre.s.* q 1\r\n");
    }
    let mut exporter = user(&server, "a");
    exporter.send("PUB s.a 1\r\nx\r\n".repeat(20));
    exporter.quietly("");
    let mut count = 0;
    crate::support::wait_until("all of them", || {
        let heads = |it: &mut Client| it.ask("").iter().filter(|it| it.starts_with("MSG")).count();
        count += importers.iter_mut().map(heads).sum::<usize>();
        (count >= 20).then_some(())
    });
    for importer in &mut importers {
        importer.quietly("");
    }
    assert_eq!(count, 20);
}

#[test]
fn auth_032_unsubscribing_ends_imported_messages() {
    let server = Server::with_config(SHARED);
    let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
    b.quietly("SUB only 1\r\n");
    a.send("PUB only 1\r\n1\r\n");
    assert_eq!(text(&b.message()).1, "1");
    b.quietly("UNSUB 1\r\n");
    a.quietly("PUB only 1\r\n2\r\n");
    b.quietly("");
}

#[test]
fn auth_036_a_request_crosses_and_is_answered_once() {
    let server = Server::with_config(SHARED);
    let mut services = users(&server, "a");
    services[1].quietly("SUB q.one 1\r\n");
    for mut asker in users(&server, "b") {
        asker.quietly("SUB _INBOX.b 9\r\n");
        asker.send("PUB q.one _INBOX.b 2\r\nhi\r\n");
        let request = services[1].message();
        assert_eq!(text(&request), ("q.one".into(), "hi".into()));
        let tokens: Vec<usize> = request.reply.split('.').map(str::len).collect();
        assert!(
            request.reply.starts_with("_R_.") && tokens == [3, 6, 6],
            "{}",
            request.reply
        );
        let header = String::from_utf8(request.headers).expect("text");
        let info = header.split("Nats-Request-Info: ").nth(1).expect("info");
        let info: Value = serde_json::from_str(info.trim()).expect("JSON");
        assert_eq!(info["acc"], "B");
        assert!(info["rtt"].is_u64() && info.as_object().is_some_and(|it| it.len() == 2));
        // From any connection of the exporter; the second is one too many.
        let reply = request.reply;
        services[3].send(format!("PUB {reply} 2\r\nok\r\n"));
        let answer = asker.message();
        assert_eq!(text(&answer), ("_INBOX.b".into(), "ok".into()));
        assert_eq!((answer.sid.as_str(), answer.headers.len()), ("9", 0));
        services[3].quietly(format!("PUB {reply} 3\r\ntwo\r\n"));
        asker.quietly("UNSUB 9\r\n");
    }
}

#[test]
fn auth_036_streams_and_chunks_end_with_an_empty_answer() {
    let server = Server::with_config(SHARED);
    let mut service = user(&server, "a");
    service.quietly("SUB q.* 1\r\n");
    for subject in ["local.stream", "q.chunk"] {
        let mut asker = user(&server, "b");
        asker.quietly("SUB in 1\r\n");
        asker.send(format!("PUB {subject} in 0\r\n\r\n"));
        let reply = service.message().reply;
        for answer in ["1", "2", "3"] {
            service.send(format!("PUB {reply} 1\r\n{answer}\r\n"));
            assert_eq!(text(&asker.message()).1, answer);
        }
        service.send(format!("PUB {reply} 0\r\n\r\n"));
        assert_eq!(text(&asker.message()).1, "");
        service.quietly(format!("PUB {reply} 1\r\n4\r\n"));
        asker.quietly("");
    }
}

#[test]
fn auth_031_answers_that_come_too_late_are_dropped() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB q.late 1\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB q.late in 0\r\n\r\n");
    let reply = service.message().reply;
    service.send(format!("PUB {reply} 1\r\n1\r\n"));
    assert_eq!(text(&asker.message()).1, "1");
    std::thread::sleep(std::time::Duration::from_millis(3500));
    service.quietly(format!("PUB {reply} 1\r\n2\r\n"));
    asker.quietly("");
}

#[test]
fn auth_037_nobody_behind_a_service_is_heard_of() {
    let server = Server::with_config(SHARED);
    for mut asker in users(&server, "b") {
        asker.quietly("SUB in 1\r\n");
        asker.send("PUB l.y.x in 0\r\n\r\n");
        let answer = asker.message();
        assert_eq!(
            answer.headers,
            b"NATS/1.0 503\r\nNats-Subject: l.y.x\r\n\r\n"
        );
    }
}

#[test]
fn auth_033_auth_038_wildcards_and_shared_details() {
    let server = Server::with_config(SHARED);
    let mut service = user(&server, "a");
    service.quietly("SUB q.w.> 1\r\n");
    let mut asker = server.client_with(
        "{\"user\":\"b\",\"pass\":\"p\",\"name\":\"n\",\"lang\":\"l\",\"version\":\"v\"}",
    );
    let header = "NATS/1.0\r\nK: v\r\nNats-Request-Info: {\"acc\":\"forged\"}\r\n\r\n";
    let len = header.len();
    asker.send(format!("HPUB l.y.x in {len} {}\r\n{header}hi\r\n", len + 2));
    let request = service.message();
    assert_eq!(text(&request).0, "q.w.x.y");
    let header = String::from_utf8(request.headers).expect("text");
    assert!(
        header.starts_with("NATS/1.0\r\nK: v\r\nNats-Request-Info: {"),
        "{header}"
    );
    assert_eq!(header.matches("Nats-Request-Info").count(), 1);
    let info = header.split("Nats-Request-Info: ").nth(1).expect("info");
    let info: Value = serde_json::from_str(info.trim()).expect("JSON");
    let keys: Vec<&str> = info
        .as_object()
        .expect("object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "start",
            "host",
            "id",
            "acc",
            "user",
            "name",
            "lang",
            "ver",
            "rtt",
            "server",
            "kind",
            "client_type"
        ]
    );
    for (key, value) in [
        ("acc", "B"),
        ("user", "b"),
        ("name", "n"),
        ("lang", "l"),
        ("ver", "v"),
    ] {
        assert_eq!(info[key], value);
    }
    assert_eq!(
        (&info["kind"], &info["client_type"]),
        (&"Client".into(), &"nats".into())
    );
}

#[test]
fn auth_036_services_behind_services() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "c"));
    service.quietly("SUB chain.a 1\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB chain.c in 1\r\nx\r\n");
    let request = service.message();
    assert_eq!(request.subject, "chain.a");
    let header = String::from_utf8(request.headers).expect("text");
    assert!(header.contains("\"acc\":\"C\",\"svc\":\"B\""), "{header}");
    service.send(format!("PUB {} 1\r\ny\r\n", request.reply));
    assert_eq!(text(&asker.message()), ("in".into(), "y".into()));
}

/// One that answers may want an answer.
#[test]
fn auth_036_answers_may_ask() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB q.stream 1\r\nSUB back 2\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB local.stream in 0\r\n\r\n");
    let request = service.message();
    service.send(format!("PUB {} back 1\r\n1\r\n", request.reply));
    let answer = asker.message();
    assert!(answer.reply.starts_with("_R_."), "{}", answer.reply);
    asker.send(format!("PUB {} 1\r\n2\r\n", answer.reply));
    assert_eq!(text(&service.message()), ("back".into(), "2".into()));
}

/// T: who is no party to a service cannot use its reply subjects.
#[test]
fn core_048_clients_may_not_name_such_replies_and_other_accounts_cannot_answer() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    let mut other = user(&server, "c");
    service.quietly("SUB q.one 1\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB q.one in 0\r\n\r\n");
    let reply = service.message().reply;
    other.quietly(format!("PUB {reply} 1\r\nx\r\n"));
    asker.quietly(format!("PUB {reply} 1\r\nx\r\n"));
    other.send(format!("PUB x {reply} 0\r\n\r\nPING\r\n"));
    let violation = format!("-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'");
    other.expect(&[&violation, "PONG"]);
    service.send(format!("PUB {reply} 1\r\ny\r\n"));
    assert_eq!(text(&asker.message()).1, "y");
}

#[test]
fn auth_061_latency_of_an_answered_request() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB q.lat 1\r\nSUB lat 2\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB q.lat in 0\r\n\r\n");
    let request = service.message();
    assert!(request.reply.ends_with(".T"), "{}", request.reply);
    service.send(format!("PUB {} 1\r\ny\r\n", request.reply));
    assert_eq!(text(&asker.message()).1, "y");
    let metric: Value = serde_json::from_slice(&service.message().payload).expect("JSON");
    let keys: Vec<&str> = metric
        .as_object()
        .expect("object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "type",
            "id",
            "timestamp",
            "status",
            "requestor",
            "responder",
            "start",
            "service",
            "system",
            "total"
        ]
    );
    assert_eq!(metric["type"], "io.nats.server.metric.v1.service_latency");
    assert_eq!(
        (&metric["status"], &metric["requestor"]["user"]),
        (&200.into(), &"b".into())
    );
    assert_eq!(metric["responder"]["user"], "a");
    assert_eq!(metric["id"].as_str().map(str::len), Some(22));
}

#[test]
fn auth_062_latency_of_requests_that_fail() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB lat 2\r\n");
    let status = |service: &mut Client| {
        let metric: Value = serde_json::from_slice(&service.message().payload).expect("JSON");
        (metric["status"].clone(), metric["description"].clone())
    };
    asker.send("PUB q.lat in 0\r\n\r\n");
    assert_eq!(
        status(&mut service),
        (503.into(), "Service Unavailable".into())
    );
    asker.send("PUB q.lat 0\r\n\r\n");
    assert_eq!(status(&mut service), (400.into(), "Bad Request".into()));
    service.quietly("SUB q.lat 1\r\n");
    asker.send("SUB in 1\r\nPUB q.lat in 0\r\n\r\n");
    service.message();
    drop(asker);
    assert_eq!(status(&mut service), (408.into(), "Request Timeout".into()));
    // It is still there, but does not listen any more.
    let mut asker = user(&server, "b");
    asker.send("SUB in.* 1\r\nPUB q.lat in.1 0\r\n\r\n");
    service.message();
    asker.send("UNSUB 1\r\n");
    assert_eq!(status(&mut service), (408.into(), "Request Timeout".into()));
}

#[test]
fn auth_066_headers_ask_for_a_measurement() {
    let server = Server::with_config(SHARED);
    let (mut service, mut asker) = (user(&server, "a"), user(&server, "b"));
    service.quietly("SUB q.lath 1\r\nSUB lath 2\r\n");
    asker.quietly("SUB in 1\r\n");
    asker.send("PUB q.lath in 0\r\n\r\n");
    assert!(!service.message().reply.ends_with(".T"));
    let header = "NATS/1.0\r\nX-B3-Sampled: 1\r\n\r\n";
    asker.send(format!(
        "HPUB q.lath in {0} {0}\r\n{header}\r\n",
        header.len()
    ));
    let reply = service.message().reply;
    service.send(format!("PUB {reply} 0\r\n\r\n"));
    let metric: Value = serde_json::from_slice(&service.message().payload).expect("JSON");
    assert_eq!(metric["header"]["X-B3-Sampled"][0], "1");
    assert_eq!(metric["requestor"]["user"], Value::Null);
}

/// AUTH-34, T4, T12: circles of any length, of streams and of services.
#[test]
fn t04_t12_imports_in_a_circle_are_refused() {
    for kind in ["stream", "service"] {
        for length in 2..=10 {
            let accounts: String = (0..length)
                .map(|at| {
                    let next = (at + 1) % length;
                    format!(
                        "N{at} {{ exports: [ {{ {kind}: \"x.>\" }} ], imports: [ \
                         {{ {kind}: {{ account: N{next}, subject: \"x.>\" }} }} ] }}\n"
                    )
                })
                .collect();
            let finished = Server::builder()
                .config(&format!("accounts {{ {accounts} }}"))
                .flags("-t")
                .run();
            assert_eq!(finished.code, 1, "{kind} {length}");
            let text = format!("Error adding {kind} import \"x.>\": import forms a cycle");
            assert!(finished.stderr.contains(&text), "{}", finished.stderr);
        }
    }
}

/// T7: nobody chooses his account by his CONNECT.
#[test]
fn t07_a_connect_cannot_name_an_account() {
    let server = Server::with_config(SHARED);
    for options in [
        "\"account\":\"B\"",
        "\"account\":\"$SYS\"",
        "\"account\":\"x\",\"new_account\":true",
    ] {
        let mut client = server.open();
        client.send(format!(
            "CONNECT {{\"user\":\"a\",\"pass\":\"p\",{options}}}\r\nPING\r\n"
        ));
        assert_eq!(
            client.closed(),
            ["-ERR 'Authorization Violation'"],
            "{options}"
        );
    }
}

/// T14: with an authorization block or users of its own, nobody is let in without a login.
/// CFG-77.
#[test]
fn t14_a_system_account_opens_the_server_only_where_nothing_else_is_said() {
    let system = "accounts { SYS { users: [ { user: s, password: p } ] } }\nsystem_account: SYS";
    for (config, open) in [
        (system.to_owned(), true),
        (format!("{system}\nauthorization {{ timeout: 1 }}"), false),
        (
            format!("{system}\nauthorization {{ users: [ {{ user: u, password: p }} ] }}"),
            false,
        ),
        (
            "accounts { SYS { users: [ { user: s, password: p } ] }, A {} }\nsystem_account: SYS"
                .to_owned(),
            false,
        ),
    ] {
        let server = Server::with_config(&config);
        let mut client = server.open();
        client.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
        if open {
            client.expect(&["PONG"]);
        } else {
            assert_eq!(
                client.closed(),
                ["-ERR 'Authorization Violation'"],
                "{config}"
            );
        }
    }
}

/// T10, T32, T33: what is denied under its local name is not delivered, whatever it is called in
/// the exporting account, to plain and queue subscriptions alike.
#[test]
fn t10_t32_denied_subjects_do_not_come_by_import_either() {
    if !crate::support::server::beyond_stock() {
        return; // stock asks about queues by the exporter's name
    }
    let server = Server::with_config(
        r#"accounts {
          A { users: [ { user: a, password: p } ], exports: [ { stream: "s.>" } ] }
          B { users: [ { user: b, password: p, permissions: { subscribe: { deny: "pre.s.no.>" } } } ]
              imports: [ { stream: { account: A, subject: "s.>" }, prefix: pre } ] }
        }"#,
    );
    let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
    b.quietly("SUB pre.> 1\r\nSUB pre.s.*.x q 2\r\n");
    a.send("PUB s.no.x 0\r\n\r\nPUB s.yes.x 0\r\n\r\n");
    let mut sids: Vec<String> = (0..2)
        .map(|_| {
            let message = b.message();
            assert_eq!(message.subject, "pre.s.yes.x");
            message.sid
        })
        .collect();
    sids.sort();
    assert_eq!(sids, ["1", "2"]);
    b.quietly("");
}

/// AUTH-39: subscriptions and requests follow the imports of the new file.
#[test]
fn auth_039_a_reload_changes_imports_of_those_who_are_connected() {
    let config = |imports: &str| {
        format!(
            "accounts {{
              A {{ users: [ {{ user: a, password: p }} ]
                   exports: [ {{ stream: \"s.>\" }}, {{ service: q }} ] }}
              B {{ users: [ {{ user: b, password: p }} ], imports: [ {imports} ] }} }}"
        )
    };
    let stream = "{ stream: { account: A, subject: \"s.>\" } }";
    let service = "{ service: { account: A, subject: q } }";
    let server = Server::with_config(&config(stream));
    let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
    a.quietly("SUB q 1\r\n");
    b.quietly("SUB s.* 1\r\n");
    a.send("PUB s.x 1\r\n1\r\n");
    assert_eq!(text(&b.message()).1, "1");

    let reload = |imports: &str, times: usize| {
        server.dir().write("server.conf", &config(imports));
        server.signal(rustix::process::Signal::HUP);
        crate::support::wait_until("the reload", || {
            (server.count_in_log("Reloaded server configuration") >= times).then_some(())
        });
    };
    reload(service, 1);
    a.quietly("PUB s.x 1\r\n2\r\n");
    b.quietly("");
    b.send("PUB q 0\r\n\r\n");
    assert_eq!(a.message().subject, "q");

    reload(stream, 2);
    b.quietly("PUB q 0\r\n\r\n");
    a.quietly("");
    a.send("PUB s.x 1\r\n3\r\n");
    assert_eq!(text(&b.message()).1, "3");
}
