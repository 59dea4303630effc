//! The table: for each case a line per server and, below, how the last one stands to the first.

use std::fmt::Write as _;

use crate::measure::Observed;
use crate::report::{Outcome, Report};

/// A column: its title, its digits, how to take it from a run, and which way is better.
struct Column {
    title: &'static str,
    width: usize,
    digits: usize,
    better: Better,
    /// Show least and most as well.
    spread: bool,
    value: fn(&Observed) -> Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    Neither,
}

const fn column(
    title: &'static str,
    digits: usize,
    better: Better,
    value: fn(&Observed) -> Option<f64>,
) -> Column {
    Column {
        title,
        width: 10,
        digits,
        better,
        spread: false,
        value,
    }
}

const fn wide(column: Column) -> Column {
    Column {
        width: 25,
        spread: true,
        ..column
    }
}

const COLUMNS: [Column; 10] = [
    wide(column("M messages/s", 3, Better::More, |run| {
        (run.messages > 0).then(|| run.rate() / 1e6)
    })),
    wide(column(
        "CPU s/M messages",
        3,
        Better::Less,
        Observed::cpu_per_million,
    )),
    column("p50 us", 1, Better::Less, |run| Some(run.latency?.p50)),
    column("p99 us", 1, Better::Less, |run| Some(run.latency?.p99)),
    column("p99.9 us", 1, Better::Less, |run| Some(run.latency?.p999)),
    column("RSS MiB", 1, Better::Less, |run| {
        Some(run.rss_bytes as f64 / f64::from(1 << 20))
    }),
    column("calls/msg", 4, Better::Less, |run| {
        run.system_calls_per_message
    }),
    column("gen cores", 2, Better::Neither, |run| {
        Some(run.generator_cpu_seconds / run.seconds)
    }),
    column("placed", 2, Better::Neither, |run| run.placed),
    column("M rcvd=snt", 3, Better::Neither, |run| {
        Some(run.verified as f64 / 1e6)
    }),
];

const NAME_WIDTH: usize = 10;

impl Report {
    /// Medians of the rounds, in brackets the least and the most. A ratio above 1 says that the
    /// last server is better than the first.
    pub fn table(&self) -> String {
        let mut out = self.machine_text();
        out.push('\n');
        let _ = write!(out, "{:<NAME_WIDTH$}", "");
        for column in &COLUMNS {
            let _ = write!(out, "{:>width$}", column.title, width = column.width + 1);
        }
        out.push('\n');
        for outcome in &self.outcomes {
            let rounds = outcome.runs.first().map_or(0, Vec::len);
            let _ = writeln!(out, "\n{} (rounds: {rounds})", outcome.title);
            for (server, runs) in self.servers.iter().zip(&outcome.runs) {
                let cells = COLUMNS.iter().map(|column| column.cell(runs));
                write_line(&mut out, &server.name, cells);
            }
            if outcome.runs.len() > 1 {
                let cells = COLUMNS.iter().map(|column| {
                    let ratio = column.ratio(outcome);
                    ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x"))
                });
                write_line(&mut out, "ratio", cells);
            }
            for (server, runs) in self.servers.iter().zip(&outcome.runs) {
                write_extra(&mut out, &server.name, runs);
            }
        }
        out
    }
}

impl Outcome {
    /// Throughput of the last server over that of the first.
    pub fn throughput_ratio(&self) -> Option<f64> {
        COLUMNS[0].ratio(self)
    }

    /// CPU for each message of the first server over that of the last.
    pub fn cpu_ratio(&self) -> Option<f64> {
        COLUMNS[1].ratio(self)
    }
}

impl Column {
    fn cell(&self, runs: &[Observed]) -> String {
        let digits = self.digits;
        let Some(spread) = Spread::of(runs.iter().filter_map(self.value).collect()) else {
            return "-".to_owned();
        };
        let Spread {
            least,
            median,
            most,
        } = spread;
        if self.spread && runs.len() > 1 {
            format!("{median:.digits$} ({least:.digits$}..{most:.digits$})")
        } else {
            format!("{median:.digits$}")
        }
    }

    /// How much better the last server is than the first.
    fn ratio(&self, outcome: &Outcome) -> Option<f64> {
        let [first, .., last] = outcome.runs.as_slice() else {
            return None;
        };
        let median = |runs: &[Observed]| {
            Some(Spread::of(runs.iter().filter_map(self.value).collect())?.median)
        };
        let (first, last) = (median(first)?, median(last)?);
        let ratio = match self.better {
            Better::More => last / first,
            Better::Less => first / last,
            Better::Neither => return None,
        };
        ratio.is_finite().then_some(ratio)
    }
}

fn write_line(out: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(out, "{name:<NAME_WIDTH$}");
    for (cell, column) in cells.zip(&COLUMNS) {
        let _ = write!(out, "{cell:>width$}", width = column.width + 1);
    }
    let kept = out.trim_end_matches(' ').len();
    out.truncate(kept);
    out.push('\n');
}

/// Figures that only this scenario has, by their place in each run.
fn write_extra(out: &mut String, name: &str, runs: &[Observed]) {
    let Some(first) = runs.first().filter(|run| !run.extra.is_empty()) else {
        return;
    };
    let _ = write!(out, "{name:<NAME_WIDTH$} ");
    for (at, figure) in first.extra.iter().enumerate() {
        let values = runs.iter().filter_map(|run| run.extra.get(at));
        let spread = Spread::of(values.map(|figure| figure.value).collect());
        let median = spread.map_or(figure.value, |spread| spread.median);
        let comma = if at > 0 { "; " } else { "" };
        let digits = figure.digits;
        let _ = write!(out, "{comma}{}: {median:.digits$}", figure.title);
    }
    out.push('\n');
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
    use crate::cases::Set;

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

    #[test]
    fn a_ratio_above_one_is_in_favour_of_the_last() {
        let run = |messages, cpu| Observed {
            messages,
            seconds: 1.0,
            server_cpu_seconds: cpu,
            ..Observed::empty()
        };
        let case = Set::Quick.cases().remove(0);
        let outcome = Outcome {
            title: case.title(),
            case,
            runs: vec![vec![run(1_000_000, 0.5)], vec![run(4_000_000, 0.4)]],
        };
        assert_eq!(outcome.throughput_ratio(), Some(4.0));
        assert_eq!(outcome.cpu_ratio(), Some(5.0));
    }
}
