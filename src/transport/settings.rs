//! What a listener's connections are told: immutable, shared by all shards, replaced as a whole by
//! a reload. Connections keep what they began with.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::CipherSuite;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::server::ServerConfig;

use super::chain::{self, Chain};
use super::identity;
use super::rate::HandshakeRate;
use super::websocket::settings::WebSocketSettings;
use crate::ids::Listener;
use crate::options::{HandshakeFirst, OcspPeerOptions};

/// Time a TLS handshake may take where the configuration does not say (CORE-78).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time a PROXY header may take (CORE-91).
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// TLS of one listener.
#[derive(Debug)]
pub struct TlsSettings {
    /// Certificates, ciphers and whom to trust. Its session tickets and cache are its own, so a
    /// session is never resumed where other peers are trusted.
    pub config: Arc<ServerConfig>,
    /// Time for a handshake.
    pub timeout: Duration,
    /// Who speaks first.
    pub handshake_first: HandshakeFirst,
    /// SHA-256 of the public keys that are let in; empty lets all in (CORE-84).
    pub pinned: HashSet<[u8; 32]>,
    /// Peers must show a certificate (CORE-81).
    pub verify: bool,
    /// It says who they are (AUTH-24).
    pub map: bool,
    /// Handshakes a second, if bounded.
    pub rate: Option<Arc<HandshakeRate>>,
    /// Who signs certificates of peers; empty where none is asked for.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How signatures of certificates are checked.
    pub algorithms: WebPkiSupportedAlgorithms,
    /// Their authorities are asked whether they were revoked (CORE-89).
    pub ocsp_peer: Option<OcspPeerOptions>,
    /// SHA-256 over all certificates of ours, to see whether a reload brings others.
    pub certificates: [u8; 32],
    /// When our first certificate ends, in seconds since 1970.
    pub not_after: Option<i64>,
}

impl TlsSettings {
    /// By which ways a peer's certificates lead to authorities that are trusted.
    pub fn chains(&self, sent: &[CertificateDer<'static>]) -> Vec<Chain> {
        chain::chains(sent, &self.authorities, &self.algorithms)
    }

    /// Is a peer with these certificates let in, as far as pins say?
    pub fn admits(&self, certificates: &[CertificateDer<'_>]) -> bool {
        identity::is_pinned(&self.pinned, certificates)
    }
}

/// Everything before the protocol, for all listeners.
#[derive(Debug, Default)]
pub struct TransportSettings {
    /// TLS of the client port.
    pub tls: Option<Arc<TlsSettings>>,
    /// Clients of that port may do without it (CORE-82).
    pub allow_non_tls: bool,
    /// They may begin with a PROXY header (CORE-91).
    pub proxy_protocol: bool,
    /// WebSocket, if it is on.
    pub websocket: Option<Arc<WebSocketSettings>>,
    /// TLS of the leaf node port.
    pub leaf_tls: Option<Arc<TlsSettings>>,
    /// TLS of monitoring, which asks nobody for a certificate (MON-6).
    pub monitoring: Option<Arc<TlsSettings>>,
}

impl TransportSettings {
    /// Which certificates of ours are in use: of clients, and of WebSocket.
    pub fn certificates(&self) -> [Option<[u8; 32]>; 2] {
        let websocket = self.websocket.as_ref().and_then(|it| it.tls.as_ref());
        [self.tls.as_ref(), websocket].map(|tls| tls.map(|it| it.certificates))
    }

    /// Do certificates of this listener's clients say who they are (AUTH-24)?
    pub fn maps(&self, listener: Listener) -> bool {
        let tls = match listener {
            Listener::Client => self.tls.as_ref(),
            Listener::WebSocket => self.websocket.as_ref().and_then(|it| it.tls.as_ref()),
            Listener::Leaf => self.leaf_tls.as_ref(),
        };
        tls.is_some_and(|it| it.map)
    }

    /// Is TLS asked of every client of the client port (CORE-14)?
    pub fn tls_required(&self) -> bool {
        self.tls.is_some() && !self.allow_non_tls
    }
}

/// Go's name of a cipher suite, as stock's monitoring shows it.
pub fn suite_name(suite: CipherSuite) -> &'static str {
    SUITES
        .iter()
        .find(|(_, known)| *known == suite)
        .map_or("unknown", |(name, _)| name)
}

/// The suites we speak, by Go's names (CORE-80).
pub const SUITES: [(&str, CipherSuite); 9] = [
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];
