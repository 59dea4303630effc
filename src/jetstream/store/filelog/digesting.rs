//! Digests of segments: when one is made, and what becomes of it.

use super::core::Log;
use super::digest::{Covered, Making};
use super::segment::{FIRST_FRAME, Making as File, Notes};
use super::tasks::Task;
use crate::jetstream::store::buffer::Buffer;
use crate::jetstream::store::index::Index;
use crate::jetstream::store::operation::{DiskError, DiskOperation};
use crate::jetstream::store::states::States;

/// Messages taken into a digest at once: a shard has other things to do.
const STEP: usize = 4096;
/// The part of a segment's size from which on the last one gets a digest while it is written to
/// (16 MiB of 64), and a new one each time it has doubled: so much is read when the log is opened
/// after a crash.
const GROWN: u64 = 4;
/// The same when the log is closed.
const GROWN_AT_END: u64 = 64;

/// A digest on its way.
#[derive(Debug)]
pub(super) enum Digesting {
    /// Messages are taken in.
    Making(Box<Making>),
    /// Waits until all it takes for granted is durable: frames up to this one.
    Waiting(Covered, u64, Buffer),
    /// Written.
    Writing(Covered),
}

impl Log {
    /// Is there more to do for a digest than a call of [`Log::digest_step`] did?
    pub(in crate::jetstream::store) fn is_digesting(&self) -> bool {
        let making = matches!(self.digesting, Some(Digesting::Making(_)));
        self.trouble.is_none() && (making || self.digesting.is_none() && self.digest_due)
    }

    /// The log is about to be closed: what was written lately gets a digest, too.
    pub(in crate::jetstream::store) fn close(&mut self) {
        (self.closing, self.digest_due) = (true, true);
    }

    /// Is nothing left to do before the log is closed?
    pub(in crate::jetstream::store) fn is_closed(&self) -> bool {
        self.trouble.is_some()
            || self.is_settled(self.ticket()) && self.digesting.is_none() && !self.digest_due
    }

    fn digest_last(&mut self, least: u64) {
        if self.digesting.is_some() {
            return;
        }
        let (durable, epoch) = (self.durable_frame, self.settings.epoch);
        let Some(segment) = self.segments.last().filter(|it| it.may_be_digested()) else {
            return;
        };
        // Frames that are not written yet come to it with the next one.
        let Some(frames) = segment.frames.filter(|it| it.last_number <= durable) else {
            return;
        };
        if frames.end - segment.digested.max(FIRST_FRAME) >= least {
            self.digesting = Some(Digesting::Making(Box::new(Making::new(Covered {
                epoch,
                number: segment.number,
                version: segment.version,
                complete: false,
                frames,
            }))));
        }
    }

    /// Looks for a segment without a digest, or goes on with the one that is made.
    pub(super) fn digest_step(&mut self, index: &Index, states: &States) -> Option<DiskOperation> {
        if self.trouble.is_some() {
            return None;
        }
        match self.digesting.take() {
            None => self.digest_next(),
            Some(Digesting::Making(mut making)) => {
                let at = self.covered_segment(&making.covered)?;
                self.digesting = match making.step(index, STEP) {
                    false => Some(Digesting::Making(making)),
                    true => {
                        let (covered, frame) = (making.covered, self.ticket());
                        let nothing = Notes::default();
                        let notes = self.segments[at].notes.as_deref().unwrap_or(&nothing);
                        let file = making.finish(notes, states);
                        let file = self.file_content(file);
                        Some(Digesting::Waiting(covered, frame, file))
                    }
                };
            }
            Some(Digesting::Waiting(covered, frame, file)) => {
                let at = self.covered_segment(&covered)?;
                if frame > self.flushed_frame {
                    if self.closing && frame <= self.durable_frame {
                        self.sync();
                    }
                    self.digesting = Some(Digesting::Waiting(covered, frame, file));
                    return None;
                }
                self.digesting = Some(Digesting::Writing(covered));
                return Some(DiskOperation::Write {
                    id: self.task(Task::Digest),
                    file: self.segments[at].digest(),
                    create: true,
                    offset: 0,
                    bytes: bytes::Bytes::from_owner(file),
                    flush: true,
                });
            }
            writing => self.digesting = writing,
        }
        None
    }

    fn digest_next(&mut self) {
        if !std::mem::take(&mut self.digest_due) {
            return;
        }
        let durable = self.durable_segment;
        let mut sealed = self.segments.iter();
        let next = sealed.find_map(|it| {
            let frames = it.frames.filter(|frames| it.digested < frames.end)?;
            let quiet = it.number < durable && it.notes.is_some() && it.may_be_digested();
            quiet.then_some((it, frames))
        });
        if let Some((segment, frames)) = next {
            let covered = Covered {
                epoch: self.settings.epoch,
                number: segment.number,
                version: segment.version,
                complete: true,
                frames,
            };
            self.digesting = Some(Digesting::Making(Box::new(Making::new(covered))));
            return;
        }
        let written = self.segments.last().map_or(0, |it| it.end);
        self.digest_last(match self.closing {
            true => self.settings.segment_size / GROWN_AT_END,
            false => self.grown().max(written / 2),
        });
    }

    /// How much longer than its digest the last segment may be.
    pub(super) fn grown(&self) -> u64 {
        self.settings.segment_size / GROWN
    }

    /// Where the segment of a digest is; nowhere if it is another one by now.
    fn covered_segment(&mut self, covered: &Covered) -> Option<usize> {
        self.digest_due = true;
        let mut segments = self.segments.iter();
        segments.position(|it| {
            (it.number, it.version) == (covered.number, covered.version) && it.may_be_digested()
        })
    }

    /// A digest is on the disk, or could not be written. Without it the segment is read.
    pub(super) fn digested(&mut self, error: Option<DiskError>) {
        let Some(Digesting::Writing(covered)) = self.digesting.take() else {
            return;
        };
        let Some(at) = self.covered_segment(&covered) else {
            // Dropped, rewritten or found damaged meanwhile.
            let file = crate::jetstream::store::operation::FileName::Digest {
                number: covered.number,
                version: covered.version,
            };
            self.removing.push((file, 0));
            return;
        };
        let segment = &mut self.segments[at];
        // One that failed is not tried again before there is more to say.
        segment.digested = covered.frames.end;
        if error.is_some() {
            let file = segment.digest();
            self.removing.push((file, 0));
        }
        if covered.complete {
            segment.notes = None;
        }
    }

    /// Something in a segment cannot be read: whoever opens the log next shall look himself.
    pub(super) fn distrust(&mut self, seq: u64) {
        let segment = self.segment_of(seq);
        let file = segment.digest();
        segment.damaged = true;
        if std::mem::take(&mut segment.digested) > 0 {
            self.removing.push((file, 0));
        }
        self.checkpoint.due = true;
    }
}

impl super::segment::Segment {
    /// Do its frames stay as they are, and all of them count?
    fn may_be_digested(&self) -> bool {
        self.making == File::Made && !self.damaged && !self.cut
    }
}
