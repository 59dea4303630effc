//! Times that repeat by the calendar: six fields, as in crontabs with seconds (JS-137).

use jiff::civil;
use jiff::tz::TimeZone;

/// Years in which the next time must come; else there is none.
const YEARS: i16 = 5;
const HOUR: i64 = 3_600;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values of one field, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    values: u64,
    /// It says `*` or `?` somewhere, without a step.
    any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        self.values >> value & 1 == 1
    }
}

/// What a field may say: its least and greatest value, and names of values from the least on.
type Bounds = (u32, u32, &'static [&'static str]);

/// Times at which all fields agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    /// Reads `second minute hour day month weekday`; `None` if that is no pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let mut next = |bounds: Bounds| field(fields.next()?, bounds);
        let cron = Self {
            second: next((0, 59, &[]))?,
            minute: next((0, 59, &[]))?,
            hour: next((0, 23, &[]))?,
            day: next((1, 31, &[]))?,
            month: next((1, 12, &MONTHS))?,
            weekday: next((0, 6, &WEEKDAYS))?,
        };
        fields.next().is_none().then_some(cron)
    }

    /// The first time after `after`, in seconds since 1970, by the clocks of a zone. `None` if
    /// there is none within five years.
    ///
    /// Hours that clocks skip are passed over; those they show twice count twice.
    pub fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let mut at = after.checked_add(1)?;
        let last_year = local(at, zone)?.year().checked_add(YEARS)?;
        loop {
            let time = local(at, zone)?;
            let of_hour = i64::from(time.minute()) * 60 + i64::from(time.second());
            let of_day = i64::from(time.hour()) * HOUR + of_hour;
            if time.year() > last_year {
                return None;
            }
            if !self.month.has(time.month()) {
                let month = time.date().last_of_month();
                at = begin(month.tomorrow().ok()?, zone)?.max(at + 1);
            } else if !self.is_on(time.date()) {
                // Where clocks are set back over midnight the day may have begun already.
                let begin = begin(time.date().tomorrow().ok()?, zone)?;
                at = if begin > at {
                    begin
                } else {
                    at + 24 * HOUR - of_day
                };
            } else if !self.hour.has(time.hour()) {
                at += HOUR - of_hour;
            } else if !self.minute.has(time.minute()) {
                at += 60 - i64::from(time.second());
            } else if !self.second.has(time.second()) {
                at += 1;
            } else {
                return Some(at);
            }
        }
    }

    /// Is a day one of them? Where both fields for days are restricted one is enough.
    fn is_on(&self, date: civil::Date) -> bool {
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(date.weekday().to_sunday_zero_offset());
        match self.day.any || self.weekday.any {
            true => day && weekday,
            false => day || weekday,
        }
    }
}

/// What a zone's clocks show.
fn local(at: i64, zone: &TimeZone) -> Option<civil::DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_second(at).ok()?))
}

/// When a day begins.
fn begin(date: civil::Date, zone: &TimeZone) -> Option<i64> {
    let midnight = zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
    Some(midnight.compatible().ok()?.as_second())
}

/// Values and ranges between commas.
fn field(text: &str, bounds: Bounds) -> Option<Field> {
    let mut field = Field {
        values: 0,
        any: false,
    };
    for part in text.split(',').filter(|it| !it.is_empty()) {
        let (values, any) = range(part, bounds)?;
        field.values |= values;
        field.any |= any;
    }
    (field.values != 0).then_some(field)
}

/// `value`, `first-last`, `*` or `?`, with `/step` behind it or not. A step behind one value goes
/// on to the greatest.
fn range(text: &str, (least, most, names): Bounds) -> Option<(u64, bool)> {
    let mut parts = text.split('/');
    let mut ends = parts.next()?.split('-');
    let step = match parts.next() {
        Some(step) => Some(number(step)?),
        None => None,
    };
    let start = ends.next()?;
    let any = start == "*" || start == "?";
    let (first, last) = if any {
        (least, most)
    } else {
        let first = value(start, least, names)?;
        let last = match ends.next() {
            Some(end) => value(end, least, names)?,
            None if step.is_some() => most,
            None => first,
        };
        if ends.next().is_some() {
            return None;
        }
        (first, last)
    };
    let stride = step.unwrap_or(1);
    if parts.next().is_some() || first < least || last > most || first > last || stride == 0 {
        return None;
    }
    let all = (first..=last).step_by(stride as usize);
    let values = all.fold(0, |values, value| values | 1 << value);
    Some((values, any && stride == 1))
}

/// A number or a name.
fn value(text: &str, least: u32, names: &[&str]) -> Option<u32> {
    let named = names.iter().position(|it| it.eq_ignore_ascii_case(text));
    match named {
        Some(at) => Some(least + u32::try_from(at).ok()?),
        None => number(text),
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZoneDatabase;

    fn times(pattern: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(pattern).expect(pattern);
        let zone = TimeZoneDatabase::bundled().get(zone).expect("a zone");
        let after: jiff::Timestamp = after.parse().expect("a time");
        let mut at = after.as_second();
        let mut found = Vec::new();
        while found.len() < count
            && let Some(next) = cron.next(at, &zone)
        {
            assert!(next > at);
            at = next;
            let time = jiff::Timestamp::from_second(at).expect("a time");
            let time = time.to_zoned(zone.clone());
            found.push(time.strftime("%a %F %T%:z").to_string());
        }
        found
    }

    #[track_caller]
    fn check(pattern: &str, after: &str, expected: &[&str]) {
        let found = times(pattern, "UTC", after, expected.len());
        let found: Vec<&str> = found
            .iter()
            .map(|it| it.strip_suffix("+00:00").expect("UTC"))
            .collect();
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn js_137_fields_agree() {
        let new_year = "2026-01-01T00:00:00Z"; // a Thursday
        for (pattern, expected) in [
            (
                "* * * * * *",
                ["Thu 2026-01-01 00:00:01", "Thu 2026-01-01 00:00:02"],
            ),
            (
                "*/20 * * * * *",
                ["Thu 2026-01-01 00:00:20", "Thu 2026-01-01 00:00:40"],
            ),
            (
                "50/5 59 23 * * *",
                ["Thu 2026-01-01 23:59:50", "Thu 2026-01-01 23:59:55"],
            ),
            (
                "0 30 3-6,20-23 * * *",
                ["Thu 2026-01-01 03:30:00", "Thu 2026-01-01 04:30:00"],
            ),
            (
                "0 0 0 1 1 *",
                ["Fri 2027-01-01 00:00:00", "Sat 2028-01-01 00:00:00"],
            ),
            // Days and weekdays: both, as one of them is free.
            (
                "0 0 0 * JAN-MAR Mon",
                ["Mon 2026-01-05 00:00:00", "Mon 2026-01-12 00:00:00"],
            ),
            (
                "0 0 0 ? mar 1,1",
                ["Mon 2026-03-02 00:00:00", "Mon 2026-03-09 00:00:00"],
            ),
            // One of them, as none is. A step makes it a restriction.
            (
                "0 0 0 13 * fri",
                ["Fri 2026-01-02 00:00:00", "Fri 2026-01-09 00:00:00"],
            ),
            (
                "0 0 0 */30 * sun",
                ["Sun 2026-01-04 00:00:00", "Sun 2026-01-11 00:00:00"],
            ),
            (
                "0 0 0 */1 * sun",
                ["Sun 2026-01-04 00:00:00", "Sun 2026-01-11 00:00:00"],
            ),
            (
                "0 0 0 31 * *",
                ["Sat 2026-01-31 00:00:00", "Tue 2026-03-31 00:00:00"],
            ),
            (
                "0 0 0 29 2 ?",
                ["Tue 2028-02-29 00:00:00", "Sun 2032-02-29 00:00:00"],
            ),
            (
                " 0\t0  ,12, * *  * ",
                ["Thu 2026-01-01 12:00:00", "Fri 2026-01-02 12:00:00"],
            ),
        ] {
            check(pattern, new_year, &expected);
        }
        // A day that never comes.
        assert!(times("0 0 0 31 2 *", "UTC", new_year, 1).is_empty());
        assert!(times("0 0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1).is_empty());
    }

    #[test]
    fn js_137_zones_have_their_own_clocks() {
        let nine = times("0 0 9 * * *", "Europe/Paris", "2026-03-28T10:00:00Z", 2);
        assert_eq!(
            nine,
            [
                "Sun 2026-03-29 09:00:00+02:00",
                "Mon 2026-03-30 09:00:00+02:00"
            ]
        );
        // The hour that is skipped in spring, and the one that comes twice in autumn.
        let skipped = times(
            "0 30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            1,
        );
        assert_eq!(skipped, ["Mon 2026-03-09 02:30:00-04:00"]);
        let twice = times(
            "0 30 1 1 11 *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            3,
        );
        assert_eq!(
            twice,
            [
                "Sun 2026-11-01 01:30:00-04:00",
                "Sun 2026-11-01 01:30:00-05:00",
                "Mon 2027-11-01 01:30:00-04:00",
            ]
        );
        // A day that begins at one.
        let late = times("0 0 * 24 4 *", "Africa/Cairo", "2026-04-23T12:00:00Z", 1);
        assert_eq!(late, ["Fri 2026-04-24 01:00:00+03:00"]);
        // One that is left for the day before once more, half an hour at a time.
        let half = times(
            "0 15 * * * sat",
            "Australia/Lord_Howe",
            "2026-04-03T12:50:00Z",
            2,
        );
        assert_eq!(
            half,
            [
                "Sat 2026-04-04 00:15:00+11:00",
                "Sat 2026-04-04 01:15:00+11:00"
            ]
        );
    }

    #[test]
    fn js_137_what_is_no_pattern() {
        for bad in [
            "",
            "junk",
            "* * * * *",
            "* * * * * * *",
            "61 * * * * *",
            "* 60 * * * *",
            "* * 24 * * *",
            "* * * 0 * *",
            "* * * 32 * *",
            "* * * * 13 *",
            "* * * * * 7",
            "* * * * * -1",
            "5-1 * * * * *",
            "1-2-3 * * * * *",
            "1/2/3 * * * * *",
            "*/0 * * * * *",
            "*/x * * * * *",
            "jan * * * * *",
            "* * * * monday *",
            ", * * * * *",
        ] {
            assert_eq!(Cron::parse(bad), None, "{bad:?}");
        }
        for good in [
            "*/1 ? 0-23/5 1,15 DEC sun-SAT",
            "+5 * * * * *",
            "*-9 * * * * *",
        ] {
            assert!(Cron::parse(good).is_some(), "{good}");
        }
    }
}
