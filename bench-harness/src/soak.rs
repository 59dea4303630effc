//! Request-reply for as long as one likes, judged by the longest pause between two replies.
//!
//! A machine that gives nobody a CPU for a while looks like a server that pauses. So a thread that
//! only sleeps for a millisecond at a time tells how late it was woken at worst, and when.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::error::BenchError;
use crate::measure::{Observed, Run};
use crate::pauses::Pauses;
use crate::reqrep::{Inbox, RequestReply};

/// Sleep of the thread that watches the machine.
const NAP: Duration = Duration::from_millis(1);

/// Knobs of the soak.
#[derive(Debug, Clone, Args)]
pub struct Soak {
    /// Seconds to run
    #[arg(long, default_value_t = 600.0, value_parser = crate::arguments::seconds)]
    pub duration: f64,
    /// Longest pause allowed, in milliseconds
    #[arg(long, default_value_t = 100.0)]
    pub max_pause: f64,
    /// Requests in flight
    #[arg(long, default_value_t = 100, value_parser = crate::scenario::at_least_one)]
    pub outstanding: usize,
    /// Payload bytes, 8 at least
    #[arg(long, default_value_t = 128, value_parser = crate::scenario::stamped_payload_size)]
    pub size: usize,
    /// Also write the outcome here, as JSON
    #[arg(long, value_name = "FILE")]
    pub outcome: Option<PathBuf>,
}

/// What a soak found.
#[derive(Serialize)]
pub struct Soaked {
    /// Throughput, CPU and latencies of the whole.
    pub observed: Observed,
    /// Between two replies.
    pub pauses: Pauses,
    /// By how much the machine woke a sleeping thread too late.
    pub machine: Pauses,
}

impl Soak {
    /// Runs it to its end, whatever the pauses.
    ///
    /// # Errors
    /// Any; above all [`BenchError::Stalled`].
    pub fn run(&self, run: &Run<'_>) -> Result<Soaked, BenchError> {
        let load = RequestReply {
            outstanding: self.outstanding,
            pairs: 1,
            size: self.size,
            inbox: Inbox::Unique,
            asleep: true,
            rate: None,
        };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| watch_machine(&over));
            let outcome = load.run(run);
            over.store(true, Ordering::Relaxed);
            let machine = watching
                .join()
                .map_err(|_| BenchError::Panicked { role: "watcher" })?;
            let (observed, pauses) = outcome?;
            Ok(Soaked {
                observed,
                pauses,
                machine,
            })
        })
    }

    /// Judges it.
    ///
    /// # Errors
    /// [`BenchError::Paused`].
    pub fn judge(&self, soaked: &Soaked) -> Result<(), BenchError> {
        let longest_ms = soaked.pauses.longest.as_secs_f64() * 1e3;
        if longest_ms > self.max_pause {
            let max_ms = self.max_pause;
            return Err(BenchError::Paused { longest_ms, max_ms });
        }
        Ok(())
    }
}

fn watch_machine(over: &AtomicBool) -> Pauses {
    let started = Instant::now();
    let mut late = Pauses::default();
    while !over.load(Ordering::Relaxed) {
        let before = Instant::now();
        thread::sleep(NAP);
        late.record(before.elapsed().saturating_sub(NAP), before - started);
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_above_the_limit_fails() {
        let soak = Soak {
            duration: 1.0,
            max_pause: 100.0,
            outstanding: 1,
            size: 8,
            outcome: None,
        };
        let with_pause = |millis| {
            let mut soaked = Soaked {
                observed: Observed::empty(),
                pauses: Pauses::default(),
                machine: Pauses::default(),
            };
            soaked
                .pauses
                .record(Duration::from_millis(millis), Duration::ZERO);
            soak.judge(&soaked)
        };
        assert!(with_pause(100).is_ok());
        assert!(matches!(with_pause(101), Err(BenchError::Paused { .. })));
    }
}
