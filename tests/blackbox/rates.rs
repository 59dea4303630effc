//! Rate limits, which stock does not have.

use std::time::Instant;

use serde_json::json;

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;

const USERS: &str = r#"
    accounts {
        A { users: [{user: a, password: a}, {user: b, password: b}] }
        B { users: [{user: c, password: c}] }
    }
"#;

fn server(limits: &str) -> Option<Server> {
    beyond_stock().then(|| Server::with_monitor(&format!("{USERS}\nrate_limits {limits}")))
}

fn login(server: &Server, user: &str) -> Client {
    server.client_with(&json!({ "user": user, "pass": user }).to_string())
}

fn publishes(count: usize) -> String {
    "PUB x 10\r\n0123456789\r\n".repeat(count)
}

#[test]
fn messages_of_a_user_beyond_the_limit_are_lost_with_a_reason() {
    let Some(server) = server("{ user: {messages: 100} }") else {
        return;
    };
    let mut receiver = login(&server, "b");
    receiver.quietly("SUB x 1\r\n");
    let mut publisher = login(&server, "a");
    let begun = Instant::now();
    let lines = publisher.ask(publishes(3000));
    let seconds = begun.elapsed().as_secs() as usize + 1;
    // Told once a second, not thousands of times.
    assert!((1..=seconds).contains(&lines.len()), "{lines:?}");
    for line in lines {
        assert_eq!(
            line,
            "-ERR 'Permissions Violation for Publish to \"x\": \
             rate limit of 100 messages a second for user \"a\" exceeded'"
        );
    }
    let got = receiver.ask("").len() / 2;
    assert!((100..=100 + 100 * seconds).contains(&got), "{got}");

    // What a user has used up is gone on every connection of it; others have their own.
    let mut second = login(&server, "a");
    second.ask(publishes(3000));
    let mut other = login(&server, "b");
    assert_eq!(other.ask(publishes(50)), [""; 0]);

    let connz = server.json("/connz");
    let rows = connz["connections"].as_array().expect("rows");
    let refused: Vec<u64> = rows
        .iter()
        .filter_map(|it| it["rate_limited"].as_u64())
        .collect();
    assert!(
        !refused.is_empty() && refused.iter().all(|&it| it > 0),
        "{connz}"
    );
    let metrics = server.get("/metrics").body;
    let line = metrics
        .lines()
        .find(|it| it.starts_with("gnatsd_connz_rate_limited{"));
    assert!(line.is_some_and(|it| !it.ends_with(" 0.0")), "{line:?}");
}

#[test]
fn bytes_of_an_account_count_over_all_its_users() {
    let Some(server) = server("{ account: {bytes: 1K} }") else {
        return;
    };
    let (mut a, mut b, mut c) = (
        login(&server, "a"),
        login(&server, "b"),
        login(&server, "c"),
    );
    // Neither of them goes beyond it alone.
    let lines = wait_until("too much in one second", || {
        a.ask(publishes(90));
        let lines = b.ask(publishes(90));
        (!lines.is_empty()).then_some(lines)
    });
    assert!(
        lines[0].contains("bytes a second for account \"A\" exceeded"),
        "{lines:?}"
    );
    assert_eq!(c.ask(publishes(90)), [""; 0]);
}

#[test]
fn subscriptions_of_an_address_beyond_the_limit_are_not_made() {
    let Some(server) = server("{ address: {subscriptions: 5} }") else {
        return;
    };
    let mut a = login(&server, "a");
    let begun = Instant::now();
    let lines = a.ask(
        "SUB y 1\r\n".to_owned()
            + &(2..20)
                .map(|sid| format!("SUB x q {sid}\r\n"))
                .collect::<String>(),
    );
    let more = 5 * (begun.elapsed().as_secs() as usize + 1);
    assert!(
        (14usize.saturating_sub(more).max(1)..=14).contains(&lines.len()),
        "{}",
        lines.len()
    );
    assert_eq!(
        lines[0],
        "-ERR 'Permissions Violation for Subscription to \"x\" using queue \"q\": \
         rate limit of 5 subscriptions a second for address 127.0.0.1 exceeded'"
    );
}

#[test]
fn connections_beyond_the_limit_are_told_and_closed() {
    for (limits, whose) in [
        ("{ address: {connections: 5} }", "address 127.0.0.1"),
        ("{ account: {connections: 5} }", "account \"A\""),
        ("{ user: {connections: 5} }", "user \"a\""),
    ] {
        let Some(server) = server(limits) else {
            return;
        };
        let mut refused = Vec::new();
        let begun = Instant::now();
        // All at once, however slow the machine.
        let mut clients: Vec<Client> = (0..12).map(|_| Client::dial(server.address())).collect();
        for client in &mut clients {
            client.send_until_closed(
                "CONNECT {\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}\r\nPING\r\n",
            );
        }
        for client in &mut clients {
            client.info_line();
            let first = client.raw_line();
            if first.starts_with("-ERR") {
                refused.push(first);
            }
        }
        let let_in = 5 + 5 * (begun.elapsed().as_secs() as usize + 1);
        let least = 12usize.saturating_sub(let_in);
        let expected = format!(
            "-ERR 'maximum connections exceeded: rate limit of 5 connections a second for {whose} exceeded'"
        );
        assert!((least..=7).contains(&refused.len()), "{}", refused.len());
        assert!(
            refused.iter().all(|it| it.trim_end() == expected),
            "{refused:?}"
        );
        // The places are free again: none is left counted.
        let varz = server.json("/varz");
        assert!(varz["connections"].as_u64().is_some_and(|it| it <= 12));
    }
}

#[test]
fn a_reload_changes_the_limits_of_those_who_are_there() {
    let Some(server) = server("{ user: {messages: 10} }") else {
        return;
    };
    let mut a = login(&server, "a");
    assert!(!a.ask(publishes(200)).is_empty());
    server.reload(&format!("{USERS}\nhttp: 127.0.0.1:-1"));
    assert_eq!(a.ask(publishes(200)), [""; 0]);
    server.reload(&format!(
        "{USERS}\nhttp: 127.0.0.1:-1\nrate_limits {{ user {{messages: 20}} }}"
    ));
    let lines = a.ask(publishes(200));
    assert!(lines[0].contains("rate limit of 20 messages"), "{lines:?}");
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    if !beyond_stock() {
        return;
    }
    for limits in [
        "{ user: {messages: 0} }",
        "{ user: {messages: -1} }",
        "{ users: {} }",
        "{ user: {msgs: 1} }",
        "7",
    ] {
        let builder = Server::builder().config(&format!("rate_limits: {limits}"));
        let finished = builder.flags("-t").run();
        assert!(finished.code != 0, "{limits}");
    }
}
