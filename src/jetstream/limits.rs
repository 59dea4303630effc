//! What a server and an account let streams and consumers have (JS-245, JS-247).

use std::collections::BTreeMap;

use super::api::errors::{self, ApiError};
use super::api::response::AccountLimits;
use super::api::values::Span;
use super::stream::config::{Storage, StreamConfig};

/// What the server lets everybody have, and what of it is promised already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Messages one consumer may have in flight; below one: no limit.
    pub max_ack_pending: i64,
    /// Messages one pull may ask for; below one: no limit.
    pub max_request_batch: i64,
    /// How long ids of messages may be remembered; zero: no limit.
    pub duplicate_window: Span,
    /// Consumers of a stream that does not say how many it may have (JS-64).
    pub default_max_consumers: i64,
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes on disk.
    pub max_storage: i64,
    /// Bytes in memory promised to streams of all accounts.
    pub reserved_memory: i64,
    /// Bytes on disk promised to streams of all accounts.
    pub reserved_storage: i64,
}

/// Consumers of a stream that does not say how many it may have, where the server is not told.
pub const DEFAULT_MAX_CONSUMERS: i64 = 1_000;

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_ack_pending: 0,
            max_request_batch: 0,
            duplicate_window: Span::ZERO,
            default_max_consumers: DEFAULT_MAX_CONSUMERS,
            max_memory: i64::MAX,
            max_storage: i64::MAX,
            reserved_memory: 0,
            reserved_storage: 0,
        }
    }
}

/// An account's limits: one set, or one for each number of replicas (JS-244).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountTiers {
    /// The same for all streams.
    One(AccountLimits),
    /// By `R1`, `R3` and so on.
    ByReplicas(BTreeMap<String, AccountLimits>),
}

/// Name of the limits for so many replicas.
pub fn tier_name(replicas: i64) -> String {
    format!("R{}", replicas.max(1))
}

impl Default for AccountTiers {
    fn default() -> Self {
        Self::One(AccountLimits::default())
    }
}

impl AccountTiers {
    /// Those for a stream of so many replicas.
    ///
    /// # Errors
    /// 10120 if there are none.
    pub fn select(&self, replicas: i64) -> Result<&AccountLimits, ApiError> {
        match self {
            Self::One(limits) => Ok(limits),
            Self::ByReplicas(tiers) => {
                let tier = tier_name(replicas);
                tiers.get(&tier).ok_or(errors::NO_LIMITS)
            }
        }
    }

    /// Do the two share a set of limits?
    fn same_tier(&self, a: i64, b: i64) -> bool {
        matches!(self, Self::One(_)) || a.max(1) == b.max(1)
    }

    /// What a stream takes of its account's bytes: with one set of limits each replica counts.
    fn footprint(&self, replicas: i64, bytes: i64) -> i64 {
        match self {
            _ if bytes <= 0 => 0,
            Self::One(_) if replicas > 1 => bytes.saturating_mul(replicas),
            _ => bytes,
        }
    }
}

/// The configurations of an account's streams.
pub trait Streams {
    /// That of one.
    fn stream(&self, name: &str) -> Option<&StreamConfig>;
    /// All of them.
    fn each(&self, visit: &mut dyn FnMut(&StreamConfig));
}

impl Streams for [StreamConfig] {
    fn stream(&self, name: &str) -> Option<&StreamConfig> {
        self.iter().find(|config| config.name == name)
    }
    fn each(&self, visit: &mut dyn FnMut(&StreamConfig)) {
        self.iter().for_each(visit);
    }
}

impl Streams for BTreeMap<String, StreamConfig> {
    fn stream(&self, name: &str) -> Option<&StreamConfig> {
        self.get(name)
    }
    fn each(&self, visit: &mut dyn FnMut(&StreamConfig)) {
        self.values().for_each(visit);
    }
}

/// What a stream's configuration is judged by besides itself.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What the server has.
    pub server: &'a ServerLimits,
    /// What the account may have.
    pub account: &'a AccountTiers,
    /// What is there already.
    pub streams: &'a dyn Streams,
}

impl Surroundings<'_> {
    /// Streams that count against the same limits as `config`, itself left out.
    pub(super) fn count_others(&self, config: &StreamConfig) -> i64 {
        let mut count = 0;
        self.each_other(config, &mut |_| count += 1);
        count
    }

    fn each_other(&self, config: &StreamConfig, visit: &mut dyn FnMut(&StreamConfig)) {
        self.streams.each(&mut |other| {
            let same = self
                .account
                .same_tier(other.num_replicas, config.num_replicas);
            if same && other.name != config.name {
                visit(other);
            }
        });
    }

    /// Is there room for `config`, of whose bytes `more` are new and the rest is promised to it
    /// already? (JS-245)
    pub(super) fn check_room(
        &self,
        config: &StreamConfig,
        limits: &AccountLimits,
        more: i64,
    ) -> Result<(), ApiError> {
        if limits.max_consumers > 0 && config.max_consumers > limits.max_consumers {
            return Err(errors::MAXIMUM_CONSUMERS_LIMIT);
        }
        let mut taken = 0i64;
        self.each_other(config, &mut |other| {
            if other.storage == config.storage {
                let bytes = self.account.footprint(other.num_replicas, other.max_bytes);
                taken = taken.saturating_add(bytes);
            }
        });
        let promised = config.max_bytes.max(0).saturating_sub(more.max(0));
        let promised = self.account.footprint(config.num_replicas, promised);
        taken = taken.saturating_add(promised);
        // A stream without a bound needs room for something.
        let more = if more < 0 { 1 } else { more };
        let footprint = self.account.footprint(config.num_replicas, more);
        let (of_account, of_server, reserved, error) = match config.storage {
            Storage::Memory => (
                limits.max_memory,
                self.server.max_memory,
                self.server.reserved_memory,
                errors::MEMORY_RESOURCES_EXCEEDED,
            ),
            Storage::File => (
                limits.max_storage,
                self.server.max_storage,
                self.server.reserved_storage,
                errors::STORAGE_RESOURCES_EXCEEDED,
            ),
        };
        let fits = |taken: i64, bytes: i64, most: i64| taken <= most && bytes <= most - taken;
        if (of_account >= 0 && !fits(taken, footprint, of_account))
            || !fits(reserved, more, of_server)
        {
            return Err(error);
        }
        Ok(())
    }
}
