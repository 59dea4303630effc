//! What a WebSocket listener's connections are told.

use std::sync::Arc;
use std::time::Duration;

use super::origin::Origins;
use crate::options::CookieNames;
use crate::transport::settings::TlsSettings;

/// The WebSocket listener.
#[derive(Debug, Default)]
pub struct WebSocketSettings {
    /// Its TLS.
    pub tls: Option<Arc<TlsSettings>>,
    /// Address and port told to clients (CORE-12).
    pub host: String,
    /// See above.
    pub port: u16,
    /// From where pages may come (WS-5).
    pub origins: Origins,
    /// Compresses for clients that offer it (WS-8).
    pub compression: bool,
    /// Time for TLS and the HTTP request; `None` is without limit in stock, and
    /// [`UPGRADE_TIMEOUT`] with us.
    pub handshake_timeout: Option<Duration>,
    /// Cookies with what a CONNECT leaves out (WS-10).
    pub cookies: CookieNames,
    /// Lines added to the answer, each with its line end (WS-15).
    pub headers: String,
    /// Time for CONNECT, where it differs.
    pub auth_timeout: Option<Duration>,
    /// Time between PINGs, where it differs.
    pub ping_interval: Option<Duration>,
}

/// Time an upgrade may take where nothing is configured. Stock waits for ever; a peer that never
/// finishes must not hold a connection for nothing.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);
