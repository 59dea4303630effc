//! What was written or read lately, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

/// A place in the log: segment number, version, offset in its file.
pub(super) type Place = (u32, u32, u64);

/// Pieces of segments, the oldest going first.
pub(super) struct Cache {
    pieces: BTreeMap<Place, Bytes>,
    /// In the order they came; a piece that came again is in here twice.
    order: VecDeque<(Place, usize)>,
    size: usize,
    size_max: usize,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} pieces", self.size, self.pieces.len())
    }
}

impl Cache {
    pub(super) fn new(size_max: usize) -> Self {
        Self {
            pieces: BTreeMap::new(),
            order: VecDeque::new(),
            size: 0,
            size_max,
        }
    }

    /// Keeps a piece, and lets go of the oldest ones above the bound.
    pub(super) fn insert(&mut self, place: Place, bytes: Bytes) {
        let len = bytes.len();
        if let Some(old) = self.pieces.insert(place, bytes) {
            self.size -= old.len();
        }
        self.size += len;
        self.order.push_back((place, len));
        while self.size > self.size_max || self.order.len() > 2 * self.pieces.len() + 16 {
            let Some((oldest, len)) = self.order.pop_front() else {
                return;
            };
            if oldest == place {
                if self.order.is_empty() {
                    self.order.push_back((oldest, len));
                    return; // whoever asked for it shall find it, however small the bound
                }
                continue;
            }
            // One of another length came in its place since: that one has its turn later.
            if self.pieces.get(&oldest).is_some_and(|it| it.len() == len) {
                self.pieces.remove(&oldest);
                self.size -= len;
            }
        }
    }

    /// Bytes it keeps.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.order.clear();
        self.size = 0;
    }

    /// The bytes from `place` on, at least `len` of them.
    pub(super) fn find(&self, place: Place, len: usize) -> Option<Bytes> {
        let (number, version, offset) = place;
        let first = self.rest(place)?;
        if first.len() >= len {
            return Some(first);
        }
        // What was read in several pieces is put together.
        let mut all = Vec::with_capacity(len);
        all.extend_from_slice(&first);
        while all.len() < len {
            let rest = self.rest((number, version, offset + all.len() as u64))?;
            all.extend_from_slice(&rest[..rest.len().min(len - all.len())]);
        }
        Some(all.into())
    }

    /// What a piece has from `place` on; never empty.
    pub(super) fn rest(&self, place: Place) -> Option<Bytes> {
        let (number, version, offset) = place;
        let before = self.pieces.range((number, version, 0)..=place).rev();
        // The piece that begins last before it may end too soon where an older one does not.
        let rests = before.take(2).filter_map(|(&(_, _, start), bytes)| {
            let from = (offset - start) as usize;
            (from < bytes.len()).then(|| bytes.slice(from..))
        });
        rests.max_by_key(Bytes::len)
    }

    /// Forgets a file.
    pub(super) fn forget(&mut self, number: u32, version: u32) {
        let all = (number, version, 0)..=(number, version, u64::MAX);
        let places: Vec<Place> = self.pieces.range(all).map(|it| *it.0).collect();
        for place in places {
            if let Some(bytes) = self.pieces.remove(&place) {
                self.size -= bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_has_and_stays_within_its_bound() {
        let mut cache = Cache::new(100);
        let piece = |byte: u8| Bytes::from(vec![byte; 30]);
        cache.insert((1, 0, 0), piece(1));
        cache.insert((1, 0, 30), piece(2));
        cache.insert((1, 0, 30), Bytes::from(vec![3; 40]));
        assert_eq!(cache.find((1, 0, 31), 39), Some(Bytes::from(vec![3; 39])));
        assert_eq!(cache.find((1, 0, 31), 40), None);
        assert_eq!(cache.find((1, 1, 31), 1), None);
        cache.insert((1, 0, 70), piece(4));
        assert!(cache.find((1, 0, 30), 1).is_some());
        cache.insert((2, 0, 0), piece(5));
        assert_eq!(cache.find((1, 0, 0), 1), None, "the oldest went");
        cache.forget(1, 0);
        assert_eq!((cache.size, cache.find((1, 0, 70), 1)), (30, None));
        assert!(cache.find((2, 0, 29), 1).is_some());
    }
}
