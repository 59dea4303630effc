//! A connection that subscribes and unsubscribes at a fixed rate beside the traffic.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measure::{Progress, Run};
use crate::pace::Pace;
use crate::wire::{Connection, Scanner, read_buffer};

/// Between two writes; those due go together.
const STEP: Duration = Duration::from_millis(1);
/// Subscriptions that exist at a time: each ends when as many newer ones exist.
const ALIVE: u64 = 100;

/// The connection, before its time has come.
pub struct Churn {
    connection: Connection,
    rate: u32,
}

impl Churn {
    /// Connects; `rate` subscriptions a second are made, and as many ended.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open(run: &Run<'_>, rate: u32) -> Result<Self, BenchError> {
        let connection = Connection::open(run.server.dial(), "churner", &[])?;
        Ok(Self { connection, rate })
    }

    /// Waits for the second stage and churns to the end of the run; returns how many it made
    /// while that stage was measured.
    ///
    /// # Errors
    /// [`BenchError::Stalled`] when the server does not confirm them at the end.
    pub fn run(&mut self, progress: &Progress) -> Result<u64, BenchError> {
        while progress.stage() == 0 && !progress.is_over() {
            thread::sleep(STEP);
        }
        let mut pace = Pace::start(f64::from(self.rate));
        let mut made = 0;
        let mut batch = String::new();
        while !progress.is_over() {
            batch.clear();
            let before = pace.taken();
            let now = Instant::now();
            while pace.take(now).is_some() {
                let number = pace.taken();
                batch.push_str(&format!("SUB bench.churn.{number} {number}\r\n"));
                if let Some(old) = number.checked_sub(ALIVE).filter(|&old| old > 0) {
                    batch.push_str(&format!("UNSUB {old}\r\n"));
                }
            }
            self.connection.write(batch.as_bytes())?;
            if progress.measured_stage() == Some(1) {
                made += pace.taken() - before;
            }
            thread::sleep(STEP);
        }
        self.connection
            .barrier(&mut Scanner::control_only(), &mut read_buffer())?;
        Ok(made)
    }
}
