//! Memory the disk reads from and writes to without a copy in between.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes the disk takes at once: addresses, lengths and offsets of direct I/O are multiples of it.
pub const PAGE: usize = 4096;

/// Bytes whose address is a multiple of [`PAGE`]. The length is set once.
#[derive(Default)]
pub struct Buffer {
    /// Longer than asked for by one page; never grown, so that the address stays.
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// That many zeros.
    pub fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        // The standard library may decline to say an offset; it never does outside const code.
        assert!(start < PAGE, "a byte pointer can be aligned");
        Self { bytes, start, len }
    }

    /// A copy of `content`, zeros after it up to a whole number of pages.
    pub fn padded(content: &[u8]) -> Self {
        let mut buffer = Self::zeroed(content.len().next_multiple_of(PAGE));
        buffer[..content.len()].copy_from_slice(content);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
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
        }
    }
}
