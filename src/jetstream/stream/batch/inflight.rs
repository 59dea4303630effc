//! How many batches may be under way, and what they may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes that messages of uncommitted batches may take in memory, of all streams. Stock keeps them
/// on disk; a batch of a thousand messages with a quarter of the default largest payload fits.
const STAGED_MAX: usize = 256 << 20;

/// What batches may have (JS-124, JS-129).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages of one atomic batch.
    pub messages: u64,
    /// Atomic batches of one stream.
    pub atomic_per_stream: usize,
    /// Atomic batches of all.
    pub atomic: usize,
    /// Fast batches of one stream.
    pub fast_per_stream: usize,
    /// Fast batches of all.
    pub fast: usize,
    /// Time from one message of a batch to the next.
    pub timeout: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages: 1000,
            atomic_per_stream: 50,
            atomic: 1000,
            fast_per_stream: 1000,
            fast: 50_000,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What the batches of all streams on all shards take together.
#[derive(Debug, Default)]
pub struct InFlight {
    atomic: AtomicUsize,
    fast: AtomicUsize,
    staged: AtomicUsize,
}

impl InFlight {
    /// Room for one more atomic batch.
    pub(super) fn begin_atomic(self: &Arc<Self>, most: usize) -> Option<Place> {
        Place::take(self, |it| &it.atomic, 1, most)
    }

    /// Room for one more fast batch.
    pub(super) fn begin_fast(self: &Arc<Self>, most: usize) -> Option<Place> {
        Place::take(self, |it| &it.fast, 1, most)
    }

    /// Room for messages of an atomic batch.
    pub(super) fn stage(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        Place::take(self, |it| &it.staged, bytes, STAGED_MAX)
    }
}

/// Something counted, until it goes.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<InFlight>,
    counter: fn(&InFlight) -> &AtomicUsize,
    amount: usize,
}

impl Place {
    fn take(
        of: &Arc<InFlight>,
        counter: fn(&InFlight) -> &AtomicUsize,
        amount: usize,
        most: usize,
    ) -> Option<Self> {
        let before = counter(of).fetch_add(amount, Ordering::Relaxed);
        // Gives back what was too much.
        let place = Self {
            of: Arc::clone(of),
            counter,
            amount,
        };
        (before.saturating_add(amount) <= most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.counter)(&self.of).fetch_sub(self.amount, Ordering::Relaxed);
    }
}
