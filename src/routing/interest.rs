//! Who receives what: a shard's own subscriptions, and what the other shards told it of theirs.

use super::delivery_list::{Gatherer, needed_bytes};
use super::entry::{Entry, Group, Members};
use super::links::{LinkMember, Links, Origin, Reach, RemoteLinks};
use super::match_cache::MatchCache;
use super::subject;
use super::trie::{NodeId, Trie};
use crate::ids::{ShardId, SubscriptionId};
use hashbrown::HashMap;

pub use super::delivery_list::{Delivery, QueueDelivery};

/// A subscription of this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Index of its connection.
    pub connection: u32,
}

type Positions = HashMap<SubscriptionId, u32, ahash::RandomState>;

/// A part of the server that takes what is published, beside the subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// The account's service import of that number: requests published on this shard go on to
    /// another account. Every shard has it, and none tells the others.
    Import(u32),
    /// Takes the answers to requests that went to this account from this shard. The others are
    /// told as of a subscription.
    Replies,
    /// A receiver of JetStream on this shard, by its number. The others are told, too.
    JetStream(u32),
    /// What is published for JetStream under the server's domain; every shard has it, and none
    /// tells the others.
    Domain,
    /// Requests to JetStream's API, taken where they are published; every shard has it, and none
    /// tells the others.
    Api,
}

impl Handler {
    /// Are the other shards told of it as of a subscription?
    pub fn is_announced(self) -> bool {
        !matches!(self, Self::Import(_) | Self::Domain | Self::Api)
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

impl RoutingStats {
    /// Of two tables together; the largest fan-out is that of either.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            inserts: self.inserts + other.inserts,
            removes: self.removes + other.removes,
            matches: self.matches + other.matches,
            cache_hits: self.cache_hits + other.cache_hits,
            cache_entries: self.cache_entries + other.cache_entries,
            max_fanout: self.max_fanout.max(other.max_fanout),
            total_fanout: self.total_fanout + other.total_fanout,
        }
    }
}

/// The interest of one account as one shard sees it.
#[derive(Default)]
pub struct Interest {
    trie: Trie,
    cache: MatchCache,
    gatherer: Gatherer,
    /// Of queue names.
    hasher: ahash::RandomState,
    /// Where each subscription stands in its entry's list, so that taking it out needs no search.
    /// A map, because an account may have few of a shard's many subscriptions.
    positions: Positions,
    stats: RoutingStats,
    /// How often anything changed.
    changes: u64,
}

impl Interest {
    /// Nobody interested in anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a cache bounded otherwise.
    #[cfg(test)]
    pub(super) fn with_bounds(bounds: super::match_cache::Bounds) -> Self {
        Self {
            cache: MatchCache::with_bounds(bounds),
            ..Self::default()
        }
    }

    /// Adds a subscription of this shard. The pattern is valid (see
    /// [`subject::is_valid_pattern`]), the subscription is in no other list.
    pub fn insert_local(
        &mut self,
        pattern: &[u8],
        queue: Option<&[u8]>,
        member: Member,
    ) -> InterestChange {
        debug_assert!(subject::is_valid_pattern(pattern), "checked at SUB");
        self.stats.inserts += 1;
        self.changed(pattern);
        let node = self.trie.insert(pattern);
        let entry = self.trie.entry(node);
        let announced = entry.announced();
        let list = match queue {
            None => &mut entry.plain,
            Some(name) => {
                let hash = self.hasher.hash_one(name);
                &mut entry.group_or_new(hash, name).local
            }
        };
        self.positions
            .insert(member.subscription, list.len() as u32);
        list.push(member);
        match queue {
            None if list.len() == 1 && !announced => InterestChange::Plain { present: true },
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
        let Some(node) = self.trie.find(pattern) else {
            return InterestChange::None;
        };
        let entry = self.trie.entry(node);
        let announced = entry.announced();
        let left = match queue {
            None => take(&mut entry.plain, &mut self.positions, member),
            Some(name) => match entry.group(self.hasher.hash_one(name), name) {
                Some(group) => take(&mut group.local, &mut self.positions, member),
                None => return InterestChange::None,
            },
        };
        self.stats.removes += 1;
        self.changed(pattern);
        if left == 0 {
            self.tidy(node, queue);
        }
        match queue {
            None if left == 0 && !announced => InterestChange::Plain { present: false },
            None => InterestChange::None,
            Some(_) => InterestChange::Queue { count: left },
        }
    }

    /// Adds a part of the server to a pattern.
    pub fn add_handler(&mut self, pattern: &[u8], handler: Handler) -> InterestChange {
        self.changed(pattern);
        let node = self.trie.insert(pattern);
        let entry = self.trie.entry(node);
        let announced = entry.announced() || !entry.plain.is_empty();
        let mut handlers = std::mem::take(&mut entry.handlers).into_vec();
        handlers.push(handler);
        entry.handlers = handlers.into();
        match handler.is_announced() && !announced {
            true => InterestChange::Plain { present: true },
            false => InterestChange::None,
        }
    }

    /// Takes a part of the server off a pattern it was added to.
    pub fn remove_handler(&mut self, pattern: &[u8], handler: Handler) -> InterestChange {
        let Some(node) = self.trie.find(pattern) else {
            return InterestChange::None;
        };
        self.changed(pattern);
        let entry = self.trie.entry(node);
        let mut handlers = std::mem::take(&mut entry.handlers).into_vec();
        if let Some(at) = handlers.iter().position(|it| *it == handler) {
            handlers.remove(at);
        }
        entry.handlers = handlers.into();
        let silent = !entry.announced() && entry.plain.is_empty();
        self.tidy(node, None);
        match handler.is_announced() && silent {
            true => InterestChange::Plain { present: false },
            false => InterestChange::None,
        }
    }

    /// Notes what another shard said: `weight` members of the queue group, or for plain
    /// subscriptions 1 for some and 0 for none. Saying it again changes nothing.
    pub fn set_remote(
        &mut self,
        shard: ShardId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        weight: u32,
    ) {
        let node = match self.trie.find(pattern) {
            Some(node) => node,
            None if weight == 0 => return,
            None => self.trie.insert(pattern),
        };
        let entry = self.trie.entry(node);
        let changed = match queue {
            None => {
                let before = entry.remote_plain;
                entry.remote_plain &= !(1 << shard.0);
                entry.remote_plain |= u64::from(weight > 0) << shard.0;
                entry.remote_plain != before
            }
            Some(name) => {
                let remote = &mut entry.group_or_new(self.hasher.hash_one(name), name).remote;
                let known = remote.iter().position(|&(known, _)| known == shard);
                let before = known.map_or(0, |at| remote[at].1);
                match known {
                    Some(at) if weight == 0 => {
                        remote.swap_remove(at);
                    }
                    Some(at) => remote[at].1 = weight,
                    None if weight == 0 => {}
                    None => remote.push((shard, weight)),
                }
                weight != before
            }
        };
        if changed {
            self.changed(pattern);
        }
        if weight == 0 {
            self.tidy(node, queue);
        }
    }

    /// Sets what a link of this shard wants; a weight of 0 is nothing. The pattern is valid. Gives
    /// what this shard's links of that origin wanted before, and want now.
    pub fn set_link(
        &mut self,
        pattern: &[u8],
        queue: Option<&[u8]>,
        link: LinkMember,
    ) -> (u32, u32) {
        let mut weights = (0, 0);
        self.change_links(pattern, queue, link.weight > 0, |links| {
            weights.0 = links.local_weight(link.origin);
            let changed = links.set_local(link);
            weights.1 = links.local_weight(link.origin);
            changed
        });
        weights
    }

    /// Notes what another shard said of the links of one origin that it has; a weight of 0 is none.
    pub fn set_remote_links(
        &mut self,
        shard: ShardId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        (origin, weight): (Origin, u32),
    ) {
        self.change_links(pattern, queue, weight > 0, |links| {
            links.set_remote(RemoteLinks {
                shard,
                origin,
                weight,
            })
        });
    }

    fn change_links(
        &mut self,
        pattern: &[u8],
        queue: Option<&[u8]>,
        adds: bool,
        change: impl FnOnce(&mut Links) -> bool,
    ) {
        let node = match adds {
            true => self.trie.insert(pattern),
            false => match self.trie.find(pattern) {
                Some(node) => node,
                None => return,
            },
        };
        let entry = self.trie.entry(node);
        let place = match queue {
            None => &mut entry.links,
            Some(name) => {
                let hash = self.hasher.hash_one(name);
                &mut entry.group_or_new(hash, name).links
            }
        };
        let mut links = place.take().unwrap_or_default();
        let changed = change(&mut links);
        *place = (!links.is_empty()).then_some(links);
        if changed {
            self.changed(pattern);
        }
        if !adds {
            self.tidy(node, queue);
        }
    }

    /// Who is interested in a pattern, or in one of its queue groups, as far as links must know.
    pub fn reach(&mut self, pattern: &[u8], queue: Option<&[u8]>) -> Reach {
        let Some(node) = self.trie.find(pattern) else {
            return Reach::default();
        };
        let entry = self.trie.entry(node);
        match queue {
            None => plain_reach(entry),
            Some(name) => {
                let group = entry.group(self.hasher.hash_one(name), name);
                group.map_or_else(Reach::default, |it| group_reach(it))
            }
        }
    }

    /// [`Interest::reach`] of everything there is, in no order.
    pub fn each_reach(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>, Reach)) {
        self.trie.each(|pattern, entry| {
            visit(pattern, None, plain_reach(entry));
            for group in entry.groups() {
                visit(pattern, Some(&group.name), group_reach(group));
            }
        });
    }

    /// Everybody a published subject leads to. Wildcard characters in it are literals; one with
    /// an empty token leads to nobody.
    pub fn lookup(&mut self, subject: &[u8]) -> &Delivery {
        self.stats.matches += 1;
        if let Some(at) = self.cache.again(subject) {
            self.stats.cache_hits += 1;
            return self.cache.delivery(at);
        }
        let place = self.cache.find(subject);
        if let Some(at) = place.hit() {
            self.stats.cache_hits += 1;
            return self.cache.delivery(at);
        }
        let entries = self.trie.matches(subject);
        let needed = needed_bytes(entries.clone());
        let gatherer = &mut self.gatherer;
        self.cache.fill(&place, subject, needed, |list| {
            gatherer.gather(list, entries);
        })
    }

    /// All subscriptions of this shard with their patterns and queues, in no order.
    pub fn each_local(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>, Member)) {
        self.trie.each(|pattern, entry| {
            for &member in &entry.plain {
                visit(pattern, None, member);
            }
            for group in entry.groups() {
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
        self.trie.check_invariants();
        self.cache.check_invariants();
        let mut subscriptions = 0;
        self.trie.each(|_, entry| {
            let groups = entry.groups().iter().map(|group| &group.local);
            for list in groups.chain([&entry.plain]) {
                subscriptions += list.len() as u64;
                for (at, member) in list.iter().enumerate() {
                    assert_eq!(self.positions[&member.subscription] as usize, at);
                }
            }
        });
        assert_eq!(subscriptions, self.stats.inserts - self.stats.removes);
        assert_eq!(subscriptions, self.positions.len() as u64);
    }

    /// Does anybody subscribe to exactly this pattern, plainly or in this queue group?
    pub fn is_wanted(&mut self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let Some(node) = self.trie.find(pattern) else {
            return false;
        };
        let entry = self.trie.entry(node);
        match queue {
            None => {
                let taken = entry.handlers.iter().any(|it| it.is_announced());
                let linked = entry.links.is_some();
                !entry.plain.is_empty() || entry.remote_plain != 0 || linked || taken
            }
            Some(name) => entry.group(self.hasher.hash_one(name), name).is_some(),
        }
    }

    /// Has this pattern a part of the server?
    pub fn has_handler(&mut self, pattern: &[u8]) -> bool {
        let node = self.trie.find(pattern);
        node.is_some_and(|node| !self.trie.entry(node).handlers.is_empty())
    }

    /// How often anybody came or went so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn changed(&mut self, pattern: &[u8]) {
        self.changes += 1;
        self.cache.invalidate(pattern);
    }

    /// Drops what a removal has left empty.
    fn tidy(&mut self, node: NodeId, queue: Option<&[u8]>) {
        if let Some(name) = queue {
            let hash = self.hasher.hash_one(name);
            self.trie.entry(node).tidy_group(hash, name);
        }
        self.trie.prune(node);
    }
}

fn plain_reach(entry: &Entry) -> Reach {
    let own = !entry.plain.is_empty() || entry.remote_plain != 0 || !entry.handlers.is_empty();
    Reach {
        own: u32::from(own),
        links: entry.links.as_deref().cloned().unwrap_or_default(),
    }
}

fn group_reach(group: &Group) -> Reach {
    let remote = group.remote.iter().map(|&(_, weight)| weight);
    Reach {
        own: remote.fold(group.local.len() as u32, u32::saturating_add),
        links: group.links.as_deref().cloned().unwrap_or_default(),
    }
}

/// Takes a member out of its list, and says how many are left.
fn take(list: &mut Members, positions: &mut Positions, member: Member) -> u32 {
    let Some(at) = positions.remove(&member.subscription) else {
        unreachable!("a subscription that was inserted has a position");
    };
    let place = at as usize;
    assert_eq!(list.get(place), Some(&member), "positions follow the lists");
    list.swap_remove(place);
    if let Some(moved) = list.get(place) {
        positions.insert(moved.subscription, at);
    }
    list.len() as u32
}

#[cfg(test)]
#[path = "interest_tests.rs"]
mod tests;
