//! One account: what is fixed about it, and what its connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::export::{ServiceExport, StreamExport};
use super::import::{ServiceImport, StreamImport};
use super::mapping::Mappings;
use crate::ids::AccountId;
use crate::options::{AccountLimits, AccountTiers, TraceOptions};

/// An account as one view of the registry has it. Read only, shared by all shards.
#[derive(Debug)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: Arc<str>,
    /// Its name for people.
    pub name_tag: Arc<str>,
    /// What it may use at most.
    pub limits: AccountLimits,
    /// Where messages of its clients go instead.
    pub mappings: Mappings,
    /// Streams others may have.
    pub stream_exports: Vec<StreamExport>,
    /// Services others may ask.
    pub service_exports: Vec<Arc<ServiceExport>>,
    /// Streams of others.
    pub stream_imports: Vec<Arc<StreamImport>>,
    /// Services of others.
    pub service_imports: Vec<Arc<ServiceImport>>,
    /// Where what others trace is told.
    pub trace: Option<TraceOptions>,
    /// What of JetStream it may use; nothing if `None` (JS-244).
    pub jetstream: Option<AccountTiers>,
    /// What it uses now; the same from one view to the next.
    pub usage: Arc<Usage>,
}

impl Account {
    /// An account nobody uses yet.
    pub(super) fn new(id: AccountId, name: &str) -> Self {
        Self {
            id,
            name: name.into(),
            name_tag: name.into(),
            limits: AccountLimits::default(),
            mappings: Mappings::default(),
            stream_exports: Vec::new(),
            service_exports: Vec::new(),
            stream_imports: Vec::new(),
            service_imports: Vec::new(),
            trace: None,
            jetstream: None,
            usage: Arc::default(),
        }
    }
}

/// What all shards together use of an account. Touched when connections come and go, never by
/// messages.
#[derive(Debug, Default)]
pub struct Usage {
    connections: AtomicU32,
    links: AtomicU32,
    changes: AtomicU64,
}

impl Usage {
    /// Counts one more connection, if there may be one more (CORE-16).
    pub fn enter(&self, max: Option<u32>) -> bool {
        self.add(&self.connections, max)
    }

    /// Counts one more link to another server, if there may be one more (TOPO-40).
    pub fn enter_link(&self, max: Option<u32>) -> bool {
        self.add(&self.links, max)
    }

    fn add(&self, to: &AtomicU32, max: Option<u32>) -> bool {
        let add = |now: u32| (max.is_none_or(|max| now < max)).then_some(now + 1);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let entered = to.fetch_update(order.0, order.1, add);
        if entered.is_ok() {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        entered.is_ok()
    }

    /// One link less.
    pub fn leave_link(&self) {
        self.links.fetch_sub(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Links now.
    pub fn links(&self) -> u32 {
        self.links.load(Ordering::Acquire)
    }

    /// One connection less.
    pub fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Is there a link to another server, where others may answer, too?
    pub fn is_linked(&self) -> bool {
        self.links() > 0
    }

    /// How often a connection or a link came or went.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Is anybody connected to it, client or server?
    pub fn in_use(&self) -> bool {
        self.connections() > 0 || self.links() > 0
    }

    /// Connections now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }
}
