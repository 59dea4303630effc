//! Fast batches: their messages are stored as they come, and an answer comes for many of them
//! (section 8). What a publisher says of its batch stands in its reply subjects:
//! `<prefix>.<id>.<messages for an answer>.<ok|fail>.<sequence>.<operation>.$FI`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::atomic::{ID_MAX, digits};
use super::check::{Refusal, Staged};
use super::inflight::{BatchLimits, InFlight, Place};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::stream::headers;
use crate::jetstream::stream::publish::{Accepted, Publish, present};
use crate::jetstream::stream::stream::Stream;
use crate::protocol::headers::get;
use crate::time::WallTime;

/// How the reply subjects of all fast batches end.
pub const SUFFIX: &[u8] = b".$FI";
/// Most messages for one answer, of all batches of a stream together (JS-130).
const MESSAGES_MAX: u16 = 500;
/// The same of one that does not say how many it wants.
const MESSAGES: u16 = 10;

/// What a reply subject says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastMessage<'a> {
    id: &'a [u8],
    /// Messages for an answer.
    flow: u16,
    /// Messages may be missing.
    gap_ok: bool,
    sequence: u64,
    operation: Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Start,
    Append,
    /// Store it and end.
    Commit,
    /// End with the one before.
    CommitBefore,
    /// Say again how far the batch is.
    Ping,
}

impl<'a> FastMessage<'a> {
    /// What a reply subject that ends in [`SUFFIX`] says; nothing if that is not how it is said.
    pub fn parse(reply: &'a [u8]) -> Option<Self> {
        let mut tokens = reply.strip_suffix(SUFFIX)?.rsplit(|&it| it == b'.');
        let operation = match digits(tokens.next()?)? {
            0 => Operation::Start,
            1 => Operation::Append,
            2 => Operation::Commit,
            3 => Operation::CommitBefore,
            4 => Operation::Ping,
            _ => return None,
        };
        let sequence = digits(tokens.next()?)?;
        let fits = match operation {
            Operation::Start => sequence == 1,
            Operation::Append | Operation::CommitBefore => sequence > 1,
            Operation::Commit | Operation::Ping => sequence > 0,
        };
        if !fits || sequence == u64::MAX {
            return None;
        }
        let gap_ok = match tokens.next()? {
            b"ok" => true,
            b"fail" => false,
            _ => return None,
        };
        let flow = match digits(tokens.next()?) {
            None | Some(0) => MESSAGES,
            Some(flow) => u16::try_from(flow).unwrap_or(u16::MAX),
        };
        let id = tokens.next()?;
        // Something stands before it.
        tokens.next()?;
        Some(Self {
            id,
            flow,
            gap_ok,
            sequence,
            operation,
        })
    }

    /// The batch.
    pub fn id(&self) -> &'a [u8] {
        self.id
    }
}

/// What a publisher is told.
#[derive(Debug, PartialEq, Eq)]
pub enum FastReply {
    /// How far its batch is, and how many messages come before the next such answer.
    Flow {
        /// Of the batch.
        sequence: u64,
        /// Messages.
        messages: u16,
    },
    /// Messages from `expected` to before `sequence` did not come.
    Gap {
        /// What should have come.
        expected: u64,
        /// What came.
        sequence: u64,
    },
    /// This message of the batch is not stored.
    Failed {
        /// Of the batch.
        sequence: u64,
        /// Why.
        error: ApiError,
    },
    /// The batch is over.
    Committed {
        /// Its last message's sequence in the stream.
        seq: u64,
        /// Messages of the batch.
        count: u64,
        /// Its only message was stored before.
        duplicate: bool,
    },
    /// What any publish is told that is refused.
    Refused(ApiError),
}

/// What comes of a message of a fast batch.
#[derive(Debug, Default)]
pub struct Ingested {
    /// What is told, in this order, once all that is stored is durable; a flow answer for sequence
    /// zero needs the message itself not to be.
    pub replies: Vec<FastReply>,
    /// The message, if it is stored, and its body.
    pub stored: Option<(Accepted, Bytes)>,
    /// Nothing has been done: a counter is still being read. It is to come again.
    pub too_early: bool,
}

/// A stream's fast batches.
#[derive(Debug, Default)]
pub(in crate::jetstream::stream) struct FastBatches {
    open: HashMap<Box<[u8]>, Batch, ahash::RandomState>,
    /// No batch is due before.
    due: Option<WallTime>,
}

#[derive(Debug)]
struct Batch {
    /// Last sequence that came.
    last: u64,
    /// Last one that is stored, or will not be.
    stored: u64,
    /// What that one is in the stream.
    seq: u64,
    /// The one that was answered last.
    answered: u64,
    /// Messages for an answer, now and at most.
    messages: u16,
    messages_max: u16,
    gap_ok: bool,
    due: WallTime,
    _place: Place,
}

impl Batch {
    fn committed(&self) -> FastReply {
        FastReply::Committed {
            seq: self.seq,
            count: self.last,
            duplicate: false,
        }
    }

    fn flow(&self) -> FastReply {
        FastReply::Flow {
            sequence: self.answered,
            messages: self.messages,
        }
    }

    /// The answer that is due, if one is; the next comes later or earlier, as others leave room.
    fn answer(&mut self, batches: usize) -> Option<FastReply> {
        let step = u64::from(self.messages.max(1));
        if self.stored < self.answered + step {
            return None;
        }
        self.answered += (self.stored - self.answered) / step * step;
        let share = usize::from(MESSAGES_MAX) / batches.max(1);
        let most = (share.max(1) as u16).min(self.messages_max);
        self.messages = match self.messages {
            now if now < most => now.saturating_mul(2).min(most),
            now if now > most => (now / 2).max(most),
            now => now,
        };
        Some(self.flow())
    }
}

impl FastBatches {
    /// Forgets all that is under way.
    pub(in crate::jetstream::stream) fn clear(&mut self) {
        self.open.clear();
    }

    /// Forgets those whose next message did not come in time.
    pub(in crate::jetstream::stream) fn expire(&mut self, now: WallTime) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.open.retain(|_, it| it.due > now);
        self.due = self.open.values().map(|it| it.due).min();
    }

    /// When [`Self::expire`] may have something to do.
    pub(in crate::jetstream::stream) fn next_due(&self) -> Option<WallTime> {
        self.due
    }
}

impl Stream {
    /// Takes a message of a fast batch; without `message` its reply subject could not be read.
    /// `interested` says whether some consumer wants a subject.
    pub fn ingest(
        &mut self,
        message: Option<&FastMessage<'_>>,
        publish: &Publish<'_>,
        (limits, in_flight): (&BatchLimits, &Arc<InFlight>),
        interested: impl Fn(&[u8]) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Ingested {
        let mut ingested = Ingested::default();
        let transform = self.transform.as_ref();
        let renamed = transform.and_then(|it| it.apply(publish.subject, &mut random));
        let subject = renamed.map_or_else(|| Bytes::copy_from_slice(publish.subject), Bytes::from);
        let mut block = Bytes::copy_from_slice(publish.headers);
        if get(&block, headers::CLIENT_INFO).is_some() {
            block = without(&block, headers::CLIENT_INFO);
        }
        let message = match self.begin(message, &subject, &block, publish, (limits, in_flight)) {
            Ok(message) => message,
            Err(error) => {
                ingested.replies.push(FastReply::Refused(error));
                return ingested;
            }
        };
        // Looked at before anything changes: it may have to come again.
        let payload = Bytes::copy_from_slice(publish.payload);
        let checked = match message.operation {
            Operation::Ping | Operation::CommitBefore => None,
            _ => {
                let staged = &mut Staged::default();
                if present(&block, headers::REQUIRED_API_LEVEL).is_some() {
                    block = without(&block, headers::REQUIRED_API_LEVEL);
                }
                Some(self.check_staged(staged, subject, &block, &payload, publish.now))
            }
        };
        if matches!(checked, Some(Err(Refusal::TooEarly))) {
            ingested.too_early = true;
            return ingested;
        }
        let Some(mut batch) = self.fast.open.remove(message.id) else {
            return ingested;
        };
        batch.due = WallTime(publish.now.0 + limits.timeout.as_nanos() as u64);
        let due = batch.due;
        self.fast.due = Some(self.fast.due.map_or(due, |it| it.min(due)));
        // Its own place counts.
        let batches = self.fast.open.len() + 1;
        let mut over = batch.arrived(message, batches, &mut ingested.replies);
        if let (false, Some(checked)) = (over, checked) {
            let commits = message.operation == Operation::Commit;
            if message.sequence == 1 && !commits {
                ingested.replies.push(FastReply::Flow {
                    sequence: 0,
                    messages: batch.messages,
                });
            }
            let placed = checked.and_then(|it| {
                let accepted = self.place_checked(&it, publish.now, &interested, &mut random)?;
                Ok((accepted, it.payload))
            });
            match placed {
                Ok((accepted, payload)) => {
                    batch.seq = accepted.seq;
                    batch.stored = batch.last;
                    ingested.stored = Some((accepted, payload));
                    over = commits;
                    match commits {
                        true => ingested.replies.push(batch.committed()),
                        false => ingested.replies.extend(batch.answer(batches)),
                    }
                }
                Err(refusal) => {
                    over = batch.refused(message, refusal, batches, &mut ingested.replies);
                }
            }
        }
        if !over {
            self.fast.open.insert(message.id.into(), batch);
        }
        ingested
    }

    /// What is asked of every message; begins the batch with its first one.
    fn begin<'a, 'm>(
        &mut self,
        message: Option<&'a FastMessage<'m>>,
        subject: &[u8],
        block: &[u8],
        publish: &Publish<'_>,
        (limits, in_flight): (&BatchLimits, &Arc<InFlight>),
    ) -> Result<&'a FastMessage<'m>, ApiError> {
        self.check_in_general(subject, block, publish.payload)?;
        if !self.config.allow_batched {
            return Err(errors::BATCH_PUBLISH_DISABLED);
        }
        let message = message.ok_or(errors::BATCH_PUBLISH_INVALID_PATTERN)?;
        if message.id.len() > ID_MAX {
            return Err(errors::BATCH_PUBLISH_INVALID_BATCH_ID);
        }
        if !self.fast.open.contains_key(message.id) {
            if message.sequence != 1 {
                return Err(errors::BATCH_PUBLISH_UNKNOWN_BATCH_ID);
            }
            let others = self.fast.open.len();
            let place = (others < limits.fast_per_stream)
                .then(|| in_flight.begin_fast(limits.fast))
                .flatten();
            let place = place.ok_or(errors::BATCH_PUBLISH_TOO_MANY_INFLIGHT)?;
            let batch = Batch {
                last: 0,
                stored: 0,
                seq: 0,
                answered: 0,
                // Beside others it begins slowly.
                messages: match others {
                    0 => message.flow.min(MESSAGES_MAX),
                    _ => 1,
                },
                messages_max: message.flow,
                gap_ok: message.gap_ok,
                due: publish.now,
                _place: place,
            };
            self.fast.open.insert(message.id.into(), batch);
        }
        if present(block, headers::REQUIRED_API_LEVEL).is_some_and(is_beyond) {
            self.fast.open.remove(message.id);
            return Err(errors::REQUIRED_API_LEVEL);
        }
        Ok(message)
    }
}

impl Batch {
    /// A message came; is the batch over with that?
    fn arrived(
        &mut self,
        message: &FastMessage<'_>,
        batches: usize,
        replies: &mut Vec<FastReply>,
    ) -> bool {
        let sequence = message.sequence;
        if message.operation == Operation::Ping {
            if sequence > self.last {
                replies.push(FastReply::Gap {
                    expected: self.last + 1,
                    sequence: sequence + 1,
                });
                if !self.gap_ok {
                    replies.push(self.committed());
                    return true;
                }
                (self.last, self.stored) = (sequence, sequence);
                if let Some(answer) = self.answer(batches) {
                    replies.push(answer);
                    return false;
                }
            }
            replies.push(self.flow());
            return false;
        }
        let expected = self.last + 1;
        if sequence > expected {
            replies.push(FastReply::Gap { expected, sequence });
        }
        if sequence < expected || (sequence > expected && !self.gap_ok) {
            replies.push(self.committed());
            return true;
        }
        if message.operation == Operation::CommitBefore {
            self.last = sequence - 1;
            replies.push(self.committed());
            return true;
        }
        self.last = sequence;
        false
    }

    /// A message may not be stored; is the batch over with that?
    fn refused(
        &mut self,
        message: &FastMessage<'_>,
        refusal: Refusal,
        batches: usize,
        replies: &mut Vec<FastReply>,
    ) -> bool {
        let commits = message.operation == Operation::Commit;
        let (duplicate, error) = match refusal {
            Refusal::Duplicate(seq) => (seq, None),
            Refusal::Error(error) => (None, Some(error)),
            Refusal::TooEarly => return false,
        };
        if error.is_none() {
            self.stored = message.sequence;
            replies.extend(self.answer(batches));
            if !commits {
                return false;
            }
        }
        if !self.gap_ok && self.last == 1 {
            replies.push(match error {
                Some(error) => FastReply::Refused(error),
                None => FastReply::Committed {
                    seq: duplicate.unwrap_or(0),
                    count: message.sequence,
                    duplicate: true,
                },
            });
            return true;
        }
        if let Some(error) = error {
            let sequence = message.sequence;
            replies.push(FastReply::Failed { sequence, error });
            if self.gap_ok && !commits {
                return false;
            }
            self.last -= 1;
            self.stored = self.last;
        }
        replies.push(self.committed());
        true
    }
}

fn without(block: &[u8], key: &[u8]) -> Bytes {
    let mut cleaned = Vec::new();
    headers::append_without(&mut cleaned, block, key);
    cleaned.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_128_129_reply_subjects() {
        let parse = |text: &'static str| FastMessage::parse(text.as_bytes());
        let message = parse("_INBOX.x.id.100.fail.7.1.$FI").expect("one");
        assert_eq!(message.id, b"id");
        assert_eq!((message.flow, message.gap_ok), (100, false));
        assert_eq!(
            (message.sequence, message.operation),
            (7, Operation::Append)
        );
        let flow = |text| parse(text).map(|it| it.flow);
        for (text, messages) in [
            ("p.id.0.ok.1.0.$FI", 10),
            ("p.id.-3.ok.1.0.$FI", 10),
            ("p.id.x.ok.1.0.$FI", 10),
            ("p.id.70000.ok.1.0.$FI", u16::MAX),
        ] {
            assert_eq!(flow(text), Some(messages), "{text}");
        }
        for text in [
            "p.id.10.ok.2.0.$FI",
            "p.id.10.ok.1.1.$FI",
            "p.id.10.ok.1.3.$FI",
            "p.id.10.ok.0.0.$FI",
            "p.id.10.ok.0.2.$FI",
            "p.id.10.ok.0.4.$FI",
            "p.id.10.ok.1.5.$FI",
            "p.id.10.ok.x.1.$FI",
            "p.id.10.ok.18446744073709551615.1.$FI",
            "p.id.10.maybe.1.0.$FI",
            "id.10.ok.1.0.$FI",
            "ok.1.0.$FI",
            "$FI",
            ".$FI",
            "p.id.10.ok.1.0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
