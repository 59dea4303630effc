//! The measured window: generators run before, during and after it, and only what happens between
//! its two edges counts.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::BenchError;
use crate::server::{Server, Usage};
use crate::wire::STALL_MAX;

/// Latencies in nanoseconds with three significant digits.
pub type Latencies = Histogram<u64>;

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

/// Where the run is, seen by every generator thread.
#[derive(Default)]
pub struct Progress {
    phase: AtomicU8,
    messages: AtomicU64,
}

const MEASURED: u8 = 1;
const OVER: u8 = 2;

impl Progress {
    /// True once generators must send nothing new.
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    /// True while latencies count.
    pub fn is_measured(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == MEASURED
    }

    /// Counts messages of the kind the scenario is judged by; called once per read or write, not
    /// per message.
    pub fn add(&self, messages: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
    }

    /// Lets the generators run through `window` and ends it for them.
    ///
    /// # Errors
    /// [`BenchError::Proc`] when the server died; the window is over then as well.
    pub fn observe(&self, window: Window, server: &Server) -> Result<Observed, BenchError> {
        thread::sleep(window.warmup);
        let before = self.edge(server);
        self.phase.store(MEASURED, Ordering::Relaxed);
        thread::sleep(window.measured);
        let after = self.edge(server);
        self.phase.store(OVER, Ordering::Relaxed);
        Ok(Observed::between(&before?, &after?))
    }

    fn edge(&self, server: &Server) -> Result<Edge, BenchError> {
        Ok(Edge {
            at: Instant::now(),
            messages: self.messages.load(Ordering::Relaxed),
            server: server.usage()?,
            generator: Usage::of_generator()?,
        })
    }
}

struct Edge {
    at: Instant,
    messages: u64,
    server: Usage,
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
}

impl Observed {
    fn between(before: &Edge, after: &Edge) -> Self {
        Self {
            messages: after.messages - before.messages,
            seconds: (after.at - before.at).as_secs_f64(),
            server_cpu_seconds: after.server.cpu_seconds - before.server.cpu_seconds,
            generator_cpu_seconds: after.generator.cpu_seconds - before.generator.cpu_seconds,
            rss_bytes: after.server.rss_bytes,
            verified: 0,
            latency: None,
        }
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
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
