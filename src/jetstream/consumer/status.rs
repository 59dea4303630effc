//! Messages without a body that tell a client how its request or delivery stands (section 16).

use bytes::Bytes;

const PENDING_MESSAGES: &str = "Nats-Pending-Messages";
const PENDING_BYTES: &str = "Nats-Pending-Bytes";
const LAST_CONSUMER: &str = "Nats-Last-Consumer";
const LAST_STREAM: &str = "Nats-Last-Stream";
const STALLED: &str = "Nats-Consumer-Stalled";

/// The block of a status alone.
pub(super) fn plain(code: u16, text: &str) -> Bytes {
    format!("NATS/1.0 {code} {text}\r\n\r\n").into()
}

/// The block of a status with what was asked for and not delivered.
pub(super) fn remaining(code: u16, text: &str, messages: i64, bytes: i64) -> Bytes {
    format!(
        "NATS/1.0 {code} {text}\r\n{PENDING_MESSAGES}: {messages}\r\n{PENDING_BYTES}: {bytes}\r\n\r\n"
    )
    .into()
}

/// The block that says the consumer lives, and up to where it has come (JS-217, JS-226).
pub(super) fn heartbeat(consumer_seq: u64, stream_seq: u64, stalled: Option<&[u8]>) -> Bytes {
    let mut text = format!(
        "NATS/1.0 100 Idle Heartbeat\r\n{LAST_CONSUMER}: {consumer_seq}\r\n{LAST_STREAM}: {stream_seq}\r\n"
    );
    if let Some(subject) = stalled {
        text += &format!("{STALLED}: {}\r\n", String::from_utf8_lossy(subject));
    }
    (text + "\r\n").into()
}

/// The two sequences an answer to flow control names (JS-190): of the consumer, of the stream.
pub(super) fn last_sequences(headers: &[u8]) -> (u64, u64) {
    let number = |key: &str| {
        crate::protocol::headers::get(headers, key.as_bytes())
            .and_then(|it| str::from_utf8(it).ok())
            .and_then(|it| it.parse().ok())
            .unwrap_or(0)
    };
    (number(LAST_CONSUMER), number(LAST_STREAM))
}
