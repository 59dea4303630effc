//! Reading what a stream already holds: one consumer that pulls, with or without acknowledging each
//! message. Every message must come once and in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measure::{Observed, Progress, Run};
use crate::reqrep::stalled;
use crate::stream::{Api, STREAM, Storage, StreamPublish};
use crate::wire::{Connection, STALL_MAX, Scanner, read_buffer};

const CONSUMER: &str = "reader";
const INBOX: &str = "_INBOX.read";
/// Pull requests under way, so that the next is there when one is served.
const REQUESTS: usize = 2;

/// The scenario.
#[derive(Debug, Clone)]
pub struct StreamRead {
    /// Messages the stream holds.
    pub messages: u64,
    /// Payload bytes of each.
    pub size: usize,
    /// Messages a pull request asks for.
    pub batch: u64,
    /// Each message is acknowledged.
    pub acknowledged: bool,
    /// Where the messages are.
    pub storage: Storage,
}

impl StreamRead {
    /// Runs it; counts messages delivered.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when one is missing.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let mut api = Api::open(run.server.dial())?;
        api.create_stream(self.storage)?;
        StreamPublish::fill(self.messages, self.size, run.server.dial())?;
        api.request(
            &format!("CONSUMER.CREATE.{STREAM}.{CONSUMER}"),
            &serde_json::json!({"stream_name": STREAM, "action": "", "config": {
                "durable_name": CONSUMER, "name": CONSUMER, "deliver_policy": "all",
                "ack_policy": if self.acknowledged { "explicit" } else { "none" },
                "replay_policy": "instant", "max_ack_pending": 100_000,
            }})
            .to_string(),
        )?;
        let mut connection = Connection::open(run.server.dial(), "reader", &[INBOX])?;
        connection.stay_awake();
        let progress = Progress::default();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (progress, done) = (&progress, &done);
            let reading = scope.spawn(move || {
                let read = self.read(connection, progress);
                done.store(true, Ordering::Relaxed);
                read
            });
            let observed = progress.observe_until(run, || done.load(Ordering::Relaxed));
            let panicked = Err(BenchError::Panicked { role: "reader" });
            reading.join().unwrap_or(panicked)?;
            let mut observed = observed?;
            observed.verified = self.messages;
            Ok(observed)
        })
    }

    fn read(&self, mut connection: Connection, progress: &Progress) -> Result<(), BenchError> {
        let mut scanner = Scanner::of_any_length("MSG bench.");
        let mut buffer = read_buffer();
        let ask = {
            let body = format!("{{\"batch\":{},\"expires\":60000000000}}", self.batch);
            let size = body.len();
            format!(
                "PUB $JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER} {INBOX} {size}\r\n{body}\r\n"
            )
        };
        while progress.measured_stage().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        connection.write(ask.repeat(REQUESTS).as_bytes())?;
        let (mut received, mut last_progress) = (0_u64, Instant::now());
        let mut out = Vec::new();
        while received < self.messages {
            out.clear();
            let mut strange = None;
            let found = connection.receive(&mut scanner, &mut buffer, |message| {
                received += 1;
                let reply = message
                    .split(|&byte| byte == b' ')
                    .nth(3)
                    .unwrap_or_default();
                if stream_sequence(reply) != Some(received) {
                    strange = Some(String::from_utf8_lossy(reply).into_owned());
                }
                if self.acknowledged {
                    out.extend_from_slice(b"PUB ");
                    out.extend_from_slice(reply);
                    out.extend_from_slice(b" 4\r\n+ACK\r\n");
                }
                if received.is_multiple_of(self.batch) {
                    out.extend_from_slice(ask.as_bytes());
                }
            })?;
            if let Some(line) = strange {
                return Err(BenchError::Unexpected {
                    role: "reader",
                    line,
                });
            }
            connection.write(&out)?;
            progress.add(found.messages);
            if found.messages > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL_MAX {
                return Err(stalled(received, self.messages));
            }
        }
        Ok(())
    }
}

/// The stream's sequence in `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>...`.
fn stream_sequence(reply: &[u8]) -> Option<u64> {
    let token = reply.split(|&byte| byte == b'.').nth(5)?;
    std::str::from_utf8(token).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_tells_the_sequence() {
        let reply = b"$JS.ACK.BENCH.reader.1.42.7.1700000000000000000.0";
        assert_eq!(stream_sequence(reply), Some(42));
        assert_eq!(stream_sequence(b"$JS.ACK.BENCH"), None);
    }
}
