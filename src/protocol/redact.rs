//! Hides the credentials in a CONNECT for a trace line (CFG-99).
//!
//! It works on the raw text, so that a CONNECT that is no valid JSON shows no password either.

const HIDDEN: &[u8] = b"[REDACTED]";
/// Any key that begins so, wherever the beginning stands: `pass`, `password`, `auth_token_2`.
const PREFIXES: [&[u8]; 2] = [b"auth_token", b"pass"];
/// Keys that are exactly this. The longer one first: the other is its end.
const NAMES: [&[u8]; 3] = [b"proxy_sig", b"nkey", b"sig"];

/// The arguments of a CONNECT with the values of passwords, tokens and signatures replaced.
pub fn connect(args: &[u8]) -> Vec<u8> {
    let text = hide(args, |_, rest| {
        let name = PREFIXES.iter().find(|name| rest.starts_with(name))?;
        let more = rest[name.len()..]
            .iter()
            .take_while(|byte| !is_space(**byte))
            .count();
        (name.len()..=name.len() + more).find_map(|end| value(rest, end))
    });
    hide(&text, |before, rest| {
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let name = NAMES.iter().find(|name| rest.starts_with(name))?;
        value(rest, name.len())
    })
}

/// Replaces every range that `find` gives for the byte before and the text from a place on.
fn hide(text: &[u8], find: impl Fn(Option<u8>, &[u8]) -> Option<(usize, usize)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + HIDDEN.len());
    let mut before = None;
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        if let Some((start, end)) = find(before, rest) {
            out.extend_from_slice(&rest[..start]);
            out.extend_from_slice(HIDDEN);
            before = rest[..end].last().copied();
            rest = &rest[end..];
        } else {
            out.push(byte);
            before = Some(byte);
            rest = next;
        }
    }
    out
}

/// The range of the value in `text`, whose key ends at `key_end`: after a quote, a colon or an
/// equals sign, and a quote, each but the sign optional.
fn value(text: &[u8], key_end: usize) -> Option<(usize, usize)> {
    let quote = |at: usize| at + usize::from(text.get(at) == Some(&b'"'));
    let spaces = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| is_space(**byte)).count()
    };
    let sign = spaces(quote(key_end));
    if !matches!(text.get(sign), Some(b':' | b'=')) {
        return None;
    }
    let start = quote(spaces(sign + 1));
    let rest = text.get(start..)?;
    let len = rest
        .iter()
        .take_while(|byte| !b"\",\r\n}".contains(byte))
        .count();
    Some((start, start + len))
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&connect(text.as_bytes())), expected);
        };
        check(
            r#"{"user":"u","verbose":false}"#,
            r#"{"user":"u","verbose":false}"#,
        );
        check(
            r#"{"user":"u","pass":"s3","auth_token":"t","echo":true}"#,
            r#"{"user":"u","pass":"[REDACTED]","auth_token":"[REDACTED]","echo":true}"#,
        );
        check(r#"{"password" : "a b"}"#, r#"{"password" : "[REDACTED]"}"#);
        check("{pass=x}", "{pass=[REDACTED]}");
        check(r#"{"pass":""}"#, r#"{"pass":"[REDACTED]"}"#);
        check(
            r#"{"sig":"a","proxy_sig":"b","nkey":"c","jwt":"d"}"#,
            r#"{"sig":"[REDACTED]","proxy_sig":"[REDACTED]","nkey":"[REDACTED]","jwt":"d"}"#,
        );
        check(
            r#"{"my_sig":"a","sigh":"b"}"#,
            r#"{"my_sig":"a","sigh":"b"}"#,
        );
        check(
            r#"{"name":"pass","lang":"go"}"#,
            r#"{"name":"pass","lang":"[REDACTED]"}"#,
        );
        check("sig:x,pass", "sig:[REDACTED],pass");
        check(
            r#"{"pass":"p\"q","y":"sig=3"}"#,
            r#"{"pass":"[REDACTED]"q","y":"sig=[REDACTED]"}"#,
        );
        check(
            r#"{"sig":"sig:x, pass=1"}"#,
            r#"{"sig":"[REDACTED], pass=[REDACTED]"}"#,
        );
        check(r#""pass"  =  "z"#, r#""pass"  =  "[REDACTED]"#);
        check("pass x:1", "pass x:1");
        check("", "");
    }
}
