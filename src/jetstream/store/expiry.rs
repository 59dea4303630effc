//! Messages with a time of their own to go.

use std::collections::{BTreeSet, HashMap};

/// Times to go, soonest first.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    by_time: BTreeSet<(u64, u64)>,
    by_seq: HashMap<u64, u64, ahash::RandomState>,
}

impl Expiry {
    pub(super) fn insert(&mut self, seq: u64, time: u64) {
        self.by_time.insert((time, seq));
        self.by_seq.insert(seq, time);
    }

    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(time) = self.by_seq.remove(&seq) {
            self.by_time.remove(&(time, seq));
        }
    }

    /// The soonest time and its message.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.by_time.first().copied()
    }

    /// When this message goes.
    pub(super) fn of(&self, seq: u64) -> Option<u64> {
        self.by_seq.get(&seq).copied()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
