//! System calls for each CPU second of a process, counted by the kernel's tracepoint through
//! `perf stat`.
//!
//! In a moment of its own after the window: the tracepoint costs each call some tens of
//! nanoseconds, which would otherwise fall on the server that makes more of them. By CPU second and
//! not by the clock, because on a busy machine `perf` itself gets its turn late; perf says for how
//! long the counted threads ran.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Seconds it counts for.
const COUNTED: &str = "0.2";

/// Set once `perf` has failed: where it is missing or forbidden it stays so.
static UNAVAILABLE: AtomicBool = AtomicBool::new(false);

/// Calls of process `id` for each second that its threads run; `None` where this cannot be had.
pub fn per_cpu_second(id: u32) -> Option<f64> {
    if UNAVAILABLE.load(Ordering::Relaxed) {
        return None;
    }
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"])
        .args([&id.to_string(), "--", "sleep", COUNTED])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .ok()
        .filter(|output| output.status.success());
    let Some(output) = output else {
        UNAVAILABLE.store(true, Ordering::Relaxed);
        return None;
    };
    parse(&String::from_utf8_lossy(&output.stderr))
}

/// From a line of `calls,unit,event,nanoseconds run,...`.
fn parse(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.contains(",raw_syscalls:sys_enter,"))?;
    let fields: Vec<&str> = line.split(',').collect();
    let calls: f64 = fields.first()?.parse().ok()?;
    let seconds = fields.get(3)?.parse::<f64>().ok()? / 1e9;
    (seconds > 0.0).then_some(calls / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_line_gives_calls_for_each_second_run() {
        let text = "694297,,raw_syscalls:sys_enter,200000000,100.00,3.468,M/sec\n";
        assert_eq!(parse(text), Some(3_471_485.0));
        assert_eq!(
            parse("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"),
            None
        );
        assert_eq!(parse("No permission\n"), None);
    }
}
