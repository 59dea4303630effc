//! Connections that do nothing: what each costs in memory, and what all of them cost in CPU.

use std::thread;
use std::time::Duration;

use crate::error::BenchError;
use crate::measure::{Observed, Progress, Run};
use crate::wire::{Connection, Scanner, read_buffer};

/// The stock server asks each new client for a PONG some two seconds after it came; that is not
/// idling yet.
const SETTLING: Duration = Duration::from_millis(2500);

/// The scenario.
#[derive(Debug, Clone)]
pub struct Idle {
    /// Connections, each with one subscription.
    pub connections: usize,
}

impl Idle {
    /// Runs it. At the end every connection must answer.
    ///
    /// # Errors
    /// [`BenchError::Closed`] or [`BenchError::Stalled`] when one does not.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let rss_before = run.server.usage()?.rss_bytes;
        let mut connections = Vec::with_capacity(self.connections);
        for number in 0..self.connections {
            let subject = format!("bench.idle.{number}");
            let dial = run.server.dial();
            connections.push(Connection::open(dial, "idle client", &[&subject])?);
        }
        let rss_after = run.server.usage()?.rss_bytes;
        thread::sleep(SETTLING);
        let mut observed = Progress::default().observe(run)?;
        let grown = rss_after.saturating_sub(rss_before) as f64;
        observed.add_figure("RSS bytes/connection", grown / self.connections as f64, 0);
        let of_a_core = 100.0 * observed.server_cpu_seconds / observed.seconds;
        observed.add_figure("idle CPU, % of a core", of_a_core, 3);
        let mut buffer = read_buffer();
        for connection in &mut connections {
            connection.barrier(&mut Scanner::control_only(), &mut buffer)?;
            observed.verified += 1;
        }
        Ok(observed)
    }
}
