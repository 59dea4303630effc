//! `/varz`: the server in figures (MON-8).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::facts::ServerFacts;
use super::format::Number;
use super::leafz::LeafVarz;
use super::peers::{self, PeerCacheVarz};
use super::transports::{WebSocketVarz, cert_not_after};
use super::{format, process};
use crate::options::WriteTimeoutPolicy;
use crate::shard::report::Counters;
use crate::transport::settings::HANDSHAKE_TIMEOUT;

#[derive(Serialize)]
pub(super) struct Varz<'a> {
    server_id: &'a str,
    server_name: &'a str,
    version: &'a str,
    proto: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    git_commit: &'a str,
    go: &'a str,
    host: &'a str,
    port: u16,
    #[serde(skip_serializing_if = "is_default")]
    auth_required: bool,
    #[serde(skip_serializing_if = "is_default")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_default")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "is_default")]
    tls_ocsp_peer_verify: bool,
    max_connections: i64,
    #[serde(skip_serializing_if = "is_default")]
    max_subscriptions: usize,
    ping_interval: u64,
    ping_max: u32,
    http_host: &'a str,
    http_port: u16,
    http_base_path: &'a str,
    https_port: u16,
    auth_timeout: Number,
    max_control_line: usize,
    max_payload: usize,
    max_pending: usize,
    cluster: Empty,
    gateway: Empty,
    leaf: LeafVarz<'a>,
    mqtt: Empty,
    websocket: WebSocketVarz<'a>,
    jetstream: Value,
    tls_timeout: Number,
    write_deadline: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    write_timeout: &'static str,
    start: String,
    now: String,
    uptime: String,
    mem: u64,
    cores: usize,
    gomaxprocs: usize,
    #[serde(skip_serializing_if = "is_default")]
    gomemlimit: u64,
    cpu: Number,
    connections: u64,
    total_connections: u64,
    routes: u64,
    remotes: u64,
    leafnodes: u64,
    in_msgs: u64,
    in_bytes: u64,
    in_client_msgs: u64,
    in_client_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    out_client_msgs: u64,
    out_client_bytes: u64,
    slow_consumers: u64,
    stale_connections: u64,
    stalled_clients: u64,
    subscriptions: u64,
    http_req_stats: &'a BTreeMap<&'static str, u64>,
    config_load_time: String,
    config_digest: &'a str,
    #[serde(skip_serializing_if = "is_default_slice")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    feature_flags: &'a BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    system_account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp_peer_cache: Option<PeerCacheVarz>,
    slow_consumer_stats: ByKind,
    stale_connection_stats: ByKind,
    disk_io_wait_stats: DiskWaits,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
}

/// A block of a feature that is not in use.
#[derive(Serialize)]
struct Empty {}

/// Counts by kind of connection (MON-14).
#[derive(Serialize)]
struct ByKind {
    clients: u64,
    routes: u64,
    gateways: u64,
    leafs: u64,
}

impl ByKind {
    fn of(all: u64, leafs: u64) -> Self {
        Self {
            clients: all - leafs,
            routes: 0,
            gateways: 0,
            leafs,
        }
    }
}

/// Nothing waits for a disk yet.
#[derive(Serialize, Default)]
struct DiskWaits {
    waiters: u64,
    waits: u64,
    wait_time: u64,
    max_wait_time: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_slice(tags: &&[String]) -> bool {
    tags.is_empty()
}

/// Puts facts and figures together.
pub(super) fn varz<'a>(
    facts: &'a ServerFacts,
    counters: &Counters,
    requests: &'a BTreeMap<&'static str, u64>,
    cpu: f64,
    jetstream: Value,
) -> Varz<'a> {
    let (info, options) = (&*facts.info, &*facts.options);
    let limits = &options.client;
    let https = options.monitor.https_port != 0;
    let now = format::now();
    Varz {
        server_id: &info.server_id,
        server_name: &info.server_name,
        version: &info.version,
        proto: info.proto,
        git_commit: &info.git_commit,
        go: &info.go,
        host: &info.host,
        port: info.port,
        auth_required: info.auth_required,
        tls_required: info.tls_required,
        tls_verify: info.tls_verify,
        tls_ocsp_peer_verify: info.tls_required && peers::asks(options.tls.as_ref()),
        max_connections: limits.max_connections.map_or(-1, |max| max as i64),
        max_subscriptions: limits.max_subscriptions.unwrap_or(0),
        ping_interval: limits.ping_interval.as_nanos() as u64,
        ping_max: limits.ping_max,
        http_host: facts.http_host(),
        http_port: if https { 0 } else { facts.http_port },
        http_base_path: &options.monitor.http_base_path,
        https_port: if https { facts.http_port } else { 0 },
        auth_timeout: Number(options.auth.timeout.as_secs_f64()),
        max_control_line: limits.max_control_line,
        max_payload: limits.max_payload,
        max_pending: limits.max_pending,
        cluster: Empty {},
        gateway: Empty {},
        leaf: LeafVarz::of(facts),
        mqtt: Empty {},
        websocket: WebSocketVarz::of(facts),
        jetstream,
        tls_timeout: Number(
            options
                .tls
                .as_ref()
                .and_then(|it| it.timeout)
                .unwrap_or(HANDSHAKE_TIMEOUT)
                .as_secs_f64(),
        ),
        write_deadline: limits.write_deadline.as_nanos() as u64,
        write_timeout: match limits.write_timeout {
            WriteTimeoutPolicy::Default => "",
            WriteTimeoutPolicy::Close => "close",
            WriteTimeoutPolicy::Retry => "retry",
        },
        start: format::time(facts.start),
        now: format::time(now),
        uptime: format::uptime(format::since(facts.start, now)),
        mem: process::memory(),
        cores: process::cores(),
        gomaxprocs: facts.shards,
        gomemlimit: options.memory_limit.unwrap_or(0),
        cpu: Number(cpu),
        connections: counters.connections,
        total_connections: counters.total_connections,
        routes: 0,
        remotes: 0,
        leafnodes: counters.links,
        in_msgs: counters.in_msgs,
        in_bytes: counters.in_bytes,
        in_client_msgs: counters.in_msgs - counters.in_links.msgs,
        in_client_bytes: counters.in_bytes - counters.in_links.bytes,
        out_msgs: counters.out_msgs,
        out_bytes: counters.out_bytes,
        out_client_msgs: counters.out_msgs - counters.out_links.msgs,
        out_client_bytes: counters.out_bytes - counters.out_links.bytes,
        slow_consumers: counters.slow_consumers,
        stale_connections: counters.stale_connections,
        stalled_clients: counters.stalled_clients,
        subscriptions: counters.subscriptions,
        http_req_stats: requests,
        config_load_time: format::time(facts.config_load),
        config_digest: &options.config_digest,
        tags: &options.tags,
        metadata: &options.metadata,
        feature_flags: &facts.feature_flags,
        system_account: if options.no_system_account {
            ""
        } else {
            &options.system_account
        },
        ocsp_peer_cache: PeerCacheVarz::of(facts),
        slow_consumer_stats: ByKind::of(counters.slow_consumers, counters.slow_links),
        stale_connection_stats: ByKind::of(counters.stale_connections, counters.stale_links),
        disk_io_wait_stats: DiskWaits::default(),
        tls_cert_not_after: cert_not_after(facts),
    }
}
