//! A store that keeps everything in a list and asks each message: slow, and obviously right.

use std::time::Duration;

use super::filter::Filter;
use super::message::{Append, Lifetime, StorageKind, StoreState, SubjectState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NaiveMessage {
    pub(super) seq: u64,
    pub(super) subject: Vec<u8>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) time: u64,
    pub(super) lifetime: Lifetime,
    pub(super) marker: bool,
    pub(super) schedule: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Naive {
    pub(super) kind: StorageKind,
    pub(super) messages: Vec<NaiveMessage>,
    pub(super) last_seq: u64,
    pub(super) last_time: u64,
    pub(super) empty_first: u64,
}

impl Naive {
    pub(super) fn new(kind: StorageKind) -> Self {
        Self {
            kind,
            messages: Vec::new(),
            last_seq: 0,
            last_time: 0,
            empty_first: 0,
        }
    }

    pub(super) fn append(&mut self, message: Append<'_>) -> u64 {
        self.last_seq += 1;
        self.last_time = message.time.0;
        self.messages.push(NaiveMessage {
            seq: self.last_seq,
            subject: message.subject.to_vec(),
            headers: message.headers.to_vec(),
            payload: message.payload.to_vec(),
            time: message.time.0,
            lifetime: message.lifetime,
            marker: message.marker,
            schedule: message.schedule,
        });
        self.last_seq
    }

    /// Removes those `go` says yes to, first ones first; how many.
    pub(super) fn retain(&mut self, mut go: impl FnMut(&NaiveMessage) -> bool) -> u64 {
        let before = self.messages.len();
        self.messages.retain(|it| !go(it));
        if self.messages.is_empty() && before > 0 {
            self.empty_first = self.last_seq + 1;
        }
        (before - self.messages.len()) as u64
    }

    pub(super) fn skip(&mut self, up_to: u64) {
        self.last_seq = self.last_seq.max(up_to);
        if self.messages.is_empty() {
            self.empty_first = self.last_seq + 1;
        }
    }

    pub(super) fn purge(&mut self, filter: &Filter, up_to: u64, keep: u64) -> u64 {
        if up_to == 1 {
            return 0;
        }
        let matching = self.of(filter).count() as u64;
        let mut most = matching.saturating_sub(keep);
        let purged = self.retain(|it| {
            let go = most > 0 && (up_to == 0 || it.seq < up_to) && filter.matches(&it.subject);
            most -= u64::from(go);
            go
        });
        if *filter == Filter::All && keep == 0 && (up_to == 0 || up_to > self.last_seq) {
            self.skip(up_to.max(1) - 1);
        }
        purged
    }

    pub(super) fn gone_by(message: &NaiveMessage, now: u64, max_age: Option<Duration>) -> bool {
        let aged = max_age.is_some_and(|age| message.time + age.as_nanos() as u64 <= now);
        match message.lifetime {
            Lifetime::Forever => false,
            Lifetime::Stream => aged,
            Lifetime::For(ttl) => aged || message.time + ttl.as_nanos() as u64 <= now,
        }
    }

    pub(super) fn of<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl DoubleEndedIterator<Item = &'a NaiveMessage> {
        self.messages
            .iter()
            .filter(|it| filter.matches(&it.subject))
    }

    pub(super) fn state(&self) -> StoreState {
        let first = self.messages.first();
        let mut subjects: Vec<&[u8]> = self.messages.iter().map(|it| &it.subject[..]).collect();
        subjects.sort();
        subjects.dedup();
        let size = |it: &NaiveMessage| {
            let (subject, headers) = (it.subject.len(), it.headers.len());
            self.kind.message_size(subject, headers, it.payload.len())
        };
        StoreState {
            messages: self.messages.len() as u64,
            bytes: self.messages.iter().map(size).sum(),
            first_seq: first.map_or(self.empty_first, |it| it.seq),
            first_time: crate::time::WallTime(first.map_or(0, |it| it.time)),
            last_seq: self.last_seq,
            last_time: crate::time::WallTime(self.last_time),
            deleted: self.deleted().len() as u64,
            subjects: subjects.len() as u64,
        }
    }

    pub(super) fn deleted(&self) -> Vec<u64> {
        let Some(first) = self.messages.first() else {
            return Vec::new();
        };
        let there: std::collections::HashSet<u64> = self.messages.iter().map(|it| it.seq).collect();
        let all = first.seq..=self.last_seq;
        all.filter(|seq| !there.contains(seq)).collect()
    }

    pub(super) fn subject(&self, name: &[u8]) -> Option<SubjectState> {
        let filter = Filter::Literal(name.into());
        Some(SubjectState {
            messages: self.of(&filter).count() as u64,
            first: self.of(&filter).next()?.seq,
            last: self.of(&filter).next_back()?.seq,
        })
    }
}
