//! Texts of `-ERR` lines that are not a [`ProtocolError`](super::error::ProtocolError), exactly as
//! clients match them. Put into a line by [`encode::err_line`](super::encode::err_line).

/// Any failed authentication, and anything but CONNECT where it is asked for (CORE-51). Closes.
pub const AUTHORIZATION_VIOLATION: &str = "Authorization Violation";
/// No CONNECT in time. Closes.
pub const AUTHENTICATION_TIMEOUT: &str = "Authentication Timeout";
/// The user's credentials ran out. Closes.
pub const USER_AUTHENTICATION_EXPIRED: &str = "User Authentication Expired";
/// The user's credentials were withdrawn. Closes.
pub const USER_AUTHENTICATION_REVOKED: &str = "User Authentication Revoked";
/// The account's claims ran out. Closes.
pub const ACCOUNT_AUTHENTICATION_EXPIRED: &str = "Account Authentication Expired";
/// The account could not be registered (CORE-17). Closes.
pub const FAILED_ACCOUNT_REGISTRATION: &str = "Failed Account Registration";
/// Too many pings unanswered. Closes.
pub const STALE_CONNECTION: &str = "Stale Connection";
/// Plain bytes where TLS is asked for. Closes.
pub const TLS_REQUIRED: &str = "Secure Connection - TLS Required";
/// Too many connections at once are being set up. Closes.
pub const CONNECTION_THROTTLING: &str = "Connection throttling is active. Please try again later.";
/// Over `max_connections` (CORE-15). Closes.
pub const MAXIMUM_CONNECTIONS: &str = "maximum connections exceeded";
/// Over the account's connections (CORE-16). Closes.
pub const MAXIMUM_ACCOUNT_CONNECTIONS: &str = "maximum account active connections exceeded";
/// CONNECT with a `protocol` other than 0 or 1 (CORE-26). Closes.
pub const INVALID_CLIENT_PROTOCOL: &str = "invalid client protocol";
/// CONNECT with `no_responders` but without headers (CORE-27). Closes.
pub const NO_RESPONDERS_REQUIRES_HEADERS: &str = "no responders requires headers support";
/// A client on a route port (CORE-50). Closes.
pub const CONNECTED_TO_ROUTE_PORT: &str = "attempted to connect to route port";
/// A client on a leaf node port. Closes.
pub const CONNECTED_TO_LEAF_NODE_PORT: &str = "attempted to connect to leaf node port";
/// A client on a gateway port. Closes.
pub const CONNECTED_TO_GATEWAY_PORT: &str = "attempted to connect to gateway port";
/// Any other peer on the wrong port. Closes.
pub const CONNECTED_TO_WRONG_PORT: &str = "attempted to connect to wrong port";
/// SUB to no valid subject (CORE-67). Stays open.
pub const INVALID_SUBJECT: &str = "Invalid Subject";
/// Pedantic PUB to no valid literal subject; the message is routed all the same. Stays open.
pub const INVALID_PUBLISH_SUBJECT: &str = "Invalid Publish Subject";
/// Over the limit of subscriptions. Stays open.
pub const MAXIMUM_SUBSCRIPTIONS: &str = "maximum subscriptions exceeded";

/// Appends `Permissions Violation for Publish to "<subject>"` (CORE-45, CORE-53).
pub fn publish_violation(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(b"Permissions Violation for Publish to ");
    quote(out, subject);
}

/// Appends `Permissions Violation for Publish with Reply of "<reply>"` (CORE-48).
pub fn reply_violation(out: &mut Vec<u8>, reply: &[u8]) {
    out.extend_from_slice(b"Permissions Violation for Publish with Reply of ");
    quote(out, reply);
}

/// Appends `Permissions Violation for Subscription to "<subject>"[ using queue "<queue>"]`
/// (CORE-46, CORE-52).
pub fn subscription_violation(out: &mut Vec<u8>, subject: &[u8], queue: Option<&[u8]>) {
    out.extend_from_slice(b"Permissions Violation for Subscription to ");
    quote(out, subject);
    if let Some(queue) = queue {
        out.extend_from_slice(b" using queue ");
        quote(out, queue);
    }
}

/// Appends the text for a subscription that lost its permission: [`subscription_violation`] and
/// ` (sid "<sid>")` (CORE-47).
pub fn subscription_removed(out: &mut Vec<u8>, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
    subscription_violation(out, subject, queue);
    out.extend_from_slice(b" (sid ");
    quote(out, sid);
    out.push(b')');
}

/// Appends `Permissions Violation for Subscription to "<subject>", too many tokens` (CORE-49).
pub fn too_many_tokens(out: &mut Vec<u8>, subject: &[u8]) {
    subscription_violation(out, subject, None);
    out.extend_from_slice(b", too many tokens");
}

/// Appends `bytes` in double quotes as Go's `%q` does: what does not print is escaped, bytes that
/// are no UTF-8 as `\xNN`.
pub fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_char(out, character);
        }
        for &byte in chunk.invalid() {
            escape_hex(out, b'x', u32::from(byte), 2);
        }
    }
    out.push(b'"');
}

fn quote_char(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\x07' => b'a',
        '\x08' => b'b',
        '\x0c' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x0b' => b'v',
        _ if prints(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        '\0'..='\x7f' => return escape_hex(out, b'x', u32::from(character), 2),
        '\u{80}'..='\u{ffff}' => return escape_hex(out, b'u', u32::from(character), 4),
        _ => return escape_hex(out, b'U', u32::from(character), 8),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn escape_hex(out: &mut Vec<u8>, kind: u8, code: u32, digits: u32) {
    out.extend_from_slice(&[b'\\', kind]);
    for digit in (0..digits).rev() {
        let nibble = (code >> (digit * 4)) & 0xf;
        out.extend(char::from_digit(nibble, 16).map(|digit| digit as u8));
    }
}

/// Whether Go calls the character printable: letters, marks, numbers, punctuation, symbols and the
/// ASCII blank. `str::escape_debug` asks the same question of all but the first character, which
/// must not be a mark: hence the letter in front.
fn prints(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    let mut text = [0; 5];
    text[0] = b'a';
    let len = 1 + character.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..len]).is_ok_and(|text| text.escape_debug().count() == 2)
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
    fn quotes_as_go_does() {
        let check = |bytes: &[u8], expected| check(expected, |out| quote(out, bytes));
        check(b"", r#""""#);
        check(b"foo.>", r#""foo.>""#);
        check(b"a\"b\\c'd", r#""a\"b\\c'd""#);
        check(
            b"\x07\x08\x0c\n\r\t\x0b\x00\x1b\x7f",
            r#""\a\b\f\n\r\t\v\x00\x1b\x7f""#,
        );
        check("é世🎉".as_bytes(), "\"é世🎉\"");
        check("e\u{301}".as_bytes(), "\"e\u{301}\"");
        check("\u{301}".as_bytes(), "\"\u{301}\"");
        check(
            "\u{a0}\u{ad}\u{200b}\u{2028}".as_bytes(),
            r#""\u00a0\u00ad\u200b\u2028""#,
        );
        check("\u{e000}\u{e0001}".as_bytes(), r#""\ue000\U000e0001""#);
        check("\u{fffd}".as_bytes(), "\"\u{fffd}\"");
        check(b"\xff\xc3(\xe4\xb8", r#""\xff\xc3(\xe4\xb8""#);
    }

    #[test]
    fn permission_texts() {
        check(r#"Permissions Violation for Publish to "a.b""#, |out| {
            publish_violation(out, b"a.b");
        });
        check(
            r#"Permissions Violation for Publish with Reply of "_R_.x""#,
            |out| {
                reply_violation(out, b"_R_.x");
            },
        );
        check(
            r#"Permissions Violation for Subscription to "a" using queue "q""#,
            |out| {
                subscription_violation(out, b"a", Some(b"q"));
            },
        );
        check(
            r#"Permissions Violation for Subscription to "a" (sid "1")"#,
            |out| {
                subscription_removed(out, b"a", None, b"1");
            },
        );
        check(
            r#"Permissions Violation for Subscription to "a.b", too many tokens"#,
            |out| {
                too_many_tokens(out, b"a.b");
            },
        );
    }
}
