//! Section 3.6: where messages go instead.

use crate::support::client::Client;
use crate::support::server::Server;

/// A message to `subject` arrives on `expected`, and with nothing else changed.
#[track_caller]
fn maps(mappings: &str, cases: &[(&str, &str)]) {
    let server = Server::with_config(&format!("mappings {{ {mappings} }}"));
    for mut client in server.clients() {
        client.quietly("SUB > 1\r\n");
        for (subject, expected) in cases {
            client.send(format!("PUB {subject} _INBOX.x 2\r\nhi\r\n"));
            let message = client.message();
            assert_eq!(message.subject, *expected, "{mappings}");
            let (reply, payload) = (message.reply.as_str(), &message.payload[..]);
            assert_eq!((reply, payload), ("_INBOX.x", &b"hi"[..]));
        }
        client.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn auth_041_subjects_are_mapped_before_matching() {
    maps("\"a\": b", &[("a", "b"), ("a.b", "a.b")]);
    maps("a: [ { destination: b.c, weight: 100% } ]", &[("a", "b.c")]);
    maps("a: { dest: b, weight: 100 }", &[("a", "b")]);
}

#[test]
fn auth_044_to_auth_047_functions() {
    maps("\"a.*.*\": \"b.$2.{{wildcard(1)}}\"", &[("a.x.y", "b.y.x")]);
    maps("\"a.>\": \"b.>\"", &[("a.x.y", "b.x.y")]);
    maps(
        "\"a.*.*\": \"p.{{partition(5,1,2)}}.{{Partition(3, 2)}}\"",
        &[("a.b.c", "p.1.2"), ("a.x.12345", "p.0.0")],
    );
    maps("\"a.*\": \"p.{{partition(0,1)}}\"", &[("a.b", "p.0")]);
    maps("\"a.*\": \"p.{{partition(7)}}\"", &[("a.b", "p.5")]);
    maps("a: \"p.{{partition(7)}}\"", &[("a", "p.2")]);
    maps(
        "\"a.*\": \"{{SplitFromLeft(1,3)}}\"",
        &[("a.12345", "123.45"), ("a.1", "1")],
    );
    maps(
        "\"a.*\": \"{{splitfromright(1,2)}}\"",
        &[("a.12345", "123.45")],
    );
    maps(
        "\"a.*\": \"{{SliceFromLeft(1,2)}}\"",
        &[("a.12345", "12.34.5")],
    );
    maps(
        "\"a.*\": \"{{slicefromright(1,2)}}\"",
        &[("a.12345", "1.23.45")],
    );
    maps(
        "\"a.*\": \"{{left(1,2)}}.{{right(1,2)}}\"",
        &[("a.12345", "12.45")],
    );
    maps(
        "\"a.*\": \"x{{wildcard(1)}}.{{split(1,-)}}\"",
        &[("a.b-c-d", "x{{wildcard(1)}}.b.c.d")],
    );
    maps("\"a.*\": \"x.{{random(1)}}\"", &[("a.b", "x.0")]);
}

#[test]
fn auth_041_permission_is_for_the_mapped_subject() {
    let server = Server::with_config(
        r#"mappings { a: b, c: d }
        authorization { users: [
          { user: u, password: p, permissions: { publish: [ b, c ], subscribe: ">" } } ] }"#,
    );
    let mut client = server.client_with("{\"user\":\"u\",\"pass\":\"p\"}");
    client.quietly("SUB > 1\r\n");
    client.send("PUB a 0\r\n\r\n");
    assert_eq!(client.message().subject, "b");
    client.send("PUB c 0\r\n\r\nPING\r\n");
    client.expect(&["-ERR 'Permissions Violation for Publish to \"d\"'", "PONG"]);
}

#[test]
fn auth_041_no_responders_names_the_mapped_subject() {
    let server = Server::with_config("mappings { a: b }");
    let mut client = server.client();
    client.quietly("SUB r 1\r\n");
    client.send("PUB a r 0\r\n\r\n");
    let answer = client.message();
    assert_eq!(answer.headers, b"NATS/1.0 503\r\nNats-Subject: b\r\n\r\n");
}

/// How many of `count` messages to `a` arrive on each subject of `to`, and how many get lost.
#[track_caller]
fn shares(client: &mut Client, count: usize, to: &[&str]) -> (Vec<usize>, usize) {
    client.quietly("SUB > 1\r\n");
    let mut text = "PUB a 1\r\nx\r\n".repeat(count);
    text.push_str("PUB end 0\r\n\r\n");
    client.send(text);
    let mut found = vec![0; to.len()];
    loop {
        let message = client.message();
        if message.subject == "end" {
            break;
        }
        let at = to.iter().position(|it| *it == message.subject);
        found[at.unwrap_or_else(|| panic!("{} is not expected", message.subject))] += 1;
    }
    let arrived: usize = found.iter().sum();
    (found, count - arrived)
}

#[test]
fn auth_042_weights() {
    let near = |count: usize, expected: usize| count.abs_diff(expected) < 150;
    let server = Server::with_config(
        "mappings { a: [ { destination: b, weight: 30 }, { destination: c, weight: \"50%\" } ] }",
    );
    let (found, lost) = shares(&mut server.client(), 2000, &["b", "c", "a"]);
    assert!(
        near(found[0], 600) && near(found[1], 1000) && near(found[2], 400),
        "{found:?}"
    );
    assert_eq!(lost, 0);
    // With the source among the destinations the rest is lost.
    let server = Server::with_config(
        "mappings { a: [ { destination: b, weight: 30 }, { destination: a, weight: 20 } ] }",
    );
    let (found, lost) = shares(&mut server.client(), 2000, &["b", "a"]);
    assert!(
        near(found[0], 600) && near(found[1], 400) && near(lost, 1000),
        "{found:?} {lost}"
    );
}

/// Stock looks at the cluster's name even where it is alone in it.
#[test]
fn auth_043_destinations_of_a_cluster() {
    let mappings = "mappings { a: [ { destination: b, weight: 100 },
        { destination: c, weight: 100, cluster: east } ] }";
    for (cluster, expected) in [
        ("", "b"),
        ("cluster { name: east, port: -1 }", "c"),
        ("cluster { name: west, port: -1 }", "b"),
    ] {
        let server = Server::with_config(&format!("{cluster}\n{mappings}"));
        let mut client = server.client();
        client.quietly("SUB > 1\r\n");
        client.send("PUB a 0\r\n\r\n");
        assert_eq!(client.message().subject, expected, "{cluster}");
    }
}

#[test]
fn auth_041_mappings_of_an_account_are_its_own() {
    let server = Server::with_config(
        "accounts { A { users: [ { user: a, password: p } ], mappings { x: y } } }
        authorization { users: [ { user: g, password: p } ] }\nmappings { x: z }",
    );
    for (user, expected) in [("a", "y"), ("g", "z")] {
        let mut client = server.client_with(&format!("{{\"user\":\"{user}\",\"pass\":\"p\"}}"));
        client.quietly("SUB > 1\r\n");
        client.send("PUB x 0\r\n\r\n");
        assert_eq!(client.message().subject, expected);
    }
}
