//! Which streams there are, of all accounts: what shard 0 alone knows and decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::offline::Offline;
use crate::jetstream::stream::config::{Storage, StreamConfig};
use crate::routing::subject;

/// A stream as shard 0 knows it.
#[derive(Debug, Clone)]
pub(super) struct KnownStream {
    pub owner: ShardId,
    pub config: StreamConfig,
    /// Nobody owns it: a newer server has made it.
    pub offline: Option<Box<Offline>>,
}

/// All streams by account and name, and counts of requests.
#[derive(Debug, Default)]
pub(super) struct Registry {
    streams: BTreeMap<AccountId, BTreeMap<Box<str>, KnownStream>>,
    /// Streams of each shard.
    owned: Vec<usize>,
    requests: BTreeMap<AccountId, Requests>,
    /// Those that are being made of copies: their names are taken, but they are not there yet.
    restoring: BTreeSet<(AccountId, Box<str>)>,
}

/// Requests of an account so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Requests {
    pub total: u64,
    pub errors: u64,
}

impl Registry {
    pub fn find(&self, account: AccountId, name: &str) -> Option<&KnownStream> {
        self.streams.get(&account)?.get(name)
    }

    pub fn find_mut(&mut self, account: AccountId, name: &str) -> Option<&mut KnownStream> {
        self.streams.get_mut(&account)?.get_mut(name)
    }

    /// What is known of a stream that does nothing; `None` of all others.
    pub fn offline(&self, account: AccountId, name: &str) -> Option<&Offline> {
        self.find(account, name)?.offline.as_deref()
    }

    /// An account's streams by name.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = (&str, &KnownStream)> {
        let all = self.streams.get(&account).into_iter().flatten();
        all.map(|(name, known)| (&**name, known))
    }

    /// An account's streams whose subjects overlap `filter`; all where it is empty (JS-20).
    pub fn overlapping<'a>(
        &'a self,
        account: AccountId,
        filter: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a KnownStream)> {
        let there = self.of(account);
        let there = there.filter(move |(name, _)| !self.is_restoring(account, name));
        there.filter(move |(_, known)| {
            filter.is_empty()
                || known
                    .config
                    .subjects
                    .iter()
                    .any(|it| subject::patterns_overlap(it.as_bytes(), filter.as_bytes()))
        })
    }

    pub fn insert(&mut self, account: AccountId, known: KnownStream) {
        self.count(known.owner, 1);
        let name: Box<str> = known.config.name.as_str().into();
        let before = self.streams.entry(account).or_default().insert(name, known);
        if let Some(before) = before {
            self.count(before.owner, -1);
        }
    }

    pub fn remove(&mut self, account: AccountId, name: &str) -> Option<KnownStream> {
        let gone = self.streams.get_mut(&account)?.remove(name)?;
        self.end_restore(account, name);
        self.count(gone.owner, -1);
        Some(gone)
    }

    /// A stream that is known is being made of a copy.
    pub fn begin_restore(&mut self, account: AccountId, name: &str) {
        self.restoring.insert((account, name.into()));
    }

    /// It is there, or will not be.
    pub fn end_restore(&mut self, account: AccountId, name: &str) {
        self.restoring.remove(&(account, name.into()));
    }

    /// Is it not there yet?
    pub fn is_restoring(&self, account: AccountId, name: &str) -> bool {
        !self.restoring.is_empty() && self.restoring.contains(&(account, name.into()))
    }

    fn count(&mut self, owner: ShardId, change: isize) {
        let at = usize::from(owner.0);
        if self.owned.len() <= at {
            self.owned.resize(at + 1, 0);
        }
        self.owned[at] = self.owned[at].saturating_add_signed(change);
    }

    /// The shard a new stream goes to: the one with the fewest. Among equals not the first, which
    /// has other things to do.
    pub fn place(&self, shards: usize) -> ShardId {
        let owned = |at: usize| self.owned.get(at).copied().unwrap_or(0);
        let least = (0..shards).rev().min_by_key(|&at| owned(at));
        ShardId(least.unwrap_or(0) as u8)
    }

    /// Bytes there that streams of all accounts are promised.
    pub fn reserved(&self, storage: Storage) -> i64 {
        let all = self.streams.values().flat_map(BTreeMap::values);
        let there = all.filter(|it| it.config.storage == storage);
        there.fold(0, |sum, it| sum.saturating_add(it.config.max_bytes.max(0)))
    }

    /// A request has come. As in stock, one for a message counts only when it fails, and one that a
    /// consumer hears itself does not.
    pub fn requested(&mut self, account: AccountId, endpoint: Endpoint) {
        if !matches!(endpoint, Endpoint::MessageGet | Endpoint::ConsumerReset) {
            self.requests.entry(account).or_default().total += 1;
        }
    }

    /// A request was answered with an error.
    pub fn failed(&mut self, account: AccountId, endpoint: Endpoint) {
        let requests = self.requests.entry(account).or_default();
        match endpoint {
            Endpoint::ConsumerReset => return,
            Endpoint::MessageGet => requests.total += 1,
            _ => {}
        }
        requests.errors += 1;
    }

    /// Requests of every account that made any.
    pub fn all_requests(&self) -> impl Iterator<Item = (AccountId, Requests)> {
        self.requests.iter().map(|(account, it)| (*account, *it))
    }

    pub fn requests(&self, account: AccountId) -> Requests {
        self.requests.get(&account).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_spread_over_the_shards() {
        let mut registry = Registry::default();
        for (name, expected) in [("a", 1), ("b", 0), ("c", 1)] {
            let owner = registry.place(2);
            assert_eq!(owner, ShardId(expected));
            let config = StreamConfig {
                name: name.to_owned(),
                ..StreamConfig::default()
            };
            let known = KnownStream {
                owner,
                config,
                offline: None,
            };
            registry.insert(AccountId::GLOBAL, known);
        }
        registry.remove(AccountId::GLOBAL, "a");
        registry.remove(AccountId::GLOBAL, "c");
        assert_eq!(registry.place(2), ShardId(1));
        assert_eq!(registry.of(AccountId::GLOBAL).count(), 1);
    }
}
