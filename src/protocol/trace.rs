//! Text of `[TRC]` lines: operations and payloads as they pass (CFG-99).
//!
//! Pure text; the caller asks first whether anybody traces, and puts the connection's prefix in
//! front. Bytes of a peer come out printable, so that nobody writes to an operator's terminal.

use std::fmt::Write as _;

/// Which way an operation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceDirection {
    /// From the peer: `<<-`.
    In,
    /// To the peer: `->>`.
    Out,
    /// The server's own doing, as when it removes a subscription: `<->`.
    Internal,
}

impl TraceDirection {
    const fn arrow(self) -> &'static str {
        match self {
            Self::In => "<<-",
            Self::Out => "->>",
            Self::Internal => "<->",
        }
    }
}

/// An operation: `<<- [SUB foo 1]`, `->> [PONG]`. The arguments of `CONNECT` are redacted.
///
/// ```
/// use ramjet::protocol::trace::{TraceDirection, operation};
/// assert_eq!(operation(TraceDirection::In, "SUB", Some(b"foo 1")), "<<- [SUB foo 1]");
/// ```
pub fn operation(direction: TraceDirection, verb: &str, arguments: Option<&[u8]>) -> String {
    let mut line = format!("{} [{verb}", direction.arrow());
    if let Some(arguments) = arguments {
        line.push(' ');
        if verb.eq_ignore_ascii_case("CONNECT") {
            push_printable(&mut line, &redact_secrets(arguments));
        } else {
            push_printable(&mut line, arguments);
        }
    }
    line.push(']');
    line
}

/// What is shown of a message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadTrace {
    /// `max_traced_msg_len`, in bytes; 0 is all.
    pub max_len: usize,
    /// `trace_headers`: headers only.
    pub headers_only: bool,
}

/// A message's bytes, headers included and without the CR LF that ends them:
/// `<<- MSG_PAYLOAD: ["hello"]`. `None` where there is nothing to show.
pub fn payload(
    direction: TraceDirection,
    message: &[u8],
    header_size: usize,
    show: PayloadTrace,
) -> Option<String> {
    /// The empty line at the end of a header block, which a trace of headers leaves out.
    const HEADERS_END: usize = b"\r\n\r\n".len();
    let bytes = if show.headers_only {
        message
            .get(..header_size)?
            .get(..header_size.checked_sub(HEADERS_END)?)?
    } else {
        message
    };
    if bytes.is_empty() {
        return None;
    }
    let is_cut = show.max_len > 0 && bytes.len() > show.max_len;
    let shown = if is_cut {
        &bytes[..show.max_len]
    } else {
        bytes
    };
    let mut line = format!("{} MSG_PAYLOAD: [\"", direction.arrow());
    push_quoted(&mut line, shown);
    line.push_str(if is_cut { "...\"]" } else { "\"]" });
    Some(line)
}

/// The arguments of a `CONNECT` with the values of passwords, tokens and signatures replaced by
/// `[REDACTED]`. Works on anything a peer may send: it need not be JSON.
fn redact_secrets(arguments: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(arguments.len());
    let mut at = 0;
    while let Some(&byte) = arguments.get(at) {
        if let Some((start, end)) = secret_value(arguments, at) {
            shown.extend_from_slice(&arguments[at..start]);
            shown.extend_from_slice(b"[REDACTED]");
            at = end;
        } else {
            shown.push(byte);
            at += 1;
        }
    }
    shown
}

/// Where the value stands that belongs to a secret's name beginning at `at`.
fn secret_value(arguments: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &arguments[at..];
    let value_at = if let Some(name) = [&b"auth_token"[..], b"pass"]
        .iter()
        .find(|n| rest.starts_with(n))
    {
        // Names that only begin so count as well: `password`, `passwd`.
        let tail = &rest[name.len()..];
        let tail_len = tail
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(tail.len());
        (0..=tail_len).find_map(|skip| after_separator(arguments, at + name.len() + skip))?
    } else {
        let name = [&b"proxy_sig"[..], b"nkey", b"sig"]
            .into_iter()
            .find(|n| rest.starts_with(n))?;
        let before = at.checked_sub(1).and_then(|before| arguments.get(before));
        if before.is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        after_separator(arguments, at + name.len())?
    };
    let value = &arguments[value_at..];
    if value.first() == Some(&b'"') {
        let length = string_len(&value[1..]);
        Some((value_at + 1, value_at + 1 + length))
    } else {
        let is_end = |byte: &u8| matches!(byte, b'"' | b',' | b'\r' | b'\n' | b'}');
        let length = value.iter().position(is_end).unwrap_or(value.len());
        Some((value_at, value_at + length))
    }
}

/// Position behind an optional quote, blanks, `:` or `=`, and blanks.
fn after_separator(arguments: &[u8], at: usize) -> Option<usize> {
    let skip_blanks = |at: usize| {
        at + arguments[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    };
    let at = at + usize::from(arguments.get(at) == Some(&b'"'));
    let at = skip_blanks(at);
    matches!(arguments.get(at), Some(b':' | b'=')).then(|| skip_blanks(at + 1))
}

/// Bytes up to the quote that ends a JSON string, or all if none does.
fn string_len(text: &[u8]) -> usize {
    let mut is_escaped = false;
    text.iter()
        .position(|&byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })
        .unwrap_or(text.len())
}

/// Text as it is; tabs stay, other control characters and bytes that are no text are escaped.
fn push_printable(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\t' || is_printable(character) {
                out.push(character);
            } else {
                push_escape(out, character);
            }
        }
        push_hex(out, chunk.invalid());
    }
}

/// As between the quotes of a string literal.
pub(super) fn push_quoted(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                _ if is_printable(character) => out.push(character),
                _ => push_escape(out, character),
            }
        }
        push_hex(out, chunk.invalid());
    }
}

fn is_printable(character: char) -> bool {
    // `str::escape_debug` is the door to the standard library's table of printable characters;
    // behind another character it leaves combining marks alone. Quotes and backslash it escapes.
    let mut pair = [0; 5];
    pair[0] = b'a';
    let length = 1 + character.encode_utf8(&mut pair[1..]).len();
    matches!(character, '"' | '\'' | '\\')
        || std::str::from_utf8(&pair[..length])
            .is_ok_and(|pair| pair.escape_debug().nth(1) == Some(character))
}

fn push_escape(out: &mut String, character: char) {
    let code = u32::from(character);
    // Writing to a String cannot fail.
    let _ = match character {
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        _ if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
        _ if code < 0x10000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_connect(arguments: &str, expected: &str) {
        assert_eq!(
            operation(TraceDirection::In, "CONNECT", Some(arguments.as_bytes())),
            format!("<<- [CONNECT {expected}]")
        );
    }

    #[track_caller]
    fn check_payload(bytes: &[u8], max_len: usize, expected: &str) {
        let show = PayloadTrace {
            max_len,
            headers_only: false,
        };
        assert_eq!(
            payload(TraceDirection::In, bytes, 0, show).unwrap(),
            format!("<<- MSG_PAYLOAD: [{expected}]")
        );
    }

    #[test]
    fn cfg_99_operations() {
        let check = |direction, verb, arguments, expected| {
            assert_eq!(operation(direction, verb, arguments), expected);
        };
        check(TraceDirection::In, "PING", None, "<<- [PING]");
        check(
            TraceDirection::Out,
            "MSG",
            Some(&b"foo 1 5"[..]),
            "->> [MSG foo 1 5]",
        );
        check(
            TraceDirection::Internal,
            "DELSUB",
            Some(b"1"),
            "<-> [DELSUB 1]",
        );
        check(
            TraceDirection::In,
            "SUB",
            Some(b"foo \t 1"),
            "<<- [SUB foo \t 1]",
        );
        check(
            TraceDirection::In,
            "SUB",
            Some(b"\x1b[2J\xff 1"),
            "<<- [SUB \\x1b[2J\\xff 1]",
        );
    }

    #[test]
    fn cfg_99_payloads() {
        check_payload(b"hello", 0, "\"hello\"");
        check_payload(
            b"a\x00\xff\xe2\x82\xac\"\\\x7f\t\n..",
            16,
            "\"a\\x00\\xff\u{20ac}\\\"\\\\\\x7f\\t\\n..\"",
        );
        check_payload(b"it's", 0, "\"it's\"");
        check_payload(
            "e\u{301}\u{a0}\u{200b}\u{e0001}".as_bytes(),
            0,
            "\"e\u{301}\\u00a0\\u200b\\U000e0001\"",
        );
        check_payload(b"0123456789", 10, "\"0123456789\"");
        check_payload(b"0123456789a", 10, "\"0123456789...\"");
        check_payload(
            b"NATS/1.0\r\n\r\nhello",
            16,
            "\"NATS/1.0\\r\\n\\r\\nhell...\"",
        );
        assert_eq!(
            payload(TraceDirection::Out, b"", 0, PayloadTrace::default()),
            None
        );
    }

    #[test]
    fn cfg_99_headers_only() {
        let show = PayloadTrace {
            max_len: 0,
            headers_only: true,
        };
        assert_eq!(payload(TraceDirection::In, b"hello", 0, show), None);
        assert_eq!(payload(TraceDirection::In, b"hello", 9, show), None);
        assert_eq!(
            payload(TraceDirection::Out, b"NATS/1.0\r\n\r\nhello", 12, show).unwrap(),
            "->> MSG_PAYLOAD: [\"NATS/1.0\"]"
        );
    }

    #[test]
    fn cfg_99_connect_secrets() {
        check_connect(
            r#"{"user":"u","pass":"se cret","auth_token":"t","sig":"s","nkey":"UAX","proxy_sig":"p","name":"x","password":"pp","verbose":true}"#,
            r#"{"user":"u","pass":"[REDACTED]","auth_token":"[REDACTED]","sig":"[REDACTED]","nkey":"[REDACTED]","proxy_sig":"[REDACTED]","name":"x","password":"[REDACTED]","verbose":true}"#,
        );
        check_connect(
            r#"{"verbose":false,"pass": 5}"#,
            r#"{"verbose":false,"pass": [REDACTED]}"#,
        );
        check_connect("{pass= a b", "{pass= [REDACTED]");
        check_connect(r#"{"pass":""}"#, r#"{"pass":"[REDACTED]"}"#);
        check_connect(
            r#"{"my_sig":"a","design":"b"}"#,
            r#"{"my_sig":"a","design":"b"}"#,
        );
    }

    /// Where stock stops at the first comma, bracket or escaped quote of a password.
    #[test]
    fn secrets_are_hidden_to_their_end() {
        check_connect(
            r#"{"pass":"a,b}c\"d\\","x":1}"#,
            r#"{"pass":"[REDACTED]","x":1}"#,
        );
        check_connect(r#"{"pass":"open"#, r#"{"pass":"[REDACTED]"#);
        check_connect("pass", "pass");
        check_connect("pass:", "pass:[REDACTED]");
    }
}
