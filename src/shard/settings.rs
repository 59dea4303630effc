//! What every shard is told at its start: one immutable view, shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::authenticate::Authenticator;
use crate::options::ClientLimits;
use crate::protocol::info::ServerInfo;
use crate::transport::settings::TransportSettings;

/// Settings of all shards.
#[derive(Clone)]
pub struct Settings {
    /// Limits and timers of clients.
    pub limits: ClientLimits,
    /// INFO as every client gets it; what differs by connection is filled in.
    pub info: Arc<ServerInfo>,
    /// Who may connect.
    pub authenticator: Arc<Authenticator>,
    /// Time a connection has for its CONNECT.
    pub auth_timeout: std::time::Duration,
    /// TLS, WebSocket and what else comes before the protocol.
    pub transports: Arc<TransportSettings>,
    /// Feature flags in force (CFG-68).
    pub feature_flags: BTreeMap<String, bool>,
    /// Log what happens to connections.
    pub debug: bool,
    /// Log every operation.
    pub trace: bool,
    /// Log headers, not payloads.
    pub trace_headers: bool,
    /// Bytes of a payload shown in the log; 0 is all.
    pub max_traced_msg_len: usize,
}
