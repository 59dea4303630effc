//! A consumer's whole state, its beginning and its figures.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::ack;
use super::advisory::Advisory;
use super::config::AckPolicy;
use super::effect::{Effect, Now, StreamView, Turn};
use super::flow::{Bucket, Window};
use super::outstanding::Outstanding;
use super::priority::Pin;
use super::random::Random;
use super::run::Held;
use super::settings::{Beginning, Names, Priority, Push, Settings};
use super::waiting::WaitQueue;
use crate::time::{Nanos, WallTime};

/// A place in the consumer's count and in the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequences {
    /// Deliveries.
    pub consumer: u64,
    /// Messages.
    pub stream: u64,
}

/// The messages a consumer begins with that does not begin at one place (JS-174).
#[derive(Debug)]
pub(super) struct SkipList {
    /// The stream's last sequence as it began: it goes on after that.
    pub(super) resume: u64,
    /// Not empty.
    pub(super) seqs: VecDeque<u64>,
}

/// Publishing times are kept (JS-206).
#[derive(Debug, Clone, Copy)]
pub(super) struct Replay {
    /// The stream's last sequence as it began.
    pub(super) until: u64,
    /// When the message before was published.
    pub(super) last: Option<WallTime>,
}

/// One consumer of one stream.
///
/// Every method takes what happened and leaves what to do about it in the effects of its [`Turn`];
/// only [`run`](Self::run) delivers messages. It wants to be called after any of the others, when
/// [`deadline`](Self::deadline) has come, and after a read has completed if it waited for one.
///
/// Bounded by `max_ack_pending` (messages out) and `max_waiting` (requests); counts of redelivered
/// messages are kept until those are acknowledged or leave the stream.
#[derive(Debug)]
pub struct Consumer {
    pub(super) names: Names,
    pub(super) settings: Settings,
    pub(super) ack_prefix: Bytes,
    pub(super) random: Random,
    /// The sequence looked at next.
    pub(super) cursor: u64,
    /// The next delivery's sequence.
    pub(super) next_seq: u64,
    /// Everything up to here is done with. Runs ahead over what the filters leave out.
    pub(super) floor: Sequences,
    /// What was last delivered, as it is told and kept.
    pub(super) delivered: Sequences,
    /// The floor as it is told and kept: it moves with acknowledgements only.
    pub(super) told_floor: Sequences,
    /// Messages at or after the cursor the filters match; may be below zero for a moment, as in
    /// stock.
    pub(super) ahead: i64,
    /// Sequences up to here were counted.
    pub(super) counted_to: u64,
    pub(super) skip_list: Option<SkipList>,
    pub(super) out: Outstanding,
    pub(super) waiting: WaitQueue,
    pub(super) pin: Option<Pin>,
    /// Somebody is subscribed to the deliver subject.
    pub(super) active: bool,
    pub(super) window: Option<Window>,
    pub(super) bucket: Option<Bucket>,
    pub(super) heartbeat_due: Option<Nanos>,
    pub(super) replay: Option<Replay>,
    /// A message whose time has not come.
    pub(super) held: Option<Held>,
    pub(super) resume_at: Option<Nanos>,
    /// The inactive threshold with its spread, if there is one.
    pub(super) threshold: Option<Duration>,
    /// When to look whether the consumer is still used.
    pub(super) inactive_at: Option<Nanos>,
    pub(super) last_used: Nanos,
    pub(super) last_delivered: Option<WallTime>,
    pub(super) last_acked: Option<WallTime>,
    /// The state has changed since it was last encoded.
    pub(super) changed: bool,
}

/// What a consumer's info tells (JS-194).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// `delivered`.
    pub delivered: Sequences,
    /// Its `last_active`.
    pub last_delivered: Option<WallTime>,
    /// `ack_floor`.
    pub ack_floor: Sequences,
    /// Its `last_active`.
    pub last_acked: Option<WallTime>,
    /// `num_ack_pending`.
    pub ack_pending: u64,
    /// `num_redelivered`.
    pub redelivered: u64,
    /// `num_waiting`.
    pub waiting: u64,
    /// `num_pending`.
    pub pending: u64,
    /// `push_bound`.
    pub push_bound: bool,
    /// `pause_remaining`; `paused` where it is there.
    pub pause_remaining: Option<Duration>,
    /// `priority_groups`, of which there is one at most.
    pub group: Option<GroupFigures>,
}

/// How a priority group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFigures {
    /// `group`.
    pub name: String,
    /// `pinned_client_id` and `pinned_ts`.
    pub pinned: Option<(Bytes, WallTime)>,
}

impl Consumer {
    /// A new consumer, at the place its deliver policy says. `seed`: a random number.
    pub fn new<S: StreamView>(
        names: Names,
        settings: Settings,
        seed: u64,
        now: Now,
        stream: &S,
    ) -> Self {
        let mut consumer = Self::blank(names, settings, seed);
        consumer.begin(stream);
        consumer.start(now, stream);
        consumer
    }

    /// One that knows nothing of its stream.
    pub(super) fn blank(names: Names, settings: Settings, seed: u64) -> Self {
        Self {
            ack_prefix: ack::prefix(&names),
            random: Random(seed),
            cursor: 1,
            next_seq: 1,
            floor: Sequences::default(),
            delivered: Sequences::default(),
            told_floor: Sequences::default(),
            ahead: 0,
            counted_to: 0,
            skip_list: None,
            out: Outstanding::new(settings.waits()),
            waiting: WaitQueue::new(settings.priority == Priority::Prioritized),
            pin: None,
            active: false,
            window: None,
            bucket: None,
            heartbeat_due: None,
            replay: None,
            held: None,
            resume_at: None,
            threshold: None,
            inactive_at: None,
            last_used: Nanos::default(),
            last_delivered: None,
            last_acked: None,
            changed: false,
            names,
            settings,
        }
    }

    /// Chooses the first sequence (JS-174).
    fn begin<S: StreamView>(&mut self, stream: &S) {
        let bounds = stream.bounds();
        let settings = &self.settings;
        let chosen = match settings.beginning {
            Beginning::First => bounds.first_seq,
            Beginning::Last => {
                let last = stream.last_match(&settings.filter, bounds.last_seq);
                last.unwrap_or(bounds.first_seq)
            }
            Beginning::New => bounds.last_seq + 1,
            Beginning::Sequence(seq) => seq,
            Beginning::Time(time) => stream.time_to_seq(time),
            Beginning::LastPerSubject if settings.one_per_subject => bounds.first_seq,
            Beginning::LastPerSubject => {
                let seqs = stream.last_per_subject(&settings.filter, bounds.last_seq);
                let first = seqs.first().copied();
                if first.is_some() {
                    self.skip_list = Some(SkipList {
                        resume: bounds.last_seq,
                        seqs: seqs.into(),
                    });
                }
                first.unwrap_or(bounds.last_seq)
            }
        };
        let asked_for = matches!(settings.beginning, Beginning::Sequence(_));
        self.cursor = if bounds.first_seq == 0 && !asked_for {
            1
        } else if chosen > bounds.last_seq && !asked_for {
            bounds.last_seq + 1
        } else {
            chosen.max(bounds.first_seq).max(1)
        };
        self.floor = Sequences {
            consumer: 0,
            stream: self.cursor - 1,
        };
        self.delivered = self.floor;
        self.told_floor = self.floor;
        self.changed = true;
    }

    /// Sets everything that is not kept over a restart.
    pub(super) fn start<S: StreamView>(&mut self, now: Now, stream: &S) {
        self.recount(stream);
        if self.settings.replay_original {
            let until = stream.bounds().last_seq;
            self.replay = Some(Replay { until, last: None });
        }
        self.last_used = now.nanos;
        self.set_push(now);
        self.set_threshold(now);
        self.set_pause(now);
    }

    /// Takes over what the settings say of pushing.
    fn set_push(&mut self, now: Now) {
        let push = self.settings.push.as_ref();
        self.window = push.filter(|it| it.flow_control).map(|_| Window::new());
        self.bucket = push
            .and_then(|it| it.rate)
            .map(|it| Bucket::new(it, now.nanos));
        self.heartbeat_due = push.and_then(|it| Some(now.nanos + it.heartbeat?));
    }

    /// Counts what the filters match from the cursor on.
    pub(super) fn recount<S: StreamView>(&mut self, stream: &S) {
        let last = stream.bounds().last_seq;
        let filter = &self.settings.filter;
        let count = match &self.skip_list {
            Some(list) => list.seqs.len() as u64 + stream.count(list.resume + 1, filter),
            None => stream.count(self.cursor, filter),
        };
        self.ahead = i64::try_from(count).unwrap_or(i64::MAX);
        self.counted_to = last;
    }

    /// Messages that wait, as clients are told.
    pub(super) fn pending(&self) -> u64 {
        u64::try_from(self.ahead).unwrap_or(0)
    }

    /// The settings as they are.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it is called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn is_pull(&self) -> bool {
        self.settings.push.is_none()
    }

    pub(super) fn push(&self) -> Option<&Push> {
        self.settings.push.as_ref()
    }

    /// The state has changed: say so once.
    pub(super) fn touch(&mut self, effects: &mut Vec<Effect>) {
        if !self.changed {
            self.changed = true;
            effects.push(Effect::Persist);
        }
    }

    /// Is delivering paused?
    pub fn is_paused(&self, now: Now) -> bool {
        self.settings.pause_until.is_some_and(|it| now.wall < it)
    }

    /// What the consumer's info tells. Requests nobody waits for any more are dropped first.
    pub fn figures<S: StreamView>(&mut self, turn: &mut Turn<'_, S>) -> Figures {
        self.check_pending_count(turn.stream);
        if self.is_pull() {
            self.look_at_waiting(turn, false);
        }
        let now = turn.now;
        let settings = &self.settings;
        let has_state = !settings.memory || self.delivered != Sequences::default();
        let remaining = settings.pause_until.filter(|&it| now.wall < it);
        let group = settings.priority_groups.first().map(|name| GroupFigures {
            name: String::from_utf8_lossy(name).into_owned(),
            pinned: self.pin.as_ref().map(|it| (it.id.clone(), it.since)),
        });
        Figures {
            delivered: if has_state {
                self.delivered
            } else {
                Sequences {
                    consumer: self.next_seq - 1,
                    stream: self.cursor - 1,
                }
            },
            last_delivered: self.last_delivered,
            ack_floor: self.told_floor,
            last_acked: self.last_acked,
            ack_pending: self.out.len() as u64,
            // A single delivery is never repeated; what is counted is not meant.
            redelivered: match settings.max_deliver {
                1 => 0,
                _ => self.out.redelivered.len() as u64,
            },
            waiting: self.waiting.len() as u64,
            pending: self.pending(),
            push_bound: settings.push.is_some() && self.active,
            pause_remaining: remaining.map(|it| Duration::from_nanos(it.0 - now.wall.0)),
            group,
        }
    }

    /// Never more is told than there is.
    fn check_pending_count<S: StreamView>(&mut self, stream: &S) {
        let bounds = stream.bounds();
        if self.cursor > bounds.last_seq {
            self.ahead = 0;
        } else if self.ahead > 0 {
            let most = bounds.messages.min(bounds.last_seq - self.cursor + 1);
            self.ahead = self.ahead.min(i64::try_from(most).unwrap_or(i64::MAX));
        }
    }

    /// Does the consumer still need this message of its stream (JS-105)? `subject`: its own.
    pub fn needs(&self, seq: u64, subject: &[u8]) -> bool {
        if !self.settings.filter.matches(subject) {
            return false;
        }
        let after_floor = seq > self.floor.stream;
        let needed = match self.settings.ack_policy {
            AckPolicy::Explicit => {
                after_floor && (seq >= self.cursor || self.out.find(seq).is_some())
            }
            _ => after_floor,
        };
        // One that was sent as often as may be stays in the stream (JS-202).
        needed || self.out.redelivered.contains_key(&seq)
    }

    /// A message was appended to the stream. True if there is now something to
    /// [`run`](Self::run) for.
    pub fn appended(&mut self, seq: u64, subject: &[u8]) -> bool {
        if !self.settings.filter.matches(subject) {
            return false;
        }
        if seq > self.counted_to {
            self.ahead += 1;
        }
        seq >= self.cursor
            && self.held.is_none()
            && if self.is_pull() {
                !self.waiting.is_empty()
            } else {
                self.active
            }
    }

    /// Takes over changed settings (JS-192); deliver policy, ack policy and the like must be the
    /// same.
    pub fn update<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, settings: Settings) {
        let was = std::mem::replace(&mut self.settings, settings);
        if self.settings.waits() != was.waits() {
            self.out.set_waits(self.settings.waits());
        }
        let target = |it: &Settings| it.push.as_ref().map(|it| it.subject.clone());
        if target(&self.settings) != target(&was) && !self.out.is_empty() {
            // Who listens there has seen nothing of what is out.
            self.send_all_again(turn);
        }
        let rate = |it: &Settings| it.push.as_ref().and_then(|it| it.rate);
        if rate(&self.settings) != rate(&was) {
            self.bucket = rate(&self.settings).map(|it| Bucket::new(it, turn.now.nanos));
        }
        if self.settings.inactive_threshold != was.inactive_threshold {
            self.set_threshold(turn.now);
        }
        if self.settings.pause_until != was.pause_until {
            self.set_pause(turn.now);
            self.advise_pause(turn);
        }
        if self.settings.priority != was.priority {
            self.waiting
                .sort_by_priority(self.settings.priority == Priority::Prioritized);
            self.pin = None;
        }
        if self.settings.filter != was.filter {
            self.recount(turn.stream);
        }
        self.touch(turn.effects);
    }

    /// Pauses until a time, or goes on (JS-208).
    pub fn pause<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, until: Option<WallTime>) {
        if self.settings.pause_until != until {
            self.settings.pause_until = until;
            self.set_pause(turn.now);
            self.advise_pause(turn);
        }
    }

    /// It was asked for, and begins with a pause or goes on with one (JS-208).
    pub fn tell_of_pause<S: StreamView>(&self, turn: &mut Turn<'_, S>) {
        if self.is_paused(turn.now) {
            self.advise_pause(turn);
        }
    }

    pub(super) fn set_pause(&mut self, now: Now) {
        let until = self.settings.pause_until.filter(|&it| now.wall < it);
        self.resume_at = until.map(|it| now.nanos + Duration::from_nanos(it.0 - now.wall.0));
    }

    pub(super) fn advise_pause<S: StreamView>(&self, turn: &mut Turn<'_, S>) {
        turn.effects.push(Effect::Advisory(Advisory::Pause {
            paused: self.is_paused(turn.now),
            until: self.settings.pause_until,
        }));
    }

    /// Panics where the parts do not fit each other.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.out.check_invariants();
        assert!(self.cursor >= 1 && self.next_seq >= 1);
        assert!(self.floor.stream < self.cursor || !self.is_pull());
        assert!(self.told_floor.consumer <= self.delivered.consumer);
        for (seq, sent) in self.out.iter() {
            assert!(seq < self.cursor, "{seq} was sent");
            assert!(sent.consumer_seq < self.next_seq);
        }
    }
}
