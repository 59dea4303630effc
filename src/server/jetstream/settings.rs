//! From options to what shards are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accounts::account::Account;
use crate::accounts::registry::Accounts;
use crate::ids::{AccountId, GLOBAL_ACCOUNT};
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::{AccountTiers, ServerLimits};
use crate::jetstream::store::FlushPolicy;
use crate::jetstream::stream::batch::BatchLimits;
use crate::jetstream::stream::config::Storage;
use crate::limits::STORE_CACHES;
use crate::options::{JetStreamLimits, JetStreamOptions, Options};
use crate::shard::jetstream::disk::Stores;
use crate::shard::jetstream::settings::{JetStreamSettings, Room};

/// Bytes of one stream that may wait to be written, as in stock.
const MAX_BUFFERED: usize = 128 * 1024 * 1024;

/// Durable unless somebody asks for less.
pub(in crate::server) fn flush_policy(options: &JetStreamOptions) -> FlushPolicy {
    match options.sync_given && !options.sync_always {
        true => FlushPolicy::Interval,
        false => FlushPolicy::Durable,
    }
}

/// JetStream as the options ask for it, in the `room` there is where they name no limit; nothing if it
/// is off. What streams use goes on to be counted where it was `before`.
pub(in crate::server) fn of(
    options: &Options,
    accounts: &Accounts,
    (stores, room): (Option<Arc<dyn Stores>>, Room),
    before: Option<&JetStreamSettings>,
) -> Option<Arc<JetStreamSettings>> {
    let jetstream = &options.jetstream;
    if !jetstream.enabled {
        return None;
    }
    let bytes = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    let server = ServerLimits {
        max_ack_pending: jetstream.limits.max_ack_pending,
        max_request_batch: jetstream.limits.max_request_batch,
        duplicate_window: jetstream.limits.duplicate_window.into(),
        default_max_consumers: jetstream.limits.default_max_consumers,
        max_memory: bytes(jetstream.max_memory.unwrap_or(room.memory)),
        max_storage: bytes(jetstream.max_storage.unwrap_or(room.storage)),
        reserved_memory: 0,
        reserved_storage: 0,
    };
    // Without accounts everybody is in one, which has all.
    let alone =
        options.operator.operators.is_empty() && accounts.iter().all(|it| it.jetstream.is_none());
    let tiers = |account: &Account| match &account.jetstream {
        None if alone && *account.name == *GLOBAL_ACCOUNT => Some(AccountTiers::default()),
        own => own.clone(),
    };
    let all = accounts.iter();
    let accounts: BTreeMap<AccountId, AccountTiers> =
        all.filter_map(|it| Some((it.id, tiers(it)?))).collect();
    let mut usages = before.map_or_else(BTreeMap::new, |it| it.usages.clone());
    for (id, tiers) in &accounts {
        let usage = usages.entry(*id).or_default();
        let limits = tiers.select(1).ok();
        usage.limit(Storage::Memory, limits.map_or(0, |it| it.max_memory));
        usage.limit(Storage::File, limits.map_or(0, |it| it.max_storage));
    }
    let usage = before.map_or_else(Arc::default, |it| Arc::clone(&it.usage));
    usage.limit(Storage::Memory, server.max_memory);
    usage.limit(Storage::File, server.max_storage);
    Some(Arc::new(JetStreamSettings {
        domain: jetstream.domain.clone().unwrap_or_default(),
        long_replies: options.feature_flags.get("js_ack_fc_v2") == Some(&true),
        strict: jetstream.strict,
        request_queue_limit: jetstream.request_queue_limit,
        info_queue_limit: jetstream
            .info_queue_limit
            .unwrap_or(jetstream.request_queue_limit),
        server,
        accounts,
        usages,
        usage,
        batches: batches(&jetstream.limits),
        in_flight: before.map_or_else(Arc::default, |it| Arc::clone(&it.in_flight)),
        sync_interval: match jetstream.sync_always {
            true => Span::ZERO,
            false => Span::from(jetstream.sync_interval),
        },
        flush: flush_policy(jetstream),
        caches: options.memory_limit.map_or(STORE_CACHES, |it| {
            usize::try_from(it / 4)
                .unwrap_or(STORE_CACHES)
                .min(STORE_CACHES)
        }),
        max_buffered_size: match usize::try_from(jetstream.max_buffered_size) {
            Ok(0) => MAX_BUFFERED,
            Ok(most) => most,
            Err(_) => usize::MAX,
        },
        stores,
        room,
    }))
}

/// What batches may have: where the configuration names no limit, stock's own.
fn batches(limits: &JetStreamLimits) -> BatchLimits {
    let default = BatchLimits::default();
    let or = |it: i64, default: usize| match usize::try_from(it) {
        Ok(it) if it > 0 => it,
        _ => default,
    };
    let (per_stream, total) = (
        limits.batch_max_inflight_per_stream,
        limits.batch_max_inflight_total,
    );
    BatchLimits {
        messages: or(limits.batch_max_msgs, default.messages as usize) as u64,
        atomic_per_stream: or(per_stream, default.atomic_per_stream),
        atomic: or(total, default.atomic),
        fast_per_stream: or(per_stream, default.fast_per_stream),
        fast: or(total, default.fast),
        timeout: match limits.batch_timeout.is_zero() {
            true => default.timeout,
            false => limits.batch_timeout,
        },
    }
}
