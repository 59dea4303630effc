//! The parser of leaf links: bytes in, one borrowed operation out (TOPO-26..28).
//!
//! Verbs, line ends and bounds are those of [`crate::protocol::parser`]; only the operations differ.

use memchr::memchr;

use super::op::{LeafMessage, LeafOp};
use crate::protocol::error::ProtocolError;
use crate::protocol::parser::{ArgumentLine, Limits, argument_line};
use crate::protocol::publish_head::{is_blank, whole_size};

const CRLF: &[u8] = b"\r\n";

/// What the front of the input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafProgress<'a> {
    /// A whole operation.
    Op {
        /// The operation.
        op: LeafOp<'a>,
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

const NEED_LINE: LeafProgress<'static> = LeafProgress::Incomplete { needed: None };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Lmsg,
    Hmsg,
    Pub,
    Hpub,
    Nothing,
    Subscribe,
    Unsubscribe,
    Ping,
    Pong,
    Ok,
    Info,
    Connect,
    Err,
}

/// Those of clients and routes are understood, too, as stock does: no server sends them here.
const VERBS: [(&[u8], Verb); 19] = [
    (b"LMSG", Verb::Lmsg),
    (b"HMSG", Verb::Hmsg),
    (b"LS+", Verb::Subscribe),
    (b"LS-", Verb::Unsubscribe),
    (b"RMSG", Verb::Lmsg),
    (b"RS+", Verb::Subscribe),
    (b"RS-", Verb::Unsubscribe),
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"SUB", Verb::Subscribe),
    (b"UNSUB", Verb::Unsubscribe),
    (b"A+", Verb::Nothing),
    (b"A-", Verb::Nothing),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"+OK", Verb::Ok),
    (b"INFO", Verb::Info),
    (b"CONNECT", Verb::Connect),
    (b"-ERR", Verb::Err),
];

/// Takes the next operation off the front of `input`, without copying or allocating.
///
/// Total and free of state: any bytes give an operation, "more" or an error, and cutting a stream
/// elsewhere gives the same operations.
///
/// # Errors
/// [`ProtocolError`], after which the input has no meaning left.
pub fn next_op<'a>(input: &'a [u8], limits: &Limits) -> Result<LeafProgress<'a>, ProtocolError> {
    let Some((verb, rest)) = verb(input)? else {
        return Ok(NEED_LINE);
    };
    let op = match verb {
        Verb::Ping => LeafOp::Ping,
        Verb::Pong => LeafOp::Pong,
        Verb::Ok => LeafOp::Ok,
        _ => return with_arguments(verb, input, rest, limits),
    };
    let bound = limits.max_control_line.saturating_add(CRLF.len());
    match memchr(b'\n', &rest[..rest.len().min(bound)]) {
        Some(end) => Ok(LeafProgress::Op {
            op,
            used: input.len() - rest.len() + end + 1,
        }),
        None if rest.len() >= bound => Err(ProtocolError::ControlLineTooLong),
        None => Ok(NEED_LINE),
    }
}

/// The verb and what follows it; `None` if the input may yet become one.
fn verb(input: &[u8]) -> Result<Option<(Verb, &[u8])>, ProtocolError> {
    let mut possible = false;
    for (text, verb) in VERBS {
        match input.split_at_checked(text.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(text) => {
                let any_may_follow = matches!(
                    verb,
                    Verb::Ping | Verb::Pong | Verb::Ok | Verb::Connect | Verb::Info
                );
                return match rest.first() {
                    Some(&byte) if !any_may_follow && !is_blank(byte) => {
                        Err(ProtocolError::UnknownOperation)
                    }
                    _ => Ok(Some((verb, rest))),
                };
            }
            Some(_) => {}
            None => possible |= text[..input.len()].eq_ignore_ascii_case(input),
        }
    }
    match possible {
        true => Ok(None),
        false => Err(ProtocolError::UnknownOperation),
    }
}

fn with_arguments<'a>(
    verb: Verb,
    input: &'a [u8],
    rest: &'a [u8],
    limits: &Limits,
) -> Result<LeafProgress<'a>, ProtocolError> {
    let Some(ArgumentLine { args, after }) = argument_line(rest, limits.max_control_line)? else {
        return Ok(NEED_LINE);
    };
    let used = input.len() - after.len();
    let op = match verb {
        Verb::Lmsg => return message(input, Head::read::<false>(args)?, used, limits),
        Verb::Hmsg => return message(input, Head::read::<true>(args)?, used, limits),
        Verb::Pub => return message(input, Head::published::<false>(args)?, used, limits),
        Verb::Hpub => return message(input, Head::published::<true>(args)?, used, limits),
        Verb::Subscribe => subscribe(args)?,
        Verb::Unsubscribe => match trimmed(args) {
            [] => return Err(ProtocolError::BadArguments { verb: "LS-" }),
            key => LeafOp::Unsubscribe { key },
        },
        Verb::Connect => LeafOp::Connect { json: args },
        Verb::Info => LeafOp::Info { json: args },
        Verb::Err => LeafOp::Err { text: args },
        Verb::Nothing => LeafOp::Ok,
        Verb::Ping | Verb::Pong | Verb::Ok => return Err(ProtocolError::UnknownOperation),
    };
    Ok(LeafProgress::Op { op, used })
}

fn trimmed(args: &[u8]) -> &[u8] {
    args.trim_ascii()
}

fn subscribe(args: &[u8]) -> Result<LeafOp<'_>, ProtocolError> {
    const BAD: ProtocolError = ProtocolError::BadArguments { verb: "LS+" };
    let args = trimmed(args);
    let Some((subject, rest)) = token(args) else {
        return Err(BAD);
    };
    let Some((queue, rest)) = token(rest) else {
        return Ok(LeafOp::Subscribe {
            subject,
            queue: None,
            key: subject,
        });
    };
    let Some((weight, b"")) = token(rest) else {
        return Err(BAD);
    };
    // What is no number counts as one member.
    let weight = whole_size(weight).and_then(|it| u32::try_from(it).ok());
    let weight = weight.unwrap_or(1).max(1);
    let key_len = args.len() - rest.len();
    Ok(LeafOp::Subscribe {
        subject,
        queue: Some((queue, weight)),
        key: trimmed(&args[..key_len]),
    })
}

/// The first argument, and what follows it.
fn token(args: &[u8]) -> Option<(&[u8], &[u8])> {
    let blanks = args.iter().take_while(|&&byte| is_separator(byte)).count();
    let args = &args[blanks..];
    let len = args.iter().take_while(|&&byte| !is_separator(byte)).count();
    (len > 0).then(|| {
        let (token, rest) = args.split_at(len);
        let blanks = rest.iter().take_while(|&&byte| is_separator(byte)).count();
        (token, &rest[blanks..])
    })
}

const fn is_separator(byte: u8) -> bool {
    is_blank(byte) || byte == b'\r' || byte == b'\n'
}

/// The control line of a message.
struct Head<'a> {
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    queues: &'a [u8],
    header_len: Option<usize>,
    header_size_text: &'a [u8],
    size: usize,
    size_text: &'a [u8],
    /// The arguments after the subject, where a delivery can repeat them as they are.
    tail: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// As a client says it: without queue names.
    fn published<const HEADER: bool>(args: &'a [u8]) -> Result<Self, ProtocolError> {
        let head = Self::read::<HEADER>(args)?;
        let verb = if HEADER { "HPUB" } else { "PUB" };
        match head.queues {
            [] => Ok(head),
            _ => Err(ProtocolError::BadArguments { verb }),
        }
    }

    /// Reads `subject [reply] [header] size`, or with `+ reply` or `|` before queue names.
    fn read<const HEADER: bool>(args: &'a [u8]) -> Result<Self, ProtocolError> {
        let bad = ProtocolError::BadArguments {
            verb: if HEADER { "HMSG" } else { "LMSG" },
        };
        let args = trimmed(args);
        let (subject, rest) = token(args).ok_or(bad)?;
        let (before, size_text) = last_token(rest).ok_or(bad)?;
        let size = whole_size(size_text).ok_or(bad)?;
        let (before, header_len, header_size_text) = if HEADER {
            let (before, text) = last_token(before).ok_or(bad)?;
            let len = whole_size(text).filter(|&len| len <= size).ok_or(bad)?;
            (before, Some(len), text)
        } else {
            (before, None, &b""[..])
        };
        let (reply, queues) = match token(before) {
            None => (None, &b""[..]),
            Some((b"+", rest)) => {
                let (reply, queues) = token(rest).ok_or(bad)?;
                (Some(reply), queues)
            }
            Some((b"|", queues)) => (None, queues),
            Some((reply, b"")) => (Some(reply), &b""[..]),
            Some(_) => return Err(bad),
        };
        let plain_len = reply.map_or(0, |it| it.len() + 1)
            + header_len.map_or(0, |_| header_size_text.len() + 1)
            + size_text.len();
        let single_blanks = queues.is_empty()
            && rest.len() == plain_len
            && !rest.iter().any(|&byte| byte != b' ' && is_separator(byte));
        let tail = single_blanks.then_some(rest);
        Ok(Self {
            subject,
            reply,
            queues,
            header_len,
            header_size_text,
            size,
            size_text,
            tail,
        })
    }
}

/// What stands before the last argument, and that.
fn last_token(args: &[u8]) -> Option<(&[u8], &[u8])> {
    let args = trimmed(args);
    let backwards = args.iter().rev();
    let len = backwards.take_while(|&&byte| !is_separator(byte)).count();
    (len > 0).then(|| {
        let (before, token) = args.split_at(args.len() - len);
        (trimmed(before), token)
    })
}

fn message<'a>(
    input: &'a [u8],
    head: Head<'a>,
    body_at: usize,
    limits: &Limits,
) -> Result<LeafProgress<'a>, ProtocolError> {
    if head.size > limits.max_payload {
        return Err(ProtocolError::MaxPayload { size: head.size });
    }
    // A size has at most 9 digits: no overflow.
    let used = body_at + head.size + CRLF.len();
    let Some(whole) = input.get(body_at..used) else {
        // A payload longer than announced is refused at its first wrong byte.
        return match input.get(body_at + head.size) {
            Some(&byte) if byte != b'\r' => Err(ProtocolError::UnknownOperation),
            _ => Ok(LeafProgress::Incomplete { needed: Some(used) }),
        };
    };
    let (body, end) = whole.split_at(head.size);
    if end != CRLF {
        return Err(ProtocolError::UnknownOperation);
    }
    let tail = head.tail.and_then(|arguments| {
        let line_end = body_at.checked_sub(CRLF.len())?;
        let tail = input.get(line_end.checked_sub(arguments.len())?..used)?;
        tail.starts_with(arguments).then_some(tail)
    });
    let op = LeafOp::Message(LeafMessage {
        subject: head.subject,
        reply: head.reply,
        queues: head.queues,
        header_len: head.header_len,
        header_size_text: head.header_size_text,
        size_text: head.size_text,
        body,
        tail: tail.unwrap_or_default(),
    });
    Ok(LeafProgress::Op { op, used })
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
