//! Publishing into a stream: every publisher keeps a number of publishes in flight, each with a reply
//! subject of its own, and what counts is acknowledgements. At the end the stream must hold exactly
//! what was sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;

use crate::dial::Dial;
use crate::error::BenchError;
use crate::measure::{Latencies, Observed, Percentiles, Progress, Run, latencies};
use crate::reqrep::stalled;
use crate::wire::{Connection, STALL_MAX, Scanner, read_buffer};

/// The stream of every run.
pub const STREAM: &str = "BENCH";
const API_INBOX: &str = "_INBOX.api";
/// Digits of the last token of a reply subject.
const TOKEN_SIZE: usize = 10;

/// Where a stream keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

impl Storage {
    /// How the title says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Memory => ", in memory",
        }
    }
}

/// The scenario.
#[derive(Debug, Clone)]
pub struct StreamPublish {
    /// Publishers, each with a subject and a thread.
    pub publishers: usize,
    /// Publishes without an acknowledgement, of each.
    pub outstanding: usize,
    /// Payload bytes.
    pub size: usize,
    /// Where the messages go.
    pub storage: Storage,
}

impl StreamPublish {
    /// Puts `count` messages into the stream.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn fill(count: u64, size: usize, dial: &Dial) -> Result<(), BenchError> {
        let load = Self {
            publishers: 1,
            outstanding: 512,
            size,
            storage: Storage::File,
        };
        let publisher = Publisher::open(&load, 0, dial)?;
        let (progress, epoch) = (Progress::default(), Instant::now());
        publisher.run(Some(count), epoch, &progress, &AtomicU64::new(0))?;
        Ok(())
    }

    /// Runs it; counts acknowledgements.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when one is missing, and [`BenchError::Miscounted`]
    /// when the stream has not what was sent.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let mut api = Api::open(run.server.dial())?;
        api.create_stream(self.storage)?;
        let progress = Progress::default();
        let epoch = Instant::now();
        let last_sequence = AtomicU64::new(0);
        thread::scope(|scope| {
            let (progress, last_sequence) = (&progress, &last_sequence);
            let mut publishing = Vec::with_capacity(self.publishers);
            for number in 0..self.publishers {
                let publisher = Publisher::open(self, number, run.server.dial())?;
                publishing
                    .push(scope.spawn(move || publisher.run(None, epoch, progress, last_sequence)));
            }
            let observed = progress.observe(run);
            let mut all = Published::default();
            let mut outcome = Ok(());
            for thread in publishing {
                let panicked = Err(BenchError::Panicked { role: "publisher" });
                match thread.join().unwrap_or(panicked) {
                    Ok(published) => all.add(&published),
                    Err(error) => outcome = Err(error),
                }
            }
            outcome?;
            let stored = last_sequence.load(Ordering::Relaxed);
            if stored != all.count || api.messages(STREAM)? != all.count {
                return Err(BenchError::Miscounted {
                    role: "stream",
                    received: stored,
                    expected: all.count,
                });
            }
            let mut observed = observed?;
            observed.verified = all.count;
            observed.latency = Some(Percentiles::from(&all.latencies));
            Ok(observed)
        })
    }
}

/// What a publisher has to say at the end.
struct Published {
    count: u64,
    latencies: Latencies,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            count: 0,
            latencies: latencies(),
        }
    }
}

impl Published {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.latencies += &other.latencies;
    }
}

struct Publisher {
    connection: Connection,
    scanner: Scanner,
    publish: Vec<u8>,
    token_at: usize,
    outstanding: usize,
}

impl Publisher {
    fn open(load: &StreamPublish, number: usize, dial: &Dial) -> Result<Self, BenchError> {
        let prefix = format!("_INBOX.bench{number}.");
        let wildcard = format!("{prefix}*");
        let mut connection = Connection::open(dial, "publisher", &[&wildcard])?;
        connection.stay_awake();
        let zeros = "0".repeat(TOKEN_SIZE);
        let mut publish =
            format!("PUB bench.{number} {prefix}{zeros} {}\r\n", load.size).into_bytes();
        let token_at = publish.len() - format!(" {}\r\n", load.size).len() - TOKEN_SIZE;
        publish.resize(publish.len() + load.size, b'x');
        publish.extend_from_slice(b"\r\n");
        Ok(Self {
            connection,
            scanner: Scanner::of_any_length(&format!("MSG {prefix}")),
            publish,
            token_at,
            outstanding: load.outstanding,
        })
    }

    /// Keeps publishes in flight until the window is over or `most` are sent, then waits for the last
    /// acknowledgement.
    fn run(
        mut self,
        most: Option<u64>,
        epoch: Instant,
        progress: &Progress,
        last_sequence: &AtomicU64,
    ) -> Result<Published, BenchError> {
        let mut buffer = read_buffer();
        let mut batch = Vec::new();
        let mut published = Published::default();
        // Of one stream to one publisher they come in the order of its publishes.
        let mut in_flight: VecDeque<(u64, Instant)> = VecDeque::with_capacity(self.outstanding);
        let (mut sent, mut to_send) = (0_u64, self.outstanding as u64);
        let mut last_ack = epoch;
        while published.count < sent || to_send > 0 {
            if to_send > 0 {
                let now = Instant::now();
                batch.clear();
                for _ in 0..to_send {
                    sent += 1;
                    let token = format!("{sent:0TOKEN_SIZE$}");
                    self.publish[self.token_at..][..TOKEN_SIZE].copy_from_slice(token.as_bytes());
                    batch.extend_from_slice(&self.publish);
                    in_flight.push_back((sent, now));
                }
                self.connection.write(&batch)?;
            }
            let measured = progress.measured_stage().is_some();
            let mut refused = None;
            let mut highest = 0;
            let mut read_at = None;
            let found = self
                .connection
                .receive(&mut self.scanner, &mut buffer, |ack| {
                    let now = *read_at.get_or_insert_with(Instant::now);
                    match (sequence(ack), in_flight.pop_front()) {
                        (Some(sequence), Some((number, at))) if token(ack) == Some(number) => {
                            highest = highest.max(sequence);
                            if measured {
                                let nanos = (now - at).as_nanos() as u64;
                                published.latencies.saturating_record(nanos);
                            }
                        }
                        _ => refused = Some(String::from_utf8_lossy(ack).into_owned()),
                    }
                })?;
            if let Some(line) = refused {
                return Err(BenchError::Unexpected {
                    role: "publisher",
                    line,
                });
            }
            if let Some(now) = read_at {
                published.count += found.messages;
                progress.add(found.messages);
                last_sequence.fetch_max(highest, Ordering::Relaxed);
                last_ack = now;
            } else if last_ack.elapsed() > STALL_MAX {
                return Err(stalled(published.count, sent));
            }
            to_send = if progress.is_over() {
                0
            } else {
                most.map_or(found.messages, |most| found.messages.min(most - sent))
            };
        }
        Ok(published)
    }
}

/// The last token of an acknowledgement's subject.
fn token(ack: &[u8]) -> Option<u64> {
    let subject = ack.split(|&byte| byte == b' ').nth(1)?;
    number(subject.rsplit(|&byte| byte == b'.').next()?)
}

/// The sequence in an acknowledgement; `None` for a refusal.
fn sequence(ack: &[u8]) -> Option<u64> {
    const FIELD: &[u8] = b"\"seq\":";
    let at = ack.windows(FIELD.len()).position(|it| it == FIELD)?;
    let digits = ack[at + FIELD.len()..].split(|byte| !byte.is_ascii_digit());
    digits
        .into_iter()
        .find(|it| !it.is_empty())
        .and_then(number)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A connection for requests to the stream's API.
pub struct Api {
    connection: Connection,
    buffer: Vec<u8>,
}

impl Api {
    /// Of that server.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open(dial: &Dial) -> Result<Self, BenchError> {
        Ok(Self {
            connection: Connection::open(dial, "API client", &[API_INBOX])?,
            buffer: read_buffer(),
        })
    }

    /// Makes the stream, which takes every subject of the run.
    ///
    /// # Errors
    /// [`BenchError::Unexpected`] when it is refused.
    pub fn create_stream(&mut self, storage: Storage) -> Result<(), BenchError> {
        let storage = match storage {
            Storage::File => "file",
            Storage::Memory => "memory",
        };
        let config = serde_json::json!({
            "name": STREAM, "subjects": ["bench.>"], "retention": "limits", "storage": storage,
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
            "max_msg_size": -1, "discard": "old", "num_replicas": 1,
            "duplicate_window": 120_000_000_000_u64,
        });
        self.request(&format!("STREAM.CREATE.{STREAM}"), &config.to_string())?;
        Ok(())
    }

    /// Messages a stream holds.
    ///
    /// # Errors
    /// As [`Self::create_stream`].
    pub fn messages(&mut self, stream: &str) -> Result<u64, BenchError> {
        let info = self.request(&format!("STREAM.INFO.{stream}"), "")?;
        let messages = info["state"]["messages"].as_u64();
        messages.ok_or_else(|| unexpected(&info))
    }

    /// Asks, and waits for an answer without an error.
    ///
    /// # Errors
    /// [`BenchError::Unexpected`], [`BenchError::Stalled`].
    pub fn request(&mut self, what: &str, body: &str) -> Result<serde_json::Value, BenchError> {
        let text = format!(
            "PUB $JS.API.{what} {API_INBOX} {}\r\n{body}\r\n",
            body.len()
        );
        self.connection.write(text.as_bytes())?;
        let mut scanner = Scanner::of_any_length(&format!("MSG {API_INBOX} "));
        let asked = Instant::now();
        let mut answer = None;
        while answer.is_none() {
            let each = |message: &[u8]| {
                let body = message.splitn(2, |&byte| byte == b'\n').nth(1);
                answer = body.and_then(|body| serde_json::from_slice(body).ok());
            };
            self.connection
                .receive(&mut scanner, &mut self.buffer, each)?;
            if asked.elapsed() > STALL_MAX {
                return Err(stalled(0, 1));
            }
        }
        let answer: serde_json::Value = answer.unwrap_or_default();
        match answer.get("error") {
            None => Ok(answer),
            Some(_) => Err(unexpected(&answer)),
        }
    }
}

fn unexpected(answer: &serde_json::Value) -> BenchError {
    BenchError::Unexpected {
        role: "API client",
        line: answer.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_tells_its_token_and_its_sequence() {
        let ack = b"MSG _INBOX.bench0.0000000042 1 27\r\n{\"stream\":\"BENCH\",\"seq\":17}\r\n";
        assert_eq!((token(ack), sequence(ack)), (Some(42), Some(17)));
        let refused = b"MSG _INBOX.bench0.0000000042 1 20\r\n{\"error\":{\"code\":503}}\r\n";
        assert_eq!(sequence(refused), None);
    }
}
