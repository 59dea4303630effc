//! Bytes that came in on a connection while it was held.

/// Room an empty backlog keeps: a publisher held back once will be so again soon.
const KEPT_CAPACITY_MAX: usize = 128 * 1024;

/// A queue of bytes. What is taken off its front is not moved for: a publisher let go for a moment
/// takes little, often.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    /// Bytes at the front that have been taken.
    taken: usize,
}

impl Backlog {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Adds to the end.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes `used` bytes off the front.
    pub fn advance(&mut self, used: usize) {
        self.taken += used;
        debug_assert!(self.taken <= self.bytes.len());
        if self.is_empty() {
            self.taken = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY_MAX {
                self.bytes = Vec::new();
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
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for step in 0..10_000usize {
            let count = step * 7 % 23;
            let bytes: Vec<u8> = (0..count)
                .map(|at| next_in.wrapping_add(at as u8))
                .collect();
            next_in = next_in.wrapping_add(count as u8);
            backlog.push(&bytes);
            let used = (step * 5 % 29).min(backlog.len());
            for &byte in &backlog.bytes()[..used] {
                assert_eq!(byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            backlog.advance(used);
        }
        assert!(backlog.bytes.capacity() <= KEPT_CAPACITY_MAX);
    }
}
