//! The machine and the servers, as far as they bear on the figures.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::server::Candidate;

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors online.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in GiB.
    pub memory_gib: f64,
}

/// An executable that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Executable {
    /// Its name in the table.
    pub name: String,
    /// What it says on `--version`.
    pub version: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cpu: value_of(&cpuinfo, "model name").unwrap_or("unknown").into(),
            cpus: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: kernel.trim().to_owned(),
            memory_gib: kib(&memory, "MemTotal") / f64::from(1 << 20),
        }
    }

    /// A folder's name for it.
    pub fn slug(&self) -> String {
        let text = format!("{} {} cpus", self.cpu, self.cpus).to_lowercase();
        let words = text
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !matches!(*word, "" | "r" | "tm" | "processor" | "cpu"));
        words.collect::<Vec<_>>().join("-")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cpus,
            kernel,
            memory_gib,
        } = self;
        write!(f, "{cpus} x {cpu}, {memory_gib:.0} GiB, kernel {kernel}")
    }
}

impl Executable {
    /// Asks `candidate` for its version.
    pub fn of(candidate: &Candidate) -> Self {
        let output = Command::new(&candidate.path).arg("--version").output();
        let version = output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        );
        Self {
            name: candidate.name.clone(),
            version,
        }
    }
}

/// The value of `key : value`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn kib(text: &str, key: &str) -> f64 {
    value_of(text, key)
        .and_then(|value| value.trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_after_model_and_processors() {
        let machine = Machine {
            cpu: "Intel(R) Xeon(R) Processor @ 2.60GHz".into(),
            cpus: 4,
            kernel: String::new(),
            memory_gib: 0.0,
        };
        assert_eq!(machine.slug(), "intel-xeon-2-60ghz-4-cpus");
    }

    #[test]
    fn values_stand_behind_a_colon() {
        assert_eq!(
            value_of("model\t: 7\nmodel name\t: A B\n", "model name"),
            Some("A B")
        );
        assert_eq!(kib("MemTotal:       2048 kB\n", "MemTotal"), 2048.0);
    }
}
