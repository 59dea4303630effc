//! Pauses between two replies: how many of which length, and when the longest was.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Upper ends of the classes, in microseconds; one more class takes the rest.
const CLASSES_US: [u64; 8] = [10, 50, 100, 500, 1_000, 10_000, 100_000, 1_000_000];

/// Pauses of one or several requesters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pauses {
    counts: [u64; CLASSES_US.len() + 1],
    /// The longest.
    pub longest: Duration,
    /// When it began, after the start of the run.
    pub longest_at: Duration,
}

impl Pauses {
    /// One more, which began `at`.
    pub fn record(&mut self, length: Duration, at: Duration) {
        let micros = length.as_micros();
        let class = CLASSES_US
            .iter()
            .position(|&end| micros < u128::from(end))
            .unwrap_or(CLASSES_US.len());
        self.counts[class] += 1;
        if length > self.longest {
            (self.longest, self.longest_at) = (length, at);
        }
    }

    /// Those of another requester.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        if other.longest > self.longest {
            (self.longest, self.longest_at) = (other.longest, other.longest_at);
        }
    }
}

/// One line for each class that is not empty, then the longest.
impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (class, &count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let title = match CLASSES_US.get(class) {
                Some(&end) => format!("under {}", length(Duration::from_micros(end))),
                None => format!("over {}", length(Duration::from_secs(1))),
            };
            writeln!(f, "  {title:<14}{count:>14}")?;
        }
        writeln!(
            f,
            "  longest pause {:.3} ms, at {:.3} s",
            self.longest.as_secs_f64() * 1e3,
            self.longest_at.as_secs_f64()
        )
    }
}

fn length(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ ..1000 => format!("{micros} us"),
        micros @ ..1_000_000 => format!("{} ms", micros / 1000),
        micros => format!("{} s", micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_keeps_its_time_whoever_had_it() {
        let (micros, seconds) = (Duration::from_micros, Duration::from_secs);
        let mut one = Pauses::default();
        one.record(micros(20), seconds(1));
        one.record(micros(120_000), seconds(2));
        let mut other = Pauses::default();
        other.record(micros(9), seconds(3));
        other.record(seconds(2), seconds(4));
        other.add(&one);
        assert_eq!((other.longest, other.longest_at), (seconds(2), seconds(4)));
        let text = other.to_string();
        for line in [
            "under 10 us                1",
            "under 50 us",
            "under 1 s",
            "over 1 s",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(
            text.ends_with("  longest pause 2000.000 ms, at 4.000 s\n"),
            "{text}"
        );
    }
}
