//! The trace of a message that is too large to be taken in.

use crate::connection::connection::{Connection, Phase};
use crate::protocol::op::Publish;
use crate::shard::core::Core;
use crate::shard::message_trace::Asked;

impl Core {
    /// A message of `size` bytes is too large, and ends its connection: its trace says so, if as much
    /// of its header as came with the control line asks for one (CORE-104).
    pub(super) fn trace_too_large(&mut self, index: u32, input: &[u8], size: usize) {
        let open = |it: &mut Connection| it.phase == Phase::Open;
        if !self.local.connections.at(index).is_some_and(open) {
            return;
        }
        let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
        let (line, rest) = input.split_at(end);
        let line = line.trim_ascii_end();
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        let (Some(&subject), Some(header)) = (words.get(1), words.iter().nth_back(1)) else {
            return;
        };
        let header = std::str::from_utf8(header)
            .ok()
            .and_then(|it| it.parse().ok());
        let verb = words
            .first()
            .is_some_and(|it| it.eq_ignore_ascii_case(b"HPUB"));
        let Some(header) = header.filter(|&it: &usize| verb && it > 0) else {
            return;
        };
        let block = &rest[..header.min(rest.len())];
        let asked = self.begin_trace(
            index,
            &Publish {
                subject,
                reply: None,
                has_header: true,
                header_len: block.len(),
                header_size_text: b"",
                size_text: b"",
                body: block,
                line: b"",
                tail: b"",
            },
        );
        if matches!(asked, Asked::Yes) {
            self.trace_size(size);
            self.trace_refusal(b"maximum payload exceeded");
            self.finish_trace();
        }
    }
}
