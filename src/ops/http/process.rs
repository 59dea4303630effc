//! What the kernel says of this process.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A shorter interval would show the noise of the clock tick.
const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// Resident memory in bytes.
pub(super) fn memory() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// CPUs of the machine.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Measures the CPU time used between two looks.
pub(super) struct CpuMeter(Mutex<Look>);

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    seconds: f64,
    percent: f64,
}

impl CpuMeter {
    /// Starts measuring.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Look {
            at: Instant::now(),
            seconds: cpu_seconds(),
            percent: 0.0,
        }))
    }

    /// Percent of one CPU since the last look.
    pub(super) fn percent(&self) -> f64 {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let elapsed = last.at.elapsed();
        if elapsed >= INTERVAL_MIN {
            let seconds = cpu_seconds();
            let percent = (seconds - last.seconds) / elapsed.as_secs_f64() * 100.0;
            *last = Look {
                at: Instant::now(),
                seconds,
                percent: (percent * 10.0).round() / 10.0,
            };
        }
        last.percent
    }
}

/// User and system time of the process so far.
fn cpu_seconds() -> f64 {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else {
        return 0.0;
    };
    // The second field is the name in parentheses and may hold blanks: count from its end.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    ticks
        .filter_map(|text| text.parse::<f64>().ok())
        .sum::<f64>()
        / rustix::param::clock_ticks_per_second() as f64
}
