//! Hostile input: odd bytes, slow and half-open connections, floods. The server answers as the
//! protocol says or closes, stays bounded, and its other clients do not notice.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What an unchanged server does for two strangers.
#[track_caller]
fn still_serves(server: &mut Server) {
    let mut subscriber = server.client();
    subscriber.quietly("SUB alive 1\r\n");
    server.client().send("PUB alive 2\r\nhi\r\n");
    subscriber.expect(&["MSG alive 1 2", "hi"]);
    assert!(server.is_running());
}

/// Numbers that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn h1_random_bytes_do_no_harm() {
    let mut server = Server::with_config("max_payload: 1000\nmax_control_line: 500");
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let words: [&[u8]; 24] = [
        b"PUB ",
        b"HPUB ",
        b"SUB ",
        b"UNSUB ",
        b"CONNECT ",
        b"PING",
        b"PONG",
        b"INFO ",
        b"+OK",
        b"-ERR ",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"a.b",
        b">",
        b"*",
        b"10",
        b"999999999",
        b"{\"a\":",
        b"}",
        b"\0",
        b"\xff",
    ];
    for _ in 0..400 {
        let mut input = Vec::new();
        for _ in 0..1 + noise.next(40) {
            match noise.next(6) {
                0 => input.push(noise.next(256) as u8),
                _ => input.extend_from_slice(words[noise.next(words.len())]),
            }
        }
        let mut client = server.open();
        client.send_until_closed(&input);
        // Half of them go without waiting for an answer.
        if noise.next(2) == 0 {
            client.send_until_closed("\r\nGARBAGE\r\n");
        }
    }
    still_serves(&mut server);
}

#[test]
fn h1_mutated_conversations_do_no_harm() {
    let mut server = Server::start();
    let mut noise = Noise(42);
    let talk =
        b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.* q 7\r\nPUB a.b r 5\r\nhello\r\n\
        HPUB a.c 17 21\r\nNATS/1.0\r\nA:1\r\n\r\nbody\r\nUNSUB 7 3\r\nPING\r\n";
    for _ in 0..400 {
        let mut input = talk.to_vec();
        for _ in 0..1 + noise.next(3) {
            let at = noise.next(input.len());
            match noise.next(3) {
                0 => input[at] = noise.next(256) as u8,
                1 => drop(input.remove(at)),
                _ => input.insert(at, noise.next(256) as u8),
            }
        }
        server.open().send_until_closed(&input);
    }
    still_serves(&mut server);
}

#[test]
fn h1_other_protocols_are_turned_away() {
    let mut server = Server::start();
    for input in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
    ] {
        let mut client = server.open();
        client.send_until_closed(input);
        assert_eq!(
            client.closed(),
            ["-ERR 'Unknown Protocol Operation'"],
            "{input:?}"
        );
    }
    still_serves(&mut server);
}

#[test]
fn h3_half_open_connections_end_at_the_auth_timeout() {
    let mut server = Server::with_config("authorization { token: t, timeout: 5 }");
    let mut good = server.client_with("{\"auth_token\":\"t\"}");
    good.quietly("SUB a 1\r\n");
    let before = server.resident_size();
    let pieces = [
        "",
        "C",
        "CONNECT",
        "CONNECT {\"auth_token\":",
        "CONNECT {\"a\":\"b\"",
        "con",
    ];
    let mut slow: Vec<Client> = (0..300)
        .map(|index| {
            let mut client = server.open();
            client.send_until_closed(pieces[index % pieces.len()]);
            client
        })
        .collect();
    // Stock spends about 50 KiB on each; nobody should spend more.
    let grown = server.resident_size().saturating_sub(before);
    assert!(grown < 300 * 64 * 1024 + 16 * MIB, "{grown}");
    assert_eq!(good.ask("PUB a 1\r\nx\r\n"), ["MSG a 1 1", "x"]);
    for client in &mut slow {
        assert_eq!(client.closed(), ["-ERR 'Authentication Timeout'"]);
    }
    good.quietly("");
    assert!(server.is_running());
}

#[test]
fn h3_dripping_bytes_does_not_extend_the_auth_timeout() {
    let server = Server::with_config("authorization { token: t, timeout: 0.3 }");
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    let mut drip = stream.try_clone().expect("clone");
    let dripper = std::thread::spawn(move || {
        for byte in b"CONNECT {".iter().chain([b' '].iter().cycle()) {
            if drip.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut text = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.ends_with("-ERR 'Authentication Timeout'\r\n"),
        "{text}"
    );
    drop(stream);
    dripper.join().expect("the dripper stops");
}

#[test]
fn h3_many_idle_connections_are_cheap_and_leave_no_trace() {
    let server = Server::with_monitor("");
    let before = server.resident_size();
    let clients: Vec<Client> = (0..500).map(|_| server.open()).collect();
    let grown = server.resident_size().saturating_sub(before);
    assert!(grown < 500 * 64 * 1024 + 16 * MIB, "{grown}");
    drop(clients);
    wait_until("them to be gone", || {
        (server.json("/varz")["connections"] == 0).then_some(())
    });
}

#[test]
fn h5_announced_sizes_allocate_nothing() {
    let mut server = Server::with_config("max_payload: 64MB\nmax_pending: 64MB");
    let before = server.resident_size();
    let mut announcers: Vec<Client> = (0..64)
        .map(|index| {
            let mut client = server.client();
            client.send(
                [
                    "PUB a 67108864\r\nxyz",
                    "HPUB a 67108863 67108864\r\nNATS/1.0\r\n",
                ][index % 2],
            );
            client
        })
        .collect();
    still_serves(&mut server);
    let grown = server.resident_size().saturating_sub(before);
    // Stock makes room for what is announced.
    assert!(
        grown < 64 * MIB || !beyond_stock(),
        "64 x 64 MiB announced, {grown} taken"
    );
    announcers.iter_mut().for_each(|client| client.send("more"));
}

#[test]
fn h5_numbers_at_the_ends_of_their_ranges() {
    let mut server = Server::start();
    for size in [
        "-1",
        "-0",
        "+1",
        "0x10",
        "1e3",
        "00",
        "000000000",
        "999999999",
        "1000000000",
        "2147483648",
        "4294967297",
        "9223372036854775808",
        "18446744073709551617",
        "99999999999999999999999",
        "1.",
        "\u{661}",
    ] {
        for verb in [
            format!("PUB a {size}"),
            format!("HPUB a {size} {size}"),
            format!("HPUB a 5 {size}"),
            format!("HPUB a {size} 5"),
        ] {
            server.open().send_until_closed(format!(
                "CONNECT {{\"headers\":true}}\r\n{verb}\r\nhello\r\nBAD\r\n"
            ));
        }
    }
    for max in [
        "-1",
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999",
        "x",
        "1.5",
    ] {
        let mut client = server.client();
        client.send_until_closed(format!(
            "SUB a 1\r\nUNSUB 1 {max}\r\nPUB a 0\r\n\r\nBAD\r\n"
        ));
        client.closed();
    }
    still_serves(&mut server);
}

#[test]
fn h5_control_bytes_in_subjects_stay_in_their_message() {
    let server = Server::start();
    let mut client = server.client();
    client.quietly("SUB > 1\r\n");
    for subject in ["a\0b", "a\u{b}b", "a\u{1b}[31m", "\u{7f}", "\u{202e}x"] {
        let lines = client.ask(format!("PUB {subject} 1\r\nx\r\n"));
        assert_eq!(lines, [format!("MSG {subject} 1 1"), "x".to_owned()]);
    }
    // A bare carriage return separates nothing and ends nothing, whatever else it does.
    let mut other = server.client();
    other.send_until_closed("PUB a\rSUB b 1\r\nBAD\r\n");
    let lines = other.closed();
    assert!(
        lines.iter().all(|line| line.starts_with("-ERR ")),
        "{lines:?}"
    );
}

#[test]
fn h5_odd_header_blocks_are_carried_or_refused() {
    let mut server = Server::start();
    let mut subscriber = server.client();
    subscriber.quietly("SUB a 1\r\n");
    let mut publisher = server.client();
    let many: String = (0..20_000)
        .map(|number| format!("K{number}:v\r\n"))
        .collect();
    for block in [
        format!("NATS/1.0\r\n{many}\r\n"),
        "\0".repeat(1000),
        "\r\n".repeat(500),
        ":".repeat(100),
        format!("NATS/1.0\r\n{}: v\r\n\r\n", "k".repeat(100_000)),
        "NATS/1.0".to_owned(),
    ] {
        publisher.send(format!("HPUB a {0} {0}\r\n{block}\r\n", block.len()));
        assert!(subscriber.message().headers == block.as_bytes());
    }
    still_serves(&mut server);
}

#[test]
fn h7_many_wildcard_subscriptions_keep_the_server_answering() {
    let mut server = Server::start();
    let mut bomber = server.client();
    for round in 0..20 {
        let text: String = (0..1000)
            .map(|index| format!("SUB *.{round}.{index}.*.> {round}-{index}\r\n"))
            .collect();
        bomber.quietly(text);
    }
    let deep = vec!["x"; 1000].join(".");
    let mut publisher = server.client();
    publisher.quietly(format!("PUB {deep} 0\r\n\r\n").repeat(20));
    publisher.quietly("PUB a.7.7.b.c 0\r\n\r\n");
    assert_eq!(bomber.message().sid, "7-7");
    still_serves(&mut server);
    drop(bomber);
    still_serves(&mut server);
}

#[test]
fn h7_deep_subjects_match_within_their_line() {
    let server = Server::start();
    let mut client = server.client();
    for (filter, subject) in [
        (vec!["*"; 1500].join("."), vec!["x"; 1500].join(".")),
        (
            format!("{}.>", vec!["*"; 1000].join(".")),
            vec!["y"; 1500].join("."),
        ),
        (vec!["a"; 1800].join("."), vec!["a"; 1800].join(".")),
    ] {
        let lines = client.ask(format!(
            "SUB {filter} 1\r\nPUB {subject} 0\r\n\r\nUNSUB 1\r\n"
        ));
        assert_eq!(lines, [format!("MSG {subject} 1 0"), String::new()]);
    }
}

#[test]
fn h7_a_limit_on_subscriptions_stops_the_bomb() {
    let server = Server::with_config("max_subscriptions: 100");
    let mut bomber = server.client();
    let text: String = (0..1000)
        .map(|sid| format!("SUB bomb.{sid} {sid}\r\n"))
        .collect();
    let errors = bomber.ask(text);
    assert_eq!(errors.len(), 900);
    assert!(
        errors
            .iter()
            .all(|line| line == "-ERR 'maximum subscriptions exceeded'")
    );
    server.client().quietly("SUB a 1\r\n");
}

#[test]
fn h9_readers_with_closed_windows_do_not_hold_up_the_others() {
    let mut server = Server::with_monitor("max_payload: 64KB\nmax_pending: 1MB");
    let before = server.resident_size();
    let stopped: Vec<Client> = (0..50)
        .map(|_| {
            let mut reader = server.client();
            sockopt::set_socket_recv_buffer_size(reader.socket(), 8 * 1024)
                .expect("receive buffer");
            reader.quietly("SUB flood 1\r\n");
            reader
        })
        .collect();
    let mut neighbours = server.clients();
    neighbours
        .iter_mut()
        .for_each(|client| client.quietly("SUB calm 1\r\n"));
    let mut publisher = server.client();
    let mut calm = server.client();
    let mut message = b"PUB flood 65536\r\n".to_vec();
    message.resize(message.len() + 65536, b'x');
    message.extend_from_slice(b"\r\n");
    for round in 0..160 {
        publisher.send(&message);
        if round % 10 == 0 {
            calm.send("PUB calm 1\r\nx\r\n");
            neighbours
                .iter_mut()
                .for_each(|client| client.expect(&["MSG calm 1 1", "x"]));
        }
    }
    publisher.quietly("");
    // Each may hold its max_pending and a write in flight, no more.
    let grown = server.resident_size().saturating_sub(before);
    assert!(grown < 50 * 4 * MIB, "{grown}");
    wait_until("the slow consumers to be closed", || {
        (server.json("/varz")["slow_consumers"] == 50).then_some(())
    });
    drop(stopped);
    still_serves(&mut server);
}

#[test]
fn h9_a_reader_that_stops_and_resumes_gets_all_in_order() {
    let server = Server::start();
    let mut reader = server.client();
    sockopt::set_socket_recv_buffer_size(reader.socket(), 32 * 1024).expect("receive buffer");
    reader.quietly("SUB a 1\r\n");
    let mut publisher = server.client();
    let body = "x".repeat(4096 - 8);
    for number in 0..4000 {
        publisher.send(format!("PUB a 4096\r\n{number:08}{body}\r\n"));
    }
    publisher.quietly("");
    sockopt::set_socket_recv_buffer_size(reader.socket(), 1 << 20).expect("receive buffer");
    for number in 0..4000 {
        let payload = reader.message().payload;
        assert_eq!(payload[..8], *format!("{number:08}").as_bytes());
    }
}

#[test]
fn h9_a_publisher_that_never_reads_its_errors_is_bounded() {
    let mut server = Server::with_config("max_pending: 1MB\nwrite_deadline: \"500ms\"");
    let before = server.resident_size();
    let rude = server.client_with("{\"verbose\":true}");
    sockopt::set_socket_recv_buffer_size(rude.socket(), 8 * 1024).expect("receive buffer");
    rude.socket()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("timeout");
    let burst = "SUB a..b 1\r\nPING\r\n".repeat(10_000);
    // Until the server closes it, or reads no more.
    while rude.socket().write_all(burst.as_bytes()).is_ok() {}
    let grown = server.resident_size().saturating_sub(before);
    assert!(grown < 128 * MIB, "{grown}");
    still_serves(&mut server);
}

#[test]
fn h9_connections_that_vanish_mid_message_leave_nothing() {
    let mut server = Server::with_monitor("");
    for round in 0..100 {
        let mut client = server.client();
        client.send("SUB a 1\r\nSUB b q 2\r\n");
        client.send(
            [
                "PUB a 1000\r\nhalf",
                "SUB x",
                "HPUB a 12 1000\r\nNATS/1.0\r\n",
                "PUB b 5\r\nhello",
            ][round % 4],
        );
    }
    wait_until("them to be gone", || {
        (server.json("/varz")["connections"] == 0).then_some(())
    });
    let mut requester = server.client();
    let lines = requester.ask("SUB inbox 1\r\nPUB a inbox 0\r\n\r\n");
    assert_eq!(lines[1], "NATS/1.0 503");
    still_serves(&mut server);
}
