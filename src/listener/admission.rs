//! Who is let in, and which shard serves them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::{ConnectionId, ShardId};

/// What a shard tells the one that hands out connections. Written by its shard only, once a
/// turn; on cache lines of its own so that this costs the others nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardLoad {
    /// Admitted connections that have left, since the start.
    pub departed: AtomicU64,
    /// Message bytes in and out, since the start.
    pub bytes: AtomicU64,
}

/// Decides on accepted connections. Lives on the shard that accepts.
pub struct Admission {
    max_connections: Option<usize>,
    next_cid: u64,
    shards: Vec<Served>,
}

/// What this side knows of one shard.
#[derive(Debug, Default, Clone, Copy)]
struct Served {
    /// Connections handed to it, since the start.
    handed: u64,
    /// Its byte count at the last decision, and the bytes per decision lately.
    bytes_seen: u64,
    bytes_recent: u64,
}

impl Admission {
    /// Spreads connections over `shards` shards; at most `max_connections` at once.
    pub fn new(shards: usize, max_connections: Option<usize>) -> Self {
        Self {
            max_connections,
            next_cid: 0,
            shards: vec![Served::default(); shards],
        }
    }

    /// At most that many connections from now on.
    pub fn set_max_connections(&mut self, max: Option<usize>) {
        self.max_connections = max;
    }

    /// The shard to serve the next link to another server, and its number. Links are no clients: they
    /// do not count among them.
    pub fn admit_link(&mut self, load: &Arc<[ShardLoad]>) -> (ShardId, ConnectionId) {
        let (shard, cid) = self.next(load).0;
        (ShardId(shard as u8), cid)
    }

    /// The shard to serve the next connection, the connection's number, and whether there are too
    /// many already.
    pub fn admit(&mut self, load: &Arc<[ShardLoad]>) -> (ShardId, ConnectionId, bool) {
        let ((shard, cid), open) = self.next(load);
        let refused = self.max_connections.is_none_or(|max| open >= max as u64);
        self.shards[shard].handed += u64::from(!refused);
        (ShardId(shard as u8), cid, refused)
    }

    /// The least loaded shard with the next number, and how many connections there are.
    fn next(&mut self, load: &Arc<[ShardLoad]>) -> ((usize, ConnectionId), u64) {
        self.next_cid += 1;
        let mut loads = smallvec::SmallVec::<[Load; 16]>::new();
        for (served, load) in self.shards.iter_mut().zip(load.iter()) {
            let bytes = load.bytes.load(Ordering::Relaxed);
            // Half of what was seen before counts: an old burst is forgotten in a few decisions.
            served.bytes_recent = served.bytes_recent / 2 + bytes.saturating_sub(served.bytes_seen);
            served.bytes_seen = bytes;
            let departed = load.departed.load(Ordering::Acquire);
            let connections = served.handed.saturating_sub(departed);
            loads.push(Load {
                connections,
                bytes: served.bytes_recent,
            });
        }
        let open: u64 = loads.iter().map(|load| load.connections).sum();
        ((least_loaded(&loads), ConnectionId(self.next_cid)), open)
    }
}

/// How busy a shard is.
#[derive(Debug, Clone, Copy)]
struct Load {
    connections: u64,
    bytes: u64,
}

/// The shard with the smallest share of connections and recent bytes together; the first of
/// equals.
fn least_loaded(loads: &[Load]) -> usize {
    let connections = loads
        .iter()
        .map(|load| load.connections)
        .sum::<u64>()
        .max(1);
    let bytes = loads.iter().map(|load| load.bytes).sum::<u64>().max(1);
    // Parts per million: integers keep the choice exact and the same everywhere.
    let share = |load: &Load| {
        u128::from(load.connections) * 1_000_000 / u128::from(connections)
            + u128::from(load.bytes) * 1_000_000 / u128::from(bytes)
    };
    let least = loads.iter().enumerate().min_by_key(|(_, load)| share(load));
    least.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(loads: &[(u64, u64)]) -> usize {
        let loads: Vec<Load> = loads
            .iter()
            .map(|&(connections, bytes)| Load { connections, bytes })
            .collect();
        least_loaded(&loads)
    }

    #[test]
    fn connections_and_bytes_both_count() {
        assert_eq!(pick(&[(0, 0), (0, 0)]), 0);
        assert_eq!(pick(&[(1, 0), (0, 0)]), 1);
        assert_eq!(pick(&[(1, 0), (1, 0), (1, 0)]), 0);
        assert_eq!(pick(&[(1, 900), (1, 100)]), 1);
        assert_eq!(
            pick(&[(10, 0), (1, 10)]),
            0,
            "ten that sleep cost less than one that talks"
        );
    }
}
