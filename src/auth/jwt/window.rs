//! When and from where a user may be connected (AUTH-52).

use crate::ids::IpAddr;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

/// Finds a time zone by its IANA name; the server's own for an empty one.
pub type Zones = fn(&str) -> Option<TimeZone>;

/// Hours of the day, `HH:MM:SS` each. One that ends before it starts goes over midnight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TimeRange {
    /// From.
    pub start: String,
    /// Until.
    pub end: String,
}

impl TimeRange {
    /// Are both times of the day?
    pub fn is_sound(&self) -> bool {
        clock(&self.start).is_some() && clock(&self.end).is_some()
    }

    /// How long it still lasts; `None` outside of it.
    fn left(&self, now: Timestamp, zone: &TimeZone) -> Option<Duration> {
        let today = now.to_zoned(zone.clone()).date();
        let at = |day: Date, time: Time| {
            let zoned = day.to_datetime(time).to_zoned(zone.clone());
            zoned.ok().map(|it| it.timestamp())
        };
        let (start, end) = (clock(&self.start)?, clock(&self.end)?);
        let (from, until) = (at(today, start)?, at(today, end)?);
        let inside = |from: Timestamp, until: Timestamp| {
            let left = Duration::try_from(until.duration_since(now)).ok();
            left.filter(|left| now > from && !left.is_zero())
        };
        if from <= until {
            return inside(from, until);
        }
        let tomorrow = today.checked_add(1.day()).ok()?;
        let yesterday = today.checked_sub(1.day()).ok()?;
        inside(from, at(tomorrow, end)?).or_else(|| inside(at(yesterday, start)?, until))
    }
}

/// Until when somebody may be connected who may be at certain times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// Not now.
    No,
    /// Without end.
    Always,
    /// For so long.
    For(Duration),
}

/// May somebody with these times be connected at `now_ns` (nanoseconds since 1970)?
pub fn admitted(times: &[TimeRange], zone: &str, now_ns: u64, zones: Zones) -> Admitted {
    if times.is_empty() {
        return Admitted::Always;
    }
    let (Some(zone), Ok(now)) = (zones(zone), Timestamp::from_nanosecond(i128::from(now_ns)))
    else {
        return Admitted::No;
    };
    if !times.iter().all(TimeRange::is_sound) {
        return Admitted::No;
    }
    let left = times
        .iter()
        .filter_map(|range| range.left(now, &zone))
        .max();
    left.map_or(Admitted::No, Admitted::For)
}

/// May somebody come from this address who may from these networks?
pub fn from_there(networks: &[String], address: Option<IpAddr>) -> bool {
    if networks.is_empty() {
        return true;
    }
    let Some(address) = address.map(|it| it.to_canonical()) else {
        return false;
    };
    networks
        .iter()
        .filter_map(|text| network(text))
        .any(|(base, bits)| within(address, base, bits))
}

/// Address and length of its prefix.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let plain = !bits.is_empty() && bits.bytes().all(|it| it.is_ascii_digit());
    let bits: u8 = plain.then(|| bits.parse().ok()).flatten()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    (bits <= max).then_some((address, bits))
}

fn within(address: IpAddr, base: IpAddr, bits: u8) -> bool {
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == base.to_bits() & mask
        }
        _ => false,
    }
}

/// A time of the day: `H:MM:SS` or `HH:MM:SS`.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut next = |shortest: usize| -> Option<i8> {
        let part = parts.next()?;
        let digits = part.bytes().all(|it| it.is_ascii_digit());
        (digits && (shortest..=2).contains(&part.len()))
            .then(|| part.parse().ok())
            .flatten()
    };
    let (hour, minute, second) = (next(1)?, next(2)?, next(2)?);
    parts.next().is_none().then_some(())?;
    Time::new(hour, minute, second, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(name: &str) -> Option<TimeZone> {
        match name {
            "" => Some(TimeZone::UTC),
            "east" => Some(TimeZone::fixed(jiff::tz::offset(3))),
            _ => None,
        }
    }

    #[track_caller]
    fn check(ranges: &[(&str, &str)], zone: &str, now: &str, expected: Option<u64>) {
        let times: Vec<TimeRange> = ranges
            .iter()
            .map(|&(start, end)| TimeRange {
                start: start.into(),
                end: end.into(),
            })
            .collect();
        let now: Timestamp = format!("2026-03-01T{now}Z").parse().expect("a time");
        let now_ns = u64::try_from(now.as_nanosecond()).expect("after 1970");
        let expected = expected.map_or(Admitted::No, |left| {
            Admitted::For(Duration::from_secs(left))
        });
        assert_eq!(admitted(&times, zone, now_ns, zones), expected);
    }

    #[test]
    fn hours_of_the_day() {
        check(&[("11:00:00", "22:00:00")], "", "13:00:00", Some(9 * 3600));
        check(&[("11:00:00", "22:00:00")], "", "22:00:00", None);
        check(&[("11:00:00", "22:00:00")], "", "11:00:00", None);
        check(&[("11:00:00", "22:00:00")], "east", "19:00:00", None);
        check(&[("11:00:00", "22:00:00")], "east", "18:59:59", Some(1));
        // Over midnight, before and after it.
        check(&[("22:00:00", "06:00:00")], "", "23:00:00", Some(7 * 3600));
        check(&[("22:00:00", "06:00:00")], "", "05:00:00", Some(3600));
        check(&[("22:00:00", "06:00:00")], "", "07:00:00", None);
        // The one that lasts longest counts.
        let two = [("10:00:00", "12:00:00"), ("9:00:00", "13:00:00")];
        check(&two, "", "11:00:00", Some(2 * 3600));
        check(&two, "nowhere", "11:00:00", None);
        check(&[("10:00", "12:00:00")], "", "11:00:00", None);
        assert_eq!(admitted(&[], "nowhere", 0, zones), Admitted::Always);
    }

    #[test]
    fn networks() {
        let may = |networks: &[&str], address: &str| {
            let networks: Vec<String> = networks.iter().map(|it| (*it).to_owned()).collect();
            from_there(&networks, address.parse().ok())
        };
        assert!(may(&[], "1.2.3.4") && may(&["0.0.0.0/0"], "1.2.3.4"));
        assert!(may(&["10.0.0.0/8", "1.2.3.0/24"], "1.2.3.4"));
        assert!(!may(&["10.0.0.0/8"], "1.2.3.4") && !may(&["1.2.3.5/32"], "1.2.3.4"));
        assert!(may(&["127.0.0.1/32"], "::ffff:127.0.0.1"));
        assert!(may(&["fe80::/10"], "fe80::1") && !may(&["fe80::/10"], "1.2.3.4"));
        assert!(may(&["::/0"], "::1") && !may(&["1.2.3.4/8"], ""));
        for bad in [
            "",
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "x/8",
            "1.2.3.4/+8",
            "::/129",
        ] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }
}
