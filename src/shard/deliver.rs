//! One message to one receiver: the innermost step of the hot path.

use bytes::Bytes;

use crate::connection::close_reason::CloseReason;
use crate::delivery::outbound::SHARED_PAYLOAD_MIN;
use crate::ids::{ShardId, Slot};
use crate::limits;
use crate::mesh::claim::Claim;
use crate::protocol::encode;
use crate::routing::interest::Member;
use crate::shard::core::Local;

/// A message on its way to its receivers on this shard.
pub(super) struct Message<'a> {
    pub subject: &'a [u8],
    pub reply: Option<&'a [u8]>,
    /// Bytes of `body` that are its header; `None` without one.
    pub header_len: Option<usize>,
    pub header_size_text: &'a [u8],
    pub size_text: &'a [u8],
    /// Header and payload.
    pub body: &'a [u8],
    /// The same, shared; `None` where each receiver gets a copy.
    pub shared: Option<Bytes>,
    /// Publisher and its shard, for echo and back-pressure; `None` for the server itself.
    pub source: Option<(ShardId, Slot)>,
    /// Of a request whose requester is to hear if nobody receives it (CORE-71).
    pub claim: Option<Claim>,
}

impl Message<'_> {
    /// Shares the body if that pays for that many receivers.
    pub(super) fn share_for(&mut self, receivers: usize) {
        if receivers > 1 && self.body.len() >= SHARED_PAYLOAD_MIN && self.shared.is_none() {
            self.shared = Some(Bytes::copy_from_slice(self.body));
        }
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
        let Some(connection) = self.connections.at(member.connection) else {
            return false;
        };
        if connection.closing() {
            return false;
        }
        if !connection.options.echo && message.source == Some((self.id, connection.slot)) {
            return false;
        }
        if subscription.filtered
            && let Some(user) = &connection.user
            && let Some(permissions) = &user.permissions
            && !permissions.can_deliver(message.subject, queue)
        {
            return false;
        }
        let limits = &self.settings.limits;
        if limits.no_fast_producer_stall
            && message.source.is_some()
            && connection.outbound.pending() > limits.max_pending / 4 * 3
        {
            return false;
        }
        subscription.delivered += 1;
        if subscription.max > 0 {
            if subscription.delivered > subscription.max {
                return false; // its end is noted already
            }
            if subscription.delivered == subscription.max {
                self.expired.push(member.subscription);
            }
        }

        let out = connection.outbound.queue(&mut self.pool);
        let (sid, reply) = (&subscription.sid[..], message.reply);
        // A client that did not ask for headers gets the payload alone (CORE-38).
        let skip = match message.header_len {
            Some(header_len) if connection.limits.headers => {
                let sizes = (message.header_size_text, message.size_text);
                encode::hmsg_head(
                    &mut out.bytes,
                    message.subject,
                    sid,
                    reply,
                    sizes.0,
                    sizes.1,
                );
                debug_assert!(header_len <= message.body.len());
                0
            }
            Some(header_len) => {
                let mut size = encode::Decimal::new();
                let size = size.format(message.body.len() - header_len);
                encode::msg_head(&mut out.bytes, message.subject, sid, reply, size);
                header_len
            }
            None => {
                encode::msg_head(
                    &mut out.bytes,
                    message.subject,
                    sid,
                    reply,
                    message.size_text,
                );
                0
            }
        };
        match &message.shared {
            Some(shared) => out.push_shared(shared.slice(skip..)),
            None => out.bytes.extend_from_slice(&message.body[skip..]),
        }
        out.bytes.extend_from_slice(b"\r\n");

        let size = (message.body.len() - skip) as u64;
        connection.traffic.out_msgs += 1;
        connection.traffic.out_bytes += size;
        self.counters.out_msgs += 1;
        self.counters.out_bytes += size;
        if let Some(responses) = &mut connection.responses
            && let Some(reply) = reply
            && let Some(user) = &connection.user
            && let Some(permissions) = &user.permissions
            && !permissions.can_publish(reply)
        {
            responses.grant(reply, self.now);
        }
        let pending = connection.outbound.pending();
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(member.connection);
        }
        if self.settings.trace {
            let sid = subscription.sid.clone();
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
        let Some((shard, slot)) = source else { return };
        // One that does not read the answers to what it says has only itself to wait for.
        let own = shard == self.id && slot == connection.slot;
        if !own && !moving && pending <= max_pending / 4 * 3 {
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
