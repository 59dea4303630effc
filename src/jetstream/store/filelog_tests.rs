//! The file log on a simulated disk, from a seed (`RAMJET_SEED=n` runs one, `RAMJET_SEEDS=n` so many): nothing acknowledged
//! is lost to a power cut, nothing removed comes back, and every gap damage makes is told.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::naive::{Naive, NaiveMessage};
use super::simulated_disk::SimulatedDisk;
use super::store_tests::Model;
use super::*;
use crate::time::WallTime;

/// Power is cut that often from one seed; each time the next store opens what is left.
const CUTS: usize = 4;

fn seeds(usual: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("RAMJET_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("RAMJET_SEEDS").unwrap_or(usual)).collect(),
    }
}

pub(super) struct World {
    seed: u64,
    pub(super) model: Model,
    pub(super) disk: SimulatedDisk,
    pub(super) settings: Settings,
    /// All that was ever stored, whether it was removed or not.
    history: BTreeMap<u64, NaiveMessage>,
    /// Removals with the ticket each had.
    removed: Vec<(u64, u64)>,
    /// Values of a small record, with tickets.
    states: Vec<(Vec<u8>, u64)>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut model = Model::new(seed, StorageKind::File);
        let settings = Settings {
            epoch: seed,
            segment_size: (16 * 1024) << model.below(4),
            policy: Policy {
                compressed: model.below(2) == 0,
                ..Policy::default()
            },
            cache_size: 4096 << model.below(6),
            thorough: false,
            encryption: match model.below(3) {
                0 => None,
                it => Some(Encryption {
                    cipher: [Cipher::Aes, Cipher::ChaCha][it as usize - 1],
                    key: [seed as u8; 32],
                    session: [0; 16],
                }),
            },
        };
        Self {
            seed,
            model,
            disk: SimulatedDisk::default(),
            settings,
            history: BTreeMap::new(),
            removed: Vec::new(),
            states: Vec::new(),
        }
    }

    pub(super) fn open(&mut self) -> (Store, Report) {
        if let Some(encryption) = &mut self.settings.encryption {
            encryption.session[0] += 1;
        }
        Store::open(self.settings, &mut self.disk).expect("it opens")
    }

    /// Digests say nothing that the frames do not say.
    fn agrees_with_frames(&mut self, opened: &Store) {
        let settings = Settings {
            thorough: true,
            ..self.settings
        };
        let (read, _) = Store::open(settings, &mut self.disk).expect("it opens");
        let context = format!("RAMJET_SEED={}", self.seed);
        assert_eq!(opened.state(), read.state(), "{context}");
        assert_eq!(opened.deleted(), read.deleted(), "{context}");
        let all = |store: &Store| -> Vec<_> {
            let of = |it: (&Bytes, &Bytes)| (it.0.clone(), it.1.clone());
            store.states().map(of).collect()
        };
        assert_eq!(all(opened), all(&read), "{context}");
        for message in &self.model.naive.messages {
            let seq = message.seq;
            assert_eq!(opened.expires(seq), read.expires(seq), "{context} {seq}");
            assert_eq!(
                opened.subject_of(seq),
                read.subject_of(seq),
                "{context} {seq}"
            );
            assert_eq!(
                opened.size_and_time(seq),
                read.size_and_time(seq),
                "{context} {seq}"
            );
        }
    }

    fn pump(&mut self, store: &mut Store, most: u64) {
        self.disk.pump(store, &mut self.model.rng, most);
    }

    pub(super) fn settle(&mut self, store: &mut Store) {
        self.disk.settle(store, &mut self.model.rng);
    }

    /// One random change, noted for later.
    fn step(&mut self, store: &mut Store) {
        let before: Vec<u64> = self.model.naive.messages.iter().map(|it| it.seq).collect();
        self.model.step(store);
        let naive = &self.model.naive;
        if let Some(last) = naive.messages.last() {
            self.history.insert(last.seq, last.clone());
        }
        let ticket = store.ticket();
        let there = |seq: &u64| {
            naive
                .messages
                .binary_search_by_key(seq, |it| it.seq)
                .is_ok()
        };
        let gone = before.into_iter().filter(|seq| !there(seq));
        self.removed.extend(gone.map(|seq| (seq, ticket)));
        if self.model.below(20) == 0 {
            let value = vec![7; self.model.below(200) as usize + 1];
            store.put_state(b"consumer", &value);
            self.states.push((value, store.ticket()));
        }
        if self.model.below(100) == 0 {
            store.close();
        }
        if self.model.below(3) > 0 {
            let most = self.model.below(6);
            self.pump(store, most);
        }
    }

    /// After a power cut: what may be missing, and what may not; then the model follows.
    fn survived(&mut self, before: &Store, store: &mut Store) {
        let context = format!("RAMJET_SEED={}", self.seed);
        let state = store.state();
        assert!(
            state.last_seq >= before.durable(),
            "{context}: acknowledged and gone"
        );
        assert!(state.last_seq <= self.model.naive.last_seq, "{context}");
        let naive = &self.model.naive;
        for message in naive
            .messages
            .iter()
            .filter(|it| it.seq <= before.durable())
        {
            assert!(
                store.contains(message.seq),
                "{context}: {} is lost",
                message.seq
            );
        }
        for &(seq, ticket) in self.removed.iter().filter(|it| before.is_settled(it.1)) {
            assert!(
                !store.contains(seq),
                "{context}: {seq} ({ticket}) came back"
            );
        }
        let settled = self.states.iter().rposition(|it| before.is_settled(it.1));
        let found = store.states().next().map(|it| it.1.to_vec());
        match (settled, &found) {
            (Some(at), Some(found)) => {
                assert!(
                    self.states[at..].iter().any(|it| it.0 == *found),
                    "{context}"
                );
            }
            (Some(_), None) => panic!("{context}: a small record is lost"),
            (None, _) => {}
        }
        self.history.retain(|&seq, _| seq <= state.last_seq);
        self.removed.clear();
        self.states.clear();
        self.states.extend(found.map(|it| (it, 0)));
        let mut naive = Naive::new(StorageKind::File);
        naive.last_seq = state.last_seq;
        naive.last_time = state.last_time.0;
        naive.empty_first = state.first_seq;
        if state.messages > 0 {
            naive.empty_first = 0;
        }
        let mut next = 0;
        while let Some(seq) = store.next_match(next, &Filter::All) {
            let message = self.history.get(&seq);
            naive.messages.push(
                message
                    .unwrap_or_else(|| panic!("{context}: {seq} is new"))
                    .clone(),
            );
            next = seq + 1;
        }
        self.model.naive = naive;
        self.model.check(store);
    }

    fn check_contents(&mut self, store: &mut Store) {
        for message in self.model.naive.messages.clone() {
            let found = self.fetch(store, message.seq);
            let (seed, seq) = (self.seed, message.seq);
            assert!(found == Some(message), "RAMJET_SEED={seed}: {seq}");
        }
    }

    fn fetch(&mut self, store: &mut Store, seq: u64) -> Option<NaiveMessage> {
        let found = self.fetch_any(store, seq)?;
        assert_eq!(found.seq, seq);
        Some(NaiveMessage {
            seq,
            subject: found.subject.to_vec(),
            headers: found.headers.to_vec(),
            payload: found.payload.to_vec(),
            time: found.time.0,
            ..self.history.get(&seq)?.clone()
        })
    }

    pub(super) fn fetch_any(&mut self, store: &mut Store, seq: u64) -> Option<StoredMessage> {
        for _ in 0..1000 {
            match store.fetch(seq) {
                Fetch::Message(found) => return Some(found),
                Fetch::Reading => self.pump(store, 3),
                Fetch::Absent | Fetch::Damaged => return None,
            }
        }
        panic!("RAMJET_SEED={}: {seq} is never read", self.seed);
    }
}

#[test]
fn nothing_acknowledged_is_lost_to_a_power_cut() {
    let (mut digests, seeds) = (0, seeds(200));
    let several = seeds.len() > 10;
    for seed in seeds {
        let mut world = World::new(seed);
        let (mut store, report) = world.open();
        assert_eq!(report, Report::default());
        for _ in 0..CUTS {
            for _ in 0..world.model.below(250) {
                world.step(&mut store);
            }
            world.model.check(&store);
            if world.model.below(3) == 0 {
                world.check_contents(&mut store);
            }
            world.disk.cut(&mut world.model.rng);
            let (mut next, report) = world.open();
            let context = format!("RAMJET_SEED={seed}: {report:?}");
            assert_eq!(
                (&report.gaps[..], report.damaged_records),
                (&[][..], 0),
                "{context}"
            );
            world.survived(&store, &mut next);
            world.agrees_with_frames(&next);
            world.check_contents(&mut next);
            digests += report.digests;
            store = next;
        }
    }
    assert!(digests > 0 || !several, "some are used");
}

/// Flushed now and then: a power cut takes what came after the last flush, in any pieces, and what
/// is missing before the last message that is left is told.
#[test]
fn what_was_not_flushed_is_lost_and_told() {
    for seed in seeds(100) {
        let mut world = World::new(seed);
        world.settings.policy.flush = FlushPolicy::Interval;
        let (mut store, _) = world.open();
        let mut flushed = 0;
        for _ in 0..world.model.below(400) {
            world.step(&mut store);
            if world.model.below(50) == 0 {
                world.settle(&mut store);
                store.sync();
                world.settle(&mut store);
                flushed = store.durable();
            }
        }
        world.disk.cut(&mut world.model.rng);
        let (mut opened, report) = world.open();
        let context = format!("RAMJET_SEED={seed}: {report:?}");
        let end = opened.last_seq();
        assert!(end >= flushed, "{context} {flushed}");
        for message in world.model.naive.messages.clone() {
            let seq = message.seq;
            let mut gaps = report.gaps.iter();
            let told = gaps.any(|it| it.first <= seq && seq <= it.last);
            assert!(!told || seq > flushed, "{context} {seq}");
            if seq <= end && !told {
                assert_eq!(
                    world.fetch(&mut opened, seq),
                    Some(message),
                    "{context} {seq}"
                );
            }
        }
    }
}

#[test]
fn a_store_closed_in_order_opens_as_it_was() {
    for seed in seeds(30) {
        let mut world = World::new(seed);
        let (mut store, _) = world.open();
        for _ in 0..3 {
            for _ in 0..400 {
                world.step(&mut store);
            }
            world.settle(&mut store);
            assert_eq!(store.durable(), store.state().last_seq);
            let state = store.state();
            let (next, report) = world.open();
            assert_eq!(
                (report.torn_tail, report.damaged_records),
                (0, 0),
                "{seed}: {report:?}"
            );
            store = next;
            assert_eq!(store.state(), state, "RAMJET_SEED={seed}");
            world.agrees_with_frames(&store);
            world.model.check(&store);
            world.check_contents(&mut store);
        }
    }
}

#[test]
fn trouble_stops_writing_and_what_was_not_durable_is_written_elsewhere() {
    for seed in seeds(60) {
        let mut world = World::new(seed);
        let (mut store, _) = world.open();
        for round in 0..3 {
            for _ in 0..150 {
                world.step(&mut store);
            }
            world.disk.failures = 3;
            world.disk.full = world.model.below(2) == 0;
            while store.trouble().is_none() {
                world.step(&mut store);
                world.pump(&mut store, 3);
            }
            let refused = store.append(Append::default());
            assert!(
                matches!(refused, Err(StoreError::ReadOnly(_))),
                "{refused:?}"
            );
            let messages = world.model.naive.messages.clone();
            if let Some(message) = messages.first() {
                assert!(store.remove(message.seq, false));
                world.model.naive.retain(|it| it.seq == message.seq);
            }
            for message in messages.iter().skip(1) {
                assert_eq!(world.fetch(&mut store, message.seq).as_ref(), Some(message));
            }
            (world.disk.failures, world.disk.full) = (0, false);
            if round == 1 {
                // Power goes before it is over.
                world.disk.cut(&mut world.model.rng);
                let (mut next, _) = world.open();
                world.survived(&store, &mut next);
                store = next;
                continue;
            }
            world.settle(&mut store);
            store.resume();
            world.settle(&mut store);
            assert_eq!(store.trouble(), None, "RAMJET_SEED={seed}");
            assert_eq!(
                store.durable(),
                store.state().last_seq,
                "RAMJET_SEED={seed}"
            );
            world.model.check(&store);
            world.check_contents(&mut store);
            let (mut next, report) = world.open();
            assert_eq!(
                (&report.gaps[..], report.damaged_records),
                (&[][..], 0),
                "{seed}"
            );
            world.survived(&store, &mut next);
            world.check_contents(&mut next);
            store = next;
        }
    }
}

/// A few bits change: each message either comes back as it was, or is told to be lost: at once by
/// whoever reads all frames, else when it is asked for, and from then on by every opening.
#[test]
fn damage_is_told_exactly_and_the_rest_is_served() {
    for seed in seeds(100) {
        let mut world = World::new(seed);
        let (mut store, _) = world.open();
        for _ in 0..300 {
            world.step(&mut store);
        }
        world.settle(&mut store);
        let names = world.disk.names();
        let segments: Vec<_> = names
            .into_iter()
            .filter(|it| matches!(it, FileName::Segment { .. }))
            .collect();
        for _ in 0..=world.model.below(3) {
            let file = segments[world.model.below(segments.len() as u64) as usize];
            let byte = 4096 + world.model.below(world.disk.len(file) as u64 - 4096);
            world.disk.rot(file, byte as usize, (byte % 8) as u8);
        }
        world.settings.thorough = seed % 2 == 1;
        let thorough = world.settings.thorough;
        let (mut opened, report) = world.open();
        let context = format!("RAMJET_SEED={seed}: {report:?}");
        // The last frame has no successor: damaged, it looks like a write that was not finished.
        let end = opened.state().last_seq;
        let whole = end == store.state().last_seq;
        assert!(whole || report.torn_tail > 0, "{context}");
        let told = |seq: u64| {
            let mut gaps = report.gaps.iter();
            seq > end || gaps.any(|it| it.first <= seq && seq <= it.last)
        };
        for message in world.model.naive.messages.clone() {
            let found = world.fetch(&mut opened, message.seq);
            let seq = message.seq;
            if thorough {
                assert_eq!(found.is_none(), told(seq), "{context} {seq}");
            }
            let mut gaps = opened.gaps().iter();
            let told = seq > end || gaps.any(|it| it.first <= seq && seq <= it.last);
            assert_eq!(found.is_none(), told, "{context} {seq}");
            assert!(found.is_none_or(|it| it == message), "{context}");
        }
        // What is lost are messages that were there, or removed ones whose removal was lost.
        if report.damaged_records == 0 {
            assert_eq!(report.gaps, [], "{context}");
        }
        // It goes on.
        world.settle(&mut opened);
        let seq = opened.append(Append {
            subject: b"a",
            time: WallTime(1),
            ..Append::default()
        });
        assert_eq!(seq, Ok(end + 1));
        world.settle(&mut opened);
        let (again, second) = world.open();
        if thorough {
            assert_eq!(again.state(), opened.state(), "{context}");
            assert_eq!(second.gaps, report.gaps, "{context}");
        }
        for gap in opened.gaps() {
            let covers = |it: &Gap| it.first <= gap.first && gap.last <= it.last;
            assert!(
                second.gaps.iter().any(covers),
                "{context} {gap:?} {second:?}"
            );
        }
    }
}

#[test]
fn what_is_erased_stands_nowhere_on_the_disk() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        let (mut store, _) = world.open();
        let mut erased = Vec::new();
        for _ in 0..100 {
            let secret = format!("secret {} of {seed}.", store.state().last_seq);
            let payload = secret.repeat(world.model.below(300) as usize + 1);
            let message = Append {
                subject: b"a",
                payload: payload.as_bytes(),
                ..Append::default()
            };
            let seq = store.append(message).expect("it is stored");
            let most = world.model.below(4);
            world.pump(&mut store, most);
            match world.model.below(3) {
                0 => assert!(!store.remove(seq + 1, true)),
                1 => erased.push((seq, secret)),
                _ => {
                    assert!(store.remove(seq, true));
                    erased.push((0, secret));
                }
            }
            if world.model.below(4) == 0 {
                for (seq, _) in erased.iter_mut().filter(|it| it.0 > 0) {
                    assert!(store.remove(std::mem::take(seq), true));
                }
            }
        }
        erased.retain(|it| it.0 == 0);
        world.settle(&mut store);
        for (_, secret) in &erased {
            assert!(
                !world.disk.holds(secret.as_bytes()),
                "RAMJET_SEED={seed}: {secret}"
            );
        }
        let (next, report) = world.open();
        assert_eq!(
            (&report.gaps[..], report.damaged_records),
            (&[][..], 0),
            "{seed}"
        );
        assert_eq!(next.state(), store.state());
    }
}

/// Nothing of messages, subjects and small records is on an encrypted store's disk; with another
/// key, or none, it is not opened, and nothing is changed.
#[test]
fn an_encrypted_store_says_nothing_without_its_key() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        let encryption = Encryption {
            cipher: [Cipher::Aes, Cipher::ChaCha][seed as usize % 2],
            key: [seed as u8; 32],
            session: [0; 16],
        };
        // A store that was not encrypted is, once it is opened with a key.
        let plain_before = seed % 3 == 0;
        world.settings.encryption = Some(encryption).filter(|_| !plain_before);
        let (mut store, _) = world.open();
        let secret = b"what nobody may read";
        for at in 0..60 {
            let message = Append {
                subject: b"what nobody may read",
                payload: &secret.repeat(at % 7 * 10),
                ..Append::default()
            };
            assert!(store.append(message).is_ok());
            store.put_state(b"what nobody may read", secret);
            if at % 10 == 0 {
                world.settle(&mut store);
            }
        }
        store.close();
        world.settle(&mut store);
        assert_eq!(world.disk.holds(secret), plain_before);
        let state = store.state();
        world.settings.encryption = Some(encryption);
        let (mut store, report) = world.open();
        assert_eq!((store.state(), report.gaps.len()), (state, 0));
        assert!(store.append(Append::default()).is_ok());
        world.settle(&mut store);
        store.remove_state(b"nothing");
        world.settle(&mut store);
        assert!(!world.disk.holds(secret), "RAMJET_SEED={seed}");
        for (key, error) in [
            (Some([!seed as u8; 32]), StoreError::WrongKey),
            (None, StoreError::Encrypted),
        ] {
            let settings = Settings {
                encryption: key.map(|key| Encryption { key, ..encryption }),
                ..world.settings
            };
            let refused = Store::open(settings, &mut world.disk);
            assert_eq!(refused.err(), Some(error), "RAMJET_SEED={seed}");
        }
        // The other cipher reads what this one has written.
        world.settings.encryption = Some(Encryption {
            cipher: Cipher::Aes,
            ..encryption
        });
        let (mut store, _) = world.open();
        let found = world.fetch_any(&mut store, 3).expect("it is there");
        assert_eq!(found.payload, secret.repeat(20));
    }
}

/// Whatever the files hold, opening them ends, and no message comes out other than it went in.
#[test]
fn garbage_is_survived() {
    for seed in seeds(60) {
        let mut world = World::new(seed);
        let (mut store, _) = world.open();
        for _ in 0..200 {
            world.step(&mut store);
        }
        world.settle(&mut store);
        let names = world.disk.names();
        for _ in 0..=world.model.below(400) {
            let file = names[world.model.below(names.len() as u64) as usize];
            let byte = world.model.below(world.disk.len(file) as u64 + 1);
            match world.model.below(100) {
                0 => world.disk.truncate(file, byte as usize),
                // Mostly where something stands.
                _ => world
                    .disk
                    .rot(file, (byte % 8000) as usize, (byte % 8) as u8),
            }
        }
        match Store::open(world.settings, &mut world.disk) {
            Err(error) => assert!(
                matches!(error, StoreError::Unreadable | StoreError::WrongKey),
                "RAMJET_SEED={seed}: {error}"
            ),
            Ok((mut opened, _)) => {
                let mut next = 0;
                while let Some(seq) = opened.next_match(next, &Filter::All) {
                    let found = world.fetch(&mut opened, seq);
                    let known = world.history.get(&seq);
                    assert!(
                        found.is_none() || found.as_ref() == known,
                        "RAMJET_SEED={seed}: {seq}"
                    );
                    next = seq + 1;
                }
                let message = Append {
                    subject: b"a",
                    ..Append::default()
                };
                assert!(opened.append(message).is_ok(), "RAMJET_SEED={seed}");
                world.settle(&mut opened);
                assert_eq!(opened.durable(), opened.last_seq(), "RAMJET_SEED={seed}");
            }
        }
    }
}

/// What nobody needs any more leaves the disk: whole segments, and the dead parts of others.
#[test]
fn room_is_given_back() {
    let mut world = World::new(3);
    world.settings.segment_size = 64 * 1024;
    let (mut store, _) = world.open();
    let size =
        |disk: &SimulatedDisk| -> usize { disk.names().into_iter().map(|it| disk.len(it)).sum() };
    for seq in 1..=4000 {
        let message = Append {
            subject: b"a",
            payload: &[1; 200],
            ..Append::default()
        };
        assert_eq!(store.append(message), Ok(seq));
        if seq > 100 {
            assert_eq!(store.evict_first().map(|it| it.0), Some(seq - 100));
        }
        if seq % 10 == 0 {
            world.settle(&mut store);
        }
    }
    assert!(
        size(&world.disk) < 400 * 1024,
        "dropped: {}",
        size(&world.disk)
    );
    // Every fourth message stays, in all segments.
    for seq in 4001..=8000 {
        let message = Append {
            subject: b"a",
            payload: &[1; 200],
            ..Append::default()
        };
        assert_eq!(store.append(message), Ok(seq));
        if seq % 4 > 0 {
            assert!(store.remove(seq, false));
        }
        if seq % 10 == 0 {
            world.settle(&mut store);
        }
    }
    let live = store.state().bytes as usize;
    assert!(
        size(&world.disk) < live * 3 / 2 + 400 * 1024,
        "{live} {}",
        size(&world.disk)
    );
    let state = store.state();
    let (mut store, report) = world.open();
    assert_eq!(
        (store.state(), &report.gaps[..]),
        (state, &[][..]),
        "{report:?}"
    );
    let Some(message) = world.fetch_any(&mut store, 4004) else {
        panic!("it was not removed");
    };
    assert_eq!(message.payload.len(), 200);
}

/// Only the store itself has anything on the disk: what its owner purges is the room it needs.
#[test]
fn a_purge_makes_room_on_a_full_disk() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        world.settings.segment_size = 128 * 1024;
        let (mut store, _) = world.open();
        store.put_state(b"stream", b"its configuration");
        world.disk.capacity = Some(1024 * 1024);
        let message = Append {
            subject: b"a",
            payload: &[seed as u8; 3000],
            ..Append::default()
        };
        while store.append(message).is_ok() {
            let most = world.model.below(4);
            world.pump(&mut store, most);
        }
        world.settle(&mut store);
        let context = format!("RAMJET_SEED={seed}");
        assert_eq!(store.trouble(), Some(DiskError::NoSpace), "{context}");
        let purge = Purge {
            filter: &Filter::All,
            up_to: 0,
            keep: 0,
        };
        assert!(store.purge(purge) > 100, "{context}");
        for _ in 0..4 {
            world.settle(&mut store);
            store.resume();
        }
        world.settle(&mut store);
        assert_eq!(store.trouble(), None, "{context}");
        let seq = store.append(message).expect("it is taken");
        world.settle(&mut store);
        assert_eq!(store.durable(), seq, "{context}");
        let (opened, report) = world.open();
        assert_eq!((opened.state(), &report.gaps[..]), (store.state(), &[][..]));
    }
}

/// Checkpoints that fail one after the other leave the last good one alone.
#[test]
fn one_checkpoint_survives_failures() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        world.settings.segment_size = 64 * 1024;
        let (mut store, _) = world.open();
        let message = Append {
            subject: b"a",
            payload: &[seed as u8; 3000],
            ..Append::default()
        };
        for seq in 1..=200 {
            assert_eq!(store.append(message), Ok(seq));
            if seq > 20 {
                store.evict_first();
            }
            world.settle(&mut store);
        }
        for number in 0..4_u8 {
            world.disk.full = true;
            store.put_state(&[number], b"makes another checkpoint due");
            world.settle(&mut store);
            store.resume();
            world.settle(&mut store);
        }
        world.disk.cut(&mut world.model.rng);
        world.disk.full = false;
        let (opened, report) = world.open();
        assert!(report.unreadable_checkpoints < 2, "{seed}: {report:?}");
        assert_eq!(
            (opened.state(), &report.gaps[..]),
            (store.state(), &[][..]),
            "{seed}: {report:?}"
        );
    }
}
