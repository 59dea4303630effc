//! The pool of receive buffers a ring provides to the kernel.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers in the pool. Together with [`BUFFER_SIZE`] it stays at 512 KiB a shard, which the L2
/// cache holds: with 8 MiB each byte received came from memory and fan-out ran at half the speed.
pub(super) const BUFFERS: u16 = 32;
/// Bytes of one buffer. Smaller ones cost a completion more often, larger ones run out sooner
/// when many connections have a few bytes each.
pub(super) const BUFFER_SIZE: usize = 16 * 1024;
const _: () = assert!(
    BUFFERS.is_power_of_two(),
    "the kernel masks the ring's index"
);
const _: () = assert!(
    BUFFERS as usize * BUFFER_SIZE <= 512 * 1024,
    "must fit the L2 cache"
);

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;

/// Receive buffers, and the ring of those the kernel may fill.
pub(super) struct Buffers {
    mapping: NonNull<u8>,
    mapping_len: usize,
    tail: u16,
}

/// Bytes in front of the buffers: the ring's entries, rounded up to whole pages.
const ENTRIES_LEN: usize = (BUFFERS as usize * size_of::<BufRingEntry>()).next_multiple_of(PAGE);

impl Buffers {
    /// Maps the pool and registers it with `ring`.
    pub(super) fn register(ring: &IoUring) -> io::Result<Self> {
        let mapping_len = ENTRIES_LEN + BUFFERS as usize * BUFFER_SIZE;
        // SAFETY: a fresh private mapping; no address is asked for, the result is checked.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapping_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut buffers = Self {
            mapping,
            mapping_len,
            tail: 0,
        };
        // SAFETY: the mapping is page-aligned, large enough for BUFFERS entries, and outlives the
        // ring: `Ring` declares its `IoUring` before its `Buffers`, so it is dropped first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                mapping.as_ptr() as u64,
                BUFFERS,
                GROUP,
                0,
            )
        }?;
        for buffer in 0..BUFFERS {
            buffers.release(buffer);
        }
        Ok(buffers)
    }

    /// What the kernel wrote into `buffer`.
    pub(super) fn bytes(&self, buffer: u16, len: u32) -> &[u8] {
        let offset = ENTRIES_LEN + usize::from(buffer) * BUFFER_SIZE;
        let len = len as usize;
        assert!(buffer < BUFFERS && len <= BUFFER_SIZE);
        // SAFETY: inside the mapping by the assertion; the kernel does not touch the buffer
        // between the completion that named it and its release.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().add(offset), len) }
    }

    /// Lets the kernel fill `buffer` again.
    pub(super) fn release(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS);
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        let slot = usize::from(self.tail & (BUFFERS - 1));
        let offset = ENTRIES_LEN + usize::from(buffer) * BUFFER_SIZE;
        // SAFETY: `slot` is below BUFFERS, so the entry lies in the mapping; entries from the
        // tail on belong to us until the Release store below hands this one over.
        unsafe {
            let entry = &mut *base.add(slot);
            entry.set_addr(self.mapping.as_ptr().add(offset) as u64);
            entry.set_len(BUFFER_SIZE as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the kernel reads the tail atomically from this very place (the reserved field
        // of the first entry), which is two-byte aligned and inside the mapping.
        let tail = unsafe { &*BufRingEntry::tail(base).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: exactly what `register` mapped; the ring that used it is gone (see there).
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}
