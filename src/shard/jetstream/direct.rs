//! Messages asked for directly, and not of a consumer (section 12, JS-25). A read that must wait for
//! the disk goes on where it was.

use std::collections::VecDeque;

use crate::ids::AccountId;
use crate::jetstream::api::decode::decode;
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::api::request::MessageGetRequest;
use crate::jetstream::api::subjects::ApiSubject;
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::store::{Fetch, Filter, Store, StoredMessage};
use crate::protocol::headers;
use crate::shard::core::Core;
use crate::shard::deliver::Message;

use super::api::REQUIRED_LEVEL;
use super::hosted::StreamKey;
use super::messages;
use super::receive::split;
use super::send::Outgoing;

/// Subjects a request for the last messages may match.
const RESULTS_MAX: usize = 1024;

/// A request that is being answered.
pub(super) struct DirectRead {
    account: AccountId,
    reply: Box<[u8]>,
    wanted: Wanted,
    no_headers: bool,
    /// More than one was asked for, so that the end is told.
    batch: bool,
    /// The end tells as of which sequence the answer is.
    up_to: Option<u64>,
    pending: u64,
    /// The one sent before.
    last: u64,
    sent: u64,
    bytes_left: usize,
    messages_left: u64,
}

/// Which messages are still to be sent.
enum Wanted {
    These(VecDeque<u64>),
    From(u64, Filter),
}

/// How a step of an answer ended.
enum Step {
    Send(StoredMessage),
    Reading,
    Done,
}

impl Core {
    /// A direct get.
    pub(super) fn js_direct_get(&mut self, key: StreamKey, message: &Message<'_>) {
        let Some(reply) = message.reply else {
            return;
        };
        match self.js_read_of(key, message, reply) {
            Err(status) => {
                let header = format!("NATS/1.0 {status}\r\n\r\n");
                self.js_send(&Outgoing {
                    account: message.account,
                    to: reply,
                    header: header.as_bytes(),
                    ..Outgoing::default()
                });
            }
            Ok(read) => {
                if let Some(hosted) = self.jetstream.streams.at_mut(key) {
                    hosted.reads.push_back(read);
                }
                self.js_go_on_reading(key);
                let hosted = self.jetstream.streams.at(key);
                // What is not done yet goes on, and waits for the disk only if that is asked.
                if hosted.is_some_and(|it| !it.reads.is_empty()) {
                    self.jetstream.touch(key);
                }
            }
        }
    }

    /// Understands a request, or says what is wrong with it.
    fn js_read_of(
        &self,
        key: StreamKey,
        message: &Message<'_>,
        reply: &[u8],
    ) -> Result<DirectRead, &'static str> {
        const BAD: &str = "408 Bad Request";
        const NOT_FOUND: &str = "404 Message Not Found";
        let (header, body) = split(message);
        if headers::get(header, REQUIRED_LEVEL).is_some_and(is_beyond) {
            return Err("412 Required Api Level");
        }
        let subject = ApiSubject::parse(message.destination()).ok_or(BAD)?;
        let mut asked = MessageGetRequest::default();
        if !body.is_empty() {
            asked = decode(body, false).map_err(|_| "408 Malformed Request")?;
        } else if subject.rest.is_empty() {
            return Err("408 Empty Request");
        }
        if subject.rest.is_empty() {
            check(&asked)?;
        } else {
            let only = MessageGetRequest {
                no_hdr: asked.no_hdr,
                max_bytes: asked.max_bytes,
                ..MessageGetRequest::default()
            };
            if asked != only {
                return Err(BAD);
            }
            asked.last_by_subj = subject.rest.to_owned();
        }
        let hosted = self.jetstream.streams.at(key).ok_or(NOT_FOUND)?;
        let store = hosted.stream.store();
        let bytes = usize::try_from(asked.max_bytes).ok().filter(|it| *it > 0);
        let mut read = DirectRead {
            account: message.account,
            reply: reply.into(),
            wanted: Wanted::These(VecDeque::new()),
            no_headers: asked.no_hdr,
            batch: asked.batch > 0,
            up_to: None,
            pending: 0,
            last: 0,
            sent: 0,
            bytes_left: bytes.unwrap_or(self.local.settings.limits.max_pending),
            messages_left: u64::try_from(asked.batch).unwrap_or(0).max(1),
        };
        if !asked.multi_last.is_empty() {
            read.want_last(store, &asked)?;
        } else if read.batch {
            let from = match asked.start_time {
                Some(time) => store.time_to_seq(time.wall()),
                None => asked.seq,
            };
            let filter = match &asked.next_by_subj[..] {
                "" => Filter::All,
                pattern => Filter::new(&[pattern]),
            };
            read.pending = store.count(from, &filter);
            store.next_match(from, &filter).ok_or(NOT_FOUND)?;
            read.wanted = Wanted::From(from, filter);
        } else {
            let seq = messages::find(store, &asked).ok_or(NOT_FOUND)?;
            read.wanted = Wanted::These([seq].into());
        }
        Ok(read)
    }

    /// Goes on with the answers of a stream, in order, until one waits for the disk, or this turn has
    /// put out enough. Says whether there is more to send at once.
    pub(super) fn js_go_on_reading(&mut self, key: StreamKey) -> bool {
        while !self.js_has_put_out_enough()
            && let Some(hosted) = self.jetstream.streams.at_mut(key)
            && let Some(mut read) = hosted.reads.pop_front()
        {
            let name = hosted.stream.config().name.clone();
            match read.step(hosted.stream.store_mut()) {
                Step::Reading => {
                    hosted.reads.push_front(read);
                    return false;
                }
                Step::Send(message) => {
                    let header = read.header(&name, &message);
                    self.js_send(&Outgoing {
                        account: read.account,
                        to: &read.reply,
                        header: &header,
                        payload: &message.payload,
                        ..Outgoing::default()
                    });
                    if let Some(hosted) = self.jetstream.streams.at_mut(key) {
                        hosted.reads.push_front(read);
                    }
                }
                Step::Done => {
                    if let Some(header) = read.end() {
                        self.js_send(&Outgoing {
                            account: read.account,
                            to: &read.reply,
                            header: header.as_bytes(),
                            ..Outgoing::default()
                        });
                    }
                }
            }
        }
        let hosted = self.jetstream.streams.at(key);
        hosted.is_some_and(|it| !it.reads.is_empty())
    }
}

/// Do the fields of a request go together (JS-161)?
fn check(asked: &MessageGetRequest) -> Result<(), &'static str> {
    let (last, next) = (
        !asked.last_by_subj.is_empty(),
        !asked.next_by_subj.is_empty(),
    );
    let (multi, timed) = (!asked.multi_last.is_empty(), asked.start_time.is_some());
    if asked.seq == 0 && !last && !next && !multi && !timed {
        return Err("408 Empty Request");
    }
    let contradicts = (asked.seq > 0 && (last || timed))
        || (last && (timed || next || multi || asked.batch > 0))
        || (next && multi)
        || (asked.up_to_seq > 0 && asked.up_to_time.is_some());
    match contradicts {
        true => Err("408 Bad Request"),
        false => Ok(()),
    }
}

impl DirectRead {
    /// The last messages of subjects (JS-164).
    fn want_last(&mut self, store: &Store, asked: &MessageGetRequest) -> Result<(), &'static str> {
        const NONE: &str = "404 No Results";
        let state = store.state();
        let mut up_to = asked.up_to_seq;
        if let Some(time) = asked.up_to_time {
            up_to = store.time_to_seq(time.wall());
            if up_to <= state.first_seq {
                return Err(NONE);
            }
            up_to -= 1;
        }
        if up_to == 0 {
            up_to = state.last_seq;
        }
        let filter = Filter::new(&asked.multi_last);
        let mut seqs = store.last_per_subject(&filter, up_to);
        seqs.retain(|&it| it >= asked.seq);
        if seqs.len() > RESULTS_MAX {
            return Err("413 Too Many Results");
        }
        if seqs.is_empty() {
            return Err(NONE);
        }
        self.pending = seqs.len() as u64;
        if asked.batch <= 0 {
            self.messages_left = u64::MAX;
        }
        self.wanted = Wanted::These(seqs.into());
        self.batch = true;
        self.up_to = Some(up_to);
        Ok(())
    }

    fn step(&mut self, store: &mut Store) -> Step {
        while self.messages_left > 0 && self.bytes_left > 0 {
            let seq = match &self.wanted {
                Wanted::These(seqs) => seqs.front().copied(),
                Wanted::From(from, filter) => store.next_match(*from, filter),
            };
            let Some(seq) = seq else { break };
            let fetched = store.fetch(seq);
            if fetched == Fetch::Reading {
                return Step::Reading;
            }
            match &mut self.wanted {
                Wanted::These(seqs) => drop(seqs.pop_front()),
                Wanted::From(from, _) => *from = seq + 1,
            }
            let Fetch::Message(message) = fetched else {
                continue;
            };
            self.messages_left -= 1;
            let size = message.subject.len() + message.headers.len() + message.payload.len();
            self.bytes_left = self.bytes_left.saturating_sub(size);
            self.pending = self.pending.saturating_sub(1);
            self.sent += 1;
            return Step::Send(message);
        }
        Step::Done
    }

    /// The header block a message is sent with (JS-160, JS-163).
    fn header(&mut self, stream: &str, message: &StoredMessage) -> Vec<u8> {
        let before = std::mem::replace(&mut self.last, message.seq);
        if self.no_headers {
            return Vec::new();
        }
        let mut block = match message.headers.strip_suffix(b"\r\n") {
            Some(block) => block.to_vec(),
            None => b"NATS/1.0\r\n".to_vec(),
        };
        let subject = String::from_utf8_lossy(&message.subject);
        let time = Timestamp::from(message.time);
        let mut lines = format!(
            "Nats-Stream: {stream}\r\nNats-Subject: {subject}\r\nNats-Sequence: {}\r\nNats-Time-Stamp: {time}\r\n",
            message.seq
        );
        if self.batch {
            let pending = self.pending;
            lines += &format!("Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\n");
        }
        block.extend_from_slice(lines.as_bytes());
        block.extend_from_slice(b"\r\n");
        block
    }

    /// The header block that ends the answer, if it has one.
    fn end(&self) -> Option<String> {
        if !self.batch {
            return (self.sent == 0).then(|| "NATS/1.0 404 Message Not Found\r\n\r\n".to_owned());
        }
        let (pending, last) = (self.pending, self.last);
        let mut block = format!(
            "NATS/1.0 204 EOB\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n"
        );
        if let Some(up_to) = self.up_to {
            block += &format!("Nats-UpTo-Sequence: {up_to}\r\n");
        }
        Some(block + "\r\n")
    }
}
