//! The log of one stream: what goes into it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::ahead::Ahead;
use super::block::{Block, Position, Sealed};
use super::cache::Cache;
use super::compact::Rewrite;
use super::digesting::Digesting;
use super::erase::Erase;
use super::record::{HEAD, Kind, Record, added};
use super::sealer;
use super::segment::{FIRST_FRAME, Frames, Segment};
use super::settings::{FlushPolicy, Gap, Policy, Report, Settings};
use super::tasks::{Piece, Task};
use crate::jetstream::store::buffer::{Buffer, PAGE};
use crate::jetstream::store::entries::{Entry, flag};
use crate::jetstream::store::index::Index;
use crate::jetstream::store::operation::{DiskError, FileName, OperationId};
use crate::jetstream::store::states::States;

/// Bytes of records in a frame; what comes while one is written goes into the next.
pub(super) const BLOCK_MAX: usize = 1024 * 1024;
/// Bytes of log between two checkpoints.
pub(super) const CHECKPOINT_EVERY: u64 = 16 * 1024 * 1024;

/// One stream's log. Its index belongs to the store.
#[derive(Debug)]
pub(in crate::jetstream::store) struct Log {
    pub(super) settings: Settings,
    /// By number; the last one is written to. Never empty.
    pub(super) segments: Vec<Segment>,
    /// What is filled. Always in the last segment.
    pub(super) building: Option<Block>,
    /// Full frames that wait for the write under way.
    pub(super) waiting: VecDeque<Sealed>,
    pub(super) writing: Option<(OperationId, Sealed)>,
    /// The write of this frame failed; nothing is written until the owner says so.
    pub(super) failed: Option<Sealed>,
    pub(super) trouble: Option<DiskError>,
    /// What of the last segment's last page is taken.
    pub(super) page: Bytes,
    /// Checksum of the last frame made, and of the last one that is durable.
    pub(super) previous: u32,
    pub(super) durable_previous: u32,
    pub(super) next_frame: u64,
    /// Bytes of the last frame's write.
    pub(super) frame_len: usize,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    pub(super) durable_seq: u64,
    /// Number of the last frame that is durable, and its segment.
    pub(super) durable_frame: u64,
    pub(super) durable_segment: u32,
    /// The last segment's file holds zeros or frames up to here.
    pub(super) zeroed: u64,
    pub(super) zeroing: Option<(u32, u64)>,
    /// Making zeros failed: writes extend the file from now on.
    pub(super) zeros_refused: bool,
    pub(super) state_version: u64,
    pub(super) checkpoint: Checkpointing,
    /// Encrypted files written so far.
    pub(super) wrapped: u64,
    /// Files to be removed, once the checkpoint of this number is durable.
    pub(super) removing: Vec<(FileName, u64)>,
    /// Segments written to since they were flushed, and those whose flush was asked for.
    pub(super) unflushed: BTreeSet<u32>,
    pub(super) to_flush: BTreeSet<u32>,
    /// The last frame the flushes under way cover, and the last one that survives a power cut.
    pub(super) flushing_frame: u64,
    pub(super) flushed_frame: u64,
    /// Something died since segments were last looked at.
    pub(super) sweep_due: bool,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) digesting: Option<Digesting>,
    /// A segment may want a digest.
    pub(super) digest_due: bool,
    pub(super) closing: bool,
    /// Contents to be overwritten, the one it is the turn of, and its pages once they were read.
    pub(super) to_erase: VecDeque<Erase>,
    pub(super) erasing: Option<Erase>,
    pub(super) overwrite: Option<(Erase, Bytes)>,
    /// The next frame ends at a page's end.
    pub(super) pad_next: bool,
    pub(super) cache: Cache,
    pub(super) ahead: Ahead,
    pub(super) wanted: VecDeque<Piece>,
    /// Places whose reading failed.
    pub(super) unreadable: BTreeSet<(u32, u32, u64)>,
    pub(super) gaps: Vec<Gap>,
    pub(super) tasks: HashMap<OperationId, Task, ahash::RandomState>,
    pub(super) next_id: u64,
}

/// How far the checkpoints are.
#[derive(Debug, Default)]
pub(super) struct Checkpointing {
    /// Something changed that a checkpoint should say.
    pub(super) due: bool,
    /// Number of the last one made.
    pub(super) counter: u64,
    /// Number of the last one that is durable, and which of the two files has it. The next goes
    /// into the other, however many fail there.
    pub(super) durable: u64,
    pub(super) slot: u8,
    /// One that waits until its frame is durable.
    pub(super) made: Option<(u64, Buffer)>,
    pub(super) under_way: bool,
    /// Bytes of log since the last one.
    pub(super) grown: u64,
}

impl Log {
    /// A log without a record.
    pub(super) fn empty(settings: Settings) -> Self {
        Self {
            segments: vec![
                Segment::new(settings.epoch, 1, 0, 1).sealed(settings.encryption.as_ref()),
            ],
            building: None,
            waiting: VecDeque::new(),
            writing: None,
            failed: None,
            trouble: None,
            page: Bytes::new(),
            previous: 0,
            durable_previous: 0,
            next_frame: 1,
            frame_len: 0,
            last_seq: 0,
            last_time: 0,
            durable_seq: 0,
            durable_frame: 0,
            durable_segment: 0,
            zeroed: 0,
            zeroing: None,
            zeros_refused: false,
            state_version: 0,
            checkpoint: Checkpointing::default(),
            wrapped: 0,
            removing: Vec::new(),
            unflushed: BTreeSet::new(),
            to_flush: BTreeSet::new(),
            flushing_frame: 0,
            flushed_frame: 0,
            sweep_due: true,
            rewrite: None,
            digesting: None,
            digest_due: true,
            closing: false,
            to_erase: VecDeque::new(),
            erasing: None,
            overwrite: None,
            pad_next: false,
            cache: Cache::new(settings.cache_size),
            ahead: Ahead::new(settings.cache_size),
            wanted: VecDeque::new(),
            unreadable: BTreeSet::new(),
            gaps: Vec::new(),
            tasks: HashMap::default(),
            next_id: 0,
            settings,
        }
    }

    /// Every sequence up to here is kept, as the settings' policy understands it.
    pub(in crate::jetstream::store) fn durable(&self) -> u64 {
        match self.settings.policy.flush {
            FlushPolicy::Async => self.last_seq,
            FlushPolicy::Durable | FlushPolicy::Interval => self.durable_seq,
        }
    }

    /// Names what was changed so far, for [`Log::is_settled`].
    pub(in crate::jetstream::store) fn ticket(&self) -> u64 {
        match &self.building {
            Some(block) => block.frame(),
            None => self.next_frame - 1,
        }
    }

    /// Is all that was changed before the ticket was given durable?
    pub(in crate::jetstream::store) fn is_settled(&self, ticket: u64) -> bool {
        ticket <= self.durable_frame
    }

    /// Bytes that are not written yet.
    pub(in crate::jetstream::store) fn backlog(&self) -> usize {
        let building = self.building.as_ref().map_or(0, Block::len);
        let waiting: usize = self.waiting.iter().map(|it| it.bytes.len()).sum();
        let writing = self.writing.as_ref().map_or(0, |it| it.1.bytes.len());
        building + waiting + writing
    }

    pub(in crate::jetstream::store) fn trouble(&self) -> Option<DiskError> {
        self.trouble
    }

    pub(in crate::jetstream::store) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Adds a message; its place and its flags for the index.
    pub(in crate::jetstream::store) fn append(&mut self, record: &Record<'_>) -> (u32, u8) {
        let size = record.subject.len() + record.headers.len() + record.payload.len();
        let block = self.block(size);
        block.last_seq = record.seq;
        block.last_time = record.time;
        let (at, flags) = block.push(record);
        self.last_seq = record.seq;
        self.last_time = record.time;
        (place(at), flags)
    }

    /// The index has taken the message just appended.
    pub(in crate::jetstream::store) fn appended(&mut self, entry: Entry) {
        self.last_segment().count(entry);
    }

    /// A message was taken out of the index; `erase`: its bytes are overwritten.
    pub(in crate::jetstream::store) fn removed(&mut self, seq: u64, entry: Entry, erase: bool) {
        self.buried(seq, entry);
        self.block(0).remove(seq, seq);
        if erase {
            self.erase(seq, entry);
        }
    }

    /// Counts a message as dead in its segment.
    pub(super) fn buried(&mut self, seq: u64, entry: Entry) {
        let segment = self.segment_of(seq);
        segment.bury(entry);
        let below_half = segment.is_below_half();
        self.sweep_due |= below_half;
    }

    /// All messages were taken out of the index.
    pub(in crate::jetstream::store) fn cleared(&mut self) {
        for segment in &mut self.segments {
            segment.dead += segment.live;
            (segment.live, segment.live_bytes) = (0, 0);
        }
        self.sweep_due = true;
        let last = self.last_seq;
        self.block(0).remove(0, last);
    }

    /// Sequences up to `up_to` were used up without messages.
    pub(in crate::jetstream::store) fn skip(&mut self, up_to: u64, time: Option<u64>) {
        let time = time.unwrap_or(self.last_time);
        let last = self.last_seq.max(up_to);
        // From where on, for whoever finds a record before it damaged.
        let from = (self.last_seq + 1).to_le_bytes();
        let block = self.block(0);
        block.last_seq = last;
        block.last_time = time;
        block.push(&Record::note(Kind::Skip, last, time, b"", &from));
        (self.last_seq, self.last_time) = (last, time);
    }

    /// Keeps a small record; its version and segment.
    pub(in crate::jetstream::store) fn put_state(
        &mut self,
        name: &[u8],
        bytes: &[u8],
    ) -> (u64, u32) {
        self.state_version += 1;
        let version = self.state_version;
        let block = self.block(bytes.len());
        block.push(&Record::note(Kind::State, version, 0, name, bytes));
        let segment = self.last_segment();
        segment.states += 1;
        (version, segment.number)
    }

    /// Forgets a small record.
    pub(in crate::jetstream::store) fn remove_state(&mut self, name: &[u8]) {
        self.state_version += 1;
        let version = self.state_version;
        let block = self.block(0);
        block.push(&Record::note(Kind::StateRemoved, version, 0, name, b""));
        self.last_segment().note_state_removed(name, version);
        self.checkpoint.due = true;
    }

    /// A small record in this segment is not the latest any more.
    pub(in crate::jetstream::store) fn state_replaced(&mut self, segment: u32) {
        if let Some(segment) = self.segments.iter_mut().find(|it| it.number == segment) {
            segment.states -= 1;
            self.sweep_due |= segment.states == 0 && segment.live == 0;
        }
    }

    /// A small record has a name that is new.
    pub(in crate::jetstream::store) fn state_named(&mut self) {
        self.checkpoint.due = true;
    }

    /// Asks for a flush of all that was written without one.
    pub(in crate::jetstream::store) fn sync(&mut self) {
        self.to_flush.append(&mut self.unflushed);
        self.flushing_frame = self.durable_frame;
    }

    pub(in crate::jetstream::store) fn needs_sync(&self) -> bool {
        !self.unflushed.is_empty() && self.trouble.is_none()
    }

    pub(in crate::jetstream::store) fn policy(&self) -> Policy {
        self.settings.policy
    }

    pub(in crate::jetstream::store) fn set_policy(&mut self, policy: Policy) {
        if policy.flush == FlushPolicy::Durable {
            self.sync();
        }
        self.settings.policy = policy;
        self.settings.segment_size = policy.segment_size();
    }

    /// A file's content as it is to stand on the disk.
    pub(super) fn file_content(&mut self, plain: Buffer) -> Buffer {
        match &self.settings.encryption {
            None => plain,
            Some(encryption) => {
                self.wrapped += 1;
                sealer::wrap(encryption, self.wrapped, &plain)
            }
        }
    }

    pub(super) fn last_segment(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// The segment that holds a message.
    pub(super) fn segment_of(&mut self, seq: u64) -> &mut Segment {
        let after = self.segments.partition_point(|it| it.first_seq <= seq);
        &mut self.segments[after.saturating_sub(1)]
    }

    /// The block to be filled, with room for that many bytes more.
    pub(super) fn block(&mut self, room: usize) -> &mut Block {
        if self
            .building
            .as_ref()
            .is_some_and(|it| it.len() > 0 && it.len() + room > BLOCK_MAX)
        {
            self.seal(false);
        }
        if self.building.is_none() {
            self.begin(room);
        }
        self.building.as_mut().expect("just begun")
    }

    fn begin(&mut self, room: usize) {
        let segment = self.segments.last().expect("a log has a segment");
        let full = segment.end + (room + 2 * PAGE) as u64 > self.settings.segment_size;
        if full && segment.end > FIRST_FRAME {
            self.roll();
        }
        let segment = self.segments.last().expect("a log has a segment");
        self.building = Some(Block::new(
            segment,
            Position {
                frame: self.next_frame,
                previous: self.previous,
                page: &self.page,
                last_seq: self.last_seq,
                last_time: self.last_time,
            },
            // As long as the one before: a busy log would move each of its frames eight times.
            self.frame_len,
            self.settings.policy.compressed,
        ));
        self.next_frame += 1;
    }

    /// Goes on in a new segment.
    pub(super) fn roll(&mut self) {
        let number = self.segments.last().map_or(0, |it| it.number) + 1;
        let segment = Segment::new(self.settings.epoch, number, 0, self.last_seq + 1)
            .sealed(self.settings.encryption.as_ref());
        self.segments.push(segment);
        self.page = Bytes::new();
        self.zeroed = 0;
        self.zeros_refused = false;
        self.checkpoint.due = true;
    }

    /// Ends the block that is filled; it is written when its turn comes.
    pub(super) fn seal(&mut self, pad: bool) {
        let Some(block) = self.building.take() else {
            return;
        };
        let pad = pad | std::mem::take(&mut self.pad_next);
        let sealed = block.seal(pad);
        self.previous = sealed.crc;
        self.page = sealed.last_page();
        self.frame_len = sealed.bytes.len();
        self.checkpoint.grown += sealed.bytes.len() as u64;
        let segment = self.last_segment();
        segment.end = sealed.end;
        segment.frames = Some(Frames::and(segment.frames, sealed.frames));
        segment.remember_removals(&sealed.removed);
        self.waiting.push_back(sealed);
    }

    /// After trouble: writes what is not durable once more, into a new segment. A failed flush may
    /// have lost any of it, and what a failed write left in its file is unknown.
    ///
    /// The new segment's first frame names the last durable one as the frame before it, so what
    /// comes after that one in the old segment counts for nothing when the log is opened again.
    pub(in crate::jetstream::store) fn resume(&mut self, index: &mut Index, states: &mut States) {
        if self.tasks.values().any(Task::writes) || self.trouble.take().is_none() {
            return;
        }
        // The last one may have failed.
        self.checkpoint.due = true;
        let Some(failed) = self.failed.take() else {
            return; // a file could not be made: asking again is enough
        };
        self.seal(false);
        let mut again = std::mem::take(&mut self.waiting);
        again.push_front(failed);
        let first = &again[0];
        let (old, start, first_seq) = (first.segment, first.start(), first.first_seq);
        self.segments.retain(|it| it.number <= old); // nothing was written to those after it
        let segment = self.last_segment();
        (segment.end, segment.cut) = (start, true);
        self.previous = self.durable_previous;
        self.checkpoint.made = None;
        let (last_seq, last_time) = (self.last_seq, self.last_time);
        self.last_seq = first_seq - 1;
        self.roll();
        for sealed in &again {
            sealed.each_record(&mut |record| {
                if sealed.segment == old {
                    self.forget_copy(old, record, index, states);
                }
                self.write_again(record, index, states);
            });
            let block = self.block(0);
            block.last_seq = sealed.last_seq;
            for &(first, last) in &sealed.removed {
                block.remove(first, last);
            }
            self.last_seq = sealed.last_seq;
        }
        (self.last_seq, self.last_time) = (last_seq, last_time);
    }

    /// A record in this segment counts no more.
    fn forget_copy(&mut self, segment: u32, record: &Record<'_>, index: &Index, states: &States) {
        let Some(segment) = self.segments.iter_mut().find(|it| it.number == segment) else {
            return;
        };
        match record.kind {
            Kind::Message => match index.entry(record.seq) {
                Some(entry) => {
                    segment.live -= 1;
                    segment.live_bytes -= bytes_of(entry);
                }
                None => segment.dead -= 1,
            },
            Kind::State => {
                let latest = states.get(record.subject);
                segment.states -= u64::from(latest.is_some_and(|it| it.version == record.seq));
            }
            Kind::Removed | Kind::Skip | Kind::StateRemoved => {}
        }
    }

    fn write_again(&mut self, record: &Record<'_>, index: &mut Index, states: &mut States) {
        let block = self.block(record.payload.len() + record.headers.len());
        let (at, form) = block.push(record);
        match record.kind {
            Kind::Message | Kind::Skip => {
                block.last_seq = record.seq;
                block.last_time = record.time;
                (self.last_seq, self.last_time) = (record.seq, record.time);
            }
            Kind::State => {
                let segment = self.last_segment();
                if let Some(state) = states.get_mut(record.subject)
                    && state.version == record.seq
                {
                    state.segment = segment.number;
                    segment.states += 1;
                }
            }
            Kind::StateRemoved => {
                let segment = self.last_segment();
                segment.note_state_removed(record.subject, record.seq);
            }
            Kind::Removed => {}
        }
        if record.kind == Kind::Message {
            match index.entry(record.seq) {
                Some(entry) => {
                    index.set_place(record.seq, place(at), form);
                    self.appended(entry);
                }
                None => self.last_segment().dead += 1,
            }
        }
    }
}

/// An offset as the index keeps it: records begin at multiples of 8.
pub(super) fn place(offset: u64) -> u32 {
    (offset / 8) as u32
}

/// The offset of a place.
pub(super) fn offset(place: u32) -> u64 {
    u64::from(place) * 8
}

/// Bytes of a message's record, at most: compressed it is shorter.
pub(super) fn record_len(entry: Entry) -> usize {
    plain_len(entry) + added(entry.flags)
}

/// The same in a form that is neither compressed nor encrypted.
fn plain_len(entry: Entry) -> usize {
    let flagged = |flag: u8| usize::from(entry.flags & flag != 0);
    let counted = 30 + 4 * flagged(flag::HEADERS); // see StorageKind::message_size
    HEAD + 8 * flagged(flag::TTL) + entry.size as usize - counted
}

/// Bytes a message counts for in its segment, whatever its form.
pub(super) fn bytes_of(entry: Entry) -> u64 {
    plain_len(entry).next_multiple_of(8) as u64
}

/// What [`Report`] says of a log just opened.
pub(super) fn report(log: &Log, index: &Index, mut report: Report) -> Report {
    report.segments = log.segments.len() as u64;
    report.messages = index.len();
    report.gaps.clone_from(&log.gaps);
    report
}
