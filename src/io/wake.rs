//! Waking a shard that sleeps in its ring.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Wakes one shard from any thread. Cheap to clone; costs no system call while the shard is awake.
#[derive(Debug, Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    eventfd: OwnedFd,
    /// Set by the sleeper before it looks for work a last time; whoever clears it owes it a
    /// write to the eventfd.
    asleep: AtomicBool,
}

impl Waker {
    /// A waker for one shard.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            shared: Arc::new(Shared {
                eventfd,
                asleep: AtomicBool::new(false),
            }),
        })
    }

    /// Wakes the shard if it sleeps. What the caller published before is seen by the shard.
    pub fn wake(&self) {
        // Pairs with the fence in `announce_sleep`: either the sleeper sees what we published
        // before this fence, or we see its flag.
        fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed)
            && self.shared.asleep.swap(false, Ordering::AcqRel)
        {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the buffer is 8 bytes long and lives through the call. It can only fail by
            // overflow of the counter, which takes 2^64 wake-ups without a read.
            unsafe {
                libc::write(
                    self.shared.eventfd.as_raw_fd(),
                    one.as_ptr().cast(),
                    one.len(),
                )
            };
        }
    }

    /// The shard will sleep unless it finds work in a look it takes after this call.
    pub(crate) fn announce_sleep(&self) {
        self.shared.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The shard is awake again (or never slept).
    pub(crate) fn announce_awake(&self) {
        self.shared.asleep.store(false, Ordering::Relaxed);
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }
}
