//! The measured window: generators run before, during and after it, and only what happens between
//! its two edges counts. A scenario may have two stages, each with a window of its own: the same
//! load with and without what it examines.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::BenchError;
use crate::placement::{Pair, Placement};
use crate::server::Server;
use crate::status::Status;
use crate::system_calls;
use crate::usage::Usage;
use crate::wire::STALL_MAX;

/// Latencies in nanoseconds with three significant digits.
pub type Latencies = Histogram<u64>;

/// Between two looks at the clock for the progress line.
const TICK: Duration = Duration::from_millis(100);

/// An empty histogram, up to the time after which a run has failed anyway.
pub fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, STALL_MAX.as_nanos() as u64, 3)
        .expect("within the bounds hdrhistogram takes")
}

/// How long to run.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Before counting starts.
    pub warmup: Duration,
    /// While counting.
    pub measured: Duration,
}

/// One run of a scenario: on whom, for how long, where its connections shall sit.
pub struct Run<'a> {
    /// Takes the load.
    pub server: &'a Server,
    /// Before and while counting.
    pub window: Window,
    /// Of the two sides of a pair.
    pub placement: Placement,
    /// Count system calls after the window.
    pub count_calls: bool,
    /// Shows how far it is.
    pub status: &'a Status,
}

/// Where the run is, seen by every generator thread.
#[derive(Default)]
pub struct Progress {
    stage: AtomicUsize,
    measuring: AtomicBool,
    over: AtomicBool,
    messages: AtomicU64,
    /// Connections whose placement is looked at when the window ends.
    pairs: Vec<Pair>,
}

/// Ends the run for the generators, whatever ended it for the observer.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Progress {
    /// Of a run whose `pairs` were placed as asked.
    pub fn of_pairs(pairs: Vec<Pair>) -> Self {
        Self {
            pairs,
            ..Self::default()
        }
    }

    /// True once generators must send nothing new.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Which stage it is, whether measured or not.
    pub fn stage(&self) -> usize {
        self.stage.load(Ordering::Relaxed)
    }

    /// The stage while latencies count.
    pub fn measured_stage(&self) -> Option<usize> {
        self.measuring.load(Ordering::Relaxed).then(|| self.stage())
    }

    /// Counts messages of the kind the scenario is judged by; called once per read or write, not
    /// per message.
    pub fn add(&self, messages: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
    }

    fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Lets the generators run through one window and ends it for them.
    ///
    /// # Errors
    /// [`BenchError::Proc`] when the server died; the run is over then as well.
    pub fn observe(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let [only] = self.observe_stages(run, |_| Ok(()))?;
        Ok(only)
    }

    /// The same for `N` stages; `prepare` is called before each.
    ///
    /// # Errors
    /// As [`Self::observe`], and what `prepare` returns.
    pub fn observe_stages<const N: usize>(
        &self,
        run: &Run<'_>,
        mut prepare: impl FnMut(usize) -> Result<(), BenchError>,
    ) -> Result<[Observed; N], BenchError> {
        let _end = EndOnDrop(&self.over);
        let mut all = Vec::with_capacity(N);
        for stage in 0..N {
            prepare(stage)?;
            self.stage.store(stage, Ordering::Relaxed);
            self.wait(run, run.window.warmup);
            let before = self.edge(run.server)?;
            self.measuring.store(true, Ordering::Relaxed);
            self.wait(run, run.window.measured);
            let after = self.edge(run.server)?;
            self.measuring.store(false, Ordering::Relaxed);
            all.push(Observed::between(&before, &after));
        }
        if let Some(last) = all.last_mut() {
            last.placed = run.placement.held(run.server, &self.pairs)?;
            if let (true, Some(cpu)) = (run.count_calls, last.cpu_per_million()) {
                let calls = system_calls::per_cpu_second(run.server.process());
                last.system_calls_per_message = calls.map(|calls| calls * cpu / 1e6);
            }
        }
        Ok(all
            .try_into()
            .unwrap_or_else(|_| unreachable!("one for each of N stages")))
    }

    /// One window after the warm-up that lasts until `done`, which is asked every millisecond.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn observe_until(
        &self,
        run: &Run<'_>,
        mut done: impl FnMut() -> bool,
    ) -> Result<Observed, BenchError> {
        let _end = EndOnDrop(&self.over);
        self.wait(run, run.window.warmup);
        let before = self.edge(run.server)?;
        self.measuring.store(true, Ordering::Relaxed);
        while !done() {
            thread::sleep(Duration::from_millis(1));
        }
        self.measuring.store(false, Ordering::Relaxed);
        Ok(Observed::between(&before, &self.edge(run.server)?))
    }

    /// Sleeps, and shows the rate meanwhile.
    fn wait(&self, run: &Run<'_>, length: Duration) {
        let until = Instant::now() + length;
        let mut seen = (Instant::now(), self.messages());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(TICK));
            let now = (Instant::now(), self.messages());
            let rate = (now.1 - seen.1) as f64 / (now.0 - seen.0).as_secs_f64();
            run.status.show(rate);
            seen = now;
        }
    }

    fn edge(&self, server: &Server) -> Result<Edge, BenchError> {
        Ok(Edge {
            at: Instant::now(),
            messages: self.messages(),
            server: server.usage()?,
            hub: server.hub_usage()?,
            generator: Usage::of_generator()?,
        })
    }
}

struct Edge {
    at: Instant,
    messages: u64,
    server: Usage,
    hub: Option<Usage>,
    generator: Usage,
}

/// What one run of one server gave.
#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    /// Messages counted within the window.
    pub messages: u64,
    /// Length of the window.
    pub seconds: f64,
    /// The server's user and system time within it.
    pub server_cpu_seconds: f64,
    /// The generator's.
    pub generator_cpu_seconds: f64,
    /// The server's resident memory at its end.
    pub rss_bytes: u64,
    /// Messages over the whole run, warm-up and drain included: sent, and found received.
    pub verified: u64,
    /// Latency percentiles in microseconds, for scenarios that have them.
    pub latency: Option<Percentiles>,
    /// System calls of the server for each message, counted in a moment of their own.
    pub system_calls_per_message: Option<f64>,
    /// Part of the pairs that still sat as asked when the window ended.
    pub placed: Option<f64>,
    /// What only this scenario has.
    pub extra: Vec<Figure>,
}

/// A figure that only one scenario has.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// With its unit.
    pub title: &'static str,
    /// Its value.
    pub value: f64,
    /// Digits shown after the point.
    pub digits: usize,
}

impl Observed {
    fn between(before: &Edge, after: &Edge) -> Self {
        let mut observed = Self {
            messages: after.messages - before.messages,
            seconds: (after.at - before.at).as_secs_f64(),
            server_cpu_seconds: after.server.cpu_seconds - before.server.cpu_seconds,
            generator_cpu_seconds: after.generator.cpu_seconds - before.generator.cpu_seconds,
            rss_bytes: after.server.rss_bytes,
            verified: 0,
            latency: None,
            system_calls_per_message: None,
            placed: None,
            extra: Vec::new(),
        };
        if let (Some(before), Some(after)) = (before.hub, after.hub)
            && observed.messages > 0
        {
            let millions = observed.messages as f64 / 1e6;
            let of_hub = after.cpu_seconds - before.cpu_seconds;
            observed.add_figure("hub's CPU s/M", of_hub / millions, 3);
            let of_leaf = observed.server_cpu_seconds - of_hub;
            observed.add_figure("leaf's CPU s/M", of_leaf / millions, 3);
        }
        observed
    }

    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// The server's CPU seconds for a million messages; `None` without messages.
    pub fn cpu_per_million(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.server_cpu_seconds / (self.messages as f64 / 1e6))
    }

    /// Adds a figure of this scenario alone.
    pub fn add_figure(&mut self, title: &'static str, value: f64, digits: usize) {
        self.extra.push(Figure {
            title,
            value,
            digits,
        });
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl From<&Latencies> for Percentiles {
    fn from(latencies: &Latencies) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        Self {
            p50: micros(latencies.value_at_quantile(0.5)),
            p99: micros(latencies.value_at_quantile(0.99)),
            p999: micros(latencies.value_at_quantile(0.999)),
            max: micros(latencies.max()),
        }
    }
}

#[cfg(test)]
impl Observed {
    /// A run in which nothing happened.
    pub fn empty() -> Self {
        let edge = || Edge {
            at: Instant::now(),
            messages: 0,
            server: Usage::default(),
            hub: None,
            generator: Usage::default(),
        };
        Self::between(&edge(), &edge())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds_and_within_three_digits() {
        let mut all = latencies();
        for micros in 1..=1000_u64 {
            all.record(micros * 1000).unwrap();
        }
        let got = Percentiles::from(&all);
        for (value, expected) in [
            (got.p50, 500.0),
            (got.p99, 990.0),
            (got.p999, 999.0),
            (got.max, 1000.0),
        ] {
            assert!((value / expected - 1.0).abs() < 0.001, "{got:?}");
        }
    }

    #[test]
    fn a_latency_beyond_the_bound_counts_as_the_bound() {
        let mut all = latencies();
        all.saturating_record(u64::MAX);
        assert!(all.max() >= STALL_MAX.as_nanos() as u64);
    }

    #[test]
    fn cpu_is_for_a_million_messages() {
        let mut observed = Observed {
            messages: 2_000_000,
            seconds: 0.5,
            server_cpu_seconds: 0.4,
            ..Observed::empty()
        };
        assert_eq!(observed.cpu_per_million(), Some(0.2));
        assert_eq!(observed.rate(), 4e6);
        observed.messages = 0;
        assert_eq!(observed.cpu_per_million(), None);
    }
}
