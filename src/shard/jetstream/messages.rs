//! Single messages of a stream, and purges (JS-24 to JS-26).

use crate::jetstream::api::decode::{decode, is_empty, is_json};
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::request::{MessageDeleteRequest, MessageGetRequest, StreamPurgeRequest};
use crate::jetstream::api::response::{
    MessageGot, Purged, Response, StoredMessageInfo, Success, error_response,
};
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::store::{Fetch, Filter, Purge, Store};
use crate::jetstream::stream::config::Storage;
use crate::shard::core::Core;

use super::command::Request;
use super::hosted::StreamKey;

impl Core {
    /// JS-24.
    pub(super) fn js_purge(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        let asked: StreamPurgeRequest = match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?,
            false => StreamPurgeRequest::default(),
        };
        if asked.seq > 0 && asked.keep > 0 {
            return Err(errors::BAD_REQUEST);
        }
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        if !self.js_keep_positions(key) {
            let hosted = self.jetstream.streams.at_mut(key);
            let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
            hosted.retry.push(request.clone());
            return Ok(());
        }
        let hosted = self.jetstream.streams.at_mut(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let config = hosted.stream.config();
        if config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        if config.deny_purge {
            return Err(errors::stream_purge_failed("stream purge not permitted"));
        }
        let filter = match &asked.filter[..] {
            "" => Filter::All,
            pattern => Filter::new(&[pattern]),
        };
        let purged = hosted.stream.purge(Purge {
            filter: &filter,
            up_to: asked.seq,
            keep: asked.keep,
        });
        self.jetstream.touch(key);
        let content = Purged {
            success: true,
            purged,
        };
        self.js_answer_json(request, &Response::new(Endpoint::StreamPurge, content));
        Ok(())
    }

    /// JS-25.
    pub(super) fn js_message_get(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        if is_empty(&request.body) {
            return Err(errors::BAD_REQUEST);
        }
        let asked: MessageGetRequest =
            decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?;
        let (last, next) = (
            !asked.last_by_subj.is_empty(),
            !asked.next_by_subj.is_empty(),
        );
        let nothing = asked.seq == 0 && !last && !next && asked.start_time.is_none();
        let both = last && (asked.seq > 0 || next);
        let timed = asked.start_time.is_some() && (asked.seq > 0 || last);
        if nothing || both || timed || asked.batch != 0 || asked.max_bytes != 0 {
            return Err(errors::BAD_REQUEST);
        }
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        let hosted = self.jetstream.streams.at_mut(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let store = hosted.stream.store_mut();
        let seq = find(store, &asked).ok_or(errors::NO_MESSAGE_FOUND)?;
        let message = match store.fetch(seq) {
            Fetch::Message(message) => message,
            Fetch::Reading => {
                hosted.retry.push(request.clone());
                self.jetstream.touch(key);
                return Ok(());
            }
            Fetch::Absent | Fetch::Damaged => return Err(errors::NO_MESSAGE_FOUND),
        };
        let subject = String::from_utf8_lossy(&message.subject);
        let content = MessageGot {
            message: StoredMessageInfo {
                subject: &subject,
                seq,
                hdrs: if asked.no_hdr { b"" } else { &message.headers },
                data: &message.payload,
                time: message.time.into(),
            },
        };
        // Of these nobody is told (JS-11).
        let answer = to_json(&Response::new(Endpoint::MessageGet, content));
        self.js_reply(request, answer);
        Ok(())
    }

    /// JS-26.
    pub(super) fn js_message_delete(
        &mut self,
        request: &Request,
        key: Option<StreamKey>,
    ) -> Result<(), ApiError> {
        if is_empty(&request.body) {
            return Err(errors::BAD_REQUEST);
        }
        let asked: MessageDeleteRequest =
            decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?;
        let key = key.ok_or(errors::STREAM_NOT_FOUND)?;
        let hosted = self.jetstream.streams.at_mut(key);
        let hosted = hosted.ok_or(errors::STREAM_NOT_FOUND)?;
        let config = hosted.stream.config();
        if config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        if config.deny_delete {
            return Err(errors::stream_msg_delete_failed(
                "message delete not permitted",
            ));
        }
        let on_disk = config.storage == Storage::File;
        let state = hosted.stream.store().state();
        if hosted.stream.remove(asked.seq, !asked.no_erase) {
            self.jetstream.touch(key);
            let done = Response::new(Endpoint::MessageDelete, Success { success: true });
            self.js_answer_json(request, &done);
            return Ok(());
        }
        let first = if state.messages > 0 {
            state.first_seq
        } else {
            u64::MAX
        };
        let error = match asked.seq {
            seq if !on_disk => errors::sequence_not_found(seq),
            seq if seq > state.last_seq => errors::stream_msg_delete_failed("stream store EOF"),
            seq if seq < first => errors::stream_msg_delete_failed("no message found"),
            seq => errors::sequence_not_found(seq),
        };
        // What is not there is no error to those who count them.
        self.js_answer(request, error_response(Endpoint::MessageDelete, error));
        Ok(())
    }
}

/// The message a request means.
pub(super) fn find(store: &Store, asked: &MessageGetRequest) -> Option<u64> {
    if !asked.last_by_subj.is_empty() {
        let filter = Filter::new(&[asked.last_by_subj.as_bytes()]);
        return store.last_match(&filter, u64::MAX);
    }
    let from = match asked.start_time {
        Some(time) => store.time_to_seq(time.wall()),
        None => asked.seq,
    };
    if !asked.next_by_subj.is_empty() {
        let filter = Filter::new(&[asked.next_by_subj.as_bytes()]);
        return store.next_match(from, &filter);
    }
    match asked.start_time {
        Some(_) => store.next_match(from, &Filter::All),
        None => store.contains(from).then_some(from),
    }
}
