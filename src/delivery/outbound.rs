//! A connection's output: what waits, what is being sent, and how much of it there is.

use std::collections::VecDeque;

use bytes::Bytes;

/// Payloads from this size on are shared by their receivers instead of copied to each. Below it
/// the copy is cheaper than another piece in a vectored send.
pub const SHARED_PAYLOAD_MIN: usize = 4096;

/// A chunk this long is not added to any more. Large enough that a send costs little beside its
/// copy, small enough that a receiver's progress shows, and that what is under way when its
/// publisher is let go again covers the time the publisher takes.
const CHUNK_FULL: usize = 128 * 1024;

/// The same for a receiver whose socket takes whatever it is given at once: many publishers may
/// bring it this much in a turn, and one chunk leaves in each.
const CHUNK_FULL_MAX: usize = 512 * 1024;

/// Bytes of empty buffers a shard keeps for its next turns: what a turn puts out, about. More is
/// given back, so that a burst does not stay in memory for ever.
const POOLED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that leave in one send: own bytes with shared payloads between them.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Heads, small payloads and control lines, in order.
    pub bytes: Vec<u8>,
    /// Shared payloads, each with the offset in `bytes` it stands in front of; ascending.
    pub shared: Vec<(usize, Bytes)>,
    shared_len: usize,
}

impl Chunk {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared_len
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.shared.is_empty()
    }

    /// Appends a payload without copying it.
    pub fn push_shared(&mut self, payload: Bytes) {
        self.shared_len += payload.len();
        self.shared.push((self.bytes.len(), payload));
    }

    /// The pieces, in the order in which they leave.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.shared
            .iter()
            .flat_map(move |(offset, payload)| {
                let own = &self.bytes[from..*offset];
                from = *offset;
                [own, &payload[..]]
            })
            .chain(std::iter::once_with(|| {
                &self.bytes[self.shared.last().map_or(0, |(offset, _)| *offset)..]
            }))
    }

    /// Moves all of `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let from = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        let shared = other.shared.drain(..);
        self.shared
            .extend(shared.map(|(offset, payload)| (from + offset, payload)));
        self.shared_len += std::mem::take(&mut other.shared_len);
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        self.shared_len = 0;
    }
}

/// Empty chunks of a shard, so that an idle connection holds no buffer.
#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "chunks travel to the driver and back as boxes"
)]
pub struct ChunkPool {
    free: Vec<Box<Chunk>>,
    /// Capacity of all of them.
    free_bytes: usize,
}

/// Chunks kept: enough for the connections that are awake in one turn.
const POOLED_CHUNKS_MAX: usize = 1024;

impl ChunkPool {
    /// An empty chunk.
    pub fn take(&mut self) -> Box<Chunk> {
        let Some(chunk) = self.free.pop() else {
            return Box::default();
        };
        self.free_bytes -= chunk.bytes.capacity();
        chunk
    }

    /// Takes a chunk back.
    pub fn put(&mut self, mut chunk: Box<Chunk>) {
        let capacity = chunk.bytes.capacity();
        if self.free_bytes + capacity <= POOLED_BYTES_MAX && self.free.len() < POOLED_CHUNKS_MAX {
            self.free_bytes += capacity;
            chunk.clear();
            self.free.push(chunk);
        }
    }
}

/// Output of one connection. Bounded by `max_pending`: the caller closes what goes above it.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Chunks that are full and wait for their turn.
    full: VecDeque<Box<Chunk>>,
    filling: Option<Box<Chunk>>,
    full_len: usize,
    /// Bytes of the chunk with the driver; 0 when there is none.
    in_flight: usize,
    /// How often [`CHUNK_FULL`] is doubled.
    doublings: u8,
}

impl Outbound {
    /// Where to append. Takes a chunk from `pool` if none is being filled.
    pub fn queue(&mut self, pool: &mut ChunkPool) -> &mut Chunk {
        let full = CHUNK_FULL << self.doublings;
        if let Some(chunk) = self.filling.take_if(|chunk| chunk.len() >= full) {
            self.full_len += chunk.len();
            self.full.push_back(chunk);
        }
        self.filling.get_or_insert_with(|| pool.take())
    }

    /// Bytes not yet taken by the kernel.
    pub fn pending(&self) -> usize {
        self.in_flight + self.full_len + self.filling.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// What to send now, if anything and nothing is under way.
    pub fn start_send(&mut self) -> Option<Box<Chunk>> {
        if self.in_flight > 0 {
            return None;
        }
        let chunk = match self.full.pop_front() {
            Some(chunk) => {
                self.full_len -= chunk.len();
                chunk
            }
            None => self.filling.take_if(|chunk| !chunk.is_empty())?,
        };
        self.in_flight = chunk.len();
        Some(chunk)
    }

    /// What the driver was given has this length after all: its transport has changed it.
    pub fn begin(&mut self, len: usize) {
        self.in_flight = len;
    }

    /// Does anything wait for the driver?
    pub fn waits(&self) -> bool {
        self.full_len > 0 || self.filling.as_ref().is_some_and(|chunk| !chunk.is_empty())
    }

    /// Is a chunk with the driver?
    pub fn sending(&self) -> bool {
        self.in_flight > 0
    }

    /// The chunk with the driver came back; `at_once` if the socket took it without waiting for
    /// room. Returns true if more waits.
    pub fn sent(&mut self, chunk: Box<Chunk>, at_once: bool, pool: &mut ChunkPool) -> bool {
        if !at_once {
            self.doublings = 0;
        } else if chunk.len() >= CHUNK_FULL && CHUNK_FULL << self.doublings < CHUNK_FULL_MAX {
            self.doublings += 1;
        }
        self.in_flight = 0;
        pool.put(chunk);
        self.pending() > 0
    }

    /// Drops what waits; what is with the driver stays.
    pub fn discard(&mut self, pool: &mut ChunkPool) {
        self.full_len = 0;
        for chunk in self.full.drain(..).chain(self.filling.take()) {
            pool.put(chunk);
        }
        self.full.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_the_order_of_appending() {
        let mut chunk = Chunk::default();
        chunk.bytes.extend_from_slice(b"head1 ");
        chunk.push_shared(Bytes::from_static(b"BODY1"));
        chunk.bytes.extend_from_slice(b" head2 ");
        chunk.push_shared(Bytes::from_static(b"BODY2"));
        chunk.push_shared(Bytes::from_static(b"BODY3"));
        chunk.bytes.extend_from_slice(b" end");
        let all: Vec<u8> = chunk.slices().flatten().copied().collect();
        assert_eq!(all, b"head1 BODY1 head2 BODY2BODY3 end");
        assert_eq!(chunk.len(), all.len());
    }

    #[test]
    fn one_chunk_is_under_way_at_a_time() {
        let mut pool = ChunkPool::default();
        let mut outbound = Outbound::default();
        outbound.queue(&mut pool).bytes.extend_from_slice(b"one");
        let first = outbound.start_send().expect("something waits");
        outbound.queue(&mut pool).bytes.extend_from_slice(b"two");
        assert!(outbound.start_send().is_none());
        assert_eq!(outbound.pending(), 6);
        assert!(outbound.sent(first, true, &mut pool));
        assert_eq!(
            outbound.start_send().map(|chunk| chunk.bytes.clone()),
            Some(b"two".to_vec())
        );
    }
}
