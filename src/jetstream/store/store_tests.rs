//! The store against a list, step by step from a seed; `RAMJET_SEED=n` runs one.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::naive::Naive;
use super::*;
use crate::time::WallTime;

const SUBJECTS: [&[u8]; 9] = [
    b"a",
    b"a.b",
    b"a.c",
    b"a.b.c",
    b"b.b.c",
    b"b.c",
    b"orders.eu.new",
    b"orders.us.new",
    b"a-b.c",
];

fn seeds() -> Vec<u64> {
    match std::env::var("RAMJET_SEED")
        .ok()
        .and_then(|it| it.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (1..=20).collect(),
    }
}

pub(super) struct Model {
    pub(super) rng: ChaCha8Rng,
    pub(super) naive: Naive,
    now: u64,
}

impl Model {
    pub(super) fn new(seed: u64, kind: StorageKind) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            naive: Naive::new(kind),
            now: 1_000_000,
        }
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn filter(&mut self) -> Filter {
        match self.below(8) {
            0 => Filter::All,
            1 | 2 => {
                let subject = SUBJECTS[self.below(SUBJECTS.len() as u64) as usize];
                Filter::Literal(subject.into())
            }
            3 => Filter::new(&["a.*"]),
            4 => Filter::new(&["*.*.c", "a.>"]),
            5 => Filter::new(&["orders.*.new"]),
            6 => Filter::new(&["nothing.*"]),
            _ => Filter::new(&["a", "*.c"]),
        }
    }

    fn some_seq(&mut self) -> u64 {
        let last = self.naive.last_seq;
        let first = self.naive.messages.first().map_or(last, |it| it.seq);
        first.saturating_sub(2) + self.below(last - first.min(last) + 5)
    }

    /// One random change to both.
    pub(super) fn step(&mut self, store: &mut Store) {
        self.now += self.below(50);
        match self.below(100) {
            0..=69 => self.append(store),
            70..=84 => {
                let (seq, erase) = (self.some_seq(), self.below(4) == 0);
                let expected = self.naive.retain(|it| it.seq == seq) > 0;
                assert_eq!(store.remove(seq, erase), expected);
            }
            85 => {
                let (filter, keep) = (self.filter(), self.below(4) * 5);
                let purge = Purge {
                    filter: &filter,
                    up_to: 0,
                    keep,
                };
                assert_eq!(store.purge(purge), self.naive.purge(&filter, 0, keep));
            }
            86 | 87 => {
                let (filter, up_to) = (self.filter(), self.some_seq());
                let purge = Purge {
                    filter: &filter,
                    up_to,
                    keep: 0,
                };
                assert_eq!(store.purge(purge), self.naive.purge(&filter, up_to, 0));
            }
            88 | 89 => {
                let up_to = self.naive.last_seq + self.below(3) * self.below(300);
                store.skip(up_to, None);
                self.naive.skip(up_to);
            }
            90..=93 => {
                let first = self.naive.messages.first().map(|it| it.seq);
                assert_eq!(store.evict_first().map(|it| it.0), first);
                self.naive.retain(|it| Some(it.seq) == first);
            }
            _ => self.expire(store),
        }
    }

    fn append(&mut self, store: &mut Store) {
        let payload = vec![self.below(256) as u8; self.below(300) as usize];
        let headers: &[u8] = [&b""[..], b"NATS/1.0\r\nA: b\r\n\r\n"][self.below(2) as usize];
        let message = Append {
            subject: SUBJECTS[self.below(SUBJECTS.len() as u64) as usize],
            headers,
            payload: &payload,
            time: WallTime(self.now),
            lifetime: match self.below(10) {
                0 => Lifetime::For(Duration::from_nanos(self.below(5000))),
                1 => Lifetime::Forever,
                _ => Lifetime::Stream,
            },
            marker: self.below(5) == 0,
            schedule: self.now.is_multiple_of(7),
        };
        assert_eq!(store.append(message), Ok(self.naive.append(message)));
    }

    fn expire(&mut self, store: &mut Store) {
        let max_age = match self.below(3) {
            0 => Some(Duration::from_nanos(2000 + self.below(20_000))),
            _ => None,
        };
        let now = self.now;
        let gone: Vec<u64> = self
            .naive
            .messages
            .iter()
            .filter(|it| Naive::gone_by(it, now, max_age))
            .map(|it| it.seq)
            .collect();
        let mut expired = Vec::new();
        store.expire(WallTime(now), max_age, usize::MAX, &mut expired);
        for it in &expired {
            let message = self.naive.messages.iter().find(|m| m.seq == it.seq);
            let message = message.expect("what expires was there").clone();
            assert_eq!(
                (&message.subject[..], message.marker),
                (&it.subject[..], it.marker)
            );
            let left = self
                .naive
                .messages
                .iter()
                .filter(|m| m.subject == message.subject);
            assert_eq!(it.last_of_subject, left.count() == 1);
            self.naive.retain(|m| m.seq == it.seq);
        }
        let mut seqs: Vec<u64> = expired.iter().map(|it| it.seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, gone);
        assert!(store.next_expiry(max_age).is_none_or(|it| it.0 > now));
    }

    /// Do both answer every question alike?
    pub(super) fn check(&mut self, store: &Store) {
        let naive = self.naive.clone();
        assert_eq!(store.state(), naive.state());
        assert_eq!(store.deleted(), naive.deleted());
        for subject in SUBJECTS {
            assert_eq!(store.subject(subject), naive.subject(subject));
        }
        let schedules = naive.messages.iter().filter(|it| it.schedule);
        let mut next = 0;
        for message in schedules {
            assert_eq!(store.next_schedule(next), Some(message.seq));
            assert!(store.is_schedule(message.seq));
            next = message.seq + 1;
        }
        assert_eq!(store.next_schedule(next), None);
        for _ in 0..4 {
            let (filter, at) = (self.filter(), self.some_seq());
            let seqs: Vec<u64> = naive.of(&filter).map(|it| it.seq).collect();
            let next = seqs.iter().find(|&&it| it >= at).copied();
            assert_eq!(store.next_match(at, &filter), next, "{filter:?} {at}");
            let last = seqs.iter().rfind(|&&it| it <= at).copied();
            assert_eq!(store.last_match(&filter, at), last, "{filter:?} {at}");
            let count = seqs.iter().filter(|&&it| it >= at).count();
            assert_eq!(store.count(at, &filter), count as u64, "{filter:?} {at}");
            let mut last_of = Vec::new();
            let mut of = Vec::new();
            for subject in SUBJECTS.iter().filter(|it| filter.matches(it)) {
                let one = Filter::Literal((*subject).into());
                last_of.extend(naive.of(&one).rfind(|it| it.seq <= at).map(|it| it.seq));
                of.extend(naive.subject(subject).map(|it| (*subject, it)));
            }
            last_of.sort_unstable();
            assert_eq!(store.last_per_subject(&filter, at), last_of);
            let mut subjects: Vec<_> = store.subjects(&filter).collect();
            subjects.sort_by_key(|it| it.0);
            of.sort_by_key(|it| it.0);
            assert_eq!(subjects, of);
            let time = self.now.saturating_sub(self.below(10_000));
            let found = naive.messages.iter().find(|it| it.time >= time);
            let expected = found.map_or(naive.last_seq + 1, |it| it.seq);
            assert_eq!(store.time_to_seq(WallTime(time)), expected);
        }
    }
}

/// Fetches every sequence there ever was, near the messages at least.
fn check_contents(store: &mut Store, naive: &Naive) {
    for message in &naive.messages {
        let Fetch::Message(found) = store.fetch(message.seq) else {
            panic!("{} is there", message.seq);
        };
        assert_eq!(
            (
                found.seq,
                found.time.0,
                &found.subject[..],
                &found.headers[..],
                &found.payload[..]
            ),
            (
                message.seq,
                message.time,
                &message.subject[..],
                &message.headers[..],
                &message.payload[..]
            ),
        );
    }
    for seq in naive.deleted() {
        assert_eq!(store.fetch(seq), Fetch::Absent);
    }
}

#[test]
fn memory_agrees_with_the_naive_list() {
    for seed in seeds() {
        let mut store = Store::memory();
        let mut model = Model::new(seed, StorageKind::Memory);
        for step in 0..1000 {
            model.step(&mut store);
            if step % 20 == 0 {
                model.check(&store);
            }
        }
        check_contents(&mut store, &model.naive);
        assert_eq!(store.durable(), model.naive.last_seq);
    }
}

#[test]
fn a_new_store_is_empty_and_a_first_sequence_is_skipped_to() {
    let mut store = Store::memory();
    assert_eq!(store.state(), StoreState::default());
    store.skip(99, None);
    assert_eq!((store.state().first_seq, store.state().last_seq), (100, 99));
    assert_eq!(store.append(Append::default()), Ok(100));
}

#[test]
fn the_latest_state_under_a_name_wins() {
    let mut store = Store::memory();
    store.put_state(b"consumer", b"1");
    store.put_state(b"config", b"x");
    store.put_state(b"consumer", b"2");
    store.remove_state(b"config");
    let states: Vec<_> = store
        .states()
        .map(|(name, it)| (&name[..], &it[..]))
        .collect();
    assert_eq!(states, [(&b"consumer"[..], &b"2"[..])]);
}

#[test]
fn what_does_not_fit_a_record_is_refused() {
    let mut store = Store::memory();
    let subject = vec![b'a'; 65_536];
    let message = Append {
        subject: &subject,
        ..Append::default()
    };
    assert_eq!(store.append(message), Err(StoreError::TooLarge));
    assert_eq!(store.state(), StoreState::default());
}
