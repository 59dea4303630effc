//! Many TLS clients are dropped and come back at once, beside one pair that asks and answers at a
//! fixed rate: what its latency was before and is until all are back, and how long that takes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::nice;

use crate::dial::Dial;
use crate::error::BenchError;
use crate::measure::{Observed, Percentiles, Progress, Run};
use crate::reqrep::{Inbox, RequestReply};
use crate::server::{self, Pinned};
use crate::wire::{Connection, Opening};

/// Threads that bring clients back, at the lowest priority and on one CPU that the measured pair
/// leaves alone: its latency must not be the time it waits for them.
const BRINGERS: usize = 2;
/// Payload of a request.
const SIZE: usize = 128;
/// A storm that lasts longer has failed.
const STORM_MAX: Duration = Duration::from_secs(60);

/// The scenario.
#[derive(Debug, Clone)]
pub struct Storm {
    /// Clients that come back.
    pub clients: usize,
    /// Requests a second of the pair that stays.
    pub rate: u32,
}

/// When the storm is.
#[derive(Default)]
struct Phase {
    begun: AtomicBool,
    back: AtomicUsize,
}

impl Storm {
    /// Runs it: one window without the storm, then another in which it breaks out and which lasts
    /// until all are back.
    ///
    /// # Errors
    /// Any: above all when a client does not come back.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let pair = RequestReply {
            outstanding: 0,
            pairs: 1,
            size: SIZE,
            inbox: Inbox::Unique,
            asleep: true,
            rate: Some(f64::from(self.rate)),
        };
        let shares: Vec<usize> = (0..BRINGERS)
            .map(|it| self.clients / BRINGERS + usize::from(it < self.clients % BRINGERS))
            .collect();
        let dial = run.server.dial();
        let mut here = Vec::new();
        for &share in &shares {
            here.push(bring(share, dial)?);
        }
        let (rest, last) = server::split_cpus()?;
        let _rest = Pinned::to(&rest)?;
        let before = pair.run(run)?.0;
        let phase = Phase::default();
        let begun = Instant::now();
        thread::scope(|scope| {
            let phase = &phase;
            let bringers: Vec<_> = here
                .into_iter()
                .zip(shares)
                .map(|(gone, share)| {
                    let last = last.clone();
                    scope.spawn(move || {
                        let _last = Pinned::to(&last)?;
                        // Where it is forbidden the figures are a little worse.
                        let _ = nice(19);
                        while !phase.begun.load(Ordering::Acquire) {
                            thread::sleep(Duration::from_millis(1));
                        }
                        let begun = Instant::now();
                        drop(gone);
                        let back = bring(share, dial);
                        phase.back.fetch_add(1, Ordering::Release);
                        back.map(|_| begun.elapsed())
                    })
                })
                .collect();
            let during = pair.run_observed(run, |progress: &Progress| {
                progress.observe_until(run, || {
                    phase.begun.store(true, Ordering::Release);
                    phase.back.load(Ordering::Acquire) == BRINGERS || begun.elapsed() > STORM_MAX
                })
            });
            phase.begun.store(true, Ordering::Release);
            let mut longest = Duration::ZERO;
            for bringer in bringers {
                let panicked = BenchError::Panicked { role: "client" };
                longest = longest.max(bringer.join().unwrap_or(Err(panicked))?);
            }
            let mut during = during?.0;
            let p99 = |observed: &Observed| observed.latency.map_or(0.0, |it: Percentiles| it.p99);
            let (calm, stormy) = (p99(&before), p99(&during));
            during.add_figure("p99 us before", calm, 1);
            during.add_figure("times that", stormy / calm, 2);
            during.add_figure("s until all are back", longest.as_secs_f64(), 2);
            during.verified += self.clients as u64;
            Ok(during)
        })
    }
}

/// All of them step by step, so that the server has all of them before it at once.
fn bring(count: usize, dial: &Dial) -> Result<Vec<Connection>, BenchError> {
    let mut coming = Vec::with_capacity(count);
    for _ in 0..count {
        coming.push(Opening::connect(dial, "client that comes back")?);
    }
    coming.iter_mut().try_for_each(Opening::greet)?;
    let mut back = Vec::with_capacity(count);
    for opening in coming {
        back.push(opening.hello(&["bench.storm"])?);
    }
    back.iter_mut().try_for_each(Connection::confirm)?;
    Ok(back)
}
