//! What is asked of a message of a batch, beside those before it that are not stored yet (JS-125).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use num_bigint::BigInt;

use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::store::Filter;
use crate::jetstream::stream::config::Discard;
use crate::jetstream::stream::counter::{Count, Last};
use crate::jetstream::stream::publish::{HEADERS_MAX, Publish, number, present};
use crate::jetstream::stream::stream::{Stream, positive};
use crate::jetstream::stream::{headers, scheduling, ttl};
use crate::protocol::headers::get;
use crate::time::WallTime;

/// What the messages of a batch will have done once they are stored.
#[derive(Debug, Default)]
pub(super) struct Staged {
    messages: u64,
    bytes: u64,
    ids: HashSet<Bytes>,
    /// Messages by subject.
    subjects: HashMap<Bytes, u64>,
    /// Last sequences that were asked for, by subject.
    expected: HashMap<Bytes, u64>,
    /// Is the last message of a subject a schedule?
    schedules: HashMap<Bytes, bool>,
    counts: HashMap<Bytes, Count>,
    /// Counts as they were before the batch, with their sequences.
    read: HashMap<Bytes, (u64, Count)>,
}

impl Staged {
    /// With counts that an earlier attempt has read.
    pub(super) fn with_counts(read: HashMap<Bytes, (u64, Count)>) -> Self {
        Self {
            read,
            ..Self::default()
        }
    }

    /// What has been read of counts.
    pub(super) fn into_counts(self) -> HashMap<Bytes, (u64, Count)> {
        self.read
    }
}

/// A message that may be stored.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) subject: Bytes,
    pub(super) headers: Bytes,
    /// The total, where it is a counter's.
    pub(super) payload: Bytes,
}

/// Why a message may not be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was stored before, as this message, or is another one of the batch.
    Duplicate(Option<u64>),
    Error(ApiError),
    /// Its counter is still being read.
    TooEarly,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl Stream {
    /// Looks at a message in the order in which stock looks at it. `subject` is what its subject
    /// becomes here.
    ///
    /// # Errors
    /// [`Refusal`]; what is staged is of no use then.
    pub(super) fn check_staged(
        &mut self,
        staged: &mut Staged,
        subject: Bytes,
        block: &Bytes,
        payload: &Bytes,
        now: WallTime,
    ) -> Result<Checked, Refusal> {
        let mut payload = payload.clone();
        let mut block = block;
        let counted;
        if block.len() > HEADERS_MAX {
            return Err(errors::STREAM_HEADER_EXCEEDS_MAXIMUM.into());
        }
        let publish = Publish {
            subject: &subject,
            headers: block,
            payload: &payload,
            now,
            sourced: false,
        };
        let increment = self.increment(block, &publish)?;
        if present(block, headers::EXPECTED_STREAM)
            .is_some_and(|it| it != self.config.name.as_bytes())
        {
            return Err(errors::STREAM_NOT_MATCH.into());
        }
        let ttl = ttl::of(block);
        if ttl.as_ref().map_or(true, Option::is_some) && !self.config.allow_msg_ttl {
            return Err(errors::MESSAGE_TTL_DISABLED.into());
        }
        ttl?;
        self.check_staged_id(staged, block, now)?;
        if present(block, headers::STREAM_SOURCE).is_some() {
            return Err(errors::MESSAGE_SOURCE_HDR_NOT_ALLOWED.into());
        }
        if self.config.allow_msg_counter {
            let increment = increment.ok_or(errors::MESSAGE_INCR_MISSING)?;
            let (body, other) = self.stage_count(staged, &subject, block, &increment)?;
            (payload, counted) = (body, other.map(Bytes::from));
            block = counted.as_ref().unwrap_or(block);
            let length = block.len() + payload.len();
            if usize::try_from(self.config.max_msg_size).is_ok_and(|most| length > most) {
                return Err(errors::STREAM_MESSAGE_EXCEEDS_MAXIMUM.into());
            }
        }
        self.check_staged_expectations(staged, &subject, block)?;
        let mut stored = None;
        let mut is_schedule = false;
        if scheduling::concerns(block) {
            let before = |subject: &[u8]| staged.schedules.get(subject).copied();
            stored = self.check_schedule(&subject, block, now, &before)?;
            is_schedule = scheduling::schedule_of(block).is_some();
        }
        let block = &stored.map_or_else(|| block.clone(), Bytes::from);
        if self.config.allow_msg_schedules {
            staged.schedules.insert(subject.clone(), is_schedule);
        }
        self.check_staged_rollup(staged, &subject, block)?;
        let kind = self.store.kind();
        staged.messages += 1;
        staged.bytes += kind.message_size(subject.len(), block.len(), payload.len());
        *staged.subjects.entry(subject.clone()).or_default() += 1;
        self.check_staged_room(staged, &subject, block)?;
        Ok(Checked {
            subject,
            headers: block.clone(),
            payload,
        })
    }

    fn check_staged_id(
        &mut self,
        staged: &mut Staged,
        block: &Bytes,
        now: WallTime,
    ) -> Result<(), Refusal> {
        let Some(id) = present(block, headers::MSG_ID) else {
            return Ok(());
        };
        if !staged.ids.insert(Bytes::copy_from_slice(id)) {
            return Err(Refusal::Duplicate(None));
        }
        let window = self.config.duplicate_window.duration();
        match self.dedupe.find(id, now, window) {
            Some(seq) => Err(Refusal::Duplicate(Some(seq))),
            None => Ok(()),
        }
    }

    /// The body of a counter's message after those staged before it, and its header block where
    /// that is another one.
    fn stage_count(
        &mut self,
        staged: &mut Staged,
        subject: &Bytes,
        block: &Bytes,
        increment: &BigInt,
    ) -> Result<(Bytes, Option<Vec<u8>>), Refusal> {
        let mut count = match staged.counts.get(subject) {
            Some(count) => count.clone(),
            None => self.count_before(staged, subject)?,
        };
        let other = count.add(subject, (block, b""), increment)?;
        let body = count.body();
        staged.counts.insert(subject.clone(), count);
        Ok((body.into(), other))
    }

    fn count_before(&mut self, staged: &mut Staged, subject: &Bytes) -> Result<Count, Refusal> {
        let last = self.store.subject(subject).map_or(0, |it| it.last);
        if let Some((seq, count)) = staged.read.get(subject)
            && *seq == last
        {
            return Ok(count.clone());
        }
        match self.last_count(subject)? {
            Last::Known(count) => {
                staged.read.insert(subject.clone(), (last, count.clone()));
                Ok(count)
            }
            Last::Reading => Err(Refusal::TooEarly),
        }
    }

    fn check_staged_expectations(
        &mut self,
        staged: &mut Staged,
        subject: &Bytes,
        block: &Bytes,
    ) -> Result<(), ApiError> {
        if let Some(expected) = present(block, headers::EXPECTED_LAST_SEQ) {
            let last = self.store.last_seq() + staged.messages;
            if number(expected) != last {
                return Err(errors::stream_wrong_last_sequence(last));
            }
            // Only the first of a batch may say so.
            if staged.messages > 0 {
                return Err(errors::STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
            }
        }
        let of_subject = present(block, headers::EXPECTED_LAST_SUBJECT_SEQ_SUBJECT);
        let Some(expected) = present(block, headers::EXPECTED_LAST_SUBJECT_SEQ) else {
            return match of_subject {
                Some(_) => Err(errors::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID),
                None => Ok(()),
            };
        };
        let of_subject = of_subject.map_or_else(|| subject.clone(), Bytes::copy_from_slice);
        if staged.subjects.contains_key(&of_subject) {
            return Err(errors::STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
        }
        let last = match staged.expected.get(&of_subject) {
            Some(last) => *last,
            None => {
                let filter = Filter::new(&[&of_subject[..]]);
                self.store.last_match(&filter, u64::MAX).unwrap_or(0)
            }
        };
        if last != number(expected) {
            return Err(errors::stream_wrong_last_sequence(last));
        }
        staged.expected.insert(of_subject, last);
        Ok(())
    }

    fn check_staged_rollup(
        &self,
        staged: &Staged,
        subject: &Bytes,
        block: &Bytes,
    ) -> Result<(), ApiError> {
        let Some(rollup) = self.rollup(block, false)? else {
            return Ok(());
        };
        let why = match rollup.is_whole_stream() {
            true if staged.messages > 0 => "batch rollup all invalid",
            false if staged.subjects.contains_key(subject) => "batch rollup sub invalid",
            _ => return Ok(()),
        };
        Err(errors::stream_rollup_failed(why))
    }

    /// Where new messages give way to old ones: is there room for all of the batch so far?
    fn check_staged_room(
        &self,
        staged: &Staged,
        subject: &Bytes,
        block: &Bytes,
    ) -> Result<(), ApiError> {
        let config = &self.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        let state = self.store.state();
        let messages = state.messages + staged.messages;
        if positive(config.max_msgs).is_some_and(|most| messages > most) {
            return Err(errors::stream_store_failed("maximum messages exceeded"));
        }
        if positive(config.max_bytes).is_some_and(|most| state.bytes + staged.bytes > most) {
            return Err(errors::stream_store_failed("maximum bytes exceeded"));
        }
        let of_subject = self.store.subject(subject).map_or(0, |it| it.messages);
        let of_subject = of_subject + staged.subjects.get(subject).copied().unwrap_or(0);
        if config.discard_new_per_subject
            && positive(config.max_msgs_per_subject).is_some_and(|most| of_subject > most)
            && get(block, headers::ROLLUP).is_none_or(<[u8]>::is_empty)
        {
            return Err(errors::stream_store_failed(
                "maximum messages per subject exceeded",
            ));
        }
        Ok(())
    }
}
