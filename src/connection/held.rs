//! Bytes that came in on a connection while it was held.

use crate::delivery::outbound::{Chunk, ChunkPool};

/// A queue of bytes. What is taken off its front is not moved for: a publisher let go for a moment
/// takes little, often. Its buffer is one of the shard's pool, and goes back when it is empty.
#[derive(Debug, Default)]
pub struct Backlog {
    chunk: Option<Box<Chunk>>,
    /// Bytes at the front that have been taken.
    taken: usize,
}

impl Backlog {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.chunk.is_none()
    }

    /// What waits.
    pub fn bytes(&self) -> &[u8] {
        match &self.chunk {
            Some(chunk) => &chunk.bytes[self.taken..],
            None => &[],
        }
    }

    /// Adds to the end.
    pub fn push(&mut self, bytes: &[u8], pool: &mut ChunkPool) {
        if bytes.is_empty() {
            return;
        }
        let queue = &mut self.chunk.get_or_insert_with(|| pool.take()).bytes;
        if self.taken > 0 && queue.len() + bytes.len() > queue.capacity() {
            queue.drain(..self.taken);
            self.taken = 0;
        }
        queue.extend_from_slice(bytes);
    }

    /// Takes `used` bytes off the front.
    pub fn advance(&mut self, used: usize, pool: &mut ChunkPool) {
        self.taken += used;
        if self.bytes().is_empty() {
            self.taken = 0;
            if let Some(chunk) = self.chunk.take() {
                pool.put(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut backlog = Backlog::default();
        let mut pool = ChunkPool::default();
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for step in 0..10_000usize {
            let count = step * 7 % 23;
            let bytes: Vec<u8> = (0..count)
                .map(|at| next_in.wrapping_add(at as u8))
                .collect();
            next_in = next_in.wrapping_add(count as u8);
            backlog.push(&bytes, &mut pool);
            let used = (step * 5 % 29).min(backlog.len());
            for &byte in &backlog.bytes()[..used] {
                assert_eq!(byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            backlog.advance(used, &mut pool);
        }
        backlog.advance(backlog.len(), &mut pool);
        assert!(backlog.is_empty() && backlog.chunk.is_none());
    }
}
