//! `nsc` against the real executable, unmodified: from nothing to operator mode, and a user who is
//! revoked and restored while it is connected.
//!
//! Needs Go and its module proxy for the first run, so it is left out unless it is asked for:
//! `make interop`. The version and its checksums are in `tests/interop_nsc`; the tool is built once,
//! into `.tools/go`. `RAMJET_TEST_SERVER=/path/to/nats-server` runs the same cases against another
//! server.

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nkeys::KeyPair;
use support::client::Client;
use support::directory::TempDir;
use support::server::Server;
use support::signer::credentials;

const PACKAGE: &str = "github.com/nats-io/nsc/v2";

/// The tool, built if it is not there.
fn tool() -> PathBuf {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| go_tool("nsc", PACKAGE)).clone()
}

fn go_tool(name: &str, package: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = root.join(".tools/go");
    let tool = home.join("bin").join(name);
    if !tool.exists() {
        let mut build = Command::new("go");
        let build = build
            .current_dir(root.join("tests/interop_nsc"))
            .args(["build", "-modcacherw", "-o"])
            .arg(&tool)
            .arg(package)
            .env("GOPATH", &home);
        let done = build.status().expect("Go is installed");
        assert!(done.success(), "{package} cannot be built");
    }
    tool
}

/// What `nsc` keeps, and a server that was configured with it.
struct Site {
    home: TempDir,
    tool: PathBuf,
    server: Server,
}

fn nsc(tool: &Path, home: &TempDir, line: &str) -> (bool, String) {
    let output = Command::new(tool)
        .args(line.split(' '))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.file("data"))
        .env("XDG_CONFIG_HOME", home.file("config"))
        .env("NSC_NO_GIT_IGNORE", "1")
        .output()
        .expect("the tool runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

#[track_caller]
fn done(tool: &Path, home: &TempDir, line: &str) -> String {
    let (success, text) = nsc(tool, home, line);
    assert!(success, "nsc {line}:\n{text}");
    text
}

impl Site {
    /// As the README has it.
    fn start() -> Self {
        let (tool, home) = (tool(), TempDir::new());
        let run = |line: &str| done(&tool, &home, line);
        run("add operator --generate-signing-key --sys --name O");
        run("edit operator --require-signing-keys");
        run("add account A");
        run("edit account A --sk generate");
        run("add user --account A u");
        let config = run("generate config --nats-resolver --sys-account SYS");
        let dir = home.file("jwt");
        let config: String = config
            .lines()
            .map(|line| match line.trim_start() {
                it if it.starts_with("dir:") => format!("dir: {dir:?}\n"),
                it if it.starts_with("allow_delete:") => "allow_delete: true\n".to_owned(),
                _ => format!("{line}\n"),
            })
            .collect();
        let server = Server::with_config(&config);
        let url = format!("nats://{}", server.address());
        run(&format!("edit operator --account-jwt-server-url {url}"));
        run("push --all");
        Self { home, tool, server }
    }

    #[track_caller]
    fn run(&self, line: &str) -> String {
        done(&self.tool, &self.home, line)
    }

    /// CONNECT with what `nsc` wrote for the user.
    fn connect(&self) -> Client {
        let file = self.home.file("data/nats/nsc/keys/creds/O/A/u.creds");
        let text = std::fs::read_to_string(file).expect("credentials");
        let mut parts = text
            .lines()
            .filter(|it| !it.is_empty() && !it.starts_with('-'));
        let token = parts.next().expect("a token").to_owned();
        let seed = text
            .lines()
            .find(|it| it.starts_with("SU"))
            .expect("a seed");
        let key = KeyPair::from_seed(seed).expect("a seed");
        let mut client = self.server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        let options = credentials(&key, &token, &nonce);
        client.send(format!("CONNECT {options}\r\nPING\r\n"));
        client
    }
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn nsc_a_user_is_revoked_and_restored_while_it_is_connected() {
    let site = Site::start();
    let mut client = site.connect();
    client.expect(&["+OK", "PONG"]);
    site.run("revocations add-user --account A --name u");
    let pushed = site.run("push --account A");
    assert!(pushed.contains("jwt updated"), "{pushed}");
    let begun = Instant::now();
    assert_eq!(client.closed(), ["-ERR 'User Authentication Revoked'"]);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let refused = site.connect().closed();
    assert_eq!(refused, ["-ERR 'Authorization Violation'"]);
    site.run("revocations delete-user --account A --name u");
    site.run("push --account A");
    site.connect().expect(&["+OK", "PONG"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn nsc_accounts_are_pulled_compared_and_deleted() {
    let site = Site::start();
    let pulled = site.run("pull -A");
    assert!(pulled.contains("stored account \"A\""), "{pulled}");
    let mut client = site.connect();
    client.expect(&["+OK", "PONG"]);
    site.run("delete account A --rm-nkey");
    let pruned = site.run("push --prune");
    assert!(pruned.contains("named SYS exists"), "{pruned}");
    assert!(
        pruned.contains("pruned") || pruned.contains("deleted"),
        "{pruned}"
    );
    assert_eq!(client.closed(), ["-ERR 'Account Authentication Expired'"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn nsc_limits_and_scopes_reach_those_who_are_connected() {
    let site = Site::start();
    let mut first = site.connect();
    first.expect(&["+OK", "PONG"]);
    let mut second = site.connect();
    second.expect(&["+OK", "PONG"]);
    site.run("edit account A --conns 1");
    site.run("push --account A");
    let closed = second.closed();
    assert_eq!(
        closed,
        ["-ERR 'maximum account active connections exceeded'"]
    );
    first.ask("");
}

/// The keys that `nk` makes are known to the server, and so are its signatures.
#[test]
#[ignore = "needs Go and its module proxy"]
fn nk_a_user_is_made_and_signs_the_nonce() {
    let (nk, home) = (nk(), TempDir::new());
    let run = |line: &str| {
        let mut command = Command::new(&nk);
        let output = command.args(line.split(' ')).current_dir(home.path());
        let output = output.output().expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "nk {line}:\n{text}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().to_owned()
    };
    std::fs::write(home.file("seed"), run("-gen user")).expect("written");
    std::fs::write(home.file("other"), run("-gen user")).expect("written");
    let user = run("-inkey seed -pubout");
    let server = Server::with_config(&format!("authorization {{ users: [{{nkey: {user}}}] }}"));
    for (signer, good) in [("seed", true), ("other", false)] {
        let mut client = server.open();
        let nonce = client.info["nonce"].as_str().expect("nonce").to_owned();
        std::fs::write(home.file("nonce"), nonce).expect("written");
        let sig = run(&format!("-inkey {signer} -sign nonce"));
        client.send(format!(
            "CONNECT {{\"nkey\":\"{user}\",\"sig\":\"{sig}\"}}\r\nPING\r\n"
        ));
        match good {
            true => client.expect(&["+OK", "PONG"]),
            false => assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]),
        }
    }
}

/// `nk` comes with the library that `nsc` is made of.
fn nk() -> PathBuf {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    let make = || go_tool("nk", "github.com/nats-io/nkeys/nk");
    TOOL.get_or_init(make).clone()
}
