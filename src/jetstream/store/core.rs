//! One stream's messages behind one type, wherever they are kept.

use std::time::Duration;

use bytes::Bytes;

use super::entries::flag;
use super::error::StoreError;
use super::filelog::{self, Gap, Kind, Log, Policy, Record, Report, Settings};
use super::filter::Filter;
use super::index::{Index, NewEntry};
use super::memory::Memory;
use super::message::{
    Append, Expired, Fetch, Lifetime, Purge, StorageKind, StoreState, SubjectState,
};
use super::operation::{Directory, DiskError, DiskOperation, DiskResult, Ended, OperationId};
use super::states::{State, States};
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
    storage: Storage,
    states: States,
}

#[derive(Debug)]
enum Storage {
    Memory(Memory),
    Log(Box<Log>),
}

impl Store {
    /// An empty store in memory.
    pub fn memory() -> Self {
        Self {
            index: Index::default(),
            storage: Storage::Memory(Memory::default()),
            states: States::new(),
        }
    }

    /// Opens the store in a directory, which it makes if there is none yet; says what was found.
    /// Waits for the disk. A first sequence above 1 and what limits remove is the owner's business.
    ///
    /// # Errors
    /// [`StoreError::Disk`] and [`StoreError::Unreadable`]; nothing is changed then.
    pub fn open(
        settings: Settings,
        directory: &mut dyn Directory,
    ) -> Result<(Self, Report), StoreError> {
        let opened = filelog::open(settings, directory)?;
        let store = Self {
            index: opened.index,
            storage: Storage::Log(Box::new(opened.log)),
            states: opened.states,
        };
        Ok((store, opened.report))
    }

    /// Where the messages are kept.
    pub fn kind(&self) -> StorageKind {
        match self.storage {
            Storage::Memory(_) => StorageKind::Memory,
            Storage::Log(_) => StorageKind::File,
        }
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
        if let Some(error) = self.trouble() {
            return Err(StoreError::ReadOnly(error));
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
        let schedule_flag = if message.schedule { flag::SCHEDULE } else { 0 };
        let headers_flag = if headers > 0 { flag::HEADERS } else { 0 };
        let size = self
            .kind()
            .message_size(subject, headers, message.payload.len());
        let flags = lifetime_flag | marker_flag | schedule_flag | headers_flag;
        let (place, flags) = match &mut self.storage {
            Storage::Memory(memory) => (memory.insert(&message), flags),
            Storage::Log(log) => log.append(&Record {
                kind: Kind::Message,
                flags,
                seq,
                time: message.time.0,
                expires: expires.unwrap_or(0),
                subject: message.subject,
                headers: message.headers,
                payload: message.payload,
            }),
        };
        let new = NewEntry {
            subject: message.subject,
            size: size as u32,
            place,
            flags,
            time: message.time.0,
            expires,
        };
        let entry = self.index.insert(seq, new);
        if let Storage::Log(log) = &mut self.storage {
            log.appended(entry);
        }
        Ok(seq)
    }

    /// Uses up all sequences to `up_to` without messages: a first sequence above 1, what a mirror's
    /// origin has no more, a message nobody was interested in (JS-106; its `time` counts then as
    /// that of the last message).
    pub fn skip(&mut self, up_to: u64, time: Option<WallTime>) {
        let (up_to, time) = (up_to.min(u64::MAX - 1), time.map(|it| it.0));
        if up_to <= self.index.last_seq() && time.is_none() {
            return;
        }
        self.index.skip(up_to, time);
        if let Storage::Log(log) = &mut self.storage {
            log.skip(up_to, time);
        }
    }

    /// Every sequence up to here survives a power cut, or as much as the store's way of flushing
    /// promises. In memory: the last.
    pub fn durable(&self) -> u64 {
        match &self.storage {
            Storage::Memory(_) => self.index.last_seq(),
            Storage::Log(log) => log.durable(),
        }
    }

    /// Names everything changed so far (removals and small records, too), for
    /// [`Store::is_settled`].
    pub fn ticket(&self) -> u64 {
        match &self.storage {
            Storage::Memory(_) => 0,
            Storage::Log(log) => log.ticket(),
        }
    }

    /// Is what was changed before this ticket was given as durable as the policy promises?
    pub fn is_settled(&self, ticket: u64) -> bool {
        match &self.storage {
            Storage::Memory(_) => true,
            Storage::Log(log) => log.is_settled(ticket),
        }
    }

    /// Bytes not yet written. The owner holds publishers back while there is much: the store
    /// itself does not.
    pub fn backlog(&self) -> usize {
        match &self.storage {
            Storage::Memory(_) => 0,
            Storage::Log(log) => log.backlog(),
        }
    }

    /// Why nothing can be stored at the moment.
    pub fn trouble(&self) -> Option<DiskError> {
        match &self.storage {
            Storage::Memory(_) => None,
            Storage::Log(log) => log.trouble(),
        }
    }

    /// Tries again after trouble: to be called every few seconds while there is some. What was
    /// not durable is written once more, elsewhere.
    pub fn resume(&mut self) {
        if let Storage::Log(log) = &mut self.storage {
            log.resume(&mut self.index, &mut self.states);
        }
    }

    /// Asks for a flush of what was written without one: every `sync_interval`, where the policy
    /// is not [`super::FlushPolicy::Durable`].
    pub fn sync(&mut self) {
        if let Storage::Log(log) = &mut self.storage {
            log.sync();
        }
    }

    /// Was something written that no flush was asked for yet?
    pub fn needs_sync(&self) -> bool {
        match &self.storage {
            Storage::Memory(_) => false,
            Storage::Log(log) => log.needs_sync(),
        }
    }

    /// How it keeps what it is given; in memory that means nothing.
    pub fn policy(&self) -> Policy {
        match &self.storage {
            Storage::Memory(_) => Policy::default(),
            Storage::Log(log) => log.policy(),
        }
    }

    /// Changes that from the next write on.
    pub fn set_policy(&mut self, policy: Policy) {
        if let Storage::Log(log) = &mut self.storage {
            log.set_policy(policy);
        }
    }

    /// Sequences that cannot be read any more, in order.
    pub fn gaps(&self) -> &[Gap] {
        match &self.storage {
            Storage::Memory(_) => &[],
            Storage::Log(log) => log.gaps(),
        }
    }

    /// The message under a sequence.
    pub fn fetch(&mut self, seq: u64) -> Fetch {
        let Some(entry) = self.index.entry(seq) else {
            return Fetch::Absent;
        };
        match &mut self.storage {
            Storage::Memory(memory) => Fetch::Message(memory.read(entry.place, seq, entry.time)),
            Storage::Log(log) => log.fetch(seq, entry),
        }
    }

    /// Counts of everything.
    pub fn state(&self) -> StoreState {
        self.index.state()
    }

    /// The last sequence given out.
    pub fn last_seq(&self) -> u64 {
        self.index.last_seq()
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

    /// Was the message under a sequence stored as a schedule? Asks no disk.
    pub fn is_schedule(&self, seq: u64) -> bool {
        let entry = self.index.entry(seq);
        entry.is_some_and(|it| it.flags & flag::SCHEDULE != 0)
    }

    /// The first schedule at or after `from`. Asks no disk, but looks at every message before it.
    pub fn next_schedule(&self, from: u64) -> Option<u64> {
        let mut all = self.index.forward(from);
        all.find(|(_, entry)| entry.flags & flag::SCHEDULE != 0)
            .map(|(seq, _)| seq)
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
        let Some(entry) = self.index.remove(seq) else {
            return false;
        };
        match &mut self.storage {
            Storage::Memory(memory) => memory.remove(entry.place),
            Storage::Log(log) => log.removed(seq, entry, erase),
        }
        true
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
            self.index.clear();
            match &mut self.storage {
                Storage::Memory(memory) => memory.clear(),
                Storage::Log(log) => log.cleared(),
            }
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
        let (version, segment) = match &mut self.storage {
            Storage::Memory(_) => (0, 0),
            Storage::Log(log) => log.put_state(name, bytes),
        };
        let state = State {
            version,
            bytes: Bytes::copy_from_slice(bytes),
            segment,
        };
        let old = self.states.insert(Bytes::copy_from_slice(name), state);
        if let Storage::Log(log) = &mut self.storage {
            match old {
                Some(old) => log.state_replaced(old.segment),
                None => log.state_named(),
            }
        }
    }

    /// Forgets a small record.
    pub fn remove_state(&mut self, name: &[u8]) {
        let Some(old) = self.states.remove(name) else {
            return;
        };
        if let Storage::Log(log) = &mut self.storage {
            log.remove_state(name);
            log.state_replaced(old.segment);
        }
    }

    /// All small records by name.
    pub fn states(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.states.iter().map(|(name, state)| (name, &state.bytes))
    }

    /// What the disk shall do next; `None` until something changes.
    pub fn next_operation(&mut self) -> Option<DiskOperation> {
        match &mut self.storage {
            Storage::Memory(_) => None,
            Storage::Log(log) => log.next_operation(&self.index, &self.states),
        }
    }

    /// Bytes of its files that are kept in memory.
    pub fn cached(&self) -> usize {
        match &self.storage {
            Storage::Memory(_) => 0,
            Storage::Log(log) => log.cached(),
        }
    }

    /// Forgets what of its files it keeps in memory: what is asked for next is read again. It keeps
    /// what is not written yet.
    pub fn let_go(&mut self) {
        match &mut self.storage {
            Storage::Memory(_) => {}
            Storage::Log(log) => log.let_go(),
        }
    }

    /// Has [`Store::next_operation`] more to do that needs no disk? The owner calls it again soon,
    /// after other work.
    pub fn is_busy(&self) -> bool {
        match &self.storage {
            Storage::Memory(_) => false,
            Storage::Log(log) => log.is_digesting(),
        }
    }

    /// The store is about to be closed: it writes down what makes the next opening short. The
    /// owner goes on until [`Store::is_closed`].
    pub fn close(&mut self) {
        if let Storage::Log(log) = &mut self.storage {
            log.close();
        }
    }

    /// Is nothing left to do before the store is dropped, or nothing possible?
    pub fn is_closed(&self) -> bool {
        match &self.storage {
            Storage::Memory(_) => true,
            Storage::Log(log) => log.is_closed(),
        }
    }

    /// Says how an operation ended; what it was for.
    pub fn completed(&mut self, id: OperationId, result: DiskResult) -> Ended {
        match &mut self.storage {
            Storage::Memory(_) => Ended::Unknown,
            Storage::Log(log) => log.completed(id, result, &mut self.index, &self.states),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
