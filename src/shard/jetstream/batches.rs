//! Messages that come as part of a batch.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::response::PubAck;
use crate::jetstream::stream::batch::{Abandoned, FastMessage, FastReply, SUFFIX, Staging};
use crate::jetstream::stream::headers::CLIENT_INFO;
use crate::protocol::headers;
use crate::shard::core::Core;
use crate::shard::identity::{event_id, rfc3339};

use super::acks::Body;
use super::hosted::{StreamKey, is_wanted};
use super::receive::{Arrived, Stored};
use super::send::Outgoing;

/// A batch nothing came of (JS-241).
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    /// Only where the system account hears of it.
    #[serde(skip_serializing_if = "str::is_empty")]
    account: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    batch: &'a str,
    reason: &'a str,
}

impl Core {
    /// Takes a message of an atomic batch, says why not, or stores them all (section 7).
    pub(super) fn js_stage(&mut self, key: StreamKey, message: &Arrived<'_>, id: &[u8]) -> Stored {
        let wall = self.local.wall;
        let Some(settings) = self.local.settings.jetstream.clone() else {
            return Stored::Answered;
        };
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return Stored::Answered;
        };
        let consumers = &jetstream.consumers;
        let wanted = |subject: &[u8]| is_wanted(&hosted.consumers, consumers, subject);
        let local = &mut self.local;
        let publish = message.publish(wall);
        let limits = (&settings.batches, &settings.in_flight);
        let staging = hosted
            .stream
            .stage(id, &publish, limits, wanted, || local.random());
        let reply = message.reply.filter(|_| !hosted.stream.config().no_ack);
        match staging {
            Ok(Staging::TooEarly) => return Stored::TooEarly,
            Ok(Staging::Staged) => {
                if let Some(reply) = reply {
                    self.js_send(&Outgoing {
                        account: message.account,
                        to: reply,
                        ..Outgoing::default()
                    });
                }
            }
            Ok(Staging::Committed { count, stored }) => {
                if let (Some(reply), Some((last, _))) = (reply, stored.last()) {
                    hosted
                        .acks
                        .push(last.seq, reply, end_of_ack(id, count).into());
                }
                for (accepted, payload) in stored {
                    self.js_stored(key, accepted, &payload);
                }
            }
            Err(error) => {
                let name = hosted.stream.config().name.clone();
                if let Some(reply) = reply {
                    self.js_refuse(message.account, &name, reply, error);
                }
            }
        }
        self.jetstream.touch(key);
        Stored::Answered
    }

    /// Takes a message of a fast batch, whose reply subject was `reply` where it was published
    /// (section 8).
    pub(super) fn js_ingest(
        &mut self,
        key: StreamKey,
        message: &Arrived<'_>,
        reply: &[u8],
    ) -> Stored {
        let wall = self.local.wall;
        let Some(settings) = self.local.settings.jetstream.clone() else {
            return Stored::Answered;
        };
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return Stored::Answered;
        };
        let consumers = &jetstream.consumers;
        let wanted = |subject: &[u8]| is_wanted(&hosted.consumers, consumers, subject);
        let local = &mut self.local;
        let publish = message.publish(wall);
        let said = FastMessage::parse(reply);
        let limits = (&settings.batches, &settings.in_flight);
        let before = hosted.stream.store().last_seq();
        let random = || local.random();
        let stream = &mut hosted.stream;
        let ingested = stream.ingest(said.as_ref(), &publish, limits, wanted, random);
        if ingested.too_early {
            return Stored::TooEarly;
        }
        let last = hosted.stream.store().last_seq();
        let config = hosted.stream.config();
        let id = said.map(|it| it.id()).unwrap_or_default();
        for told in &ingested.replies {
            let is_first = matches!(told, FastReply::Flow { sequence: 0, .. });
            let is_refusal = matches!(told, FastReply::Refused(_));
            if config.no_ack && (is_first || is_refusal) {
                continue;
            }
            let body = told_of(told, id, &config.name, &hosted.ack_front);
            let behind = if is_first { before } else { last };
            let to = message.reply.unwrap_or_default();
            hosted.acks.push_body(behind, to, Body::Whole(body));
        }
        if let Some((accepted, payload)) = ingested.stored {
            self.js_stored(key, accepted, &payload);
        }
        self.jetstream.touch(key);
        Stored::Answered
    }

    /// Tells those who listen of batches nothing came of, in the stream's account and in the system's.
    pub(super) fn js_tell_abandoned(&mut self, key: StreamKey) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let account = hosted.account;
        for Abandoned { id, reason } in hosted.stream.take_abandoned() {
            let Some(hosted) = self.jetstream.streams.at(key) else {
                return;
            };
            let stream = hosted.stream.config().name.clone();
            let subject = format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}");
            let settings = std::sync::Arc::clone(&self.local.settings);
            let name = settings.accounts.name(account);
            let system = settings.accounts.system().map(|it| (it, name));
            let own = (Some(account) != settings.accounts.system()).then_some((account, ""));
            for (hears, shown) in own.into_iter().chain(system) {
                let interest = &mut self.tables.of(hears).interest;
                if interest.lookup(subject.as_bytes()).is_nobody() {
                    continue;
                }
                let local = &mut self.local;
                let event = Event {
                    r#type: "io.nats.jetstream.advisory.v1.stream_batch_abandoned",
                    id: &event_id(|| local.random()),
                    timestamp: &rfc3339(local.wall),
                    account: shown,
                    stream: &stream,
                    domain: settings.jetstream.as_ref().map_or("", |it| &it.domain),
                    batch: &String::from_utf8_lossy(&id),
                    reason: reason.word(),
                };
                self.js_send(&Outgoing {
                    account: hears,
                    to: subject.as_bytes(),
                    reply: Some(b""),
                    payload: &to_json(&event),
                    ..Outgoing::default()
                });
            }
        }
    }
}

/// What a service's requester was asked to be answered on (JS-128).
#[derive(Deserialize)]
struct Requester {
    #[serde(default)]
    reply: String,
}

/// The reply subject of a message of a fast batch, as its publisher wrote it.
pub(super) fn fast_batch_of<'a>(message: &Arrived<'a>) -> Option<Cow<'a, [u8]>> {
    let reply = message.reply?;
    if reply.ends_with(SUFFIX) {
        return Some(Cow::Borrowed(reply));
    }
    if !reply.starts_with(b"_R_.") {
        return None;
    }
    // It came through an import, which has put a reply subject of its own in the place.
    let requester = headers::get(message.header, CLIENT_INFO)?;
    let requester: Requester = serde_json::from_slice(requester).ok()?;
    let reply = requester.reply.into_bytes();
    reply.ends_with(SUFFIX).then_some(Cow::Owned(reply))
}

/// One answer to a fast batch, as JSON.
fn told_of(told: &FastReply, id: &[u8], stream: &str, front: &[u8]) -> Vec<u8> {
    match told {
        FastReply::Flow { sequence, messages } => {
            format!(r#"{{"type":"ack","seq":{sequence},"msgs":{messages}}}"#).into()
        }
        FastReply::Gap { expected, sequence } => {
            format!(r#"{{"type":"gap","last_seq":{expected},"seq":{sequence}}}"#).into()
        }
        FastReply::Failed { sequence, error } => {
            let error = json!(error);
            format!(r#"{{"type":"err","seq":{sequence},"error":{error}}}"#).into()
        }
        FastReply::Committed {
            seq,
            count,
            duplicate,
        } => {
            let duplicate = if *duplicate {
                ",\"duplicate\": true"
            } else {
                ""
            };
            let end = end_of_ack(id, *count);
            [front, format!("{seq}{duplicate}{end}").as_bytes()].concat()
        }
        FastReply::Refused(error) => to_json(&PubAck {
            error: Some(error.clone()),
            stream,
            ..PubAck::default()
        }),
    }
}

/// What follows the sequence in the answer to the last message of a batch.
fn end_of_ack(id: &[u8], count: u64) -> String {
    let id = serde_json::Value::from(String::from_utf8_lossy(id));
    format!(",\"batch\":{id},\"count\":{count}}}")
}
