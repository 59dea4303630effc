//! Texts as Go writes them: times, JSON.

use std::time::Duration;

use serde::Serialize;

use crate::time::WallTime;

/// RFC 3339 in UTC with as many digits of the second as there are.
pub fn time(at: WallTime) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.0))
        .unwrap_or_default()
        .to_string()
}

/// Now.
pub(super) fn now() -> WallTime {
    let nanos = jiff::Timestamp::now().as_nanosecond();
    WallTime(u64::try_from(nanos).unwrap_or_default())
}

/// From one time to a later one.
pub(super) fn since(from: WallTime, to: WallTime) -> Duration {
    Duration::from_nanos(to.0.saturating_sub(from.0))
}

/// `1y2d3h4m5s`, without leading units that are zero (MON-7).
pub(super) fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [
        (seconds / 31_536_000, 'y'),
        (seconds / 86_400 % 365, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let first = units
        .iter()
        .position(|&(count, _)| count > 0)
        .unwrap_or(units.len() - 1);
    units[first..]
        .iter()
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

/// A fraction that is written without a point where it is whole, as Go does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// JSON, indented by two blanks, with the escapes Go adds for HTML and JavaScript.
pub(super) fn json(value: &impl Serialize) -> String {
    escape(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// The same on one line.
pub(super) fn compact_json(value: &impl Serialize) -> String {
    escape(&serde_json::to_string(value).unwrap_or_default())
}

/// These characters stand in JSON only inside strings.
fn escape(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_escaped_as_go_does_it() {
        let value =
            serde_json::json!({ "a<b": "&>\u{2028}\"\u{1}", "none": {}, "empty": [], "n": [1] });
        let expected = "{\n  \"a\\u003cb\": \"\\u0026\\u003e\\u2028\\\"\\u0001\",\n  \"none\": {},\n  \
                        \"empty\": [],\n  \"n\": [\n    1\n  ]\n}";
        assert_eq!(json(&value), expected);
        let numbers = [0.0, 2.0, 0.6, 1e-7, 0.4666666666666667].map(Number);
        assert_eq!(compact_json(&numbers), "[0,2,0.6,1e-7,0.4666666666666667]");
    }

    #[test]
    fn mon_007_times_have_as_many_digits_as_they_need() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(time(WallTime(nanos)), expected);
        }
    }

    #[test]
    fn mon_007_uptime_has_no_leading_zero_units() {
        let cases = [
            (0, "0s"),
            (61, "1m1s"),
            (3600, "1h0m0s"),
            (31_536_000, "1y0d0h0m0s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(uptime(Duration::from_secs(seconds)), expected);
        }
    }
}
