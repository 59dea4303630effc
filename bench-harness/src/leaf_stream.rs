//! A leaf's stream that sources one of its hub: how fast it has all that was there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measure::{Observed, Progress, Run};
use crate::stream::{Api, STREAM, Storage, StreamPublish};
use crate::wire::STALL_MAX;

const COPY: &str = "COPY";
/// Between two looks at the copy.
const LOOK: Duration = Duration::from_millis(5);

/// The scenario.
#[derive(Debug, Clone)]
pub struct CatchUp {
    /// Messages the hub's stream has.
    pub messages: u64,
    /// Payload bytes.
    pub size: usize,
}

impl CatchUp {
    /// Runs it; counts messages of the copy.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when some are missing.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        Api::open(run.server.far_dial())?.create_stream(Storage::File)?;
        StreamPublish::fill(self.messages, self.size, run.server.far_dial())?;
        let mut api = Api::open(run.server.dial())?;
        let progress = Progress::default();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (progress, done) = (&progress, &done);
            let copying = scope.spawn(move || {
                while progress.measured_stage().is_none() {
                    thread::sleep(Duration::from_millis(1));
                }
                let copied = self.copy(&mut api, progress);
                done.store(true, Ordering::Relaxed);
                copied
            });
            let observed = progress.observe_until(run, || done.load(Ordering::Relaxed));
            let panicked = Err(BenchError::Panicked { role: "API client" });
            copying.join().unwrap_or(panicked)?;
            let mut observed = observed?;
            observed.verified = self.messages;
            Ok(observed)
        })
    }

    fn copy(&self, api: &mut Api, progress: &Progress) -> Result<(), BenchError> {
        let config = serde_json::json!({
            "name": COPY, "retention": "limits", "storage": "file", "max_consumers": -1,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "discard": "old",
            "num_replicas": 1,
            "sources": [{"name": STREAM, "external": {"api": "$JS.hub.API", "deliver": ""}}],
        });
        api.request(&format!("STREAM.CREATE.{COPY}"), &config.to_string())?;
        let (mut seen, mut last) = (0, Instant::now());
        while seen < self.messages {
            thread::sleep(LOOK);
            let now = api.messages(COPY)?;
            progress.add(now - seen);
            if now > seen {
                last = Instant::now();
            } else if last.elapsed() > STALL_MAX {
                return Err(BenchError::Stalled {
                    role: "source",
                    seconds: STALL_MAX.as_secs(),
                    received: seen,
                    expected: self.messages,
                });
            }
            seen = now;
        }
        match seen == self.messages {
            true => Ok(()),
            false => Err(BenchError::Miscounted {
                role: "source",
                received: seen,
                expected: self.messages,
            }),
        }
    }
}
