//! What every shard is told at its start and by each reload: one immutable view, shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::registry::Accounts;
use crate::auth::authenticate::Authenticator;
use crate::ids::Listener;
use crate::options::{ClientLimits, Options};
use crate::protocol::info::ServerInfo;
use crate::shard::identity::{ServerIdentity, Told};
use crate::shard::jetstream::settings::JetStreamSettings;
use crate::shard::leaf::settings::LeafSettings;
use crate::shard::rates::RateTable;
use crate::transport::settings::TransportSettings;

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
    /// Who may connect by WebSocket, where it is not the same (WS-11).
    pub websocket_authenticator: Option<Arc<Authenticator>>,
    /// JetStream, if it is on.
    pub jetstream: Option<Arc<JetStreamSettings>>,
    /// Links to leaf nodes and hubs.
    pub leaf: LeafSettings,
    /// Time a connection has for its CONNECT.
    pub auth_timeout: std::time::Duration,
    /// TLS, WebSocket and what else comes before the protocol.
    pub transports: Arc<TransportSettings>,
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

impl Settings {
    /// The first view of a server that is told nothing else: no TLS, no WebSocket, no rate limits,
    /// no JetStream, and no name.
    pub fn of(options: &Options, accounts: Arc<Accounts>, users: Arc<Authenticator>) -> Self {
        let nameless = Told {
            cluster: None,
            tags: &[],
            metadata: &BTreeMap::new(),
            feature_flags: &BTreeMap::new(),
            jetstream: false,
            domain: None,
        };
        let info = Arc::new(ServerInfo::default());
        Self {
            number: 0,
            limits: options.client.clone(),
            identity: ServerIdentity::new(&info, nameless, Arc::default()),
            info,
            rates: None,
            accounts,
            authenticator: users,
            websocket_authenticator: None,
            leaf: LeafSettings::default(),
            jetstream: None,
            auth_timeout: options.auth.timeout,
            transports: Arc::default(),
            output_share: None,
            debug: options.log.debug,
            trace: options.log.trace,
            trace_headers: options.log.trace_headers,
            max_traced_msg_len: options.log.max_traced_msg_len,
        }
    }

    /// Time between two PINGs on this listener.
    pub fn ping_interval(&self, listener: Listener) -> Duration {
        let websocket = self.transports.websocket.as_ref();
        let own = websocket.filter(|_| listener == Listener::WebSocket);
        own.and_then(|it| it.ping_interval)
            .unwrap_or(self.limits.ping_interval)
    }

    /// Who may connect by this listener.
    pub fn authenticator(&self, listener: Listener) -> &Arc<Authenticator> {
        match (&self.websocket_authenticator, listener) {
            (Some(own), Listener::WebSocket) => own,
            (_, Listener::Leaf) => self
                .leaf
                .authenticator
                .as_ref()
                .unwrap_or(&self.authenticator),
            _ => &self.authenticator,
        }
    }
}
