//! The bounded queue between the threads that log and the one that writes.
//!
//! A thread that logs holds the lock for one push. When the queue is full, debug and trace lines
//! are dropped and counted at once; other lines wait up to [`FULL_WAIT`] for room, but only the
//! first of a stuck period does so: a dead disk costs a shard one such wait, not one per line.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::line::Line;
use super::writer::Output;

/// Bytes of text that may wait; bounds memory when the output stands still. A line that alone is
/// larger is taken when nothing else waits.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines that may wait: bounds the cost of many short ones.
const QUEUE_LINES_MAX: usize = 16 * 1024;

/// Longest a thread waits for room for a line that is not debug or trace.
const FULL_WAIT: Duration = Duration::from_millis(50);

/// Longest wait for the writer to catch up; a process whose output stands still must still end
/// within the five seconds of PROC-8.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// What the writer takes, in order.
pub(super) enum Item {
    Line(Line),
    /// Close and open the file under its name.
    Reopen,
    /// Go on with another output.
    Replace(Box<Output>),
}

/// Lines that were dropped since the writer last looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Debug and trace lines.
    pub(super) expendable: u64,
    /// Other lines.
    pub(super) important: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    dropped: Dropped,
    pushed: u64,
    written: u64,
    /// Somebody waited for room in vain, and the writer has taken nothing since.
    stuck: bool,
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < QUEUE_LINES_MAX && self.bytes + bytes <= QUEUE_BYTES_MAX)
    }

    fn push(&mut self, item: Item, bytes: usize) {
        self.items.push(item);
        self.bytes += bytes;
        self.pushed += 1;
    }
}

impl Queue {
    /// Hands `line` to the writer, or drops and counts it.
    pub(super) fn push_line(&self, line: Line) {
        let bytes = line.text.len();
        let expendable = line.severity.is_expendable();
        let mut state = self.lock();
        if !state.has_room(bytes) && !expendable && !state.stuck {
            let (guard, _) = self
                .written
                .wait_timeout_while(state, FULL_WAIT, |state| !state.has_room(bytes))
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.stuck = !state.has_room(bytes);
        }
        if state.has_room(bytes) {
            state.push(Item::Line(line), bytes);
        } else if expendable {
            state.dropped.expendable += 1;
        } else {
            state.dropped.important += 1;
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Hands over an order, always: operators give them, at a human's pace.
    pub(super) fn push_order(&self, item: Item) {
        self.lock().push(item, 0);
        self.filled.notify_one();
    }

    /// Waits until all that was pushed before is written, at most [`FLUSH_WAIT`].
    pub(super) fn flush(&self) {
        let state = self.lock();
        let goal = state.pushed;
        let until = Instant::now() + FLUSH_WAIT;
        let _ = self.written.wait_timeout_while(
            state,
            until.saturating_duration_since(Instant::now()),
            |state| state.written < goal,
        );
    }

    /// Waits for items and puts them into `items`, which must be empty; returns what was dropped.
    pub(super) fn take(&self, items: &mut Vec<Item>) -> Dropped {
        debug_assert!(items.is_empty());
        let mut state = self
            .filled
            .wait_while(self.lock(), |state| {
                state.items.is_empty() && state.dropped == Dropped::default()
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.items, items);
        state.bytes = 0;
        state.stuck = false;
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        self.written.notify_all();
        dropped
    }

    /// Says that `count` items taken are written.
    pub(super) fn mark_written(&self, count: usize) {
        self.lock().written += count as u64;
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Severity;
    use super::*;

    fn push(queue: &Queue, severity: Severity, size: usize) {
        queue.push_line(Line::now(severity, "x".repeat(size)));
    }

    #[test]
    fn full_queue_drops_and_counts_and_waits_once() {
        let queue = Queue::default();
        push(&queue, Severity::Trace, QUEUE_BYTES_MAX + 1);
        push(&queue, Severity::Debug, 1);
        let start = Instant::now();
        push(&queue, Severity::Error, 1);
        assert!(start.elapsed() >= FULL_WAIT);
        let start = Instant::now();
        for _ in 0..100 {
            push(&queue, Severity::Error, 1);
        }
        assert!(
            start.elapsed() < FULL_WAIT,
            "only the first line of a stuck period waits"
        );
        let mut items = Vec::new();
        let dropped = queue.take(&mut items);
        assert_eq!(items.len(), 1);
        assert_eq!(
            dropped,
            Dropped {
                expendable: 1,
                important: 101
            }
        );
        push(&queue, Severity::Info, 1);
        items.clear();
        assert_eq!(queue.take(&mut items), Dropped::default());
        assert_eq!(items.len(), 1);
    }

    #[test]
    fn line_count_is_bounded() {
        let queue = Queue::default();
        for _ in 0..QUEUE_LINES_MAX + 7 {
            push(&queue, Severity::Trace, 0);
        }
        let mut items = Vec::new();
        assert_eq!(queue.take(&mut items).expendable, 7);
    }

    #[test]
    fn flush_gives_up_on_a_writer_that_stands_still() {
        let queue = Queue::default();
        queue.flush();
        push(&queue, Severity::Info, 1);
        let start = Instant::now();
        queue.flush();
        assert!(start.elapsed() >= FLUSH_WAIT);
        let mut items = Vec::new();
        queue.take(&mut items);
        queue.mark_written(items.len());
        queue.flush();
    }
}
