//! Cipher suites and groups by the names Go has for them (CORE-80).

use super::super::error::ProblemKind;
use super::super::report::Report;
use super::super::value::{Map, Node, Value};

/// Suites Go calls secure.
const SECURE: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Suites that must be allowed expressly.
const INSECURE: [&str; 12] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

const CURVES: [&str; 5] = [
    "X25519MLKEM768",
    "X25519",
    "CurveP256",
    "CurveP384",
    "CurveP521",
];

/// Checks the names in a `tls` block.
pub fn check(report: &mut Report, map: &Map, block: &Value) {
    let mut insecure = Vec::new();
    for value in list(map, "cipher_suites") {
        let Ok(name) = value.text() else { continue };
        if INSECURE.contains(&name) {
            insecure.push(name);
        } else if !SECURE.contains(&name) {
            unknown(report, value, "unrecognized cipher ", name);
        }
    }
    let allowed = map
        .find("allow_insecure_cipher_suites")
        .is_some_and(|it| it.node == Node::Bool(true));
    if !allowed && !insecure.is_empty() {
        let found = insecure.join(", ");
        let text = "insecure cipher suites configured without 'allow_insecure_cipher_suites' \
                    option set: ";
        report.error(block, ProblemKind::TypeIn { text, found });
    }
    for value in list(map, "curve_preferences") {
        if let Ok(name) = value.text()
            && !CURVES.contains(&name)
        {
            unknown(report, value, "unrecognized curve preference ", name);
        }
    }
}

fn list<'v>(map: &'v Map, key: &str) -> &'v [Value] {
    match map.find(key).map(|it| &it.node) {
        Some(Node::Array(values)) => values,
        _ => &[],
    }
}

fn unknown(report: &mut Report, value: &Value, text: &'static str, name: &str) {
    let found = name.to_owned();
    report.error(value, ProblemKind::TypeIn { text, found });
}
