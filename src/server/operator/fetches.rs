//! Fetches accounts from an account server when somebody comes with a user of them (AUTH-71).
//!
//! A server that does not answer costs 1.9 seconds, which neither a shard nor the thread of the
//! services has: a few threads of their own wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::account_server::AccountServer;
use super::search::Search;
use super::waiting::Waiting;
use crate::io::Socket;
use crate::limits;
use crate::server::reload::Reloader;
use crate::server::system::services::{Outlet, Service};
use crate::shard::control::Post;
use crate::shard::internal::AccountSought;

/// Fetches under way at the same time.
const THREADS: usize = 4;
/// Time all accounts that one needs may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two tries for the system account.
const SYSTEM_RETRY: Duration = Duration::from_secs(1);
/// A fetch that takes longer is told to the log.
const SLOW: Duration = Duration::from_secs(1);

/// What the threads share.
struct Shared {
    server: AccountServer,
    reloader: Arc<Reloader>,
    waiting: Mutex<Waiting>,
    /// Another resolver has taken over: what is still fetched does not count.
    ended: AtomicBool,
}

/// Has accounts fetched.
pub(in crate::server) struct Fetches {
    shared: Arc<Shared>,
    keys: SyncSender<String>,
    /// Until the threads take it.
    queue: Option<Receiver<String>>,
    next_try: Option<Instant>,
}

impl Fetches {
    pub fn new(server: AccountServer, reloader: Arc<Reloader>, posts: Vec<Post<Socket>>) -> Self {
        let (keys, queue) = sync_channel(limits::SEARCHES_MAX);
        Self {
            shared: Arc::new(Shared {
                server,
                reloader,
                waiting: Mutex::new(Waiting::new(posts)),
                ended: AtomicBool::new(false),
            }),
            keys,
            queue: Some(queue),
            next_try: None,
        }
    }

    fn enqueue(&self, key: &str) {
        if self.keys.try_send(key.to_owned()).is_err() {
            self.shared.waiting().done(key);
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, key: &str) {
        let start = Instant::now();
        let mut search = Search::new(key, start + PATIENCE);
        while Instant::now() < search.until
            && let Some(key) = search.next(|key| self.reloader.has(key))
        {
            let begun = Instant::now();
            match self.server.fetch(&key) {
                Ok(token) if search.take(&key, token.trim()) => {}
                Ok(_) => log::warn!("Account fetch failed: account validation failed"),
                Err(error) => log::warn!("Account fetch failed: {error}"),
            }
            let took = begun.elapsed();
            match took > SLOW {
                true => log::warn!("Account [{key}] fetch took {took:?}"),
                false => log::debug!("Account [{key}] fetch took {took:?}"),
            }
        }
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        // What is wrong with one is in the log; whoever waits for it hears that it is not there.
        let _ = self.reloader.update_accounts(&search.found());
        self.waiting().done(key);
    }
}

impl Service for Fetches {
    fn start(&mut self, _: &Outlet) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(&queue));
            let run = move || {
                let next = || {
                    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.recv()
                };
                while let Ok(key) = next() {
                    shared.fetch(&key);
                }
            };
            let spawned = std::thread::Builder::new()
                .name("accounts".into())
                .spawn(run);
            if let Err(error) = spawned {
                log::error!(
                    "cannot start a thread that fetches accounts: {error}; raise the limit of processes (ulimit -u)"
                );
            }
        }
    }

    fn message(&mut self, _: &crate::shard::internal::InternalMessage, _: &Outlet) {}

    fn seek(&mut self, sought: &AccountSought, _: &Outlet) {
        let first = self.shared.waiting().add(sought);
        if first {
            self.enqueue(&sought.key);
        }
    }

    fn stop(&mut self, _: &Outlet) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.waiting().end();
    }

    fn tick(&mut self, now: Instant, _: &Outlet) {
        self.shared.waiting().give_up(now);
        if self.next_try.is_some_and(|it| now < it) {
            return;
        }
        self.next_try = Some(now + SYSTEM_RETRY);
        if let Some(key) = self.shared.reloader.bootstrapping() {
            self.enqueue(&key);
        }
    }
}
