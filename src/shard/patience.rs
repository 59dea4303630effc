//! Whether a shard with nothing to do looks around for a little while before it sleeps.
//!
//! A wake-up costs the one who wakes and delays what it is for, each a good part of what a whole
//! request takes. Where the next thing to do comes within that time anyway, waiting for it awake
//! is cheaper for everybody; where it does not, it is wasted. Nobody knows beforehand, so it is
//! tried for a few rests, and goes on only while it takes little time. What does not pay is tried
//! again ever more seldom, so that it costs next to nothing in the end.
//!
//! Two shards that answer each other find each other asleep while only one of them tries. So who
//! tries invites those it hands batches to.

use std::time::Duration;

/// Longest time to look around once.
pub const LOOK_AROUND_MAX: Duration = Duration::from_micros(50);
/// A rest up to this long, waking up included, might have been spent awake.
const SHORT: Duration = Duration::from_micros(150);
/// Looking around pays while it takes less than this on average: about what a wake-up costs in
/// processor time on both sides, a little more because it costs latency, too.
const PAYS: Duration = Duration::from_micros(20);
/// A look-around that finds nothing: its own time, and the wake-up follows all the same.
const IN_VAIN: Duration = Duration::from_micros(100);
/// Look-arounds that are averaged, and after which a trial is judged.
const TRIAL: u32 = 16;
/// Short rests before the first trial, and between trials at most.
const PAUSE_MIN: u32 = 64;
const PAUSE_MAX: u32 = 8192;
/// After so many look-arounds that paid, the next pause is a short one again.
const PROVEN: u32 = 1024;
/// Rests an invitation is good for: a request and its answer, from both sides.
const INVITED_RESTS: u8 = 4;

/// What is remembered of earlier rests.
#[derive(Debug)]
pub struct Patience {
    /// The last rest was short.
    lively: bool,
    /// Short rests until the next trial; none while it is tried.
    pause: u32,
    next_pause: u32,
    /// Look-arounds since the trial began.
    looks: u32,
    /// Average nanoseconds of the last ones.
    average: u64,
    invited: u8,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lively: false,
            pause: PAUSE_MIN,
            next_pause: PAUSE_MIN,
            looks: 0,
            average: 0,
            invited: 0,
        }
    }
}

impl Patience {
    /// Is it worth to look around before sleeping?
    pub fn looks_around(&self) -> bool {
        self.lively && (self.tries() || self.invited > 0)
    }

    /// Does it look around of its own accord?
    pub fn tries(&self) -> bool {
        self.pause == 0
    }

    /// Another shard tries, and has given us something to do.
    pub fn invite(&mut self) {
        self.invited = INVITED_RESTS;
        self.lively = true;
    }

    /// It was tried for `spent`, and something came or not.
    pub fn looked_around(&mut self, found: bool, spent: Duration) {
        self.invited = self.invited.saturating_sub(1);
        if !self.tries() {
            return;
        }
        let cost = if found { spent } else { IN_VAIN }.as_nanos() as u64;
        self.looks += 1;
        let share = u64::from(self.looks.min(TRIAL));
        self.average = self.average - self.average / share + cost / share;
        if self.looks >= PROVEN {
            self.next_pause = PAUSE_MIN;
        }
        if self.looks >= TRIAL && self.average > PAYS.as_nanos() as u64 {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        }
    }

    /// The shard slept, and the whole rest took `length`.
    pub fn rested(&mut self, length: Duration) {
        self.lively = length <= SHORT;
        if self.lively && self.pause > 0 {
            self.pause -= 1;
            if self.pause == 0 {
                (self.looks, self.average) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVELY: Duration = Duration::from_micros(40);

    /// Look-arounds in `rests` rests of which each would take `gap`, and how many are of the last
    /// thousand rests.
    fn looks(
        patience: &mut Patience,
        rests: usize,
        gap: impl Fn(usize) -> Duration,
    ) -> (usize, usize) {
        let (mut all, mut last) = (0, 0);
        for rest in 0..rests {
            let gap = gap(rest);
            if patience.looks_around() {
                all += 1;
                last += usize::from(rest + 1000 >= rests);
                let found = gap < LOOK_AROUND_MAX;
                patience.looked_around(found, gap.min(LOOK_AROUND_MAX));
                if found {
                    continue;
                }
            }
            patience.rested(gap + Duration::from_micros(15));
        }
        (all, last)
    }

    #[test]
    fn what_pays_goes_on_and_what_does_not_ends() {
        let mut patience = Patience::default();
        let soon = |_| Duration::from_micros(8);
        assert_eq!(looks(&mut patience, 2000, soon).1, 1000);
        let late = |_| Duration::from_micros(40);
        assert!(looks(&mut patience, 100_000, late).0 < 400);
        assert_eq!(
            looks(&mut patience, 20_000, soon).1,
            1000,
            "it is tried again"
        );
    }

    #[test]
    fn half_of_the_time_is_not_enough() {
        let every_other = |rest| Duration::from_micros(if rest % 2 == 0 { 5 } else { 60 });
        let mut patience = Patience::default();
        assert!(looks(&mut patience, 100_000, every_other).0 < 500);
    }

    #[test]
    fn nobody_looks_around_while_messages_are_rare() {
        let rare = |_| Duration::from_millis(1);
        let mut patience = Patience::default();
        looks(&mut patience, 1000, |_| Duration::from_micros(8));
        assert!(looks(&mut patience, 100_000, rare).0 <= 1);
    }

    #[test]
    fn an_invitation_is_good_for_a_few_rests() {
        let mut patience = Patience::default();
        patience.rested(LIVELY);
        assert!(!patience.looks_around());
        patience.invite();
        for _ in 0..INVITED_RESTS {
            assert!(patience.looks_around() && !patience.tries());
            patience.looked_around(true, Duration::from_micros(8));
        }
        assert!(!patience.looks_around());
    }
}
