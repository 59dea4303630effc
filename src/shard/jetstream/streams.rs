//! Streams of this shard: made, changed, told of, dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{AccountId, ShardId, StoreId};
use crate::jetstream::api::decode::{decode, is_json};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::shown;
use crate::jetstream::api::request::{StreamConfigRequest, StreamInfoRequest};
use crate::jetstream::api::response::{
    ClusterInfo, PagedStreamInfo, Paging, Response, SUBJECTS_MAX, StreamCreated, StreamInfo,
    StreamState, Success,
};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::limits::Surroundings;
use crate::jetstream::store::{Filter, Store};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::config::{Retention, Storage, StreamConfig};
use crate::jetstream::stream::create::update_stream;
use crate::jetstream::usage::Share;
use crate::shard::core::Core;
use crate::shard::effects::Effect;
use crate::time::WallTime;

use super::acks::Acks;
use super::advise::Happened;
use super::caches::Cached;
use super::command::{Command, Request};
use super::disk::{OpenedStore, Opening};
use super::hosted::{HostedStream, StreamKey};
use super::keep::Keeping;
use super::pressure::Pressure;
use super::registry::KnownStream;
use super::send::Outgoing;
use super::state::Receiver;
use super::trouble::Trouble;

impl Core {
    /// Carries out what a shard asks.
    pub(super) fn js_carry_out(&mut self, command: Command) {
        match command {
            Command::Ask(request) => self.js_queue_request(request),
            Command::Create {
                request,
                config,
                created,
            } => self.js_make_stream(request, *config, created),
            Command::Opened {
                account,
                name,
                opened,
            } => self.js_opened(account, &name, *opened),
            Command::NotCreated(account, name) => {
                self.jetstream.registry.remove(account, &name);
            }
            Command::Known {
                account,
                owner,
                config,
                offline,
            } => {
                let known = KnownStream {
                    owner,
                    config: *config,
                    offline,
                };
                self.jetstream.registry.insert(account, known);
            }
            Command::Recover {
                account,
                config,
                created,
                opened,
            } => self.js_recover(account, *config, created, *opened),
            Command::Restore {
                request,
                config,
                created,
                refused,
            } => self.js_make_restored(request, *config, created, refused),
            Command::Return(to, command) => self.js_command(to, *command),
            Command::BeginSnapshot(key, id) => self.js_begin_snapshot(key, id),
            Command::Restored(account, name) => {
                self.jetstream.registry.end_restore(account, &name);
            }
            Command::Update { request, config } => self.js_change_stream(&request, *config),
            Command::NotUpdated(account, config) => {
                let registry = &mut self.jetstream.registry;
                if let Some(known) = registry.find_mut(account, &config.name) {
                    known.config = *config;
                }
            }
            Command::Delete { request, name } => {
                let opening = (request.account, name.clone());
                self.jetstream.opening.remove(&opening);
                if let Some(key) = self.jetstream.find(request.account, &name) {
                    self.js_drop_stream(key);
                    self.js_tell_of(request.account, &name, "", Happened::Deleted);
                }
                let done = Response::new(Endpoint::StreamDelete, Success { success: true });
                self.js_answer_json(&request, &done);
            }
            Command::Request(request) => self.js_owned(&request),
            Command::List {
                gather,
                account,
                names,
            } => self.js_list(gather, account, &names),
            Command::Listed {
                gather,
                streams,
                direct,
            } => self.js_listed(gather, streams, direct),
            Command::Answer {
                account,
                to,
                answer,
            } => {
                self.js_send(&Outgoing {
                    account,
                    to: &to,
                    header: &answer.header,
                    payload: &answer.body,
                    ..Outgoing::default()
                });
            }
            Command::Audit(request, body) => self.js_audit(&request, &body),
            Command::Pushing { shard, any } => self.js_pushes_elsewhere(shard, any),
            Command::Ready => self.js_shard_ready(),
            Command::Failed(account, endpoint) => {
                self.jetstream.registry.failed(account, endpoint);
            }
        }
    }

    /// A request about a stream of this shard, or one that is nowhere.
    fn js_owned(&mut self, request: &Request) {
        let Some(subject) = ApiSubject::parse(&request.subject) else {
            return;
        };
        let key = self.jetstream.find(request.account, subject.stream);
        let endpoint = subject.endpoint;
        let outcome = match endpoint {
            Endpoint::StreamCreate => {
                if let Some(key) = key {
                    self.js_tell_created(request, key);
                }
                Ok(())
            }
            Endpoint::StreamInfo => self.js_tell_stream(request, key),
            Endpoint::StreamPurge => self.js_purge(request, key),
            Endpoint::StreamSnapshot => self.js_snapshot(request, subject, key),
            Endpoint::MessageGet => self.js_message_get(request, key),
            Endpoint::MessageDelete => self.js_message_delete(request, key),
            _ => self.js_consumer_request(request, subject, key),
        };
        if let Err(error) = outcome {
            self.js_fail(request, endpoint, error);
        }
    }

    /// Makes a stream, as soon as its store is there.
    fn js_make_stream(&mut self, request: Request, config: StreamConfig, created: WallTime) {
        let stores = self.local.settings.jetstream.as_ref();
        let has_disk = stores.is_some_and(|it| it.stores.is_some());
        if config.storage == Storage::Memory || !has_disk {
            let name = config.name.clone();
            let key = self.js_host_stream(request.account, config, created, None);
            self.js_tell_of(request.account, &name, "", Happened::Created);
            return self.js_tell_created(&request, key);
        }
        self.js_create_store(Opening {
            request,
            config,
            created,
            restored: false,
            refused: None,
        });
    }

    /// Puts a stream on this shard, of which nobody knows yet.
    pub(super) fn js_put_stream(
        &mut self,
        account: AccountId,
        config: StreamConfig,
        created: WallTime,
        opened: Option<OpenedStore>,
    ) -> StreamKey {
        let name: Box<str> = config.name.as_str().into();
        let front = self.js_ack_front(&name);
        let (store, place) = match opened {
            None => (Store::memory(), None),
            Some(opened) => {
                let jetstream = &mut self.jetstream;
                jetstream.stores += 1;
                let id = StoreId(jetstream.stores);
                let mount = Effect::Mount(id, opened.path.clone());
                self.local.effects.push(mount);
                (opened.store, Some((id, opened.path)))
            }
        };
        let id = place.as_ref().map(|it| it.0);
        let policy = self.js_policy(&config);
        let mut stream = Stream::new(config, created, store);
        stream.store_mut().set_policy(policy);
        if let Some(share) = self.js_share(account, stream.config().storage) {
            stream.share(share);
        }
        let key = self.jetstream.streams.insert(Box::new(HostedStream {
            account,
            stream,
            consumers: BTreeMap::new(),
            ack_front: front,
            acks: Acks::default(),
            early: VecDeque::new(),
            early_bytes: 0,
            reads: VecDeque::new(),
            receivers: Vec::new(),
            store: place,
            keeping: Keeping::default(),
            following: None,
            pressure: Pressure::default(),
            retry: Vec::new(),
            settling: VecDeque::new(),
            trouble: Trouble::default(),
            snapshots: Vec::new(),
            restore: None,
            cached: Cached::default(),
            busy: false,
            armed: None,
        }));
        if let Some(id) = id {
            self.jetstream.by_store.insert(id, key);
        }
        key
    }

    /// Puts a stream on this shard, for all to see.
    pub(super) fn js_host_stream(
        &mut self,
        account: AccountId,
        config: StreamConfig,
        created: WallTime,
        opened: Option<OpenedStore>,
    ) -> StreamKey {
        let key = self.js_put_stream(account, config, created, opened);
        self.js_open_stream(key);
        key
    }

    /// From now on a stream of this shard takes messages and requests.
    pub(super) fn js_open_stream(&mut self, key: StreamKey) {
        if let Some(hosted) = self.jetstream.streams.at(key) {
            let name = hosted.stream.config().name.as_str().into();
            self.jetstream.by_name.insert((hosted.account, name), key);
        }
        self.js_receive_for(key);
        self.js_follow(key);
    }

    /// A stream's part in what its account and the server have.
    fn js_share(&self, account: AccountId, storage: Storage) -> Option<Share> {
        let settings = self.local.settings.jetstream.as_ref()?;
        let usage = settings.usages.get(&account)?;
        let (usage, all) = (Arc::clone(usage), Arc::clone(&settings.usage));
        Some(Share::new(usage, all, storage))
    }

    fn js_ack_front(&self, name: &str) -> Bytes {
        let settings = self.local.settings.jetstream.as_ref();
        let domain = settings.map_or("", |it| &it.domain);
        let front = match domain {
            "" => format!("{{\"stream\":{name:?},\"seq\":"),
            domain => format!("{{\"stream\":{name:?},\"domain\":{domain:?},\"seq\":"),
        };
        front.into()
    }

    /// Makes the receivers of a stream those of its configuration.
    pub(super) fn js_receive_for(&mut self, key: StreamKey) {
        let account = self.jetstream.streams.at(key).map(|it| it.account);
        let enabled = account.is_some_and(|it| self.js_enabled(it));
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let account = hosted.account;
        let before = std::mem::take(&mut hosted.receivers);
        let config = hosted.stream.config();
        let mut wanted: Vec<(Box<[u8]>, Receiver)> = Vec::new();
        for subject in &config.subjects {
            wanted.push((subject.as_bytes().into(), Receiver::Publish(key)));
        }
        let own = config.allow_direct.then_some(&config.name);
        let following = hosted.following.as_ref();
        let has_all = following.is_some_and(|it| it.replication().is_caught_up());
        let origin = config.mirror.as_ref().map(|it| &it.name);
        let origin = origin.filter(|_| config.mirror_direct && has_all);
        for name in own.into_iter().chain(origin) {
            let subject = format!("$JS.API.DIRECT.GET.{name}");
            let below = format!("{subject}.>");
            wanted.push((subject.into_bytes().into(), Receiver::Direct(key)));
            wanted.push((below.into_bytes().into(), Receiver::Direct(key)));
        }
        if !enabled {
            wanted.clear();
        }
        // What stays is not touched: nothing published meanwhile may be lost.
        let mut receivers = Vec::new();
        for number in before {
            let at = self.jetstream.receivers.at(number).and_then(|it| {
                let same = |(pattern, receiver): &(Box<[u8]>, Receiver)| {
                    *pattern == it.pattern && *receiver == it.receiver
                };
                wanted.iter().position(same)
            });
            match at {
                Some(at) => {
                    wanted.swap_remove(at);
                    receivers.push(number);
                }
                None => self.js_unregister(number),
            }
        }
        for (pattern, receiver) in wanted {
            receivers.push(self.js_register(account, &pattern, receiver));
        }
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            hosted.receivers = receivers;
        }
    }

    pub(super) fn js_tell_created(&mut self, request: &Request, key: StreamKey) {
        let Some(mut info) = self.js_stream_info(key, false) else {
            return;
        };
        info.domain = String::new();
        self.js_show_versions(&mut info.config);
        let content = StreamCreated {
            info,
            did_create: true,
        };
        let answer = Response::new(Endpoint::StreamCreate, content);
        let body = crate::jetstream::api::encode::to_json(&answer);
        self.js_answer_once_kept(key, request, body);
    }

    fn js_change_stream(&mut self, request: &Request, config: StreamConfig) {
        let Some(key) = self.jetstream.find(request.account, &config.name) else {
            return self.js_fail(request, Endpoint::StreamUpdate, errors::STREAM_NOT_FOUND);
        };
        if let Err(error) = self.js_consumers_allow(request, key) {
            let before = self.jetstream.streams.at(key);
            if let Some(before) = before.map(|it| it.stream.config().clone()) {
                let undo = Command::NotUpdated(request.account, Box::new(before));
                self.js_command(ShardId(0), undo);
            }
            return self.js_fail(request, Endpoint::StreamUpdate, error);
        }
        let policy = self.js_policy(&config);
        let mut kept = None;
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            kept = Some(hosted.stream.config().retention);
            hosted.stream.update(config);
            hosted.stream.store_mut().set_policy(policy);
        }
        self.js_tell_consumers(key);
        if kept == Some(Retention::Limits) {
            self.js_release_acknowledged(key);
        }
        self.js_keep_stream(key);
        self.js_receive_for(key);
        self.js_follow(key);
        let name = self.js_stream_info(key, false).map(|it| it.config.name);
        let name = name.unwrap_or_default();
        self.js_tell_of(request.account, &name, "", Happened::Updated);
        self.jetstream.touch(key);
        let Some(mut info) = self.js_stream_info(key, false) else {
            return;
        };
        self.js_show_versions(&mut info.config);
        let answer = Response::new(Endpoint::StreamUpdate, info);
        let body = crate::jetstream::api::encode::to_json(&answer);
        self.js_answer_once_kept(key, request, body);
    }

    /// Shard 0 has judged an update by all it knows; here are the consumers.
    fn js_consumers_allow(&self, request: &Request, key: StreamKey) -> Result<(), ApiError> {
        let wished = StreamConfigRequest::decode(&request.body, self.js_strict());
        let wished = wished.map_err(errors::invalid_json)?;
        let hosted = self.jetstream.streams.at(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let (server, account) = self.js_limits(request.account);
        let name = hosted.stream.config().name.as_str();
        let own = BTreeMap::from([(name.to_owned(), hosted.stream.config().clone())]);
        let around = Surroundings {
            server: &server,
            account: &account,
            streams: &own,
        };
        let consumers = hosted.consumers.iter().filter_map(|(name, key)| {
            let it = self.jetstream.consumers.at(*key)?;
            Some((&**name, &it.config))
        });
        update_stream(&wished, name, around, consumers)?;
        Ok(())
    }

    /// Takes a stream off this shard, with its consumers.
    pub(super) fn js_drop_stream(&mut self, key: StreamKey) {
        self.js_end_snapshots(key);
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let consumers: Vec<u32> = hosted.consumers.values().copied().collect();
        for consumer in consumers {
            self.js_drop_consumer(consumer);
        }
        self.js_unfollow(key);
        let Some(hosted) = self.jetstream.streams.remove(key) else {
            return;
        };
        self.jetstream.caches.forget(key, hosted.cached);
        let name = hosted.stream.config().name.as_str();
        self.jetstream
            .by_name
            .remove(&(hosted.account, name.into()));
        for number in hosted.receivers {
            self.js_unregister(number);
        }
        if let Some((id, path)) = hosted.store {
            self.jetstream.by_store.remove(&id);
            self.local.effects.push(Effect::Unmount(id));
            self.local.effects.push(Effect::RemoveStore(path));
        }
    }

    /// Adds what answers say of this server to a configuration (JS-82).
    pub(super) fn js_show_versions(&self, config: &mut StreamConfig) {
        let version = &self.local.settings.info.version;
        config.metadata = shown(&config.metadata, version);
    }

    /// A stream as it is; its configuration as stored.
    pub(super) fn js_stream_info(&self, key: StreamKey, details: bool) -> Option<StreamInfo> {
        let hosted = self.jetstream.streams.at(key)?;
        let store = hosted.stream.store();
        let state = store.state();
        let settings = self.local.settings.jetstream.as_ref();
        let following = hosted.following.as_ref().map(|it| it.replication());
        let mut deleted = if details { store.deleted() } else { Vec::new() };
        let mut num_deleted = state.deleted;
        if details && state.first_seq == 0 && hosted.stream.config().storage == Storage::File {
            // As in stock, where a new file begins behind a sequence that nobody had.
            (deleted, num_deleted) = (vec![0], 1);
        }
        // Those that mirrors and sources read with are counted nowhere but in an account's usage.
        let shown = hosted.consumers.values();
        let shown = shown.filter(|it| !self.js_is_direct(**it)).count();
        Some(StreamInfo {
            config: hosted.stream.config().clone(),
            created: hosted.stream.created().into(),
            state: StreamState {
                messages: state.messages,
                bytes: state.bytes,
                first_seq: state.first_seq,
                first_ts: time(state.first_time),
                last_seq: state.last_seq,
                last_ts: time(state.last_time),
                num_subjects: state.subjects,
                num_deleted,
                deleted,
                consumer_count: shown as u64,
                ..StreamState::default()
            },
            domain: settings.map(|it| it.domain.clone()).unwrap_or_default(),
            mirror: following.and_then(|it| it.mirror_info(self.local.now)),
            sources: following.map_or(Vec::new(), |it| it.source_infos(self.local.now)),
            ramjet_durability: store.policy().flush.shown(),
            ts: self.local.wall.into(),
            ..StreamInfo::default()
        })
    }

    /// JS-22.
    fn js_tell_stream(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let asked: StreamInfoRequest = match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?,
            false => StreamInfoRequest::default(),
        };
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        let info = self.js_stream_info(key, asked.deleted_details);
        let mut info = info.ok_or(errors::STREAM_NOT_FOUND)?;
        self.js_show_versions(&mut info.config);
        info.cluster = Some(ClusterInfo {
            leader: self.local.settings.info.server_name.clone(),
            ..ClusterInfo::default()
        });
        let mut paging = Paging::default();
        if !asked.subjects_filter.is_empty()
            && let Some(hosted) = self.jetstream.streams.at(key)
        {
            let filter = Filter::new(&[asked.subjects_filter.as_bytes()]);
            let mut all: Vec<(String, u64)> = hosted
                .stream
                .store()
                .subjects(&filter)
                .map(|(subject, state)| {
                    (
                        String::from_utf8_lossy(subject).into_owned(),
                        state.messages,
                    )
                })
                .collect();
            all.sort();
            if !all.is_empty() {
                let (shown, page) = Paging::page(all.len(), asked.offset, SUBJECTS_MAX);
                paging = Paging {
                    offset: usize::try_from(asked.offset).unwrap_or(0),
                    ..shown
                };
                info.state.subjects = all[page].iter().cloned().collect();
            }
        }
        let content = PagedStreamInfo { paging, info };
        self.js_answer_json(request, &Response::new(Endpoint::StreamInfo, content));
        Ok(())
    }
}

/// A time in an answer; one that never was is the year 1.
fn time(wall: WallTime) -> Timestamp {
    match wall {
        WallTime(0) => Timestamp::ZERO,
        wall => wall.into(),
    }
}
