//! Traced messages over links: each link a message leaves by has a hop of its own, by which the
//! event of the server over there is found again (TOPO-38, CORE-104).

use serde_json::json;

use crate::protocol::encode::{CRLF, Decimal};
use crate::routing::interest::Member;
use crate::shard::core::Local;
use crate::shard::deliver::Message;
use crate::shard::identity::rfc3339;

/// The header with the hop.
pub(in crate::shard) const HOP: &str = "Nats-Trace-Hop";
/// A link, among the kinds of connection in events.
pub(in crate::shard) const LEAF: u32 = 4;

const UNKNOWN: &str = "Message delivered but remote does not support message tracing so no trace \
                       event generated from there";
const KEPT: &str = "Not delivered because remote does not support message tracing";

/// Gives each link its hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) struct Hops {
    /// The hop by which the message came to this server.
    prefix: String,
    /// On the shard where it came in, the last number that was given or reserved; on another, the
    /// one number reserved for it.
    number: u32,
    is_origin: bool,
    given: u32,
}

impl Hops {
    /// On the shard where a message came in by this hop.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            number: 0,
            is_origin: true,
            given: 0,
        }
    }

    /// On a shard for which `number` is reserved.
    pub fn reserved(prefix: &str, number: u32) -> Self {
        Self {
            number,
            is_origin: false,
            ..Self::new(prefix)
        }
    }

    /// A number for each of so many shards; the first of them.
    pub fn reserve(&mut self, shards: u32) -> u32 {
        let first = self.number + 1;
        self.number += shards;
        first
    }

    /// The hop by which the message came.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Hops that were given here.
    pub fn given(&self) -> u32 {
        self.given
    }

    fn take(&mut self) -> String {
        self.given += 1;
        self.number += u32::from(self.is_origin);
        let (number, given) = (self.number, self.given);
        let own = match self.is_origin || given == 1 {
            true => number.to_string(),
            false => format!("{number}-{given}"),
        };
        match self.prefix.as_str() {
            "" => own,
            prefix => format!("{prefix}.{own}"),
        }
    }
}

impl Local {
    /// Sends a traced message to a link, with its hop, and writes it down. One that is only traced
    /// goes too: the server over there traces it on, unless it does not know how.
    #[cold]
    pub(super) fn send_traced_to_link(
        &mut self,
        index: u32,
        choices: &[(Member, &[u8])],
        message: &Message<'_>,
    ) -> bool {
        let now = rfc3339(self.wall);
        let (Some(trace), Some(connection)) = (&mut self.trace, self.connections.at(index)) else {
            return false;
        };
        let Some(leaf) = &connection.leaf else {
            return false;
        };
        let mut event = json!({
            "type": "eg", "ts": now, "kind": LEAF, "cid": connection.cid.0, "name": leaf.server,
        });
        if connection.account != trace.account() {
            event["acc"] = json!(*connection.tenant.name);
        }
        let hop = trace.hops().take();
        event["hop"] = json!(hop);
        let kept = !leaf.traces && trace.is_only();
        if kept {
            event["error"] = json!(KEPT);
        } else if !leaf.traces {
            event["error"] = json!(UNKNOWN);
        }
        trace.push(event);
        if kept {
            return false;
        }
        let split = message.header_len.unwrap_or(0);
        let (block, payload) = message.body.split_at(split.min(message.body.len()));
        let mut body = with_hop(block, &hop);
        let header_len = body.len();
        body.extend_from_slice(payload);
        let (mut header_digits, mut digits) = (Decimal::new(), Decimal::new());
        let message = Message {
            header_len: Some(header_len),
            header_size_text: header_digits.format(header_len),
            size_text: digits.format(body.len()),
            body: &body,
            shared: None,
            tail: b"",
            claim: message.claim,
            ..*message
        };
        self.send_to_link(index, choices, &message)
    }
}

/// A header block with this hop in it and no other.
fn with_hop(block: &[u8], hop: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + HOP.len() + hop.len() + 8);
    let mut lines = block.split_inclusive(|&it| it == b'\n');
    out.extend_from_slice(lines.next().unwrap_or(b"NATS/1.0\r\n"));
    for line in lines {
        let name = line.split(|&it| it == b':').next().unwrap_or_default();
        if line != CRLF && name != HOP.as_bytes() {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(format!("{HOP}: {hop}\r\n\r\n").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topo_038_no_two_links_of_a_server_have_the_same_hop() {
        let mut origin = Hops::new("");
        assert_eq!([origin.take(), origin.take()], ["1", "2"]);
        let first = origin.reserve(2);
        let mut other = Hops::reserved("", first);
        assert_eq!([other.take(), other.take()], ["3", "3-2"]);
        assert_eq!(Hops::reserved("", first + 1).take(), "4");
        assert_eq!((origin.take(), origin.given()), ("5".to_owned(), 3));
        assert_eq!(Hops::new("2.1").take(), "2.1.1");
    }

    #[test]
    fn topo_038_the_hop_of_before_is_replaced() {
        let with = |block: &str| String::from_utf8(with_hop(block.as_bytes(), "1.2"));
        let expected = Ok("NATS/1.0\r\nA: b\r\nNats-Trace-Hop: 1.2\r\n\r\n".to_owned());
        assert_eq!(with("NATS/1.0\r\nA: b\r\n\r\n"), expected);
        assert_eq!(
            with("NATS/1.0\r\nNats-Trace-Hop: 1\r\nA: b\r\n\r\n"),
            expected
        );
    }
}
