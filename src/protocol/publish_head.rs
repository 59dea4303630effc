//! The control lines of PUB and HPUB, and the arguments they are made of (CORE-22, CORE-32, CORE-33).

use super::error::ProtocolError;
use super::op::Publish;
use super::parser::Limits;

/// Most digits in a size (CORE-22).
const SIZE_DIGITS: usize = 9;
const CRLF: &[u8] = b"\r\n";

/// The control line of a PUB or HPUB.
pub(super) struct PublishHead<'a> {
    pub(super) subject: &'a [u8],
    pub(super) reply: Option<&'a [u8]>,
    pub(super) has_header: bool,
    pub(super) header_len: usize,
    pub(super) header_size_text: &'a [u8],
    pub(super) size: usize,
    pub(super) size_text: &'a [u8],
    pub(super) line: &'a [u8],
    /// Where the body begins in the input.
    pub(super) body_at: usize,
    /// Where the arguments after the subject begin, if they are written as a delivery has them.
    pub(super) tail_at: Option<usize>,
}

impl<'a> PublishHead<'a> {
    /// The operation it begins, which is the first `used` bytes of `input`.
    #[inline]
    pub(super) fn publish(self, input: &'a [u8], body: &'a [u8], used: usize) -> Publish<'a> {
        Publish {
            subject: self.subject,
            reply: self.reply,
            has_header: self.has_header,
            header_len: self.header_len,
            header_size_text: self.header_size_text,
            size_text: self.size_text,
            body,
            line: self.line,
            tail: match self.tail_at {
                Some(at) => input.get(at..used).unwrap_or_default(),
                None => b"",
            },
        }
    }

    /// Reads `subject [reply] [header] size\r\n` with single blanks and nothing unusual, in one pass;
    /// `None` for anything else, which the complete grammar then judges.
    #[inline]
    pub(super) fn read_common<const HEADER: bool>(
        input: &'a [u8],
        start: usize,
        limits: &Limits,
    ) -> Option<Self> {
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
        Some(Self {
            subject,
            reply,
            has_header: HEADER,
            header_len: header.bytes,
            header_size_text: header.text,
            size: total.bytes,
            size_text: total.text,
            line,
            body_at: start + line.len() + CRLF.len(),
            tail_at: Some(start + subject.len() + 1),
        })
    }

    /// Judges the arguments of a PUB; the body begins at `body_at` of the input.
    pub(super) fn read_pub(args: &'a [u8], body_at: usize) -> Result<Self, ProtocolError> {
        const BAD: ProtocolError = ProtocolError::BadArguments { verb: "PUB" };
        let (subject, reply, size_text) = match arguments(args, is_blank).ok_or(BAD)? {
            ([subject, size, _], 2) => (subject, None, size),
            ([subject, reply, size], 3) => (subject, Some(reply), size),
            _ => return Err(BAD),
        };
        Ok(Self {
            subject,
            reply,
            has_header: false,
            header_len: 0,
            header_size_text: b"",
            size: whole_size(size_text).ok_or(BAD)?,
            size_text,
            line: args,
            body_at,
            tail_at: None,
        })
    }

    /// Judges the arguments of an HPUB; the body begins at `body_at` of the input.
    pub(super) fn read_hpub(args: &'a [u8], body_at: usize) -> Result<Self, ProtocolError> {
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
        Ok(Self {
            subject,
            reply,
            has_header: true,
            header_len,
            header_size_text,
            size,
            size_text,
            line: args,
            body_at,
            tail_at: None,
        })
    }
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
#[inline(always)] // twice in the one loop that parses publishes
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

/// Up to `N` arguments between blanks; `None` if there are more. The rest are empty.
pub(super) fn arguments<const N: usize>(
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
pub(super) fn whole_size(text: &[u8]) -> Option<usize> {
    match leading_size(text) {
        Some((size, [])) => Some(size.bytes),
        _ => None,
    }
}

/// What separates arguments.
pub(super) const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
