//! One stream's messages behind one type, wherever they are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::entries::flag;
use super::error::StoreError;
use super::filter::Filter;
use super::index::{Index, NewEntry};
use super::memory::Memory;
use super::message::{
    Append, Expired, Fetch, Lifetime, Purge, StorageKind, StoreState, SubjectState,
};
use super::operation::{DiskOperation, DiskResult, OperationId};
use crate::time::WallTime;

/// Longest message in all: a record's length and a segment's have 32 bits.
const MESSAGE_MAX: usize = 64 * 1024 * 1024 + 1024 * 1024;

/// The messages of one stream, their index, and small records of whoever owns the stream.
///
/// Sequences only grow. Questions (`next_match`, `count`, ...) are answered from memory and see
/// what was appended at once, flushed or not; [`Store::durable`] says what survives a power cut.
/// The owner calls [`Store::next_operation`] until it gives nothing, carries out what it gave, and
/// reports each with [`Store::completed`].
#[derive(Debug)]
pub struct Store {
    index: Index,
    storage: Memory,
    states: BTreeMap<Bytes, Bytes>,
}

impl Store {
    /// An empty store in memory.
    pub fn memory() -> Self {
        Self {
            index: Index::default(),
            storage: Memory::default(),
            states: BTreeMap::new(),
        }
    }

    /// Where the messages are kept.
    pub fn kind(&self) -> StorageKind {
        StorageKind::Memory
    }

    /// Stores a message as the next sequence, which it returns.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored then.
    pub fn append(&mut self, message: Append<'_>) -> Result<u64, StoreError> {
        let (subject, headers) = (message.subject.len(), message.headers.len());
        let length = subject + headers + message.payload.len();
        if subject > usize::from(u16::MAX) || length > MESSAGE_MAX {
            return Err(StoreError::TooLarge);
        }
        let seq = self.index.last_seq() + 1;
        if seq == u64::MAX {
            return Err(StoreError::OutOfSequences);
        }
        let (lifetime_flag, expires) = match message.lifetime {
            Lifetime::Stream => (0, None),
            Lifetime::Forever => (flag::FOREVER, None),
            Lifetime::For(ttl) => (flag::TTL, Some(message.time.0.saturating_add(nanos(ttl)))),
        };
        let marker_flag = if message.marker { flag::MARKER } else { 0 };
        let size = self
            .kind()
            .message_size(subject, headers, message.payload.len());
        let place = self.storage.insert(&message);
        self.index.insert(
            seq,
            NewEntry {
                subject: message.subject,
                size: size as u32,
                place,
                flags: lifetime_flag | marker_flag,
                time: message.time.0,
                expires,
            },
        );
        Ok(seq)
    }

    /// Uses up all sequences to `up_to` without messages: a first sequence above 1, what a mirror's
    /// origin has no more, a message nobody was interested in (JS-106; its `time` counts then as
    /// that of the last message).
    pub fn skip(&mut self, up_to: u64, time: Option<WallTime>) {
        self.index
            .skip(up_to.min(u64::MAX - 1), time.map(|it| it.0));
    }

    /// Every sequence up to here survives a power cut, or as much as the store's way of flushing
    /// promises. In memory: the last.
    pub fn durable(&self) -> u64 {
        self.index.last_seq()
    }

    /// The message under a sequence.
    pub fn fetch(&mut self, seq: u64) -> Fetch {
        match self.index.entry(seq) {
            Some(entry) => Fetch::Message(self.storage.read(entry.place, seq, entry.time)),
            None => Fetch::Absent,
        }
    }

    /// Counts of everything.
    pub fn state(&self) -> StoreState {
        self.index.state()
    }

    /// Is there a message under this sequence? Asks no disk.
    pub fn contains(&self, seq: u64) -> bool {
        self.index.entry(seq).is_some()
    }

    /// Bytes the message under a sequence counts for, and when it came. Asks no disk.
    pub fn size_and_time(&self, seq: u64) -> Option<(u64, WallTime)> {
        let entry = self.index.entry(seq)?;
        Some((u64::from(entry.size), WallTime(entry.time)))
    }

    /// The subject of the message under a sequence. Asks no disk.
    pub fn subject_of(&self, seq: u64) -> Option<&[u8]> {
        let entry = self.index.entry(seq)?;
        Some(&self.index.subject_at(entry.subject).name)
    }

    /// The first message at or after `from` whose subject is in the filter.
    pub fn next_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        self.index.next_match(from, filter)
    }

    /// The last message at or before `up_to` whose subject is in the filter.
    pub fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64> {
        self.index.last_match(filter, up_to)
    }

    /// Messages at or after `from` whose subjects are in the filter. Cheap for everything and for
    /// one subject; for patterns the work grows with the subjects they match.
    pub fn count(&self, from: u64, filter: &Filter) -> u64 {
        self.index.count(from, filter)
    }

    /// For each subject in the filter its last message at or before `up_to`, by sequence.
    pub fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64> {
        self.index.last_per_subject(filter, up_to)
    }

    /// The subjects in the filter that have messages, by their tokens where the filter is
    /// everything or one pattern.
    pub fn subjects<'a>(
        &'a self,
        filter: &Filter,
    ) -> impl Iterator<Item = (&'a [u8], SubjectState)> + use<'a> {
        self.index.subjects(filter)
    }

    /// One subject's counts; `None` without messages.
    pub fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        self.index.subject(subject)
    }

    /// Removes a message; false if there is none. With `erase` its bytes are overwritten on disk,
    /// too (JS-26).
    pub fn remove(&mut self, seq: u64, erase: bool) -> bool {
        let _ = erase;
        match self.index.remove(seq) {
            Some(entry) => {
                self.storage.remove(entry.place);
                true
            }
            None => false,
        }
    }

    /// Removes the first message, for limits; its sequence and subject.
    pub fn evict_first(&mut self) -> Option<(u64, Bytes)> {
        let (seq, entry) = self.index.forward(0).next()?;
        let subject = Bytes::copy_from_slice(&self.index.subject_at(entry.subject).name);
        self.remove(seq, false);
        Some((seq, subject))
    }

    /// Removes what [`Purge`] says and returns how many messages that were.
    pub fn purge(&mut self, purge: Purge<'_>) -> u64 {
        if purge.up_to == 1 {
            return 0;
        }
        let last = match purge.up_to {
            0 => self.index.last_seq(),
            up_to => up_to - 1,
        };
        if *purge.filter == Filter::All && purge.keep == 0 && last >= self.index.last_seq() {
            let purged = self.index.len();
            self.storage.clear();
            self.index.clear();
            self.skip(last, None);
            return purged;
        }
        let matching = self.index.count(0, purge.filter);
        let mut most = matching.saturating_sub(purge.keep);
        let (mut purged, mut next) = (0, 0);
        while most > 0
            && let Some(seq) = self.index.next_match(next, purge.filter)
            && seq <= last
        {
            self.remove(seq, false);
            (purged, most, next) = (purged + 1, most - 1, seq + 1);
        }
        purged
    }

    /// Sequences between first and last without a message.
    pub fn deleted(&self) -> Vec<u64> {
        self.index.deleted()
    }

    /// The first message that came at `time` or later; the sequence after the last if none did.
    pub fn time_to_seq(&self, time: WallTime) -> u64 {
        self.index.time_to_seq(time)
    }

    /// Removes messages whose own time is over, and those older than `max_age`, at most `most`;
    /// what they were is added to `expired`.
    pub fn expire(
        &mut self,
        now: WallTime,
        max_age: Option<Duration>,
        most: usize,
        expired: &mut Vec<Expired>,
    ) {
        let oldest = max_age.and_then(|age| now.0.checked_sub(nanos(age)));
        for _ in 0..most {
            let Some(seq) = self.index.due(now.0, oldest) else {
                return;
            };
            let Some(entry) = self.index.entry(seq) else {
                return;
            };
            let subject = self.index.subject_at(entry.subject);
            expired.push(Expired {
                seq,
                subject: Bytes::copy_from_slice(&subject.name),
                last_of_subject: subject.postings.len() == 1,
                marker: entry.flags & flag::MARKER != 0,
            });
            self.remove(seq, false);
        }
    }

    /// When [`Store::expire`] has something to do next.
    pub fn next_expiry(&self, max_age: Option<Duration>) -> Option<WallTime> {
        self.index.next_due(max_age.map(nanos)).map(WallTime)
    }

    /// When the message under a sequence goes by its own time.
    pub fn expires(&self, seq: u64) -> Option<WallTime> {
        self.index.expires(seq).map(WallTime)
    }

    /// Keeps a small record, as durable as the messages: the latest under each name wins.
    pub fn put_state(&mut self, name: &[u8], bytes: &[u8]) {
        self.states
            .insert(Bytes::copy_from_slice(name), Bytes::copy_from_slice(bytes));
    }

    /// Forgets a small record.
    pub fn remove_state(&mut self, name: &[u8]) {
        self.states.remove(name);
    }

    /// All small records by name.
    pub fn states(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.states.iter()
    }

    /// What the disk shall do next; `None` until something changes.
    pub fn next_operation(&mut self) -> Option<DiskOperation> {
        None
    }

    /// Says how an operation ended.
    pub fn completed(&mut self, id: OperationId, result: DiskResult) {
        let _ = (id, result);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
