//! A consumer on a naive stream, whose effects are told in short lines, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::{
    AckToken, Advisory, Bounds, Consumer, Effect, Names, Now, Presence, Settings, StreamView, Turn,
};
use crate::jetstream::store::{Fetch, Filter, StoredMessage};
use crate::time::{Nanos, WallTime};

/// A stream that looks at every message for every question.
#[derive(Debug, Default)]
pub(super) struct NaiveStream {
    pub(super) messages: BTreeMap<u64, StoredMessage>,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Reads that have to come from disk first.
    pub(super) reading: BTreeSet<u64>,
    pub(super) damaged: BTreeSet<u64>,
}

impl NaiveStream {
    pub(super) fn append(
        &mut self,
        subject: &'static str,
        payload: &'static str,
        time: WallTime,
    ) -> u64 {
        self.last += 1;
        if self.messages.is_empty() {
            self.first = self.last;
        }
        let message = StoredMessage {
            seq: self.last,
            time,
            subject: Bytes::from_static(subject.as_bytes()),
            headers: Bytes::new(),
            payload: Bytes::from_static(payload.as_bytes()),
        };
        self.messages.insert(self.last, message);
        self.last
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<StoredMessage> {
        let gone = self.messages.remove(&seq);
        self.first = self
            .messages
            .keys()
            .next()
            .copied()
            .unwrap_or(self.last + 1);
        gone
    }
}

impl StreamView for NaiveStream {
    fn bounds(&self) -> Bounds {
        Bounds {
            messages: self.messages.len() as u64,
            first_seq: self.first,
            last_seq: self.last,
        }
    }
    fn contains(&self, seq: u64) -> bool {
        self.messages.contains_key(&seq)
    }
    fn next_match(&self, from: u64, filter: &Filter) -> Option<u64> {
        let mut after = self.messages.range(from..);
        after
            .find(|it| filter.matches(&it.1.subject))
            .map(|it| *it.0)
    }
    fn last_match(&self, filter: &Filter, up_to: u64) -> Option<u64> {
        let mut before = self.messages.range(..=up_to).rev();
        before
            .find(|it| filter.matches(&it.1.subject))
            .map(|it| *it.0)
    }
    fn count(&self, from: u64, filter: &Filter) -> u64 {
        let after = self.messages.range(from..);
        after.filter(|it| filter.matches(&it.1.subject)).count() as u64
    }
    fn last_per_subject(&self, filter: &Filter, up_to: u64) -> Vec<u64> {
        let mut last = BTreeMap::new();
        for (seq, message) in self.messages.range(..=up_to) {
            if filter.matches(&message.subject) {
                last.insert(&message.subject, *seq);
            }
        }
        let mut seqs: Vec<u64> = last.into_values().collect();
        seqs.sort_unstable();
        seqs
    }
    fn time_to_seq(&self, time: WallTime) -> u64 {
        let found = self.messages.iter().find(|it| it.1.time >= time);
        found.map_or(self.last + 1, |it| *it.0)
    }
    fn fetch(&mut self, seq: u64) -> Fetch {
        match self.messages.get(&seq) {
            None => Fetch::Absent,
            Some(_) if self.reading.contains(&seq) => Fetch::Reading,
            Some(_) if self.damaged.contains(&seq) => Fetch::Damaged,
            Some(message) => Fetch::Message(message.clone()),
        }
    }
}

/// Where the calendar stands when the shard's clock is at zero.
const EPOCH: u64 = 1_000_000_000_000;
/// More messages than a test delivers in a run.
const BUDGET: usize = 10_000;

/// A consumer, its stream, the time, and who has gone away.
pub(super) struct Rig {
    pub(super) stream: NaiveStream,
    pub(super) consumer: Consumer,
    pub(super) nanos: u64,
    pub(super) gone: BTreeSet<&'static str>,
    pub(super) import_gone: BTreeSet<&'static str>,
    pub(super) effects: Vec<Effect>,
    /// Bodies, and headers of messages, are told, too.
    pub(super) whole: bool,
}

pub(super) fn names() -> Names {
    Names {
        account: "A".into(),
        stream: "S".into(),
        consumer: "c".into(),
        ..Names::default()
    }
}

/// `Settings::default()` with patterns.
pub(super) fn filtered(patterns: &[&str]) -> Settings {
    Settings {
        filter: Filter::new(patterns),
        patterns: patterns.iter().map(|it| it.as_bytes().into()).collect(),
        ..Settings::default()
    }
}

impl Rig {
    /// A consumer on a stream with these subjects' messages, stored a millisecond apart.
    pub(super) fn new(settings: Settings, subjects: &[&'static str]) -> Self {
        let mut stream = NaiveStream::default();
        for (at, subject) in subjects.iter().enumerate() {
            stream.append(subject, "x", WallTime(EPOCH + 1_000_000 * at as u64));
        }
        let nanos = 1_000_000_000;
        let now = at(nanos);
        let consumer = Consumer::new(names(), settings, 7, now, &stream);
        Self {
            stream,
            consumer,
            nanos,
            gone: BTreeSet::new(),
            import_gone: BTreeSet::new(),
            effects: Vec::new(),
            whole: false,
        }
    }

    pub(super) fn now(&self) -> Now {
        at(self.nanos)
    }

    /// Calls the consumer.
    pub(super) fn with<R>(
        &mut self,
        call: impl FnOnce(&mut Consumer, &mut Turn<'_, NaiveStream>) -> R,
    ) -> R {
        let (gone, import_gone) = (&self.gone, &self.import_gone);
        let mut presence = |subject: &[u8]| {
            let subject = str::from_utf8(subject).expect("text");
            if gone.contains(subject) {
                Presence::Gone
            } else if import_gone.contains(subject) {
                Presence::ImportGone
            } else {
                Presence::Here
            }
        };
        let mut turn = Turn {
            now: at(self.nanos),
            stream: &mut self.stream,
            presence: &mut presence,
            effects: &mut self.effects,
        };
        call(&mut self.consumer, &mut turn)
    }

    pub(super) fn append(&mut self, subject: &'static str) -> u64 {
        let time = at(self.nanos).wall;
        let seq = self.stream.append(subject, "x", time);
        self.consumer.appended(seq, subject.as_bytes());
        seq
    }

    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(message) = self.stream.remove(seq) {
            self.with(|it, turn| it.removed(turn, seq, &message.subject));
        }
    }

    pub(super) fn request(&mut self, reply: &'static str, body: &str) {
        let reply = Bytes::from_static(reply.as_bytes());
        self.with(|it, turn| it.request(turn, reply, body.as_bytes()));
    }

    /// Acknowledges delivery `consumer_seq` of message `seq` with a body.
    pub(super) fn ack(&mut self, seq: u64, consumer_seq: u64, body: &str) {
        let token = AckToken {
            stream: b"S",
            consumer: b"c",
            deliveries: 1,
            stream_seq: seq,
            consumer_seq,
        };
        let reply = Bytes::from_static(b"A");
        self.with(|it, turn| it.ack(turn, token, reply, body.as_bytes()));
    }

    pub(super) fn interest(&mut self, active: bool) {
        self.with(|it, turn| it.interest(turn, active));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.nanos += time.as_nanos() as u64;
    }

    /// Runs the consumer and tells all effects since the last time.
    pub(super) fn run(&mut self) -> Vec<String> {
        self.with(|it, turn| it.run(turn, BUDGET));
        #[cfg(test)]
        self.consumer.check_invariants();
        self.told()
    }

    /// Lets time pass to each deadline within it, and tells all effects.
    pub(super) fn run_for(&mut self, time: Duration) -> Vec<String> {
        let end = self.nanos + time.as_nanos() as u64;
        self.with(|it, turn| it.run(turn, BUDGET));
        while let Some(Nanos(deadline)) = self.consumer.deadline().filter(|it| it.0 <= end) {
            assert!(self.nanos <= deadline.max(self.nanos));
            self.nanos = self.nanos.max(deadline);
            self.with(|it, turn| it.run(turn, BUDGET));
            let next = self.consumer.deadline();
            assert!(next.is_none_or(|it| it.0 > self.nanos), "{next:?} is over");
        }
        self.nanos = end;
        self.run()
    }

    fn told(&mut self) -> Vec<String> {
        let whole = self.whole;
        let effects = std::mem::take(&mut self.effects);
        effects.iter().filter_map(|it| tell(it, whole)).collect()
    }

    /// `delivered / floor / ack_pending redelivered waiting pending`.
    pub(super) fn figures(&mut self) -> String {
        let it = self.with(|it, turn| it.figures(turn));
        self.effects.retain(|it| !matches!(it, Effect::Persist));
        format!(
            "{}-{} {}-{} out {} again {} waiting {} pending {}",
            it.delivered.consumer,
            it.delivered.stream,
            it.ack_floor.consumer,
            it.ack_floor.stream,
            it.ack_pending,
            it.redelivered,
            it.waiting,
            it.pending
        )
    }

    /// The consumer as it is after a restart.
    pub(super) fn restart(&mut self, down: Duration) {
        let now = self.now();
        let bytes = self.consumer.encode(now);
        self.pass(down);
        let settings = self.consumer.settings().clone();
        let now = self.now();
        let consumer = Consumer::restore(names(), settings, 8, now, &self.stream, &bytes);
        self.consumer = consumer.expect("its own state");
    }
}

fn at(nanos: u64) -> Now {
    Now {
        nanos: Nanos(nanos),
        wall: WallTime(EPOCH + nanos),
    }
}

/// One effect as a line; the state's changes are not told.
fn tell(effect: &Effect, whole: bool) -> Option<String> {
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    Some(match effect {
        Effect::Deliver(it) => {
            let ack = &it.ack;
            let mut line = format!(
                "{} <- {} #{} {} d{} +{}",
                text(&it.to),
                text(&it.message.subject),
                ack.stream_seq,
                ack.consumer_seq,
                ack.deliveries,
                ack.pending
            );
            if whole {
                line += &format!(
                    " {:?} {:?}",
                    text(&it.message.headers),
                    text(&it.message.payload)
                );
            }
            line
        }
        Effect::Status { to, reply, headers } => {
            let headers = text(headers);
            let block = headers.strip_prefix("NATS/1.0 ").expect("a block");
            let block = block.strip_suffix("\r\n\r\n").expect("a whole block");
            let reply = reply
                .as_ref()
                .map_or(String::new(), |it| format!(" ({})", text(it)));
            format!("{} <- {}{reply}", text(to), block.replace("\r\n", "; "))
        }
        Effect::Reply { to } => format!("{} <- answer", text(to)),
        Effect::Advisory(it) => match it {
            Advisory::Created => "created".to_owned(),
            Advisory::Deleted => "deleted".to_owned(),
            Advisory::MaxDeliveries {
                stream_seq,
                deliveries,
            } => format!("max deliveries #{stream_seq} d{deliveries}"),
            Advisory::Naked(it) => format!("nak #{} {}", it.stream_seq, it.consumer_seq),
            Advisory::Terminated { message, reason } => {
                let (seq, deliveries) = (message.stream_seq, message.deliveries);
                format!("term #{seq} d{deliveries} {}", text(reason))
                    .trim_end()
                    .to_owned()
            }
            Advisory::Acked { message, ack_time } => {
                format!("acked #{} {ack_time}", message.stream_seq)
            }
            Advisory::Pause { paused, .. } => format!("paused {paused}"),
            Advisory::Pinned { group, .. } => format!("pinned {group}"),
            Advisory::Unpinned { group, reason } => format!("unpinned {group} {reason}"),
        },
        Effect::Acked(seq) => format!("acked #{seq}"),
        Effect::Persist => return None,
        Effect::Expired => "expired".to_owned(),
    })
}
