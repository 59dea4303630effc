//! Durations in Go's syntax: `1h30m`, `300ms`, `-1.5s` (CFG-11). Configurations, clients and
//! operators see and send this form.

use std::fmt;
use std::time::Duration;

/// Why a string is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form at all, or beyond 64 bits of nanoseconds.
    #[error("time: invalid duration \"{0}\"")]
    Invalid(String),
    /// A number without its unit.
    #[error("time: missing unit in duration \"{0}\"")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit \"{unit}\" in duration \"{text}\"")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// All of it.
        text: String,
    },
}

/// Nanoseconds of `text`; may be negative.
///
/// # Errors
/// [`DurationError`] with stock's text.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some(scale) = scale(unit) else {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        total = whole
            .checked_mul(scale)
            .and_then(|it| it.checked_add(fraction_of(fraction, scale)))
            .and_then(|it| it.checked_add(total))
            .filter(|it| *it <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = next;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(nanos)) => Ok(nanos),
        (true, Ok(nanos)) => Ok(-nanos),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn scale(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Micro sign and Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `0.digits` of `scale`, rounded down. 18 digits are beyond a nanosecond for every unit.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    let value: u128 = digits.parse().unwrap_or(0);
    let unit = 10u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(value * u128::from(scale) / unit).unwrap_or(0)
}

/// A duration in nanoseconds that prints as Go prints it: `2m0s`, `1.5s`, `300ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown(pub i64);

impl From<Duration> for Shown {
    fn from(time: Duration) -> Self {
        Self(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let small = |f: &mut fmt::Formatter<'_>, scale: u64, unit: &str| {
            write!(f, "{sign}{}{unit}", Decimal(nanos, scale))
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => small(f, 1, "ns"),
            1_000..1_000_000 => small(f, 1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => small(f, 1_000_000, "ms"),
            _ => {
                let minutes = nanos / 60_000_000_000;
                f.write_str(sign)?;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", Decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `.0 / .1` without trailing zeros.
struct Decimal(u64, u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / self.1)?;
        let fraction = self.0 % self.1;
        if fraction > 0 {
            let width = self.1.ilog10() as usize;
            let digits = format!("{fraction:0width$}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let got = parse(text).map(|it| Shown(it).to_string());
        let got = got.map_err(|it| it.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
    }

    /// CFG-11, values and texts taken from Go.
    #[test]
    fn durations() {
        check("0", Ok("0s"));
        check("2m", Ok("2m0s"));
        check("1h30m", Ok("1h30m0s"));
        check("1.5h", Ok("1h30m0s"));
        check(".5s", Ok("500ms"));
        check("1500us", Ok("1.5ms"));
        check("7ns", Ok("7ns"));
        check("-3s", Ok("-3s"));
        check("+5us", Ok("5\u{b5}s"));
        check("1.0001s", Ok("1.0001s"));
        check("100.000000001s", Ok("1m40.000000001s"));
        check("", Err("time: invalid duration \"\""));
        check("-", Err("time: invalid duration \"-\""));
        check("1..5s", Err("time: missing unit in duration \"1..5s\""));
        check("x", Err("time: invalid duration \"x\""));
        check("3", Err("time: missing unit in duration \"3\""));
        check("3d", Err("time: unknown unit \"d\" in duration \"3d\""));
        check(
            "9223372036854775808ns",
            Err("time: invalid duration \"9223372036854775808ns\""),
        );
        check("-9223372036854775808ns", Ok("-2562047h47m16.854775808s"));
    }
}
