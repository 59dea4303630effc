//! A fixed rate kept by the clock: what was missed is made up for, so a slow answer never lowers
//! the load (no coordinated omission).

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The times at which events are due: event `n` at `n / rate` after the start.
pub struct Pace {
    started: Instant,
    rate: f64,
    taken: u64,
}

impl Pace {
    /// `rate` events a second from now on, in a thread whose sleeps end on time.
    pub fn start(rate: f64) -> Self {
        // The default slack lets a sleep take 50 us longer. A kernel that refuses leaves it so.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Self {
            started: Instant::now(),
            rate,
            taken: 0,
        }
    }

    /// Takes the next event if it is due: the time it was meant for.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }

    /// When the next event is due.
    pub fn next(&self) -> Instant {
        self.started + Duration::from_secs_f64(self.taken as f64 / self.rate)
    }

    /// Events taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_taker_gets_every_event_with_its_own_time() {
        let mut pace = Pace::start(1000.0);
        let late = pace.started + Duration::from_micros(3500);
        let mut due = Vec::new();
        while let Some(at) = pace.take(late) {
            due.push((at - pace.started).as_micros());
        }
        assert_eq!(due, [0, 1000, 2000, 3000]);
        assert_eq!(pace.taken(), 4);
        assert_eq!((pace.next() - pace.started).as_micros(), 4000);
    }
}
