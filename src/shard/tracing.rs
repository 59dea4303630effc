//! Trace lines: every operation as it comes in and goes out, for those who asked for them.

use crate::protocol::op::ClientOp;
use crate::protocol::trace::{self, PayloadTrace, TraceDirection};
use crate::shard::core::Local;
use crate::shard::deliver::Message;
use crate::shard::effects::Level;

impl Local {
    /// Logs what a client said. `line` is the operation as it came.
    pub(super) fn trace_in(&mut self, index: u32, op: &ClientOp<'_>, line: &[u8]) {
        let verb = match op {
            ClientOp::Connect { .. } => "CONNECT",
            ClientOp::Publish(publish) if publish.has_header => "HPUB",
            ClientOp::Publish(_) => "PUB",
            ClientOp::Subscribe { .. } => "SUB",
            ClientOp::Unsubscribe { .. } => "UNSUB",
            ClientOp::Ping => "PING",
            ClientOp::Pong => "PONG",
            ClientOp::Ok | ClientOp::Info | ClientOp::Err { .. } => return,
        };
        let arguments = match op {
            ClientOp::Connect { json } => Some(*json),
            ClientOp::Publish(publish) => Some(publish.line),
            ClientOp::Subscribe { .. } | ClientOp::Unsubscribe { .. } => Some(arguments(line)),
            _ => None,
        };
        let text = trace::operation(TraceDirection::In, verb, arguments);
        self.log(Level::Trace, index, &text);
        if let ClientOp::Publish(publish) = op {
            self.trace_payload(index, TraceDirection::In, publish.body, publish.header_len);
        }
    }

    /// Logs what a client is told: `verb` and its arguments.
    pub(super) fn trace_out(&mut self, index: u32, verb: &str, arguments: Option<&[u8]>) {
        if self.settings.trace {
            let text = trace::operation(TraceDirection::Out, verb, arguments);
            self.log(Level::Trace, index, &text);
        }
    }

    /// Logs a message delivered to a client.
    pub(super) fn trace_delivery(&mut self, index: u32, sid: &[u8], message: &Message<'_>) {
        let (verb, sizes) = match message.header_len {
            Some(_) => ("HMSG", [message.header_size_text, message.size_text]),
            None => ("MSG", [&b""[..], message.size_text]),
        };
        let parts = [
            message.subject,
            sid,
            message.reply.unwrap_or_default(),
            sizes[0],
            sizes[1],
        ];
        let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.trace_out(index, verb, Some(&parts.join(&b' ')));
    }

    fn trace_payload(&mut self, index: u32, direction: TraceDirection, body: &[u8], header: usize) {
        let show = PayloadTrace {
            max_len: self.settings.max_traced_msg_len,
            headers_only: self.settings.trace_headers,
        };
        if let Some(text) = trace::payload(direction, body, header, show) {
            self.log(Level::Trace, index, &text);
        }
    }
}

/// A control line without its verb and its end.
fn arguments(line: &[u8]) -> &[u8] {
    let line = line
        .split(|&byte| byte == b'\r' || byte == b'\n')
        .next()
        .unwrap_or_default();
    let verb_end = line.iter().position(|&byte| byte == b' ' || byte == b'\t');
    line[verb_end.unwrap_or(line.len())..].trim_ascii()
}
