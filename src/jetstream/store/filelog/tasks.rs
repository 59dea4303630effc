//! What the log asks of the disk, and what it makes of the answers.

use bytes::Bytes;

use super::block::Sealed;
use super::cache::Place;
use super::checkpoint::{Checkpoint, Listed};
use super::core::{CHECKPOINT_EVERY, Log};
use super::segment::{FIRST_FRAME, Label, Making};
use super::settings::FlushPolicy;
use crate::jetstream::store::buffer::{Buffer, PAGE};
use crate::jetstream::store::index::Index;
use crate::jetstream::store::operation::{
    DiskError, DiskOperation, DiskResult, Ended, FileName, OperationId,
};
use crate::jetstream::store::states::States;

/// Zeros a new segment begins with, its label included. Streams are many, most are small.
const ZEROS_MIN: u64 = 64 * 1024;
/// Zeros made at once in a segment that is busy.
const ZEROS_MAX: u64 = 1024 * 1024;
/// Writes from this length on pay more for the zeros than for growing the file.
const LONG_WRITE: usize = 256 * 1024;
/// Reads under way at once.
const READS_MAX: usize = 16;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub place: Place,
    /// Of what comes that many bytes are frames.
    pub len: usize,
    /// It is no more than somebody needs now.
    pub exact: bool,
}

impl Piece {
    /// Where it ends, if this place of a segment is in it.
    fn end_from(&self, (number, version): (u32, u32), at: u64) -> Option<u64> {
        let (its_number, its_version, offset) = self.place;
        let range = offset..offset + self.len as u64;
        let is_in = (its_number, its_version) == (number, version) && range.contains(&at);
        is_in.then_some(range.end)
    }
}

/// An operation under way.
#[derive(Debug)]
pub(super) enum Task {
    /// Making this segment's file.
    Make(u32),
    /// Writing the frame in [`Log::writing`].
    Frame,
    /// Making zeros.
    Zeros,
    /// Reading a piece of a segment.
    Read(Piece),
    /// Writing the checkpoint of this number.
    Checkpoint(u64),
    /// Flushing this version of a segment.
    Flush(u32, u32),
    /// Removing a file.
    Remove,
    /// A step of [`Log::rewrite`].
    Rewrite,
    /// Writing the digest in [`Log::digesting`].
    Digest,
    /// Reading or writing the pages of [`Log::erasing`].
    Erase,
}

impl Task {
    /// Does it write to a segment?
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Make(_) | Self::Frame | Self::Zeros)
    }
}

impl Log {
    pub(in crate::jetstream::store) fn next_operation(
        &mut self,
        index: &Index,
        states: &States,
    ) -> Option<DiskOperation> {
        self.sweep();
        if self.trouble.is_none() {
            let write = self
                .make_segment()
                .or_else(|| self.write_frame())
                .or_else(|| self.make_zeros());
            if write.is_some() {
                return write;
            }
        }
        self.read_wanted()
            .or_else(|| self.flush_segment())
            .or_else(|| self.write_checkpoint(states))
            .or_else(|| self.remove_file())
            .or_else(|| self.overwrite_next())
            .or_else(|| self.erase_next())
            .or_else(|| self.rewrite_step())
            .or_else(|| self.digest_step(index, states))
    }

    pub(super) fn task(&mut self, task: Task) -> OperationId {
        self.next_id += 1;
        let id = OperationId(self.next_id);
        self.tasks.insert(id, task);
        id
    }

    /// The first segment whose file is not there and is needed.
    fn make_segment(&mut self) -> Option<DiskOperation> {
        let needed = match self.waiting.front() {
            Some(sealed) => sealed.segment,
            None => self.building.as_ref()?.segment,
        };
        let epoch = self.settings.epoch;
        let segment = self.segments.iter_mut().find(|it| it.number == needed)?;
        if segment.making != Making::Planned {
            return None;
        }
        segment.making = Making::Under;
        let label = Label {
            epoch,
            number: segment.number,
            version: segment.version,
            first_seq: 0,
            last_seq: 0,
            end: 0,
            sealing: segment.sealing(),
        };
        let mut bytes = label.encode();
        bytes.pad(ZEROS_MIN as usize);
        let file = segment.file();
        Some(DiskOperation::Write {
            id: self.task(Task::Make(needed)),
            file,
            create: true,
            offset: 0,
            bytes: Bytes::from_owner(bytes),
            flush: true,
        })
    }

    /// The next frame, if none is under way.
    fn write_frame(&mut self) -> Option<DiskOperation> {
        if self.writing.is_some() || self.waiting.is_empty() && self.building.is_none() {
            return None;
        }
        if self.waiting.is_empty() {
            let block = self.building.as_ref()?;
            let made = self
                .segments
                .last()
                .is_some_and(|it| it.making == Making::Made);
            let end = block.end_at_most();
            if !made || self.zeros_in_the_way(block.segment, end) {
                return None; // it goes on filling meanwhile
            }
            self.seal(false);
        }
        let sealed = self.waiting.front()?;
        let segment = self
            .segments
            .iter()
            .find(|it| it.number == sealed.segment)?;
        let made = segment.making == Making::Made;
        if !made || self.zeros_in_the_way(sealed.segment, sealed.write_end()) {
            return None;
        }
        let sealed = self.waiting.pop_front()?;
        let id = self.task(Task::Frame);
        let operation = DiskOperation::Write {
            id,
            file: sealed.file(),
            create: false,
            offset: sealed.base,
            bytes: sealed.bytes.clone(),
            flush: self.settings.policy.flush == FlushPolicy::Durable,
        };
        self.writing = Some((id, sealed));
        Some(operation)
    }

    /// Are zeros being written where a write would end?
    fn zeros_in_the_way(&self, segment: u32, write_end: u64) -> bool {
        self.zeroing
            .is_some_and(|(number, from)| number == segment && write_end > from)
    }

    /// Zeros ahead of the frames: overwriting them flushes in half the time of growing the file.
    fn make_zeros(&mut self) -> Option<DiskOperation> {
        let segment = self.segments.last()?;
        let ahead = segment.end.next_multiple_of(PAGE as u64);
        let ahead = ahead.clamp(ZEROS_MIN, ZEROS_MAX);
        let wanted = segment.making == Making::Made
            && self.zeroing.is_none()
            && !self.zeros_refused
            && self.frame_len < LONG_WRITE
            && self.zeroed < segment.end + ahead / 2
            && self.zeroed < self.settings.segment_size
            && segment.end > FIRST_FRAME;
        if !wanted {
            return None;
        }
        let (file, number) = (segment.file(), segment.number);
        let from = self.zeroed.max(segment.end.next_multiple_of(PAGE as u64));
        self.zeroing = Some((number, from));
        self.zeroed = from + ahead;
        Some(DiskOperation::Write {
            id: self.task(Task::Zeros),
            file,
            create: false,
            offset: from,
            bytes: Bytes::from_owner(Buffer::zeroed(ahead as usize)),
            // The next frame's flush covers it.
            flush: false,
        })
    }

    fn read_wanted(&mut self) -> Option<DiskOperation> {
        let piece = self.wanted.pop_front()?;
        let (number, version, offset) = piece.place;
        Some(DiskOperation::Read {
            id: self.task(Task::Read(piece)),
            file: FileName::Segment { number, version },
            offset,
            len: piece.len.next_multiple_of(PAGE),
        })
    }

    /// Asks for a read, unless it is under way or there are too many.
    pub(super) fn want(&mut self, piece: Piece) {
        let is_asked = self.reads().any(|it| it.place == piece.place);
        if !is_asked && self.reads().count() < READS_MAX {
            self.wanted.push_back(piece);
        }
    }

    /// Reads that are under way or asked for.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Piece> {
        let under_way = self.tasks.values().filter_map(|it| match it {
            Task::Read(piece) => Some(piece),
            _ => None,
        });
        under_way.chain(&self.wanted)
    }

    /// How far reads go that have this byte of a segment, if there is one.
    pub(super) fn read_up_to(&self, file: (u32, u32), at: u64) -> Option<u64> {
        self.reads().filter_map(|it| it.end_from(file, at)).max()
    }

    fn flush_segment(&mut self) -> Option<DiskOperation> {
        // One that was dropped since needs no flush.
        let (number, version, file) = loop {
            let number = self.to_flush.pop_first()?;
            if let Some(segment) = self.segments.iter().find(|it| it.number == number) {
                break (number, segment.version, segment.file());
            }
        };
        Some(DiskOperation::Flush {
            id: self.task(Task::Flush(number, version)),
            file,
        })
    }

    fn write_checkpoint(&mut self, states: &States) -> Option<DiskOperation> {
        let due = self.checkpoint.due || self.checkpoint.grown > CHECKPOINT_EVERY;
        if due && self.checkpoint.made.is_none() && self.next_frame > 1 {
            self.make_checkpoint(states);
        }
        let (frame, _) = self.checkpoint.made.as_ref()?;
        let settled = *frame <= self.durable_frame;
        if self.checkpoint.under_way || !settled {
            return None;
        }
        let (_, bytes) = self.checkpoint.made.take()?;
        self.checkpoint.under_way = true;
        let counter = self.checkpoint.counter;
        Some(DiskOperation::Write {
            id: self.task(Task::Checkpoint(counter)),
            file: FileName::Checkpoint {
                slot: 1 - self.checkpoint.slot,
            },
            create: true,
            offset: 0,
            bytes: Bytes::from_owner(bytes),
            flush: true,
        })
    }

    /// Writes down how things stand; it may be written once all of that is durable itself.
    fn make_checkpoint(&mut self, states: &States) {
        let frame = match self.trouble {
            None => self.ticket(),
            Some(_) => self.durable_frame,
        };
        self.checkpoint.counter += 1;
        self.checkpoint.due = false;
        self.checkpoint.grown = 0;
        let checkpoint = Checkpoint {
            counter: self.checkpoint.counter,
            epoch: self.settings.epoch,
            frame,
            last_seq: self.last_seq,
            last_time: self.last_time,
            state_version: self.state_version,
            segments: self
                .segments
                .iter()
                .map(|it| Listed {
                    number: it.number,
                    version: it.version,
                    first_seq: it.first_seq,
                })
                .collect(),
            states: states.clone(),
            gaps: self.gaps.clone(),
        };
        let content = self.file_content(checkpoint.encode());
        self.checkpoint.made = Some((frame, content));
    }

    fn remove_file(&mut self) -> Option<DiskOperation> {
        let durable = self.checkpoint.durable;
        let at = self.removing.iter().position(|it| it.1 <= durable)?;
        let (file, _) = self.removing.swap_remove(at);
        Some(DiskOperation::Remove {
            id: self.task(Task::Remove),
            file,
        })
    }

    pub(in crate::jetstream::store) fn completed(
        &mut self,
        id: OperationId,
        result: DiskResult,
        index: &mut Index,
        states: &States,
    ) -> Ended {
        let Some(task) = self.tasks.remove(&id) else {
            return Ended::Unknown;
        };
        let error = match &result {
            DiskResult::Failed(error) => Some(*error),
            DiskResult::Done | DiskResult::Read(..) => None,
        };
        let ended = match (error, &task, &self.writing) {
            (Some(_), ..) => Ended::Failed,
            (None, Task::Frame, Some((_, sealed))) => Ended::Commit {
                messages: sealed.frames.messages,
                bytes: sealed.bytes.len() as u64,
            },
            (None, Task::Flush(..), _) => Ended::Flush,
            (None, Task::Read(..), _) => Ended::Read,
            (None, ..) => Ended::Upkeep,
        };
        match task {
            Task::Make(number) => self.made(number, error),
            Task::Frame => self.written(error),
            Task::Zeros => {
                self.zeroing = None;
                self.zeros_refused |= error.is_some();
            }
            Task::Read(piece) => self.was_read(piece, result),
            Task::Checkpoint(counter) => {
                self.checkpoint.under_way = false;
                match error {
                    None => {
                        self.checkpoint.durable = counter;
                        self.checkpoint.slot = 1 - self.checkpoint.slot;
                    }
                    // The other copy is whole. Again with the next change, not in a loop.
                    Some(error) => self.note_trouble(error),
                }
            }
            Task::Flush(number, version) => {
                let mut segments = self.segments.iter();
                let there = segments.any(|it| (it.number, it.version) == (number, version));
                if let Some(error) = error.filter(|_| there) {
                    // What the kernel could not write it will not try again: nobody may believe
                    // in the next flush.
                    self.unflushed.insert(number);
                    self.flushing_frame = 0;
                    self.note_trouble(error);
                }
                let mut tasks = self.tasks.values();
                if self.to_flush.is_empty() && !tasks.any(|it| matches!(it, Task::Flush(..))) {
                    self.flushed_frame = self.flushed_frame.max(self.flushing_frame);
                }
            }
            // A file that could not be removed is found when the log is opened again.
            Task::Remove => self.sweep_due = true,
            Task::Digest => self.digested(error),
            Task::Erase => self.erased(result),
            Task::Rewrite => self.rewritten(result, index, states),
        }
        ended
    }

    fn note_trouble(&mut self, error: DiskError) {
        self.trouble.get_or_insert(error);
        // A checkpoint that waits for frames nobody writes now would keep dropped segments on a disk
        // that has no room for those frames.
        let made = self.checkpoint.made.as_ref();
        if made.is_some_and(|it| it.0 > self.durable_frame) {
            (self.checkpoint.made, self.checkpoint.due) = (None, true);
        }
    }

    fn made(&mut self, number: u32, error: Option<DiskError>) {
        let last = self.segments.last().map(|it| it.number);
        let Some(segment) = self.segments.iter_mut().find(|it| it.number == number) else {
            return;
        };
        match error {
            None => {
                segment.making = Making::Made;
                if last == Some(number) {
                    self.zeroed = ZEROS_MIN;
                }
            }
            Some(error) => {
                segment.making = Making::Planned;
                self.note_trouble(error);
            }
        }
    }

    fn written(&mut self, error: Option<DiskError>) {
        let Some((_, sealed)) = self.writing.take() else {
            return;
        };
        if let Some(error) = error {
            self.failed = Some(sealed);
            return self.note_trouble(error);
        }
        let Sealed {
            segment, version, ..
        } = sealed;
        self.durable_seq = sealed.last_seq;
        self.durable_frame = sealed.frame;
        if self.settings.policy.flush == FlushPolicy::Durable {
            self.flushed_frame = sealed.frame;
        }
        self.durable_previous = sealed.crc;
        // Segments before this one can go from now on.
        let advanced = self.durable_segment != segment;
        self.checkpoint.due |= advanced;
        self.sweep_due |= advanced;
        let (last, grown) = (self.segments.last(), self.grown());
        self.digest_due |= advanced || last.is_some_and(|it| it.end > it.digested + grown);
        self.durable_segment = segment;
        if self.settings.policy.flush != FlushPolicy::Durable {
            self.unflushed.insert(segment);
        }
        if self.segments.last().is_some_and(|it| it.number == segment) {
            self.zeroed = self.zeroed.max(sealed.write_end());
        }
        // Without the zeros up to the page's end: the next frame is written there.
        let frames = sealed.bytes.slice(..(sealed.end - sealed.base) as usize);
        self.cache.insert((segment, version, sealed.base), frames);
    }
}
