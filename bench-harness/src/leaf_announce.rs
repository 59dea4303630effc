//! What the two ends of a leaf link have subscribed to is told when the link begins: how fast.

use std::fmt::Write as _;
use std::thread;
use std::time::Instant;

use crate::dial::Dial;
use crate::error::BenchError;
use crate::measure::{Observed, Progress, Run};
use crate::wire::{Connection, STALL_MAX, Scanner, read_buffer};

/// The scenario.
#[derive(Debug, Clone)]
pub struct Announce {
    /// Subscriptions told each time.
    pub subscriptions: usize,
    /// The leaf tells the hub; otherwise the hub tells the leaf what its client has subscribed to.
    pub inwards: bool,
}

impl Announce {
    /// Runs it; counts subscriptions told.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when some are missing.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let subscriber = match self.inwards {
            true => None,
            false => Some(self.subscribe(run)?),
        };
        let progress = Progress::default();
        let dial = run.server.dial();
        let (observed, told) = thread::scope(|scope| {
            let linking = scope.spawn(|| self.link_over_and_over(dial, &progress));
            let observed = progress.observe(run);
            let panicked = Err(BenchError::Panicked { role: "leaf" });
            (observed, linking.join().unwrap_or(panicked))
        });
        drop(subscriber);
        let (told, mut observed) = (told?, observed?);
        observed.verified = told;
        Ok(observed)
    }

    /// A client of the hub with all the subscriptions.
    fn subscribe(&self, run: &Run<'_>) -> Result<Connection, BenchError> {
        let mut client = Connection::open(&run.server.plain_dial(), "subscriber", &[])?;
        let mut text = String::new();
        for number in 0..self.subscriptions {
            let _ = write!(text, "SUB {} {}\r\n", subject(number), number + 1);
        }
        client.write(text.as_bytes())?;
        client.barrier(&mut Scanner::control_only(), &mut read_buffer())?;
        Ok(client)
    }

    fn link_over_and_over(&self, dial: &Dial, progress: &Progress) -> Result<u64, BenchError> {
        let mut text = String::new();
        for number in 0..self.subscriptions {
            let _ = write!(text, "LS+ {}\r\n", subject(number));
        }
        let mut buffer = read_buffer();
        let mut told = 0;
        while !progress.is_over() {
            let mut leaf = Connection::open(dial, "leaf", &[])?;
            if self.inwards {
                leaf.write(text.as_bytes())?;
                leaf.barrier(&mut Scanner::control_only(), &mut buffer)?;
                progress.add(self.subscriptions as u64);
                told += self.subscriptions as u64;
                continue;
            }
            // Some have come with the handshake.
            let (mut seen, mut last) = (leaf.told(), Instant::now());
            progress.add(seen);
            told += seen;
            while seen < self.subscriptions as u64 {
                let mut scanner = Scanner::control_only();
                let found = leaf.receive(&mut scanner, &mut buffer, |_| ())?;
                seen += found.interests;
                progress.add(found.interests);
                told += found.interests;
                if found.interests > 0 {
                    last = Instant::now();
                } else if last.elapsed() > STALL_MAX {
                    return Err(BenchError::Stalled {
                        role: "leaf",
                        seconds: STALL_MAX.as_secs(),
                        received: seen,
                        expected: self.subscriptions as u64,
                    });
                }
            }
        }
        Ok(told)
    }
}

fn subject(number: usize) -> String {
    format!("bench.{number}.told")
}
