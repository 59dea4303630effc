//! Request-reply over the raw protocol: pairs of a requester and a responder, each with a connection
//! and a thread, and a fixed number of requests in flight per pair.
//!
//! A request carries its time of sending in the first eight bytes of its payload; the responder
//! sends the payload back. The clock is read once per read of the socket, for all replies in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::BenchError;
use crate::measure::{Latencies, Observed, Percentiles, Progress, Window, latencies};
use crate::server::Server;
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
}

impl RequestReply {
    /// Runs it against `server`. Each round trip counts two messages.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when a reply is missing.
    pub fn run(&self, server: &Server, window: Window) -> Result<Observed, BenchError> {
        let progress = Progress::default();
        let epoch = Instant::now();
        let requesters_left = AtomicUsize::new(self.pairs);
        let mut responders = Vec::new();
        let mut requesters = Vec::new();
        for pair in 0..self.pairs {
            responders.push(Responder::open(self, pair, server)?);
            requesters.push(Requester::open(self, pair, server, epoch)?);
        }
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
                        let outcome = requester.run(progress);
                        left.fetch_sub(1, Ordering::Relaxed);
                        outcome
                    })
                })
                .collect();
            let observed = progress.observe(window, server);
            let mut all = latencies();
            let (mut asked, mut answered) = (0, 0);
            let mut outcome = Ok(());
            for thread in asking {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "requester" }))
                {
                    Ok((count, some)) => {
                        asked += count;
                        all += some;
                    }
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
            if asked != answered {
                let (received, expected) = (answered, asked);
                return Err(BenchError::Miscounted {
                    role: "responder",
                    received,
                    expected,
                });
            }
            let latency = Some(Percentiles::from(&all));
            Ok(Observed {
                verified: 2 * asked,
                latency,
                ..observed?
            })
        })
    }
}

fn service(pair: usize) -> String {
    format!("bench.service.{pair}")
}

/// Everything of a reply subject but its last token.
fn inbox_prefix(pair: usize) -> String {
    format!("_INBOX.bench{pair}.")
}

struct Requester {
    connection: Connection,
    scanner: Scanner,
    request: Vec<u8>,
    token_at: usize,
    payload_at: usize,
    outstanding: usize,
    inbox: Inbox,
    epoch: Instant,
}

impl Requester {
    fn open(
        scenario: &RequestReply,
        pair: usize,
        server: &Server,
        epoch: Instant,
    ) -> Result<Self, BenchError> {
        let (size, prefix) = (scenario.size, inbox_prefix(pair));
        let wildcard = format!("{prefix}*");
        let connection = Connection::open(server.address(), "requester", Some(&wildcard))?;
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
        let (outstanding, inbox) = (scenario.outstanding, scenario.inbox);
        Ok(Self {
            connection,
            scanner,
            request,
            token_at,
            payload_at,
            outstanding,
            inbox,
            epoch,
        })
    }

    /// Keeps requests in flight until the window is over, then waits for the last reply; returns
    /// the number of round trips and the latencies of those that ended within the window.
    fn run(mut self, progress: &Progress) -> Result<(u64, Latencies), BenchError> {
        let mut buffer = read_buffer();
        let mut batch = Vec::new();
        let mut histogram = latencies();
        let payload_from_end = self.request.len() - self.payload_at;
        let (mut sent, mut received) = (0, 0);
        self.ask(self.outstanding as u64, &mut sent, &mut batch)?;
        let mut last_progress = Instant::now();
        while received < sent {
            let (epoch, measured) = (self.epoch, progress.is_measured());
            let mut read_at = None;
            let found = self
                .connection
                .receive(&mut self.scanner, &mut buffer, |reply| {
                    let now = *read_at.get_or_insert_with(|| nanos_since(epoch));
                    if measured {
                        let asked_at = stamp_of(&reply[reply.len() - payload_from_end..]);
                        histogram.saturating_record(now.saturating_sub(asked_at));
                    }
                })?;
            if found.messages > 0 {
                received += found.messages;
                progress.add(2 * found.messages);
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL_MAX {
                let (role, seconds) = ("requester", STALL_MAX.as_secs());
                return Err(BenchError::Stalled {
                    role,
                    seconds,
                    received,
                    expected: sent,
                });
            }
            if !progress.is_over() {
                self.ask(found.messages, &mut sent, &mut batch)?;
            }
        }
        received += self.connection.barrier(&mut self.scanner, &mut buffer)?;
        if received != sent {
            return Err(BenchError::Miscounted {
                role: "requester",
                received,
                expected: sent,
            });
        }
        Ok((received, histogram))
    }

    /// Sends `count` requests in one write.
    fn ask(&mut self, count: u64, sent: &mut u64, batch: &mut Vec<u8>) -> Result<(), BenchError> {
        if count == 0 {
            return Ok(());
        }
        let stamp = nanos_since(self.epoch).to_le_bytes();
        self.request[self.payload_at..][..STAMP_SIZE].copy_from_slice(&stamp);
        batch.clear();
        for _ in 0..count {
            *sent += 1;
            if self.inbox == Inbox::Unique {
                write_decimal(*sent, &mut self.request[self.token_at..][..TOKEN_SIZE]);
            }
            batch.extend_from_slice(&self.request);
        }
        self.connection.write(batch)
    }
}

struct Responder {
    connection: Connection,
    scanner: Scanner,
    /// Bytes of `MSG <service> 1 `, which a reply replaces by `PUB `.
    head_size: usize,
}

impl Responder {
    fn open(scenario: &RequestReply, pair: usize, server: &Server) -> Result<Self, BenchError> {
        let service = service(pair);
        let connection = Connection::open(server.address(), "responder", Some(&service))?;
        let head = format!("MSG {service} 1 {}", inbox_prefix(pair));
        let rest = format!("{} {}\r\n", "0".repeat(TOKEN_SIZE), scenario.size);
        let length = head.len() + rest.len() + scenario.size + CRLF.len();
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

fn nanos_since(epoch: Instant) -> u64 {
    epoch.elapsed().as_nanos() as u64
}

fn stamp_of(payload: &[u8]) -> u64 {
    payload
        .first_chunk()
        .map_or(0, |stamp| u64::from_le_bytes(*stamp))
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
