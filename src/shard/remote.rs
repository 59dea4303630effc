//! What other shards tell us.

use smallvec::SmallVec;

use crate::accounts::replies::PREFIX;
use crate::ids::{ShardId, Slot};
use crate::mesh::batch::{Batch, Body, Item, RemoteMessage};
use crate::mesh::claim::Claim;
use crate::routing::interest::Handler;
use crate::routing::links::Origin;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::leaf::LinkChoices;
use crate::shard::publish::{Choice, NOBODY, RemoteChoices, Routed};

/// Those of the handlers that other shards know of.
fn announced(plain: bool, handlers: &[Handler]) -> SmallVec<[Handler; 4]> {
    let announced = handlers.iter().filter(|it| plain && it.is_announced());
    announced.copied().collect()
}

impl Core {
    /// Applies a batch of another shard in its order, from `place` on, until this turn has put out
    /// `enough`. Returns where to go on, or `None` at its end.
    pub fn apply(
        &mut self,
        from: ShardId,
        batch: &Batch,
        place: usize,
        enough: u64,
    ) -> Option<usize> {
        if place == 0 {
            self.local.peers.received(from, batch);
        }
        let mut items = batch.items_from(place);
        while let Some(item) = items.next() {
            match item {
                Item::Interest {
                    account,
                    pattern,
                    queue,
                    weight,
                } => {
                    self.change_interest(account, pattern, queue, |interest| {
                        interest.set_remote(from, pattern, queue, weight);
                    });
                    self.local.peers.applied(from);
                }
                Item::Links {
                    account,
                    pattern,
                    queue,
                    cluster,
                    from_hub,
                    weight,
                } => {
                    let origin = Origin { cluster, from_hub };
                    self.change_interest(account, pattern, queue, |interest| {
                        interest.set_remote_links(from, pattern, queue, (origin, weight));
                    });
                    self.local.peers.applied(from);
                }
                Item::FromCluster(cluster) => self.local.from_cluster = cluster,
                Item::Mark => self.local.peers.applied(from),
                Item::Traced(mark) => self.local.trace_mark = Some((from, mark.into())),
                Item::About(publisher) => self.local.services.publisher_is(from, publisher),
                Item::Shown(subject) => self.local.shown = Some((from, subject.into())),
                Item::Message(message) => {
                    self.deliver_remote(from, &message);
                    self.local.from_cluster = 0;
                    self.local.services.publisher_was(from);
                }
                Item::Undelivered {
                    source,
                    claim,
                    subject,
                    reply,
                } => self.undelivered(source, claim, subject, reply),
                Item::Stall { slot, first } => self.local.stall_for_receiver(slot, first),
                Item::Resume(slot) => self.local.end_stall(slot),
            }
            if self.turn_output() >= enough {
                let place = items.place();
                if place.is_some() {
                    return place;
                }
            }
        }
        self.local.peers.finished(from, batch);
        None
    }

    /// Delivers a message published on another shard to our own subscriptions.
    fn deliver_remote(&mut self, from: ShardId, remote: &RemoteMessage<'_>) {
        let home = remote.home.unwrap_or(from);
        let shown = self.local.shown.take_if(|(by, _)| *by == from);
        let shown = shown.as_ref().map(|(_, subject)| &subject[..]);
        let source = (remote.source != NOBODY).then_some((home, remote.source));
        let mut message = Message {
            account: remote.account,
            crossed: remote.crossed,
            renamed: false,
            hop: None,
            to: shown.map(|_| remote.subject),
            subject: shown.unwrap_or(remote.subject),
            reply: remote.reply,
            header_len: remote.header_len,
            header_size_text: remote.header_size_text,
            size_text: remote.size_text,
            body: remote.body.as_slice(),
            tail: if shown.is_some() { b"" } else { remote.tail },
            shared: match remote.body {
                Body::Shared(bytes) => Some(bytes.clone()),
                Body::Inline(_) => None,
            },
            source,
            claim: remote.claim,
        };
        if self.local.trace_mark.is_some() {
            return self.apply_traced(from, home, remote, &message);
        }
        let mut delivered = false;
        let before = self.local.counters.sent();
        let table = self.tables.of(remote.account);
        let delivery = table.interest.lookup(remote.subject);
        // Requests have gone over where they were published.
        let handlers = announced(remote.plain, &delivery.handlers);
        if remote.plain {
            message.share_for(delivery.plain.len());
            for &member in &delivery.plain {
                delivered |= self.local.deliver(member, None, &message);
            }
        }
        let links: &[_] = if remote.plain { &delivery.links } else { &[] };
        let mut link_choices = LinkChoices::new();
        let mut choices = RemoteChoices::new();
        let mut tried = u64::MAX;
        for name in remote.queues {
            // The group may have left us since the sender looked.
            let Some(group) = delivery.queues.iter().find(|group| group.name[..] == *name) else {
                continue;
            };
            let at = self.local.random() as usize;
            match self.local.choose_local(group, &message, remote.tried, at) {
                Choice::Delivered => delivered = true,
                Choice::Nobody => {}
                Choice::Link(member) => link_choices.push((member, name)),
                Choice::Remote(shard, in_vain) => {
                    tried &= in_vain;
                    choices.push((shard, name));
                }
            }
        }
        delivered |= self.local.deliver_links(links, &link_choices, &message);
        table.sent_since(before, &self.local.counters);
        if !handlers.is_empty() {
            delivered |= self.hand_over(&handlers, &message) != Routed::Nobody;
        }
        let claim = remote.claim.filter(|_| !delivered);
        if !choices.is_empty() {
            self.local.forward(0, &choices, &message, tried, claim);
        } else if let Some(claim) = claim
            && let Some(reply) = remote.reply
        {
            self.give_back_claim(home, remote.source, claim, remote.subject, reply);
        }
        self.after_delivery();
    }

    /// Nobody here receives this part of a request.
    fn give_back_claim(
        &mut self,
        home: ShardId,
        requester: Slot,
        claim: Claim,
        subject: &[u8],
        reply: &[u8],
    ) {
        if home == self.local.id {
            self.undelivered(requester, claim, subject, reply);
        } else {
            let to_home = self.local.peers.outgoing(home);
            to_home.undelivered(requester, claim, subject, reply);
        }
    }

    /// As [`Core::deliver_remote`], for a traced message.
    #[cold]
    fn apply_traced(
        &mut self,
        from: ShardId,
        home: ShardId,
        remote: &RemoteMessage<'_>,
        message: &Message<'_>,
    ) {
        let Some((marked_by, mark)) = self.local.trace_mark.take() else {
            return;
        };
        debug_assert_eq!(marked_by, from, "the mark is right before its message");
        self.begin_remote_trace(&mark);
        let before = self.local.counters.sent();
        let mut delivered = self.deliver_remote_traced(remote, message);
        let table = self.tables.of(remote.account);
        table.sent_since(before, &self.local.counters);
        let delivery = table.interest.lookup(remote.subject);
        let handlers = announced(remote.plain, &delivery.handlers);
        for handler in handlers {
            delivered |= self.hand_over_traced(handler, message) != Routed::Nobody;
        }
        self.finish_trace();
        if !delivered && let (Some(claim), Some(reply)) = (remote.claim, remote.reply) {
            self.give_back_claim(home, remote.source, claim, remote.subject, reply);
        }
        self.after_delivery();
    }

    /// Part of a request came back: the requester is told once there is nobody left (CORE-71).
    fn undelivered(&mut self, requester: Slot, part: Claim, subject: &[u8], reply: &[u8]) {
        if !self.local.claims.give_back(part) {
            return;
        }
        let passed = match reply.starts_with(PREFIX) {
            true => self.give_up_reply(reply),
            false => None,
        };
        let (subject, reply) = match &passed {
            Some((subject, reply)) => (&subject[..], &reply[..]),
            None => (subject, reply),
        };
        if self.local.connections.of(requester).is_some() {
            self.no_responders(requester.index, subject, reply);
        }
    }
}
