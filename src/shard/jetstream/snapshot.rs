//! Copies of streams on their way out (JS-27, JS-167 to JS-172): an archive, compressed, in pieces
//! that the receiver confirms.
//!
//! Messages that come meanwhile are not in it; those that go meanwhile may be.

use std::time::Duration;

use minlz::s2::Encoder;

use crate::jetstream::api::decode::{decode, is_empty};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::request::SnapshotRequest;
use crate::jetstream::api::response::{Response, Snapshotting, StreamState};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::snapshot::archive::{Entry, MAGIC};
use crate::jetstream::snapshot::contents::{SavedConsumer, write_front};
use crate::jetstream::store::{Fetch, Filter};
use crate::routing::subject::is_valid_literal;
use crate::shard::core::Core;
use crate::shard::effects::Level;
use crate::shard::identity::event_id;
use crate::time::{Nanos, WallTime};
use crate::transport::s2::level::Level as Compression;
use crate::transport::s2::writer::Writer;

use super::command::{Command, Request};
use super::copies::Copied;
use super::hosted::StreamKey;
use super::send::Outgoing;
use super::state::Receiver;

/// Bytes of a piece, if nothing else is asked for, and the bounds of what may be asked for.
const PIECE: i64 = 128 * 1024;
const PIECE_BOUNDS: (i64, i64) = (1024, 1024 * 1024);
/// The same of unconfirmed pieces together.
const WINDOW: i64 = 8 * 1024 * 1024;
const WINDOW_BOUNDS: (i64, i64) = (1024, 32 * 1024 * 1024);
/// Time the receiver has to subscribe.
const INTEREST_WAIT: Duration = Duration::from_secs(2);
/// Time between two confirmations at most.
const CONFIRM_WAIT: Duration = Duration::from_secs(5);
/// How often to look whether the receiver is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same while it is still to come: interest is on its way from another shard.
const LOOK_FIRST: Duration = Duration::from_millis(2);
/// Bytes that are compressed at once: a block of the compression, whose checksum covers it.
const BLOCK: usize = 128 * 1024;
/// Bytes of archive a turn makes of a stream: less than a millisecond's work.
const TURN_BYTES: usize = 512 * 1024;

/// A copy that is being sent.
pub(super) struct Snapshot {
    /// It tells its confirmations from those of others.
    pub id: u32,
    /// Where the confirmations come in.
    pub receiver: u32,
    request: Request,
    deliver: Box<[u8]>,
    /// Front of the subjects of confirmations.
    confirm: String,
    piece: usize,
    /// Pieces that may be sent.
    free: usize,
    /// Pieces sent that are to be confirmed.
    sent: u64,
    /// The next message to look at, and the last one.
    next: u64,
    last: u64,
    /// The archive's end is in it.
    whole: bool,
    writer: Writer,
    encoder: Box<Encoder>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    /// As the request was told.
    state: StreamState,
    /// The request has its answer.
    begun: bool,
    /// The receiver was there.
    heard: bool,
    /// Until when it is waited for.
    wait_until: Nanos,
    /// Until when what is awaited must have come.
    due: Nanos,
    started: WallTime,
}

/// How a copy goes on.
enum Next {
    /// When a confirmation or the disk allows it.
    Wait,
    /// In the next turn.
    Again,
    /// It is complete.
    Done,
    /// The text of its status, and what the log and the event say.
    Failed(String, String),
}

impl Core {
    /// JS-27.
    pub(super) fn js_snapshot(
        &mut self,
        request: &Request,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        if is_empty(&request.body) {
            return Err(errors::BAD_REQUEST);
        }
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        let asked: SnapshotRequest =
            decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?;
        let deliver = asked.deliver_subject.as_bytes();
        if !is_valid_literal(deliver) || deliver.iter().any(u8::is_ascii_whitespace) {
            return Err(errors::SNAPSHOT_DELIVER_SUBJECT_INVALID);
        }
        let info = self.js_stream_info(key, false);
        let mut info = info.ok_or(errors::STREAM_NOT_FOUND)?;
        let consumers = match asked.no_consumers {
            true => Vec::new(),
            false => self.js_saved_consumers(key, info.state.last_seq),
        };
        let texts = ["Starting snapshot", subject.stream, ""];
        self.js_log_copy(Level::Info, request, texts);
        let content = Snapshotting {
            config: info.config,
            state: info.state.clone(),
        };
        self.js_answer_json(request, &Response::new(Endpoint::StreamSnapshot, content));
        let bounded = |asked: i64, usual: i64, (least, most): (i64, i64)| {
            let asked = if asked == 0 { usual } else { asked };
            asked.clamp(least, most) as usize
        };
        let piece = bounded(asked.chunk_size, PIECE, PIECE_BOUNDS);
        let window = bounded(asked.window_size, WINDOW, WINDOW_BOUNDS).max(piece);
        info.state.consumer_count = consumers.len() as u64;
        let mut plain = MAGIC.to_vec();
        write_front(&info.state, &consumers, self.local.wall, &mut plain);
        let id = event_id(|| self.local.secret_random());
        let confirm = format!("$JS.SNAPSHOT.ACK.{}.{id}", subject.stream);
        self.jetstream.snapshots += 1;
        let id = self.jetstream.snapshots;
        let pattern = format!("{confirm}.>");
        let receiver = Receiver::SnapshotAck(key, id);
        let receiver = self.js_register(request.account, pattern.as_bytes(), receiver);
        let snapshot = Snapshot {
            id,
            receiver,
            request: request.clone(),
            deliver: asked.deliver_subject.into_bytes().into(),
            confirm,
            piece,
            free: window / piece,
            sent: 0,
            next: info.state.first_seq.max(1),
            last: info.state.last_seq,
            whole: false,
            writer: Writer::new(Compression::Fast),
            encoder: Box::new(Encoder::new()),
            plain,
            packed: Vec::new(),
            state: info.state,
            begun: false,
            heard: false,
            wait_until: self.local.now + INTEREST_WAIT,
            due: self.local.now + CONFIRM_WAIT,
            started: self.local.wall,
        };
        if let Some(hosted) = self.jetstream.streams.at_mut(key) {
            hosted.snapshots.push(snapshot);
        }
        // The answer comes before the first piece.
        let begin = Command::BeginSnapshot(key, id);
        let begin = Command::Return(self.local.id, Box::new(begin));
        self.js_command(request.home, begin);
        Ok(())
    }

    /// The request for a copy has its answer: the pieces follow.
    pub(super) fn js_begin_snapshot(&mut self, key: StreamKey, id: u32) {
        let now = self.local.now;
        let hosted = self.jetstream.streams.at_mut(key);
        let Some(hosted) = hosted else { return };
        let name = hosted.stream.config().name.clone();
        let mut all = hosted.snapshots.iter_mut();
        let Some(snapshot) = all.find(|it| it.id == id) else {
            return;
        };
        snapshot.begun = true;
        snapshot.wait_until = now + INTEREST_WAIT;
        snapshot.due = now + INTEREST_WAIT + CONFIRM_WAIT;
        let (request, state) = (snapshot.request.clone(), snapshot.state.clone());
        self.js_tell_of_copy(&request, &name, Copied::SnapshotCreate(&state));
        self.jetstream.touch(key);
    }

    /// Consumers as copies have them. Those of mirrors and sources are made anew by whoever needs
    /// them.
    fn js_saved_consumers(&mut self, key: StreamKey, last_seq: u64) -> Vec<SavedConsumer> {
        let now = self.js_now();
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return Vec::new();
        };
        let all = hosted.consumers.values();
        let all = all.filter_map(|&it| self.jetstream.consumers.at(it));
        all.filter(|it| !it.config.direct)
            .map(|it| {
                let mut config = it.config.clone();
                config.name = it.name.to_string();
                let state = it.consumer.saved(now, last_seq);
                SavedConsumer { config, state }
            })
            .collect()
    }

    /// A piece has arrived.
    pub(super) fn js_snapshot_confirmed(&mut self, key: StreamKey, id: u32) {
        let due = self.local.now + CONFIRM_WAIT;
        let hosted = self.jetstream.streams.at_mut(key);
        let mut all = hosted.into_iter().flat_map(|it| &mut it.snapshots);
        if let Some(snapshot) = all.find(|it| it.id == id) {
            snapshot.free += 1;
            snapshot.due = due;
            self.jetstream.touch(key);
        }
    }

    /// Goes on with a stream's copies; true if there is more to do at once.
    pub(super) fn js_go_on_sending(&mut self, key: StreamKey) -> bool {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return false;
        };
        if hosted.snapshots.is_empty() {
            return false;
        }
        let mut again = false;
        for mut snapshot in std::mem::take(&mut hosted.snapshots) {
            match self.js_send_pieces(key, &mut snapshot) {
                Next::Wait | Next::Again if self.jetstream.streams.at(key).is_none() => {}
                Next::Done => self.js_end_snapshot(key, &snapshot, None),
                Next::Failed(status, why) => {
                    self.js_end_snapshot(key, &snapshot, Some((&status, &why)));
                }
                next => {
                    again |= matches!(next, Next::Again);
                    let wait = if snapshot.heard {
                        LOOK_EVERY
                    } else {
                        LOOK_FIRST
                    };
                    let wake = (self.local.now + wait).min(snapshot.due);
                    if let Some(hosted) = self.jetstream.streams.at_mut(key) {
                        hosted.snapshots.push(snapshot);
                    }
                    self.js_wake_stream(key, wake);
                }
            }
        }
        again
    }

    fn js_send_pieces(&mut self, key: StreamKey, snapshot: &mut Snapshot) -> Next {
        if !snapshot.begun {
            return Next::Wait;
        }
        let account = snapshot.request.account;
        let interest = &mut self.tables.of(account).interest;
        // A pattern that matches may be somebody else's: the receiver may not be there yet.
        let is_heard = interest.is_wanted(&snapshot.deliver, None);
        let now = self.local.now;
        let waited = now >= snapshot.wait_until;
        if !is_heard && (snapshot.heard || waited) {
            let by_pattern = !interest.lookup(&snapshot.deliver).is_nobody();
            if snapshot.heard || !by_pattern {
                return Next::Failed("408 No Interest".into(), "no interest".into());
            }
        } else if !is_heard {
            return Next::Wait;
        }
        snapshot.heard |= is_heard;
        let mut made = 0;
        loop {
            if self.js_has_put_out_enough() || made >= TURN_BYTES {
                return Next::Again;
            }
            if snapshot.free == 0 {
                return match now >= snapshot.due {
                    true => Next::Failed("408 No Flow Response".into(), "no flow response".into()),
                    false => Next::Wait,
                };
            }
            if snapshot.packed.len() < snapshot.piece && !snapshot.whole {
                match self.js_fill(key, snapshot) {
                    Ok(0) => return Next::Wait,
                    Ok(bytes) => made += bytes,
                    Err(why) => return Next::Failed(format!("500 {why}"), why),
                }
                continue;
            }
            if snapshot.packed.len() < snapshot.piece {
                self.js_send_piece(snapshot, snapshot.packed.len(), "");
                return Next::Done;
            }
            snapshot.free -= 1;
            snapshot.sent += 1;
            snapshot.due = now + CONFIRM_WAIT;
            let (piece, number) = (snapshot.piece, snapshot.sent);
            let reply = format!("{}.{piece}.{number}", snapshot.confirm);
            self.js_send_piece(snapshot, piece, &reply);
        }
    }

    fn js_send_piece(&mut self, snapshot: &mut Snapshot, len: usize, reply: &str) {
        if len == 0 {
            return;
        }
        self.js_send(&Outgoing {
            account: snapshot.request.account,
            to: &snapshot.deliver,
            reply: (!reply.is_empty()).then_some(reply.as_bytes()),
            payload: &snapshot.packed[..len],
            ..Outgoing::default()
        });
        snapshot.packed.drain(..len);
    }

    /// Makes a block of archive; how many bytes it had before it was compressed. None while the
    /// disk has not brought the next message.
    fn js_fill(&mut self, key: StreamKey, snapshot: &mut Snapshot) -> Result<usize, String> {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return Err("stream is gone".into());
        };
        let store = hosted.stream.store_mut();
        while snapshot.plain.len() < BLOCK && !snapshot.whole {
            let next = store.next_match(snapshot.next, &Filter::All);
            let Some(seq) = next.filter(|&it| it <= snapshot.last) else {
                Entry::default().write(&mut snapshot.plain);
                snapshot.whole = true;
                break;
            };
            snapshot.next = seq;
            match store.fetch(seq) {
                Fetch::Reading => return Ok(0),
                Fetch::Absent => {}
                Fetch::Damaged => return Err(format!("message {seq} is damaged")),
                Fetch::Message(message) => {
                    let entry = Entry {
                        name: &message.subject,
                        time: message.time.0.cast_signed(),
                        seq,
                        headers: &message.headers,
                        payload: &message.payload,
                    };
                    entry.write(&mut snapshot.plain);
                }
            }
            snapshot.next = seq + 1;
        }
        let Snapshot {
            writer,
            encoder,
            plain,
            packed,
            ..
        } = snapshot;
        writer.write(plain, encoder, packed);
        let made = plain.len();
        plain.clear();
        Ok(made)
    }

    /// Ends a copy: with a status, except where one short piece was all.
    fn js_end_snapshot(
        &mut self,
        key: StreamKey,
        snapshot: &Snapshot,
        failed: Option<(&str, &str)>,
    ) {
        self.js_unregister(snapshot.receiver);
        let header = match failed {
            Some((status, _)) => format!("NATS/1.0 {status}\r\n\r\n"),
            None if snapshot.sent > 0 => "NATS/1.0 204\r\n\r\n".to_owned(),
            None => String::new(),
        };
        self.js_send(&Outgoing {
            account: snapshot.request.account,
            to: &snapshot.deliver,
            header: header.as_bytes(),
            ..Outgoing::default()
        });
        let hosted = self.jetstream.streams.at(key);
        let name = hosted.map(|it| it.stream.config().name.clone());
        let name = name.unwrap_or_default();
        let why = failed.map_or("", |it| it.1);
        let told = Copied::SnapshotComplete(snapshot.started, why);
        self.js_tell_of_copy(&snapshot.request, &name, told);
        let taken = Duration::from_nanos(self.local.wall.0.saturating_sub(snapshot.started.0));
        let (level, what, how) = match failed {
            Some(_) => (
                Level::Warn,
                "Snapshot",
                format!(" failed after {taken:?}: {why}"),
            ),
            None => (Level::Info, "Completed snapshot", format!(" in {taken:?}")),
        };
        self.js_log_copy(level, &snapshot.request, [what, &name, &how]);
    }

    /// The stream goes: its copies end.
    pub(super) fn js_end_snapshots(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        for snapshot in std::mem::take(&mut hosted.snapshots) {
            self.js_end_snapshot(key, &snapshot, Some(("500 stream closed", "stream closed")));
        }
    }
}
