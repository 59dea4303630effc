//! Leaf nodes: the listener, and what shards know of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use super::start::{StartError, listen};
use crate::accounts::registry::Accounts;
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::io::interfaces;
use crate::options::{AuthOptions, LeafOptions, Options, WriteTimeoutPolicy};
use crate::shard::leaf::settings::LeafSettings;
use crate::transport::s2::level::Mode;

/// Opens the leaf node listener, if there is to be one.
pub(super) fn listen_leafnodes(
    options: &LeafOptions,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    if options.port == 0 {
        return Ok(None);
    }
    listen(host(options), options.port).map(Some)
}

/// Where the listener is, as configured.
pub(super) fn host(options: &LeafOptions) -> &str {
    match options.host.as_str() {
        "" => "0.0.0.0",
        host => host,
    }
}

/// Where others find a listener on `host`: for one on all addresses the first of this machine
/// that leads beyond it, IPv4 first. One that stands for all of them would lead others to
/// themselves (TOPO-17).
fn reachable(host: &str) -> String {
    let is_any = host.parse::<IpAddr>().is_ok_and(|it| it.is_unspecified());
    if !is_any {
        return host.to_owned();
    }
    let mut addresses = interfaces::addresses();
    addresses.retain(|it| match it {
        IpAddr::V4(it) => !it.is_loopback() && !it.is_link_local(),
        IpAddr::V6(it) => !it.is_loopback() && !it.is_unicast_link_local(),
    });
    addresses.sort_by_key(IpAddr::is_ipv6);
    match addresses.first() {
        Some(address) => address.to_string(),
        None => {
            log::error!(
                "Could not find any non-local IP for leafnode's listen specification {host:?}"
            );
            host.to_owned()
        }
    }
}

/// What shards know of leaf nodes; `port` is where the listener really is, 0 without one; `remotes`
/// as [`LeafSettings::remotes`].
///
/// # Errors
/// What is wrong with `authorization`.
pub(super) fn settings(
    options: &Options,
    accounts: &Accounts,
    (port, remotes): (u16, Arc<BTreeMap<u32, Mode>>),
) -> Result<LeafSettings, AuthConfigError> {
    let own = &options.leafnodes;
    let authenticator = match own.users.is_empty() {
        true => None,
        false => {
            let users = AuthOptions {
                users: own.users.clone(),
                ..AuthOptions::default()
            };
            let maps = own.tls.as_ref().is_some_and(|it| it.map);
            let mapped = maps.then_some("LEAFNODE").into_iter().collect();
            let authenticator = Authenticator::with_accounts(&users, accounts)?;
            let authenticator = authenticator.with_trust(mapped, &options.trusted_proxies);
            Some(Arc::new(authenticator))
        }
    };
    let found = match port {
        0 => host(own).to_owned(),
        _ => reachable(host(own)),
    };
    let advertised = match own.advertise.as_str() {
        "" if found.contains(':') => format!("[{found}]:{port}"),
        "" => format!("{found}:{port}"),
        text if text.contains(':') => text.to_owned(),
        text => format!("{text}:{port}"),
    };
    Ok(LeafSettings {
        host: found,
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
        remotes,
    })
}
