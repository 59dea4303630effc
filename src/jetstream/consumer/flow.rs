//! What holds a push consumer back: the window of flow control and the bucket of the rate limit.

use std::time::Duration;

use bytes::Bytes;

use super::settings::Rate;
use crate::time::Nanos;

/// Bytes under way at most, once it has opened (JS-227).
const WINDOW_MAX: u64 = 32 * 1024 * 1024;
/// Bytes under way at the beginning; doubles with each answer.
const WINDOW_START: u64 = WINDOW_MAX / 16;

/// Flow control's window.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    /// Bytes sent that no answer covers.
    under_way: u64,
    asked: Option<Asked>,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    subject: Bytes,
    /// Bytes its answer covers.
    covers: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            size: WINDOW_START,
            under_way: 0,
            asked: None,
        }
    }

    /// Must nothing more be sent?
    pub(super) fn is_full(&self) -> bool {
        self.under_way > self.size
    }

    /// Subject of the answer that is waited for.
    pub(super) fn asked(&self) -> Option<&Bytes> {
        self.asked.as_ref().map(|it| &it.subject)
    }

    /// So many bytes were sent. True if it is time to ask; `full`: no more messages may be out.
    pub(super) fn sent(&mut self, bytes: u64, full: bool) -> bool {
        self.under_way += bytes;
        match &mut self.asked {
            None => full || self.under_way > self.size / 2,
            Some(asked) => {
                if self.under_way.saturating_sub(asked.covers) >= self.size {
                    asked.covers += bytes;
                }
                false
            }
        }
    }

    /// A question was sent.
    pub(super) fn ask(&mut self, subject: Bytes) {
        self.asked = Some(Asked {
            subject,
            covers: self.under_way,
        });
    }

    /// Was this the answer to the last question? Then the window opens.
    pub(super) fn answered(&mut self, subject: &[u8]) -> bool {
        let Some(asked) = self.asked.take_if(|it| it.subject == subject) else {
            return false;
        };
        self.size = (self.size * 2).min(WINDOW_MAX);
        self.under_way = self.under_way.saturating_sub(asked.covers);
        true
    }
}

/// The rate limit's bucket (JS-228). Counts in nanoseconds of filling, so that nothing is lost in
/// rounding.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When it is, or was, full.
    full_at: i128,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Nanos) -> Self {
        Self {
            rate,
            full_at: i128::from(now.0),
        }
    }

    /// Time that so many bytes take to fill.
    fn filling(&self, bytes: u64) -> i128 {
        i128::from(bytes) * 1_000_000_000 / i128::from(self.rate.bytes_per_second.max(1))
    }

    /// Takes a token for each byte; how long to wait for them.
    pub(super) fn take(&mut self, bytes: u64, now: Nanos) -> Duration {
        let now = i128::from(now.0);
        self.full_at = self.full_at.max(now) + self.filling(bytes.min(self.rate.burst));
        let wait = self.full_at - self.filling(self.rate.burst) - now;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_227_window_doubles_with_each_answer() {
        let mut window = Window::new();
        assert!(!window.sent(WINDOW_START / 2, false));
        assert!(window.sent(1, false));
        window.ask(Bytes::from_static(b"q"));
        assert!(!window.sent(WINDOW_START / 2, false));
        assert!(window.is_full());
        assert!(!window.answered(b"other"));
        assert!(window.answered(b"q"));
        assert_eq!(window.size, 2 * WINDOW_START);
        assert!(!window.is_full() && window.asked().is_none());
    }

    #[test]
    fn js_228_bucket_lets_the_burst_pass_and_then_the_rate() {
        let rate = Rate {
            bytes_per_second: 1000,
            burst: 500,
        };
        let mut bucket = Bucket::new(rate, Nanos(7));
        assert_eq!(bucket.take(500, Nanos(7)), Duration::ZERO);
        assert_eq!(bucket.take(100, Nanos(7)), Duration::from_millis(100));
        let later = Nanos(7) + Duration::from_secs(9);
        assert_eq!(bucket.take(400, later), Duration::ZERO);
        assert_eq!(bucket.take(200, later), Duration::from_millis(100));
    }
}
