//! The end of a connection, and what is due at a time.

use std::sync::Arc;

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, NEVER, Phase};
use crate::connection::held::Backlog;
use crate::delivery::outbound::Chunk;
use crate::ids::Slot;
use crate::limits;
use crate::options::WriteTimeoutPolicy;
use crate::shard::core::{Core, Local};
use crate::shard::effects::{Effect, Level};
use crate::shard::query;
use crate::time::Nanos;

impl Core {
    /// Closes a connection: nothing more is taken from it, its interest is gone at once, what
    /// waits for it leaves if the reason allows.
    pub(super) fn close(&mut self, index: u32, reason: CloseReason) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        let is_client = connection.is_client;
        let is_leaf = connection.leaf.is_some();
        let was_there = is_client || connection.leaf.as_ref().is_some_and(|it| it.told);
        if was_there && self.local.settings.limits.max_closed_clients > 0 {
            self.remember(index, reason); // with its subscriptions, so before they go
        }
        if is_leaf {
            self.leaf_closed(index);
        }
        self.drop_subscriptions(index);
        if let Some(slot) = self.local.connections.at(index).map(|it| it.slot) {
            self.abandon_replies(slot);
        }
        self.leave_account(index, reason);
        self.release_sources(index);
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.phase = Phase::Closing(reason);
        connection.deadlines.auth = NEVER;
        connection.deadlines.ping = NEVER;
        connection.deadlines.stall = NEVER;
        connection.deadlines.transport = NEVER;
        connection.deadlines.expiry = NEVER;
        self.local.departed += u64::from(connection.admitted);
        self.local.counters.connections -= u64::from(is_client);
        connection.partial = Vec::new();
        connection.backlog = Backlog::default();
        if !reason.flushes() {
            connection.outbound.discard(&mut self.local.pool);
        } else if let Some(transport) = &mut connection.transport {
            transport.end(reason.websocket_status(), reason.text());
            if transport.has_output() && !std::mem::replace(&mut connection.dirty, true) {
                self.local.dirty.push_back(index);
            }
        }
        // Closing already: an event that cannot be delivered to it must not close it again.
        if is_leaf {
            self.leaf_ended(index, reason);
        }
        self.tell_disconnected(index, reason);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if !connection.has_output() || !reason.flushes() {
            self.local.release(index);
        } else {
            connection.deadlines.linger = now + limits::LINGER_MAX;
            self.local.arm(index);
        }
        if is_client {
            self.local.debug(index, || {
                format!("Client connection closed: {}", reason.text())
            });
        }
    }

    /// Keeps what monitoring shows of a connection that ends.
    fn remember(&mut self, index: u32, reason: CloseReason) {
        let (now, wall, shard) = (self.local.now, self.local.wall, self.local.id);
        let Local {
            connections,
            subscriptions,
            closed,
            ..
        } = &mut self.local;
        let Some(connection) = connections.at(index) else {
            return;
        };
        let mut report = query::describe(connection, shard, wall, now);
        report.closed = Some((wall, reason.text()));
        let kept = connection.sids.iter().take(limits::CLOSED_SUBSCRIPTIONS);
        report.subscriptions_list = kept
            .filter_map(|&id| subscriptions.get(id))
            .map(|it| query::subscription(it, &connection.tenant.name, connection.cid))
            .collect();
        closed.push(report);
    }

    /// The peer has closed, or its connection broke.
    pub fn ended(&mut self, index: u32, orderly: bool) {
        let reason = if orderly {
            CloseReason::ClientClosed
        } else {
            CloseReason::ReadError
        };
        self.finish_handshake(index);
        // What else it sent before and we held back is lost with it, as with stock.
        self.close(index, reason);
    }

    /// A chunk given out by [`Core::next_send`] came back.
    pub fn sent(&mut self, index: u32, chunk: Box<Chunk>, complete: bool) {
        let now = self.local.now;
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        let bytes = chunk.len();
        let late_since = connection.late_since.take();
        let at_once = connection.progress_at == local.last_turn;
        connection.outbound.sent(chunk, at_once, &mut local.pool);
        let more = connection.has_output();
        connection.deadlines.write = NEVER;
        connection.progress_at = now;
        if connection.closing() {
            if !complete || !more {
                connection.outbound.discard(&mut local.pool);
                connection.deadlines.linger = NEVER;
                return local.release(index);
            }
        } else if !complete {
            return self.close(index, CloseReason::WriteError);
        }
        if more && !std::mem::replace(&mut connection.dirty, true) {
            local.dirty.push_back(index);
        }
        if let Some(since) = late_since {
            self.recovered(index, since, bytes);
        }
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        if !connection.stalled_sources.is_empty()
            && connection.outbound.pending()
                <= limits::receiver_low(local.settings.limits.max_pending)
        {
            self.release_sources(index);
        }
    }

    /// Lets the publishers go on that were held back for this receiver.
    fn release_sources(&mut self, index: u32) {
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        let mut sources = std::mem::take(&mut connection.stalled_sources);
        for (shard, slot) in sources.drain(..) {
            if shard == local.id {
                local.end_stall(slot);
            } else {
                local.peers.outgoing(shard).resume(slot);
            }
        }
        if let Some(connection) = local.connections.at(index) {
            connection.stalled_sources = sources;
        }
    }

    /// Closes what a delivery found to be beyond help.
    pub(super) fn close_doomed(&mut self) {
        while let Some((index, reason)) = self.local.doomed.pop() {
            self.close(index, reason);
        }
    }

    /// Does everything that is due.
    pub fn tick(&mut self) {
        let now = self.local.now;
        self.expire_replies();
        while let Some((at, slot)) = self.local.timers.expire(now) {
            let Some(connection) = self.local.connections.of(slot) else {
                continue;
            };
            if connection.deadlines.armed != at {
                continue; // overtaken by an earlier one, which has taken care of it
            }
            connection.deadlines.armed = NEVER;
            self.due(slot, now);
            self.local.arm(slot.index);
        }
        self.close_gradually();
    }

    fn due(&mut self, slot: Slot, now: Nanos) {
        let is_due = |deadline: fn(&Connection) -> Nanos, core: &mut Self| {
            core.local
                .connections
                .of(slot)
                .is_some_and(|connection| deadline(connection) <= now)
        };
        let index = slot.index;
        if is_due(|it| it.deadlines.stall, self) {
            self.local.go_on(slot);
        }
        if is_due(|it| it.deadlines.transport, self) {
            self.transport_due(index);
        }
        if is_due(|it| it.deadlines.auth, self) {
            self.auth_due(index);
        }
        if is_due(|it| it.deadlines.expiry, self) {
            self.expiry_due(index);
        }
        if is_due(|it| it.deadlines.ping, self) {
            self.ping_due(index);
        }
        if is_due(|it| it.deadlines.write, self) {
            self.write_due(index);
        }
        if is_due(|it| it.deadlines.linger, self) {
            if let Some(connection) = self.local.connections.at(index) {
                connection.deadlines.linger = NEVER;
                connection.outbound.discard(&mut self.local.pool);
            }
            self.local.release(index);
        }
    }

    /// A write did not end in time (CORE-62): a client is closed unless the configuration says to
    /// go on with it (CORE-63). A link gets as much time again, unless the configuration says not
    /// to: then it is plain that nothing moves.
    fn write_due(&mut self, index: u32) {
        let (now, settings) = (self.local.now, Arc::clone(&self.local.settings));
        let limits = &settings.limits;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let (deadline, retries) = match &connection.leaf {
            None => (
                limits.write_deadline,
                limits.write_timeout == WriteTimeoutPolicy::Retry,
            ),
            Some(_) => (
                settings
                    .leaf
                    .write_deadline
                    .unwrap_or(limits.write_deadline),
                !settings.leaf.closes_late && connection.late_since.is_none(),
            ),
        };
        connection.deadlines.write = NEVER;
        if connection.closing() {
            return;
        }
        let pending = connection.outbound.pending();
        let first = connection.late_since.is_none();
        let is_leaf = connection.leaf.is_some();
        if retries {
            connection.deadlines.write = now + deadline;
            connection.late_since.get_or_insert(now - deadline);
        }
        if first {
            self.local.counters.slow_consumers += 1;
            self.local.counters.slow_links += u64::from(is_leaf);
            let text = format!(
                "Slow Consumer Detected: WriteDeadline of {deadline:?} exceeded with 1 chunks of {pending} total bytes."
            );
            self.local.log(Level::Info, index, &text);
        }
        if !retries {
            self.close(index, CloseReason::SlowConsumerWriteDeadline);
        }
    }

    /// A write that was past its deadline is done after all.
    fn recovered(&mut self, index: u32, since: Nanos, bytes: usize) {
        let took = self.local.now.since(since).as_secs_f64();
        let text = format!(
            "Slow Consumer Recovered: Flush took {took:.3}s with 1 chunks of {bytes} total bytes."
        );
        self.local.log(Level::Info, index, &text);
    }
}

impl Local {
    /// Has the driver end a connection, once.
    fn release(&mut self, index: u32) {
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        if !std::mem::replace(&mut connection.released, true) {
            self.effects.push(Effect::Close(index));
        }
    }
}
