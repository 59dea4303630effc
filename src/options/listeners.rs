//! How bytes reach the server: TLS, WebSocket, proxies in front of it.

use std::path::PathBuf;
use std::time::Duration;

use super::PathPair;

/// Where other servers come: routes (CFG-59) or gateways (CFG-60).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerPortOptions {
    /// Address; all when empty.
    pub host: String,
    /// Port; 0 is off, -1 lets the kernel choose.
    pub port: i32,
}

/// A `tls` block (CORE-78..89).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// Certificate chains with their keys; none where a block only says whom to trust.
    pub certificates: Vec<PathPair>,
    /// Given as `certs` rather than `cert_file`: errors name the pair's number.
    pub numbered: bool,
    /// Who signs the certificates of peers; the system's authorities when `None`.
    pub ca_file: Option<PathBuf>,
    /// A certificate is asked for and must be good (CORE-81).
    pub verify: bool,
    /// The certificate says who the user is (AUTH-24).
    pub map: bool,
    /// The certificate must name a configured URL (AUTH-26).
    pub check_known_urls: bool,
    /// As a client, certificates of servers are not checked.
    pub insecure: bool,
    /// Go's names of cipher suites, in order of preference; empty is all (CORE-80).
    pub cipher_suites: Vec<String>,
    /// Go's names of key exchange groups; empty is all.
    pub curves: Vec<String>,
    /// TLS 1.3 only.
    pub only_tls13: bool,
    /// Time a handshake may take; `None` is stock's two seconds.
    pub timeout: Option<Duration>,
    /// Handshakes a second; 0 is without limit (CORE-85).
    pub connection_rate_limit: u64,
    /// SHA-256 of the public keys of the only peers let in, hex, lower case (CORE-84).
    pub pinned_certs: Vec<String>,
    /// Who speaks first (CORE-83).
    pub handshake_first: HandshakeFirst,
    /// Whether and how it is asked if certificates of peers were revoked (CORE-89).
    pub ocsp_peer: Option<OcspPeerOptions>,
}

/// `ocsp_peer` (CORE-89).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspPeerOptions {
    /// Time a responder has for its answer.
    pub timeout: Duration,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// How long an answer holds that does not say.
    pub lifetime: Duration,
    /// Nobody is refused.
    pub warn_only: bool,
    /// Certificates that the responder does not know are good.
    pub unknown_is_good: bool,
    /// So are those that no responder says anything of, unless one was known to be revoked.
    pub allow_unreachable: bool,
}

impl Default for OcspPeerOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            clock_skew: Duration::from_secs(30),
            lifetime: Duration::from_secs(3600),
            warn_only: false,
            unknown_is_good: false,
            allow_unreachable: false,
        }
    }
}

/// `ocsp_cache`: what responders said of peers' certificates (CORE-89).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspCacheOptions {
    /// Folder it is kept in; nothing is remembered where `None`.
    pub folder: Option<PathBuf>,
    /// A revocation is remembered even after its time.
    pub preserve_revoked: bool,
    /// Between two looks whether it must be written.
    pub save_interval: Duration,
}

impl Default for OcspCacheOptions {
    fn default() -> Self {
        Self {
            folder: Some("_rc_".into()),
            preserve_revoked: false,
            save_interval: Duration::from_secs(300),
        }
    }
}

/// `handshake_first` (CORE-83).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeFirst {
    /// INFO in clear, then TLS.
    #[default]
    Off,
    /// TLS, then INFO.
    On,
    /// TLS if the client begins within this time, INFO in clear otherwise.
    Fallback(Duration),
}

/// `ocsp` (CORE-88).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OcspOptions {
    /// When a staple is fetched.
    pub mode: OcspMode,
    /// Responders asked instead of the one the certificate names.
    pub urls: Vec<String>,
}

/// Mode of [`OcspOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OcspMode {
    /// Only where the certificate asks for a staple.
    #[default]
    Auto,
    /// For every certificate; a revoked one ends the server.
    Always,
    /// Where the certificate asks for it; a revoked one ends the server.
    Must,
    /// Never.
    Never,
}

/// The `websocket` block (WS-1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WebSocketOptions {
    /// Address; all when empty.
    pub host: String,
    /// Port; 0 is off, -1 lets the kernel choose.
    pub port: i32,
    /// `host[:port]` told to clients (CORE-12).
    pub advertise: String,
    /// TLS of this listener; `no_tls` must be set where there is none.
    pub tls: Option<TlsOptions>,
    /// Without TLS on purpose.
    pub no_tls: bool,
    /// An `Origin` header must name this server (WS-5).
    pub same_origin: bool,
    /// Or one of these.
    pub allowed_origins: Vec<String>,
    /// Compresses for clients that offer it (WS-8).
    pub compression: bool,
    /// Time for the HTTP request (WS-16).
    pub handshake_timeout: Option<Duration>,
    /// Cookies with what a CONNECT leaves out (WS-10).
    pub cookies: CookieNames,
    /// Single user of this listener (WS-11).
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Token of this listener.
    pub token: Option<String>,
    /// Time for CONNECT on this listener.
    pub auth_timeout: Option<Duration>,
    /// User of those without credentials on this listener.
    pub no_auth_user: Option<String>,
    /// Headers added to the answer (WS-15).
    pub headers: Vec<(String, String)>,
    /// Overrides the general interval.
    pub ping_interval: Option<Duration>,
}

/// Names of cookies (WS-10); empty ones mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CookieNames {
    /// Carries the user JWT.
    pub jwt: String,
    /// Carries the user name.
    pub user: String,
    /// Carries the password.
    pub pass: String,
    /// Carries the token.
    pub token: String,
}
