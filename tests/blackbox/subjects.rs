//! Section 1.5, subjects: validity, matching, and when interest takes effect.

use crate::support::client::delivered;
use crate::support::server::Server;

#[test]
fn core_067_invalid_subjects_are_refused_in_sub() {
    let server = Server::start();
    let mut client = server.client();
    for subject in [
        ".", ".a", "a.", "a..b", ">.a", "a.>.b", "*.>.*", "..", "a.>.>",
    ] {
        assert_eq!(
            client.ask(format!("SUB {subject} 1\r\n")),
            ["-ERR 'Invalid Subject'"],
            "{subject}"
        );
    }
    for subject in [
        "a", "*", ">", "a.*", "a.>", "*.*.>", "a*", "a.b*.c", "a>b", ">a.b", "a.*b",
    ] {
        client.quietly(format!("SUB {subject} 2\r\nUNSUB 2\r\n"));
    }
}

/// Tests `pattern` against `subject` token by token, by the book.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(literal)) if token != literal => return false,
            _ => {}
        }
    }
    subject.next().is_none()
}

#[test]
fn core_067_wildcards_match_by_the_book_on_every_connection() {
    let tokens = ["a", "b", "*", ">"];
    let mut patterns: Vec<String> = vec!["a*".into(), "a.b>".into(), "*a.b".into()];
    for first in tokens {
        patterns.push(first.to_owned());
        for second in tokens.iter().filter(|_| first != ">") {
            patterns.push(format!("{first}.{second}"));
            for third in tokens.iter().filter(|_| *second != ">") {
                patterns.push(format!("{first}.{second}.{third}"));
            }
        }
    }
    let subjects = [
        "a", "b", "a.a", "a.b", "b.a", "c.a", "a.b.a", "a.b.c", "b.b.b.b", "a*", "*a.b",
    ];
    let server = Server::start();
    let mut publisher = server.client();
    for mut subscriber in server.clients() {
        let all: String = patterns
            .iter()
            .enumerate()
            .map(|(sid, p)| format!("SUB {p} {sid}\r\n"))
            .collect();
        subscriber.quietly(all);
        for subject in subjects {
            let lines = delivered(
                &mut publisher,
                &mut subscriber,
                &format!("PUB {subject} 0\r\n\r\n"),
            );
            let mut got: Vec<&str> = lines
                .iter()
                .filter(|line| !line.is_empty())
                .map(|line| {
                    let sid: usize = line.split(' ').nth(2).expect("sid").parse().expect("ours");
                    patterns[sid].as_str()
                })
                .collect();
            let mut want: Vec<&str> = patterns
                .iter()
                .map(String::as_str)
                .filter(|p| matches(p, subject))
                .collect();
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want, "{subject}");
        }
    }
}

#[test]
fn core_068_unless_pedantic_publish_subjects_are_not_validated() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(
        client.ask("SUB > 1\r\nPUB foo.* 1\r\nx\r\n"),
        ["MSG foo.* 1 1", "x"]
    );
    client.quietly("PUB foo..bar 1\r\nx\r\nPUB .a 1\r\nx\r\nPUB a. 1\r\nx\r\n");
}

#[test]
fn core_044_068_pedantic_complains_about_a_publish_subject_and_routes_it() {
    let server = Server::start();
    let mut client = server.client_with("{\"pedantic\":true}");
    let error = "-ERR 'Invalid Publish Subject'";
    assert_eq!(
        client.ask("SUB > 1\r\nPUB foo.* 1\r\nx\r\n"),
        [error, "MSG foo.* 1 1", "x"]
    );
    assert_eq!(client.ask("PUB foo..bar 1\r\nx\r\n"), [error]);
    assert_eq!(client.ask("PUB ok 1\r\nx\r\n"), ["MSG ok 1 1", "x"]);
}

#[test]
fn core_069_every_plain_subscription_gets_its_copy() {
    let server = Server::start();
    let mut publisher = server.client();
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a.b 1\r\nSUB a.b 2\r\nSUB a.* 3\r\nSUB a.> 4\r\n");
        let lines = delivered(&mut publisher, &mut subscriber, "PUB a.b 1\r\nx\r\n");
        let mut heads: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| *line != "x")
            .collect();
        heads.sort_unstable();
        assert_eq!(
            heads,
            ["MSG a.b 1 1", "MSG a.b 2 1", "MSG a.b 3 1", "MSG a.b 4 1"]
        );
    }
}

#[test]
fn core_073_subjects_are_bytes() {
    let server = Server::start();
    let mut publisher = server.client();
    for mut subscriber in server.clients() {
        subscriber.quietly(b"SUB \xff\xfe.* 1\r\nSUB caf\xc3\xa9.'\"\\ 2\r\n");
        publisher.quietly(b"PUB \xff\xfe.\x01\x02 1\r\nx\r\nPUB caf\xc3\xa9.'\"\\ 1\r\ny\r\n");
        assert_eq!(subscriber.message().payload, b"x");
        assert_eq!(subscriber.message().subject, "caf\u{e9}.'\"\\");
    }
}

#[test]
fn core_041_after_the_pong_a_subscription_hears_everybody_every_time() {
    let server = Server::start();
    let mut subscribers = server.clients();
    let mut publishers = server.clients();
    for round in 0..150 {
        let subscriber = &mut subscribers[round % 8];
        let publisher = &mut publishers[round / 8 % 8];
        subscriber.quietly(format!("SUB now.{round} 1\r\n"));
        publisher.send(format!("PUB now.{round} 1\r\nx\r\n"));
        subscriber.expect(&[&format!("MSG now.{round} 1 1"), "x"]);
        subscriber.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_041_the_ok_of_a_verbose_sub_is_a_barrier_too() {
    let server = Server::start();
    let mut publishers = server.clients();
    for round in 0..50 {
        let mut subscriber = server.client_with("{\"verbose\":true}");
        subscriber.send(format!("SUB now.{round} 1\r\n"));
        subscriber.expect(&["+OK"]);
        publishers[round % 8].send(format!("PUB now.{round} 1\r\nx\r\n"));
        subscriber.expect(&[&format!("MSG now.{round} 1 1"), "x"]);
    }
}

#[test]
fn core_041_a_reply_never_overtakes_the_interest_in_it() {
    let server = Server::start();
    let mut responders = server.clients();
    for (index, responder) in responders.iter_mut().enumerate() {
        responder.quietly(format!("SUB svc.{index} 1\r\n"));
    }
    let mut requesters = server.clients();
    for round in 0..150 {
        let (requester, index) = (&mut requesters[round % 8], round / 8 % 8);
        // No PING between SUB and PUB: the order on the wire is all the client has.
        requester.send(format!(
            "SUB inbox.{round} 1\r\nPUB svc.{index} inbox.{round} 1\r\nq\r\n"
        ));
        let request = responders[index].message();
        responders[index].send(format!("PUB {} 1\r\na\r\n", request.reply));
        requester.expect(&[&format!("MSG inbox.{round} 1 1"), "a"]);
        requester.send("UNSUB 1\r\n");
    }
}
