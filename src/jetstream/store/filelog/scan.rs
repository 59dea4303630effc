//! One pass over a log's frames: what lives, what was lost, where it ends.

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::core::{bytes_of, place};
use super::digest::{Digest, Item};
use super::frame::{self, FrameHead};
use super::record::{Head, Kind, Record, ranges, u64_at};
use super::segment::{FIRST_FRAME, Frames, Segment, merge};
use super::settings::{Gap, Report};
use crate::jetstream::store::entries::flag;
use crate::jetstream::store::index::{Index, NewEntry};
use crate::jetstream::store::message::StorageKind;
use crate::jetstream::store::states::{State, States};

/// What the pass has found so far.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) index: Index,
    pub(super) states: States,
    /// Small records up to this version are as the checkpoint says.
    pub(super) state_base: u64,
    pub(super) state_version: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) gaps: Vec<Gap>,
    /// Those earlier openings told of.
    pub(super) known_gaps: Vec<Gap>,
    /// Messages whose content is not what was written, each with its segment's place in the list.
    suspects: Vec<(u64, usize)>,
    removed: Vec<(u64, u64)>,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    pub(super) last_frame: u64,
    /// Checksum of the last frame.
    pub(super) previous: u32,
    /// Frames up to this one were durable.
    pub(super) frame_base: u64,
    pub(super) report: Report,
}

/// A segment's file, and what comes after it.
pub(super) struct File<'a> {
    /// Zeros where a digest covers what stands there.
    pub(super) bytes: &'a [u8],
    /// Where its frames end, where its label says so.
    pub(super) end: Option<u64>,
    /// The last sequence its label vouches for.
    pub(super) last_seq: u64,
    /// What the next segment's first frame says about the last frame before it.
    pub(super) next_previous: Option<u32>,
    /// Is there a frame in a later segment?
    pub(super) more: bool,
    /// Segments that should stand before it are not there.
    pub(super) lost_before: bool,
    /// The segment before it was dropped or rewritten, or is not known: its frames need not
    /// connect.
    pub(super) loose: bool,
}

impl Scan {
    pub(super) fn new(checkpoint: Option<Checkpoint>) -> Self {
        let Some(checkpoint) = checkpoint else {
            return Self::default();
        };
        Self {
            states: checkpoint.states,
            state_base: checkpoint.state_version,
            state_version: checkpoint.state_version,
            frame_base: checkpoint.frame,
            known_gaps: checkpoint.gaps,
            ..Self::default()
        }
    }

    /// Takes in the next segment; true if the log can go on where its frames end.
    pub(super) fn segment(
        &mut self,
        mut segment: Segment,
        file: &File<'_>,
        digest: Option<&Digest>,
    ) -> bool {
        segment.first_seq = self.last_seq + 1;
        let seed = segment.seed;
        self.segments.push(segment);
        let limit = file.end.map_or(file.bytes.len(), |it| it as usize);
        let bytes = file.bytes.get(..limit).unwrap_or(file.bytes);
        let mut at = FIRST_FRAME as usize;
        // Frames after damage, or after a segment that is gone, connect to nothing we have seen.
        let mut loose = file.loose;
        let mut lost = file.lost_before;
        let mut first = true;
        if let Some(digest) = digest {
            self.take(digest, file.loose);
            at = digest.covered.frames.end as usize;
            (loose, first) = (false, false);
        }
        let clean = loop {
            if digest.is_some_and(|it| self.covers(it, file)) {
                break false; // nothing is written to it any more
            }
            if file.next_previous == Some(self.previous) && !(loose && first) {
                let rest = bytes.get(at..).unwrap_or_default();
                self.current().cut = FrameHead::decode(seed, rest).is_some();
                break true;
            }
            let found = bytes.get(at..).and_then(|it| FrameHead::decode(seed, it));
            let Some((head, crc)) = found.filter(|it| it.0.number > self.last_frame) else {
                match self.frame_after(seed, bytes, at) {
                    Some(next) => {
                        self.damage();
                        (at, loose, lost, first) = (next, true, true, false);
                        continue;
                    }
                    None => break self.is_end(bytes, at, file),
                }
            };
            let body = &bytes[at + frame::HEAD..];
            let whole = head.is_whole(seed, body);
            if !whole && !self.is_settled(&head, seed, bytes, at, file) {
                self.report.torn_tail += u64::from(head.next);
                break false;
            }
            if !loose && head.previous != self.previous {
                self.damage();
                lost = true;
            }
            if first && file.loose && !lost {
                self.current().first_seq = head.first_seq;
                self.last_seq = self.last_seq.max(head.first_seq.saturating_sub(1));
            }
            if head.first_seq > self.last_seq + 1 {
                self.gap(self.last_seq + 1, head.first_seq - 1);
            }
            let messages = self.frame(&head, seed, body, at as u64, whole);
            at += head.next as usize;
            let frames = Frames {
                first_previous: head.previous,
                first_number: head.number,
                first_seq: head.first_seq,
                last_crc: crc,
                last_number: head.number,
                last_seq: head.last_seq,
                last_time: head.last_time,
                messages,
                end: at as u64,
            };
            let segment = self.current();
            segment.frames = Some(Frames::and(segment.frames, frames));
            self.previous = crc;
            self.last_frame = head.number;
            (loose, lost, first) = (false, false, false);
        };
        self.current().end = at as u64;
        if file.end.is_some_and(|end| (at as u64) < end) {
            self.damage();
            self.gap(self.last_seq + 1, file.last_seq);
        }
        self.last_seq = self.last_seq.max(file.last_seq);
        clean
    }

    /// Does a digest go on where we are? What came before and what comes after must agree.
    pub(super) fn fits(&self, digest: &Digest, file: &File<'_>) -> bool {
        let frames = &digest.covered.frames;
        let connects = file.loose
            || frames.first_previous == self.previous && frames.first_seq <= self.last_seq + 1;
        let ends = match file.end {
            Some(end) => frames.end == end,
            None => {
                !digest.covered.complete
                    || file.next_previous.is_none_or(|it| it == frames.last_crc)
            }
        };
        connects && ends && !file.lost_before && frames.first_number > self.last_frame
    }

    /// Does the digest cover all of its segment?
    pub(super) fn covers(&self, digest: &Digest, file: &File<'_>) -> bool {
        digest.covered.complete && file.more
    }

    /// Does it stand for a message that is known to be lost? It was made before the damage, and its removal was
    /// on its way.
    pub(super) fn is_suspect(&self, digest: &Digest) -> bool {
        let frames = &digest.covered.frames;
        let mut gaps = self.known_gaps.iter();
        gaps.any(|it| it.first <= frames.last_seq && frames.first_seq <= it.last)
    }

    /// Takes in what a digest says instead of the frames it stands for.
    fn take(&mut self, digest: &Digest, loose: bool) {
        let frames = digest.covered.frames;
        if loose {
            self.current().first_seq = frames.first_seq;
            self.last_seq = self.last_seq.max(frames.first_seq - 1);
        }
        let (mut numbers, mut names) = (Vec::new(), Vec::new());
        let (mut live, mut live_bytes, mut compressed) = (0, 0, false);
        digest.each(&mut |item| match item {
            Item::Subject(name) => {
                numbers.push(None);
                names.push(Bytes::copy_from_slice(name));
            }
            Item::Message(seq, subject, mut new) => {
                if seq <= self.index.last_seq() {
                    return;
                }
                let at = subject as usize;
                new.subject = &names[at];
                let entry = self.index.insert_known(seq, new, &mut numbers[at]);
                live += 1;
                live_bytes += bytes_of(entry);
                compressed |= entry.flags & flag::COMPRESSED != 0;
            }
            Item::Removed(first, last) => {
                let segment = self.current();
                segment.live += std::mem::take(&mut live);
                segment.live_bytes += std::mem::take(&mut live_bytes);
                segment.remember_removals(&[(first, last)]);
                self.remove(first, last);
                merge(&mut self.removed, first, last);
            }
            Item::StateRemoved(name, version) => {
                self.note(&Record::note(Kind::StateRemoved, version, 0, name, b""));
            }
            Item::State(name, version, bytes) => {
                self.note(&Record::note(Kind::State, version, 0, name, bytes));
            }
        });
        let segment = self.current();
        segment.live += live;
        segment.live_bytes += live_bytes;
        segment.compressed |= compressed;
        // Those that are not in it were removed before it was made.
        segment.dead = frames.messages.saturating_sub(segment.live);
        segment.frames = Some(frames);
        segment.digested = frames.end;
        if digest.covered.complete {
            segment.notes = None;
        }
        self.last_seq = self.last_seq.max(frames.last_seq);
        (self.last_time, self.previous) = (frames.last_time, frames.last_crc);
        self.last_frame = frames.last_number;
    }

    fn current(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a segment was just added")
    }

    fn damage(&mut self) {
        self.report.damaged_records += 1;
        self.keep_evidence();
    }

    /// The bytes here stay as they are. What is missing before a segment's first frame may have
    /// stood at the end of the one before.
    fn keep_evidence(&mut self) {
        for segment in self.segments.iter_mut().rev().take(2) {
            segment.damaged = true;
        }
    }

    /// Sequences whose messages cannot be read, as far as is known now.
    pub(super) fn gap(&mut self, first: u64, last: u64) {
        if first <= last {
            self.gaps.push(Gap { first, last });
            self.keep_evidence();
            self.last_seq = self.last_seq.max(last);
        }
    }

    /// The next frame after a place where none can be read.
    fn frame_after(&self, seed: u32, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            at = frame::find(seed, bytes, at + 1)?;
            let (head, _) = FrameHead::decode(seed, &bytes[at..])?;
            if head.number > self.last_frame {
                return Some(at);
            }
        }
    }

    /// There is no frame from here on: is that how it was left? If not, something was lost that
    /// the checkpoint or the next segment will tell.
    fn is_end(&mut self, bytes: &[u8], at: usize, file: &File<'_>) -> bool {
        let rest = bytes.get(at..).unwrap_or_default();
        let torn = rest.iter().rposition(|&it| it != 0).map_or(0, |it| it + 1);
        if !file.more {
            self.report.torn_tail += torn as u64;
        }
        !file.more && torn == 0
    }

    /// Was this frame, which is not whole, finished once? The one write under way when the power
    /// went is the last one; whatever has a successor was acknowledged.
    fn is_settled(
        &self,
        head: &FrameHead,
        seed: u32,
        bytes: &[u8],
        at: usize,
        file: &File<'_>,
    ) -> bool {
        file.more
            || file.end.is_some()
            || head.number <= self.frame_base
            || self
                .frame_after(seed, bytes, at)
                .and_then(|it| FrameHead::decode(seed, &bytes[it..]))
                .is_some_and(|(later, _)| later.number > head.number)
    }

    /// Takes in a frame's records, those of a damaged one as far as they can be read; how many
    /// messages these are.
    fn frame(&mut self, head: &FrameHead, seed: u32, body: &[u8], at: u64, whole: bool) -> u64 {
        let heads = whole || head.has_heads(seed, body);
        if !heads {
            self.damage();
        }
        let segment = self.current();
        let (version, sealer) = (segment.version, segment.sealer.clone());
        let body = body.get(..head.len as usize).unwrap_or(body);
        let mut expected = head.first_seq;
        let (mut from, mut messages) = (0, 0);
        for _ in 0..head.records {
            let rest = body.get(from..).unwrap_or_default();
            let Some(record_head) = Head::decode(seed, rest) else {
                break; // nothing says where the next one begins
            };
            let offset = at + (frame::HEAD + from) as u64;
            from += record_head.padded_len();
            let content = record_head.content(seed, sealer.as_deref(), offset, rest);
            let record = content.as_deref().map(|it| record_head.record(it));
            match record_head.kind {
                Kind::Message => {
                    if !heads && record_head.seq > expected && version == 0 {
                        self.gap(expected, record_head.seq - 1);
                    }
                    expected = record_head.seq + 1;
                    match record {
                        Some(record) => messages += u64::from(self.message(&record, offset)),
                        None if record_head.is_erased(rest) => {}
                        // Erasing may have been interrupted: what was removed is no loss.
                        None => {
                            let segment = self.segments.len() - 1;
                            self.suspects.push((record_head.seq, segment));
                        }
                    }
                }
                Kind::Skip => {
                    let start = record.map_or(expected, |it| match it.payload.len() {
                        8 => u64_at(it.payload, 0),
                        _ => expected,
                    });
                    if !heads && start > expected && version == 0 {
                        self.gap(expected, start - 1);
                    }
                    expected = record_head.seq + 1;
                }
                Kind::Removed | Kind::State | Kind::StateRemoved => match record {
                    Some(record) => self.note(&record),
                    None => self.damage(),
                },
            }
        }
        if !heads && expected <= head.last_seq {
            self.gap(expected, head.last_seq);
        }
        self.last_seq = self.last_seq.max(head.last_seq);
        self.last_time = head.last_time;
        messages
    }

    /// Takes in a message; false if it is known.
    fn message(&mut self, record: &Record<'_>, offset: u64) -> bool {
        if record.seq <= self.index.last_seq() {
            return false; // written twice after a failed write
        }
        let parts = [record.subject, record.headers, record.payload].map(<[u8]>::len);
        let size = StorageKind::File.message_size(parts[0], parts[1], parts[2]) as u32;
        let has_ttl = record.flags & flag::TTL != 0;
        let new = NewEntry {
            subject: record.subject,
            size,
            place: place(offset),
            flags: record.flags,
            time: record.time,
            expires: has_ttl.then_some(record.expires),
        };
        let entry = self.index.insert(record.seq, new);
        self.last_seq = record.seq;
        self.current().count(entry);
        true
    }

    fn note(&mut self, record: &Record<'_>) {
        match record.kind {
            Kind::Removed => {
                let all: Vec<(u64, u64)> = ranges(record.payload).collect();
                for &(first, last) in &all {
                    self.remove(first, last);
                    merge(&mut self.removed, first, last);
                }
                self.current().remember_removals(&all);
            }
            Kind::State => {
                let name = Bytes::copy_from_slice(record.subject);
                let number = self.current().number;
                self.state_version = self.state_version.max(record.seq);
                match self.states.get_mut(&name) {
                    Some(state) if state.version > record.seq => {}
                    Some(state) if state.version == record.seq => state.segment = number,
                    None if record.seq <= self.state_base => {} // removed since
                    _ => {
                        let state = State {
                            version: record.seq,
                            bytes: Bytes::copy_from_slice(record.payload),
                            segment: number,
                        };
                        self.states.insert(name, state);
                    }
                }
            }
            Kind::StateRemoved => {
                self.current()
                    .note_state_removed(record.subject, record.seq);
                self.state_version = self.state_version.max(record.seq);
                let there = self.states.get(record.subject);
                if there.is_some_and(|it| it.version < record.seq) {
                    self.states.remove(record.subject);
                }
            }
            Kind::Message | Kind::Skip => {}
        }
    }

    /// Takes messages out of the index.
    fn remove(&mut self, first: u64, last: u64) {
        loop {
            let next = self.index.forward(first).next().filter(|it| it.0 <= last);
            let Some((seq, entry)) = next else {
                return;
            };
            self.index.remove(seq);
            let after = self.segments.partition_point(|it| it.first_seq <= seq);
            let segment = &mut self.segments[after.saturating_sub(1)];
            segment.bury(entry);
        }
    }

    /// What was lost to earlier openings stays lost, unless it can be read after all.
    pub(super) fn add_known_gaps(&mut self, known: Vec<Gap>) {
        for gap in known {
            let mut first = gap.first;
            let mut alive: Vec<u64> = Vec::new();
            let there = self.index.forward(gap.first).map(|it| it.0);
            alive.extend(there.take_while(|&it| it <= gap.last));
            for seq in alive {
                if first < seq {
                    self.gaps.push(Gap {
                        first,
                        last: seq - 1,
                    });
                }
                first = seq + 1;
            }
            if first <= gap.last {
                let last = gap.last;
                self.gaps.push(Gap { first, last });
            }
        }
    }

    /// The gaps without what was removed anyway, in order.
    pub(super) fn settle_gaps(&mut self) {
        self.removed.sort_unstable();
        for (seq, segment) in std::mem::take(&mut self.suspects) {
            let mut removed = self.removed.iter();
            if !removed.any(|it| it.0 <= seq && seq <= it.1) {
                self.report.damaged_records += 1;
                self.gaps.push(Gap {
                    first: seq,
                    last: seq,
                });
                self.segments[segment].damaged = true;
            }
        }
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.sort_unstable();
        let mut told = 0; // two may have told of the same
        for gap in gaps {
            let mut first = gap.first.max(told + 1);
            told = told.max(gap.last);
            for &(from, to) in self.removed.iter().filter(|it| it.0 <= gap.last) {
                if from > first {
                    self.gaps.push(Gap {
                        first,
                        last: from - 1,
                    });
                }
                first = first.max(to.saturating_add(1));
            }
            if first <= gap.last {
                self.gaps.push(Gap {
                    first,
                    last: gap.last,
                });
            }
        }
    }
}
