//! `leafnodes` block -> [`LeafOptions`] (TOPO-48, TOPO-49).

use std::time::Duration;

use nkeys::KeyPair;

use super::authorization::is_user_nkey;
use super::error::ProblemKind;
use super::inactive::links;
use super::report::Report;
use super::value::{Map, Node, Value};
use super::{listen, tls};
use crate::options::{
    CompressionMode, HttpProxyOptions, LeafOptions, RemoteOptions, UserOptions, WriteTimeoutPolicy,
};
use crate::protocol::leaf::version;
use crate::time::duration;

/// Reads the block; what is wrong with it is noted.
pub fn read(report: &mut Report, value: &Value) -> LeafOptions {
    let mut options = LeafOptions::default();
    links::leafnodes(report, value);
    let Node::Map(map) = &value.node else {
        return options;
    };
    for (key, value) in map.iter() {
        let key = String::from_utf8_lossy(key).to_lowercase();
        entry(report, &key, value, &mut options);
    }
    options
}

fn entry(report: &mut Report, key: &str, value: &Value, options: &mut LeafOptions) {
    let text = || value.text().unwrap_or_default().to_owned();
    let on = value.node == Node::Bool(true);
    match key {
        "listen" => {
            if let Ok((host, port)) = listen::parse(value) {
                options.host = host;
                options.port = i32::try_from(port).unwrap_or(0);
            }
        }
        "port" => {
            let port = value.integer().ok().and_then(|it| it.try_into().ok());
            options.port = port.unwrap_or(0);
        }
        "host" | "net" => options.host = text(),
        "leafnode_advertise" | "advertise" => options.advertise = text(),
        "no_advertise" => options.no_advertise = on,
        "tls" => options.tls = tls::read_unchecked(report, value),
        "min_version" | "minimum_version" => {
            options.min_version = Some(text()).filter(|it| !it.is_empty());
            let parts = options.min_version.as_deref().map(version::parts);
            let wrong = match parts {
                None => None,
                Some(None) => Some("invalid leafnode's minimum version: invalid semver"),
                Some(Some(parts)) if parts < [2, 8, 0] => {
                    Some("the minimum version should be at least 2.8.0")
                }
                Some(Some(_)) => None,
            };
            if let Some(text) = wrong {
                report.error(value, ProblemKind::Stock(text));
            }
        }
        "isolate_leafnode_interest" | "isolate" => options.isolate = on,
        "reconnect" | "reconnect_delay" | "reconnect_interval" => {
            options.reconnect = time(value).unwrap_or(options.reconnect);
        }
        "dial_timeout" => options.dial_timeout = time(value).unwrap_or(options.dial_timeout),
        "write_deadline" => options.write_deadline = time(value),
        "write_timeout" => {
            options.write_timeout = match value.text().unwrap_or_default() {
                "close" => WriteTimeoutPolicy::Close,
                "retry" => WriteTimeoutPolicy::Retry,
                _ => WriteTimeoutPolicy::Default,
            };
        }
        "compression" => options.compression = compression(report, value),
        "authorization" => {
            if let Node::Map(map) = &value.node {
                if let Some(text) = authorization(report, map, options) {
                    report.error(value, ProblemKind::Stock(text));
                }
                known_once(report, value, &options.users);
            }
        }
        "remotes" => {
            if let Node::Array(all) = &value.node {
                options.remotes = remotes(report, all);
            }
        }
        _ => {}
    }
}

/// A mode, a switch, or a block of a mode with its round trips (TOPO-41).
fn compression(report: &mut Report, value: &Value) -> CompressionMode {
    let mut mode = String::new();
    let mut thresholds = Vec::new();
    match &value.node {
        Node::Bool(true) => return CompressionMode::default(),
        Node::Bool(false) => return CompressionMode::Off,
        Node::Map(map) => {
            for (key, value) in map.iter() {
                match String::from_utf8_lossy(key).to_lowercase().as_str() {
                    "mode" => mode = value.text().unwrap_or_default().to_owned(),
                    "rtt_thresholds" | "thresholds" | "rtts" | "rtt" => {
                        let times = value.array().unwrap_or_default();
                        let times = times.iter().filter_map(|it| it.text().ok());
                        let times = times.filter_map(|it| duration::parse(it).ok());
                        // What is negative counts as zero.
                        let times = times.map(|it| u64::try_from(it).unwrap_or(0));
                        thresholds = times.map(Duration::from_nanos).collect();
                    }
                    _ => {}
                }
            }
        }
        _ => mode = value.text().unwrap_or_default().to_owned(),
    }
    if mode.is_empty() {
        return CompressionMode::default();
    }
    CompressionMode::parse(&mode, &thresholds).unwrap_or_else(|found| {
        report.error(value, ProblemKind::TypeIn { text: "", found });
        CompressionMode::default()
    })
}

/// An HTTP proxy, if a URL is given (TOPO-47).
fn proxy(report: &mut Report, value: &Value) -> Option<HttpProxyOptions> {
    let Node::Map(map) = &value.node else {
        return None;
    };
    let mut proxy = HttpProxyOptions::default();
    let (mut user, mut password) = (String::new(), String::new());
    for (key, value) in map.iter() {
        let text = || value.text().unwrap_or_default().to_owned();
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "url" => proxy.url = text(),
            "username" => user = text(),
            "password" => password = text(),
            "timeout" => proxy.timeout = time(value),
            _ => {}
        }
    }
    if proxy.url.is_empty() {
        return None;
    }
    let wrong = match proxy.url.split_once("://") {
        Some(("http" | "https", "" | "/")) => Some("proxy URL must specify a host".to_owned()),
        Some(("http" | "https", _)) if user.is_empty() != password.is_empty() => {
            Some("proxy username and password must both be specified or both be empty".to_owned())
        }
        Some(("http" | "https", _)) => None,
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            Some(format!(
                "proxy URL scheme must be http or https, got: {scheme}"
            ))
        }
    };
    if let Some(found) = wrong {
        report.error(value, ProblemKind::TypeIn { text: "", found });
        return None;
    }
    proxy.user = (!user.is_empty()).then_some((user, password));
    Some(proxy)
}

/// A time as a text, or seconds as a number.
fn time(value: &Value) -> Option<Duration> {
    match value.node {
        Node::Integer(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        _ => {
            let nanos = duration::parse(value.text().ok()?).ok()?;
            u64::try_from(nanos).ok().map(Duration::from_nanos)
        }
    }
    .filter(|it| !it.is_zero())
}

/// What does not go together is given back.
fn authorization(
    report: &mut Report,
    map: &Map,
    options: &mut LeafOptions,
) -> Option<&'static str> {
    let mut single = UserOptions::default();
    let mut users = Vec::new();
    for (key, value) in map.iter() {
        let text = || value.text().unwrap_or_default().to_owned();
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "timeout" => {
                let given = tls::seconds(value);
                options.auth_timeout = given.unwrap_or(options.auth_timeout);
            }
            "nkey" => {
                single.nkey = Some(text()).filter(|it| !it.is_empty());
                if single.nkey.as_deref().is_some_and(|it| !is_user_nkey(it)) {
                    let text = "Not a valid public nkey for leafnode authorization";
                    report.error(value, ProblemKind::Stock(text));
                }
            }
            "users" => {
                let Node::Array(all) = &value.node else {
                    continue;
                };
                for value in all {
                    if let Node::Map(map) = &value.node {
                        let mut user = UserOptions::default();
                        map.iter()
                            .for_each(|(key, value)| user_entry(key, value, &mut user));
                        users.push(user);
                    }
                }
            }
            _ => user_entry(key, value, &mut single),
        }
    }
    let wrong = match (&*single.username, &single.nkey) {
        _ if users.is_empty() => None,
        ("", None) => None,
        ("", _) => Some("can not have a single nkey and a users array"),
        _ => Some("can not have a single user/pass and a users array"),
    };
    // A name comes before a key (TOPO-13).
    if !single.username.is_empty() {
        single.nkey = None;
    }
    options.single_user = !single.username.is_empty() || single.nkey.is_some();
    if options.single_user {
        users = vec![single];
    }
    options.users = users;
    wrong
}

/// No two users have the same name.
fn known_once(report: &mut Report, value: &Value, users: &[UserOptions]) {
    for (at, user) in users.iter().enumerate() {
        if users.iter().take(at).any(|it| it.username == user.username) {
            let problem = ProblemKind::Value {
                before: "duplicate user ",
                value: user.username.clone(),
                after: " detected in leafnode authorization",
            };
            return report.error(value, problem);
        }
    }
}

fn user_entry(key: &[u8], value: &Value, user: &mut UserOptions) {
    let text = || value.text().unwrap_or_default().to_owned();
    match String::from_utf8_lossy(key).to_lowercase().as_str() {
        "user" | "username" => user.username = text(),
        "pass" | "password" => user.password = text(),
        "account" => user.account = text(),
        "proxy_required" => user.proxy_required = value.node == Node::Bool(true),
        _ => {}
    }
}

/// No two of them are the same.
fn remotes(report: &mut Report, all: &[Value]) -> Vec<RemoteOptions> {
    let mut remotes: Vec<RemoteOptions> = Vec::new();
    for value in all {
        let Node::Map(map) = &value.node else {
            continue;
        };
        let new = remote(report, map);
        if remotes.iter().any(|it| it.name() == new.name()) {
            let text = "duplicate remote ";
            let found = new.shown_name();
            let at = map.iter().next().map_or(value, |(_, first)| first);
            report.error(at, ProblemKind::TypeIn { text, found });
        }
        remotes.push(new);
    }
    remotes
}

/// A remote logs in as one user.
fn one_identity(report: &mut Report, value: &Value, remote: &RemoteOptions) {
    if remote.credentials.is_some() && remote.nkey.is_some() {
        let text = "Remote leafnode can not have both creds and nkey defined";
        report.error(value, ProblemKind::Stock(text));
    }
}

fn remote(report: &mut Report, map: &Map) -> RemoteOptions {
    let mut remote = RemoteOptions::default();
    for (key, value) in map.iter() {
        let text = || value.text().unwrap_or_default().to_owned();
        let on = value.node == Node::Bool(true);
        let list = || match &value.node {
            Node::Array(values) => {
                let texts = values.iter().filter_map(|it| it.text().ok());
                texts.map(str::to_owned).collect()
            }
            _ => vec![text()],
        };
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "url" | "urls" => remote.urls = list(),
            "account" | "local" => remote.account = text(),
            "creds" | "credentials" => {
                remote.credentials = Some(text().into());
                one_identity(report, value, &remote);
            }
            "nkey" | "seed" => {
                remote.nkey = Some(text()).filter(|it| !it.is_empty());
                let is_seed = |it: &String| KeyPair::from_seed(it).is_ok();
                if !remote.nkey.as_ref().is_none_or(is_seed) {
                    let text = "Remote leafnode nkey is not a valid seed";
                    report.error(value, ProblemKind::Stock(text));
                }
                one_identity(report, value, &remote);
            }
            "tls" => remote.tls = tls::read_remote(report, value),
            "ws_compress" | "ws_compression" | "websocket_compress" | "websocket_compression" => {
                remote.websocket_compression = on;
            }
            "ws_no_masking" | "websocket_no_masking" => remote.websocket_no_masking = on,
            "ignore_discovered_servers" => remote.ignore_discovered = on,
            "hub" => remote.hub = on,
            "deny_imports" | "deny_import" => remote.deny_imports = list(),
            "deny_exports" | "deny_export" => remote.deny_exports = list(),
            "no_randomize" | "dont_randomize" => remote.no_randomize = on,
            "isolate_leafnode_interest" | "isolate" => remote.isolate = on,
            "request_isolation" => remote.request_isolation = on,
            "first_info_timeout" => remote.first_info_timeout = time(value),
            "dial_timeout" => remote.dial_timeout = time(value),
            "compression" => remote.compression = compression(report, value),
            "proxy" => remote.proxy = proxy(report, value),
            "disabled" => remote.disabled = on,
            _ => {}
        }
    }
    remote
}
