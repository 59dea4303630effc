//! `tls` blocks -> [`TlsOptions`].

pub mod check;
mod names;
pub mod ocsp;

use std::path::PathBuf;
use std::time::Duration;

use super::error::ProblemKind;
use super::report::Report;
use super::value::{Map, Node, Value};
use crate::listener;
use crate::options::{HandshakeFirst, PathPair, TlsOptions};
use crate::time::duration;

/// Wait of `handshake_first: auto` (CORE-83).
const FALLBACK: Duration = Duration::from_millis(50);

/// Reads the block of a listener for clients; `None` where something is wrong with it, which is
/// noted. What it names is looked at too, so that a mistake is found before anything starts.
pub fn read(report: &mut Report, key: &str, value: &Value) -> Option<TlsOptions> {
    let errors = report.errors.len();
    check::tls(report, key, value);
    if report.errors.len() > errors {
        return None;
    }
    read_unchecked(report, value)
}

/// Reads the block of a connection that this server makes.
pub fn read_link(report: &mut Report, key: &str, value: &Value) -> Option<TlsOptions> {
    let errors = report.errors.len();
    check::tls(report, key, value);
    match &value.node {
        Node::Map(map) if report.errors.len() == errors => Some(options(map)),
        _ => None,
    }
}

/// As [`read`], for a block whose keys have been checked.
pub fn read_unchecked(report: &mut Report, value: &Value) -> Option<TlsOptions> {
    let Node::Map(map) = &value.node else {
        return None;
    };
    let options = options(map);
    if let Err(error) = listener::tls::load(&options) {
        let found = error.to_string();
        report.error(value, ProblemKind::TypeIn { text: "", found });
        return None;
    }
    Some(options)
}

/// As [`read_unchecked`], for a block of a server that this one connects to.
pub fn read_remote(report: &mut Report, value: &Value) -> Option<TlsOptions> {
    let Node::Map(map) = &value.node else {
        return None;
    };
    let options = options(map);
    if let Err(error) = listener::tls_client::load(&options) {
        let found = error.to_string();
        report.error(value, ProblemKind::TypeIn { text: "", found });
        return None;
    }
    Some(options)
}

/// The values of a block that was checked.
fn options(map: &Map) -> TlsOptions {
    let mut options = TlsOptions::default();
    let mut pair = PathPair::default();
    for (key, value) in map.iter() {
        let key = String::from_utf8_lossy(key).to_lowercase();
        let on = value.node == Node::Bool(true);
        match key.as_str() {
            "cert_file" => pair.certificate = path(value),
            "key_file" => pair.key = path(value),
            "ca_file" => {
                options.ca_file = Some(path(value)).filter(|it| !it.as_os_str().is_empty())
            }
            "insecure" => options.insecure = on,
            "verify" => options.verify |= on,
            "verify_and_map" => {
                options.verify |= on;
                options.map = on;
            }
            "verify_cert_and_check_known_urls" => {
                options.verify |= on;
                options.check_known_urls = on;
            }
            "cipher_suites" => options.cipher_suites = texts(value),
            "curve_preferences" => options.curves = texts(value),
            "timeout" => options.timeout = seconds(value),
            "connection_rate_limit" => {
                options.connection_rate_limit = value
                    .integer()
                    .ok()
                    .and_then(|it| u64::try_from(it).ok())
                    .unwrap_or(0);
            }
            "pinned_certs" => {
                let hashes = texts(value).into_iter().map(|it| it.to_lowercase());
                options.pinned_certs = hashes.collect();
            }
            "handshake_first" | "first" | "immediate" => {
                options.handshake_first = handshake_first(value);
            }
            "ocsp_peer" => options.ocsp_peer = ocsp::peer(value),
            "certs" | "certificates" => {
                if let Node::Array(pairs) = &value.node {
                    options.numbered = !pairs.is_empty();
                    options.certificates = pairs.iter().filter_map(numbered).collect();
                }
            }
            "min_version" => options.only_tls13 = value.text().is_ok_and(|it| it == "1.3"),
            _ => {}
        }
    }
    if pair != PathPair::default() {
        options.certificates = vec![pair];
        options.numbered = false;
    }
    options
}

fn numbered(value: &Value) -> Option<PathPair> {
    let Node::Map(map) = &value.node else {
        return None;
    };
    Some(PathPair {
        certificate: map.find("cert_file").map(path)?,
        key: map.find("key_file").map(path)?,
    })
}

fn path(value: &Value) -> PathBuf {
    PathBuf::from(value.text().unwrap_or_default())
}

fn texts(value: &Value) -> Vec<String> {
    match &value.node {
        Node::Array(values) => values
            .iter()
            .filter_map(|it| it.text().ok().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

/// Seconds as stock has them; zero means the default.
pub fn seconds(value: &Value) -> Option<Duration> {
    seconds_or_none(value).filter(|it| !it.is_zero())
}

/// Seconds; `None` for a negative number of them.
fn seconds_or_none(value: &Value) -> Option<Duration> {
    let seconds = match &value.node {
        Node::Integer(number) => *number as f64,
        Node::Float(number) => *number,
        _ => duration::parse(value.text().ok()?).ok()? as f64 / 1e9,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn handshake_first(value: &Value) -> HandshakeFirst {
    match &value.node {
        Node::Bool(true) => HandshakeFirst::On,
        Node::String(_) => match value.text().unwrap_or_default().to_lowercase().as_str() {
            "true" | "on" => HandshakeFirst::On,
            "auto" | "auto_fallback" => HandshakeFirst::Fallback(FALLBACK),
            text => match duration::parse(text).map(u64::try_from) {
                Ok(Ok(nanos)) if nanos > 0 => HandshakeFirst::Fallback(Duration::from_nanos(nanos)),
                Ok(_) => HandshakeFirst::On,
                Err(_) => HandshakeFirst::Off,
            },
        },
        _ => HandshakeFirst::Off,
    }
}
