//! Many patterns against one subject: a trie of their tokens, built once and then only read.

use smallvec::{SmallVec, smallvec};

use crate::routing::subject::tokens;

/// Patterns, each with a number of the owner's choice.
///
/// A lookup visits only nodes whose tokens match, so it costs about the subject's tokens however
/// many patterns there are; at most it visits every node once.
#[derive(Debug)]
pub(super) struct PatternSet {
    /// The first is the root.
    nodes: Vec<Node>,
}

/// What may follow a beginning of patterns.
#[derive(Debug, Default)]
struct Node {
    /// By token, sorted.
    literals: Vec<(Box<[u8]>, u32)>,
    /// After `*`.
    partial: Option<u32>,
    /// Numbers of the patterns that end here with `>`.
    full: Vec<u32>,
    /// Numbers of the patterns that end here without.
    ends: Vec<u32>,
}

impl Default for PatternSet {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl PatternSet {
    /// Adds a valid pattern.
    pub(super) fn insert(&mut self, pattern: &[u8], number: u32) {
        let mut at = 0;
        for token in tokens(pattern) {
            if token == b">" {
                return self.nodes[at].full.push(number);
            }
            at = self.child_or_new(at, token) as usize;
        }
        self.nodes[at].ends.push(number);
    }

    fn child_or_new(&mut self, at: usize, token: &[u8]) -> u32 {
        // A node takes at least one byte of the configuration file: they fit.
        let new = self.nodes.len() as u32;
        let node = &mut self.nodes[at];
        let child = if token == b"*" {
            *node.partial.get_or_insert(new)
        } else {
            match node.literals.binary_search_by(|(it, _)| (**it).cmp(token)) {
                Ok(found) => node.literals[found].1,
                Err(place) => {
                    node.literals.insert(place, (token.into(), new));
                    new
                }
            }
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Calls `accept` with the number of each pattern that matches `subject`, in no order, until
    /// it says yes, and tells whether it did.
    ///
    /// Wildcard characters in `subject` are literals, as for
    /// [`pattern_matches`](crate::routing::subject::pattern_matches); a subject with an empty
    /// token matches nothing.
    pub(super) fn find(&self, subject: &[u8], mut accept: impl FnMut(u32) -> bool) -> bool {
        if tokens(subject).any(<[u8]>::is_empty) {
            return false;
        }
        // Deeper nests of wildcards than this are possible and cost an allocation.
        let mut open: SmallVec<[(u32, &[u8]); 8]> = smallvec![(0, subject)];
        while let Some((at, rest)) = open.pop() {
            let node = &self.nodes[at as usize];
            if node.full.iter().any(|&number| accept(number)) {
                return true;
            }
            let (token, rest) = match memchr::memchr(b'.', rest) {
                Some(dot) => (&rest[..dot], Some(&rest[dot + 1..])),
                None => (rest, None),
            };
            let literal = node
                .literals
                .binary_search_by(|(it, _)| (**it).cmp(token))
                .ok()
                .map(|found| node.literals[found].1);
            for child in [literal, node.partial].into_iter().flatten() {
                match rest {
                    Some(rest) => open.push((child, rest)),
                    None => {
                        let ends = &self.nodes[child as usize].ends;
                        if ends.iter().any(|&number| accept(number)) {
                            return true;
                        }
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::naive::{Dice, matches, seeds};

    fn found(set: &PatternSet, subject: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        let stopped = set.find(subject.as_bytes(), |number| {
            numbers.push(number);
            false
        });
        assert!(!stopped);
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn finds_what_a_list_finds() {
        for seed in seeds() {
            let mut dice = Dice::new(seed);
            let patterns = (0..dice.below(40))
                .map(|_| dice.pattern())
                .collect::<Vec<_>>();
            let mut set = PatternSet::default();
            for (number, pattern) in patterns.iter().enumerate() {
                set.insert(pattern.as_bytes(), number as u32);
            }
            for _ in 0..50 {
                // Patterns too: what is asked about a subscription is its pattern.
                let subject = dice.pattern();
                let expected = (0u32..)
                    .zip(&patterns)
                    .filter(|(_, pattern)| matches(pattern, &subject))
                    .map(|(number, _)| number)
                    .collect::<Vec<_>>();
                assert_eq!(
                    found(&set, &subject),
                    expected,
                    "seed {seed}: {subject} in {patterns:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_matches_an_empty_token() {
        let mut set = PatternSet::default();
        for (number, pattern) in [">", "a.>", "*.*", "a.*.b"].iter().enumerate() {
            set.insert(pattern.as_bytes(), number as u32);
        }
        for subject in ["", ".", "a.", ".a", "a..b", "a.b."] {
            assert_eq!(found(&set, subject), [0; 0], "{subject}");
        }
        assert_eq!(found(&set, "a.x.b"), [0, 1, 3]);
    }

    /// Depth comes from the file, and costs no stack.
    #[test]
    fn patterns_may_be_very_deep() {
        let deep = vec!["*"; 100_000].join(".");
        let mut set = PatternSet::default();
        set.insert(deep.as_bytes(), 7);
        assert_eq!(found(&set, &deep), [7]);
        assert_eq!(found(&set, &deep[2..]), [0; 0]);
    }
}
