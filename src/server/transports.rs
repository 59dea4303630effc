//! Listeners and settings of what comes before the protocol.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::handle::Shared;
use super::stapling::{self, Stapled, Watch};
use super::start::{StartError, listen};
use crate::auth::authenticate::Authenticator;
use crate::listener::staple::Staple;
use crate::listener::tls::{self, TlsLoadError};
use crate::ops::banner;
use crate::options::{AuthOptions, Options, TlsOptions, WebSocketOptions};
use crate::shard::settings::Settings;
use crate::transport::settings::{TlsSettings, TransportSettings};
use crate::transport::websocket::origin::{Origin, Origins};
use crate::transport::websocket::settings::WebSocketSettings;

/// Opens the WebSocket listener, if there is to be one (WS-1).
pub(super) fn listen_websocket(
    options: &Options,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let websocket = &options.websocket;
    if websocket.port == 0 {
        return Ok(None);
    }
    let host = websocket_host(websocket);
    let failed = |error| match error {
        StartError::Listen { host, port, cause } => {
            StartError::WebSocketListen(banner::bind_failure(&host, port, &cause))
        }
        other => other,
    };
    listen(host, websocket.port).map(Some).map_err(failed)
}

/// Where WebSocket clients connect to; every address unless it is said.
pub(super) fn websocket_host(websocket: &WebSocketOptions) -> &str {
    if websocket.host.is_empty() {
        "0.0.0.0"
    } else {
        &websocket.host
    }
}

/// What is decided before a connection's protocol begins: at the start and again at each reload.
/// Certificates are read anew; connections that exist keep what they began with.
pub(super) struct Doors {
    /// TLS, WebSocket and the like.
    pub transports: Arc<TransportSettings>,
    /// Certificates of which authorities must be asked from time to time.
    pub stapled: Vec<Stapled>,
}

/// TLS of a listener, if it has any, and its staple.
type Loaded = (Option<Arc<TlsSettings>>, Option<Arc<Staple>>);

impl Doors {
    /// As the options say; `websocket` is where that listener really is.
    ///
    /// # Errors
    /// What is wrong with certificates.
    pub fn new(options: &Options, websocket: Option<SocketAddr>) -> Result<Self, TlsLoadError> {
        let mut stapled = Vec::new();
        let mut load = |block: &Option<TlsOptions>| -> Result<Loaded, TlsLoadError> {
            let Some(block) = block else {
                return Ok((None, None));
            };
            let mut staple = None;
            let settings = tls::load_stapled(block, |key| {
                let found = stapling::of(block, options, key)?;
                staple = found.as_ref().map(Stapled::staple);
                stapled.extend(found);
                Ok(staple.clone())
            })?;
            Ok((Some(settings), staple))
        };
        let (tls, staple) = load(&options.tls)?;
        let settings = match websocket {
            Some(address) => {
                let (tls, _) = load(&options.websocket.tls)?;
                let settings = websocket_settings(&options.websocket, address, tls);
                Some(Arc::new(settings))
            }
            None => None,
        };
        let transports = TransportSettings {
            tls,
            allow_non_tls: options.allow_non_tls,
            proxy_protocol: options.proxy_protocol,
            websocket: settings,
            leaf_tls: options.leafnodes.tls.as_ref().map(tls::load).transpose()?,
            monitoring: monitoring(options, staple)?,
        };
        Ok(Self {
            transports: Arc::new(transports),
            stapled,
        })
    }

    /// Begins to renew what authorities say. Where a revoked certificate ends the server, `ends`.
    pub fn watch(stapled: Vec<Stapled>, ends: &Arc<Shared>) -> Vec<Watch> {
        let watch = |it: Stapled| {
            let ends = Arc::clone(ends);
            it.watch(move || ends.end())
        };
        stapled.into_iter().filter_map(watch).collect()
    }

    /// Those in force.
    pub fn unchanged(settings: &Settings) -> Self {
        Self {
            transports: Arc::clone(&settings.transports),
            stapled: Vec::new(),
        }
    }
}

/// The certificates of the client port for whoever asks (MON-6).
fn monitoring(
    options: &Options,
    staple: Option<Arc<Staple>>,
) -> Result<Option<Arc<TlsSettings>>, TlsLoadError> {
    let Some(tls) = options
        .tls
        .as_ref()
        .filter(|_| options.monitor.https_port != 0)
    else {
        return Ok(None);
    };
    let anybody = TlsOptions {
        verify: false,
        map: false,
        ..tls.clone()
    };
    tls::load_stapled(&anybody, |_| Ok(staple)).map(Some)
}

/// What a listener's certificates and proxies say of who its clients are.
pub(super) fn with_trust(authenticator: Authenticator, options: &Options) -> Authenticator {
    let maps = |tls: &Option<TlsOptions>| tls.as_ref().is_some_and(|it| it.map);
    let websocket = &options.websocket;
    let kinds = [
        (maps(&options.tls), "STANDARD"),
        (websocket.port != 0 && maps(&websocket.tls), "WEBSOCKET"),
    ];
    let mapping = kinds.iter().filter(|(maps, _)| *maps);
    authenticator.with_trust(
        mapping.map(|(_, kind)| *kind).collect(),
        &options.trusted_proxies,
    )
}

/// Who may come by WebSocket where that is not decided by the rest (WS-11): a name, token or
/// `no_auth_user` of the `websocket` block takes the place of those outside it; the users are the
/// same.
pub(super) fn websocket_auth(options: &Options) -> Option<AuthOptions> {
    let own = &options.websocket;
    if own.username.is_none() && own.token.is_none() && own.no_auth_user.is_none() {
        return None;
    }
    Some(AuthOptions {
        username: own.username.clone(),
        password: own.password.clone(),
        token: own.token.clone(),
        no_auth_user: own.no_auth_user.clone(),
        ..options.auth.clone()
    })
}

fn websocket_settings(
    options: &WebSocketOptions,
    address: SocketAddr,
    tls: Option<Arc<TlsSettings>>,
) -> WebSocketSettings {
    let headers = options.headers.iter();
    WebSocketSettings {
        tls,
        host: websocket_host(options).to_owned(),
        port: address.port(),
        origins: Origins {
            same: options.same_origin,
            allowed: options
                .allowed_origins
                .iter()
                .filter_map(|it| Origin::parse(it).ok()) // checked with the configuration
                .collect(),
        },
        compression: options.compression,
        handshake_timeout: options.handshake_timeout,
        cookies: options.cookies.clone(),
        headers: headers
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect(),
        auth_timeout: options.auth_timeout,
        ping_interval: options.ping_interval,
    }
}
