//! Leaf nodes: the listener, and what shards know of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::start::{StartError, listen};
use crate::accounts::registry::Accounts;
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::options::{AuthOptions, LeafOptions, Options, WriteTimeoutPolicy};
use crate::shard::leaf::settings::LeafSettings;

/// Opens the leaf node listener, if there is to be one.
pub(super) fn listen_leafnodes(
    options: &LeafOptions,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    if options.port == 0 {
        return Ok(None);
    }
    listen(host(options), options.port).map(Some)
}

fn host(options: &LeafOptions) -> &str {
    match options.host.as_str() {
        "" => "0.0.0.0",
        host => host,
    }
}

/// What shards know of leaf nodes; `port` is where the listener really is, 0 without one.
///
/// # Errors
/// What is wrong with `authorization`.
pub(super) fn settings(
    options: &Options,
    accounts: &Accounts,
    port: u16,
) -> Result<LeafSettings, AuthConfigError> {
    let own = &options.leafnodes;
    let authenticator = match own.users.is_empty() {
        true => None,
        false => Some(Arc::new(Authenticator::with_accounts(
            &AuthOptions {
                users: own.users.clone(),
                ..AuthOptions::default()
            },
            accounts,
        )?)),
    };
    let advertised = match own.advertise.as_str() {
        "" => format!("{}:{port}", host(own)),
        text if text.contains(':') => text.to_owned(),
        text => format!("{text}:{port}"),
    };
    Ok(LeafSettings {
        host: host(own).to_owned(),
        port,
        urls: match port == 0 || own.no_advertise {
            true => Vec::new(),
            false => vec![advertised],
        },
        authenticator,
        auth_timeout: own.auth_timeout,
        min_version: own.min_version.clone(),
        cluster: String::new(), // INFO has it
        clustered: options.cluster_name.is_some(),
        without_domain: {
            let domains = options.jetstream.default_domains.iter();
            let without = domains.filter(|(_, domain)| domain.is_empty());
            without.map(|(account, _)| account.clone()).collect()
        },
        isolate: own.isolate,
        write_deadline: own.write_deadline,
        closes_late: own.write_timeout == WriteTimeoutPolicy::Close,
        compression: own.compression.clone(),
    })
}
