//! Lines the server sends, appended to a buffer without formatting machinery.
//!
//! A fan-out writes the same head many times with another sid: [`msg_prefix`] and [`msg_tail`]
//! are made once, then each delivery is prefix, sid, tail, body, [`CRLF`].

use super::headers;

/// `PING` to a client.
pub const PING: &[u8] = b"PING\r\n";
/// `PONG` to a client.
pub const PONG: &[u8] = b"PONG\r\n";
/// `+OK` to a verbose client (CORE-25).
pub const OK: &[u8] = b"+OK\r\n";
/// End of a body.
pub const CRLF: &[u8] = b"\r\n";

/// `MSG <subject> <sid> [reply] <size>\r\n` (CORE-37).
#[inline]
pub fn msg_head(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    size_text: &[u8],
) {
    out.reserve(32 + subject.len() + sid.len() + reply.map_or(0, <[u8]>::len));
    msg_prefix(out, subject);
    out.extend_from_slice(sid);
    msg_tail(out, reply, size_text);
}

/// `HMSG <subject> <sid> [reply] <header size> <total size>\r\n` (CORE-37).
#[inline]
pub fn hmsg_head(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    header_size_text: &[u8],
    total_size_text: &[u8],
) {
    out.reserve(48 + subject.len() + sid.len() + reply.map_or(0, <[u8]>::len));
    hmsg_prefix(out, subject);
    out.extend_from_slice(sid);
    hmsg_tail(out, reply, header_size_text, total_size_text);
}

/// `MSG <subject> `: the part before the sid.
#[inline]
pub fn msg_prefix(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(b"MSG ");
    out.extend_from_slice(subject);
    out.push(b' ');
}

/// `HMSG <subject> `: the part before the sid.
#[inline]
pub fn hmsg_prefix(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(b"HMSG ");
    out.extend_from_slice(subject);
    out.push(b' ');
}

/// ` [reply] <size>\r\n`: the part of a MSG head after the sid. An empty reply gives two blanks,
/// as stock does (CORE-39).
#[inline]
pub fn msg_tail(out: &mut Vec<u8>, reply: Option<&[u8]>, size_text: &[u8]) {
    reply_argument(out, reply);
    out.extend_from_slice(size_text);
    out.extend_from_slice(CRLF);
}

/// ` [reply] <header size> <total size>\r\n`: the part of an HMSG head after the sid.
#[inline]
pub fn hmsg_tail(
    out: &mut Vec<u8>,
    reply: Option<&[u8]>,
    header_size_text: &[u8],
    total_size_text: &[u8],
) {
    reply_argument(out, reply);
    out.extend_from_slice(header_size_text);
    out.push(b' ');
    out.extend_from_slice(total_size_text);
    out.extend_from_slice(CRLF);
}

#[inline]
fn reply_argument(out: &mut Vec<u8>, reply: Option<&[u8]>) {
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
}

/// `-ERR '<text>'\r\n`.
pub fn err_line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(text);
    out.extend_from_slice(b"'\r\n");
}

/// The whole 503 message for a request nobody received (CORE-71): sent to the requester's own
/// subscription `sid` that matches `reply`, and naming the `subject` it published to.
pub fn no_responders(out: &mut Vec<u8>, reply: &[u8], sid: &[u8], subject: &[u8]) {
    let mut size = Decimal::new();
    let size = size.format(headers::no_responders_len(subject));
    hmsg_head(out, reply, sid, None, size, size);
    headers::no_responders(out, subject);
    out.extend_from_slice(CRLF);
}

/// Appends `number` in decimal.
#[inline]
pub fn decimal(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(Decimal::new().format(number));
}

/// Longest `usize` in decimal.
const DECIMAL_DIGITS: usize = 20;

/// Room on the stack for a number's text, for heads that need it as a slice.
#[derive(Debug, Clone, Copy)]
pub struct Decimal([u8; DECIMAL_DIGITS]);

impl Decimal {
    /// An empty room.
    pub const fn new() -> Self {
        Self([0; DECIMAL_DIGITS])
    }

    /// `number` in decimal, without leading zeros.
    #[inline]
    pub fn format(&mut self, mut number: usize) -> &[u8] {
        let mut start = DECIMAL_DIGITS;
        for (index, digit) in self.0.iter_mut().enumerate().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            start = index;
            if number == 0 {
                break;
            }
        }
        &self.0[start..]
    }
}

impl Default for Decimal {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, append: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        append(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn message_heads() {
        check("MSG a.b 7 5\r\n", |out| {
            msg_head(out, b"a.b", b"7", None, b"5")
        });
        check("MSG a 7 r 0005\r\n", |out| {
            msg_head(out, b"a", b"7", Some(b"r"), b"0005")
        });
        check("MSG r 1  98\r\n", |out| {
            msg_head(out, b"r", b"1", Some(b""), b"98")
        });
        check("HMSG a 7 12 14\r\n", |out| {
            hmsg_head(out, b"a", b"7", None, b"12", b"14")
        });
        check("HMSG a 7 r 12 14\r\n", |out| {
            hmsg_head(out, b"a", b"7", Some(b"r"), b"12", b"14");
        });
    }

    #[test]
    fn short_lines() {
        check("-ERR 'Invalid Subject'\r\n", |out| {
            err_line(out, b"Invalid Subject")
        });
        check(
            "HMSG _INBOX.1 4 35 35\r\nNATS/1.0 503\r\nNats-Subject: a.b\r\n\r\n\r\n",
            |out| no_responders(out, b"_INBOX.1", b"4", b"a.b"),
        );
    }

    #[test]
    fn decimals() {
        for number in [0, 1, 9, 10, 99, 100, 1_048_576, 999_999_999, usize::MAX] {
            check(&number.to_string(), |out| decimal(out, number));
        }
    }
}
