//! How long a message says it is to be kept (JS-115).

use std::time::Duration;

use super::headers;
use crate::jetstream::api::errors::{self, ApiError};
use crate::protocol::headers::get;
use crate::time::duration::{self, Shown};

/// A message's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    /// It does not age.
    Never,
    /// Whole seconds.
    For(Duration),
}

/// What a header block says; nothing if it says zero.
///
/// # Errors
/// What it says is no time.
pub(super) fn of(block: &[u8]) -> Result<Option<Ttl>, ApiError> {
    match get(block, headers::TTL).filter(|it| !it.is_empty()) {
        Some(value) => parse(value),
        None => Ok(None),
    }
}

/// What a header's value says; nothing if it says zero.
///
/// # Errors
/// It is no time.
pub(super) fn parse(value: &[u8]) -> Result<Option<Ttl>, ApiError> {
    let Ok(text) = std::str::from_utf8(value) else {
        return Err(errors::MESSAGE_TTL_INVALID);
    };
    if text.eq_ignore_ascii_case("never") {
        return Ok(Some(Ttl::Never));
    }
    let seconds = match duration::parse(text) {
        Ok(nanos) if nanos < 1_000_000_000 => return Err(errors::MESSAGE_TTL_INVALID),
        Ok(nanos) => nanos.unsigned_abs() / 1_000_000_000,
        Err(_) => match text.parse::<u64>() {
            Ok(seconds) if !text.starts_with('+') => seconds,
            _ => return Err(errors::MESSAGE_TTL_INVALID),
        },
    };
    Ok((seconds > 0).then(|| Ttl::For(Duration::from_secs(seconds))))
}

/// Is it a marker, or a purge, whose own end leaves no marker (JS-118)?
pub(super) fn is_marker(block: &[u8]) -> bool {
    !block.is_empty()
        && (get(block, headers::MARKER_REASON).is_some()
            || get(block, headers::KV_OPERATION) == Some(b"PURGE"))
}

/// What a marker says of its own time, as Go writes a duration.
pub fn marker_ttl(time: Duration) -> String {
    Shown::from(Duration::from_secs(time.as_secs().max(1))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_115_forms_of_a_time() {
        let parsed = |value: &str| {
            let block = format!("NATS/1.0\r\nNats-TTL: {value}\r\n\r\n");
            of(block.as_bytes()).map_err(|it| it.err_code)
        };
        let seconds = |it| Ok(Some(Ttl::For(Duration::from_secs(it))));
        assert_eq!(parsed("1h"), seconds(3600));
        assert_eq!(parsed("2"), seconds(2));
        assert_eq!(parsed("1.5s"), seconds(1));
        assert_eq!(parsed("NEVER"), Ok(Some(Ttl::Never)));
        assert_eq!(parsed("0x"), Err(10165));
        for bad in ["-1", "500ms", "x"] {
            assert_eq!(parsed(bad), Err(10165), "{bad}");
        }
        assert_eq!(of(b""), Ok(None));
    }

    #[test]
    fn js_118_markers_say_their_time() {
        for (seconds, said) in [(0, "1s"), (59, "59s"), (60, "1m0s"), (3601, "1h0m1s")] {
            assert_eq!(marker_ttl(Duration::from_secs(seconds)), said);
        }
    }
}
