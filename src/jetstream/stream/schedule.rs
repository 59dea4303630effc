//! When a message is to be sent, as its headers say (JS-137).

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::cron::Cron;
use super::headers;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::timestamp::Timestamp;
use crate::protocol::headers::get;
use crate::time::WallTime;
use crate::time::duration;

const SECOND: u64 = 1_000_000_000;

/// When a message is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Schedule {
    /// Once, then.
    At(WallTime),
    /// Again and again, so many nanoseconds apart.
    Every(u64),
    /// By the clocks of a zone.
    Cron(Box<Cron>, TimeZone),
}

impl Schedule {
    /// What a header block says; `None` if it is no schedule.
    ///
    /// # Errors
    /// 10189 and 10223.
    pub fn of(block: &[u8]) -> Result<Option<Self>, ApiError> {
        let zone = match get(block, headers::SCHEDULE_TIME_ZONE) {
            Some(name) => Some(zone(name).ok_or(errors::MESSAGE_SCHEDULES_TIME_ZONE_INVALID)?),
            None => None,
        };
        let Some(pattern) = get(block, headers::SCHEDULE).filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let schedule = std::str::from_utf8(pattern)
            .ok()
            .and_then(|it| Self::parse(it, zone));
        schedule
            .map(Some)
            .ok_or(errors::MESSAGE_SCHEDULES_PATTERN_INVALID)
    }

    fn parse(pattern: &str, zone: Option<TimeZone>) -> Option<Self> {
        if let Some(time) = pattern.strip_prefix("@at ") {
            let time: Timestamp = time.parse().ok()?;
            return zone.is_none().then(|| Self::At(time.wall()));
        }
        if let Some(span) = pattern.strip_prefix("@every ") {
            let span = u64::try_from(duration::parse(span).ok()?).ok()?;
            return (zone.is_none() && span >= SECOND).then_some(Self::Every(span));
        }
        let fields = match pattern {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            fields => fields,
        };
        let zone = zone.unwrap_or(TimeZone::UTC);
        Some(Self::Cron(Box::new(Cron::parse(fields)?), zone))
    }

    /// Is it sent once only?
    pub fn is_once(&self) -> bool {
        matches!(self, Self::At(_))
    }

    /// The first time after `from`; one that is sent once has one, wherever that is. `None` if
    /// there is none for years.
    pub fn after(&self, from: WallTime) -> Option<WallTime> {
        match self {
            Self::At(time) => Some(*time),
            Self::Every(span) => Some(WallTime(rounded(from).saturating_add(*span))),
            Self::Cron(cron, zone) => {
                let from = i64::try_from(from.0 / SECOND).ok()?;
                let next = u64::try_from(cron.next(from, zone)?).ok()?;
                next.checked_mul(SECOND).map(WallTime)
            }
        }
    }

    /// The next time after one that is due, where that is now: what was missed meanwhile is not
    /// made up for (JS-141).
    pub fn following(&self, due: WallTime, now: WallTime) -> Option<WallTime> {
        let next = self.after(due)?;
        match next < now {
            true => self.after(WallTime(rounded(now))),
            false => Some(next),
        }
    }

    /// A time as the clocks show it that the schedule goes by.
    pub fn shown(&self, time: WallTime) -> Timestamp {
        let shown = Timestamp::from(time);
        let Self::Cron(_, zone) = self else {
            return shown;
        };
        let (seconds, _) = shown.instant();
        let offset = jiff::Timestamp::from_second(seconds).map(|it| zone.to_offset(it));
        shown.in_zone(offset.map_or(0, |it| it.seconds()))
    }
}

/// The nearest whole second.
fn rounded(time: WallTime) -> u64 {
    let above = time.0.saturating_add(SECOND / 2);
    above - above % SECOND
}

/// A zone by its name, written as it is. Its rules are those known when this was built, the same
/// on every machine.
fn zone(name: &[u8]) -> Option<TimeZone> {
    let name = std::str::from_utf8(name).ok()?;
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    (zone.iana_name() == Some(name)).then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> WallTime {
        text.parse::<Timestamp>().expect("a time").wall()
    }

    fn schedule(lines: &str) -> Result<Option<Schedule>, u16> {
        let block = format!("NATS/1.0\r\n{lines}\r\n\r\n");
        Schedule::of(block.as_bytes()).map_err(|it| it.err_code)
    }

    #[test]
    fn js_137_forms() {
        let check = |lines: &str, expected: Result<Option<&str>, u16>| {
            let from = time("2026-11-23T12:34:56.6Z");
            let first = schedule(lines)
                .map(|it| it.map(|it| it.shown(it.after(from).expect("a time")).to_string()));
            let first = first.as_ref().map(Option::as_deref).map_err(|it| *it);
            assert_eq!(first, expected, "{lines}");
        };
        check("X: y", Ok(None));
        check("Nats-Schedule:", Ok(None));
        for (pattern, first) in [
            ("@at 2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z"),
            ("@at 2020-01-01T01:00:00.5+01:00", "2020-01-01T00:00:00.5Z"),
            ("@at 1900-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("@every 1s", "2026-11-23T12:34:58Z"),
            ("@every 1h1.5s", "2026-11-23T13:34:58.5Z"),
            ("@yearly", "2027-01-01T00:00:00Z"),
            ("@annually", "2027-01-01T00:00:00Z"),
            ("@monthly", "2026-12-01T00:00:00Z"),
            ("@weekly", "2026-11-29T00:00:00Z"),
            ("@daily", "2026-11-24T00:00:00Z"),
            ("@midnight", "2026-11-24T00:00:00Z"),
            ("@hourly", "2026-11-23T13:00:00Z"),
            ("0 */5 * * * *", "2026-11-23T12:35:00Z"),
        ] {
            check(&format!("Nats-Schedule: {pattern}"), Ok(Some(first)));
        }
        for bad in [
            "@at",
            "@at x",
            "@every",
            "@every x",
            "@every 999ms",
            "@every -1h",
            "@Daily",
            "never",
        ] {
            check(&format!("Nats-Schedule: {bad}"), Err(10189));
        }
    }

    #[test]
    fn js_137_zones() {
        let check = |pattern: &str, zone: &str, expected: Result<&str, u16>| {
            let lines = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Time-Zone:{zone}");
            let from = time("2026-11-23T12:00:00Z");
            let first = schedule(&lines).map(|it| {
                let it = it.expect("a schedule");
                it.shown(it.after(from).expect("a time")).to_string()
            });
            assert_eq!(first.as_deref().map_err(|it| *it), expected, "{lines}");
        };
        check("@daily", " Europe/Paris", Ok("2026-11-24T00:00:00+01:00"));
        check(
            "@daily",
            " America/St_Johns",
            Ok("2026-11-24T00:00:00-03:30"),
        );
        check("@daily", " Europe/London", Ok("2026-11-24T00:00:00Z"));
        check("@daily", " UTC", Ok("2026-11-24T00:00:00Z"));
        check("@daily", " US/Eastern", Ok("2026-11-24T00:00:00-05:00"));
        for bad in [
            "",
            " ",
            " Nowhere/Land",
            " europe/paris",
            " ../UTC",
            " \u{ff}",
        ] {
            check("@daily", bad, Err(10223));
        }
        check("@every 1h", " Europe/Paris", Err(10189));
        check("@at 2099-01-01T00:00:00Z", " UTC", Err(10189));
        // It is looked at even where nothing is scheduled.
        assert_eq!(schedule("Nats-Schedule-Time-Zone: x"), Err(10223));
        assert_eq!(schedule("Nats-Schedule-Time-Zone: UTC"), Ok(None));
    }

    #[test]
    fn js_141_what_was_missed_is_not_made_up_for() {
        let check = |pattern: &str, due: &str, now: &str, expected: &str| {
            let schedule = schedule(&format!("Nats-Schedule: {pattern}"));
            let schedule = schedule.expect("a pattern").expect("a schedule");
            let next = schedule.following(time(due), time(now)).expect("a time");
            assert_eq!(schedule.shown(next).to_string(), expected, "{pattern}");
        };
        let due = "2026-11-23T12:00:00Z";
        check(
            "@every 10s",
            due,
            "2026-11-23T12:00:03.2Z",
            "2026-11-23T12:00:10Z",
        );
        check(
            "@every 10s",
            due,
            "2026-11-23T12:30:03.2Z",
            "2026-11-23T12:30:13Z",
        );
        check(
            "0 0 * * * *",
            due,
            "2026-11-23T12:00:01Z",
            "2026-11-23T13:00:00Z",
        );
        check(
            "0 0 * * * *",
            due,
            "2026-11-24T07:30:00Z",
            "2026-11-24T08:00:00Z",
        );
    }
}
