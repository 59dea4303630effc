//! What every shard is told at its start and by each reload: one immutable view, shared.

use std::sync::Arc;

use crate::accounts::registry::Accounts;
use crate::auth::authenticate::Authenticator;
use crate::options::ClientLimits;
use crate::protocol::info::ServerInfo;
use crate::shard::identity::ServerIdentity;
use crate::shard::rates::RateTable;

/// Settings of all shards.
#[derive(Clone)]
pub struct Settings {
    /// Views are numbered; a later one replaces an earlier one, between two turns.
    pub number: u64,
    /// Limits and timers of clients.
    pub limits: ClientLimits,
    /// The server as its events and answers name it.
    pub identity: ServerIdentity,
    /// INFO as every client gets it; what differs by connection is filled in.
    pub info: Arc<ServerInfo>,
    /// Rate limits, if there are any.
    pub rates: Option<Arc<RateTable>>,
    /// All accounts.
    pub accounts: Arc<Accounts>,
    /// Who may connect.
    pub authenticator: Arc<Authenticator>,
    /// Time a connection has for its CONNECT.
    pub auth_timeout: std::time::Duration,
    /// Bytes that may wait for all clients of a shard together; `None` is without bound
    /// ([`crate::shard::budget`]).
    pub output_share: Option<u64>,
    /// Log what happens to connections.
    pub debug: bool,
    /// Log every operation.
    pub trace: bool,
    /// Log headers, not payloads.
    pub trace_headers: bool,
    /// Bytes of a payload shown in the log; 0 is all.
    pub max_traced_msg_len: usize,
}
