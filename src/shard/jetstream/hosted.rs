//! One stream on its shard, one consumer beside it, and what they still have to do.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use bytes::Bytes;

use crate::ids::{AccountId, StoreId};
use crate::jetstream::consumer::Consumer;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::stream::Stream;
use crate::time::{Nanos, WallTime};

use super::acks::Acks;
use super::caches::Cached;
use super::command::Request;
use super::direct::DirectRead;
use super::early::Early;
use super::keep::Keeping;
use super::pressure::Pressure;
use super::replicate::Following;
use super::restore::Restore;
use super::send::Answer;
use super::snapshot::Snapshot;
use super::state::Numbered;
use super::trouble::Trouble;

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
    pub acks: Acks,
    /// Messages that wait for the disk before they can be stored.
    pub early: VecDeque<Early>,
    /// What they take.
    pub early_bytes: usize,
    /// Direct gets that are being answered.
    pub reads: VecDeque<DirectRead>,
    /// Receivers it has in its account's interest.
    pub receivers: Vec<u32>,
    /// Its place on disk, if it has one.
    pub store: Option<(StoreId, PathBuf)>,
    /// How far its consumers' states are kept.
    pub keeping: Keeping,
    /// The streams its messages come from, if any.
    pub following: Option<Box<Following>>,
    /// Who is held back because its disk is behind.
    pub pressure: Pressure,
    /// What was told of its disk.
    pub trouble: Trouble,
    /// Requests that wait for the disk.
    pub retry: Vec<Request>,
    /// Answers that wait until what they tell is durable.
    pub settling: VecDeque<(u64, Request, Answer)>,
    /// Copies of it that are being sent.
    pub snapshots: Vec<Snapshot>,
    /// It is being made of a copy; nobody sees it until it is.
    pub restore: Option<Box<Restore>>,
    /// What its store keeps in memory, as counted last.
    pub cached: Cached,
    /// It is in the list of those with something to do.
    pub busy: bool,
    /// When its timer comes.
    pub armed: Option<Nanos>,
}

/// Does one of a stream's consumers ask for a subject?
pub(super) fn is_wanted(
    of_stream: &BTreeMap<Box<str>, ConsumerKey>,
    consumers: &Numbered<Box<HostedConsumer>>,
    subject: &[u8],
) -> bool {
    let mut all = of_stream.values().filter_map(|&it| consumers.at(it));
    all.any(|it| it.consumer.settings().filter.matches(subject))
}

/// A consumer on its stream's shard.
pub(super) struct HostedConsumer {
    pub stream: StreamKey,
    pub name: Box<str>,
    pub config: ConsumerConfig,
    pub created: WallTime,
    pub consumer: Consumer,
    pub receivers: Vec<u32>,
    /// It is held back, until then at most.
    pub slow_until: Option<Nanos>,
    /// Its next message is being read.
    pub reading: bool,
    /// Its state has changed since it was kept.
    pub unkept: bool,
    /// It has something to do.
    pub ready: bool,
    /// When its timer comes.
    pub armed: Option<Nanos>,
    /// Was somebody there when its deliver subject was looked at?
    pub active: bool,
}

impl HostedConsumer {
    /// Is it kept on disk? What a mirror or source reads a stream with is not: it begins where its
    /// maker says (JS-149).
    pub fn is_kept(&self) -> bool {
        !self.config.direct
    }
}
