//! Handshakes a second on one listener (CORE-85), counted over all shards.

use std::sync::Mutex;
use std::time::Duration;

use crate::time::Nanos;

/// Counts handshakes in windows of a second, each of which begins with the first one after the
/// last has ended, as stock counts them.
#[derive(Debug)]
pub struct HandshakeRate {
    limit: u64,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    count: u64,
    end: Option<Nanos>,
    refused: u64,
    reported: Option<Nanos>,
}

const SECOND: Duration = Duration::from_secs(1);

impl HandshakeRate {
    /// At most `limit` handshakes a second.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            window: Mutex::default(),
        }
    }

    /// May another one begin? A lock is fine here: a handshake costs thousands of times as much.
    pub fn allow(&self, now: Nanos) -> bool {
        let mut window = self
            .window
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if window.end.is_none_or(|end| now > end) {
            window.count = 0;
            window.end = Some(now + SECOND);
        } else {
            window.count += 1;
        }
        let allowed = window.count < self.limit;
        window.refused += u64::from(!allowed);
        allowed
    }

    /// How many were refused since this was asked, at most once a second.
    pub fn refused(&self, now: Nanos) -> Option<u64> {
        let mut window = self
            .window
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = window.reported.is_none_or(|at| now.since(at) >= SECOND);
        if !due || window.refused == 0 {
            return None;
        }
        window.reported = Some(now);
        Some(std::mem::take(&mut window.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lasts_a_second_from_its_first_handshake() {
        let rate = HandshakeRate::new(3);
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let allowed: Vec<bool> = [0, 10, 20, 30, 999, 1000, 1001, 1002]
            .map(|ms| rate.allow(at(ms)))
            .into();
        assert_eq!(allowed, [true, true, true, false, false, false, true, true]);
        assert_eq!(rate.refused(at(1003)), Some(3));
        assert_eq!(rate.refused(at(1004)), None);
    }
}
