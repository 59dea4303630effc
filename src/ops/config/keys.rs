//! Top-level keys -> [`Options`] (CFG-18..74).
//!
//! Two kinds: keys that act today, and keys of features to come, whose blocks are checked and noted
//! as inactive. None of the latter keeps anybody out: a key whose absence would let in somebody who
//! should be kept out would have to be refused, because a server that starts open is worse than one
//! that does not start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::ProblemKind;
use super::report::{Report, strict_duration, type_in};
use super::value::{Map, Node, Value};
use super::{
    accounts, authorization, inactive, jetstream, leafnodes, listen, mappings, operator, rates,
    table, tls, websocket,
};
use crate::ids::{GLOBAL_ACCOUNT, SYSTEM_ACCOUNT};
use crate::limits::SHARDS_MAX;
use crate::options::{AccountOptions, Options, WriteTimeoutPolicy};
use crate::time::duration::Shown;
use crate::transport::settings::HANDSHAKE_TIMEOUT;

/// Nanoseconds of the least `lame_duck_duration` a file may set (CFG-45).
const LAME_DUCK_MIN: i64 = 30_000_000_000;

/// What the keys of a file say, and what is to be said about them.
pub struct Keys<'r> {
    report: &'r mut Report,
    options: &'r mut Options,
    /// `--tls=false`.
    tls_off: bool,
}

/// Reads the keys of a file into `options`, which hold the defaults. With `tls_off` (the flag
/// `--tls=false`) a `tls` block means nothing, as in stock.
pub fn read(map: &Map, tls_off: bool, options: &mut Options, report: &mut Report) {
    // First, because other keys depend on it.
    if let Some(value) = map.find("system_account").or(map.find("system")) {
        match value.text() {
            Ok(name) if !name.is_empty() => options.system_account = name.to_owned(),
            Ok(_) => {}
            Err(_) => {
                let text = "system account name must be a string";
                report.error(value, ProblemKind::Stock(text));
            }
        }
    }
    let mut keys = Keys {
        report,
        options,
        tls_off,
    };
    for (key, value) in map.iter() {
        let name = String::from_utf8_lossy(key).to_lowercase();
        let Some(known) = table::find(&name) else {
            keys.report.unknown_field(key, value);
            continue;
        };
        if let Err(kind) = keys.active(known.names[0], &name, value) {
            keys.report.error(value, kind);
        }
    }
    let last = |name: &str| {
        let mut all = map.iter();
        let wanted = all.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        wanted.map(|(_, value)| value)
    };
    // A client that negotiates TLS has that much longer for its CONNECT (CORE-58).
    let says_timeout = |block: &Value| match &block.node {
        Node::Map(map) => map.find("timeout").is_some(),
        _ => false,
    };
    if let Some(tls) = &keys.options.tls
        && !last("authorization").is_some_and(says_timeout)
    {
        let handshake = tls.timeout.unwrap_or(HANDSHAKE_TIMEOUT);
        keys.options.auth.timeout = handshake + Duration::from_secs(1);
    }
    if let Some(value) = last("accounts") {
        accounts::read(keys.report, value, keys.options);
    }
    let mut system = None;
    operator::complete(Arc::make_mut(&mut keys.options.operator), &mut system);
    if let Some(system) = system
        && keys.options.system_account == SYSTEM_ACCOUNT
    {
        keys.options.system_account = system;
    }
    open_global(map, keys.options);
}

/// Who names a system account and has nothing else in the way of users goes on with everybody
/// else in `$G`, as before.
fn open_global(map: &Map, options: &mut Options) {
    let names = |key: &&str| {
        map.iter()
            .any(|(it, _)| it.eq_ignore_ascii_case(key.as_bytes()))
    };
    let system = &options.system_account;
    let named = options.accounts.iter().any(|it| it.name == *system);
    let mut others = options
        .accounts
        .iter()
        .filter(|it| it.name != GLOBAL_ACCOUNT);
    let alone = others.all(|it| it.name == *system);
    let open = named && alone && options.auth.no_auth_user.is_none() && !names(&"authorization");
    // Stock's name is random; this one is the same each time the file is read.
    let digest = options.config_digest.rsplit(':').next().unwrap_or_default();
    options.auth.open_global = open.then(|| format!("nats-{digest:.8}"));
}

impl Keys<'_> {
    /// Keys that act in this version; the others go to [`Self::dormant`].
    fn active(&mut self, known: &str, name: &str, value: &Value) -> Result<(), ProblemKind> {
        let options = &mut *self.options;
        match known {
            "listen" => {
                let (host, port) = listen::parse(value)?;
                options.port = or_default(bounded(name, port, -1, 65535)?, 4222);
                set_host(options, &host);
            }
            "port" => options.port = or_default(port(name, value)?, 4222),
            "host" => set_host(options, value.text()?),
            "server_name" => {
                let text = value.text()?;
                if text.contains(' ') {
                    return Err(ProblemKind::Stock("server name cannot contain spaces"));
                }
                options.server_name = (!text.is_empty()).then(|| text.to_owned());
            }
            "client_advertise" => options.client_advertise = filled(value)?,
            "http" => {
                let (host, port) = listen::parse(value)?;
                options.monitor.http_port = bounded(name, port, -1, 65535)?;
                options.monitor.http_host = host;
            }
            "https" => {
                let (host, port) = listen::parse(value)?;
                options.monitor.https_port = bounded(name, port, -1, 65535)?;
                options.monitor.http_host = host;
            }
            "https_port" => options.monitor.https_port = port(name, value)?,
            "http_port" => options.monitor.http_port = port(name, value)?,
            "http_base_path" => options.monitor.http_base_path = value.text()?.to_owned(),
            "debug" => options.log.debug = value.boolean()?,
            "trace" => options.log.trace = value.boolean()?,
            "trace_verbose" => {
                options.log.trace_verbose = value.boolean()?;
                options.log.trace = options.log.trace_verbose;
            }
            "trace_headers" => {
                options.log.trace_headers = value.boolean()?;
                options.log.trace = options.log.trace_headers;
            }
            "logtime" => options.log.logtime = value.boolean()?,
            "logtime_utc" => options.log.logtime_utc = value.boolean()?,
            "log_file" => options.log.file = filled(value)?.map(PathBuf::from),
            "log_size_limit" => options.log.size_limit = value.integer()?,
            "log_max_num" => options.log.max_num = value.integer()?,
            "syslog" => options.log.syslog = value.boolean()?,
            "remote_syslog" => options.log.remote_syslog = value.text()?.to_owned(),
            "pid_file" => options.pid_file = filled(value)?.map(PathBuf::from),
            "ports_file_dir" => options.ports_file_dir = filled(value)?.map(PathBuf::from),
            "max_traced_msg_len" => {
                options.log.max_traced_msg_len = usize::try_from(value.integer()?).unwrap_or(0);
            }
            "lame_duck_duration" => options.lame_duck_duration = lame_duck_duration(value)?,
            "lame_duck_grace_period" => {
                options.lame_duck_grace_period = lame_duck_grace_period(value)?;
            }
            "authorization" => {
                if let Some(auth) = authorization::read_top_level(self.report, value) {
                    let no_auth_user = options.auth.no_auth_user.take();
                    options.auth = auth;
                    options.auth.no_auth_user = no_auth_user;
                }
            }
            "tls" if self.tls_off => tls::check::tls(self.report, name, value),
            "tls" => options.tls = tls::read(self.report, name, value),
            "proxies" => {
                options.trusted_proxies = inactive::listeners::proxies(self.report, value);
            }
            "jetstream" => jetstream::read(self.report, value, &mut options.jetstream),
            "store_dir" => jetstream::store_dir(self.report, value, &mut options.jetstream),
            "proxy_protocol" => options.proxy_protocol = value.boolean()?,
            "leafnodes" | "leaf" => options.leafnodes = leafnodes::read(self.report, value),
            "websocket" | "ws" => options.websocket = websocket::read(self.report, value),
            "allow_non_tls" => options.allow_non_tls = value.boolean()?,
            "ocsp" => {
                options.ocsp = tls::ocsp::staples(self.report, value);
            }
            "ocsp_cache" => options.ocsp_cache = tls::ocsp::cache(self.report, value),
            "mappings" => {
                let mappings = mappings::read(self.report, value);
                options.accounts.push(AccountOptions {
                    name: GLOBAL_ACCOUNT.to_owned(),
                    mappings,
                    ..AccountOptions::default()
                });
            }
            // Read after all others.
            "accounts" => {}
            "no_auth_user" => options.auth.no_auth_user = filled(value)?,
            // Read before all others.
            "system_account" => {}
            "no_system_account" => {
                options.no_system_account = value.boolean()?;
            }
            "disable_sublist_cache" => {
                options.disable_sublist_cache = value.boolean()?;
            }
            "server_tags" => options.tags = tags(value)?,
            "server_metadata" => self.metadata(value)?,
            "feature_flags" => self.feature_flags(value)?,
            "rate_limits" => options.rates = rates::read(self.report, value),
            "shards" => {
                let max = i64::try_from(SHARDS_MAX).unwrap_or(i64::MAX);
                let count: usize = bounded(name, value.integer()?, 0, max)?;
                options.shards = (count > 0).then_some(count);
            }
            "pin_shards" => options.pin_shards = value.boolean()?,
            _ => return self.client_limits(known, name, value),
        }
        Ok(())
    }

    fn client_limits(&mut self, known: &str, name: &str, value: &Value) -> Result<(), ProblemKind> {
        let client = &mut self.options.client;
        match known {
            "max_control_line" => {
                client.max_control_line = byte_limit(name, value, client.max_control_line)?;
            }
            "max_payload" => client.max_payload = byte_limit(name, value, client.max_payload)?,
            "max_pending" => {
                let bytes: usize = bounded(name, value.integer()?, 0, i64::MAX)?;
                if bytes != 0 {
                    client.max_pending = bytes;
                }
            }
            "max_connections" => {
                // Zero refuses everybody, as in stock; only the flag-less default is 65536.
                client.max_connections = positive(value.integer()?);
            }
            "max_subscriptions" => {
                client.max_subscriptions = positive(value.integer()?);
            }
            "max_subscription_tokens" => {
                let count = value.integer()?;
                let tokens = u8::try_from(count);
                client.max_subscription_tokens = Some(match tokens {
                    Ok(tokens) if tokens > 0 => tokens,
                    Err(_) if count > 0 => return Err(ProblemKind::TooBig(name.to_owned())),
                    _ => return Err(ProblemKind::NotPositive(name.to_owned())),
                });
            }
            "ping_interval" => {
                if let Some(time) = positive_duration(self.report, name, value)? {
                    client.ping_interval = time;
                }
            }
            "ping_max" => {
                let count: u32 = bounded(name, value.integer()?, 0, i64::from(u32::MAX))?;
                if count != 0 {
                    client.ping_max = count;
                }
            }
            "write_deadline" => {
                if let Some(time) = positive_duration(self.report, name, value)? {
                    client.write_deadline = time;
                }
            }
            "write_timeout" => {
                client.write_timeout = match value.text()? {
                    "default" => WriteTimeoutPolicy::Default,
                    "close" => WriteTimeoutPolicy::Close,
                    "retry" => WriteTimeoutPolicy::Retry,
                    _ => {
                        return Err(ProblemKind::Stock(
                            "write_timeout must be 'default', 'close' or 'retry'",
                        ));
                    }
                };
            }
            "max_closed_clients" => {
                let count: usize = bounded(name, value.integer()?, 0, i64::from(u32::MAX))?;
                if count != 0 {
                    client.max_closed_clients = count;
                }
            }
            "no_header_support" => client.no_header_support = value.boolean()?,
            "no_fast_producer_stall" => client.no_fast_producer_stall = value.boolean()?,
            _ if self.operator(known, value)? => {}
            _ => return self.dormant(known, name, value),
        }
        Ok(())
    }

    /// Keys of operator mode. True if it was one.
    fn operator(&mut self, known: &str, value: &Value) -> Result<bool, ProblemKind> {
        let report = &mut *self.report;
        let options = Arc::make_mut(&mut self.options.operator);
        match known {
            "operator" => operator::operators(report, value, options),
            "resolver" => operator::resolver(report, value, options),
            "resolver_tls" => options.resolver_tls = tls::read_link(report, "resolver_tls", value),
            "resolver_preload" => operator::preload(report, value, options),
            "resolver_pinned_accounts" => operator::pinned(report, value, options),
            "trusted_keys" => operator::trusted_keys(report, value, options),
            "default_sentinel" => options.default_sentinel = filled(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Keys of features to come, and keys nobody knows.
    fn dormant(&mut self, known: &str, name: &str, value: &Value) -> Result<(), ProblemKind> {
        let report = &mut *self.report;
        // Whether the key would do something in stock; a feature switched off is no news.
        let mut noted = true;
        match known {
            "cluster" => {
                inactive::links::cluster(report, value);
                self.options.routes = inactive::links::peer_port(value);
                if let Node::Map(map) = &value.node
                    && let Some(name) = map.find("name")
                {
                    self.options.cluster_name = name.text().ok().map(str::to_owned);
                }
            }
            "gateway" => {
                inactive::links::gateway(report, value);
                self.options.gateways = inactive::links::peer_port(value);
                if let Node::Map(map) = &value.node
                    && let Some(Ok(name)) = map.find("name").map(Value::text)
                {
                    self.options.gateway_name = name.to_owned();
                }
            }
            "mqtt" => inactive::listeners::mqtt(report, value),
            "prof_port" | "prof_block_rate" => noted = value.integer()? != 0,
            // Links are to come; what is said of them is kept.
            "connect_error_reports" => {
                self.options.connect_error_reports = or_default_reports(value.integer()?, 3600);
                noted = value.integer()? != 0;
            }
            "reconnect_error_reports" => {
                self.options.reconnect_error_reports = or_default_reports(value.integer()?, 1);
                noted = value.integer()? != 0;
            }
            "default_js_domain" => {
                let options = &mut self.options.jetstream;
                jetstream::default_domains(report, value, options)?;
                noted = false;
            }
            // `table` has a key that no arm above takes; its test says so first.
            _ => return Err(ProblemKind::UnknownField(name.to_owned())),
        }
        if noted {
            self.report.inactive(name);
        }
        Ok(())
    }

    fn metadata(&mut self, value: &Value) -> Result<(), ProblemKind> {
        let Node::Map(map) = &value.node else {
            return Err(type_in("error parsing metadata: unsupported type ", value));
        };
        for (key, value) in map.iter() {
            let key = String::from_utf8_lossy(key).into_owned();
            if let Some(text) = self.report.keep(value, value.text()) {
                self.options.metadata.insert(key, text.to_owned());
            }
        }
        Ok(())
    }

    fn feature_flags(&mut self, value: &Value) -> Result<(), ProblemKind> {
        let Node::Map(map) = &value.node else {
            return Err(type_in(
                "error parsing feature flags: unsupported type ",
                value,
            ));
        };
        for (key, value) in map.iter() {
            let key = String::from_utf8_lossy(key).into_owned();
            if let Node::Bool(flag) = value.node {
                self.options.feature_flags.insert(key, flag);
            } else {
                let found = format!("{key:?}: expected bool, got {}", value.node.type_name());
                let text = "error parsing feature flag ";
                self.report
                    .error(value, ProblemKind::TypeIn { text, found });
            }
        }
        Ok(())
    }
}

/// Empty text means the default, as in stock.
fn filled(value: &Value) -> Result<Option<String>, ProblemKind> {
    let text = value.text()?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn set_host(options: &mut Options, host: &str) {
    options.host = if host.is_empty() { "0.0.0.0" } else { host }.to_owned();
}

fn or_default(number: i32, default: i32) -> i32 {
    if number == 0 { default } else { number }
}

fn or_default_reports(number: i64, default: i64) -> i64 {
    if number == 0 { default } else { number }
}

fn port(name: &str, value: &Value) -> Result<i32, ProblemKind> {
    bounded(name, value.integer()?, -1, 65535)
}

/// `value`, where it can be served.
fn bounded<T: TryFrom<i64>>(name: &str, value: i64, min: i64, max: i64) -> Result<T, ProblemKind> {
    let out_of_range = || ProblemKind::OutOfRange {
        key: name.to_owned(),
        value,
        min,
        max,
    };
    if !(min..=max).contains(&value) {
        return Err(out_of_range());
    }
    T::try_from(value).map_err(|_| out_of_range())
}

/// Bytes up to 2^31 - 1; zero means the default.
fn byte_limit(name: &str, value: &Value, default: usize) -> Result<usize, ProblemKind> {
    let bytes = value.integer()?;
    if bytes > i64::from(i32::MAX) {
        return Err(ProblemKind::TooBig(name.to_owned()));
    }
    let bytes = bounded(name, bytes, 0, i64::from(i32::MAX))?;
    Ok(if bytes == 0 { default } else { bytes })
}

fn positive(count: i64) -> Option<usize> {
    usize::try_from(count).ok().filter(|it| *it > 0)
}

/// `None` for zero, which means the default, and for errors, which are noted.
fn positive_duration(
    report: &mut Report,
    name: &str,
    value: &Value,
) -> Result<Option<Duration>, ProblemKind> {
    let Some(nanos) = report.duration(name, value) else {
        return Ok(None);
    };
    let nanos: u64 = bounded(name, nanos, 0, i64::MAX)?;
    Ok((nanos > 0).then(|| Duration::from_nanos(nanos)))
}

fn lame_duck_duration(value: &Value) -> Result<Duration, ProblemKind> {
    let nanos = strict_duration(value, "error parsing lame_duck_duration: ")?;
    if nanos < LAME_DUCK_MIN {
        return Err(ProblemKind::LameDuckDuration(Shown(nanos)));
    }
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

fn lame_duck_grace_period(value: &Value) -> Result<Duration, ProblemKind> {
    let nanos = strict_duration(value, "error parsing lame_duck_grace_period: ")?;
    match u64::try_from(nanos) {
        Ok(0) => Ok(Options::default().lame_duck_grace_period),
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        Err(_) => Err(ProblemKind::Stock(
            "invalid lame_duck_grace_period, needs to be positive",
        )),
    }
}

/// Lower case, without blanks around, each once (CFG-66).
fn tags(value: &Value) -> Result<Vec<String>, ProblemKind> {
    let mut tags: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        let tag = text.trim().to_lowercase();
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    };
    match &value.node {
        Node::String(_) => add(value.text()?),
        Node::Array(values) => {
            for value in values {
                if !matches!(value.node, Node::String(_)) {
                    return Err(ProblemKind::Stock(
                        "error parsing tags: unsupported type *conf.token where string is expected",
                    ));
                }
                add(value.text()?);
            }
        }
        _ => return Err(type_in("error parsing tags: unsupported type ", value)),
    }
    Ok(tags)
}
