//! Messages out of the log: from what is not written yet, from the cache, from the disk.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::block::Sealed;
use super::core::{Log, offset, record_len};
use super::record::{HEAD, Head, Kind};
use super::segment::Segment;
use super::settings::Gap;
use super::tasks::Piece;
use crate::jetstream::store::buffer::{Buffer, PAGE};
use crate::jetstream::store::entries::Entry;
use crate::jetstream::store::message::{Fetch, StoredMessage};
use crate::jetstream::store::operation::DiskResult;
use crate::time::WallTime;

/// Reads under way beside which more are made than somebody asked for.
const READERS_MAX: usize = 4;

impl Log {
    /// The message of this entry.
    pub(in crate::jetstream::store) fn fetch(&mut self, seq: u64, entry: Entry) -> Fetch {
        let at = offset(entry.place);
        let Segment {
            number,
            version,
            seed,
            end,
            ..
        } = *self.segment_of(seq);
        if let Some(bytes) = self.unwritten(number, version, at) {
            return self.message(seq, at, bytes);
        }
        let place = (number, version, at);
        // As far as frames are written: what is read beyond must not be taken for them later.
        let written_end = self.written_end(number, end);
        if at + HEAD as u64 > written_end {
            return self.damaged(seq); // the frames do not agree with each other
        }
        let mut len = record_len(entry);
        if let Some(bytes) = self.cache.find(place, HEAD) {
            len = Head::decode(seed, &bytes).map_or(HEAD, |it| it.len());
            if let Some(bytes) = self.cache.find(place, len) {
                self.read_besides((number, version), at + len as u64, written_end);
                return self.message(seq, at, bytes);
            }
            if at + len as u64 > written_end {
                return self.damaged(seq); // there is nothing more to be read
            }
        }
        let from = at - at % PAGE as u64;
        if self.unreadable.contains(&(number, version, from)) {
            return self.damaged(seq);
        }
        let file = (number, version);
        let end = at + len as u64;
        if self.will_have(file, at..end) {
            return Fetch::Reading;
        }
        let need = (end - from).next_multiple_of(PAGE as u64);
        let len = self.ahead.needed(file, from, need, written_end);
        self.want(Piece {
            place: (number, version, from),
            len: len as usize,
            exact: len <= need,
        });
        Fetch::Reading
    }

    /// Reads what whoever reads on will want next.
    fn read_besides(&mut self, file: (u32, u32), end: u64, written_end: u64) {
        if self.reads().count() < READERS_MAX
            && let Some((from, len)) = self.ahead.besides(file, end, written_end)
        {
            self.want(Piece {
                place: (file.0, file.1, from),
                len: len as usize,
                exact: false,
            });
        }
    }

    /// Is every byte of this range there, or on its way?
    fn will_have(&self, file: (u32, u32), range: Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            let cached = self.cache.rest((file.0, file.1, at));
            let cached = cached.map(|it| at + it.len() as u64);
            let Some(end) = cached.max(self.read_up_to(file, at)) else {
                return false;
            };
            at = end;
        }
        true
    }

    /// Where the written frames of a segment end.
    fn written_end(&self, number: u32, end: u64) -> u64 {
        let under_way = self.writing.as_ref().map(|it| &it.1);
        let first = self.failed.as_ref().or(under_way);
        let mut sealed = first.into_iter().chain(&self.waiting);
        sealed
            .find(|it| it.segment == number)
            .map_or(end, Sealed::start)
    }

    /// The bytes from a record on, if the disk does not have them yet.
    fn unwritten(&self, number: u32, version: u32, at: u64) -> Option<Bytes> {
        if let Some(block) = &self.building
            && let Some(bytes) = block.find(number, version, at)
        {
            let len = Head::decode(self.segments.last()?.seed, bytes)?.len();
            return Some(Bytes::copy_from_slice(bytes.get(..len)?));
        }
        let mut waiting = self.waiting.iter().rev();
        let under_way = self.writing.as_ref().map(|it| &it.1);
        waiting
            .find_map(|it| it.find(number, version, at))
            .or_else(|| under_way?.find(number, version, at))
            .or_else(|| self.failed.as_ref()?.find(number, version, at))
    }

    fn message(&mut self, seq: u64, at: u64, bytes: Bytes) -> Fetch {
        let segment = self.segment_of(seq);
        let (seed, sealer) = (segment.seed, segment.sealer.as_deref());
        let found = Head::decode(seed, &bytes)
            .filter(|it| it.seq == seq && it.kind == Kind::Message)
            .and_then(|it| Some((it, it.content(seed, sealer, at, &bytes)?)));
        let Some((head, content)) = found else {
            return self.damaged(seq);
        };
        let content = match content {
            Cow::Borrowed(_) => bytes.slice(HEAD..head.len()),
            Cow::Owned(content) => Bytes::from(content),
        };
        let [subject, headers, payload] = head.parts();
        Fetch::Message(StoredMessage {
            seq,
            time: WallTime(head.time),
            subject: content.slice(subject..headers),
            headers: content.slice(headers..payload),
            payload: content.slice(payload..),
        })
    }

    fn damaged(&mut self, seq: u64) -> Fetch {
        let gap = Gap {
            first: seq,
            last: seq,
        };
        if let Err(at) = self.gaps.binary_search(&gap) {
            self.gaps.insert(at, gap);
            self.distrust(seq);
        }
        Fetch::Damaged
    }

    /// Bytes of files that are kept in memory.
    pub(in crate::jetstream::store) fn cached(&self) -> usize {
        self.cache.size()
    }

    /// Forgets them.
    pub(in crate::jetstream::store) fn let_go(&mut self) {
        self.cache.clear();
    }

    pub(super) fn was_read(&mut self, piece: Piece, result: DiskResult) {
        let Piece { place, len, exact } = piece;
        let mut is_whole = false;
        if let DiskResult::Read(mut buffer, came) = result
            && came > 0
        {
            buffer.truncate(came.min(len));
            // A file that ends before its frames do was cut off by somebody else.
            is_whole = came >= len;
            let bytes = Bytes::from_owner::<Buffer>(buffer);
            self.cache.insert(place, bytes);
        }
        if is_whole {
            self.unreadable.remove(&place);
        } else if exact {
            self.unreadable.insert(place);
        } else {
            // What is needed may be there where what was read besides is not.
            self.ahead.be_careful();
        }
    }
}
