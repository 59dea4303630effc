//! A leaf node that takes nothing any more harms nobody but itself (CORE-61, issue 6).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::server::Server;

const PAYLOAD: usize = 32 * 1024;
/// More than what waits for a link may be, and the kernel's buffers.
const MESSAGES: usize = 1000;
/// For a write to a link.
const DEADLINE: Duration = Duration::from_millis(300);

#[track_caller]
fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

/// A link that wants everything below `all`.
#[track_caller]
fn link(server: &Server, name: &str) -> Client {
    let mut link = Client::open(leaf_address(server));
    let connect = json!({"name": name, "headers": true, "protocol": 3, "version": "2.15.1",
                         "remote_account": "$G"});
    link.send(format!("CONNECT {connect}\r\n"));
    link.info_line();
    link.ask("LS+ all.>\r\n");
    link
}

/// Reads a message off a link, and gives its subject.
#[track_caller]
fn taken(link: &mut Client) -> String {
    loop {
        let line = link.line();
        let mut words = line.split(' ');
        if words.next() == Some("LMSG") {
            let subject = words.next().expect("a subject").to_owned();
            assert_eq!(link.bytes(PAYLOAD + 2).len(), PAYLOAD + 2);
            return subject;
        }
    }
}

#[test]
fn core_061_a_stuck_leaf_is_closed_and_the_others_miss_nothing() {
    let server = Server::with_config(&format!(
        "max_pending: 4MB
         write_deadline: \"{DEADLINE:?}\"
         leafnodes {{ listen: \"127.0.0.1:-1\" }}"
    ));
    let before = server.resident_size();
    let _stuck: Vec<Client> = (0..4)
        .map(|at| link(&server, &format!("stuck{at}")))
        .collect();
    let mut good = link(&server, "good");
    let mut local = server.client();
    local.quietly("SUB all.> 1\r\n");
    let mut publisher = server.client();
    let payload = "x".repeat(PAYLOAD);
    let began = Instant::now();
    for number in 0..MESSAGES {
        publisher.send(format!("PUB all.{number} {PAYLOAD}\r\n{payload}\r\n"));
        // Both keep up with the publisher.
        assert_eq!(taken(&mut good), format!("all.{number}"));
        assert_eq!(local.message().subject, format!("all.{number}"));
    }
    publisher.ask("");
    // One that is stuck has cost its pending bytes and its deadline, not each message a wait.
    let took = began.elapsed();
    assert!(took < DEADLINE * MESSAGES as u32 / 3, "{took:?}");
    let grown = server.resident_size().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown}");
    for _ in 0..2 {
        server.logged("Slow Consumer");
    }
    crate::support::wait_until("the stuck ones to be closed", || {
        let closed = server.count_in_log("Leafnode connection closed: Slow Consumer");
        (closed == 4).then_some(())
    });
    // The others still are there.
    publisher.send(format!("PUB all.last {PAYLOAD}\r\n{payload}\r\n"));
    assert_eq!(taken(&mut good), "all.last");
    assert_eq!(local.message().subject, "all.last");
    good.ask("");
}

/// A leaf that takes its time, but moves, loses nothing as long as what waits is bounded.
#[test]
fn core_061_a_slow_leaf_that_moves_is_waited_for() {
    let server = Server::with_config("leafnodes { listen: \"127.0.0.1:-1\" }");
    let mut slow = link(&server, "slow");
    let mut publisher = server.client();
    let payload = "x".repeat(PAYLOAD);
    const COUNT: usize = 300;
    for number in 0..COUNT {
        publisher.send(format!("PUB all.{number} {PAYLOAD}\r\n{payload}\r\n"));
    }
    for number in 0..COUNT {
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(taken(&mut slow), format!("all.{number}"));
    }
    publisher.ask("");
}

#[test]
fn topo_048_a_link_has_a_write_deadline_of_its_own() {
    for more in ["", "write_timeout: retry", "write_timeout: close"] {
        let server = Server::with_config(&format!(
            "leafnodes {{ listen: \"127.0.0.1:-1\", write_deadline: \"200ms\", {more} }}"
        ));
        let _stuck = link(&server, "stuck");
        let mut publisher = server.client();
        let payload = "x".repeat(PAYLOAD);
        for number in 0..400 {
            publisher.send(format!("PUB all.{number} {PAYLOAD}\r\n{payload}\r\n"));
        }
        publisher.ask("");
        server.logged("Slow Consumer Detected: WriteDeadline of 200ms exceeded");
        server.logged("Leafnode connection closed: Slow Consumer (Write Deadline)");
    }
}
