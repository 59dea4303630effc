//! The reply subject of a delivered message, and what is sent to it (JS-195, JS-197).

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::settings::Names;
use crate::protocol::json::JsonReader;
use crate::time::WallTime;
use crate::time::duration;

/// Tokens of a subject of version 1, and at least of version 2.
const TOKENS: [usize; 2] = [9, 11];

/// The reply subject of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckReply {
    /// What is the same for all messages of a consumer: its front, with the last dot.
    pub prefix: Bytes,
    /// How often the message has been sent, this time included.
    pub deliveries: u64,
    /// The message's sequence.
    pub stream_seq: u64,
    /// The delivery's own sequence.
    pub consumer_seq: u64,
    /// When the message was stored.
    pub time: WallTime,
    /// Messages that wait behind it.
    pub pending: u64,
}

impl AckReply {
    fn numbers(&self) -> [u64; 5] {
        [
            self.deliveries,
            self.stream_seq,
            self.consumer_seq,
            self.time.0,
            self.pending,
        ]
    }

    /// Length of the subject in bytes.
    pub fn len(&self) -> usize {
        let digits = |number: u64| number.checked_ilog10().map_or(1, |it| it as usize + 1);
        self.prefix.len() + 4 + self.numbers().into_iter().map(digits).sum::<usize>()
    }

    /// Is there nothing to write? Never: numbers are always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends the subject.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let [deliveries, stream, consumer, time, pending] = self.numbers();
        out.extend_from_slice(&self.prefix);
        // A vector takes all that is written to it.
        let _ = write!(out, "{deliveries}.{stream}.{consumer}.{time}.{pending}");
    }
}

/// The front of a consumer's reply subjects, with its last dot.
pub fn prefix(names: &Names) -> Bytes {
    let (stream, consumer) = (&names.stream, &names.consumer);
    let text = match &names.account_hash {
        None => format!("$JS.ACK.{stream}.{consumer}."),
        Some(hash) => format!("$JS.ACK.{}.{hash}.{stream}.{consumer}.", domain(names)),
    };
    text.into()
}

/// The front of a consumer's flow control subjects, with its last dot (JS-227).
pub fn flow_prefix(names: &Names) -> String {
    let (stream, consumer) = (&names.stream, &names.consumer);
    match &names.account_hash {
        None => format!("$JS.FC.{stream}.{consumer}."),
        Some(hash) => format!("$JS.FC.{}.{hash}.{stream}.{consumer}.", domain(names)),
    }
}

/// What stands for an account in subjects of version 2 (JS-196).
pub fn account_hash(account: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = Sha256::digest(account.as_bytes());
    let first = hash.iter().take(8);
    first
        .map(|&byte| char::from(DIGITS[usize::from(byte) % DIGITS.len()]))
        .collect()
}

/// Where a consumer's messages are acknowledged: in both versions, whichever it writes itself.
pub fn ack_patterns(names: &Names) -> [String; 2] {
    let (stream, consumer) = (&names.stream, &names.consumer);
    let (domain, hash) = (domain(names), account_hash(&names.account));
    [
        format!("$JS.ACK.{stream}.{consumer}.*.*.*.*.*"),
        format!("$JS.ACK.{domain}.{hash}.{stream}.{consumer}.*.*.*.*.>"),
    ]
}

/// Where its flow control requests are answered, in both versions.
pub fn flow_patterns(names: &Names) -> [String; 2] {
    let (stream, consumer) = (&names.stream, &names.consumer);
    let (domain, hash) = (domain(names), account_hash(&names.account));
    [
        format!("$JS.FC.{stream}.{consumer}.*"),
        format!("$JS.FC.{domain}.{hash}.{stream}.{consumer}.*"),
    ]
}

fn domain(names: &Names) -> &str {
    if names.domain.is_empty() {
        "_"
    } else {
        &names.domain
    }
}

/// What an acknowledgement's subject says. Numbers that are none count as the largest there is,
/// as stock's -1 does, and so match nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckToken<'a> {
    /// The stream's name.
    pub stream: &'a [u8],
    /// The consumer's name.
    pub consumer: &'a [u8],
    /// How often the message had been sent.
    pub deliveries: u64,
    /// The message's sequence.
    pub stream_seq: u64,
    /// The delivery's own sequence.
    pub consumer_seq: u64,
}

impl<'a> AckToken<'a> {
    /// Takes apart a subject of either version; `None` if it is neither.
    pub fn parse(subject: &'a [u8]) -> Option<Self> {
        let count = memchr::memchr_iter(b'.', subject).count() + 1;
        if count != TOKENS[0] && count < TOKENS[1] {
            return None;
        }
        let mut tokens = subject.split(|&it| it == b'.');
        if tokens.next()? != b"$JS" || tokens.next()? != b"ACK" {
            return None;
        }
        if count >= TOKENS[1] {
            tokens.nth(1)?;
        }
        Some(Self {
            stream: tokens.next()?,
            consumer: tokens.next()?,
            deliveries: number(tokens.next()?),
            stream_seq: number(tokens.next()?),
            consumer_seq: number(tokens.next()?),
        })
    }
}

fn number(token: &[u8]) -> u64 {
    let digits = |token: &[u8]| {
        token.iter().try_fold(0_u64, |sum, &it| {
            it.is_ascii_digit()
                .then(|| sum.checked_mul(10)?.checked_add(u64::from(it - b'0')))?
        })
    };
    match token {
        [] => u64::MAX,
        _ => digits(token).unwrap_or(u64::MAX),
    }
}

/// What is said about a message (JS-197).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind<'a> {
    /// It is done.
    Ack,
    /// It is done, and here is a request for more.
    Next(&'a [u8]),
    /// Send it again: at once, or after that many nanoseconds.
    Nak(Option<i64>),
    /// It takes longer.
    Progress,
    /// Never send it again, for this reason.
    Term(&'a [u8]),
    /// Nobody knows; changes nothing.
    Unknown,
}

impl<'a> AckKind<'a> {
    /// Reads a body. A delay that cannot be read is none (JS-201).
    pub fn parse(body: &'a [u8]) -> Self {
        match body {
            b"" | b"+ACK" | b"+OK" => Self::Ack,
            b"+WPI" => Self::Progress,
            _ => {
                if let Some(request) = body.strip_prefix(b"+NXT") {
                    Self::Next(request)
                } else if let Some(delay) = body.strip_prefix(b"-NAK") {
                    Self::Nak(delay_of(delay.trim_ascii()))
                } else if let Some(reason) = body.strip_prefix(b"+TERM") {
                    Self::Term(reason.trim_ascii())
                } else {
                    Self::Unknown
                }
            }
        }
    }
}

fn delay_of(text: &[u8]) -> Option<i64> {
    if text.first() != Some(&b'{') {
        return duration::parse(str::from_utf8(text).ok()?).ok();
    }
    let mut delay = 0;
    let mut reader = JsonReader::new(text);
    reader
        .object(|reader, key| {
            if key == "delay" {
                delay = reader.integer()?.unwrap_or(delay);
                Ok(())
            } else {
                reader.skip()
            }
        })
        .and_then(|()| reader.end())
        .ok()?;
    Some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hash: Option<&str>) -> Names {
        Names {
            stream: "S".into(),
            consumer: "c".into(),
            account_hash: hash.map(str::to_owned),
            ..Names::default()
        }
    }

    #[test]
    fn js_196_accounts_have_hashes() {
        assert_eq!(account_hash("$G"), "szMpdrwD");
    }

    #[test]
    fn js_195_reply_subjects_are_written_and_read() {
        for (hash, expected) in [
            (None, "$JS.ACK.S.c.2.10.11.99.0"),
            (Some("abcdefgh"), "$JS.ACK._.abcdefgh.S.c.2.10.11.99.0"),
        ] {
            let reply = AckReply {
                prefix: prefix(&names(hash)),
                deliveries: 2,
                stream_seq: 10,
                consumer_seq: 11,
                time: WallTime(99),
                pending: 0,
            };
            let mut text = Vec::new();
            reply.write(&mut text);
            assert_eq!(text, expected.as_bytes());
            assert_eq!(text.len(), reply.len());
            let token = AckToken::parse(&text).expect("ours");
            assert_eq!((token.stream, token.consumer), (&b"S"[..], &b"c"[..]));
            let numbers = (token.deliveries, token.stream_seq, token.consumer_seq);
            assert_eq!(numbers, (2, 10, 11));
        }
        let more = AckToken::parse(b"$JS.ACK._.h.S.c.1.2.3.4.5.tok.en").expect("more tokens");
        assert_eq!((more.stream_seq, more.consumer_seq), (2, 3));
        for bad in [
            "",
            "$JS.ACK.S.c",
            "$JS.ACK.a.S.c.1.2.3.4.5",
            "$JS.FC.S.c.1.2.3.4.5",
        ] {
            assert_eq!(AckToken::parse(bad.as_bytes()), None, "{bad}");
        }
        let odd = AckToken::parse(b"$JS.ACK.S.c.x..99999999999999999999.4.5").expect("odd");
        let numbers = (odd.deliveries, odd.stream_seq, odd.consumer_seq);
        assert_eq!(numbers, (u64::MAX, u64::MAX, u64::MAX));
    }

    #[test]
    fn js_197_bodies_of_acknowledgements() {
        for (body, kind) in [
            ("", AckKind::Ack),
            ("+ACK", AckKind::Ack),
            ("+OK", AckKind::Ack),
            ("+WPI", AckKind::Progress),
            ("+WPI ", AckKind::Unknown),
            ("-NAK", AckKind::Nak(None)),
            ("-NAK 2s", AckKind::Nak(Some(2_000_000_000))),
            ("-NAK {\"delay\": 5}", AckKind::Nak(Some(5))),
            ("-NAK {\"delay\":\"x\"}", AckKind::Nak(None)),
            ("-NAK junk", AckKind::Nak(None)),
            ("+TERM", AckKind::Term(b"")),
            ("+TERM bad  ", AckKind::Term(b"bad")),
            ("+NXT 5", AckKind::Next(b" 5")),
            ("junk", AckKind::Unknown),
        ] {
            assert_eq!(AckKind::parse(body.as_bytes()), kind, "{body}");
        }
    }
}
