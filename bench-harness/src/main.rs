//! Measures servers side by side: the same load, in turn, in one run.
//!
//! ```text
//! cargo build --release -p ramjet -p bench-harness
//! target/release/bench-harness --stock /usr/bin/nats-server --ramjet target/release/ramjet \
//!     --shards 2 --rounds 5 --seconds 3 reqrep --outstanding 10
//! target/release/bench-harness --stock A --ramjet B --json all.json all
//! target/release/bench-harness --stock A --stock A pubsub      # the noise of this machine
//! target/release/bench-harness --ramjet OLD --ramjet NEW pubsub
//! ```
//!
//! Each round starts every server afresh on a port of its own, runs the scenario, stops it, and
//! goes to the next; every second round goes backwards. Stock gets `GOMAXPROCS=N`, Ramjet
//! `--shards N`. `--cpus 0,1` pins the servers, `--generator-cpus 2,3` the load: without both,
//! request-reply falls into one of two modes by where the scheduler puts the threads (stock, 10
//! outstanding: p50 of 30 or of 100 us in the same run); with both, rounds agree.
//!
//! What counts is a window of `--seconds` after a warm-up. Throughput is messages in that window
//! (delivered ones where there are subscribers), CPU is the server's user and system time in it,
//! latency that of the round trips that ended in it. After it the load stops, and a run fails
//! unless every subscriber has exactly what was sent. On a machine that also runs the generator,
//! trust CPU per message over throughput, and look at "generator cores busy" before you believe
//! either.

mod error;
mod flow;
mod measure;
mod report;
mod reqrep;
mod scenario;
mod server;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::error::BenchError;
use crate::measure::{Observed, Window};
use crate::report::{Machine, Outcome, Report};
use crate::scenario::{Choice, Scenario};
use crate::server::{Candidate, Make, Server, pin_this_thread};

/// Measures servers side by side
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A stock nats-server; give it twice to see the noise
    #[arg(long, value_name = "PATH", required_unless_present = "ramjet")]
    stock: Vec<PathBuf>,
    /// A Ramjet server; give it twice to compare two builds
    #[arg(long, value_name = "PATH")]
    ramjet: Vec<PathBuf>,
    /// Times each server is started and measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of the measured window
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Time under load before it
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup: f64,
    /// Threads of each server
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// CPUs the servers may use, as 0,1
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    cpus: Option<Vec<usize>>,
    /// CPUs the generator may use
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    generator_cpus: Option<Vec<usize>>,
    /// Also write every run's figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    choice: Choice,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-harness: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), BenchError> {
    let candidates = arguments.candidates();
    let mut report = Report {
        machine: Machine::this(),
        shards: arguments.shards,
        server_cpus: arguments.cpus.clone(),
        generator_cpus: arguments.generator_cpus.clone(),
        servers: candidates
            .iter()
            .map(|candidate| (candidate.name.clone(), candidate.path.display().to_string()))
            .collect(),
        scenarios: Vec::new(),
    };
    if let Some(cpus) = &arguments.generator_cpus {
        pin_this_thread(cpus)?;
    }
    for scenario in arguments.choice.scenarios() {
        report
            .scenarios
            .push(measure(&scenario, &candidates, &arguments)?);
    }
    print!("{report}");
    arguments
        .json
        .as_deref()
        .map_or(Ok(()), |path| report.write_json(path))
}

/// Runs one scenario in every round on every server.
fn measure(
    scenario: &Scenario,
    candidates: &[Candidate],
    arguments: &Arguments,
) -> Result<Outcome, BenchError> {
    let mut runs = vec![Vec::new(); candidates.len()];
    for round in 0..arguments.rounds {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        if round % 2 == 1 {
            // So that a slow drift of the machine falls on all alike.
            order.reverse();
        }
        for index in order {
            eprintln!(
                "{}: {} round {}",
                scenario.title(),
                candidates[index].name,
                round + 1
            );
            runs[index].push(run_once(scenario, &candidates[index], arguments)?);
        }
    }
    Ok(Outcome {
        title: scenario.title(),
        runs,
    })
}

fn run_once(
    scenario: &Scenario,
    candidate: &Candidate,
    arguments: &Arguments,
) -> Result<Observed, BenchError> {
    let window = Window {
        warmup: Duration::from_secs_f64(arguments.warmup),
        measured: Duration::from_secs_f64(arguments.seconds),
    };
    let server = Server::start(candidate, arguments.shards, arguments.cpus.as_deref())?;
    let observed = scenario.run(&server, window)?;
    server.stop()?;
    Ok(observed)
}

impl Arguments {
    /// Servers in column order: stock first.
    fn candidates(&self) -> Vec<Candidate> {
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
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds up to 3600".into()),
    }
}
