//! The memory of connections that have ended.

use std::collections::VecDeque;

use crate::shard::report::{ConnectionReport, SubscriptionReport};

/// The last closed connections of a shard, oldest first; at most `max_closed_clients`.
#[derive(Debug)]
pub struct ClosedConnections {
    /// Subscriptions apart: few questions want them copied.
    ring: VecDeque<(ConnectionReport, Box<[SubscriptionReport]>)>,
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
    pub fn push(&mut self, mut report: ConnectionReport) {
        if self.ring.len() >= self.max {
            self.ring.pop_front();
        }
        if self.max > 0 {
            let subscriptions = std::mem::take(&mut report.subscriptions_list);
            self.ring.push_back((report, subscriptions.into()));
        }
    }

    /// How many it remembers.
    pub fn count(&self) -> usize {
        self.ring.len()
    }

    /// All of them without and with their subscriptions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&ConnectionReport, &[SubscriptionReport])> {
        let all = self.ring.iter();
        all.map(|(report, subscriptions)| (report, &**subscriptions))
    }
}
