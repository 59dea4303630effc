//! One line of the log and its bytes as stock writes them (CFG-97).

use std::io::Write as _;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use log::{Level, Record};

/// Target that turns an `error!` into `[FTL]`: a line after which the process ends. The call
/// returns when the line is written.
pub const FATAL: &str = "fatal";

/// Level mark of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Warning,
    Error,
    Fatal,
    Debug,
    Trace,
}

impl Severity {
    pub(super) fn of(record: &Record<'_>) -> Self {
        match record.level() {
            Level::Error if record.target() == FATAL => Self::Fatal,
            level => level.into(),
        }
    }

    /// Lines that may be lost when the writer cannot keep up.
    pub(super) const fn is_expendable(self) -> bool {
        matches!(self, Self::Debug | Self::Trace)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Info => "INF",
            Self::Warning => "WRN",
            Self::Error => "ERR",
            Self::Fatal => "FTL",
            Self::Debug => "DBG",
            Self::Trace => "TRC",
        }
    }

    /// Parameters of the terminal's colour sequence.
    const fn colour(self) -> &'static str {
        match self {
            Self::Info => "32",
            Self::Warning => "0;93",
            Self::Error | Self::Fatal => "31",
            Self::Debug => "36",
            Self::Trace => "33",
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warning,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// A line on its way to the writer.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) severity: Severity,
    pub(super) at: SystemTime,
    pub(super) text: String,
}

impl Line {
    pub(super) fn now(severity: Severity, text: String) -> Self {
        Self {
            severity,
            at: SystemTime::now(),
            text,
        }
    }
}

/// How lines look in a file or on a terminal.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) pid: u32,
    pub(super) logtime: bool,
    pub(super) zone: TimeZone,
    pub(super) colour: bool,
}

impl Style {
    /// Appends `line` and `ending` to `out`; a newline at the end of the text itself is dropped.
    pub(super) fn append(&self, out: &mut Vec<u8>, line: &Line, ending: &str) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "[{}] ", self.pid);
        if self.logtime {
            append_time(out, &local(line.at, &self.zone));
        }
        let label = line.severity.label();
        let _ = if self.colour {
            write!(out, "[\x1b[{}m{label}\x1b[0m] ", line.severity.colour())
        } else {
            write!(out, "[{label}] ")
        };
        let text = line.text.strip_suffix('\n').unwrap_or(&line.text);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(ending.as_bytes());
    }
}

/// `at` in `zone`; the epoch for instants outside of years 1 to 9999.
pub(super) fn local(at: SystemTime, zone: &TimeZone) -> Zoned {
    Timestamp::try_from(at)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(zone.clone())
}

fn append_time(out: &mut Vec<u8>, time: &Zoned) {
    let _ = write!(
        out,
        "{:04}/{:02}/{:02} {:02}:{:02}:{:02}.{:06} ",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1000,
    );
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[track_caller]
    fn check(severity: Severity, logtime: bool, colour: bool, text: &str, expected: &str) {
        let style = Style {
            pid: 42,
            logtime,
            zone: TimeZone::UTC,
            colour,
        };
        let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_012_345);
        let mut out = Vec::new();
        style.append(
            &mut out,
            &Line {
                severity,
                at,
                text: text.into(),
            },
            "\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn cfg_97_plain_lines() {
        check(
            Severity::Info,
            true,
            false,
            "a",
            "[42] 2023/11/14 22:13:20.012345 [INF] a\n",
        );
        check(Severity::Warning, false, false, "a", "[42] [WRN] a\n");
        check(Severity::Error, false, false, "a\n", "[42] [ERR] a\n");
        check(Severity::Fatal, false, false, "a", "[42] [FTL] a\n");
        check(Severity::Debug, false, false, "a\nb", "[42] [DBG] a\nb\n");
        check(Severity::Trace, false, false, "", "[42] [TRC] \n");
    }

    #[test]
    fn cfg_97_colours_of_a_terminal() {
        check(
            Severity::Info,
            false,
            true,
            "a",
            "[42] [\x1b[32mINF\x1b[0m] a\n",
        );
        check(
            Severity::Warning,
            false,
            true,
            "a",
            "[42] [\x1b[0;93mWRN\x1b[0m] a\n",
        );
        check(
            Severity::Fatal,
            false,
            true,
            "a",
            "[42] [\x1b[31mFTL\x1b[0m] a\n",
        );
        check(
            Severity::Debug,
            false,
            true,
            "a",
            "[42] [\x1b[36mDBG\x1b[0m] a\n",
        );
        check(
            Severity::Trace,
            false,
            true,
            "a",
            "[42] [\x1b[33mTRC\x1b[0m] a\n",
        );
    }
}
