//! Streams that are made of copies (JS-28, JS-170): pieces come in, each is confirmed once it is
//! taken, and the stream is there once the last one is.
//!
//! What is wrong with a copy is told at its end, as in stock: until then pieces are confirmed and
//! thrown away. Nothing is left of a stream that could not be made.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::AccountId;
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::api::request::ConsumerCreateRequest;
use crate::jetstream::api::response::{Response, Restoring, StreamCreated, error_response};
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::snapshot::contents::SavedConsumer;
use crate::jetstream::snapshot::restoration::{Restoration, RestoreError};
use crate::jetstream::stream::config::{Storage, StreamConfig};
use crate::limits;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::effects::Level;
use crate::shard::identity::event_id;
use crate::time::{Nanos, WallTime};
use crate::transport::s2::reader::{BLOCK_MAX, Reader};

use super::command::{Command, Request};
use super::copies::Copied;
use super::disk::{OpenedStore, Opening, mark_unfinished};
use super::hosted::StreamKey;
use super::receive::split;
use super::send::Outgoing;
use super::state::Receiver;

/// Time between two pieces at most.
const PIECE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of pieces that are not looked at yet, at most: more than clients send ahead.
const WAITING_MAX: usize = 64 * 1024 * 1024;
/// Entries a turn takes of a copy, and bytes: about a millisecond's work.
const TURN_ENTRIES: usize = 2048;
const TURN_BYTES: usize = 1024 * 1024;

/// A stream that is being made of a copy.
pub(super) struct Restore {
    request: Request,
    /// Where the pieces come in.
    receiver: u32,
    pieces: Reader,
    plain: Vec<u8>,
    restoration: Restoration,
    failed: Option<RestoreError>,
    /// Who waits for the confirmation of a piece.
    unconfirmed: VecDeque<Bytes>,
    /// All has come; who waits for the stream.
    ended: Option<Bytes>,
    bytes: u64,
    started: WallTime,
    /// When the next piece must have come.
    due: Nanos,
}

/// How far the pieces that are there were looked at.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// To their end.
    All,
    /// As far as a turn goes.
    Part,
    /// As far as the disk goes.
    Disk,
}

impl Core {
    /// Makes a stream of a copy, as soon as its store is there.
    pub(super) fn js_make_restored(
        &mut self,
        request: Request,
        config: StreamConfig,
        created: WallTime,
        refused: Option<ApiError>,
    ) {
        let stores = self.local.settings.jetstream.as_ref();
        let has_disk = stores.is_some_and(|it| it.stores.is_some());
        if config.storage == Storage::Memory || !has_disk {
            return self.js_begin_restore(request, config, (created, None), refused);
        }
        self.js_create_store(Opening {
            request,
            config,
            created,
            restored: true,
            refused,
        });
    }

    /// Says where the pieces are to be sent.
    pub(super) fn js_begin_restore(
        &mut self,
        request: Request,
        config: StreamConfig,
        (created, opened): (WallTime, Option<OpenedStore>),
        refused: Option<ApiError>,
    ) {
        let name = config.name.clone();
        self.js_log_copy(Level::Info, &request, ["Starting restore", &name, ""]);
        self.js_tell_of_copy(&request, &name, Copied::RestoreCreate);
        let key = self.js_put_stream(request.account, config, created, opened);
        let id = event_id(|| self.local.secret_random());
        let deliver_subject = format!("$JS.SNAPSHOT.RESTORE.{name}.{id}");
        let receiver = Receiver::Restore(key);
        let receiver = self.js_register(request.account, deliver_subject.as_bytes(), receiver);
        let due = self.local.now + PIECE_WAIT;
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            mark_unfinished(hosted.stream.store_mut(), true);
            hosted.restore = Some(Box::new(Restore {
                request: request.clone(),
                receiver,
                pieces: Reader::default(),
                plain: Vec::new(),
                restoration: Restoration::default(),
                failed: refused.map(|it| {
                    let (why, number) = (&it.description, it.err_code);
                    RestoreError::Content(format!("error adding stream: {why} ({number})"))
                }),
                unconfirmed: VecDeque::new(),
                ended: None,
                bytes: 0,
                started: created,
                due,
            }));
        }
        self.js_wake_stream(key, due);
        self.jetstream.touch(key);
        let content = Restoring { deliver_subject };
        let body = to_json(&Response::new(Endpoint::StreamRestore, content));
        self.js_answer_after_interest(&request, body);
    }

    /// A piece has come, or the end.
    pub(super) fn js_restore_piece(&mut self, key: StreamKey, message: &Message<'_>) {
        let due = self.local.now + PIECE_WAIT;
        let hosted = self.jetstream.streams.at_mut(key);
        let Some(restore) = hosted.and_then(|it| it.restore.as_mut()) else {
            return;
        };
        if restore.ended.is_some() {
            return;
        }
        let (_, body) = split(message);
        let Some(reply) = message.reply.map(Bytes::copy_from_slice) else {
            let why = "requires reply subject for each chunk";
            return self.js_give_up(key, why);
        };
        restore.due = due;
        if body.is_empty() {
            restore.ended = Some(reply);
        } else {
            restore.bytes += body.len() as u64;
            restore.unconfirmed.push_back(reply);
            if restore.failed.is_none() {
                restore.pieces.push(body);
            }
            if restore.pieces.waiting() > WAITING_MAX {
                return self.js_give_up(key, "received more than it could take");
            }
        }
        self.jetstream.touch(key);
    }

    /// Goes on with a stream that is being made; true if there is more to do at once.
    pub(super) fn js_go_on_restoring(&mut self, key: StreamKey) -> bool {
        let (now, wall) = (self.local.now, self.local.wall);
        let max_payload = self.local.settings.limits.max_payload;
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return false;
        };
        let Some(mut restore) = hosted.restore.take() else {
            return false;
        };
        let progress = match restore.failed {
            Some(_) => Progress::All,
            None => match restore.advance(&mut hosted.stream, max_payload, wall) {
                Ok(progress) => progress,
                Err(error) => {
                    restore.fail(error);
                    Progress::All
                }
            },
        };
        let account = hosted.account;
        let confirmed = match progress {
            Progress::All => std::mem::take(&mut restore.unconfirmed),
            _ => VecDeque::new(),
        };
        let due = restore.due;
        let is_over = progress == Progress::All && restore.ended.is_some();
        let is_idle = progress == Progress::All && restore.ended.is_none() && now >= due;
        hosted.restore = Some(restore);
        for to in confirmed {
            self.js_send(&Outgoing {
                account,
                to: &to,
                ..Outgoing::default()
            });
        }
        if is_over {
            self.js_finish_restore(key);
        } else if is_idle {
            self.js_give_up(key, "is stalled");
        } else {
            // While the disk is behind, nobody is waited for.
            self.js_wake_stream(key, due.max(now + PIECE_WAIT / 5));
        }
        progress == Progress::Part
    }

    /// All has come: the stream is there, or will not be.
    fn js_finish_restore(&mut self, key: StreamKey) {
        let hosted = self.jetstream.streams.at_mut(key);
        let Some(mut restore) = hosted.and_then(|it| it.restore.take()) else {
            return;
        };
        let reply = restore.ended.take();
        let outcome = match restore.failed.take() {
            Some(error) => Err(ApiError::from(error)),
            None => match restore.restoration.finish() {
                Ok(consumers) => self.js_complete(key, consumers),
                Err(error) => Err(ApiError::from(error)),
            },
        };
        self.js_unregister(restore.receiver);
        let hosted = self.jetstream.streams.at(key);
        let name = hosted.map(|it| it.stream.config().name.clone());
        let name = name.unwrap_or_default();
        // The answer goes to where the end came from, whose interest is known here.
        let mut request = Request {
            reply: reply.as_deref().map(Into::into),
            home: self.local.id,
            ..restore.request
        };
        let taken = Duration::from_nanos(self.local.wall.0.saturating_sub(restore.started.0));
        let told = Copied::RestoreComplete(restore.started, restore.bytes);
        self.js_tell_of_copy(&request, &name, told);
        request.client = None; // the answer to the end is no answer to a request
        match outcome {
            Ok(()) => {
                let how = format!(": {} bytes in {taken:?}", restore.bytes);
                self.js_log_copy(Level::Info, &request, ["Completed restore", &name, &how]);
                let restored = Command::Restored(request.account, name.into());
                self.js_command(crate::ids::ShardId(0), restored);
                self.js_tell_restored(&request, key);
            }
            Err(error) => {
                let how = format!(" failed after {taken:?}: {}", error.description);
                self.js_log_copy(Level::Warn, &request, ["Restore", &name, &how]);
                self.js_drop_unfinished(key, request.account, &name);
                self.js_answer(&request, error_response(Endpoint::StreamCreate, error));
            }
        }
    }

    /// Makes a stream whose messages are there like any other.
    fn js_complete(
        &mut self,
        key: StreamKey,
        consumers: Vec<(String, SavedConsumer)>,
    ) -> Result<(), ApiError> {
        let wall = self.local.wall;
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            // Its configuration may allow less than was in the copy.
            hosted.stream.update(hosted.stream.config().clone());
            hosted.stream.begin_rescan(wall);
        }
        for (name, saved) in consumers {
            let added = self.js_restore_consumer(key, &name, saved);
            added.map_err(|error| {
                let why = format!("failed to add consumer {name:?}: {}", error.description);
                ApiError::from(RestoreError::Content(why))
            })?;
        }
        self.js_keep_stream(key);
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            mark_unfinished(hosted.stream.store_mut(), false);
        }
        self.js_open_stream(key);
        Ok(())
    }

    fn js_restore_consumer(
        &mut self,
        key: StreamKey,
        name: &str,
        saved: SavedConsumer,
    ) -> Result<(), ApiError> {
        let mut config = saved.config;
        name.clone_into(&mut config.name);
        let hosted = self.jetstream.streams.at(key);
        let stream_name = hosted.map(|it| it.stream.config().name.clone());
        let request = ConsumerCreateRequest {
            stream_name: stream_name.unwrap_or_default(),
            config,
            ..ConsumerCreateRequest::default()
        };
        let (name, config) = self.js_judge_consumer(key, request)?;
        let (now, created) = (self.js_now(), self.local.wall);
        let state = saved.state.encode(now);
        let before = Some((created, Some(&state[..])));
        let consumer = self.js_host_consumer(key, &name, config, before)?;
        self.js_keep_consumer(consumer);
        self.js_keep_state(consumer);
        Ok(())
    }

    fn js_tell_restored(&mut self, request: &Request, key: StreamKey) {
        let Some(mut info) = self.js_stream_info(key, false) else {
            return;
        };
        info.domain = String::new();
        self.js_show_versions(&mut info.config);
        let content = StreamCreated {
            info,
            did_create: false,
        };
        let body = to_json(&Response::new(Endpoint::StreamCreate, content));
        self.js_answer_once_kept(key, request, body);
    }

    /// Nothing will come of it, and nobody is to be told.
    fn js_give_up(&mut self, key: StreamKey, why: &str) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let Some(restore) = hosted.restore.take() else {
            return;
        };
        let name = hosted.stream.config().name.clone();
        self.js_unregister(restore.receiver);
        let how = format!(" {why}");
        self.js_log_copy(Level::Warn, &restore.request, ["Restore", &name, &how]);
        self.js_drop_unfinished(key, restore.request.account, &name);
    }

    fn js_drop_unfinished(&mut self, key: StreamKey, account: AccountId, name: &str) {
        self.js_drop_stream(key);
        let gone = Command::NotCreated(account, name.into());
        self.js_command(crate::ids::ShardId(0), gone);
    }
}

impl Restore {
    fn fail(&mut self, error: RestoreError) {
        self.failed = Some(error);
        self.pieces = Reader::default();
        self.plain = Vec::new();
        self.restoration = Restoration::default();
    }

    /// Takes what has come, as much of it as a turn and the disk allow.
    fn advance(
        &mut self,
        stream: &mut crate::jetstream::stream::Stream,
        max_payload: usize,
        wall: WallTime,
    ) -> Result<Progress, RestoreError> {
        let (mut entries, mut bytes) = (0, 0);
        loop {
            if stream.store().backlog() >= limits::STREAM_BACKLOG_HIGH {
                return Ok(Progress::Disk);
            }
            if entries >= TURN_ENTRIES || bytes >= TURN_BYTES {
                return Ok(Progress::Part);
            }
            if self.restoration.step(stream, max_payload, wall)? {
                entries += 1;
                continue;
            }
            self.plain.clear();
            let block = self.pieces.next_block(BLOCK_MAX, &mut self.plain);
            if !block.map_err(|why| RestoreError::Content(why.to_string()))? {
                return Ok(Progress::All);
            }
            bytes += self.plain.len();
            self.restoration.push(&self.plain);
        }
    }
}
