//! Clients that come over TLS, say hello, have their PONG and go, one after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::dial::Dial;
use crate::error::BenchError;
use crate::measure::{Latencies, Observed, Percentiles, Progress, Run, latencies};
use crate::wire::Connection;

/// The scenario.
#[derive(Debug, Clone)]
pub struct Handshakes {
    /// All but the first few resume a session.
    pub resumed: bool,
    /// At a time, each with a thread.
    pub clients: usize,
}

impl Handshakes {
    /// Runs it; a connection counts as a message.
    ///
    /// # Errors
    /// Any; [`BenchError::Miscounted`] when sessions are not resumed that should be, or are that
    /// should not.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let (progress, dial) = (Progress::default(), run.server.dial());
        let resumed = AtomicU64::new(0);
        thread::scope(|scope| {
            let (progress, resumed) = (&progress, &resumed);
            let clients: Vec<_> = (0..self.clients)
                .map(|_| scope.spawn(|| come_and_go(dial, progress, resumed)))
                .collect();
            let observed = progress.observe(run);
            let (mut all, mut count, mut outcome) = (latencies(), 0, Ok(()));
            for client in clients {
                let panicked = BenchError::Panicked { role: "client" };
                match client.join().unwrap_or(Err(panicked)) {
                    Ok((own, made)) => {
                        all += own;
                        count += made;
                    }
                    Err(error) => outcome = Err(error),
                }
            }
            outcome?;
            // A session cannot be resumed before there is one, and a ticket serves once.
            let resumed = resumed.load(Ordering::Relaxed);
            let expected = if self.resumed { count } else { 0 };
            if resumed.abs_diff(expected) > count / 10 + 2 * self.clients as u64 {
                return Err(BenchError::Miscounted {
                    role: "resuming client",
                    received: resumed,
                    expected,
                });
            }
            let mut observed = observed?;
            observed.verified = count;
            observed.latency = Some(Percentiles::from(&all));
            observed.add_figure("k handshakes/s", observed.rate() / 1000.0, 2);
            Ok(observed)
        })
    }
}

fn come_and_go(
    dial: &Dial,
    progress: &Progress,
    resumed: &AtomicU64,
) -> Result<(Latencies, u64), BenchError> {
    let (mut own, mut made) = (latencies(), 0);
    while !progress.is_over() {
        let begun = Instant::now();
        let connection = Connection::open(dial, "client", &[])?;
        if progress.measured_stage().is_some() {
            own.saturating_record(begun.elapsed().as_nanos() as u64);
        }
        resumed.fetch_add(u64::from(connection.resumed()), Ordering::Relaxed);
        progress.add(1);
        made += 1;
    }
    Ok((own, made))
}
