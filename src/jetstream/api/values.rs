//! Values that configurations, requests and answers share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span as JSON carries it: nanoseconds, below zero where a client wrote that (JS-14).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename = "time.Duration")]
pub struct Span(pub i64);

impl Span {
    /// No time; mostly the same as not set.
    pub const ZERO: Self = Self(0);

    /// A whole number of seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// A whole number of milliseconds.
    pub const fn millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Is it not set?
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// As a duration; zero if it is below zero.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(if self.0 < 0 { 0 } else { self.0 as u64 })
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// For `skip_serializing_if`: is it what a missing field means?
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl std::fmt::Display for Span {
    /// As stock shows it: `1m30s`, `1.5s`, `100ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let fraction = |whole: u64, unit: u64, digits: usize| {
            let rest = format!("{:0digits$}", whole % unit);
            let rest = rest.trim_end_matches('0');
            match rest {
                "" => (whole / unit).to_string(),
                _ => format!("{}.{rest}", whole / unit),
            }
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", fraction(nanos, 1_000, 3)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", fraction(nanos, 1_000_000, 6)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000, 9);
                write!(f, "{seconds}s")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_as_stock_shows_them() {
        for (span, shown) in [
            (Span::ZERO, "0s"),
            (Span(1_500), "1.5\u{b5}s"),
            (Span::millis(100), "100ms"),
            (Span::millis(1_500), "1.5s"),
            (Span::seconds(90), "1m30s"),
            (Span::seconds(7_200), "2h0m0s"),
            (Span::seconds(-1), "-1s"),
        ] {
            assert_eq!(span.to_string(), shown);
        }
    }
}
