//! A stored message on its way out again (JS-101).

use bytes::Bytes;

use super::publish::Republished;
use super::stream::Stream;
use crate::jetstream::api::timestamp::Timestamp;
use crate::routing::subject;
use crate::time::WallTime;

const VERSION: &[u8] = b"NATS/1.0\r\n";

impl Stream {
    /// What is published for a message: its subject and sequence, the last one of its subject
    /// before, its header block and the length of its body.
    pub(super) fn republished(
        &self,
        (subject, seq, last): (&[u8], u64, u64),
        (block, length): (&[u8], usize),
        now: WallTime,
        random: impl FnMut() -> u64,
    ) -> Option<Republished> {
        let to = self.republish.as_ref()?.apply(subject, random)?;
        if !subject::is_valid_literal(&to) {
            return None;
        }
        let headers_only = self.config.republish.as_ref()?.headers_only;
        let mut headers = match block.strip_suffix(b"\r\n") {
            Some(block) => block.to_vec(),
            None => VERSION.to_vec(),
        };
        let time = Timestamp::from(now);
        let subject = String::from_utf8_lossy(subject);
        let mut lines = format!(
            "Nats-Stream: {}\r\nNats-Subject: {subject}\r\nNats-Sequence: {seq}\r\nNats-Time-Stamp: {time}\r\nNats-Last-Sequence: {last}\r\n",
            self.config.name
        );
        if headers_only {
            lines += &format!("Nats-Msg-Size: {length}\r\n");
        }
        headers.extend_from_slice(lines.as_bytes());
        headers.extend_from_slice(b"\r\n");
        Some(Republished {
            to: to.into(),
            headers: Bytes::from(headers),
            headers_only,
        })
    }
}
