//! One-way scenarios: publishers on some subjects, subscribers on some, and at the end every
//! subscriber must have exactly what was sent to its subject.

use std::sync::Barrier;
use std::thread;

use crate::churn::Churn;
use crate::dial::Dial;
use crate::error::BenchError;
use crate::measure::{Observed, Progress, Run};
use crate::readers::{Reader, Sent, Subscriber};
use crate::wire::{Connection, Scanner, publish_block, publish_blocks, read_buffer};

/// Digits of the last token where subjects are many.
const NUMBER_SIZE: usize = 8;
/// Every subject of a flow.
const ALL: &str = "bench.*";

/// Who publishes where and who listens where; subjects are numbers.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Subject of each publisher; each has a thread.
    pub publishers: Vec<usize>,
    /// Subject of each subscriber; they share a few threads.
    pub subscribers: Vec<usize>,
    /// Payload bytes.
    pub size: usize,
    /// What happens in a second stage.
    pub then: Then,
    /// As whom they come, and how.
    pub by: By,
}

/// As whom the clients of a flow come, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct By {
    /// Without the TLS of the run.
    pub plain: bool,
    /// User of each publisher.
    pub publisher: Option<&'static str>,
    /// User of each subscriber.
    pub subscriber: Option<&'static str>,
    /// Subscribers listen to all subjects.
    pub wildcard: bool,
    /// Where there is a hub, publishers come to it and subscribers to its leaf; otherwise it is
    /// the other way round.
    pub downwards: bool,
}

impl By {
    /// Both as `user`.
    pub fn user(user: &'static str) -> Self {
        Self {
            publisher: Some(user),
            subscriber: Some(user),
            ..Self::default()
        }
    }
}

/// The second stage of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// There is none.
    #[default]
    Nothing,
    /// Besides, so many subscriptions are made and ended a second.
    Churn(u32),
    /// Publishers go round-robin over so many subjects below theirs instead of one; subscribers
    /// listen to all of them.
    Spread(usize),
}

impl Flow {
    /// Runs it. Counts deliveries; without subscribers, publishes.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] and [`BenchError::Miscounted`] when received is not
    /// sent.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let sent = Sent::new(self.subject_count(), self.publishers.len());
        let dial = self.dial(run, self.by.downwards).as_user(self.by.publisher);
        let subscribers = self.open_subscribers(run)?;
        let counts_publishes = subscribers.is_empty();
        let mut publishers = Vec::new();
        let mut pairs = Vec::new();
        for &subject in &self.publishers {
            // A publisher sits by the first who listens to it.
            let at = self.subscribers.iter().position(|&it| it == subject);
            let listener = at.map(|at| subscribers[at].connection());
            let connection = run.placement.open(run.server, listener, || {
                Connection::open(&dial, "publisher", &[])
            })?;
            pairs.extend(at.map(|at| (subscribers[at].id(), connection.id())));
            publishers.push((subject, connection));
        }
        let mut churn = match self.then {
            Then::Churn(rate) => Some(Churn::open(run, rate)?),
            Then::Nothing | Then::Spread(_) => None,
        };
        run.server.settle();
        let mut readers = Reader::share(subscribers);
        let progress = Progress::of_pairs(pairs);
        let start = Barrier::new(publishers.len() + 1);
        thread::scope(|scope| {
            let (progress, sent, start) = (&progress, &sent, &start);
            let reading: Vec<_> = readers
                .iter_mut()
                .map(|reader| scope.spawn(|| reader.run(progress, sent, |_| ())))
                .collect();
            let churning = churn
                .as_mut()
                .map(|churn| scope.spawn(|| churn.run(progress)));
            let publishing: Vec<_> = publishers
                .into_iter()
                .map(|(subject, connection)| {
                    scope.spawn(move || {
                        let blocks = self.blocks(subject);
                        start.wait();
                        let counted = counts_publishes.then_some(progress);
                        let outcome = publish(connection, &blocks, progress, counted);
                        sent.finish(subject, *outcome.as_ref().unwrap_or(&0));
                        outcome
                    })
                })
                .collect();
            start.wait();
            let stages = self.observe(progress, run);
            let mut outcome = Ok(());
            let mut joined = |thread: thread::Result<Result<u64, BenchError>>, role| {
                match thread.unwrap_or(Err(BenchError::Panicked { role })) {
                    Ok(count) => count,
                    Err(error) => {
                        // A subscriber's end, looked at last, says more than the publisher it
                        // blocked.
                        outcome = Err(error);
                        0
                    }
                }
            };
            let mut published = 0;
            for thread in publishing {
                published += joined(thread.join(), "publisher");
            }
            let churned = churning.map(|thread| joined(thread.join(), "churner"));
            let mut received = 0;
            for thread in reading {
                received += joined(thread.join(), "subscriber");
            }
            outcome?;
            let mut observed = self.conclude(stages?, churned);
            observed.verified = if counts_publishes {
                published
            } else {
                received
            };
            Ok(observed)
        })
    }

    fn observe(&self, progress: &Progress, run: &Run<'_>) -> Result<Vec<Observed>, BenchError> {
        if self.then == Then::Nothing {
            return Ok(vec![progress.observe(run)?]);
        }
        let stages: [Observed; 2] = progress.observe_stages(run, |_| Ok(()))?;
        Ok(stages.into())
    }

    /// The last stage, with what it says against the first.
    fn conclude(&self, mut stages: Vec<Observed>, churned: Option<u64>) -> Observed {
        let mut last = stages
            .pop()
            .unwrap_or_else(|| unreachable!("a stage was run"));
        let Some(first) = stages.pop() else {
            return last;
        };
        if let Some(churned) = churned {
            last.add_figure("k sub+unsub/s", churned as f64 / last.seconds / 1000.0, 2);
            last.add_figure("traffic lost %", lost_percent(first.rate(), last.rate()), 1);
        } else {
            last.add_figure("one subject, M messages/s", first.rate() / 1e6, 3);
            last.add_figure("times slower than one", first.rate() / last.rate(), 2);
        }
        last
    }

    fn dial(&self, run: &Run<'_>, far: bool) -> Dial {
        if self.by.plain {
            run.server.plain_dial()
        } else if far {
            run.server.far_dial().clone()
        } else {
            run.server.dial().clone()
        }
    }

    fn subject_count(&self) -> usize {
        self.publishers
            .iter()
            .chain(&self.subscribers)
            .max()
            .map_or(0, |&last| last + 1)
    }

    fn open_subscribers(&self, run: &Run<'_>) -> Result<Vec<Subscriber>, BenchError> {
        let mut subscribers = Vec::new();
        let dial = self.dial(run, !self.by.downwards);
        let dial = dial.as_user(self.by.subscriber);
        for &subject in &self.subscribers {
            let name = name(subject);
            let (pattern, concrete, prefix) = match self.then {
                Then::Spread(_) => (
                    format!("{name}.*"),
                    numbered(subject, 0),
                    format!("MSG {name}."),
                ),
                Then::Nothing | Then::Churn(_) => {
                    let head = format!("MSG {name} 1 {}\r\n", self.size);
                    let pattern = if self.by.wildcard {
                        ALL.to_owned()
                    } else {
                        name.clone()
                    };
                    (pattern, name, head)
                }
            };
            let connection = Connection::open(&dial, "subscriber", &[&pattern])?;
            let head = format!("MSG {concrete} 1 {}\r\n", self.size);
            let scanner = Scanner::new(&prefix, head.len() + self.size + 2);
            subscribers.push(Subscriber::new(connection, scanner, subject));
        }
        Ok(subscribers)
    }

    /// What a publisher writes in each stage, over and over.
    fn blocks(&self, subject: usize) -> [Blocks; 2] {
        match self.then {
            Then::Spread(count) => [
                vec![publish_block(&numbered(subject, 0), self.size)],
                publish_blocks((0..count).map(|it| numbered(subject, it)), self.size),
            ],
            Then::Nothing | Then::Churn(_) => {
                let block = vec![publish_block(&name(subject), self.size)];
                [block.clone(), block]
            }
        }
    }
}

/// Blocks of publishes and the number of publishes in each.
type Blocks = Vec<(Vec<u8>, u64)>;

/// The subject of that number.
pub fn name(subject: usize) -> String {
    format!("bench.{subject}")
}

/// Always equally long.
fn numbered(subject: usize, number: usize) -> String {
    format!("{}.{number:0NUMBER_SIZE$}", name(subject))
}

/// What traffic loses.
pub fn lost_percent(before: f64, after: f64) -> f64 {
    100.0 * (1.0 - after / before)
}

/// Sends blocks until the window is over and the server has taken all of them; returns the number
/// of messages.
fn publish(
    mut connection: Connection,
    blocks: &[Blocks; 2],
    progress: &Progress,
    counted: Option<&Progress>,
) -> Result<u64, BenchError> {
    let mut next = [0; 2];
    let mut sent = 0;
    while !progress.is_over() {
        let stage = progress.stage().min(1);
        let (block, count) = &blocks[stage][next[stage]];
        next[stage] = (next[stage] + 1) % blocks[stage].len();
        connection.write(block)?;
        sent += count;
        if let Some(counted) = counted {
            counted.add(*count);
        }
    }
    connection.barrier(&mut Scanner::control_only(), &mut read_buffer())?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_traffic_loses_is_of_what_it_was() {
        assert!((lost_percent(200.0, 150.0) - 25.0).abs() < 1e-9);
        assert!((lost_percent(200.0, 210.0) + 5.0).abs() < 1e-9);
    }

    #[test]
    fn subjects_of_a_spread_are_equally_long() {
        assert_eq!(numbered(0, 0), "bench.0.00000000");
        assert_eq!(numbered(0, 999_999).len(), numbered(0, 0).len());
    }
}
