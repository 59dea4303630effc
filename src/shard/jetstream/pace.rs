//! How fast consumers hand out: not faster than their receivers take it, on whichever shard those
//! are.
//!
//! A consumer is a publisher to those who hold publishers back: what it sends bears its number in
//! place of a connection's, so a receiver with much waiting, or a batch that is full, holds it back
//! and lets it go as it does a client.

use std::cmp::Reverse;
use std::time::Duration;

use crate::ids::Slot;
use crate::limits::STALL_MAX;
use crate::shard::core::{Core, Local};
use crate::time::Nanos;

use super::hosted::{ConsumerKey, StreamKey};
use super::state::Timer;

/// Generation of slots that are consumers' numbers; no connection comes to it.
const CONSUMER: u32 = u32::MAX - 1;
/// Longest time a consumer waits for its only receiver before it goes on: nobody else waits.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// What a consumer hands out before it is looked at whether that was enough.
const PORTION: u64 = 64 * 1024;
/// Messages that is at most.
const PORTION_MAX: u64 = 16;

/// What a consumer's messages bear as their publisher.
pub(super) fn publisher(consumer: ConsumerKey) -> Slot {
    Slot {
        index: consumer,
        generation: CONSUMER,
    }
}

/// Is this publisher a consumer?
#[inline]
pub(in crate::shard) fn is_consumer(slot: Slot) -> bool {
    slot.generation == CONSUMER
}

impl Local {
    /// A receiver, or a full batch, holds this consumer back, or lets it go.
    #[cold]
    pub(in crate::shard) fn hold_consumer(&mut self, slot: Slot, held: bool) {
        self.held_consumers.push((slot.index, held));
    }
}

impl Core {
    /// Takes note of which consumers were held back and let go.
    pub(super) fn js_take_holds(&mut self) {
        if self.local.held_consumers.is_empty() {
            return;
        }
        let now = self.local.now;
        for (key, held) in std::mem::take(&mut self.local.held_consumers) {
            let Some(it) = self.jetstream.consumers.at_mut(key) else {
                continue;
            };
            // Members of a group do not wait longer for each other than clients do.
            let longest = match it.config.deliver_group.is_empty() {
                true => HOLD_MAX,
                false => STALL_MAX,
            };
            it.slow_until = held.then(|| now + longest);
            if !held {
                let stream = it.stream;
                self.jetstream.touch(stream);
            }
        }
    }

    /// Messages a consumer of a stream hands out before it is looked at whether that was enough.
    pub(super) fn js_portion(&self, stream: StreamKey) -> usize {
        let Some(hosted) = self.jetstream.streams.at(stream) else {
            return 1;
        };
        let state = hosted.stream.store().state();
        let size = (state.bytes / state.messages.max(1)).max(1);
        (PORTION / size).clamp(1, PORTION_MAX) as usize
    }

    /// Is this consumer held back? Then it is looked at again when that ends by itself.
    pub(super) fn js_is_held_back(&mut self, key: ConsumerKey) -> bool {
        let now: Nanos = self.local.now;
        let Some(it) = self.jetstream.consumers.at_mut(key) else {
            return false;
        };
        let Some(until) = it.slow_until.filter(|&until| it.ready && now < until) else {
            return false;
        };
        if it.armed.is_none_or(|armed| until < armed) {
            it.armed = Some(until);
            let timer = Reverse((until, Timer::Consumer(key)));
            self.jetstream.timers.push(timer);
        }
        true
    }
}
