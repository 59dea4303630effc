//! Consumers' states on their way to the disk, answers that wait for them, and flushes where
//! nothing else asks for them.

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;

use crate::jetstream::store::{FlushPolicy, Policy};
use crate::jetstream::stream::config::{Compression, PersistMode, StreamConfig};
use crate::shard::core::Core;
use crate::time::Nanos;

use super::hosted::{ConsumerKey, StreamKey};
use super::send::Outgoing;
use super::state::Timer;

/// Consumers' states are kept at most this often: what is lost with a crash is sent again.
const KEEP_EVERY: Duration = Duration::from_millis(25);
/// Long states are kept less often: about this many bytes a second.
const KEEP_RATE: u64 = 8 * 1024 * 1024;
/// The same while somebody waits for an answer to an acknowledgement.
const KEEP_RATE_URGENT: u64 = 64 * 1024 * 1024;

/// What a stream knows of its consumers' states.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// When states were kept last, how many bytes that were, and the ticket of it.
    at: Option<Nanos>,
    bytes: u64,
    ticket: u64,
    /// Who gets an answer once the states are kept that are not yet.
    unkept: Vec<Bytes>,
    /// Who gets one once this ticket is settled.
    kept: Vec<(u64, Bytes)>,
    /// When what was written is flushed.
    sync_at: Option<Nanos>,
}

impl Core {
    /// Answers an acknowledgement once it is durable; at once where nothing is.
    pub(super) fn js_confirm(&mut self, key: ConsumerKey, to: Bytes) {
        let Some(it) = self.jetstream.consumers.at(key) else {
            return;
        };
        let stream = it.stream;
        let Some(hosted) = self.jetstream.streams.at_mut(stream) else {
            return;
        };
        if hosted.store.is_none() {
            let account = hosted.account;
            self.js_send(&Outgoing {
                account,
                to: &to,
                ..Outgoing::default()
            });
            return;
        }
        hosted.keeping.unkept.push(to);
        self.jetstream.touch(stream);
    }

    /// Keeps the states that have changed, as often as is worth it: what is written for a consumer
    /// in a second is bounded, however much it has out.
    pub(super) fn js_keep_states(&mut self, key: StreamKey) {
        let now = self.local.now;
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return;
        };
        let consumers = &jetstream.consumers;
        let all = hosted.consumers.values().copied();
        let unkept: Vec<ConsumerKey> = all
            .filter(|&it| consumers.at(it).is_some_and(|it| it.unkept))
            .collect();
        let keeping = &mut hosted.keeping;
        let urgent = !keeping.unkept.is_empty();
        if unkept.is_empty() {
            let waiting = keeping.unkept.drain(..);
            keeping.kept.extend(waiting.map(|to| (keeping.ticket, to)));
            return;
        }
        if !hosted.stream.store().is_settled(keeping.ticket) {
            // Many are confirmed by one write. And a disk that is slow, or stands still, has no more
            // than one state of each consumer before it: the disk's end of it brings us here again.
            return;
        }
        let wait = match urgent {
            true => span(keeping.bytes, KEEP_RATE_URGENT),
            false => span(keeping.bytes, KEEP_RATE).max(KEEP_EVERY),
        };
        if let Some(at) = keeping.at.map(|at| at + wait).filter(|&at| now < at) {
            return self.js_wake_stream(key, at);
        }
        let mut bytes = 0;
        for consumer in unkept {
            bytes += self.js_keep_state(consumer) as u64;
        }
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            let ticket = hosted.stream.store().ticket();
            let keeping = &mut hosted.keeping;
            (keeping.at, keeping.bytes, keeping.ticket) = (Some(now), bytes, ticket);
            let waiting = keeping.unkept.drain(..);
            keeping.kept.extend(waiting.map(|to| (ticket, to)));
        }
    }

    /// Answers the acknowledgements that are durable.
    pub(super) fn js_confirm_kept(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        if hosted.keeping.kept.is_empty() {
            return;
        }
        let (account, store) = (hosted.account, hosted.stream.store());
        let kept = &mut hosted.keeping.kept;
        // Tickets only grow.
        let settled = kept.partition_point(|it| store.is_settled(it.0));
        let settled: Vec<(u64, Bytes)> = kept.drain(..settled).collect();
        for (_, to) in settled {
            self.js_send(&Outgoing {
                account,
                to: &to,
                ..Outgoing::default()
            });
        }
    }

    /// Asks for flushes of what was written without one, every `sync_interval`.
    pub(super) fn js_sync(&mut self, key: StreamKey) {
        let now = self.local.now;
        let settings = self.local.settings.jetstream.as_ref();
        let interval = settings.map_or(Duration::ZERO, |it| it.sync_interval.duration());
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        if !hosted.stream.store().needs_sync() {
            hosted.keeping.sync_at = None;
            return;
        }
        let at = *hosted.keeping.sync_at.get_or_insert(now + interval);
        if now < at {
            return self.js_wake_stream(key, at);
        }
        hosted.keeping.sync_at = None;
        hosted.stream.store_mut().sync();
    }

    /// Runs a stream at a time at the latest.
    pub(super) fn js_wake_stream(&mut self, key: StreamKey, at: Nanos) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        if hosted.armed.is_none_or(|armed| at < armed) {
            hosted.armed = Some(at);
            let timer = Reverse((at, Timer::Stream(key)));
            self.jetstream.timers.push(timer);
        }
    }

    /// How a stream's store keeps what it is given.
    pub(super) fn js_policy(&self, config: &StreamConfig) -> Policy {
        let settings = self.local.settings.jetstream.as_ref();
        let flush = settings.map_or(FlushPolicy::Durable, |it| it.flush);
        Policy {
            flush: match config.persist_mode {
                PersistMode::Async => FlushPolicy::Async,
                PersistMode::Default => flush,
            },
            compressed: config.compression == Compression::S2,
            max_bytes: u64::try_from(config.max_bytes).ok().filter(|&it| it > 0),
        }
    }
}

/// How long that many bytes take at a rate.
fn span(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate)
}
