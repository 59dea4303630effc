//! Messages that come as part of a batch.

use serde::Serialize;

use crate::jetstream::api::encode::to_json;
use crate::jetstream::stream::Publish;
use crate::jetstream::stream::batch::{Abandoned, Staging};
use crate::shard::core::Core;
use crate::shard::identity::{event_id, rfc3339};

use super::hosted::StreamKey;
use super::receive::{Arrived, Stored};
use super::send::Outgoing;

/// A batch nothing came of (JS-241).
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
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
        let wanted = |subject: &[u8]| {
            let mut all = hosted.consumers.values().filter_map(|&it| consumers.at(it));
            all.any(|it| it.consumer.settings().filter.matches(subject))
        };
        let local = &mut self.local;
        let publish = Publish {
            subject: message.subject,
            headers: message.header,
            payload: message.payload,
            now: wall,
            sourced: false,
        };
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

    /// Tells those who listen of batches nothing came of.
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
            let interest = &mut self.tables.of(account).interest;
            if interest.lookup(subject.as_bytes()).is_nobody() {
                continue;
            }
            let local = &mut self.local;
            let settings = local.settings.jetstream.clone();
            let event = Event {
                r#type: "io.nats.jetstream.advisory.v1.stream_batch_abandoned",
                id: &event_id(|| local.random()),
                timestamp: &rfc3339(local.wall),
                stream: &stream,
                domain: settings.as_ref().map_or("", |it| &it.domain),
                batch: &String::from_utf8_lossy(&id),
                reason: reason.word(),
            };
            self.js_send(&Outgoing {
                account,
                to: subject.as_bytes(),
                payload: &to_json(&event),
                ..Outgoing::default()
            });
        }
    }
}

/// What follows the sequence in the answer to the last message of a batch.
fn end_of_ack(id: &[u8], count: u64) -> String {
    let id = serde_json::Value::from(String::from_utf8_lossy(id));
    format!(",\"batch\":{id},\"count\":{count}}}")
}
