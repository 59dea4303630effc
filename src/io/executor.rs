//! Threads of the shards: one glommio executor each, pinned where that is asked for.

use std::io;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

/// Bytes glommio may lock for its own buffers. Sockets do not use them; files will ask for more.
const EXECUTOR_MEMORY: usize = 64 * 1024;
/// Entries of each of glommio's own rings, kept small for the locked-memory limit.
const EXECUTOR_RING_DEPTH: usize = 32;

/// A running shard thread.
pub struct ShardThread(ExecutorJoinHandle<()>);

impl ShardThread {
    /// Waits for the shard to end.
    pub fn join(self) {
        // A panic in a shard has aborted the process already (fail-stop), so this is `Ok`.
        let _ = self.0.join();
    }
}

/// Runs `shard` on a thread of its own named `name`, pinned to `cpu` if given.
///
/// # Errors
/// When the executor's rings cannot be made; `probe` says beforehand why that might be.
pub fn spawn<F, Fut>(name: &str, cpu: Option<usize>, shard: F) -> io::Result<ShardThread>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(EXECUTOR_MEMORY)
        .ring_depth(EXECUTOR_RING_DEPTH)
        .spawn(shard)
        .map(ShardThread)
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Lets other tasks of this shard's executor run if they have waited long enough.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// The CPUs this process may use, in order.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pointer and size describe `set`.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    }
    // SAFETY: every index asked for is below the set's size.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// May this process pin its threads? Hardened services and some containers forbid it.
pub fn may_pin() -> bool {
    // SAFETY: as in `allowed_cpus`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pointer and size describe `set`; the second call gives back what the first read.
    unsafe {
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) == 0
            && libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0
    }
}
