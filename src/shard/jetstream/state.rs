//! What a shard has of JetStream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::ids::{AccountId, StoreId, SubscriptionId};
use crate::routing::interest::Handler;
use crate::time::Nanos;

use super::api::goes_to_its_stream;
use super::caches::Caches;
use super::command::Command;
use super::disk::Opening;
use super::disk_figures::DiskFigures;
use super::hosted::{ConsumerKey, HostedConsumer, HostedStream, StreamKey};
use super::lists::Gathers;
use super::presence::Pushing;
use super::registry::Registry;
use super::requests::Requests;
use super::send::Held;
use super::start::Start;

/// Who takes what is published on a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receiver {
    /// Messages of a stream.
    Publish(StreamKey),
    /// Direct gets of a stream.
    Direct(StreamKey),
    /// What clients say of messages they got.
    Ack(ConsumerKey),
    /// Requests for messages.
    Next(ConsumerKey),
    /// Answers to flow control.
    Flow(ConsumerKey),
    /// Confirmations of a copy's pieces.
    SnapshotAck(StreamKey, u32),
    /// Pieces of a copy.
    Restore(StreamKey),
    /// What comes from an origin of a stream, by its number there.
    Origin(StreamKey, u32),
}

/// One place of a receiver in an account's interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    pub account: AccountId,
    pub pattern: Box<[u8]>,
    pub receiver: Receiver,
    /// Its place in a queue group, if it shares what it takes with others.
    pub member: Option<SubscriptionId>,
}

/// Things by number, with numbers used again.
pub(super) struct Numbered<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Numbered<T> {
    pub fn insert(&mut self, it: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.all[number as usize] = Some(it);
            return number;
        }
        self.all.push(Some(it));
        (self.all.len() - 1) as u32
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        let gone = self.all.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(gone)
    }

    pub fn at(&self, number: u32) -> Option<&T> {
        self.all.get(number as usize)?.as_ref()
    }

    pub fn at_mut(&mut self, number: u32) -> Option<&mut T> {
        self.all.get_mut(number as usize)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(at, it)| Some((at as u32, it.as_ref()?)))
    }
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Stream(StreamKey),
    Consumer(ConsumerKey),
}

/// JetStream on one shard.
#[derive(Default)]
pub struct JetStream {
    pub(super) receivers: Numbered<Registered>,
    pub(super) streams: Numbered<Box<HostedStream>>,
    pub(super) consumers: Numbered<Box<HostedConsumer>>,
    /// Consumers that deliver without being asked.
    pub(super) pushing: Pushing,
    /// Bytes handed to other shards in this turn.
    pub(super) sent: u64,
    /// How far the start has come.
    pub(super) start: Start,
    /// Shards that are ready for clients; only on shard 0.
    pub(super) ready_shards: usize,
    /// Streams of this shard by account and name.
    pub(super) by_name: HashMap<(AccountId, Box<str>), StreamKey, ahash::RandomState>,
    /// Streams by their place on disk.
    pub(super) by_store: HashMap<StoreId, StreamKey, ahash::RandomState>,
    /// Places on disk given out.
    pub(super) stores: u32,
    /// Copies sent so far.
    pub(super) snapshots: u32,
    /// Streams whose store is being made.
    pub(super) opening: HashMap<(AccountId, Box<str>), Opening, ahash::RandomState>,
    /// Streams with something to do before the turn ends.
    pub(super) busy: Vec<StreamKey>,
    pub(super) timers: BinaryHeap<Reverse<(Nanos, Timer)>>,
    /// What this shard asks of itself.
    pub(super) commands: VecDeque<Command>,
    /// Requests that nobody has looked at; only on shard 0.
    pub(super) requests: Requests,
    /// Answers that wait until the other shards know of new interest.
    pub(super) held: VecDeque<Held>,
    /// Which streams there are; only on shard 0.
    pub(super) registry: Registry,
    /// What its disks took so far.
    pub(super) disk: DiskFigures,
    /// What its stores keep in memory.
    pub(super) caches: Caches,
    /// Questions to all shards that are not answered; only on shard 0.
    pub(super) gathers: Gathers,
}

impl JetStream {
    /// Puts a stream into the list of those with something to do.
    pub(super) fn touch(&mut self, key: StreamKey) {
        if let Some(hosted) = self.streams.at_mut(key)
            && !std::mem::replace(&mut hosted.busy, true)
        {
            self.busy.push(key);
        }
    }

    /// A stream of this shard.
    pub(super) fn find(&self, account: AccountId, name: &str) -> Option<StreamKey> {
        // A key of borrowed parts needs a type of its own; requests are rare.
        self.by_name.get(&(account, name.into())).copied()
    }

    /// Does JetStream take on this shard what these get that is published there?
    #[inline]
    pub(in crate::shard) fn takes(handlers: &[Handler], subject: &[u8]) -> bool {
        handlers.iter().any(|handler| match handler {
            Handler::JetStream(_) => true,
            Handler::Api => !goes_to_its_stream(subject),
            _ => false,
        })
    }

    /// Requests to the API that wait: to be looked at, for the disk, for other shards.
    pub(super) fn requests_in_flight(&self) -> u64 {
        let streams = self.streams.iter().map(|(_, it)| it);
        let at_streams = streams.map(|it| it.retry.len() + it.settling.len());
        let asked = self.requests.len() + self.gathers.len() + self.opening.len();
        (at_streams.sum::<usize>() + asked + self.held.len()) as u64
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.timers.peek().map(|&Reverse((at, _))| at)
    }

    /// Is there something to go on with at once?
    pub(in crate::shard) fn has_work(&self) -> bool {
        !self.busy.is_empty() || !self.commands.is_empty() || !self.requests.is_empty()
    }
}
