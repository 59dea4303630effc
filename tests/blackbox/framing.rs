//! Section 1.2: verbs, sizes, line ends and what a delivery looks like.

use crate::support::client::{Client, delivered};
use crate::support::server::Server;

/// A quiet client without the second INFO of a full CONNECT.
fn plain(server: &Server) -> Client {
    server.client_with("{\"protocol\":0}")
}

/// One connection of a fresh server: `input` gives exactly `output`.
#[track_caller]
fn check(input: &str, output: &[&str]) {
    let server = Server::start();
    assert_eq!(plain(&server).ask(input), output, "{input:?}");
}

/// Each of `inputs` closes its connection after exactly `output`; the server lives on.
#[track_caller]
fn each_closes(inputs: &[&str], output: &[&str]) {
    let server = Server::start();
    for input in inputs {
        let mut client = plain(&server);
        client.send_until_closed(input);
        assert_eq!(client.closed(), output, "{input:?}");
    }
    plain(&server).quietly("");
}

#[test]
fn core_018_verbs_ignore_case() {
    check(
        "sub a 1\r\nPub a 1\r\nx\r\nhPuB a 12 13\r\nNATS/1.0\r\n\r\ny\r\n",
        &["MSG a 1 1", "x", "HMSG a 1 12 13", "NATS/1.0", "", "y"],
    );
    check("SUB a 1\r\nunSUB 1\r\nPUB a 0\r\n\r\npong\r\nping\r\n", &[]);
}

#[test]
fn core_018_info_and_ok_from_a_client_are_ignored() {
    check("INFO {\"x\":1}\r\n+OK\r\n", &[]);
}

#[test]
fn core_018_an_error_from_a_client_closes_without_reply() {
    each_closes(&["-ERR 'whatever'\r\n"], &[]);
}

#[test]
fn core_019_control_lines_may_end_in_a_bare_newline() {
    check("SUB a 1\nPUB a 1\nx\r\nPING\n", &["MSG a 1 1", "x"]);
}

#[test]
fn core_019_arguments_are_separated_by_runs_of_blanks_and_tabs() {
    check(
        "SUB \t a\t \tq  1\t\r\nPUB  a\t\tr   1 \r\nx\r\n",
        &["MSG a 1 r 1", "x"],
    );
}

#[test]
fn core_019_ping_and_pong_ignore_the_rest_of_their_line() {
    check("PINGabc def\r\nPONG 1 2 3\r\n", &[]);
}

#[test]
fn core_020_unknown_verbs_close_with_an_error() {
    each_closes(
        &[
            "FOO\r\n",
            "\r\n",
            " PING\r\n",
            "PUBX a 1\r\n",
            "RS+ $G a\r\n",
            "RS- $G a\r\n",
            "LS+ a\r\n",
            "A+ B\r\n",
            "RMSG $G a 1\r\nx\r\n",
            "LMSG a 1\r\nx\r\n",
            "MSG a 1 1\r\nx\r\n",
            "HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            "\0\0\0\0",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
        &["-ERR 'Unknown Protocol Operation'"],
    );
}

#[test]
fn core_020_a_payload_must_end_in_carriage_return_and_newline() {
    each_closes(
        &[
            "PUB a 1\r\nxyz",
            "PUB a 1\r\nx\nPING\r\n",
            "PUB a 0\r\nx\r\n",
            "PUB a 2\r\nabcPING\r\n",
        ],
        &["-ERR 'Unknown Protocol Operation'"],
    );
}

#[test]
fn core_021_malformed_arguments_close_without_a_word() {
    each_closes(
        &[
            "PUB a\r\n",
            "PUB a b c 1\r\nx\r\n",
            "PUB a x\r\n",
            "PUB a -1\r\n",
            "PUB a 1x\r\n",
            "PUB a 1.5\r\n",
            "PUB a +1\r\n",
            "PUB a 0x1\r\n",
            "PUB a 1234567890\r\n",
            "PUB a 0000000001\r\nx\r\n",
            "PUB a 18446744073709551617\r\n",
            "PUB 1\r\n",
            "HPUB a 12\r\n",
            "HPUB a 13 12\r\n",
            "HPUB a 12 x\r\n",
            "HPUB a -1 12\r\n",
            "HPUB a b c 12 12\r\n",
            "HPUB a\r\n",
            "HPUB a 1234567890 1234567890\r\n",
            "SUB a\r\n",
            "SUB a q 1 2\r\n",
            "UNSUB 1 2 3\r\n",
            "CONNECT {\r\n",
            "CONNECT []\r\n",
            "CONNECT {\"verbose\":\"yes\"}\r\n",
            "CONNECT {\"protocol\":\"1\"}\r\n",
            "CONNECT x\r\n",
        ],
        &[],
    );
}

#[test]
fn core_021_hpub_needs_headers_in_connect() {
    let server = Server::start();
    let mut client = server.client_with("{\"headers\":false,\"no_responders\":false}");
    client.send("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    assert_eq!(client.closed(), [""; 0]);
}

#[test]
fn core_022_sizes_keep_their_leading_zeros() {
    check(
        "SUB a 1\r\nPUB a 0001\r\nx\r\nPUB a 000000001\r\ny\r\n",
        &["MSG a 1 0001", "x", "MSG a 1 000000001", "y"],
    );
}

#[test]
fn core_032_pub_takes_an_optional_reply() {
    check(
        "SUB > 1\r\nPUB a 0\r\n\r\nPUB a.b r.s 2\r\nhi\r\n",
        &["MSG a 1 0", "", "MSG a.b 1 r.s 2", "hi"],
    );
}

#[test]
fn core_033_header_bytes_are_opaque() {
    check(
        "SUB a 1\r\nHPUB a 3 5\r\n\0\u{1}zhi\r\nHPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        &[
            "HMSG a 1 3 5",
            "\0\u{1}zhi",
            "HMSG a 1 r 12 12",
            "NATS/1.0",
            "",
            "",
        ],
    );
}

#[test]
fn core_034_a_sid_is_any_token() {
    check(
        "SUB a x-1.*>\u{e9}\r\nSUB a q #!\r\nPUB a 1\r\nx\r\nUNSUB x-1.*>\u{e9}\r\n",
        &["MSG a x-1.*>\u{e9} 1", "x", "MSG a #! 1", "x"],
    );
}

#[test]
fn core_035_a_sid_in_use_is_ignored() {
    let server = Server::start();
    let mut client = server.client_with("{\"verbose\":true}");
    assert_eq!(client.ask("SUB a 1\r\nSUB b 1\r\n"), ["+OK", "+OK"]);
    let answer = client.ask("PUB b 1\r\nx\r\nPUB a 1\r\ny\r\n");
    assert_eq!(answer, ["+OK", "+OK", "MSG a 1 1", "y"]);
}

#[test]
fn core_036_unsub_removes_at_once() {
    check(
        "SUB a 1\r\nUNSUB 1\r\nUNSUB 1\r\nUNSUB 99\r\nPUB a 1\r\nx\r\n",
        &[],
    );
}

#[test]
fn core_036_unsub_max_counts_from_sub() {
    check(
        "SUB a 1\r\nPUB a 1\r\n1\r\nUNSUB 1 3\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\nPUB a 1\r\n4\r\n",
        &["MSG a 1 1", "1", "MSG a 1 1", "2", "MSG a 1 1", "3"],
    );
}

#[test]
fn core_036_unsub_with_a_max_already_reached_removes_at_once() {
    check(
        "SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nUNSUB 1 2\r\nPUB a 1\r\n3\r\n",
        &["MSG a 1 1", "1", "MSG a 1 1", "2"],
    );
}

#[test]
fn core_036_a_plain_unsub_overrides_a_max() {
    check(
        "SUB a 1\r\nUNSUB 1 5\r\nPUB a 1\r\n1\r\nUNSUB 1\r\nPUB a 1\r\n2\r\n",
        &["MSG a 1 1", "1"],
    );
}

#[test]
fn core_036_a_sid_is_free_again_after_its_max() {
    check(
        "SUB a 1\r\nUNSUB 1 1\r\nPUB a 1\r\n1\r\nSUB b 1\r\nPUB a 0\r\n\r\nPUB b 1\r\n2\r\n",
        &["MSG a 1 1", "1", "MSG b 1 1", "2"],
    );
}

#[test]
fn core_036_unsub_max_is_exact_with_publishers_everywhere() {
    let server = Server::start();
    let mut subscriber = server.client();
    let mut publishers = server.clients();
    for round in 0..20 {
        subscriber.quietly(format!("SUB a.{round} 1\r\nUNSUB 1 10\r\n"));
        for publisher in &mut publishers {
            publisher.send(format!("PUB a.{round} 1\r\nx\r\n").repeat(4));
        }
        for _ in 0..10 {
            assert_eq!(subscriber.message().subject, format!("a.{round}"));
        }
        for publisher in &mut publishers {
            assert_eq!(
                delivered(publisher, &mut subscriber, ""),
                [""; 0],
                "round {round}"
            );
        }
    }
}

#[test]
fn core_037_deliveries_to_every_connection_look_the_same() {
    let server = Server::start();
    let mut publisher = server.client();
    let mut subscribers = server.clients();
    for subscriber in &mut subscribers {
        subscriber.quietly("SUB a.> 9\r\n");
    }
    publisher
        .send("PUB a.b 2\r\nhi\r\nPUB a.b r 0\r\n\r\nHPUB a.c r 12 14\r\nNATS/1.0\r\n\r\nyo\r\n");
    for subscriber in &mut subscribers {
        subscriber.expect(&["MSG a.b 9 2", "hi", "MSG a.b 9 r 0", ""]);
        subscriber.expect(&["HMSG a.c 9 r 12 14", "NATS/1.0", "", "yo"]);
    }
}

#[test]
fn core_038_headers_are_stripped_for_those_who_cannot_read_them() {
    let server = Server::start();
    let mut publisher = server.client();
    for _ in 0..8 {
        let mut old = server.client_with("{\"headers\":false,\"no_responders\":false}");
        old.quietly("SUB a 1\r\n");
        publisher.quietly(
            "HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        );
        old.expect(&["MSG a 1 r 2", "hi", "MSG a 1 0", ""]);
    }
}

#[test]
fn core_040_pong_comes_in_order_with_earlier_output() {
    check(
        "SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\nPUB a 1\r\ny\r\n",
        &["MSG a 1 1", "x"],
    );
    let server = Server::start();
    let mut client = plain(&server);
    client.send("SUB a 1\r\nPING\r\nPUB a 1\r\nx\r\nPING\r\nPUB nobody 0\r\n\r\nPING\r\n");
    client.expect(&["PONG", "MSG a 1 1", "x", "PONG", "PONG"]);
}

#[test]
fn core_041_one_connection_to_one_subscription_keeps_its_order() {
    let server = Server::start();
    let mut subscribers = server.clients();
    for subscriber in &mut subscribers {
        subscriber.quietly("SUB a.* 1\r\n");
    }
    let mut publishers = server.clients();
    for round in 0..20 {
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let number = |step| format!("{:04}", round * 25 + step);
            let text: String = (0..25)
                .map(|step| format!("PUB a.{index} 4\r\n{}\r\n", number(step)))
                .collect();
            publisher.send(text);
        }
    }
    for subscriber in &mut subscribers {
        let mut next = vec![0; publishers.len()];
        for _ in 0..publishers.len() * 500 {
            let message = subscriber.message();
            let index: usize = message.subject[2..].parse().expect("publisher");
            assert_eq!(
                String::from_utf8_lossy(&message.payload),
                format!("{:04}", next[index])
            );
            next[index] += 1;
        }
    }
}

/// What the server itself says without a reply has two blanks there, or one.
#[test]
fn core_039_messages_of_the_server_may_have_two_blanks() {
    let server = Server::with_config(
        "accounts { SYS { users: [{user: s, password: s}] } }\nsystem_account: SYS",
    );
    let mut client = server.client_with("{\"user\":\"s\",\"pass\":\"s\"}");
    client.quietly("SUB answers 1\r\n");
    for (subject, blanks) in [
        ("$SYS.REQ.SERVER.PING", "  "),
        ("$SYS.REQ.USER.INFO", " "),
        ("$SYS.REQ.SERVER.PING.IDZ", "  "),
    ] {
        client.send(format!("PUB {subject} answers 0\r\n\r\n"));
        let line = client.line();
        let size = line.strip_prefix(&format!("MSG answers 1{blanks}"));
        let size = size.unwrap_or_else(|| panic!("{subject}: {line:?}"));
        let body = client.bytes(size.parse::<usize>().expect("a size") + 2);
        assert!(body.starts_with(b"{") && body.ends_with(b"}\r\n"));
    }
}
