//! What a shard tells monitoring of its streams (section 22).

use std::sync::Arc;

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::response::{ConsumerInfo, StreamInfo};
use crate::jetstream::stream::config::Storage;
use crate::shard::core::Core;

use super::disk_figures::DiskFigures;
use super::hosted::{ConsumerKey, StreamKey};
use super::settings::JetStreamSettings;

/// Which streams to tell of, one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JetStreamQuery {
    /// Streams, not only their sums.
    pub streams: bool,
    /// Their consumers, too.
    pub consumers: bool,
    /// Those of this account only; of all without.
    pub account: Option<Box<str>>,
    /// At most as many of a shard.
    pub most: usize,
}

/// JetStream on one shard.
#[derive(Debug, Clone, Default)]
pub struct JetStreamReport {
    /// How it is set up; from shard 0 only.
    pub settings: Option<Arc<JetStreamSettings>>,
    /// What accounts have here, and what they asked for if it is shard 0.
    pub accounts: Vec<AccountUsage>,
    /// Streams, if asked for.
    pub streams: Vec<StreamReport>,
    /// What their disks took.
    pub disk: DiskFigures,
    /// Bytes of all streams that wait to be written.
    pub backlog: u64,
    /// Bytes of their files that are kept in memory.
    pub cached: u64,
    /// Streams nothing can be written to.
    pub read_only: u64,
    /// Requests to the API that are not answered yet.
    pub requests_in_flight: u64,
}

/// What an account has on one shard.
#[derive(Debug, Clone, Default)]
pub struct AccountUsage {
    /// Its name.
    pub account: Arc<str>,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// Consumers clients see.
    pub shown_consumers: u64,
    /// Streams they are copied from: mirrors count one, others as many as they have sources.
    pub origins: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of streams in memory.
    pub memory: u64,
    /// Bytes of streams on disk.
    pub storage: u64,
    /// Bytes promised in memory.
    pub reserved_memory: u64,
    /// Bytes promised on disk.
    pub reserved_storage: u64,
    /// Requests to the API.
    pub requests: u64,
    /// Those answered with an error.
    pub errors: u64,
}

impl AccountUsage {
    /// Adds what another shard has.
    pub fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.consumers += other.consumers;
        self.shown_consumers += other.shown_consumers;
        self.origins += other.origins;
        self.messages += other.messages;
        self.memory += other.memory;
        self.storage += other.storage;
        self.reserved_memory += other.reserved_memory;
        self.reserved_storage += other.reserved_storage;
        self.requests += other.requests;
        self.errors += other.errors;
    }
}

/// One stream.
#[derive(Debug, Clone)]
pub struct StreamReport {
    /// Its account.
    pub account: Arc<str>,
    /// The stream.
    pub info: StreamInfo,
    /// Consumers clients see, by name, if asked for.
    pub consumers: Vec<ConsumerInfo>,
    /// Those of mirrors and sources.
    pub direct: Vec<ConsumerInfo>,
    /// Why nothing can be written to it.
    pub trouble: Option<String>,
}

impl Core {
    /// Tells of the streams of this shard.
    pub(in crate::shard) fn js_report(&mut self, query: &JetStreamQuery) -> JetStreamReport {
        let mut report = JetStreamReport {
            disk: self.jetstream.disk,
            cached: self.jetstream.caches.bytes() as u64,
            requests_in_flight: self.jetstream.requests_in_flight(),
            ..JetStreamReport::default()
        };
        let accounts = Arc::clone(&self.local.settings.accounts);
        if self.local.id == ShardId(0) {
            report.settings.clone_from(&self.local.settings.jetstream);
        }
        let mut usage: Vec<(AccountId, AccountUsage)> = Vec::new();
        let mut wanted: Vec<StreamKey> = Vec::new();
        for (key, hosted) in self.jetstream.streams.iter() {
            let name = accounts.name(hosted.account);
            let consumers = hosted.consumers.values();
            let shown = consumers.filter(|it| !self.js_is_direct(**it)).count();
            let store = hosted.stream.store();
            report.backlog += store.backlog() as u64;
            report.read_only += u64::from(store.trouble().is_some());
            let state = store.state();
            let config = hosted.stream.config();
            let reserved = u64::try_from(config.max_bytes).unwrap_or(0);
            let own = usage_of(&mut usage, hosted.account, name);
            own.streams += 1;
            own.consumers += hosted.consumers.len() as u64;
            own.shown_consumers += shown as u64;
            own.origins += u64::from(config.mirror.is_some()) + config.sources.len() as u64;
            own.messages += state.messages;
            let (used, promised) = match config.storage {
                Storage::Memory => (&mut own.memory, &mut own.reserved_memory),
                Storage::File => (&mut own.storage, &mut own.reserved_storage),
            };
            *used += state.bytes;
            *promised += reserved;
            if query.streams
                && wanted.len() < query.most
                && query.account.as_deref().is_none_or(|it| it == name)
            {
                wanted.push(key);
            }
        }
        for (account, requests) in self.jetstream.registry.all_requests() {
            let own = usage_of(&mut usage, account, accounts.name(account));
            own.requests = requests.total;
            own.errors = requests.errors;
        }
        report.accounts = usage.into_iter().map(|(_, it)| it).collect();
        for key in wanted {
            report
                .streams
                .extend(self.js_report_stream(key, query.consumers));
        }
        report
    }

    pub(super) fn js_is_direct(&self, key: ConsumerKey) -> bool {
        let it = self.jetstream.consumers.at(key);
        it.is_some_and(|it| it.config.direct)
    }

    fn js_report_stream(&mut self, key: StreamKey, consumers: bool) -> Option<StreamReport> {
        let info = self.js_stream_info(key, false)?;
        let hosted = self.jetstream.streams.at(key)?;
        let trouble = hosted.stream.store().trouble();
        let mut report = StreamReport {
            account: self.local.settings.accounts.name(hosted.account).into(),
            info,
            consumers: Vec::new(),
            direct: Vec::new(),
            trouble: trouble.map(|it| it.to_string()),
        };
        if consumers {
            let keys: Vec<ConsumerKey> = hosted.consumers.values().copied().collect();
            for key in keys {
                let info = self.js_consumer_info(key, false);
                match self.js_is_direct(key) {
                    true => report.direct.extend(info),
                    false => report.consumers.extend(info),
                }
            }
        }
        Some(report)
    }
}

fn usage_of<'a>(
    all: &'a mut Vec<(AccountId, AccountUsage)>,
    account: AccountId,
    name: &str,
) -> &'a mut AccountUsage {
    let at = all.iter().position(|(it, _)| *it == account);
    let at = at.unwrap_or_else(|| {
        let usage = AccountUsage {
            account: name.into(),
            ..AccountUsage::default()
        };
        all.push((account, usage));
        all.len() - 1
    });
    &mut all[at].1
}
