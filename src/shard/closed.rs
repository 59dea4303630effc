//! The memory of connections that have ended.

use std::collections::VecDeque;

use crate::shard::report::ConnectionReport;

/// The last closed connections of a shard, oldest first; at most `max_closed_clients`.
#[derive(Debug)]
pub struct ClosedConnections {
    ring: VecDeque<ConnectionReport>,
    max: usize,
}

impl ClosedConnections {
    /// Remembers `max` connections.
    pub fn new(max: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            max,
        }
    }

    /// Remembers one more, forgetting the oldest if need be.
    pub fn push(&mut self, report: ConnectionReport) {
        if self.ring.len() >= self.max {
            self.ring.pop_front();
        }
        if self.max > 0 {
            self.ring.push_back(report);
        }
    }

    /// How many it remembers.
    pub fn count(&self) -> usize {
        self.ring.len()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &ConnectionReport> {
        self.ring.iter()
    }
}
