//! Headers of messages that come from other streams (JS-144, JS-145).

use memchr::memmem;

use super::name::OriginName;
use crate::jetstream::stream::headers::{self, STREAM_SOURCE};

/// What publishers expected of the origin is not for who copies it.
const NOT_FOR_COPIES: [&[u8]; 2] = [b"Nats-Expected-", b"Nats-Batch-"];

/// Appends a header block as a mirror keeps it.
pub(super) fn append_for_mirror(out: &mut Vec<u8>, block: &[u8]) {
    append_lines(out, block, |line| {
        NOT_FOR_COPIES.iter().any(|it| line.starts_with(it))
    });
}

/// Appends a header block as it is kept of a source's message, with where that came from.
pub(super) fn append_for_source(
    out: &mut Vec<u8>,
    block: &[u8],
    from: &OriginName,
    seq: u64,
    subject: &[u8],
    identity: &str,
) {
    use std::io::Write as _;
    let begin = out.len();
    append_lines(out, block, |line| {
        headers::is_of(line, STREAM_SOURCE) || NOT_FOR_COPIES.iter().any(|it| line.starts_with(it))
    });
    if out.len() == begin {
        out.extend_from_slice(b"NATS/1.0\r\n");
    } else {
        out.truncate(out.len() - 2); // the empty line
    }
    out.extend_from_slice(STREAM_SOURCE);
    // A vector takes all that is written to it.
    let _ = write!(
        out,
        ": {} {seq} {} {} ",
        from.stream, from.filters, from.destinations
    );
    out.extend_from_slice(subject);
    if !identity.is_empty() {
        let _ = write!(out, " {identity}");
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends a block without some of its lines; nothing if none is left.
fn append_lines(out: &mut Vec<u8>, block: &[u8], is_left_out: impl Fn(&[u8]) -> bool) {
    if memmem::find(block, b"\r\nNats-").is_none() {
        out.extend_from_slice(block);
        return;
    }
    headers::append_lines(out, block, is_left_out);
}

/// Where a stored message came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    pub name: OriginName,
    pub seq: u64,
    pub identity: String,
}

impl From {
    /// Reads the header's value. Older servers' forms say less than is needed, and are none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(value).ok()?.split(' ');
        let stream = fields.next()?.to_owned();
        let seq = fields.next()?.parse().ok()?;
        let name = OriginName {
            stream,
            filters: fields.next()?.to_owned(),
            destinations: fields.next()?.to_owned(),
        };
        Some(Self {
            name,
            seq,
            identity: fields.nth(1).unwrap_or_default().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> OriginName {
        OriginName {
            stream: "R".to_owned(),
            filters: "r.a".to_owned(),
            destinations: ">".to_owned(),
        }
    }

    #[test]
    fn a_message_says_where_it_came_from() {
        for (block, expected) in [
            (
                "",
                "NATS/1.0\r\nNats-Stream-Source: R 7 r.a > r.a id\r\n\r\n",
            ),
            (
                "NATS/1.0\r\nA: 1\r\nNats-Stream-Source: X 1 > > x\r\nNats-Expected-Stream: R\r\n\r\n",
                "NATS/1.0\r\nA: 1\r\nNats-Stream-Source: R 7 r.a > r.a id\r\n\r\n",
            ),
            (
                "NATS/1.0\r\nNats-Batch-Id: b\r\n\r\n",
                "NATS/1.0\r\nNats-Stream-Source: R 7 r.a > r.a id\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            append_for_source(&mut out, block.as_bytes(), &name(), 7, b"r.a", "id");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let from = From::parse(b"R 7 r.a > r.a id").expect("a source");
        assert_eq!(
            (from.name, from.seq, from.identity.as_str()),
            (name(), 7, "id")
        );
        let older = From::parse(b"R 7 r.a > r.a").expect("a source");
        assert_eq!(older.identity, "");
        assert_eq!(From::parse(b"R 7"), None);
    }

    #[test]
    fn a_mirror_keeps_headers_as_they_were() {
        let mut out = Vec::new();
        append_for_mirror(
            &mut out,
            b"NATS/1.0\r\nNats-Msg-Id: 1\r\nNats-Batch-Id: b\r\n\r\n",
        );
        assert_eq!(out, b"NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n");
        out.clear();
        append_for_mirror(&mut out, b"NATS/1.0\r\nNats-Expected-Stream: R\r\n\r\n");
        assert_eq!(out, b"");
    }
}
