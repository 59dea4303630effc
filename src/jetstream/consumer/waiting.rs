//! Requests of pulling clients that wait for messages, served in turn (JS-219).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::request::GroupRequest;
use crate::time::Nanos;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) reply: Bytes,
    /// Messages it still wants.
    pub(super) batch: i64,
    /// Messages it got.
    pub(super) delivered: u64,
    /// Bytes it still takes; 0 is no bound.
    pub(super) bytes: i64,
    pub(super) expires: Option<Nanos>,
    pub(super) heartbeat: Option<(Duration, Nanos)>,
    pub(super) no_wait: bool,
    pub(super) group: Option<GroupRequest>,
}

impl Waiting {
    /// Does it end as soon as nothing is left to deliver?
    pub(super) fn ends_when_empty(&self) -> bool {
        self.no_wait && (self.expires.is_none() || self.delivered > 0)
    }

    /// When to look at it next.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.expires
            .into_iter()
            .chain(self.heartbeat.map(|it| it.1))
            .min()
    }

    fn priority(&self) -> i64 {
        self.group.as_ref().map_or(i64::MAX, |it| it.priority)
    }
}

/// The requests in the order they are served, at most `max_waiting`.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    queue: VecDeque<Waiting>,
    /// By priority, in turn among equals (JS-222).
    by_priority: bool,
    /// None is due before.
    due: Option<Nanos>,
    /// Some may end when nothing is left.
    may_end: bool,
}

impl WaitQueue {
    pub(super) fn new(by_priority: bool) -> Self {
        Self {
            by_priority,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn due(&self) -> Option<Nanos> {
        self.due
    }

    /// Must all be looked at? `empty`: nothing is left to deliver.
    pub(super) fn needs_look(&self, now: Nanos, empty: bool) -> bool {
        (empty && self.may_end) || self.due.is_some_and(|it| it <= now)
    }

    pub(super) fn front(&mut self) -> Option<&mut Waiting> {
        self.queue.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    pub(super) fn add(&mut self, waiting: Waiting) {
        self.due = [self.due, waiting.due()].into_iter().flatten().min();
        self.may_end |= waiting.ends_when_empty();
        if !self.by_priority {
            return self.queue.push_back(waiting);
        }
        let priority = waiting.priority();
        let at = self.queue.partition_point(|it| it.priority() <= priority);
        self.queue.insert(at, waiting);
    }

    /// Puts the first one behind the others.
    pub(super) fn cycle(&mut self) {
        if let Some(first) = self.queue.pop_front() {
            self.queue.push_back(first);
        }
    }

    /// Serves the first one a message: its address, and what it still wants of messages and
    /// bytes. It then stands last, or is gone if that was all.
    pub(super) fn serve(&mut self, now: Nanos) -> Option<(Bytes, i64, i64)> {
        let first = self.queue.front_mut()?;
        first.batch -= 1;
        first.delivered += 1;
        let served = (first.reply.clone(), first.batch, first.bytes);
        if first.batch <= 0 {
            self.queue.pop_front();
            return Some(served);
        }
        if let Some((every, at)) = &mut first.heartbeat {
            *at = now + *every;
        }
        self.may_end |= first.ends_when_empty();
        if self.queue.len() > 1
            && let Some(first) = self.queue.pop_front()
        {
            self.add(first);
        }
        Some(served)
    }

    /// Looks at all, in order: those for which `keep` is false are gone.
    pub(super) fn look(&mut self, mut keep: impl FnMut(&mut Waiting) -> bool) {
        self.queue.retain_mut(&mut keep);
        self.due = self.queue.iter().filter_map(Waiting::due).min();
        self.may_end = self.queue.iter().any(Waiting::ends_when_empty);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.iter()
    }

    /// Gives a message back to a request that is still there.
    pub(super) fn credit(&mut self, reply: &[u8]) {
        if let Some(found) = self.queue.iter_mut().find(|it| it.reply == reply) {
            found.batch += 1;
            found.delivered = found.delivered.saturating_sub(1);
        }
    }

    /// Whether requests stand by priority from now on; those that wait keep their order among
    /// equals.
    pub(super) fn sort_by_priority(&mut self, by_priority: bool) {
        self.by_priority = by_priority;
        if by_priority {
            self.queue.make_contiguous().sort_by_key(Waiting::priority);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.by_priority);
    }
}
