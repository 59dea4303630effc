//! The official `nats` command line against the real executable, unmodified.
//!
//! Needs Go and its module proxy for the first run, so it is left out unless it is asked for:
//! `make interop`. The tool is built once, into `.tools/go`.
//! `RAMJET_TEST_SERVER=/path/to/nats-server` runs the same cases against another server.

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "../support/mod.rs"]
mod support;

mod alike;
mod jetstream;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::client::Client;
use support::directory::TempDir;
use support::server::Server;
use support::wait_until;

/// What is asked of the module proxy.
const TOOL: &str = "github.com/nats-io/natscli/nats@v0.5.1";

const CONFIG: &str = r#"
    server_name: probe
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { users: [{user: a, password: a}] }
    }
    system_account: SYS
"#;

/// The tool, built if it is not there.
fn tool() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/go");
    let tool = home.join("bin/nats");
    if !tool.exists() {
        let mut install = Command::new("go");
        let install = install
            .args(["install", "-modcacherw", TOOL])
            .env("GOPATH", &home)
            .env_remove("GOBIN");
        let done = install.status().expect("Go is installed");
        assert!(done.success(), "{TOOL} cannot be built");
    }
    tool
}

/// A server and what the tool needs to reach it.
struct Site {
    server: Server,
    tool: PathBuf,
}

impl Site {
    fn start() -> Self {
        Self::of(Server::with_config(CONFIG))
    }

    fn of(server: Server) -> Self {
        let tool = tool();
        Self { server, tool }
    }

    fn command(&self, user: &str, line: &str) -> Command {
        let (name, password) = user.split_once(':').expect("user:password");
        let home = self.server.dir().path();
        let mut command = Command::new(&self.tool);
        command
            .arg("-s")
            .arg(format!(
                "nats://{name}:{password}@{}",
                self.server.address()
            ))
            .args(line.split(' '))
            .stdin(Stdio::null())
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join(".config"));
        command
    }

    /// Runs one command, which must succeed; its output must hold all of `expected`.
    #[track_caller]
    fn run(&self, user: &str, line: &str, expected: &[&str]) -> String {
        let output = self.command(user, line).output().expect("the tool runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{line}: {}\n{text}", output.status);
        for part in expected {
            assert!(text.contains(part), "{line}: no {part:?} in\n{text}");
        }
        text
    }

    fn id(&self) -> String {
        let info = self.server.open().info;
        info["server_id"].as_str().expect("an id").to_owned()
    }

    fn client(&self) -> Client {
        self.server
            .client_with(r#"{"user":"a","pass":"a","name":"the client"}"#)
    }
}

/// A tool that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

const SYS: &str = "sys:s";
const A: &str = "a:a";

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_001_002_servers_are_found_and_described() {
    let site = Site::start();
    let _client = site.client();
    let id = site.id();
    site.run(SYS, "server info", &["probe", "2.15.1"]);
    site.run(SYS, &format!("server info {id}"), &[&id]);
    site.run(
        SYS,
        "server list 1",
        &["Server Overview", "probe", "2.15.1"],
    );
    site.run(SYS, "server ping", &["probe", "1 replies"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_003_005_every_request_has_an_answer() {
    let site = Site::start();
    for what in [
        "variables",
        "connections",
        "subscriptions",
        "routes",
        "gateways",
        "leafnodes",
        "accounts",
        "jetstream",
        "jetstream-health",
        "raft",
    ] {
        let line = format!("server request {what}");
        site.run(SYS, &line, &["\"server\":", "\"data\":", "\"probe\""]);
    }
    let id = site.id();
    let line = format!("server request kick 999 {id}");
    site.run(SYS, &line, &["no such client or leafnode id"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_005_a_user_without_privileges_is_told_so() {
    let site = Site::start();
    let output = site
        .command(A, "server info")
        .output()
        .expect("the tool runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("system privileges"),
        "{text}"
    );
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_006_reports() {
    let site = Site::start();
    let mut client = site.client();
    client.quietly("SUB x 1\r\n");
    site.run(
        SYS,
        "server report connections",
        &["the client", "Totals for 2"],
    );
    site.run(
        SYS,
        "server report connections --account A",
        &["the client"],
    );
    site.run(SYS, "server report accounts", &["Accounts Overview", "SYS"]);
    site.run(SYS, "server report health", &["ok (200)"]);
    for what in ["cpu", "mem", "routes", "gateways", "leafnodes", "jetstream"] {
        site.run(SYS, &format!("server report {what}"), &[]);
    }
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_007_008_checks_are_good() {
    let site = Site::start();
    site.run(
        A,
        "server check connection",
        &["OK Connection", "round trip took"],
    );
    site.run(
        SYS,
        "server check server --name probe",
        &["OK probe", "connections="],
    );
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_010_the_configuration_is_reloaded() {
    let site = Site::start();
    let id = site.id();
    site.server
        .rewrite_config(&format!("{CONFIG}\nmax_payload: 4096"));
    let line = format!("server config reload {id} --force");
    site.run(SYS, &line, &["probe"]);
    assert_eq!(site.server.open().info["max_payload"], 4096);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_012_013_accounts_are_described() {
    let site = Site::start();
    let _client = site.client();
    site.run(
        A,
        "account info",
        &["Account: A (A)", "System Account: false"],
    );
    site.run(SYS, "account info", &["System Account: true"]);
    site.run(A, "account report connections", &["the client"]);
    site.run(
        A,
        "account report statistics",
        &["Server Statistics", "2.15.1"],
    );
    site.run(
        SYS,
        "server account info A",
        &["account A", "Complete: true"],
    );
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_016_a_message_is_traced() {
    let site = Site::start();
    let mut client = site.client();
    client.quietly("SUB foo.> 1\r\n");
    for line in ["trace foo.bar", "trace foo.bar --deliver"] {
        site.run(
            A,
            line,
            &["server:\"probe\"", "--C Client \"the client\"", "Client: 1"],
        );
    }
    assert_eq!(client.message().subject, "foo.bar");
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_017_top_shows_connections() {
    let site = Site::start();
    let _client = site.client();
    let snapshot = site.server.dir().file("snapshot");
    site.run(SYS, &format!("top probe --output {snapshot}"), &[]);
    let text = std::fs::read_to_string(snapshot).expect("a snapshot");
    assert!(text.contains("the client"), "{text}");
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_018_latency_and_load() {
    let site = Site::start();
    let other = format!("nats://a:a@{}", site.server.address());
    let line = format!("latency --server-b {other} --duration 1s");
    site.run(A, &line, &["99.9"]);
    site.run(A, "bench pub x --msgs 10000 --no-progress", &["10,000"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_019_services_are_found_and_asked() {
    let site = Site::start();
    let mut serve = site.command(A, "micro serve demo");
    serve.stdout(Stdio::null()).stderr(Stdio::null());
    let _service = Running(serve.spawn().expect("the tool runs"));
    wait_until("the service", || {
        let output = site.command(A, "micro ls").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("demo").then_some(())
    });
    site.run(A, "micro info demo", &["demo.echo"]);
    site.run(A, "micro stats demo", &["demo Service Statistics"]);
    site.run(A, "request demo.echo hi", &["hi"]);
}

/// From nothing to operator mode with `nats auth`, against a server that has nothing but the
/// operator's token; a user is revoked, and an account limited, while somebody is connected.
#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_020_operators_accounts_and_users_are_made_and_pushed() {
    let (tool, home) = (tool(), TempDir::new());
    let run = |line: &str| -> String {
        let output = Command::new(&tool)
            .args(line.split(' '))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .env("HOME", home.path())
            .env("XDG_DATA_HOME", home.file("data"))
            .env("XDG_CONFIG_HOME", home.file("config"))
            .output()
            .expect("the tool runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{line}:\n{text}");
        text
    };
    run("auth operator add O --signing-key");
    run("auth account add A --defaults");
    run("auth user add u A --defaults --credential u.creds");
    run("auth user add v A --defaults --credential v.creds");
    run("auth user add sys SYSTEM --defaults --credential sys.creds");
    let operator = home.file("data/nats/nsc/stores/O/O.jwt");
    let server = Server::with_config(&format!(
        "operator: {operator:?}\nresolver {{ type: full, dir: \"@DIR@/jwt\" }}\n"
    ));
    let url = format!("-s nats://{}", server.address());
    let push = |account: &str| {
        let text = run(&format!(
            "{url} --creds sys.creds auth account push {account}"
        ));
        assert!(text.contains("Success 1 Failed 0 Expected 1"), "{text}");
    };
    push("SYSTEM");
    push("A");
    server.logged("System account fetched and updated");
    run(&format!("{url} --creds u.creds pub x y"));
    let queried = run(&format!("{url} --creds sys.creds auth account query A"));
    assert!(queried.contains("Name: A"), "{queried}");
    let log = home.file("sub.log");
    let out = std::fs::File::create(&log).expect("a file");
    let subscriber = Command::new(&tool)
        .args(format!("{url} --creds u.creds sub x").split(' '))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .env("HOME", home.path())
        .spawn();
    let _subscriber = Running(subscriber.expect("the tool runs"));
    let said = |text: &str| {
        wait_until(text, || {
            let log = std::fs::read_to_string(&log).ok()?;
            log.contains(text).then_some(())
        });
    };
    wait_until("the message", || {
        run(&format!("{url} --creds v.creds pub x found"));
        let log = std::fs::read_to_string(&log).ok()?;
        log.contains("found").then_some(())
    });
    run("auth user rm u A --revoke -f");
    push("A");
    said("authentication revoked");
    run(&format!("{url} --creds v.creds pub x y"));
    run("auth account edit A --connections 0");
    push("A");
    let output = Command::new(&tool)
        .args(format!("{url} --creds v.creds pub x y").split(' '))
        .current_dir(home.path())
        .output()
        .expect("the tool runs");
    assert!(!output.status.success(), "no connection is allowed");
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_021_events_are_shown() {
    let site = Site::start();
    let log = site.server.dir().file("events.log");
    let out = std::fs::File::create(&log).expect("a file");
    let mut watch = site.command(SYS, "events --all");
    watch.stdout(out.try_clone().expect("a file")).stderr(out);
    let _watch = Running(watch.spawn().expect("the tool runs"));
    wait_until("an event", || {
        drop(site.client());
        let text = std::fs::read_to_string(&log).ok()?;
        let told = text.contains("Client Connection") && text.contains("Client Disconnection");
        told.then_some(())
    });
}
