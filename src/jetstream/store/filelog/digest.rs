//! What a pass over a segment's frames finds, kept in a file beside it, so that opening a long log
//! reads a fifteenth of it and checks no content.
//!
//! A digest says nothing that the frames do not say. One that is missing, damaged or does not fit
//! what stands before and after it is passed over, and its segment is read instead. Removals come
//! in later frames, so a message that was removed while the digest was made may be in it or not.
//!
//! After a fixed head: names of subjects, messages, ranges removed, names of small records
//! removed, small records. Numbers have seven bits a byte, most are distances.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::core::place;
use super::frame::{self, FrameHead};
use super::record::{NUMBER_MAX, u32_at, u64_at};
use super::segment::{FIRST_FRAME, Frames, Notes};
use crate::jetstream::store::buffer::Buffer;
use crate::jetstream::store::entries::{Entry, flag};
use crate::jetstream::store::index::{Index, NewEntry};
use crate::jetstream::store::message::StorageKind;
use crate::jetstream::store::states::States;

const MAGIC: [u8; 8] = *b"RamjetD\x01";
const HEAD: usize = 128;

/// Whose digest it is, and what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) epoch: u64,
    pub(super) number: u32,
    pub(super) version: u32,
    /// Nothing comes after these frames in their segment.
    pub(super) complete: bool,
    pub(super) frames: Frames,
}

/// A digest, read and found whole.
#[derive(Debug)]
pub(super) struct Digest {
    pub(super) covered: Covered,
    counts: [u32; 5],
    body: Bytes,
}

/// What [`Digest::each`] meets, in this order of kinds.
pub(super) enum Item<'a> {
    /// The subject with the next number, from 0.
    Subject(&'a [u8]),
    /// A message; its subject is one of the above.
    Message(u64, u32, NewEntry<'a>),
    /// Sequences removed.
    Removed(u64, u64),
    /// A small record removed, with the version of that.
    StateRemoved(&'a [u8], u64),
    /// A small record.
    State(&'a [u8], u64, &'a [u8]),
}

impl Digest {
    /// Reads a file's content; `None` if it is not a whole digest.
    pub(super) fn decode(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Bytes::from(bytes);
        let head = bytes.first_chunk::<HEAD>()?;
        let len = usize::try_from(u64_at(head, 8)).ok()?;
        let body = bytes.get(HEAD..len)?;
        if head[..8] != MAGIC || checksum(head, body) != u32_at(head, 16) {
            return None;
        }
        let frames = Frames {
            first_previous: u32_at(head, 40),
            last_crc: u32_at(head, 44),
            first_number: u64_at(head, 48),
            last_number: u64_at(head, 56),
            first_seq: u64_at(head, 64),
            last_seq: u64_at(head, 72),
            last_time: u64_at(head, 80),
            messages: u64_at(head, 88),
            end: u64_at(head, 96),
        };
        let fits = frames.last_seq < u64::MAX
            && (1..NUMBER_MAX).contains(&frames.last_number)
            && frames.first_number <= frames.last_number
            && (1..=frames.last_seq + 1).contains(&frames.first_seq)
            && frames.end >= FIRST_FRAME;
        if !fits {
            return None;
        }
        let covered = Covered {
            epoch: u64_at(head, 24),
            number: u32_at(head, 32),
            version: u32_at(head, 36),
            complete: head[20] == 1,
            frames,
        };
        let this = Self {
            covered,
            counts: [104, 108, 112, 116, 120].map(|at| u32_at(head, at)),
            body: bytes.slice(HEAD..len),
        };
        // All of it is looked at before any of it is taken.
        this.each(&mut |_| ()).then_some(this)
    }

    /// Is the frame the next segment goes on from, if it says so, the last of these or one after them
    /// in the segment's `bytes`? If not, the log once ended before and went on elsewhere.
    pub(super) fn leads_to(&self, next_previous: Option<u32>, seed: u32, bytes: &[u8]) -> bool {
        let frames = &self.covered.frames;
        let Some(wanted) = next_previous.filter(|_| !self.covered.complete) else {
            return true;
        };
        let mut at = frames.end as usize;
        let mut crc = frames.last_crc;
        while crc != wanted {
            let found = frame::find(seed, bytes, at);
            let head = found.and_then(|it| FrameHead::decode(seed, bytes.get(it..)?));
            let (Some(found), Some((_, next))) = (found, head) else {
                return false;
            };
            (at, crc) = (found + frame::ALIGNMENT, next);
        }
        true
    }

    /// Meets all that is in it; false if some of it cannot be.
    pub(super) fn each(&self, met: &mut dyn FnMut(Item<'_>)) -> bool {
        self.items(met).is_some()
    }

    fn items(&self, met: &mut dyn FnMut(Item<'_>)) -> Option<()> {
        let Frames {
            first_seq,
            last_seq,
            end,
            ..
        } = self.covered.frames;
        let mut reader = Reader(&self.body);
        let [subjects, messages, removed, states_removed, states] = self.counts;
        for _ in 0..subjects {
            met(Item::Subject(reader.bytes()?));
        }
        let (mut seq, mut at, mut time) = (0u64, 0u64, 0u64);
        for _ in 0..messages {
            seq = seq.checked_add(reader.number()?.checked_add(1)?)?;
            let subject = u32::try_from(reader.number()?).ok()?;
            at = at.wrapping_add_signed(reader.signed()?);
            let size = u32::try_from(reader.number()?).ok()?;
            time = time.wrapping_add_signed(reader.signed()?);
            let flags = u8::try_from(reader.number()?).ok()?;
            let expires = match flags & flag::TTL {
                0 => None,
                _ => Some(time.wrapping_add_signed(reader.signed()?)),
            };
            let headers = usize::from(flags & flag::HEADERS != 0);
            let fits = subject < subjects
                && (first_seq..=last_seq).contains(&seq)
                && (FIRST_FRAME..end).contains(&(at.checked_mul(8)?))
                && u64::from(size) >= StorageKind::File.message_size(0, headers, 0);
            if !fits {
                return None;
            }
            let entry = NewEntry {
                subject: b"",
                size,
                place: place(at * 8),
                flags,
                time,
                expires,
            };
            met(Item::Message(seq, subject, entry));
        }
        let mut last = 0u64;
        for _ in 0..removed {
            let first = last.wrapping_add_signed(reader.signed()?);
            last = first.checked_add(reader.number()?)?;
            met(Item::Removed(first, last));
        }
        for _ in 0..states_removed {
            let version = reader.number()?;
            met(Item::StateRemoved(reader.bytes()?, version));
        }
        for _ in 0..states {
            let version = reader.number()?;
            let name = reader.bytes()?;
            met(Item::State(name, version, reader.bytes()?));
        }
        reader.0.is_empty().then_some(())
    }
}

/// A digest that is being made, some messages at a time.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) covered: Covered,
    /// The message to go on with.
    next: u64,
    subjects: Vec<Arc<[u8]>>,
    /// Number in the index and place in the list above. A number may be used again for another
    /// subject meanwhile.
    numbers: HashMap<u32, u32, ahash::RandomState>,
    messages: Writer,
    count: u32,
    /// Distances are counted from these.
    seq: u64,
    at: u64,
    time: u64,
}

impl Making {
    pub(super) fn new(covered: Covered) -> Self {
        Self {
            next: covered.frames.first_seq,
            covered,
            subjects: Vec::new(),
            numbers: HashMap::default(),
            messages: Writer::default(),
            count: 0,
            seq: 0,
            at: 0,
            time: 0,
        }
    }

    /// Takes in some messages; true if that was all of them.
    pub(super) fn step(&mut self, index: &Index, most: usize) -> bool {
        let last = self.covered.frames.last_seq;
        for (taken, (seq, entry)) in index.forward(self.next).enumerate() {
            if seq > last {
                return true;
            }
            if taken == most {
                self.next = seq;
                return false;
            }
            self.message(index, seq, entry);
        }
        true
    }

    fn message(&mut self, index: &Index, seq: u64, entry: Entry) {
        let name = &index.subject_at(entry.subject).name;
        let known = self.numbers.get(&entry.subject).copied();
        let known = known.filter(|&it| Arc::ptr_eq(&self.subjects[it as usize], name));
        let subject = known.unwrap_or_else(|| {
            let number = self.subjects.len() as u32;
            self.subjects.push(Arc::clone(name));
            self.numbers.insert(entry.subject, number);
            number
        });
        let at = u64::from(entry.place);
        self.messages.number(seq - self.seq - 1);
        self.messages.number(u64::from(subject));
        self.messages.signed(at.wrapping_sub(self.at).cast_signed());
        self.messages.number(u64::from(entry.size));
        self.messages
            .signed(entry.time.wrapping_sub(self.time).cast_signed());
        self.messages.number(u64::from(entry.flags));
        if entry.flags & flag::TTL != 0 {
            let expires = index.expires(seq).unwrap_or(entry.time);
            self.messages
                .signed(expires.wrapping_sub(entry.time).cast_signed());
        }
        self.count += 1;
        (self.seq, self.at, self.time) = (seq, at, entry.time);
    }

    /// The file's content.
    pub(super) fn finish(self, notes: &Notes, states: &States) -> Buffer {
        let Covered { frames, number, .. } = self.covered;
        let mut body = Writer::default();
        for subject in &self.subjects {
            body.bytes(subject);
        }
        body.0.extend_from_slice(&self.messages.0);
        let mut before = 0u64;
        for &(first, last) in &notes.removals {
            body.signed(first.wrapping_sub(before).cast_signed());
            body.number(last - first);
            before = last;
        }
        for (name, version) in &notes.states_removed {
            body.number(*version);
            body.bytes(name);
        }
        let mut latest = 0u32;
        for (name, state) in states.iter().filter(|it| it.1.segment == number) {
            latest += 1;
            body.number(state.version);
            body.bytes(name);
            body.bytes(&state.bytes);
        }
        let counts = [
            self.subjects.len() as u32,
            self.count,
            notes.removals.len() as u32,
            notes.states_removed.len() as u32,
            latest,
        ];
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MAGIC);
        let len = (HEAD + body.0.len()) as u64;
        head[8..16].copy_from_slice(&len.to_le_bytes());
        head[20] = u8::from(self.covered.complete);
        head[24..32].copy_from_slice(&self.covered.epoch.to_le_bytes());
        head[32..36].copy_from_slice(&number.to_le_bytes());
        head[36..40].copy_from_slice(&self.covered.version.to_le_bytes());
        head[40..44].copy_from_slice(&frames.first_previous.to_le_bytes());
        head[44..48].copy_from_slice(&frames.last_crc.to_le_bytes());
        let numbers = [
            frames.first_number,
            frames.last_number,
            frames.first_seq,
            frames.last_seq,
            frames.last_time,
            frames.messages,
            frames.end,
        ];
        for (at, number) in (48..).step_by(8).zip(numbers) {
            head[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        for (at, count) in (104..).step_by(4).zip(counts) {
            head[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        let crc = checksum(&head, &body.0);
        head[16..20].copy_from_slice(&crc.to_le_bytes());
        let mut buffer = Buffer::with_capacity(len as usize);
        buffer.extend(&head);
        buffer.extend(&body.0);
        buffer.pad(crate::jetstream::store::buffer::PAGE);
        buffer
    }
}

fn checksum(head: &[u8; HEAD], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&head[..16]);
    let crc = crc32c::crc32c_append(crc, &head[20..]);
    crc32c::crc32c_append(crc, body)
}

#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}
