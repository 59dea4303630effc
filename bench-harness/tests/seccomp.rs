//! `perf/seccomp.json`, the profile for containers: it allows what Ramjet needs, and Ramjet starts
//! and serves under it. The second test puts the profile's plain rules into the kernel as a
//! container engine does.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;
use syscalls::Sysno;

const IO_URING: [&str; 3] = ["io_uring_enter", "io_uring_register", "io_uring_setup"];
/// Set in the copy of this test that becomes the server.
const INSIDE: &str = "RAMJET_SECCOMP_TEST";

fn profile() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../perf/seccomp.json");
    let text = std::fs::read_to_string(path).expect("the profile");
    serde_json::from_str(&text).expect("JSON")
}

/// Names that are allowed; `true` takes those that depend on arguments as well.
fn allowed(profile: &Value, with_conditions: bool) -> BTreeSet<String> {
    let rules = profile["syscalls"].as_array().expect("rules");
    rules
        .iter()
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
        .filter(|rule| with_conditions || rule["args"].is_null())
        .flat_map(|rule| rule["names"].as_array().expect("names"))
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn io_uring_is_allowed_and_what_leads_out_of_a_container_is_not() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let plain = allowed(&profile, false);
    for name in IO_URING
        .iter()
        .chain(&["sched_setaffinity", "eventfd2", "accept4"])
    {
        assert!(plain.contains(*name), "{name}");
    }
    // What the container engines' documents name as kept from every container.
    for name in [
        "bpf",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "open_by_handle_at",
        "perf_event_open",
        "pivot_root",
        "ptrace",
        "reboot",
        "setns",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!allowed(&profile, true).contains(name), "{name}");
    }
    // Only with a look at their arguments.
    for name in ["clone", "socket", "personality"] {
        assert!(
            !plain.contains(name) && allowed(&profile, true).contains(name),
            "{name}"
        );
    }
}

/// A filter that answers `hit` to these calls and `miss` to all others.
fn program(names: &BTreeSet<String>, hit: SeccompAction, miss: SeccompAction) -> BpfProgram {
    // Names of other architectures, and of newer kernels than the table knows, have no number.
    let known = names.iter().filter_map(|name| name.parse::<Sysno>().ok());
    let rules: BTreeMap<i64, _> = known
        .map(|number| (i64::from(number.id()), Vec::new()))
        .collect();
    let arch = env::consts::ARCH
        .try_into()
        .expect("a supported architecture");
    SeccompFilter::new(rules, miss, hit, arch)
        .and_then(TryInto::try_into)
        .expect("a filter")
}

/// Puts the profile on this thread: what it allows, where a look at arguments would be needed
/// without that look; then calls that are answered with an error of their own. A filter has one
/// answer for what it hits, so that is two, of which the kernel takes the stricter answer.
fn confine(profile: &Value, without: &str) {
    let mut names = allowed(profile, true);
    names.retain(|name| without.is_empty() || !name.starts_with(without));
    for rule in profile["syscalls"].as_array().expect("rules") {
        if let Some(errno) = rule["errnoRet"].as_u64() {
            let own: BTreeSet<String> = rule["names"]
                .as_array()
                .expect("names")
                .iter()
                .map(|name| name.as_str().expect("a name").to_owned())
                .collect();
            let answer = SeccompAction::Errno(errno as u32);
            apply_filter(&program(&own, answer, SeccompAction::Allow)).expect("it is taken");
            names.extend(own);
        }
    }
    let refuse =
        SeccompAction::Errno(profile["defaultErrnoRet"].as_u64().expect("a number") as u32);
    apply_filter(&program(&names, SeccompAction::Allow, refuse)).expect("it is taken");
}

fn ramjet() -> PathBuf {
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let path = harness.with_file_name("ramjet");
    let cure = "Cure: cargo build -p ramjet, or cargo test --workspace";
    assert!(path.is_file(), "{} is missing. {cure}", path.display());
    path
}

/// In the child of [`start`]: puts the filter on itself and becomes the server.
#[test]
fn inside_the_filter() {
    use std::os::unix::process::CommandExt;

    let Ok(port) = env::var(INSIDE) else {
        return; // run as an ordinary test
    };
    let (port, without) = port.split_once(',').unwrap_or((&port, ""));
    confine(&profile(), without);
    let error = Command::new(ramjet())
        .args(["-a", "127.0.0.1", "-p", port, "--shards", "2"])
        .exec();
    panic!("{error}");
}

fn start(port: u16, without: &str) -> Child {
    Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "inside_the_filter", "--nocapture"])
        .env(INSIDE, format!("{port},{without}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn ramjet_serves_under_the_profile() {
    let port = free_port();
    let mut server = start(port, "");
    let deadline = Instant::now() + Duration::from_secs(60);
    let stream = loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            break stream;
        }
        if Instant::now() > deadline || server.try_wait().expect("its state").is_some() {
            let _ = server.kill();
            let output = server.wait_with_output().expect("its log");
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    (&stream)
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n")
        .expect("it reads");
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let got: Vec<String> = lines.skip(1).take(3).collect();
    server.kill().expect("it ran");
    server.wait().expect("it ended");
    assert!(
        got.contains(&"MSG a 1 2".to_owned()) && got.contains(&"hi".to_owned()),
        "{got:?}"
    );
}

/// The same profile without io_uring: the server says what is missing, so the test above would
/// notice a profile that lost it.
#[test]
fn without_io_uring_it_says_what_is_missing() {
    let server = start(free_port(), "io_uring");
    let output = server.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("io_uring"),
        "{text}"
    );
}
