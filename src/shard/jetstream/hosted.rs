//! One stream on its shard, one consumer beside it, and what they still have to do.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::ids::AccountId;
use crate::jetstream::consumer::Consumer;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::stream::Stream;
use crate::time::{Nanos, WallTime};

use super::direct::DirectRead;

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
    /// Direct gets that are being answered.
    pub reads: VecDeque<DirectRead>,
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
