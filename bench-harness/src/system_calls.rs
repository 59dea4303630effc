//! System calls for each message, counted by the kernel's tracepoint through `perf stat`.
//!
//! In a moment of its own after the window: the tracepoint costs each call some tens of
//! nanoseconds, which would otherwise fall on the server that makes more of them.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Seconds it counts for.
const COUNTED: &str = "0.2";

/// Set once `perf` has failed: where it is missing or forbidden it stays so.
static UNAVAILABLE: AtomicBool = AtomicBool::new(false);

/// Calls of process `id` for each message that `messages` counts; `None` where this cannot be had.
pub fn per_message(id: u32, messages: impl Fn() -> u64) -> Option<f64> {
    if UNAVAILABLE.load(Ordering::Relaxed) {
        return None;
    }
    let (started, before) = (Instant::now(), messages());
    let output = Command::new("perf")
        .args([
            "stat",
            "-x,",
            "-e",
            "raw_syscalls:sys_enter,duration_time",
            "-p",
        ])
        .args([&id.to_string(), "--", "sleep", COUNTED])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let rate = (messages() - before) as f64 / started.elapsed().as_secs_f64();
    let counted = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| parse(&String::from_utf8_lossy(&output.stderr)));
    let Some((calls, seconds)) = counted else {
        UNAVAILABLE.store(true, Ordering::Relaxed);
        return None;
    };
    (rate > 0.0).then(|| calls / seconds / rate)
}

/// Calls and seconds from lines of `value,unit,event,...`.
fn parse(text: &str) -> Option<(f64, f64)> {
    let value = |event: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(',');
            let value = fields.next()?;
            (fields.nth(1)? == event).then(|| value.parse::<f64>().ok())?
        })
    };
    let seconds = value("duration_time")? / 1e9;
    (seconds > 0.0).then_some((value("raw_syscalls:sys_enter")?, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_lines_give_calls_and_seconds() {
        let text = "120,,raw_syscalls:sys_enter,2629719,100.00,,\n\
                    200000000,ns,duration_time,200000000,100.00,,\n";
        assert_eq!(parse(text), Some((120.0, 0.2)));
        assert_eq!(
            parse("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"),
            None
        );
        assert_eq!(parse("No permission\n"), None);
    }
}
