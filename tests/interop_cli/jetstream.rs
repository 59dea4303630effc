//! The tool's commands for streams, consumers, buckets and objects: each one's effect.

use std::path::PathBuf;

use serde_json::Value;

use super::support::server::Server;
use super::{A, SYS, Site};

const CONFIG: &str = r#"
    server_name: probe
    jetstream { store_dir: "@DIR@/store", max_file: 4GB, max_mem: 64MB }
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { jetstream: enabled, users: [{user: a, password: a}] }
    }
    system_account: SYS
"#;

/// A server with JetStream and a stream `S` of `s.>`.
fn site() -> Site {
    let site = Site::of(Server::with_config(CONFIG));
    site.run(A, "stream add S --subjects=s.> --defaults", &["Stream S"]);
    site
}

/// The stock server: `RAMJET_STOCK`, or where `make wirediff` puts it.
pub fn stock_program() -> String {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/stock/bin/nats-server");
    std::env::var("RAMJET_STOCK").unwrap_or_else(|_| beside.display().to_string())
}

fn stock() -> Site {
    let server = Server::builder().program(&stock_program());
    Site::of(server.config(CONFIG).start())
}

impl Site {
    fn json(&self, user: &str, line: &str) -> Value {
        let output = self.command(user, line).output().expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error} in {text}"))
    }

    fn stream(&self, name: &str) -> Value {
        self.json(A, &format!("stream info {name} --json"))
    }

    fn consumer(&self, name: &str) -> Value {
        self.json(A, &format!("consumer info S {name} --json"))
    }

    /// Runs one command, which must fail and say `expected`.
    #[track_caller]
    fn refused(&self, line: &str, expected: &str) {
        let output = self.command(A, line).output().expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{line} succeeds");
        assert!(
            text.contains(expected),
            "{line}: no {expected:?} in\n{text}"
        );
    }

    fn fill(&self, count: u32) {
        let line = format!("pub s.a --count={count} --quiet -H Key:v hello{{{{Count}}}}");
        self.run(A, &line, &[]);
    }
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_020_streams_are_made_changed_and_removed() {
    let site = site();
    site.fill(60);
    assert_eq!(site.stream("S")["state"]["messages"], 60);
    site.run(A, "stream ls", &["S", "60"]);
    site.run(A, "stream ls --names", &["S"]);
    site.run(A, "stream report", &["Stream Report", "S"]);
    site.run(A, "stream state S", &["Messages: 60"]);
    site.run(A, "stream subjects S", &["s.a", "60"]);
    site.run(A, "stream find --empty --invert", &["S"]);
    site.run(A, "stream get S 55", &["hello55"]);
    site.run(A, "stream get S --last-for s.a", &["hello60"]);
    site.run(
        A,
        "stream edit S --max-msgs=50 --force",
        &["Maximum Messages: 50"],
    );
    let info = site.stream("S");
    assert_eq!(
        (&info["config"]["max_msgs"], &info["state"]["messages"]),
        (&50.into(), &50.into())
    );
    site.run(A, "stream rmm S 55 --force", &[]);
    site.refused("stream get S 55", "no message found");
    site.run(A, "stream purge S --subject=s.a --keep=10 --force", &[]);
    assert_eq!(site.stream("S")["state"]["messages"], 10);
    site.run(A, "stream copy S T --subjects=t.>", &["Stream T"]);
    site.run(A, "stream seal T --force", &[]);
    assert_eq!(site.stream("T")["config"]["sealed"], true);
    site.run(A, "stream rm T --force", &[]);
    // It asks which stream is meant then.
    site.refused("stream info T", "cannot pick a Stream");
    site.refused("stream add U --subjects=s.x --defaults", "subjects overlap");
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_021_consumers_are_made_read_changed_and_removed() {
    let site = site();
    site.fill(10);
    site.run(
        A,
        "consumer add S p --pull --defaults",
        &["Pull Mode: true"],
    );
    let text = site.run(
        A,
        "consumer next S p --count=2 --ack",
        &["hello1", "hello2"],
    );
    assert!(text.contains("Key: v"), "{text}");
    let info = site.consumer("p");
    assert_eq!(
        (&info["num_pending"], &info["num_ack_pending"]),
        (&8.into(), &0.into())
    );
    site.run(A, "consumer next S p --no-ack", &["hello3"]);
    assert_eq!(site.consumer("p")["num_ack_pending"], 1);
    site.run(A, "consumer ls S", &["p"]);
    site.run(A, "consumer report S", &["p", "Explicit"]);
    site.run(A, "consumer find S", &["p"]);
    site.run(A, "consumer pause S p 1h --force", &["Paused S > p"]);
    assert_eq!(site.consumer("p")["paused"], true);
    site.run(A, "consumer resume S p --force", &["was resumed"]);
    assert_ne!(site.consumer("p")["paused"], true);
    site.run(A, "consumer edit S p --max-pending=5 --force", &[]);
    assert_eq!(site.consumer("p")["config"]["max_ack_pending"], 5);
    site.run(A, "consumer copy S p q --ack=none", &[]);
    assert_eq!(site.consumer("q")["config"]["ack_policy"], "none");
    site.run(A, "consumer rm S q --force", &[]);
    site.refused("consumer info S q", "cannot pick a Consumer");
    let push = "consumer add S push --target=to.me --ack=none --defaults";
    site.run(A, push, &["Delivery Subject: to.me"]);
    site.run(A, "sub to.me --count=10", &["hello10"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_022_keys_and_values() {
    let site = site();
    site.run(
        A,
        "kv add B --history=5",
        &["Bucket Name: B", "History Kept: 5"],
    );
    site.run(A, "kv put B k 1", &["1"]);
    site.refused("kv create B k 2", "key exists");
    site.run(A, "kv update B k 2 1", &["2"]);
    site.refused("kv update B k 3 1", "wrong last sequence");
    assert_eq!(site.run(A, "kv get B k --raw", &[]), "2");
    assert_eq!(site.run(A, "kv get B k --revision=1 --raw", &[]), "1");
    site.run(A, "kv history B k", &["PUT", "2"]);
    site.run(A, "kv del B k --force", &[]);
    site.refused("kv get B k", "key not found");
    site.run(A, "kv history B k", &["DELETE"]);
    site.run(A, "kv put B l 1", &[]);
    site.run(A, "kv ls B", &["l"]);
    site.run(A, "kv purge B l --force", &[]);
    site.run(A, "kv compact B --force", &[]);
    site.run(A, "kv status B", &["Bucket Name: B"]);
    site.run(A, "kv ls", &["B"]);
    site.run(A, "server check kv --bucket=B", &["OK B"]);
    site.run(A, "kv rm B --force", &[]);
    site.refused("kv status B", "bucket not found");
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_023_objects() {
    let site = site();
    let content: Vec<u8> = (0..400_000_u32)
        .map(|it| (it.wrapping_mul(it) >> 7) as u8)
        .collect();
    let (from, to) = (site.server.dir().file("from"), site.server.dir().file("to"));
    std::fs::write(&from, &content).expect("a file");
    site.run(A, "object add O", &["Bucket Name: O"]);
    site.run(
        A,
        &format!("object put O {from} --name=o --no-progress"),
        &["SHA-256"],
    );
    site.run(A, "object ls O", &["o"]);
    site.run(A, "object info O o", &["391 KiB"]);
    site.run(
        A,
        &format!("object get O o -O {to} --no-progress --force"),
        &["Wrote"],
    );
    assert_eq!(std::fs::read(&to).expect("a file"), content);
    site.run(A, "object rm O o --force", &[]);
    site.refused("object info O o", "not found");
    site.run(A, "object seal O --force", &[]);
    site.refused(
        &format!("object put O {from} --name=p --no-progress"),
        "sealed",
    );
    site.run(A, "object rm O --force", &[]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_024_accounts_are_told_of_and_backed_up() {
    let site = site();
    site.fill(20);
    site.run(A, "consumer add S p --pull --defaults", &[]);
    site.run(
        A,
        "stream add T --subjects=t.> --storage=memory --defaults",
        &[],
    );
    let text = site.run(
        A,
        "account info",
        &["Account Usage", "Streams: 2", "Consumers: 1"],
    );
    assert!(text.contains("Storage"), "{text}");
    let backup = site.server.dir().file("backup");
    site.run(
        A,
        &format!("account backup {backup} --force --consumers"),
        &[],
    );
    for stream in ["S", "T"] {
        site.run(A, &format!("stream rm {stream} --force"), &[]);
    }
    site.run(A, &format!("account restore {backup}"), &[]);
    assert_eq!(site.stream("S")["state"]["messages"], 20);
    assert_eq!(site.stream("T")["state"]["messages"], 0);
    assert_eq!(site.consumer("p")["num_pending"], 20);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_025_checks_of_jetstream_are_good() {
    let site = site();
    site.fill(5);
    site.run(A, "consumer add S p --pull --defaults", &[]);
    site.run(
        A,
        "server check jetstream",
        &["OK JetStream", "streams=1", "consumers=1"],
    );
    site.run(
        A,
        "server check consumer --stream=S --consumer=p",
        &["OK S_p", "pending=5"],
    );
    site.run(
        A,
        "server check message --stream=S --subject=s.a",
        &["OK Stream Message"],
    );
    site.run(
        SYS,
        "server check server --name probe --js-required",
        &["JetStream enabled"],
    );
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_026_reports_of_jetstream() {
    let site = site();
    site.fill(5);
    site.run(A, "consumer add S p --pull --defaults", &[]);
    let text = site.run(
        SYS,
        "server report jetstream",
        &["JetStream Summary", "probe"],
    );
    let row = text.lines().find(|it| it.contains("probe")).expect("a row");
    let cells: Vec<&str> = row.split('│').map(str::trim).collect();
    assert_eq!(cells[3..6], ["1", "1", "5"], "{row}");
    site.run(
        SYS,
        "server report jetstream --account=A",
        &["Summary for Account A"],
    );
    site.run(SYS, "server report health", &["ok (200)"]);
    site.run(
        SYS,
        "server request jetstream --account=A --streams --consumer",
        &["consumer_detail"],
    );
    site.run(SYS, "server stream-check", &["Streams: 1", "IN SYNC"]);
    site.run(SYS, "server consumer-check", &["Consumers: 1"]);
    site.run(SYS, "server list", &["yes"]);
}

#[test]
#[ignore = "needs Go and its module proxy"]
fn cli_027_benchmarks_of_jetstream_run() {
    let site = site();
    let make = "bench js pub sync b.x --create --stream=B --maxbytes=100MB --msgs=500 --size=100 --no-progress";
    site.run(A, make, &["stats"]);
    assert_eq!(site.stream("B")["state"]["messages"], 500);
    site.run(
        A,
        "bench js pub async b.x --stream=B --msgs=2000 --size=100 --no-progress",
        &["stats"],
    );
    assert_eq!(site.stream("B")["state"]["messages"], 2500);
    site.run(A, "consumer add B fetches --pull --defaults", &[]);
    for line in [
        "bench js ordered --stream=B --msgs=2500 --no-progress",
        "bench js consume --stream=B --msgs=2500 --no-progress",
        "bench js fetch --stream=B --consumer=fetches --msgs=2500 --no-progress",
        "bench js get sync --stream=B --msgs=200 --no-progress",
    ] {
        site.run(A, line, &["stats"]);
    }
    site.run(A, "kv add K", &[]);
    site.run(
        A,
        "bench kv put --bucket=K --msgs=200 --no-progress",
        &["stats"],
    );
    site.run(
        A,
        "bench kv get --bucket=K --msgs=200 --no-progress",
        &["stats"],
    );
}

/// JS-169: a backup of either server makes a stream on either.
#[test]
#[ignore = "needs Go, its module proxy and the stock server"]
fn cli_028_backups_go_from_stock_to_ramjet_and_back() {
    let (own, stock) = (site(), stock());
    stock.run(A, "stream add S --subjects=s.> --defaults", &[]);
    let sites = [&own, &stock];
    let mut before = Vec::new();
    for site in sites {
        site.fill(700);
        site.run(A, "consumer add S p --pull --defaults", &[]);
        site.run(A, "consumer next S p --count=3 --no-ack", &[]);
        site.run(A, "stream rmm S 4 --force", &[]);
        let backup = site.server.dir().file("backup");
        site.run(A, &format!("stream backup S {backup}"), &["Received"]);
        before.push((site.stream("S"), site.consumer("p"), backup));
        site.run(A, "stream rm S --force", &[]);
    }
    for (site, (stream, consumer, backup)) in sites.iter().zip(before.iter().rev()) {
        site.run(A, &format!("stream restore {backup}"), &[]);
        let restored = site.stream("S");
        assert_eq!(restored["state"], stream["state"]);
        let config = |it: &Value| it["config"]["subjects"].clone();
        assert_eq!(config(&restored), config(stream));
        let again = site.consumer("p");
        for field in ["num_pending", "num_ack_pending", "config"] {
            assert_eq!(again[field], consumer[field], "{field}");
        }
        assert_eq!(again["delivered"]["consumer_seq"], 3);
        site.run(A, "stream get S 700", &["hello700"]);
    }
}
