//! Times as JSON carries them: RFC 3339 with up to nine digits of a second, and the zone a client
//! wrote them in (JS-14).

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::time::WallTime;

const SECONDS_OF_DAY: i64 = 86_400;
/// 0001-01-01, which stands for no time.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// A time between the years 0 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Since 1970-01-01 UTC.
    seconds: i64,
    nanos: u32,
    /// East of UTC, in seconds: how it is shown, not when it is.
    offset: i32,
}

impl Timestamp {
    /// What a field that was never set shows: the year 1.
    pub const ZERO: Self = Self {
        seconds: ZERO_SECONDS,
        nanos: 0,
        offset: 0,
    };

    /// Is it [`ZERO`](Self::ZERO)?
    pub const fn is_zero(self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanos == 0
    }

    /// The same time in UTC.
    pub const fn utc(self) -> Self {
        Self { offset: 0, ..self }
    }

    /// The same time as clocks show it that are so many seconds ahead of UTC.
    pub const fn in_zone(self, offset: i32) -> Self {
        Self { offset, ..self }
    }

    /// When it is, whatever zone it is shown in.
    pub const fn instant(self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    /// The nearest time that can be counted from 1970.
    pub fn wall(self) -> WallTime {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        WallTime(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<WallTime> for Timestamp {
    fn from(wall: WallTime) -> Self {
        Self {
            seconds: i64::try_from(wall.0 / 1_000_000_000).unwrap_or(i64::MAX),
            nanos: u32::try_from(wall.0 % 1_000_000_000).unwrap_or(0),
            offset: 0,
        }
    }
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The other way: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds.saturating_add(i64::from(self.offset));
        let (year, month, day) = civil_from_days(local.div_euclid(SECONDS_OF_DAY));
        let of_day = local.rem_euclid(SECONDS_OF_DAY);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_char('Z');
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Timestamp, E> {
                Ok(Timestamp::ZERO)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Timestamp, D::Error> {
                deserializer.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct("time.Time", Text)
    }
}

/// Why a text is no time; says it as stock does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampError {
    text: String,
    what: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// What was expected where, as a part of the layout.
    Expected(&'static str, String),
    OutOfRange(&'static str),
    Extra(String),
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match &self.what {
            Problem::Expected(part, rest) => write!(
                f,
                "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{rest}\" as \"{part}\""
            ),
            Problem::OutOfRange(what) => {
                write!(f, "parsing time \"{text}\": {what} out of range")
            }
            Problem::Extra(rest) => write!(f, "parsing time \"{text}\": extra text: \"{rest}\""),
        }
    }
}

impl std::error::Error for TimestampError {}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        read(text).map_err(|what| TimestampError {
            text: text.to_owned(),
            what,
        })
    }
}

fn read(text: &str) -> Result<Timestamp, Problem> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4, "2006")?;
    literal(&mut rest, "-")?;
    let month = ranged(digits(&mut rest, 2, 2, "01")?, 1..=12, "month")?;
    literal(&mut rest, "-")?;
    let day = digits(&mut rest, 2, 2, "02")?;
    literal(&mut rest, "T")?;
    let hour = ranged(digits(&mut rest, 1, 2, "15")?, 0..=23, "hour")?;
    literal(&mut rest, ":")?;
    let minute = ranged(digits(&mut rest, 2, 2, "04")?, 0..=59, "minute")?;
    literal(&mut rest, ":")?;
    let second = ranged(digits(&mut rest, 2, 2, "05")?, 0..=59, "second")?;
    let nanos = fraction(&mut rest);
    let offset = zone(&mut rest)?;
    if !rest.is_empty() {
        return Err(Problem::Extra(rest.to_owned()));
    }
    let first = days_from_civil(year, month, 1);
    let next = days_from_civil(year + month / 12, month % 12 + 1, 1);
    let day = ranged(day, 1..=next - first, "day")?;
    let days = first + day - 1;
    let seconds = days * SECONDS_OF_DAY + hour * 3_600 + minute * 60 + second - i64::from(offset);
    Ok(Timestamp {
        seconds,
        nanos,
        offset,
    })
}

/// Takes between `least` and `most` digits off the front.
fn digits(rest: &mut &str, least: usize, most: usize, part: &'static str) -> Result<i64, Problem> {
    let found = rest
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    if found < least {
        return Err(Problem::Expected(part, (*rest).to_owned()));
    }
    let (number, after) = rest.split_at(found);
    *rest = after;
    Ok(number
        .bytes()
        .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn literal(rest: &mut &str, part: &'static str) -> Result<(), Problem> {
    match rest.strip_prefix(part) {
        Some(after) => {
            *rest = after;
            Ok(())
        }
        None => Err(Problem::Expected(part, (*rest).to_owned())),
    }
}

fn ranged(
    number: i64,
    range: std::ops::RangeInclusive<i64>,
    what: &'static str,
) -> Result<i64, Problem> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(Problem::OutOfRange(what))
    }
}

/// Digits after a point or comma, as nanoseconds; what is finer is dropped.
fn fraction(rest: &mut &str) -> u32 {
    let Some(after) = rest.strip_prefix(['.', ',']) else {
        return 0;
    };
    let found = after.bytes().take_while(u8::is_ascii_digit).count();
    if found == 0 {
        return 0;
    }
    let (number, after) = after.split_at(found);
    *rest = after;
    number
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
}

/// `Z`, or hours and minutes from UTC.
fn zone(rest: &mut &str) -> Result<i32, Problem> {
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Ok(0);
    }
    let bytes = rest.as_bytes();
    let number = |at: usize| match bytes.get(at..at + 2) {
        Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
            Some(i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
        }
        _ => None,
    };
    let sign = match bytes.first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Problem::Expected("Z07:00", (*rest).to_owned())),
    };
    let (Some(hours), Some(b':'), Some(minutes)) = (number(1), bytes.get(3), number(4)) else {
        return Err(Problem::Expected("Z07:00", (*rest).to_owned()));
    };
    if hours > 24 {
        return Err(Problem::OutOfRange("time zone offset hour"));
    }
    if minutes > 60 {
        return Err(Problem::OutOfRange("time zone offset minute"));
    }
    *rest = &rest[6..];
    Ok(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_again() {
        for (written, shown) in [
            ("2024-02-03T02:00:00+02:00", "2024-02-03T02:00:00+02:00"),
            ("2024-02-03T02:00:00.120Z", "2024-02-03T02:00:00.12Z"),
            (
                "2024-02-29T23:59:59.1234567891Z",
                "2024-02-29T23:59:59.123456789Z",
            ),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2024-02-03T02:00:00-00:00", "2024-02-03T02:00:00Z"),
            ("2024-12-31T2:00:00,5-11:30", "2024-12-31T02:00:00.5-11:30"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            let time: Timestamp = written.parse().expect(written);
            assert_eq!(time.to_string(), shown);
        }
        assert!(
            "0001-01-01T00:00:00Z"
                .parse::<Timestamp>()
                .expect("a time")
                .is_zero()
        );
        let east: Timestamp = "1970-01-01T02:00:01+02:00".parse().expect("a time");
        assert_eq!(east.wall(), WallTime(1_000_000_000));
        assert_eq!(
            Timestamp::from(WallTime(1)).to_string(),
            "1970-01-01T00:00:00.000000001Z"
        );
    }

    /// Texts seen at stock.
    #[test]
    fn what_is_wrong_is_said_as_stock_says_it() {
        let layout = "2006-01-02T15:04:05Z07:00";
        for (text, expected) in [
            (
                "x",
                format!(" as \"{layout}\": cannot parse \"x\" as \"2006\""),
            ),
            (
                "",
                format!(" as \"{layout}\": cannot parse \"\" as \"2006\""),
            ),
            (
                "2024-01-01",
                format!(" as \"{layout}\": cannot parse \"\" as \"T\""),
            ),
            (
                "2024-02-03T00:00:00",
                format!(" as \"{layout}\": cannot parse \"\" as \"Z07:00\""),
            ),
            ("2024-13-01T00:00:00Z", ": month out of range".to_owned()),
            ("2024-02-30T00:00:00Z", ": day out of range".to_owned()),
            ("2023-02-29T00:00:00Z", ": day out of range".to_owned()),
            ("2024-02-03T25:00:00Z", ": hour out of range".to_owned()),
            ("2024-02-03T02:00:60Z", ": second out of range".to_owned()),
            (
                "2024-02-03T02:00:00+25:00",
                ": time zone offset hour out of range".to_owned(),
            ),
            ("2024-02-03T02:00:00Zx", ": extra text: \"x\"".to_owned()),
        ] {
            let error = text.parse::<Timestamp>().expect_err(text).to_string();
            assert_eq!(error, format!("parsing time \"{text}\"{expected}"));
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for days in -800_000..=200_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
    }
}
