//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cases::{Case, Set};
use crate::placement::Placement;
use crate::scenario::Scenario;
use crate::server::{Candidate, Make};
use crate::soak::Soak;

/// Measures servers side by side
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// A stock nats-server; give it twice to see the noise
    #[arg(long, value_name = "PATH", global = true)]
    pub stock: Vec<PathBuf>,
    /// A Ramjet server; give it twice to compare two builds
    #[arg(long, value_name = "PATH", global = true)]
    pub ramjet: Vec<PathBuf>,
    /// Times each server is started and measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub rounds: u32,
    /// Length of the measured window
    #[arg(long, default_value_t = 3.0, value_parser = seconds, global = true)]
    pub seconds: f64,
    /// Time under load before it
    #[arg(long, default_value_t = 0.5, value_parser = seconds, global = true)]
    pub warmup: f64,
    /// Threads of each server; the sets have their own numbers
    #[arg(long, default_value_t = 1, global = true)]
    pub shards: usize,
    /// Where the two sides of a pair sit; Ramjet only
    #[arg(long, value_enum, default_value_t = Placement::Any, global = true)]
    pub placement: Placement,
    /// Of a set, only the cases whose title contains this
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub only: String,
    /// CPUs the servers may use, as 0,1; where a server has more threads than that, neither it
    /// nor the generator is pinned
    #[arg(long, value_delimiter = ',', value_name = "LIST", global = true)]
    pub cpus: Option<Vec<usize>>,
    /// CPUs the generator may use
    #[arg(long, value_delimiter = ',', value_name = "LIST", global = true)]
    pub generator_cpus: Option<Vec<usize>>,
    /// Do not count system calls (they are counted with perf, in a moment after the window)
    #[arg(long, global = true)]
    pub no_system_calls: bool,
    #[command(flatten)]
    pub outputs: Outputs,
    #[command(subcommand)]
    pub choice: Choice,
}

/// Where results go besides the table on the standard output.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Write the table here
    #[arg(long, value_name = "FILE", global = true)]
    pub text: Option<PathBuf>,
    /// Write every run's figures here
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
    /// The same, a line for each run
    #[arg(long, value_name = "FILE", global = true)]
    pub csv: Option<PathBuf>,
    /// Draw the ratios as an SVG
    #[arg(long, value_name = "FILE", global = true)]
    pub plot: Option<PathBuf>,
    /// Write all four and machine.txt below this folder, in one named after the machine
    #[arg(long, value_name = "FOLDER", global = true)]
    pub record: Option<PathBuf>,
}

/// What to run.
#[derive(Debug, Clone, Subcommand)]
pub enum Choice {
    #[command(flatten)]
    One(Scenario),
    /// Every figure of the README's table
    Standard,
    /// The six scenarios that say most
    Quick,
    /// Every scenario, tiny: do they run, and is received sent?
    Smoke,
    /// Request-reply for minutes, judged by the longest pause between two replies
    Soak(Soak),
    /// How fast the generator itself is, against a peer that does nothing
    Ceiling,
}

impl Arguments {
    /// The cases chosen, and the name of their record.
    pub fn cases(&self) -> (String, Vec<Case>) {
        let (name, mut cases) = self.set();
        cases.retain(|case| case.title().contains(&self.only));
        (name, cases)
    }

    fn set(&self) -> (String, Vec<Case>) {
        match &self.choice {
            Choice::Standard => ("standard".into(), Set::Standard.cases()),
            Choice::Quick => ("quick".into(), Set::Quick.cases()),
            Choice::Smoke => ("smoke".into(), Set::Smoke.cases()),
            Choice::One(scenario) => {
                let case = Case {
                    scenario: scenario.clone(),
                    shards: self.shards,
                    placement: self.placement,
                };
                ("scenario".into(), vec![case])
            }
            Choice::Soak(_) | Choice::Ceiling => (String::new(), Vec::new()),
        }
    }

    /// Servers in column order: stock first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let of_make = |make: Make, title: &str, paths: &[PathBuf]| -> Vec<Candidate> {
            paths
                .iter()
                .enumerate()
                .map(|(index, path)| Candidate {
                    name: match paths.len() {
                        1 => title.to_owned(),
                        _ => format!("{title}#{}", index + 1),
                    },
                    make,
                    path: path.clone(),
                })
                .collect()
        };
        let mut candidates = of_make(Make::Stock, "stock", &self.stock);
        candidates.extend(of_make(Make::Ramjet, "ramjet", &self.ramjet));
        candidates
    }

    /// CPUs of a server with so many threads: all where those given are fewer.
    pub fn cpus_for(&self, shards: usize) -> Option<&[usize]> {
        self.cpus.as_deref().filter(|cpus| cpus.len() >= shards)
    }
}

impl Arguments {
    /// CPUs of the generator beside a server with so many threads.
    pub fn generator_cpus_for(&self, shards: usize) -> Option<&[usize]> {
        let fits = self.cpus.is_none() || self.cpus_for(shards).is_some();
        self.generator_cpus.as_deref().filter(|_| fits)
    }
}

/// Parses a length of time.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds up to 86400".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_stand_on_either_side_of_the_scenario() {
        let line = "bench-harness --ramjet a pubsub --size 64 --ramjet b --cpus 0,1 --shards 2";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let names: Vec<String> = arguments
            .candidates()
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(arguments.cpus_for(2), Some(&[0, 1][..]));
        assert_eq!(arguments.cpus_for(4), None);
        assert_eq!(arguments.cases().1[0].title(), "1:1 64 B, 2 shards");
        assert!(!names.is_empty());
    }
}
