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

/// INFO as every client gets it; `port` is the one really bound.
pub(super) fn info(options: &Options, authenticator: &Authenticator, port: u16) -> ServerInfo {
    let server_id = KeyPair::new_server().public_key();
    ServerInfo {
        server_name: options
            .server_name
            .clone()
            .unwrap_or_else(|| server_id.clone()),
        server_id,
        version: COMPATIBLE_VERSION.into(),
        proto: 1,
        git_commit: COMMIT.into(),
        go: concat!("rust", env!("CARGO_PKG_RUST_VERSION")).into(),
        host: options.host.clone(),
        port,
        headers: !options.client.no_header_support,
        auth_required: authenticator.required(),
        tls_required: options.tls.is_some() && !options.allow_non_tls,
        tls_available: options.tls.is_some() && options.allow_non_tls,
        tls_verify: options.tls.as_ref().is_some_and(|it| it.verify),
        max_payload: i32::try_from(options.client.max_payload).unwrap_or(i32::MAX),
        api_lvl: API_LEVEL,
        xkey: XKey::new().public_key(),
        ..ServerInfo::default()
    }
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
