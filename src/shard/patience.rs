//! Whether a shard with nothing to do looks around for a little while before it sleeps.
//!
//! A wake-up costs the one who wakes and delays what it is for, each a good part of what a whole
//! request takes. Where the next thing to do comes within that time anyway, waiting for it awake
//! is cheaper for everybody; where it does not, it is wasted. Nobody knows beforehand, so the past
//! decides: a shard looks around only while its rests are short, stops for longer and longer when
//! that finds nothing, and starts again when it would have paid.

use std::time::Duration;

/// A rest up to this long, waking up included, might have been spent awake.
const SHORT: Duration = Duration::from_micros(100);
/// Successes that make up for one failure: waiting in vain costs as much as several wake-ups save.
const SUCCESSES_FOR_A_FAILURE: u8 = 8;
/// After many failures one attempt in `1 << FAILURES_MAX` short rests remains.
const FAILURES_MAX: u8 = 10;

/// What is remembered of earlier rests.
#[derive(Debug, Default)]
pub struct Patience {
    /// The last rest was short.
    lively: bool,
    /// Failures that successes have not made up for.
    failures: u8,
    successes: u8,
    /// Short rests until the next attempt.
    skip: u16,
}

impl Patience {
    /// Is it worth to look around before sleeping?
    pub fn looks_around(&self) -> bool {
        self.lively && self.skip == 0
    }

    /// It was tried, and something came or not.
    pub fn looked_around(&mut self, found: bool) {
        if !found {
            self.failures = (self.failures + 1).min(FAILURES_MAX);
            self.successes = 0;
            self.skip = 1 << self.failures;
            return;
        }
        self.successes += 1;
        if self.successes >= SUCCESSES_FOR_A_FAILURE {
            self.successes = 0;
            self.failures = self.failures.saturating_sub(1);
        }
    }

    /// The shard slept, and did so for `length`, an attempt before it included.
    pub fn rested(&mut self, length: Duration) {
        self.lively = length <= SHORT;
        if self.lively {
            self.skip = self.skip.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVELY: Duration = Duration::from_micros(20);

    /// Attempts in `rests` rests where each finds something or not.
    fn attempts(patience: &mut Patience, rests: usize, mut found: impl FnMut() -> bool) -> usize {
        let mut attempts = 0;
        for _ in 0..rests {
            if patience.looks_around() {
                attempts += 1;
                let found = found();
                patience.looked_around(found);
                if found {
                    continue;
                }
            }
            patience.rested(LIVELY);
        }
        attempts
    }

    #[test]
    fn what_pays_goes_on_and_what_does_not_ends() {
        let mut patience = Patience::default();
        assert!(!patience.looks_around(), "nothing is known yet");
        patience.rested(LIVELY);
        assert_eq!(attempts(&mut patience, 1000, || true), 1000);
        assert!(attempts(&mut patience, 10_000, || false) < 25);
        assert!(
            attempts(&mut patience, 200_000, || true) > 150_000,
            "it is tried again"
        );
    }

    #[test]
    fn half_of_the_time_is_not_enough() {
        let mut patience = Patience::default();
        patience.rested(LIVELY);
        let mut found = false;
        let attempts = attempts(&mut patience, 100_000, || {
            found = !found;
            found
        });
        assert!(attempts < 1000);
    }

    #[test]
    fn a_long_rest_ends_it() {
        let mut patience = Patience::default();
        patience.rested(LIVELY);
        assert!(patience.looks_around());
        patience.rested(Duration::from_millis(1));
        assert!(!patience.looks_around());
    }
}
