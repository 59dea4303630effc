//! Consumers of this shard's streams: made, changed, told of, dropped (section 14).

use crate::jetstream::api::decode::{decode, is_empty, is_json};
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::{shown, stamp_consumer};
use crate::jetstream::api::request::{
    ConsumerCreateRequest, ConsumersRequest, PauseRequest, ResetRequest, UnpinRequest,
};
use crate::jetstream::api::response::{
    ConsumerInfo, ConsumerList, ConsumerNames, ConsumerReset, LIST_MAX, NAMES_MAX, Paging, Paused,
    PriorityGroupState, Response, SequenceInfo, Success,
};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::api::values::Span;
use crate::jetstream::consumer::config::{AckPolicy, ConsumerConfig};
use crate::jetstream::consumer::create::{
    ConsumerCreation, Consumers, create_consumer, fit_subject,
};
use crate::jetstream::consumer::{Consumer, Figures, Names, Settings, Surroundings, account_hash};
use crate::jetstream::replicate::hash;
use crate::jetstream::stream::config::{Retention, Storage};
use crate::protocol::headers;
use crate::shard::core::Core;
use crate::time::WallTime;

use super::advise::Happened;
use super::command::Request;
use super::hosted::{ConsumerKey, HostedConsumer, HostedStream, StreamKey};
use super::send::Answer;
use super::state::JetStream;

/// Which stream of a name it is (JS-150).
const IDENTITY: &[u8] = b"Nats-Stream-Identity";

/// A stream's consumers, for those who judge configurations.
struct Beside<'a>(&'a JetStream, StreamKey);

impl Beside<'_> {
    fn all(&self) -> impl Iterator<Item = (&str, &HostedConsumer)> {
        let hosted = self.0.streams.at(self.1);
        let all = hosted.into_iter().flat_map(|it| &it.consumers);
        all.filter_map(|(name, key)| Some((&**name, &**self.0.consumers.at(*key)?)))
    }
}

impl Consumers for Beside<'_> {
    fn consumer(&self, name: &str) -> Option<&ConsumerConfig> {
        let mut all = self.all();
        all.find(|it| it.0 == name).map(|it| &it.1.config)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &ConsumerConfig)) {
        self.all().for_each(|(name, it)| visit(name, &it.config));
    }

    fn is_bound(&self, name: &str) -> bool {
        self.all().any(|it| it.0 == name && it.1.active)
    }
}

/// A name for a consumer that has none: eight letters and digits.
fn name_of(mut random: u64) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut letter = || {
        let at = (random % 62) as usize;
        random /= 62;
        char::from(LETTERS[at])
    };
    (0..8).map(|_| letter()).collect()
}

/// Tells a stream from others of its name, before and after it (JS-150).
fn identity_of(hosted: &HostedStream) -> String {
    hash(&Timestamp::from(hosted.stream.created()).to_string())
}

fn identity_header(identity: &str) -> Vec<u8> {
    format!("NATS/1.0\r\nNats-Stream-Identity: {identity}\r\n\r\n").into_bytes()
}

/// A consumer that copies from a stream whose messages leave when they are acknowledged lives on,
/// and acknowledges by its answers to flow control (JS-149).
fn make_durable(config: &mut ConsumerConfig) {
    config.direct = false;
    config.durable_name.clone_from(&config.name);
    config.ack_policy = AckPolicy::FlowControl;
    config.ack_wait = Span::ZERO;
    config.max_deliver = 0;
    config.inactive_threshold = Span::ZERO;
}

impl Core {
    /// A request about consumers of a stream of this shard, or of one that is nowhere.
    pub(super) fn js_consumer_request(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        match subject.endpoint {
            Endpoint::ConsumerCreate | Endpoint::ConsumerDurableCreate => {
                self.js_create_consumer(request, subject, key)
            }
            Endpoint::ConsumerNames => self.js_consumer_names(request, key),
            Endpoint::ConsumerList => self.js_consumer_list(request, key),
            Endpoint::ConsumerInfo => {
                if !is_empty(&request.body) {
                    return Err(errors::NOT_EMPTY_REQUEST);
                }
                let consumer = self.js_find_consumer(key, subject.consumer)?;
                let info = self.js_consumer_info(consumer, true);
                let info = info.ok_or(errors::CONSUMER_NOT_FOUND)?;
                self.js_answer_json(request, &Response::new(subject.endpoint, info));
                Ok(())
            }
            Endpoint::ConsumerDelete => {
                if !is_empty(&request.body) {
                    return Err(errors::NOT_EMPTY_REQUEST);
                }
                let consumer = self.js_find_consumer(key, subject.consumer)?;
                self.js_drop_consumer(consumer);
                let done = Response::new(subject.endpoint, Success { success: true });
                self.js_answer_json(request, &done);
                Ok(())
            }
            Endpoint::ConsumerPause => self.js_pause(request, subject, key),
            Endpoint::ConsumerUnpin => self.js_unpin(request, subject, key),
            Endpoint::ConsumerReset => self.js_reset(request, subject, key),
            _ => Ok(()),
        }
    }

    /// JS-43.
    fn js_reset(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        // The consumer itself hears these: one that is not there says nothing.
        let Ok(consumer) = self.js_find_consumer(key, subject.consumer) else {
            return Ok(());
        };
        let asked: ResetRequest = match request.body.is_empty() {
            true => ResetRequest::default(),
            false => decode(&request.body, false).map_err(errors::invalid_json)?,
        };
        let mut outcome = Ok(0);
        self.js_with_consumer(consumer, |it, turn| outcome = it.reset(turn, asked.seq));
        let reset_seq = outcome.map_err(errors::consumer_invalid_reset)?;
        let info = self.js_consumer_info(consumer, true);
        let info = info.ok_or(errors::CONSUMER_NOT_FOUND)?;
        let content = ConsumerReset { info, reset_seq };
        let identity = headers::get(&request.header, IDENTITY).and(key);
        let identity = identity.and_then(|key| self.jetstream.streams.at(key));
        let header = identity.map(|hosted| identity_header(&identity_of(hosted)));
        let answer = Answer {
            header: header.unwrap_or_default(),
            body: to_json(&Response::new(subject.endpoint, content)),
        };
        self.js_answer(request, answer);
        Ok(())
    }

    fn js_find_consumer(
        &self,
        key: Option<StreamKey>,
        name: &str,
    ) -> Result<ConsumerKey, ApiError> {
        let hosted = key.and_then(|key| self.jetstream.streams.at(key));
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let found = hosted.consumers.get(name).copied();
        found.ok_or(errors::CONSUMER_NOT_FOUND)
    }

    fn js_create_consumer(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let decoded = decode(&request.body, self.js_strict());
        let mut asked: ConsumerCreateRequest = decoded.map_err(errors::invalid_json)?;
        fit_subject(&mut asked, &subject)?;
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        // Who is there decides what may change.
        self.js_watch_interest();
        let identity = self.js_fit_for_copies(request, &mut asked, key)?;
        let sourcing = asked.config.sourcing;
        let wanted = self.js_wished_consumer(key, asked)?;
        let consumer = match wanted {
            ConsumerCreation::New(name, config) => {
                self.js_host_consumer(key, &name, *config, None)?
            }
            ConsumerCreation::Update(name, config) => {
                let consumer = self.js_find_consumer(Some(key), &name)?;
                self.js_change_consumer(consumer, *config);
                consumer
            }
        };
        if sourcing {
            // It goes on behind what is acknowledged; that this is refused cannot be.
            self.js_with_consumer(consumer, |it, turn| {
                let _ = it.reset(turn, 0);
            });
        }
        self.js_with_consumer(consumer, |it, turn| it.tell_of_pause(turn));
        // The answer tells whether somebody is there.
        self.js_watch_interest();
        let info = self.js_consumer_info(consumer, true);
        let info = info.ok_or(errors::CONSUMER_NOT_FOUND)?;
        let answer = Answer {
            header: identity.as_deref().map_or(Vec::new(), identity_header),
            body: to_json(&Response::new(subject.endpoint, info)),
        };
        self.js_answer_once_kept(key, request, answer);
        Ok(())
    }

    fn js_wished_consumer(
        &mut self,
        key: StreamKey,
        asked: ConsumerCreateRequest,
    ) -> Result<ConsumerCreation, ApiError> {
        let hosted = self.jetstream.streams.at(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let (server, account) = self.js_limits(hosted.account);
        let local = &mut self.local;
        let beside = Beside(&self.jetstream, key);
        let name = || name_of(local.random());
        let stream = hosted.stream.config();
        create_consumer(asked, stream, (&server, &account), &beside, name)
    }

    /// Judges a consumer of a copy: its name and its configuration.
    pub(super) fn js_judge_consumer(
        &mut self,
        key: StreamKey,
        asked: ConsumerCreateRequest,
    ) -> Result<(String, ConsumerConfig), ApiError> {
        match self.js_wished_consumer(key, asked)? {
            ConsumerCreation::New(name, config) => Ok((name, *config)),
            ConsumerCreation::Update(..) => Err(errors::CONSUMER_NAME_EXIST),
        }
    }

    /// Makes a request of a mirror or source what it becomes here (JS-149), and gives the stream's
    /// identity to be told to whoever copies it (JS-150).
    fn js_fit_for_copies(
        &mut self,
        request: &Request,
        asked: &mut ConsumerCreateRequest,
        key: StreamKey,
    ) -> Result<Option<String>, ApiError> {
        let config = &mut asked.config;
        if !config.direct && !config.sourcing {
            return Ok(None);
        }
        let hosted = self.jetstream.streams.at(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        if config.direct && config.sourcing && !config.name.is_empty() {
            if hosted.stream.config().retention == Retention::Limits {
                // Its maker always says the same name; the one before may still be here.
                config.name = format!("{}-{}", config.name, name_of(self.local.random()));
            } else {
                make_durable(config);
            }
        }
        let identity = identity_of(hosted);
        let expected = headers::get(&request.header, IDENTITY).filter(|it| !it.is_empty());
        if expected.is_some_and(|it| it != identity.as_bytes()) {
            return Err(errors::consumer_stream_identity_mismatch(identity));
        }
        let existing = hosted.consumers.get(&*config.name);
        if config.sourcing
            && config.is_durable()
            && let Some(existing) = existing.and_then(|key| self.jetstream.consumers.at(*key))
        {
            config.deliver_policy = existing.config.deliver_policy;
            config.opt_start_seq = existing.config.opt_start_seq;
            config.opt_start_time = existing.config.opt_start_time;
        }
        Ok(Some(identity))
    }

    fn js_surroundings(&self, key: StreamKey, config: &ConsumerConfig) -> Surroundings {
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return Surroundings::default();
        };
        let stream = hosted.stream.config();
        Surroundings {
            one_per_subject: stream.max_msgs_per_subject == 1,
            retention_by_acks: stream.retention != Retention::Limits,
            memory: stream.storage == Storage::Memory || config.mem_storage,
            message_max: match u64::try_from(stream.max_msg_size) {
                Ok(most) if most > 0 => most,
                _ => self.local.settings.limits.max_payload as u64,
            },
        }
    }

    /// Puts a consumer beside its stream; one that was there before with when it was made and its
    /// state.
    pub(super) fn js_host_consumer(
        &mut self,
        key: StreamKey,
        name: &str,
        config: ConsumerConfig,
        before: Option<(WallTime, Option<&[u8]>)>,
    ) -> Result<ConsumerKey, ApiError> {
        let (now, seed) = (self.js_now(), self.local.secret_random());
        let settings = Settings::new(&config, self.js_surroundings(key, &config));
        let jetstream = self.local.settings.jetstream.as_ref();
        let domain = jetstream.map(|it| it.domain.clone()).unwrap_or_default();
        let long_replies = jetstream.is_some_and(|it| it.long_replies);
        let hosted = self.jetstream.streams.at_mut(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let account = hosted.account;
        let account_name = self.local.settings.accounts.name(account).to_string();
        let names = Names {
            account_hash: long_replies.then(|| account_hash(&account_name)),
            account: account_name,
            stream: hosted.stream.config().name.clone(),
            consumer: name.to_owned(),
            domain,
        };
        let stream = names.stream.clone();
        let store = hosted.stream.store();
        let state = before.and_then(|(_, state)| state);
        let restored = state.and_then(|bytes| {
            let (names, settings) = (names.clone(), settings.clone());
            Consumer::restore(names, settings, seed, now, store, bytes).ok()
        });
        let consumer = match restored {
            Some(consumer) => consumer,
            None => Consumer::new(names.clone(), settings, seed, now, store),
        };
        let is_push = config.is_push();
        let number = self.jetstream.consumers.insert(Box::new(HostedConsumer {
            stream: key,
            name: name.into(),
            config,
            created: before.map_or(now.wall, |(created, _)| created),
            consumer,
            receivers: Vec::new(),
            slow_until: None,
            reading: false,
            unkept: false,
            ready: true,
            armed: None,
            active: false,
        }));
        hosted.consumers.insert(name.into(), number);
        hosted.stream.watch(true);
        self.js_receive_for_consumer(number);
        if is_push {
            self.js_begin_pushing(account, number);
        }
        if before.is_none() {
            if let Some(it) = self.jetstream.consumers.at_mut(number) {
                it.unkept = it.is_kept();
            }
            self.js_keep_consumer(number);
            self.js_tell_of(account, &stream, name, Happened::Created);
        }
        // Its timers begin.
        self.js_with_consumer(number, |_, _| ());
        Ok(number)
    }

    /// A stream has changed: what of that its consumers go by (JS-114).
    pub(super) fn js_tell_consumers(&mut self, key: StreamKey) {
        let hosted = self.jetstream.streams.at(key);
        let keys: Vec<ConsumerKey> = match hosted {
            Some(hosted) => hosted.consumers.values().copied().collect(),
            None => return,
        };
        for consumer in keys {
            let Some(it) = self.jetstream.consumers.at(consumer) else {
                continue;
            };
            let settings = Settings::new(&it.config, self.js_surroundings(key, &it.config));
            if *it.consumer.settings() != settings {
                self.js_with_consumer(consumer, |it, turn| it.update(turn, settings));
            }
        }
    }

    fn js_change_consumer(&mut self, consumer: ConsumerKey, config: ConsumerConfig) {
        let Some(it) = self.jetstream.consumers.at_mut(consumer) else {
            return;
        };
        let key = it.stream;
        it.config = config.clone();
        let settings = Settings::new(&config, self.js_surroundings(key, &config));
        self.js_with_consumer(consumer, |it, turn| it.update(turn, settings));
        if let Some(account) = self.js_account_of(consumer) {
            self.js_look_again(account);
        }
        self.js_release_unwanted(key);
        self.js_keep_consumer(consumer);
    }

    /// Drops a consumer; those who wait for its messages are told.
    pub(super) fn js_drop_consumer(&mut self, consumer: ConsumerKey) {
        self.js_with_consumer(consumer, |it, turn| it.deleted(turn));
        let Some(gone) = self.jetstream.consumers.remove(consumer) else {
            return;
        };
        if let Some(account) = self.jetstream.streams.at(gone.stream).map(|it| it.account) {
            self.js_end_pushing(account, consumer);
        }
        self.js_forget_consumer(gone.stream, &gone.name);
        for number in gone.receivers {
            self.js_unregister(number);
        }
        if let Some(hosted) = self.jetstream.streams.at_mut(gone.stream) {
            hosted.consumers.remove(&gone.name);
            let any = !hosted.consumers.is_empty();
            if !any {
                hosted.stream.watch(false);
            }
        }
        self.js_release_unwanted(gone.stream);
    }

    /// JS-194.
    pub(super) fn js_consumer_info(
        &mut self,
        key: ConsumerKey,
        with_versions: bool,
    ) -> Option<ConsumerInfo> {
        let mut figures = Figures::default();
        self.js_with_consumer(key, |it, turn| figures = it.figures(turn));
        let info = &self.local.settings.info;
        let it = self.jetstream.consumers.at(key)?;
        let names = it.consumer.names();
        let mut config = it.config.clone();
        if with_versions {
            config.metadata = shown(&config.metadata, &info.version);
        }
        let place = |at: crate::jetstream::consumer::Sequences, last| SequenceInfo {
            consumer_seq: at.consumer,
            stream_seq: at.stream,
            last_active: last,
        };
        let delivered = figures.last_delivered.map(Into::into);
        let acked = figures.last_acked.map(Into::into);
        Some(ConsumerInfo {
            stream_name: names.stream.clone(),
            name: names.consumer.clone(),
            created: it.created.into(),
            config,
            delivered: place(figures.delivered, delivered),
            ack_floor: place(figures.ack_floor, acked),
            num_ack_pending: figures.ack_pending,
            num_redelivered: figures.redelivered,
            num_waiting: figures.waiting,
            num_pending: figures.pending,
            cluster: None,
            push_bound: figures.push_bound,
            paused: figures.pause_remaining.is_some(),
            pause_remaining: figures.pause_remaining.map_or(Span::ZERO, Span::from),
            ts: self.local.wall.into(),
            priority_groups: figures
                .group
                .map(|it| PriorityGroupState {
                    group: it.name,
                    pinned_client_id: it.pinned.as_ref().map_or_else(String::new, |(id, _)| {
                        String::from_utf8_lossy(id).into_owned()
                    }),
                    pinned_ts: it.pinned.map(|(_, since)| since.into()).unwrap_or_default(),
                })
                .into_iter()
                .collect(),
        })
    }

    /// Names of a stream's consumers that clients see.
    fn js_visible(&self, key: Option<StreamKey>) -> Result<Vec<(String, ConsumerKey)>, ApiError> {
        let hosted = key.and_then(|key| self.jetstream.streams.at(key));
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let all = hosted.consumers.iter().filter(|(_, key)| {
            let it = self.jetstream.consumers.at(**key);
            it.is_some_and(|it| !it.config.direct)
        });
        Ok(all.map(|(name, key)| (name.to_string(), *key)).collect())
    }

    fn js_consumer_names(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let asked = self.js_consumers_request(request)?;
        let names = self.js_visible(key)?;
        let (paging, page) = Paging::page(names.len(), asked.offset, NAMES_MAX);
        let content = ConsumerNames {
            paging,
            consumers: names[page].iter().map(|(name, _)| name.clone()).collect(),
        };
        self.js_answer_json(request, &Response::new(Endpoint::ConsumerNames, content));
        Ok(())
    }

    fn js_consumer_list(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let asked = self.js_consumers_request(request)?;
        let all = self.js_visible(key)?;
        let (paging, page) = Paging::page(all.len(), asked.offset, LIST_MAX);
        let consumers = all[page].iter();
        let consumers = consumers.filter_map(|(_, key)| self.js_consumer_info(*key, false));
        let content = ConsumerList {
            paging,
            consumers: consumers.collect(),
            ..ConsumerList::default()
        };
        self.js_answer_json(request, &Response::new(Endpoint::ConsumerList, content));
        Ok(())
    }

    fn js_consumers_request(&self, request: &Request) -> Result<ConsumersRequest, ApiError> {
        match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json),
            false => Ok(ConsumersRequest::default()),
        }
    }

    /// JS-41.
    fn js_pause(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let asked: PauseRequest = match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?,
            false => PauseRequest::default(),
        };
        let consumer = self.js_find_consumer(key, subject.consumer)?;
        let until = asked.pause_until;
        let wall = self.local.wall;
        let pause = (!until.is_zero() && until.wall() > wall).then_some(until);
        if let Some(it) = self.jetstream.consumers.at_mut(consumer) {
            it.config.pause_until = pause.map(Timestamp::utc);
            stamp_consumer(&mut it.config);
        }
        self.js_keep_consumer(consumer);
        let wanted = pause.map(|it| it.wall());
        self.js_with_consumer(consumer, |it, turn| it.pause(turn, wanted));
        let content = Paused {
            paused: pause.is_some(),
            pause_until: until.utc(),
            pause_remaining: pause.map_or(Span::ZERO, |it| {
                Span(i64::try_from(it.wall().0 - wall.0).unwrap_or(i64::MAX))
            }),
        };
        self.js_answer_json(request, &Response::new(Endpoint::ConsumerPause, content));
        Ok(())
    }

    /// JS-42.
    fn js_unpin(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        if request.body.is_empty() {
            return Err(errors::invalid_json("unexpected end of JSON input"));
        }
        let asked: UnpinRequest =
            decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?;
        let consumer = self.js_find_consumer(key, subject.consumer)?;
        if asked.group.is_empty() {
            return Err(errors::invalid_json("consumer group not specified"));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/=".contains(&byte);
        if asked.group.len() > 16 || !asked.group.bytes().all(is_name) {
            return Err(errors::CONSUMER_INVALID_GROUP_NAME);
        }
        let known = self.jetstream.consumers.at(consumer);
        if !known.is_some_and(|it| it.config.priority_groups.contains(&asked.group)) {
            return Err(errors::CONSUMER_INVALID_PRIORITY_GROUP);
        }
        self.js_with_consumer(consumer, |it, turn| it.unpin(turn, &asked.group));
        let done = Response::new(Endpoint::ConsumerUnpin, Success::default());
        self.js_answer_json(request, &done);
        Ok(())
    }
}
