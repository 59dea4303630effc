//! One publisher at a fixed rate, many subscribers, and in the second stage one more that does not
//! read. What counts is the latency of the others, with and without it, from the time a message was
//! meant to be sent.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::dial::{Dial, Wire};
use crate::error::{BenchError, io_error};
use crate::measure::{Latencies, Observed, Percentiles, Progress, Run, latencies};
use crate::pace::Pace;
use crate::readers::{Reader, Sent, Subscriber};
use crate::reqrep::STAMP_SIZE;
use crate::wire::{Connection, Scanner, publish_block, read_buffer};

const SUBJECT: &str = "bench.slow";
/// Fills the stalled one's queue; nobody else listens to it.
const FILL: &str = "bench.fill";
/// Payload of what fills.
const FILL_SIZE: usize = 1024;
/// Bytes waiting for the stalled one when it counts: more than any socket buffer, and less than
/// the 64 MiB of `max_pending` at which it would be closed.
const FILL_BYTES: usize = 16 << 20;
/// Receive buffer of the one that does not read, as small as the kernel allows.
const STALLED_BUFFER: usize = 4096;

/// The scenario.
#[derive(Debug, Clone)]
pub struct Slow {
    /// Those that read.
    pub subscribers: usize,
    /// Messages a second.
    pub rate: u32,
    /// Payload bytes, [`STAMP_SIZE`] at least.
    pub size: usize,
}

impl Slow {
    /// Runs it; counts deliveries to those that read.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] when one that reads misses a message.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let dial = run.server.dial();
        let head = match dial.wire {
            Wire::Leaf => format!("LMSG {SUBJECT} {}\r\n", self.size),
            _ => format!("MSG {SUBJECT} 1 {}\r\n", self.size),
        };
        let mut subscribers = Vec::with_capacity(self.subscribers);
        for _ in 0..self.subscribers {
            let connection = Connection::open(dial, "subscriber", &[SUBJECT])?;
            let scanner = Scanner::new(&head, head.len() + self.size + 2);
            subscribers.push(Subscriber::new(connection, scanner, 0));
        }
        let mut readers = Reader::share(subscribers);
        let publisher = Connection::open(&publishers_dial(run), "publisher", &[])?;
        let (progress, sent) = (Progress::default(), Sent::new(1, 1));
        let epoch = Instant::now();
        let by_stage = Mutex::new([latencies(), latencies()]);
        // Held to the end of the run.
        let mut stalled = None;
        thread::scope(|scope| {
            let (progress, sent, by_stage) = (&progress, &sent, &by_stage);
            let reading: Vec<_> = readers
                .iter_mut()
                .map(|reader| scope.spawn(|| self.read(reader, epoch, progress, sent, by_stage)))
                .collect();
            let publishing = scope.spawn(|| {
                let outcome = self.publish(publisher, epoch, progress);
                sent.finish(0, *outcome.as_ref().unwrap_or(&0));
                outcome
            });
            let stages: Result<[Observed; 2], _> = progress.observe_stages(run, |stage| {
                if stage == 1 {
                    stalled = Some(stall(run)?);
                }
                Ok(())
            });
            let mut outcome = publishing
                .join()
                .unwrap_or(Err(BenchError::Panicked { role: "publisher" }))
                .map(|_| ());
            let mut received = 0;
            for thread in reading {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "subscriber" }))
                {
                    Ok(count) => received += count,
                    Err(error) => outcome = Err(error),
                }
            }
            outcome?;
            let [_, mut last] = stages?;
            let of_stages = by_stage
                .lock()
                .map_err(|_| BenchError::Panicked { role: "subscriber" })?;
            let [without, with] = [&of_stages[0], &of_stages[1]].map(Percentiles::from);
            last.verified = received;
            last.latency = Some(with);
            last.add_figure("p99 us, none stalled", without.p99, 1);
            last.add_figure("p99 moved %", 100.0 * (with.p99 / without.p99 - 1.0), 1);
            Ok(last)
        })
    }

    fn read(
        &self,
        reader: &mut Reader,
        epoch: Instant,
        progress: &Progress,
        sent: &Sent,
        by_stage: &Mutex<[Latencies; 2]>,
    ) -> Result<u64, BenchError> {
        let mut own = [latencies(), latencies()];
        let from_end = self.size + 2;
        let received = reader.run(progress, sent, |message| {
            if let Some(stage) = progress.measured_stage() {
                let stamp = message[message.len() - from_end..].first_chunk();
                let meant_for = stamp.map_or(0, |stamp| u64::from_le_bytes(*stamp));
                let now = epoch.elapsed().as_nanos() as u64;
                own[stage.min(1)].saturating_record(now.saturating_sub(meant_for));
            }
        })?;
        let mut all = by_stage
            .lock()
            .map_err(|_| BenchError::Panicked { role: "subscriber" })?;
        for (all, own) in all.iter_mut().zip(own) {
            *all += own;
        }
        Ok(received)
    }

    fn publish(
        &self,
        mut connection: Connection,
        epoch: Instant,
        progress: &Progress,
    ) -> Result<u64, BenchError> {
        let mut message = format!("PUB {SUBJECT} {}\r\n", self.size).into_bytes();
        let payload_at = message.len();
        message.resize(payload_at + self.size, b'x');
        message.extend_from_slice(b"\r\n");
        let mut pace = Pace::start(f64::from(self.rate));
        while !progress.is_over() {
            thread::sleep(pace.next().saturating_duration_since(Instant::now()));
            while let Some(due) = pace.take(Instant::now()) {
                let stamp = due.saturating_duration_since(epoch).as_nanos() as u64;
                message[payload_at..][..STAMP_SIZE].copy_from_slice(&stamp.to_le_bytes());
                connection.write(&message)?;
            }
        }
        connection.barrier(&mut Scanner::control_only(), &mut read_buffer())?;
        Ok(pace.taken())
    }
}

/// Those that publish are clients, whatever the subscribers are.
fn publishers_dial(run: &Run<'_>) -> Dial {
    match run.server.dial() {
        Dial {
            wire: Wire::Leaf, ..
        } => run.server.plain_dial(),
        dial => dial.clone(),
    }
}

/// A subscriber that does not read, with its queue at the server filled.
fn stall(run: &Run<'_>) -> Result<Connection, BenchError> {
    let dial = run.server.dial();
    let mut stalled = Connection::open(dial, "stalled subscriber", &[FILL])?;
    // Not before the handshake: the others' messages are on their way already.
    let subscribe = match dial.wire {
        Wire::Leaf => format!("LS+ {SUBJECT}\r\n"),
        _ => format!("SUB {SUBJECT} 2\r\n"),
    };
    stalled.write(subscribe.as_bytes())?;
    rustix::net::sockopt::set_socket_recv_buffer_size(stalled.stream(), STALLED_BUFFER)
        .map_err(|errno| io_error("shrink a receive buffer")(errno.into()))?;
    let mut filler = Connection::open(&publishers_dial(run), "filler", &[])?;
    let (block, count) = publish_block(FILL, FILL_SIZE);
    for _ in 0..FILL_BYTES / FILL_SIZE / count as usize {
        filler.write(&block)?;
        // Not in one rush: what the fill itself does to the others is not the question.
        thread::sleep(Duration::from_micros(200));
    }
    filler.barrier(&mut Scanner::control_only(), &mut read_buffer())?;
    Ok(stalled)
}
