//! What does not change while the server runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::time::WallTime;

/// Facts that monitoring shows beside the figures.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// What the server says of itself to clients.
    pub info: Arc<ServerInfo>,
    /// Our own version (PROC-12).
    pub ramjet_version: &'static str,
    /// The options it runs with.
    pub options: Arc<Options>,
    /// Monitoring port really bound.
    pub http_port: u16,
    /// Shards.
    pub shards: usize,
    /// Feature flags in force.
    pub feature_flags: BTreeMap<String, bool>,
    /// When it started, and its configuration was read.
    pub start: WallTime,
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
