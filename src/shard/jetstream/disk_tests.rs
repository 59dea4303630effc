//! One shard with a stream on a disk that takes its time: what waits stays bounded, and nobody is
//! told more than is true.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::command::Command;
use super::disk::{OpenedStore, Stores};
use super::settings::{JetStreamSettings, Room};
use crate::accounts::registry::Accounts;
use crate::auth::authenticate::Authenticator;
use crate::ids::{ConnectionId, Listener, ShardId, StoreId};
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::ServerLimits;
use crate::jetstream::store::{
    Directory, DiskError, DiskOperation, DiskResult, FileName, FlushPolicy, Settings, Store,
};
use crate::limits::STREAM_BACKLOG_HIGH;
use crate::options::Options;
use crate::shard::core::Core;
use crate::shard::effects::Effect;
use crate::time::{Nanos, WallTime};

const MIB: usize = 1024 * 1024;
/// Bytes of a stream that may wait in these tests.
const MOST: usize = 9 * MIB;

/// A directory without a file.
struct Empty;

impl Directory for Empty {
    fn files(&mut self) -> Result<Vec<(FileName, u64)>, DiskError> {
        Ok(Vec::new())
    }
    fn read(&mut self, _: FileName, _: u64, _: &mut [u8]) -> Result<usize, DiskError> {
        Err(DiskError::NotFound)
    }
}

/// Stores are made by the rig, which sees the effect that asks for them.
#[derive(Debug)]
struct Nowhere;

impl Stores for Nowhere {
    fn create(
        &self,
        _: Arc<str>,
        _: Box<str>,
        _: Option<u64>,
        _: Box<dyn FnOnce(Result<OpenedStore, String>) + Send>,
    ) {
    }
    fn remove(&self, _: std::path::PathBuf) {}
}

pub(super) struct Rig {
    pub core: Core,
    now: u64,
    /// Connections whose bytes are not taken.
    paused: HashMap<u32, bool>,
    disk: VecDeque<(StoreId, DiskOperation)>,
    /// Bytes the disk writes in a millisecond, and what it has left of that.
    rate: usize,
    credit: usize,
    flushes: usize,
    /// What the disk answers to writes.
    error: Option<DiskError>,
    output: HashMap<u32, Vec<u8>>,
    next_connection: u64,
}

impl Rig {
    pub fn new(flush: FlushPolicy) -> Self {
        let options = Options::default();
        let accounts = Arc::new(Accounts::new(&options).expect("checked"));
        let authenticator = Authenticator::with_accounts(&options.auth, &accounts);
        let authenticator = Arc::new(authenticator.expect("users"));
        let tiers = accounts.iter().map(|it| (it.id, Default::default()));
        let jetstream = JetStreamSettings {
            domain: String::new(),
            long_replies: false,
            request_queue_limit: 1000,
            info_queue_limit: 1000,
            strict: true,
            server: ServerLimits::default(),
            accounts: tiers.collect(),
            usages: Default::default(),
            usage: Arc::default(),
            batches: Default::default(),
            in_flight: Arc::default(),
            sync_interval: Span::from(Duration::from_secs(1)),
            flush,
            caches: MOST,
            max_buffered_size: MOST,
            stores: Some(Arc::new(Nowhere)),
            room: Room {
                memory: u64::MAX,
                storage: u64::MAX,
            },
        };
        let mut settings =
            crate::shard::settings::Settings::of(&options, Arc::clone(&accounts), authenticator);
        settings.jetstream = Some(Arc::new(jetstream));
        let mut rig = Self {
            core: Core::new(ShardId(0), 1, Arc::new(settings), [7; 32]),
            now: 0,
            paused: HashMap::new(),
            disk: VecDeque::new(),
            rate: usize::MAX,
            credit: 0,
            flushes: 0,
            error: None,
            output: HashMap::new(),
            next_connection: 0,
        };
        rig.turn();
        rig
    }

    pub fn connect(&mut self, inbox: &str) -> u32 {
        self.next_connection += 1;
        let address = ([127, 0, 0, 1], 4222).into();
        let id = ConnectionId(self.next_connection);
        let index = self.core.accept(id, address, Listener::Client, false);
        self.core.receive(
            index,
            format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {inbox} 1\r\n")
                .as_bytes(),
        );
        self.turn();
        index
    }

    pub fn stream(&mut self, index: u32, config: &str) {
        let request = format!(
            "PUB $JS.API.STREAM.CREATE.S answer.0 {}\r\n{config}\r\n",
            config.len()
        );
        self.core.receive(index, request.as_bytes());
        (0..20).for_each(|_| self.turn());
        let answer = self.taken(index);
        assert!(answer.contains("did_create"), "{answer}");
    }

    /// Nothing happens for so many nanoseconds.
    pub fn pass(&mut self, nanos: u64) {
        self.now += nanos;
    }

    /// A millisecond passes.
    pub fn turn(&mut self) {
        self.now += 1_000_000;
        self.credit = self.credit.saturating_add(self.rate);
        self.core.set_time(Nanos(self.now), WallTime(self.now));
        self.core.tick();
        self.core.release_barriers();
        while self.core.run_ready() {}
        self.core.run_jetstream();
        while let Some((index, chunk)) = self.core.next_send() {
            let output = self.output.entry(index).or_default();
            output.extend_from_slice(&chunk.bytes);
            self.core.sent(index, chunk, true);
        }
        let mut effects = Vec::new();
        self.core.take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Pause(index) => drop(self.paused.insert(index, true)),
                Effect::Resume(index) => drop(self.paused.remove(&index)),
                Effect::Disk(store, operation) => self.disk.push_back((store, operation)),
                Effect::CreateStore {
                    account, stream, ..
                } => {
                    let settings = Settings::new(1, None);
                    let (store, _) = Store::open(settings, &mut Empty).expect("it is empty");
                    let path = "s".into();
                    self.core.take_command(Command::Opened {
                        account,
                        name: stream,
                        opened: Box::new(Ok(OpenedStore { store, path })),
                    });
                }
                _ => {}
            }
        }
        self.run_disk();
    }

    fn run_disk(&mut self) {
        while let Some((store, operation)) = self.disk.pop_front() {
            let cost = match &operation {
                DiskOperation::Write { bytes, .. } => bytes.len(),
                _ => 1,
            };
            if cost > self.credit {
                self.disk.push_front((store, operation));
                return;
            }
            self.credit -= cost;
            self.flushes += usize::from(matches!(operation, DiskOperation::Flush { .. }));
            let result = match (&operation, self.error) {
                (DiskOperation::Write { .. }, Some(error)) => DiskResult::Failed(error),
                (DiskOperation::Read { .. }, _) => DiskResult::Failed(DiskError::NotFound),
                _ => DiskResult::Done,
            };
            let took = Duration::from_millis(1);
            self.core.disk_ended(store, operation.id(), result, took);
        }
        // Nobody saves up what nobody asked for.
        self.credit = self.credit.min(self.rate);
    }

    fn backlog(&self) -> usize {
        let streams = self.core.jetstream.streams.iter();
        streams.map(|(_, it)| it.stream.store().backlog()).sum()
    }

    /// What a connection got since the last time.
    pub fn taken(&mut self, index: u32) -> String {
        let output = self.output.remove(&index).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    }
}

const FILE: &str = r#"{"name":"S","subjects":["s"],"storage":"file"}"#;

/// 60 KiB of messages.
fn messages(answers: &str) -> Vec<u8> {
    let payload = "x".repeat(1000);
    format!("PUB s {answers} 1000\r\n{payload}\r\n")
        .repeat(60)
        .into_bytes()
}

#[test]
fn publishers_keep_the_pace_of_a_slow_disk_and_lose_nothing() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let publishers: Vec<u32> = (0..4)
        .map(|it| rig.connect(&format!("answer.{it}")))
        .collect();
    rig.stream(publishers[0], FILE);
    rig.rate = 64 * 1024; // 64 MB a second; they could do four times that
    let (mut sent, mut most) = (0, 0);
    for round in 0..2000 {
        for (at, &index) in publishers.iter().enumerate() {
            if round < 1500 && !rig.paused.contains_key(&index) {
                rig.core.receive(index, &messages(&format!("answer.{at}")));
                sent += 60;
            }
        }
        rig.turn();
        most = most.max(rig.backlog());
    }
    assert!(sent > 20_000, "{sent}");
    // What connections have read already may come on top.
    assert!(most < STREAM_BACKLOG_HIGH + 4 * 256 * 1024, "{most}");
    let answers: usize = publishers
        .iter()
        .map(|&it| rig.taken(it).matches("\"seq\":").count())
        .sum();
    assert_eq!(answers, sent);
    assert_eq!((rig.backlog(), rig.paused.len()), (0, 0));
}

#[test]
fn a_disk_that_stands_still_costs_bounded_memory() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let publishers: Vec<u32> = (0..20)
        .map(|it| rig.connect(&format!("answer.{it}")))
        .collect();
    rig.stream(publishers[0], FILE);
    (rig.rate, rig.credit) = (0, 0);
    let (mut sent, mut most) = (0, 0);
    for _ in 0..1000 {
        for (at, &index) in publishers.iter().enumerate() {
            if !rig.paused.contains_key(&index) {
                rig.core.receive(index, &messages(&format!("answer.{at}")));
                sent += 60;
            }
        }
        rig.turn();
        most = most.max(rig.backlog());
    }
    assert!((MOST..MOST + 2 * MIB).contains(&most), "{most}");
    let refused: usize = publishers
        .iter()
        .map(|&it| {
            let output = rig.taken(it);
            assert!(!output.contains("\"seq\":1,"), "nothing is durable");
            output.matches("NATS/1.0 429 Too Many Requests").count()
        })
        .sum();
    assert!(refused > 0 && refused < sent, "{refused} {sent}");
    rig.rate = usize::MAX;
    (0..100).for_each(|_| rig.turn());
    assert_eq!((rig.backlog(), rig.paused.len()), (0, 0));
    let (mut answers, mut late) = (0, 0);
    for &it in &publishers {
        let output = rig.taken(it);
        late += output.matches("NATS/1.0 429 Too Many Requests").count();
        answers += output.matches("\"seq\":").count() - output.matches("10167").count();
    }
    assert_eq!(answers + refused + late, sent);
}

#[test]
fn a_full_disk_makes_the_stream_read_only_until_there_is_room() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let publisher = rig.connect("answer.0");
    rig.stream(publisher, FILE);
    rig.error = Some(DiskError::NoSpace);
    let one = b"PUB s answer.0 1\r\nx\r\n";
    rig.core.receive(publisher, one);
    (0..10).for_each(|_| rig.turn());
    assert_eq!(rig.taken(publisher), "", "not durable, not answered");
    rig.core.receive(publisher, one);
    (0..10).for_each(|_| rig.turn());
    let refused = rig.taken(publisher);
    assert!(refused.contains("no space left on the disk"), "{refused}");
    rig.error = None;
    (0..3000).for_each(|_| rig.turn());
    let answer = rig.taken(publisher);
    assert!(answer.contains("\"seq\":1}"), "{answer}");
    rig.core.receive(publisher, one);
    (0..10).for_each(|_| rig.turn());
    let answer = rig.taken(publisher);
    assert!(answer.contains("\"seq\":2}"), "{answer}");
}

#[test]
fn an_interval_flushes_what_was_answered_before() {
    let mut rig = Rig::new(FlushPolicy::Interval);
    let publisher = rig.connect("answer.0");
    rig.stream(publisher, FILE);
    (0..1500).for_each(|_| rig.turn());
    let before = rig.flushes;
    rig.core.receive(publisher, b"PUB s answer.0 1\r\nx\r\n");
    (0..500).for_each(|_| rig.turn());
    let answer = rig.taken(publisher);
    assert!(answer.contains("\"seq\":1}"), "{answer}");
    assert_eq!(rig.flushes, before, "not yet");
    (0..600).for_each(|_| rig.turn());
    assert_eq!(rig.flushes, before + 1);
    (0..3000).for_each(|_| rig.turn());
    assert_eq!(rig.flushes, before + 1, "nothing came since");
}

#[test]
fn a_stream_may_be_answered_before_its_disk_does_anything() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let publisher = rig.connect("answer.0");
    rig.stream(
        publisher,
        r#"{"name":"S","subjects":["s"],"storage":"file","persist_mode":"async"}"#,
    );
    (rig.rate, rig.credit) = (0, 0);
    rig.core.receive(publisher, b"PUB s answer.0 1\r\nx\r\n");
    (0..3).for_each(|_| rig.turn());
    let answer = rig.taken(publisher);
    assert!(answer.contains("\"seq\":1}"), "{answer}");
    rig.core
        .receive(publisher, b"PUB $JS.API.STREAM.INFO.S answer.0 0\r\n\r\n");
    (0..3).for_each(|_| rig.turn());
    let info = rig.taken(publisher);
    assert!(info.contains("\"ramjet_durability\":\"async\""), "{info}");
}

#[test]
fn an_acknowledgement_is_confirmed_once_it_is_on_the_disk() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let client = rig.connect("answer.0");
    rig.stream(client, FILE);
    let config = r#"{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}"#;
    let len = config.len();
    let make = format!("PUB $JS.API.CONSUMER.CREATE.S.c answer.0 {len}\r\n{config}\r\n");
    rig.core.receive(client, make.as_bytes());
    (0..20).for_each(|_| rig.turn());
    rig.core.receive(client, b"PUB s answer.0 1\r\nx\r\n");
    rig.core.receive(
        client,
        b"SUB mine 2\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.c mine 0\r\n\r\n",
    );
    (0..100).for_each(|_| rig.turn());
    let output = rig.taken(client);
    let ack = output.split(' ').find(|it| it.starts_with("$JS.ACK."));
    let ack = ack.expect("a message").to_owned();
    (rig.rate, rig.credit) = (0, 0);
    rig.core.receive(
        client,
        format!("PUB {ack} answer.0 4\r\n+ACK\r\n").as_bytes(),
    );
    (0..200).for_each(|_| rig.turn());
    assert_eq!(rig.taken(client), "", "the disk stands still");
    rig.rate = usize::MAX;
    (0..3).for_each(|_| rig.turn());
    let output = rig.taken(client);
    assert!(output.starts_with("MSG answer.0 1 0\r\n"), "{output}");
}

/// What consumers are told of goes on in memory, and is written when there is somewhere to write to;
/// it is not written again and again.
#[test]
fn acknowledgements_at_a_disk_that_stands_still_cost_bounded_memory() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let client = rig.connect("answer.0");
    rig.stream(client, FILE);
    let config = r#"{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit","max_ack_pending":-1}}"#;
    let len = config.len();
    let make = format!("PUB $JS.API.CONSUMER.CREATE.S.c answer.0 {len}\r\n{config}\r\n");
    rig.core.receive(client, make.as_bytes());
    (0..20).for_each(|_| rig.turn());
    let body = vec![b'x'; 10];
    for _ in 0..600 {
        rig.core.receive(client, b"PUB s answer.0 10\r\n");
        rig.core.receive(client, &body);
        rig.core.receive(client, b"\r\n");
    }
    rig.core.receive(
        client,
        b"SUB mine 2\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.c mine 13\r\n{\"batch\":600}\r\n",
    );
    (0..1000).for_each(|_| rig.turn());
    let output = rig.taken(client);
    let all = output
        .split(' ')
        .filter(|it| it.starts_with("$JS.ACK."))
        .map(|it| it.split("\r\n").next().unwrap_or(it).to_owned());
    let all: Vec<String> = all.collect();
    assert_eq!(all.len(), 600);
    (rig.rate, rig.credit) = (0, 0);
    for ack in &all {
        rig.core
            .receive(client, format!("PUB {ack} 4\r\n+ACK\r\n").as_bytes());
        // More than states are kept apart by.
        (0..30).for_each(|_| rig.turn());
    }
    let most = 256 * 1024;
    assert!(rig.backlog() < most, "{}", rig.backlog());
    rig.rate = usize::MAX;
    (0..100).for_each(|_| rig.turn());
    assert_eq!(rig.backlog(), 0);
}

#[test]
fn a_disk_that_stands_still_disturbs_nobody_else() {
    let mut rig = Rig::new(FlushPolicy::Durable);
    let (publisher, other) = (rig.connect("answer.0"), rig.connect("core"));
    rig.stream(publisher, FILE);
    let config = r#"{"name":"M","subjects":["m"],"storage":"memory"}"#;
    let len = config.len();
    let make = format!("PUB $JS.API.STREAM.CREATE.M answer.0 {len}\r\n{config}\r\n");
    rig.core.receive(other, make.as_bytes());
    (0..20).for_each(|_| rig.turn());
    rig.taken(publisher);
    (rig.rate, rig.credit) = (0, 0);
    for round in 1..=300 {
        if !rig.paused.contains_key(&publisher) {
            rig.core.receive(publisher, &messages("answer.0"));
        }
        rig.core
            .receive(other, b"PUB core 5\r\nhello\r\nPUB m core 1\r\nx\r\n");
        rig.turn();
        let output = rig.taken(other);
        assert!(output.contains("hello"), "{round}: {output}");
        let answer = format!("\"seq\":{round}}}");
        assert!(output.contains(&answer), "{round}: {output}");
    }
    assert!(rig.backlog() >= STREAM_BACKLOG_HIGH);
}
