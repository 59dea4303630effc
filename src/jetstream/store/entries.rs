//! What is known of each message without reading it, by sequence.
//!
//! Chunks of a thousand sequences, each a sorted list of those that live. A removed entry stays
//! as a dead one until half of its chunk is dead, so a removal costs the same wherever it is, and
//! a stream that keeps one message in a thousand pays for that one.

use std::collections::BTreeMap;

/// Sequences of a chunk. 1024 entries are 24 KiB.
const CHUNK: u64 = 1024;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of its subject.
    pub(super) subject: u32,
    /// Bytes it counts for.
    pub(super) size: u32,
    /// Where it is; only the storage knows what that means.
    pub(super) place: u32,
    /// See [`flag`].
    pub(super) flags: u8,
    /// When it came.
    pub(super) time: u64,
}

/// Bits of [`Entry::flags`], the same as in records on disk.
pub(super) mod flag {
    /// Exempt from `max_age`.
    pub(in crate::jetstream::store) const FOREVER: u8 = 1;
    /// Has a time of its own to go.
    pub(in crate::jetstream::store) const TTL: u8 = 2;
    /// Its expiry leaves no marker.
    pub(in crate::jetstream::store) const MARKER: u8 = 4;
    /// Has headers.
    pub(in crate::jetstream::store) const HEADERS: u8 = 8;
    /// Its content is compressed where it stands.
    pub(in crate::jetstream::store) const COMPRESSED: u8 = 16;
    /// Its content is encrypted where it stands.
    pub(in crate::jetstream::store) const SEALED: u8 = 32;
    /// Says that another message is to be sent, and when.
    pub(in crate::jetstream::store) const SCHEDULE: u8 = 64;
    /// How a content stands: not what it is.
    pub(in crate::jetstream::store) const FORM: u8 = COMPRESSED | SEALED;
}

/// Subject of an entry that is no more.
const DEAD: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Sequence within the chunk.
    offset: u16,
    flags: u8,
    subject: u32,
    size: u32,
    place: u32,
    time: u64,
}

impl Slot {
    fn entry(&self) -> Entry {
        Entry {
            subject: self.subject,
            size: self.size,
            place: self.place,
            flags: self.flags,
            time: self.time,
        }
    }

    fn lives(&self) -> bool {
        self.subject != DEAD
    }
}

#[derive(Debug, Default)]
struct Chunk {
    slots: Vec<Slot>,
    live: usize,
    /// All before this one are dead, so that the oldest is found at once.
    head: usize,
    /// Latest time of all that ever were in here: clocks are set back now and then.
    newest: u64,
}

impl Chunk {
    /// Index of the first slot at or after `offset`.
    fn position(&self, offset: u16) -> usize {
        // Where nothing was removed a message stands at its offset, counted from the first.
        let guess =
            usize::from(offset).wrapping_sub(self.slots.first().map_or(0, |it| it.offset.into()));
        match self.slots.get(guess) {
            Some(slot) if slot.offset == offset => guess,
            _ => self.slots.partition_point(|it| it.offset < offset),
        }
    }

    fn find(&self, offset: u16) -> Option<usize> {
        let at = self.position(offset);
        let slot = self.slots.get(at)?;
        (slot.offset == offset && slot.lives()).then_some(at)
    }

    fn remove(&mut self, offset: u16) -> Option<Entry> {
        let at = self.find(offset)?;
        let entry = self.slots[at].entry();
        self.slots[at].subject = DEAD;
        self.live -= 1;
        while self.slots.get(self.head).is_some_and(|it| !it.lives()) {
            self.head += 1;
        }
        if self.live < self.slots.len() / 2 {
            self.slots.retain(Slot::lives);
            self.head = 0;
            if self.slots.capacity() > 4 * self.slots.len() {
                self.slots.shrink_to(2 * self.slots.len());
            }
        }
        Some(entry)
    }
}

/// All messages of a store by sequence.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Chunks with a live entry, by sequence divided by [`CHUNK`].
    chunks: BTreeMap<u64, Chunk>,
    live: u64,
}

fn split(seq: u64) -> (u64, u16) {
    (seq / CHUNK, (seq % CHUNK) as u16)
}

impl Entries {
    pub(super) fn len(&self) -> u64 {
        self.live
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds an entry; `seq` is above all others.
    pub(super) fn push(&mut self, seq: u64, entry: Entry) {
        let (number, offset) = split(seq);
        let chunk = match self.chunks.last_entry() {
            Some(last) if *last.key() == number => last.into_mut(),
            _ => self.chunks.entry(number).or_default(),
        };
        debug_assert!(chunk.slots.last().is_none_or(|it| it.offset < offset));
        chunk.newest = chunk.newest.max(entry.time);
        chunk.slots.push(Slot {
            offset,
            flags: entry.flags,
            subject: entry.subject,
            size: entry.size,
            place: entry.place,
            time: entry.time,
        });
        chunk.live += 1;
        self.live += 1;
    }

    pub(super) fn get(&self, seq: u64) -> Option<Entry> {
        let (number, offset) = split(seq);
        let chunk = self.chunks.get(&number)?;
        chunk.find(offset).map(|at| chunk.slots[at].entry())
    }

    /// Says that a message stands elsewhere now.
    pub(super) fn set_place(&mut self, seq: u64, place: u32, form: u8) {
        let (number, offset) = split(seq);
        if let Some(chunk) = self.chunks.get_mut(&number)
            && let Some(at) = chunk.find(offset)
        {
            let slot = &mut chunk.slots[at];
            slot.place = place;
            slot.flags = slot.flags & !flag::FORM | form & flag::FORM;
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let (number, offset) = split(seq);
        let chunk = self.chunks.get_mut(&number)?;
        let entry = chunk.remove(offset)?;
        if chunk.live == 0 {
            self.chunks.remove(&number);
        }
        self.live -= 1;
        Some(entry)
    }

    /// Messages at or after `from`, in order.
    pub(super) fn forward(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let (first, offset) = split(from);
        self.chunks
            .range(first..)
            .flat_map(move |(&number, chunk)| {
                let at = match number == first {
                    true => chunk.position(offset).max(chunk.head),
                    false => chunk.head,
                };
                let slots = chunk.slots.get(at..).unwrap_or_default();
                slots
                    .iter()
                    .filter(|it| it.lives())
                    .map(move |it| (number * CHUNK + u64::from(it.offset), it.entry()))
            })
    }

    /// Messages at or before `up_to`, newest first.
    pub(super) fn backward(&self, up_to: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let (last, offset) = split(up_to);
        self.chunks
            .range(..=last)
            .rev()
            .flat_map(move |(&number, chunk)| {
                let end = match number == last {
                    true => chunk.slots.partition_point(|it| it.offset <= offset),
                    false => chunk.slots.len(),
                };
                let slots = &chunk.slots[..end];
                slots
                    .iter()
                    .rev()
                    .filter(|it| it.lives())
                    .map(move |it| (number * CHUNK + u64::from(it.offset), it.entry()))
            })
    }

    /// Number of messages at or after `from`.
    pub(super) fn count_from(&self, from: u64) -> u64 {
        let (first, offset) = split(from);
        let mut count = 0;
        for (&number, chunk) in self.chunks.range(first..) {
            count += match number == first && offset > 0 {
                true => {
                    let slots = &chunk.slots[chunk.position(offset)..];
                    slots.iter().filter(|it| it.lives()).count()
                }
                false => chunk.live,
            };
        }
        count as u64
    }

    /// The first message not older than `time`.
    pub(super) fn first_at(&self, time: u64) -> Option<u64> {
        for (&number, chunk) in &self.chunks {
            if chunk.newest < time {
                continue;
            }
            let slots = &chunk.slots[chunk.head..];
            if let Some(slot) = slots.iter().find(|it| it.lives() && it.time >= time) {
                return Some(number * CHUNK + u64::from(slot.offset));
            }
        }
        None
    }
}
