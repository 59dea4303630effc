//! Ids of messages of late, so that each is stored once (JS-88).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::time::WallTime;

/// Ids and the sequences they were stored under. Bounded by the window alone, as in stock.
#[derive(Debug, Default)]
pub(super) struct Dedupe {
    seqs: HashMap<Bytes, u64, ahash::RandomState>,
    /// In the order of time.
    ages: VecDeque<(WallTime, Bytes, u64)>,
}

impl Dedupe {
    /// The sequence a message of this id was stored under within the window.
    pub(super) fn find(&mut self, id: &[u8], now: WallTime, window: Duration) -> Option<u64> {
        self.forget(now, window);
        self.seqs.get(id).copied()
    }

    /// Notes that an id was stored.
    pub(super) fn insert(&mut self, id: &[u8], seq: u64, time: WallTime) {
        let id = Bytes::copy_from_slice(id);
        self.seqs.insert(id.clone(), seq);
        self.ages.push_back((time, id, seq));
    }

    /// Forgets what is older than the window.
    pub(super) fn forget(&mut self, now: WallTime, window: Duration) {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        while let Some((time, id, seq)) = self.ages.front()
            && now.0.saturating_sub(time.0) >= window
        {
            // It may have come again since.
            if self.seqs.get(id) == Some(seq) {
                self.seqs.remove(id);
            }
            self.ages.pop_front();
        }
    }

    /// When the oldest is to be forgotten.
    pub(super) fn next_due(&self, window: Duration) -> Option<WallTime> {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let oldest = self.ages.front()?.0;
        Some(WallTime(oldest.0.saturating_add(window)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_088_ids_are_known_for_the_window() {
        let window = Duration::from_nanos(10);
        let mut dedupe = Dedupe::default();
        dedupe.insert(b"a", 1, WallTime(100));
        assert_eq!(dedupe.find(b"a", WallTime(109), window), Some(1));
        assert_eq!(dedupe.find(b"b", WallTime(109), window), None);
        assert_eq!(dedupe.next_due(window), Some(WallTime(110)));
        assert_eq!(dedupe.find(b"a", WallTime(110), window), None);
        assert!(dedupe.seqs.is_empty());
    }
}
