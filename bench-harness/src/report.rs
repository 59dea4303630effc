//! One table for a person; JSON, CSV and a chart for a record.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::arguments::Outputs;
use crate::cases::Case;
use crate::error::{BenchError, io_error};
use crate::machine::{Executable, Machine};
use crate::measure::Observed;
use crate::plot;

/// All that one call of the harness measured.
#[derive(Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The command's arguments but for paths.
    pub flags: String,
    /// CPUs the servers were pinned to, where there were enough of them.
    pub server_cpus: Option<Vec<usize>>,
    /// CPUs the generator was pinned to.
    pub generator_cpus: Option<Vec<usize>>,
    /// Executables, in the order of the runs.
    pub servers: Vec<Executable>,
    /// What they did.
    pub outcomes: Vec<Outcome>,
}

/// One case's runs.
#[derive(Serialize)]
pub struct Outcome {
    /// The case and its knobs, in words.
    pub title: String,
    /// The same for a program.
    pub case: Case,
    /// By server; one entry per round.
    pub runs: Vec<Vec<Observed>>,
}

impl Report {
    /// Writes what `outputs` ask for; `name` is that of the record's files.
    ///
    /// # Errors
    /// [`BenchError::Io`], [`BenchError::Plot`].
    pub fn write(&self, outputs: &Outputs, name: &str) -> Result<(), BenchError> {
        let text = |path: &Path| write_file(path, &self.table());
        let csv = |path: &Path| write_file(path, &self.csv());
        let json = |path: &Path| write_file(path, &self.json()?);
        let svg = |path: &Path| plot::draw(self, path);
        if let Some(path) = &outputs.text {
            text(path)?;
        }
        if let Some(path) = &outputs.csv {
            csv(path)?;
        }
        if let Some(path) = &outputs.json {
            json(path)?;
        }
        if let Some(path) = &outputs.plot {
            svg(path)?;
        }
        if let Some(folder) = &outputs.record {
            let folder = folder.join(self.machine.slug());
            fs::create_dir_all(&folder).map_err(io_error("create the record's folder"))?;
            let file = |ending: &str| folder.join(format!("{name}.{ending}"));
            text(&file("txt"))?;
            csv(&file("csv"))?;
            json(&file("json"))?;
            svg(&file("svg"))?;
            write_file(&folder.join("machine.txt"), &self.machine_text())?;
        }
        Ok(())
    }

    fn json(&self) -> Result<String, BenchError> {
        serde_json::to_string_pretty(self)
            .map_err(|error| io_error("write JSON")(io::Error::from(error)))
    }

    /// A line for each run.
    fn csv(&self) -> String {
        let mut out = String::from(
            "case,shards,server,round,messages,seconds,messages_per_second,\
             server_cpu_s_per_million,server_cpu_s,generator_cpu_s,p50_us,p99_us,p999_us,max_us,\
             rss_bytes,system_calls_per_message,received_and_sent,placed,extra\n",
        );
        for outcome in &self.outcomes {
            for (server, runs) in self.servers.iter().zip(&outcome.runs) {
                for (round, run) in runs.iter().enumerate() {
                    let shards = outcome.case.shards;
                    let name = &server.name;
                    // Titles hold commas, and no quotes.
                    let _ = write!(out, "\"{}\",{shards},{name},{}", outcome.title, round + 1);
                    let latency = |value: fn(&crate::measure::Percentiles) -> f64| {
                        run.latency.as_ref().map(value)
                    };
                    for value in [
                        Some(run.messages as f64),
                        Some(run.seconds),
                        Some(run.rate()),
                        run.cpu_per_million(),
                        Some(run.server_cpu_seconds),
                        Some(run.generator_cpu_seconds),
                        latency(|it| it.p50),
                        latency(|it| it.p99),
                        latency(|it| it.p999),
                        latency(|it| it.max),
                        Some(run.rss_bytes as f64),
                        run.system_calls_per_message,
                        Some(run.verified as f64),
                        run.placed,
                    ] {
                        out.push(',');
                        if let Some(value) = value {
                            let _ = write!(out, "{value}");
                        }
                    }
                    let extra: Vec<String> = run
                        .extra
                        .iter()
                        .map(|figure| format!("{}: {}", figure.title, figure.value))
                        .collect();
                    let _ = writeln!(out, ",\"{}\"", extra.join("; "));
                }
            }
        }
        out
    }

    /// What a reader of the record must know.
    pub fn machine_text(&self) -> String {
        let list = |cpus: &Option<Vec<usize>>| {
            cpus.as_ref().map_or("not pinned".to_owned(), |cpus| {
                format!("CPUs {cpus:?}, free where a server has more threads than that")
            })
        };
        let mut out = format!(
            "machine    {}\nflags      {}\nservers    {}\ngenerator  {}\n",
            self.machine,
            self.flags,
            list(&self.server_cpus),
            list(&self.generator_cpus)
        );
        for server in &self.servers {
            let _ = writeln!(out, "{:<11}{}", server.name, server.version);
        }
        out
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text).map_err(io_error("write a result file"))
}
