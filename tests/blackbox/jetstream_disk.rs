//! Disks of streams that are full or slow, and what monitoring tells of them. Stock turns JetStream
//! off where a disk is full (JS-248), so these cases are Ramjet's own.

use crate::support::client::Client;
use crate::support::directory::TempDir;
use crate::support::jetstream::JetStream;
use crate::support::server::{Builder, Server, beyond_stock, executable};
use crate::support::wait_until;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const CONFIG: &str = r#"
    http: "127.0.0.1:-1"
    jetstream { store_dir: "@DIR@/store", max_mem: 64MB, max_file: 1GB }
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { jetstream: enabled, users: [{user: a, password: a}] }
    }
    system_account: SYS
"#;

const USER: &str = r#"{"user": "a", "pass": "a"}"#;
const SYSTEM: &str = r#"{"user": "sys", "pass": "s"}"#;

/// Body of each message.
const BODY: usize = 16 * 1024;
/// Messages sent that are not answered yet, at most: what waits for a slow disk is no more.
const UNANSWERED_MAX: usize = 256;

/// A client that publishes without waiting, and knows what came of each message.
struct Publisher {
    server: Server,
    client: Client,
    sent: u64,
    waiting: BTreeSet<u64>,
    /// Messages by the sequence they were acknowledged with.
    acknowledged: BTreeMap<u64, u64>,
    /// Errors of those that were refused.
    refused: BTreeMap<u64, Value>,
}

impl Publisher {
    fn of(server: Server) -> Self {
        let mut client = server.client_with(USER);
        client.quietly("SUB answer.> 1\r\n");
        Self {
            server,
            client,
            sent: 0,
            waiting: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Publishes; the message's number.
    fn publish(&mut self, subject: &str) -> u64 {
        self.sent += 1;
        let number = self.sent;
        let body = format!("{number:016x}").repeat(BODY / 16);
        let line = format!("PUB {subject} answer.{number} {BODY}\r\n{body}\r\n");
        self.client.send(line);
        self.waiting.insert(number);
        number
    }

    /// Takes an answer to a message; or that to a request, which it gives.
    fn take(&mut self) -> Option<Value> {
        let message = self.client.message();
        let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let number = message.subject.strip_prefix("answer.").expect("an answer");
        let Ok(number) = number.parse() else {
            return Some(answer);
        };
        assert!(self.waiting.remove(&number), "{number} is answered twice");
        match answer.get("error") {
            Some(error) => drop(self.refused.insert(number, error.clone())),
            None => {
                let seq = answer["seq"].as_u64().expect("a sequence");
                let before = self.acknowledged.insert(seq, number);
                assert_eq!(before, None, "{seq} is given twice");
            }
        }
        None
    }

    /// Until a message is answered; was it taken?
    fn is_taken(&mut self, number: u64) -> bool {
        while self.waiting.contains(&number) {
            let other = self.take();
            assert_eq!(other, None, "nobody asked");
        }
        !self.refused.contains_key(&number)
    }

    fn all_answered(&mut self) {
        while let Some(&number) = self.waiting.first() {
            self.is_taken(number);
        }
    }

    /// Publishes until a message is taken.
    fn until_taken(&mut self, subject: &str) {
        wait_until("a message to be taken", || {
            let number = self.publish(subject);
            self.is_taken(number).then_some(())
        });
    }

    fn ask(&mut self, endpoint: &str, body: &str) -> Value {
        self.client.send(format!(
            "PUB $JS.API.{endpoint} answer.api {}\r\n{body}\r\n",
            body.len()
        ));
        let answer = loop {
            if let Some(answer) = self.take() {
                break answer;
            }
        };
        assert_eq!(answer.get("error"), None, "{endpoint}: {answer}");
        answer
    }

    fn stream(&mut self, name: &str, fields: Value) {
        let mut config = fields;
        config["name"] = json!(name);
        config["subjects"] = json!([format!("{name}.>")]);
        self.ask(&format!("STREAM.CREATE.{name}"), &config.to_string());
    }

    /// Everything acknowledged can be read from stream `S`, and is what was sent.
    fn has_all(&mut self) {
        for (seq, number) in self.acknowledged.clone() {
            let answer = self.ask("STREAM.MSG.GET.S", &json!({"seq": seq}).to_string());
            let body = answer["message"]["data"].as_str().expect("a body");
            let body = data_encoding::BASE64
                .decode(body.as_bytes())
                .expect("base64");
            let sent = format!("{number:016x}").repeat(BODY / 16);
            assert!(body == sent.as_bytes(), "{seq} is another message");
        }
    }

    fn health(&self) -> (u16, Value) {
        let response = self.server.get("/healthz");
        (response.status, response.json())
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.server, name)
    }

    /// Publishes to `S` until its disk has failed, and sees who is told. Some messages are not
    /// answered then: those that were taken and are not on the disk.
    fn fill(&mut self) {
        while self.server.count_in_log("critical write error") == 0 {
            for _ in 0..16.min(UNANSWERED_MAX.saturating_sub(self.waiting.len())) {
                self.publish("S.x");
            }
            // Whoever waits for all of them may wait for the disk.
            self.ask("STREAM.INFO.M", "");
        }
        let number = self.publish("S.x");
        assert!(!self.is_taken(number));
        let error = &self.refused[&number];
        assert_eq!(
            (&error["code"], &error["err_code"]),
            (&json!(503), &json!(10077))
        );
        let text = error["description"].as_str().expect("text");
        assert!(text.contains("no space left on the disk"), "{text}");
        let (status, health) = self.health();
        assert_eq!((status, &health["status"]), (503, &json!("unavailable")));
        let text = health["error"].as_str().expect("text");
        assert!(
            text.contains("'A > S' write error: no space left"),
            "{text}"
        );
        assert_eq!(self.metric("jetstream_store_read_only_streams"), 1.0);
        assert!(self.metric("jetstream_store_failures") > 0.0);
    }

    /// Everything but stream `S` goes on as if nothing had happened.
    fn others_go_on(&mut self) {
        let (mut one, mut other) = (self.server.client_with(USER), self.server.client_with(USER));
        one.quietly("SUB core 1\r\n");
        other.send("PUB core 5\r\nhello\r\n");
        assert_eq!(one.message().payload, b"hello");
        self.client.send("PUB M.x answer.api 5\r\nhello\r\n");
        let answer = loop {
            if let Some(answer) = self.take() {
                break answer;
            }
        };
        assert!(answer["seq"].as_u64().is_some(), "{answer}");
    }

    /// The disk has room again: all is taken and answered.
    fn recovers(&mut self) {
        self.until_taken("S.x");
        self.all_answered();
        self.server
            .logged("JetStream stream 'A > S' takes messages again");
        wait_until("good health", || (self.health().0 == 200).then_some(()));
        assert_eq!(self.metric("jetstream_store_read_only_streams"), 0.0);
    }
}

fn metric(server: &Server, name: &str) -> f64 {
    value_of(&server.get("/metrics").body, name)
}

fn value_of(metrics: &str, name: &str) -> f64 {
    let begin = format!("{name}{{");
    let line = metrics.lines().find(|it| it.starts_with(&begin));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    let value = line.rsplit(' ').next().expect("a value");
    value.parse().expect("a number")
}

fn full_is_told(listener: &mut Client) {
    let event = listener.message();
    assert_eq!(event.subject, "$JS.EVENT.ADVISORY.SERVER.OUT_OF_STORAGE");
    let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
    let kind = "io.nats.jetstream.advisory.v1.server_out_of_space";
    assert_eq!(
        (&event["type"], &event["stream"]),
        (&json!(kind), &json!("S"))
    );
    for field in ["id", "timestamp", "server", "server_id"] {
        assert!(
            event[field].as_str().is_some_and(|it| !it.is_empty()),
            "{event}"
        );
    }
}

fn listener(server: &Server) -> Client {
    let mut listener = server.client_with(SYSTEM);
    listener.quietly("SUB $JS.EVENT.ADVISORY.SERVER.> 1\r\n");
    listener
}

/// No root is needed to say that a file may not grow. The kernel's error is another one than a full
/// disk's; all that follows is the same.
#[test]
fn js_242_js_250_a_full_disk_is_told_and_costs_nothing_that_was_acknowledged() {
    if !beyond_stock() {
        return;
    }
    let mut this = Publisher::of(Server::with_config(CONFIG));
    let mut listener = listener(&this.server);
    this.stream("S", json!({}));
    this.stream("M", json!({"storage": "memory"}));
    let process = Pid::from_raw(this.server.pid() as i32);
    let may_grow_to = |bytes: Option<u64>| {
        let limit = prlimit(
            process,
            Resource::Fsize,
            Rlimit {
                current: bytes,
                maximum: None,
            },
        );
        limit.expect("a limit of our own process");
    };
    may_grow_to(Some(512 * 1024));
    this.fill();
    full_is_told(&mut listener);
    this.others_go_on();
    this.has_all();
    this.server
        .logged("JetStream stream 'A > S' critical write error: no space left");
    may_grow_to(None);
    this.recovers();
    this.has_all();
    // Once more, and this time the server is killed before there is room.
    may_grow_to(Some(64 * 1024));
    let number = wait_until("another refusal", || {
        let number = this.publish("S.x");
        this.ask("STREAM.INFO.M", "");
        this.refused.contains_key(&number).then_some(number)
    });
    assert!(!this.is_taken(number));
    let Publisher {
        server,
        acknowledged,
        ..
    } = this;
    let mut this = Publisher::of(server.crash());
    this.acknowledged = acknowledged;
    this.has_all();
    this.until_taken("S.x");
}

/// A server whose store directory is a small file system of its own, in a namespace that ends with
/// it; `None` where the kernel does not let us make one.
fn on_small_disk(size: &str) -> Option<Server> {
    let probe = TempDir::new();
    let made = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "tmpfs",
        ])
        .args(["-o", "size=1m", "none"])
        .arg(probe.path())
        .output();
    if !made.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: no file system can be made here (unshare, mount)");
        return None;
    }
    let builder: Builder = Server::builder().config(CONFIG);
    let store = builder.dir().file("store");
    fs::create_dir(&store).expect("a directory");
    let script = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c \
         'mount -t tmpfs -o size={size} none {store} && exec {} \"$@\"' sh \"$@\"\n",
        executable()
    );
    let path = builder.dir().write("on_small_disk", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    Some(builder.program(&path).start())
}

#[test]
fn js_250_a_full_file_system_is_left_as_it_was_and_used_again() {
    if !beyond_stock() {
        return;
    }
    let Some(server) = on_small_disk("8m") else {
        return;
    };
    let inside = format!("/proc/{}/root{}", server.pid(), server.dir().file("store"));
    let mut this = Publisher::of(server);
    let mut listener = listener(&this.server);
    this.stream("S", json!({}));
    this.stream("M", json!({"storage": "memory"}));
    this.until_taken("S.x");
    // Somebody else takes all there is.
    let filler = format!("{inside}/filler");
    let mut file = fs::File::create(&filler).expect("a file beside the store");
    while file.write_all(&[1; 4096]).is_ok() {}
    this.fill();
    full_is_told(&mut listener);
    this.others_go_on();
    this.has_all();
    fs::remove_file(&filler).expect("it is there");
    drop(file);
    this.recovers();
    this.has_all();
}

/// Nobody but the stream itself can make room: its owner purges it.
#[test]
fn js_250_a_stream_that_has_filled_its_disk_can_be_purged() {
    if !beyond_stock() {
        return;
    }
    let Some(server) = on_small_disk("20m") else {
        return;
    };
    let mut this = Publisher::of(server);
    // Its segments are an eighth of that; the disk and what waits for it are less.
    this.stream("S", json!({"max_bytes": 32_000_000}));
    this.stream("M", json!({"storage": "memory"}));
    this.fill();
    this.has_all();
    let purged = this.ask("STREAM.PURGE.S", "");
    assert!(purged["purged"].as_u64() > Some(100), "{purged}");
    // What was taken before is acknowledged late, and is gone.
    let info = this.ask("STREAM.INFO.S", "");
    let last = info["state"]["last_seq"].as_u64();
    this.recovers();
    this.acknowledged.retain(|&seq, _| Some(seq) > last);
    this.has_all();
}

#[test]
fn metrics_tell_what_the_disks_took() {
    if !beyond_stock() {
        return;
    }
    let config = r#"
        http: "127.0.0.1:-1"
        jetstream { store_dir: "@DIR@/store", sync_interval: 100ms }
    "#;
    let mut jetstream = JetStream::with_config(config, "{}");
    jetstream.stream("S", &["s"], json!({}));
    for _ in 0..5 {
        jetstream.publish("s", "hello");
    }
    let server = &jetstream.server;
    let metrics = server.get("/metrics").body;
    let of = |name: &str| value_of(&metrics, &format!("jetstream_store_{name}"));
    assert_eq!(of("commit_messages_sum"), 5.0);
    let writes = of("write_seconds_count");
    assert!(
        writes >= 5.0 && of("commit_messages_count") == writes,
        "{writes}"
    );
    assert!(of("commit_bytes_sum") >= 4096.0 * writes);
    assert!(of("write_seconds_sum") > 0.0);
    for name in ["failures", "backlog_bytes", "read_only_streams"] {
        assert_eq!(of(name), 0.0, "{name}");
    }
    assert_eq!(value_of(&metrics, "jetstream_server_api_inflight"), 0.0);
    for line in [
        "# TYPE jetstream_store_write_seconds histogram",
        "# TYPE jetstream_store_commit_messages histogram",
        "# TYPE jetstream_store_backlog_bytes gauge",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}");
    }
    wait_until("a flush", || {
        (metric(server, "jetstream_store_flush_seconds_count") > 0.0).then_some(())
    });
    let mut jetstream = jetstream.restart();
    jetstream.done("STREAM.MSG.GET.S", json!({"seq": 3}));
    let reads = metric(&jetstream.server, "jetstream_store_read_seconds_count");
    assert!(reads >= 1.0, "{reads}");
}

/// What streams keep of their files in memory is bounded for all of them together (PROC-14): a
/// quarter of 16 MiB here, where twelve streams could each keep all of their megabyte.
#[test]
fn many_streams_share_one_budget_for_what_they_keep_in_memory() {
    if !beyond_stock() {
        return;
    }
    let server = Server::builder()
        .flags("-js -sd @DIR@/store -m -1")
        .env("GOMEMLIMIT", "16MiB")
        .start();
    let mut js = JetStream::of(server, "{}");
    let payload =
        |stream: usize, message: u64| format!("{stream}.{message} {}", "x".repeat(50_000));
    for stream in 0..12 {
        js.stream(&format!("S{stream}"), &[&format!("s{stream}")], json!({}));
        for message in 1..=20 {
            let stored = js.store(&format!("s{stream}"), "", &payload(stream, message));
            assert_eq!(stored["seq"], message);
        }
    }
    let cached = |js: &JetStream| metric(&js.server, "jetstream_store_cached_bytes");
    // A shard may have its share, and what the stream that grew last keeps.
    let bound = f64::from(4 * (1 << 20) + 4 * 20 * 55_000);
    assert!(cached(&js) > 0.0 && cached(&js) <= bound, "{}", cached(&js));
    for stream in 0..12 {
        js.consumer(&format!("S{stream}"), "C", json!({"ack_policy": "none"}));
        let messages = js.pull(&format!("S{stream}"), "C", json!({"batch": 20}), 20);
        for (message, at) in messages.iter().zip(1..) {
            assert_eq!(message.text(), payload(stream, at), "{stream}.{at}");
        }
    }
    assert!(cached(&js) <= bound, "{}", cached(&js));
}

/// What an acknowledgement promises is said in the log, and of each stream where it is less than
/// that the message is on the disk.
#[test]
fn js_246_js_251_how_messages_are_flushed_is_told() {
    if !beyond_stock() {
        return;
    }
    for (interval, line, told) in [
        ("", "Acknowledged means on the disk", json!(null)),
        (
            "sync_interval: always",
            "Acknowledged means on the disk",
            json!(null),
        ),
        (
            "sync_interval: 2m",
            "Acknowledged means written",
            json!("interval"),
        ),
    ] {
        let config = format!("jetstream {{ store_dir: \"@DIR@/store\"\n{interval} }}");
        let mut js = JetStream::with_config(&config, "{}");
        js.server.logged(line);
        let info = js.stream("S", &["s"], json!({}));
        assert_eq!(info["ramjet_durability"], told, "{interval}");
        let info = js.stream("A", &["a"], json!({"persist_mode": "async"}));
        assert_eq!(info["ramjet_durability"], "async", "{interval}");
    }
}

/// What `check-store` says of a server's streams, and whether it is content.
fn check_store(server: &Server, flags: &str) -> (bool, String) {
    let mut command = Command::new(executable());
    command.args(["check-store", &server.dir().file("store")]);
    command.args(
        flags
            .replace("@DIR@", &server.dir().file(""))
            .split_whitespace(),
    );
    let output = command
        .env("STORE_KEY", "secret")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.success(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn js_253_an_encrypted_store_is_checked_with_the_servers_configuration() {
    if !beyond_stock() {
        return;
    }
    let config =
        |key: &str| format!("jetstream {{ store_dir: \"@DIR@/store\", cipher: aes, key: {key} }}");
    let builder = Server::builder().env("STORE_KEY", "secret");
    let builder = builder.config(&config("$STORE_KEY"));
    let server = builder.start();
    let client = server.open();
    let mut jetstream = JetStream::through(server, client, "{}");
    jetstream.stream("S", &["s"], json!({}));
    for _ in 0..20 {
        jetstream.publish("s", &"hello".repeat(300));
    }
    jetstream.server.signal(Signal::TERM);
    jetstream.server.exited();
    let server = &jetstream.server;
    let (whole, text) = check_store(server, "");
    assert!(
        !whole && text.contains("it is encrypted and no key is given"),
        "{text}"
    );
    let (whole, text) = check_store(server, "-c @DIR@server.conf");
    assert!(whole && text.contains(": 20 messages"), "{text}");
    server
        .dir()
        .write("other.conf", &config("other").replace("@DIR@/", ""));
    let (whole, text) = check_store(server, "--config=@DIR@other.conf");
    assert!(!whole && text.contains("unable to recover keys"), "{text}");
    // It is said exactly what is lost, as of one that is not encrypted.
    let folder = server.dir().file("store/jetstream/$G/streams/S");
    let segment = format!("{folder}/00000001.0.segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let end = bytes.iter().rposition(|it| *it != 0).expect("frames");
    bytes[4096 + (end - 4096) / 2] ^= 1;
    fs::write(&segment, bytes).expect("it is ours");
    let (whole, text) = check_store(server, "-c @DIR@server.conf");
    assert!(
        !whole && text.contains(": 19 messages") && text.contains("lost: sequences"),
        "{text}"
    );
    let (whole, text) = check_store(server, "-c @DIR@server.conf --repair");
    assert!(whole && text.contains("repaired: 19 messages"), "{text}");
    let (whole, text) = check_store(server, "");
    assert!(!whole && text.contains("it is encrypted"), "{text}");
    let mut jetstream = jetstream.crash();
    let info = jetstream.done("STREAM.INFO.S", "");
    assert_eq!(info["state"]["messages"], 19);
    assert_eq!(jetstream.publish("s", "goes on"), 21);
}
