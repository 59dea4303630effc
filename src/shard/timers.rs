//! Which connection has something due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::Slot;
use crate::time::Nanos;

/// Deadlines of connections, earliest first. A connection normally has one entry; an entry that
/// was overtaken by an earlier one is skipped by the caller when it comes up, so arming and
/// disarming the same deadline for each message costs nothing.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Nanos, u32, u32)>>,
}

impl Timers {
    /// Adds a deadline.
    pub fn arm(&mut self, at: Nanos, slot: Slot) {
        self.heap.push(Reverse((at, slot.index, slot.generation)));
    }

    /// Takes the earliest deadline at or before `now`.
    pub fn expire(&mut self, now: Nanos) -> Option<(Nanos, Slot)> {
        let &Reverse((at, index, generation)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, Slot { index, generation }))
    }

    /// When the next deadline is.
    pub fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|&Reverse((at, _, _))| at)
    }
}
