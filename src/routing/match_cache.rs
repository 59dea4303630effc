//! Published subjects and their ready delivery lists.
//!
//! Set-associative: a subject may sit in one of four places, so a look-up touches one hash and at
//! most four keys, and a table that is too small loses entries instead of time. Keys and lists
//! are reused in place: a miss allocates nothing once the buffers have grown.
//!
//! Invalidation is exact and lazy. Each change of interest gets a number and its pattern is
//! remembered in a short ring; an entry remembers the number it was last known good at. A look-up
//! checks only the patterns changed since, and only against its own subject, so a service that
//! subscribes ten thousand times a second does not flush what others use.

use super::interest::Delivery;
use super::subject;

/// Places a subject may sit in.
const WAYS: usize = 4;
/// Sets at the start: 64 x 4 entries, a few dozen KiB.
const SETS_MIN: usize = 64;
/// Sets at most: 65,536 entries. With short subjects about 10 MiB a shard; more would leave the
/// caches of the machine and be no faster than the trie.
const SETS_MAX: usize = 16 * 1024;
const _: () = assert!(SETS_MIN.is_power_of_two() && SETS_MAX.is_power_of_two());
/// Changed patterns remembered. An entry that missed more changes is looked up anew, which costs
/// about as much as this many comparisons.
const CHANGES: usize = 32;
/// Receivers a list's buffers keep room for while it is reused for other subjects.
const KEPT_RECEIVERS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Slot {
    hash: u64,
    subject: Vec<u8>,
    /// Number of the last change this entry is known to be good at.
    good_at: u64,
    used: bool,
    /// Has it been found since it was last passed over? (Second chance.)
    recent: bool,
    delivery: Delivery,
}

/// See the module.
pub struct MatchCache {
    slots: Vec<Slot>,
    hasher: ahash::RandomState,
    /// Entries in use.
    entries: usize,
    /// Replacements of used entries since the table last grew.
    replaced: usize,
    /// Changes so far; change number `n` is at `n % CHANGES`.
    changes: u64,
    changed: [Vec<u8>; CHANGES],
}

/// Where a subject is, or may be put.
pub struct Place {
    at: usize,
    hash: u64,
    /// The entry there is the subject's and good.
    pub hit: bool,
}

impl Default for MatchCache {
    fn default() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(SETS_MIN * WAYS, Slot::default);
        Self {
            slots,
            hasher: ahash::RandomState::new(),
            entries: 0,
            replaced: 0,
            changes: 0,
            changed: std::array::from_fn(|_| Vec::new()),
        }
    }
}

impl MatchCache {
    /// Looks for a subject.
    pub fn find(&mut self, subject: &[u8]) -> Place {
        let hash = self.hasher.hash_one(subject);
        let set = self.set(hash);
        let changes = self.changes;
        for at in set..set + WAYS {
            let slot = &mut self.slots[at];
            if slot.hash == hash && slot.used && slot.subject == subject {
                slot.recent = true;
                let good = slot.good_at == changes || {
                    let missed = changes - slot.good_at;
                    let unaffected = missed <= CHANGES as u64
                        && (slot.good_at + 1..=changes).all(|change| {
                            let pattern = &self.changed[change as usize % CHANGES];
                            !subject::pattern_matches(pattern, subject)
                        });
                    if unaffected {
                        slot.good_at = changes;
                    }
                    unaffected
                };
                return Place {
                    at,
                    hash,
                    hit: good,
                };
            }
        }
        Place {
            at: self.victim(set),
            hash,
            hit: false,
        }
    }

    /// The list at a place that was a hit or has been filled.
    pub fn delivery(&self, place: &Place) -> &Delivery {
        &self.slots[place.at].delivery
    }

    /// Puts a subject at its place and gives its empty list to be filled.
    pub fn fill(&mut self, place: &mut Place, subject: &[u8]) -> &mut Delivery {
        let replaces_other = {
            let slot = &self.slots[place.at];
            slot.used && slot.subject != subject
        };
        if replaces_other {
            self.replaced += 1;
            if self.replaced > self.slots.len() && self.slots.len() < SETS_MAX * WAYS {
                self.grow();
                place.at = self.victim(self.set(place.hash));
            }
        }
        let changes = self.changes;
        let slot = &mut self.slots[place.at];
        self.entries += usize::from(!slot.used);
        slot.used = true;
        slot.recent = true;
        slot.hash = place.hash;
        slot.good_at = changes;
        slot.subject.clear();
        slot.subject.extend_from_slice(subject);
        slot.delivery.clear(KEPT_RECEIVERS_MAX);
        &mut slot.delivery
    }

    /// Interest in `pattern` has changed.
    pub fn invalidate(&mut self, pattern: &[u8]) {
        if subject::is_literal(pattern) {
            // It is the only subject concerned: drop it, and nobody has to compare anything.
            let hash = self.hasher.hash_one(pattern);
            let set = self.set(hash);
            let found = self.slots[set..set + WAYS]
                .iter_mut()
                .find(|slot| slot.used && slot.hash == hash && slot.subject == pattern);
            if let Some(slot) = found {
                slot.used = false;
                self.entries -= 1;
            }
            // A published subject may hold wildcard characters as literals, and then this pattern
            // does not match it: nothing else to do.
            return;
        }
        self.changes += 1;
        let remembered = &mut self.changed[self.changes as usize % CHANGES];
        remembered.clear();
        remembered.extend_from_slice(pattern);
    }

    /// Subjects in it, the most receivers of any, and the receivers of all.
    pub fn figures(&self) -> (u64, u64, u64) {
        let fanouts = self
            .slots
            .iter()
            .filter(|slot| slot.used)
            .map(|slot| slot.delivery.fanout());
        let (mut max, mut total) = (0, 0);
        for fanout in fanouts {
            max = max.max(fanout);
            total += fanout;
        }
        (self.entries as u64, max, total)
    }

    fn set(&self, hash: u64) -> usize {
        (hash as usize & (self.slots.len() / WAYS - 1)) * WAYS
    }

    /// A place in the set for a new subject: a free one, else one not used lately.
    fn victim(&mut self, set: usize) -> usize {
        let ways = &mut self.slots[set..set + WAYS];
        if let Some(free) = ways.iter().position(|slot| !slot.used) {
            return set + free;
        }
        let stale = ways.iter().position(|slot| !slot.recent);
        for slot in ways.iter_mut() {
            slot.recent = false;
        }
        // All used lately: which one goes matters little, so the changes' count picks.
        set + stale.unwrap_or(self.replaced % WAYS)
    }

    fn grow(&mut self) {
        self.replaced = 0;
        let mut slots = Vec::new();
        slots.resize_with(self.slots.len() * 2, Slot::default);
        let old = std::mem::replace(&mut self.slots, slots);
        self.entries = 0;
        for slot in old.into_iter().filter(|slot| slot.used) {
            // Twice the sets: the four of an old set fit into the two new ones.
            let set = self.set(slot.hash);
            if let Some(free) = self.slots[set..set + WAYS]
                .iter_mut()
                .find(|slot| !slot.used)
            {
                *free = slot;
                self.entries += 1;
            }
        }
    }
}
