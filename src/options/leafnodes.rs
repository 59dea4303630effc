//! Leaf nodes: the port others connect to, and the servers this one connects to.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::transport::s2::level::Mode as CompressionMode;

use super::{TlsOptions, UserOptions, WriteTimeoutPolicy};

/// The `leafnodes` block (TOPO-48).
#[derive(Debug, Clone, PartialEq)]
pub struct LeafOptions {
    /// Address; all when empty.
    pub host: String,
    /// Port; 0 is off, -1 lets the kernel choose.
    pub port: i32,
    /// `host[:port]` told to others.
    pub advertise: String,
    /// Others are told nothing.
    pub no_advertise: bool,
    /// TLS of this listener.
    pub tls: Option<TlsOptions>,
    /// Who may connect, where it is not the same as for clients (TOPO-13).
    pub users: Vec<UserOptions>,
    /// `users` is the one that the block itself names.
    pub single_user: bool,
    /// Time for CONNECT.
    pub auth_timeout: Duration,
    /// Oldest version that is let in.
    pub min_version: Option<String>,
    /// Leaf nodes are not told of each other's interest (TOPO-34).
    pub isolate: bool,
    /// Least time between two attempts to connect.
    pub reconnect: Duration,
    /// Time an attempt may take.
    pub dial_timeout: Duration,
    /// Time one write of a link may take, where it is not that of clients.
    pub write_deadline: Option<Duration>,
    /// What becomes of a link whose write takes longer.
    pub write_timeout: WriteTimeoutPolicy,
    /// How links may be compressed that others make.
    pub compression: CompressionMode,
    /// Servers this one connects to.
    pub remotes: Vec<RemoteOptions>,
}

impl Default for LeafOptions {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 0,
            advertise: String::new(),
            no_advertise: false,
            tls: None,
            users: Vec::new(),
            single_user: false,
            auth_timeout: Duration::from_secs(2),
            min_version: None,
            isolate: false,
            reconnect: Duration::from_secs(1),
            dial_timeout: Duration::from_secs(1),
            write_deadline: None,
            write_timeout: WriteTimeoutPolicy::Default,
            compression: CompressionMode::default(),
            remotes: Vec::new(),
        }
    }
}

/// An entry of `remotes` (TOPO-49).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RemoteOptions {
    /// Where to connect: `nats-leaf://[user[:password]@]host[:port]`.
    pub urls: Vec<String>,
    /// Account of the link here; `$G` when empty.
    pub account: String,
    /// File with a user JWT and its seed.
    pub credentials: Option<PathBuf>,
    /// Seed of a user nkey.
    pub nkey: Option<String>,
    /// TLS is asked for.
    pub tls: Option<TlsOptions>,
    /// Over a WebSocket, messages may be compressed.
    pub websocket_compression: bool,
    /// Over a WebSocket, the hub is asked to take frames without masks.
    pub websocket_no_masking: bool,
    /// Only `urls` are used, whatever others the hub names.
    pub ignore_discovered: bool,
    /// This server is the hub of the link.
    pub hub: bool,
    /// What is not taken.
    pub deny_imports: Vec<String>,
    /// What is not given.
    pub deny_exports: Vec<String>,
    /// `urls` are tried in their order.
    pub no_randomize: bool,
    /// Other leaf nodes' interest is not told.
    pub isolate: bool,
    /// The other side is asked for the same.
    pub request_isolation: bool,
    /// Time the first INFO may take.
    pub first_info_timeout: Option<Duration>,
    /// Time an attempt may take.
    pub dial_timeout: Option<Duration>,
    /// How the link may be compressed.
    pub compression: CompressionMode,
    /// WebSockets go through this proxy.
    pub proxy: Option<HttpProxyOptions>,
    /// Not in use.
    pub disabled: bool,
}

impl RemoteOptions {
    /// What tells it from other remotes: where it connects, its account, who it is there. Holds
    /// secrets.
    pub fn name(&self) -> String {
        let urls: Vec<_> = self.urls.iter().map(|it| format!("{it:?}")).collect();
        self.named(&urls, self.nkey.as_deref())
    }

    /// The same for people: without secrets, in stock's words.
    pub fn shown_name(&self) -> String {
        let urls: Vec<_> = self.shown_urls().collect();
        self.named(&urls, self.nkey.as_ref().map(|_| "[REDACTED]"))
    }

    /// The places, quoted and without secrets.
    pub fn shown_urls(&self) -> impl Iterator<Item = String> + '_ {
        self.urls.iter().map(|it| format!("{:?}", redacted(it)))
    }

    fn named(&self, urls: &[String], nkey: Option<&str>) -> String {
        let account = match self.account.as_str() {
            "" => "$G",
            account => account,
        };
        let who = match (&self.credentials, nkey) {
            (Some(file), _) => format!(", credentials={:?}", file.display().to_string()),
            (None, Some(nkey)) => format!(", nkey={nkey:?}"),
            (None, None) => String::new(),
        };
        format!("urls=[{}], account={account:?}{who}", urls.join(" "))
    }
}

/// A URL whose password is hidden.
fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let Some((user, place)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let hidden = match user.split_once(':') {
        Some((name, _)) => format!("{name}:xxxxx"),
        None => user.to_owned(),
    };
    match scheme {
        "" => format!("{hidden}@{place}"),
        scheme => format!("{scheme}://{hidden}@{place}"),
    }
}

/// `proxy` of a remote (TOPO-47).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpProxyOptions {
    /// `http://host:port`.
    pub url: String,
    /// User and password it asks for.
    pub user: Option<(String, String)>,
    /// Time for the tunnel; that of dialing when `None`.
    pub timeout: Option<Duration>,
}
