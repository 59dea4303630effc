//! What JetStream publishes: answers, messages for consumers, events.

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::api::response::error_response;
use crate::jetstream::api::subjects::Endpoint;
use crate::shard::core::Core;
use crate::shard::deliver::{Message, Sizes};
use crate::shard::publish::Routed;

use super::command::{Command, Request};
use super::hosted::{ConsumerKey, StreamKey};
use super::pace;

/// An answer that must not be there before the other shards know of new interest.
pub(super) struct Held {
    /// Changes of interest they must know.
    mark: u64,
    request: Request,
    answer: Answer,
}

/// What is answered to a request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Header block, or nothing.
    pub header: Vec<u8>,
    /// Body.
    pub body: Vec<u8>,
}

impl From<Vec<u8>> for Answer {
    fn from(body: Vec<u8>) -> Self {
        Self {
            header: Vec::new(),
            body,
        }
    }
}

/// A message JetStream sends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outgoing<'a> {
    pub account: AccountId,
    /// Whose receivers get it.
    pub to: &'a [u8],
    /// The subject they see, where it is another.
    pub shown: Option<&'a [u8]>,
    pub reply: Option<&'a [u8]>,
    pub header: &'a [u8],
    pub payload: &'a [u8],
    /// The consumer that hands it out.
    pub from: Option<ConsumerKey>,
}

impl Core {
    /// Publishes for JetStream.
    pub(super) fn js_send(&mut self, out: &Outgoing<'_>) -> Routed {
        let mut joined = self.local.buffer();
        let body = if out.header.is_empty() {
            out.payload
        } else if out.payload.is_empty() {
            out.header
        } else {
            joined.extend_from_slice(out.header);
            joined.extend_from_slice(out.payload);
            &joined
        };
        let (header_len, mut sizes) = (out.header.len(), Sizes::default());
        let subject = out.shown.unwrap_or(out.to);
        let mut message = Message {
            to: out.shown.map(|_| out.to),
            reply: out.reply,
            source: out.from.map(|it| (self.local.id, pace::publisher(it))),
            ..Message::own(out.account, subject, body, header_len, &mut sizes)
        };
        // What made it say so may have come over a link: this has not, and may go there.
        let from = std::mem::take(&mut self.local.from_cluster);
        let routed = self.route(&mut message);
        self.local.from_cluster = from;
        if routed == Routed::Elsewhere {
            self.jetstream.sent += (out.header.len() + out.payload.len() + 32) as u64;
        }
        self.local.give_back(joined);
        self.after_delivery();
        routed
    }

    /// Answers a request, from where it was published.
    pub(super) fn js_answer(&mut self, request: &Request, answer: impl Into<Answer>) {
        let answer = answer.into();
        let audited = request.client.is_some().then(|| answer.body.clone());
        self.js_reply(request, answer);
        if let Some(body) = audited {
            self.js_audit(request, &body);
        }
    }

    /// The same, and nobody else is told of it.
    pub(super) fn js_reply(&mut self, request: &Request, answer: impl Into<Answer>) {
        let answer = answer.into();
        let Some(reply) = &request.reply else {
            return;
        };
        if self.local.id != request.home {
            let answer = Command::Answer {
                account: request.account,
                to: reply.clone(),
                answer,
            };
            return self.js_command(request.home, answer);
        }
        self.js_send(&Outgoing {
            account: request.account,
            to: reply,
            header: &answer.header,
            payload: &answer.body,
            ..Outgoing::default()
        });
    }

    /// Answers a request with a value.
    pub(super) fn js_answer_json<T: serde::Serialize>(&mut self, request: &Request, value: &T) {
        self.js_answer(request, to_json(value));
    }

    /// Answers a request about a stream once what it tells is durable, and then once all shards know
    /// of the interest there is.
    pub(super) fn js_answer_once_kept(
        &mut self,
        key: StreamKey,
        request: &Request,
        answer: impl Into<Answer>,
    ) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let ticket = hosted.stream.store().ticket();
        hosted
            .settling
            .push_back((ticket, request.clone(), answer.into()));
        self.jetstream.touch(key);
    }

    /// Sends the answers whose tale is durable.
    pub(super) fn js_answer_settled(&mut self, key: StreamKey) {
        while let Some(hosted) = self.jetstream.streams.at_mut(key)
            && let Some((ticket, _, _)) = hosted.settling.front()
            && hosted.stream.store().is_settled(*ticket)
            && let Some((_, request, answer)) = hosted.settling.pop_front()
        {
            self.js_answer_after_interest(&request, answer);
        }
    }

    /// Answers a request once all shards know of the interest there is now: whoever has the answer
    /// may publish from anywhere.
    pub(super) fn js_answer_after_interest(
        &mut self,
        request: &Request,
        answer: impl Into<Answer>,
    ) {
        let peers = &mut self.local.peers;
        let mark = peers.interest_sent();
        if peers.reached(mark) {
            return self.js_answer(request, answer);
        }
        peers.hurry(mark);
        let request = request.clone();
        self.jetstream.held.push_back(Held {
            mark,
            request,
            answer: answer.into(),
        });
    }

    /// Sends the answers that waited for the other shards long enough.
    pub(super) fn js_release_held(&mut self) {
        while let Some(first) = self.jetstream.held.front() {
            if !self.local.peers.reached(first.mark) {
                return;
            }
            if let Some(held) = self.jetstream.held.pop_front() {
                self.js_answer(&held.request, held.answer);
            }
        }
    }

    /// Answers a request with an error.
    pub(super) fn js_fail(&mut self, request: &Request, endpoint: Endpoint, error: ApiError) {
        self.js_command(ShardId(0), Command::Failed(request.account, endpoint));
        self.js_answer(request, error_response(endpoint, error));
    }
}
