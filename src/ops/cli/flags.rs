//! The flags: names, values, what each does to the options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::config::{Problem, ProblemKind};
use crate::limits::SHARDS_MAX;
use crate::listener;
use crate::options::{AuthOptions, Options, PathPair, TlsOptions};

/// Why the arguments are not flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `---x`, `-=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The last argument is a flag that wants a value.
    #[error("flag needs an argument: -{0}")]
    MissingValue(String),
    /// Not a number.
    #[error("invalid value {value:?} for flag -{name}: parse error")]
    Number {
        /// The flag as written.
        name: String,
        /// What was given.
        value: String,
    },
    /// A number beyond 64 bits.
    #[error("invalid value {value:?} for flag -{name}: value out of range")]
    NumberRange {
        /// The flag as written.
        name: String,
        /// What was given.
        value: String,
    },
    /// Neither true nor false.
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    Switch {
        /// The flag as written.
        name: String,
        /// What was given.
        value: String,
    },
}

/// A flag, whichever of its names was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Help,
    HelpTls,
    HelpConfig,
    Version,
    CheckConfig,
    Signal,
    Config,
    Port,
    Host,
    Name,
    ClientAdvertise,
    Debug,
    Trace,
    VerboseTrace,
    DebugAndTrace,
    DebugAndVerboseTrace,
    Logtime,
    LogtimeUtc,
    User,
    Password,
    Token,
    HttpPort,
    HttpsPort,
    PidFile,
    PortsFileDir,
    LogFile,
    LogSizeLimit,
    Syslog,
    RemoteSyslog,
    MaxTracedMsgLen,
    Shards,
    PinShards,
    Profile,
    Routes,
    Cluster,
    ClusterAdvertise,
    NoAdvertise,
    ConnectRetries,
    ClusterName,
    JetStream,
    StoreDir,
    Tls,
    TlsVerify,
    TlsCert,
    TlsKey,
    TlsCaCert,
}

/// What a flag's value must be.
#[derive(Clone, Copy)]
enum Kind {
    Switch,
    Number,
    Text,
}

/// Every flag with its names (CFG-79..82); the first is the one shown.
const FLAGS: &[(&[&str], Kind, Flag)] = &[
    (&["help", "h"], Kind::Switch, Flag::Help),
    (&["help_tls"], Kind::Switch, Flag::HelpTls),
    (
        &["help-config", "help_config"],
        Kind::Switch,
        Flag::HelpConfig,
    ),
    (&["version", "v"], Kind::Switch, Flag::Version),
    (&["t"], Kind::Switch, Flag::CheckConfig),
    (&["signal", "sl"], Kind::Text, Flag::Signal),
    (&["config", "c"], Kind::Text, Flag::Config),
    (&["port", "p"], Kind::Number, Flag::Port),
    (&["addr", "a", "net"], Kind::Text, Flag::Host),
    (&["name", "n", "server_name"], Kind::Text, Flag::Name),
    (&["client_advertise"], Kind::Text, Flag::ClientAdvertise),
    (&["debug", "D"], Kind::Switch, Flag::Debug),
    (&["trace", "V"], Kind::Switch, Flag::Trace),
    (&["VV"], Kind::Switch, Flag::VerboseTrace),
    (&["DV"], Kind::Switch, Flag::DebugAndTrace),
    (&["DVV"], Kind::Switch, Flag::DebugAndVerboseTrace),
    (&["logtime", "T"], Kind::Switch, Flag::Logtime),
    (&["logtime_utc"], Kind::Switch, Flag::LogtimeUtc),
    (&["user"], Kind::Text, Flag::User),
    (&["pass"], Kind::Text, Flag::Password),
    (&["auth"], Kind::Text, Flag::Token),
    (&["http_port", "m"], Kind::Number, Flag::HttpPort),
    (&["https_port", "ms"], Kind::Number, Flag::HttpsPort),
    (&["pid", "P"], Kind::Text, Flag::PidFile),
    (&["ports_file_dir"], Kind::Text, Flag::PortsFileDir),
    (&["log", "l"], Kind::Text, Flag::LogFile),
    (&["log_size_limit"], Kind::Number, Flag::LogSizeLimit),
    (&["syslog", "s"], Kind::Switch, Flag::Syslog),
    (&["remote_syslog", "r"], Kind::Text, Flag::RemoteSyslog),
    (&["max_traced_msg_len"], Kind::Number, Flag::MaxTracedMsgLen),
    (&["shards"], Kind::Number, Flag::Shards),
    (&["pin_shards"], Kind::Switch, Flag::PinShards),
    (&["profile"], Kind::Number, Flag::Profile),
    (&["routes"], Kind::Text, Flag::Routes),
    (&["cluster", "cluster_listen"], Kind::Text, Flag::Cluster),
    (&["cluster_advertise"], Kind::Text, Flag::ClusterAdvertise),
    (&["no_advertise"], Kind::Switch, Flag::NoAdvertise),
    (&["connect_retries"], Kind::Number, Flag::ConnectRetries),
    (&["cluster_name"], Kind::Text, Flag::ClusterName),
    (&["jetstream", "js"], Kind::Switch, Flag::JetStream),
    (&["store_dir", "sd"], Kind::Text, Flag::StoreDir),
    (&["tls"], Kind::Switch, Flag::Tls),
    (&["tlsverify"], Kind::Switch, Flag::TlsVerify),
    (&["tlscert"], Kind::Text, Flag::TlsCert),
    (&["tlskey"], Kind::Text, Flag::TlsKey),
    (&["tlscacert"], Kind::Text, Flag::TlsCaCert),
];

/// Flags without effect in this version.
const INACTIVE: [Flag; 7] = [
    Flag::Profile,
    Flag::Routes,
    Flag::Cluster,
    Flag::ClusterAdvertise,
    Flag::NoAdvertise,
    Flag::ConnectRetries,
    Flag::ClusterName,
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Setting {
    Switch(bool),
    Number(i64),
    Text(String),
}

impl Setting {
    /// Whether it asks for anything.
    fn is_set(&self) -> bool {
        match self {
            Self::Switch(on) => *on,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
        }
    }
}

/// The flags of a command line, in their order. Kept, because a reload puts them over the file
/// again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    set: Vec<(Flag, Setting)>,
}

impl Flags {
    /// Splits arguments into flags and the words behind them.
    ///
    /// # Errors
    /// The first argument that is no flag of ours, or lacks its value.
    pub fn parse(arguments: &[String]) -> Result<(Self, &[String]), FlagError> {
        let mut flags = Self::default();
        let mut rest = arguments;
        while let [argument, after @ ..] = rest {
            if argument.len() < 2 || !argument.starts_with('-') {
                break;
            }
            rest = after;
            if argument == "--" {
                break;
            }
            let body = argument.strip_prefix("--").unwrap_or(&argument[1..]);
            if body.starts_with(['-', '=']) {
                return Err(FlagError::Syntax(argument.clone()));
            }
            let (name, attached) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some((_, kind, flag)) = FLAGS.iter().find(|(names, ..)| names.contains(&name))
            else {
                return Err(FlagError::Unknown(name.to_owned()));
            };
            let setting = match (kind, attached) {
                (Kind::Switch, None) => Setting::Switch(true),
                (Kind::Switch, Some(value)) => Setting::Switch(switch(name, value)?),
                (Kind::Number | Kind::Text, _) => {
                    let value = match (attached, rest) {
                        (Some(value), _) => value,
                        (None, [value, after @ ..]) => {
                            rest = after;
                            value
                        }
                        (None, []) => return Err(FlagError::MissingValue(name.to_owned())),
                    };
                    if let Kind::Number = kind {
                        Setting::Number(number(name, value)?)
                    } else {
                        Setting::Text(value.to_owned())
                    }
                }
            };
            flags.set.push((*flag, setting));
        }
        Ok((flags, rest))
    }

    /// The last setting of a flag.
    fn setting(&self, flag: Flag) -> Option<&Setting> {
        let found = self.set.iter().rev().find(|(it, _)| *it == flag);
        found.map(|(_, setting)| setting)
    }

    pub(super) fn is_on(&self, flag: Flag) -> bool {
        self.setting(flag) == Some(&Setting::Switch(true))
    }

    pub(super) fn text(&self, flag: Flag) -> Option<&str> {
        match self.setting(flag) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The file named by `-c`.
    pub fn config_file(&self) -> Option<&Path> {
        self.text(Flag::Config)
            .filter(|it| !it.is_empty())
            .map(Path::new)
    }

    /// `--tls=false` takes the file's `tls` block away.
    pub(super) fn tls_off(&self) -> bool {
        self.setting(Flag::Tls) == Some(&Setting::Switch(false))
    }

    /// TLS as the flags ask for it (CFG-81), whatever the file says.
    fn tls(&self) -> Option<TlsOptions> {
        let is_tls = |flag: Flag| {
            matches!(
                flag,
                Flag::Tls | Flag::TlsVerify | Flag::TlsCert | Flag::TlsKey | Flag::TlsCaCert
            )
        };
        if self.tls_off() || !self.set.iter().any(|(flag, _)| is_tls(*flag)) {
            return None;
        }
        let path = |flag| PathBuf::from(self.text(flag).unwrap_or_default());
        Some(TlsOptions {
            certificates: vec![PathPair {
                certificate: path(Flag::TlsCert),
                key: path(Flag::TlsKey),
            }],
            ca_file: Some(path(Flag::TlsCaCert)).filter(|it| !it.as_os_str().is_empty()),
            verify: self.is_on(Flag::TlsVerify),
            ..TlsOptions::default()
        })
    }

    /// Puts the flags over options that hold defaults or a file's values (CFG-83).
    ///
    /// # Errors
    /// A number that cannot be served.
    pub fn apply(&self, options: &mut Options) -> Result<(), Problem> {
        for (flag, setting) in &self.set {
            apply_setting(*flag, setting, options)?;
        }
        if let Some(tls) = self.tls() {
            // A client that negotiates TLS has that much longer for its CONNECT (CORE-58).
            if options.tls.is_none() && options.auth.timeout == AuthOptions::default().timeout {
                options.auth.timeout += Duration::from_secs(1);
            }
            options.tls = Some(tls);
        }
        // These three come after all others, wherever they stand.
        for (flag, debug, verbose) in [
            (Flag::DebugAndTrace, true, false),
            (Flag::DebugAndVerboseTrace, true, true),
            (Flag::VerboseTrace, false, true),
        ] {
            if let Some(Setting::Switch(on)) = self.setting(flag) {
                options.log.trace = *on;
                if debug {
                    options.log.debug = *on;
                }
                if verbose {
                    options.log.trace_verbose = *on;
                }
            }
        }
        Ok(())
    }

    /// Names of the flags that do nothing yet. `in_cluster` says that the file has a cluster.
    ///
    /// # Errors
    /// TLS was asked for: without it, a server that should be closed would be open.
    pub(super) fn inactive(&self, in_cluster: bool) -> Result<Vec<String>, Problem> {
        let problem = |kind| Err(Problem { origin: None, kind });
        if let Some(tls) = self.tls() {
            let [pair] = tls.certificates.as_slice() else {
                let text = "TLS Server certificate must be present and valid";
                return problem(ProblemKind::Stock(text));
            };
            if pair.certificate.as_os_str().is_empty() {
                let text = "TLS Server certificate must be present and valid";
                return problem(ProblemKind::Stock(text));
            }
            if pair.key.as_os_str().is_empty() {
                let text = "TLS Server private key must be present and valid";
                return problem(ProblemKind::Stock(text));
            }
            if let Err(error) = listener::tls::load(&tls) {
                let found = error.to_string();
                return problem(ProblemKind::TypeIn { text: "", found });
            }
        }
        let is_set = |flag| self.setting(flag).is_some_and(Setting::is_set);
        if is_set(Flag::Routes) && !in_cluster && !is_set(Flag::Cluster) {
            let text = "solicited routes require cluster capabilities, e.g. --cluster";
            return problem(ProblemKind::Stock(text));
        }
        Ok(FLAGS
            .iter()
            .filter(|(_, _, flag)| INACTIVE.contains(flag) && is_set(*flag))
            .map(|(names, ..)| format!("--{}", names[0]))
            .collect())
    }
}

fn apply_setting(flag: Flag, setting: &Setting, options: &mut Options) -> Result<(), Problem> {
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match (flag, setting) {
        (Flag::Port, Setting::Number(port)) => {
            options.port = match bounded("--port", *port, -1, 65535)? {
                0 => Options::default().port,
                port => port,
            };
        }
        (Flag::HttpPort, Setting::Number(port)) => {
            options.monitor.http_port = bounded("--http_port", *port, -1, 65535)?;
        }
        (Flag::HttpsPort, Setting::Number(port)) => {
            options.monitor.https_port = bounded("--https_port", *port, -1, 65535)?;
        }
        (Flag::Shards, Setting::Number(count)) => {
            let max = i64::try_from(SHARDS_MAX).unwrap_or(i64::MAX);
            let count: usize = bounded("--shards", *count, 0, max)?;
            options.shards = (count > 0).then_some(count);
        }
        (Flag::LogSizeLimit, Setting::Number(bytes)) => options.log.size_limit = *bytes,
        (Flag::MaxTracedMsgLen, Setting::Number(bytes)) => {
            options.log.max_traced_msg_len = usize::try_from(*bytes).unwrap_or(0);
        }
        (Flag::Debug, Setting::Switch(on)) => options.log.debug = *on,
        (Flag::Trace, Setting::Switch(on)) => options.log.trace = *on,
        (Flag::Logtime, Setting::Switch(on)) => options.log.logtime = *on,
        (Flag::LogtimeUtc, Setting::Switch(on)) => options.log.logtime_utc = *on,
        (Flag::PinShards, Setting::Switch(on)) => options.pin_shards = *on,
        (Flag::Syslog, Setting::Switch(on)) => options.log.syslog = *on,
        (Flag::JetStream, Setting::Switch(on)) => options.jetstream.enabled = *on,
        (flag, Setting::Text(text)) => match flag {
            Flag::Host => {
                options.host = filled(text).unwrap_or_else(|| Options::default().host);
            }
            Flag::Name => options.server_name = filled(text),
            Flag::ClientAdvertise => options.client_advertise = filled(text),
            Flag::User => options.auth.username = filled(text),
            Flag::Password => options.auth.password = filled(text),
            Flag::Token => options.auth.token = filled(text),
            Flag::PidFile => options.pid_file = path(text),
            // Without a folder the file's stays.
            Flag::StoreDir if text.is_empty() => {}
            Flag::StoreDir => options.jetstream.store_dir = path(text),
            Flag::PortsFileDir => options.ports_file_dir = path(text),
            Flag::LogFile => options.log.file = path(text),
            Flag::RemoteSyslog => options.log.remote_syslog.clone_from(text),
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

fn bounded<T: TryFrom<i64>>(key: &str, value: i64, min: i64, max: i64) -> Result<T, Problem> {
    let out_of_range = || Problem {
        origin: None,
        kind: ProblemKind::OutOfRange {
            key: key.to_owned(),
            value,
            min,
            max,
        },
    };
    if !(min..=max).contains(&value) {
        return Err(out_of_range());
    }
    T::try_from(value).map_err(|_| out_of_range())
}

fn switch(name: &str, value: &str) -> Result<bool, FlagError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FlagError::Switch {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// Decimal, or with the prefix of another base: `0x`, `0o`, `0`, `0b`.
fn number(name: &str, value: &str) -> Result<i64, FlagError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};

    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.strip_prefix('+').unwrap_or(value)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let name = name.to_owned();
    let value = value.to_owned();
    if digits.starts_with(['+', '-']) {
        return Err(FlagError::Number { name, value });
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|error| match error.kind() {
        PosOverflow | NegOverflow => FlagError::NumberRange { name, value },
        _ => FlagError::Number { name, value },
    })
}
