//! What an origin's consumer says of a message in its reply subject (JS-195).

/// The numbers of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered<'a> {
    pub consumer: &'a [u8],
    pub deliveries: u64,
    /// The message's sequence in its own stream.
    pub stream_seq: u64,
    /// The delivery's number.
    pub consumer_seq: u64,
    /// When the message was stored there, in nanoseconds since 1970.
    pub time: u64,
    /// Messages that wait behind it.
    pub pending: u64,
}

impl<'a> Delivered<'a> {
    /// Takes apart a reply subject of either version.
    pub fn parse(reply: &'a [u8]) -> Option<Self> {
        let count = memchr::memchr_iter(b'.', reply).count() + 1;
        let mut tokens = reply.split(|&it| it == b'.');
        if tokens.next()? != b"$JS" || tokens.next()? != b"ACK" {
            return None;
        }
        match count {
            9 => {}
            11.. => {
                tokens.nth(1)?; // domain and account
            }
            _ => return None,
        }
        tokens.next()?; // stream
        let consumer = tokens.next()?;
        let mut number =
            || -> Option<u64> { std::str::from_utf8(tokens.next()?).ok()?.parse().ok() };
        Some(Self {
            consumer,
            deliveries: number()?,
            stream_seq: number()?,
            consumer_seq: number()?,
            time: number()?,
            pending: number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let expected = Delivered {
            consumer: b"C",
            deliveries: 1,
            stream_seq: 22,
            consumer_seq: 3,
            time: 1234,
            pending: 5,
        };
        for reply in [
            "$JS.ACK.S.C.1.22.3.1234.5",
            "$JS.ACK._.HASH.S.C.1.22.3.1234.5",
            "$JS.ACK.hub.HASH.S.C.1.22.3.1234.5.random",
        ] {
            assert_eq!(
                Delivered::parse(reply.as_bytes()),
                Some(expected),
                "{reply}"
            );
        }
        for reply in [
            "",
            "$JS.ACK.S.C.1.22.3.1234",
            "$JS.ACK.S.C.1.x.3.1234.5",
            "_INBOX.a",
        ] {
            assert_eq!(Delivered::parse(reply.as_bytes()), None, "{reply}");
        }
    }
}
