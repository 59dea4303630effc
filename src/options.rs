//! What a server is told at its start: plain values, each with the default of nats-server 2.15.
//!
//! The configuration file and the command line are turned into this by `ops::config`; a program
//! that embeds the server fills it by hand or through [`crate::Server::builder`].

mod jetstream;
mod leafnodes;
mod listeners;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::SYSTEM_ACCOUNT;
pub use jetstream::{
    AccountTiers, JetStreamAccountLimits, JetStreamLimits, JetStreamOptions, StoreCipher,
};
pub use leafnodes::{CompressionMode, HttpProxyOptions, LeafOptions, RemoteOptions};
pub use listeners::{
    CookieNames, HandshakeFirst, OcspCacheOptions, OcspMode, OcspOptions, OcspPeerOptions,
    PeerPortOptions, TlsOptions, WebSocketOptions,
};

/// Every setting of a server that acts today.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name shown to clients; the server id when `None` (CFG-21).
    pub server_name: Option<String>,
    /// Address clients connect to (CFG-20).
    pub host: String,
    /// Port clients connect to; -1 lets the kernel choose (CFG-19).
    pub port: i32,
    /// `host[:port]` told to clients instead of `host:port` (CFG-22).
    pub client_advertise: Option<String>,
    /// Shard threads; `None` is one for each CPU this process may use.
    pub shards: Option<usize>,
    /// Does each shard keep to one CPU?
    pub pin_shards: bool,
    /// Monitoring over HTTP.
    pub monitor: MonitorOptions,
    /// TLS of the client port (CORE-78).
    pub tls: Option<TlsOptions>,
    /// Clients may do without it (CORE-82).
    pub allow_non_tls: bool,
    /// Staples of our certificates (CORE-88).
    pub ocsp: OcspOptions,
    /// What is known of peers' certificates (CORE-89).
    pub ocsp_cache: OcspCacheOptions,
    /// Connections may begin with a PROXY header (CORE-91).
    pub proxy_protocol: bool,
    /// Public nkeys of proxies that vouch for clients (CORE-92).
    pub trusted_proxies: Vec<String>,
    /// WebSocket clients.
    pub websocket: WebSocketOptions,
    /// JetStream (CFG-65).
    pub jetstream: JetStreamOptions,
    /// Links to other servers.
    pub leafnodes: LeafOptions,
    /// Log output.
    pub log: LogOptions,
    /// Where the process id is written (CFG-32).
    pub pid_file: Option<PathBuf>,
    /// Folder for the file that lists the bound ports (CFG-32).
    pub ports_file_dir: Option<PathBuf>,
    /// Limits and timers of client connections.
    pub client: ClientLimits,
    /// Who may connect and what they may do.
    pub auth: AuthOptions,
    /// Name of the cluster this server says it is in; links to it do not exist yet.
    pub cluster_name: Option<String>,
    /// Where servers of the cluster come, who are not taken yet.
    pub routes: PeerPortOptions,
    /// Name of the gateway; empty without one.
    pub gateway_name: String,
    /// Where servers of other clusters come, who are not taken yet.
    pub gateways: PeerPortOptions,
    /// Accounts in the order of the file; `$G` only where it has mappings (AUTH-27).
    pub accounts: Vec<AccountOptions>,
    /// What users, accounts and addresses may send in a second.
    pub rates: RateOptions,
    /// Time from the lame duck signal to exit (CFG-45).
    pub lame_duck_duration: Duration,
    /// Time before the first client is closed in lame duck mode (CFG-45).
    pub lame_duck_grace_period: Duration,
    /// `server_tags`, lower case (CFG-66).
    pub tags: Vec<String>,
    /// `server_metadata` (CFG-67).
    pub metadata: BTreeMap<String, String>,
    /// `feature_flags` as given (CFG-68).
    pub feature_flags: BTreeMap<String, bool>,
    /// Match every subject anew (CFG-70).
    pub disable_sublist_cache: bool,
    /// The system account's name (CFG-49).
    pub system_account: String,
    /// `no_system_account`.
    pub no_system_account: bool,
    /// Operator mode. Shared, because preloaded accounts may be many megabytes.
    pub operator: Arc<OperatorOptions>,
    /// Failed first attempts to reach a peer between two log lines (CFG-73).
    pub connect_error_reports: i64,
    /// The same once it had been reached (CFG-73).
    pub reconnect_error_reports: i64,
    /// Budget for memory in bytes, from `GOMEMLIMIT` (PROC-14): half of it is for output that
    /// clients have not taken yet. `None` is without bound but that of each connection.
    pub memory_limit: Option<u64>,
    /// Configuration file this came from, as given on the command line.
    pub config_file: Option<PathBuf>,
    /// `sha256:<hex>` of the parsed configuration (CFG-86); empty without a file.
    pub config_digest: String,
}

/// `rate_limits`, beyond stock: for each user, each account and each address alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateOptions {
    /// Of one user, over all its connections.
    pub user: Rates,
    /// Of one account, over all its users.
    pub account: Rates,
    /// Of one address, over all who connect from it.
    pub address: Rates,
}

/// Amounts for each second; as much may come at once after a second of silence. `None` is
/// unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Messages published.
    pub messages: Option<u64>,
    /// Their bytes, headers included.
    pub bytes: Option<u64>,
    /// Subscriptions made.
    pub subscriptions: Option<u64>,
    /// Connections made.
    pub connections: Option<u64>,
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathPair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// Monitoring listener (CFG-23..25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorOptions {
    /// Address; the client host when empty.
    pub http_host: String,
    /// Port; 0 is off, -1 lets the kernel choose.
    pub http_port: i32,
    /// The same with TLS, by the certificates of the `tls` block; not beside the other.
    pub https_port: i32,
    /// Prefix of every path, `/` when empty.
    pub http_base_path: String,
}

/// Log output (CFG-26..31, CFG-43).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Show `[DBG]` lines.
    pub debug: bool,
    /// Show `[TRC]` lines: every protocol operation.
    pub trace: bool,
    /// Trace the system account too.
    pub trace_verbose: bool,
    /// Trace headers only, not payloads.
    pub trace_headers: bool,
    /// Date and time in front of each line.
    pub logtime: bool,
    /// In UTC rather than local time.
    pub logtime_utc: bool,
    /// Log file; standard error when `None`.
    pub file: Option<PathBuf>,
    /// Size in bytes at which the file is rotated; 0 is never.
    pub size_limit: i64,
    /// Files kept, the current one included; 0 keeps all.
    pub max_num: i64,
    /// Log to syslog.
    pub syslog: bool,
    /// Address of a remote syslog, `udp://`, `tcp://` or `unix://`; empty is local.
    pub remote_syslog: String,
    /// Bytes of a payload shown in trace lines; 0 is all of it.
    pub max_traced_msg_len: usize,
}

/// Limits and timers of client connections (CFG-34..44).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at once; `None` refuses every one.
    pub max_connections: Option<usize>,
    /// Subscriptions of one connection; `None` is unlimited.
    pub max_subscriptions: Option<usize>,
    /// Tokens in the subject of a subscription; `None` is unlimited.
    pub max_subscription_tokens: Option<u8>,
    /// Bytes of one message, headers included.
    pub max_payload: usize,
    /// Bytes queued for one connection before it counts as a slow consumer.
    pub max_pending: usize,
    /// Bytes of the arguments of one control line.
    pub max_control_line: usize,
    /// Time between two PINGs of the server.
    pub ping_interval: Duration,
    /// PINGs without an answer before the connection is stale.
    pub ping_max: u32,
    /// Time one write may take.
    pub write_deadline: Duration,
    /// What happens after that time.
    pub write_timeout: WriteTimeoutPolicy,
    /// Closed connections remembered for `/connz`.
    pub max_closed_clients: usize,
    /// Refuse headers from everybody (CORE-74).
    pub no_header_support: bool,
    /// Drop a message for a slow receiver instead of slowing its publisher (CORE-64).
    pub no_fast_producer_stall: bool,
}

/// `write_timeout` (CFG-42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteTimeoutPolicy {
    /// Close clients, retry links.
    #[default]
    Default,
    /// Close.
    Close,
    /// Go on with the rest of the batch.
    Retry,
}

/// The `authorization` block (AUTH-1..17).
#[derive(Debug, Clone, PartialEq)]
pub struct AuthOptions {
    /// Single user's name.
    pub username: Option<String>,
    /// Single user's password, plain or bcrypt.
    pub password: Option<String>,
    /// Shared token, plain or bcrypt.
    pub token: Option<String>,
    /// Users with names and nkeys.
    pub users: Vec<UserOptions>,
    /// User that connections without credentials become.
    pub no_auth_user: Option<String>,
    /// Name of the user that connections without credentials are, in `$G`, although there are
    /// users: those of a system account that is all the file has of accounts and users. Nobody
    /// can log in by it.
    pub open_global: Option<String>,
    /// Time a connection has for its CONNECT.
    pub timeout: Duration,
    /// The single user and the token only through a trusted proxy (CORE-93).
    pub proxy_required: bool,
    /// The service that decides about users (AUTH-80).
    pub callout: Option<CalloutOptions>,
}

/// `auth_callout` (AUTH-80).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CalloutOptions {
    /// Public account nkey that signs its answers.
    pub issuer: String,
    /// Account it is in.
    pub account: String,
    /// Users about whom it is not asked.
    pub auth_users: Vec<String>,
    /// Its public curve key.
    pub xkey: Option<String>,
    /// Accounts of users in the file it decides about; empty is all.
    pub allowed_accounts: Vec<String>,
}

/// One entry of `users`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserOptions {
    /// Name; empty for an nkey user.
    pub username: String,
    /// Password, plain or bcrypt.
    pub password: String,
    /// Public user nkey (`U...`) instead of name and password.
    pub nkey: Option<String>,
    /// What the user may do; `None` is everything.
    pub permissions: Option<PermissionsOptions>,
    /// Kinds of connection the user may use, upper case; empty is all (AUTH-8).
    pub allowed_connection_types: Vec<String>,
    /// Only through a trusted proxy (CORE-93).
    pub proxy_required: bool,
    /// Account the user is in; empty is `$G` (AUTH-28).
    pub account: String,
}

/// One account of the file (AUTH-27). Its users are in [`AuthOptions::users`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccountOptions {
    /// Its name.
    pub name: String,
    /// Name for people where the other is a key; empty where it is not.
    pub name_tag: String,
    /// Public account nkey.
    pub nkey: Option<String>,
    /// What it may use at most.
    pub limits: AccountLimits,
    /// Where messages of its clients go instead.
    pub mappings: Vec<MappingOptions>,
    /// What others may have of its subjects.
    pub exports: Vec<ExportOptions>,
    /// What it has of others'.
    pub imports: Vec<ImportOptions>,
    /// Where messages that others trace are told of (AUTH-40).
    pub trace: Option<TraceOptions>,
    /// What of JetStream it may use; nothing if `None` (JS-244).
    pub jetstream: Option<AccountTiers>,
}

/// `msg_trace` of an account (AUTH-40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOptions {
    /// Subject of the events.
    pub destination: String,
    /// Per cent of the messages, 1 to 100.
    pub sampling: u8,
}

/// Messages that others may receive, or requests that others may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shared {
    /// They receive what is published.
    #[default]
    Stream,
    /// They publish, and are answered.
    Service,
}

/// One export (AUTH-30, AUTH-31).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// In which direction.
    pub shared: Shared,
    /// Subject or pattern.
    pub subject: String,
    /// Accounts that may import it; `None` is all.
    pub accounts: Option<Vec<String>>,
    /// Token that must be the importer's name, counted from 1; 0 is none (AUTH-35).
    pub account_token_position: u32,
    /// How a service answers.
    pub response: ResponseType,
    /// Time for the next answer of a service; the default where `None`.
    pub threshold: Option<Duration>,
    /// Where its response times are published.
    pub latency: Option<LatencyOptions>,
    /// Message traces go on into it.
    pub allow_trace: bool,
}

/// How a service answers a request (AUTH-31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseType {
    /// Once.
    #[default]
    Singleton,
    /// Any number of times.
    Stream,
    /// Once, in pieces.
    Chunked,
}

/// Latency tracking of a service (AUTH-60).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyOptions {
    /// Subject the measurements are published to.
    pub subject: String,
    /// Per cent of requests measured; 0 is those whose headers ask for it.
    pub sampling: u8,
}

/// One import (AUTH-32, AUTH-33).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// In which direction.
    pub shared: Shared,
    /// The exporting account.
    pub account: String,
    /// The exporter's subject or pattern.
    pub subject: String,
    /// Put in front of a stream's subjects; empty is nothing.
    pub prefix: String,
    /// The importer's subject; empty is the exporter's.
    pub to: String,
    /// The exporter is told who asks (AUTH-38).
    pub share: bool,
    /// Message traces go on into it.
    pub allow_trace: bool,
}

/// A mapping: where messages to a subject go instead (AUTH-41).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MappingOptions {
    /// Subject or pattern.
    pub source: String,
    /// Where to, and how many of them.
    pub destinations: Vec<DestinationOptions>,
}

/// One destination of a mapping (AUTH-42).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationOptions {
    /// Subject with placeholders; empty loses the message.
    pub subject: String,
    /// Per cent of the messages.
    pub weight: u8,
    /// Only on servers of this cluster.
    pub cluster: Option<String>,
}

/// Operator mode (AUTH-50): who vouches for accounts, and where these come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperatorOptions {
    /// Tokens of operators.
    pub operators: Vec<String>,
    /// Public keys of operators, where there are no tokens.
    pub trusted_keys: Vec<String>,
    /// Where tokens of accounts come from.
    pub resolver: Option<ResolverOptions>,
    /// How an account server is connected to (`resolver_tls`).
    pub resolver_tls: Option<TlsOptions>,
    /// Accounts there from the start: public key and token.
    pub preload: Vec<(String, String)>,
    /// The only accounts that may be used; `None` is all.
    pub pinned_accounts: Option<Vec<String>>,
    /// User token of those who present none.
    pub default_sentinel: Option<String>,
}

/// Where tokens of accounts come from (AUTH-70..73).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolverOptions {
    /// The configuration alone.
    Memory,
    /// An account server: its URL, to which an account's key is appended.
    Url(String),
    /// A directory with all of them, kept the same on all servers.
    Full(DirectoryOptions),
    /// A directory of those that were fetched from other servers.
    Cache(DirectoryOptions),
}

/// A directory of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryOptions {
    /// Where.
    pub dir: PathBuf,
    /// May accounts be deleted?
    pub allow_delete: bool,
    /// Are files of deleted accounts removed, rather than renamed?
    pub hard_delete: bool,
    /// Tokens at most; `None` is the default of the kind.
    pub limit: Option<usize>,
    /// How long one is kept; `None` is for ever.
    pub ttl: Option<Duration>,
    /// Time between two comparisons with other servers; `None` is a minute.
    pub interval: Option<Duration>,
    /// Time a fetch may take; `None` is 1.9 seconds.
    pub timeout: Option<Duration>,
}

/// Limits of an account (AUTH-29); `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountLimits {
    /// Connections at once.
    pub max_connections: Option<u32>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<u32>,
    /// Bytes of one message.
    pub max_payload: Option<u32>,
    /// Leaf node connections at once.
    pub max_leafnodes: Option<u32>,
}

/// Permissions as written in the file (AUTH-10..14).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PermissionsOptions {
    /// Subjects published to.
    pub publish: Option<SubjectPermission>,
    /// Subjects subscribed to; entries may be `subject queue`.
    pub subscribe: Option<SubjectPermission>,
    /// Right to answer requests.
    pub responses: Option<ResponsePermission>,
}

/// Allow and deny lists; `None` in `allow` is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectPermission {
    /// Patterns allowed.
    pub allow: Option<Vec<String>>,
    /// Patterns denied; these win.
    pub deny: Vec<String>,
}

/// `allow_responses` (AUTH-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePermission {
    /// Answers per request; negative is unlimited.
    pub max_msgs: i64,
    /// Time from the delivery of the request; `None` is unlimited.
    pub expires: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_name: None,
            host: "0.0.0.0".into(),
            port: 4222,
            client_advertise: None,
            shards: None,
            pin_shards: false,
            monitor: MonitorOptions {
                http_host: String::new(),
                http_port: 0,
                https_port: 0,
                http_base_path: String::new(),
            },
            tls: None,
            allow_non_tls: false,
            ocsp: OcspOptions::default(),
            ocsp_cache: OcspCacheOptions::default(),
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            websocket: WebSocketOptions::default(),
            jetstream: JetStreamOptions::default(),
            leafnodes: LeafOptions::default(),
            log: LogOptions::default(),
            pid_file: None,
            ports_file_dir: None,
            client: ClientLimits::default(),
            auth: AuthOptions::default(),
            cluster_name: None,
            routes: PeerPortOptions::default(),
            gateway_name: String::new(),
            gateways: PeerPortOptions::default(),
            accounts: Vec::new(),
            rates: RateOptions::default(),
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            feature_flags: BTreeMap::new(),
            disable_sublist_cache: false,
            system_account: SYSTEM_ACCOUNT.into(),
            no_system_account: false,
            operator: Arc::default(),
            connect_error_reports: 3600,
            reconnect_error_reports: 1,
            memory_limit: None,
            config_file: None,
            config_digest: String::new(),
        }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            debug: false,
            trace: false,
            trace_verbose: false,
            trace_headers: false,
            logtime: true,
            logtime_utc: false,
            file: None,
            size_limit: 0,
            max_num: 0,
            syslog: false,
            remote_syslog: String::new(),
            max_traced_msg_len: 0,
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_connections: Some(65536),
            max_subscriptions: None,
            max_subscription_tokens: None,
            max_payload: 1024 * 1024,
            max_pending: 64 * 1024 * 1024,
            max_control_line: 4096,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            write_timeout: WriteTimeoutPolicy::Default,
            max_closed_clients: 10_000,
            no_header_support: false,
            no_fast_producer_stall: false,
        }
    }
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            username: None,
            password: None,
            token: None,
            users: Vec::new(),
            no_auth_user: None,
            open_global: None,
            timeout: Duration::from_secs(2),
            proxy_required: false,
            callout: None,
        }
    }
}
