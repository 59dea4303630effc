//! A frame: what one write brings. Its head tells a torn last write from damage in the middle.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | magic |
//! | 4 | 4 | crc32c of the rest of the head, seeded |
//! | 8 | 8 | number, one more than the frame before |
//! | 16 | 4 | length of the records |
//! | 20 | 4 | crc32c of the records' own checksums, seeded |
//! | 24 | 4 | checksum of the frame before |
//! | 28 | 4 | records |
//! | 32 | 8 | sequence after the last one before this frame |
//! | 40 | 8 | last sequence with this frame |
//! | 48 | 8 | time of the last message with this frame |
//! | 56 | 4 | bytes from here to where the next frame may begin |
//! | 60 | 4 | zero |

use super::record::{Head, NUMBER_MAX, u32_at, u64_at};

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 64;
/// Where a frame may begin, so that one can be looked for after damage.
pub(super) const ALIGNMENT: usize = 64;

const MAGIC: [u8; 4] = *b"RjF\x01";

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) number: u64,
    pub(super) len: u32,
    pub(super) body_crc: u32,
    pub(super) previous: u32,
    pub(super) records: u32,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    pub(super) next: u32,
}

impl FrameHead {
    /// The head's bytes; its checksum, which the next frame repeats, is at 4.
    pub(super) fn encode(&self, seed: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&self.number.to_le_bytes());
        head[16..20].copy_from_slice(&self.len.to_le_bytes());
        head[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        head[24..28].copy_from_slice(&self.previous.to_le_bytes());
        head[28..32].copy_from_slice(&self.records.to_le_bytes());
        head[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        head[40..48].copy_from_slice(&self.last_seq.to_le_bytes());
        head[48..56].copy_from_slice(&self.last_time.to_le_bytes());
        head[56..60].copy_from_slice(&self.next.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &head[8..]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads a head and its checksum; `None` if there is none.
    pub(super) fn decode(seed: u32, bytes: &[u8]) -> Option<(Self, u32)> {
        let head = bytes.first_chunk::<HEAD>()?;
        let crc = u32_at(head, 4);
        if head[..4] != MAGIC || crc32c::crc32c_append(seed, &head[8..]) != crc {
            return None;
        }
        let this = Self {
            number: u64_at(head, 8),
            len: u32_at(head, 16),
            body_crc: u32_at(head, 20),
            previous: u32_at(head, 24),
            records: u32_at(head, 28),
            first_seq: u64_at(head, 32),
            last_seq: u64_at(head, 40),
            last_time: u64_at(head, 48),
            next: u32_at(head, 56),
        };
        let fits = u64::from(this.next) >= HEAD as u64 + u64::from(this.len)
            && this.last_seq < u64::MAX
            && this.number < NUMBER_MAX
            && (1..=this.last_seq + 1).contains(&this.first_seq);
        (fits && (this.next as usize).is_multiple_of(ALIGNMENT)).then_some((this, crc))
    }

    /// Is all of the frame in `body`, each record and each content intact?
    pub(super) fn is_whole(&self, seed: u32, body: &[u8]) -> bool {
        self.check(seed, body, |head, bytes| {
            head.is_intact(seed, bytes) || head.is_erased(bytes)
        })
    }

    /// Are all heads of its records intact, whatever their contents are like?
    pub(super) fn has_heads(&self, seed: u32, body: &[u8]) -> bool {
        self.check(seed, body, |_, _| true)
    }

    fn check(&self, seed: u32, body: &[u8], content: impl Fn(&Head, &[u8]) -> bool) -> bool {
        let Some(mut rest) = body.get(..self.len as usize) else {
            return false;
        };
        let mut crc = seed;
        for _ in 0..self.records {
            let Some(head) = Head::decode(seed, rest) else {
                return false;
            };
            if !content(&head, rest) || head.padded_len() > rest.len() {
                return false;
            }
            crc = crc32c::crc32c_append(crc, &head.crc.to_le_bytes());
            rest = &rest[head.padded_len()..];
        }
        rest.is_empty() && crc == self.body_crc
    }
}

/// Where the next frame of this segment begins at or after `from`, whatever its records are like.
pub(super) fn find(seed: u32, bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.next_multiple_of(ALIGNMENT);
    while at + HEAD <= bytes.len() {
        if bytes[at..].starts_with(&MAGIC) && FrameHead::decode(seed, &bytes[at..]).is_some() {
            return Some(at);
        }
        at += ALIGNMENT;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_no_bit_of_it_may_change() {
        let head = FrameHead {
            number: 1,
            len: 80,
            body_crc: 3,
            previous: 4,
            records: 2,
            first_seq: 5,
            last_seq: 6,
            last_time: 7,
            next: 192,
        };
        let bytes = head.encode(9);
        assert_eq!(FrameHead::decode(9, &bytes).map(|it| it.0), Some(head));
        assert_eq!(FrameHead::decode(8, &bytes), None);
        for bit in 0..HEAD * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::decode(9, &damaged), None, "{bit}");
        }
        let mut log = vec![0; 4096];
        log[640..704].copy_from_slice(&bytes);
        assert_eq!(find(9, &log, 1), Some(640));
        assert_eq!(find(9, &log, 641), None);
    }
}
