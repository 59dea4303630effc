//! What a connection that we make begins with: TLS, a WebSocket, or both (TOPO-45, TOPO-46).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};

use super::identity;
use super::websocket::upgrade::Request;

/// TLS with a server that we connect to.
#[derive(Debug, Clone)]
pub struct DialTls {
    /// Our certificate, and whom to trust.
    pub config: Arc<ClientConfig>,
    /// Whose certificate it must show.
    pub name: ServerName<'static>,
    /// Time for the handshake.
    pub timeout: Duration,
    /// SHA-256 of the public keys that it may have; empty is any.
    pub pinned: Arc<HashSet<[u8; 32]>>,
}

impl DialTls {
    /// Is a server with these certificates the one we want, as far as pins say?
    pub fn admits(&self, certificates: &[CertificateDer<'_>]) -> bool {
        identity::is_pinned(&self.pinned, certificates)
    }
}

/// What comes before the protocol on a connection that we make.
#[derive(Debug, Clone, Default)]
pub struct Dial {
    /// TLS comes first.
    pub tls: Option<DialTls>,
    /// Then a WebSocket.
    pub websocket: Option<Request>,
}
