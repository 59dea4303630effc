//! Room given back: segments nobody needs are dropped whole, those below half live are rewritten.
//!
//! A rewrite is one read or one write at a time, so that it takes its turn with everything else.
//! Its label comes last: until that is on the disk the old version counts, and whoever finds both
//! takes the newer one.

use std::sync::Arc;

use bytes::Bytes;

use super::block::{Block, Position, Sealed};
use super::core::{BLOCK_MAX, Log, offset, place};
use super::frame::{self, FrameHead};
use super::record::{HEAD, Head, Kind, Record, encode_ranges, ranges};
use super::sealer::Sealer;
use super::segment::{FIRST_FRAME, Frames, Label, Making, Segment, merge};
use super::tasks::Task;
use crate::jetstream::store::buffer::PAGE;
use crate::jetstream::store::entries::flag;
use crate::jetstream::store::index::Index;
use crate::jetstream::store::operation::{DiskOperation, DiskResult};
use crate::jetstream::store::states::States;

/// Bytes read at once, unless a frame is longer.
const READ: u64 = 256 * 1024;

/// A segment that is being rewritten.
#[derive(Debug)]
pub(super) struct Rewrite {
    number: u32,
    old_version: u32,
    old_seed: u32,
    old_sealer: Option<Arc<Sealer>>,
    compressed: bool,
    old_end: u64,
    /// The segment as it will be.
    new: Segment,
    last_seq: u64,
    /// Where in the old file the next frame begins, and how much to read there.
    at: u64,
    len: u64,
    block: Option<Block>,
    ready: Option<Sealed>,
    page: Bytes,
    previous: u32,
    frame: u64,
    /// Number of the last frame read.
    frame_max: u64,
    last_time: u64,
    /// Sequences copied, with their new places and flags.
    moved: Vec<(u64, u32, u8)>,
    removals: Vec<(u64, u64)>,
    created: bool,
    flushed: bool,
    under_way: bool,
    labelled: bool,
}

impl Log {
    /// Looks for segments to drop, and for one to rewrite.
    pub(super) fn sweep(&mut self) {
        if !std::mem::take(&mut self.sweep_due) {
            return;
        }
        let mut at = 0;
        while at < self.segments.len() {
            match self.is_droppable(at) {
                true => {
                    let segment = self.segments.remove(at);
                    self.cache.forget(segment.number, segment.version);
                    let after = self.checkpoint.counter + 1;
                    self.removing.push((segment.file(), after));
                    self.removing.push((segment.digest(), after));
                    self.checkpoint.due = true;
                }
                false => at += 1,
            }
        }
        // A file on its way out may have the very name of the next version.
        if self.rewrite.is_none() && !self.is_removing() {
            let worth = (0..self.segments.len()).find(|&at| self.is_worth_rewriting(at));
            self.rewrite = worth.map(|at| self.begin_rewrite(at));
        }
    }

    /// May this segment be touched at all? Not while it is written to or the last that says how
    /// far the log came; not while it is evidence of damage.
    fn is_settled_segment(&self, at: usize) -> bool {
        let segment = &self.segments[at];
        let before = at.checked_sub(1).map(|it| &self.segments[it]);
        segment.number < self.durable_segment
            && segment.making == Making::Made
            && !segment.damaged
            && !segment.cut
            && before.is_none_or(|it| !it.cut)
            // What of a cut segment counts depends on the frame before it.
            && self.segments.get(at + 1).is_none_or(|it| !it.cut)
    }

    fn is_droppable(&self, at: usize) -> bool {
        let segment = &self.segments[at];
        let rewriting = self
            .rewrite
            .as_ref()
            .is_some_and(|it| it.number == segment.number);
        let empty = segment.live == 0 && segment.states == 0 && !rewriting;
        empty
            && self.is_settled_segment(at)
            && segment
                .removals
                .as_ref()
                .is_some_and(|all| all.iter().all(|&it| !self.is_needed(it, segment.number)))
    }

    /// Is a message of this range still on the disk, so that only the removal hides it?
    fn is_needed(&self, (first, last): (u64, u64), carrier: u32) -> bool {
        if self.is_removing() {
            return true; // the file may still come back with a power cut
        }
        let from = self.segments.partition_point(|it| it.first_seq <= first);
        let segments = &self.segments[from.saturating_sub(1)..];
        segments
            .iter()
            .take_while(|it| it.first_seq <= last)
            .any(|it| it.number != carrier && (it.dead > 0 || it.damaged))
    }

    fn is_removing(&self) -> bool {
        let mut tasks = self.tasks.values();
        !self.removing.is_empty() || tasks.any(|it| matches!(it, Task::Remove))
    }

    fn is_worth_rewriting(&self, at: usize) -> bool {
        let segment = &self.segments[at];
        let below_half = segment.is_below_half();
        // Plain data is encrypted once somebody wants that.
        let plain = segment.sealer.is_none() && self.settings.encryption.is_some();
        let gains = segment.dead > 0 || segment.version == 0;
        let mut erasures = self.to_erase.iter().chain(&self.erasing);
        let quiet = !erasures.any(|it| it.segment == segment.number);
        (below_half && gains || plain)
            && quiet
            && !segment.rewrite_failed
            && self.is_settled_segment(at)
    }

    fn begin_rewrite(&self, at: usize) -> Rewrite {
        let old = &self.segments[at];
        let next_first = self.segments.get(at + 1).map(|it| it.first_seq);
        Rewrite {
            number: old.number,
            old_version: old.version,
            old_seed: old.seed,
            old_sealer: old.sealer.clone(),
            compressed: self.settings.policy.compressed,
            old_end: old.end,
            new: Segment::new(
                self.settings.epoch,
                old.number,
                old.version + 1,
                old.first_seq,
            )
            .sealed(self.settings.encryption.as_ref()),
            // With segments between dropped, the last sequence of this one is at least that of
            // the last message in it; what is between belongs to nobody.
            last_seq: next_first.map_or(self.durable_seq, |it| it - 1),
            at: FIRST_FRAME,
            len: READ,
            block: None,
            ready: None,
            page: Bytes::new(),
            previous: 0,
            frame: 0,
            frame_max: 0,
            last_time: 0,
            moved: Vec::new(),
            removals: Vec::new(),
            created: false,
            flushed: false,
            under_way: false,
            labelled: false,
        }
    }

    /// The next step of a rewrite.
    pub(super) fn rewrite_step(&mut self) -> Option<DiskOperation> {
        let epoch = self.settings.epoch;
        let rewrite = self.rewrite.as_mut().filter(|it| !it.under_way)?;
        rewrite.under_way = true;
        let file = rewrite.new.file();
        if let Some(sealed) = rewrite.ready.take() {
            let create = !std::mem::replace(&mut rewrite.created, true);
            return Some(DiskOperation::Write {
                id: self.task(Task::Rewrite),
                file,
                create,
                offset: sealed.base,
                bytes: sealed.bytes,
                flush: false,
            });
        }
        if rewrite.at < rewrite.old_end {
            let from = rewrite.at - rewrite.at % PAGE as u64;
            let len = (rewrite.at + rewrite.len - from).next_multiple_of(PAGE as u64);
            let mut old = Segment::new(epoch, rewrite.number, rewrite.old_version, 0);
            old.end = 0;
            return Some(DiskOperation::Read {
                id: self.task(Task::Rewrite),
                file: old.file(),
                offset: from,
                len: len as usize,
            });
        }
        // The label vouches for all of it.
        if rewrite.created && !std::mem::replace(&mut rewrite.flushed, true) {
            return Some(DiskOperation::Flush {
                id: self.task(Task::Rewrite),
                file,
            });
        }
        let label = Label {
            epoch,
            number: rewrite.number,
            version: rewrite.new.version,
            first_seq: rewrite.new.first_seq,
            last_seq: rewrite.last_seq,
            end: rewrite.new.end,
            sealing: rewrite.new.sealing(),
        };
        rewrite.labelled = true;
        let create = !std::mem::replace(&mut rewrite.created, true);
        Some(DiskOperation::Write {
            id: self.task(Task::Rewrite),
            file,
            create,
            offset: 0,
            bytes: Bytes::from_owner(label.encode()),
            flush: true,
        })
    }

    /// A step of the rewrite is over.
    pub(super) fn rewritten(&mut self, result: DiskResult, index: &mut Index, states: &States) {
        let Some(mut rewrite) = self.rewrite.take() else {
            return;
        };
        rewrite.under_way = false;
        let fine = match result {
            DiskResult::Done if rewrite.labelled => return self.finish_rewrite(rewrite, index),
            DiskResult::Done => true,
            DiskResult::Read(bytes, len) => self.copy(
                &mut rewrite,
                bytes.get(..len).unwrap_or_default(),
                index,
                states,
            ),
            DiskResult::Failed(_) => false,
        };
        match fine {
            true => self.rewrite = Some(rewrite),
            false => self.abandon(&rewrite),
        }
    }

    /// The old version stays; nothing was lost.
    fn abandon(&mut self, rewrite: &Rewrite) {
        let after = self.checkpoint.counter;
        self.removing.push((rewrite.new.file(), after));
        self.cache.forget(rewrite.number, rewrite.new.version);
        let number = rewrite.number;
        if let Some(segment) = self.segments.iter_mut().find(|it| it.number == number) {
            segment.rewrite_failed = true;
        }
    }

    /// Copies what lives out of frames just read. False if they are not as they were written.
    fn copy(&self, rewrite: &mut Rewrite, bytes: &[u8], index: &Index, states: &States) -> bool {
        let base = rewrite.at - rewrite.at % PAGE as u64;
        let start = rewrite.at;
        while rewrite.at < rewrite.old_end {
            let rest = bytes
                .get((rewrite.at - base) as usize..)
                .unwrap_or_default();
            let Some((head, _)) = FrameHead::decode(rewrite.old_seed, rest) else {
                // Cut off by the end of what was read, or not a frame at all.
                rewrite.len = READ;
                return rewrite.at > start;
            };
            let body = &rest[frame::HEAD..];
            let Some(body) = body.get(..head.len as usize) else {
                rewrite.len = u64::from(head.next);
                return rewrite.at > start || (rest.len() as u64) < rewrite.len;
            };
            if !head.is_whole(rewrite.old_seed, body) {
                return false;
            }
            if rewrite.frame == 0 {
                rewrite.frame = head.number;
                rewrite.previous = head.previous;
            }
            rewrite.frame_max = head.number;
            rewrite.last_time = head.last_time;
            let mut at = 0;
            while let Some(record_head) = Head::decode(rewrite.old_seed, &body[at..]) {
                let offset = rewrite.at + (frame::HEAD + at) as u64;
                let sealer = rewrite.old_sealer.as_deref();
                let seed = rewrite.old_seed;
                if let Some(content) = record_head.content(seed, sealer, offset, &body[at..]) {
                    let record = record_head.record(&content);
                    self.copy_record(rewrite, &record, offset, index, states);
                }
                at += record_head.padded_len();
            }
            rewrite.at += u64::from(head.next);
            rewrite.len = READ;
            let full = rewrite
                .block
                .as_ref()
                .is_some_and(|it| it.len() > BLOCK_MAX / 2);
            if full || rewrite.at >= rewrite.old_end {
                rewrite.seal();
                return rewrite.frame <= rewrite.frame_max + 1;
            }
        }
        true
    }

    fn copy_record(
        &self,
        rewrite: &mut Rewrite,
        record: &Record<'_>,
        offset: u64,
        index: &Index,
        states: &States,
    ) {
        match record.kind {
            Kind::Message => {
                let entry = index.entry(record.seq);
                if entry.is_some_and(|it| it.place == place(offset)) {
                    let block = rewrite.block();
                    let (to, form) = block.push(record);
                    block.last_seq = record.seq;
                    rewrite.moved.push((record.seq, place(to), form));
                    rewrite.new.compressed |= form & flag::COMPRESSED != 0;
                }
            }
            Kind::Removed => {
                let mut kept = Vec::new();
                for range in ranges(record.payload) {
                    if self.is_needed(range, rewrite.number) {
                        merge(&mut kept, range.0, range.1);
                    }
                }
                if !kept.is_empty() {
                    let payload = encode_ranges(&kept);
                    let note = Record::note(Kind::Removed, record.seq, 0, b"", &payload);
                    rewrite.block().push(&note);
                    for (first, last) in kept {
                        merge(&mut rewrite.removals, first, last);
                    }
                }
            }
            Kind::State => {
                let latest = states.get(record.subject);
                if latest.is_some_and(|it| it.version == record.seq) {
                    rewrite.block().push(record);
                }
            }
            Kind::StateRemoved => {
                let first = self.segments.first().map(|it| it.number);
                if first != Some(rewrite.number) {
                    rewrite.block().push(record);
                    rewrite.new.note_state_removed(record.subject, record.seq);
                }
            }
            Kind::Skip => {} // the label tells the last sequence
        }
    }

    fn finish_rewrite(&mut self, rewrite: Rewrite, index: &mut Index) {
        let number = rewrite.number;
        let Some(at) = self.segments.iter().position(|it| it.number == number) else {
            return;
        };
        // What shall be erased was copied, or goes with the old file.
        self.to_erase.retain_mut(|it| {
            let found = rewrite.moved.binary_search_by_key(&it.seq, |moved| moved.0);
            if it.segment != number {
                return true;
            }
            let Ok(found) = found else {
                return false;
            };
            let from = offset(rewrite.moved[found].1) + HEAD as u64;
            (it.from, it.to) = (from, 0); // it may be longer or shorter now
            it.version = rewrite.new.version;
            true
        });
        let mut dead = 0;
        for (seq, place, form) in rewrite.moved {
            match index.entry(seq) {
                Some(_) => index.set_place(seq, place, form),
                None => dead += 1,
            }
        }
        let segment = &mut self.segments[at];
        let (old, old_digest) = (segment.file(), segment.digest());
        segment.version = rewrite.new.version;
        segment.seed = rewrite.new.seed;
        segment.sealer = rewrite.new.sealer;
        segment.compressed = rewrite.new.compressed;
        segment.end = rewrite.new.end;
        segment.dead = dead;
        segment.removals = Some(Vec::new());
        segment.frames = rewrite.new.frames;
        segment.notes = rewrite.new.notes;
        segment.remember_removals(&rewrite.removals);
        segment.digested = 0;
        self.digest_due = true;
        let after = self.checkpoint.counter + 1;
        self.removing.push((old, after));
        self.removing.push((old_digest, after));
        self.checkpoint.due = true;
        self.cache.forget(number, rewrite.old_version);
        self.sweep_due = true;
    }
}

impl Rewrite {
    /// Of the segment.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The frame that is filled.
    fn block(&mut self) -> &mut Block {
        let (frame, previous) = (self.frame, self.previous);
        let compressed = self.compressed;
        let last_time = self.last_time;
        let (new, page) = (&self.new, &self.page);
        let first_seq = self.new.first_seq;
        let last_seq = self.moved.last().map_or(first_seq - 1, |it| it.0);
        let block = self.block.get_or_insert_with(|| {
            let at = Position {
                frame,
                previous,
                page,
                last_seq,
                last_time,
            };
            Block::new(new, at, 0, compressed)
        });
        block.last_time = last_time;
        block
    }

    /// Ends the frame; the next step writes it.
    fn seal(&mut self) {
        let Some(mut block) = self.block.take() else {
            return;
        };
        if self.at >= self.old_end {
            block.last_seq = self.last_seq;
        }
        let sealed = block.seal(false);
        self.frame += 1;
        self.previous = sealed.crc;
        self.page = sealed.last_page();
        self.new.end = sealed.end;
        self.new.frames = Some(Frames::and(self.new.frames, sealed.frames));
        self.ready = Some(sealed);
    }
}
