//! `cluster`, `gateway`, `leafnodes` (CFG-59..62).

use super::super::authorization;
use super::super::error::ProblemKind;
use super::super::listen;
use super::super::report::{Report, type_in};
use super::super::tls::check::{self as tls, tls_link};
use super::super::value::{Node, Value};
use super::check::{
    Fields, Unknown, accounts, address, block, compression, denied_subjects, duration, entries,
    flag, integer, list, text, text_list, write_timeout,
};
use crate::options::PeerPortOptions;

/// `cluster` (CFG-59).
pub fn cluster(report: &mut Report, value: &Value) {
    block(
        report,
        value,
        "Expected map to define cluster, got ",
        CLUSTER,
    );
}

const CLUSTER: Fields = &[
    (&["name"], cluster_name),
    (&["listen"], address),
    (&["port"], integer),
    (&["host", "net"], text),
    (&["authorization"], cluster_authorization),
    (&["routes"], text_list),
    (&["tls"], tls_link),
    (&["cluster_advertise", "advertise"], text),
    (&["no_advertise"], flag),
    (&["connect_retries"], integer),
    (&["connect_backoff"], flag),
    (&["permissions"], cluster_permissions),
    (&["pool_size"], integer),
    (&["accounts"], accounts),
    (&["compression"], compression),
    (&["ping_interval"], ping_interval),
    (&["ping_max"], integer),
    (&["write_deadline"], duration),
    (&["write_timeout"], write_timeout),
];

/// Where the listener of such a block is to be.
pub fn peer_port(value: &Value) -> PeerPortOptions {
    let mut options = PeerPortOptions::default();
    let Node::Map(map) = &value.node else {
        return options;
    };
    let number = |port: i64| i32::try_from(port).unwrap_or(0);
    for (key, value) in map.iter() {
        match &*String::from_utf8_lossy(key).to_lowercase() {
            "listen" => {
                if let Ok((host, port)) = listen::parse(value) {
                    (options.host, options.port) = (host, number(port));
                }
            }
            "port" => options.port = value.integer().map_or(0, number),
            "host" | "net" => options.host = value.text().unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    options
}

/// Nanoseconds of the longest time between two PINGs on a route.
const ROUTE_PING_MAX: i64 = 30_000_000_000;

fn ping_interval(report: &mut Report, key: &str, value: &Value) {
    if report
        .duration(key, value)
        .is_some_and(|it| it > ROUTE_PING_MAX)
    {
        let text = "Cluster 'ping_interval' will reset to 30s which is the max for routes";
        report.warning(value, ProblemKind::Stock(text));
    }
}

fn cluster_name(report: &mut Report, _: &str, value: &Value) {
    name(report, value, "cluster name cannot contain spaces");
}

fn gateway_name(report: &mut Report, _: &str, value: &Value) {
    name(report, value, "gateway name cannot contain spaces");
}

fn name(report: &mut Report, value: &Value, problem: &'static str) {
    if let Some(text) = report.keep(value, value.text())
        && text.contains(' ')
    {
        report.error(value, ProblemKind::Stock(problem));
    }
}

fn cluster_authorization(report: &mut Report, key: &str, value: &Value) {
    let Some(block) = authorization::read(report, value) else {
        return;
    };
    if block.has_users {
        let text = "Cluster authorization does not allow multiple users";
        report.error(value, ProblemKind::Stock(text));
    } else if block.options.token.is_some() {
        let text = "Cluster authorization does not support tokens";
        report.error(value, ProblemKind::Stock(text));
    } else if block.has_default_permissions {
        report.warning(
            value,
            ProblemKind::InvalidUse {
                field: key.to_owned(),
                reason: "setting \"permissions\" within cluster authorization block is deprecated"
                    .to_owned(),
            },
        );
    }
}

fn gateway_authorization(report: &mut Report, _: &str, value: &Value) {
    let Some(block) = authorization::read(report, value) else {
        return;
    };
    if block.has_users {
        let text = "Gateway authorization does not allow multiple users";
        report.error(value, ProblemKind::Stock(text));
    } else if block.options.token.is_some() {
        let text = "Gateway authorization does not support tokens";
        report.error(value, ProblemKind::Stock(text));
    }
}

fn cluster_permissions(report: &mut Report, _: &str, value: &Value) {
    if let Some(permissions) = authorization::permissions(report, value)
        && permissions.responses.is_some()
    {
        let text = "Cluster permissions do not support dynamic responses";
        report.error(value, ProblemKind::Stock(text));
    }
}

/// `gateway` (CFG-60).
pub fn gateway(report: &mut Report, value: &Value) {
    block(report, value, "Expected gateway to be a map, got ", GATEWAY);
}

const GATEWAY: Fields = &[
    (&["name"], gateway_name),
    (&["listen"], address),
    (&["port"], integer),
    (&["host", "net"], text),
    (&["authorization"], gateway_authorization),
    (&["tls"], tls_link),
    (&["advertise"], text),
    (&["connect_retries"], integer),
    (&["connect_backoff"], flag),
    (&["gateways"], remote_gateways),
    (&["reject_unknown", "reject_unknown_cluster"], flag),
    (&["write_deadline"], duration),
    (&["write_timeout"], write_timeout),
];

fn remote_gateways(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "Expected gateways field to be an array, got ",
        "Expected gateway entry to be a map/struct, got ",
        &[
            (&["name"], text),
            (&["tls"], tls_link),
            (&["url"], text),
            (&["urls"], text_list),
        ],
    );
}

/// `leafnodes` (CFG-61).
pub fn leafnodes(report: &mut Report, value: &Value) {
    block(
        report,
        value,
        "Expected map to define a leafnode, got ",
        LEAFNODES,
    );
}

const LEAFNODES: Fields = &[
    (&["listen"], address),
    (&["port"], integer),
    (&["host", "net"], text),
    (&["authorization"], leaf_authorization),
    (&["remotes"], remotes),
    (
        &["reconnect", "reconnect_delay", "reconnect_interval"],
        duration,
    ),
    (&["dial_timeout"], duration),
    (&["tls"], tls::tls),
    (&["leafnode_advertise", "advertise"], text),
    (&["no_advertise"], flag),
    (&["min_version", "minimum_version"], text),
    (&["compression"], compression),
    (&["isolate_leafnode_interest", "isolate"], flag),
    (&["write_deadline"], duration),
    (&["write_timeout"], write_timeout),
];

fn leaf_authorization(report: &mut Report, _: &str, value: &Value) {
    if let Some(map) = report.keep(value, value.map()) {
        entries(
            report,
            map.iter(),
            Unknown::Field,
            &[
                (&["user", "username"], text),
                (&["pass", "password"], text),
                (&["nkey"], text),
                (&["timeout"], leaf_timeout),
                (&["users"], leaf_users),
                (&["account"], text),
                (&["proxy_required"], flag),
            ],
        );
    }
}

fn leaf_timeout(report: &mut Report, key: &str, value: &Value) {
    report.timeout(key.as_bytes(), "leafnode authorization", value);
}

fn leaf_users(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "Expected users field to be an array, got ",
        "Expected user entry to be a map/struct, got ",
        &[
            (&["user", "username"], text),
            (&["pass", "password"], text),
            (&["account"], text),
            (&["proxy_required"], flag),
        ],
    );
}

fn remotes(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "Expected remotes field to be an array, got ",
        "Expected remote leafnode entry to be a map/struct, got ",
        REMOTE,
    );
}

/// An entry of `remotes` (CFG-62).
const REMOTE: Fields = &[
    (&["no_randomize", "dont_randomize"], flag),
    (&["url", "urls"], urls),
    (&["account", "local"], text),
    (&["creds", "credentials"], text),
    (&["nkey", "seed"], text),
    (&["tls"], tls::tls),
    (&["hub"], flag),
    (&["deny_imports", "deny_import"], denied_subjects),
    (&["deny_exports", "deny_export"], denied_subjects),
    (
        &[
            "ws_compress",
            "ws_compression",
            "websocket_compress",
            "websocket_compression",
        ],
        flag,
    ),
    (&["ws_no_masking", "websocket_no_masking"], flag),
    (
        &["jetstream_cluster_migrate", "js_cluster_migrate"],
        migrate,
    ),
    (&["isolate_leafnode_interest", "isolate"], flag),
    (&["request_isolation"], flag),
    (&["compression"], compression),
    (&["first_info_timeout"], duration),
    (&["dial_timeout"], duration),
    (&["disabled"], flag),
    (&["proxy"], proxy),
    (&["ignore_discovered_servers"], flag),
];

fn urls(report: &mut Report, key: &str, value: &Value) {
    match &value.node {
        Node::String(_) => text(report, key, value),
        Node::Array(_) => text_list(report, key, value),
        _ => report.error(
            value,
            ProblemKind::TypeIn {
                text: "Expected remote leafnode url to be an array or string, got ",
                found: value.node.shown(),
            },
        ),
    }
}

fn migrate(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::Bool(_) => {}
        Node::Map(map) => entries(
            report,
            map.iter(),
            Unknown::Ignored,
            &[(&["leader_migrate_delay"], duration)],
        ),
        _ => report.error(
            value,
            type_in(
                "Expected boolean or map for jetstream_cluster_migrate, got ",
                value,
            ),
        ),
    }
}

fn proxy(report: &mut Report, _: &str, value: &Value) {
    block(
        report,
        value,
        "Expected proxy to be a map, got ",
        &[
            (&["url"], text),
            (&["username"], text),
            (&["password"], text),
            (&["timeout"], duration),
        ],
    );
}
