//! Bytes of removed messages overwritten where they stand (JS-26).
//!
//! The record keeps its head, so that what comes after it is still found; its content becomes a
//! pattern that no write interrupted half-way leaves behind.

use bytes::Bytes;

use super::core::{Log, offset, record_len};
use super::record::{ERASED, HEAD, Head};
use super::segment::Making;
use super::tasks::Task;
use crate::jetstream::store::buffer::PAGE;
use crate::jetstream::store::entries::{Entry, flag};
use crate::jetstream::store::operation::{DiskOperation, DiskResult, FileName};

/// A content to be overwritten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Erase {
    pub(super) seq: u64,
    pub(super) segment: u32,
    pub(super) version: u32,
    /// Where in the file it begins and ends; the end is 0 as long as nobody has read it.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The frame that says that it was removed: only what is known to be gone is overwritten.
    frame: u64,
}

impl Erase {
    fn file(&self) -> FileName {
        FileName::Segment {
            number: self.segment,
            version: self.version,
        }
    }

    /// The pages it stands on.
    fn pages(&self) -> (u64, u64) {
        let first = match self.to {
            0 => self.from - HEAD as u64, // its head says where it ends
            _ => self.from,
        };
        let to = self.to.max(self.from);
        let from = first - first % PAGE as u64;
        (from, to.next_multiple_of(PAGE as u64))
    }
}

impl Log {
    /// Asks for a message's bytes to be overwritten.
    pub(super) fn erase(&mut self, seq: u64, entry: Entry) {
        let segment = self.segment_of(seq);
        let (number, version) = (segment.number, segment.version);
        let at = offset(entry.place);
        if let Some(block) = &mut self.building
            && block.erase(number, version, at)
        {
            return;
        }
        let end = match entry.flags & flag::COMPRESSED {
            0 => at + record_len(entry) as u64,
            _ => 0,
        };
        let erase = Erase {
            seq,
            segment: number,
            version,
            from: at + HEAD as u64,
            to: end,
            frame: self.ticket(),
        };
        // The next frame may begin on its last page, and write that page again.
        self.pad_next |= self.segments.last().is_some_and(|it| it.number == number);
        self.to_erase.push_back(erase);
    }

    /// Begins with the next one that stands on pages nobody writes any more.
    pub(super) fn erase_next(&mut self) -> Option<DiskOperation> {
        if self.erasing.is_some() {
            return None;
        }
        let ready = |it: &Erase| self.is_free(it);
        let at = self.to_erase.iter().position(ready)?;
        let erase = self.to_erase.remove(at)?;
        self.erasing = Some(erase);
        let (from, to) = erase.pages();
        Some(DiskOperation::Read {
            id: self.task(Task::Erase),
            file: erase.file(),
            offset: from,
            len: (to - from) as usize,
        })
    }

    fn is_free(&self, erase: &Erase) -> bool {
        let rewriting = self.rewrite.as_ref();
        let under_way = self.writing.as_ref().map(|it| &it.1);
        let mut sealed = self.waiting.iter().chain(under_way).chain(&self.failed);
        let (_, end) = erase.pages();
        let mut segments = self.segments.iter();
        let made = segments.any(|it| it.number == erase.segment && it.making == Making::Made);
        let building = self.building.as_ref();
        made && erase.frame <= self.durable_frame
            && rewriting.is_none_or(|it| it.number() != erase.segment)
            && !sealed.any(|it| it.segment == erase.segment && it.base < end)
            && building.is_none_or(|it| it.segment != erase.segment || it.base() >= end)
    }

    /// The pages were read, or written again.
    pub(super) fn erased(&mut self, result: DiskResult) {
        let Some(erase) = self.erasing.take() else {
            return;
        };
        let (start, end) = erase.pages();
        if erase.to == 0 {
            let found = self.find_end(erase, &result);
            self.to_erase.extend(found);
            return;
        }
        if let DiskResult::Read(mut pages, len) = result
            && len as u64 == end - start
        {
            let content = (erase.from - start) as usize..(erase.to - start) as usize;
            pages[content].fill(ERASED);
            self.overwrite = Some((erase, Bytes::from_owner(pages)));
            self.erasing = Some(erase);
            return;
        }
        self.cache.forget(erase.segment, erase.version);
    }

    /// With its end, which its head says. None if that cannot be read, or if its file went or was
    /// rewritten meanwhile, and its content with it.
    fn find_end(&self, erase: Erase, result: &DiskResult) -> Option<Erase> {
        let mut segments = self.segments.iter();
        let segment =
            segments.find(|it| (it.number, it.version) == (erase.segment, erase.version))?;
        let DiskResult::Read(pages, len) = result else {
            return None;
        };
        let head = (erase.from - erase.pages().0) as usize - HEAD;
        let head = Head::decode(segment.seed, pages.get(head..*len)?)?;
        let to = erase.from + (head.len() - HEAD) as u64;
        (head.seq == erase.seq).then_some(Erase { to, ..erase })
    }

    pub(super) fn overwrite_next(&mut self) -> Option<DiskOperation> {
        let (erase, bytes) = self.overwrite.take()?;
        Some(DiskOperation::Write {
            id: self.task(Task::Erase),
            file: erase.file(),
            create: false,
            offset: erase.pages().0,
            bytes,
            flush: true,
        })
    }
}
