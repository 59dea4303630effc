//! Section 1.5, queue groups and no-responders.

use crate::support::client::{Client, delivered};
use crate::support::server::Server;

/// Messages each of `members` holds, once `publisher` has sent `count` to `subject`.
#[track_caller]
fn share(
    publisher: &mut Client,
    members: &mut [Client],
    subject: &str,
    count: usize,
) -> Vec<usize> {
    publisher.send(format!("PUB {subject} 1\r\nx\r\n").repeat(count));
    members
        .iter_mut()
        .map(|member| {
            let lines = delivered(publisher, member, "");
            lines
                .iter()
                .filter(|line| line.starts_with(&format!("MSG {subject} ")))
                .count()
        })
        .collect()
}

#[test]
fn core_069_one_member_of_a_queue_group_gets_each_message() {
    let server = Server::start();
    let mut members = server.clients();
    for member in &mut members {
        member.quietly("SUB job q 1\r\n");
    }
    for publisher in &mut server.clients() {
        let shares = share(publisher, &mut members, "job", 200);
        assert_eq!(shares.iter().sum::<usize>(), 200, "{shares:?}");
        // 200 draws among 8: an empty share has a chance of 2e-11.
        assert!(shares.iter().all(|count| *count > 0), "{shares:?}");
    }
}

#[test]
fn core_069_different_groups_and_plain_subscriptions_each_get_it() {
    let server = Server::start();
    let mut members = server.clients();
    for (index, member) in members.iter_mut().enumerate() {
        let group = ["red", "blue"][index % 2];
        member.quietly(format!("SUB job {group} 1\r\n"));
    }
    let mut plain = server.client();
    plain.quietly("SUB job 1\r\n");
    let mut publisher = server.client();
    let shares = share(&mut publisher, &mut members, "job", 100);
    let [red, blue] = [0, 1].map(|first| shares.iter().skip(first).step_by(2).sum::<usize>());
    assert_eq!((red, blue), (100, 100));
    assert_eq!(
        share(&mut publisher, std::slice::from_mut(&mut plain), "job", 0),
        [100]
    );
}

#[test]
fn core_069_one_name_over_several_filters_is_one_group() {
    let server = Server::start();
    let mut members = server.clients();
    for (index, member) in members.iter_mut().enumerate() {
        let filter = ["a.b", "a.*", "a.>", "*.b"][index % 4];
        member.quietly(format!("SUB {filter} q 1\r\n"));
    }
    let shares = share(&mut server.client(), &mut members, "a.b", 200);
    assert_eq!(shares.iter().sum::<usize>(), 200, "{shares:?}");
}

#[test]
fn core_069_one_connection_with_two_members_gets_one() {
    let server = Server::start();
    let mut client = server.client();
    client.quietly("SUB a q 1\r\nSUB a q 2\r\nSUB a.> q 3\r\n");
    assert_eq!(client.ask("PUB a 1\r\nx\r\n".repeat(20)).len(), 40);
}

#[test]
fn core_070_a_member_that_cannot_take_it_is_passed_over() {
    let server = Server::start();
    let mut deaf = server.client_with("{\"echo\":false}");
    deaf.quietly("SUB job q 1\r\nSUB job q 2\r\n");
    let mut other = server.client();
    other.quietly("SUB job q 1\r\n");
    // No echo: the publisher's own members never count.
    let shares = share(&mut deaf, std::slice::from_mut(&mut other), "job", 50);
    assert_eq!(shares, [50]);
}

#[test]
fn core_070_a_group_survives_members_that_come_and_go() {
    let server = Server::start();
    let mut publisher = server.client();
    let mut steady = server.client();
    steady.quietly("SUB job q 1\r\n");
    for round in 0..50 {
        let mut visitor = server.client();
        visitor.quietly("SUB job q 1\r\nUNSUB 1 3\r\n");
        publisher.quietly("PUB job 1\r\nx\r\n".repeat(20));
        let at_visitor = delivered(&mut publisher, &mut visitor, "").len() / 2;
        let at_steady = delivered(&mut publisher, &mut steady, "").len() / 2;
        assert!(at_visitor <= 3, "round {round}");
        assert_eq!(at_steady + at_visitor, 20, "round {round}");
        visitor.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_070_a_closed_member_never_gets_it() {
    let server = Server::start();
    let mut publisher = server.client();
    let mut steady = server.client();
    steady.quietly("SUB job q 1\r\n");
    for round in 0..30 {
        let mut visitor = server.client();
        visitor.quietly("SUB job q 1\r\n");
        // Closed by the server itself, so its member is gone before the EOF is seen.
        visitor.send("UNSUB 1\r\nPING\r\nBAD\r\n");
        assert_eq!(visitor.closed()[0], "PONG");
        let lines = delivered(
            &mut publisher,
            &mut steady,
            &"PUB job 1\r\nx\r\n".repeat(10),
        );
        assert_eq!(lines.len(), 20, "round {round}");
    }
}

/// The answer to a request of `subject` that nobody hears.
fn no_responders(subject: &str, reply: &str, sid: &str) -> Vec<String> {
    let size = 32 + subject.len();
    let head = format!("HMSG {reply} {sid} {size} {size}");
    let header = format!("Nats-Subject: {subject}");
    vec![
        head,
        "NATS/1.0 503".into(),
        header,
        String::new(),
        String::new(),
    ]
}

#[test]
fn core_071_a_request_nobody_hears_is_answered_at_once() {
    let server = Server::start();
    let mut client = server.client();
    let answer = client.ask("SUB inbox.* 5\r\nPUB nobody.home inbox.7 2\r\nhi\r\n");
    assert_eq!(answer, no_responders("nobody.home", "inbox.7", "5"));
    let answer = client.ask("HPUB x inbox.8 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    assert_eq!(answer, no_responders("x", "inbox.8", "5"));
}

#[test]
fn core_071_no_answer_without_the_feature_the_reply_or_a_plain_inbox() {
    let server = Server::start();
    let mut client = server.client_with("{\"no_responders\":false}");
    client.quietly("SUB inbox 1\r\nPUB nobody inbox 0\r\n\r\n");
    let mut client = server.client();
    client.quietly("SUB inbox 1\r\nPUB nobody 0\r\n\r\n");
    client.quietly("PUB nobody elsewhere 0\r\n\r\n");
    client.quietly("SUB queued q 2\r\nPUB nobody queued 0\r\n\r\n");
}

#[test]
fn core_071_another_connections_inbox_gets_no_answer() {
    let server = Server::start();
    let mut owner = server.client();
    owner.quietly("SUB inbox 1\r\n");
    for mut requester in server.clients() {
        assert_eq!(
            delivered(&mut requester, &mut owner, "PUB nobody inbox 0\r\n\r\n"),
            [""; 0]
        );
        requester.quietly("");
    }
}

#[test]
fn core_071_a_responder_anywhere_counts() {
    let server = Server::start();
    let mut requester = server.client();
    requester.quietly("SUB inbox 1\r\n");
    for (index, mut responder) in server.clients().into_iter().enumerate() {
        let filter = ["svc", "svc q", "*", "> q"][index % 4];
        responder.quietly(format!("SUB {filter} 1\r\n"));
        requester.quietly("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(responder.message().reply, "inbox");
        responder.quietly("UNSUB 1\r\n");
    }
}

#[test]
fn core_071_after_unsub_and_pong_the_next_request_gets_503_every_time() {
    let server = Server::start();
    let mut responders = server.clients();
    let mut requesters = server.clients();
    for requester in &mut requesters {
        requester.quietly("SUB inbox 1\r\n");
    }
    for round in 0..150 {
        let responder = &mut responders[round % 8];
        let requester = &mut requesters[round / 8 % 8];
        let group = ["", "q "][round % 2];
        responder.quietly(format!("SUB svc {group}1\r\n"));
        requester.quietly("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(responder.message().payload, b"q");
        responder.quietly("UNSUB 1\r\n");
        let answer = requester.ask("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(answer, no_responders("svc", "inbox", "1"), "round {round}");
    }
}

#[test]
fn core_071_a_subscription_at_its_max_is_no_responder() {
    let server = Server::start();
    let mut requesters = server.clients();
    for requester in &mut requesters {
        requester.quietly("SUB inbox 1\r\n");
        let mut responder = server.client();
        responder.quietly("SUB svc 1\r\nUNSUB 1 1\r\n");
        requester.quietly("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(responder.message().payload, b"q");
        responder.quietly("");
        let answer = requester.ask("PUB svc inbox 1\r\nq\r\n");
        assert_eq!(answer, no_responders("svc", "inbox", "1"));
    }
}

#[test]
fn core_071_own_subscriptions_without_echo_are_no_responders() {
    let server = Server::start();
    let mut client = server.client_with("{\"echo\":false}");
    let answer = client.ask("SUB inbox 1\r\nSUB svc 2\r\nPUB svc inbox 0\r\n\r\n");
    assert_eq!(answer, no_responders("svc", "inbox", "1"));
}
