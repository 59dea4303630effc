//! The subjects of a stream: by name, by number, and in the order of their tokens.
//!
//! The order makes a pattern cheap: all subjects below a token stand together, so the search
//! jumps from one token to the next as it would in a trie, without the trie's memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::filter::Filter;
use super::postings::Postings;
use crate::routing::subject;

/// One subject that has messages.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) name: Arc<[u8]>,
    pub(super) postings: Postings,
}

/// All subjects with messages.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    table: Vec<Subject>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    by_tokens: BTreeMap<Name, u32>,
    hasher: ahash::RandomState,
}

/// A name that sorts by its tokens.
#[derive(Debug)]
struct Name(Arc<[u8]>);

/// Bytes that sort as [`Name`]s do, owned or not.
trait Tokens {
    fn bytes(&self) -> &[u8];
}

impl Tokens for Name {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Tokens for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<'a> Borrow<dyn Tokens + 'a> for Name {
    fn borrow(&self) -> &(dyn Tokens + 'a) {
        self
    }
}

/// As if the dot came before every other byte.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| (byte != b'.', byte);
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((&a, &b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

impl PartialEq for dyn Tokens + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn Tokens + '_ {}

impl PartialOrd for dyn Tokens + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Tokens + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.bytes(), other.bytes())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl Subjects {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let same = |&id: &u32| *self.table[id as usize].name == *name;
        self.by_name.find(hash, same).copied()
    }

    /// A subject by its number, which [`Subjects::find`] or [`Subjects::insert`] gave.
    pub(super) fn at(&self, id: u32) -> &Subject {
        &self.table[id as usize]
    }

    /// The number of a subject, which is made if it is new; its postings must not stay empty.
    pub(super) fn insert(&mut self, name: &[u8]) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let name: Arc<[u8]> = name.into();
        let subject = Subject {
            name: Arc::clone(&name),
            postings: Postings::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.table[id as usize] = subject;
                id
            }
            None => {
                self.table.push(subject);
                (self.table.len() - 1) as u32
            }
        };
        let (table, hasher) = (&self.table, &self.hasher);
        let hash = hasher.hash_one(&*name);
        self.by_name
            .insert_unique(hash, id, |&id| hasher.hash_one(&*table[id as usize].name));
        self.by_tokens.insert(Name(name), id);
        id
    }

    pub(super) fn add(&mut self, id: u32, seq: u64) {
        self.table[id as usize].postings.push(seq);
    }

    /// Forgets a message of the subject, and the subject with its last one: true then.
    pub(super) fn remove(&mut self, id: u32, seq: u64) -> bool {
        let subject = &mut self.table[id as usize];
        subject.postings.remove(seq);
        if subject.postings.len() > 0 {
            return false;
        }
        let Subject { name, .. } = std::mem::take(subject);
        let hash = self.hasher.hash_one(&*name);
        if let Ok(found) = self.by_name.find_entry(hash, |&it| it == id) {
            found.remove();
        }
        self.by_tokens.remove(&Name(name));
        self.free.push(id);
        true
    }

    /// Calls `found` with the number of each subject in the filter, once each and in the order
    /// of their tokens for a single pattern, until it says false.
    pub(super) fn visit(&self, filter: &Filter, found: &mut dyn FnMut(u32) -> bool) {
        match filter {
            Filter::All => {
                self.by_tokens.values().all(|&id| found(id));
            }
            Filter::Literal(name) => {
                if let Some(id) = self.find(name) {
                    found(id);
                }
            }
            Filter::Patterns(patterns) => match &**patterns {
                [pattern] => {
                    self.visit_pattern(pattern, found);
                }
                several => {
                    let mut ids = Vec::new();
                    for pattern in several {
                        self.visit_pattern(pattern, &mut |id| {
                            ids.push(id);
                            true
                        });
                    }
                    ids.sort_unstable();
                    ids.dedup();
                    ids.into_iter().all(found);
                }
            },
        }
    }

    fn visit_pattern(&self, pattern: &[u8], found: &mut dyn FnMut(u32) -> bool) -> bool {
        let tokens: SmallVec<[&[u8]; 16]> = subject::tokens(pattern).collect();
        self.descend(&mut Vec::with_capacity(64), &tokens, found)
    }

    /// Visits what begins with `prefix` (nothing, or tokens with a dot after each) and goes on as
    /// `tokens` say. False if `found` wants no more.
    fn descend(
        &self,
        prefix: &mut Vec<u8>,
        tokens: &[&[u8]],
        found: &mut dyn FnMut(u32) -> bool,
    ) -> bool {
        let start = prefix.len();
        let wildcard = tokens.iter().position(|it| matches!(*it, b"*" | b">"));
        let (literal, rest) = tokens.split_at(wildcard.unwrap_or(tokens.len()));
        for token in literal {
            prefix.extend_from_slice(token);
            prefix.push(b'.');
        }
        let more = match rest {
            [] => self
                .find(&prefix[..prefix.len() - 1])
                .is_none_or(&mut *found),
            [b">"] => self
                .from(prefix)
                .take_while(|(name, _)| name.starts_with(prefix))
                .all(|(_, id)| found(id)),
            [_, rest @ ..] => self.each_token(prefix, rest, found),
        };
        prefix.truncate(start);
        more
    }

    /// Visits below each token that follows `prefix`.
    fn each_token(
        &self,
        prefix: &mut Vec<u8>,
        rest: &[&[u8]],
        found: &mut dyn FnMut(u32) -> bool,
    ) -> bool {
        let start = prefix.len();
        let mut seek = prefix.clone();
        'seek: loop {
            for (name, id) in self.from(&seek) {
                let Some(tail) = name.strip_prefix(&prefix[..start]) else {
                    return true;
                };
                let end = memchr::memchr(b'.', tail).unwrap_or(tail.len());
                if rest.is_empty() && end == tail.len() {
                    if !found(id) {
                        return false;
                    }
                    continue; // the next one stands beside it
                }
                if !rest.is_empty() {
                    prefix.extend_from_slice(&tail[..end]);
                    prefix.push(b'.');
                    let more = self.descend(prefix, rest, found);
                    prefix.truncate(start);
                    if !more {
                        return false;
                    }
                }
                // Past everything below this token: nothing but a dot sorts before a zero.
                seek.truncate(start);
                seek.extend_from_slice(&tail[..end]);
                seek.push(0);
                continue 'seek;
            }
            return true;
        }
    }

    /// Subjects from a place in the order on.
    fn from<'a>(&'a self, start: &[u8]) -> impl Iterator<Item = (&'a [u8], u32)> + use<'a> {
        let start: &dyn Tokens = &start;
        self.by_tokens
            .range::<dyn Tokens + '_, _>((Bound::Included(start), Bound::Unbounded))
            .map(|(name, &id)| (&*name.0, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_exactly_what_they_match() {
        let tokens: [&[u8]; 6] = [b"a", b"b", b"a-", b"\x00", b"a+b", b"zz"];
        let mut names: Vec<Vec<u8>> = Vec::new();
        for a in tokens {
            names.push(a.to_vec());
            for b in tokens {
                names.push([a, b].join(&b'.'));
                names.extend(tokens.iter().step_by(2).map(|c| [a, b, c].join(&b'.')));
            }
        }
        let mut subjects = Subjects::default();
        for (seq, name) in names.iter().enumerate() {
            let id = subjects.insert(name);
            subjects.add(id, seq as u64 + 1);
        }
        let parts: [&[u8]; 4] = [b"*", b">", b"a", b"a-"];
        let mut patterns: Vec<Vec<u8>> = parts.iter().map(|it| it.to_vec()).collect();
        for a in parts {
            for b in parts {
                patterns.push([a, b].join(&b'.'));
                patterns.extend(parts.iter().map(|c| [a, b, c].join(&b'.')));
            }
        }
        patterns.retain(|it| subject::is_valid_pattern(it));
        for pattern in patterns {
            let mut got: Vec<&[u8]> = Vec::new();
            subjects.visit_pattern(&pattern, &mut |id| {
                got.push(&subjects.at(id).name);
                true
            });
            let mut expected: Vec<&[u8]> = names.iter().map(|it| &it[..]).collect();
            expected.retain(|it| subject::pattern_matches(&pattern, it));
            expected.sort_by(|a, b| compare(a, b));
            assert_eq!(got, expected, "{}", pattern.escape_ascii());
        }
        for (seq, name) in names.iter().enumerate() {
            let id = subjects.find(name).expect("it is there");
            assert!(subjects.remove(id, seq as u64 + 1));
        }
        assert_eq!((subjects.len(), subjects.by_tokens.len()), (0, 0));
    }
}
