//! A stream: its configuration, its messages, and what it knows of the last ones.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::batch::{self, AtomicBatches, FastBatches};
use super::config::{Discard, StreamConfig};
use super::dedupe::Dedupe;
use super::publish::Publish;
use super::rewrite::Rewrite;
use super::schedules::Schedules;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::store::{Append, Expired, Fetch, Filter, Lifetime, Purge, Store};
use crate::jetstream::usage::Share;
use crate::protocol::headers::get;
use crate::time::WallTime;

/// Messages that go for their age in one call.
const EXPIRED_AT_ONCE: usize = 1000;

/// Messages that left a stream without being acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// One, and its subject.
    One(u64, Bytes),
    /// Some, or all, of these subjects.
    Many(Filter),
}

/// One stream.
///
/// It takes and removes messages by its configuration. Who reads them is nothing it knows of: that
/// somebody is interested is an argument, and [`Stream::take_gone`] says what left.
#[derive(Debug)]
pub struct Stream {
    pub(super) config: StreamConfig,
    pub(super) store: Store,
    pub(super) created: WallTime,
    pub(super) dedupe: Dedupe,
    /// Id of the last message; empty if it had none.
    pub(super) last_id: Bytes,
    pub(super) transform: Option<Rewrite>,
    pub(super) republish: Option<Rewrite>,
    pub(super) schedules: Schedules,
    /// Somebody wants to know what leaves.
    pub(super) watched: bool,
    pub(super) gone: Vec<Gone>,
    /// Its part in what others use, too.
    share: Option<Share>,
    pub(super) atomic: AtomicBatches,
    pub(super) fast: FastBatches,
    /// The message at which looking for ids goes on, and the last one to look at.
    rescan: Option<(u64, u64)>,
}

impl Stream {
    /// A stream over a store. The configuration has been checked.
    pub fn new(config: StreamConfig, created: WallTime, store: Store) -> Self {
        let mut stream = Self {
            transform: None,
            republish: None,
            config,
            store,
            created,
            dedupe: Dedupe::default(),
            last_id: Bytes::new(),
            schedules: Schedules::default(),
            watched: false,
            gone: Vec::new(),
            share: None,
            atomic: AtomicBatches::default(),
            fast: FastBatches::default(),
            rescan: None,
        };
        stream.read_rewrites();
        batch::remove_torn(&mut stream.store);
        let state = stream.store.state();
        if stream.config.first_seq > 1 && state.last_seq == 0 {
            stream.store.skip(stream.config.first_seq - 1, None);
        }
        stream
    }

    fn read_rewrites(&mut self) {
        let transform = self.config.subject_transform.as_ref();
        self.transform = transform.and_then(|it| Rewrite::new(&it.src, &it.dest));
        let republish = self.config.republish.as_ref();
        self.republish = republish.and_then(|it| Rewrite::new(&it.src, &it.dest));
    }

    /// Its configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// When it was made.
    pub fn created(&self) -> WallTime {
        self.created
    }

    /// Its messages.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its messages, to be read or kept on disk; what is removed is removed through the stream.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Takes over another configuration, which has been checked against the one before.
    pub fn update(&mut self, config: StreamConfig) {
        let had_schedules = std::mem::replace(&mut self.config, config).allow_msg_schedules;
        if !had_schedules {
            self.begin_schedules();
        }
        self.read_rewrites();
        if !self.config.allow_atomic {
            self.atomic.clear();
        }
        if !self.config.allow_batched {
            self.fast.clear();
        }
        self.apply_limits();
        let most = positive(self.config.max_msgs_per_subject);
        if let Some(most) = most {
            let over: Vec<(Box<[u8]>, u64)> = self
                .store
                .subjects(&Filter::All)
                .filter(|(_, state)| state.messages > most)
                .map(|(subject, state)| (subject.into(), state.messages - most))
                .collect();
            for (subject, surplus) in over {
                self.drop_oldest_of(&subject, surplus);
            }
        }
    }

    /// What it stores is counted together with others from now on.
    pub fn share(&mut self, share: Share) {
        self.share = Some(share);
        self.count_usage();
    }

    /// Brings what it shares with others up to date; to be called when it has changed.
    pub fn count_usage(&mut self) {
        if let Some(share) = &mut self.share {
            share.count(self.store.state().bytes);
        }
    }

    /// The subject a message is stored by that comes on `subject`.
    pub fn stored_as<'a>(
        &self,
        subject: &'a [u8],
        mut random: impl FnMut() -> u64,
    ) -> Cow<'a, [u8]> {
        let transform = self.transform.as_ref();
        let renamed = transform.and_then(|it| it.apply(subject, &mut random));
        renamed.map_or(Cow::Borrowed(subject), Cow::Owned)
    }

    /// May the server store anything? (JS-248)
    pub(super) fn check_server_room(&self) -> Result<(), ApiError> {
        let share = self.share.as_ref();
        share.map_or(Ok(()), |it| it.check_server(|| self.store.state().bytes))
    }

    /// May the account have a message more? (JS-245)
    pub(super) fn check_account_room(
        &self,
        subject: &[u8],
        block: &[u8],
        payload: &[u8],
    ) -> Result<(), ApiError> {
        let Some(share) = &self.share else {
            return Ok(());
        };
        let kind = self.store.kind();
        let more = kind.message_size(subject.len(), block.len(), payload.len());
        share.check_account(|| self.store.state().bytes, more)
    }

    /// From now on [`Stream::take_gone`] says what left, or no more.
    pub fn watch(&mut self, watched: bool) {
        self.watched = watched;
        self.gone.clear();
    }

    /// What left since this was last called, in order.
    pub fn take_gone(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }

    /// Removes a message; false if there is none.
    pub fn remove(&mut self, seq: u64, erase: bool) -> bool {
        let watched = self.watched;
        let subject = self.store.subject_of(seq).filter(|_| watched);
        let subject = subject.map(Bytes::copy_from_slice);
        let removed = self.store.remove(seq, erase);
        if removed && let Some(subject) = subject {
            self.gone.push(Gone::One(seq, subject));
        }
        removed
    }

    /// Removes messages (JS-111); how many that were.
    pub fn purge(&mut self, purge: Purge<'_>) -> u64 {
        if self.watched {
            self.gone.push(Gone::Many(purge.filter.clone()));
        }
        self.store.purge(purge)
    }

    /// Drops the oldest until the limits hold. Where the newest are refused nothing is dropped: what a stream had
    /// before its limits were lowered stays.
    pub(super) fn apply_limits(&mut self) {
        if self.config.discard == Discard::New {
            return;
        }
        let (messages, bytes) = (
            positive(self.config.max_msgs),
            positive(self.config.max_bytes),
        );
        if messages.is_none() && bytes.is_none() {
            return;
        }
        loop {
            let state = self.store.state();
            let over = messages.is_some_and(|most| state.messages > most)
                || bytes.is_some_and(|most| state.bytes > most);
            if !over {
                return;
            }
            let Some((seq, subject)) = self.store.evict_first() else {
                return;
            };
            if self.watched {
                self.gone.push(Gone::One(seq, subject));
            }
        }
    }

    /// Drops the oldest messages of a subject.
    pub(super) fn drop_oldest_of(&mut self, subject: &[u8], count: u64) {
        for _ in 0..count {
            let Some(state) = self.store.subject(subject) else {
                return;
            };
            self.remove(state.first, false);
        }
    }

    /// How long a message lives.
    pub(super) fn max_age(&self) -> Option<Duration> {
        let age = self.config.max_age;
        (age.0 > 0).then(|| age.duration())
    }

    /// Removes what is too old, a bounded number of messages at a time, and stores the markers of
    /// subjects that end with that (JS-118).
    pub fn expire(&mut self, now: WallTime) -> Vec<Bytes> {
        self.atomic.expire(now);
        self.fast.expire(now);
        self.dedupe
            .forget(now, self.config.duplicate_window.duration());
        let mut expired: Vec<Expired> = Vec::new();
        let max_age = self.max_age();
        self.store
            .expire(now, max_age, EXPIRED_AT_ONCE, &mut expired);
        let markers = self.config.subject_delete_marker_ttl.0 > 0;
        let mut marked = Vec::new();
        for it in expired {
            if markers && it.last_of_subject && !it.marker {
                marked.push(it.subject.clone());
            }
            if self.watched {
                self.gone.push(Gone::One(it.seq, it.subject));
            }
        }
        marked
    }

    /// Stores a marker where the last message of a subject has gone; its sequence.
    pub fn store_marker(&mut self, publish: &Publish<'_>) -> Option<u64> {
        let stored = self.store.append(Append {
            subject: publish.subject,
            headers: publish.headers,
            payload: publish.payload,
            time: publish.now,
            lifetime: Lifetime::For(self.config.subject_delete_marker_ttl.duration()),
            marker: true,
            schedule: false,
        });
        self.apply_limits();
        stored.ok()
    }

    /// Begins to look for what messages say that were stored before the start: their ids (JS-88),
    /// and which are schedules (JS-141).
    pub fn begin_rescan(&mut self, now: WallTime) {
        let window = self.config.duplicate_window.duration();
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let from = self
            .store
            .time_to_seq(WallTime(now.0.saturating_sub(window)));
        let last = self.store.state().last_seq;
        // The last message's id counts, however old it is.
        self.rescan = (last > 0).then_some((from.min(last), last));
        self.begin_schedules();
    }

    /// Goes on with it as far as the disk has brought messages.
    pub fn rescan(&mut self) {
        while let Some((next, last)) = self.rescan {
            let Some(seq) = self.store.next_match(next, &Filter::All) else {
                self.rescan = None;
                return;
            };
            if seq > last {
                self.rescan = None;
                return;
            }
            match self.store.fetch(seq) {
                Fetch::Reading => return,
                Fetch::Message(message) => {
                    let id = get(&message.headers, super::headers::MSG_ID).unwrap_or_default();
                    if !id.is_empty() {
                        self.dedupe.insert(id, seq, message.time);
                    }
                    self.last_id = Bytes::copy_from_slice(id);
                }
                Fetch::Absent | Fetch::Damaged => {}
            }
            self.rescan = (seq < last).then_some((seq + 1, last));
        }
    }

    /// When [`Stream::expire`] or [`Stream::send_due`] has something to do next.
    pub fn next_due(&self) -> Option<WallTime> {
        let window = self.config.duplicate_window.duration();
        let store = self.store.next_expiry(self.max_age());
        let ids = self.dedupe.next_due(window);
        let atomic = self.atomic.next_due();
        let fast = self.fast.next_due();
        let batches = atomic.into_iter().chain(fast);
        let schedules = self.next_scheduled();
        let first = store.into_iter().chain(ids).chain(batches);
        first.chain(schedules).min()
    }
}

/// A limit, if there is one.
pub(super) fn positive(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|it| *it > 0)
}
