//! What clients say about messages they got (section 15), and how far all of it is done.

use bytes::Bytes;

use super::ack::{AckKind, AckToken};
use super::advisory::{Advisory, Message};
use super::config::AckPolicy;
use super::consumer::{Consumer, Sequences};
use super::effect::{Effect, StreamView, Turn};
use super::run::clock;

impl Consumer {
    /// A client says something about a message; `reply`: where it wants an answer, or empty.
    pub fn ack<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        token: AckToken<'_>,
        reply: Bytes,
        body: &[u8],
    ) {
        if matches!(
            self.settings.ack_policy,
            AckPolicy::None | AckPolicy::FlowControl
        ) {
            return;
        }
        self.used(turn.now.nanos);
        let message = Message {
            consumer_seq: token.consumer_seq,
            stream_seq: token.stream_seq,
            deliveries: token.deliveries,
        };
        let known = token.stream_seq != 0;
        let answer = match AckKind::parse(body) {
            AckKind::Ack => self.acknowledge(turn, message, true),
            AckKind::Next(request) => {
                self.acknowledge(turn, message, true);
                return self.request(turn, reply, request);
            }
            AckKind::Nak(delay) => {
                self.nak(turn, message, delay);
                known
            }
            AckKind::Progress => {
                self.progress(turn, token.stream_seq);
                known
            }
            AckKind::Term(reason) => self.terminate(turn, message, Bytes::copy_from_slice(reason)),
            AckKind::Unknown => known,
        };
        if answer && !reply.is_empty() {
            turn.effects.push(Effect::Reply { to: reply });
        }
    }

    /// Takes a message as done, or all up to it. True if whoever said so gets an answer.
    pub(super) fn acknowledge<S>(
        &mut self,
        turn: &mut Turn<'_, S>,
        message: Message,
        sample: bool,
    ) -> bool {
        let seq = message.stream_seq;
        // Nobody can have got what was not sent; where flow control acknowledges, the state may
        // be older than what was sent.
        let flow = self.push().is_some_and(|it| it.flow_control);
        if seq >= self.cursor && !flow {
            return false;
        }
        if self.settings.ack_policy == AckPolicy::None {
            return false;
        }
        if self.settings.acks_all() {
            return self.acknowledge_up_to(turn, message);
        }
        let sent = self.out.find(seq).copied();
        let mut consumer_seq = message.consumer_seq;
        if let Some(sent) = sent {
            if sample && self.is_sampled() {
                turn.effects.push(Effect::Advisory(Advisory::Acked {
                    message,
                    ack_time: clock(turn.now.nanos) - sent.at,
                }));
            }
            self.out.remove(seq);
            consumer_seq = sent.consumer_seq;
            self.move_floor(consumer_seq, seq);
        }
        if self.out.redelivered.remove(&seq).is_some() {
            self.touch(turn.effects);
        }
        self.last_acked = Some(turn.now.wall);
        if sent.is_some() {
            self.touch(turn.effects);
            self.move_told_floor(consumer_seq, seq);
        }
        if self.settings.retention_by_acks {
            turn.effects.push(Effect::Acked(seq));
        }
        seq != 0 || !self.settings.retention_by_acks
    }

    /// Takes all messages up to one as done (JS-199).
    fn acknowledge_up_to<S>(&mut self, turn: &mut Turn<'_, S>, message: Message) -> bool {
        let (seq, mut consumer_seq) = (message.stream_seq, message.consumer_seq);
        if consumer_seq >= self.next_seq {
            // Of a delivery there never was, or before a reset. Flow control may be ahead of the
            // state after a restart.
            if self.settings.ack_policy != AckPolicy::FlowControl {
                return seq != 0;
            }
            consumer_seq = self.next_seq - 1;
        }
        if seq <= self.floor.stream {
            // One that was given up is done after all.
            if self.out.find(seq).is_none() && self.out.redelivered.remove(&seq).is_some() {
                self.last_acked = Some(turn.now.wall);
                self.touch(turn.effects);
                if self.settings.retention_by_acks {
                    turn.effects.push(Effect::Acked(seq));
                }
            }
            return seq != 0;
        }
        let was_out = self.out.find(seq).is_some();
        // Deliveries of a message sent again have later sequences than those after it.
        let consumer_seq = consumer_seq.max(self.floor.consumer);
        self.floor = Sequences {
            consumer: consumer_seq,
            stream: seq,
        };
        while let Some((first, _)) = self.out.after(0).filter(|it| it.0 <= seq) {
            self.out.remove(first);
            self.out.redelivered.remove(&first);
            if self.settings.retention_by_acks && first != seq {
                turn.effects.push(Effect::Acked(first));
            }
        }
        self.out.redelivered.remove(&seq);
        if self.settings.retention_by_acks {
            turn.effects.push(Effect::Acked(seq));
        }
        self.last_acked = Some(turn.now.wall);
        if was_out {
            self.told_floor = self.floor;
        }
        self.touch(turn.effects);
        true
    }

    fn is_sampled(&mut self) -> bool {
        match self.settings.sample_percent {
            0 => false,
            100.. => true,
            percent => self.random.next() % 100 <= u64::from(percent),
        }
    }

    /// Gives a message back (JS-201).
    fn nak<S>(&mut self, turn: &mut Turn<'_, S>, message: Message, delay: Option<i64>) {
        let (seq, consumer_seq) = (message.stream_seq, message.consumer_seq);
        if consumer_seq > self.next_seq {
            return;
        }
        let Some(sent) = self.out.find(seq).copied() else {
            return;
        };
        turn.effects
            .push(Effect::Advisory(Advisory::Naked(message)));
        let Some(delay) = delay else {
            self.out.send_again(seq);
            return;
        };
        // As if it had been sent that long before that its wait ends after the delay. With a
        // backoff that is longer for those sent before, as in stock.
        let ack_wait = i64::try_from(self.settings.ack_wait.as_nanos()).unwrap_or(i64::MAX);
        let at = clock(turn.now.nanos)
            .saturating_sub(ack_wait)
            .saturating_add(delay);
        self.out.track_at(seq, sent.consumer_seq, at);
        self.note_delivered(turn, sent.consumer_seq, seq);
    }

    /// A message takes longer: its wait begins anew.
    fn progress<S>(&mut self, turn: &mut Turn<'_, S>, seq: u64) {
        if let Some(sent) = self.out.find(seq).copied() {
            self.out.prolong(seq, clock(turn.now.nanos));
            self.note_delivered(turn, sent.consumer_seq, seq);
        }
    }

    /// Takes a message as done and says that it was not (JS-235). True if whoever said so gets an
    /// answer.
    pub(super) fn terminate<S>(
        &mut self,
        turn: &mut Turn<'_, S>,
        message: Message,
        reason: Bytes,
    ) -> bool {
        let answer = self.acknowledge(turn, message, false);
        turn.effects
            .push(Effect::Advisory(Advisory::Terminated { message, reason }));
        answer
    }

    /// Something was sent, or its wait began anew.
    pub(super) fn note_delivered<S>(
        &mut self,
        turn: &mut Turn<'_, S>,
        consumer_seq: u64,
        stream_seq: u64,
    ) {
        self.last_delivered = Some(turn.now.wall);
        self.touch(turn.effects);
        if consumer_seq <= self.told_floor.consumer {
            return;
        }
        self.delivered.consumer = self.delivered.consumer.max(consumer_seq);
        self.delivered.stream = self.delivered.stream.max(stream_seq);
        if self.settings.ack_policy == AckPolicy::None {
            self.told_floor = self.delivered;
        }
    }

    /// Moves the floor after a message that is out no more.
    pub(super) fn move_floor(&mut self, consumer_seq: u64, seq: u64) {
        if self.out.is_empty() {
            self.floor = Sequences {
                consumer: self.next_seq - 1,
                stream: self.cursor - 1,
            };
        } else if consumer_seq == self.floor.consumer + 1 && self.is_first(seq) {
            self.floor = self.floor_after(consumer_seq, seq);
        }
    }

    /// The same for the floor that is told: it goes no further than what was delivered.
    pub(super) fn move_told_floor(&mut self, consumer_seq: u64, seq: u64) {
        if consumer_seq <= self.told_floor.consumer {
            return;
        }
        if self.out.is_empty() {
            self.told_floor = self.delivered;
        } else if consumer_seq == self.told_floor.consumer + 1 && self.is_first(seq) {
            self.told_floor = self.floor_after(consumer_seq, seq);
        }
    }

    /// Is nothing out before this one? Where one acknowledgement stands for many, one of a message
    /// sent again has a later sequence than others that are still out.
    fn is_first(&self, seq: u64) -> bool {
        self.out.after(0).is_none_or(|it| it.0 > seq)
    }

    /// Where the floor is when this one is done: just below the next one that is out.
    fn floor_after(&self, consumer_seq: u64, seq: u64) -> Sequences {
        match self.out.after(seq) {
            Some((next, sent)) if sent.consumer_seq > 0 => Sequences {
                consumer: sent.consumer_seq - 1,
                stream: next - 1,
            },
            _ => Sequences {
                consumer: consumer_seq,
                stream: seq,
            },
        }
    }
}
