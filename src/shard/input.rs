//! Bytes from a client to operations, and the operations to what they do.

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::Phase;
use crate::limits;
use crate::protocol::error::ProtocolError;
use crate::protocol::op::ClientOp;
use crate::protocol::parser::{self, Progress};
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::time::Nanos;
use crate::time::duration::Shown;

/// A partial operation's buffer is given back to the allocator above this size once it is empty:
/// one large message must not stay in memory with an idle connection.
const PARTIAL_KEPT_MAX: usize = 16 * 1024;

impl Core {
    /// Takes bytes that came in on a connection.
    pub fn receive(&mut self, index: u32, bytes: &[u8]) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        self.local.read.push(connection.slot);
        if connection.transport.is_some() {
            return self.receive_through(index, bytes);
        }
        self.receive_plain(index, bytes);
    }

    /// The turn whose time was set last is over. Nobody else was served while it lasted.
    pub fn turn_ended(&mut self, at: Nanos) {
        let took = at.since(self.local.now);
        if took < limits::LONG_TURN {
            return;
        }
        let mut read = std::mem::take(&mut self.local.read);
        read.sort_unstable_by_key(|it| it.index);
        read.dedup();
        for slot in read {
            if self.local.connections.of(slot).is_some() {
                let text = format!("Readloop processing time: {}", Shown::from(took));
                self.local.log(Level::Warn, slot.index, &text);
            }
        }
    }

    /// Takes bytes of the protocol.
    pub(super) fn receive_plain(&mut self, index: u32, bytes: &[u8]) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        let mut used = 0;
        if connection.takes_input() && connection.backlog.is_empty() {
            used = self.consume(index, bytes);
            if used == bytes.len() {
                return;
            }
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        connection
            .backlog
            .push(&bytes[used..], &mut self.local.pool);
        if connection.backlog.len() > limits::BACKLOG_MAX
            && !std::mem::replace(&mut connection.paused, true)
        {
            self.local.effects.push(Effect::Pause(index));
        }
    }

    /// Goes on with connections whose hold has ended. Returns false if there were none.
    pub fn run_ready(&mut self) -> bool {
        let Some(slot) = self.local.ready.pop() else {
            return false;
        };
        let Some(connection) = self.local.connections.of(slot) else {
            return true;
        };
        if !connection.takes_input() {
            return true;
        }
        let mut backlog = std::mem::take(&mut connection.backlog);
        let used = self.consume(slot.index, backlog.bytes());
        let Some(connection) = self.local.connections.of(slot) else {
            return true;
        };
        if connection.closing() {
            return true;
        }
        backlog.advance(used, &mut self.local.pool);
        connection.backlog = backlog;
        if connection.takes_input() && std::mem::take(&mut connection.paused) {
            self.local.effects.push(Effect::Resume(slot.index));
        }
        true
    }

    /// Works through `input` until it ends, the connection is held, or it closes. Returns how much
    /// of it that was.
    fn consume(&mut self, index: u32, input: &[u8]) -> usize {
        let whole = input.len();
        let mut input = input;
        let Some(connection) = self.local.connections.at(index) else {
            return whole;
        };
        if !connection.partial.is_empty() {
            let mut partial = std::mem::take(&mut connection.partial);
            let mut needed = connection.partial_needed.take();
            let finished = self.finish_partial(index, &mut partial, &mut needed, &mut input);
            let Some(connection) = self.local.connections.at(index) else {
                return whole;
            };
            if !finished {
                connection.partial = partial;
                connection.partial_needed = needed;
                return whole;
            }
            if partial.capacity() <= PARTIAL_KEPT_MAX {
                partial.clear();
                connection.partial = partial;
            }
        }
        while !input.is_empty() {
            let Some(connection) = self.local.connections.at(index) else {
                return whole;
            };
            if !connection.takes_input() {
                break;
            }
            if connection.phase == Phase::Unauthenticated && !self.admit(index, input[0]) {
                return whole;
            }
            let used = self.publish_burst(index, input);
            if used > 0 {
                input = &input[used..];
                continue;
            }
            match self.step(index, input) {
                Step::Used(used) => input = &input[used..],
                Step::More(needed) => {
                    let Some(connection) = self.local.connections.at(index) else {
                        return whole;
                    };
                    connection
                        .partial
                        .reserve_exact(needed.unwrap_or(input.len()));
                    connection.partial.extend_from_slice(input);
                    connection.partial_needed = needed;
                    return whole;
                }
                Step::Closed => return whole,
                Step::Compressed(used) => {
                    self.compression_begins(index, &input[used..]);
                    return whole;
                }
            }
        }
        whole - input.len()
    }

    /// Completes the operation at the front of `partial` from `input`. True once it is done.
    fn finish_partial(
        &mut self,
        index: u32,
        partial: &mut Vec<u8>,
        needed: &mut Option<usize>,
        input: &mut &[u8],
    ) -> bool {
        while !input.is_empty() {
            let take = match *needed {
                Some(needed) => needed.saturating_sub(partial.len()).min(input.len()),
                None => memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1),
            };
            partial.extend_from_slice(&input[..take]);
            *input = &input[take..];
            match self.step(index, partial) {
                Step::Used(used) => {
                    debug_assert_eq!(used, partial.len(), "an operation is completed exactly");
                    return true;
                }
                Step::More(more) => {
                    if let Some(total) = more {
                        partial.reserve_exact(total.saturating_sub(partial.len()));
                    }
                    *needed = more;
                }
                Step::Closed => {
                    *input = &[];
                    return true;
                }
                Step::Compressed(_) => {
                    self.compression_begins(index, std::mem::take(input));
                    return true;
                }
            }
        }
        false
    }

    /// Takes one operation off the front of `input` and carries it out.
    fn step(&mut self, index: u32, input: &[u8]) -> Step {
        let Some(connection) = self.local.connections.at(index) else {
            return Step::Closed;
        };
        if connection.leaf.is_some() {
            return self.leaf_step(index, input);
        }
        match parser::next_op(input, &connection.limits) {
            Ok(Progress::Op { op, used }) => {
                if self.local.settings.trace {
                    self.local.trace_in(index, &op, input);
                }
                self.execute(index, &op);
                Step::Used(used)
            }
            Ok(Progress::Incomplete { needed }) => Step::More(needed),
            Err(error) => {
                let text = error.log_text(input, &connection.limits);
                if let ProtocolError::MaxPayload { size } = error {
                    self.trace_too_large(index, input, size);
                }
                self.refuse(index, error, &text);
                Step::Closed
            }
        }
    }

    fn execute(&mut self, index: u32, op: &ClientOp<'_>) {
        match op {
            ClientOp::Publish(publish) => self.publish(index, publish),
            ClientOp::Subscribe {
                subject,
                queue,
                sid,
            } => {
                self.subscribe(index, subject, *queue, sid);
            }
            ClientOp::Unsubscribe { sid, max } => self.unsubscribe(index, sid, *max),
            ClientOp::Ping => self.ping(index),
            ClientOp::Pong => self.pong(index),
            ClientOp::Connect { json } => self.connect(index, json),
            ClientOp::Ok | ClientOp::Info => {}
            // Stock logs what the client complains of and hangs up (CORE-18).
            ClientOp::Err { text } => {
                let text = format!("Client Error {}", String::from_utf8_lossy(text));
                self.local
                    .log(crate::shard::effects::Level::Error, index, &text);
                self.close(index, CloseReason::ParseError);
            }
        }
    }

    /// Ends a connection whose bytes are no protocol.
    pub(super) fn refuse(&mut self, index: u32, error: ProtocolError, log_text: &str) {
        if let Some(text) = error.wire_text() {
            self.send_error(index, text.as_bytes());
        }
        self.local
            .log(crate::shard::effects::Level::Error, index, log_text);
        let reason = match error {
            ProtocolError::UnknownOperation => CloseReason::ProtocolViolation,
            ProtocolError::ControlLineTooLong => CloseReason::MaximumControlLineExceeded,
            ProtocolError::MaxPayload { .. } => CloseReason::MaximumPayloadExceeded,
            _ => CloseReason::ProtocolViolation,
        };
        self.close(index, reason);
    }
}

/// What became of the front of the input.
pub(super) enum Step {
    /// That many bytes were an operation.
    Used(usize),
    /// It is incomplete; its length if that is known.
    More(Option<usize>),
    /// The connection is closing: the rest has no meaning.
    Closed,
    /// That many bytes were an operation, the rest is compressed.
    Compressed(usize),
}
