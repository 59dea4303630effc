//! Does this machine give us what we need? Asked once at the start, answered with the cure.

use std::io;

use io_uring::IoUring;

/// Locked memory glommio insists on, and what the rings of one shard take, in bytes. Since kernel
/// 5.12 rings are charged to the memory cgroup, but glommio checks the limit all the same.
const LOCKED_MEMORY_MIN: u64 = 512 * 1024;
/// Descriptors the server itself needs for each shard: rings, eventfds, timers.
const DESCRIPTORS_PER_SHARD: u64 = 16;
/// Descriptors for files, listeners and a few clients.
const DESCRIPTORS_MIN: u64 = 64;

/// What is missing, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A seccomp profile or the sysctl forbids io_uring.
    #[error(
        "io_uring is not permitted here ({0}). Cure: on the host run `sysctl kernel.io_uring_disabled=0`; \
         in Docker or containerd start the container with a seccomp profile that allows io_uring_setup, \
         io_uring_enter and io_uring_register (for a test: `--security-opt seccomp=unconfined`); \
         under systemd add `SystemCallFilter=io_uring_setup io_uring_enter io_uring_register` to the unit"
    )]
    Forbidden(io::Error),
    /// The kernel is too old.
    #[error(
        "this kernel has no io_uring with deferred task work and buffer rings ({0}). Cure: run Linux 6.1 or newer"
    )]
    TooOld(io::Error),
    /// Too little memory may be locked.
    #[error(
        "only {have} bytes of memory may be locked, {need} are needed. Cure: `ulimit -l unlimited` before the start, \
         `LimitMEMLOCK=infinity` in the systemd unit, or `--ulimit memlock=-1` for Docker"
    )]
    LockedMemory {
        /// Limit in force.
        have: u64,
        /// Limit needed.
        need: u64,
    },
    /// Too few files may be open.
    #[error(
        "only {have} files may be open, {need} are needed for {shards} shards. Cure: `ulimit -n 65536` before the \
         start, `LimitNOFILE=65536` in the systemd unit, or `--ulimit nofile=65536` for Docker"
    )]
    OpenFiles {
        /// Limit in force.
        have: u64,
        /// Limit needed.
        need: u64,
        /// Shards asked for.
        shards: usize,
    },
}

/// Checks everything `shards` shards need, raising soft limits to the hard ones on the way.
///
/// # Errors
/// The first thing that is missing.
pub fn run(shards: usize) -> Result<(), ProbeError> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(8)
        .map_err(classify)?;
    super::buffers::Buffers::register(&ring).map_err(ProbeError::TooOld)?;

    let have = raise(libc::RLIMIT_MEMLOCK);
    if have < LOCKED_MEMORY_MIN {
        return Err(ProbeError::LockedMemory {
            have,
            need: LOCKED_MEMORY_MIN,
        });
    }
    let have = raise(libc::RLIMIT_NOFILE);
    let need = DESCRIPTORS_MIN + DESCRIPTORS_PER_SHARD * shards as u64;
    if have < need {
        return Err(ProbeError::OpenFiles { have, need, shards });
    }
    Ok(())
}

fn classify(error: io::Error) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => ProbeError::Forbidden(error),
        Some(libc::ENOMEM) => ProbeError::LockedMemory {
            have: raise(libc::RLIMIT_MEMLOCK),
            need: 8 * 1024 * 1024,
        },
        _ => ProbeError::TooOld(error),
    }
}

/// Raises a soft limit to its hard one, and returns what is in force then.
fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a whole rlimit; failure leaves zeros, which is reported.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        rlim_max: limit.rlim_max,
    };
    // SAFETY: as above; it may fail, then the soft limit stays in force.
    if unsafe { libc::setrlimit(resource, &raw const raised) } == 0 {
        limit.rlim_max
    } else {
        limit.rlim_cur
    }
}
