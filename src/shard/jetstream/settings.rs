//! What shards are told of JetStream.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::AccountId;
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::{AccountTiers, ServerLimits};
use crate::jetstream::store::FlushPolicy;
use crate::jetstream::stream::batch::{BatchLimits, InFlight};
use crate::jetstream::usage::Usage;

use super::disk::Stores;

/// Settings of JetStream on this server.
#[derive(Debug, Clone)]
pub struct JetStreamSettings {
    /// Its domain; empty without one.
    pub domain: String,
    /// Reply subjects of messages name domain and account, too (JS-195).
    pub long_replies: bool,
    /// Requests with unknown fields are refused (JS-3).
    pub strict: bool,
    /// Requests that may wait (JS-9).
    pub request_queue_limit: usize,
    /// Requests that only ask and may wait.
    pub info_queue_limit: usize,
    /// What the server has for all.
    pub server: ServerLimits,
    /// What accounts with JetStream may have.
    pub accounts: BTreeMap<AccountId, AccountTiers>,
    /// What the streams of accounts use; of those that had JetStream once, too.
    pub usages: BTreeMap<AccountId, Arc<Usage>>,
    /// What all streams use.
    pub usage: Arc<Usage>,
    /// What batches of all streams may have.
    pub batches: BatchLimits,
    /// What they have.
    pub in_flight: Arc<InFlight>,
    /// How long after it was written a message may not be on its disk yet; zero: not at all.
    pub sync_interval: Span,
    /// What an acknowledgement promises, unless a stream is told otherwise.
    pub flush: FlushPolicy,
    /// Bytes of files that all streams together may keep in memory.
    pub caches: usize,
    /// Bytes of one stream that may wait to be written.
    pub max_buffered_size: usize,
    /// Who makes stores on disk; all streams are in memory without.
    pub stores: Option<Arc<dyn Stores>>,
    /// What there is where the configuration names no limit.
    pub room: Room,
}

/// Bytes all streams may have together, as found once, at the start (JS-246).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In memory.
    pub memory: u64,
    /// On the disk.
    pub storage: u64,
}
