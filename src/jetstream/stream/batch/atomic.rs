//! Atomic batches: their messages wait in memory until the last one comes, and are stored then
//! together, or not at all (section 7).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::check::{Checked, Refusal, Staged};
use super::inflight::{BatchLimits, InFlight, Place};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::store::{StorageKind, Store};
use crate::jetstream::stream::config::Retention;
use crate::jetstream::stream::counter::Count;
use crate::jetstream::stream::headers;
use crate::jetstream::stream::publish::{Accepted, Placing, Publish, present};
use crate::jetstream::stream::stream::Stream;
use crate::protocol::headers::{append_with, get};
use crate::time::WallTime;

/// Longest id (JS-121).
pub(super) const ID_MAX: usize = 64;

/// Name of the small record that says which sequences the last batch has.
const RECORD: &[u8] = b"batch";

/// What became of a message of a batch.
#[derive(Debug)]
pub enum Staging {
    /// It waits for the others.
    Staged,
    /// It was the last one: all of them are stored, this is what came of each, and its body.
    Committed {
        /// Messages of the batch that are stored.
        count: u64,
        /// In order; never empty.
        stored: Vec<(Accepted, Bytes)>,
    },
    /// Nothing has been done: a counter is still being read. It is to come again.
    TooEarly,
}

/// A batch nothing came of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Its id.
    pub id: Box<[u8]>,
    /// Why.
    pub reason: Reason,
}

/// Why a batch was abandoned (JS-241).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The next message did not come in time.
    Timeout,
    /// It had more messages than it may.
    Large,
    /// A message was missing.
    Incomplete,
    /// A message needs what this server cannot do.
    Unsupported,
}

impl Reason {
    /// As the event says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Large => "large",
            Self::Incomplete => "incomplete",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A stream's atomic batches that are not committed.
#[derive(Debug, Default)]
pub(in crate::jetstream::stream) struct AtomicBatches {
    open: HashMap<Box<[u8]>, Batch, ahash::RandomState>,
    /// No batch is due before.
    due: Option<WallTime>,
    abandoned: Vec<Abandoned>,
}

#[derive(Debug)]
struct Batch {
    messages: Vec<Message>,
    due: WallTime,
    /// What counters are at, as they were read, each with its sequence: not all of them may be in
    /// memory at once.
    counts: HashMap<Bytes, (u64, Count)>,
    _place: Place,
}

#[derive(Debug)]
struct Message {
    subject: Bytes,
    headers: Bytes,
    payload: Bytes,
    _room: Place,
}

/// How a message ends its batch, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    No,
    With,
    Before,
    Invalid,
}

impl Commit {
    fn of(block: &[u8]) -> Self {
        match get(block, headers::BATCH_COMMIT) {
            None => Self::No,
            Some(b"1") => Self::With,
            Some(b"eob") => Self::Before,
            Some(_) => Self::Invalid,
        }
    }
}

impl AtomicBatches {
    fn remove(&mut self, id: &[u8]) {
        self.open.remove(id);
    }

    fn abandon(&mut self, id: &[u8], reason: Reason) {
        self.open.remove(id);
        self.abandoned.push(Abandoned {
            id: id.into(),
            reason,
        });
    }

    /// Forgets all that is under way.
    pub(in crate::jetstream::stream) fn clear(&mut self) {
        self.open.clear();
    }

    /// Abandons those whose next message did not come in time.
    pub(in crate::jetstream::stream) fn expire(&mut self, now: WallTime) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let late = self.open.extract_if(|_, it| it.due <= now);
        self.abandoned.extend(late.map(|(id, _)| Abandoned {
            id,
            reason: Reason::Timeout,
        }));
        self.due = self.open.values().map(|it| it.due).min();
    }

    /// When [`Self::expire`] may have something to do.
    pub(in crate::jetstream::stream) fn next_due(&self) -> Option<WallTime> {
        self.due
    }
}

impl Stream {
    /// Takes a message of the batch `id`. `interested` says whether some consumer wants a subject.
    ///
    /// # Errors
    /// What its publisher is told; the batch is gone then, if there was one.
    pub fn stage(
        &mut self,
        id: &[u8],
        publish: &Publish<'_>,
        (limits, in_flight): (&BatchLimits, &Arc<InFlight>),
        interested: impl Fn(&[u8]) -> bool,
        random: impl FnMut() -> u64,
    ) -> Result<Staging, ApiError> {
        let mut block = publish.headers;
        self.check_in_general(publish.subject, block, publish.payload)?;
        if !self.config.allow_atomic {
            return Err(errors::ATOMIC_PUBLISH_DISABLED);
        }
        if id.len() > ID_MAX {
            return Err(errors::ATOMIC_PUBLISH_INVALID_BATCH_ID);
        }
        let sequence = present(block, headers::BATCH_SEQUENCE).and_then(digits);
        let sequence = sequence.ok_or(errors::ATOMIC_PUBLISH_MISSING_SEQ)?;
        let commit = Commit::of(block);
        // The one that only ends the batch is not one of it.
        let size = sequence - u64::from(commit == Commit::Before && sequence > 0);
        let too_large = errors::atomic_publish_too_large_batch(limits.messages);
        if !self.atomic.open.contains_key(id) {
            if sequence != 1 {
                return Err(match size > limits.messages {
                    true => too_large,
                    false => errors::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
                });
            }
            if self.atomic.open.len() >= limits.atomic_per_stream {
                return Err(errors::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
            }
            let place = in_flight.begin_atomic(limits.atomic);
            let place = place.ok_or(errors::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT)?;
            let batch = Batch {
                messages: Vec::new(),
                due: publish.now,
                counts: HashMap::new(),
                _place: place,
            };
            self.atomic.open.insert(id.into(), batch);
        }
        if commit == Commit::Invalid {
            self.atomic.remove(id);
            return Err(errors::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT);
        }
        let mut cleaned = Vec::new();
        if let Some(level) = present(block, headers::REQUIRED_API_LEVEL) {
            if is_beyond(level) {
                self.atomic.abandon(id, Reason::Unsupported);
                return Err(errors::REQUIRED_API_LEVEL);
            }
            headers::append_without(&mut cleaned, block, headers::REQUIRED_API_LEVEL);
            block = &cleaned;
        }
        let Some(batch) = self.atomic.open.get_mut(id) else {
            return Err(errors::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        };
        batch.due = WallTime(publish.now.0 + limits.timeout.as_nanos() as u64);
        let due = batch.due;
        let is_next = sequence == batch.messages.len() as u64 + 1;
        self.atomic.due = Some(self.atomic.due.map_or(due, |it| it.min(due)));
        if !is_next || (sequence == 1 && commit == Commit::Before) {
            self.atomic.abandon(id, Reason::Incomplete);
            return Err(errors::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        }
        if size > limits.messages {
            self.atomic.abandon(id, Reason::Large);
            return Err(too_large);
        }
        if commit != Commit::Before {
            let bytes = publish.subject.len() + block.len() + publish.payload.len();
            let Some(room) = in_flight.stage(bytes + size_of::<Message>()) else {
                self.atomic.abandon(id, Reason::Incomplete);
                return Err(errors::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
            };
            if let Some(batch) = self.atomic.open.get_mut(id) {
                batch.messages.push(Message {
                    subject: Bytes::copy_from_slice(publish.subject),
                    headers: Bytes::copy_from_slice(block),
                    payload: Bytes::copy_from_slice(publish.payload),
                    _room: room,
                });
            }
        }
        if commit == Commit::No {
            return Ok(Staging::Staged);
        }
        let Some(mut batch) = self.atomic.open.remove(id) else {
            return Err(errors::ATOMIC_PUBLISH_INCOMPLETE_BATCH);
        };
        let marked = (commit == Commit::Before)
            .then(|| batch.messages.last_mut())
            .flatten();
        if let Some(last) = marked {
            // As if it had said so itself.
            let mut marked = Vec::new();
            append_with(&mut marked, &last.headers, headers::BATCH_COMMIT, b"1");
            last.headers = marked.into();
        }
        match self.commit(&mut batch, publish.now, interested, random) {
            Ok(stored) => Ok(Staging::Committed {
                count: batch.messages.len() as u64,
                stored,
            }),
            Err(Refusal::TooEarly) => {
                // The message comes again, and finds the batch as it was.
                if commit == Commit::With {
                    batch.messages.pop();
                }
                self.atomic.open.insert(id.into(), batch);
                Ok(Staging::TooEarly)
            }
            Err(Refusal::Duplicate(_)) => Err(errors::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    /// Looks at all messages, each beside those before it; then stores all.
    fn commit(
        &mut self,
        batch: &mut Batch,
        now: WallTime,
        interested: impl Fn(&[u8]) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Result<Vec<(Accepted, Bytes)>, Refusal> {
        let mut staged = Staged::with_counts(std::mem::take(&mut batch.counts));
        let mut checked = Vec::with_capacity(batch.messages.len());
        for message in &batch.messages {
            let transform = self.transform.as_ref();
            let renamed = transform.and_then(|it| it.apply(&message.subject, &mut random));
            let subject = renamed.map_or_else(|| message.subject.clone(), Bytes::from);
            if present(&message.headers, headers::EXPECTED_LAST_MSG_ID).is_some() {
                let name = String::from_utf8_lossy(headers::EXPECTED_LAST_MSG_ID);
                return Err(errors::atomic_publish_unsupported_header_batch(name).into());
            }
            let (block, payload) = (&message.headers, &message.payload);
            match self.check_staged(&mut staged, subject, block, payload, now) {
                Ok(it) => checked.push(it),
                Err(Refusal::TooEarly) => {
                    batch.counts = staged.into_counts();
                    return Err(Refusal::TooEarly);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        if let Some(error) = self.store.trouble() {
            return Err(errors::stream_store_failed(error).into());
        }
        self.note_batch(checked.len() as u64);
        let mut stored: Vec<(Accepted, Bytes)> = Vec::with_capacity(checked.len());
        for it in checked {
            match self.place_checked(&it, now, &interested, &mut random) {
                Ok(accepted) => stored.push((accepted, it.payload)),
                Err(error) => {
                    for (accepted, _) in stored {
                        self.remove(accepted.seq, false);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(stored)
    }

    /// Stores a message that was looked at together with others.
    pub(super) fn place_checked(
        &mut self,
        it: &Checked,
        now: WallTime,
        interested: impl Fn(&[u8]) -> bool,
        random: impl FnMut() -> u64,
    ) -> Result<Accepted, ApiError> {
        let placing = Placing {
            subject: &it.subject,
            headers: &it.headers,
            payload: &it.payload,
            now,
            id: get(&it.headers, headers::MSG_ID).unwrap_or_default(),
            rollup: self.rollup(&it.headers, false)?,
        };
        if self.config.retention == Retention::Interest && !interested(&it.subject) {
            return Ok(self.pass_over(&placing));
        }
        self.place(&placing, random)
    }

    /// What is asked of every message before it is looked at as one of a batch.
    pub(super) fn check_in_general(
        &self,
        subject: &[u8],
        block: &[u8],
        payload: &[u8],
    ) -> Result<(), ApiError> {
        if self.config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        self.check_server_room()?;
        self.check_account_room(subject, block, payload)?;
        let length = block.len() + payload.len();
        if usize::try_from(self.config.max_msg_size).is_ok_and(|most| length > most) {
            return Err(errors::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        Ok(())
    }

    /// Notes which sequences the next batch has, before it: so a start that finds only its first
    /// ones on the disk knows that they are not all.
    fn note_batch(&mut self, messages: u64) {
        if messages < 2 || self.store.kind() == StorageKind::Memory {
            return;
        }
        let first = self.store.last_seq() + 1;
        let mut record = [0; 16];
        record[..8].copy_from_slice(&first.to_le_bytes());
        record[8..].copy_from_slice(&(first + messages - 1).to_le_bytes());
        self.store.put_state(RECORD, &record);
    }

    /// The batches nothing came of since this was last called.
    pub fn take_abandoned(&mut self) -> Vec<Abandoned> {
        std::mem::take(&mut self.atomic.abandoned)
    }
}

/// Removes what stands of a batch that was being stored when the server ended: none of it was
/// acknowledged.
pub(in crate::jetstream::stream) fn remove_torn(store: &mut Store) {
    let record = store.states().find(|(name, _)| *name == RECORD);
    let Some(record) = record.map(|(_, record)| record.clone()) else {
        return;
    };
    let number = |at: usize| {
        let bytes = record.get(at..at + 8).and_then(|it| it.try_into().ok());
        bytes.map(u64::from_le_bytes)
    };
    let (Some(first), Some(last)) = (number(0), number(8)) else {
        return;
    };
    let stored = store.last_seq();
    // Where the disk has lost what was durable, everything that is left is kept.
    if stored < first || stored >= last || !store.gaps().is_empty() {
        return;
    }
    for seq in first..=stored {
        store.remove(seq, false);
    }
    // What is stored after it is not part of it.
    store.remove_state(RECORD);
}

/// A number of digits only.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::store::{Append, Lifetime};
    use crate::jetstream::stream::config::StreamConfig;

    fn store(messages: u64, record: Option<(u64, u64)>) -> Store {
        let mut store = Store::memory();
        if let Some((first, last)) = record {
            let record = [first.to_le_bytes(), last.to_le_bytes()].concat();
            store.put_state(RECORD, &record);
        }
        for _ in 0..messages {
            let stored = store.append(Append {
                subject: b"a",
                headers: b"",
                payload: b"",
                time: WallTime(1),
                lifetime: Lifetime::Stream,
                marker: false,
                schedule: false,
            });
            stored.expect("stored");
        }
        store
    }

    #[test]
    fn js_125_what_stands_of_a_torn_batch_goes() {
        for (messages, record, left) in [
            (5, None, 5),
            (5, Some((3, 7)), 2),
            (5, Some((5, 6)), 4),
            (5, Some((3, 5)), 5),
            (5, Some((1, 3)), 5),
            (5, Some((6, 9)), 5),
        ] {
            let stream = Stream::new(
                StreamConfig::default(),
                WallTime(1),
                store(messages, record),
            );
            assert_eq!(stream.store().state().messages, left, "{record:?}");
            assert_eq!(stream.store().last_seq(), messages);
            // Only once: what is stored then is another's.
            let again = Stream::new(StreamConfig::default(), WallTime(1), stream.store);
            assert_eq!(again.store().state().messages, left, "{record:?}");
        }
    }
}
