//! Request-reply over the raw protocol: pairs of a requester and a responder, each with a connection
//! and a thread, and either a fixed number of requests in flight per pair or a fixed rate
//! (`paced.rs`).
//!
//! A request carries its time of sending in the first eight bytes of its payload; the responder
//! sends the payload back. The clock is read once per read of the socket, for all replies in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::BenchError;
use crate::measure::{Latencies, Observed, Percentiles, Progress, Run, latencies};
use crate::pauses::Pauses;
use crate::wire::{Connection, STALL_MAX, Scanner, read_buffer};

/// Bytes at the front of a payload that hold the time of sending.
pub const STAMP_SIZE: usize = 8;
/// Digits of the last token of a reply subject.
const TOKEN_SIZE: usize = 10;
const CRLF: &[u8] = b"\r\n";

/// Reply subjects a requester uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Inbox {
    /// A new last token for each request under one wildcard subscription, as official clients do.
    Unique,
    /// The same subject for all.
    Fixed,
}

/// The scenario.
#[derive(Debug, Clone)]
pub struct RequestReply {
    /// Requests in flight per pair.
    pub outstanding: usize,
    /// Requester and responder pairs.
    pub pairs: usize,
    /// Payload bytes, [`STAMP_SIZE`] at least.
    pub size: usize,
    /// Reply subjects.
    pub inbox: Inbox,
    /// Both sides sleep while they wait, as most clients do; otherwise they stay awake, so that
    /// it is the server that is measured.
    pub asleep: bool,
    /// Requests a second of each pair, whatever is in flight; `None` keeps `outstanding` in
    /// flight instead.
    pub rate: Option<f64>,
}

impl RequestReply {
    /// Runs it. Each round trip counts two messages.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when a reply is missing.
    pub fn run(&self, run: &Run<'_>) -> Result<(Observed, Pauses), BenchError> {
        self.run_observed(run, |progress| progress.observe(run))
    }

    /// The same for as long as `observe` takes.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_observed(
        &self,
        run: &Run<'_>,
        observe: impl FnOnce(&Progress) -> Result<Observed, BenchError>,
    ) -> Result<(Observed, Pauses), BenchError> {
        let epoch = Instant::now();
        let requesters_left = AtomicUsize::new(self.pairs);
        let mut responders = Vec::new();
        let mut requesters = Vec::new();
        let mut pairs = Vec::new();
        for pair in 0..self.pairs {
            let mut responder = Responder::open(self.size, pair, run)?;
            let mut requester = Requester::open(self.size, pair, run, &responder)?;
            if !self.asleep {
                responder.connection.stay_awake();
                requester.connection.stay_awake();
            }
            pairs.push((requester.connection.id(), responder.connection.id()));
            responders.push(responder);
            requesters.push(requester);
        }
        run.server.settle();
        let progress = Progress::of_pairs(pairs);
        thread::scope(|scope| {
            let (progress, left) = (&progress, &requesters_left);
            let answering: Vec<_> = responders
                .into_iter()
                .map(|responder| scope.spawn(move || responder.run(left)))
                .collect();
            let asking: Vec<_> = requesters
                .into_iter()
                .map(|requester| {
                    scope.spawn(move || {
                        let outcome = match self.rate {
                            Some(rate) => requester.run_paced(rate, epoch, progress),
                            None => self.run_closed(requester, epoch, progress),
                        };
                        left.fetch_sub(1, Ordering::Relaxed);
                        outcome
                    })
                })
                .collect();
            let observed = observe(progress);
            let mut all = Asked::default();
            let mut answered = 0;
            let mut outcome = Ok(());
            for thread in asking {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "requester" }))
                {
                    Ok(asked) => all.add(asked),
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            for thread in answering {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "responder" }))
                {
                    Ok(count) => answered += count,
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            outcome?;
            if all.count != answered {
                return Err(BenchError::Miscounted {
                    role: "responder",
                    received: answered,
                    expected: all.count,
                });
            }
            let mut observed = observed?;
            observed.verified = 2 * all.count;
            observed.latency = Some(Percentiles::from(&all.latencies));
            if self.rate.is_some() {
                observed.add_figure("k requests/s served", observed.rate() / 2000.0, 2);
            }
            Ok((observed, all.pauses))
        })
    }

    fn run_closed(
        &self,
        requester: Requester,
        epoch: Instant,
        progress: &Progress,
    ) -> Result<Asked, BenchError> {
        requester.run(self.outstanding, self.inbox, epoch, progress)
    }
}

/// What a requester has to say at the end.
pub struct Asked {
    /// Round trips.
    pub count: u64,
    /// Of those that ended while it was measured.
    pub latencies: Latencies,
    /// Between replies, over the whole run.
    pub pauses: Pauses,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            count: 0,
            latencies: latencies(),
            pauses: Pauses::default(),
        }
    }
}

impl Asked {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.latencies += other.latencies;
        self.pauses.add(&other.pauses);
    }
}

fn service(pair: usize) -> String {
    format!("bench.service.{pair}")
}

/// Everything of a reply subject but its last token.
fn inbox_prefix(pair: usize) -> String {
    format!("_INBOX.bench{pair}.")
}

/// Asks: a connection, the scanner for its replies, and a request to fill in.
pub struct Requester {
    pub(crate) connection: Connection,
    pub(crate) scanner: Scanner,
    request: Vec<u8>,
    token_at: usize,
    payload_at: usize,
}

impl Requester {
    fn open(
        size: usize,
        pair: usize,
        run: &Run<'_>,
        responder: &Responder,
    ) -> Result<Self, BenchError> {
        let prefix = inbox_prefix(pair);
        let wildcard = format!("{prefix}*");
        let connection = run
            .placement
            .open(run.server, Some(&responder.connection), || {
                Connection::open(run.server.dial(), "requester", &[&wildcard])
            })?;
        let zeros = "0".repeat(TOKEN_SIZE);
        let reply_head = format!("MSG {prefix}{zeros} 1 {size}\r\n");
        let scanner = Scanner::new(
            &format!("MSG {prefix}"),
            reply_head.len() + size + CRLF.len(),
        );
        let mut request = format!("PUB {} {prefix}{zeros} {size}\r\n", service(pair)).into_bytes();
        let token_at = request.len() - format!(" {size}\r\n").len() - TOKEN_SIZE;
        let payload_at = request.len();
        request.resize(payload_at + size, b'x');
        request.extend_from_slice(CRLF);
        Ok(Self {
            connection,
            scanner,
            request,
            token_at,
            payload_at,
        })
    }

    /// The time of sending in a reply.
    pub(crate) fn stamp_of(reply: &[u8], payload_from_end: usize) -> u64 {
        reply[reply.len() - payload_from_end..]
            .first_chunk()
            .map_or(0, |stamp| u64::from_le_bytes(*stamp))
    }

    /// Bytes from the payload's first to the message's last.
    pub(crate) fn payload_from_end(&self) -> usize {
        self.request.len() - self.payload_at
    }

    /// Appends request `number`, or one to the fixed inbox, sent at `stamp`.
    pub(crate) fn append(&mut self, batch: &mut Vec<u8>, number: Option<u64>, stamp: u64) {
        self.request[self.payload_at..][..STAMP_SIZE].copy_from_slice(&stamp.to_le_bytes());
        if let Some(number) = number {
            write_decimal(number, &mut self.request[self.token_at..][..TOKEN_SIZE]);
        }
        batch.extend_from_slice(&self.request);
    }

    /// Keeps requests in flight until the window is over, then waits for the last reply.
    fn run(
        mut self,
        outstanding: usize,
        inbox: Inbox,
        epoch: Instant,
        progress: &Progress,
    ) -> Result<Asked, BenchError> {
        let mut buffer = read_buffer();
        let mut batch = Vec::new();
        let mut asked = Asked::default();
        let payload_from_end = self.payload_from_end();
        let (mut sent, mut to_ask) = (0, outstanding as u64);
        let mut last_reply = Instant::now();
        while asked.count < sent || to_ask > 0 {
            if to_ask > 0 {
                let stamp = nanos_since(epoch);
                batch.clear();
                for _ in 0..to_ask {
                    sent += 1;
                    self.append(&mut batch, (inbox == Inbox::Unique).then_some(sent), stamp);
                }
                self.connection.write(&batch)?;
            }
            let measured = progress.measured_stage().is_some();
            let mut read_at = None;
            let histogram = &mut asked.latencies;
            let found = self
                .connection
                .receive(&mut self.scanner, &mut buffer, |reply| {
                    let now = *read_at.get_or_insert_with(Instant::now);
                    if measured {
                        let asked_at = Self::stamp_of(reply, payload_from_end);
                        let now = (now - epoch).as_nanos() as u64;
                        histogram.saturating_record(now.saturating_sub(asked_at));
                    }
                })?;
            if let Some(now) = read_at {
                asked.count += found.messages;
                progress.add(2 * found.messages);
                asked.pauses.record(now - last_reply, last_reply - epoch);
                last_reply = now;
            } else if last_reply.elapsed() > STALL_MAX {
                return Err(stalled(asked.count, sent));
            }
            to_ask = if progress.is_over() {
                0
            } else {
                found.messages
            };
        }
        self.finish(&mut asked, sent, &mut buffer)?;
        Ok(asked)
    }

    /// Nothing more may come than was asked for.
    pub(crate) fn finish(
        &mut self,
        asked: &mut Asked,
        sent: u64,
        buffer: &mut [u8],
    ) -> Result<(), BenchError> {
        asked.count += self.connection.barrier(&mut self.scanner, buffer)?;
        if asked.count == sent {
            return Ok(());
        }
        Err(BenchError::Miscounted {
            role: "requester",
            received: asked.count,
            expected: sent,
        })
    }
}

/// Replies are missing.
pub(crate) fn stalled(received: u64, expected: u64) -> BenchError {
    BenchError::Stalled {
        role: "requester",
        seconds: STALL_MAX.as_secs(),
        received,
        expected,
    }
}

struct Responder {
    connection: Connection,
    scanner: Scanner,
    /// Bytes of `MSG <service> 1 `, which a reply replaces by `PUB `.
    head_size: usize,
}

impl Responder {
    fn open(size: usize, pair: usize, run: &Run<'_>) -> Result<Self, BenchError> {
        let service = service(pair);
        let connection = Connection::open(run.server.far_dial(), "responder", &[&service])?;
        let head = format!("MSG {service} 1 {}", inbox_prefix(pair));
        let rest = format!("{} {}\r\n", "0".repeat(TOKEN_SIZE), size);
        let length = head.len() + rest.len() + size + CRLF.len();
        let scanner = Scanner::new(&head, length);
        Ok(Self {
            connection,
            scanner,
            head_size: format!("MSG {service} 1 ").len(),
        })
    }

    /// Answers until no requester is left; returns the number of requests.
    fn run(mut self, requesters_left: &AtomicUsize) -> Result<u64, BenchError> {
        let mut buffer = read_buffer();
        let mut batch = Vec::new();
        let mut answered = 0;
        loop {
            batch.clear();
            let head_size = self.head_size;
            let found = self
                .connection
                .receive(&mut self.scanner, &mut buffer, |request| {
                    // What follows `MSG subject sid ` is `reply size` and the payload: a publish.
                    batch.extend_from_slice(b"PUB ");
                    batch.extend_from_slice(&request[head_size..]);
                })?;
            answered += found.messages;
            if found.messages > 0 {
                self.connection.write(&batch)?;
            } else if requesters_left.load(Ordering::Relaxed) == 0 {
                answered += self.connection.barrier(&mut self.scanner, &mut buffer)?;
                return Ok(answered);
            }
        }
    }
}

pub(crate) fn nanos_since(epoch: Instant) -> u64 {
    epoch.elapsed().as_nanos() as u64
}

/// Writes `number` with leading zeros; digits that do not fit are left out.
fn write_decimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_a_fixed_width() {
        let mut digits = [b'x'; 4];
        write_decimal(42, &mut digits);
        assert_eq!(&digits, b"0042");
        write_decimal(123_456, &mut digits);
        assert_eq!(&digits, b"3456");
    }
}
