//! The frame that is being filled, and frames on their way to the disk.

use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, FrameHead};
use super::record::{ERASED, Form, Head, Kind, Record, encode_ranges};
use super::sealer::{Sealer, TAG};
use super::segment::{Frames, Segment, merge};
use crate::jetstream::store::buffer::{Buffer, PAGE};
use crate::jetstream::store::operation::FileName;

/// Bytes of records from which on a frame ends at a page's end: rewriting its last page with the
/// next frame would save little, and the next one can be written without it.
const PADDED_FROM: usize = 64 * 1024;

/// A frame that takes records.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) segment: u32,
    version: u32,
    seed: u32,
    form: Form,
    /// Where in the file `bytes` begin: at a page.
    base: u64,
    /// Where in `bytes` the frame begins. Before it is the end of the frame before, which stands
    /// on the same page and is written again.
    frame_at: usize,
    bytes: Buffer,
    frame: u64,
    previous: u32,
    records: u32,
    messages: u64,
    body_crc: u32,
    first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    /// Removed since the frame was begun; one record at its end says so.
    removed: Vec<(u64, u64)>,
}

/// A frame as it is written.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) segment: u32,
    pub(super) version: u32,
    seed: u32,
    sealer: Option<Arc<Sealer>>,
    /// Where in the file `bytes` are written.
    pub(super) base: u64,
    frame_at: usize,
    pub(super) bytes: Bytes,
    pub(super) frame: u64,
    /// Checksum of its head.
    pub(super) crc: u32,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// Where the next frame begins.
    pub(super) end: u64,
    /// What it says.
    pub(super) frames: Frames,
    /// What its last record says was removed.
    pub(super) removed: Vec<(u64, u64)>,
}

/// Where a frame goes and what comes before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<'a> {
    /// Its number.
    pub(super) frame: u64,
    /// Checksum of the frame before.
    pub(super) previous: u32,
    /// What of the page it begins on is taken already.
    pub(super) page: &'a [u8],
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
}

impl Block {
    /// An empty frame at the end of a segment, with room for that many bytes.
    pub(super) fn new(
        segment: &Segment,
        at: Position<'_>,
        capacity: usize,
        compressed: bool,
    ) -> Self {
        let frame_at = (segment.end % PAGE as u64) as usize;
        debug_assert_eq!(frame_at, at.page.len());
        let mut bytes = Buffer::with_capacity(capacity.max(PAGE));
        bytes.extend(at.page);
        bytes.extend(&[0; frame::HEAD]);
        Self {
            segment: segment.number,
            version: segment.version,
            seed: segment.seed,
            form: Form {
                compressed,
                sealer: segment.sealer.clone(),
            },
            base: segment.end - frame_at as u64,
            frame_at,
            bytes,
            frame: at.frame,
            previous: at.previous,
            records: 0,
            messages: 0,
            body_crc: segment.seed,
            first_seq: at.last_seq + 1,
            last_seq: at.last_seq,
            last_time: at.last_time,
            removed: Vec::new(),
        }
    }

    /// Adds a record; where in the file it will be, and its flags there.
    pub(super) fn push(&mut self, record: &Record<'_>) -> (u64, u8) {
        let at = self.base + self.bytes.len() as u64;
        let (crc, flags) = record.encode(self.seed, &self.form, at, &mut self.bytes);
        self.body_crc = crc32c::crc32c_append(self.body_crc, &crc.to_le_bytes());
        self.records += 1;
        self.messages += u64::from(record.kind == Kind::Message);
        (at, flags)
    }

    /// Notes that these messages are gone.
    pub(super) fn remove(&mut self, first: u64, last: u64) {
        merge(&mut self.removed, first, last);
    }

    /// Bytes of records.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.frame_at - frame::HEAD
    }

    /// Overwrites the content of the record at this place, if it is in here.
    pub(super) fn erase(&mut self, segment: u32, version: u32, at: u64) -> bool {
        let Some(bytes) = self.find(segment, version, at) else {
            return false;
        };
        let len = Head::decode(self.seed, bytes).map_or(0, |it| it.len());
        let start = (at - self.base) as usize;
        let content = start + super::record::HEAD..start + len;
        if let Some(content) = self.bytes.get_mut(content) {
            content.fill(ERASED);
        }
        true
    }

    /// Where in the file its write begins.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Where a write of it ends, at most, if nothing more comes.
    pub(super) fn end_at_most(&self) -> u64 {
        let removed = 16 * self.removed.len() + super::record::HEAD + TAG;
        let end = self.base + (self.bytes.len() + removed) as u64;
        end.next_multiple_of(PAGE as u64)
    }

    /// The frame's number.
    pub(super) fn frame(&self) -> u64 {
        self.frame
    }

    /// The record at this place, if it is in here.
    pub(super) fn find(&self, segment: u32, version: u32, offset: u64) -> Option<&[u8]> {
        let start = self.base + self.frame_at as u64;
        if (self.segment, self.version) != (segment, version) || offset < start {
            return None;
        }
        self.bytes.get((offset - self.base) as usize..)
    }

    /// Ends the frame. `pad`: the next one begins on a new page whatever the size.
    pub(super) fn seal(mut self, pad: bool) -> Sealed {
        if !self.removed.is_empty() {
            let ranges = encode_ranges(&self.removed);
            self.push(&Record::note(Kind::Removed, self.last_seq, 0, b"", &ranges));
        }
        let len = self.len();
        let end = (self.base + self.bytes.len() as u64).next_multiple_of(frame::ALIGNMENT as u64);
        let end = match pad || len >= PADDED_FROM {
            true => end.next_multiple_of(PAGE as u64),
            false => end,
        };
        let start = self.base + self.frame_at as u64;
        let head = FrameHead {
            number: self.frame,
            len: len as u32,
            body_crc: self.body_crc,
            previous: self.previous,
            records: self.records,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            last_time: self.last_time,
            next: (end - start) as u32,
        }
        .encode(self.seed);
        self.bytes[self.frame_at..][..frame::HEAD].copy_from_slice(&head);
        self.bytes.pad(PAGE);
        Sealed {
            segment: self.segment,
            version: self.version,
            seed: self.seed,
            sealer: self.form.sealer,
            base: self.base,
            frame_at: self.frame_at,
            bytes: Bytes::from_owner(self.bytes),
            frame: self.frame,
            crc: super::record::u32_at(&head, 4),
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            end,
            frames: Frames {
                first_previous: self.previous,
                first_number: self.frame,
                first_seq: self.first_seq,
                last_crc: super::record::u32_at(&head, 4),
                last_number: self.frame,
                last_seq: self.last_seq,
                last_time: self.last_time,
                messages: self.messages,
                end,
            },
            removed: self.removed,
        }
    }
}

impl Sealed {
    pub(super) fn file(&self) -> FileName {
        FileName::Segment {
            number: self.segment,
            version: self.version,
        }
    }

    /// Where in the file the frame begins.
    pub(super) fn start(&self) -> u64 {
        self.base + self.frame_at as u64
    }

    /// Where in the file the write ends.
    pub(super) fn write_end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// What the next frame finds on its first page.
    pub(super) fn last_page(&self) -> Bytes {
        let page = self.end - self.end % PAGE as u64;
        match page < self.write_end() {
            true => self
                .bytes
                .slice((page - self.base) as usize..(self.end - self.base) as usize),
            false => Bytes::new(),
        }
    }

    /// The record at this place and all that follows, if it is in here.
    pub(super) fn find(&self, segment: u32, version: u32, offset: u64) -> Option<Bytes> {
        if (self.segment, self.version) != (segment, version) || offset < self.base {
            return None;
        }
        let at = (offset - self.base) as usize;
        (at < self.bytes.len()).then(|| self.bytes.slice(at..))
    }

    /// Meets its records, but for what the last one says was removed.
    pub(super) fn each_record(&self, met: &mut dyn FnMut(&Record<'_>)) {
        let mut at = self.frame_at + frame::HEAD;
        while let Some(rest) = self.bytes.get(at..)
            && let Some(head) = Head::decode(self.seed, rest)
        {
            let place = self.base + at as u64;
            // One that was erased has no content any more.
            if let Some(content) = head.content(self.seed, self.sealer.as_deref(), place, rest)
                && head.kind != Kind::Removed
            {
                met(&head.record(&content));
            }
            at += head.padded_len();
        }
    }
}
