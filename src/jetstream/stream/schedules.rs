//! The schedules of a stream, by when they are due, as far as their messages are there still.
//!
//! The messages themselves are what is kept: after a start the store says which they are. Beside
//! them stands, for those that repeat, when they are due next.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::headers;
use super::schedule::Schedule;
use super::stream::Stream;
use crate::jetstream::store::{Fetch, Filter, Store};
use crate::protocol::headers::get;
use crate::time::WallTime;

/// Front of the name of the record that says when a schedule is due next.
const RECORD: &str = "schedule.";
/// Messages looked at in one go when schedules are found again.
const LOOK_AT: usize = 1024;
/// Schedules before it is worth looking for those whose messages have gone.
const SWEEP_MIN: usize = 1024;

/// A schedule that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// The sequence of its message.
    pub seq: u64,
    /// When it is due.
    pub due: WallTime,
    /// When it is tried: later, where it was tried in vain.
    try_at: WallTime,
    /// There is a record of when it is due.
    kept: bool,
}

/// Schedules that are waited for, one a subject.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_subject: HashMap<Bytes, Waiting, ahash::RandomState>,
    by_time: BTreeMap<(WallTime, u64), Bytes>,
    /// Those whose messages have gone are looked for when there are so many.
    sweep_at: usize,
    /// Schedules of before the start that are still to be found.
    unread: Option<Unread>,
    /// The one due first is being read from the disk, which tells when that is done.
    pub(super) reading: bool,
}

/// How far a stream has come with finding its schedules.
#[derive(Debug)]
struct Unread {
    /// The sequence to go on with.
    next: u64,
    /// When those that repeat are due, by their sequences.
    due: HashMap<u64, WallTime>,
}

impl Schedules {
    /// The first one to be tried by now.
    pub fn first(&self, now: WallTime) -> Option<(Bytes, Waiting)> {
        let ((at, _), subject) = self.by_time.first_key_value()?;
        let waiting = self.by_subject.get(subject)?;
        (*at <= now).then(|| (subject.clone(), *waiting))
    }

    /// When the next one is to be tried.
    pub fn next(&self) -> Option<WallTime> {
        let first = self.by_time.first_key_value().filter(|_| !self.reading);
        first.map(|((at, _), _)| *at)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_subject.len()
    }

    fn insert(&mut self, subject: Bytes, waiting: Waiting) {
        self.by_time
            .insert((waiting.try_at, waiting.seq), subject.clone());
        self.by_subject.insert(subject, waiting);
    }

    fn remove(&mut self, subject: &[u8]) -> Option<Waiting> {
        let waiting = self.by_subject.remove(subject)?;
        self.by_time.remove(&(waiting.try_at, waiting.seq));
        Some(waiting)
    }

    /// Tries one again later.
    pub fn postpone(&mut self, subject: &Bytes, until: WallTime) {
        if let Some(waiting) = self.remove(subject) {
            let try_at = until;
            self.insert(subject.clone(), Waiting { try_at, ..waiting });
        }
    }
}

fn record(seq: u64) -> String {
    format!("{RECORD}{seq}")
}

impl Stream {
    /// Waits for a schedule that has been stored, or no more for one that was replaced.
    pub(super) fn note_schedule(
        &mut self,
        subject: &[u8],
        seq: u64,
        (schedule, block): (Option<&Schedule>, &[u8]),
        now: WallTime,
    ) {
        if !self.config.allow_msg_schedules {
            return;
        }
        if let Some(due) = schedule.and_then(|it| it.after(now)) {
            self.wait_for(subject, seq, due, false);
        } else if !self.schedules.by_subject.is_empty() && is_of_no_schedule(block) {
            self.forget_schedule(subject);
        }
    }

    fn wait_for(&mut self, subject: &[u8], seq: u64, due: WallTime, kept: bool) {
        self.forget_schedule(subject);
        self.sweep_schedules();
        let waiting = Waiting {
            seq,
            due,
            try_at: due,
            kept,
        };
        let subject = Bytes::copy_from_slice(subject);
        self.schedules.insert(subject, waiting);
    }

    /// A schedule that repeats has been sent: when it is due next.
    pub(super) fn repeat_schedule(&mut self, subject: &[u8], seq: u64, due: WallTime) {
        if self.schedules.remove(subject).is_some() {
            self.store
                .put_state(record(seq).as_bytes(), due.0.to_string().as_bytes());
            self.wait_for(subject, seq, due, true);
        }
    }

    /// Waits for the schedule of a subject no more.
    pub(super) fn forget_schedule(&mut self, subject: &[u8]) {
        if let Some(gone) = self.schedules.remove(subject)
            && gone.kept
        {
            self.store.remove_state(record(gone.seq).as_bytes());
        }
    }

    /// Forgets those whose messages have gone, once there may be many.
    fn sweep_schedules(&mut self) {
        let known = self.schedules.by_subject.len();
        if known < self.schedules.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let all = self.schedules.by_subject.iter();
        let gone: Vec<Bytes> = all
            .filter(|(_, it)| !self.store.contains(it.seq))
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in &gone {
            self.forget_schedule(subject);
        }
        self.schedules.sweep_at = 2 * (known - gone.len());
    }

    /// Begins to look for the schedules among messages that are there already.
    pub(super) fn begin_schedules(&mut self) {
        if !self.config.allow_msg_schedules {
            return;
        }
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        let records = self.store.states().filter_map(|(name, bytes)| {
            let seq = number(name.strip_prefix(RECORD.as_bytes())?)?;
            Some((seq, WallTime(number(bytes)?)))
        });
        let due = records.collect();
        self.schedules.unread = Some(Unread { next: 0, due });
    }

    /// Goes on with it as far as the disk has brought messages; true if there is more to do at once.
    pub fn find_schedules(&mut self) -> bool {
        for _ in 0..LOOK_AT {
            let Some(unread) = &mut self.schedules.unread else {
                return false;
            };
            let Some(seq) = self.store.next_schedule(unread.next) else {
                // What is left belongs to messages that have gone.
                let left = std::mem::take(&mut unread.due);
                self.schedules.unread = None;
                for seq in left.into_keys() {
                    self.store.remove_state(record(seq).as_bytes());
                }
                return false;
            };
            let message = match self.store.fetch(seq) {
                Fetch::Reading => return false,
                Fetch::Message(message) => Some(message),
                Fetch::Absent | Fetch::Damaged => None,
            };
            if let Some(message) = message {
                let Some(replaced) = is_replaced(&mut self.store, &message.subject, seq) else {
                    return false;
                };
                let known = self.schedules.by_subject.get(&message.subject);
                if !replaced && known.is_none_or(|it| it.seq != seq) {
                    let kept = unread.due.remove(&seq);
                    let schedule = Schedule::of(&message.headers).ok().flatten();
                    let first = schedule.and_then(|it| it.after(message.time));
                    if let Some(due) = kept.or(first) {
                        self.wait_for(&message.subject, seq, due, kept.is_some());
                    }
                } else if !replaced {
                    unread.due.remove(&seq);
                }
            }
            if let Some(unread) = &mut self.schedules.unread {
                unread.next = seq + 1;
            }
        }
        true
    }

    /// When [`Stream::send_due`](Stream::send_due) has something to do next.
    pub(super) fn next_scheduled(&self) -> Option<WallTime> {
        self.schedules.next().filter(|_| !self.config.sealed)
    }
}

/// Does a message say that it is there for itself? One of a schedule leaves the schedule of its own
/// subject alone.
fn is_of_no_schedule(block: &[u8]) -> bool {
    block.is_empty() || get(block, headers::SCHEDULER).is_none_or(<[u8]>::is_empty)
}

/// Has a message come on a schedule's subject since, which ended it? `None` while that is read.
fn is_replaced(store: &mut Store, subject: &[u8], seq: u64) -> Option<bool> {
    let filter = Filter::Literal(subject.into());
    let mut next = seq + 1;
    while let Some(later) = store.next_match(next, &filter) {
        match store.fetch(later) {
            Fetch::Reading => return None,
            Fetch::Message(message) if is_of_no_schedule(&message.headers) => return Some(true),
            Fetch::Message(_) | Fetch::Absent | Fetch::Damaged => next = later + 1,
        }
    }
    Some(false)
}
