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
    Bitmap(Box<RoaringTreemap>),
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
            Self::Bitmap(bitmap) => bitmap.len(),
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        match self {
            Self::List(list) => list.first().copied(),
            Self::Bitmap(bitmap) => bitmap.min(),
        }
    }

    pub(super) fn last(&self) -> Option<u64> {
        match self {
            Self::List(list) => list.last().copied(),
            Self::Bitmap(bitmap) => bitmap.max(),
        }
    }

    /// Adds a sequence above all others.
    pub(super) fn push(&mut self, seq: u64) {
        debug_assert!(self.last().is_none_or(|last| last < seq));
        match self {
            Self::List(list) if list.len() < LIST_MAX => list.push(seq),
            Self::List(list) => {
                let mut bitmap: RoaringTreemap = list.iter().copied().collect();
                bitmap.insert(seq);
                *self = Self::Bitmap(Box::new(bitmap));
            }
            Self::Bitmap(bitmap) => {
                if bitmap.try_push(seq).is_err() {
                    bitmap.insert(seq);
                }
            }
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
            Self::Bitmap(bitmap) => {
                bitmap.remove(seq);
                // A quarter, so that a subject at the border does not change back and forth.
                if bitmap.len() <= LIST_MAX as u64 / 4 {
                    *self = Self::List(bitmap.iter().collect());
                }
            }
        }
    }

    /// Number of sequences at or above `from`.
    pub(super) fn count_from(&self, from: u64) -> u64 {
        match self {
            Self::List(list) => (list.len() - list.partition_point(|&it| it < from)) as u64,
            Self::Bitmap(bitmap) => bitmap.len() - below(bitmap, from),
        }
    }

    /// The first sequence at or above `from`.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        match self {
            Self::List(list) => list.get(list.partition_point(|&it| it < from)).copied(),
            Self::Bitmap(bitmap) => match bitmap.min() {
                Some(first) if from <= first => Some(first),
                _ => bitmap.select(below(bitmap, from)),
            },
        }
    }

    /// The last sequence at or below `up_to`.
    pub(super) fn prev(&self, up_to: u64) -> Option<u64> {
        match self {
            Self::List(list) => {
                let count = list.partition_point(|&it| it <= up_to);
                list[..count].last().copied()
            }
            Self::Bitmap(bitmap) => match bitmap.max() {
                Some(last) if last <= up_to => Some(last),
                _ => bitmap.select(bitmap.rank(up_to).checked_sub(1)?),
            },
        }
    }
}

fn below(bitmap: &RoaringTreemap, from: u64) -> u64 {
    from.checked_sub(1).map_or(0, |it| bitmap.rank(it))
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
