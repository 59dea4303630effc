//! One stream on its shard, one consumer beside it, and what they still have to do.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::ids::AccountId;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::consumer::{Bounds, Consumer, StreamView};
use crate::jetstream::store::{Fetch, Filter, Store};
use crate::jetstream::stream::Stream;
use crate::time::{Nanos, WallTime};

/// A stream's number on its shard.
pub(super) type StreamKey = u32;
/// A consumer's number on its shard.
pub(super) type ConsumerKey = u32;

/// A stream on its shard.
pub(super) struct HostedStream {
    pub account: AccountId,
    pub stream: Stream,
    /// By name.
    pub consumers: BTreeMap<Box<str>, ConsumerKey>,
    /// Front of its acknowledgements: `{"stream":"S","seq":`.
    pub ack_front: Bytes,
    /// Publishes that wait until their message is durable.
    pub acks: VecDeque<PendingAck>,
    /// Receivers it has in its account's interest.
    pub receivers: Vec<u32>,
    /// It is in the list of those with something to do.
    pub busy: bool,
    /// When its timer comes.
    pub armed: Option<Nanos>,
}

/// A publish that is to be answered.
pub(super) struct PendingAck {
    /// The message that must be durable first.
    pub seq: u64,
    pub reply: Box<[u8]>,
    /// What follows the sequence in the answer.
    pub end: &'static str,
}

/// A consumer on its stream's shard.
pub(super) struct HostedConsumer {
    pub stream: StreamKey,
    pub name: Box<str>,
    pub config: ConsumerConfig,
    pub created: WallTime,
    pub consumer: Consumer,
    pub receivers: Vec<u32>,
    /// It has something to do.
    pub ready: bool,
    /// When its timer comes.
    pub armed: Option<Nanos>,
    /// Changes of its account's interest when its deliver subject was looked at.
    pub interest_seen: Option<u64>,
    /// Was somebody there then?
    pub active: bool,
}

/// A store as consumers see it.
pub(super) struct View<'a>(pub &'a mut Store);

impl StreamView for View<'_> {
    fn bounds(&self) -> Bounds {
        let state = self.0.state();
        Bounds {
            messages: state.messages,
            first_seq: state.first_seq,
            last_seq: state.last_seq,
        }
    }

    fn contains(&self, seq: u64) -> bool {
        self.0.contains(seq)
    }

    fn next_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        self.0.next_match(from, filter)
    }

    fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64> {
        self.0.last_match(filter, up_to)
    }

    fn count(&self, from: u64, filter: &Filter) -> u64 {
        self.0.count(from, filter)
    }

    fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64> {
        self.0.last_per_subject(filter, up_to)
    }

    fn time_to_seq(&self, time: WallTime) -> u64 {
        self.0.time_to_seq(time)
    }

    fn fetch(&mut self, seq: u64) -> Fetch {
        self.0.fetch(seq)
    }
}
