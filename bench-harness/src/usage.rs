//! CPU time and memory of a process, from `/proc`.

use std::fs;

use crate::error::BenchError;

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time in seconds of all threads that live.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of this process: the generator.
    ///
    /// # Errors
    /// [`BenchError::Proc`].
    pub fn of_generator() -> Result<Self, BenchError> {
        Self::of("self")
    }

    /// Of the process with this id.
    ///
    /// # Errors
    /// [`BenchError::Proc`] when it is gone.
    pub fn of(process: &str) -> Result<Self, BenchError> {
        let path = format!("/proc/{process}/stat");
        let mut usage = fs::read_to_string(&path)
            .ok()
            .and_then(|stat| Self::parse(&stat))
            .ok_or(BenchError::Proc(path))?;
        // The scheduler's own count is in nanoseconds; `stat` has ticks of 10 ms, which is all an
        // idle server uses in a whole window.
        if let Some(nanos) = scheduled_nanos(process) {
            usage.cpu_seconds = nanos as f64 / 1e9;
        }
        Ok(usage)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The command name, field 2, may hold blanks and brackets: count from its last bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Self {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}

/// Time on a CPU of all threads; `None` on a kernel that does not count it.
fn scheduled_nanos(process: &str) -> Option<u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let mut sum = 0;
    for task in tasks.flatten() {
        // A thread that ends between the two looks has no file any more.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        sum += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    (sum > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_strange_command_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 5 0 99 1000 3 18446744";
        let usage = Usage::parse(stat).unwrap();
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        assert!((usage.cpu_seconds - 200.0 * tick).abs() < 1e-9);
        assert_eq!(usage.rss_bytes, 3 * rustix::param::page_size() as u64);
    }

    #[test]
    fn work_shows_in_the_time_of_this_process() {
        let before = Usage::of_generator().unwrap().cpu_seconds;
        let mut sum = 0_u64;
        while Usage::of_generator().unwrap().cpu_seconds < before + 0.02 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(Usage::of("0").is_err());
    }
}
