//! One message to one receiver: the innermost step of the hot path.

use bytes::Bytes;

use crate::connection::close_reason::CloseReason;
use crate::delivery::outbound::{Chunk, SHARED_PAYLOAD_MIN};
use crate::ids::{AccountId, ShardId, Slot};
use crate::limits;
use crate::mesh::claim::Claim;
use crate::protocol::encode::{self, Decimal};
use crate::protocol::op::Publish;
use crate::routing::interest::Member;
use crate::shard::core::Local;
use crate::shard::jetstream::pace::is_consumer;
use crate::shard::services::Hop;

/// A message on its way to its receivers on this shard.
pub(super) struct Message<'a> {
    /// Account its subject is in.
    pub account: AccountId,
    /// It came through a service import: stream imports do not take it on.
    pub crossed: bool,
    /// It comes through a stream import.
    pub renamed: bool,
    /// The service import it came through last.
    pub hop: Option<&'a Hop<'a>>,
    /// Who receives it, where those are not the receivers of its subject.
    pub to: Option<&'a [u8]>,
    pub subject: &'a [u8],
    /// Empty, not absent, in what the server says of itself: stock leaves room for it there, so that
    /// two spaces stand before the size.
    pub reply: Option<&'a [u8]>,
    /// Bytes of `body` that are its header; `None` without one.
    pub header_len: Option<usize>,
    pub header_size_text: &'a [u8],
    pub size_text: &'a [u8],
    /// Header and payload.
    pub body: &'a [u8],
    /// The same, shared; `None` where each receiver gets a copy.
    pub shared: Option<Bytes>,
    /// The end of the delivery as one piece, see [`crate::protocol::op::Publish::tail`]; empty where
    /// it must be put together.
    pub tail: &'a [u8],
    /// Publisher and its shard, for echo and back-pressure; `None` for the server itself.
    pub source: Option<(ShardId, Slot)>,
    /// Of a request whose requester is to hear if nobody receives it (CORE-71).
    pub claim: Option<Claim>,
}

/// Room for the sizes of a message that no peer has written.
#[derive(Default)]
pub(super) struct Sizes {
    header: Decimal,
    total: Decimal,
}

impl<'a> Message<'a> {
    /// The subject whose receivers get it.
    #[inline]
    pub(super) fn destination(&self) -> &'a [u8] {
        self.to.unwrap_or(self.subject)
    }

    /// Where an answer is awaited.
    #[inline]
    pub(super) fn awaited(&self) -> Option<&'a [u8]> {
        self.reply.filter(|it| !it.is_empty())
    }

    /// What a connection published.
    #[inline]
    pub(super) fn published(
        account: AccountId,
        publish: &Publish<'a>,
        source: Option<(ShardId, Slot)>,
        claim: Option<Claim>,
    ) -> Self {
        // An empty header block is delivered as none at all.
        let header_len = (publish.header_len > 0).then_some(publish.header_len);
        let as_sent = publish.has_header == header_len.is_some();
        Self {
            account,
            crossed: false,
            renamed: false,
            hop: None,
            to: None,
            subject: publish.subject,
            reply: publish.reply,
            header_len,
            header_size_text: publish.header_size_text,
            size_text: publish.size_text,
            body: publish.body,
            shared: None,
            tail: if as_sent { publish.tail } else { b"" },
            source,
            claim,
        }
    }

    /// One of the server's own: `header_len` bytes of header, then the payload. Everybody hears it,
    /// whoever made the server say it.
    #[inline]
    pub(super) fn own(
        account: AccountId,
        subject: &'a [u8],
        body: &'a [u8],
        header_len: usize,
        sizes: &'a mut Sizes,
    ) -> Self {
        Self {
            account,
            crossed: false,
            renamed: false,
            hop: None,
            to: None,
            subject,
            reply: None,
            header_len: (header_len > 0).then_some(header_len),
            header_size_text: sizes.header.format(header_len),
            size_text: sizes.total.format(body.len()),
            body,
            shared: None,
            tail: b"",
            source: None,
            claim: None,
        }
    }

    /// Shares the body if that pays for that many receivers.
    pub(super) fn share_for(&mut self, receivers: usize) {
        if receivers > 1 && self.body.len() >= SHARED_PAYLOAD_MIN && self.shared.is_none() {
            self.shared = Some(Bytes::copy_from_slice(self.body));
            self.tail = b""; // it holds the body, which is not copied any more
        }
    }

    /// Appends the delivery piece by piece. Returns how much of the front of the body was left out.
    fn append(&self, out: &mut Chunk, sid: &[u8], headers: bool) -> usize {
        // A client that did not ask for headers gets the payload alone (CORE-38).
        let skip = match self.header_len {
            Some(header_len) if headers => {
                debug_assert!(header_len <= self.body.len());
                encode::hmsg_head(
                    &mut out.bytes,
                    self.subject,
                    sid,
                    self.reply,
                    self.header_size_text,
                    self.size_text,
                );
                0
            }
            Some(header_len) => {
                let mut size = encode::Decimal::new();
                let size = size.format(self.body.len() - header_len);
                encode::msg_head(&mut out.bytes, self.subject, sid, self.reply, size);
                header_len
            }
            None => {
                encode::msg_head(
                    &mut out.bytes,
                    self.subject,
                    sid,
                    self.reply,
                    self.size_text,
                );
                0
            }
        };
        match &self.shared {
            Some(shared) => out.push_shared(shared.slice(skip..)),
            None => out.bytes.extend_from_slice(&self.body[skip..]),
        }
        out.bytes.extend_from_slice(encode::CRLF);
        skip
    }
}

impl Local {
    /// Delivers to one subscription. False if it cannot take the message.
    pub(super) fn deliver(
        &mut self,
        member: Member,
        queue: Option<&[u8]>,
        message: &Message<'_>,
    ) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(member.subscription) else {
            return false;
        };
        if subscription.shadow.is_some() {
            return self.deliver_shadow(member, queue, message);
        }
        let Some(connection) = self.connections.at(member.connection) else {
            return self.deliver_internal(member, message);
        };
        if connection.closing() {
            return false;
        }
        if !connection.options.echo && message.source == Some((self.id, connection.slot)) {
            return false;
        }
        if subscription.filtered && connection.leaf.is_some() {
            return self.deliver_links(&[member], &[], message);
        }
        if subscription.filtered
            && let Some(user) = &connection.user
            && let Some(permissions) = &user.permissions
            && !match (&mut connection.delivery_cache, queue) {
                (Some(cache), None) => {
                    let ask = |subject: &[u8]| permissions.can_deliver(subject, None);
                    cache.allowed(message.subject, ask)
                }
                _ => permissions.can_deliver(message.subject, queue),
            }
        {
            return false;
        }
        let limits = &self.settings.limits;
        if limits.no_fast_producer_stall
            && message.source.is_some_and(|(_, it)| !is_consumer(it))
            && connection.outbound.pending() > limits.max_pending / 4 * 3
        {
            return false;
        }
        // What an import brings does not count towards the end of a subscription, as in stock.
        subscription.delivered += u64::from(!message.renamed);
        if subscription.max > 0 && !message.renamed {
            if subscription.delivered > subscription.max {
                return false; // its end is noted already
            }
            if subscription.delivered == subscription.max {
                self.expired.push(member.subscription);
            }
        }

        let out = connection.outbound.queue(&mut self.pool);
        let has_header = message.header_len.is_some();
        let mut skip = 0;
        if !message.tail.is_empty() && (!has_header || connection.limits.headers) {
            subscription.push_head(&mut out.bytes, message.subject, has_header);
            out.bytes.extend_from_slice(message.tail);
        } else {
            skip = message.append(out, subscription.sid(), connection.limits.headers);
        }

        let size = (message.body.len() - skip) as u64;
        connection.traffic.out_msgs += 1;
        connection.traffic.out_bytes += size;
        self.counters.out_msgs += 1;
        self.counters.out_bytes += size;
        if let Some(responses) = &mut connection.responses
            && let Some(reply) = message.awaited()
            && let Some(user) = &connection.user
            && let Some(permissions) = &user.permissions
            && !permissions.can_publish(reply)
        {
            responses.grant(reply, self.now);
        }
        let pending = connection.outbound.pending();
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push_back(member.connection);
        }
        if self.settings.trace {
            let sid: smallvec::SmallVec<[u8; 16]> = subscription.sid().into();
            self.trace_delivery(member.connection, &sid, message);
        }
        if pending > limits::receiver_high(self.settings.limits.max_pending) {
            self.pressed(member.connection, pending, message.source);
        }
        true
    }

    /// A receiver has much waiting: holds its publisher back while it makes progress, gives it up
    /// when it has more than it may (CORE-61, CORE-64).
    #[cold]
    pub(super) fn pressed(&mut self, index: u32, pending: usize, source: Option<(ShardId, Slot)>) {
        let max_pending = self.settings.limits.max_pending;
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        // What one turn brings may be more than `max_pending`: a receiver that has been sent nothing
        // of it yet is not slow. The batches of a turn bound what it can become.
        if pending > max_pending && connection.outbound.sending() {
            self.counters.slow_consumers += 1;
            self.counters.slow_links += u64::from(connection.leaf.is_some());
            let text = format!("Slow Consumer Detected: MaxPending of {max_pending} Exceeded");
            self.log(crate::shard::effects::Level::Info, index, &text);
            self.doomed
                .push((index, CloseReason::SlowConsumerPendingBytes));
            return;
        }
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        if self.settings.limits.no_fast_producer_stall {
            return;
        }
        let moving = self.now.since(connection.progress_at) < limits::PROGRESS_MAX;
        let Some((shard, slot)) = source else {
            return;
        };
        // One that does not read the answers to what it says has only itself to wait for.
        let own = shard == self.id && slot == connection.slot;
        // A consumer waits for its receivers: nobody else does.
        if !own && !moving && !is_consumer(slot) && pending <= max_pending / 4 * 3 {
            return;
        }
        let known = connection.stalled_sources.contains(&(shard, slot));
        if !known && connection.stalled_sources.len() >= limits::STALLED_SOURCES_MAX {
            return;
        }
        if !known {
            connection.stalled_sources.push((shard, slot));
        }
        // A publisher that is known and still sends was let go by its deadline: it is asked again,
        // over the mesh no more than once a turn.
        let again = std::mem::replace(&mut connection.pressed_at, self.now) != self.now;
        if shard == self.id {
            self.stall_for_receiver(slot, !known);
        } else if !known || again {
            self.peers.outgoing(shard).stall(slot, !known);
        }
    }
}
