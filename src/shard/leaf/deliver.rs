//! Messages to the other side of leaf links.

use smallvec::SmallVec;

use crate::limits;
use crate::protocol::encode::{CRLF, Decimal};
use crate::protocol::leaf::encode::{Reply, message_head};
use crate::routing::interest::{Member, QueueDelivery};
use crate::shard::core::Local;
use crate::shard::deliver::Message;
use crate::shard::publish::Choice;

/// Links of this shard that were chosen for a queue group.
pub(in crate::shard) type LinkChoices<'a> = SmallVec<[(Member, &'a [u8]); 4]>;

impl Local {
    /// The part of a queue group's choice that is left when no member of this server can take the
    /// message: a link with members on the other side, by their number (TOPO-28).
    pub(in crate::shard) fn choose_link(
        &mut self,
        group: &QueueDelivery,
        message: &Message<'_>,
        tried: u64,
    ) -> Choice {
        if group.links.is_empty() && group.remote_links.is_empty() {
            return Choice::Nobody;
        }
        let mut total = 0;
        for link in &group.links {
            if self.may_pass(link.member.connection, message) {
                total += u64::from(link.weight);
            }
        }
        let mut at = self.random().checked_rem(total).unwrap_or(0);
        for link in &group.links {
            if total == 0 {
                break;
            }
            if !self.may_pass(link.member.connection, message) {
                continue;
            }
            match at.checked_sub(u64::from(link.weight)) {
                Some(rest) => at = rest,
                None => return Choice::Link(link.member),
            }
        }
        let random = self.random();
        let tried = tried | 1 << self.id.0;
        match group.next_link_shard(random, tried) {
            Some(shard) => Choice::Remote(shard, tried),
            None => Choice::Nobody,
        }
    }

    /// May this message leave by this link? Never by the one it came by, nor to the cluster it came
    /// from (TOPO-33).
    fn may_pass(&mut self, index: u32, message: &Message<'_>) -> bool {
        let (id, from_cluster) = (self.id, self.from_cluster);
        let Some(connection) = self.connections.at(index) else {
            return false;
        };
        let Some(leaf) = &connection.leaf else {
            return false;
        };
        let user = connection.user.as_ref();
        let permissions = user.and_then(|user| user.permissions.as_deref());
        !connection.closing()
            && message.source != Some((id, connection.slot))
            && (from_cluster == 0 || from_cluster != leaf.origin.cluster)
            && leaf.may_send(message.destination())
            && (leaf.solicited.is_some()
                || permissions.is_none_or(|it| it.can_deliver(message.destination(), None)))
    }

    /// Delivers to the links with plain interest and those chosen for a queue group: to each once,
    /// whatever brought it here. True if anybody has it.
    pub(in crate::shard) fn deliver_links(
        &mut self,
        links: &[Member],
        choices: &[(Member, &[u8])],
        message: &Message<'_>,
    ) -> bool {
        if links.is_empty() && choices.is_empty() {
            return false;
        }
        self.link_stamp += 1;
        let stamp = self.link_stamp;
        let mut delivered = false;
        let chosen = choices.iter().map(|(member, _)| member);
        for member in links.iter().chain(chosen) {
            let index = member.connection;
            let leaf = self.connections.at(index).and_then(|it| it.leaf.as_mut());
            let Some(leaf) = leaf else { continue };
            if std::mem::replace(&mut leaf.stamp, stamp) == stamp {
                continue;
            }
            if self.may_pass(index, message) {
                delivered |= match self.trace {
                    None => self.send_to_link(index, choices, message),
                    Some(_) => self.send_traced_to_link(index, choices, message),
                };
            }
        }
        delivered
    }

    pub(super) fn send_to_link(
        &mut self,
        index: u32,
        choices: &[(Member, &[u8])],
        message: &Message<'_>,
    ) -> bool {
        let now = self.now;
        let Some(connection) = self.connections.at(index) else {
            return false;
        };
        let own = |(member, _): &&(Member, &[u8])| member.connection == index;
        let mut names = choices.iter().filter(own).map(|&(_, name)| name).peekable();
        let header_len = message.header_len.filter(|_| connection.limits.headers);
        let skip = match (message.header_len, header_len) {
            (Some(len), None) => len,
            _ => 0,
        };
        let out = connection.outbound.queue(&mut self.pool);
        let bytes = &mut out.bytes;
        let has_header = header_len.is_some();
        let subject = message.destination();
        if skip == 0 && !message.tail.is_empty() && names.peek().is_none() {
            message_head(bytes, has_header, subject, None, names);
            bytes.extend_from_slice(message.tail);
        } else {
            let reply = message.awaited().map(|reply| Reply {
                subject: reply,
                seen: message.to.map(|_| message.subject),
            });
            message_head(bytes, has_header, subject, reply, names);
            if has_header {
                bytes.extend_from_slice(message.header_size_text);
                bytes.push(b' ');
            }
            let mut digits = Decimal::new();
            bytes.extend_from_slice(match skip {
                0 => message.size_text,
                skip => digits.format(message.body.len() - skip),
            });
            bytes.extend_from_slice(CRLF);
            match &message.shared {
                Some(shared) => out.push_shared(shared.slice(skip..)),
                None => out.bytes.extend_from_slice(&message.body[skip..]),
            }
            out.bytes.extend_from_slice(CRLF);
        }
        let size = (message.body.len() - skip) as u64;
        connection.traffic.out_msgs += 1;
        connection.traffic.out_bytes += size;
        self.counters.out_msgs += 1;
        self.counters.out_bytes += size;
        self.counters.out_links.msgs += 1;
        self.counters.out_links.bytes += size;
        if let Some(responses) = &mut connection.responses
            && let Some(reply) = message.awaited()
        {
            responses.grant(reply, now);
        }
        let pending = connection.outbound.pending();
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push_back(index);
        }
        if pending > limits::receiver_high(self.settings.limits.max_pending) {
            self.pressed(index, pending, message.source);
        }
        true
    }
}
