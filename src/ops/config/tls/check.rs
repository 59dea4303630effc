//! What may stand in `tls` blocks, of clients and of links (CFG-51..53, CORE-78..89).

use super::super::error::ProblemKind;
use super::super::inactive::check::{Fields, Unknown, entries, text, text_list};
use super::super::report::{Report, type_in};
use super::super::value::{Map, Node, Value};
use super::{names, ocsp};

/// A block of a listener for clients, where known URLs cannot be checked.
pub fn tls(report: &mut Report, key: &str, value: &Value) {
    if let Some(map) = block_of_tls(report, key, value)
        && let Some(check) = map.find("verify_cert_and_check_known_urls")
        && check.node == Node::Bool(true)
    {
        let text = "verify_cert_and_check_known_urls not supported in this context";
        report.error(check, ProblemKind::Stock(text));
    }
}

/// A block of cluster or gateway.
pub fn tls_link(report: &mut Report, key: &str, value: &Value) {
    block_of_tls(report, key, value);
}

fn block_of_tls<'v>(report: &mut Report, _: &str, value: &'v Value) -> Option<&'v Map> {
    let map = report.keep(value, value.map())?;
    let unknown = Unknown::In("error parsing tls config, unknown field ", "");
    entries(report, map.iter(), unknown, TLS);
    if map.find("cert_file").is_some()
        && map
            .find("certs")
            .or(map.find("certificates"))
            .is_some_and(|it| matches!(&it.node, Node::Array(pairs) if !pairs.is_empty()))
    {
        let text =
            "error parsing tls config, cannot combine 'cert_file' option with 'certs' option";
        report.error(value, ProblemKind::Stock(text));
    }
    names::check(report, map, value);
    Some(map)
}

const TLS: Fields = &[
    (&["cert_file"], file::<0>),
    (&["key_file"], file::<1>),
    (&["ca_file"], file::<2>),
    (&["insecure"], switch::<0>),
    (&["verify"], switch::<1>),
    (&["verify_and_map"], switch::<2>),
    (&["verify_cert_and_check_known_urls"], switch::<3>),
    (&["allow_insecure_cipher_suites"], switch::<4>),
    (&["cipher_suites"], not_empty::<0>),
    (&["curve_preferences"], not_empty::<1>),
    (&["timeout"], timeout),
    (&["connection_rate_limit"], rate_limit),
    (&["pinned_certs"], pinned),
    (&["handshake_first", "first", "immediate"], handshake_first),
    (&["ocsp_peer"], ocsp::check_peer),
    (&["certs", "certificates"], certificates),
    (&["min_version"], min_version),
    (&["cert_store"], windows_only),
    (&["cert_match_by"], windows_only),
    (&["cert_match"], windows_only),
    (&["ca_certs_match"], windows_only),
    (&["cert_match_skip_invalid"], windows_only),
];

fn fixed(report: &mut Report, value: &Value, text: &'static str) {
    report.error(value, ProblemKind::Stock(text));
}

fn file<const N: usize>(report: &mut Report, _: &str, value: &Value) {
    let texts = [
        "error parsing tls config, expected 'cert_file' to be filename",
        "error parsing tls config, expected 'key_file' to be filename",
        "error parsing tls config, expected 'ca_file' to be filename",
    ];
    if !matches!(value.node, Node::String(_)) {
        fixed(report, value, texts[N]);
    }
}

fn switch<const N: usize>(report: &mut Report, _: &str, value: &Value) {
    let texts = [
        "error parsing tls config, expected 'insecure' to be a boolean",
        "error parsing tls config, expected 'verify' to be a boolean",
        "error parsing tls config, expected 'verify_and_map' to be a boolean",
        "error parsing tls config, expected 'verify_cert_and_check_known_urls' to be a boolean",
        "error parsing tls config, expected 'allow_insecure_cipher_suites' to be a boolean",
    ];
    if !matches!(value.node, Node::Bool(_)) {
        fixed(report, value, texts[N]);
    }
}

fn not_empty<const N: usize>(report: &mut Report, key: &str, value: &Value) {
    let texts = [
        "error parsing tls config, 'cipher_suites' cannot be empty",
        "error parsing tls config, 'curve_preferences' cannot be empty",
    ];
    if matches!(&value.node, Node::Array(values) if values.is_empty()) {
        fixed(report, value, texts[N]);
    } else {
        text_list(report, key, value);
    }
}

fn timeout(report: &mut Report, key: &str, value: &Value) {
    report.timeout(key.as_bytes(), "tls", value);
}

fn rate_limit(report: &mut Report, _: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(_)) {
        let text = "error parsing tls config, 'connection_rate_limit' wrong type";
        fixed(report, value, text);
    }
}

fn pinned(report: &mut Report, _: &str, value: &Value) {
    let Node::Array(values) = &value.node else {
        let text = "error parsing tls config, expected 'pinned_certs' to be a list of hex-encoded \
                    sha256 of DER encoded SubjectPublicKeyInfo";
        return fixed(report, value, text);
    };
    for value in values {
        let Some(text) = report.keep(value, value.text()) else {
            continue;
        };
        if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            report.error(
                value,
                ProblemKind::TypeIn {
                    text: "error parsing tls config, 'pinned_certs' does not look like \
                           hex-encoded sha256 of DER encoded SubjectPublicKeyInfo: ",
                    found: text.to_lowercase(),
                },
            );
        }
    }
}

fn handshake_first(report: &mut Report, key: &str, value: &Value) {
    match &value.node {
        Node::Bool(_) => {}
        Node::String(_) => {
            let Some(text) = report.keep(value, value.text()) else {
                return;
            };
            let known = ["true", "on", "false", "off", "auto", "auto_fallback"];
            if !known.contains(&text.to_lowercase().as_str())
                && crate::time::duration::parse(text).is_err()
            {
                report.error(
                    value,
                    ProblemKind::TypeIn {
                        text: "",
                        found: format!("field {key:?}'s value {text:?} is invalid"),
                    },
                );
            }
        }
        _ => report.error(
            value,
            ProblemKind::TypeIn {
                text: "",
                found: format!(
                    "field {key:?} should be a boolean or a string, got {}",
                    value.node.type_name()
                ),
            },
        ),
    }
}

fn certificates(report: &mut Report, _: &str, value: &Value) {
    const WRONG: &str = "error parsing certificates config: unsupported type ";
    let Node::Array(pairs) = &value.node else {
        return report.error(value, type_in(WRONG, value));
    };
    for pair in pairs {
        let Some(map) = report.map(WRONG, pair) else {
            continue;
        };
        let unknown = Unknown::In("error parsing tls certs config, unknown field ", "");
        const FIELDS: Fields = &[(&["cert_file"], text), (&["key_file"], text)];
        entries(report, map.iter(), unknown, FIELDS);
        if map.find("cert_file").is_none() || map.find("key_file").is_none() {
            let text = "error parsing certificates config: both 'cert_file' and 'cert_key' \
                        options are required";
            fixed(report, pair, text);
        }
    }
}

fn min_version(report: &mut Report, _: &str, value: &Value) {
    match value.text() {
        Ok("1.2" | "1.3") => {}
        Ok("1.0") => fixed(
            report,
            value,
            "error parsing tls config: unsupported TLS version: TLS 1.0",
        ),
        Ok("1.1") => fixed(
            report,
            value,
            "error parsing tls config: unsupported TLS version: TLS 1.1",
        ),
        Ok(other) => report.error(
            value,
            ProblemKind::TypeIn {
                text: "error parsing tls config: unknown version: ",
                found: other.to_owned(),
            },
        ),
        Err(_) => report.error(
            value,
            ProblemKind::TypeIn {
                text: "error parsing tls config: 'min_version' wrong type: ",
                found: value.node.shown(),
            },
        ),
    }
}

/// CORE-87.
fn windows_only(report: &mut Report, _: &str, value: &Value) {
    fixed(
        report,
        value,
        "certificate store keys work on Windows only: use cert_file and key_file",
    );
}
