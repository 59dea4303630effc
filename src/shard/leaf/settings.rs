//! What shards know of leaf nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::authenticate::Authenticator;
use crate::shard::settings::Settings;
use crate::transport::s2::level::Mode;

/// Settings of leaf links.
#[derive(Clone)]
pub struct LeafSettings {
    /// Address of the listener, as INFO shows it.
    pub host: String,
    /// Its port; 0 where there is none.
    pub port: u16,
    /// `host:port` of all leaf listeners of the cluster.
    pub urls: Vec<String>,
    /// Who may connect, where it is not the same as for clients (TOPO-13).
    pub authenticator: Option<Arc<Authenticator>>,
    /// Time a link has for its CONNECT.
    pub auth_timeout: Duration,
    /// Oldest version that is let in (TOPO-15).
    pub min_version: Option<String>,
    /// Name of our cluster; empty without one.
    pub cluster: String,
    /// It was named, and is not this server alone.
    pub clustered: bool,
    /// Accounts whose JetStream is behind a link and has no domain (`default_js_domain`).
    pub without_domain: Vec<String>,
    /// Leaf nodes are not told of each other's interest (TOPO-34).
    pub isolate: bool,
    /// Time one write of a link may take, where it is not that of clients.
    pub write_deadline: Option<Duration>,
    /// A link whose write takes longer is closed at once.
    pub closes_late: bool,
    /// How links may be compressed that others make (TOPO-41).
    pub compression: Mode,
    /// The remotes in force by number, and how their links may be compressed.
    pub remotes: Arc<BTreeMap<u32, Mode>>,
}

impl Default for LeafSettings {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 0,
            urls: Vec::new(),
            authenticator: None,
            auth_timeout: Duration::from_secs(2),
            min_version: None,
            cluster: String::new(),
            clustered: false,
            without_domain: Vec::new(),
            isolate: false,
            write_deadline: None,
            closes_late: false,
            compression: Mode::default(),
            remotes: Arc::default(),
        }
    }
}

/// Longest control line on a link: it may name a reply and many queue groups.
pub(in crate::shard) fn lines_max(settings: &Settings) -> usize {
    settings.limits.max_control_line.saturating_mul(16)
}
