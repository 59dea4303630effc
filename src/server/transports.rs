//! Listeners and settings of what comes before the protocol.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::start::{StartError, listen};
use crate::listener::tls::{self, TlsLoadError};
use crate::ops::banner;
use crate::options::{Options, WebSocketOptions};
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

/// What connections are told: at the start and again at each reload. Certificates are read anew;
/// connections that exist keep what they began with.
pub(super) fn settings(
    options: &Options,
    websocket: Option<SocketAddr>,
) -> Result<TransportSettings, TlsLoadError> {
    let websocket = match websocket {
        Some(address) => Some(Arc::new(websocket_settings(&options.websocket, address)?)),
        None => None,
    };
    Ok(TransportSettings {
        tls: options.tls.as_ref().map(tls::load).transpose()?,
        allow_non_tls: options.allow_non_tls,
        proxy_protocol: options.proxy_protocol,
        websocket,
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
