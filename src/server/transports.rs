//! Listeners and settings of what comes before the protocol.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::start::{StartError, listen};
use crate::auth::authenticate::Authenticator;
use crate::listener::tls::{self, TlsLoadError};
use crate::ops::banner;
use crate::options::{AuthOptions, Options, TlsOptions, WebSocketOptions};
use crate::shard::settings::Settings;
use crate::transport::settings::TransportSettings;
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
}

impl Doors {
    /// As the options say; `websocket` is where that listener really is.
    ///
    /// # Errors
    /// What is wrong with certificates.
    pub fn new(options: &Options, websocket: Option<SocketAddr>) -> Result<Self, TlsLoadError> {
        let settings = match websocket {
            Some(address) => Some(Arc::new(websocket_settings(&options.websocket, address)?)),
            None => None,
        };
        let transports = TransportSettings {
            tls: options.tls.as_ref().map(tls::load).transpose()?,
            allow_non_tls: options.allow_non_tls,
            proxy_protocol: options.proxy_protocol,
            websocket: settings,
            leaf_tls: options.leafnodes.tls.as_ref().map(tls::load).transpose()?,
        };
        Ok(Self {
            transports: Arc::new(transports),
        })
    }

    /// Those in force.
    pub fn unchanged(settings: &Settings) -> Self {
        Self {
            transports: Arc::clone(&settings.transports),
        }
    }
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
) -> Result<WebSocketSettings, TlsLoadError> {
    let headers = options.headers.iter();
    Ok(WebSocketSettings {
        tls: options.tls.as_ref().map(tls::load).transpose()?,
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
    })
}
