//! What the disks of one shard's streams took: how long, and how much at once.

use std::time::Duration;

use crate::jetstream::store::Ended;

/// Counts of values in ranges that double: the first holds what is at most one unit, the next what
/// is at most two, and so on. What is above all of them is counted behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    counts: [u64; N],
    above: u64,
    sum: u64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            counts: [0; N],
            above: 0,
            sum: 0,
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts a value, in whatever it is measured in; `unit` is how much of that the first range
    /// holds, and must always be the same.
    fn record(&mut self, value: u64, unit: u64) {
        self.sum = self.sum.saturating_add(value);
        // Ranges end with their bound, so the last value of one is not the next one's.
        let units = value.saturating_sub(1) / unit;
        let range = (u64::BITS - units.leading_zeros()) as usize;
        match self.counts.get_mut(range) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.above += other.above;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Each range's upper bound in units, and how many values are in it and in none before it; the
    /// last one has no bound.
    pub fn ranges(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounded = self.counts.iter().enumerate();
        let bounded = bounded.map(|(range, &count)| (Some(1 << range), count));
        bounded.chain([(None, self.above)])
    }
}

/// Microseconds the first range of a duration holds; the last one is at 8.4 seconds.
pub const MICROS: u64 = 16;
/// Bytes the first range of a write holds, a page; the last one is at 64 MiB.
pub const PAGE: u64 = 4096;

/// What the disks of streams took, failures apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Microseconds of writes of messages, with their flush where the stream is durable.
    pub write: Histogram<20>,
    /// Microseconds of flushes where the write is not durable itself.
    pub flush: Histogram<20>,
    /// Microseconds of reads.
    pub read: Histogram<20>,
    /// Messages of one write.
    pub commit_messages: Histogram<16>,
    /// Bytes of one write.
    pub commit_bytes: Histogram<15>,
    /// Operations that failed, of all kinds.
    pub failures: u64,
}

impl DiskFigures {
    /// Counts an operation that has ended.
    pub(super) fn record(&mut self, ended: Ended, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match ended {
            Ended::Commit { messages, bytes } => {
                self.write.record(micros, MICROS);
                self.commit_messages.record(messages, 1);
                self.commit_bytes.record(bytes, PAGE);
            }
            Ended::Flush => self.flush.record(micros, MICROS),
            Ended::Read => self.read.record(micros, MICROS),
            Ended::Failed => self.failures += 1,
            Ended::Upkeep | Ended::Unknown => {}
        }
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.write.add(&other.write);
        self.flush.add(&other.flush);
        self.read.add(&other.read);
        self.commit_messages.add(&other.commit_messages);
        self.commit_bytes.add(&other.commit_bytes);
        self.failures += other.failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_range_that_reaches_it() {
        for (value, bound) in [
            (0, Some(1)),
            (1, Some(1)),
            (10, Some(1)),
            (11, Some(2)),
            (20, Some(2)),
            (21, Some(4)),
            (40, Some(4)),
            (41, None),
            (u64::MAX, None),
        ] {
            let mut histogram = Histogram::<3>::default();
            histogram.record(value, 10);
            let range = histogram.ranges().find(|it| it.1 == 1);
            assert_eq!(range.map(|it| it.0), Some(bound), "{value}");
            assert_eq!((histogram.count(), histogram.sum()), (1, value));
        }
    }

    #[test]
    fn shards_are_added_up() {
        let (mut one, mut other) = (DiskFigures::default(), DiskFigures::default());
        let commit = Ended::Commit {
            messages: 3,
            bytes: 8192,
        };
        one.record(commit, Duration::from_millis(1));
        other.record(commit, Duration::from_millis(100));
        other.record(Ended::Failed, Duration::ZERO);
        one.add(&other);
        assert_eq!((one.write.count(), one.write.sum()), (2, 101_000));
        assert_eq!(
            (one.commit_messages.sum(), one.commit_bytes.sum()),
            (6, 16_384)
        );
        assert_eq!((one.failures, one.read.count()), (1, 0));
    }
}
