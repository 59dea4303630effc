//! The thread that writes the log, and the outputs it writes to.

use std::io::{self, IsTerminal, Write};

use jiff::tz::TimeZone;

use super::error::LogError;
use super::file::LogFile;
use super::line::{Line, Severity, Style};
use super::queue::{Dropped, Item, Queue};
use super::syslog::Syslog;
use crate::options::LogOptions;

/// Where lines go and how they look there.
pub(super) struct Output {
    style: Style,
    sink: Sink,
}

enum Sink {
    Stderr(Vec<u8>),
    File(LogFile),
    Syslog(Syslog),
}

impl Output {
    /// Opens what `options` ask for; a file wins over a remote syslog, that over a local one.
    pub(super) fn open(options: &LogOptions) -> Result<Self, LogError> {
        let sink = if let Some(path) = &options.file {
            Sink::File(LogFile::open(path, options.size_limit, options.max_num)?)
        } else if options.syslog || !options.remote_syslog.is_empty() {
            Sink::Syslog(Syslog::connect(
                &options.remote_syslog,
                crate::ops::process_name(),
            )?)
        } else {
            Sink::Stderr(Vec::new())
        };
        let style = Style {
            pid: std::process::id(),
            logtime: options.logtime,
            zone: if options.logtime_utc {
                TimeZone::UTC
            } else {
                TimeZone::system()
            },
            colour: matches!(sink, Sink::Stderr(_)) && io::stderr().is_terminal(),
        };
        let mut output = Self { style, sink };
        output.rotate_oversized();
        Ok(output)
    }

    /// A file that starts above its limit is rotated at once.
    fn rotate_oversized(&mut self) {
        if let Sink::File(file) = &self.sink
            && file.is_oversized()
        {
            // A failure shows at the next line, which is counted.
            let _ = self.write(&Line::now(Severity::Info, "Rotating logfile...".into()));
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        match &mut self.sink {
            Sink::Stderr(pending) => {
                self.style.append(pending, line, "\n");
                Ok(())
            }
            Sink::File(file) => file.write_line(&self.style, line),
            Sink::Syslog(syslog) => syslog.send(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Stderr(pending) => {
                let result = io::stderr().write_all(pending);
                pending.clear();
                result
            }
            Sink::File(file) => file.flush(),
            Sink::Syslog(_) => Ok(()),
        }
    }

    /// SIGUSR1 (CFG-87): the answer is a line of the log itself.
    fn reopen(&mut self) -> io::Result<()> {
        let line = match &mut self.sink {
            Sink::File(file) => match file.reopen() {
                Ok(()) => Line::now(Severity::Info, "File log re-opened".into()),
                Err(cause) => Line::now(
                    Severity::Error,
                    format!("File log re-open failed, going on with the old file: {cause}"),
                ),
            },
            Sink::Stderr(_) | Sink::Syslog(_) => Line::now(
                Severity::Info,
                "File log re-open ignored, not a file logger".into(),
            ),
        };
        self.rotate_oversized();
        self.write(&line)
    }
}

/// Writes all that comes through `queue`, until the process ends.
pub(super) fn run(queue: &Queue, mut output: Output) {
    let mut items = Vec::new();
    let mut failures = Failures::default();
    loop {
        let dropped = queue.take(&mut items);
        let count = items.len();
        for item in items.drain(..) {
            match item {
                Item::Line(line) => failures.note(output.write(&line)),
                Item::Reopen => failures.note(output.reopen()),
                Item::Replace(next) => {
                    failures.note(output.flush());
                    output = *next;
                }
            }
        }
        for line in dropped_lines(dropped) {
            failures.note(output.write(&line));
        }
        let flushed = output.flush();
        let works = flushed.is_ok();
        failures.note(flushed);
        if works && let Some(line) = failures.report() {
            // The warning itself may fail: then it is the first failure of the next period.
            failures.note(output.write(&line).and_then(|()| output.flush()));
        }
        queue.mark_written(count);
    }
}

fn dropped_lines(dropped: Dropped) -> impl Iterator<Item = Line> {
    let expendable = (dropped.expendable > 0).then(|| {
        let text = format!(
            "Log output is too slow: {} debug and trace lines were dropped",
            dropped.expendable
        );
        Line::now(Severity::Warning, text)
    });
    let important = (dropped.important > 0).then(|| {
        let text = format!(
            "Log output stood still: {} lines were dropped",
            dropped.important
        );
        Line::now(Severity::Error, text)
    });
    expendable.into_iter().chain(important)
}

/// Writes that failed since the last that worked.
#[derive(Default)]
struct Failures {
    count: u64,
    /// Taken a turn later, so that a success within the failing turn does not count as recovery.
    fresh: bool,
}

impl Failures {
    fn note(&mut self, result: io::Result<()>) {
        if let Err(cause) = result {
            if self.count == 0 {
                // The one other place a human may look.
                let _ = writeln!(io::stderr(), "Unable to write the log: {cause}");
            }
            self.count += 1;
            self.fresh = true;
        }
    }

    /// The warning to write once output works again.
    fn report(&mut self) -> Option<Line> {
        if std::mem::take(&mut self.fresh) || self.count == 0 {
            return None;
        }
        let count = std::mem::take(&mut self.count);
        Some(Line::now(
            Severity::Warning,
            format!("Log output works again: at least {count} writes failed before"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told() {
        let dropped = Dropped {
            expendable: 3,
            important: 2,
        };
        let texts: Vec<_> = dropped_lines(dropped).map(|line| line.text).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("3 debug and trace lines"));
        assert!(texts[1].contains("2 lines were dropped"));
        assert_eq!(dropped_lines(Dropped::default()).count(), 0);
    }

    #[test]
    fn failures_are_told_once_output_works() {
        let mut failures = Failures::default();
        assert!(failures.report().is_none());
        failures.note(Err(io::ErrorKind::StorageFull.into()));
        assert!(failures.report().is_none(), "same turn");
        assert!(
            failures
                .report()
                .is_some_and(|line| line.text.contains("at least 1 writes"))
        );
        assert!(failures.report().is_none());
    }
}
