//! Options before a reload -> options after it: what changes, or why it cannot (CFG-91, CFG-93).
//!
//! In the order in which stock compares, because the first change that cannot be made is the one
//! its error names. Keys that do nothing yet are not compared.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::leaf_changes;
use crate::time::duration::Shown;
use sha2::{Digest, Sha256};

use crate::options::{HandshakeFirst, Options, TlsOptions, WebSocketOptions, WriteTimeoutPolicy};

/// A change that needs a restart; the text is stock's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config reload not supported for {field}: {why}")]
pub struct NotReloadable {
    /// The option, by the name stock gives it.
    pub field: &'static str,
    /// Its value now and the one in the file, or what of it cannot change.
    pub why: String,
}

impl NotReloadable {
    fn between(field: &'static str, old: impl Display, new: impl Display) -> Self {
        let why = format!("old={old}, new={new}");
        Self { field, why }
    }
}

/// What a reload changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// A line of the log for each option.
    pub lines: Vec<String>,
    /// Log output, levels or format.
    pub log: bool,
    /// There is a pid file to be written.
    pub pid_file: bool,
    /// The ports file moves.
    pub ports_file: bool,
}

/// Compares options. `ports` of clients and leaf nodes are those really bound: asking for any
/// leaves it as it is (CFG-19).
///
/// # Errors
/// The first change that cannot be made while the server runs.
pub fn between(old: &Options, new: &Options, ports: [u16; 2]) -> Result<Changes, NotReloadable> {
    let mut changes = Changes::default();
    changes.identity(old, new, ports[0])?;
    changes.levels(old, new);
    fixed("NoSublistCache", old, new, |it| it.disable_sublist_cache)?;
    fixed("NoHeaderSupport", old, new, |it| {
        it.client.no_header_support
    })?;
    changes.leafnodes(old, new, ports[1])?;
    changes.time_format(old, new);
    changes.note(old, new, "max_connections", |it| {
        signed(it.client.max_connections)
    });
    fixed("MaxSubs", old, new, |it| {
        it.client.max_subscriptions.unwrap_or(0)
    })?;
    fixed("MaxSubTokens", old, new, |it| {
        it.client.max_subscription_tokens.unwrap_or(0)
    })?;
    changes.transports(old, new)?;
    changes.authorization(old, new)?;
    changes.note(old, new, "ping_interval", |it| {
        shown(it.client.ping_interval)
    });
    changes.note(old, new, "ping_max", |it| it.client.ping_max);
    fixed("HTTPHost", old, new, |it| http_host(it).to_owned())?;
    fixed("HTTPPort", old, new, |it| it.monitor.http_port)?;
    fixed("HTTPSPort", old, new, |it| it.monitor.https_port)?;
    fixed("HTTPBasePath", old, new, |it| {
        it.monitor.http_base_path.clone()
    })?;
    changes.note(old, new, "authorization timeout", |it| {
        it.auth.timeout.as_secs_f64()
    });
    changes.note(old, new, "max_control_line", |it| {
        it.client.max_control_line
    });
    changes.note(old, new, "max_payload", |it| it.client.max_payload);
    fixed("MaxPending", old, new, |it| it.client.max_pending)?;
    changes.stalls(old, new);
    changes.files(old, new)?;
    changes.note(old, new, "write_deadline", |it| {
        shown(it.client.write_deadline)
    });
    fixed("WriteTimeout", old, new, |it| {
        policy(it.client.write_timeout)
    })?;
    fixed("MaxClosedClients", old, new, |it| {
        it.client.max_closed_clients
    })?;
    fixed("LameDuckDuration", old, new, |it| {
        shown(it.lame_duck_duration)
    })?;
    fixed("LameDuckGracePeriod", old, new, |it| {
        shown(it.lame_duck_grace_period)
    })?;
    changes.note(old, new, "max_traced_msg_len", |it| {
        it.log.max_traced_msg_len
    });
    changes.note(old, new, "connect_error_reports", |it| {
        it.connect_error_reports
    });
    changes.note(old, new, "reconnect_error_reports", |it| {
        it.reconnect_error_reports
    });
    changes.tell(old.tags != new.tags, || "Reloaded: tags".into());
    changes.tell(old.metadata != new.metadata, || "Reloaded: metadata".into());
    fixed("JetStream", old, new, |it| it.jetstream.enabled)?;
    fixed("StoreDir", old, new, |it| {
        let folder = it.jetstream.store_dir.as_deref();
        folder.map_or(String::new(), |it| it.display().to_string())
    })?;
    fixed("JsAccDefaultDomain", old, new, |it| {
        map(&it.jetstream.default_domains)
    })?;
    fixed("FeatureFlags", old, new, |it| map(&it.feature_flags))?;
    fixed("Shards", old, new, |it| it.shards.unwrap_or(0))?;
    fixed("PinShards", old, new, |it| it.pin_shards)?;
    Ok(changes)
}

impl Changes {
    /// What comes before the protocol. Certificates are compared by what is in their files: see
    /// [`Changes::certificates`].
    fn transports(&mut self, old: &Options, new: &Options) -> Result<(), NotReloadable> {
        fixed("AllowNonTLS", old, new, |it| it.allow_non_tls)?;
        fixed("ProxyProtocol", old, new, |it| it.proxy_protocol)?;
        fixed("Websocket", old, new, |it| {
            let websocket = WebSocketOptions {
                tls: None,
                ..it.websocket.clone()
            };
            shown_websocket(&websocket)
        })?;
        self.proxies(old, new);
        self.tell(old.ocsp != new.ocsp, || "Reloaded: OCSP".to_owned());
        self.tell(old.ocsp_cache != new.ocsp_cache, || {
            "Reloaded OCSP peer cache".to_owned()
        });
        let (before, after) = (old.tls.as_ref(), new.tls.as_ref());
        self.tell(before != after, || tls_line(after.is_some()));
        let timeout = |it: Option<&TlsOptions>| it.and_then(|it| it.timeout).unwrap_or_default();
        self.tell(timeout(before) != timeout(after), || {
            format!("Reloaded: tls timeout = {}", timeout(after).as_secs_f64())
        });
        let pins = |it: Option<&TlsOptions>| it.map_or(Vec::new(), |it| it.pinned_certs.clone());
        self.tell(pins(before) != pins(after), || {
            format!("Reloaded: {} pinned_certs", pins(after).len())
        });
        let first =
            |it: Option<&TlsOptions>| it.map_or_else(Default::default, |it| it.handshake_first);
        let is_first = |it| first(it) != HandshakeFirst::Off;
        self.tell(is_first(before) != is_first(after), || {
            format!("Reloaded: Client TLS handshake first: {}", is_first(after))
        });
        let delay = |it| match first(it) {
            HandshakeFirst::Fallback(delay) => delay,
            _ => Duration::ZERO,
        };
        self.tell(delay(before) != delay(after), || {
            format!(
                "Reloaded: Client TLS handshake first fallback delay: {}",
                shown(delay(after))
            )
        });
        Ok(())
    }

    fn leafnodes(&mut self, old: &Options, new: &Options, port: u16) -> Result<(), NotReloadable> {
        let lines = leaf_changes::between(&old.leafnodes, &new.leafnodes, port);
        let field = "LeafNode";
        self.lines
            .extend(lines.map_err(|why| NotReloadable { field, why })?);
        Ok(())
    }

    fn proxies(&mut self, old: &Options, new: &Options) {
        let only_in = |these: &Options, others: &Options| {
            let keys = these.trusted_proxies.iter();
            keys.filter(|key| !others.trusted_proxies.contains(key))
                .cloned()
                .collect::<Vec<_>>()
        };
        for (keys, what) in [(only_in(old, new), "removed"), (only_in(new, old), "added")] {
            self.tell(!keys.is_empty(), || {
                let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
                let keys = keys.join(" ");
                format!("Reloaded: proxies trusted keys [{keys}] were {what}")
            });
        }
    }

    /// The certificates in the files, of clients and of WebSocket, before and after.
    pub fn certificates(&mut self, old: [Option<[u8; 32]>; 2], new: [Option<[u8; 32]>; 2]) {
        let line = tls_line(new[0].is_some());
        if old != new && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

fn tls_line(enabled: bool) -> String {
    let what = if enabled { "enabled" } else { "disabled" };
    format!("Reloaded: tls = {what}")
}

/// What tells one block from another; secrets are not shown.
fn shown_websocket(it: &WebSocketOptions) -> String {
    let digest = Sha256::digest(format!("{it:?}"));
    let digest = data_encoding::HEXLOWER.encode(&digest[..6]);
    format!("{{{}:{} {digest}}}", it.host, it.port)
}

/// Tokens by their last characters, which are of the signature: enough to tell them apart.
fn shown_tokens(tokens: &[String]) -> String {
    let ends = tokens.iter().map(|it| {
        let mut end: Vec<char> = it.chars().rev().take(16).collect();
        end.reverse();
        end.into_iter().collect::<String>()
    });
    ends.collect::<Vec<_>>().join(" ")
}

/// Must be the same in both.
fn fixed<T: PartialEq + ToString>(
    field: &'static str,
    old: &Options,
    new: &Options,
    value: impl Fn(&Options) -> T,
) -> Result<(), NotReloadable> {
    let (old, new) = (value(old), value(new));
    if old == new {
        return Ok(());
    }
    Err(NotReloadable::between(
        field,
        old.to_string(),
        new.to_string(),
    ))
}

impl Changes {
    fn tell(&mut self, changed: bool, line: impl FnOnce() -> String) {
        if changed {
            self.lines.push(line());
        }
    }

    /// A line with the new value, where it is another. True then.
    fn note<T: PartialEq + Display>(
        &mut self,
        old: &Options,
        new: &Options,
        key: &str,
        value: impl Fn(&Options) -> T,
    ) -> bool {
        let changed = value(old) != value(new);
        self.tell(changed, || format!("Reloaded: {key} = {}", value(new)));
        changed
    }

    fn identity(&mut self, old: &Options, new: &Options, port: u16) -> Result<(), NotReloadable> {
        fixed("ServerName", old, new, |it| {
            text(it.server_name.as_ref()).to_owned()
        })?;
        fixed("Host", old, new, |it| it.host.clone())?;
        if new.port != -1 && new.port != i32::from(port) {
            return Err(NotReloadable::between("Port", port, new.port));
        }
        let advertise = text(new.client_advertise.as_ref());
        self.tell(old.client_advertise != new.client_advertise, || {
            format!("Reload: client_advertise = {advertise}")
        });
        Ok(())
    }

    fn levels(&mut self, old: &Options, new: &Options) {
        self.log |= self.note(old, new, "trace", |it| it.log.trace);
        self.log |= self.note(old, new, "debug", |it| it.log.debug);
        self.log |= self.note(old, new, "trace_verbose", |it| it.log.trace_verbose);
        self.log |= self.note(old, new, "trace_headers", |it| it.log.trace_headers);
    }

    fn time_format(&mut self, old: &Options, new: &Options) {
        self.log |= self.note(old, new, "logtime", |it| it.log.logtime);
        self.log |= self.note(old, new, "logtime_utc", |it| it.log.logtime_utc);
    }

    /// Stock calls users and accounts changed at every reload: it does not compare them.
    fn authorization(&mut self, old: &Options, new: &Options) -> Result<(), NotReloadable> {
        let nkeys = |it: &Options| {
            let users = it.auth.users.iter().filter(|user| user.nkey.is_some());
            users.cloned().collect::<Vec<_>>()
        };
        self.tell(nkeys(old) != nkeys(new), || {
            "Reloaded: authorization nkey users".into()
        });
        self.lines.push("Reloaded: authorization users".into());
        self.lines.push("Reloaded: accounts".into());
        // Taking it away is fine when the user goes too: nobody is let in who was not.
        let name = text(old.auth.no_auth_user.as_ref());
        let gone = !new.auth.users.iter().any(|user| user.username == name);
        if !(gone && new.auth.no_auth_user.is_none()) {
            fixed("NoAuthUser", old, new, |it| {
                text(it.auth.no_auth_user.as_ref()).to_owned()
            })?;
        }
        fixed("SystemAccount", old, new, |it| match &*it.system_account {
            "$SYS" => String::new(), // the default, which stock knows as none
            name => name.to_owned(),
        })?;
        fixed("TrustedOperators", old, new, |it| {
            shown_tokens(&it.operator.operators)
        })?;
        fixed("TrustedKeys", old, new, |it| {
            it.operator.trusted_keys.join(" ")
        })?;
        // Another one takes over, none is another matter.
        let none = |it: &Options| it.operator.resolver.is_none();
        if none(old) != none(new) {
            return Err(NotReloadable {
                field: "AccountResolver",
                why: "there was none, or there is none now".into(),
            });
        }
        fixed("NoSystemAccount", old, new, |it| it.no_system_account)?;
        let (before, after) = (&old.auth, &new.auth);
        for (changed, what) in [
            (before.username != after.username, "username"),
            (before.password != after.password, "password"),
            (before.token != after.token, "token"),
        ] {
            self.tell(changed, || format!("Reloaded: authorization {what}"));
        }
        Ok(())
    }

    fn stalls(&mut self, old: &Options, new: &Options) {
        self.tell(old.rates != new.rates, || {
            "Reloaded: rate_limits".to_owned()
        });
        let no_stall = new.client.no_fast_producer_stall;
        self.tell(old.client.no_fast_producer_stall != no_stall, || {
            let not = if no_stall { "not " } else { "" };
            format!("Reloaded: fast producers will {not}be stalled")
        });
    }

    fn files(&mut self, old: &Options, new: &Options) -> Result<(), NotReloadable> {
        self.pid_file = new.pid_file.is_some() && old.pid_file != new.pid_file;
        let pid_file = path(new.pid_file.as_ref());
        self.tell(self.pid_file, || format!("Reloaded: pid_file = {pid_file}"));
        self.ports_file = self.note(old, new, "ports_file_dir", |it| {
            path(it.ports_file_dir.as_ref())
        });
        self.log |= self.note(old, new, "log_file", |it| path(it.log.file.as_ref()));
        fixed("LogSizeLimit", old, new, |it| it.log.size_limit)?;
        fixed("LogMaxFiles", old, new, |it| it.log.max_num)?;
        self.log |= self.note(old, new, "syslog", |it| it.log.syslog);
        self.log |= self.note(old, new, "remote_syslog", |it| it.log.remote_syslog.clone());
        Ok(())
    }
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

fn path(value: Option<&PathBuf>) -> String {
    value.map_or_else(String::new, |path| path.display().to_string())
}

fn shown(time: Duration) -> String {
    Shown::from(time).to_string()
}

fn signed(max: Option<usize>) -> i64 {
    max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX))
}

fn http_host(options: &Options) -> &str {
    match options.monitor.http_host.as_str() {
        "" => &options.host,
        host => host,
    }
}

fn policy(policy: WriteTimeoutPolicy) -> &'static str {
    match policy {
        WriteTimeoutPolicy::Default => "",
        WriteTimeoutPolicy::Close => "close",
        WriteTimeoutPolicy::Retry => "retry",
    }
}

/// As Go prints a map.
fn map<T: std::fmt::Display>(values: &BTreeMap<String, T>) -> String {
    let values = values.iter().map(|(name, it)| format!("{name}:{it}"));
    format!("map[{}]", values.collect::<Vec<_>>().join(" "))
}
