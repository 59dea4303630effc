//! Bytes that streams use together, those of an account and all of a server's (JS-245, JS-248).
//!
//! Streams live on several shards. What they have in common is a number that each of them brings up
//! to date at the end of its turn; between two turns it knows itself what it has added.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::api::errors::{self, ApiError};
use super::stream::config::Storage;

/// What all streams of somebody use, and what they may use.
#[derive(Debug, Default)]
pub struct Usage {
    memory: Side,
    storage: Side,
}

#[derive(Debug)]
struct Side {
    used: AtomicI64,
    most: AtomicI64,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            used: AtomicI64::new(0),
            most: AtomicI64::new(i64::MAX),
        }
    }
}

impl Usage {
    fn side(&self, storage: Storage) -> &Side {
        match storage {
            Storage::Memory => &self.memory,
            Storage::File => &self.storage,
        }
    }

    /// From now on this is what they may use; below zero: without limit.
    pub fn limit(&self, storage: Storage, most: i64) {
        let most = if most < 0 { i64::MAX } else { most };
        self.side(storage).most.store(most, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self, storage: Storage) -> u64 {
        let used = self.side(storage).used.load(Ordering::Relaxed);
        u64::try_from(used).unwrap_or(0)
    }
}

/// One stream's part in what its account and its server use. What it was counted for is given back
/// when this goes.
#[derive(Debug)]
pub struct Share {
    account: Arc<Usage>,
    server: Arc<Usage>,
    storage: Storage,
    counted: i64,
}

impl Share {
    /// Of a stream that keeps its messages there.
    pub fn new(account: Arc<Usage>, server: Arc<Usage>, storage: Storage) -> Self {
        Self {
            account,
            server,
            storage,
            counted: 0,
        }
    }

    /// The stream has so many bytes now.
    pub fn count(&mut self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let change = bytes - self.counted;
        if change != 0 {
            self.counted = bytes;
            for usage in [&self.account, &self.server] {
                let side = usage.side(self.storage);
                side.used.fetch_add(change, Ordering::Relaxed);
            }
        }
    }

    /// May nothing more be stored on this server? `bytes` tells how many the stream has.
    ///
    /// # Errors
    /// 10023.
    pub fn check_server(&self, bytes: impl FnOnce() -> u64) -> Result<(), ApiError> {
        match self.fits(&self.server, bytes, 0) {
            true => Ok(()),
            false => Err(errors::INSUFFICIENT_RESOURCES),
        }
    }

    /// May the account have `more` bytes than there are? `bytes` tells how many the stream has.
    ///
    /// # Errors
    /// 10002.
    pub fn check_account(&self, bytes: impl FnOnce() -> u64, more: u64) -> Result<(), ApiError> {
        match self.fits(&self.account, bytes, more) {
            true => Ok(()),
            false => Err(errors::ACCOUNT_RESOURCES_EXCEEDED),
        }
    }

    fn fits(&self, usage: &Usage, bytes: impl FnOnce() -> u64, more: u64) -> bool {
        let side = usage.side(self.storage);
        let most = side.most.load(Ordering::Relaxed);
        if most == i64::MAX {
            return true;
        }
        let signed = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let uncounted = signed(bytes()) - self.counted;
        let used = side.used.load(Ordering::Relaxed).saturating_add(uncounted);
        used.saturating_add(signed(more)) <= most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_245_streams_share_what_their_account_has() {
        let (account, server) = (Arc::new(Usage::default()), Arc::new(Usage::default()));
        account.limit(Storage::File, 100);
        server.limit(Storage::File, 1000);
        let share = || Share::new(Arc::clone(&account), Arc::clone(&server), Storage::File);
        let (mut one, mut other) = (share(), share());
        one.count(60);
        assert_eq!(other.check_account(|| 30, 10), Ok(()));
        let refused = Err(errors::ACCOUNT_RESOURCES_EXCEEDED);
        assert_eq!(other.check_account(|| 30, 11), refused);
        assert_eq!(one.check_account(|| 70, 30), Ok(()));
        other.count(40);
        assert_eq!(account.used(Storage::File), 100);
        assert_eq!(one.check_account(|| 60, 1), refused);
        one.count(50);
        assert_eq!(one.check_account(|| 50, 10), Ok(()));
        account.limit(Storage::File, -1);
        assert_eq!(one.check_account(|| 50, u64::MAX), Ok(()));
        server.limit(Storage::File, 89);
        assert_eq!(one.check_server(|| 50), Err(errors::INSUFFICIENT_RESOURCES));
        drop(other);
        assert_eq!(one.check_server(|| 50), Ok(()));
        assert_eq!(server.used(Storage::File), 50);
        assert_eq!(server.used(Storage::Memory), 0);
    }
}
