//! A message of a consumer is received under one subject and seen under another. On a link the second
//! stands behind the reply subject, `$JS.ACK.<seven tokens>@<seen>`, where there is one.

const ACKNOWLEDGEMENT: &[u8] = b"$JS.ACK.";
/// Dots of a reply subject before the `@` may come: streams, consumers and subjects may have one, too.
const DOTS: usize = 8;

/// The reply subject and the subject seen, if that is what `reply` says.
pub fn split(reply: &[u8]) -> Option<(&[u8], &[u8])> {
    if !reply.starts_with(ACKNOWLEDGEMENT) {
        return None;
    }
    let mut dots = 0;
    let at = reply.iter().position(|&byte| {
        dots += usize::from(byte == b'.');
        byte == b'@' && dots >= DOTS
    })?;
    let seen = &reply[at + 1..];
    (!seen.is_empty()).then_some((&reply[..at], seen))
}

/// Appends what [`split`] takes apart.
pub fn append(out: &mut Vec<u8>, reply: &[u8], seen: &[u8]) {
    out.extend_from_slice(reply);
    out.push(b'@');
    out.extend_from_slice(seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_seen_stands_behind_the_last_token() {
        let reply = b"$JS.ACK.s@1.c.1.2.3.1700000000000000000.4";
        let mut both = Vec::new();
        append(&mut both, reply, b"orders.a@b");
        assert_eq!(split(&both), Some((&reply[..], &b"orders.a@b"[..])));
    }

    #[test]
    fn other_replies_are_left_alone() {
        for reply in [
            "_INBOX.a@b",
            "$JS.ACK.s@1.c.1.2.3.17.4",
            "$JS.ACK.s.c.1.2.3.17.4@",
            "$JS.ACK.s.c@x",
        ] {
            assert_eq!(split(reply.as_bytes()), None, "{reply}");
        }
    }
}
