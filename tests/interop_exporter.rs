//! prometheus-nats-exporter scrapes the real executable, unmodified, and its numbers are those of
//! `/metrics`.
//!
//! Needs Go and a module proxy that has the exporter, so it is left out unless it is asked for:
//! `make interop-exporter`. The tool is built once, into `.tools/go`.

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::http;
use support::jetstream::JetStream;
use support::server::Server;
use support::wait_until;

/// What is asked of the module proxy.
const TOOL: &str = "github.com/nats-io/prometheus-nats-exporter@v0.15.0";

/// What does not change between two scrapes of a server that is left alone.
const STEADY: [&str; 20] = [
    "gnatsd_varz_connections",
    "gnatsd_varz_in_bytes",
    "gnatsd_varz_in_msgs",
    "gnatsd_varz_max_connections",
    "gnatsd_varz_max_payload",
    "gnatsd_varz_max_pending",
    "gnatsd_varz_out_bytes",
    "gnatsd_varz_out_msgs",
    "gnatsd_varz_slow_consumers",
    "gnatsd_varz_subscriptions",
    "gnatsd_varz_total_connections",
    "gnatsd_connz_num_connections",
    "jetstream_server_total_streams",
    "jetstream_server_total_messages",
    "jetstream_stream_total_messages",
    "jetstream_stream_last_seq",
    "jetstream_stream_consumer_count",
    "jetstream_consumer_num_pending",
    "jetstream_consumer_num_ack_pending",
    "jetstream_consumer_delivered_stream_seq",
];

/// The tool, built if it is not there.
fn tool() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/go");
    let tool = home.join("bin/prometheus-nats-exporter");
    if !tool.exists() {
        let mut install = Command::new("go");
        let install = install
            .args(["install", "-modcacherw", TOOL])
            .env("GOPATH", &home)
            .env_remove("GOBIN");
        let done = install.status().expect("Go is installed");
        assert!(
            done.success(),
            "{TOOL} cannot be built: is it there for the module proxy? \
             Cure: build it elsewhere and put it into .tools/go/bin"
        );
    }
    tool
}

/// A tool that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Values without labels by name; of several with one name the last.
fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.split('{').next()?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[test]
#[ignore = "needs Go and a module proxy that has the exporter"]
fn cli_027_the_exporters_numbers_are_those_of_metrics() {
    let tool = tool();
    let server = Server::with_monitor("jetstream { store_dir: \"@DIR@/js\" }");
    let mut client = server.client();
    client.quietly("SUB a 1\r\nSUB b.* 2\r\n");
    client.ask("PUB a 5\r\nhello\r\nPUB c 3\r\nbye\r\n");
    let mut jetstream = JetStream::of(server, "{}");
    jetstream.stream("S", &["s"], json!({}));
    for _ in 0..20 {
        jetstream.publish("s", "x");
    }
    jetstream.consumer(
        "S",
        "c",
        json!({"durable_name": "c", "ack_policy": "explicit"}),
    );
    jetstream.pull("S", "c", json!({"batch": 5}), 5);
    let server = &jetstream.server;
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = free.local_addr().expect("an address");
    drop(free);
    let exporter = Command::new(tool)
        .args(["-addr", "127.0.0.1", "-port", &address.port().to_string()])
        .args([
            "-varz",
            "-connz",
            "-subz",
            "-accstatz",
            "-leafz",
            "-healthz",
            "-jsz",
            "all",
        ])
        .arg(format!("http://{}", server.monitor_address()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _exporter = Running(exporter.expect("the tool runs"));
    wait_until("the exporter", || {
        std::net::TcpStream::connect(address).ok()
    });
    let exported = wait_until("a scrape", || {
        let scraped = http::get(address, "/metrics");
        Some(values(&scraped.body)).filter(|it| it.contains_key(STEADY[0]))
    });
    let own = values(&server.get("/metrics").body);
    for name in STEADY {
        assert!(exported.contains_key(name), "the exporter has {name}");
        assert_eq!(exported.get(name), own.get(name), "{name}");
    }
}
