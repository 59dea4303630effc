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
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if passes a reference"
    )]
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
