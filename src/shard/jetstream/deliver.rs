//! Messages on their way from a consumer to a client, and what their acknowledgement frees.

use crate::ids::AccountId;
use crate::jetstream::consumer::{Advisory, Delivery};
use crate::jetstream::store::{Filter, Store};
use crate::jetstream::stream::config::Retention;
use crate::shard::core::Core;
use crate::shard::identity::event_id;
use crate::shard::publish::Routed;

use super::hosted::ConsumerKey;
use super::send::Outgoing;

impl Core {
    /// Account of a consumer.
    pub(super) fn js_account_of(&self, key: ConsumerKey) -> Option<AccountId> {
        let it = self.jetstream.consumers.at(key)?;
        Some(self.jetstream.streams.at(it.stream)?.account)
    }

    /// Sends a message to whoever the consumer chose.
    pub(super) fn js_deliver(&mut self, key: ConsumerKey, delivery: &Delivery) {
        let Some(account) = self.js_account_of(key) else {
            return;
        };
        let mut reply = self.local.buffer();
        delivery.ack.write(&mut reply);
        let routed = self.js_send(&Outgoing {
            account,
            to: &delivery.to,
            shown: Some(&delivery.message.subject),
            reply: Some(&reply),
            header: &delivery.message.headers,
            payload: &delivery.message.payload,
            from: Some(key),
        });
        self.local.give_back(reply);
        if routed == Routed::Nobody {
            let (seq, to) = (delivery.message.seq, delivery.to.clone());
            self.js_with_consumer(key, |consumer, turn| consumer.undelivered(turn, seq, &to));
        }
    }

    /// Publishes what happened to a consumer, if anybody listens.
    pub(super) fn js_advise(&mut self, key: ConsumerKey, advisory: &Advisory) {
        let Some(account) = self.js_account_of(key) else {
            return;
        };
        let Some(it) = self.jetstream.consumers.at(key) else {
            return;
        };
        let names = it.consumer.names().clone();
        let subject = advisory.subject(&names);
        let interest = &mut self.tables.of(account).interest;
        if interest.lookup(subject.as_bytes()).is_nobody() {
            return;
        }
        let local = &mut self.local;
        let id = event_id(|| local.random());
        let body = advisory.json(&names, &id, local.wall);
        self.js_send(&Outgoing {
            account,
            to: subject.as_bytes(),
            payload: &body,
            ..Outgoing::default()
        });
    }

    /// A consumer needs a message no more: it goes if nobody else does (section 5).
    pub(super) fn js_release(&mut self, key: ConsumerKey, seq: u64) {
        let Some(stream) = self.jetstream.consumers.at(key).map(|it| it.stream) else {
            return;
        };
        self.js_release_from(stream, seq);
    }

    /// Removes a message of a stream that keeps messages for its consumers, if none needs it.
    pub(super) fn js_release_from(&mut self, stream: super::hosted::StreamKey, seq: u64) {
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(stream) else {
            return;
        };
        let retention = hosted.stream.config().retention;
        let Some(subject) = hosted.stream.store().subject_of(seq) else {
            return;
        };
        let consumers = &jetstream.consumers;
        let mut all = hosted.consumers.values().filter_map(|&it| consumers.at(it));
        let free = match retention {
            Retention::Limits => false,
            Retention::WorkQueue => true,
            Retention::Interest => !all.any(|it| it.consumer.needs(seq, subject)),
        };
        if free {
            hosted.stream.store_mut().remove(seq, false);
        }
    }

    /// Removes what nobody needs now that somebody has gone.
    pub(super) fn js_release_unwanted(&mut self, stream: super::hosted::StreamKey) {
        let Some(hosted) = self.jetstream.streams.at(stream) else {
            return;
        };
        if hosted.stream.config().retention != Retention::Interest {
            return;
        }
        let all = all_of(hosted.stream.store());
        for seq in all {
            self.js_release_from(stream, seq);
        }
    }

    /// Removes what all who want it have acknowledged already, now that this counts, or everything
    /// where there is no consumer (JS-114).
    pub(super) fn js_release_acknowledged(&mut self, stream: super::hosted::StreamKey) {
        let Some(hosted) = self.jetstream.streams.at(stream) else {
            return;
        };
        if hosted.stream.config().retention != Retention::Interest {
            return;
        }
        let store = hosted.stream.store();
        let consumers = &self.jetstream.consumers;
        let is_wanted = |seq: u64| {
            if hosted.consumers.is_empty() {
                return true;
            }
            let mut all = hosted.consumers.values().filter_map(|&it| consumers.at(it));
            let subject = store.subject_of(seq);
            subject.is_some_and(|it| all.any(|one| one.consumer.settings().filter.matches(it)))
        };
        let mut all = all_of(store);
        all.retain(|&seq| is_wanted(seq));
        for seq in all {
            self.js_release_from(stream, seq);
        }
    }
}

/// Sequences of all messages.
fn all_of(store: &Store) -> Vec<u64> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(seq) = store.next_match(from, &Filter::All) {
        all.push(seq);
        from = seq + 1;
    }
    all
}
