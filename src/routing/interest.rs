//! Who receives what: a shard's own subscriptions, and what the other shards told it of theirs.

use super::match_cache::MatchCache;
use super::trie::{Entry, Group, Trie};
use crate::ids::{ShardId, SubscriptionId};

/// A subscription of this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Index of its connection.
    pub connection: u32,
}

/// What a subject leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Plain subscriptions here.
    pub plain: Vec<Member>,
    /// Queue groups, one for each name over all patterns that match (CORE-69).
    pub queues: Vec<QueueDelivery>,
    /// Other shards with plain subscriptions, a bit for each.
    pub remote_plain: u64,
}

/// One queue group a subject leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct QueueDelivery {
    /// Its name.
    pub name: Vec<u8>,
    /// Members here.
    pub local: Vec<Member>,
    /// Members on other shards, and how many.
    pub remote: Vec<(ShardId, u32)>,
}

impl Delivery {
    /// Empties it, keeping room for up to `kept` receivers.
    pub fn clear(&mut self, kept: usize) {
        self.plain.clear();
        self.plain.shrink_to(kept);
        self.queues.clear();
        self.queues.shrink_to(kept);
        self.remote_plain = 0;
    }

    /// Receivers of one message.
    pub fn fanout(&self) -> u64 {
        self.plain.len() as u64
            + self.queues.len() as u64
            + u64::from(self.remote_plain.count_ones())
    }

    fn add(&mut self, entry: &Entry) {
        self.plain.extend_from_slice(&entry.plain);
        self.remote_plain |= entry.remote_plain;
        for group in &entry.queues {
            let at = self
                .queues
                .iter()
                .position(|queue| *queue.name == *group.name);
            let queue = match at {
                Some(at) => &mut self.queues[at],
                None => {
                    self.queues.push(QueueDelivery {
                        name: group.name.to_vec(),
                        ..Default::default()
                    });
                    let last = self.queues.len() - 1;
                    &mut self.queues[last]
                }
            };
            queue.local.extend_from_slice(&group.local);
            for &(shard, weight) in &group.remote {
                match queue.remote.iter_mut().find(|(known, _)| *known == shard) {
                    Some((_, sum)) => *sum += weight,
                    None => queue.remote.push((shard, weight)),
                }
            }
        }
    }
}

/// What the other shards must be told after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterestChange {
    /// Nothing: to them it looks the same.
    None,
    /// There are plain subscriptions now, or no more.
    Plain {
        /// Which of the two.
        present: bool,
    },
    /// The queue group has this many members now.
    Queue {
        /// Members on this shard.
        count: u32,
    },
}

/// Figures for monitoring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoutingStats {
    /// Subscriptions inserted so far.
    pub inserts: u64,
    /// Subscriptions removed so far.
    pub removes: u64,
    /// Subjects looked up.
    pub matches: u64,
    /// Of those, found in the cache.
    pub cache_hits: u64,
    /// Subjects in the cache.
    pub cache_entries: u64,
    /// Most receivers of a cached subject.
    pub max_fanout: u64,
    /// Receivers of all cached subjects.
    pub total_fanout: u64,
}

/// The interest of one account as one shard sees it.
#[derive(Default)]
pub struct Interest {
    trie: Trie,
    cache: MatchCache,
    /// Where each subscription stands in its entry's list, so that taking it out needs no search.
    positions: Vec<u32>,
    stats: RoutingStats,
}

impl Interest {
    /// Nobody interested in anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscription of this shard.
    pub fn insert_local(
        &mut self,
        pattern: &[u8],
        queue: Option<&[u8]>,
        member: Member,
    ) -> InterestChange {
        self.stats.inserts += 1;
        self.cache.invalidate(pattern);
        let entry = self.trie.entry(pattern);
        let list = match queue {
            None => &mut entry.plain,
            Some(name) => &mut group(entry, name).local,
        };
        let at = member.subscription.0 as usize;
        if self.positions.len() <= at {
            self.positions.resize(at + 1, 0);
        }
        self.positions[at] = list.len() as u32;
        list.push(member);
        match queue {
            None if list.len() == 1 => InterestChange::Plain { present: true },
            None => InterestChange::None,
            Some(_) => InterestChange::Queue {
                count: list.len() as u32,
            },
        }
    }

    /// Removes a subscription of this shard that was inserted with the same pattern and queue.
    pub fn remove_local(
        &mut self,
        pattern: &[u8],
        queue: Option<&[u8]>,
        member: Member,
    ) -> InterestChange {
        let Some(entry) = self.trie.find(pattern) else {
            return InterestChange::None;
        };
        let list = match queue {
            None => &mut entry.plain,
            Some(name) => match entry.queues.iter_mut().find(|group| *group.name == *name) {
                Some(group) => &mut group.local,
                None => return InterestChange::None,
            },
        };
        let at = self.positions[member.subscription.0 as usize] as usize;
        assert_eq!(list.get(at), Some(&member), "positions follow the lists");
        list.swap_remove(at);
        if let Some(moved) = list.get(at) {
            self.positions[moved.subscription.0 as usize] = at as u32;
        }
        let left = list.len() as u32;
        self.stats.removes += 1;
        self.cache.invalidate(pattern);
        self.tidy(pattern);
        match queue {
            None if left == 0 => InterestChange::Plain { present: false },
            None => InterestChange::None,
            Some(_) => InterestChange::Queue { count: left },
        }
    }

    /// Notes what another shard said: `weight` members of the queue group, or for plain
    /// subscriptions 1 for some and 0 for none.
    pub fn set_remote(
        &mut self,
        shard: ShardId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        weight: u32,
    ) {
        self.cache.invalidate(pattern);
        let entry = self.trie.entry(pattern);
        match queue {
            None => {
                entry.remote_plain &= !(1 << shard.0);
                entry.remote_plain |= u64::from(weight > 0) << shard.0;
            }
            Some(name) => {
                let remote = &mut group(entry, name).remote;
                remote.retain(|&(known, _)| known != shard);
                if weight > 0 {
                    remote.push((shard, weight));
                }
            }
        }
        if weight == 0 {
            self.tidy(pattern);
        }
    }

    /// Everybody a published subject leads to. Wildcard characters in it are literals.
    pub fn lookup(&mut self, subject: &[u8]) -> &Delivery {
        self.stats.matches += 1;
        let mut place = self.cache.find(subject);
        if place.hit {
            self.stats.cache_hits += 1;
        } else {
            let delivery = self.cache.fill(&mut place, subject);
            self.trie.matches(subject, |entry| delivery.add(entry));
        }
        self.cache.delivery(&place)
    }

    /// All subscriptions of this shard with their patterns and queues, in no order.
    pub fn each_local(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>, Member)) {
        self.trie.each(|pattern, entry| {
            for &member in &entry.plain {
                visit(pattern, None, member);
            }
            for group in &entry.queues {
                for &member in &group.local {
                    visit(pattern, Some(&group.name), member);
                }
            }
        });
    }

    /// Figures for monitoring.
    pub fn stats(&self) -> RoutingStats {
        let (cache_entries, max_fanout, total_fanout) = self.cache.figures();
        RoutingStats {
            cache_entries,
            max_fanout,
            total_fanout,
            ..self.stats
        }
    }

    /// Panics if the parts do not agree with each other.
    pub fn check_invariants(&self) {
        let mut patterns = 0;
        self.trie.each(|pattern, entry| {
            patterns += 1;
            assert!(
                !entry.is_empty(),
                "{} has an entry but nobody",
                pattern.escape_ascii()
            );
            for group in &entry.queues {
                assert!(!group.local.is_empty() || !group.remote.is_empty());
            }
            let groups = entry.queues.iter().map(|group| &group.local);
            for list in groups.chain([&entry.plain]) {
                for (at, member) in list.iter().enumerate() {
                    assert_eq!(self.positions[member.subscription.0 as usize] as usize, at);
                }
            }
        });
        assert!(
            patterns > 0 || self.trie.nodes() == 1,
            "an empty tree is a root"
        );
    }

    /// Drops what a removal has left empty.
    fn tidy(&mut self, pattern: &[u8]) {
        if let Some(entry) = self.trie.find(pattern) {
            entry
                .queues
                .retain(|group| !group.local.is_empty() || !group.remote.is_empty());
            if entry.is_empty() {
                self.trie.prune(pattern);
            }
        }
    }
}

/// The group of that name in an entry, made if it is not there.
fn group<'a>(entry: &'a mut Entry, name: &[u8]) -> &'a mut Group {
    let at = entry
        .queues
        .iter()
        .position(|group| *group.name == *name)
        .unwrap_or_else(|| {
            entry.queues.push(Group {
                name: name.into(),
                local: Vec::new(),
                remote: Vec::new(),
            });
            entry.queues.len() - 1
        });
    &mut entry.queues[at]
}
