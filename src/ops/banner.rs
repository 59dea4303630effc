//! Lines of start and stop that scripts and people look for (CFG-100, PROC-6, PROC-7, PROC-12).
//!
//! Functions that return text; the caller logs it: [`listen_failure`] and [`monitor_failure`] as
//! fatal lines, the rest as information.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::auth::jwt::operator::OperatorClaims;
use crate::ids::SYSTEM_ACCOUNT;
use crate::options::{HandshakeFirst, Options};

/// Version of the stock server we are compatible with; clients gate features on it.
pub const STOCK_VERSION: &str = "2.15.1";

/// Our own version.
pub const RAMJET_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Last line of a start: every listener accepts.
pub const READY: &str = "Server is ready";

/// WS-2.
pub const WEBSOCKET_WITHOUT_TLS: &str =
    "Websocket not configured with TLS. DO NOT USE IN PRODUCTION!";

/// Who vouches for accounts, and where that is not known well.
pub fn operator_lines(options: &Options) -> Vec<(log::Level, String)> {
    let tokens = &options.operator.operators;
    let claims = tokens
        .iter()
        .filter_map(|it| OperatorClaims::decode(it).ok());
    let mut lines = Vec::new();
    for it in claims.map(|it| it.standard) {
        if lines.is_empty() {
            lines.push("Trusted Operators".to_owned());
        }
        let expires = match it.expires {
            0 => "Never".to_owned(),
            second => local_time(second),
        };
        lines.push(format!("  System  : {:?}", it.audience));
        lines.push(format!("  Operator: {:?}", it.name));
        lines.push(format!("  Issued  : {}", local_time(it.issued_at)));
        lines.push(format!("  Expires : {expires}"));
    }
    let mut lines: Vec<_> = lines.into_iter().map(|it| (log::Level::Info, it)).collect();
    if !lines.is_empty() && options.system_account == SYSTEM_ACCOUNT {
        let text = "Trusted Operators should utilize a System Account";
        lines.push((log::Level::Warn, text.to_owned()));
    }
    lines
}

/// A second as Go writes it.
fn local_time(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::system());
    time.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// What is said of the client port once clients can connect.
pub fn transport_lines(options: &Options) -> Vec<(log::Level, &'static str)> {
    let mut lines = Vec::new();
    if options.proxy_protocol {
        let text = "PROXY protocol enabled for client connections";
        lines.push((log::Level::Info, text));
    }
    let Some(tls) = &options.tls else {
        return lines;
    };
    let first = tls.handshake_first == HandshakeFirst::On;
    lines.push(if options.allow_non_tls && !first {
        (log::Level::Info, "TLS available for client connections")
    } else {
        (log::Level::Info, "TLS required for client connections")
    });
    if first {
        let text = "Clients that are not using \"TLS Handshake First\" option will fail to connect";
        lines.push((log::Level::Warn, text));
    }
    lines
}

/// SIGUSR2 took effect.
pub const LAME_DUCK: &str = "Entering lame duck mode, stop accepting new clients";

/// A shutdown begins.
pub const SHUTDOWN: &str = "Initiating Shutdown...";

/// Last line of a clean exit.
pub const EXITING: &str = "Server Exiting..";

/// Feature flags of the stock version and their defaults (CFG-68).
pub const FEATURE_FLAGS: [(&str, bool); 4] = [
    ("js_ack_fc_v2", false),
    ("js_api_reply_v2", false),
    ("js_raft_delete_range", true),
    ("js_snapshot_sources", false),
];

/// Who starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Banner<'a> {
    /// Commit of the build; empty if unknown.
    pub git_commit: &'a str,
    /// Cluster, if this server is in one.
    pub cluster: Option<&'a str>,
    /// `server_name`, or the id.
    pub name: &'a str,
    /// Server id.
    pub id: &'a str,
    /// `feature_flags` as configured.
    pub feature_flags: &'a BTreeMap<String, bool>,
    /// Configuration file as named on the command line.
    pub config_file: Option<&'a Path>,
    /// `sha256:<hex>`; empty without a file.
    pub config_digest: &'a str,
}

impl Banner<'_> {
    /// The first lines of a start, in order; our own version stands beside the stock one.
    pub fn lines(&self) -> Vec<String> {
        let git_commit = if self.git_commit.is_empty() {
            "not set"
        } else {
            self.git_commit
        };
        let mut lines = vec![
            "Starting nats-server".to_owned(),
            format!("  Version:  {STOCK_VERSION}"),
            format!("  Ramjet:   {RAMJET_VERSION}"),
            format!("  Git:      [{git_commit}]"),
        ];
        lines.extend(self.cluster.map(|cluster| format!("  Cluster:  {cluster}")));
        lines.push(format!("  Name:     {}", self.name));
        lines.push(format!("  ID:       {}", self.id));
        if !self.feature_flags.is_empty() {
            lines.extend(feature_flag_lines(self.feature_flags));
        }
        lines.extend(
            self.config_file
                .map(|file| config_file_line(file, self.config_digest)),
        );
        lines
    }
}

fn feature_flag_lines(flags: &BTreeMap<String, bool>) -> Vec<String> {
    let mut configured = Vec::new();
    let mut unsupported = Vec::new();
    for (name, &on) in flags {
        match FEATURE_FLAGS.iter().find(|(known, _)| known == name) {
            Some((_, default)) => {
                let state = match (default, on) {
                    (true, true) => "enabled",
                    (true, false) => "opt-out",
                    (false, true) => "opt-in",
                    (false, false) => "disabled",
                };
                configured.push(format!("{name} ({state})"));
            }
            None => unsupported.push(name.as_str()),
        }
    }
    let configured = if configured.is_empty() {
        "none".into()
    } else {
        configured.join(", ")
    };
    let mut lines = vec![
        "  Feature flags:".to_owned(),
        format!("    Configured:    {configured}"),
    ];
    if !unsupported.is_empty() {
        lines.push(format!("    Unsupported:   {}", unsupported.join(", ")));
    }
    lines
}

fn config_file_line(file: &Path, digest: &str) -> String {
    // The blank before a digest that is not there is stock's.
    let digest = if digest.is_empty() {
        String::new()
    } else {
        format!("({digest})")
    };
    format!("Using configuration file: {} {digest}", file.display())
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening<'a> {
    /// NATS clients.
    Clients,
    /// Monitoring: `http` or `https`.
    Monitor {
        /// URL scheme.
        scheme: &'a str,
    },
    /// WebSocket clients: `ws` or `wss`.
    WebSocket {
        /// URL scheme.
        scheme: &'a str,
    },
    /// Leaf nodes.
    LeafNodes,
    /// Servers of the same cluster.
    Routes,
    /// Servers of other clusters.
    Gateways,
}

/// The landmark of an open listener; `host` as configured, `port` as bound.
pub fn listening(what: Listening<'_>, host: &str, port: u16) -> String {
    match what {
        Listening::Clients => {
            format!(
                "Listening for client connections on {}",
                HostPort(host, port)
            )
        }
        Listening::Monitor { scheme } => {
            format!("Starting {scheme} monitor on {}", HostPort(host, port))
        }
        // No brackets around IPv6 here, as in stock.
        Listening::WebSocket { scheme } => {
            format!("Listening for websocket clients on {scheme}://{host}:{port}")
        }
        Listening::LeafNodes => {
            format!(
                "Listening for leafnode connections on {}",
                HostPort(host, port)
            )
        }
        Listening::Routes => {
            format!(
                "Listening for route connections on {}",
                HostPort(host, port)
            )
        }
        Listening::Gateways => {
            format!(
                "Listening for gateways connections on {}",
                HostPort(host, port)
            )
        }
    }
}

/// Fatal line when the client port cannot be bound; `port` as configured.
pub fn listen_failure(host: &str, port: i32, cause: &io::Error) -> String {
    let address = HostPort(host, port);
    let cause = bind_cause(&address, cause);
    format!("Error listening on port: {address}, {cause:?}")
}

/// Fatal line when the monitoring port cannot be bound; `port` as configured.
pub fn monitor_failure(host: &str, port: i32, cause: &io::Error) -> String {
    let cause = bind_cause(&HostPort(host, port), cause);
    format!("Can't start monitoring: can't listen to the monitor port: {cause}")
}

/// Why an address cannot be bound; `port` as configured.
pub fn bind_failure(host: &str, port: i32, cause: &io::Error) -> String {
    bind_cause(&HostPort(host, port), cause)
}

/// What harnesses search for, in stock's words.
fn bind_cause(address: &HostPort<'_, i32>, cause: &io::Error) -> String {
    let text = match cause.kind() {
        io::ErrorKind::AddrInUse => "address already in use",
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
        io::ErrorKind::PermissionDenied => "permission denied",
        // Not the system's answer to a bind: name resolution, or a port out of range.
        _ if cause.raw_os_error().is_none() => return format!("listen tcp: {cause}"),
        _ => return format!("listen tcp {address}: bind: {cause}"),
    };
    format!("listen tcp {address}: bind: {text}")
}

/// `host:port`, with brackets around an IPv6 address.
struct HostPort<'a, P>(&'a str, P);

impl<P: fmt::Display> fmt::Display for HostPort<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_100_start_lines() {
        let flags = BTreeMap::from([
            ("js_ack_fc_v2".into(), false),
            ("js_raft_delete_range".into(), true),
            ("js_snapshot_sources".into(), true),
            ("foo".into(), true),
        ]);
        let banner = Banner {
            git_commit: "",
            cluster: Some("east"),
            name: "a",
            id: "NABC",
            feature_flags: &flags,
            config_file: Some(Path::new("f.conf")),
            config_digest: "sha256:00",
        };
        let own = format!("  Ramjet:   {RAMJET_VERSION}");
        let expected = [
            "Starting nats-server",
            "  Version:  2.15.1",
            &own,
            "  Git:      [not set]",
            "  Cluster:  east",
            "  Name:     a",
            "  ID:       NABC",
            "  Feature flags:",
            "    Configured:    js_ack_fc_v2 (disabled), js_raft_delete_range (enabled), \
             js_snapshot_sources (opt-in)",
            "    Unsupported:   foo",
            "Using configuration file: f.conf (sha256:00)",
        ];
        assert_eq!(banner.lines(), expected);
    }

    #[test]
    fn proc_6_landmarks_of_listeners() {
        assert_eq!(
            listening(Listening::Clients, "::1", 4222),
            "Listening for client connections on [::1]:4222"
        );
        assert_eq!(
            listening(Listening::Monitor { scheme: "http" }, "0.0.0.0", 8222),
            "Starting http monitor on 0.0.0.0:8222"
        );
        assert_eq!(
            listening(Listening::WebSocket { scheme: "ws" }, "0.0.0.0", 80),
            "Listening for websocket clients on ws://0.0.0.0:80"
        );
        assert_eq!(
            listening(Listening::LeafNodes, "::1", 7422),
            "Listening for leafnode connections on [::1]:7422"
        );
    }

    #[test]
    fn proc_7_listen_failures() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let cause = std::net::TcpListener::bind(address).unwrap_err();
        assert_eq!(
            listen_failure("127.0.0.1", address.port().into(), &cause),
            format!(
                "Error listening on port: {address}, \
                 \"listen tcp {address}: bind: address already in use\""
            )
        );
        assert_eq!(
            listen_failure(
                "::1",
                80000,
                &io::Error::other("address 80000: invalid port")
            ),
            "Error listening on port: [::1]:80000, \"listen tcp: address 80000: invalid port\""
        );
        assert_eq!(
            monitor_failure("a", 80, &io::ErrorKind::PermissionDenied.into()),
            "Can't start monitoring: can't listen to the monitor port: \
             listen tcp a:80: bind: permission denied"
        );
    }
}
