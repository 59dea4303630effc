//! One table for a person, one JSON file for a record.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::error::{BenchError, io_error};
use crate::measure::Observed;

/// All that one call of the harness measured.
#[derive(Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Threads each server was given.
    pub shards: usize,
    /// CPUs the servers were pinned to.
    pub server_cpus: Option<Vec<usize>>,
    /// CPUs the generator was pinned to.
    pub generator_cpus: Option<Vec<usize>>,
    /// Executables by column, as given.
    pub servers: Vec<(String, String)>,
    /// What they did.
    pub scenarios: Vec<Outcome>,
}

/// One scenario's runs.
#[derive(Serialize)]
pub struct Outcome {
    /// The scenario and its knobs.
    pub title: String,
    /// By server, in the order of the columns; one entry per round.
    pub runs: Vec<Vec<Observed>>,
}

/// The machine, as far as it bears on the figures.
#[derive(Serialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors online.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: model
                .unwrap_or("unknown")
                .trim_start_matches(['\t', ' ', ':'])
                .to_owned(),
            cpus: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl Report {
    /// Writes it to `path`.
    ///
    /// # Errors
    /// [`BenchError::Io`].
    pub fn write_json(&self, path: &Path) -> Result<(), BenchError> {
        let file = File::create(path).map_err(io_error("create the JSON file"))?;
        serde_json::to_writer_pretty(file, self)
            .map_err(|error| io_error("write the JSON file")(io::Error::from(error)))
    }
}

/// A line of the table: its title, its digits, and how to take it from a run.
struct Metric {
    title: &'static str,
    digits: usize,
    value: fn(&Observed) -> Option<f64>,
}

const METRICS: &[Metric] = &[
    Metric {
        title: "M messages/s",
        digits: 3,
        value: |run| Some(run.messages as f64 / run.seconds / 1e6),
    },
    Metric {
        title: "server CPU s/M messages",
        digits: 3,
        value: |run| per_million(run.server_cpu_seconds, run.messages),
    },
    Metric {
        title: "p50 us",
        digits: 1,
        value: |run| Some(run.latency?.p50),
    },
    Metric {
        title: "p99 us",
        digits: 1,
        value: |run| Some(run.latency?.p99),
    },
    Metric {
        title: "p99.9 us",
        digits: 1,
        value: |run| Some(run.latency?.p999),
    },
    Metric {
        title: "max us",
        digits: 1,
        value: |run| Some(run.latency?.max),
    },
    Metric {
        title: "server RSS MiB",
        digits: 1,
        value: |run| Some(mebibytes(run.rss_bytes)),
    },
    Metric {
        title: "server cores busy",
        digits: 2,
        value: |run| Some(run.server_cpu_seconds / run.seconds),
    },
    Metric {
        title: "generator cores busy",
        digits: 2,
        value: |run| Some(run.generator_cpu_seconds / run.seconds),
    },
    Metric {
        title: "M received == sent",
        digits: 3,
        value: |run| Some(run.verified as f64 / 1e6),
    },
];

fn per_million(seconds: f64, messages: u64) -> Option<f64> {
    (messages > 0).then(|| seconds / (messages as f64 / 1e6))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Medians, and in brackets the least and the most of the rounds. The last column is the first
/// server over the last.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cpus, kernel } = &self.machine;
        writeln!(
            f,
            "{cpus} x {cpu}, kernel {kernel}, {} server threads",
            self.shards
        )?;
        for outcome in &self.scenarios {
            let rounds = outcome.runs.first().map_or(0, Vec::len);
            writeln!(f, "\n{} (median of {rounds}; least..most)", outcome.title)?;
            write!(f, "  {:<24}", "")?;
            for (name, _) in &self.servers {
                write!(f, "{name:>32}")?;
            }
            match (self.servers.first(), self.servers.last()) {
                (Some((first, _)), Some((last, _))) if first != last => {
                    writeln!(f, "{:>20}", format!("{first}/{last}"))?;
                }
                _ => writeln!(f)?,
            }
            for metric in METRICS {
                outcome.write_metric(f, metric)?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn write_metric(&self, f: &mut fmt::Formatter<'_>, metric: &Metric) -> fmt::Result {
        let columns: Vec<_> = self
            .runs
            .iter()
            .filter_map(|runs| Spread::of(runs.iter().filter_map(metric.value).collect()))
            .collect();
        if columns.len() < self.runs.len() {
            return Ok(());
        }
        write!(f, "  {:<24}", metric.title)?;
        let digits = metric.digits;
        for Spread {
            least,
            median,
            most,
        } in &columns
        {
            let mut cell = format!("{median:.digits$}");
            write!(cell, " ({least:.digits$}..{most:.digits$})")?;
            write!(f, "{cell:>32}")?;
        }
        if let [first, .., last] = columns.as_slice() {
            write!(f, "{:>20.2}", first.median / last.median)?;
        }
        writeln!(f)
    }
}

/// A metric over the rounds.
#[derive(Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            least,
            median: f64::midpoint(values[lower], values[upper]),
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]).unwrap().median, 2.0);
        let even = Spread {
            least: 1.0,
            median: 2.5,
            most: 4.0,
        };
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Some(even));
    }
}
