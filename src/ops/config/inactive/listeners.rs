//! `websocket`, `mqtt`, `proxies` (CFG-63, CFG-64, CFG-74, WS-1, MQTT-1).

use super::super::error::ProblemKind;
use super::super::report::{Report, TextsError, strict_duration, type_in};
use super::super::tls::check as tls;
use super::super::value::{Node, Value};
use super::check::{Fields, Unknown, address, block, duration, entries, flag, integer, list, text};

/// `websocket`.
pub fn websocket(report: &mut Report, value: &Value) {
    block(
        report,
        value,
        "Expected websocket to be a map, got ",
        WEBSOCKET,
    );
}

const WEBSOCKET: Fields = &[
    (&["listen"], address),
    (&["port"], integer),
    (&["host", "net"], text),
    (&["advertise"], text),
    (&["no_tls"], flag),
    (&["tls"], tls::tls),
    (&["same_origin"], flag),
    (
        &[
            "allowed_origins",
            "allowed_origin",
            "allow_origins",
            "allow_origin",
            "origins",
            "origin",
        ],
        origins,
    ),
    (&["handshake_timeout"], handshake_timeout),
    (&["compress", "compression"], flag),
    (&["authorization", "authentication"], simple_authorization),
    (&["jwt_cookie"], text),
    (&["user_cookie"], text),
    (&["pass_cookie"], text),
    (&["token_cookie"], text),
    (&["no_auth_user"], text),
    (&["headers"], headers),
    (&["ping_interval"], duration),
];

fn origins(report: &mut Report, _: &str, value: &Value) {
    let what = TextsError {
        in_array: "error parsing allowed origins: unsupported type in array ",
        alone: "error parsing allowed origins: unsupported type ",
    };
    report.texts(what, value);
}

fn handshake_timeout(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::Integer(_) => {}
        Node::String(_) => _ = report.keep(value, strict_duration(value, "")),
        _ => report.error(
            value,
            type_in("error parsing handshake timeout: unsupported type ", value),
        ),
    }
}

fn headers(report: &mut Report, _: &str, value: &Value) {
    let Some(map) = report.map("error parsing headers: unsupported type ", value) else {
        return;
    };
    for (key, value) in map.iter() {
        if !matches!(value.node, Node::String(_)) {
            let found = format!(
                "{}: unsupported type {}",
                String::from_utf8_lossy(key),
                value.node.type_name()
            );
            let text = "error parsing header key ";
            report.error(value, ProblemKind::TypeIn { text, found });
        }
    }
}

fn simple_authorization(report: &mut Report, _: &str, value: &Value) {
    if let Some(map) = report.keep(value, value.map()) {
        entries(
            report,
            map.iter(),
            Unknown::Field,
            &[
                (&["user", "username"], text),
                (&["pass", "password"], text),
                (&["token"], text),
                (&["timeout"], |_, _, _| {}),
            ],
        );
    }
}

/// `mqtt`.
pub fn mqtt(report: &mut Report, value: &Value) {
    block(report, value, "Expected mqtt to be a map, got ", MQTT);
}

const MQTT: Fields = &[
    (&["listen"], address),
    (&["port"], integer),
    (&["host", "net"], text),
    (&["tls"], tls::tls),
    (&["authorization", "authentication"], simple_authorization),
    (&["no_auth_user"], text),
    (&["ack_wait", "ackwait"], duration),
    (&["js_api_timeout", "api_timeout"], duration),
    (
        &["max_ack_pending", "max_pending", "max_inflight"],
        max_inflight,
    ),
    (&["js_domain"], text),
    (&["stream_replicas"], integer),
    (&["consumer_replicas"], consumer_replicas),
    (&["consumer_memory_storage"], flag),
    (
        &["consumer_inactive_threshold", "consumer_auto_cleanup"],
        duration,
    ),
    (&["reject_qos2_publish"], flag),
    (&["downgrade_qos2_subscribe"], flag),
];

fn max_inflight(report: &mut Report, _: &str, value: &Value) {
    if let Some(number) = report.keep(value, value.integer())
        && !(0..=0xffff).contains(&number)
    {
        report.error(
            value,
            ProblemKind::TypeIn {
                text: "",
                found: format!("invalid value {number}, should in [0..65535] range"),
            },
        );
    }
}

fn consumer_replicas(report: &mut Report, key: &str, value: &Value) {
    report.warning(
        value,
        ProblemKind::InvalidUse {
            field: key.to_owned(),
            reason: "consumer replicas setting ignored in this server version".to_owned(),
        },
    );
}

/// `proxies`: the public keys of those that are trusted (CORE-92).
pub fn proxies(report: &mut Report, value: &Value) -> Vec<String> {
    check_proxies(report, value);
    let trusted = match &value.node {
        Node::Map(map) => map.find("trusted").map(|it| &it.node),
        _ => None,
    };
    let Some(Node::Array(entries)) = trusted else {
        return Vec::new();
    };
    let key = |entry: &Value| match &entry.node {
        Node::Map(map) => {
            let key = map.find("key").or(map.find("public_key"))?;
            Some(key.text().ok()?.to_owned())
        }
        _ => None,
    };
    entries.iter().filter_map(key).collect()
}

fn check_proxies(report: &mut Report, value: &Value) {
    block(
        report,
        value,
        "expected proxies to be a map/struct, got ",
        &[(&["trusted"], trusted_proxies)],
    );
}

fn trusted_proxies(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "expected proxies' trusted field to be an array, got ",
        "expected proxies' trusted entry to be a map/struct, got ",
        &[(&["key", "public_key"], proxy_key)],
    );
}

fn proxy_key(report: &mut Report, _: &str, value: &Value) {
    if let Some(key) = report.keep(value, value.text())
        && nkeys::KeyPair::from_public_key(key).is_err()
    {
        report.error(
            value,
            ProblemKind::Value {
                before: "invalid proxy key ",
                value: key.to_owned(),
                after: "",
            },
        );
    }
}
