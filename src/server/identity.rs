//! What the server says of itself.

use std::collections::BTreeMap;

use nkeys::{KeyPair, XKey};

use crate::auth::authenticate::Authenticator;
use crate::options::Options;
use crate::protocol::info::ServerInfo;

/// The nats-server we are compatible with: clients switch features on by it (PROC-12).
pub const COMPATIBLE_VERSION: &str = "2.15.1";
/// Our own version, shown where a human looks.
pub const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit this was built from.
pub const COMMIT: &str = env!("RAMJET_COMMIT");
/// API level of that nats-server (CORE-5).
const API_LEVEL: u64 = 5;

/// Feature flags and what they are unless the configuration says otherwise (CFG-68).
const FEATURE_FLAGS: [(&str, bool); 4] = [
    ("js_ack_fc_v2", false),
    ("js_api_reply_v2", false),
    ("js_raft_delete_range", true),
    ("js_snapshot_sources", false),
];

/// What proves who the server is.
pub(super) struct ServerKeys {
    /// Signs; its public part is the server's id.
    pub signing: KeyPair,
    /// Seals what only one reader is to see.
    pub xkey: XKey,
}

impl ServerKeys {
    pub fn new() -> Self {
        Self {
            signing: KeyPair::new_server(),
            xkey: XKey::new(),
        }
    }
}

/// INFO as every client gets it; `port` is the one really bound.
pub(super) fn info(
    keys: &ServerKeys,
    options: &Options,
    authenticator: &Authenticator,
    port: u16,
) -> ServerInfo {
    let server_id = keys.signing.public_key();
    let server_name = options.server_name.clone();
    let server_name = server_name.unwrap_or_else(|| server_id.clone());
    let cluster = match &options.cluster_name {
        Some(name) => name.clone(),
        // Hubs tell their leaf nodes apart by their clusters: one alone is its own.
        None if !options.leafnodes.remotes.is_empty() => server_name.clone(),
        None => String::new(),
    };
    let mut info = ServerInfo {
        server_name,
        server_id,
        cluster,
        version: COMPATIBLE_VERSION.into(),
        proto: 1,
        git_commit: COMMIT.into(),
        go: concat!("rust", env!("CARGO_PKG_RUST_VERSION")).into(),
        headers: !options.client.no_header_support,
        api_lvl: API_LEVEL,
        xkey: keys.xkey.public_key(),
        ..ServerInfo::default()
    };
    update(&mut info, options, authenticator, port);
    info
}

/// What of INFO follows the configuration, at the start and after each reload.
pub(super) fn update(
    info: &mut ServerInfo,
    options: &Options,
    authenticator: &Authenticator,
    port: u16,
) {
    (info.host, info.port) = match &options.client_advertise {
        Some(address) => advertised(address, port).unwrap_or_else(|_| (address.clone(), port)),
        None => (options.host.clone(), port),
    };
    info.jetstream = options.jetstream.enabled;
    info.domain = options.jetstream.domain.clone().unwrap_or_default();
    info.auth_required = authenticator.required();
    info.tls_required = options.tls.is_some() && !options.allow_non_tls;
    info.tls_available = options.tls.is_some() && options.allow_non_tls;
    info.tls_verify = options.tls.as_ref().is_some_and(|it| it.verify);
    info.max_payload = i32::try_from(options.client.max_payload).unwrap_or(i32::MAX);
}

/// Host and port of `client_advertise`; without a port, or with 0 or -1, it is `port`.
///
/// # Errors
/// What is wrong with it, in stock's words.
pub(super) fn advertised(address: &str, port: u16) -> Result<(String, u16), String> {
    let text = address.trim();
    let (host, given) = match text.rsplit_once(':') {
        Some((host, given)) if !host.contains(':') || host.ends_with(']') => (host, given.trim()),
        _ => (text, "0"),
    };
    let number: i64 = given
        .parse()
        .map_err(|_| format!("strconv.Atoi: parsing {given:?}: invalid syntax"))?;
    let port = match number {
        0 | -1 => port,
        number => u16::try_from(number).map_err(|_| format!("port {number} is out of range"))?,
    };
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), port))
}

/// The feature flags in force: known ones, changed as the configuration says.
pub(super) fn feature_flags(options: &Options) -> BTreeMap<String, bool> {
    let value = |(name, default): (&str, bool)| {
        (
            name.to_owned(),
            options.feature_flags.get(name).copied().unwrap_or(default),
        )
    };
    FEATURE_FLAGS.map(value).into()
}
