//! The client parser: bytes in, one borrowed operation out (CORE-18..22, CORE-54, CORE-55).
//!
//! The grammar is stock's byte-wise state machine, restated as a function of the bytes from the
//! start of an operation. Its oddities are kept because clients can see them:
//!
//! * A wrong byte in a verb is an error at that byte, before the line is whole: `XYZ` or a TLS
//!   hello is refused at once. Empty lines and leading blanks are such errors.
//! * `PING`, `PONG` and `+OK` ignore everything up to the line feed.
//! * The first byte after the blanks that follow a verb belongs to the arguments, even if it is a
//!   line feed: `PUB \n` waits for another line.
//! * One byte before the line feed is dropped if a carriage return stands anywhere after that
//!   first byte, whether or not the dropped byte is the carriage return.
//! * Only the arguments count against `max_control_line`.
//!
//! Three differences, all where stock's answer depends on how the bytes were cut into reads: the
//! dropped byte above (we always do what stock does for a line that arrives whole); `HMSG`, always
//! refused once its line is whole; and what follows `-ERR` in the same read, which stock still
//! carries out.
//!
//! One limit is ours: blanks after a verb, and what `PING`, `PONG` and `+OK` ignore, may be
//! `max_control_line` bytes long and no longer. Stock drops them as they come and so has no
//! bound; we keep an unfinished operation in the connection's buffer, which must have one.

use memchr::memchr;

use super::error::ProtocolError;
use super::info;
use super::op::{ClientOp, Publish};
use super::publish_head::{PublishHead, arguments, is_blank, whole_size};

/// Longest verb in bytes (`CONNECT`).
const LONGEST_VERB: usize = 7;
const CRLF: &[u8] = b"\r\n";

/// What a connection may send at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of arguments in one control line (CORE-55).
    pub max_control_line: usize,
    /// Most bytes of header and payload together; `usize::MAX` is unlimited (CORE-54).
    pub max_payload: usize,
    /// Whether server and client both agreed on headers; without, HPUB is refused.
    pub headers: bool,
}

impl Limits {
    /// Bytes after which [`next_op`] never answers `Incomplete { needed: None }`: room for the
    /// verb, its blanks, the arguments and CRLF.
    pub const fn longest_head(&self) -> usize {
        self.max_control_line
            .saturating_mul(2)
            .saturating_add(LONGEST_VERB + CRLF.len())
    }
}

/// What the front of the input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A whole operation.
    Op {
        /// The operation.
        op: ClientOp<'a>,
        /// Bytes it took off the front of the input; never zero.
        used: usize,
    },
    /// The input stops short of the operation's end: call again with the same bytes and more.
    Incomplete {
        /// Bytes of the operation from the start of the input, once its control line is whole;
        /// `None` until then. More than the input has.
        needed: Option<usize>,
    },
}

const NEED_LINE: Progress<'static> = Progress::Incomplete { needed: None };

/// Takes the next operation off the front of `input`, without copying or allocating (but for
/// `INFO`, whose JSON text is checked).
///
/// Total and free of state: any bytes give an operation, "more" or an error, and cutting a stream
/// elsewhere gives the same operations.
///
/// # Errors
/// [`ProtocolError`], after which the input has no meaning left.
#[inline]
pub fn next_op<'a>(input: &'a [u8], limits: &Limits) -> Result<Progress<'a>, ProtocolError> {
    match common_head(input, limits) {
        Some(head) => finish_publish(input, head, limits),
        None => any_op(input, limits),
    }
}

/// The publish at the front of `input` and its length, if there is a whole one, written as most
/// clients write it. What [`next_op`] says of the same input, with nothing else to look for.
#[inline]
pub fn common_publish<'a>(input: &'a [u8], limits: &Limits) -> Option<(Publish<'a>, usize)> {
    let head = common_head(input, limits)?;
    let used = head.body_at + head.size + CRLF.len();
    let whole = input.get(head.body_at..used)?;
    let (body, end) = whole.split_at(head.size);
    (head.size <= limits.max_payload && end == CRLF)
        .then(|| (head.publish(input, body, used), used))
}

#[inline]
fn common_head<'a>(input: &'a [u8], limits: &Limits) -> Option<PublishHead<'a>> {
    let head = input.first_chunk::<4>()?;
    let word = u32::from_le_bytes(*head) | 0x0020_2020;
    if word == u32::from_le_bytes(*b"pub ") {
        PublishHead::read_common::<false>(input, 4, limits)
    } else if word | 0x2000_0000 == u32::from_le_bytes(*b"hpub")
        && input.get(4) == Some(&b' ')
        && limits.headers
    {
        PublishHead::read_common::<true>(input, 5, limits)
    } else {
        None
    }
}

/// The limit, the body and its end: what PUB and HPUB have in common.
#[inline]
fn finish_publish<'a>(
    input: &'a [u8],
    head: PublishHead<'a>,
    limits: &Limits,
) -> Result<Progress<'a>, ProtocolError> {
    if head.size > limits.max_payload {
        return Err(ProtocolError::MaxPayload { size: head.size });
    }
    // A size has at most 9 digits: no overflow.
    let used = head.body_at + head.size + CRLF.len();
    let Some(whole) = input.get(head.body_at..used) else {
        // A payload longer than announced is refused at its first wrong byte.
        return match input.get(head.body_at + head.size) {
            Some(&byte) if byte != b'\r' => Err(ProtocolError::UnknownOperation),
            _ => Ok(Progress::Incomplete { needed: Some(used) }),
        };
    };
    let (body, end) = whole.split_at(head.size);
    if end != CRLF {
        return Err(ProtocolError::UnknownOperation);
    }
    let op = ClientOp::Publish(head.publish(input, body, used));
    Ok(Progress::Op { op, used })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Pub,
    Hpub,
    Ping,
    Pong,
    Sub,
    Unsub,
    Connect,
    Info,
    Ok,
    Err,
    /// Refused, but only once its line is whole.
    Hmsg,
}

const VERBS: [(&[u8], Verb); 11] = [
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"SUB", Verb::Sub),
    (b"UNSUB", Verb::Unsub),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Err),
    (b"HMSG", Verb::Hmsg),
];

/// The whole grammar, for everything [`PublishHead::read_common`] does not take.
fn any_op<'a>(input: &'a [u8], limits: &Limits) -> Result<Progress<'a>, ProtocolError> {
    let Some((verb, rest)) = verb(input)? else {
        return Ok(NEED_LINE);
    };
    let op = match verb {
        Verb::Ping => ClientOp::Ping,
        Verb::Pong => ClientOp::Pong,
        Verb::Ok => ClientOp::Ok,
        _ => return any_op_with_arguments(verb, input, rest, limits),
    };
    let window = &rest[..rest
        .len()
        .min(limits.max_control_line.saturating_add(CRLF.len()))];
    match memchr(b'\n', window) {
        Some(end) => Ok(Progress::Op {
            op,
            used: input.len() - rest.len() + end + 1,
        }),
        None if rest.len() > limits.max_control_line.saturating_add(1) => {
            Err(ProtocolError::ControlLineTooLong)
        }
        None => Ok(NEED_LINE),
    }
}

/// The verb and what follows it; `None` if the input may yet become one.
fn verb(input: &[u8]) -> Result<Option<(Verb, &[u8])>, ProtocolError> {
    let mut possible = false;
    for (text, verb) in VERBS {
        match input.split_at_checked(text.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(text) => {
                let blank_needed = !matches!(
                    verb,
                    Verb::Ping | Verb::Pong | Verb::Ok | Verb::Connect | Verb::Info
                );
                return match rest.first() {
                    Some(&byte) if blank_needed && !is_blank(byte) => {
                        Err(ProtocolError::UnknownOperation)
                    }
                    _ => Ok(Some((verb, rest))),
                };
            }
            Some(_) => {}
            None => possible |= text[..input.len()].eq_ignore_ascii_case(input),
        }
    }
    if possible {
        Ok(None)
    } else {
        Err(ProtocolError::UnknownOperation)
    }
}

fn any_op_with_arguments<'a>(
    verb: Verb,
    input: &'a [u8],
    rest: &'a [u8],
    limits: &Limits,
) -> Result<Progress<'a>, ProtocolError> {
    let Some(ArgumentLine { args, after }) = argument_line(rest, limits.max_control_line)? else {
        return Ok(NEED_LINE);
    };
    let used = input.len() - after.len();
    let op = match verb {
        Verb::Pub => return finish_publish(input, PublishHead::read_pub(args, used)?, limits),
        Verb::Hpub if !limits.headers => return Err(ProtocolError::HeadersNotSupported),
        Verb::Hpub => return finish_publish(input, PublishHead::read_hpub(args, used)?, limits),
        Verb::Sub => subscribe(args)?,
        Verb::Unsub => unsubscribe(args)?,
        Verb::Connect => ClientOp::Connect { json: args },
        Verb::Info if info::is_acceptable(args) => ClientOp::Info,
        Verb::Info => return Err(ProtocolError::BadArguments { verb: "INFO" }),
        Verb::Err => ClientOp::Err { text: args },
        Verb::Hmsg | Verb::Ping | Verb::Pong | Verb::Ok => {
            return Err(ProtocolError::UnknownOperation);
        }
    };
    Ok(Progress::Op { op, used })
}

/// Arguments of a control line, and what comes after it.
pub(super) struct ArgumentLine<'a> {
    pub(super) args: &'a [u8],
    /// What follows the line feed.
    pub(super) after: &'a [u8],
}

/// The arguments after a verb; `None` while their line is not whole.
pub(super) fn argument_line(
    rest: &[u8],
    max_control_line: usize,
) -> Result<Option<ArgumentLine<'_>>, ProtocolError> {
    let blanks = rest.iter().take_while(|&&byte| is_blank(byte));
    let blanks = blanks.take(max_control_line.saturating_add(1)).count();
    if blanks > max_control_line {
        return Err(ProtocolError::ControlLineTooLong);
    }
    let args = &rest[blanks..];
    let Some((_, others)) = args.split_first() else {
        return Ok(None);
    };
    let window = &others[..others.len().min(max_control_line.saturating_add(1))];
    let end = match memchr(b'\n', window) {
        Some(end) => end,
        None => {
            let dropped = usize::from(memchr(b'\r', window).is_some());
            let too_long = args.len() - dropped > max_control_line;
            return if too_long {
                Err(ProtocolError::ControlLineTooLong)
            } else {
                Ok(None)
            };
        }
    };
    // Mostly the carriage return is the last byte: look there first.
    let has_return = window[..end].last() == Some(&b'\r') || window[..end].contains(&b'\r');
    let line = &args[..1 + end - usize::from(has_return)];
    if line.len() > max_control_line {
        return Err(ProtocolError::ControlLineTooLong);
    }
    Ok(Some(ArgumentLine {
        args: line,
        after: &args[end + 2..],
    }))
}

/// SUB and UNSUB also split at line ends, which their arguments can begin with.
const fn is_blank_or_line_end(byte: u8) -> bool {
    is_blank(byte) || byte == b'\r' || byte == b'\n'
}

fn subscribe(args: &[u8]) -> Result<ClientOp<'_>, ProtocolError> {
    match arguments(args, is_blank_or_line_end) {
        Some(([subject, sid, _], 2)) => Ok(ClientOp::Subscribe {
            subject,
            queue: None,
            sid,
        }),
        Some(([subject, queue, sid], 3)) => Ok(ClientOp::Subscribe {
            subject,
            queue: Some(queue),
            sid,
        }),
        _ => Err(ProtocolError::BadArguments { verb: "SUB" }),
    }
}

fn unsubscribe(args: &[u8]) -> Result<ClientOp<'_>, ProtocolError> {
    match arguments(args, is_blank_or_line_end) {
        Some(([sid, _], 1)) => Ok(ClientOp::Unsubscribe { sid, max: None }),
        Some(([sid, max], 2)) => Ok(ClientOp::Unsubscribe {
            sid,
            max: whole_size(max).filter(|&max| max > 0).map(|max| max as u64),
        }),
        _ => Err(ProtocolError::BadArguments { verb: "UNSUB" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_control_line: 64,
        max_payload: 1024,
        headers: true,
    };

    /// What the front of `input` is, short enough for a table.
    fn describe(input: &[u8], limits: &Limits) -> String {
        match next_op(input, limits) {
            Err(error) => format!("{error:?}"),
            Ok(Progress::Incomplete { needed }) => format!("more {needed:?}"),
            Ok(Progress::Op { op, used }) => {
                let rest = input.len() - used;
                let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                let op = match op {
                    ClientOp::Connect { json } => format!("connect {}", text(json)),
                    ClientOp::Subscribe {
                        subject,
                        queue,
                        sid,
                    } => {
                        let queue =
                            queue.map_or(String::new(), |queue| format!(" {}", text(queue)));
                        format!("sub {}{queue} {}", text(subject), text(sid))
                    }
                    ClientOp::Unsubscribe { sid, max } => format!("unsub {} {max:?}", text(sid)),
                    ClientOp::Err { text: error } => format!("err {}", text(error)),
                    ClientOp::Publish(publish) => {
                        let (header, body) = publish.body.split_at(publish.header_len);
                        let reply = publish
                            .reply
                            .map_or(String::new(), |reply| format!(" {}", text(reply)));
                        let header = match publish.has_header {
                            true => format!(" {}:{}", text(publish.header_size_text), text(header)),
                            false => String::new(),
                        };
                        let size = text(publish.size_text);
                        format!(
                            "pub {}{reply}{header} {size}:{}",
                            text(publish.subject),
                            text(body)
                        )
                    }
                    other => format!("{other:?}"),
                };
                format!("{op} +{rest}")
            }
        }
    }

    fn check(input: &str, expected: &str) {
        assert_eq!(describe(input.as_bytes(), &LIMITS), expected, "{input:?}");
    }

    const UNKNOWN: &str = "UnknownOperation";
    const TOO_LONG: &str = "ControlLineTooLong";

    #[test]
    fn verbs() {
        check("PING\r\n", "Ping +0");
        check("ping\nPING", "Ping +4");
        check("PiNGX whatever\r\r\n", "Ping +0");
        check("PONG\t\r\n", "Pong +0");
        check("+ok junk\r\n", "Ok +0");
        check("-err x y\r\n", "err x y +0");
        check("CONNECT {}\r\n", "connect {} +0");
        check("connect{}\r\n", "connect {} +0");
        check("CONNECT  \t{} \r\n", "connect {}  +0");
        check("INFO {\"a\":1}\r\n", "Info +0");
        check("INFO{}\r\n", "Info +0");
        for partial in [
            "", "P", "p", "PU", "PUB", "PUB ", "CONNEC", "+", "-e", "HMSG a", "PING",
        ] {
            check(partial, "more None");
        }
        for wrong in [
            "XYZ",
            "PUX",
            "PUBX",
            "\r\n",
            "\n",
            " PING\r\n",
            "'",
            "\x16\x03\x01",
            "GET / HTTP/1.1\r\n",
            "MSG a 1 2\r\n",
            "RS+ a",
            "LS+ a",
            "A+ a",
            "-ERR\r\n",
            "SUB\r\n",
            "PUB\n",
            "UNSUBX 1",
            "+OX",
            "HMSG a 1 2 2\r\n",
            "HMX",
        ] {
            check(wrong, UNKNOWN);
        }
    }

    #[test]
    fn publishes() {
        check("PUB a.b 5\r\nhello\r\nPING", "pub a.b 5:hello +4");
        check("pUb a.b r 5\r\nhello\r\n", "pub a.b r 5:hello +0");
        check("PUB a 12 2\r\nhi\r\n", "pub a 12 2:hi +0");
        check("PUB a 0002\nhi\r\n", "pub a 0002:hi +0");
        check("PUB\ta \t r \t 2 \t\r\nhi\r\n", "pub a r 2:hi +0");
        check("PUB a 0\r\n\r\n", "pub a 0: +0");
        check("PUB a\u{1}b\0 2\r\nhi\r\n", "pub a\\x01b\\x00 2:hi +0");
        check(
            "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            "pub a 12:NATS/1.0\\r\\n\\r\\n 14:hi +0",
        );
        check("hpub a 5 1 2\r\nhi\r\n", "pub a 5 1:h 2:i +0");
        check("HPUB a r 0 2\r\nhi\r\n", "pub a r 0: 2:hi +0");
        check("HPUB a\t2 2\r\nhi\r\n", "pub a 2:hi 2: +0");
        let bad = |verb| format!("BadArguments {{ verb: {verb:?} }}");
        for wrong in [
            "PUB a\r\n",
            "PUB \r\n",
            "PUB a b c 2\r\n",
            "PUB a -1\r\n",
            "PUB a 0x5\r\n",
            "PUB a 5.0\r\n",
            "PUB a 0000000002\r\n",
            "PUB a b\r\n",
            "PUB a 4294967295\r\n",
        ] {
            check(wrong, &bad("PUB"));
        }
        for wrong in [
            "HPUB a\r\n",
            "HPUB a 2\r\n",
            "HPUB a 3 2\r\n",
            "HPUB a -1 2\r\n",
            "HPUB a b c 1 2\r\n",
            "HPUB a 1 b\r\n",
            "HPUB a b 3 2\r\n",
        ] {
            check(wrong, &bad("HPUB"));
        }
        let no_headers = Limits {
            headers: false,
            ..LIMITS
        };
        assert_eq!(describe(b"HPUB a\r\n", &no_headers), "HeadersNotSupported");
    }

    #[test]
    fn payloads_end_in_crlf() {
        check("PUB a 3\r\n", "more Some(14)");
        check("PUB a 3\r\nhel\r", "more Some(14)");
        check("PUB a 3\r\nhell", UNKNOWN);
        check("PUB a 3\r\nhel\n", UNKNOWN);
        check("PUB a 3\r\nhel\rx", UNKNOWN);
        check("PUB a 1024\r\n", "more Some(1038)");
        check("PUB a 1025\r\n", "MaxPayload { size: 1025 }");
        check("PUB a 1025", "more None");
        check("HPUB a 1 1025\r\n", "MaxPayload { size: 1025 }");
    }

    #[test]
    fn subscriptions() {
        check("SUB a.* 7\r\n", "sub a.* 7 +0");
        check("sub \ta\t q  7 \r\n", "sub a q 7 +0");
        check("SUB \na 7\r\n", "sub a 7 +0");
        check("UNSUB 7\r\n", "unsub 7 None +0");
        check("unsub\t7 5\n", "unsub 7 Some(5) +0");
        check("UNSUB 7 0\r\n", "unsub 7 None +0");
        check("UNSUB 7 abc\r\n", "unsub 7 None +0");
        check("UNSUB 7 1234567890\r\n", "unsub 7 None +0");
        check("SUB a\r\n", "BadArguments { verb: \"SUB\" }");
        check("SUB a b c d\r\n", "BadArguments { verb: \"SUB\" }");
        check("UNSUB \r\n", "BadArguments { verb: \"UNSUB\" }");
        check("UNSUB 1 2 3\r\n", "BadArguments { verb: \"UNSUB\" }");
        check("INFO\r\n", "BadArguments { verb: \"INFO\" }");
        check(
            "INFO {\"port\":\"x\"}\r\n",
            "BadArguments { verb: \"INFO\" }",
        );
    }

    #[test]
    fn oddities_of_line_ends() {
        check("PUB \nfoo 2\r\nhi\r\n", "pub \\nfoo 2:hi +0");
        check("PUB \rfoo 2\nhi\r\n", "pub \\rfoo 2:hi +0");
        check("PUB a\r 12\nx\r\n", "pub a\\r 1:x +0");
        check("PUB a\r b 2\r\nhi\r\n", "pub a\\r b 2:hi +0");
        check("PUB \n", "more None");
        check("CONNECT\n{}\r\n", "connect \\n{} +0");
        check("CONNECT\r\n", "connect \\r +0");
    }

    #[test]
    fn only_arguments_count_against_the_control_line() {
        let line = |args: usize, end: &str| format!("SUB {} 1{end}", "s".repeat(args - 2));
        let op = |args: usize| format!("sub {} 1 +0", "s".repeat(args - 2));
        check(&line(64, "\r\n"), &op(64));
        check(&line(64, "\n"), &op(64));
        check(&line(64, ""), "more None");
        check(&line(64, "\r"), "more None");
        check(&line(65, "\r\n"), TOO_LONG);
        check(&line(65, "\n"), TOO_LONG);
        check(&line(65, ""), TOO_LONG);
        check(
            &format!("PUB {} 0\r\n\r\n", "s".repeat(62)),
            &format!("pub {} 0: +0", "s".repeat(62)),
        );
        check(&format!("PUB {} 0\r\n\r\n", "s".repeat(63)), TOO_LONG);
        check(&format!("SUB{}a 1\r\n", " ".repeat(64)), "sub a 1 +0");
        check(&format!("SUB{}a 1\r\n", " ".repeat(65)), TOO_LONG);
        check(&format!("PING{}\r\n", "x".repeat(64)), "Ping +0");
        check(&format!("PING{}", "x".repeat(66)), TOO_LONG);
    }
}
