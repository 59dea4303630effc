//! How far the whole call is: one line that renews itself on a terminal, one line for each run
//! elsewhere.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The progress line; cleared when dropped.
pub struct Status {
    on_terminal: bool,
    started: Instant,
    steps: usize,
    now: RefCell<Step>,
}

#[derive(Default)]
struct Step {
    number: usize,
    label: String,
}

impl Status {
    /// Of a call that makes so many runs.
    pub fn new(steps: usize) -> Self {
        Self {
            on_terminal: io::stderr().is_terminal(),
            started: Instant::now(),
            steps,
            now: RefCell::default(),
        }
    }

    /// The next run begins.
    pub fn begin(&self, label: String) {
        let mut now = self.now.borrow_mut();
        now.number += 1;
        now.label = label;
        if !self.on_terminal {
            eprintln!("[{}/{}] {}", now.number, self.steps, now.label);
        }
    }

    /// Shows messages a second; does nothing where nobody watches.
    pub fn show(&self, rate: f64) {
        if !self.on_terminal {
            return;
        }
        let now = self.now.borrow();
        let done = now.number.saturating_sub(1);
        let left = remaining(self.started.elapsed(), done, self.steps);
        let line = format!(
            "[{}/{}] {}: {:.2} M/s{}",
            now.number,
            self.steps,
            now.label,
            rate / 1e6,
            left.map_or(String::new(), |left| format!(", {} s left", left.as_secs()))
        );
        // A terminal that went away is no reason to stop measuring.
        let _ = write!(io::stderr(), "\r\x1b[2K{line}");
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

/// If the rest goes on as it went so far.
fn remaining(elapsed: Duration, done: usize, steps: usize) -> Option<Duration> {
    let done = u32::try_from(done).ok().filter(|&done| done > 0)?;
    let steps = u32::try_from(steps).ok()?;
    Some(elapsed / done * steps.saturating_sub(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_for_each_run_as_the_past() {
        let seconds = Duration::from_secs;
        assert_eq!(remaining(seconds(10), 0, 8), None);
        assert_eq!(remaining(seconds(10), 2, 8), Some(seconds(30)));
        assert_eq!(remaining(seconds(10), 8, 8), Some(seconds(0)));
    }
}
