//! What a consumer asks of its surroundings, and what they lend it for a call.

use bytes::Bytes;

use super::ack::AckReply;
use super::advisory::Advisory;
use crate::jetstream::store::{Fetch, Filter, Store, StoredMessage};
use crate::time::{Nanos, WallTime};

/// Both clocks, read once a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The shard's own.
    pub nanos: Nanos,
    /// The calendar's.
    pub wall: WallTime,
}

/// First and last of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Messages.
    pub messages: u64,
    /// First sequence; the one after the last if there is no message, 0 if there never was one.
    pub first_seq: u64,
    /// Last sequence given out.
    pub last_seq: u64,
}

/// The stream as its consumers see it.
pub trait StreamView {
    /// First and last.
    fn bounds(&self) -> Bounds;
    /// Is there a message under this sequence?
    fn contains(&self, seq: u64) -> bool;
    /// First message at or after `from` the filter matches.
    fn next_match(&self, from: u64, filter: &Filter) -> Option<u64>;
    /// Last message at or before `up_to` the filter matches.
    fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64>;
    /// Messages at or after `from` the filter matches.
    fn count(&self, from: u64, filter: &Filter) -> u64;
    /// For each subject the filter matches its last message at or before `up_to`, by sequence.
    fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64>;
    /// First message of this time or later; the one after the last sequence if there is none.
    fn time_to_seq(&self, time: WallTime) -> u64;
    /// A message. Nobody asks for one that is not to be delivered now.
    fn fetch(&mut self, seq: u64) -> Fetch;
}

impl StreamView for Store {
    fn bounds(&self) -> Bounds {
        let state = self.state();
        Bounds {
            messages: state.messages,
            first_seq: state.first_seq,
            last_seq: state.last_seq,
        }
    }
    fn contains(&self, seq: u64) -> bool {
        self.contains(seq)
    }
    fn next_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        self.next_match(from, filter)
    }
    fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64> {
        self.last_match(filter, up_to)
    }
    fn count(&self, from: u64, filter: &Filter) -> u64 {
        self.count(from, filter)
    }
    fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64> {
        self.last_per_subject(filter, up_to)
    }
    fn time_to_seq(&self, time: WallTime) -> u64 {
        self.time_to_seq(time)
    }
    fn fetch(&mut self, seq: u64) -> Fetch {
        self.fetch(seq)
    }
}

/// Whether somebody would receive what is sent to a pull request's reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Somebody would.
    Here,
    /// Nobody would.
    Gone,
    /// The request came through an import, and whoever sent it there is gone (JS-218).
    ImportGone,
}

/// What a call may use: the time, the stream, who listens, and where effects go.
pub struct Turn<'a, S> {
    /// The time. Never goes back.
    pub now: Now,
    /// The stream.
    pub stream: &'a mut S,
    /// Who listens to a reply subject. Asked as a request is served, and when all are looked over.
    pub presence: &'a mut dyn FnMut(&[u8]) -> Presence,
    /// Effects, in the order they must happen.
    pub effects: &'a mut Vec<Effect>,
}

/// A message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Subject it is sent to.
    pub to: Bytes,
    /// The message as the client gets it: under its own subject; without body and with the pin
    /// where that is asked for.
    pub message: StoredMessage,
    /// Its reply subject.
    pub ack: AckReply,
}

/// What the shard shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Deliver(Delivery),
    /// Send a header block without a body.
    Status {
        /// Subject.
        to: Bytes,
        /// Where to answer, for flow control.
        reply: Option<Bytes>,
        /// The block.
        headers: Bytes,
    },
    /// Send an empty message: the acknowledgement named here is taken. Whoever promises that it is
    /// durable sends it after the state that [`Effect::Persist`] announced has been written.
    Reply {
        /// Subject.
        to: Bytes,
    },
    /// Publish an event, if anybody listens.
    Advisory(Advisory),
    /// The consumer no longer needs this message (work queue and interest retention).
    Acked(u64),
    /// The state has changed since [`encode`](super::Consumer::encode) was last called; said once.
    Persist,
    /// Nobody has used the consumer for its inactive threshold: delete it.
    Expired,
}
