//! What shards tell each other, and when: cores driven by hand, so that nothing happens by chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ramjet::auth::authenticate::Authenticator;
use ramjet::ids::{ConnectionId, Listener, ShardId};
use ramjet::mesh::batch::{Batch, Item};
use ramjet::options::{ClientLimits, Options};
use ramjet::shard::core::Core;
use ramjet::shard::settings::Settings;
use ramjet::time::{Nanos, WallTime};

struct Shards {
    cores: Vec<Core>,
    /// What each connection was sent, by shard and index.
    heard: BTreeMap<(usize, u32), String>,
    next_cid: u64,
    now: u64,
}

impl Shards {
    fn new(count: usize) -> Self {
        let options = Options {
            client: ClientLimits {
                ping_interval: Duration::from_secs(3600),
                ..ClientLimits::default()
            },
            ..Options::default()
        };
        let authenticator = Authenticator::new(&options.auth);
        let settings = Arc::new(Settings::of(
            &options,
            Arc::default(),
            Arc::new(authenticator.expect("open")),
        ));
        let core = |at| Core::new(ShardId(at as u8), count, Arc::clone(&settings), [1; 32]);
        Self {
            cores: (0..count).map(core).collect(),
            heard: BTreeMap::new(),
            next_cid: 0,
            now: 0,
        }
    }

    /// A client on `shard` that says this; nothing is carried to other shards yet.
    fn client(&mut self, shard: usize, says: &str) -> u32 {
        self.next_cid += 1;
        let address = ([127, 0, 0, 1], 4222).into();
        let connection = self.cores[shard].accept(
            ConnectionId(self.next_cid),
            address,
            Listener::Client,
            false,
        );
        self.says(shard, connection, "CONNECT {\"verbose\":false}\r\n");
        self.says(shard, connection, says);
        connection
    }

    fn says(&mut self, shard: usize, connection: u32, text: &str) {
        self.cores[shard].receive(connection, text.as_bytes());
    }

    /// One shard does what it can without the others; gives what it has to tell `other`.
    fn batch(&mut self, shard: usize, other: usize) -> Option<Box<Batch>> {
        self.now += 1000;
        let core = &mut self.cores[shard];
        core.set_time(Nanos(self.now), WallTime(self.now));
        core.tick();
        core.release_barriers();
        while core.run_ready() {}
        let batch = core.take_batch(ShardId(other as u8), Box::default);
        while let Some((connection, chunk)) = core.next_send() {
            let bytes: Vec<u8> = chunk.slices().flatten().copied().collect();
            let heard = self.heard.entry((shard, connection)).or_default();
            heard.push_str(&String::from_utf8_lossy(&bytes));
            core.sent(connection, chunk, true);
        }
        batch
    }

    fn carry(&mut self, from: usize, to: usize) {
        if let Some(batch) = self.batch(from, to) {
            self.cores[to].apply(ShardId(from as u8), &batch, 0, u64::MAX);
        }
    }

    /// Until nobody has anything left to tell.
    fn settle(&mut self) {
        for _ in 0..8 {
            for from in 0..self.cores.len() {
                for to in (0..self.cores.len()).filter(|&to| to != from) {
                    self.carry(from, to);
                }
            }
        }
    }

    fn heard(&self, shard: usize, connection: u32) -> &str {
        self.heard.get(&(shard, connection)).map_or("", |it| it)
    }
}

fn messages(batch: Option<Box<Batch>>) -> usize {
    let is_message = |item: &Item<'_>| matches!(item, Item::Message(_));
    batch.map_or(0, |batch| batch.items().filter(is_message).count())
}

#[test]
fn a_pong_after_sub_or_unsub_waits_for_every_shard() {
    let mut shards = Shards::new(3);
    let client = shards.client(0, "");
    for (said, pongs) in [("SUB a 1\r\nPING\r\n", 1), ("UNSUB 1\r\nPING\r\n", 2)] {
        shards.says(0, client, said);
        let count = |shards: &Shards| shards.heard(0, client).matches("PONG").count();
        for to in [1, 2] {
            shards.carry(0, to);
            assert_eq!(count(&shards), pongs - 1, "told {to}, it has not answered");
        }
        shards.carry(1, 0);
        shards.batch(0, 1);
        assert_eq!(count(&shards), pongs - 1, "one of two has answered");
        shards.carry(2, 0);
        shards.batch(0, 1);
        assert_eq!(count(&shards), pongs, "both have");
    }
}

#[test]
fn a_pong_without_changes_waits_for_nobody() {
    let mut shards = Shards::new(3);
    let client = shards.client(0, "PING\r\nPUB a 1\r\nx\r\nPING\r\n");
    assert!(shards.batch(0, 1).is_none());
    assert_eq!(shards.heard(0, client).matches("PONG").count(), 2);
}

#[test]
fn nothing_after_a_held_ping_is_done_before_its_pong() {
    let mut shards = Shards::new(2);
    let client = shards.client(0, "SUB a 1\r\nPING\r\nPUB a 1\r\nx\r\n");
    shards.carry(0, 1);
    assert!(!shards.heard(0, client).contains("MSG"));
    shards.settle();
    let heard = shards.heard(0, client);
    let [pong, msg] = ["PONG", "MSG a 1 1"].map(|it| heard.find(it));
    assert!(pong.is_some() && pong < msg, "{heard}");
}

#[test]
fn a_message_crosses_once_however_many_wait_there() {
    let mut shards = Shards::new(2);
    for _ in 0..5 {
        shards.client(1, "SUB a 1\r\nSUB a.> 2\r\nSUB * 3\r\n");
    }
    let publisher = shards.client(0, "");
    shards.settle();
    shards.says(0, publisher, "PUB a 1\r\nx\r\n");
    assert_eq!(messages(shards.batch(0, 1)), 1);
}

#[test]
fn a_message_nobody_wants_any_more_does_not_travel() {
    let endings: [fn(&mut Shards, u32); 4] = [
        |shards, client| shards.says(1, client, "UNSUB 1\r\nUNSUB 2\r\n"),
        |shards, client| shards.cores[1].ended(client, true),
        |shards, client| shards.says(1, client, "NONSENSE\r\n"),
        |shards, client| {
            shards.says(1, client, "UNSUB 1 1\r\nUNSUB 2 1\r\n");
            let publisher = shards.client(1, "PUB a 1\r\nx\r\n");
            shards.cores[1].ended(publisher, true);
        },
    ];
    for (number, end) in endings.into_iter().enumerate() {
        let mut shards = Shards::new(2);
        let publisher = shards.client(0, "");
        let client = shards.client(1, "SUB a 1\r\nSUB a q 2\r\n");
        shards.settle();
        shards.says(0, publisher, "PUB a 1\r\nx\r\n");
        assert_eq!(messages(shards.batch(0, 1)), 1);
        end(&mut shards, client);
        shards.settle();
        shards.says(0, publisher, "PUB a 1\r\nx\r\n");
        assert_eq!(messages(shards.batch(0, 1)), 0, "ending {number}");
    }
}

#[test]
fn each_member_of_a_group_has_the_same_chance_on_whichever_shard() {
    const MESSAGES: usize = 4000;
    let mut shards = Shards::new(4);
    let mut members = Vec::new();
    for (shard, count) in [(0, 1), (1, 2), (2, 1), (3, 6)] {
        for _ in 0..count {
            members.push((shard, shards.client(shard, "SUB job q 1\r\n")));
        }
    }
    // Weights are told again after members left, and summed over patterns.
    for _ in 0..5 {
        let visitor = shards.client(1, "SUB job q 1\r\nSUB * q 2\r\n");
        shards.settle();
        shards.cores[1].ended(visitor, true);
    }
    members.push((2, shards.client(2, "SUB * q 1\r\n")));
    let publisher = shards.client(0, "");
    shards.settle();
    for _ in 0..MESSAGES / 100 {
        shards.says(0, publisher, &"PUB job 1\r\nx\r\n".repeat(100));
        shards.settle();
    }
    let got = |&(shard, client): &(usize, u32)| shards.heard(shard, client).matches("MSG").count();
    let shares: Vec<usize> = members.iter().map(got).collect();
    assert_eq!(shares.iter().sum::<usize>(), MESSAGES, "{shares:?}");
    // Six standard deviations; the seed is fixed anyway.
    let (mean, deviation) = (
        MESSAGES as f64 / 11.0,
        (MESSAGES as f64 * 10.0).sqrt() / 11.0,
    );
    for share in &shares {
        assert!((*share as f64 - mean).abs() < 6.0 * deviation, "{shares:?}");
    }
}

#[test]
fn a_full_batch_holds_its_publisher_until_it_has_left() {
    let mut shards = Shards::new(2);
    shards.client(1, "SUB a 1\r\n");
    let publisher = shards.client(0, "");
    shards.settle();
    let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65536));
    let mut sent = 0;
    // Its batch finds no room: the other shard takes none.
    while sent < 100 {
        shards.says(0, publisher, &message);
        sent += 1;
    }
    let first = shards.batch(0, 1).expect("a batch");
    let held = first.items().count();
    assert!(
        held < 12,
        "{held} messages of 64 KiB are more than half a MiB"
    );
    shards.cores[1].apply(ShardId(0), &first, 0, u64::MAX);
    let mut arrived = held;
    while let Some(batch) = shards.batch(0, 1) {
        arrived += messages(Some(batch));
    }
    assert_eq!(arrived, sent, "the rest follows, and nothing is lost");
}

#[test]
fn a_place_taken_again_is_not_the_one_that_was_held() {
    let mut shards = Shards::new(2);
    shards.client(1, "SUB a 1\r\n");
    let publisher = shards.client(0, "");
    shards.settle();
    let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65536));
    shards.says(0, publisher, &message.repeat(20));
    // Held, gone, and its place is another's before the batch leaves.
    shards.cores[0].ended(publisher, true);
    shards.batch(0, 1);
    shards.cores[0].forget(publisher);
    let waiting = shards.client(0, "SUB b 1\r\nPING\r\n");
    assert_eq!(waiting, publisher, "the place is used again");
    shards.settle();
    assert_eq!(shards.heard(0, waiting).matches("PONG").count(), 1);

    // Waits at the barrier, gone, and its place is another's before it is reached: the other
    // waits for its own changes, and gets its own answer alone.
    shards.says(0, waiting, "SUB c 2\r\nPING\r\n");
    shards.carry(0, 1);
    shards.cores[0].ended(waiting, true);
    shards.cores[0].forget(waiting);
    shards.heard.clear();
    let next = shards.client(0, "");
    assert_eq!(next, waiting, "the place is used again");
    shards.carry(1, 0);
    shards.says(0, next, "SUB d 1\r\nPING\r\n");
    shards.batch(0, 1);
    assert_eq!(shards.heard(0, next).matches("PONG").count(), 0);
}

#[test]
fn a_publisher_held_for_a_receiver_goes_on_when_that_has_caught_up() {
    let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65536));
    for home in [0, 1] {
        let mut shards = Shards::new(2);
        let receiver = shards.client(home, "SUB a 1\r\n");
        let publisher = shards.client(0, "");
        shards.settle();
        // 2 MiB, none of it sent: above what may wait for a receiver.
        for _ in 0..32 {
            shards.says(0, publisher, &message);
            if home == 1
                && let Some(batch) = shards.batch(0, 1)
            {
                shards.cores[1].apply(ShardId(0), &batch, 0, u64::MAX);
            }
        }
        if home == 1 {
            shards.carry(1, 0); // it says that it is pressed, and sends a part
        }
        shards.says(0, publisher, "PUB a 4\r\nlast\r\n");
        if home == 1 {
            assert_eq!(messages(shards.batch(0, 1)), 0, "held");
        } else {
            assert!(!shards.heard(0, receiver).contains("last"), "held");
        }
        shards.settle();
        assert!(
            shards.heard(home, receiver).ends_with("last\r\n"),
            "goes on"
        );
        let held_at_most = Duration::from_nanos(shards.now);
        assert!(
            held_at_most < Duration::from_millis(1),
            "not by its deadline"
        );
    }
}
