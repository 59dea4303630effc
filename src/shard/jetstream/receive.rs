//! What arrives on the subjects of streams and consumers.

use bytes::Bytes;

use crate::ids::AccountId;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::consumer::config::AckPolicy;
use crate::jetstream::consumer::{AckToken, ack_patterns, flow_patterns};
use crate::jetstream::stream::headers::BATCH_ID;
use crate::jetstream::stream::{Accepted, Fate, Publish};
use crate::protocol::headers;
use crate::routing::interest::{Handler, InterestChange};
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::publish::Routed;
use crate::time::WallTime;

use super::api::REQUIRED_LEVEL;
use super::batches::fast_batch_of;
use super::hosted::{ConsumerKey, StreamKey, is_wanted};
use super::send::Outgoing;
use super::state::{Receiver, Registered};

impl Core {
    /// Adds a receiver to an account's interest. Other shards are told as of a subscription.
    pub(super) fn js_register(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        receiver: Receiver,
    ) -> u32 {
        let shares = matches!(receiver, Receiver::Direct(_));
        let number = self.jetstream.receivers.insert(Registered {
            account,
            pattern: pattern.into(),
            receiver,
            member: None,
        });
        if shares {
            let member = self.js_join(account, pattern, number);
            if let Some(registered) = self.jetstream.receivers.at_mut(number) {
                registered.member = Some(member);
            }
            return number;
        }
        let change = self.change_interest(account, pattern, None, |interest| {
            interest.add_handler(pattern, Handler::JetStream(number))
        });
        if change != InterestChange::None {
            let peers = &mut self.local.peers;
            peers.broadcast_interest(account, pattern, None, 1);
            // What copies a stream is a receiver, too: its consumer may wait on a shard that sleeps.
            self.js_interest_changed();
        }
        number
    }

    /// Makes the receivers of a consumer: none while its account may not use JetStream.
    pub(super) fn js_receive_for_consumer(&mut self, number: ConsumerKey) {
        let Some(account) = self.js_account_of(number) else {
            return;
        };
        let enabled = self.js_enabled(account);
        let Some(it) = self.jetstream.consumers.at_mut(number) else {
            return;
        };
        if enabled != it.receivers.is_empty() {
            return;
        }
        let before = std::mem::take(&mut it.receivers);
        let (names, config) = (it.consumer.names().clone(), &it.config);
        let (stream, name) = (&names.stream, &names.consumer);
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let mut wanted = vec![(next, Receiver::Next(number))];
        let acknowledged = !matches!(config.ack_policy, AckPolicy::None | AckPolicy::FlowControl);
        for pattern in ack_patterns(&names).into_iter().filter(|_| acknowledged) {
            wanted.push((pattern, Receiver::Ack(number)));
        }
        let flow_control = config.flow_control;
        for pattern in flow_patterns(&names).into_iter().filter(|_| flow_control) {
            wanted.push((pattern, Receiver::Flow(number)));
        }
        for receiver in before {
            self.js_unregister(receiver);
        }
        let wanted = wanted.into_iter().filter(|_| enabled);
        let receivers = wanted
            .map(|(pattern, receiver)| self.js_register(account, pattern.as_bytes(), receiver))
            .collect();
        if let Some(it) = self.jetstream.consumers.at_mut(number) {
            it.receivers = receivers;
        }
    }

    /// Takes a receiver out again.
    pub(super) fn js_unregister(&mut self, number: u32) {
        let Some(gone) = self.jetstream.receivers.remove(number) else {
            return;
        };
        if let Some(member) = gone.member {
            return self.js_leave(gone.account, &gone.pattern, member);
        }
        let change = self.change_interest(gone.account, &gone.pattern, None, |interest| {
            interest.remove_handler(&gone.pattern, Handler::JetStream(number))
        });
        if change != InterestChange::None {
            let peers = &mut self.local.peers;
            peers.broadcast_interest(gone.account, &gone.pattern, None, 0);
            self.js_interest_changed();
        }
    }

    /// Takes a message for a receiver of JetStream.
    pub(in crate::shard) fn jetstream_receives(
        &mut self,
        number: u32,
        message: &Message<'_>,
    ) -> Routed {
        let Some(registered) = self.jetstream.receivers.at(number) else {
            return Routed::Nobody;
        };
        match registered.receiver {
            Receiver::Publish(key) => self.js_publish(key, message),
            // These are members of a queue group.
            Receiver::Direct(_) => return Routed::Nobody,
            Receiver::Ack(key) => return self.js_acknowledged(key, message),
            Receiver::Next(key) => {
                let reply = message.reply.map(Bytes::copy_from_slice);
                let (header, body) = split(message);
                if headers::get(header, REQUIRED_LEVEL).is_some_and(is_beyond) {
                    self.js_send(&Outgoing {
                        account: message.account,
                        to: message.reply.unwrap_or_default(),
                        header: b"NATS/1.0 412 Required Api Level\r\n\r\n",
                        ..Outgoing::default()
                    });
                    return Routed::Here;
                }
                self.js_with_consumer(key, |consumer, turn| {
                    consumer.request(turn, reply.unwrap_or_default(), body);
                });
            }
            Receiver::SnapshotAck(key, id) => self.js_snapshot_confirmed(key, id),
            Receiver::Restore(key) => self.js_restore_piece(key, message),
            Receiver::Origin(key, origin) => self.js_origin_sends(key, origin, message),
            Receiver::Flow(key) => {
                let (header, _) = split(message);
                self.js_with_consumer(key, |consumer, turn| {
                    consumer.flow(turn, message.destination(), header);
                });
            }
        }
        Routed::Here
    }

    fn js_acknowledged(&mut self, key: ConsumerKey, message: &Message<'_>) -> Routed {
        let Some(token) = AckToken::parse(message.destination()) else {
            return Routed::Nobody;
        };
        let (_, body) = split(message);
        let reply = message.reply.map(Bytes::copy_from_slice);
        self.js_with_consumer(key, |consumer, turn| {
            consumer.ack(turn, token, reply.unwrap_or_default(), body);
        });
        Routed::Here
    }

    /// Stores a message, says why not, or lets it wait behind others.
    fn js_publish(&mut self, key: StreamKey, message: &Message<'_>) {
        if !self.js_takes(key, message) || self.js_waits_behind(key, message) {
            return;
        }
        let (header, payload) = split(message);
        let arrived = Arrived {
            account: message.account,
            subject: message.subject,
            reply: message.awaited(),
            header,
            payload,
        };
        if self.js_store(key, &arrived) == Stored::TooEarly {
            self.js_wait(key, message);
        }
    }

    /// Stores a message, or says why not.
    pub(super) fn js_store(&mut self, key: StreamKey, message: &Arrived<'_>) -> Stored {
        if let Some(reply) = fast_batch_of(message) {
            return self.js_ingest(key, message, &reply);
        }
        if let Some(id) = headers::get(message.header, BATCH_ID).filter(|it| !it.is_empty()) {
            return self.js_stage(key, message, id);
        }
        let wall = self.local.wall;
        let payload = message.payload;
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return Stored::Answered;
        };
        let consumers = &jetstream.consumers;
        let wanted = |subject: &[u8]| is_wanted(&hosted.consumers, consumers, subject);
        let local = &mut self.local;
        let publish = message.publish(wall);
        let outcome = hosted.stream.publish(&publish, wanted, || local.random());
        let reply = message.reply.filter(|_| !hosted.stream.config().no_ack);
        let accepted = match outcome {
            Ok(accepted) => accepted,
            Err(error) => {
                let name = hosted.stream.config().name.clone();
                if let Some(reply) = reply {
                    self.js_refuse(message.account, &name, reply, error);
                }
                return Stored::Answered;
            }
        };
        if accepted.fate == Fate::TooEarly {
            return Stored::TooEarly;
        }
        if let Some(reply) = reply {
            let end = match (&accepted.total, accepted.fate) {
                (Some(total), _) => format!(",\"val\":\"{total}\"}}").into(),
                (None, Fate::Duplicate) => ",\"duplicate\": true}".into(),
                (None, _) => "}".into(),
            };
            hosted.acks.push(accepted.seq, reply, end);
        }
        self.js_stored(key, accepted, payload);
        Stored::Answered
    }

    /// A message has been taken: consumers hear of it, and it is published again where that is
    /// asked for.
    pub(super) fn js_stored(&mut self, key: StreamKey, accepted: Accepted, payload: &[u8]) {
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return;
        };
        let account = hosted.account;
        if accepted.fate == Fate::Stored && !hosted.consumers.is_empty() {
            let keys = hosted.consumers.values().copied();
            let store = hosted.stream.store();
            // Under the name it is stored by.
            let subject = store.subject_of(accepted.seq).unwrap_or_default();
            for key in keys {
                if let Some(it) = jetstream.consumers.at_mut(key) {
                    it.ready |= it.consumer.appended(accepted.seq, subject);
                }
            }
        }
        jetstream.touch(key);
        if let Some(republish) = accepted.republish {
            let total = accepted.total.map(|it| format!("{{\"val\":\"{it}\"}}"));
            let payload = total.as_ref().map_or(payload, |it| it.as_bytes());
            let payload = if republish.headers_only { b"" } else { payload };
            self.js_send(&Outgoing {
                account,
                to: &republish.to,
                header: &republish.headers,
                payload,
                ..Outgoing::default()
            });
        }
    }

    /// Tells a publisher why its message is not stored (JS-86).
    pub(super) fn js_refuse(
        &mut self,
        account: AccountId,
        stream: &str,
        reply: &[u8],
        error: ApiError,
    ) {
        use crate::jetstream::api::encode::to_json;
        use crate::jetstream::api::response::PubAck;
        let body = to_json(&PubAck {
            error: Some(error),
            stream,
            ..PubAck::default()
        });
        self.js_send(&Outgoing {
            account,
            to: reply,
            payload: &body,
            ..Outgoing::default()
        });
    }
}

/// A message for a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub account: AccountId,
    pub subject: &'a [u8],
    pub reply: Option<&'a [u8]>,
    pub header: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> Arrived<'a> {
    /// It, as what is published into its stream.
    pub fn publish(&self, now: WallTime) -> Publish<'a> {
        Publish {
            subject: self.subject,
            headers: self.header,
            payload: self.payload,
            now,
            sourced: false,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is stored or refused.
    Answered,
    /// Nothing: the disk is asked for what it builds on.
    TooEarly,
}

/// Header block and body of a message.
pub(super) fn split<'a>(message: &Message<'a>) -> (&'a [u8], &'a [u8]) {
    message.body.split_at(message.header_len.unwrap_or(0))
}
