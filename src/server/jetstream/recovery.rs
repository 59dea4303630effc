//! Streams that are there when the server starts: read, and given to the shards.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::folder::{Found, StoreFolder};
use super::room::shown;
use crate::accounts::registry::Accounts;
use crate::ids::{AccountId, ShardId};
use crate::io::Socket;
use crate::io::disk::StoreDirectory;
use crate::jetstream::api::levels::API_LEVEL;
use crate::jetstream::offline::Offline;
use crate::jetstream::store::{FlushPolicy, Report, Store};
use crate::jetstream::stream::config::StreamConfig;
use crate::ops::http::facts::UnrecoveredStream;
use crate::shard::control::{Control, Post};
use crate::shard::jetstream::Command;
use crate::shard::jetstream::disk::{
    OpenedStore, Record, is_unfinished, offline_record, stream_record,
};
use crate::shard::jetstream::settings::JetStreamSettings;
use crate::time::WallTime;

/// Time between two lines about a stream that takes long.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// A stream as it was read.
struct Restored {
    account: AccountId,
    record: Record<StreamConfig>,
    /// Its store, or why it is left alone.
    opened: Result<OpenedStore, Box<Offline>>,
}

/// Opens all streams, as many at once as there are processors, and hands them to the shards, in
/// turn. One that cannot be read is left alone, named in the log, and returned.
pub(in crate::server) fn run(
    folder: &Arc<StoreFolder>,
    (accounts, settings): (&Accounts, &JetStreamSettings),
    posts: &[Post<Socket>],
) -> Vec<UnrecoveredStream> {
    log::info!("Starting JetStream");
    log::info!("---------------- JETSTREAM ----------------");
    if settings.strict {
        log::info!("  Strict:          true");
    }
    log::info!("  Max Memory:      {}", shown(settings.server.max_memory));
    log::info!("  Max Storage:     {}", shown(settings.server.max_storage));
    log::info!("  Store Directory: \"{}\"", folder.root().display());
    if !settings.domain.is_empty() {
        log::info!("  Domain:          {}", settings.domain);
    }
    if let Some(keys) = folder.keys() {
        log::info!("  Encryption:      {}", keys.cipher_name());
    }
    log::info!("  API Level:       {API_LEVEL}");
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
            return Vec::new();
        }
    };
    hand_out(found, folder, accounts, posts)
}

/// Restores what was left alone because its account was not known `before`. Returns what is still
/// missing, if that has changed.
pub(in crate::server) fn late(
    folder: &StoreFolder,
    (before, accounts): (&Accounts, &Accounts),
    posts: &[Post<Socket>],
    unrecovered: &[UnrecoveredStream],
) -> Option<Vec<UnrecoveredStream>> {
    let is_new = |it: &UnrecoveredStream| {
        before.find(&it.account).is_none() && accounts.find(&it.account).is_some()
    };
    if !unrecovered.iter().any(is_new) {
        return None;
    }
    let mut found = folder.streams().unwrap_or_default();
    found.retain(|found| {
        let same =
            |it: &&UnrecoveredStream| (&it.account, &it.stream) == (&found.account, &found.stream);
        unrecovered.iter().find(same).is_some_and(is_new)
    });
    let others = unrecovered.iter().filter(|it| !is_new(it)).cloned();
    let mut missing: Vec<UnrecoveredStream> = others.collect();
    missing.extend(hand_out(found, folder, accounts, posts));
    Some(missing)
}

/// Opens these and hands them to the shards; returns those that cannot be read.
fn hand_out(
    found: Vec<Found>,
    folder: &StoreFolder,
    accounts: &Accounts,
    posts: &[Post<Socket>],
) -> Vec<UnrecoveredStream> {
    let mut unrecovered = Vec::new();
    let restored = restore_all(&found, folder, accounts);
    for (next, (found, restored)) in found.into_iter().zip(restored).enumerate() {
        let Some(Restored {
            account,
            record,
            opened,
        }) = restored
        else {
            // One that was only begun is removed, and no loss.
            if found.path.exists() {
                unrecovered.push(UnrecoveredStream {
                    account: found.account,
                    stream: found.stream,
                });
            }
            continue;
        };
        let config = Box::new(record.config);
        let (owner, recover, offline) = match opened {
            Ok(opened) => {
                let recover = Command::Recover {
                    account,
                    config: config.clone(),
                    created: WallTime(record.created),
                    opened: Box::new(opened),
                };
                (ShardId((next % posts.len()) as u8), Some(recover), None)
            }
            Err(offline) => (ShardId(0), None, Some(offline)),
        };
        let known = Command::Known {
            account,
            owner,
            config,
            offline,
        };
        // The shards take these in their first turn.
        let recover = recover.map(|it| (usize::from(owner.0), it));
        for (shard, command) in [(0, known)].into_iter().chain(recover) {
            if let Some(post) = posts.get(shard) {
                post.send(Control::JetStream(Box::new(command)));
            }
        }
    }
    unrecovered
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

/// How far a long restore is, told now and then.
#[derive(Debug, Default)]
struct Progress {
    /// When it was told last, since the beginning.
    told: Duration,
}

impl Progress {
    /// What to tell of so many bytes of so many, if it is time.
    fn line(&mut self, done: u64, total: u64, elapsed: Duration) -> Option<String> {
        if done >= total || elapsed.saturating_sub(self.told) < TELL_EVERY {
            return None;
        }
        self.told = elapsed;
        let percent = done as f64 * 100.0 / total as f64;
        let rate = done as f64 / 1_048_576.0 / elapsed.as_secs_f64();
        Some(format!(
            "{percent:.0}% of {} MiB, {rate:.0} MiB/s",
            total >> 20
        ))
    }
}

fn restore(found: &Found, folder: &StoreFolder, accounts: &Accounts) -> Option<Restored> {
    let began = Instant::now();
    let (account, stream) = (&found.account, &found.stream);
    let Some(tenant) = accounts.iter().find(|it| *it.name == **account) else {
        log::warn!("JetStream: account {account:?} of stream {stream:?} is not configured");
        return None;
    };
    log::info!("  Starting restore for stream '{account} > {stream}'");
    let mut progress = Progress::default();
    let progress = |done: u64, total: u64| {
        if let Some(line) = progress.line(done, total, began.elapsed()) {
            log::info!("  Restoring stream '{account} > {stream}': {line}");
        }
    };
    let opened = StoreFolder::open(found, None, folder.flush(), folder.keys(), progress);
    let (store, report) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            if folder.keys().is_some() {
                log::warn!("  Error decrypting our stream metafile: {why}");
            }
            let path = found.path.display();
            log::error!("  Stream '{account} > {stream}' in {path} is not restored: {why}");
            return None;
        }
    };
    if is_unfinished(&store) || was_never_made(&store, &report) {
        drop(store);
        log::info!("  Stream '{account} > {stream}' was only begun: removed");
        if let Err(error) = StoreDirectory::at(&found.path).remove() {
            log::warn!(
                "JetStream: {} is not removed: {error}",
                found.path.display()
            );
        }
        return None;
    }
    tell(found, &store, &report);
    let Some(record) = stream_record(&store) else {
        log::error!("  Stream '{account} > {stream}' has no configuration that can be read");
        return None;
    };
    let messages = store.state().messages;
    let path = found.path.clone();
    let opened = OpenedStore { store, path };
    let opened = match offline_record(&opened) {
        Some(offline) => {
            for (consumer, reason) in &offline.consumers {
                log::warn!(
                    "  Detected unsupported consumer '{account} > {stream} > {consumer}': {reason}"
                );
            }
            let reason = &offline.reason;
            log::warn!("  Detected unsupported stream '{account} > {stream}': {reason}");
            Err(Box::new(offline))
        }
        None => {
            log::info!(
                "  Restored {messages} messages for stream '{account} > {stream}' in {:?}",
                began.elapsed()
            );
            Ok(opened)
        }
    };
    Some(Restored {
        account: tenant.id,
        record,
        opened,
    })
}

/// Is there nothing in it, and never was? Its maker has not been told of it then.
fn was_never_made(store: &Store, report: &Report) -> bool {
    store.states().next().is_none()
        && store.last_seq() == 0
        && report.gaps.is_empty()
        && report.missing_segments.is_empty()
        && report.unreadable_files.is_empty()
        && (report.damaged_records, report.unreadable_checkpoints) == (0, 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_restore_tells_how_far_it_is_every_two_seconds() {
        const MIB: u64 = 1 << 20;
        let mut progress = Progress::default();
        let mut line = |done: u64, millis: u64| {
            progress.line(done * MIB, 640 * MIB, Duration::from_millis(millis))
        };
        assert_eq!(line(64, 1_900), None);
        let told = line(128, 2_000);
        assert_eq!(told.as_deref(), Some("20% of 640 MiB, 64 MiB/s"));
        assert_eq!(line(192, 3_900), None);
        let told = line(320, 4_000);
        assert_eq!(told.as_deref(), Some("50% of 640 MiB, 80 MiB/s"));
        assert_eq!(line(640, 9_000), None, "the end has a line of its own");
    }
}
