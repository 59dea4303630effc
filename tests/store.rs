//! A stream's store on real files, through the ring.

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use ramjet::ids::StoreId;
use ramjet::io::disk::{Flushing, StoreDirectory};
use ramjet::io::ring::Ring;
use ramjet::io::wake::Waker;
use ramjet::io::{Driver, Event};
use ramjet::jetstream::store::{
    Append, DiskError, Fetch, FileName, Filter, Purge, Settings, Store, StoredMessage,
};
use ramjet::time::WallTime;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::jetstream::JetStream;

const STORE: StoreId = StoreId(3);

struct OnDisk {
    ring: Ring,
    store: Store,
}

impl OnDisk {
    fn open(path: &Path, flushing: Flushing) -> Self {
        let waker = Waker::new().expect("an eventfd");
        let mut ring = Ring::new(waker, Vec::new(), Instant::now()).expect("a ring");
        ring.set_flushing(flushing);
        ring.mount(STORE, path).expect("the directory is there");
        let settings = Settings {
            segment_size: 1024 * 1024,
            cache_size: 128 * 1024,
            ..Settings::new(7, None)
        };
        let mut directory = StoreDirectory::at(path);
        let (store, report) = Store::open(settings, &mut directory).expect("it opens");
        assert_eq!(
            (report.gaps.len(), report.damaged_records),
            (0, 0),
            "{report:?}"
        );
        Self { ring, store }
    }

    /// Until `done`, at most a minute.
    fn run(&mut self, mut done: impl FnMut(&mut Store) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut events = Vec::new();
        while !done(&mut self.store) {
            assert!(Instant::now() < deadline, "{:?}", self.store.trouble());
            while let Some(operation) = self.store.next_operation() {
                self.ring.disk(STORE, operation);
            }
            self.ring
                .turn(Some(Duration::from_millis(100)), &mut events);
            for event in events.drain(..) {
                if let Event::Disk {
                    store, id, result, ..
                } = event
                {
                    assert_eq!(store, STORE);
                    self.store.completed(id, result);
                }
            }
        }
    }

    fn durable(&mut self) {
        self.run(|store| store.durable() == store.state().last_seq);
    }

    fn fetch(&mut self, seq: u64) -> StoredMessage {
        let mut found = None;
        self.run(|store| match store.fetch(seq) {
            Fetch::Message(message) => {
                found = Some(message);
                true
            }
            Fetch::Reading => false,
            other => panic!("{seq}: {other:?}"),
        });
        found.expect("it ran until it was found")
    }
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8; (seq * 37 % 3000) as usize]
}

fn keeps_what_it_is_given(path: &Path, flushing: Flushing) {
    let mut this = OnDisk::open(path, flushing);
    for seq in 1..=3000 {
        let (subject, payload) = (format!("a.{}", seq % 7), payload(seq));
        let message = Append {
            subject: subject.as_bytes(),
            payload: &payload,
            time: WallTime(seq),
            ..Append::default()
        };
        assert_eq!(this.store.append(message), Ok(seq));
        if seq % 50 == 0 || seq < 10 {
            this.durable();
        }
    }
    this.store.put_state(b"consumer", b"floor 7");
    let filter = Filter::new(&["a.3"]);
    let purge = Purge {
        filter: &filter,
        up_to: 1000,
        keep: 0,
    };
    assert_eq!(this.store.purge(purge), 143);
    let ticket = this.store.ticket();
    this.run(|store| store.is_settled(ticket));
    let state = this.store.state();
    drop(this);
    let mut this = OnDisk::open(path, flushing);
    assert_eq!(this.store.state(), state);
    assert_eq!(
        this.store.states().map(|it| &it.1[..]).collect::<Vec<_>>(),
        [b"floor 7"]
    );
    for seq in (1..=3000).rev().filter(|seq| seq % 7 != 3 || *seq >= 1000) {
        let message = this.fetch(seq);
        assert_eq!(
            (message.time.0, &message.payload[..]),
            (seq, &payload(seq)[..])
        );
    }
}

#[test]
fn on_this_file_system_with_linked_flushes() {
    let folder = tempfile::tempdir().expect("a directory");
    keeps_what_it_is_given(folder.path(), Flushing::Linked);
}

#[test]
fn on_this_file_system_with_durable_writes() {
    let folder = tempfile::tempdir().expect("a directory");
    keeps_what_it_is_given(folder.path(), Flushing::WithWrite);
}

/// Older kernels' tmpfs refuses direct I/O.
#[test]
fn on_a_file_system_in_memory() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    keeps_what_it_is_given(folder.path(), Flushing::Linked);
}

#[test]
fn a_directory_that_goes_away_makes_the_store_read_only() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("a/b");
    StoreDirectory::create(&path).expect("it is made");
    let mut this = OnDisk::open(&path, Flushing::Linked);
    StoreDirectory::at(&path).remove().expect("it is empty");
    assert_eq!(this.store.append(Append::default()), Ok(1));
    this.run(|store| store.trouble() == Some(DiskError::NotFound));
    assert!(this.store.append(Append::default()).is_err());
    assert_eq!(this.store.durable(), 0);
    assert!(matches!(this.store.fetch(1), Fetch::Message(_)));
}

#[test]
fn a_store_is_removed_with_its_files_only() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("s");
    StoreDirectory::create(&path).expect("it is made");
    let mut this = OnDisk::open(&path, Flushing::Linked);
    assert_eq!(this.store.append(Append::default()), Ok(1));
    this.durable();
    drop(this);
    std::fs::write(path.join("notes"), "mine").expect("it is written");
    assert!(StoreDirectory::at(&path).remove().is_err(), "not empty");
    let names = std::fs::read_dir(&path).expect("it is there");
    let left: Vec<_> = names.flatten().map(|it| it.file_name()).collect();
    assert_eq!(left, ["notes"]);
    assert_eq!(FileName::parse("notes"), None);
}

fn check_store(path: &Path) -> (bool, String) {
    check_store_with(path, &[])
}

fn check_store_with(path: &Path, flags: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ramjet"));
    let output = command
        .arg("check-store")
        .arg(path)
        .args(flags)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

#[test]
fn check_store_says_what_is_whole_and_what_is_lost() {
    let folder = tempfile::tempdir().expect("a directory");
    let (whole, text) = check_store(folder.path());
    assert!(whole && text.contains("no stream is stored here"), "{text}");
    let path = folder.path().join("streams/s");
    StoreDirectory::create(&path).expect("it is made");
    let mut this = OnDisk::open(&path, Flushing::Linked);
    for seq in 1..=20 {
        let message = Append {
            subject: b"a",
            payload: &[7; 1000],
            ..Append::default()
        };
        assert_eq!(this.store.append(message), Ok(seq));
        this.durable();
    }
    drop(this);
    let (whole, text) = check_store(folder.path());
    assert!(whole && text.contains("20 messages"), "{text}");
    let segment = path.join(
        FileName::Segment {
            number: 1,
            version: 0,
        }
        .file_name(),
    );
    let mut bytes = std::fs::read(&segment).expect("it is there");
    // One bit in the middle of a payload.
    bytes[4096 + 5000] ^= 1;
    std::fs::write(&segment, bytes).expect("it is written");
    let (whole, text) = check_store(folder.path());
    assert!(!whole && text.contains("19 messages"), "{text}");
    assert!(text.contains("lost: sequences 5 to 5"), "{text}");
}

/// A store that was closed in order is opened without reading its messages. Who checks it reads them.
#[test]
fn check_store_reads_what_a_start_does_not() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("streams/s");
    StoreDirectory::create(&path).expect("it is made");
    let mut this = OnDisk::open(&path, Flushing::Linked);
    for seq in 1..=20 {
        let message = Append {
            subject: b"a",
            payload: &[7; 1000],
            ..Append::default()
        };
        assert_eq!(this.store.append(message), Ok(seq));
        this.durable();
    }
    this.store.close();
    this.run(|store| store.is_closed());
    drop(this);
    let file = FileName::Segment {
        number: 1,
        version: 0,
    };
    let segment = path.join(file.file_name());
    let mut bytes = std::fs::read(&segment).expect("it is there");
    bytes[4096 + 5000] ^= 1;
    std::fs::write(&segment, bytes).expect("it is written");
    drop(OnDisk::open(&path, Flushing::Linked)); // finds nothing wrong
    let (whole, text) = check_store(folder.path());
    assert!(!whole && text.contains("lost: sequences 5 to 5"), "{text}");
}

/// Changes one bit of the message that holds these bytes.
fn damage(store: &Path, content: &[u8]) {
    let files = std::fs::read_dir(store).expect("a directory").flatten();
    let segments = files.filter(|it| it.file_name().to_string_lossy().ends_with(".segment"));
    for segment in segments.map(|it| it.path()) {
        let mut bytes = std::fs::read(&segment).expect("it is there");
        if let Some(at) = memchr::memmem::find(&bytes, content) {
            bytes[at] ^= 1;
            return std::fs::write(&segment, bytes).expect("it is written");
        }
    }
    panic!("no file has it");
}

/// Repaired only when that is asked for, and only while nobody uses it; what it was is kept.
#[test]
fn check_store_repairs_when_it_is_told_to() {
    let mut js = JetStream::start();
    js.stream("S", &["s.>"], json!({"allow_msg_ttl": true}));
    js.consumer("S", "C", json!({"ack_policy": "explicit"}));
    for (number, subject) in (1..=20).zip(["s.a", "s.b"].into_iter().cycle()) {
        let headers = if number == 7 {
            "Nats-TTL: never"
        } else {
            "X: y"
        };
        js.store(subject, headers, &format!("number {number} of them"));
    }
    for message in js.pull("S", "C", json!({"batch": 3}), 3) {
        js.ack(&message, "+ACK");
    }
    js.until("S", "C", |it| it["ack_floor"]["stream_seq"] == 3);
    let before = js.done("STREAM.INFO.S", "");
    let folder = js.server.dir().path().join("store");
    let store = folder.join("jetstream/$G/streams/S");
    damage(&store, b"number 12 of them");
    let (whole, text) = check_store_with(&folder, &["--repair"]);
    assert!(!whole && text.contains("not repaired: process"), "{text}");

    js.server.signal(Signal::TERM);
    js.server.exited();
    let (whole, text) = check_store(&folder);
    assert!(!whole && !text.contains("repaired"), "{text}");
    assert!(text.contains("lost: sequences 12 to 12"), "{text}");
    let (whole, text) = check_store_with(&folder, &["--repair"]);
    assert!(whole && text.contains("repaired: 19 messages"), "{text}");
    let kept = text
        .split("what it was is in ")
        .nth(1)
        .expect("a place")
        .trim();
    let (whole, text) = check_store(Path::new(kept));
    assert!(
        !whole && text.contains("lost: sequences 12 to 12"),
        "{text}"
    );
    let (whole, text) = check_store(&folder);
    assert!(whole && text.contains("19 messages"), "{text}");
    assert!(
        text.contains("sequences 1 to 20, 2 subjects, 1 consumers"),
        "{text}"
    );

    let mut js = js.crash();
    let mut after = js.done("STREAM.INFO.S", "{\"deleted_details\": true}");
    assert_eq!(after["config"], before["config"]);
    assert_eq!(after["created"], before["created"]);
    assert_eq!(after["state"]["deleted"], json!([12]));
    for field in [
        "first_seq",
        "last_seq",
        "first_ts",
        "last_ts",
        "num_subjects",
    ] {
        assert_eq!(
            after["state"][field].take(),
            before["state"][field],
            "{field}"
        );
    }
    let info = js.consumer_info("S", "C");
    assert_eq!(info["ack_floor"]["stream_seq"], 3);
    let rest: Vec<u64> = (4..=20).filter(|it| *it != 12).collect();
    let messages = js.pull("S", "C", json!({"batch": 16}), 16);
    for (message, number) in messages.iter().zip(rest) {
        assert_eq!(message.place().stream, number);
        assert_eq!(message.text(), format!("number {number} of them"));
        let never = if number == 7 { "never" } else { "" };
        assert_eq!(message.header("Nats-TTL"), never);
    }
    assert_eq!(js.store("s.a", "", "goes on")["seq"], 21);
}

/// The record of this name in the store of stream S as a newer server would have written it.
fn write_anew(js: &mut JetStream, record: &str, change: impl FnOnce(&mut Value)) {
    js.server.signal(Signal::TERM);
    js.server.exited();
    let path = js.server.dir().path().join("store/jetstream/$G/streams/S");
    let mut this = OnDisk::open(&path, Flushing::Linked);
    let kept = this.store.states().find(|it| it.0 == record.as_bytes());
    let mut kept: Value = serde_json::from_slice(kept.expect("it was kept").1).expect("JSON");
    change(&mut kept["config"]);
    this.store
        .put_state(record.as_bytes(), kept.to_string().as_bytes());
    let ticket = this.store.ticket();
    this.run(|store| store.is_settled(ticket));
}

/// JS-256, and what else a downgrade must not do: nothing is lost, and nothing is delivered by rules
/// that this server does not know.
#[test]
fn js_256_what_a_newer_server_has_left_is_kept_and_not_touched() {
    let mut js = JetStream::start();
    js.stream("S", &["s"], json!({}));
    js.stream("T", &["t"], json!({}));
    js.consumer("S", "C", json!({"ack_policy": "explicit"}));
    js.store("s", "", "kept");

    write_anew(&mut js, "stream", |it| {
        it["metadata"]["_nats.req.level"] = json!("99");
    });
    let mut js = js.crash();
    let why = "unsupported - required API level: 99, current API level: 5";
    let offline = (500, 10194, format!("stream is offline: {why}"));
    let mut consumer = json!({"stream_name": "S", "config": {"durable_name": "D"}});
    consumer["config"]["ack_policy"] = json!("explicit");
    for (endpoint, body) in [
        ("STREAM.INFO.S", String::new()),
        ("STREAM.PURGE.S", String::new()),
        (
            "STREAM.UPDATE.S",
            json!({"name": "S", "subjects": ["x"]}).to_string(),
        ),
        ("STREAM.MSG.GET.S", json!({"seq": 1}).to_string()),
        ("CONSUMER.DURABLE.CREATE.S.D", consumer.to_string()),
    ] {
        assert_eq!(js.refused(endpoint, body), offline, "{endpoint}");
    }
    let list = js.done("STREAM.LIST", "");
    assert_eq!(list["missing"], json!(["S"]));
    assert_eq!(list["offline"], json!({"S": why}));
    assert_eq!(list["streams"].as_array().map(Vec::len), Some(1));
    let names = js.done("STREAM.NAMES", "");
    assert_eq!(names["streams"], json!(["S", "T"]));
    assert_eq!(js.store("t", "", "as ever")["seq"], 1);
    js.server
        .logged(&format!("Detected unsupported stream '$G > S': {why}"));

    write_anew(&mut js, "stream", |it| {
        drop(
            it["metadata"]
                .as_object_mut()
                .map(|it| it.remove("_nats.req.level")),
        );
    });
    let mut js = js.crash();
    assert_eq!(js.done("STREAM.INFO.S", "")["state"]["messages"], 1);

    write_anew(&mut js, "consumer.C", |it| it["warp"] = json!(9));
    let mut js = js.crash();
    let unknown = "decoding error: json: unknown field \"warp\"";
    let stopped = "stream is offline: stopped - unsupported consumer \"C\"";
    let refused = js.refused("STREAM.INFO.S", "");
    assert_eq!(refused, (500, 10194, stopped.to_owned()));
    let refused = js.refused("CONSUMER.INFO.S.C", "");
    assert_eq!(
        refused,
        (500, 10195, format!("consumer is offline: {unknown}"))
    );
    let list = js.done("CONSUMER.LIST.S", "");
    assert_eq!(
        (&list["missing"], &list["offline"]),
        (&json!(["C"]), &json!({"C": unknown}))
    );
    assert_eq!(js.done("CONSUMER.NAMES.S", "")["consumers"], json!(["C"]));
    js.done("STREAM.DELETE.S", "");
    js.stream("S", &["s"], json!({}));
    assert_eq!(js.store("s", "", "anew")["seq"], 1);
}
