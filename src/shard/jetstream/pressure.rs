//! Publishers are held back from a stream whose disk is behind, so that what waits to be written
//! stays bounded: first their connections are not read, a little at a time, then their messages
//! are refused.

use std::time::Duration;

use crate::ids::{ShardId, Slot};
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors;
use crate::jetstream::api::response::PubAck;
use crate::limits;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::effects::{Effect, Level};
use crate::time::Nanos;

use super::hosted::StreamKey;
use super::send::Outgoing;

/// Time between two lines about the same stream.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a stream knows of those it holds back.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Publishers that are held back, until there is less to write.
    held: Vec<(ShardId, Slot)>,
    /// When somebody was asked last.
    asked_at: Option<Nanos>,
    /// When a refusal was told of last.
    told_at: Option<Nanos>,
}

impl Core {
    /// Does the stream take this message? Its publisher is held back if much waits to be written
    /// already; if it is too much, the message is refused as stock's full queue refuses it.
    pub(super) fn js_takes(&mut self, key: StreamKey, message: &Message<'_>) -> bool {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return false;
        };
        let settings = self.local.settings.jetstream.as_ref();
        let most = settings.map_or(usize::MAX, |it| it.max_buffered_size);
        let backlog = hosted.stream.store().backlog();
        if backlog < limits::STREAM_BACKLOG_HIGH.min(most) {
            return true;
        }
        if backlog >= most {
            self.js_refuse_for_now(key, message);
            return false;
        }
        if self.local.settings.limits.no_fast_producer_stall {
            return true;
        }
        let Some((shard, slot)) = message.source else {
            return true;
        };
        let now = self.local.now;
        let held = &mut hosted.pressure.held;
        let known = held.contains(&(shard, slot));
        if !known && held.len() >= limits::STALLED_SOURCES_MAX {
            return true; // they come to the bound above
        }
        if !known {
            held.push((shard, slot));
        }
        // One that is known and still publishes was let go by its deadline: it is asked again, over
        // the mesh no more than once a turn.
        let again = hosted.pressure.asked_at.replace(now) != Some(now);
        if shard == self.local.id {
            self.local.stall_for_receiver(slot, !known);
        } else if !known || again {
            self.local.peers.outgoing(shard).stall(slot, !known);
        }
        true
    }

    /// Lets publishers go on once the disk has caught up.
    pub(super) fn js_release_publishers(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let held = &mut hosted.pressure.held;
        let low = limits::STREAM_BACKLOG_HIGH / 4;
        if held.is_empty() || hosted.stream.store().backlog() > low {
            return;
        }
        for (shard, slot) in std::mem::take(held) {
            if shard == self.local.id {
                self.local.end_stall(slot);
            } else {
                self.local.peers.outgoing(shard).resume(slot);
            }
        }
    }

    #[cold]
    pub(super) fn js_refuse_for_now(&mut self, key: StreamKey, message: &Message<'_>) {
        let now = self.local.now;
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let name = hosted.stream.config().name.clone();
        let told = &mut hosted.pressure.told_at;
        if told.is_none_or(|at| now.since(at) >= TELL_EVERY) {
            *told = Some(now);
            let account = self.local.settings.accounts.name(hosted.account);
            let line = format!(
                "Dropping messages due to excessive stream ingest rate on '{account}' > '{name}': the disk is behind"
            );
            self.local.effects.push(Effect::Log(Level::Warn, line));
        }
        let Some(reply) = message.reply else {
            return;
        };
        let body = to_json(&PubAck {
            error: Some(errors::STREAM_TOO_MANY_REQUESTS),
            stream: &name,
            ..PubAck::default()
        });
        self.js_send(&Outgoing {
            account: message.account,
            to: reply,
            header: b"NATS/1.0 429 Too Many Requests\r\n\r\n",
            payload: &body,
            ..Outgoing::default()
        });
    }
}
