//! Section 3.2: what a user may publish, subscribe and receive.

use crate::support::client::{Client, delivered};
use crate::support::server::{Server, beyond_stock};

/// A server with user `u` holding `permissions`, and `admin` holding all.
#[track_caller]
fn server_with(permissions: &str) -> Server {
    Server::with_config(&format!(
        "authorization {{ users: [{{user: u, password: p, permissions: {{ {permissions} }} }}, \
         {{user: admin, password: p}}] }}"
    ))
}

#[track_caller]
fn user(server: &Server) -> Client {
    server.client_with("{\"user\":\"u\",\"pass\":\"p\"}")
}

#[track_caller]
fn admin(server: &Server) -> Client {
    server.client_with("{\"user\":\"admin\",\"pass\":\"p\"}")
}

fn refused_publish(subject: &str) -> String {
    format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'")
}

/// Under `permissions`, exactly `refused` of `subjects` may not be published to.
#[track_caller]
fn publishes(permissions: &str, subjects: &[&str], refused: &[&str]) {
    let server = server_with(permissions);
    let mut client = user(&server);
    // Twice: the second answer may come from a cache.
    for _ in 0..2 {
        let text: String = subjects
            .iter()
            .map(|subject| format!("PUB {subject} 0\r\n\r\n"))
            .collect();
        let expected: Vec<String> = refused
            .iter()
            .map(|subject| refused_publish(subject))
            .collect();
        assert_eq!(client.ask(text), expected, "{permissions}");
    }
}

/// Under `permissions`, exactly `refused` of `subscriptions` (subject, perhaps a queue) fail.
#[track_caller]
fn subscribes(permissions: &str, subscriptions: &[&str], refused: &[&str]) {
    let server = server_with(permissions);
    let mut client = user(&server);
    let mut failed = Vec::new();
    for subscription in subscriptions {
        let lines = client.ask(format!("SUB {subscription} 1\r\nUNSUB 1\r\n"));
        if lines.is_empty() {
            continue;
        }
        let text = match subscription.split_once(' ') {
            None => format!("\"{subscription}\""),
            Some((subject, queue)) => format!("\"{subject}\" using queue \"{queue}\""),
        };
        assert_eq!(
            lines,
            [format!(
                "-ERR 'Permissions Violation for Subscription to {text}'"
            )]
        );
        failed.push(*subscription);
    }
    assert_eq!(failed, refused, "{permissions}");
}

#[test]
fn auth_010_a_value_is_a_subject_a_list_or_allow_and_deny() {
    for value in [
        "\"a.*\"",
        "[\"a.*\"]",
        "{allow: \"a.*\"}",
        "{allow: [\"a.*\"]}",
    ] {
        publishes(
            &format!("publish: {value}"),
            &["a.b", "a", "b", "a.b.c"],
            &["a", "b", "a.b.c"],
        );
        publishes(&format!("pub: {value}"), &["a.b", "b"], &["b"]);
        subscribes(
            &format!("subscribe: {value}"),
            &["a.b", "a.*", "b", "*"],
            &["b", "*"],
        );
        subscribes(&format!("sub: {value}"), &["a.b", "b"], &["b"]);
    }
}

#[test]
fn auth_011_without_allow_all_is_allowed_but_the_denied() {
    publishes(
        "publish: {deny: [\"x.>\", y]}",
        &["a", "x", "x.a", "y", "y.z"],
        &["x.a", "y"],
    );
    publishes("subscribe: a", &["a", "b", "$SYS.x", "_INBOX.x"], &[]);
    subscribes(
        "subscribe: {deny: \"x.>\"}",
        &["a", "x", "x.a", "x.*", ">"],
        &["x.a", "x.*"],
    );
    subscribes("publish: a", &["a", ">", "b q"], &[]);
}

#[test]
fn auth_011_deny_wins_over_allow() {
    publishes(
        "publish: {allow: [\"a.>\", b], deny: [\"a.no\", \"a.*.no\", b]}",
        &["a.x", "a.no", "a.x.no", "a.x.yes", "b", "c"],
        &["a.no", "a.x.no", "b", "c"],
    );
    subscribes(
        "subscribe: {allow: \"a.>\", deny: [\"a.no\", \"a.x.>\"]}",
        &["a.b", "a.no", "a.x.y", "a.x.*", "a.*", "a.>", "b"],
        &["a.no", "a.x.y", "a.x.*", "b"],
    );
}

#[test]
fn auth_012_a_subscription_must_lie_within_an_allowed_one() {
    subscribes(
        "subscribe: [\"foo.*\", \"bar.>\", baz]",
        &[
            "foo.a", "foo.*", "foo", "bar", "bar.a", "bar.a.b", "bar.*.c", "bar.>", "baz", "*", ">",
        ],
        &["foo", "bar", "*", ">"],
    );
}

#[test]
fn auth_012_a_full_wildcard_does_not_pass_for_one_token() {
    // Stock takes the `>` of the subscription for a token that `*` matches, and delivers.
    if !beyond_stock() {
        return;
    }
    let server = server_with("subscribe: [\"foo.*\", _MARK]");
    let mut publisher = admin(&server);
    for queue in ["", " q"] {
        let mut subscriber = user(&server);
        subscriber.ask(format!("SUB foo.>{queue} 1\r\n"));
        assert_eq!(
            delivered(&mut publisher, &mut subscriber, "PUB foo.a.b 0\r\n\r\n"),
            [""; 0]
        );
    }
}

#[test]
fn auth_012_t32_a_wider_subscription_never_delivers_what_is_denied() {
    let server = server_with("subscribe: {deny: [\"foo.bar\", \"foo.*.no\", \"z.>\"]}");
    let mut publisher = admin(&server);
    let subjects = [
        "foo.a",
        "foo.bar",
        "foo.a.no",
        "foo.a.yes",
        "z.a",
        "z.a.b",
        "z",
        "foo.b.c.no",
    ];
    let denied = ["foo.bar", "foo.a.no", "z.a", "z.a.b"];
    for filter in [
        ">", "foo.>", "*.*", "foo.*", "*.bar", "*.*.no", "foo.*.*", "*.>", "*.a.>",
    ] {
        for queue in ["", " q"] {
            let mut subscriber = user(&server);
            let lines = subscriber.ask(format!("SUB {filter}{queue} 1\r\n"));
            assert_eq!(lines, [""; 0], "{filter}{queue}");
            let text: String = subjects
                .iter()
                .map(|subject| format!("PUB {subject} 0\r\n\r\n"))
                .collect();
            // Twice: the second delivery may come from a cache.
            for _ in 0..2 {
                let got = delivered(&mut publisher, &mut subscriber, &text);
                let got: Vec<&str> = got
                    .iter()
                    .filter_map(|line| line.split(' ').nth(1))
                    .collect();
                let matches =
                    |subject: &&&str| within(filter, subject) && !denied.contains(*subject);
                let want: Vec<&str> = subjects.iter().filter(matches).copied().collect();
                assert_eq!(got, want, "{filter}{queue}");
            }
            // A queue member that lingers would take the next one's messages.
            subscriber.quietly("UNSUB 1\r\n");
        }
    }
}

/// Whether `subject` matches `filter`, token by token.
fn within(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in filter.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[test]
fn auth_012_t32_allow_and_deny_together_filter_each_delivery() {
    let server =
        server_with("subscribe: {allow: \"foo.>\", deny: [\"foo.*.secret\", \"foo.x.>\"]}");
    let mut publisher = admin(&server);
    let mut subscriber = user(&server);
    // The mark of `delivered` is not allowed here: the last message serves as one.
    subscriber.quietly("SUB foo.> 1\r\n");
    publisher.send(
        "PUB foo.a.secret 0\r\n\r\nPUB foo.x.y 0\r\n\r\nPUB foo.x 0\r\n\r\nPUB foo.end 0\r\n\r\n",
    );
    assert_eq!(subscriber.message().subject, "foo.x");
    assert_eq!(subscriber.message().subject, "foo.end");
}

#[test]
fn auth_012_t10_a_queue_group_never_hands_a_denied_message_to_a_member() {
    let server = server_with("subscribe: {allow: [\"foo.*\", _MARK], deny: \"foo.bar\"}");
    let mut publisher = admin(&server);
    let mut members: Vec<Client> = (0..8).map(|_| user(&server)).collect();
    members
        .iter_mut()
        .for_each(|member| member.quietly("SUB foo.* q 1\r\nSUB foo.* 2\r\n"));
    let mut trusted = admin(&server);
    trusted.quietly("SUB foo.bar q 1\r\n");
    let text = "PUB foo.bar 0\r\n\r\n".repeat(50);
    for member in &mut members {
        assert_eq!(delivered(&mut publisher, member, &text), [""; 0]);
    }
    // All of them went to the one member that may have them.
    let got = delivered(&mut publisher, &mut trusted, "");
    assert_eq!(
        got.iter()
            .filter(|line| line.starts_with("MSG foo.bar 1"))
            .count(),
        8 * 50
    );
}

#[test]
fn auth_013_queue_permissions_name_subject_and_queue() {
    subscribes(
        "subscribe: {allow: [\"foo\"]}",
        &["foo", "foo v1", "foo x"],
        &[],
    );
    subscribes(
        "subscribe: {allow: [\"foo v1\"]}",
        &["foo", "foo v1", "foo v2"],
        &["foo", "foo v2"],
    );
    subscribes(
        "subscribe: {allow: [\"foo\", \"foo v1\"]}",
        &["foo", "foo v1", "foo v2"],
        &["foo v2"],
    );
    subscribes(
        "subscribe: {allow: [\"foo v1\", \"foo v1.*\", \"bar >\"]}",
        &[
            "foo v1",
            "foo v1.x",
            "foo v1.x.y",
            "foo v2",
            "bar a",
            "bar a.b",
            "bar",
        ],
        &["foo v1.x.y", "foo v2", "bar"],
    );
}

#[test]
fn auth_013_t33_queue_denials_hold_in_any_order() {
    subscribes(
        "subscribe: {deny: [\"foo v1\"]}",
        &["foo", "foo v1", "foo v2"],
        &["foo v1"],
    );
    subscribes(
        "subscribe: {deny: [\"foo\"]}",
        &["foo", "foo v1", "bar"],
        &["foo", "foo v1"],
    );
    for deny in ["[\"foo\", \"foo v1\"]", "[\"foo v1\", \"foo\"]"] {
        subscribes(
            &format!("subscribe: {{deny: {deny}}}"),
            &["foo", "foo v1", "foo v2"],
            &["foo", "foo v1", "foo v2"],
        );
    }
    subscribes(
        "subscribe: {allow: [\"foo\", \"foo q\"], deny: [\"foo q\"]}",
        &["foo", "foo q", "foo r"],
        &["foo q", "foo r"],
    );
}

#[test]
fn auth_013_a_queue_is_no_part_of_a_publish_permission() {
    let run = Server::builder()
        .config(
            "authorization { users: [{user: u, password: p, permissions: {publish: \"a q\"}}] }",
        )
        .run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .contains("subject \"a q\" is not a valid subject"),
        "{}",
        run.stderr
    );
}

#[test]
fn auth_014_a_responder_may_only_answer() {
    let server = server_with("subscribe: \"svc.>\", allow_responses: true");
    let mut requester = admin(&server);
    requester.quietly("SUB inbox.* 1\r\n");
    let mut responder = user(&server);
    responder.quietly("SUB svc.> 1\r\n");
    assert_eq!(
        responder.ask("PUB inbox.1 0\r\n\r\n"),
        [refused_publish("inbox.1")]
    );
    requester.send("PUB svc.a inbox.1 1\r\nq\r\n");
    assert_eq!(responder.message().reply, "inbox.1");
    // One answer, to exactly that subject.
    assert_eq!(
        responder.ask("PUB inbox.2 0\r\n\r\n"),
        [refused_publish("inbox.2")]
    );
    responder.quietly("PUB inbox.1 2\r\nok\r\n");
    requester.expect(&["MSG inbox.1 1 2", "ok"]);
    assert_eq!(
        responder.ask("PUB inbox.1 0\r\n\r\n"),
        [refused_publish("inbox.1")]
    );
}

#[test]
fn auth_014_answers_are_counted() {
    for key in ["max", "max_msgs", "max_messages", "max_responses"] {
        let server = server_with(&format!(
            "subscribe: svc, publish: ok, allow_responses: {{{key}: 3, expires: \"1m\"}}"
        ));
        let mut requester = admin(&server);
        let mut responder = user(&server);
        responder.quietly("SUB svc 1\r\nPUB ok 0\r\n\r\n");
        requester.send("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(responder.message().reply, "inbox");
        let answers = responder.ask("PUB inbox 0\r\n\r\n".repeat(5));
        assert_eq!(
            answers,
            [refused_publish("inbox"), refused_publish("inbox")],
            "{key}"
        );
    }
}

#[test]
fn auth_014_negative_means_unlimited() {
    let server = server_with("subscribe: svc, allow_responses: {max: -1, expires: \"1m\"}");
    let mut requester = admin(&server);
    let mut responder = user(&server);
    responder.quietly("SUB svc 1\r\n");
    requester.send("PUB svc inbox 1\r\nq\r\n");
    assert_eq!(responder.message().reply, "inbox");
    responder.quietly("PUB inbox 0\r\n\r\n".repeat(100));
}

#[test]
fn auth_015_the_right_to_answer_expires() {
    for key in ["expires", "expiration", "ttl"] {
        let server = server_with(&format!(
            "subscribe: svc, allow_responses: {{max: -1, {key}: \"50ms\"}}"
        ));
        let mut requester = admin(&server);
        let mut responder = user(&server);
        responder.quietly("SUB svc 1\r\n");
        requester.send("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(responder.message().reply, "inbox");
        crate::support::wait_until("the expiry", || {
            (responder.ask("PUB inbox 0\r\n\r\n") == [refused_publish("inbox")]).then_some(())
        });
    }
}

#[test]
fn auth_015_each_request_grants_its_own_answer_wherever_it_came_from() {
    let server = server_with("subscribe: svc, allow_responses: true");
    let mut responders: Vec<Client> = (0..8).map(|_| user(&server)).collect();
    responders
        .iter_mut()
        .for_each(|responder| responder.quietly("SUB svc q 1\r\n"));
    let mut requester = admin(&server);
    requester.quietly("SUB inbox.* 1\r\n");
    for round in 0..100 {
        requester.send(format!("PUB svc inbox.{round} 1\r\nq\r\n"));
    }
    for responder in &mut responders {
        for line in responder.ask("") {
            let Some(reply) = line
                .split(' ')
                .nth(3)
                .filter(|_| line.starts_with("MSG svc"))
            else {
                continue;
            };
            responder.send(format!("PUB {reply} 1\r\na\r\n"));
        }
    }
    // Requests that arrived after the PONG are answered here.
    let mut answered = 0;
    while answered < 100 {
        for responder in &mut responders {
            for line in responder.ask("") {
                let Some(reply) = line
                    .split(' ')
                    .nth(3)
                    .filter(|_| line.starts_with("MSG svc"))
                else {
                    continue;
                };
                responder.send(format!("PUB {reply} 1\r\na\r\n"));
            }
        }
        answered += requester
            .ask("")
            .iter()
            .filter(|line| line.starts_with("MSG inbox."))
            .count();
    }
    assert_eq!(answered, 100);
}

#[test]
fn auth_017_an_invalid_permission_subject_is_an_error() {
    for subject in ["a..b", "", ".a", "a.>.b", "a\tb"] {
        let config = format!(
            "authorization {{ users: [{{user: u, password: p, permissions: {{publish: \"{subject}\"}}}}] }}"
        );
        let run = Server::builder().config(&config).run();
        assert_eq!(run.code, 1, "{subject:?}");
        assert!(
            run.stderr.contains("is not a valid subject"),
            "{subject:?}: {}",
            run.stderr
        );
    }
}

#[test]
fn auth_020_reply_subjects_are_not_checked() {
    let server = server_with("publish: svc");
    let mut responder = admin(&server);
    responder.quietly("SUB svc 1\r\n");
    user(&server).quietly("PUB svc anywhere.at.all 1\r\nq\r\n");
    assert_eq!(responder.message().reply, "anywhere.at.all");
}

#[test]
fn auth_021_reserved_looking_subjects_are_ordinary_in_an_account() {
    let server = server_with("publish: [svc], subscribe: [svc]");
    let mut client = user(&server);
    let refused = "-ERR 'Permissions Violation for Subscription to \"_INBOX.x\"'";
    assert_eq!(
        client.ask("SUB _INBOX.x 1\r\nPUB _INBOX.x 0\r\n\r\n"),
        [refused, &refused_publish("_INBOX.x")]
    );
    let mut free = admin(&server);
    let answer = free.ask("SUB _INBOX.x 1\r\nSUB $KV.b.k 2\r\nPUB $KV.b.k 1\r\nv\r\nPUB $SYS.REQ.NOPE.X _INBOX.x 0\r\n\r\n");
    assert_eq!(answer[..2], ["MSG $KV.b.k 2 1", "v"]);
    assert!(
        answer[2].starts_with("HMSG _INBOX.x 1 ") && answer[3] == "NATS/1.0 503",
        "{answer:?}"
    );
}
