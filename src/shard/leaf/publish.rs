//! Messages that come over a leaf link (TOPO-27, TOPO-28, TOPO-35).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{AccountId, Slot};
use crate::protocol::leaf::op::LeafMessage;
use crate::protocol::leaf::shown;
use crate::protocol::op::Publish;
use crate::routing::interest::{Delivery, Handler};
use crate::shard::core::{Core, Local};
use crate::shard::deliver::Message;
use crate::shard::message_trace::{Asked, is_asked};
use crate::shard::publish::{Choice, RemoteChoices, Routed};
use crate::shard::report::Volume;

/// Subjects that pass whatever the permissions say: answers, whose subjects nobody chooses.
const ANSWERS: [&[u8]; 2] = [b"_R_.", b"$JS.ACK."];

impl Core {
    /// LMSG or HMSG.
    pub(super) fn leaf_publish(&mut self, index: u32, message: &LeafMessage<'_>) {
        let now = self.local.now;
        let bytes = message.body.len() as u64;
        self.local.counters.in_msgs += 1;
        self.local.counters.in_bytes += bytes;
        let volume = Volume { msgs: 1, bytes };
        self.local.counters.in_links = self.local.counters.in_links.plus(volume);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.traffic.in_msgs += 1;
        connection.traffic.in_bytes += bytes;
        connection.keep_alive.last_in = now;
        let (account, slot) = (connection.account, connection.slot);
        let figures = &mut self.tables.of(account).figures;
        figures.received = figures.received.plus(volume);
        if !self.leaf_may_publish(index, message.subject) {
            return;
        }
        let header = message.header_len.unwrap_or(0);
        let block = message.body.get(..header).unwrap_or_default();
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if !block.is_empty() && is_asked(block, connection.tenant.trace.is_some()) {
            return self.leaf_publish_traced(index, slot, message);
        }
        self.leaf_publish_on(index, slot, message);
    }

    /// A message that asks for a trace (TOPO-38).
    #[cold]
    fn leaf_publish_traced(&mut self, index: u32, slot: Slot, message: &LeafMessage<'_>) {
        let asked = self.begin_trace(
            index,
            &Publish {
                subject: message.subject,
                reply: None,
                has_header: true,
                header_len: message.header_len.unwrap_or(0),
                header_size_text: b"",
                size_text: b"",
                body: message.body,
                line: b"",
                tail: b"",
            },
        );
        if !matches!(asked, Asked::Lost) {
            self.leaf_publish_on(index, slot, message);
        }
        self.finish_trace();
    }

    fn leaf_publish_on(&mut self, index: u32, slot: Slot, message: &LeafMessage<'_>) {
        let id = self.local.id;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.account;
        let tenant = Arc::clone(&connection.tenant);
        let cluster = connection.leaf.as_ref().map_or(0, |it| it.origin.cluster);
        let header_len = message.header_len.filter(|&len| len > 0);
        let shown = message.reply.and_then(shown::split);
        let as_sent = message.header_len.is_some() == header_len.is_some() && shown.is_none();
        let mut routed = Message {
            account,
            crossed: false,
            renamed: false,
            hop: None,
            to: shown.map(|_| message.subject),
            subject: shown.map_or(message.subject, |(_, seen)| seen),
            reply: shown.map_or(message.reply, |(reply, _)| Some(reply)),
            header_len,
            header_size_text: message.header_size_text,
            size_text: message.size_text,
            body: message.body,
            shared: None,
            tail: if as_sent { message.tail } else { b"" },
            source: Some((id, slot)),
            claim: None,
        };
        if let Some(reply) = routed.reply
            && message.subject.starts_with(b"$SYS.REQ.")
        {
            let parts = message.body.split_at(header_len.unwrap_or(0));
            self.ask_of_tenant((account, message.subject), reply, parts);
        }
        self.local.from_cluster = cluster;
        if tenant.mappings.is_empty() {
            self.leaf_route(&mut routed, Queues::Named(message));
        } else {
            let local = &mut self.local;
            let mut subject = local.buffer();
            let mapped = tenant
                .mappings
                .map(message.subject, &mut subject, || local.random());
            // Who mapped it could not know which groups are behind it.
            let queues = match mapped && message.queues.is_empty() {
                true => Queues::All,
                false => Queues::Named(message),
            };
            if mapped {
                self.trace_mapping(&subject);
                match &mut routed.to {
                    Some(to) => *to = &subject,
                    None => routed.subject = &subject,
                }
            }
            self.leaf_route(&mut routed, queues);
            self.local.give_back(subject);
        }
        self.local.from_cluster = 0;
        self.after_delivery();
    }

    /// May it? If not, it is told, and closed.
    pub(in crate::shard) fn leaf_may_publish(&mut self, index: u32, subject: &[u8]) -> bool {
        if ANSWERS.iter().any(|prefix| subject.starts_with(prefix)) {
            return true;
        }
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(leaf) = &connection.leaf else {
            return false;
        };
        let spoke = leaf.spoke;
        if leaf.solicited.is_some() || !leaf.may_receive(subject) {
            return leaf.may_receive(subject);
        }
        let allowed = self.local.is_allowed(index, subject)
            || self
                .local
                .connections
                .at(index)
                .and_then(|connection| connection.responses.as_mut())
                .is_some_and(|responses| responses.take(subject, now));
        if !allowed && !spoke {
            let shown = String::from_utf8_lossy(subject).into_owned();
            self.leaf_violation(index, "Publish", &shown);
        }
        allowed
    }

    fn leaf_route(&mut self, message: &mut Message<'_>, queues: Queues<'_>) {
        let before = self.local.counters.sent();
        let account: AccountId = message.account;
        let table = self.tables.of(account);
        let delivery = table.interest.lookup(message.destination());
        let handlers = SmallVec::<[Handler; 4]>::from_slice(&delivery.handlers);
        match queues {
            _ if self.local.trace.is_some() => {
                let named = match queues {
                    Queues::Named(named) => Some(named),
                    Queues::All => None,
                };
                self.local.fan_out_traced(delivery, message, named);
                table.sent_since(before, &self.local.counters);
                for handler in handlers {
                    self.hand_over_traced(handler, message);
                }
                return;
            }
            Queues::All => _ = self.local.fan_out(delivery, message),
            Queues::Named(named) => _ = self.local.fan_out_named(delivery, message, named),
        }
        table.sent_since(before, &self.local.counters);
        if !handlers.is_empty() {
            self.hand_over(&handlers, message);
        }
    }
}

/// Queue groups a message is for.
enum Queues<'a> {
    /// Those the other side named.
    Named(&'a LeafMessage<'a>),
    /// All.
    All,
}

impl Local {
    /// [`Local::fan_out`] to the plain subscriptions, and to those queue groups that are named.
    fn fan_out_named(
        &mut self,
        delivery: &Delivery,
        message: &mut Message<'_>,
        named: &LeafMessage<'_>,
    ) -> Routed {
        if named.queues.is_empty()
            && let Some(member) = delivery.only()
        {
            return match self.deliver(member, None, message) {
                true => Routed::Here,
                false => Routed::Nobody,
            };
        }
        let shards = delivery.remote_plain.count_ones() as usize;
        message.share_for(delivery.plain.len() + delivery.links.len() + shards);
        let message = &*message;
        let mut delivered = false;
        for &member in &delivery.plain {
            delivered |= self.deliver(member, None, message);
        }
        let mut choices = RemoteChoices::new();
        let mut link_choices = super::deliver::LinkChoices::new();
        let mut tried = u64::MAX;
        for name in named.queue_names() {
            let Some(group) = delivery.queues.iter().find(|it| it.name[..] == *name) else {
                continue;
            };
            match self.choose(group, message) {
                Choice::Delivered => delivered = true,
                Choice::Remote(shard, in_vain) => {
                    tried &= in_vain;
                    choices.push((shard, &group.name));
                }
                Choice::Link(member) => link_choices.push((member, &group.name)),
                Choice::Nobody => {}
            }
        }
        delivered |= self.deliver_links(&delivery.links, &link_choices, message);
        let elsewhere = delivery.remote_plain != 0 || !choices.is_empty();
        if elsewhere {
            self.forward(delivery.remote_plain, &choices, message, tried, None);
        }
        match (delivered, elsewhere) {
            (true, _) => Routed::Here,
            (false, true) => Routed::Elsewhere,
            (false, false) => Routed::Nobody,
        }
    }
}
