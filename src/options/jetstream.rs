//! What JetStream may use, and how it keeps it (CFG-65, JS-244, JS-246, JS-247).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::jetstream::api::response::AccountLimits as JetStreamAccountLimits;
pub use crate::jetstream::limits::AccountTiers;
use crate::jetstream::limits::DEFAULT_MAX_CONSUMERS;

/// JetStream of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct JetStreamOptions {
    /// Is it on?
    pub enabled: bool,
    /// Its files are in the folder `jetstream` below this one; one below the system's folder for
    /// temporary files if `None`.
    pub store_dir: Option<PathBuf>,
    /// Bytes its streams may have in memory; three quarters of the machine's if `None`.
    pub max_memory: Option<u64>,
    /// Bytes its streams may have on disk; what is free there if `None`.
    pub max_storage: Option<u64>,
    /// Its name among those of other servers reached by leaf nodes.
    pub domain: Option<String>,
    /// Requests with unknown fields are refused (JS-3).
    pub strict: bool,
    /// How often files are flushed to their disks.
    pub sync_interval: Duration,
    /// Somebody asked for an interval: an acknowledgement need not wait for a flush.
    pub sync_given: bool,
    /// Files are flushed before a publish is answered.
    pub sync_always: bool,
    /// What files are encrypted with.
    pub key: Option<String>,
    /// What they were encrypted with before.
    pub previous_key: Option<String>,
    /// How they are encrypted.
    pub cipher: StoreCipher,
    /// Bounds for all accounts.
    pub limits: JetStreamLimits,
    /// Messages of one stream that may wait to be stored; zero: stock's default.
    pub max_buffered_msgs: usize,
    /// Their bytes; zero: stock's default.
    pub max_buffered_size: u64,
    /// Requests that may wait (JS-9).
    pub request_queue_limit: usize,
    /// Requests that only ask and may wait; as many as of the others if `None` (JS-9).
    pub info_queue_limit: Option<usize>,
    /// Accounts without JetStream use that of a domain behind a leaf node.
    pub default_domains: BTreeMap<String, String>,
}

/// Requests that may wait unless a file says otherwise (JS-9).
const QUEUE_LIMIT: usize = 10_000;
/// How often files are flushed unless a file says otherwise.
const SYNC_INTERVAL: Duration = Duration::from_secs(120);

impl Default for JetStreamOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            store_dir: None,
            max_memory: None,
            max_storage: None,
            domain: None,
            strict: true,
            sync_interval: SYNC_INTERVAL,
            sync_given: false,
            sync_always: false,
            key: None,
            previous_key: None,
            cipher: StoreCipher::default(),
            limits: JetStreamLimits::default(),
            max_buffered_msgs: 0,
            max_buffered_size: 0,
            request_queue_limit: QUEUE_LIMIT,
            info_queue_limit: None,
            default_domains: BTreeMap::new(),
        }
    }
}

/// How files are encrypted (JS-253).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreCipher {
    /// XChaCha20-Poly1305.
    #[default]
    ChaCha,
    /// AES-GCM.
    Aes,
}

/// Bounds for all accounts (JS-247).
#[derive(Debug, Clone, PartialEq)]
pub struct JetStreamLimits {
    /// Messages one consumer may have in flight; below one: no limit.
    pub max_ack_pending: i64,
    /// Messages one pull may ask for; below one: no limit.
    pub max_request_batch: i64,
    /// How long ids of messages may be remembered; zero: no limit.
    pub duplicate_window: Duration,
    /// Consumers of a stream that does not say how many it may have.
    pub default_max_consumers: i64,
    /// Atomic batches one stream may have under way; zero: stock's default.
    pub batch_max_inflight_per_stream: i64,
    /// The same of all streams.
    pub batch_max_inflight_total: i64,
    /// Messages of one atomic batch; zero: stock's default.
    pub batch_max_msgs: i64,
    /// How long a batch may take from one message to the next; zero: stock's default.
    pub batch_timeout: Duration,
}

impl Default for JetStreamLimits {
    fn default() -> Self {
        Self {
            max_ack_pending: 0,
            max_request_batch: 0,
            duplicate_window: Duration::ZERO,
            default_max_consumers: DEFAULT_MAX_CONSUMERS,
            batch_max_inflight_per_stream: 0,
            batch_max_inflight_total: 0,
            batch_max_msgs: 0,
            batch_timeout: Duration::ZERO,
        }
    }
}
