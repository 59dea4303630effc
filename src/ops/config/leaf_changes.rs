//! The `leafnodes` block before a reload -> after it: what changes, or why it cannot (TOPO-25).
//!
//! A remote is told from others by its name: where it connects, its account, who it is there. One
//! of another name is another remote, so those come and go freely; of one that stays only TLS,
//! compression and `disabled` may change. Secrets are not shown, where stock does.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use crate::options::{
    CompressionMode, HandshakeFirst, LeafOptions, RemoteOptions, TlsOptions, UserOptions,
    WriteTimeoutPolicy,
};
use crate::time::duration::Shown;

/// What stands for a secret.
const HIDDEN: &str = "[REDACTED]";
/// Time for a TLS handshake where nothing else is said, in seconds.
const TLS_SECONDS: f64 = 2.0;

/// Compares the blocks: a line of the log for each change. `port` is the one really bound.
///
/// # Errors
/// The first change that needs a restart, in stock's words.
pub fn between(old: &LeafOptions, new: &LeafOptions, port: u16) -> Result<Vec<String>, String> {
    users(old, new)?;
    listener(old, new, port)?;
    let mut lines = Vec::new();
    let first = |it: &LeafOptions| handshake_first(it.tls.as_ref());
    if first(old) != first(new) {
        let (is_first, delay) = first(new);
        lines.push(format!(
            "Reloaded: LeafNode TLS HandshakeFirst value is: {is_first}"
        ));
        lines.push(format!(
            "Reloaded: LeafNode TLS HandshakeFirstFallback value is: {}",
            shown(delay)
        ));
    }
    if old.compression != new.compression {
        lines.push(format!(
            "Reloaded: LeafNode Compression value is: {}",
            mode(&new.compression)
        ));
    }
    let after: BTreeMap<String, &RemoteOptions> =
        new.remotes.iter().map(|it| (it.name(), it)).collect();
    for before in &old.remotes {
        let name = before.shown_name();
        let Some(after) = after.get(&before.name()) else {
            lines.push(format!("Reloaded: LeafNode Remote {name} removed"));
            continue;
        };
        remote(before, after).map_err(|why| format!("remote {name}: {why}"))?;
        let mut note = |what: &str, value: &dyn Display| {
            lines.push(format!(
                "Reloaded: LeafNode Remote {name} {what} value is: {value}"
            ));
        };
        let first = |it: &RemoteOptions| handshake_first(it.tls.as_ref()).0;
        if first(before) != first(after) {
            note("TLS HandshakeFirst", &first(after));
        }
        if before.compression != after.compression {
            note("Compression", &mode(&after.compression));
        }
        if before.disabled != after.disabled {
            note("Disabled", &after.disabled);
        }
    }
    Ok(lines)
}

/// A list of users, in any order.
fn users(old: &LeafOptions, new: &LeafOptions) -> Result<(), String> {
    let known = |it: &LeafOptions| {
        // One alone is looked at with the rest of the block.
        let users = it.users.iter().filter(|_| !it.single_user);
        let known = users.map(|it| {
            let who = it.nkey.clone().unwrap_or_else(|| it.username.clone());
            (who, (it.password.clone(), it.account.clone()))
        });
        known.collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (known(old), known(new));
    if before == after {
        return Ok(());
    }
    let names = |of: &BTreeMap<String, _>| {
        let names: Vec<_> = of.keys().map(String::as_str).collect();
        format!("[{}]", names.join(" "))
    };
    Err(field("Users", names(&before), names(&after)))
}

/// What is not about remotes.
fn listener(old: &LeafOptions, new: &LeafOptions, port: u16) -> Result<(), String> {
    let fixed = |name, value: &dyn Fn(&LeafOptions) -> String| unchanged(name, old, new, value);
    fixed("Host", &|it| match it.host.as_str() {
        "" if it.port != 0 => "0.0.0.0".to_owned(),
        host => host.to_owned(),
    })?;
    if new.port != -1 && new.port != i32::from(port) {
        return Err(field("Port", port, new.port));
    }
    let single = |it: &LeafOptions| match it.users.as_slice() {
        [user] if it.single_user => user.clone(),
        _ => UserOptions::default(),
    };
    fixed("Username", &|it| single(it).username)?;
    if single(old).password != single(new).password {
        return Err(field("Password", HIDDEN, HIDDEN));
    }
    fixed("ProxyRequired", &|it| single(it).proxy_required.to_string())?;
    fixed("Nkey", &|it| single(it).nkey.unwrap_or_default())?;
    fixed("Account", &|it| single(it).account)?;
    fixed("AuthTimeout", &|it| {
        it.auth_timeout.as_secs_f64().to_string()
    })?;
    fixed("TLSTimeout", &|it| tls_timeout(it.tls.as_ref()))?;
    fixed("TLSMap", &|it| {
        it.tls.as_ref().is_some_and(|it| it.map).to_string()
    })?;
    fixed("TLSPinnedCerts", &|it| {
        let pins = it.tls.as_ref().map(|it| it.pinned_certs.join(" "));
        format!("[{}]", pins.unwrap_or_default())
    })?;
    fixed("Advertise", &|it| it.advertise.clone())?;
    fixed("NoAdvertise", &|it| it.no_advertise.to_string())?;
    fixed("ReconnectInterval", &|it| shown(it.reconnect))?;
    fixed("WriteDeadline", &|it| {
        shown(it.write_deadline.unwrap_or_default())
    })?;
    fixed("WriteTimeout", &|it| {
        let policy = match it.write_timeout {
            WriteTimeoutPolicy::Default => "",
            WriteTimeoutPolicy::Close => "close",
            WriteTimeoutPolicy::Retry => "retry",
        };
        policy.to_owned()
    })?;
    fixed("MinVersion", &|it| {
        it.min_version.clone().unwrap_or_default()
    })?;
    fixed("IsolateLeafnodeInterest", &|it| it.isolate.to_string())?;
    fixed("DialTimeout", &|it| shown(it.dial_timeout))
}

/// One remote that stays.
fn remote(old: &RemoteOptions, new: &RemoteOptions) -> Result<(), String> {
    let fixed = |name, value: &dyn Fn(&RemoteOptions) -> String| unchanged(name, old, new, value);
    let list = |of: &[String]| format!("[{}]", of.join(" "));
    fixed("NoRandomize", &|it| it.no_randomize.to_string())?;
    fixed("TLSTimeout", &|it| tls_timeout(it.tls.as_ref()))?;
    fixed("Hub", &|it| it.hub.to_string())?;
    fixed("DenyImports", &|it| list(&it.deny_imports))?;
    fixed("DenyExports", &|it| list(&it.deny_exports))?;
    fixed("FirstInfoTimeout", &|it| {
        shown(it.first_info_timeout.unwrap_or(Duration::from_secs(1)))
    })?;
    fixed("DialTimeout", &|it| {
        shown(it.dial_timeout.unwrap_or_default())
    })?;
    fixed("Websocket", &|it| {
        let (compression, no_masking) = (it.websocket_compression, it.websocket_no_masking);
        format!("{{{compression} {no_masking}}}")
    })?;
    if old.proxy != new.proxy {
        let text = "only the proxy TLS configuration can be changed";
        return Err(format!("field \"Proxy\": {text}"));
    }
    fixed("LocalIsolation", &|it| it.isolate.to_string())?;
    fixed("RequestIsolation", &|it| it.request_isolation.to_string())?;
    fixed("IgnoreDiscoveredServers", &|it| {
        it.ignore_discovered.to_string()
    })
}

fn unchanged<T>(name: &str, old: &T, new: &T, value: &dyn Fn(&T) -> String) -> Result<(), String> {
    let (old, new) = (value(old), value(new));
    match old == new {
        true => Ok(()),
        false => Err(field(name, old, new)),
    }
}

fn field(name: &str, old: impl Display, new: impl Display) -> String {
    format!("field {name:?}: old={old}, new={new}")
}

fn shown(time: Duration) -> String {
    Shown::from(time).to_string()
}

fn tls_timeout(tls: Option<&TlsOptions>) -> String {
    let seconds = tls.map_or(0.0, |it| {
        it.timeout.map_or(TLS_SECONDS, |it| it.as_secs_f64())
    });
    seconds.to_string()
}

/// Does TLS come first, and how long is waited for it.
fn handshake_first(tls: Option<&TlsOptions>) -> (bool, Duration) {
    match tls.map(|it| it.handshake_first) {
        None | Some(HandshakeFirst::Off) => (false, Duration::ZERO),
        Some(HandshakeFirst::Fallback(delay)) => (true, delay),
        Some(_) => (true, Duration::ZERO),
    }
}

fn mode(mode: &CompressionMode) -> String {
    let times = match mode {
        CompressionMode::Auto(times) => times.iter().map(|it| shown(*it)).collect(),
        _ => Vec::new(),
    };
    format!("{{{} [{}]}}", mode.name(), times.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> RemoteOptions {
        RemoteOptions {
            urls: vec![url.to_owned()],
            account: "A".to_owned(),
            ..RemoteOptions::default()
        }
    }

    fn block(remotes: Vec<RemoteOptions>) -> LeafOptions {
        LeafOptions {
            port: -1,
            remotes,
            ..LeafOptions::default()
        }
    }

    #[test]
    fn topo_025_remotes_come_and_go_by_their_names() {
        let first = || remote("nats-leaf://u:p@h:1");
        let second = || RemoteOptions {
            nkey: Some("SU1".into()),
            ..first()
        };
        let check = |old, new, expected: &[&str]| {
            assert_eq!(
                between(&block(old), &block(new), 5).expect("allowed"),
                expected
            );
        };
        const NAME: &str = "urls=[\"nats-leaf://u:xxxxx@h:1\"], account=\"A\"";
        let removed = format!("Reloaded: LeafNode Remote {NAME} removed");
        check(vec![first()], vec![first()], &[]);
        check(vec![first()], vec![second(), first()], &[]);
        check(vec![first(), second()], vec![second()], &[&removed]);
        check(
            vec![first()],
            vec![remote("nats-leaf://u:q@h:1")],
            &[&removed],
        );
        let removed = format!("Reloaded: LeafNode Remote {NAME}, nkey=\"{HIDDEN}\" removed");
        check(vec![second()], vec![first()], &[&removed]);
        let disabled = RemoteOptions {
            disabled: true,
            compression: CompressionMode::Off,
            ..first()
        };
        let lines = ["Compression value is: {off []}", "Disabled value is: true"]
            .map(|it| format!("Reloaded: LeafNode Remote {NAME} {it}"));
        check(vec![first()], vec![disabled], &[&lines[0], &lines[1]]);
    }

    #[test]
    fn topo_025_what_else_a_remote_is_stays() {
        let denied = |subjects: &[&str]| RemoteOptions {
            deny_imports: subjects.iter().map(|it| (*it).to_owned()).collect(),
            ..remote("nats-leaf://h:1")
        };
        let refused = between(
            &block(vec![denied(&["x"])]),
            &block(vec![denied(&["x", "y"])]),
            5,
        );
        let expected = "remote urls=[\"nats-leaf://h:1\"], account=\"A\": field \"DenyImports\": \
                        old=[x], new=[x y]";
        assert_eq!(refused, Err(expected.to_owned()));
    }

    #[test]
    fn topo_025_users_of_the_listener_stay() {
        let user = |name: &str, password: &str| UserOptions {
            username: name.into(),
            password: password.into(),
            ..UserOptions::default()
        };
        let with = |users: &[UserOptions]| LeafOptions {
            users: users.to_vec(),
            ..block(Vec::new())
        };
        let (one, other) = (user("a", "1"), user("b", "2"));
        let both = with(&[one.clone(), other.clone()]);
        let turned = with(&[other, one.clone()]);
        assert_eq!(between(&both, &turned, 5), Ok(Vec::new()));
        let refused = between(&both, &with(std::slice::from_ref(&one)), 5);
        assert_eq!(refused, Err("field \"Users\": old=[a b], new=[a]".into()));
        let single = |user| LeafOptions {
            single_user: true,
            ..with(&[user])
        };
        let refused = between(&single(one), &single(user("a", "2")), 5);
        let text = "field \"Password\": old=[REDACTED], new=[REDACTED]";
        assert_eq!(refused, Err(text.into()));
        let refused = between(
            &both,
            &LeafOptions {
                port: 6,
                ..both.clone()
            },
            5,
        );
        assert_eq!(refused, Err("field \"Port\": old=5, new=6".into()));
    }
}
