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
//! Two differences, both where stock's answer depends on how the bytes were cut into reads: the
//! dropped byte above (we always do what stock does for a line that arrives whole), and `HMSG`,
//! always refused once its line is whole.
//!
//! One limit is ours: blanks after a verb, and what `PING`, `PONG` and `+OK` ignore, may be
//! `max_control_line` bytes long and no longer. Stock drops them as they come and so has no
//! bound; we keep an unfinished operation in the connection's buffer, which must have one.

use memchr::memchr;

use super::error::ProtocolError;
use super::info;
use super::op::{ClientOp, Publish};

/// Longest verb in bytes (`CONNECT`).
const LONGEST_VERB: usize = 7;
/// Most digits in a size (CORE-22).
const SIZE_DIGITS: usize = 9;
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
    if let Some(head) = input.first_chunk::<4>() {
        let word = u32::from_le_bytes(*head) | 0x0020_2020;
        if word == u32::from_le_bytes(*b"pub ") {
            if let Some(head) = common_head::<false>(input, 4, limits) {
                return finish_publish(input, head, limits);
            }
        } else if word | 0x2000_0000 == u32::from_le_bytes(*b"hpub")
            && input.get(4) == Some(&b' ')
            && limits.headers
            && let Some(head) = common_head::<true>(input, 5, limits)
        {
            return finish_publish(input, head, limits);
        }
    }
    any_op(input, limits)
}

/// The control line of a PUB or HPUB.
struct PublishHead<'a> {
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    has_header: bool,
    header_len: usize,
    header_size_text: &'a [u8],
    size: usize,
    size_text: &'a [u8],
    line: &'a [u8],
    /// Where the body begins in the input.
    body_at: usize,
}

/// Reads `subject [reply] [header] size\r\n` with single blanks and nothing unusual, in one pass;
/// `None` for anything else, which [`any_op`] then judges.
#[inline]
fn common_head<'a, const HEADER: bool>(
    input: &'a [u8],
    start: usize,
    limits: &Limits,
) -> Option<PublishHead<'a>> {
    let args = input.get(start..)?;
    // A line without end costs one scan of the limit, not of the whole buffer.
    let args = &args[..args
        .len()
        .min(limits.max_control_line.saturating_add(CRLF.len()))];
    let (subject, rest) = token(args)?;

    let (reply, sizes) = match last_arguments::<HEADER>(rest) {
        Some(sizes) => (None, sizes),
        None => {
            let (reply, rest) = token(rest)?;
            (Some(reply), last_arguments::<HEADER>(rest)?)
        }
    };
    let (header, total, line_end) = sizes;
    if header.bytes > total.bytes {
        return None;
    }
    let line = &args[..args.len() - line_end.len()];
    Some(PublishHead {
        subject,
        reply,
        has_header: HEADER,
        header_len: header.bytes,
        header_size_text: header.text,
        size: total.bytes,
        size_text: total.text,
        line,
        body_at: start + line.len() + CRLF.len(),
    })
}

/// A size argument and how it was written.
#[derive(Default)]
struct Size<'a> {
    bytes: usize,
    text: &'a [u8],
}

/// `[header ]total\r\n`: both sizes, and the rest from the carriage return on.
#[inline]
fn last_arguments<const HEADER: bool>(rest: &[u8]) -> Option<(Size<'_>, Size<'_>, &[u8])> {
    let (header, rest) = if HEADER {
        let (header, rest) = leading_size(rest)?;
        (header, rest.strip_prefix(b" ")?)
    } else {
        (Size::default(), rest)
    };
    let (total, rest) = leading_size(rest)?;
    rest.starts_with(CRLF).then_some((header, total, rest))
}

/// The 1 to 9 digits at the front, and what follows them.
#[inline]
fn leading_size(rest: &[u8]) -> Option<(Size<'_>, &[u8])> {
    let mut bytes = 0;
    let mut digits = 0;
    for byte in rest.iter().take(SIZE_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        bytes = bytes * 10 + usize::from(digit);
        digits += 1;
    }
    if digits == 0 {
        return None;
    }
    let (text, rest) = rest.split_at(digits);
    Some((Size { bytes, text }, rest))
}

/// The bytes before the first blank, if there are any and nothing below a blank among them, and
/// what follows that one blank.
#[inline]
fn token(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = blank_or_below(rest);
    match rest.split_at(end) {
        ([], _) => None,
        (token, [b' ', rest @ ..]) => Some((token, rest)),
        _ => None,
    }
}

/// Index of the first byte up to and including a blank, or the length. Eight bytes a step:
/// subjects are mostly 10 to 40 bytes, too short to pay for a call of `memchr`.
#[inline]
fn blank_or_below(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // High bit of each byte below 0x21. A borrow may flag bytes above the first hit, never
        // below it.
        let hits = word.wrapping_sub(ONES * 0x21) & !word & (ONES * 0x80);
        if hits != 0 {
            return index * 8 + (hits.trailing_zeros() / 8) as usize;
        }
    }
    let found = tail.iter().position(|&byte| byte <= b' ');
    words.len() * 8 + found.unwrap_or(tail.len())
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
    let op = ClientOp::Publish(Publish {
        subject: head.subject,
        reply: head.reply,
        has_header: head.has_header,
        header_len: head.header_len,
        header_size_text: head.header_size_text,
        size_text: head.size_text,
        body,
        line: head.line,
    });
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

/// The whole grammar, for everything [`common_head`] does not take.
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

const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn any_op_with_arguments<'a>(
    verb: Verb,
    input: &'a [u8],
    rest: &'a [u8],
    limits: &Limits,
) -> Result<Progress<'a>, ProtocolError> {
    let Some((args, after)) = argument_line(rest, limits.max_control_line)? else {
        return Ok(NEED_LINE);
    };
    let used = input.len() - after.len();
    let op = match verb {
        Verb::Pub => return finish_publish(input, pub_head(args, used)?, limits),
        Verb::Hpub if !limits.headers => return Err(ProtocolError::HeadersNotSupported),
        Verb::Hpub => return finish_publish(input, hpub_head(args, used)?, limits),
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

/// The arguments after a verb and what follows their line; `None` while the line is not whole.
fn argument_line(
    rest: &[u8],
    max_control_line: usize,
) -> Result<Option<(&[u8], &[u8])>, ProtocolError> {
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
    Ok(Some((line, &args[end + 2..])))
}

/// Up to `N` arguments between blanks; `None` if there are more. The rest are empty.
fn arguments<const N: usize>(
    args: &[u8],
    is_separator: fn(u8) -> bool,
) -> Option<([&[u8]; N], usize)> {
    let mut found = [&[][..]; N];
    let mut count = 0;
    for argument in args.split(|&byte| is_separator(byte)) {
        if !argument.is_empty() {
            *found.get_mut(count)? = argument;
            count += 1;
        }
    }
    Some((found, count))
}

/// A whole argument as a size (CORE-22).
fn whole_size(text: &[u8]) -> Option<usize> {
    match leading_size(text) {
        Some((size, [])) => Some(size.bytes),
        _ => None,
    }
}

fn pub_head(args: &[u8], body_at: usize) -> Result<PublishHead<'_>, ProtocolError> {
    const BAD: ProtocolError = ProtocolError::BadArguments { verb: "PUB" };
    let (subject, reply, size_text) = match arguments(args, is_blank).ok_or(BAD)? {
        ([subject, size, _], 2) => (subject, None, size),
        ([subject, reply, size], 3) => (subject, Some(reply), size),
        _ => return Err(BAD),
    };
    Ok(PublishHead {
        subject,
        reply,
        has_header: false,
        header_len: 0,
        header_size_text: b"",
        size: whole_size(size_text).ok_or(BAD)?,
        size_text,
        line: args,
        body_at,
    })
}

fn hpub_head(args: &[u8], body_at: usize) -> Result<PublishHead<'_>, ProtocolError> {
    const BAD: ProtocolError = ProtocolError::BadArguments { verb: "HPUB" };
    let (subject, reply, header_size_text, size_text) =
        match arguments(args, is_blank).ok_or(BAD)? {
            ([subject, header, size, _], 3) => (subject, None, header, size),
            ([subject, reply, header, size], 4) => (subject, Some(reply), header, size),
            _ => return Err(BAD),
        };
    let header_len = whole_size(header_size_text).ok_or(BAD)?;
    let size = whole_size(size_text).ok_or(BAD)?;
    if header_len > size {
        return Err(BAD);
    }
    Ok(PublishHead {
        subject,
        reply,
        has_header: true,
        header_len,
        header_size_text,
        size,
        size_text,
        line: args,
        body_at,
    })
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
