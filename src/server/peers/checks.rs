//! Has authorities asked about peers, on threads of their own: a responder that does not answer
//! costs seconds, which neither a shard nor the thread of the services has.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::advisory::Advisories;
use super::cache::Cache;
use super::judge;
use crate::io::Socket;
use crate::limits;
use crate::ops::http::facts::CurrentFacts;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::{Outlet, Service};
use crate::shard::control::{Control, Post};
use crate::shard::internal::{InternalMessage, PeerCheck};
use crate::transport::transport::TransportError;

/// Peers asked about at the same time.
const THREADS: usize = 4;

/// What the threads share.
pub(in crate::server) struct PeerJudges {
    facts: Arc<CurrentFacts>,
    envelope: Arc<Envelope>,
    posts: Vec<Post<Socket>>,
    /// There from the first peer on.
    cache: Mutex<Option<Arc<Mutex<Cache>>>>,
}

impl PeerJudges {
    pub fn new(
        facts: Arc<CurrentFacts>,
        envelope: Arc<Envelope>,
        posts: Vec<Post<Socket>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            facts,
            envelope,
            posts,
            cache: Mutex::new(None),
        })
    }

    /// The cache as the options of now want it.
    fn cache(&self) -> Arc<Mutex<Cache>> {
        let facts = self.facts.now();
        let options = &facts.options.ocsp_cache;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*cache {
            let mut open_cache = open.lock().unwrap_or_else(PoisonError::into_inner);
            if open_cache.suits(options) {
                drop(open_cache);
                return Arc::clone(open);
            }
            open_cache.save();
        }
        let opened = Cache::open(options.clone(), Arc::clone(&facts.peer_cache));
        Arc::clone(cache.insert(Arc::new(Mutex::new(opened))))
    }

    /// Acts on the cache, if there is one.
    fn with_cache(&self, act: impl FnOnce(&mut Cache)) {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = &*cache {
            act(&mut cache.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Keeps what is known for the next server.
    pub fn save(&self) {
        self.with_cache(Cache::save);
    }

    fn check(&self, check: &PeerCheck, outlet: &Outlet) {
        let settings = &check.settings;
        let (Some(options), Some(peer)) = (&settings.ocsp_peer, check.certificates.first()) else {
            return self.tell(check, false);
        };
        let accounts = &self.facts.now().accounts;
        let advisories = accounts.system().map(|system| Advisories {
            system,
            envelope: &self.envelope,
            outlet,
        });
        let chains = settings.chains(&check.certificates);
        let good = judge::is_good(&chains, settings, options, &self.cache(), |link, why| {
            if let Some(advisories) = &advisories {
                advisories.link_invalid(link, peer, why);
            }
        });
        if let Some(advisories) = advisories.filter(|_| !good) {
            advisories.reject(peer, &TransportError::PeerRevoked.to_string());
        }
        self.tell(check, good);
    }

    fn tell(&self, check: &PeerCheck, good: bool) {
        if let Some(post) = self.posts.get(usize::from(check.shard.0)) {
            let slot = check.slot;
            // False means that the shard has ended, and its connections with it.
            post.send(Control::PeerChecked { slot, good });
        }
    }
}

/// Hands peers out to the threads.
pub(in crate::server) struct PeerChecks {
    judges: Arc<PeerJudges>,
    checks: SyncSender<Arc<PeerCheck>>,
    /// Until the threads take it.
    queue: Option<Receiver<Arc<PeerCheck>>>,
}

impl PeerChecks {
    pub fn new(judges: Arc<PeerJudges>) -> Self {
        let (checks, queue) = sync_channel(limits::SEARCHES_MAX);
        Self {
            judges,
            checks,
            queue: Some(queue),
        }
    }

    fn start_threads(&mut self, outlet: &Outlet) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let (judges, queue) = (Arc::clone(&self.judges), Arc::clone(&queue));
            let outlet = outlet.clone();
            let run = move || {
                let next = || {
                    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.recv()
                };
                while let Ok(check) = next() {
                    judges.check(&check, &outlet);
                }
            };
            let spawned = std::thread::Builder::new().name("peers".into()).spawn(run);
            if let Err(error) = spawned {
                log::error!(
                    "cannot start a thread that asks about peers: {error}; raise the limit of processes (ulimit -u)"
                );
            }
        }
    }
}

impl Service for PeerChecks {
    fn start(&mut self, _: &Outlet) {}

    fn message(&mut self, _: &InternalMessage, _: &Outlet) {}

    fn peer(&mut self, check: &Arc<PeerCheck>, outlet: &Outlet) {
        self.start_threads(outlet);
        if self.checks.try_send(Arc::clone(check)).is_err() {
            self.judges.tell(check, false);
        }
    }

    fn tick(&mut self, now: Instant, _: &Outlet) {
        self.judges.with_cache(|cache| cache.save_in_time(now));
    }
}
