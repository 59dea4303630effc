//! `/stacksz` and `/debug/vars`: the process as its author wants to see it (MON-39).

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use super::process;

/// The threads of the process and what each is doing, one a line: name, number, state, CPU time in
/// clock ticks. Their stacks cannot be read from inside.
pub(super) fn stacks() -> String {
    let mut text = String::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return text;
    };
    for task in tasks.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The name stands in parentheses and may hold anything.
        let Some((front, fields)) = stat.rsplit_once(") ") else {
            continue;
        };
        let name = front.split_once('(').map_or("", |(_, name)| name);
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or("");
        let number = task.file_name();
        // Writing into memory does not fail.
        let _ = writeln!(
            text,
            "thread {name} {} [{}] user {} system {}",
            number.to_string_lossy(),
            field(0),
            field(11),
            field(12),
        );
    }
    text
}

/// Memory of the process under the names tools look for, and nothing of the command line: it may
/// hold secrets (T29). Figures of a collector, which there is none of, are zero.
pub(super) fn expvar() -> Value {
    let resident = process::memory();
    json!({
        "cmdline": [],
        "memstats": {
            "Alloc": resident,
            "TotalAlloc": resident,
            "Sys": resident,
            "Lookups": 0,
            "Mallocs": 0,
            "Frees": 0,
            "HeapAlloc": resident,
            "HeapSys": resident,
            "HeapIdle": 0,
            "HeapInuse": resident,
            "HeapReleased": 0,
            "HeapObjects": 0,
            "StackInuse": 0,
            "StackSys": 0,
            "MSpanInuse": 0,
            "MSpanSys": 0,
            "MCacheInuse": 0,
            "MCacheSys": 0,
            "BuckHashSys": 0,
            "GCSys": 0,
            "OtherSys": 0,
            "NextGC": 0,
            "LastGC": 0,
            "PauseTotalNs": 0,
            "PauseNs": [],
            "PauseEnd": [],
            "NumGC": 0,
            "NumForcedGC": 0,
            "GCCPUFraction": 0,
            "EnableGC": false,
            "DebugGC": false,
            "BySize": [],
        },
    })
}
