//! Streams that are there when the server starts: read, and given to the shards.

use std::sync::Arc;
use std::time::Instant;

use super::folder::{Found, StoreFolder};
use crate::accounts::registry::Accounts;
use crate::ids::ShardId;
use crate::io::Socket;
use crate::jetstream::store::{Report, Store};
use crate::shard::control::{Control, Post};
use crate::shard::jetstream::Command;
use crate::shard::jetstream::disk::{OpenedStore, stream_record};
use crate::time::WallTime;

/// Opens all streams and hands them to the shards, in turn. One that cannot be read is left alone
/// and named in the log.
pub(in crate::server) fn run(
    folder: &Arc<StoreFolder>,
    accounts: &Accounts,
    posts: &[Post<Socket>],
) {
    log::info!("Starting JetStream");
    log::info!("---------------- JETSTREAM ----------------");
    log::info!("  Store Directory: \"{}\"", folder.root().display());
    log::info!("-------------------------------------------");
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
    let mut next = 0;
    for found in found {
        let began = Instant::now();
        let (account, stream) = (&found.account, &found.stream);
        let Some(tenant) = accounts.iter().find(|it| *it.name == **account) else {
            log::warn!("JetStream: account {account:?} of stream {stream:?} is not configured");
            continue;
        };
        log::info!("  Starting restore for stream '{account} > {stream}'");
        let (store, report) = match StoreFolder::open(&found.path, None, folder.flush()) {
            Ok(opened) => opened,
            Err(why) => {
                log::error!("  Stream '{account} > {stream}' is not restored: {why}");
                continue;
            }
        };
        tell(&found, &store, &report);
        let Some(record) = stream_record(&store) else {
            log::error!("  Stream '{account} > {stream}' has no configuration that can be read");
            continue;
        };
        let messages = store.state().messages;
        log::info!(
            "  Restored {messages} messages for stream '{account} > {stream}' in {:?}",
            began.elapsed()
        );
        let owner = ShardId((next % posts.len()) as u8);
        next += 1;
        let created = WallTime(record.created);
        let config = Box::new(record.config);
        let known = Command::Known {
            account: tenant.id,
            owner,
            config: config.clone(),
            created,
        };
        let path = found.path;
        let recover = Command::Recover {
            account: tenant.id,
            config,
            created,
            opened: Box::new(OpenedStore { store, path }),
        };
        // The shards take these in their first turn.
        for (shard, command) in [(0, known), (usize::from(owner.0), recover)] {
            if let Some(post) = posts.get(shard) {
                post.send(Control::JetStream(Box::new(command)));
            }
        }
    }
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
