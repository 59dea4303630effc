//! What `/varz` and `/connz` say of TLS, WebSocket and proxies (MON-8, MON-20).

use serde::Serialize;

use super::facts::ServerFacts;
use super::format::{self, Number};
use super::peers;
use crate::shard::report::TransportReport;
use crate::time::WallTime;

/// TLS of one connection.
#[derive(Serialize)]
pub(super) struct ConnTls {
    #[serde(rename = "tls_version", skip_serializing_if = "str::is_empty")]
    version: &'static str,
    #[serde(rename = "tls_cipher_suite", skip_serializing_if = "str::is_empty")]
    cipher_suite: &'static str,
    #[serde(rename = "tls_peer_certs", skip_serializing_if = "Vec::is_empty")]
    peer_certs: Vec<PeerCert>,
    #[serde(rename = "tls_first", skip_serializing_if = "is_false")]
    first: bool,
}

#[derive(Serialize)]
struct PeerCert {
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    spki_sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cert_sha256: String,
}

impl ConnTls {
    /// `auth`: certificates are asked for.
    pub(super) fn of(report: &TransportReport, auth: bool) -> Self {
        let Some(tls) = &report.tls else {
            return Self {
                version: "",
                cipher_suite: "",
                peer_certs: Vec::new(),
                first: false,
            };
        };
        let peer = tls.peer.iter().filter(|_| auth);
        Self {
            version: tls.version,
            cipher_suite: tls.cipher_suite,
            peer_certs: peer
                .map(|it| PeerCert {
                    subject: it.subject.clone(),
                    spki_sha256: it.spki_sha256.clone(),
                    cert_sha256: it.cert_sha256.clone(),
                })
                .collect(),
            first: tls.first,
        }
    }
}

/// The trusted proxy of a connection.
#[derive(Serialize)]
pub(super) struct ProxyInfo {
    key: Box<str>,
}

impl ProxyInfo {
    pub(super) fn of(report: &TransportReport) -> Option<Self> {
        report.proxy.as_deref().map(|key| Self { key: key.into() })
    }
}

/// The `websocket` block of `/varz`; empty where it is off.
#[derive(Serialize)]
pub(super) struct WebSocketVarz<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    port: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    advertise: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    no_auth_user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    jwt_cookie: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_timeout: Option<Number>,
    #[serde(skip_serializing_if = "is_false")]
    no_tls: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_map: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tls_pinned_certs: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    tls_ocsp_peer_verify: bool,
    #[serde(skip_serializing_if = "is_false")]
    same_origin: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    allowed_origins: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    compression: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
}

impl<'a> WebSocketVarz<'a> {
    pub(super) fn of(facts: &'a ServerFacts) -> Self {
        let options = &facts.options.websocket;
        let settings = facts.transports.websocket.as_ref();
        let tls = options.tls.as_ref();
        Self {
            host: settings.map_or("", |it| &it.host),
            port: settings.map_or(0, |it| it.port),
            advertise: &options.advertise,
            no_auth_user: options.no_auth_user.as_deref().unwrap_or_default(),
            jwt_cookie: &options.cookies.jwt,
            handshake_timeout: options.handshake_timeout.map(|it| it.as_nanos() as u64),
            auth_timeout: options.auth_timeout.map(|it| Number(it.as_secs_f64())),
            no_tls: options.no_tls,
            tls_map: tls.is_some_and(|it| it.map),
            tls_pinned_certs: tls.map_or(&[], |it| &it.pinned_certs),
            tls_ocsp_peer_verify: peers::asks(tls),
            same_origin: options.same_origin,
            allowed_origins: &options.allowed_origins,
            compression: options.compression,
            tls_cert_not_after: settings
                .and_then(|it| it.tls.as_ref()?.not_after)
                .map(time_of),
        }
    }
}

/// End of our first certificate of the client port.
pub(super) fn cert_not_after(facts: &ServerFacts) -> Option<String> {
    facts.transports.tls.as_ref()?.not_after.map(time_of)
}

fn time_of(seconds: i64) -> String {
    let nanos = u64::try_from(seconds)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000);
    format::time(WallTime(nanos))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(value: &u16) -> bool {
    *value == 0
}
