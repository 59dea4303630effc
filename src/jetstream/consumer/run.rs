//! Delivering: what is due, what comes next, who gets it.

use bytes::Bytes;

use super::ack::AckReply;
use super::advisory::{Advisory, Message};
use super::config::AckPolicy;
use super::consumer::Consumer;
use super::effect::{Delivery, Effect, StreamView, Turn};
use super::settings::Priority;
use super::status;
use crate::jetstream::store::{Fetch, StoredMessage};
use crate::protocol::headers;
use crate::time::Nanos;

/// Gaps between publishing times up to this are not kept (JS-206).
const REPLAY_GAP: u64 = 1_000_000;
/// Characters that make a flow control subject its own.
const FLOW_LENGTH: usize = 4;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Nothing to do until something happens or the deadline comes.
    Idle,
    /// The budget is used up: run again soon.
    More,
    /// The next message is being read from disk: run again when that is done.
    Reading,
}

/// Why delivering stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing to deliver, or nobody to deliver to.
    Empty,
    /// As many messages are out as may be (JS-203).
    Full,
    Held,
    Budget,
    Reading,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// It was sent before.
    Again,
    /// The list of last messages of subjects.
    SkipList,
    /// The stream, from the cursor on.
    Stream,
}

/// A message that is ready but for its time, or about to be sent.
#[derive(Debug)]
pub(super) struct Held {
    due: Nanos,
    delivery: Delivery,
    /// What the request that gets it still wants, of messages and bytes.
    remaining: Option<(i64, i64)>,
}

impl Consumer {
    /// Does all that is due and delivers at most `budget` messages.
    pub fn run<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, budget: usize) -> Run {
        self.expire_out(turn);
        self.expire_pin(turn);
        self.go_on(turn);
        let stop = self.deliver(turn, budget);
        let at_end = matches!(stop, Stop::Empty | Stop::Full);
        if at_end && self.replay.is_some_and(|it| self.cursor > it.until) {
            self.replay = None;
        }
        let empty = stop == Stop::Empty;
        if self.waiting.needs_look(turn.now.nanos, empty) {
            self.look_at_waiting(turn, empty);
        }
        self.beat(turn);
        self.check_use(turn);
        match stop {
            Stop::Empty | Stop::Full | Stop::Held => Run::Idle,
            Stop::Budget => Run::More,
            Stop::Reading => Run::Reading,
        }
    }

    /// When to run next, if nothing happens before.
    pub fn deadline(&self) -> Option<Nanos> {
        let out = self.out.deadline();
        let out = out.map(|it| Nanos(u64::try_from(it).unwrap_or(0)));
        [
            out,
            self.pin.as_ref().map(|it| it.ends),
            self.waiting.due(),
            self.heartbeat_due,
            self.resume_at,
            self.inactive_at,
            self.held
                .as_ref()
                .filter(|_| self.has_listener())
                .map(|it| it.due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sends again what was not acknowledged in time, unless it was sent often enough (JS-200,
    /// JS-202).
    fn expire_out<S>(&mut self, turn: &mut Turn<'_, S>) {
        let now = clock(turn.now.nanos);
        if self.out.deadline().is_none_or(|it| it > now) {
            return;
        }
        let mut due = self.out.take_due(now);
        due.retain(|&seq| !self.is_spent(turn, seq));
        self.out.expired(&due, now);
    }

    /// All that is out is sent again.
    pub(super) fn send_all_again<S>(&mut self, turn: &mut Turn<'_, S>) {
        let mut all: Vec<u64> = self.out.iter().map(|it| it.0).collect();
        all.retain(|&seq| !self.out.is_again(seq) && !self.is_spent(turn, seq));
        self.out.expired(&all, clock(turn.now.nanos));
    }

    /// Was this one sent as often as may be? Then it is out no more.
    fn is_spent<S>(&mut self, turn: &mut Turn<'_, S>, seq: u64) -> bool {
        let most = self.settings.max_deliver;
        let deliveries = self.out.deliveries(seq);
        if most == 0 || deliveries < most {
            return false;
        }
        if deliveries == most {
            turn.effects.push(Effect::Advisory(Advisory::MaxDeliveries {
                stream_seq: seq,
                deliveries,
            }));
        }
        self.give_up(turn, seq);
        // Known even if it was sent once only: the stream keeps it for that.
        let count = i64::try_from(deliveries).unwrap_or(i64::MAX);
        self.out.redelivered.insert(seq, count);
        true
    }

    /// Takes a message out that is sent no more, but stays in the stream.
    fn give_up<S>(&mut self, turn: &mut Turn<'_, S>, seq: u64) {
        if let Some(sent) = self.out.remove(seq) {
            self.note_delivered(turn, sent.consumer_seq, seq);
            self.move_floor(sent.consumer_seq, seq);
        }
    }

    /// Ends a pause whose time is over (JS-208).
    fn go_on<S: StreamView>(&mut self, turn: &mut Turn<'_, S>) {
        if self.resume_at.is_some_and(|it| it <= turn.now.nanos) {
            // Again, if the calendar was set back meanwhile.
            self.set_pause(turn.now);
            if self.resume_at.is_none() {
                self.advise_pause(turn);
            }
        }
    }

    fn deliver<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, budget: usize) -> Stop {
        for _ in 0..budget {
            if let Some(held) = self.held.take() {
                if held.due > turn.now.nanos || !self.has_listener() {
                    self.held = Some(held);
                    return Stop::Held;
                }
                self.send(turn, held);
                continue;
            }
            if self.is_paused(turn.now) {
                return Stop::Empty;
            }
            let full = self.window.as_ref().is_some_and(|it| it.is_full());
            let stopped = !self.has_listener() || full || self.is_pull() && self.waiting.is_empty();
            if stopped {
                return Stop::Empty;
            }
            let (message, source, deliveries) = match self.next_message(turn) {
                Ok(found) => found,
                Err(stop) => return stop,
            };
            let Some(held) = self.address(turn, message, source, deliveries) else {
                return Stop::Empty;
            };
            if held.due > turn.now.nanos {
                self.held = Some(held);
                return Stop::Held;
            }
            self.send(turn, held);
        }
        Stop::Budget
    }

    /// Would a message that is pushed reach anybody? Pull requests are looked at one by one.
    fn has_listener(&self) -> bool {
        self.active || self.is_pull()
    }

    /// The sequence to begin with after a restart: a message that is held has been passed, but
    /// not sent.
    pub(super) fn cursor_to_keep(&self) -> u64 {
        let held = self.held.as_ref().map(|it| it.delivery.ack.stream_seq);
        let first = held.filter(|&seq| self.out.find(seq).is_none());
        first.map_or(self.cursor, |seq| seq.min(self.cursor))
    }

    /// The next message to deliver; nothing is moved past it yet. Those sent before come first.
    fn next_message<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
    ) -> Result<(StoredMessage, Source, u64), Stop> {
        let most = self.settings.max_deliver;
        while let Some(seq) = self.out.first_again() {
            let deliveries = self.out.next_delivery(seq);
            if most > 0 && deliveries > most {
                self.out.count_delivery(seq);
                if deliveries == most + 1 {
                    turn.effects.push(Effect::Advisory(Advisory::MaxDeliveries {
                        stream_seq: seq,
                        deliveries: most,
                    }));
                }
                self.give_up(turn, seq);
                continue;
            }
            match turn.stream.fetch(seq) {
                Fetch::Message(message) => return Ok((message, Source::Again, deliveries)),
                Fetch::Reading => return Err(Stop::Reading),
                Fetch::Absent | Fetch::Damaged => self.lose(turn, seq, deliveries - 1),
            }
        }
        let acknowledged = self.settings.ack_policy != AckPolicy::None;
        let out_max = self.settings.max_ack_pending;
        if acknowledged && out_max > 0 && self.out.len() >= out_max {
            return Err(Stop::Full);
        }
        while let Some(list) = &self.skip_list {
            let Some(&seq) = list.seqs.front() else {
                self.skip_list = None;
                break;
            };
            match turn.stream.fetch(seq) {
                Fetch::Message(message) => return Ok((message, Source::SkipList, 1)),
                Fetch::Reading => return Err(Stop::Reading),
                Fetch::Absent => self.skip(seq),
                Fetch::Damaged => {
                    self.ahead -= 1;
                    self.skip(seq);
                }
            }
        }
        while let Some(seq) = turn.stream.next_match(self.cursor, &self.settings.filter) {
            match turn.stream.fetch(seq) {
                Fetch::Message(message) => return Ok((message, Source::Stream, 1)),
                Fetch::Reading => return Err(Stop::Reading),
                Fetch::Absent | Fetch::Damaged => {
                    self.ahead -= 1;
                    self.cursor = seq + 1;
                }
            }
        }
        let last = turn.stream.bounds().last_seq;
        self.cursor = self.cursor.max(last + 1);
        if self.cursor == last + 1 && self.ahead != 0 {
            self.ahead = 0;
            self.counted_to = last;
        }
        Err(Stop::Empty)
    }

    /// Moves past one message of the skip list.
    fn skip(&mut self, seq: u64) {
        let Some(list) = &mut self.skip_list else {
            return;
        };
        list.seqs.pop_front();
        if list.seqs.is_empty() {
            self.cursor = list.resume + 1;
            self.skip_list = None;
        } else {
            self.cursor = seq + 1;
        }
    }

    /// Finds out who gets a message and when, and moves past it. `None`: nobody takes it.
    fn address<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        mut message: StoredMessage,
        source: Source,
        deliveries: u64,
    ) -> Option<Held> {
        let ahead = self.ahead - i64::from(source != Source::Again);
        let ack = AckReply {
            prefix: self.ack_prefix.clone(),
            deliveries,
            stream_seq: message.seq,
            consumer_seq: self.next_seq,
            time: message.time,
            pending: u64::try_from(ahead).unwrap_or(0),
        };
        if self.settings.headers_only {
            let length = message.payload.len().to_string();
            message = with_header(message, b"Nats-Msg-Size", length.as_bytes());
            message.payload = Bytes::new();
        }
        let size = size_of(&message) + message.subject.len() + ack.len();
        let (to, remaining) = match self.push() {
            Some(push) => (push.subject.clone(), None),
            None => {
                let size = i64::try_from(size).unwrap_or(i64::MAX);
                let served = self.next_waiting(turn, size, ahead + 1)?;
                (served.to, Some((served.batch, served.bytes)))
            }
        };
        if let Priority::Pinned(_) = self.settings.priority {
            let pin = self.pin.as_ref().map_or(&b""[..], |it| &it.id);
            message = with_header(message, b"Nats-Pin-Id", pin);
        }
        self.ahead = ahead;
        match source {
            Source::Again => {
                self.out.count_delivery(message.seq);
                // Out of the line, in case its time has not come.
                let (seq, now) = (message.seq, clock(turn.now.nanos));
                self.out.track(seq, 0, now);
            }
            Source::SkipList => self.skip(message.seq),
            Source::Stream => self.cursor = message.seq + 1,
        }
        let due = turn.now.nanos + self.delay(turn.now.nanos, &message, size as u64);
        let delivery = Delivery { to, message, ack };
        Some(Held {
            due,
            delivery,
            remaining,
        })
    }

    /// How long a message must wait: for the time it was published at (JS-206), or for the rate
    /// limit (JS-228).
    fn delay(&mut self, now: Nanos, message: &StoredMessage, size: u64) -> std::time::Duration {
        let mut gap = 0;
        if let Some(replay) = &mut self.replay {
            let last = replay.last.replace(message.time);
            gap = last.map_or(0, |it| message.time.0.saturating_sub(it.0));
            if gap <= REPLAY_GAP {
                gap = 0;
            }
        }
        let bucket = self.bucket.as_mut();
        let wait = bucket.map_or_else(Default::default, |it| it.take(size, now));
        wait.max(std::time::Duration::from_nanos(gap))
    }

    fn send<S>(&mut self, turn: &mut Turn<'_, S>, held: Held) {
        let Held {
            delivery,
            remaining,
            ..
        } = held;
        let (seq, consumer_seq) = (delivery.ack.stream_seq, self.next_seq);
        let size = delivery.to.len() + delivery.ack.len() + size_of(&delivery.message);
        let to = delivery.to.clone();
        self.next_seq += 1;
        self.note_delivered(turn, consumer_seq, seq);
        if self.settings.ack_policy == AckPolicy::None {
            self.floor.consumer = consumer_seq;
            self.floor.stream = seq;
        } else {
            self.out.track(seq, consumer_seq, clock(turn.now.nanos));
        }
        turn.effects.push(Effect::Deliver(delivery));
        let out_max = self.settings.max_ack_pending;
        let full = self.settings.ack_policy == AckPolicy::FlowControl
            && out_max > 0
            && self.out.len() >= out_max;
        let window = self.window.as_mut();
        if window.is_some_and(|it| it.sent(size as u64, full)) {
            self.ask(turn);
        }
        if self.is_pull() {
            self.last_used = turn.now.nanos;
        }
        if self.settings.ack_policy == AckPolicy::None && self.settings.retention_by_acks {
            turn.effects.push(Effect::Acked(seq));
        }
        if let Some((batch, bytes)) = remaining
            && batch <= 0
            && bytes > 0
        {
            turn.effects.push(Effect::Status {
                to,
                reply: None,
                headers: status::remaining(409, "Batch Completed", batch, bytes),
            });
        }
        self.heartbeat_due = self.next_beat(turn.now.nanos);
    }

    fn next_beat(&self, now: Nanos) -> Option<Nanos> {
        Some(now + self.push()?.heartbeat?)
    }

    /// Asks for an answer before more is sent (JS-227).
    fn ask<S>(&mut self, turn: &mut Turn<'_, S>) {
        let Some(push) = &self.settings.push else {
            return;
        };
        let mut subject = super::ack::flow_prefix(&self.names).into_bytes();
        subject.extend_from_slice(&self.random.letters(FLOW_LENGTH));
        let subject = Bytes::from(subject);
        turn.effects.push(Effect::Status {
            to: push.subject.clone(),
            reply: Some(subject.clone()),
            headers: status::plain(100, "FlowControl Request"),
        });
        if let Some(window) = &mut self.window {
            window.ask(subject);
        }
    }

    /// An answer to flow control (JS-227); with acknowledgements by flow control it carries one
    /// (JS-190).
    pub fn flow<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, subject: &[u8], headers: &[u8]) {
        let window = self.window.as_mut();
        if !window.is_some_and(|it| it.answered(subject)) {
            return;
        }
        if self.settings.ack_policy == AckPolicy::FlowControl {
            let (consumer_seq, stream_seq) = status::last_sequences(headers);
            if stream_seq > 0 {
                let message = Message {
                    consumer_seq,
                    stream_seq,
                    deliveries: 1,
                };
                self.acknowledge(turn, message, false);
            }
        }
    }

    /// Shows a silent push consumer's clients that it lives (JS-226), paused or not.
    fn beat<S>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now.nanos;
        if self.heartbeat_due.is_none_or(|it| it > now) {
            return;
        }
        self.heartbeat_due = self.next_beat(now);
        let Some(push) = self.push().filter(|_| self.active) else {
            return;
        };
        let stalled = self.window.as_ref().and_then(|it| it.asked());
        turn.effects.push(Effect::Status {
            to: push.subject.clone(),
            reply: None,
            headers: status::heartbeat(
                self.next_seq - 1,
                self.cursor - 1,
                stalled.map(|it| &it[..]),
            ),
        });
        let by_flow = self.settings.ack_policy == AckPolicy::FlowControl;
        if by_flow && !self.out.is_empty() && stalled.is_none() {
            self.ask(turn);
        }
    }

    /// A message reached nobody: it comes again as if it had not been sent, and requests nobody
    /// waits for any more end.
    pub fn undelivered<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, seq: u64, to: &[u8]) {
        if self.settings.ack_policy != AckPolicy::None && self.out.find(seq).is_some() {
            *self.out.redelivered.entry(seq).or_insert(0) -= 1;
        }
        if self.is_pull() {
            self.look_at_waiting(turn, false);
            self.waiting.credit(to);
            self.out.send_again(seq);
        }
    }
}

/// A time on the line that acknowledgement waits are on: it has places before the clock's zero.
pub(super) fn clock(now: Nanos) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX)
}

/// Bytes of headers and body.
fn size_of(message: &StoredMessage) -> usize {
    message.headers.len() + message.payload.len()
}

/// The message with one more header.
fn with_header(mut message: StoredMessage, key: &[u8], value: &[u8]) -> StoredMessage {
    let mut block = Vec::with_capacity(message.headers.len() + key.len() + value.len() + 16);
    headers::append_with(&mut block, &message.headers, key, value);
    message.headers = block.into();
    message
}
