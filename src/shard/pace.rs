//! Work that comes in storms, such as thousands of clients that come back at once, spread over time
//! so that those who are connected are served in between.

use std::time::Duration;

use crate::limits::{STORM, STORM_REST_MAX, STORM_SPREAD, STORM_STREAK};
use crate::time::Nanos;

/// When the next step may be taken.
///
/// Between two steps of a storm a shard does nothing for it for several times as long as the step
/// took, as long as that brings the storm to its end soon enough: with every shard busy, whoever
/// waits for an answer waits for a CPU, too.
#[derive(Debug)]
pub struct Pace {
    next: Nanos,
    /// Rest after a step while there is no storm, in steps.
    calm: u32,
    /// Pieces of work done since there was last nothing left to do.
    streak: usize,
    /// When that was.
    since: Nanos,
}

impl Pace {
    /// Without a storm a step is followed by a rest of `calm` times its length.
    pub fn new(calm: u32) -> Self {
        Self {
            next: Nanos::default(),
            calm,
            streak: 0,
            since: Nanos::default(),
        }
    }

    /// From then on.
    pub fn next(&self) -> Nanos {
        self.next
    }

    /// A step from `begun` to `ended` did `done` pieces of work; `left` are known to wait, and
    /// `more` says whether others may.
    pub fn took(&mut self, (begun, ended): (Nanos, Nanos), done: usize, left: usize, more: bool) {
        let many = left >= STORM;
        if self.streak == 0 || !(many || more) {
            self.since = begun;
            self.streak = 0;
        }
        if many || more {
            self.streak += done;
        }
        let took = ended.since(begun);
        let rests = if many || self.streak >= STORM_STREAK {
            let steps = u32::try_from(left.div_ceil(done.max(1))).unwrap_or(u32::MAX);
            let spread = STORM_SPREAD.saturating_sub(ended.since(self.since));
            rests(took.saturating_mul(steps.max(1)), spread)
        } else {
            self.calm
        };
        self.next = ended + took.saturating_mul(rests);
    }
}

/// Rest after each step, in steps, so that `work` ends after `spread`.
fn rests(work: Duration, spread: Duration) -> u32 {
    let times = spread.as_nanos() / work.as_nanos().max(1);
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    times.saturating_sub(1).clamp(1, STORM_REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(100);

    /// Takes a step and says how many steps of rest follow it.
    fn step(pace: &mut Pace, done: usize, left: usize, more: bool) -> u128 {
        let begun = pace.next();
        let ended = begun + STEP;
        pace.took((begun, ended), done, left, more);
        pace.next().since(ended).as_nanos() / STEP.as_nanos()
    }

    /// The rest in the middle of a storm of which `left` are to come.
    fn storm(done: usize, left: usize) -> u128 {
        let mut pace = Pace::new(0);
        for _ in 0..STORM_STREAK {
            step(&mut pace, 1, 1, true);
        }
        step(&mut pace, done, left, true)
    }

    #[test]
    fn a_few_are_not_made_to_wait() {
        let (mut calm, mut resting) = (Pace::new(0), Pace::new(1));
        for _ in 0..1000 {
            assert_eq!(step(&mut calm, 3, 0, false), 0);
            assert_eq!(step(&mut resting, 1, STORM - 1, false), 1);
        }
        for _ in 1..STORM_STREAK {
            assert_eq!(step(&mut calm, 1, 1, true), 0);
        }
        assert!(step(&mut calm, 1, 1, true) > 0);
        assert_eq!(step(&mut calm, 1, 1, false), 0);
        assert!(step(&mut calm, 1, STORM, false) > 0);
    }

    #[test]
    fn a_storm_is_spread_over_its_time_and_no_longer() {
        let most = u128::from(STORM_REST_MAX);
        assert_eq!(storm(4, 0), most); // nobody knows how many are to come
        assert_eq!(storm(1, 500), most);
        assert_eq!(storm(1, 1700), 3); // 170 ms of work in 700
        assert_eq!(storm(4, 4 * 1700), 3);
        assert_eq!(storm(1, 100_000), 1); // 10 s of work: half of the time is for the others
    }

    #[test]
    fn one_that_does_not_end_gets_half_of_the_time() {
        let mut pace = Pace::new(0);
        let mut rest = 0;
        while pace.next() < Nanos::default() + STORM_SPREAD {
            rest = step(&mut pace, 4, 4, true);
        }
        assert_eq!(rest, 1);
        assert_eq!(step(&mut pace, 4, 4, true), 1);
    }

    #[test]
    fn what_takes_no_time_needs_no_rest() {
        let mut pace = Pace::new(1);
        for _ in 0..100 {
            let now = Nanos::default();
            pace.took((now, now), 1, 1000, true);
            assert_eq!(pace.next(), now);
        }
    }
}
