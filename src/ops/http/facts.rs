//! What changes only with the configuration while the server runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::peers::PeerCacheFigures;
use crate::accounts::registry::Accounts;
use crate::auth::jwt::trust::TrustedAccount;
use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::time::WallTime;
use crate::transport::settings::TransportSettings;

/// Facts that monitoring shows beside the figures.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// What the server says of itself to clients.
    pub info: Arc<ServerInfo>,
    /// Our own version (PROC-12).
    pub ramjet_version: &'static str,
    /// The options it runs with.
    pub options: Arc<Options>,
    /// The accounts there are.
    pub accounts: Arc<Accounts>,
    /// Those that operators vouch for, by their keys.
    pub trusted: Arc<BTreeMap<String, Arc<TrustedAccount>>>,
    /// When tokens of those came that have changed since the start.
    pub token_times: Arc<BTreeMap<String, WallTime>>,
    /// TLS and WebSocket as they are in force.
    pub transports: Arc<TransportSettings>,
    /// What is known of peers' certificates.
    pub peer_cache: Arc<PeerCacheFigures>,
    /// Monitoring port really bound, with TLS or without.
    pub http_port: u16,
    /// Leaf node port really bound; 0 without one.
    pub leaf_port: u16,
    /// Shards.
    pub shards: usize,
    /// Feature flags in force.
    pub feature_flags: BTreeMap<String, bool>,
    /// Streams that were there at the start and could not be read.
    pub unrecovered: Arc<[UnrecoveredStream]>,
    /// When it started.
    pub start: WallTime,
    /// When its configuration was read last (CFG-96).
    pub config_load: WallTime,
}

/// A stream that was there and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecoveredStream {
    /// Its account's name.
    pub account: String,
    /// Its own.
    pub stream: String,
}

/// The facts of now. A reload replaces them as a whole, so that no answer mixes two.
#[derive(Debug)]
pub struct CurrentFacts(Mutex<Arc<ServerFacts>>);

impl CurrentFacts {
    /// Those of the start.
    pub fn new(facts: ServerFacts) -> Self {
        Self(Mutex::new(Arc::new(facts)))
    }

    /// Those in force.
    pub fn now(&self) -> Arc<ServerFacts> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force.
    pub fn replace(&self, facts: ServerFacts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
    }
}

impl ServerFacts {
    /// Address monitoring listens on.
    pub(super) fn http_host(&self) -> &str {
        let host = &self.options.monitor.http_host;
        if host.is_empty() {
            &self.options.host
        } else {
            host
        }
    }
}
