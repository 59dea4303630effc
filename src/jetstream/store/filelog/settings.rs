//! How a log is kept, and what was found when it was opened.

use super::sealer::Encryption;
use crate::jetstream::store::operation::DiskError;

/// When a message counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// Once the flush that covers it is done.
    #[default]
    Durable,
    /// Once it is written; the owner asks for a flush every `sync_interval`.
    Interval,
    /// At once; the owner asks for flushes (`persist_mode: async`, JS-79).
    Async,
}

impl FlushPolicy {
    /// What is told of it: nothing of the one that promises most.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Durable => "",
            Self::Interval => "interval",
            Self::Async => "async",
        }
    }
}

/// What of a log's keeping may change while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// When a message counts as kept.
    pub flush: FlushPolicy,
    /// The stream's bound, if it has one.
    pub max_bytes: Option<u64>,
    /// Contents that get shorter by it are compressed (JS-66).
    pub compressed: bool,
}

impl Policy {
    /// An eighth of the bound, so that dropping whole segments follows it closely enough.
    pub(super) fn segment_size(&self) -> u64 {
        const MIB: u64 = 1024 * 1024;
        let most = 64 * MIB;
        self.max_bytes.map_or(most, |it| (it / 8).clamp(MIB, most))
    }
}

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Random number of a new stream: tells its records from those of another one that stood on
    /// the same blocks. A stream that exists keeps its own.
    pub epoch: u64,
    /// Bytes of a segment, about.
    pub segment_size: u64,
    /// What may be changed later.
    pub policy: Policy,
    /// Bytes of what was read or written lately that stay in memory.
    pub cache_size: usize,
    /// What contents are encrypted with.
    pub encryption: Option<Encryption>,
    /// Reads all that is there when it is opened, whatever digests say of it.
    pub thorough: bool,
}

impl Settings {
    /// Settings of a stream with this bound, if it has one, and the usual ones otherwise.
    pub fn new(epoch: u64, max_bytes: Option<u64>) -> Self {
        let policy = Policy {
            max_bytes,
            ..Policy::default()
        };
        Self {
            epoch,
            segment_size: policy.segment_size(),
            policy,
            // What consumers at the end of a busy stream and a few catching up read again.
            cache_size: 4 * 1024 * 1024,
            encryption: None,
            thorough: false,
        }
    }
}

/// Sequences whose messages were there and cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Segments there are.
    pub segments: u64,
    /// Segments whose digests stood for all or most of their frames.
    pub digests: u64,
    /// Messages alive.
    pub messages: u64,
    /// Sequences lost to damage, in order. The damaged bytes stay where they are.
    pub gaps: Vec<Gap>,
    /// Places where something other than a message cannot be read: deletions and small records
    /// may be older than they were.
    pub damaged_records: u64,
    /// Bytes of a last write that was never finished, and so never acknowledged.
    pub torn_tail: u64,
    /// Segments the checkpoint knows and the directory does not have.
    pub missing_segments: Vec<u32>,
    /// Copies of the checkpoint that cannot be read, of those that are there.
    pub unreadable_checkpoints: u32,
    /// Files that could not be read, with the reason.
    pub unreadable_files: Vec<(String, DiskError)>,
}
