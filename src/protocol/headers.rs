//! The header block of a message (CORE-75, CORE-76): `NATS/1.0[ status]\r\n`, lines `Key: value\r\n`,
//! an empty line. Keys are case-sensitive and kept as sent; a client's block is never checked, so
//! every function here takes any bytes.

use memchr::memmem;

const CRLF: &[u8] = b"\r\n";
const VERSION_LINE: &[u8] = b"NATS/1.0\r\n";
const NO_RESPONDERS_START: &[u8] = b"NATS/1.0 503\r\nNats-Subject: ";
const BLOCK_END: &[u8] = b"\r\n\r\n";

/// The value of the first line whose key is `key`, without the blanks before it.
pub fn get<'a>(block: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let line = find(block, key)?;
    let value = &line[key.len() + 1..];
    let value = &value[value.iter().take_while(|&&byte| byte == b' ').count()..];
    Some(&value[..memmem::find(value, CRLF).unwrap_or(value.len())])
}

/// Appends to `out` the `block` with every line of `key` taken out and `key: value` as its last
/// line. An empty block, or one without room for its end, gives a new one. Line ends inside the
/// value become blanks, so that a value cannot add lines; blanks around it are cut.
pub fn append_with(out: &mut Vec<u8>, block: &[u8], key: &[u8], value: &[u8]) {
    match block.split_last_chunk::<2>() {
        Some((mut rest, _)) if !rest.is_empty() => {
            while let Some(line) = find(rest, key) {
                out.extend_from_slice(&rest[..rest.len() - line.len()]);
                rest = match memmem::find(line, CRLF) {
                    // The CRLF before the line stays in front of what follows, as its line start.
                    Some(end) => {
                        out.truncate(out.len() - CRLF.len());
                        &line[end..]
                    }
                    None => &[],
                };
            }
            out.extend_from_slice(rest);
        }
        _ => out.extend_from_slice(VERSION_LINE),
    }
    out.extend_from_slice(key);
    out.extend_from_slice(b": ");
    let line_end_to_blank = |&byte: &u8| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    };
    out.extend(value.trim_ascii().iter().map(line_end_to_blank));
    out.extend_from_slice(BLOCK_END);
}

/// The rest of the block from the first line that begins with `key:`.
fn find<'a>(block: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    // By the byte that ends a line: a searcher for two costs more to build than most blocks to read.
    memchr::memchr_iter(b'\n', block)
        .filter(|&end| block[..end].ends_with(b"\r"))
        .filter_map(|end| block.get(end + 1..))
        .find(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.first() == Some(&b':'))
        })
}

/// Length of [`no_responders`]: 32 and the subject.
pub const fn no_responders_len(subject: &[u8]) -> usize {
    NO_RESPONDERS_START.len() + subject.len() + BLOCK_END.len()
}

/// Appends the block that answers a request nobody received (CORE-71).
pub fn no_responders(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(NO_RESPONDERS_START);
    out.extend_from_slice(subject);
    out.extend_from_slice(BLOCK_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values() {
        let block = b"NATS/1.0\r\nA: 1\r\nAB:2\r\nB:   x y \r\nA: 3\r\nE:\r\n\r\n";
        let check = |key: &str, expected: Option<&str>| {
            let found = get(block, key.as_bytes()).map(String::from_utf8_lossy);
            assert_eq!(found.as_deref(), expected, "{key}");
        };
        check("A", Some("1"));
        check("AB", Some("2"));
        check("B", Some("x y "));
        check("E", Some(""));
        check("a", None);
        check("NATS/1.0", None);
        check("y", None);
        assert_eq!(get(b"", b"A"), None);
        assert_eq!(get(b"NATS/1.0\r\nA: cut", b"A"), Some(&b"cut"[..]));
    }

    #[test]
    fn sets_values() {
        let check = |block: &str, value: &str, expected: &str| {
            let mut out = Vec::new();
            append_with(&mut out, block.as_bytes(), b"K", value.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected, "{block:?}");
        };
        check("", "v", "NATS/1.0\r\nK: v\r\n\r\n");
        check("\r\n", "v", "NATS/1.0\r\nK: v\r\n\r\n");
        check("NATS/1.0\r\n\r\n", "v", "NATS/1.0\r\nK: v\r\n\r\n");
        check(
            "NATS/1.0\r\nA: 1\r\n\r\n",
            "v",
            "NATS/1.0\r\nA: 1\r\nK: v\r\n\r\n",
        );
        check(
            "NATS/1.0\r\nK: 1\r\nK: 2\r\nA: K: 1\r\nK:\r\n\r\n",
            " v\r\nX: 1\r\n",
            "NATS/1.0\r\nA: K: 1\r\nK: v  X: 1\r\n\r\n",
        );
        check("junk", "v", "juK: v\r\n\r\n");
    }
}
