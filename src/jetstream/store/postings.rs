//! The sequences of one subject, in order.

use roaring::RoaringTreemap;
use smallvec::SmallVec;

/// Sequences kept as a plain list; beyond, a bitmap is smaller and removes from its middle
/// without moving the rest.
const LIST_MAX: usize = 64;

/// A sorted set of sequences: two need no memory of their own, many dense ones a bit each.
#[derive(Debug)]
pub(super) enum Postings {
    List(SmallVec<[u64; 2]>),
    Bitmap(Box<Dense>),
}

/// A bitmap that knows its ends and its size: asking a bitmap for them walks through it, and every
/// publish does.
#[derive(Debug)]
pub(super) struct Dense {
    bitmap: RoaringTreemap,
    len: u64,
    first: u64,
    last: u64,
}

impl Dense {
    /// Of sorted sequences, one at least.
    fn of(list: &[u64]) -> Self {
        Self {
            bitmap: list.iter().copied().collect(),
            len: list.len() as u64,
            first: list.first().copied().unwrap_or(0),
            last: list.last().copied().unwrap_or(0),
        }
    }

    fn push(&mut self, seq: u64) {
        if self.bitmap.try_push(seq).is_err() {
            self.bitmap.insert(seq);
        }
        self.len += 1;
        self.last = seq;
    }

    fn remove(&mut self, seq: u64) {
        if !self.bitmap.remove(seq) {
            return;
        }
        self.len -= 1;
        // Mostly the neighbour is the new end.
        if seq == self.first {
            self.first = match self.bitmap.contains(seq + 1) {
                true => seq + 1,
                false => self.bitmap.min().unwrap_or(0),
            };
        }
        if seq == self.last && self.len > 0 {
            self.last = match self.bitmap.contains(seq - 1) {
                true => seq - 1,
                false => self.bitmap.max().unwrap_or(0),
            };
        }
    }

    fn below(&self, from: u64) -> u64 {
        if from <= self.first {
            0
        } else if from > self.last {
            self.len
        } else {
            self.bitmap.rank(from - 1)
        }
    }
}

impl Default for Postings {
    fn default() -> Self {
        Self::List(SmallVec::new())
    }
}

impl Postings {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::List(list) => list.len() as u64,
            Self::Bitmap(dense) => dense.len,
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        match self {
            Self::List(list) => list.first().copied(),
            Self::Bitmap(dense) => Some(dense.first),
        }
    }

    pub(super) fn last(&self) -> Option<u64> {
        match self {
            Self::List(list) => list.last().copied(),
            Self::Bitmap(dense) => Some(dense.last),
        }
    }

    /// Adds a sequence above all others.
    pub(super) fn push(&mut self, seq: u64) {
        debug_assert!(self.last().is_none_or(|last| last < seq));
        match self {
            Self::List(list) if list.len() < LIST_MAX => list.push(seq),
            Self::List(list) => {
                let mut dense = Dense::of(list);
                dense.push(seq);
                *self = Self::Bitmap(Box::new(dense));
            }
            Self::Bitmap(dense) => dense.push(seq),
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
        match self {
            Self::List(list) => {
                if let Ok(at) = list.binary_search(&seq) {
                    list.remove(at);
                }
                // A subject that had many and has few now gives its list back.
                if list.spilled() && list.len() <= 2 {
                    list.shrink_to_fit();
                }
            }
            Self::Bitmap(dense) => {
                dense.remove(seq);
                // A quarter, so that a subject at the border does not change back and forth.
                if dense.len <= LIST_MAX as u64 / 4 {
                    *self = Self::List(dense.bitmap.iter().collect());
                }
            }
        }
    }

    /// Number of sequences at or above `from`.
    pub(super) fn count_from(&self, from: u64) -> u64 {
        match self {
            Self::List(list) => (list.len() - list.partition_point(|&it| it < from)) as u64,
            Self::Bitmap(dense) => dense.len - dense.below(from),
        }
    }

    /// The first sequence at or above `from`.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        match self {
            Self::List(list) => list.get(list.partition_point(|&it| it < from)).copied(),
            Self::Bitmap(dense) if from <= dense.first => Some(dense.first),
            Self::Bitmap(dense) if dense.bitmap.contains(from) => Some(from),
            Self::Bitmap(dense) if from > dense.last => None,
            Self::Bitmap(dense) => dense.bitmap.select(dense.below(from)),
        }
    }

    /// The last sequence at or below `up_to`.
    pub(super) fn prev(&self, up_to: u64) -> Option<u64> {
        match self {
            Self::List(list) => {
                let count = list.partition_point(|&it| it <= up_to);
                list[..count].last().copied()
            }
            Self::Bitmap(dense) if up_to >= dense.last => Some(dense.last),
            Self::Bitmap(dense) if dense.bitmap.contains(up_to) => Some(up_to),
            Self::Bitmap(dense) => dense
                .bitmap
                .select(dense.bitmap.rank(up_to).checked_sub(1)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_sorted_set() {
        for step in [1, 3, 70_000] {
            let mut postings = Postings::default();
            let mut naive = BTreeSet::new();
            let check = |postings: &Postings, naive: &BTreeSet<u64>| {
                assert_eq!(postings.len(), naive.len() as u64);
                assert_eq!(postings.first(), naive.first().copied());
                assert_eq!(postings.last(), naive.last().copied());
                for probe in (0..220 * step).step_by(7 * step as usize / 2 + 1) {
                    let after = naive.range(probe..);
                    assert_eq!(postings.next(probe), after.clone().next().copied());
                    assert_eq!(postings.count_from(probe), after.count() as u64);
                    let before = naive.range(..=probe).next_back().copied();
                    assert_eq!(postings.prev(probe), before, "{step} {probe}");
                }
            };
            for it in 1..=200 {
                postings.push(it * step);
                naive.insert(it * step);
                check(&postings, &naive);
            }
            for it in 1..=200 {
                let seq = it * 77 % 201 * step;
                postings.remove(seq);
                naive.remove(&seq);
                check(&postings, &naive);
            }
            assert_eq!(postings.len(), 0);
        }
    }
}
