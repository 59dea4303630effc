//! What is kept twice, in two files that take turns: the small records of the stream's owner, and
//! how far the log must reach.

use bytes::Bytes;

use super::record::{NUMBER_MAX, u32_at, u64_at};
use super::settings::Gap;
use crate::jetstream::store::buffer::Buffer;
use crate::jetstream::store::states::{State, States};

const MAGIC: [u8; 8] = *b"RamjetC\x02";
const HEAD: usize = 80;
/// Gaps that are kept: more of them are found again by looking.
const GAPS_MAX: usize = 65_536;

/// A segment as a checkpoint lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) number: u32,
    pub(super) version: u32,
    /// The sequence after the last one before it.
    pub(super) first_seq: u64,
}

/// What one copy says.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The higher one is newer.
    pub(super) counter: u64,
    pub(super) epoch: u64,
    /// The log holds all frames up to this one.
    pub(super) frame: u64,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    /// Version of the latest small record.
    pub(super) state_version: u64,
    pub(super) segments: Vec<Listed>,
    pub(super) states: States,
    /// What is known to be lost.
    pub(super) gaps: Vec<Gap>,
}

impl Checkpoint {
    /// The file's content.
    pub(super) fn encode(&self) -> Buffer {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 8]); // length and checksum
        let numbers = [
            self.counter,
            self.epoch,
            self.frame,
            self.last_seq,
            self.last_time,
            self.state_version,
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.states.len() as u32).to_le_bytes());
        let gaps = &self.gaps[..self.gaps.len().min(GAPS_MAX)];
        bytes.extend_from_slice(&(gaps.len() as u64).to_le_bytes());
        for gap in gaps {
            bytes.extend_from_slice(&gap.first.to_le_bytes());
            bytes.extend_from_slice(&gap.last.to_le_bytes());
        }
        for segment in &self.segments {
            bytes.extend_from_slice(&segment.number.to_le_bytes());
            bytes.extend_from_slice(&segment.version.to_le_bytes());
            bytes.extend_from_slice(&segment.first_seq.to_le_bytes());
        }
        for (name, state) in self.states.iter() {
            bytes.extend_from_slice(&state.version.to_le_bytes());
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(state.bytes.len() as u32).to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&state.bytes);
        }
        let len = bytes.len() as u32;
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        let crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        Buffer::padded(&bytes)
    }

    /// Reads a file's content; `None` if it is not whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD>()?;
        let bytes = bytes.get(..u32_at(head, 8) as usize)?;
        if head[..8] != MAGIC || bytes.len() < HEAD || checksum(bytes) != u32_at(head, 12) {
            return None;
        }
        let mut this = Self {
            counter: u64_at(head, 16),
            epoch: u64_at(head, 24),
            frame: u64_at(head, 32),
            last_seq: u64_at(head, 40),
            last_time: u64_at(head, 48),
            state_version: u64_at(head, 56),
            ..Self::default()
        };
        let numbers = [this.counter, this.frame, this.state_version];
        if numbers.iter().any(|&it| it >= NUMBER_MAX) || this.last_seq == u64::MAX {
            return None;
        }
        let (segments, states) = (u32_at(head, 64), u32_at(head, 68));
        let gaps = u64_at(head, 72);
        let mut rest = &bytes[HEAD..];
        let mut take = |len: usize| {
            let (taken, left) = rest.split_at_checked(len)?;
            rest = left;
            Some(taken)
        };
        for _ in 0..gaps {
            let gap = take(16)?;
            let (first, last) = (u64_at(gap, 0), u64_at(gap, 8));
            if !(1..=last).contains(&first) || last == u64::MAX {
                return None;
            }
            this.gaps.push(Gap { first, last });
        }
        for _ in 0..segments {
            let segment = take(16)?;
            this.segments.push(Listed {
                number: u32_at(segment, 0),
                version: u32_at(segment, 4),
                first_seq: u64_at(segment, 8),
            });
        }
        for _ in 0..states {
            let head = take(16)?;
            let name = take(u32_at(head, 8) as usize)?;
            let content = take(u32_at(head, 12) as usize)?;
            this.states.insert(
                Bytes::copy_from_slice(name),
                State {
                    version: u64_at(head, 0),
                    bytes: Bytes::copy_from_slice(content),
                    segment: 0,
                },
            );
        }
        Some(this)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&bytes[..12]);
    crc32c::crc32c_append(crc, &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let mut checkpoint = Checkpoint {
            counter: 3,
            frame: 9,
            gaps: vec![Gap { first: 5, last: 7 }],
            segments: vec![Listed {
                number: 1,
                version: 2,
                first_seq: 3,
            }],
            ..Checkpoint::default()
        };
        let state = State {
            version: 4,
            bytes: Bytes::from_static(b"x"),
            segment: 0,
        };
        checkpoint
            .states
            .insert(Bytes::from_static(b"config"), state);
        let bytes = checkpoint.encode();
        let found = Checkpoint::decode(&bytes).expect("whole");
        assert_eq!(format!("{found:?}"), format!("{checkpoint:?}"));
        let len = u32_at(&bytes, 8) as usize;
        for at in 0..len {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 16;
            assert!(Checkpoint::decode(&damaged).is_none(), "{at}");
            assert!(Checkpoint::decode(&bytes[..at]).is_none(), "{at}");
        }
    }
}
