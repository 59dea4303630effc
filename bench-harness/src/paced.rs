//! Request-reply at a fixed rate (open loop): a request leaves when its time has come, whatever is
//! still unanswered, and its latency counts from that time, so a server that stops for a while pays
//! for every request that fell into the gap.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::error::{BenchError, io_error};
use crate::measure::Progress;
use crate::pace::Pace;
use crate::reqrep::{Asked, Requester, stalled};
use crate::wire::{READ_TIMEOUT, STALL_MAX, read_buffer};

impl Requester {
    /// Asks `rate` times a second until the window is over, then waits for the last reply.
    ///
    /// # Errors
    /// [`BenchError::Stalled`], [`BenchError::Miscounted`].
    pub(crate) fn run_paced(
        mut self,
        rate: f64,
        epoch: Instant,
        progress: &Progress,
    ) -> Result<Asked, BenchError> {
        let mut buffer = read_buffer();
        let mut batch = Vec::new();
        let mut asked = Asked::default();
        let payload_from_end = self.payload_from_end();
        let mut last_reply = Instant::now();
        let mut pace = Pace::start(rate);
        let mut over = false;
        while !over || asked.count < pace.taken() {
            over = over || progress.is_over();
            batch.clear();
            let now = Instant::now();
            while !over && let Some(due) = pace.take(now) {
                let stamp = due.saturating_duration_since(epoch).as_nanos() as u64;
                self.append(&mut batch, Some(pace.taken()), stamp);
            }
            if !batch.is_empty() {
                self.connection.write(&batch)?;
            }
            let wait = if over {
                READ_TIMEOUT
            } else {
                pace.next().saturating_duration_since(Instant::now())
            };
            if !readable(self.connection.stream(), wait)? {
                if asked.count < pace.taken() && last_reply.elapsed() > STALL_MAX {
                    return Err(stalled(asked.count, pace.taken()));
                }
                continue;
            }
            let measured = progress.measured_stage().is_some();
            let mut read_at = None;
            let histogram = &mut asked.latencies;
            let found = self
                .connection
                .receive(&mut self.scanner, &mut buffer, |reply| {
                    let now = *read_at.get_or_insert_with(Instant::now);
                    if measured {
                        let meant_for = Self::stamp_of(reply, payload_from_end);
                        let now = (now - epoch).as_nanos() as u64;
                        histogram.saturating_record(now.saturating_sub(meant_for));
                    }
                })?;
            if let Some(now) = read_at {
                asked.count += found.messages;
                progress.add(2 * found.messages);
                asked.pauses.record(now - last_reply, last_reply - epoch);
                last_reply = now;
            }
        }
        self.finish(&mut asked, pace.taken(), &mut buffer)?;
        Ok(asked)
    }
}

/// Waits for bytes to read, at most for `wait`.
fn readable(stream: &std::net::TcpStream, wait: Duration) -> Result<bool, BenchError> {
    let timeout = Timespec {
        tv_sec: wait.as_secs().cast_signed(),
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    let mut descriptors = [PollFd::new(stream, PollFlags::IN)];
    match poll(&mut descriptors, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(io_error("wait for replies")(errno.into())),
    }
}
