//! How much of something may come in a second: token buckets that fill at a steady rate and hold
//! one second's worth, shared by all connections of one user, account or address on every shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::options::Rates;
use crate::time::Nanos;

const SECOND: u64 = 1_000_000_000;

/// One bucket.
///
/// It is kept as the time at which it will be full again: what is taken moves that time ahead, and
/// there is not enough left when it would lie more than a second away. So a bucket is one number,
/// and two shards that take at once need no lock.
#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket of `rate` a second, at least one.
    pub fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            full_at: AtomicU64::new(0),
        }
    }

    /// What it gives in a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Takes `amount`, if there is as much. A full bucket gives whatever is asked for: otherwise
    /// what is larger than it would never pass.
    pub fn take(&self, amount: u64, now: Nanos) -> bool {
        let time = u128::from(amount) * u128::from(SECOND) / u128::from(self.rate);
        let time = u64::try_from(time).unwrap_or(u64::MAX / 4);
        let take = |full_at: u64| {
            let from = full_at.max(now.0);
            let until = from.saturating_add(time);
            (from == now.0 || until - now.0 <= SECOND).then_some(until)
        };
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.full_at.fetch_update(order.0, order.1, take).is_ok()
    }

    /// Is it full?
    pub fn is_full(&self, now: Nanos) -> bool {
        self.full_at.load(Ordering::Acquire) <= now.0
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Messages published.
    Messages,
    /// Their bytes.
    Bytes,
    /// Subscriptions made.
    Subscriptions,
    /// Connections made.
    Connections,
}

impl Counted {
    /// As error texts call it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Subscriptions => "subscriptions",
            Self::Connections => "connections",
        }
    }
}

/// The buckets of one user, account or address.
#[derive(Debug)]
pub struct Buckets {
    /// Whose they are, for error texts.
    pub whose: Box<str>,
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    subscriptions: Option<Bucket>,
    connections: Option<Bucket>,
}

impl Buckets {
    /// Full buckets.
    pub fn new(whose: Box<str>, rates: &Rates) -> Self {
        Self {
            whose,
            messages: rates.messages.map(Bucket::new),
            bytes: rates.bytes.map(Bucket::new),
            subscriptions: rates.subscriptions.map(Bucket::new),
            connections: rates.connections.map(Bucket::new),
        }
    }

    fn of(&self, counted: Counted) -> Option<&Bucket> {
        match counted {
            Counted::Messages => self.messages.as_ref(),
            Counted::Bytes => self.bytes.as_ref(),
            Counted::Subscriptions => self.subscriptions.as_ref(),
            Counted::Connections => self.connections.as_ref(),
        }
    }

    /// Are all full? Then nothing is lost by forgetting them.
    pub fn are_full(&self, now: Nanos) -> bool {
        let all = [
            &self.messages,
            &self.bytes,
            &self.subscriptions,
            &self.connections,
        ];
        all.into_iter().flatten().all(|it| it.is_full(now))
    }

    /// Takes from one of them; the text that says why not.
    ///
    /// # Errors
    /// There is not as much left.
    pub fn take(&self, counted: Counted, amount: u64, now: Nanos) -> Result<(), String> {
        match self.of(counted) {
            Some(bucket) if !bucket.take(amount, now) => Err(format!(
                "rate limit of {} {} a second for {} exceeded",
                bucket.rate(),
                counted.text(),
                self.whose
            )),
            _ => Ok(()),
        }
    }
}

/// The buckets a connection takes from.
#[derive(Debug, Default)]
pub struct ConnectionRates {
    /// Of its user, its account and its address, those that are limited.
    pub buckets: Vec<Arc<Buckets>>,
    /// When it was last told of lost messages: once a second at most.
    pub told_at: Option<Nanos>,
}

impl ConnectionRates {
    /// Takes from all of them.
    ///
    /// # Errors
    /// One of them has not as much left: why.
    pub fn take(&self, counted: Counted, amount: u64, now: Nanos) -> Result<(), String> {
        self.buckets
            .iter()
            .try_for_each(|it| it.take(counted, amount, now))
    }

    /// Is it time to say so again?
    pub fn tell(&mut self, now: Nanos) -> bool {
        let due = self.told_at.is_none_or(|at| now.0 - at.0 >= SECOND);
        if due {
            self.told_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_seconds_worth_at_once_and_then_its_rate() {
        let bucket = Bucket::new(10);
        let at = |millis: u64| Nanos(millis * 1_000_000);
        assert_eq!((0..20).filter(|_| bucket.take(1, at(5_000))).count(), 10);
        assert!(!bucket.take(1, at(5_099)));
        assert!(bucket.take(1, at(5_100)) && !bucket.take(1, at(5_100)));
        assert!(!bucket.take(6, at(5_600)) && bucket.take(5, at(5_600)));
        assert!(!bucket.is_full(at(6_500)) && bucket.is_full(at(7_000)));
    }

    #[test]
    fn a_full_bucket_gives_more_than_it_holds_and_is_in_debt_for_it() {
        let bucket = Bucket::new(100);
        let second = 1_000_000_000;
        assert!(bucket.take(300, Nanos(second)));
        assert!(!bucket.take(1, Nanos(2 * second)));
        assert!(!bucket.take(1, Nanos(3 * second)));
        assert!(bucket.take(1, Nanos(4 * second)));
        assert!(Bucket::new(1).take(u64::MAX, Nanos(1)));
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_passes() {
        let bucket = Bucket::new(1_000);
        let passed = (0..100_000u64).filter(|at| bucket.take(1, Nanos(at * 100_000)));
        // Ten seconds at a tenth of a millisecond each: ten thousand, and the first second's worth.
        let passed = passed.count();
        assert!((10_990..=11_010).contains(&passed), "{passed}");
    }

    #[test]
    fn the_text_says_which_limit_of_whom() {
        let rates = Rates {
            messages: Some(1),
            ..Rates::default()
        };
        let buckets = Buckets::new("user \"a\"".into(), &rates);
        assert_eq!(buckets.take(Counted::Messages, 1, Nanos(1)), Ok(()));
        assert_eq!(
            buckets.take(Counted::Messages, 1, Nanos(1)),
            Err("rate limit of 1 messages a second for user \"a\" exceeded".into())
        );
        assert_eq!(buckets.take(Counted::Bytes, 1 << 40, Nanos(1)), Ok(()));
        assert!(!buckets.are_full(Nanos(1)) && buckets.are_full(Nanos(2_000_000_000)));
    }
}
