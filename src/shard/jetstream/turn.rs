//! What streams and consumers do before a turn ends: hand out messages, answer publishers.

use std::cmp::Reverse;
use std::io::Write as _;
use std::time::Duration;

use crate::ids::ShardId;
use crate::jetstream::consumer::{Consumer, Effect, Now, Presence, Run, Turn};
use crate::jetstream::store::{Filter, Store};
use crate::jetstream::stream::{Gone, Publish, marker_ttl};
use crate::limits;
use crate::shard::core::Core;
use crate::shard::effects;
use crate::time::Nanos;

use super::acks::Body;
use super::command::Command;
use super::hosted::{ConsumerKey, StreamKey};
use super::send::Outgoing;
use super::state::Timer;

/// Times a turn looks for work that its own work has made.
const ROUNDS: usize = 8;
/// Messages a consumer hands out in a turn before another one's turn comes.
const MESSAGES: usize = 256;
/// Time until messages may leave that are still to be looked at.
const UNREAD: Duration = Duration::from_millis(100);
/// Time between two attempts to get on with a disk that failed.
const TROUBLE: Duration = Duration::from_secs(2);

impl Core {
    /// Asks something of a shard.
    pub(super) fn js_command(&mut self, shard: ShardId, command: Command) {
        if shard == self.local.id {
            self.jetstream.commands.push_back(command);
        } else {
            let effect = effects::Effect::JetStream(shard, Box::new(command));
            self.local.effects.push(effect);
        }
    }

    /// Takes what another shard asks.
    pub fn take_command(&mut self, command: Command) {
        self.jetstream.commands.push_back(command);
    }

    /// Does what JetStream has to do in this turn.
    pub fn run_jetstream(&mut self) {
        self.jetstream.sent = 0;
        self.js_take_holds();
        self.js_expire();
        for _ in 0..ROUNDS {
            while let Some(command) = self.jetstream.commands.pop_front() {
                self.js_carry_out(command);
            }
            self.js_take_requests();
            self.js_watch_interest();
            let busy = std::mem::take(&mut self.jetstream.busy);
            if busy.is_empty() && self.jetstream.commands.is_empty() {
                break;
            }
            for key in busy {
                self.js_run_stream(key);
            }
        }
        self.js_release_held();
        self.js_begin();
    }

    fn js_run_stream(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        hosted.busy = false;
        let keys: Vec<ConsumerKey> = hosted.consumers.values().copied().collect();
        hosted.stream.count_usage();
        self.js_store_early(key);
        let mut again = self.js_send_scheduled(key);
        self.js_tell_abandoned(key);
        self.js_tell_gone(key, &keys);
        for consumer in keys {
            if self.js_has_put_out_enough() {
                again = true;
                break;
            }
            again |= self.js_run_consumer(consumer);
        }
        again |= self.js_go_on_reading(key);
        again |= self.js_go_on_sending(key);
        again |= self.js_go_on_restoring(key);
        again |= self.js_run_origins(key);
        self.js_keep_states(key);
        again |= self.js_rescan(key);
        self.js_sync(key);
        again |= self.js_ask_disk(key);
        self.js_bound_caches(key);
        self.js_watch_disk(key);
        self.js_acknowledge(key);
        self.js_answer_settled(key);
        self.js_confirm_kept(key);
        self.js_release_publishers(key);
        self.js_arm_stream(key);
        if again {
            self.jetstream.touch(key);
        }
    }

    /// Has this turn handed out as much as it should?
    pub(super) fn js_has_put_out_enough(&self) -> bool {
        self.turn_output() + self.jetstream.sent >= limits::TURN_OUTPUT
    }

    /// Lets a consumer hand out its messages, a portion at a time. Says whether it has more to do.
    fn js_run_consumer(&mut self, key: ConsumerKey) -> bool {
        let stream = self.jetstream.consumers.at(key).map(|it| it.stream);
        let portion = stream.map_or(1, |it| self.js_portion(it));
        let mut left = MESSAGES;
        while left > 0 {
            left = left.saturating_sub(portion);
            if self.js_is_held_back(key) {
                return false;
            }
            let Some(it) = self.jetstream.consumers.at_mut(key) else {
                return false;
            };
            if !std::mem::take(&mut it.ready) {
                return false;
            }
            let mut run = Run::Idle;
            self.js_call(key, |it, turn| run = it.run(turn, portion));
            self.js_take_holds();
            let Some(it) = self.jetstream.consumers.at_mut(key) else {
                return false;
            };
            it.ready |= run == Run::More;
            it.reading = run == Run::Reading;
            if self.js_has_put_out_enough() {
                break;
            }
        }
        let it = self.jetstream.consumers.at(key);
        it.is_some_and(|it| it.ready)
    }

    /// Looks for ids and schedules among messages that came before the start; true if there is more
    /// to do at once.
    fn js_rescan(&mut self, key: StreamKey) -> bool {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return false;
        };
        hosted.stream.rescan();
        hosted.stream.find_schedules()
    }

    /// Tells a stream's consumers what left it.
    fn js_tell_gone(&mut self, key: StreamKey, consumers: &[ConsumerKey]) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let gone = hosted.stream.take_gone();
        for it in &gone {
            for &consumer in consumers {
                self.js_with_consumer(consumer, |consumer, turn| match it {
                    Gone::One(seq, subject) => consumer.removed(turn, *seq, subject),
                    Gone::Many(filter) => match filter {
                        Filter::All => consumer.purged(turn, b""),
                        Filter::Literal(subject) => consumer.purged(turn, subject),
                        Filter::Patterns(patterns) => {
                            for pattern in patterns {
                                consumer.purged(turn, pattern);
                            }
                        }
                    },
                });
            }
        }
    }

    /// Answers the publishers whose messages are durable.
    fn js_acknowledge(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let durable = hosted.stream.store().durable();
        let (account, front) = (hosted.account, hosted.ack_front.clone());
        let (mut body, mut reply) = (self.local.buffer(), self.local.buffer());
        body.extend_from_slice(&front);
        while let Some(hosted) = self.jetstream.streams.at_mut(key)
            && let Some(ack) = hosted.acks.pop(durable, &mut reply)
        {
            let payload = match &ack.body {
                Body::Whole(whole) => whole,
                Body::Stored(end) => {
                    body.truncate(front.len());
                    // A vector takes all that is written to it.
                    let _ = write!(body, "{}{end}", ack.seq);
                    &body
                }
            };
            self.js_send(&Outgoing {
                account,
                to: &reply,
                payload,
                ..Outgoing::default()
            });
        }
        self.local.give_back(reply);
        self.local.give_back(body);
    }

    /// Calls a consumer and does what it wants done. Whatever happened to it, it may have something
    /// to do then.
    pub(super) fn js_with_consumer(
        &mut self,
        key: ConsumerKey,
        call: impl FnOnce(&mut Consumer, &mut Turn<'_, Store>),
    ) {
        self.js_call(key, call);
        if let Some(it) = self.jetstream.consumers.at_mut(key) {
            it.ready = true;
            let stream = it.stream;
            self.jetstream.touch(stream);
        }
    }

    fn js_call(
        &mut self,
        key: ConsumerKey,
        call: impl FnOnce(&mut Consumer, &mut Turn<'_, Store>),
    ) {
        let now = self.js_now();
        let jetstream = &mut self.jetstream;
        let Some(it) = jetstream.consumers.at_mut(key) else {
            return;
        };
        let stream = it.stream;
        let Some(hosted) = jetstream.streams.at_mut(stream) else {
            return;
        };
        let mut effects = Vec::new();
        let interest = &mut self.tables.of(hosted.account).interest;
        let mut presence = |subject: &[u8]| match interest.lookup(subject).is_nobody() {
            true => Presence::Gone,
            false => Presence::Here,
        };
        let mut turn = Turn {
            now,
            stream: hosted.stream.store_mut(),
            presence: &mut presence,
            effects: &mut effects,
        };
        call(&mut it.consumer, &mut turn);
        let due = it.consumer.deadline();
        if let Some(at) = due
            && it.armed.is_none_or(|armed| at < armed)
        {
            it.armed = Some(at);
            jetstream.timers.push(Reverse((at, Timer::Consumer(key))));
        }
        self.js_apply(key, effects);
    }

    /// What time it is to JetStream.
    pub(super) fn js_now(&self) -> Now {
        Now {
            nanos: self.local.now,
            wall: self.local.wall,
        }
    }

    fn js_apply(&mut self, key: ConsumerKey, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Deliver(delivery) => self.js_deliver(key, &delivery),
                Effect::Status { to, reply, headers } => {
                    let Some(account) = self.js_account_of(key) else {
                        return;
                    };
                    self.js_send(&Outgoing {
                        account,
                        to: &to,
                        reply: reply.as_deref(),
                        header: &headers,
                        ..Outgoing::default()
                    });
                }
                Effect::Reply { to } => self.js_confirm(key, to),
                Effect::Advisory(advisory) => self.js_advise(key, &advisory),
                Effect::Acked(seq) => self.js_release(key, seq),
                Effect::Persist => {
                    if let Some(it) = self.jetstream.consumers.at_mut(key) {
                        it.unkept = it.is_kept();
                    }
                }
                Effect::Expired => self.js_drop_consumer(key),
            }
        }
    }

    /// Does what is due.
    fn js_expire(&mut self) {
        let now = self.local.now;
        while let Some(&Reverse((at, timer))) = self.jetstream.timers.peek()
            && at <= now
        {
            self.jetstream.timers.pop();
            match timer {
                Timer::Consumer(key) => {
                    let Some(it) = self.jetstream.consumers.at_mut(key) else {
                        continue;
                    };
                    it.armed = None;
                    it.ready = true;
                    let stream = it.stream;
                    self.jetstream.touch(stream);
                }
                Timer::Stream(key) => self.js_expire_stream(key),
            }
        }
    }

    fn js_expire_stream(&mut self, key: StreamKey) {
        let (now, wall) = (self.local.now, self.local.wall);
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        hosted.armed = None;
        if hosted.restore.is_some() {
            return self.jetstream.touch(key); // nothing expires before it is there
        }
        if hosted.stream.store().trouble().is_some() {
            hosted.stream.store_mut().resume();
        }
        let following = hosted.following.as_ref();
        if following.is_some_and(|it| !it.replication().is_settled()) {
            // What tells how far it is with its sources must be read before it may leave.
            return self.js_wake_stream(key, now + UNREAD);
        }
        for subject in hosted.stream.expire(wall) {
            let ttl = hosted.stream.config().subject_delete_marker_ttl;
            let ttl = marker_ttl(ttl.duration());
            let headers = format!(
                "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {ttl}\r\nNats-Rollup: sub\r\n\r\n"
            );
            let stored = hosted.stream.store_marker(&Publish {
                subject: &subject,
                headers: headers.as_bytes(),
                payload: b"",
                now: wall,
                sourced: true,
            });
            let Some(seq) = stored else { continue };
            for consumer in hosted.consumers.values() {
                if let Some(it) = self.jetstream.consumers.at_mut(*consumer) {
                    it.ready |= it.consumer.appended(seq, &subject);
                }
            }
        }
        self.jetstream.touch(key);
    }

    /// Sets a stream's timer.
    pub(super) fn js_arm_stream(&mut self, key: StreamKey) {
        let (now, wall) = (self.local.now, self.local.wall);
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let is_restoring = hosted.restore.is_some();
        let due = hosted.stream.next_due().filter(|_| !is_restoring);
        let left = due.map(|due| Duration::from_nanos(due.0.saturating_sub(wall.0)));
        let trouble = hosted.stream.store().trouble().map(|_| TROUBLE);
        let following = hosted.following.as_ref();
        let origins = following.map(|it| it.replication().due().since(now));
        let Some(left) = left.into_iter().chain(trouble).chain(origins).min() else {
            return;
        };
        let at = now + left.max(Duration::from_millis(1));
        if hosted.armed.is_none_or(|armed| at < armed) {
            hosted.armed = Some(at);
            self.jetstream
                .timers
                .push(Reverse((at, Timer::Stream(key))));
        }
    }

    /// When JetStream has something to do next.
    pub(in crate::shard) fn js_due(&self) -> Option<Nanos> {
        self.jetstream.due()
    }
}
