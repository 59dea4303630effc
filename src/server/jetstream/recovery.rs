//! Streams that are there when the server starts: read, and given to the shards.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::folder::{Found, StoreFolder};
use crate::accounts::registry::Accounts;
use crate::ids::{AccountId, ShardId};
use crate::io::Socket;
use crate::jetstream::store::{FlushPolicy, Report, Store};
use crate::jetstream::stream::config::StreamConfig;
use crate::shard::control::{Control, Post};
use crate::shard::jetstream::Command;
use crate::shard::jetstream::disk::{OpenedStore, Record, stream_record};
use crate::time::WallTime;

/// Time between two lines about a stream that takes long.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// A stream as it was read.
struct Restored {
    account: AccountId,
    record: Record<StreamConfig>,
    opened: OpenedStore,
}

/// Opens all streams, as many at once as there are processors, and hands them to the shards, in
/// turn. One that cannot be read is left alone and named in the log.
pub(in crate::server) fn run(
    folder: &Arc<StoreFolder>,
    accounts: &Accounts,
    posts: &[Post<Socket>],
) {
    log::info!("Starting JetStream");
    log::info!("---------------- JETSTREAM ----------------");
    log::info!("  Store Directory: \"{}\"", folder.root().display());
    if let Some(keys) = folder.keys() {
        log::info!("  Encryption:      {}", keys.cipher_name());
    }
    log::info!("-------------------------------------------");
    if let FlushPolicy::Durable = folder.flush() {
        log::info!("  Acknowledged means on the disk; 'sync_interval' relaxes that");
    } else {
        log::info!("  Acknowledged means written; flushed to the disk every 'sync_interval'");
    }
    let found = match folder.streams() {
        Ok(found) => found,
        Err(error) => {
            log::error!(
                "JetStream: {} cannot be read: {error}",
                folder.root().display()
            );
            return;
        }
    };
    let restored = restore_all(&found, folder, accounts);
    for (next, restored) in restored.into_iter().flatten().enumerate() {
        let Restored {
            account,
            record,
            opened,
        } = restored;
        let owner = ShardId((next % posts.len()) as u8);
        let created = WallTime(record.created);
        let config = Box::new(record.config);
        let known = Command::Known {
            account,
            owner,
            config: config.clone(),
            created,
        };
        let recover = Command::Recover {
            account,
            config,
            created,
            opened: Box::new(opened),
        };
        // The shards take these in their first turn.
        for (shard, command) in [(0, known), (usize::from(owner.0), recover)] {
            if let Some(post) = posts.get(shard) {
                post.send(Control::JetStream(Box::new(command)));
            }
        }
    }
}

/// In the order they were found, whoever read them.
fn restore_all(
    found: &[Found],
    folder: &StoreFolder,
    accounts: &Accounts,
) -> Vec<Option<Restored>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut restored: Vec<Option<Restored>> = Vec::new();
    restored.resize_with(found.len(), || None);
    std::thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(found) = found.get(at) else {
                    return mine;
                };
                mine.push((at, restore(found, folder, accounts)));
            }
        };
        let workers: Vec<_> = (0..threads.min(found.len()))
            .map(|_| scope.spawn(work))
            .collect();
        for worker in workers {
            // One that panics has ended the process.
            for (at, it) in worker.join().unwrap_or_default() {
                restored[at] = it;
            }
        }
    });
    restored
}

fn restore(found: &Found, folder: &StoreFolder, accounts: &Accounts) -> Option<Restored> {
    let began = Instant::now();
    let (account, stream) = (&found.account, &found.stream);
    let Some(tenant) = accounts.iter().find(|it| *it.name == **account) else {
        log::warn!("JetStream: account {account:?} of stream {stream:?} is not configured");
        return None;
    };
    log::info!("  Starting restore for stream '{account} > {stream}'");
    let mut told = began;
    let progress = |done: u64, total: u64| {
        if done < total && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let percent = done as f64 * 100.0 / total as f64;
            let rate = done as f64 / 1_048_576.0 / began.elapsed().as_secs_f64();
            log::info!(
                "  Restoring stream '{account} > {stream}': {percent:.0}% of {} MiB, {rate:.0} MiB/s",
                total >> 20
            );
        }
    };
    let opened = StoreFolder::open(found, None, folder.flush(), folder.keys(), progress);
    let (store, report) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            if folder.keys().is_some() {
                log::warn!("  Error decrypting our stream metafile: {why}");
            }
            log::error!("  Stream '{account} > {stream}' is not restored: {why}");
            return None;
        }
    };
    tell(found, &store, &report);
    let Some(record) = stream_record(&store) else {
        log::error!("  Stream '{account} > {stream}' has no configuration that can be read");
        return None;
    };
    let messages = store.state().messages;
    log::info!(
        "  Restored {messages} messages for stream '{account} > {stream}' in {:?}",
        began.elapsed()
    );
    let path = found.path.clone();
    Some(Restored {
        account: tenant.id,
        record,
        opened: OpenedStore { store, path },
    })
}

/// Names what was lost.
fn tell(found: &Found, store: &Store, report: &Report) {
    let (account, stream) = (&found.account, &found.stream);
    for gap in store.gaps() {
        log::error!("  Stream '{account} > {stream}' lost messages to damage: {gap:?}");
    }
    if report.damaged_records > 0 || report.unreadable_checkpoints > 0 {
        log::warn!(
            "  Stream '{account} > {stream}': {} damaged records, {} unreadable checkpoints",
            report.damaged_records,
            report.unreadable_checkpoints
        );
    }
    if report.torn_tail > 0 {
        log::info!(
            "  Stream '{account} > {stream}': {} bytes of an unfinished write dropped",
            report.torn_tail
        );
    }
}
