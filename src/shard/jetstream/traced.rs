//! Messages whose way is told to somebody, where their way ends in a stream (CORE-98).

use serde_json::json;

use crate::jetstream::stream::config::Retention;
use crate::protocol::encode::Decimal;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::identity::rfc3339;
use crate::shard::message_trace::{DESTINATION, DISABLED};
use crate::shard::publish::Routed;

use super::hosted::is_wanted;
use super::receive::split;
use super::state::Receiver;

impl Core {
    /// A traced message for a receiver of JetStream: it goes there unless it is only traced.
    pub(in crate::shard) fn js_traced(&mut self, number: u32, message: &Message<'_>) -> Routed {
        let receiver = self.jetstream.receivers.at(number).map(|it| &it.receiver);
        let stream = match receiver {
            Some(Receiver::Publish(key)) => self.jetstream.streams.at(*key),
            _ => None,
        };
        if let Some(hosted) = stream {
            let local = &mut self.local;
            let subject = hosted.stream.stored_as(message.subject, || local.random());
            let consumers = &self.jetstream.consumers;
            let wanted = hosted.stream.config().retention != Retention::Interest
                || is_wanted(&hosted.consumers, consumers, &subject);
            let mut event = json!({
                "type": "js", "ts": rfc3339(local.wall),
                "stream": hosted.stream.config().name,
                "subject": String::from_utf8_lossy(&subject),
            });
            if !wanted {
                event["nointerest"] = true.into();
            }
            self.trace_event(event);
        }
        if self.only_traced() {
            return Routed::Here;
        }
        let (header, payload) = split(message);
        let mut body = untraced(header);
        let header_len = body.len();
        body.extend_from_slice(payload);
        let (mut header_digits, mut digits) = (Decimal::new(), Decimal::new());
        let stored = Message {
            header_len: message.header_len.map(|_| header_len),
            header_size_text: header_digits.format(header_len),
            size_text: digits.format(body.len()),
            body: &body,
            shared: None,
            tail: b"",
            ..*message
        };
        let trace = self.local.trace.take();
        let routed = self.jetstream_receives(number, &stored);
        self.local.trace = trace;
        routed
    }
}

/// A header block that asks for no trace any more: what is stored is not traced when it is
/// delivered.
fn untraced(block: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(block.len());
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        let rest = line.strip_prefix(DESTINATION.as_bytes());
        if rest.is_some_and(|it| it.starts_with(b":")) {
            kept.extend_from_slice(DESTINATION.as_bytes());
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(DISABLED.as_bytes());
            kept.extend_from_slice(b"\r\n");
        } else {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_098_stored_messages_ask_for_no_trace() {
        let block = b"NATS/1.0\r\nA: b\r\nNats-Trace-Dest: t\r\nNats-Trace-Dested: c\r\n\r\n";
        let kept = untraced(block);
        let expected =
            b"NATS/1.0\r\nA: b\r\nNats-Trace-Dest: trace disabled\r\nNats-Trace-Dested: c\r\n\r\n";
        assert_eq!(kept, expected);
        assert_eq!(untraced(b""), b"");
    }
}
