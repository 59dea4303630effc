//! Lines that would repeat quickly, once per window (CFG-103).

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;

/// A text is logged once within this time.
const WINDOW: Duration = Duration::from_secs(1);

/// Texts remembered: with more different ones in a window, the surplus is logged unlimited.
const TEXTS_MAX: usize = 4096;

static LIMITER: LazyLock<Mutex<RateLimiter>> = LazyLock::new(|| Mutex::new(RateLimiter::default()));

/// Logs `text` at `level` unless a line with the same `key` was logged within the last second.
/// Pass the text itself as key, or its fixed part to limit all texts of that form together.
pub fn rate_limited(level: Level, key: &str, text: fmt::Arguments<'_>) {
    let admitted = LIMITER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .admit(key, Instant::now());
    if admitted {
        log::log!(level, "{text}");
    }
}

/// Remembers which texts were logged within the last second; at most 4,096 of them.
#[derive(Debug, Default)]
pub struct RateLimiter {
    logged: HashMap<Box<str>, Instant>,
}

impl RateLimiter {
    /// Whether a line with this key may be logged at `now`, which may not run backwards.
    pub fn admit(&mut self, key: &str, now: Instant) -> bool {
        if let Some(at) = self.logged.get_mut(key) {
            let admitted = now.duration_since(*at) >= WINDOW;
            if admitted {
                *at = now;
            }
            return admitted;
        }
        if self.logged.len() >= TEXTS_MAX {
            self.logged.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if self.logged.len() < TEXTS_MAX {
            self.logged.insert(key.into(), now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_103_same_text_once_per_second() {
        let mut limiter = RateLimiter::default();
        let start = Instant::now();
        assert!(limiter.admit("a", start));
        assert!(limiter.admit("b", start));
        assert!(!limiter.admit("a", start + Duration::from_millis(999)));
        assert!(limiter.admit("a", start + Duration::from_secs(1)));
        assert!(!limiter.admit("a", start + Duration::from_millis(1999)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = RateLimiter::default();
        let start = Instant::now();
        for text in 0..TEXTS_MAX + 10 {
            assert!(limiter.admit(&text.to_string(), start));
        }
        assert_eq!(limiter.logged.len(), TEXTS_MAX);
        assert!(limiter.admit("later", start + WINDOW));
        assert_eq!(limiter.logged.len(), 1);
    }
}
