//! One file of a log.

use std::sync::Arc;

use bytes::Bytes;

use crate::jetstream::store::buffer::{Buffer, PAGE};
use crate::jetstream::store::entries::{Entry, flag};
use crate::jetstream::store::operation::FileName;

use super::core::bytes_of;
use super::record::{u32_at, u64_at};
use super::sealer::{Encryption, Sealer, Sealing};

/// Where the frames of a segment begin: after the page that says whose segment it is.
pub(super) const FIRST_FRAME: u64 = PAGE as u64;

const MAGIC: [u8; 8] = *b"RamjetS\x02";

/// What the first page says. Of a rewritten segment it is written last, so that a rewrite that
/// was not finished is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) epoch: u64,
    pub(super) number: u32,
    pub(super) version: u32,
    /// Of a rewritten segment: the sequence after the last before it, its last sequence, and
    /// where its frames end. Zero for others.
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) end: u64,
    /// How its contents are encrypted.
    pub(super) sealing: Option<Sealing>,
}

impl Label {
    /// The page.
    pub(super) fn encode(&self) -> Buffer {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.last_seq.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        bytes.extend_from_slice(&Sealing::encode(self.sealing));
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        Buffer::padded(&bytes)
    }

    /// Reads the page; `None` if it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let label = bytes.first_chunk::<92>()?;
        if label[..8] != MAGIC || crc32c::crc32c(&label[..88]) != u32_at(label, 88) {
            return None;
        }
        let sealing = Sealing::decode(label[48..88].first_chunk()?)?;
        if u64_at(label, 24) == u64::MAX || u64_at(label, 32) == u64::MAX {
            return None;
        }
        Some(Self {
            epoch: u64_at(label, 8),
            number: u32_at(label, 16),
            version: u32_at(label, 20),
            first_seq: u64_at(label, 24),
            last_seq: u64_at(label, 32),
            end: u64_at(label, 40),
            sealing,
        })
    }
}

/// Where the checksums of a segment start from: another's records are none of its own.
pub(super) fn seed(epoch: u64, number: u32, version: u32) -> u32 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&epoch.to_le_bytes());
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    bytes[12..].copy_from_slice(&version.to_le_bytes());
    crc32c::crc32c(&bytes)
}

/// What the frames of a segment say, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frames {
    /// Checksum of the frame before the first.
    pub(super) first_previous: u32,
    pub(super) first_number: u64,
    /// The sequence after the last one before them.
    pub(super) first_seq: u64,
    /// Checksum of the last one.
    pub(super) last_crc: u32,
    pub(super) last_number: u64,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    /// Messages in them, dead or alive.
    pub(super) messages: u64,
    /// Where the next one begins.
    pub(super) end: u64,
}

impl Frames {
    /// These and one more frame.
    pub(super) fn and(before: Option<Self>, one: Self) -> Self {
        let Some(before) = before else {
            return one;
        };
        Self {
            first_previous: before.first_previous,
            first_number: before.first_number,
            first_seq: before.first_seq,
            messages: before.messages + one.messages,
            ..one
        }
    }
}

/// What records of a segment say of others: all of it, until a digest has it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) removals: Vec<(u64, u64)>,
    /// Names of small records removed, and versions of that.
    pub(super) states_removed: Vec<(Bytes, u64)>,
}

/// How far the making of a segment's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Making {
    /// Nothing was asked for yet.
    Planned,
    /// Asked for.
    Under,
    /// The file and its label are on the disk.
    Made,
}

/// What is known of a segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) version: u32,
    pub(super) seed: u32,
    /// What its contents are encrypted with.
    pub(super) sealer: Option<Arc<Sealer>>,
    pub(super) making: Making,
    /// The sequence after the last one before it.
    pub(super) first_seq: u64,
    /// Where its frames end, those under way included.
    pub(super) end: u64,
    /// Messages in it that live.
    pub(super) live: u64,
    /// Their bytes, about.
    pub(super) live_bytes: u64,
    /// Some of its messages are compressed.
    pub(super) compressed: bool,
    /// Messages in it that were removed but are still there.
    pub(super) dead: u64,
    /// What was removed according to records in here; `None` if that is too much to remember.
    pub(super) removals: Option<Vec<(u64, u64)>>,
    /// Small records in here that are the latest of their name.
    pub(super) states: u64,
    /// Something in it cannot be read: its bytes stay as they are.
    pub(super) damaged: bool,
    /// Frames after its end count for nothing; only the first frame of the next segment says so.
    pub(super) cut: bool,
    /// What its frames say, those that are not written yet included.
    pub(super) frames: Option<Frames>,
    /// `None` once nobody will ask.
    pub(super) notes: Option<Box<Notes>>,
    /// The digest on the disk covers its frames up to here; 0 without one.
    pub(super) digested: u64,
    /// Rewriting it did not work; it is not tried again before the log is opened again.
    pub(super) rewrite_failed: bool,
}

/// Ranges of removals remembered for a segment: 16 KiB. Evictions at the front are one range.
const REMOVALS_MAX: usize = 1024;

impl Segment {
    pub(super) fn new(epoch: u64, number: u32, version: u32, first_seq: u64) -> Self {
        Self {
            number,
            version,
            seed: seed(epoch, number, version),
            sealer: None,
            making: Making::Planned,
            first_seq,
            end: FIRST_FRAME,
            live: 0,
            live_bytes: 0,
            compressed: false,
            dead: 0,
            removals: Some(Vec::new()),
            states: 0,
            damaged: false,
            cut: false,
            frames: None,
            notes: Some(Box::default()),
            digested: 0,
            rewrite_failed: false,
        }
    }

    /// Would a copy of what lives take less than half of the room?
    pub(super) fn is_below_half(&self) -> bool {
        match self.compressed {
            // Nobody knows how long each one is.
            true => self.live * 2 < self.live + self.dead,
            false => self.live_bytes * 2 < self.end - FIRST_FRAME,
        }
    }

    /// A message in here is dead. Frames that lie about their sequences could have it counted with
    /// another segment.
    pub(super) fn bury(&mut self, entry: Entry) {
        self.live = self.live.saturating_sub(1);
        self.live_bytes = self.live_bytes.saturating_sub(bytes_of(entry));
        self.dead += 1;
    }

    /// A message in here lives.
    pub(super) fn count(&mut self, entry: Entry) {
        self.live += 1;
        self.live_bytes += bytes_of(entry);
        self.compressed |= entry.flags & flag::COMPRESSED != 0;
    }

    /// The same, encrypted.
    pub(super) fn sealed(mut self, encryption: Option<&Encryption>) -> Self {
        self.sealer = encryption.map(|it| Sealer::of_new(it, self.number, self.version));
        self
    }

    /// What its label says of encryption.
    pub(super) fn sealing(&self) -> Option<Sealing> {
        self.sealer.as_ref().map(|it| it.sealing)
    }

    pub(super) fn file(&self) -> FileName {
        FileName::Segment {
            number: self.number,
            version: self.version,
        }
    }

    /// The file with its digest.
    pub(super) fn digest(&self) -> FileName {
        FileName::Digest {
            number: self.number,
            version: self.version,
        }
    }

    /// A record in here says that a small record was removed.
    pub(super) fn note_state_removed(&mut self, name: &[u8], version: u64) {
        if let Some(notes) = &mut self.notes {
            let name = Bytes::copy_from_slice(name);
            notes.states_removed.push((name, version));
        }
    }

    /// A record in here says that these sequences were removed.
    pub(super) fn remember_removals(&mut self, more: &[(u64, u64)]) {
        if let Some(notes) = &mut self.notes {
            for &(first, last) in more {
                merge(&mut notes.removals, first, last);
            }
        }
        let Some(removals) = &mut self.removals else {
            return;
        };
        for &(first, last) in more {
            merge(removals, first, last);
        }
        if removals.len() > REMOVALS_MAX {
            self.removals = None;
        }
    }
}

/// Adds a range to a list, to its last range where they touch.
pub(super) fn merge(ranges: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    if let Some(previous) = ranges.last_mut()
        && previous.0 <= first
        && first <= previous.1.saturating_add(1)
    {
        previous.1 = previous.1.max(last);
        return;
    }
    ranges.push((first, last));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_comes_back() {
        let label = Label {
            epoch: 1,
            number: 2,
            version: 3,
            first_seq: 4,
            last_seq: 5,
            end: 6,
            sealing: None,
        };
        let mut page = label.encode();
        assert_eq!((page.len(), Label::decode(&page)), (PAGE, Some(label)));
        page[20] ^= 1;
        assert_eq!(Label::decode(&page), None);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = Vec::new();
        for (first, last) in [(1, 1), (2, 5), (7, 7), (8, 8), (3, 3)] {
            merge(&mut ranges, first, last);
        }
        assert_eq!(ranges, [(1, 5), (7, 8), (3, 3)]);
    }
}
