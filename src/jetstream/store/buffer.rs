//! Memory the disk reads from and writes to without a copy in between.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes the disk takes at once: addresses, lengths and offsets of direct I/O are multiples of it.
pub const PAGE: usize = 4096;

/// Bytes whose address is a multiple of [`PAGE`].
pub struct Buffer {
    /// Never grown in place, so that the address stays.
    bytes: Vec<u8>,
    /// First byte that counts; those that count go on to the end of `bytes`.
    start: usize,
}

impl Buffer {
    /// No bytes, and room for that many.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(capacity + PAGE);
        let start = bytes.as_ptr().align_offset(PAGE);
        // The standard library may decline to say an offset; it never does outside const code.
        assert!(start < PAGE, "a byte pointer can be aligned");
        bytes.resize(start, 0);
        Self { bytes, start }
    }

    /// That many zeros.
    pub fn zeroed(len: usize) -> Self {
        // Asked for as zeros, so that fresh memory is not written to.
        let bytes = vec![0u8; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        assert!(start < PAGE, "a byte pointer can be aligned");
        let mut this = Self { bytes, start };
        this.bytes.truncate(start + len);
        this
    }

    /// A copy of `content`, zeros after it up to a whole number of pages.
    pub fn padded(content: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(content.len().next_multiple_of(PAGE));
        buffer.extend(content);
        buffer.pad(PAGE);
        buffer
    }

    /// Adds bytes; moves all of them where there is no room.
    pub fn extend(&mut self, more: &[u8]) {
        self.reserve(more.len());
        self.bytes.extend_from_slice(more);
    }

    /// Adds zeros up to a multiple of `alignment`.
    pub fn pad(&mut self, alignment: usize) {
        let len = self.len().next_multiple_of(alignment);
        self.reserve(len - self.len());
        self.bytes.resize(self.start + len, 0);
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let mut larger = Self::with_capacity((self.len() + more).next_power_of_two().max(PAGE));
            larger.bytes.extend_from_slice(self);
            *self = larger;
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_and_zero_behind_its_content() {
        for len in [0, 1, PAGE, PAGE + 1] {
            let buffer = Buffer::padded(&vec![7; len]);
            assert_eq!(buffer.as_ptr().align_offset(PAGE), 0);
            assert_eq!(buffer.len(), len.next_multiple_of(PAGE));
            assert!(buffer[..len].iter().all(|&it| it == 7));
            assert!(buffer[len..].iter().all(|&it| it == 0));
            let mut grown = Buffer::with_capacity(0);
            (0..len).for_each(|_| grown.extend(&[7]));
            grown.pad(PAGE);
            assert_eq!(
                (&grown[..], grown.as_ptr().align_offset(PAGE)),
                (&buffer[..], 0)
            );
        }
    }
}
