//! Published subjects and their ready delivery lists.
//!
//! Set-associative: a subject may sit in one of four places of its set, so a look-up touches one
//! line of tags and, where a tag is right, one slot. Keys and lists are reused in place: a miss
//! allocates nothing once the buffers have grown.
//!
//! A table that is too small loses entries instead of time. While it is small it grows at every
//! set that overflows; beyond that a subject is taken in, and the table grows, only for subjects
//! that come back soon: subjects seen once (replies, above all) pass by, and what is hot stays.
//! Measured with a million subjects in turn and four patterns: 126 ns a miss when every subject
//! was taken in, most of it cold cache lines, 35 ns when they pass by.
//!
//! Invalidation is exact and lazy. Each change of interest gets a number and its pattern is
//! remembered in a short ring; an entry remembers the number it was last known good at. A look-up
//! checks only the patterns changed since, and only against its own subject, so a service that
//! subscribes ten thousand times a second does not flush what others use.

use super::delivery_list::Delivery;
use super::subject;

/// Places a subject may sit in.
const WAYS: usize = 4;
/// Sets at the start. An account that publishes nothing should cost next to nothing.
const SETS_MIN: usize = 4;
/// Sets up to which the table grows for any subjects: 4,096 entries, which with short subjects
/// stay in a core's own cache.
const SETS_EAGER: usize = 1024;
/// Sets at most: 65,536 entries, 8 MiB of them without their buffers. More would live in memory
/// further away than the trie.
const SETS_MAX: usize = 16 * 1024;
const _: () = assert!(
    SETS_MIN.is_power_of_two() && SETS_MAX.is_power_of_two(),
    "masks"
);
const _: () = assert!(SETS_MIN <= SETS_EAGER && SETS_EAGER <= SETS_MAX);
/// Bytes at most of subjects and lists together: 65,536 entries of 256. A thousand subscribers of
/// `>` would make it half a gigabyte.
const HELD_MAX: usize = 16 << 20;
/// Longer subjects are looked up in the trie each time: they are rare and would hold much.
const SUBJECT_MAX: usize = 256;
/// The table grows beyond that if more than one in this many of the subjects it had to refuse
/// come back while they are remembered: then a table as many times as large would hold them.
const RETURN_WEIGHT: usize = 16;
/// Slots passed over by one look-up that finds too many bytes held.
const SWEEP: usize = 16;
/// Changed patterns remembered. An entry that missed more changes is looked up anew, which costs
/// about as much as this many comparisons.
const CHANGES: usize = 32;

/// What bounds a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// [`SETS_EAGER`].
    pub sets_eager: usize,
    /// [`SETS_MAX`], a power of two.
    pub sets_max: usize,
    /// [`HELD_MAX`], in bytes.
    pub held_max: usize,
}

/// Tags of the subjects of a set, and of subjects it did not take in. A tag is never 0.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))] // one cache line
struct Set {
    tags: [u32; WAYS],
    /// Receivers of each.
    fanouts: [u32; WAYS],
    /// Tags of subjects that passed by; the oldest is replaced.
    passed: [u32; WAYS],
    next_passed: u8,
    /// A bit for each way: found since it was last passed over? (Second chance.)
    recent: u8,
}
const _: () = assert!(size_of::<Set>() == 64);

#[derive(Debug, Default)]
struct Slot {
    hash: u64,
    /// Number of the last change this entry is known to be good at.
    good_at: u64,
    subject: Vec<u8>,
    delivery: Delivery,
    /// Bytes its buffers hold.
    held: usize,
}

/// See the module.
pub struct MatchCache {
    sets: Vec<Set>,
    slots: Vec<Slot>,
    hasher: ahash::RandomState,
    bounds: Bounds,
    /// Entries in use.
    entries: usize,
    /// Bytes all slots' buffers hold.
    held: usize,
    /// How much a bigger table would have helped since this one was made.
    pressure: usize,
    /// Where the next sweep begins.
    hand: usize,
    /// Changes so far; change number `n` is at `n % CHANGES`.
    changes: u64,
    changed: [Vec<u8>; CHANGES],
    /// The list of a subject that is not taken in.
    passing: Delivery,
    /// The slot found last, or `usize::MAX`: publishers mostly stay with their subject.
    last: usize,
}

/// Where a subject is, if it is.
pub struct Place {
    hash: u64,
    at: Option<usize>,
    good: bool,
}

impl Place {
    /// The slot of a list that can be used as it is.
    pub fn hit(&self) -> Option<usize> {
        self.at.filter(|_| self.good)
    }
}

impl Default for MatchCache {
    fn default() -> Self {
        Self::with_bounds(Bounds {
            sets_eager: SETS_EAGER,
            sets_max: SETS_MAX,
            held_max: HELD_MAX,
        })
    }
}

impl MatchCache {
    pub(super) fn with_bounds(bounds: Bounds) -> Self {
        let sets = SETS_MIN.min(bounds.sets_max);
        assert!(sets.is_power_of_two() && bounds.sets_max.is_power_of_two());
        Self {
            sets: vec![Set::default(); sets],
            slots: empty_slots(sets * WAYS),
            hasher: ahash::RandomState::new(),
            bounds,
            entries: 0,
            held: 0,
            pressure: 0,
            hand: 0,
            changes: 0,
            changed: std::array::from_fn(|_| Vec::new()),
            passing: Delivery::default(),
            last: usize::MAX,
        }
    }

    /// The slot found last, if it is this very subject's and still good.
    #[inline]
    pub fn again(&self, subject: &[u8]) -> Option<usize> {
        let slot = self.slots.get(self.last)?;
        (slot.good_at == self.changes && same(&slot.subject, subject)).then_some(self.last)
    }

    /// Looks for a subject.
    pub fn find(&mut self, subject: &[u8]) -> Place {
        let hash = self.hasher.hash_one(subject);
        let at = self.at(hash, subject);
        let good = at.is_some_and(|at| {
            self.sets[at / WAYS].recent |= 1 << (at % WAYS);
            self.still_good(at, subject)
        });
        if let Some(at) = at.filter(|_| good) {
            self.last = at;
        }
        Place { hash, at, good }
    }

    /// The list of a slot that was a hit.
    pub fn delivery(&self, at: usize) -> &Delivery {
        &self.slots[at].delivery
    }

    /// Has the list of a subject made that was not a hit, and keeps it if that is worth while.
    /// `needed` is about how many bytes the list takes.
    pub fn fill(
        &mut self,
        place: &Place,
        subject: &[u8],
        needed: usize,
        gather: impl FnOnce(&mut Delivery),
    ) -> &Delivery {
        self.last = usize::MAX; // slots move when the table grows, and this one changes
        let at = place.at.or_else(|| self.admit(place.hash, subject, needed));
        let at = at.filter(|&at| self.make_room(at, needed));
        let Some(at) = at else {
            gather(&mut self.passing);
            return &self.passing;
        };
        let (set, way) = (&mut self.sets[at / WAYS], at % WAYS);
        self.entries += usize::from(set.tags[way] == 0);
        set.tags[way] = tag(place.hash);
        set.recent |= 1 << way;
        let slot = &mut self.slots[at];
        slot.hash = place.hash;
        slot.good_at = self.changes;
        slot.subject.clear();
        slot.subject.extend_from_slice(subject);
        gather(&mut slot.delivery);
        set.fanouts[way] = u32::try_from(slot.delivery.fanout()).unwrap_or(u32::MAX);
        self.held -= slot.held;
        slot.held = slot.subject.capacity() + slot.delivery.held_bytes();
        self.held += slot.held;
        &slot.delivery
    }

    /// Interest in `pattern` has changed.
    pub fn invalidate(&mut self, pattern: &[u8]) {
        self.last = usize::MAX;
        if subject::is_literal(pattern) {
            // It is the only subject concerned: drop it, and nobody has to compare anything.
            let hash = self.hasher.hash_one(pattern);
            if let Some(at) = self.at(hash, pattern) {
                self.sets[at / WAYS].tags[at % WAYS] = 0;
                self.entries -= 1;
            }
            return;
        }
        self.changes += 1;
        let remembered = &mut self.changed[self.changes as usize % CHANGES];
        remembered.clear();
        remembered.extend_from_slice(pattern);
    }

    /// Subjects in it, the most receivers of any, and the receivers of all.
    pub fn figures(&self) -> (u64, u64, u64) {
        let (mut max, mut total) = (0, 0);
        for set in &self.sets {
            for (_, &fanout) in set.tags.iter().zip(&set.fanouts).filter(|it| *it.0 != 0) {
                max = max.max(fanout);
                total += u64::from(fanout);
            }
        }
        (self.entries as u64, u64::from(max), total)
    }

    /// Panics if the parts do not agree with each other.
    pub fn check_invariants(&self) {
        assert_eq!(self.slots.len(), self.sets.len() * WAYS);
        assert!(self.sets.len() <= self.bounds.sets_max);
        let held = |slot: &Slot| slot.subject.capacity() + slot.delivery.held_bytes();
        assert_eq!(self.held, self.slots.iter().map(held).sum::<usize>());
        let mut entries = 0;
        for (at, slot) in self.slots.iter().enumerate() {
            let found = self.sets[at / WAYS].tags[at % WAYS];
            if found == 0 {
                continue;
            }
            entries += 1;
            assert_eq!(slot.hash, self.hasher.hash_one(&slot.subject[..]));
            assert_eq!(found, tag(slot.hash));
            assert_eq!(self.at(slot.hash, &slot.subject), Some(at), "there once");
            assert!(slot.good_at <= self.changes);
        }
        assert_eq!(self.entries, entries);
    }

    fn set(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }

    fn at(&self, hash: u64, subject: &[u8]) -> Option<usize> {
        let (set, tag) = (self.set(hash), tag(hash));
        let tags = &self.sets[set].tags;
        let mut places = (0..WAYS).map(|way| (set * WAYS + way, tags[way]));
        places
            .find(|&(at, found)| found == tag && self.slots[at].subject == subject)
            .map(|(at, _)| at)
    }

    /// Did nothing change since that concerns the subject?
    fn still_good(&mut self, at: usize, subject: &[u8]) -> bool {
        let slot = &mut self.slots[at];
        if slot.good_at == self.changes {
            return true;
        }
        let good = self.changes - slot.good_at <= CHANGES as u64
            && (slot.good_at + 1..=self.changes).all(|change| {
                let pattern = &self.changed[change as usize % CHANGES];
                !subject::pattern_matches(pattern, subject)
            });
        if good {
            slot.good_at = self.changes;
        }
        good
    }

    /// A slot for a new subject, or none if it should pass by.
    fn admit(&mut self, hash: u64, subject: &[u8], needed: usize) -> Option<usize> {
        if subject.len() > SUBJECT_MAX {
            return None;
        }
        let index = self.set(hash);
        let choosy = self.sets.len() >= self.bounds.sets_eager;
        let full = self.held + needed > self.bounds.held_max;
        let set = &mut self.sets[index];
        if !full && let Some(free) = set.free() {
            return Some(index * WAYS + free);
        }
        if full || choosy {
            if !set.returns(tag(hash)) {
                self.pressure = self.pressure.saturating_sub(1);
                return None;
            }
            self.pressure += RETURN_WEIGHT;
        } else {
            self.pressure += 1;
        }
        if self.pressure > self.slots.len() && self.sets.len() < self.bounds.sets_max {
            self.grow();
        }
        let index = self.set(hash);
        Some(index * WAYS + self.sets[index].victim(self.pressure))
    }

    /// Makes the slot's present entry give way to one of `needed` bytes; false if that would be
    /// too much, and then the slot is empty.
    fn make_room(&mut self, at: usize, needed: usize) -> bool {
        for _ in 0..SWEEP {
            if self.has_room(at, needed) {
                return true;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            let set = &mut self.sets[self.hand / WAYS];
            let bit = 1 << (self.hand % WAYS);
            if set.recent & bit == 0 {
                self.release(self.hand);
            } else {
                set.recent &= !bit;
            }
        }
        let room = self.has_room(at, needed);
        if !room {
            self.release(at);
        }
        room
    }

    /// May the slot's buffers, used again, hold `needed` bytes?
    fn has_room(&self, at: usize, needed: usize) -> bool {
        self.held - self.slots[at].held + needed <= self.bounds.held_max
    }

    /// Empties a slot and frees its buffers.
    fn release(&mut self, at: usize) {
        let tag = &mut self.sets[at / WAYS].tags[at % WAYS];
        self.entries -= usize::from(*tag != 0);
        *tag = 0;
        let slot = std::mem::take(&mut self.slots[at]);
        self.held -= slot.held;
    }

    fn grow(&mut self) {
        self.pressure = 0;
        self.hand = 0;
        let sets = self.sets.len() * 2;
        let old_sets = std::mem::replace(&mut self.sets, vec![Set::default(); sets]);
        let old_slots = std::mem::replace(&mut self.slots, empty_slots(sets * WAYS));
        let used = old_sets
            .iter()
            .flat_map(|set| set.tags.iter().zip(&set.fanouts));
        for (slot, (&tag, &fanout)) in old_slots.into_iter().zip(used) {
            let index = self.set(slot.hash);
            let set = &mut self.sets[index];
            // Twice the sets: the four of an old set fit into the two new ones.
            match set.free() {
                Some(free) if tag != 0 => {
                    set.tags[free] = tag;
                    set.fanouts[free] = fanout;
                    self.slots[index * WAYS + free] = slot;
                }
                _ => {
                    self.held -= slot.held;
                    self.entries -= usize::from(tag != 0);
                }
            }
        }
    }
}

impl Set {
    fn free(&self) -> Option<usize> {
        self.tags.iter().position(|&tag| tag == 0)
    }

    /// Did this subject pass by lately? If not it is remembered.
    fn returns(&mut self, tag: u32) -> bool {
        if let Some(known) = self.passed.iter().position(|&passed| passed == tag) {
            self.passed[known] = 0;
            return true;
        }
        self.passed[usize::from(self.next_passed) % WAYS] = tag;
        self.next_passed = self.next_passed.wrapping_add(1);
        false
    }

    /// The way that gives way: a free one, else one not found lately, and if all were, any.
    fn victim(&mut self, any: usize) -> usize {
        if let Some(free) = self.free() {
            return free;
        }
        let stale = (0..WAYS).find(|way| self.recent & (1 << way) == 0);
        self.recent = 0;
        stale.unwrap_or(any % WAYS)
    }
}

fn empty_slots(count: usize) -> Vec<Slot> {
    let mut slots = Vec::new();
    slots.resize_with(count, Slot::default);
    slots
}

/// Are they equal? Subjects are short: eight bytes a step beat the call of a library function.
#[inline]
fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    let words = left_words.iter().zip(right_words);
    words
        .map(|(left, right)| u64::from_ne_bytes(*left) ^ u64::from_ne_bytes(*right))
        .fold(0, |differ, word| differ | word)
        == 0
        && left_rest
            .iter()
            .zip(right_rest)
            .all(|(left, right)| left == right)
}

fn tag(hash: u64) -> u32 {
    // The low bits choose the set.
    (hash >> 32) as u32 | 1
}
