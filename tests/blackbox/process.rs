//! Sections 2.5 and PROC: what tools expect of the process.

use crate::support::client::Client;
use crate::support::server::{Builder, Server, beyond_stock, executable};
use crate::support::wait_until;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

/// The executable under the name `nats-server`, found through PATH.
fn as_nats_server() -> Builder {
    let builder = Server::builder();
    let bin = builder.dir().file("bin");
    fs::create_dir(&bin).expect("directory");
    let target = fs::canonicalize(executable()).expect("executable");
    symlink(target, format!("{bin}/nats-server")).expect("link");
    let path = std::env::var("PATH").unwrap_or_default();
    builder
        .env("PATH", &format!("{bin}:{path}"))
        .program(&format!("{bin}/nats-server"))
        .name("nats-server")
}

#[test]
fn proc_001_it_works_under_the_stock_name_as_the_spawned_process() {
    let server = as_nats_server().flags("-P @DIR@/pid").start();
    assert_eq!(
        fs::read_to_string(server.dir().file("pid")).expect("pid"),
        server.pid().to_string()
    );
    let name = format!("nats-server_{}.ports", server.pid());
    assert!(server.dir().path().join("ports").join(name).exists());
    server.client().quietly("");
}

#[test]
fn proc_002_it_restarts_at_once_on_the_same_port() {
    let mut first = Server::start();
    let port = first.address().port();
    let mut clients = first.clients();
    first.signal(Signal::KILL);
    first.exited();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.closed(), [""; 0]));
    let flags = format!("-a 127.0.0.1 -p {port}");
    let second = Server::builder().own_listener().flags(&flags).start();
    assert_eq!(second.address().port(), port);
    second.client().quietly("");
}

#[test]
fn proc_004_cfg_089_the_pid_file_is_bare_digits_and_stays() {
    for (config, flags) in [
        ("pid_file: @DIR@/pid", ""),
        ("pidfile: '@DIR@/pid'", ""),
        ("", "--pid @DIR@/pid"),
    ] {
        let mut server = Server::builder().config(config).flags(flags).start();
        let file = server.dir().file("pid");
        assert_eq!(
            fs::read_to_string(&file).expect("pid file"),
            server.pid().to_string()
        );
        server.signal(Signal::TERM);
        server.exited();
        assert!(fs::exists(&file).expect("directory"));
    }
}

#[test]
fn proc_004_a_pid_file_that_cannot_be_written_is_fatal() {
    let run = Server::builder()
        .flags("-a 127.0.0.1 -p -1 -P @DIR@/no/such/pid")
        .run();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("pidfile"), "{}", run.stderr);
}

#[test]
fn proc_005_cfg_090_the_ports_file_lists_the_listeners_and_goes() {
    let mut server = Server::builder()
        .flags("-m -1")
        .name("/some/where/zork")
        .start();
    let kinds: Vec<&String> = server
        .listeners()
        .as_object()
        .expect("object")
        .keys()
        .collect();
    assert_eq!(kinds.len(), 2);
    let [nats, http] = ["nats", "monitoring"].map(|kind| server.listeners()[kind][0].clone());
    assert!(nats.as_str().expect("url").starts_with("nats://127.0.0.1:"));
    assert!(http.as_str().expect("url").starts_with("http://127.0.0.1:"));
    let file = server
        .dir()
        .path()
        .join("ports")
        .join(format!("zork_{}.ports", server.pid()));
    assert!(file.exists());
    server.signal(Signal::TERM);
    server.exited();
    assert!(!file.exists());
}

#[test]
fn proc_005_the_directory_may_stand_in_the_file() {
    let server = Server::with_config("ports_file_dir: '@DIR@'");
    // The flag wins.
    assert!(
        fs::read_dir(server.dir().file("ports"))
            .expect("directory")
            .next()
            .is_some()
    );
}

#[test]
fn proc_006_cfg_100_the_landmarks_stand_in_the_log() {
    let mut server = Server::builder().flags("-m -1 -n seen").start();
    server.client();
    server.signal(Signal::INT);
    server.exited();
    let log = server.log();
    let mut rest = log.as_str();
    let address = server.address();
    let http = format!("Starting http monitor on {}", server.monitor_address());
    let clients = format!("Listening for client connections on {address}");
    for mark in [
        "[INF] Starting nats-server",
        "[INF]   Version:  2.15.1",
        "[INF]   Name:     seen",
        "[INF]   ID:       N",
        &http,
        &clients,
        "[INF] Server is ready",
        "Trapped \"interrupt\" signal",
        "[INF] Initiating Shutdown...",
        "[INF] Server Exiting..",
    ] {
        let at = rest
            .find(mark)
            .unwrap_or_else(|| panic!("{mark} not in turn in {log}"));
        rest = &rest[at + mark.len()..];
    }
}

#[test]
fn proc_007_a_port_in_use_is_fatal() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("address").port();
    let run = Server::builder()
        .flags(&format!("-a 127.0.0.1 -p {port}"))
        .run();
    assert_eq!(run.code, 1);
    let text = format!(
        "[FTL] Error listening on port: 127.0.0.1:{port}, \
         \"listen tcp 127.0.0.1:{port}: bind: address already in use\""
    );
    assert!(run.stderr.contains(&text), "{}", run.stderr);
}

/// PROC-2: nothing of a server that was killed keeps its port, not even for a moment.
#[test]
fn proc_002_a_killed_server_leaves_its_port_free() {
    for _ in 0..5 {
        let mut server = Server::start();
        let _client = server.client();
        let address = server.address();
        server.signal(Signal::KILL);
        server.exited();
        std::net::TcpListener::bind(address).expect("a free port");
    }
}

#[test]
fn proc_007_two_servers_may_not_share_a_port() {
    let server = Server::start();
    let port = server.address().port();
    let run = Server::builder()
        .flags(&format!("-a 127.0.0.1 -p {port}"))
        .run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("address already in use"),
        "{}",
        run.stderr
    );
}

#[test]
fn proc_007_a_monitoring_port_in_use_is_fatal() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("address").port();
    let run = Server::builder()
        .flags(&format!("-a 127.0.0.1 -p -1 -m {port}"))
        .run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("[FTL]") && run.stderr.contains("address already in use"),
        "{}",
        run.stderr
    );
}

#[test]
fn proc_007_an_address_of_another_host_is_fatal() {
    let run = Server::builder().flags("-a 192.0.2.1 -p -1").run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .contains("[FTL] Error listening on port: 192.0.2.1:"),
        "{}",
        run.stderr
    );
}

#[test]
fn cfg_087_each_signal_is_logged() {
    let server = Server::with_config("debug: false\n");
    for (signal, text) in [
        (Signal::HUP, "Trapped \"hangup\" signal"),
        (Signal::USR1, "Trapped \"user defined signal 1\" signal"),
        (Signal::USR2, "Trapped \"user defined signal 2\" signal"),
    ] {
        server.signal(signal);
        server.logged(text);
    }
}

#[test]
fn cfg_088_the_signal_flag_sends_each_command() {
    let server = as_nats_server()
        .config("debug: false\n")
        .flags("-P @DIR@/pid")
        .start();
    let pid_file = server.dir().file("pid");
    for (target, command, landmark) in [
        (
            server.pid().to_string(),
            "reload",
            "Reloaded server configuration",
        ),
        (
            pid_file,
            "reopen",
            "Trapped \"user defined signal 1\" signal",
        ),
    ] {
        let run = Server::builder()
            .flags(&format!("--signal {command}={target}"))
            .run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        server.logged(landmark);
    }
}

#[test]
fn cfg_088_quit_term_and_stop_end_it() {
    for (command, clean) in [("quit", true), ("term", true), ("stop", false)] {
        let mut server = Server::start();
        let run = Server::builder()
            .flags(&format!("-sl {command}={}", server.pid()))
            .run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(server.exited().success(), clean, "{command}");
    }
}

#[test]
fn cfg_088_a_bad_target_or_command_is_an_error() {
    for (flags, text) in [
        ("--signal quit=abc", "nats-server: invalid pid: abc"),
        ("--signal ldm=/no/such/file", "invalid pid: /no/such/file"),
        ("--signal foo=1", "nats-server: unknown signal \"foo\""),
        ("--signal reload=999999999", "999999999"),
    ] {
        let run = Server::builder().flags(flags).run();
        assert_eq!(run.code, 1, "{flags}");
        assert!(run.stderr.contains(text), "{flags}: {}", run.stderr);
    }
}

#[test]
fn proc_008_int_and_term_end_promptly_while_busy() {
    let mut server = Server::start();
    let mut clients = server.clients();
    for client in &mut clients {
        client.quietly("SUB a 1\r\n");
    }
    clients[0].send("PUB a 1\r\nx\r\n".repeat(10_000));
    server.signal(Signal::TERM);
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn proc_009_monitoring_answers_as_soon_as_the_port_is_known() {
    for _ in 0..5 {
        let server = Server::builder().flags("-m -1").start();
        assert_eq!(server.get("/varz").status, 200);
    }
}

#[test]
fn proc_010_the_configuration_with_which_an_official_sdk_starts_every_server() {
    let server = Server::builder()
        .own_listener()
        .config(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\nserver_tags: [\"a\"]\n\
             leafnodes { listen: \"127.0.0.1:-1\" }\n\
             websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n",
        )
        .start();
    server.client().quietly("");
    assert_eq!(server.json("/varz")["tags"], serde_json::json!(["a"]));
}

#[test]
fn proc_012_the_stock_version_is_told_where_clients_look() {
    let server = Server::builder().flags("-m -1").start();
    assert_eq!(server.open().info["version"], "2.15.1");
    assert_eq!(server.json("/varz")["version"], "2.15.1");
}

#[test]
fn proc_014_a_container_with_variables_pre_stop_hook_and_probes() {
    let mut server = as_nats_server()
        .config(
            "server_name: $BB_SERVER_NAME\npid_file: \"@DIR@/nats.pid\"\nhttp_port: -1\n\
             lame_duck_grace_period: 1s\nlame_duck_duration: 30s\n",
        )
        .env("BB_SERVER_NAME", "nats-0")
        .env("GOMEMLIMIT", "512MiB")
        .start();
    assert_eq!(server.open().info["server_name"], "nats-0");
    for probe in [
        "/healthz",
        "/healthz?js-server-only=true",
        "/healthz?js-enabled-only=true",
    ] {
        let response = server.get(probe);
        assert_eq!(
            (response.status, response.json()["status"].clone()),
            (200, Value::from("ok"))
        );
    }
    let pid_file = server.dir().file("nats.pid");
    assert_eq!(
        Server::builder()
            .flags(&format!("-sl=ldm={pid_file}"))
            .run()
            .code,
        0
    );
    assert!(server.exited().success());
    wait_until("the lame duck's mark", || {
        server.log().contains("lame duck").then_some(())
    });
}

#[test]
fn proc_014_the_memory_limit_is_shown() {
    for (limit, shown) in [
        ("512MiB", Value::from(536_870_912)),
        ("1000", Value::from(1000)),
        ("off", Value::Null),
        ("", Value::Null),
    ] {
        let server = Server::builder()
            .flags("-m -1")
            .env("GOMEMLIMIT", limit)
            .start();
        assert_eq!(server.json("/varz")["gomemlimit"], shown, "{limit:?}");
    }
}

#[test]
fn proc_014_a_memory_limit_that_is_none_ends_the_start() {
    for limit in ["bogus", "1.5GiB", "-5", "5KB"] {
        let run = Server::builder().flags("-v").env("GOMEMLIMIT", limit).run();
        assert_eq!(run.code, 2, "{limit}: {}", run.stderr);
        let text = format!("GOMEMLIMIT={limit}\nfatal error: malformed GOMEMLIMIT; ");
        assert!(run.stderr.starts_with(&text), "{}", run.stderr);
    }
}

#[test]
fn proc_014_the_memory_limit_bounds_what_waits_for_clients() {
    if !beyond_stock() {
        return; // there it is the garbage collector's
    }
    const MIB: usize = 1024 * 1024;
    let server = Server::builder()
        .config("max_payload: 1MB\n")
        .flags("-m -1 --shards 1")
        .env("GOMEMLIMIT", "32MiB")
        .start();
    let mut stalled: Vec<_> = (0..3).map(|_| server.client()).collect();
    for client in &mut stalled {
        client.quietly("SUB big 1\r\n");
    }
    let mut healthy = server.client();
    healthy.quietly("SUB small 1\r\n");
    let mut publisher = server.client();
    let message = format!("PUB big {}\r\n{}\r\n", MIB, "x".repeat(MIB));
    for _ in 0..50 {
        publisher.quietly(&message);
        publisher.quietly("PUB small 1\r\ny\r\n");
        healthy.expect(&["MSG small 1 1", "y"]);
    }
    let open = server.json("/connz");
    let pending = open["connections"].as_array().expect("a list").iter();
    let pending: u64 = pending.filter_map(|it| it["pending_bytes"].as_u64()).sum();
    assert!(pending <= 18 * MIB as u64, "{pending}");
    let closed = server.json("/connz?state=closed");
    let closed = closed["connections"].as_array().expect("a list");
    assert!(!closed.is_empty());
    for it in closed {
        assert_eq!(it["reason"], "Slow Consumer (Pending Bytes)");
    }
    server.logged("memory budget of this shard (16777216 bytes)");
    assert_eq!(server.json("/varz")["slow_consumers"], closed.len());
}

/// The server's sockets of a kind (`/proc/net/<kind>`): their lines, split into words.
fn sockets(server: &Server, kind: &str) -> Vec<Vec<String>> {
    let folder = format!("/proc/{}", server.pid());
    let open = fs::read_dir(format!("{folder}/fd")).expect("descriptors");
    // Some of them are gone by now.
    let open = open
        .flatten()
        .filter_map(|it| fs::read_link(it.path()).ok());
    let own: Vec<String> = open
        .filter_map(|it| {
            let inode = it.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let table = fs::read_to_string(format!("{folder}/net/{kind}")).expect("a table");
    let lines = table.lines().skip(1);
    let lines = lines.map(|it| it.split_whitespace().map(str::to_owned).collect());
    lines
        .filter(|words: &Vec<String>| words.iter().any(|it| own.contains(it)))
        .collect()
}

const ALL_LISTENERS: &str = "http: \"127.0.0.1:-1\"\n\
    websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n\
    leafnodes { listen: \"127.0.0.1:-1\" }\n";

#[test]
fn ws_017_it_listens_on_tcp_alone() {
    let server = Server::with_config(ALL_LISTENERS);
    server.logged("Server is ready");
    assert_eq!(sockets(&server, "udp"), [[""; 0]; 0]);
    assert_eq!(sockets(&server, "udp6"), [[""; 0]; 0]);
    // A pair without a name, by which a process wakes itself, is nobody's door.
    let doors = sockets(&server, "unix").into_iter();
    let doors: Vec<_> = doors
        .filter(|it| it[3] != "00000000" || it.len() > 7)
        .collect();
    assert_eq!(doors, [[""; 0]; 0]);
    let listening = sockets(&server, "tcp")
        .into_iter()
        .filter(|it| it[3] == "0A");
    let mut ports: Vec<u16> = listening
        .map(|it| {
            it[1]
                .split_once(':')
                .expect("address and port")
                .1
                .to_owned()
        })
        .map(|port| u16::from_str_radix(&port, 16).expect("a port"))
        .collect();
    ports.sort_unstable();
    let leaf = server.logged("Listening for leafnode connections on ");
    let leaf = leaf.rsplit_once(':').expect("a port").1.to_owned();
    let mut expected = [
        server.address().port(),
        server.websocket_address().port(),
        server.monitor_address().port(),
        leaf.parse().expect("a number"),
    ];
    expected.sort_unstable();
    assert_eq!(ports, expected);
}

#[test]
fn ws_018_listeners_are_told_of_in_their_order() {
    let server = Server::with_config(ALL_LISTENERS);
    server.logged("Server is ready");
    let log = server.log();
    let places = [
        "Starting nats-server",
        "Starting http monitor on ",
        "Listening for websocket clients on ",
        "Listening for leafnode connections on ",
        "Listening for client connections on ",
        "Server is ready",
    ]
    .map(|text| log.find(text).unwrap_or_else(|| panic!("no {text}")));
    assert!(places.is_sorted(), "{log}");
}

/// Without descriptors nobody can be let in; who has come meanwhile is, once there are some.
#[test]
fn ws_018_a_listener_goes_on_after_errors() {
    let server = Server::start();
    let pid = rustix::process::Pid::from_raw(server.pid() as i32);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| {
        let limit = Rlimit { current, maximum };
        prlimit(pid, Resource::Nofile, limit).expect("an own child");
    };
    limit(Some(3));
    let mut waiting = Client::dial(server.address());
    server.logged("Accept Error");
    limit(Some(512));
    waiting.info_line();
    waiting.connect("{}");
}
