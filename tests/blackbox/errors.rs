//! Section 1.3: errors that leave the connection open, and what the log says of those that close.

use crate::support::server::Server;

/// One connection of a fresh server: `input` gives `output`, and the connection stays.
#[track_caller]
fn check(config: &str, input: &str, output: &[&str]) {
    let server = Server::with_config(config);
    let mut client = server.client();
    assert_eq!(client.ask(input), output, "{input:?}");
    client.quietly("");
}

#[test]
fn core_042_043_closing_errors_have_these_exact_texts() {
    let long = format!("SUB {} 1\r\n", "x".repeat(200));
    let config = "max_control_line: 128\nmax_payload: 64\nauthorization { token: t, timeout: 3 }";
    let server = Server::with_config(config);
    let connect = "CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n";
    for (input, error) in [
        ("", "Authentication Timeout"),
        ("PING\r\n", "Authorization Violation"),
        (
            "CONNECT {\"verbose\":false,\"auth_token\":\"u\"}\r\n",
            "Authorization Violation",
        ),
        (
            "CONNECT {\"protocol\":9,\"auth_token\":\"t\"}\r\n",
            "invalid client protocol",
        ),
        (
            &format!("{connect}PUB a 65\r\n"),
            "Maximum Payload Violation",
        ),
        (&format!("{connect}{long}"), "maximum control line exceeded"),
        (&format!("{connect}WHAT\r\n"), "Unknown Protocol Operation"),
    ] {
        let mut client = server.open();
        client.send(input);
        assert_eq!(client.closed(), [format!("-ERR '{error}'")], "{input:?}");
    }
}

#[test]
fn core_044_an_invalid_subject_leaves_the_connection_open() {
    check(
        "",
        "SUB a..b 1\r\nSUB a 2\r\nPUB a 1\r\nx\r\n",
        &["-ERR 'Invalid Subject'", "MSG a 2 1", "x"],
    );
}

const PERMITS: &str = "no_auth_user: u\nauthorization { users: [{user: u, password: p, \
    permissions: {publish: \"ok.>\", subscribe: [\"ok.>\", \"inbox\", \"q w\"]}}] }";

#[test]
fn core_045_a_denied_publish_names_its_subject() {
    check(
        PERMITS,
        "PUB no 1\r\nx\r\nHPUB no.b r 12 12\r\nNATS/1.0\r\n\r\n\r\nPUB ok.1 0\r\n\r\n",
        &[
            "-ERR 'Permissions Violation for Publish to \"no\"'",
            "-ERR 'Permissions Violation for Publish to \"no.b\"'",
        ],
    );
}

#[test]
fn core_045_the_subject_is_quoted_as_go_does() {
    check(
        PERMITS,
        "PUB a\"b\\c\u{1}\u{7f}\u{e9} 0\r\n\r\n",
        &["-ERR 'Permissions Violation for Publish to \"a\\\"b\\\\c\\x01\\x7f\u{e9}\"'"],
    );
}

#[test]
fn core_046_a_denied_subscription_names_subject_and_queue() {
    check(
        PERMITS,
        "SUB no 1\r\nSUB no grp 2\r\nSUB q 3\r\nSUB q x 4\r\nSUB q w 5\r\n",
        &[
            "-ERR 'Permissions Violation for Subscription to \"no\"'",
            "-ERR 'Permissions Violation for Subscription to \"no\" using queue \"grp\"'",
            "-ERR 'Permissions Violation for Subscription to \"q\"'",
            "-ERR 'Permissions Violation for Subscription to \"q\" using queue \"x\"'",
        ],
    );
}

#[test]
fn core_025_a_refused_operation_gets_no_ok() {
    let server = Server::with_config(PERMITS);
    let mut client = server.client_with("{\"verbose\":true}");
    let answer = client.ask("PUB no 0\r\n\r\nSUB no 1\r\nSUB ok.a 2\r\n");
    assert_eq!(
        answer,
        [
            "-ERR 'Permissions Violation for Publish to \"no\"'",
            "-ERR 'Permissions Violation for Subscription to \"no\"'",
            "+OK",
        ]
    );
}

#[test]
fn core_047_a_reload_that_denies_a_subscription_removes_it() {
    let config = |allowed: &str| {
        format!(
            "authorization {{ users: [{{user: u, password: p, permissions: \
             {{subscribe: [{allowed}]}}}}, {{user: v, password: p}}] }}"
        )
    };
    let server = Server::with_config(&config("a, b"));
    let mut client = server.client_with("{\"user\":\"u\",\"pass\":\"p\"}");
    client.quietly("SUB a 1\r\nSUB b q 2\r\nSUB b 3\r\n");
    let mut other = server.client_with("{\"user\":\"v\",\"pass\":\"p\"}");
    server.reload(&config("a, _MARK"));
    let mut errors = [client.line(), client.line()];
    errors.sort();
    assert_eq!(
        errors,
        [
            "-ERR 'Permissions Violation for Subscription to \"b\" (sid \"3\")'",
            "-ERR 'Permissions Violation for Subscription to \"b\" using queue \"q\" (sid \"2\")'",
        ]
    );
    other.quietly("PUB b 1\r\nx\r\nPUB a 1\r\ny\r\n");
    client.expect(&["MSG a 1 1", "y"]);
}

#[test]
fn core_048_reserved_reply_subjects_are_refused() {
    for reply in ["_R_.x", "_R_.a.b", "$JS.ACK.x", "_GR_.x"] {
        check(
            "",
            &format!("SUB a 1\r\nPUB a {reply} 1\r\nx\r\n"),
            &[&format!(
                "-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'"
            )],
        );
    }
}

#[test]
fn core_049_057_too_many_tokens_in_a_subscription() {
    check(
        "max_subscription_tokens: 3",
        "SUB a.b.c 1\r\nSUB a.b.c.d 2\r\nSUB *.*.*.> q 3\r\n",
        &[
            "-ERR 'Permissions Violation for Subscription to \"a.b.c.d\", too many tokens'",
            "-ERR 'Permissions Violation for Subscription to \"*.*.*.>\", too many tokens'",
        ],
    );
}

#[test]
fn core_051_auth_failures_are_logged_with_their_user() {
    let server = Server::with_config("authorization { user: u, password: p }");
    let mut client = server.open();
    client.send("CONNECT {\"verbose\":false,\"user\":\"mallory\",\"pass\":\"hush-hush\"}\r\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    let line = server.logged("authentication error");
    assert!(line.contains("mallory"), "{line}");
    assert!(!server.log().contains("hush-hush"));
}

#[test]
fn core_052_the_queue_name_of_the_server_is_refused() {
    check(
        "",
        "SUB a _sys_ 1\r\nSUB a _sys 2\r\n",
        &["-ERR 'Permissions Violation for Subscription to \"a\" using queue \"_sys_\"'"],
    );
}

#[test]
fn core_053_replication_subjects_are_refused() {
    check(
        "",
        "PUB $NRG.x 0\r\n\r\nPUB $NRG.a.b r 1\r\nx\r\n",
        &[
            "-ERR 'Permissions Violation for Publish to \"$NRG.x\"'",
            "-ERR 'Permissions Violation for Publish to \"$NRG.a.b\"'",
        ],
    );
}
