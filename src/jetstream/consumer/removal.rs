//! Messages that leave the stream, and beginning again somewhere else.

use bytes::Bytes;

use super::advisory::{Advisory, Message};
use super::consumer::{Consumer, Sequences};
use super::effect::{Effect, StreamView, Turn};
use super::settings::Beginning;
use crate::jetstream::store::Filter;
use crate::routing::subject;

/// Why a message that was out is given up.
const DELETED: Bytes = Bytes::from_static(b"Unacknowledged message was deleted");

/// Why a consumer does not begin again where it is asked to (JS-209); the text is stock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// Below the configured sequence.
    #[error("below start seq")]
    BelowStartSequence,
    /// Before the configured time.
    #[error("below start time")]
    BelowStartTime,
    /// This deliver policy only goes back to the floor.
    #[error("not allowed")]
    NotAllowed,
}

impl Consumer {
    /// A message has left the stream: deleted, or by a limit. One that was acknowledged need not be
    /// told.
    pub fn removed<S>(&mut self, turn: &mut Turn<'_, S>, seq: u64, subject: &[u8]) {
        if seq >= self.cursor {
            // Of what was there when a consumer of last messages began, only those count.
            let list = self.skip_list.as_ref().filter(|it| seq <= it.resume);
            let counts = list.is_none_or(|it| it.seqs.binary_search(&seq).is_ok());
            if counts && self.settings.filter.matches(subject) {
                self.ahead -= 1;
            }
            return;
        }
        if self.out.find(seq).is_some() {
            let deliveries = self.out.deliveries(seq);
            self.lose(turn, seq, deliveries);
        } else if self.out.redelivered.remove(&seq).is_some() {
            self.last_acked = Some(turn.now.wall);
            self.touch(turn.effects);
        }
    }

    /// A message that is out is there no more: it alone is as if it had been acknowledged, whatever
    /// acknowledgements stand for otherwise, and that is told.
    pub(super) fn lose<S>(&mut self, turn: &mut Turn<'_, S>, seq: u64, deliveries: u64) {
        self.out.redelivered.remove(&seq);
        let Some(sent) = self.out.remove(seq) else {
            return;
        };
        self.move_floor(sent.consumer_seq, seq);
        self.move_told_floor(sent.consumer_seq, seq);
        self.last_acked = Some(turn.now.wall);
        self.touch(turn.effects);
        if self.settings.retention_by_acks {
            turn.effects.push(Effect::Acked(seq));
        }
        turn.effects.push(Effect::Advisory(Advisory::Terminated {
            message: Message {
                consumer_seq: sent.consumer_seq,
                stream_seq: seq,
                deliveries,
            },
            reason: DELETED,
        }));
    }

    /// The stream was purged of what `purged` matches (empty: of everything), up to some sequence
    /// or but for some.
    pub fn purged<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, purged: &[u8]) {
        let bounds = turn.stream.bounds();
        let patterns = &self.settings.patterns;
        let covered = purged.is_empty()
            || (!patterns.is_empty()
                && patterns
                    .iter()
                    .any(|it| subject::pattern_subset(it, purged)));
        let touched = covered
            || patterns.is_empty()
            || patterns
                .iter()
                .any(|it| subject::pattern_subset(purged, it));
        if !touched {
            return;
        }
        // All that is left of what was purged begins here.
        let start = if covered && !purged.is_empty() {
            let left = turn
                .stream
                .next_match(bounds.first_seq, &Filter::new(&[purged]));
            left.unwrap_or(bounds.last_seq + 1)
        } else if bounds.messages == 0 {
            bounds.last_seq + 1
        } else {
            bounds.first_seq
        };
        self.cursor = self.cursor.max(start);
        if self.floor.stream < start {
            self.floor.stream = start.saturating_sub(1);
            let gone: Vec<(u64, u64)> = self
                .out
                .iter()
                .filter(|it| it.0 < start || !turn.stream.contains(it.0))
                .map(|it| (it.0, it.1.consumer_seq))
                .collect();
            for (seq, consumer_seq) in gone {
                self.floor.consumer = self.floor.consumer.max(consumer_seq);
                self.next_seq = self.next_seq.max(self.floor.consumer);
                self.out.remove(seq);
                self.out.redelivered.remove(&seq);
                self.last_acked = Some(turn.now.wall);
            }
        }
        if self.out.is_empty() {
            self.out.clear();
            self.floor = Sequences {
                consumer: self.next_seq - 1,
                stream: self.cursor - 1,
            };
        }
        if let Some(list) = &mut self.skip_list {
            list.seqs.retain(|&seq| turn.stream.contains(seq));
            if list.seqs.is_empty() {
                self.cursor = self.cursor.max(list.resume + 1);
                self.skip_list = None;
            }
        }
        self.tell_all();
        self.recount(turn.stream);
        self.touch(turn.effects);
    }

    /// What is told becomes what is.
    fn tell_all(&mut self) {
        let now = Sequences {
            consumer: self.next_seq - 1,
            stream: self.cursor - 1,
        };
        // Never back.
        if now.consumer >= self.delivered.consumer && self.floor.stream >= self.told_floor.stream {
            self.delivered = now;
            self.told_floor = self.floor;
        }
    }

    /// Begins again at `seq`, or after the floor if that is 0; gives where (JS-209).
    ///
    /// # Errors
    /// [`ResetError`]; nothing has changed then.
    pub fn reset<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        seq: u64,
    ) -> Result<u64, ResetError> {
        let seq = match (seq, self.settings.beginning) {
            (0, _) => self.floor.stream + 1,
            (_, Beginning::First) => seq,
            (_, Beginning::Sequence(start)) if seq < start => {
                return Err(ResetError::BelowStartSequence);
            }
            (_, Beginning::Time(time)) if seq < turn.stream.time_to_seq(time) => {
                return Err(ResetError::BelowStartTime);
            }
            (_, Beginning::Sequence(_) | Beginning::Time(_)) => seq,
            _ => return Err(ResetError::NotAllowed),
        };
        self.out.clear();
        self.held = None;
        self.cursor = seq;
        self.next_seq = 1;
        self.floor = Sequences {
            consumer: 0,
            stream: seq - 1,
        };
        self.delivered = self.floor;
        self.told_floor = self.floor;
        self.last_delivered = None;
        self.last_acked = None;
        let resume = self.skip_list.as_ref().map_or(0, |it| it.resume);
        self.find_skip_list(turn.stream, resume);
        self.recount(turn.stream);
        self.touch(turn.effects);
        Ok(seq)
    }
}
