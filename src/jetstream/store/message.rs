//! What goes into a store and what comes out.

use std::time::Duration;

use bytes::Bytes;

use crate::time::WallTime;

/// Where a stream's messages are kept (JS-58).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// In memory, lost with the process.
    Memory,
    /// In a log on disk.
    File,
}

impl StorageKind {
    /// Bytes a message counts for in [`StoreState::bytes`] and towards `max_bytes`, as stock
    /// counts them.
    pub const fn message_size(self, subject: usize, headers: usize, payload: usize) -> u64 {
        let content = (subject + headers + payload) as u64;
        match self {
            Self::Memory => content + 16,
            Self::File if headers == 0 => content + 30,
            Self::File => content + 34,
        }
    }
}

/// How long a message lives (JS-115, JS-116).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// As long as the stream's `max_age` says.
    #[default]
    Stream,
    /// This long, or `max_age` where that is shorter.
    For(Duration),
    /// `Nats-TTL: never`: exempt from `max_age`.
    Forever,
}

/// A message to be stored as the next sequence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Append<'a> {
    /// Its subject, at most 65,535 bytes.
    pub subject: &'a [u8],
    /// Its `NATS/1.0` block with the empty line, or nothing.
    pub headers: &'a [u8],
    /// Its body.
    pub payload: &'a [u8],
    /// When it came.
    pub time: WallTime,
    /// When it goes.
    pub lifetime: Lifetime,
    /// It is a delete marker or a purge of a key: its own expiry leaves no marker (JS-118).
    pub marker: bool,
    /// It is a schedule (JS-137): [`Store::next_schedule`](super::Store::next_schedule) finds it.
    pub schedule: bool,
}

/// A message as it is stored. The three slices share one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its sequence.
    pub seq: u64,
    /// When it came.
    pub time: WallTime,
    /// Its subject.
    pub subject: Bytes,
    /// Its header block, or nothing.
    pub headers: Bytes,
    /// Its body.
    pub payload: Bytes,
}

/// What became of asking for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// Here it is.
    Message(StoredMessage),
    /// It is being read from disk: ask again after a read has completed.
    Reading,
    /// There is none under this sequence.
    Absent,
    /// It is there, but its bytes are not what was written.
    Damaged,
}

/// Counts of a whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreState {
    /// Messages.
    pub messages: u64,
    /// Their bytes, see [`StorageKind::message_size`].
    pub bytes: u64,
    /// First message; the one after the last sequence if there is none, 0 if there never was one.
    pub first_seq: u64,
    /// Its time, 0 if there is none.
    pub first_time: WallTime,
    /// Last sequence given out; never goes back.
    pub last_seq: u64,
    /// Time of the last message stored, 0 before the first.
    pub last_time: WallTime,
    /// Sequences between first and last without a message.
    pub deleted: u64,
    /// Subjects with a message.
    pub subjects: u64,
}

/// Counts of one subject that has messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectState {
    /// Messages, at least one.
    pub messages: u64,
    /// Sequence of the first.
    pub first: u64,
    /// Sequence of the last.
    pub last: u64,
}

/// What to purge (JS-111).
#[derive(Debug, Clone, Copy)]
pub struct Purge<'a> {
    /// Of these subjects.
    pub filter: &'a super::Filter,
    /// Only below this sequence; 0 is no bound. A bound above all messages of a purge without
    /// filter moves the sequence there.
    pub up_to: u64,
    /// Keep the newest that many of those the filter matches.
    pub keep: u64,
}

/// A message whose time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: Bytes,
    /// It was the last one of its subject.
    pub last_of_subject: bool,
    /// It was stored as a marker, see [`Append::marker`].
    pub marker: bool,
}
