//! What a store knows of its messages without reading them, and the questions that answers.

use std::cell::Cell;

use super::entries::{Entries, Entry, flag};
use super::expiry::Expiry;
use super::filter::Filter;
use super::message::{StoreState, SubjectState};
use super::subjects::{Subject, Subjects};
use crate::time::WallTime;

/// Messages looked at one by one before the subjects are asked: mostly the next match is near.
const NEAR: usize = 256;

/// Sequences, subjects, times and counts of one stream.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Entries,
    subjects: Subjects,
    expiry: Expiry,
    bytes: u64,
    last_seq: u64,
    last_time: u64,
    /// First sequence while there is no message.
    empty_first: u64,
    /// Every message below this one is exempt from `max_age`.
    aged: Cell<u64>,
}

/// A message as the index takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry<'a> {
    pub(super) subject: &'a [u8],
    pub(super) size: u32,
    pub(super) place: u32,
    pub(super) flags: u8,
    pub(super) time: u64,
    /// When it goes, where it has a time of its own.
    pub(super) expires: Option<u64>,
}

impl Index {
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len()
    }

    pub(super) fn first_seq(&self) -> u64 {
        match self.entries.forward(0).next() {
            Some((seq, _)) => seq,
            None => self.empty_first,
        }
    }

    pub(super) fn state(&self) -> StoreState {
        let first = self.entries.forward(0).next();
        let first_seq = first.map_or(self.empty_first, |(seq, _)| seq);
        StoreState {
            messages: self.entries.len(),
            bytes: self.bytes,
            first_seq,
            first_time: WallTime(first.map_or(0, |(_, entry)| entry.time)),
            last_seq: self.last_seq,
            last_time: WallTime(self.last_time),
            deleted: match first {
                Some((seq, _)) => self.last_seq - seq + 1 - self.entries.len(),
                None => 0,
            },
            subjects: self.subjects.len() as u64,
        }
    }

    /// Adds a message; `seq` is above the last sequence.
    pub(super) fn insert(&mut self, seq: u64, new: NewEntry<'_>) -> Entry {
        let subject = self.subjects.insert(new.subject);
        self.insert_of(seq, new, subject)
    }

    fn insert_of(&mut self, seq: u64, new: NewEntry<'_>, subject: u32) -> Entry {
        assert!(seq > self.last_seq, "sequences only grow");
        self.subjects.add(subject, seq);
        if let Some(time) = new.expires {
            self.expiry.insert(seq, time);
        }
        let entry = Entry {
            subject,
            size: new.size,
            place: new.place,
            flags: new.flags,
            time: new.time,
        };
        self.entries.push(seq, entry);
        self.bytes += u64::from(new.size);
        self.last_seq = seq;
        self.last_time = new.time;
        entry
    }

    /// The same for a subject whose number may be known from the last time, which it is then.
    pub(super) fn insert_known(
        &mut self,
        seq: u64,
        new: NewEntry<'_>,
        known: &mut Option<u32>,
    ) -> Entry {
        let number = match *known {
            Some(number) => number,
            None => self.subjects.insert(new.subject),
        };
        *known = Some(number);
        self.insert_of(seq, new, number)
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(seq)?;
        self.subjects.remove(entry.subject, seq);
        if entry.flags & flag::TTL != 0 {
            self.expiry.remove(seq);
        }
        self.bytes -= u64::from(entry.size);
        if self.entries.len() == 0 {
            self.empty_first = self.last_seq + 1;
        }
        Some(entry)
    }

    /// Takes all messages out.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.subjects.clear();
        self.expiry.clear();
        self.bytes = 0;
        self.empty_first = self.last_seq + 1;
    }

    /// Uses up all sequences to `up_to` without messages.
    pub(super) fn skip(&mut self, up_to: u64, time: Option<u64>) {
        self.last_seq = self.last_seq.max(up_to);
        if self.entries.len() == 0 {
            self.empty_first = self.last_seq + 1;
        }
        if let Some(time) = time {
            self.last_time = time;
        }
    }

    pub(super) fn entry(&self, seq: u64) -> Option<Entry> {
        self.entries.get(seq)
    }

    /// Says that a message stands elsewhere now, in this form.
    pub(super) fn set_place(&mut self, seq: u64, place: u32, form: u8) {
        self.entries.set_place(seq, place, form);
    }

    pub(super) fn forward(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.entries.forward(from)
    }

    pub(super) fn subject_at(&self, number: u32) -> &Subject {
        self.subjects.at(number)
    }

    pub(super) fn subject(&self, name: &[u8]) -> Option<SubjectState> {
        state_of(self.subjects.at(self.subjects.find(name)?))
    }

    pub(super) fn subjects<'a>(
        &'a self,
        filter: &Filter,
    ) -> impl Iterator<Item = (&'a [u8], SubjectState)> + use<'a> {
        let mut numbers = Vec::new();
        self.subjects.visit(filter, &mut |number| {
            numbers.push(number);
            true
        });
        numbers.into_iter().filter_map(|number| {
            let subject = self.subjects.at(number);
            Some((&*subject.name, state_of(subject)?))
        })
    }

    pub(super) fn next_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        match filter {
            Filter::All => self.entries.forward(from).next().map(|(seq, _)| seq),
            Filter::Literal(name) => {
                let number = self.subjects.find(name)?;
                self.subjects.at(number).postings.next(from)
            }
            Filter::Patterns(_) => {
                let mut entries = self.entries.forward(from);
                match self.search(entries.by_ref().take(NEAR), filter) {
                    Some(found) => Some(found),
                    None => {
                        let (rest, _) = entries.next()?;
                        self.far_match(rest, filter)
                    }
                }
            }
        }
    }

    /// The next match where none is near: by subjects if they are few, else by messages.
    fn far_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        // A look into a subject's postings costs about as much as ten messages looked at.
        let most = (self.entries.count_from(from) / 10).max(NEAR as u64);
        let (mut visited, mut best) = (0, None);
        self.subjects.visit(filter, &mut |number| {
            visited += 1;
            let next = self.subjects.at(number).postings.next(from);
            best = [best, next].into_iter().flatten().min();
            visited <= most
        });
        match visited <= most {
            true => best,
            false => self.search(self.entries.forward(from), filter),
        }
    }

    /// The first of `entries` whose subject the filter matches.
    fn search(
        &self,
        mut entries: impl Iterator<Item = (u64, Entry)>,
        filter: &Filter,
    ) -> Option<u64> {
        // Messages of one subject often follow each other.
        let mut judged = (u32::MAX, false);
        entries
            .find(|(_, entry)| {
                if judged.0 != entry.subject {
                    let name = &self.subjects.at(entry.subject).name;
                    judged = (entry.subject, filter.matches(name));
                }
                judged.1
            })
            .map(|(seq, _)| seq)
    }

    pub(super) fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64> {
        match filter {
            Filter::All => self.entries.backward(up_to).next().map(|(seq, _)| seq),
            Filter::Literal(name) => {
                let number = self.subjects.find(name)?;
                self.subjects.at(number).postings.prev(up_to)
            }
            Filter::Patterns(_) => {
                let mut entries = self.entries.backward(up_to);
                self.search(entries.by_ref().take(NEAR), filter)
                    .or_else(|| {
                        let (rest, _) = entries.next()?;
                        self.last_per_subject(filter, rest).last().copied()
                    })
            }
        }
    }

    pub(super) fn count(&self, from: u64, filter: &Filter) -> u64 {
        if let Filter::All = filter {
            return match from <= self.first_seq() {
                true => self.entries.len(),
                false => self.entries.count_from(from),
            };
        }
        let mut count = 0;
        self.subjects.visit(filter, &mut |number| {
            count += self.subjects.at(number).postings.count_from(from);
            true
        });
        count
    }

    pub(super) fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64> {
        let mut last = Vec::new();
        self.subjects.visit(filter, &mut |number| {
            last.extend(self.subjects.at(number).postings.prev(up_to));
            true
        });
        last.sort_unstable();
        last
    }

    pub(super) fn deleted(&self) -> Vec<u64> {
        let mut deleted = Vec::new();
        let mut next = self.first_seq();
        for (seq, _) in self.entries.forward(0) {
            deleted.extend(next..seq);
            next = seq + 1;
        }
        if self.entries.len() > 0 {
            deleted.extend(next..=self.last_seq);
        }
        deleted
    }

    pub(super) fn time_to_seq(&self, time: WallTime) -> u64 {
        self.entries.first_at(time.0).unwrap_or(self.last_seq + 1)
    }

    /// A message that is to go by now: too old (came at `oldest` or before), or its own time is over.
    pub(super) fn due(&self, now: u64, oldest: Option<u64>) -> Option<u64> {
        if let Some((time, seq)) = self.expiry.first()
            && time <= now
        {
            return Some(seq);
        }
        let (seq, entry) = self.oldest()?;
        oldest.is_some_and(|it| entry.time <= it).then_some(seq)
    }

    /// When the next message goes, where messages live for `max_age`.
    pub(super) fn next_due(&self, max_age: Option<u64>) -> Option<u64> {
        let own = self.expiry.first().map(|(time, _)| time);
        let aged = max_age.and_then(|age| Some(self.oldest()?.1.time.saturating_add(age)));
        [own, aged].into_iter().flatten().min()
    }

    /// The oldest message that ages. Those exempt are passed once.
    fn oldest(&self) -> Option<(u64, Entry)> {
        let found = self
            .entries
            .forward(self.aged.get())
            .find(|(_, entry)| entry.flags & flag::FOREVER == 0);
        self.aged
            .set(found.map_or(self.last_seq + 1, |(seq, _)| seq));
        found
    }

    /// The time a message carries to go.
    pub(super) fn expires(&self, seq: u64) -> Option<u64> {
        self.expiry.of(seq)
    }
}

fn state_of(subject: &Subject) -> Option<SubjectState> {
    Some(SubjectState {
        messages: subject.postings.len(),
        first: subject.postings.first()?,
        last: subject.postings.last()?,
    })
}
