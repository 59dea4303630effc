//! Mirrors and sources where their streams live: what arrives for them, what they ask.

use crate::jetstream::replicate::{Arrival, Effect, Names, Replication, World};
use crate::jetstream::stream::Stream;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::effects::{self, Level};

use super::hosted::StreamKey;
use super::receive::split;
use super::send::Outgoing;
use super::state::Receiver;

/// The origins of a stream, and the subjects that are theirs.
pub(super) struct Following {
    replication: Replication,
    /// With the number of each in the account's interest.
    subjects: Vec<(Box<[u8]>, u32)>,
    /// A mirror has caught up, and may answer direct gets for its origin.
    may_answer: bool,
}

impl Following {
    pub fn replication(&self) -> &Replication {
        &self.replication
    }
}

impl Core {
    /// Follows the origins of a stream's configuration, as it is now.
    pub(super) fn js_follow(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return;
        };
        let config = hosted.stream.config().clone();
        let any = config.mirror.is_some() || !config.sources.is_empty();
        match (hosted.following.is_some(), any) {
            (true, true) => {
                self.js_with_origins(key, |it, _, _, world| it.update(&config, world));
            }
            (true, false) => self.js_unfollow(key),
            (false, true) => self.js_begin_following(key),
            (false, false) => return,
        }
        self.jetstream.touch(key);
    }

    fn js_begin_following(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return;
        };
        let settings = self.local.settings.jetstream.as_ref();
        let names = Names {
            account: self
                .local
                .settings
                .accounts
                .name(hosted.account)
                .to_string(),
            stream: hosted.stream.config().name.clone(),
            domain: settings.map(|it| it.domain.clone()).unwrap_or_default(),
        };
        let (now, wall) = (self.local.now, self.local.wall);
        let replication = Replication::new(
            &hosted.stream,
            names.clone(),
            &mut World {
                now,
                wall,
                names: &names,
                random: &mut || self.local.random(),
                reachable: &mut |_| true,
                effects: &mut Vec::new(),
            },
        );
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            hosted.following = replication.map(|replication| {
                Box::new(Following {
                    replication,
                    subjects: Vec::new(),
                    may_answer: false,
                })
            });
        }
    }

    /// A stream ends, or follows nobody any more.
    pub(super) fn js_unfollow(&mut self, key: StreamKey) {
        self.js_with_origins(key, |it, _, _, world| it.end(world));
        let hosted = self.jetstream.streams.at_mut(key);
        let following = hosted.and_then(|it| it.following.take());
        for (_, number) in following.into_iter().flat_map(|it| it.subjects) {
            self.js_unregister(number);
        }
    }

    /// Lets a stream's origins do what is due; true if there is more to do at once.
    pub(super) fn js_run_origins(&mut self, key: StreamKey) -> bool {
        let hosted = self.jetstream.streams.at(key);
        let following = hosted.and_then(|it| it.following.as_ref());
        if following.is_some_and(|it| it.replication.is_waiting()) {
            self.js_store_early_copies(key);
        }
        let more = self.js_with_origins(key, |it, stream, _, world| it.run(stream, world));
        let hosted = self.jetstream.streams.at_mut(key);
        if let Some(it) = hosted.and_then(|it| it.following.as_mut())
            && !it.may_answer
            && it.replication.is_caught_up()
        {
            it.may_answer = true;
            self.js_receive_for(key);
        }
        more.unwrap_or(false)
    }

    /// Stores what waited for the disk, as far as that has brought what it builds on.
    fn js_store_early_copies(&mut self, key: StreamKey) {
        while let Some((accepted, payload)) = self
            .js_with_origins(key, |it, stream, interested, world| {
                it.go_on(stream, interested, world)
            })
            .flatten()
        {
            self.js_stored(key, accepted, &payload);
        }
    }

    /// Keeps how far a stream is with its sources, before messages leave that tell of it.
    /// False if they have to be read first.
    pub(super) fn js_keep_positions(&mut self, key: StreamKey) -> bool {
        let kept = self.js_with_origins(key, |it, stream, _, _| it.keep(stream));
        kept.unwrap_or(true)
    }

    /// Something on a subject of an origin.
    pub(super) fn js_origin_sends(&mut self, key: StreamKey, origin: u32, message: &Message<'_>) {
        let (headers, payload) = split(message);
        let arrival = Arrival {
            on: message.destination(),
            subject: message.subject,
            reply: message.reply,
            headers,
            payload,
        };
        let stored = self.js_with_origins(key, |it, stream, interested, world| {
            it.arrived(origin, &arrival, stream, interested, world)
        });
        if let Some(accepted) = stored.flatten() {
            self.js_stored(key, accepted, payload);
        }
        self.jetstream.touch(key);
    }

    fn js_with_origins<T>(
        &mut self,
        key: StreamKey,
        call: impl FnOnce(&mut Replication, &mut Stream, &dyn Fn(&[u8]) -> bool, &mut World<'_>) -> T,
    ) -> Option<T> {
        let (now, wall) = (self.local.now, self.local.wall);
        let jetstream = &mut self.jetstream;
        let hosted = jetstream.streams.at_mut(key)?;
        let replication = &mut hosted.following.as_mut()?.replication;
        let all = &jetstream.consumers;
        let consumers = &hosted.consumers;
        let interested = |subject: &[u8]| {
            let mut consumers = consumers.values().filter_map(|&it| all.at(it));
            consumers.any(|it| it.consumer.settings().filter.matches(subject))
        };
        let interest = &mut self.tables.of(hosted.account).interest;
        let local = &mut self.local;
        let names = replication.names();
        let mut effects = Vec::new();
        let mut world = World {
            now,
            wall,
            names: &names,
            random: &mut || local.random(),
            reachable: &mut |subject| !interest.lookup(subject).is_nobody(),
            effects: &mut effects,
        };
        let done = call(replication, &mut hosted.stream, &interested, &mut world);
        for effect in effects {
            self.js_do_for_origin(key, effect);
        }
        Some(done)
    }

    fn js_do_for_origin(&mut self, key: StreamKey, effect: Effect) {
        let Some(account) = self.jetstream.streams.at(key).map(|it| it.account) else {
            return;
        };
        match effect {
            Effect::Subscribe(origin, subject) => {
                let receiver = Receiver::Origin(key, origin);
                let number = self.js_register(account, &subject, receiver);
                let hosted = self.jetstream.streams.at_mut(key);
                if let Some(following) = hosted.and_then(|it| it.following.as_mut()) {
                    following.subjects.push((subject, number));
                }
            }
            Effect::Unsubscribe(subject) => {
                let hosted = self.jetstream.streams.at_mut(key);
                let following = hosted.and_then(|it| it.following.as_mut());
                let number = following.and_then(|it| {
                    let at = it.subjects.iter().position(|(of, _)| *of == subject)?;
                    Some(it.subjects.swap_remove(at).1)
                });
                if let Some(number) = number {
                    self.js_unregister(number);
                }
            }
            Effect::Publish {
                to,
                reply,
                header,
                body,
            } => {
                self.js_send(&Outgoing {
                    account,
                    to: &to,
                    reply: reply.as_deref(),
                    header: &header,
                    payload: &body,
                    ..Outgoing::default()
                });
            }
            Effect::Warn(line) => {
                let log = effects::Effect::Log(Level::Warn, line);
                self.local.effects.push(log);
            }
        }
    }
}
