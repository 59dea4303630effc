//! Requests and queue messages whose subscribers may not take them, wherever those are: what a
//! client sees is the same whether they are on its shard or on another (CORE-70, CORE-71).

use crate::support::client::{Client, delivered};
use crate::support::server::Server;

/// Users `deaf`, who is not delivered `svc.no`, and `open`, who may do everything.
fn server() -> Server {
    Server::with_config(
        "authorization { users: [
            { user: deaf, password: p, permissions: { subscribe: { deny: \"svc.no\" } } }
            { user: open, password: p }
        ] }",
    )
}

#[track_caller]
fn user(server: &Server, name: &str) -> Client {
    server.client_with(&format!("{{\"user\":\"{name}\",\"pass\":\"p\"}}"))
}

/// Eight of them: on every shard of a machine for tests.
#[track_caller]
fn users(server: &Server, name: &str) -> Vec<Client> {
    (0..8).map(|_| user(server, name)).collect()
}

fn no_responders(subject: &str) -> Vec<String> {
    let size = 32 + subject.len();
    let header = format!("Nats-Subject: {subject}");
    let head = format!("HMSG inbox 1 {size} {size}");
    vec![
        head,
        "NATS/1.0 503".into(),
        header,
        String::new(),
        String::new(),
    ]
}

/// Each of `requesters` asks `svc.no` and is told that nobody is there, before its PONG.
#[track_caller]
fn nobody_answers(requesters: &mut [Client]) {
    for requester in requesters {
        requester.quietly("SUB inbox 1\r\n");
        let answer = requester.ask("PUB svc.no inbox 1\r\nq\r\n");
        assert_eq!(answer, no_responders("svc.no"));
        let answer = requester.ask("HPUB svc.no inbox 12 13\r\nNATS/1.0\r\n\r\nq\r\n");
        assert_eq!(answer, no_responders("svc.no"));
        let answer = requester.ask("PUB svc.no inbox 1\r\nq\r\n".repeat(20));
        assert_eq!(answer, [&no_responders("svc.no")[..]; 20].concat());
        requester.quietly("PUB svc.no 1\r\nq\r\nPUB svc.no elsewhere 1\r\nq\r\n");
        requester.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_071_one_subscriber_that_may_not_receive_is_no_responder() {
    let server = server();
    let mut requesters = users(&server, "open");
    for pattern in ["svc.*", "svc.* q", ">", "*.no q"] {
        let mut deaf = user(&server, "deaf");
        deaf.quietly(format!("SUB {pattern} 1\r\n"));
        nobody_answers(&mut requesters);
        deaf.quietly("");
    }
}

#[test]
fn core_071_many_subscribers_that_may_not_receive_are_no_responders() {
    let server = server();
    let mut requesters = users(&server, "open");
    let mut deaf = users(&server, "deaf");
    for client in &mut deaf {
        client.quietly("SUB svc.* 1\r\n");
    }
    nobody_answers(&mut requesters);
    for client in &mut deaf {
        client.quietly("SUB svc.* red 2\r\nSUB *.no blue 3\r\nSUB > green 4\r\n");
    }
    nobody_answers_in_the_end(&mut requesters);
    for client in &mut deaf {
        client.quietly("UNSUB 1\r\n");
    }
    nobody_answers_in_the_end(&mut requesters);
}

/// As [`nobody_answers`] for queue groups on several shards: a shard that finds no member passes
/// the message on, and a PONG does not wait for that.
#[track_caller]
fn nobody_answers_in_the_end(requesters: &mut [Client]) {
    for requester in requesters {
        requester.quietly("SUB inbox 1\r\n");
        requester.send("PUB svc.no inbox 1\r\nq\r\n".repeat(20));
        for line in [&no_responders("svc.no")[..]; 20].concat() {
            requester.expect(&[&line]);
        }
        requester.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_071_one_that_may_receive_among_many_that_may_not_is_a_responder() {
    let server = server();
    let mut requesters = users(&server, "open");
    for requester in &mut requesters {
        requester.quietly("SUB inbox 1\r\n");
    }
    let mut deaf = users(&server, "deaf");
    for client in &mut deaf {
        client.quietly("SUB svc.* 1\r\nSUB svc.* red 2\r\nSUB *.no blue 3\r\n");
    }
    for pattern in ["svc.no", "svc.no red", "> own"] {
        for mut responder in users(&server, "open") {
            responder.quietly(format!("SUB {pattern} 1\r\n"));
            for requester in &mut requesters {
                requester.quietly("PUB svc.no inbox 1\r\nq\r\n".repeat(3));
                let lines = delivered(requester, &mut responder, "");
                assert_eq!(lines, ["MSG svc.no 1 inbox 1", "q"].repeat(3));
            }
            responder.quietly("UNSUB 1\r\n");
        }
    }
}

#[test]
fn core_071_the_request_after_the_last_one_a_subscription_takes_is_answered() {
    let server = Server::start();
    for mut requester in server.clients() {
        requester.quietly("SUB inbox 1\r\n");
        for group in ["", "q "] {
            for mut responder in server.clients() {
                responder.quietly(format!("SUB svc {group}1\r\nUNSUB 1 2\r\n"));
                // All five in one write: the end of the subscription is news to nobody yet.
                let answer = requester.ask("PUB svc inbox 1\r\nq\r\n".repeat(5));
                assert_eq!(answer, [&no_responders("svc")[..]; 3].concat());
                let lines = delivered(&mut requester, &mut responder, "");
                assert_eq!(lines, ["MSG svc 1 inbox 1", "q"].repeat(2));
            }
        }
    }
}

#[test]
fn core_071_own_subscription_without_echo_beside_others_that_cannot() {
    let server = server();
    let mut deaf = user(&server, "deaf");
    deaf.quietly("SUB svc.* 1\r\n");
    for _ in 0..8 {
        let options = "{\"user\":\"open\",\"pass\":\"p\",\"echo\":false}";
        let mut client = server.client_with(options);
        client.quietly("SUB inbox 1\r\nSUB svc.* 2\r\nSUB svc.no q 3\r\n");
        let answer = client.ask("PUB svc.no inbox 1\r\nq\r\n");
        assert_eq!(answer, no_responders("svc.no"));
        let answer = client.ask("PUB svc.yes inbox 1\r\nq\r\n");
        assert_eq!(answer, [""; 0]);
        // The server need not know yet that it is gone when the next one asks.
        client.quietly("UNSUB 1\r\nUNSUB 2\r\nUNSUB 3\r\n");
    }
}

#[test]
fn core_070_the_one_member_that_may_receive_gets_everything() {
    let server = server();
    let mut deaf = users(&server, "deaf");
    for client in &mut deaf {
        client.quietly("SUB svc.* q 1\r\nSUB > q 2\r\n");
    }
    let mut publishers = users(&server, "open");
    // Wherever it is: beside the publisher, beside those that may not, or on its own.
    for mut able in users(&server, "open") {
        able.quietly("SUB svc.* q 1\r\n");
        for publisher in &mut publishers {
            publisher.quietly("PUB svc.no 1\r\nx\r\n".repeat(40));
            // A message may be passed on several times: the mark may be faster.
            let mut lines = 0;
            while lines < 80 {
                assert!(["MSG svc.no 1 1", "x"].contains(&able.line().as_str()));
                lines += 1;
            }
            assert_eq!(delivered(publisher, &mut able, ""), [""; 0]);
        }
        able.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_070_the_publishers_own_member_without_echo_is_passed_over_wherever_the_others_are() {
    let server = Server::start();
    for _ in 0..8 {
        let mut publisher = server.client_with("{\"echo\":false}");
        publisher.quietly("SUB job q 1\r\n");
        for mut other in server.clients() {
            other.quietly("SUB job q 1\r\n");
            publisher.quietly("PUB job 1\r\nx\r\n".repeat(20));
            let lines = delivered(&mut publisher, &mut other, "");
            assert_eq!(lines, ["MSG job 1 1", "x"].repeat(20));
            other.quietly("UNSUB 1\r\n");
        }
        // The server need not know yet that it is gone when the next one publishes.
        publisher.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_036_a_maximum_counts_messages_of_all_publishers() {
    let server = Server::start();
    let mut publishers = server.clients();
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a 1\r\nUNSUB 1 8\r\n");
        for publisher in &mut publishers {
            publisher.quietly("PUB a 1\r\nx\r\nPUB a 1\r\nx\r\n");
        }
        let mut lines = Vec::new();
        for publisher in &mut publishers {
            lines.extend(delivered(publisher, &mut subscriber, ""));
        }
        assert_eq!(lines, ["MSG a 1 1", "x"].repeat(8));
    }
}

#[test]
fn core_034_a_reply_finds_the_inbox_made_right_before_the_request() {
    let server = Server::start();
    for mut responder in server.clients() {
        responder.quietly("SUB svc q 1\r\n");
        for requester in &mut server.clients() {
            for sid in 1..20 {
                // No PING between: interest in the inbox and the request travel together.
                requester.send(format!(
                    "SUB in.{sid} {sid}\r\nUNSUB {sid} 1\r\nPUB svc in.{sid} 0\r\n\r\n"
                ));
                let reply = responder.message().reply;
                responder.send(format!("PUB {reply} 2\r\nok\r\n"));
                assert_eq!(requester.message().payload, b"ok");
            }
        }
        responder.quietly("UNSUB 1\r\n");
    }
}
