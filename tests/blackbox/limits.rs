//! Section 1.4: limits, timers, slow consumers.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::wait_until;
use rustix::net::sockopt;
use serde_json::Value;
use std::io::Read;

#[test]
fn core_054_a_payload_of_exactly_the_limit_passes() {
    let server = Server::with_config("max_payload: 1000");
    let mut publisher = server.client();
    let body = "x".repeat(1000);
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a 1\r\n");
        publisher.send(format!(
            "PUB a 1000\r\n{body}\r\nHPUB a 12 1000\r\n{body}\r\n"
        ));
        assert_eq!(subscriber.message().payload.len(), 1000);
        assert_eq!(subscriber.message().payload.len(), 988);
    }
}

#[test]
fn core_054_the_announced_size_is_refused_before_the_payload() {
    let server = Server::with_config("max_payload: 1000");
    for input in [
        "PUB a 1001\r\n",
        "HPUB a 12 1001\r\n",
        "HPUB a 1001 1001\r\n",
        "PUB a 999999999\r\n",
        "HPUB a 999999999 999999999\r\n",
    ] {
        let mut client = server.client();
        client.send(input);
        assert_eq!(
            client.closed(),
            ["-ERR 'Maximum Payload Violation'"],
            "{input:?}"
        );
    }
}

#[test]
fn core_054_the_default_limit_is_one_mebibyte() {
    let server = Server::start();
    let mut publisher = server.client();
    let body = vec![b'x'; 1 << 20];
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a 1\r\n");
        publisher.send("PUB a 1048576\r\n");
        publisher.send(&body);
        publisher.send("\r\n");
        assert!(subscriber.message().payload == body);
    }
    publisher.send("PUB a 1048577\r\n");
    assert_eq!(publisher.closed(), ["-ERR 'Maximum Payload Violation'"]);
}

#[test]
fn core_055_the_arguments_of_a_line_may_fill_the_limit() {
    let server = Server::with_config("max_control_line: 256");
    let mut client = server.client();
    // With ` 1` these are 256 bytes of arguments.
    let subject = "s".repeat(254);
    client.quietly(format!("SUB {subject} 1\r\n"));
    let answer = client.ask(format!("PUB {subject} 1\r\nx\r\n"));
    assert_eq!(answer, [format!("MSG {subject} 1 1"), "x".to_owned()]);
}

#[test]
fn core_055_longer_lines_close_whatever_the_verb() {
    let server = Server::with_config("max_control_line: 256");
    let long = "s".repeat(300);
    let error = "-ERR 'maximum control line exceeded'";
    for input in [
        format!("SUB {long} 1\r\n"),
        format!("PUB {long} 1\r\nx\r\n"),
        format!("UNSUB {long}\r\n"),
        format!("HPUB {long} 1 1\r\nx\r\n"),
        format!("SUB {long}"),
        format!("SUB a {long}"),
        format!("CONNECT {{\"name\":\"{long}\"}}\r\n"),
    ] {
        let mut client = server.client();
        client.send_until_closed(&input);
        assert_eq!(client.closed(), [error], "{input:?}");
        // The same bytes one by one may not slip through.
        let mut client = server.client();
        input
            .bytes()
            .for_each(|byte| client.send_until_closed([byte]));
        assert_eq!(client.closed(), [error], "split {input:?}");
    }
}

#[test]
fn core_055_the_default_limit_is_4096() {
    let server = Server::start();
    let mut client = server.client();
    client.quietly(format!("SUB {} 1\r\n", "s".repeat(4094)));
    client.send_until_closed(format!("SUB {} 1\r\n", "s".repeat(4095)));
    assert_eq!(client.closed(), ["-ERR 'maximum control line exceeded'"]);
}

#[test]
fn core_056_subscriptions_over_the_limit_are_refused() {
    let server = Server::with_config("max_subscriptions: 2");
    for mut client in server.clients() {
        let error = "-ERR 'maximum subscriptions exceeded'";
        assert_eq!(client.ask("SUB a 1\r\nSUB b q 2\r\nSUB c 3\r\n"), [error]);
        client.quietly("UNSUB 1\r\nSUB c 3\r\nPUB a 0\r\n\r\n");
        assert_eq!(client.ask("PUB c 1\r\nx\r\n"), ["MSG c 3 1", "x"]);
    }
}

#[test]
fn core_056_a_reload_closes_connections_at_the_limit() {
    let config = |user: &str| {
        let users = format!("[{{user: u, password: p}}, {{user: {user}, password: p}}]");
        format!("max_subscriptions: 2\nauthorization {{ users: {users} }}")
    };
    let server = Server::with_config(&config("v"));
    let login = "{\"user\":\"u\",\"pass\":\"p\"}";
    let mut below = server.client_with(login);
    below.quietly("SUB a 1\r\n");
    let mut at = server.client_with(login);
    at.quietly("SUB a 1\r\nSUB b 2\r\n");
    server.reload(&config("w"));
    assert_eq!(at.closed(), ["-ERR 'maximum subscriptions exceeded'"]);
    below.quietly("");
}

#[test]
fn core_058_without_connect_a_connection_ends_at_the_auth_timeout() {
    let server = Server::with_config("authorization { token: t, timeout: 3 }");
    let mut silent = server.open();
    let mut slow = server.open();
    slow.send("CONN");
    let mut good = server.client_with("{\"auth_token\":\"t\"}");
    assert_eq!(silent.closed(), ["-ERR 'Authentication Timeout'"]);
    assert_eq!(slow.closed(), ["-ERR 'Authentication Timeout'"]);
    good.quietly("");
}

#[test]
fn core_059_a_connection_that_answers_pings_stays() {
    let server = Server::with_config("ping_interval: \"1s\"\nping_max: 2");
    let mut client = server.client();
    for _ in 0..4 {
        assert_eq!(client.raw_line(), "PING");
        client.send("PONG\r\n");
    }
    client.quietly("");
}

#[test]
fn core_060_a_connection_that_answers_none_is_stale() {
    let server = Server::with_monitor("ping_interval: \"1s\"\nping_max: 2");
    let mut client = server.client();
    assert_eq!(client.raw_line(), "PING");
    assert_eq!(client.raw_line(), "PING");
    assert_eq!(client.raw_line(), "-ERR 'Stale Connection'");
    assert_eq!(client.closed(), [""; 0]);
    let varz = server.json("/varz");
    assert_eq!(varz["stale_connections"], 1);
    assert_eq!(varz["stale_connection_stats"]["clients"], 1);
}

/// A client subscribed to `a` that from now on reads nothing and takes little.
fn stopped_reader(server: &Server) -> Client {
    let mut reader = server.client_with("{\"name\":\"stopped\"}");
    sockopt::set_socket_recv_buffer_size(reader.socket(), 16 * 1024).expect("receive buffer");
    reader.quietly("SUB a 1\r\n");
    reader
}

/// Publishes `count` messages of 64 KiB to `a`, so `count * 64 KiB` bytes.
#[track_caller]
fn flood(publisher: &mut Client, count: usize) {
    let mut message = b"PUB a 65536\r\n".to_vec();
    message.resize(message.len() + 65536, b'x');
    message.extend_from_slice(b"\r\n");
    for _ in 0..count {
        publisher.send(&message);
    }
}

/// The connz entry of the closed connection named `stopped`.
#[track_caller]
fn closed_entry(server: &Server) -> Value {
    wait_until("the closed connection", || {
        let connz = server.json("/connz?state=closed");
        let list = connz["connections"].as_array().expect("connections");
        list.iter()
            .find(|entry| entry["name"] == "stopped")
            .cloned()
    })
}

#[test]
fn core_061_too_many_pending_bytes_close_the_slow_consumer() {
    let server = Server::with_monitor("max_payload: 64KB\nmax_pending: 256KB");
    let mut reader = stopped_reader(&server);
    let mut neighbour = server.client();
    neighbour.quietly("SUB b 1\r\n");
    let mut publisher = server.client();
    flood(&mut publisher, 256);
    publisher.quietly("PUB b 1\r\nx\r\n");
    neighbour.expect(&["MSG b 1 1", "x"]);
    assert_eq!(
        closed_entry(&server)["reason"],
        "Slow Consumer (Pending Bytes)"
    );
    let varz = server.json("/varz");
    assert_eq!(varz["slow_consumers"], 1);
    assert_eq!(varz["slow_consumer_stats"]["clients"], 1);
    server.logged("Slow Consumer Detected: MaxPending of 262144 Exceeded");
    assert!(reader.drained() > 0);
}

#[test]
fn core_062_a_write_past_its_deadline_closes_the_slow_consumer() {
    let server = Server::with_monitor("write_deadline: \"200ms\"");
    let mut reader = stopped_reader(&server);
    let mut publisher = server.client();
    flood(&mut publisher, 256);
    assert_eq!(
        closed_entry(&server)["reason"],
        "Slow Consumer (Write Deadline)"
    );
    assert_eq!(server.json("/varz")["slow_consumers"], 1);
    server.logged("Slow Consumer Detected: WriteDeadline of 200ms exceeded");
    publisher.quietly("");
    assert!(reader.drained() > 0);
}

#[test]
fn core_063_with_retry_a_slow_consumer_gets_everything_once_it_reads() {
    let server = Server::with_monitor("write_deadline: \"100ms\"\nwrite_timeout: retry");
    let mut reader = stopped_reader(&server);
    let mut publisher = server.client();
    flood(&mut publisher, 256);
    publisher.quietly("");
    server.logged("Slow Consumer");
    sockopt::set_socket_recv_buffer_size(reader.socket(), 1 << 20).expect("receive buffer");
    for number in 0..256 {
        assert_eq!(reader.message().payload.len(), 65536, "message {number}");
    }
    reader.quietly("");
    assert_eq!(server.json("/connz")["num_connections"], 2);
}

#[test]
fn core_064_fast_producers_are_stalled_and_counted() {
    let server = Server::with_monitor("max_payload: 64KB\nmax_pending: 512KB");
    let _reader = stopped_reader(&server);
    let mut publisher = server.client();
    flood(&mut publisher, 256);
    publisher.quietly("");
    closed_entry(&server);
    assert!(
        server.json("/varz")["stalled_clients"]
            .as_u64()
            .expect("count")
            >= 1
    );
}

#[test]
fn core_064_without_stalling_messages_for_the_slow_one_are_dropped() {
    let server = Server::with_monitor(
        "max_payload: 64KB\nmax_pending: 512KB\nno_fast_producer_stall: true\nwrite_deadline: \"60s\"",
    );
    let mut reader = stopped_reader(&server);
    let mut publisher = server.client();
    flood(&mut publisher, 256);
    publisher.quietly("");
    assert_eq!(server.json("/varz")["stalled_clients"], 0);
    // It lost messages, not its connection.
    sockopt::set_socket_recv_buffer_size(reader.socket(), 1 << 20).expect("receive buffer");
    let lines = reader.ask("");
    assert!(lines.len() < 2 * 256, "{}", lines.len());
    reader.quietly("");
}

/// Who is closed for what it said gets all that was there for it before; a slow consumer gets
/// nothing more, not even the reason.
#[test]
fn core_066_what_waits_leaves_before_an_error_closes() {
    let server = Server::with_monitor("max_payload: 64KB\nmax_pending: 256KB");
    let mut client = server.client();
    let messages = "PUB a 5\r\nhello\r\n".repeat(1000);
    client.send(format!("SUB a 1\r\n{messages}BOGUS\r\n"));
    let lines = client.closed();
    assert_eq!(lines.len(), 2001);
    assert_eq!(lines[2000], "-ERR 'Unknown Protocol Operation'");

    let reader = stopped_reader(&server);
    flood(&mut server.client(), 256);
    closed_entry(&server);
    let mut last = Vec::new();
    // The end may be a reset.
    let _ = reader.socket().read_to_end(&mut last);
    let text = memchr::memmem::find(&last, b"-ERR");
    assert!(text.is_none() && last.len() < 256 * 65536);
}
