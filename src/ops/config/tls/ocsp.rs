//! What is said of revocation: `ocsp`, `ocsp_peer` of a `tls` block, `ocsp_cache` (CORE-88, CORE-89).

use std::time::Duration;

use super::super::error::ProblemKind;
use super::super::inactive::check::{Unknown, entries, text, text_list};
use super::super::report::{Report, type_in};
use super::super::value::{Map, Node, Value};
use super::{path, seconds, seconds_or_none, texts};
use crate::options::{OcspCacheOptions, OcspMode, OcspOptions, OcspPeerOptions};
use crate::time::duration;

/// Shortest time between two looks at the cache.
const SAVE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// `ocsp` (CORE-88).
pub fn staples(report: &mut Report, value: &Value) -> OcspOptions {
    check_staples(report, value);
    let mut options = OcspOptions::default();
    match &value.node {
        Node::Bool(false) => options.mode = OcspMode::Never,
        Node::Map(map) => {
            let mode = map.find("mode").and_then(|it| it.text().ok());
            options.mode = match mode.unwrap_or_default().to_lowercase().as_str() {
                "always" => OcspMode::Always,
                "must" => OcspMode::Must,
                "never" => OcspMode::Never,
                _ => OcspMode::Auto,
            };
            options.urls = map.find("urls").map(texts).unwrap_or_default();
            let url = map.find("url").and_then(|it| it.text().ok());
            options.urls.extend(url.map(str::to_owned));
        }
        _ => {}
    }
    options
}

fn is_on(map: &Map, key: &str) -> bool {
    map.find(key).is_some_and(|it| it.node == Node::Bool(true))
}

/// Sets `option` where the key is there and says something; zero says nothing.
fn time(map: &Map, key: &str, option: &mut Duration) {
    if let Some(time) = map.find(key).and_then(seconds) {
        *option = time;
    }
}

/// `ocsp_peer`, checked; `None` where it is off.
pub fn peer(value: &Value) -> Option<OcspPeerOptions> {
    let mut options = OcspPeerOptions::default();
    let map = match &value.node {
        Node::Bool(true) => return Some(options),
        Node::Map(map) if is_on(map, "verify") => map,
        _ => return None,
    };
    time(map, "ca_timeout", &mut options.timeout);
    // Of these zero is a time as any other.
    for (key, option) in [
        ("allowed_clockskew", &mut options.clock_skew),
        ("cache_ttl_when_next_update_unset", &mut options.lifetime),
    ] {
        if let Some(time) = map.find(key).and_then(seconds_or_none) {
            *option = time;
        }
    }
    options.warn_only = is_on(map, "warn_only");
    options.unknown_is_good = is_on(map, "unknown_is_good");
    options.allow_unreachable = is_on(map, "allow_when_ca_unreachable");
    Some(options)
}

/// `ocsp_cache`.
pub fn cache(report: &mut Report, value: &Value) -> OcspCacheOptions {
    check_cache(report, value);
    let mut options = OcspCacheOptions::default();
    let map = match &value.node {
        Node::Bool(false) => {
            options.folder = None;
            return options;
        }
        Node::Map(map) => map,
        _ => return options,
    };
    let text = |key: &str| map.find(key).and_then(|it| it.text().ok());
    if let Some(folder) = map
        .find("local_store")
        .filter(|_| text("local_store") != Some(""))
    {
        options.folder = Some(path(folder));
    }
    if text("type").is_some_and(|it| it.eq_ignore_ascii_case("none")) {
        options.folder = None;
    }
    options.preserve_revoked = is_on(map, "preserve_revoked");
    time(map, "save_interval", &mut options.save_interval);
    options.save_interval = options.save_interval.max(SAVE_INTERVAL_MIN);
    options
}

/// `ocsp` (CFG-53).
fn check_staples(report: &mut Report, value: &Value) {
    match &value.node {
        Node::Bool(_) => {}
        Node::Map(map) => entries(
            report,
            map.iter(),
            Unknown::In("error parsing ocsp config: unsupported field ", ""),
            &[
                (&["mode"], ocsp_mode),
                (&["url"], text),
                (&["urls"], text_list),
            ],
        ),
        _ => report.error(
            value,
            type_in("error parsing ocsp config: unsupported type ", value),
        ),
    }
}

fn ocsp_mode(report: &mut Report, _: &str, value: &Value) {
    if let Some(mode) = report.keep(value, value.text())
        && !["always", "must", "never", "auto"].contains(&mode.to_lowercase().as_str())
    {
        let text = "error parsing ocsp config: unsupported ocsp mode string";
        report.error(value, ProblemKind::Stock(text));
    }
}

/// How a block speaks of what it does not understand: of a key, and of a time.
struct Words {
    key: &'static str,
    time: &'static str,
}

const PEER: Words = Words {
    key: "error parsing tls peer config, unknown field",
    time: "error parsing tls peer config, conversion error: ",
};
const CACHE: Words = Words {
    key: "error parsing OCSP peer cache config, unknown field",
    time: "error parsing OCSP peer cache config, conversion error: ",
};

/// What a key of these blocks holds.
#[derive(Clone, Copy)]
enum Holds {
    Flag,
    Text,
    Time,
}

/// `ocsp_peer` (CFG-53).
pub(super) fn check_peer(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::Bool(_) => {}
        Node::Map(map) => check_keys(
            report,
            map,
            &PEER,
            &[
                ("verify", Holds::Flag),
                ("allowed_clockskew", Holds::Time),
                ("ca_timeout", Holds::Time),
                ("cache_ttl_when_next_update_unset", Holds::Time),
                ("warn_only", Holds::Flag),
                ("unknown_is_good", Holds::Flag),
                ("allow_when_ca_unreachable", Holds::Flag),
            ],
        ),
        _ => report.error(
            value,
            type_in("error parsing ocsp peer config: unsupported type ", value),
        ),
    }
}

/// `ocsp_cache` (CFG-53).
fn check_cache(report: &mut Report, value: &Value) {
    let map = match &value.node {
        Node::Bool(_) => return,
        Node::Map(map) => map,
        _ => {
            // Stock's own slip.
            let problem = type_in("error parsing tags: unsupported type ", value);
            return report.error(value, problem);
        }
    };
    check_keys(
        report,
        map,
        &CACHE,
        &[
            ("type", Holds::Text),
            ("local_store", Holds::Text),
            ("preserve_revoked", Holds::Flag),
            ("save_interval", Holds::Time),
        ],
    );
    if let Some(kind) = map.find("type")
        && let Ok(text) = kind.text()
        && !["none", "local"].contains(&text.to_lowercase().as_str())
    {
        let problem = ProblemKind::TypeIn {
            text: "error parsing OCSP peer cache config, unknown type ",
            found: format!("[{text}]"),
        };
        report.error(kind, problem);
    }
}

fn check_keys(report: &mut Report, map: &Map, words: &Words, keys: &[(&str, Holds)]) {
    for (key, value) in map.iter() {
        let key = String::from_utf8_lossy(key);
        let name = key.to_lowercase();
        let known = keys.iter().find(|(known, _)| *known == name);
        let wrong = |text, found| ProblemKind::TypeIn { text, found };
        let problem = match (known, &value.node) {
            (Some((_, Holds::Flag)), Node::Bool(_))
            | (Some((_, Holds::Text)), Node::String(_))
            | (Some((_, Holds::Time)), Node::Integer(_) | Node::Float(_)) => continue,
            (Some((_, Holds::Time)), Node::String(_)) => {
                let Some(text) = report.keep(value, value.text()) else {
                    continue;
                };
                match duration::parse(text) {
                    Ok(_) => continue,
                    Err(error) => wrong(words.time, error.to_string()),
                }
            }
            (Some((_, Holds::Time)), _) => wrong(words.time, "unexpected type".into()),
            _ => wrong(words.key, format!(" [{key:?}]")),
        };
        report.error(value, problem);
    }
}
