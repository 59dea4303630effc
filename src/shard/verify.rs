//! Passwords are checked elsewhere: a bcrypt comparison takes as long as a million messages.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use crate::auth::authenticate::PasswordCheck;
use crate::ids::Slot;
use crate::limits;
use crate::shard::control::{Control, Post};

/// Somebody who checks passwords and answers with [`Control::Verified`].
pub trait Verifier<S>: Send + Sync {
    /// Has `check` done for the connection at `slot` of the shard behind `post`.
    fn verify(&self, slot: Slot, check: PasswordCheck, post: &Post<S>);
}

struct Job<S> {
    slot: Slot,
    check: PasswordCheck,
    post: Post<S>,
}

/// Checks on threads of its own, at the lowest priority of attention: logins wait, messages do not.
pub struct VerifierThreads<S>(SyncSender<Job<S>>);

impl<S: Send + 'static> VerifierThreads<S> {
    /// Starts `threads` threads; they end with the last user of this.
    ///
    /// # Errors
    /// When the process may have no more threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job<S>>(limits::VERIFY_QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let jobs = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("verify-{number}"))
                .spawn(move || run(&jobs))?;
        }
        Ok(Self(sender))
    }
}

fn run<S>(jobs: &Mutex<Receiver<Job<S>>>) {
    loop {
        // One thread waits for the next job, the others for the lock: both are asleep.
        let next = jobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .recv();
        let Ok(Job { slot, check, post }) = next else {
            return;
        };
        let matches = check.run();
        post.send(Control::Verified {
            slot,
            check,
            matches,
        });
    }
}

impl<S: Send + 'static> Verifier<S> for VerifierThreads<S> {
    fn verify(&self, slot: Slot, check: PasswordCheck, post: &Post<S>) {
        let job = Job {
            slot,
            check,
            post: post.clone(),
        };
        // A flood of logins is refused rather than queued without end.
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.0.try_send(job)
        {
            job.post.send(Control::Verified {
                slot,
                check: job.check,
                matches: false,
            });
        }
    }
}
