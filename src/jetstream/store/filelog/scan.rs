//! One pass over a log's frames: what lives, what was lost, where it ends.

use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::core::{bytes_of, place};
use super::frame::{self, FrameHead};
use super::record::{Head, Kind, Record, ranges, u64_at};
use super::segment::{FIRST_FRAME, Segment, merge};
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
    /// Messages whose content is not what was written.
    suspects: Vec<u64>,
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
            ..Self::default()
        }
    }

    /// Takes in the next segment; true if the log can go on where its frames end.
    pub(super) fn segment(&mut self, mut segment: Segment, file: &File<'_>) -> bool {
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
        let clean = loop {
            if file.next_previous == Some(self.previous) && !(loose && first) {
                self.current().cut = at < limit && FrameHead::decode(seed, &bytes[at..]).is_some();
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
            self.frame(&head, seed, body, at as u64, whole);
            self.previous = crc;
            self.last_frame = head.number;
            at += head.next as usize;
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

    /// Takes in a frame's records, those of a damaged one as far as they can be read.
    fn frame(&mut self, head: &FrameHead, seed: u32, body: &[u8], at: u64, whole: bool) {
        let heads = whole || head.has_heads(seed, body);
        if !heads {
            self.damage();
        }
        let version = self.current().version;
        let body = body.get(..head.len as usize).unwrap_or(body);
        let mut expected = head.first_seq;
        let mut from = 0;
        for _ in 0..head.records {
            let rest = body.get(from..).unwrap_or_default();
            let Some(record_head) = Head::decode(seed, rest) else {
                break; // nothing says where the next one begins
            };
            let offset = at + (frame::HEAD + from) as u64;
            from += record_head.padded_len();
            let record = record_head.record(seed, rest);
            match record_head.kind {
                Kind::Message => {
                    if !heads && record_head.seq > expected && version == 0 {
                        self.gap(expected, record_head.seq - 1);
                    }
                    expected = record_head.seq + 1;
                    match record {
                        Some(record) => self.message(&record, offset),
                        None if record_head.is_erased(rest) => {}
                        // Erasing may have been interrupted: what was removed is no loss.
                        None => self.suspects.push(record_head.seq),
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
    }

    fn message(&mut self, record: &Record<'_>, offset: u64) {
        if record.seq <= self.index.last_seq() {
            return; // written twice after a failed write
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
        let segment = self.current();
        segment.live += 1;
        segment.live_bytes += bytes_of(entry);
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
            segment.live -= 1;
            segment.live_bytes -= bytes_of(entry);
            segment.dead += 1;
        }
    }

    /// The gaps without what was removed anyway, in order.
    pub(super) fn settle_gaps(&mut self) {
        self.removed.sort_unstable();
        for seq in std::mem::take(&mut self.suspects) {
            let mut removed = self.removed.iter();
            if !removed.any(|it| it.0 <= seq && seq <= it.1) {
                self.report.damaged_records += 1;
                self.gaps.push(Gap {
                    first: seq,
                    last: seq,
                });
                let after = self.segments.partition_point(|it| it.first_seq <= seq);
                self.segments[after.saturating_sub(1)].damaged = true;
            }
        }
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.sort_unstable();
        for gap in gaps {
            let mut first = gap.first;
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
