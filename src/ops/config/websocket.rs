//! `websocket` block -> [`WebSocketOptions`] (WS-1).

use std::time::Duration;

use super::error::ProblemKind;
use super::inactive::listeners;
use super::report::Report;
use super::value::{Map, Node, Value};
use super::{listen, tls};
use crate::options::{Options, WebSocketOptions};
use crate::time::duration;
use crate::transport::websocket::origin::{Origin, OriginError};

/// Reads the block; what is wrong with it is noted.
pub fn read(report: &mut Report, value: &Value) -> WebSocketOptions {
    let mut options = WebSocketOptions::default();
    listeners::websocket(report, value);
    let Node::Map(map) = &value.node else {
        return options;
    };
    for (key, value) in map.iter() {
        let key = String::from_utf8_lossy(key).to_lowercase();
        entry(report, &key, value, &mut options);
    }
    options
}

fn entry(report: &mut Report, key: &str, value: &Value, options: &mut WebSocketOptions) {
    let text = || value.text().unwrap_or_default().to_owned();
    let filled = || Some(text()).filter(|it| !it.is_empty());
    let on = value.node == Node::Bool(true);
    match key {
        "listen" => {
            if let Ok((host, port)) = listen::parse(value) {
                options.host = host;
                options.port = i32::try_from(port).unwrap_or(0);
            }
        }
        "port" => {
            options.port = value
                .integer()
                .ok()
                .and_then(|it| it.try_into().ok())
                .unwrap_or(0)
        }
        "host" | "net" => options.host = text(),
        "advertise" => options.advertise = text(),
        "no_tls" => options.no_tls = on,
        "tls" => options.tls = tls::read_unchecked(report, value),
        "same_origin" => options.same_origin = on,
        "allowed_origins" | "allowed_origin" | "allow_origins" | "allow_origin" | "origins"
        | "origin" => {
            options.allowed_origins = match &value.node {
                Node::Array(values) => values
                    .iter()
                    .filter_map(|it| it.text().ok().map(str::to_owned))
                    .collect(),
                _ => vec![text()],
            };
        }
        "handshake_timeout" => {
            options.handshake_timeout = match value.node {
                Node::Integer(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
                _ => time(value),
            }
            .filter(|it| !it.is_zero());
        }
        "compress" | "compression" => options.compression = on,
        "authorization" | "authentication" => {
            if let Node::Map(map) = &value.node {
                authorization(map, options);
            }
        }
        "jwt_cookie" => options.cookies.jwt = text(),
        "user_cookie" => options.cookies.user = text(),
        "pass_cookie" => options.cookies.pass = text(),
        "token_cookie" => options.cookies.token = text(),
        "no_auth_user" => options.no_auth_user = filled(),
        "headers" => {
            if let Node::Map(map) = &value.node {
                let pairs = map.iter().filter_map(|(name, value)| {
                    let name = String::from_utf8_lossy(name).into_owned();
                    Some((name, value.text().ok()?.to_owned()))
                });
                options.headers = pairs.collect();
            }
        }
        "ping_interval" => {
            options.ping_interval = match value.node {
                Node::Integer(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
                _ => time(value),
            }
            .filter(|it| !it.is_zero());
        }
        _ => {}
    }
}

fn time(value: &Value) -> Option<Duration> {
    let nanos = duration::parse(value.text().ok()?).ok()?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

fn authorization(map: &Map, options: &mut WebSocketOptions) {
    for (key, value) in map.iter() {
        let text = || {
            let text = value.text().unwrap_or_default();
            Some(text.to_owned()).filter(|it| !it.is_empty())
        };
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "user" | "username" => options.username = text(),
            "pass" | "password" => options.password = text(),
            "token" => options.token = text(),
            "timeout" => options.auth_timeout = tls::seconds(value),
            _ => {}
        }
    }
}

/// What must hold between this block and the rest (WS-2, WS-10, WS-11, WS-15).
///
/// # Errors
/// The first thing that does not, in stock's order and words.
pub fn validate(options: &Options) -> Result<(), ProblemKind> {
    let websocket = &options.websocket;
    if websocket.port == 0 {
        return Ok(());
    }
    let other = |found: String| Err(ProblemKind::TypeIn { text: "", found });
    if websocket.tls.is_none() && !websocket.no_tls {
        return Err(ProblemKind::Stock("websocket requires TLS configuration"));
    }
    for text in &websocket.allowed_origins {
        match Origin::parse(text) {
            Err(error @ OriginError::Invalid(_)) => {
                return other(format!("unable to parse allowed origin: {error}"));
            }
            Ok(origin) if !origin.is_http() => {
                return other(format!(
                    "unable to parse allowed origin {text:?}: allowed origins must be absolute \
                     URLs with http or https scheme"
                ));
            }
            Ok(origin) if !origin.has_host() => {
                return other(format!(
                    "unable to parse allowed origin {text:?}: host is required"
                ));
            }
            Err(error) => return other(format!("unable to parse allowed origin: {error}")),
            Ok(_) => {}
        }
    }
    let users = !options.auth.users.is_empty();
    if let Some(name) = &websocket.no_auth_user {
        super::validate::no_auth_user(options, name)?;
    }
    if users && websocket.username.is_some() {
        let text = "websocket authentication username not compatible with presence of users/nkeys";
        return Err(ProblemKind::Stock(text));
    }
    if users && websocket.token.is_some() {
        let text = "websocket authentication token not compatible with presence of users/nkeys";
        return Err(ProblemKind::Stock(text));
    }
    let operator = &options.operator;
    let trusts = !operator.operators.is_empty() || !operator.trusted_keys.is_empty();
    if !websocket.cookies.jwt.is_empty() && !trusts {
        return other(format!(
            "trusted operators or trusted keys configuration is required for JWT authentication \
             via cookie {:?}",
            websocket.cookies.jwt
        ));
    }
    for (name, value) in &websocket.headers {
        let lower = name.to_lowercase();
        let reserved = [
            "host",
            "content-length",
            "connection",
            "upgrade",
            "nats-no-masking",
        ];
        if reserved.contains(&lower.as_str()) {
            return other(format!("websocket: invalid header {name:?} not allowed"));
        }
        if lower.starts_with("sec-websocket-") {
            return other(format!(
                "websocket: invalid header {name:?}, \"Sec-WebSocket-\" prefix not allowed"
            ));
        }
        // Stock sends these as they are; an answer that is not HTTP helps nobody.
        let unsafe_byte = |it: u8| it < b' ' && it != b'\t' || it == 0x7f;
        if name.is_empty()
            || name.bytes().any(|it| !it.is_ascii_graphic() || it == b':')
            || value.bytes().any(unsafe_byte)
        {
            return other(format!(
                "websocket: invalid header {name:?}: use visible characters, without line ends"
            ));
        }
    }
    Ok(())
}
