//! Lines for the other side of a leaf link (TOPO-26, TOPO-27).

use super::shown;
use crate::protocol::encode::{CRLF, decimal};

/// `LS+ <subject>` or `LS+ <subject> <queue> <weight>`; without members `LS-`, never with a weight.
pub fn interest(out: &mut Vec<u8>, subject: &[u8], queue: Option<&[u8]>, weight: u32) {
    out.extend_from_slice(if weight > 0 { b"LS+ " } else { b"LS- " });
    out.extend_from_slice(subject);
    if let Some(queue) = queue {
        out.push(b' ');
        out.extend_from_slice(queue);
        if weight > 0 {
            out.push(b' ');
            decimal(out, weight as usize);
        }
    }
    out.extend_from_slice(CRLF);
}

/// A reply subject, and the subject the message is to be seen under if that is another, see [`shown`].
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Where an answer goes.
    pub subject: &'a [u8],
    /// What receivers see as the message's subject.
    pub seen: Option<&'a [u8]>,
}

/// The front of a message up to its sizes: `LMSG <subject> `, then the reply, then the queue groups
/// it is for.
pub fn message_head<'q>(
    out: &mut Vec<u8>,
    has_header: bool,
    subject: &[u8],
    reply: Option<Reply<'_>>,
    queues: impl Iterator<Item = &'q [u8]>,
) {
    out.extend_from_slice(if has_header { b"HMSG " } else { b"LMSG " });
    out.extend_from_slice(subject);
    out.push(b' ');
    let mut queues = queues.peekable();
    if queues.peek().is_some() {
        out.extend_from_slice(if reply.is_some() { b"+ " } else { b"| " });
    }
    if let Some(reply) = reply {
        match reply.seen {
            Some(seen) => shown::append(out, reply.subject, seen),
            None => out.extend_from_slice(reply.subject),
        }
        out.push(b' ');
    }
    for queue in queues {
        out.extend_from_slice(queue);
        out.push(b' ');
    }
}

/// `CONNECT <json>`.
pub fn connect(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"CONNECT ");
    out.extend_from_slice(json);
    out.extend_from_slice(CRLF);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn topo_026_interest() {
        let check = |queue: Option<&[u8]>, weight, expected: &str| {
            assert_eq!(text(|out| interest(out, b"a.>", queue, weight)), expected);
        };
        check(None, 1, "LS+ a.>\r\n");
        check(None, 0, "LS- a.>\r\n");
        check(Some(b"q"), 12, "LS+ a.> q 12\r\n");
        check(Some(b"q"), 0, "LS- a.> q\r\n");
    }

    #[test]
    fn topo_027_message_heads() {
        let check = |has_header, reply: Option<&[u8]>, queues: &[&[u8]], expected: &str| {
            let queues = queues.iter().copied();
            let reply = reply.map(|subject| Reply {
                subject,
                seen: None,
            });
            let head = text(|out| message_head(out, has_header, b"a", reply, queues));
            assert_eq!(head, expected);
        };
        check(false, None, &[], "LMSG a ");
        check(true, Some(b"r"), &[], "HMSG a r ");
        check(false, None, &[b"p", b"q"], "LMSG a | p q ");
        check(false, Some(b"r"), &[b"p"], "LMSG a + r p ");
    }
}
