//! An event loop of its own for what is not on the way of messages.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// Questions asked at once on threads of their own: each asks all shards, more would only queue
/// there.
const BLOCKING_MAX: usize = 4;

/// A thread with an event loop. Dropping this ends it; what is under way is cut off.
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs what `begin` makes, from inside the loop, on a thread of that name.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be made.
    pub fn start<F: Future<Output = ()>>(
        name: &str,
        begin: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_MAX)
            .thread_name(format!("{name}-ask"))
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = begin() => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to report
        }
    }
}
