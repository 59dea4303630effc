//! Remotes and the leaf node listener through reloads (TOPO-25): this test is the hub.

use std::time::Duration;

use serde_json::json;

use crate::support::client::Client;
use crate::support::hub::Hub;
use crate::support::server::{Server, beyond_stock};

/// Longer than a usual reconnection takes.
const LONG: Duration = Duration::from_millis(800);
const ACCOUNTS: &str = "accounts { A { users [{user: a, password: a}] }, \
                        B { users [{user: b, password: b}] } }\n";

/// A configuration with these remotes, and more of the block.
fn config(remotes: &[String], more: &str) -> String {
    let remotes = remotes.join(", ");
    format!("{ACCOUNTS}leafnodes {{ reconnect: \"50ms\", {more} remotes [ {remotes} ] }}")
}

fn remote(hub: &Hub, more: &str) -> String {
    format!(
        "{{ url: \"nats-leaf://u:p@{}\", account: A, {more} }}",
        hub.address()
    )
}

/// As a line of the log names it.
fn name(hub: &Hub) -> String {
    format!(
        "urls=[\"nats-leaf://u:xxxxx@{}\"], account=\"A\"",
        hub.address()
    )
}

/// The link works: interest of here is told over there.
#[track_caller]
fn works(server: &Server, link: &mut Client, subject: &str) {
    let mut client = server.client_with("{\"user\":\"a\",\"pass\":\"a\"}");
    client.quietly(format!("SUB {subject} 1\r\n"));
    let wanted = format!("LS+ {subject}");
    while link.line() != wanted {}
}

#[test]
fn topo_025_cfg_061_remotes_are_added_and_removed() {
    let (first, second) = (Hub::new(), Hub::new());
    let (one, other) = (remote(&first, ""), remote(&second, ""));
    let server = Server::with_config(&config(std::slice::from_ref(&one), ""));
    let mut link = first.link();
    works(&server, &mut link, "one");

    server.reload(&config(&[one.clone(), other.clone()], ""));
    let mut added = second.link();
    works(&server, &mut added, "two");
    works(&server, &mut link, "three");

    server.reload(&config(&[other], ""));
    link.closed();
    server.logged(&format!(
        "Reloaded: LeafNode Remote {} removed",
        name(&first)
    ));
    first.expect_nobody(LONG);
    works(&server, &mut added, "four");

    server.reload(&config(&[one], ""));
    added.closed();
    works(&server, &mut first.link(), "five");
    second.expect_nobody(LONG);
}

#[test]
fn topo_025_a_remote_that_was_never_reached_is_removed_too() {
    let (hub, closed) = (Hub::new(), Hub::new());
    let gone = remote(&closed, "");
    drop(closed);
    let server = Server::with_config(&config(&[gone], ""));
    server.logged("Error trying to connect as leafnode to remote server");
    server.reload(&config(&[remote(&hub, "")], ""));
    works(&server, &mut hub.link(), "one");
}

#[test]
fn topo_025_cfg_062_remotes_are_disabled_and_enabled() {
    let hub = Hub::new();
    let (on, off) = (remote(&hub, ""), remote(&hub, "disabled: true"));
    let (on, off) = (config(&[on], ""), config(&[off], ""));
    let server = Server::with_config(&off);
    hub.expect_nobody(LONG);
    for round in 0..3 {
        server.reload(&on);
        let mut link = hub.link();
        works(&server, &mut link, &format!("round.{round}"));
        server.reload(&off);
        link.closed();
        hub.expect_nobody(LONG);
    }
    for value in [true, false] {
        let line = format!(
            "Reloaded: LeafNode Remote {} Disabled value is: {value}",
            name(&hub)
        );
        assert_eq!(server.count_in_log(&line), 3, "{line}");
    }
}

#[test]
fn topo_025_other_credentials_or_places_are_another_remote() {
    let (first, second) = (Hub::new(), Hub::new());
    let remote = |user: &str, hub: &Hub| {
        let address = hub.address();
        config(
            &[format!(
                "{{ url: \"nats-leaf://{user}:p@{address}\", account: A }}"
            )],
            "",
        )
    };
    let server = Server::with_config(&remote("u", &first));
    let mut greeted = first.greet(&Hub::info());
    assert_eq!(greeted.connect["user"], "u");
    greeted.link.ask("");
    let mut link = greeted.let_in();
    works(&server, &mut link, "one");
    server.reload(&remote("v", &first));
    link.closed();
    let greeted = first.greet(&Hub::info());
    assert_eq!(greeted.connect["user"], "v");
    let mut link = greeted.let_in();
    works(&server, &mut link, "two");
    server.reload(&remote("v", &second));
    link.closed();
    works(&server, &mut second.link(), "three");
    first.expect_nobody(LONG);
}

#[test]
fn topo_025_cfg_061_062_what_needs_a_restart() {
    let hub = Hub::new();
    let before = remote(&hub, "deny_imports: [x]");
    let users = "port: -1, authorization { users [ {user: x, password: y, account: A}, \
                 {user: z, password: y, account: A} ] }, ";
    let server = Server::with_config(&config(std::slice::from_ref(&before), users));
    let mut link = hub.link();
    works(&server, &mut link, "one");
    let field = |name: &str, change: &str| format!("field {name:?}: {change}");
    let own = |key, change| format!("remote {}: {}", name(&hub), field(key, change));
    let cases = [
        (
            "deny_imports: [x, y]",
            own("DenyImports", "old=[x], new=[x y]"),
        ),
        (
            "deny_imports: [x], deny_exports: q",
            own("DenyExports", "old=[], new=[q]"),
        ),
        (
            "deny_imports: [x], hub: true",
            own("Hub", "old=false, new=true"),
        ),
        (
            "deny_imports: [x], first_info_timeout: \"3s\"",
            own("FirstInfoTimeout", "old=1s, new=3s"),
        ),
        (
            "deny_imports: [x], request_isolation: true",
            own("RequestIsolation", "old=false, new=true"),
        ),
    ];
    for (more, expected) in cases {
        let reason = server.refused_reload(&config(&[remote(&hub, more)], users));
        let expected = format!("config reload not supported for LeafNode: {expected}");
        assert_eq!(reason, expected, "{more}");
    }
    let block = [
        (users.replace("port: -1", "port: 1"), "field \"Port\""),
        (
            users.replace("x, password: y", "x, password: q"),
            "field \"Users\"",
        ),
        (
            format!("{users} advertise: \"h:5\", "),
            "field \"Advertise\": old=, new=h:5",
        ),
        (
            format!("{users} min_version: \"2.9.0\", "),
            "field \"MinVersion\": old=, new=2.9.0",
        ),
        (
            format!("{users} write_deadline: \"3s\", "),
            "field \"WriteDeadline\": old=0s, new=3s",
        ),
    ];
    for (more, expected) in block {
        let reason = server.refused_reload(&config(std::slice::from_ref(&before), &more));
        let expected = format!("config reload not supported for LeafNode: {expected}");
        assert!(reason.starts_with(&expected), "{reason}");
    }
    // Nothing has come of it.
    works(&server, &mut link, "two");
    let twice = config(&[before.clone(), before], users);
    let reason = server.refused_reload(&twice);
    assert!(reason.contains("duplicate remote urls="), "{reason}");
}

#[test]
fn topo_025_041_links_agree_anew_where_compression_is_turned_on_or_off() {
    let hub = Hub::new();
    let with = |mode: &str| config(&[remote(&hub, &format!("compression: {mode}"))], "");
    let server = Server::with_config(&with("s2_fast"));
    let mut info = Hub::info();
    info["compression"] = json!("off");
    let mut link = hub.greet(&info).let_in();
    works(&server, &mut link, "one");
    server.reload(&with("s2_best"));
    link.closed();
    server.logged("Compression value is: {s2_best []}");
    let mut link = hub.greet(&info).let_in();
    works(&server, &mut link, "two");
    server.reload(&with("off"));
    works(&server, &mut link, "three");
}

/// Removed in the middle of a handshake, in each of its states.
#[test]
fn topo_025_remotes_are_removed_at_any_time() {
    let hub = Hub::new();
    let (there, gone) = (config(&[remote(&hub, "")], ""), config(&[], ""));
    let server = Server::with_config(&gone);
    for state in 0..3 {
        server.reload(&there);
        let mut link = match state {
            0 => hub.accept(),
            1 => hub.greet(&Hub::info()).link,
            _ => hub.link(),
        };
        server.reload(&gone);
        // Stock lets a handshake run into its timeout.
        link.closed();
        if beyond_stock() {
            hub.expect_nobody(LONG);
        }
    }
}
