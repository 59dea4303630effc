//! What is asked of a message before it is stored, and what comes of it (section 4).

use bytes::Bytes;

use super::config::{Discard, Retention};
use super::counter::{Count, Last};
use super::headers;
use super::scheduling;
use super::stream::{Stream, positive};
use super::ttl::{self, Ttl};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::store::{Append, Filter, Lifetime, Purge};
use crate::protocol::headers::get;
use crate::time::WallTime;

/// Longest header block that is stored (JS-95).
pub(super) const HEADERS_MAX: usize = 65_535;

/// A message that came on one of a stream's subjects.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// Its header block, or nothing.
    pub headers: &'a [u8],
    /// Its body.
    pub payload: &'a [u8],
    /// When it came.
    pub now: WallTime,
    /// It is a copy of another stream's message, which has been checked there.
    pub sourced: bool,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence, or that of the one it repeats.
    pub seq: u64,
    /// What became of it.
    pub fate: Fate,
    /// To be published again (JS-101).
    pub republish: Option<Republished>,
    /// What its counter is at now (JS-135).
    pub total: Option<String>,
}

/// What became of a message that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Stored,
    /// Nobody is interested: it has used up a sequence (JS-106).
    Unwanted,
    /// It was stored before (JS-88).
    Duplicate,
    /// Nothing has been done: its counter is still being read. It is to come again.
    TooEarly,
}

/// A stored message as it is published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// Subject.
    pub to: Bytes,
    /// Header block.
    pub headers: Bytes,
    /// Leave the body out.
    pub headers_only: bool,
}

/// What the headers of a message ask for beside its storing.
#[derive(Debug, Default)]
struct Asked<'a> {
    id: &'a [u8],
    rollup: Option<Rollup>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rollup {
    Subject,
    All,
}

impl Rollup {
    pub(super) fn is_whole_stream(self) -> bool {
        self == Self::All
    }
}

/// A message against whose content nothing speaks.
#[derive(Debug)]
pub(super) struct Placing<'a> {
    pub(super) subject: &'a [u8],
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) now: WallTime,
    /// Its id, or nothing.
    pub(super) id: &'a [u8],
    pub(super) rollup: Option<Rollup>,
}

impl Stream {
    /// Stores a message if nothing speaks against it. `interested` says whether some consumer
    /// wants a subject, for streams that keep messages only for them.
    ///
    /// # Errors
    /// Why it is not stored, as its publisher is told.
    pub fn publish(
        &mut self,
        publish: &Publish<'_>,
        interested: impl FnOnce(&[u8]) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Result<Accepted, ApiError> {
        let transform = self.transform.as_ref();
        let renamed = transform.and_then(|it| it.apply(publish.subject, &mut random));
        let subject = renamed.as_deref().unwrap_or(publish.subject);
        if self.config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        let mut cleaned = Vec::new();
        let mut block = publish.headers;
        if !block.is_empty() && get(block, headers::CLIENT_INFO).is_some() {
            headers::append_without(&mut cleaned, block, headers::CLIENT_INFO);
            block = &cleaned;
        }
        let mut asked = Asked::default();
        let mut increment = None;
        let changed;
        if !block.is_empty() {
            increment = self.increment(block, publish)?;
            let other = self.check_expectations(subject, block, publish)?;
            if let Some(other) = other {
                changed = other;
                block = &changed;
            }
            asked.id = get(block, headers::MSG_ID).unwrap_or_default();
            if !asked.id.is_empty() && self.config.mirror.is_none() {
                let window = self.config.duplicate_window.duration();
                if let Some(seq) = self.dedupe.find(asked.id, publish.now, window) {
                    return Ok(Accepted {
                        seq,
                        fate: Fate::Duplicate,
                        republish: None,
                        total: None,
                    });
                }
            }
            self.check_last_id(block)?;
            asked.rollup = self.rollup(block, publish.sourced)?;
        }
        let mut count = None;
        let counted;
        if self.config.allow_msg_counter {
            let increment = increment.ok_or(errors::MESSAGE_INCR_MISSING)?;
            let mut last = match self.last_count(subject)? {
                Last::Known(last) => last,
                Last::Reading => {
                    return Ok(Accepted {
                        seq: 0,
                        fate: Fate::TooEarly,
                        republish: None,
                        total: None,
                    });
                }
            };
            let content = (block, publish.payload);
            if let Some(other) = last.add(subject, content, &increment)? {
                counted = other;
                block = &counted;
            }
            count = Some(last);
        }
        let body = count.as_ref().map(Count::body);
        let payload = body.as_ref().map_or(publish.payload, |it| it.as_bytes());
        self.check_size(block, payload)?;
        self.check_server_room()?;
        let placing = Placing {
            subject,
            headers: block,
            payload,
            now: publish.now,
            id: asked.id,
            rollup: asked.rollup,
        };
        if self.config.retention == Retention::Interest && !interested(subject) {
            return Ok(self.pass_over(&placing));
        }
        self.check_account_room(subject, block, payload)?;
        let mut accepted = self.place(&placing, random)?;
        accepted.total = count.as_ref().map(Count::total);
        Ok(accepted)
    }

    /// Stores a message that has been looked at.
    pub(super) fn place(
        &mut self,
        it: &Placing<'_>,
        random: impl FnMut() -> u64,
    ) -> Result<Accepted, ApiError> {
        let (subject, block, payload) = (it.subject, it.headers, it.payload);
        // A copy that may not have such messages keeps them (JS-120).
        let ttl = ttl::of(block)?.filter(|_| self.config.allow_msg_ttl);
        let raised = ttl.and_then(|it| self.raised(it, block));
        let (ttl, block) = match &raised {
            Some((ttl, block)) => (Some(*ttl), &block[..]),
            None => (ttl, block),
        };
        self.make_room(subject, block, payload, it.rollup.is_some())?;

        let schedule = scheduling::schedule_of(block);
        let last_of_subject = self.store.subject(subject).map_or(0, |it| it.last);
        let appended = self.store.append(Append {
            subject,
            headers: block,
            payload,
            time: it.now,
            lifetime: match ttl {
                None => Lifetime::Stream,
                Some(Ttl::Never) => Lifetime::Forever,
                Some(Ttl::For(seconds)) => Lifetime::For(seconds),
            },
            marker: ttl::is_marker(block),
            schedule: schedule.is_some(),
        });
        let seq = appended.map_err(errors::stream_store_failed)?;
        self.note_id(it.id, seq, it.now);
        self.note_schedule(subject, seq, (schedule.as_ref(), block), it.now);
        self.roll_up(it.rollup, subject, 1);
        self.end_schedule(block);
        self.drop_surplus_of(subject);
        self.apply_limits();
        let republish = self.republished(
            (subject, seq, last_of_subject),
            (block, payload.len()),
            it.now,
            random,
        );
        Ok(Accepted {
            seq,
            fate: Fate::Stored,
            republish,
            total: None,
        })
    }

    /// What a message expects of the stream, in the order stock looks at it. Gives its header
    /// block where another one is to be stored.
    fn check_expectations(
        &self,
        subject: &[u8],
        block: &[u8],
        publish: &Publish<'_>,
    ) -> Result<Option<Vec<u8>>, ApiError> {
        let sourced = publish.sourced;
        if let Some(name) = present(block, headers::EXPECTED_STREAM)
            && name != self.config.name.as_bytes()
        {
            return Err(errors::STREAM_NOT_MATCH);
        }
        let has_ttl = ttl::of(block).is_ok_and(|it| it.is_some());
        if has_ttl && !sourced && !self.config.allow_msg_ttl {
            return Err(errors::MESSAGE_TTL_DISABLED);
        }
        let of_subject = present(block, headers::EXPECTED_LAST_SUBJECT_SEQ_SUBJECT);
        if let Some(expected) = present(block, headers::EXPECTED_LAST_SUBJECT_SEQ) {
            let filter = Filter::new(&[of_subject.unwrap_or(subject)]);
            let last = self.store.last_match(&filter, u64::MAX).unwrap_or(0);
            if last != number(expected) {
                return Err(errors::stream_wrong_last_sequence(last));
            }
        } else if of_subject.is_some() {
            return Err(errors::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID);
        }
        if let Some(expected) = present(block, headers::EXPECTED_LAST_SEQ) {
            let last = self.store.state().last_seq;
            if last != number(expected) {
                return Err(errors::stream_wrong_last_sequence(last));
            }
        }
        if sourced {
            return Ok(None);
        }
        let stored = match scheduling::concerns(block) {
            true => self.check_schedule(subject, block, publish.now, &|_| None)?,
            false => None,
        };
        if present(block, headers::STREAM_SOURCE).is_some() {
            return Err(errors::MESSAGE_SOURCE_HDR_NOT_ALLOWED);
        }
        Ok(stored)
    }

    fn check_last_id(&self, block: &[u8]) -> Result<(), ApiError> {
        match present(block, headers::EXPECTED_LAST_MSG_ID) {
            Some(expected) if expected != self.last_id => {
                let last = String::from_utf8_lossy(&self.last_id);
                Err(errors::stream_wrong_last_msg_id(last))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn rollup(&self, block: &[u8], sourced: bool) -> Result<Option<Rollup>, ApiError> {
        let Some(value) = present(block, headers::ROLLUP) else {
            return Ok(None);
        };
        if !sourced && (!self.config.allow_rollup_hdrs || self.config.deny_purge) {
            return Err(errors::stream_rollup_failed("rollup not permitted"));
        }
        let value = String::from_utf8_lossy(value).to_lowercase();
        match &value[..] {
            "sub" => Ok(Some(Rollup::Subject)),
            "all" => Ok(Some(Rollup::All)),
            _ => {
                let why = format!("rollup value invalid: {value:?}");
                Err(errors::stream_rollup_failed(why))
            }
        }
    }

    /// JS-95.
    fn check_size(&self, block: &[u8], payload: &[u8]) -> Result<(), ApiError> {
        let length = block.len() + payload.len();
        if usize::try_from(self.config.max_msg_size).is_ok_and(|most| length > most) {
            return Err(errors::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        }
        if block.len() > HEADERS_MAX {
            return Err(errors::STREAM_HEADER_EXCEEDS_MAXIMUM);
        }
        Ok(())
    }

    /// A message nobody wants uses up a sequence (JS-106).
    pub(super) fn pass_over(&mut self, it: &Placing<'_>) -> Accepted {
        let seq = self.store.state().last_seq + 1;
        self.store.skip(seq, Some(it.now));
        self.note_id(it.id, seq, it.now);
        self.roll_up(it.rollup, it.subject, 0);
        self.end_schedule(it.headers);
        Accepted {
            seq,
            fate: Fate::Unwanted,
            republish: None,
            total: None,
        }
    }

    fn note_id(&mut self, id: &[u8], seq: u64, now: WallTime) {
        if id.is_empty() && self.last_id.is_empty() {
            return;
        }
        self.last_id = Bytes::copy_from_slice(id);
        if !id.is_empty() {
            self.dedupe.insert(id, seq, now);
        }
    }

    /// The time a message may live where markers stay longer (JS-117), and its headers then.
    fn raised(&self, ttl: Ttl, block: &[u8]) -> Option<(Ttl, Vec<u8>)> {
        let least = self.config.subject_delete_marker_ttl;
        let Ttl::For(time) = ttl else { return None };
        let seconds = least.duration().as_secs();
        if least.0 <= 0 || self.config.max_msgs_per_subject == 1 || time.as_secs() >= seconds {
            return None;
        }
        let mut raised = Vec::new();
        let text = seconds.to_string();
        crate::protocol::headers::append_with(&mut raised, block, headers::TTL, text.as_bytes());
        Some((Ttl::For(std::time::Duration::from_secs(seconds)), raised))
    }

    /// Where new messages give way to old ones: is there room (JS-96, JS-97)?
    fn make_room(
        &self,
        subject: &[u8],
        block: &[u8],
        payload: &[u8],
        rollup: bool,
    ) -> Result<(), ApiError> {
        let config = &self.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        let most_of_subject = positive(config.max_msgs_per_subject);
        let of_subject = self.store.subject(subject);
        let is_full = most_of_subject
            .zip(of_subject)
            .is_some_and(|(most, state)| state.messages >= most);
        if is_full && config.discard_new_per_subject && !rollup {
            return Err(errors::stream_store_failed(
                "maximum messages per subject exceeded",
            ));
        }
        let state = self.store.state();
        if positive(config.max_msgs).is_some_and(|most| state.messages >= most) && !is_full {
            return Err(errors::stream_store_failed("maximum messages exceeded"));
        }
        let kind = self.store.kind();
        let size = kind.message_size(subject.len(), block.len(), payload.len());
        if positive(config.max_bytes).is_some_and(|most| state.bytes + size > most) {
            // The one that goes may leave enough.
            let first = of_subject.filter(|_| is_full);
            let freed = first.and_then(|it| self.store.size_and_time(it.first));
            if freed.is_none_or(|(freed, _)| freed < size) {
                return Err(errors::stream_store_failed("maximum bytes exceeded"));
            }
        }
        Ok(())
    }

    fn roll_up(&mut self, rollup: Option<Rollup>, subject: &[u8], keep: u64) {
        let filter = match rollup {
            None => return,
            Some(Rollup::Subject) => Filter::Literal(subject.into()),
            Some(Rollup::All) => Filter::All,
        };
        let purge = Purge {
            filter: &filter,
            up_to: 0,
            keep,
        };
        self.purge(purge);
    }

    fn drop_surplus_of(&mut self, subject: &[u8]) {
        if let Some(most) = positive(self.config.max_msgs_per_subject)
            && let Some(state) = self.store.subject(subject)
            && state.messages > most
        {
            self.drop_oldest_of(subject, state.messages - most);
        }
    }
}

/// A header's value if it has one.
pub(super) fn present<'a>(block: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    get(block, key).filter(|it| !it.is_empty())
}

/// A sequence in a header; what is none is one that no stream has.
pub(super) fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(u64::MAX)
}
