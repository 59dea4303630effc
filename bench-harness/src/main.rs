//! Measures servers side by side: the same load, in turn, in one run.
//!
//! ```text
//! cargo build --release -p ramjet -p bench-harness
//! target/release/bench-harness --stock /usr/bin/nats-server --ramjet target/release/ramjet \
//!     --shards 2 --placement across --rounds 5 --seconds 3 reqrep --outstanding 10
//! target/release/bench-harness --stock A --ramjet B --record perf/record standard
//! target/release/bench-harness --ramjet B --shards 2 --placement across soak --duration 600
//! target/release/bench-harness ceiling                         # the generator's own limit
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
//! either. System calls are counted in a moment after the window, because counting costs time.

mod arguments;
mod cases;
mod ceiling;
mod channel;
mod churn;
mod dial;
mod error;
mod flow;
mod handshakes;
mod idle;
mod isolation;
mod leaf;
mod leaf_announce;
mod leaf_stream;
mod machine;
mod measure;
mod monitoring;
mod pace;
mod paced;
mod pauses;
mod placement;
mod plot;
mod readers;
mod report;
mod reqrep;
mod scenario;
mod server;
mod setup;
mod slow;
mod soak;
mod status;
mod storm;
mod stream;
mod stream_read;
mod streams;
mod system_calls;
mod table;
mod tls;
mod usage;
mod websocket;
mod wire;

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::{Arguments, Choice};
use crate::cases::Case;
use crate::error::{BenchError, io_error};
use crate::machine::{Executable, Machine};
use crate::measure::{Observed, Run, Window};
use crate::report::{Outcome, Report};
use crate::server::{Candidate, Pinned, Server};
use crate::setup::Setup;
use crate::soak::Soak;
use crate::status::Status;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-harness: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), BenchError> {
    let candidates = arguments.candidates();
    if candidates.is_empty() && !matches!(arguments.choice, Choice::Ceiling) {
        let text = "give --stock PATH, --ramjet PATH, or both";
        let kind = clap::error::ErrorKind::MissingRequiredArgument;
        Arguments::command().error(kind, text).exit();
    }
    raise_descriptor_limit();
    match &arguments.choice {
        Choice::Ceiling => {
            let pinned = arguments.generator_cpus_for(1);
            let _pinned = pinned.map(Pinned::to).transpose()?;
            ceiling::run(Duration::from_secs_f64(arguments.seconds))
        }
        Choice::Soak(soak) => run_soak(soak, &candidates, arguments),
        _ => measure_all(&candidates, arguments),
    }
}

/// Thousands of idle connections need as many descriptors, here and in the servers, which inherit
/// the limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Too few are noticed where they are needed.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn measure_all(candidates: &[Candidate], arguments: &Arguments) -> Result<(), BenchError> {
    let (name, cases) = arguments.cases();
    let status = Status::new(cases.len() * candidates.len() * arguments.rounds as usize);
    let mut outcomes = Vec::new();
    for case in cases {
        outcomes.push(measure(case, candidates, arguments, &status)?);
    }
    drop(status);
    let report = Report {
        machine: Machine::this(),
        flags: format!(
            "--rounds {} --seconds {} --warmup {}",
            arguments.rounds, arguments.seconds, arguments.warmup
        ),
        server_cpus: arguments.cpus.clone(),
        generator_cpus: arguments.generator_cpus.clone(),
        servers: candidates.iter().map(Executable::of).collect(),
        outcomes,
    };
    print!("{}", report.table());
    report.write(&arguments.outputs, &name)
}

/// Runs one case in every round on every server.
fn measure(
    case: Case,
    candidates: &[Candidate],
    arguments: &Arguments,
    status: &Status,
) -> Result<Outcome, BenchError> {
    let title = case.title();
    let mut runs = vec![Vec::new(); candidates.len()];
    for round in 0..arguments.rounds {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        if round % 2 == 1 {
            // So that a slow drift of the machine falls on all alike.
            order.reverse();
        }
        for index in order {
            let candidate = &candidates[index];
            status.begin(format!("{title}: {} round {}", candidate.name, round + 1));
            runs[index].push(run_once(&case, candidate, arguments, status)?);
        }
    }
    Ok(Outcome { title, case, runs })
}

fn run_once(
    case: &Case,
    candidate: &Candidate,
    arguments: &Arguments,
    status: &Status,
) -> Result<Observed, BenchError> {
    let cpus = arguments.cpus_for(case.shards);
    let server = Server::start(candidate, case.shards, cpus, &case.scenario.setup())?;
    let pinned = arguments.generator_cpus_for(case.shards);
    let _pinned = pinned.map(Pinned::to).transpose()?;
    let observed = case.scenario.run(&Run {
        server: &server,
        window: Window {
            warmup: Duration::from_secs_f64(arguments.warmup),
            measured: Duration::from_secs_f64(arguments.seconds),
        },
        placement: case.placement,
        count_calls: !arguments.no_system_calls,
        status,
    })?;
    server.stop()?;
    Ok(observed)
}

/// Every server given in turn; the first one whose pauses are too long fails the call.
fn run_soak(
    soak: &Soak,
    candidates: &[Candidate],
    arguments: &Arguments,
) -> Result<(), BenchError> {
    let status = Status::new(candidates.len());
    let mut verdict = Ok(());
    for candidate in candidates {
        status.begin(format!("soak of {} s: {}", soak.duration, candidate.name));
        let shards = arguments.shards;
        let cpus = arguments.cpus_for(shards);
        let server = Server::start(candidate, shards, cpus, &Setup::default())?;
        let pinned = arguments.generator_cpus_for(shards);
        let _pinned = pinned.map(Pinned::to).transpose()?;
        let soaked = soak.run(&Run {
            server: &server,
            window: Window {
                warmup: Duration::ZERO,
                measured: Duration::from_secs_f64(soak.duration),
            },
            placement: arguments.placement,
            count_calls: false,
            status: &status,
        })?;
        server.stop()?;
        println!(
            "\n{}, {} outstanding, {shards} shards{}: {} round trips, {:.3} M messages/s",
            candidate.name,
            soak.outstanding,
            arguments.placement.words(),
            soaked.observed.verified / 2,
            soaked.observed.rate() / 1e6,
        );
        if let Some(placed) = soaked.observed.placed {
            println!("placed as asked at the end: {placed:.2}");
        }
        print!("between two replies:\n{}", soaked.pauses);
        print!("the machine woke a sleeper late by:\n{}", soaked.machine);
        if let Some(path) = &soak.outcome {
            let text = serde_json::to_string_pretty(&soaked)
                .map_err(|error| io_error("write JSON")(io::Error::from(error)))?;
            fs::write(path, text).map_err(io_error("write the outcome"))?;
        }
        verdict = verdict.and(soak.judge(&soaked));
    }
    verdict
}
