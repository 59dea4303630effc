//! The slow and obvious version of interest, and the tests that compare with it.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::interest::{Delivery, Interest, InterestChange, Member};
use super::match_cache::Bounds;
use super::subject;
use crate::ids::{ShardId, SubscriptionId};
use crate::limits::SHARDS_MAX;

const STEPS: usize = 1500;
/// `RAMJET_SEED=n` runs one seed.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var("RAMJET_SEED")
        .ok()
        .and_then(|it| it.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => 0..8,
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u64() as usize % bound
    }

    fn one_of(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn pattern(&mut self) -> String {
        let mut tokens = Vec::new();
        for _ in 0..=self.below(4) {
            tokens.push(self.one_of(&["a", "b", "c", "a*", "*", "*", ">b"]));
        }
        if self.below(4) == 0 {
            tokens.push(">");
        }
        tokens.join(".")
    }

    /// Some have empty tokens, some wildcard characters.
    fn subject(&mut self, variety: usize) -> String {
        let mut tokens = Vec::new();
        for _ in 0..=self.below(4) {
            let token = match self.below(40) {
                0 => String::new(),
                1 => "*".to_owned(),
                2 => ">".to_owned(),
                _ if variety > 0 && self.below(2) == 0 => self.below(variety).to_string(),
                _ => self.one_of(&["a", "b", "c", "a*", ">b"]).to_owned(),
            };
            tokens.push(token);
        }
        tokens.join(".")
    }

    fn queue(&mut self) -> Option<String> {
        match self.below(3) {
            0 => None,
            1 => Some(self.one_of(&["q", "r", "a.*", ">"]).to_owned()),
            _ => Some(format!("many{}", self.below(40))),
        }
    }
}

/// By the book: one token after the other (CORE-67, CORE-68).
fn matches(pattern: &str, subject: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let subject: Vec<&str> = subject.split('.').collect();
    if subject.contains(&"") {
        return false;
    }
    let open = pattern.last() == Some(&">");
    let fixed = pattern.len() - usize::from(open);
    let lengths_fit = match open {
        true => subject.len() > fixed,
        false => subject.len() == fixed,
    };
    let fits = |at: usize| pattern[at] == "*" || pattern[at] == subject[at];
    lengths_fit && (0..fixed).all(fits)
}

type Key = (String, Option<String>);

/// Lists of everything.
#[derive(Default)]
struct Naive {
    local: Vec<(Key, Member)>,
    remote: BTreeMap<(u8, Key), u32>,
}

/// Members here, and on which shards how many.
type Group = (Vec<u32>, BTreeMap<u8, u32>);

/// A delivery list without its order.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    plain: Vec<u32>,
    queues: BTreeMap<Vec<u8>, Group>,
    remote_plain: u64,
}

impl Naive {
    fn lookup(&self, subject: &str) -> Expected {
        let mut expected = Expected::default();
        for ((pattern, queue), member) in &self.local {
            if matches(pattern, subject) {
                let list = match queue {
                    None => &mut expected.plain,
                    Some(queue) => {
                        let queue = queue.as_bytes().to_vec();
                        &mut expected.queues.entry(queue).or_default().0
                    }
                };
                list.push(member.subscription.0);
                list.sort_unstable();
            }
        }
        for ((shard, (pattern, queue)), weight) in &self.remote {
            if matches(pattern, subject) {
                match queue {
                    None => expected.remote_plain |= 1 << shard,
                    Some(queue) => {
                        let queue = queue.as_bytes().to_vec();
                        let shards = &mut expected.queues.entry(queue).or_default().1;
                        *shards.entry(*shard).or_default() += weight;
                    }
                }
            }
        }
        expected
    }

    fn count(&self, key: &Key) -> u32 {
        self.local.iter().filter(|(it, _)| it == key).count() as u32
    }
}

fn normal(delivery: &Delivery) -> Expected {
    let numbers = |members: &[Member]| {
        let mut numbers: Vec<u32> = members.iter().map(|it| it.subscription.0).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut normal = Expected {
        plain: numbers(&delivery.plain),
        remote_plain: delivery.remote_plain,
        ..Default::default()
    };
    for queue in &delivery.queues {
        let remote: BTreeMap<u8, u32> = queue.remote.iter().map(|it| (it.0.0, it.1)).collect();
        assert_eq!(remote.len(), queue.remote.len(), "each shard once");
        let weight = queue.local.len() as u32 + remote.values().sum::<u32>();
        assert_eq!(queue.total_weight, weight);
        let before = normal
            .queues
            .insert(queue.name.clone(), (numbers(&queue.local), remote));
        assert!(before.is_none(), "each name once");
    }
    normal
}

/// Both, and the dice to drive them.
struct Twins {
    seed: u64,
    dice: Dice,
    interest: Interest,
    naive: Naive,
    /// Numbers of subscriptions, used again as a shard's table uses them.
    free: Vec<u32>,
}

impl Twins {
    fn new(seed: u64, bounds: Bounds) -> Self {
        Self {
            seed,
            dice: Dice(ChaCha8Rng::seed_from_u64(seed)),
            interest: Interest::with_bounds(bounds),
            naive: Naive::default(),
            free: (0..200).collect(),
        }
    }

    fn insert(&mut self) {
        let key = (self.dice.pattern(), self.dice.queue());
        let Some(number) = self.free.pop() else {
            return self.remove();
        };
        let member = Member {
            subscription: SubscriptionId(number),
            connection: self.dice.below(5) as u32,
        };
        let (pattern, queue) = (&key.0, key.1.as_deref().map(str::as_bytes));
        let change = self
            .interest
            .insert_local(pattern.as_bytes(), queue, member);
        self.naive.local.push((key.clone(), member));
        let count = self.naive.count(&key);
        let expected = match queue {
            None if count == 1 => InterestChange::Plain { present: true },
            None => InterestChange::None,
            Some(_) => InterestChange::Queue { count },
        };
        assert_eq!(change, expected, "seed {}", self.seed);
    }

    fn remove(&mut self) {
        if self.naive.local.is_empty() {
            return;
        }
        let at = self.dice.below(self.naive.local.len());
        let (key, member) = self.naive.local.swap_remove(at);
        self.free.push(member.subscription.0);
        let (pattern, queue) = (&key.0, key.1.as_deref().map(str::as_bytes));
        let change = self
            .interest
            .remove_local(pattern.as_bytes(), queue, member);
        let count = self.naive.count(&key);
        let expected = match queue {
            None if count == 0 => InterestChange::Plain { present: false },
            None => InterestChange::None,
            Some(_) => InterestChange::Queue { count },
        };
        assert_eq!(change, expected, "seed {}", self.seed);
    }

    fn set_remote(&mut self) {
        let known = self.naive.remote.len();
        let (shard, key) = match self.dice.below(2) {
            0 if known > 0 => {
                let at = self.dice.below(known);
                let key = self.naive.remote.keys().nth(at);
                key.cloned().expect("below the length")
            }
            _ => {
                let shard = self.dice.below(SHARDS_MAX) as u8;
                (shard, (self.dice.pattern(), self.dice.queue()))
            }
        };
        let weight = self.dice.below(if key.1.is_some() { 4 } else { 2 }) as u32;
        let queue = key.1.as_deref().map(str::as_bytes);
        for _ in 0..=self.dice.below(2) {
            let pattern = key.0.as_bytes();
            self.interest
                .set_remote(ShardId(shard), pattern, queue, weight);
        }
        match weight {
            0 => self.naive.remote.remove(&(shard, key)),
            _ => self.naive.remote.insert((shard, key), weight),
        };
    }

    fn lookup(&mut self, variety: usize) {
        let subject = self.dice.subject(variety);
        let got = normal(self.interest.lookup(subject.as_bytes()));
        assert_eq!(
            got,
            self.naive.lookup(&subject),
            "seed {} {subject}",
            self.seed
        );
    }

    /// Everything goes, and nothing stays.
    fn empty(&mut self) {
        while !self.naive.local.is_empty() {
            self.remove();
        }
        for (shard, (pattern, queue)) in std::mem::take(&mut self.naive.remote).into_keys() {
            let queue = queue.as_deref().map(str::as_bytes);
            self.interest
                .set_remote(ShardId(shard), pattern.as_bytes(), queue, 0);
        }
        self.interest.check_invariants();
        self.interest.each_local(|_, _, _| panic!("nobody is left"));
        for _ in 0..20 {
            self.lookup(0);
        }
    }
}

const ROOMY: Bounds = Bounds {
    sets_eager: 1024,
    sets_max: 1024,
    held_max: 16 << 20,
};
/// Everything that bounds the cache happens all the time.
const TIGHT: Bounds = Bounds {
    sets_eager: 4,
    sets_max: 16,
    held_max: 6000,
};

#[test]
fn interest_agrees_with_the_naive_lists() {
    for seed in seeds() {
        for (bounds, variety) in [(ROOMY, 0), (TIGHT, 0), (TIGHT, 30)] {
            let mut twins = Twins::new(seed, bounds);
            for step in 0..STEPS {
                // Times of growth, of decline, and of nothing but lookups.
                let mood = (step / 100) % 3;
                match (mood, twins.dice.below(10)) {
                    (0, 0..=3) | (1, 0) => twins.insert(),
                    (1, 1..=4) => twins.remove(),
                    (0 | 1, 5..=6) | (2, 0) => twins.set_remote(),
                    _ => twins.lookup(variety),
                }
                twins.interest.check_invariants();
            }
            let stats = twins.interest.stats();
            assert!(stats.cache_hits > 0 || variety > 0, "seed {seed}");
            twins.empty();
        }
    }
}

#[test]
fn each_local_spells_patterns_as_they_came() {
    let mut twins = Twins::new(7, ROOMY);
    for _ in 0..150 {
        twins.insert();
    }
    let mut found = BTreeSet::new();
    twins.interest.each_local(|pattern, queue, member| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.insert(((text(pattern), queue.map(text)), member.subscription.0));
    });
    let expected = twins.naive.local.iter();
    let expected: BTreeSet<_> = expected
        .map(|(key, member)| (key.clone(), member.subscription.0))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn pattern_matches_agrees_with_the_book() {
    for seed in seeds() {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        for _ in 0..2000 {
            let (pattern, subject) = (dice.pattern(), dice.subject(0));
            assert_eq!(
                subject::pattern_matches(pattern.as_bytes(), subject.as_bytes()),
                matches(&pattern, &subject),
                "seed {seed}: {pattern} {subject}"
            );
        }
    }
}
