//! Streams that are kept on disk: how their stores come and go, and what is kept in them beside
//! messages. The core asks, the shell does it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, StoreId};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::offline::{Offline, reason, stopped_for};
use crate::jetstream::store::{DiskResult, OperationId, Store};
use crate::jetstream::stream::config::StreamConfig;
use crate::shard::core::Core;
use crate::shard::effects::Effect;
use crate::time::WallTime;

use super::advise::Happened;
use super::command::{Command, Request};
use super::hosted::{ConsumerKey, StreamKey};

/// Name of the record of a stream's configuration.
const STREAM: &[u8] = b"stream";
/// Front of the name of a consumer's configuration.
const CONFIG: &str = "consumer.";
/// Front of the name of a consumer's state.
const STATE: &str = "state.";
/// Name of the record of a stream that is being made of a copy.
const RESTORING: &[u8] = b"restoring";

/// A store on disk, opened.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: Store,
    /// Its directory.
    pub path: PathBuf,
}

/// Whoever makes and removes stores on disk; never on a shard's thread.
pub trait Stores: Send + Sync + std::fmt::Debug {
    /// Makes a store for a new stream and hands it, or what went wrong, to `done`.
    fn create(
        &self,
        account: Arc<str>,
        stream: Box<str>,
        max_bytes: Option<u64>,
        done: Box<dyn FnOnce(Result<OpenedStore, String>) + Send>,
    );

    /// Removes the files of a store that is used no more.
    fn remove(&self, path: PathBuf);
}

/// A stream that is made once its store is there.
pub(super) struct Opening {
    pub request: Request,
    pub config: StreamConfig,
    pub created: WallTime,
    /// It is to be made of a copy.
    pub restored: bool,
    /// What is told at the end of that, whatever comes.
    pub refused: Option<ApiError>,
}

/// A stream or consumer as it is kept in its store.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<T> {
    /// Nanoseconds since 1970.
    pub created: u64,
    /// Its configuration.
    pub config: T,
}

/// What a store says of its stream; `None` if it does not.
pub fn stream_record(store: &Store) -> Option<Record<StreamConfig>> {
    let (_, bytes) = store.states().find(|(name, _)| *name == STREAM)?;
    serde_json::from_slice(bytes).ok()
}

/// How many consumers a store's stream has.
pub fn consumer_records(store: &Store) -> usize {
    let names = store.states().map(|(name, _)| name);
    names.filter(|it| it.starts_with(CONFIG.as_bytes())).count()
}

/// Why the stream of a store does nothing here; `None` if it can be recovered (JS-256).
pub fn offline_record(opened: &OpenedStore) -> Option<Offline> {
    let store = &opened.store;
    let mut offline = Offline {
        reason: String::new(),
        consumers: BTreeMap::new(),
        path: opened.path.clone(),
    };
    for (name, bytes) in store.states() {
        if name == STREAM {
            let reason = unsupported(bytes, |it: &StreamConfig| &it.metadata);
            offline.reason = reason.unwrap_or(offline.reason);
        } else if let Some(name) = name.strip_prefix(CONFIG.as_bytes()) {
            let reason = unsupported(bytes, |it: &ConsumerConfig| &it.metadata);
            let name = String::from_utf8_lossy(name).into_owned();
            offline.consumers.extend(reason.map(|it| (name, it)));
        }
    }
    if offline.reason.is_empty() {
        let (name, _) = offline.consumers.first_key_value()?;
        offline.reason = stopped_for(name);
    }
    Some(offline)
}

/// Why a record is not one to act upon. One that is no record at all is told of where it is used.
fn unsupported<T: DeserializeOwned + Default>(
    bytes: &[u8],
    metadata: impl Fn(&T) -> &BTreeMap<String, String>,
) -> Option<String> {
    let kept: Record<serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let config = kept.config.to_string();
    let read: T = serde_json::from_value(kept.config).unwrap_or_default();
    reason::<T>(config.as_bytes(), metadata(&read))
}

/// Was its stream being made of a copy when the server ended? It is of no use then.
pub fn is_unfinished(store: &Store) -> bool {
    store.states().any(|(name, _)| *name == RESTORING)
}

/// Marks a store whose stream is being made of a copy, until it is.
pub(super) fn mark_unfinished(store: &mut Store, unfinished: bool) {
    match unfinished {
        true => store.put_state(RESTORING, b"1"),
        false => store.remove_state(RESTORING),
    }
}

fn put<T: Serialize>(store: &mut Store, name: &[u8], created: WallTime, config: &T) {
    let record = Record {
        created: created.0,
        config,
    };
    // Into memory, of types whose keys are strings, nothing fails.
    if let Ok(bytes) = serde_json::to_vec(&record) {
        store.put_state(name, &bytes);
    }
}

impl Core {
    /// Asks for the store of a stream, which is made once that is there ([`Core::js_opened`]).
    pub(super) fn js_create_store(&mut self, opening: Opening) {
        let account = opening.request.account;
        let stream: Box<str> = opening.config.name.as_str().into();
        self.local.effects.push(Effect::CreateStore {
            account,
            account_name: self.local.settings.accounts.name(account).into(),
            stream: stream.clone(),
            max_bytes: u64::try_from(opening.config.max_bytes).ok(),
        });
        self.jetstream.opening.insert((account, stream), opening);
    }

    /// A store was asked for: here it is, or why not.
    pub(super) fn js_opened(
        &mut self,
        account: AccountId,
        name: &str,
        opened: Result<OpenedStore, String>,
    ) {
        let opening = self.jetstream.opening.remove(&(account, name.into()));
        match (opening, opened) {
            (Some(opening), Ok(opened)) if opening.restored => {
                let (config, refused) = (opening.config, opening.refused);
                let made = (opening.created, Some(opened));
                self.js_begin_restore(opening.request, config, made, refused);
            }
            (Some(opening), Ok(opened)) => {
                let (config, created) = (opening.config, opening.created);
                let key = self.js_host_stream(account, config, created, Some(opened));
                self.js_keep_stream(key);
                self.js_tell_of(account, name, "", Happened::Created);
                self.js_tell_created(&opening.request, key);
            }
            (Some(opening), Err(why)) => {
                let name = opening.config.name.as_str().into();
                self.js_command(crate::ids::ShardId(0), Command::NotCreated(account, name));
                let (endpoint, error) = match opening.restored {
                    true => (Endpoint::StreamRestore, errors::stream_restore(why)),
                    false => (Endpoint::StreamCreate, errors::stream_create(why)),
                };
                self.js_fail(&opening.request, endpoint, error);
            }
            // It was deleted meanwhile.
            (None, Ok(opened)) => self.local.effects.push(Effect::RemoveStore(opened.path)),
            (None, Err(_)) => {}
        }
    }

    /// Keeps a stream's configuration in its store.
    pub(super) fn js_keep_stream(&mut self, key: StreamKey) {
        if let Some(hosted) = self.jetstream.streams.at_mut(key)
            && hosted.store.is_some()
        {
            let (config, created) = (hosted.stream.config().clone(), hosted.stream.created());
            put(hosted.stream.store_mut(), STREAM, created, &config);
            self.jetstream.touch(key);
        }
    }

    /// Keeps a consumer's configuration in its stream's store.
    pub(super) fn js_keep_consumer(&mut self, key: ConsumerKey) {
        let jetstream = &mut self.jetstream;
        if let Some(it) = jetstream.consumers.at(key)
            && it.is_kept()
            && let Some(hosted) = jetstream.streams.at_mut(it.stream)
            && hosted.store.is_some()
        {
            let name = format!("{CONFIG}{}", it.name);
            put(
                hosted.stream.store_mut(),
                name.as_bytes(),
                it.created,
                &it.config,
            );
        }
    }

    /// Keeps a consumer's state in its stream's store; how many bytes it has.
    pub(super) fn js_keep_state(&mut self, key: ConsumerKey) -> usize {
        let now = self.js_now();
        let jetstream = &mut self.jetstream;
        if let Some(it) = jetstream.consumers.at_mut(key)
            && let Some(hosted) = jetstream.streams.at_mut(it.stream)
        {
            it.unkept = false;
            let bytes = it.consumer.encode(now);
            if hosted.store.is_some() {
                let name = format!("{STATE}{}", it.name);
                hosted.stream.store_mut().put_state(name.as_bytes(), &bytes);
            }
            return bytes.len();
        }
        0
    }

    /// Forgets what was kept of a consumer.
    pub(super) fn js_forget_consumer(&mut self, stream: StreamKey, name: &str) {
        if let Some(hosted) = self.jetstream.streams.at_mut(stream)
            && hosted.store.is_some()
        {
            let store = hosted.stream.store_mut();
            store.remove_state(format!("{CONFIG}{name}").as_bytes());
            store.remove_state(format!("{STATE}{name}").as_bytes());
        }
    }

    /// A stream that was there before the server started, with its consumers.
    pub(super) fn js_recover(
        &mut self,
        account: AccountId,
        config: StreamConfig,
        created: WallTime,
        opened: OpenedStore,
    ) {
        let states = opened.store.states();
        let states: Vec<(String, Vec<u8>)> = states
            .map(|(name, bytes)| (String::from_utf8_lossy(name).into_owned(), bytes.to_vec()))
            .collect();
        let key = self.js_host_stream(account, config, created, Some(opened));
        for (name, bytes) in &states {
            let Some(name) = name.strip_prefix(CONFIG) else {
                continue;
            };
            let Ok(record) = serde_json::from_slice::<Record<ConsumerConfig>>(bytes) else {
                continue;
            };
            let wanted = format!("{STATE}{name}");
            let state = states.iter().find(|(name, _)| *name == wanted);
            let state = state.map(|(_, bytes)| &bytes[..]);
            let created = WallTime(record.created);
            // A stream that has just been put here exists.
            let _ = self.js_host_consumer(key, name, record.config, Some((created, state)));
        }
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            hosted.stream.begin_rescan(self.local.wall);
        }
        self.jetstream.touch(key);
    }

    /// The server ends: keeps what has not been kept.
    pub fn keep_all(&mut self) {
        let all = self.jetstream.consumers.iter();
        let unkept: Vec<ConsumerKey> = all.filter(|(_, it)| it.unkept).map(|it| it.0).collect();
        for consumer in unkept {
            self.js_keep_state(consumer);
        }
        let all: Vec<StreamKey> = self.jetstream.streams.iter().map(|it| it.0).collect();
        for stream in all {
            self.js_keep_positions(stream);
            if let Some(hosted) = self.jetstream.streams.at_mut(stream) {
                hosted.stream.store_mut().close();
            }
            self.jetstream.touch(stream);
        }
    }

    /// Is all that streams have taken as durable as it is to be?
    pub fn is_settled(&self) -> bool {
        let mut streams = self.jetstream.streams.iter();
        streams.all(|(_, hosted)| hosted.stream.store().is_closed())
    }

    /// Hands the disk what a stream's store wants done; true if the store is to be asked again
    /// soon.
    pub(super) fn js_ask_disk(&mut self, key: StreamKey) -> bool {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return false;
        };
        let Some((id, _)) = hosted.store else {
            return false;
        };
        let store = hosted.stream.store_mut();
        while let Some(operation) = store.next_operation() {
            self.local.effects.push(Effect::Disk(id, operation));
        }
        store.is_busy()
    }

    /// The disk has done something.
    pub fn disk_ended(
        &mut self,
        store: StoreId,
        id: OperationId,
        result: DiskResult,
        took: Duration,
    ) {
        let Some(&key) = self.jetstream.by_store.get(&store) else {
            return;
        };
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let ended = hosted.stream.store_mut().completed(id, result);
        self.jetstream.disk.record(ended, took);
        let waiting = std::mem::take(&mut hosted.retry);
        for consumer in hosted.consumers.values() {
            if let Some(it) = self.jetstream.consumers.at_mut(*consumer) {
                it.ready |= std::mem::take(&mut it.reading);
            }
        }
        self.jetstream.touch(key);
        for request in waiting {
            self.jetstream.commands.push_back(Command::Request(request));
        }
    }
}
