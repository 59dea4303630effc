//! All origins of one stream: who gets what arrives, what is stored of it, what is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::headers::{From, append_for_mirror, append_for_source};
use super::origin::{Arrived, Effect, Origin, Position};
use super::positions::Positions;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::api::response::StreamSourceInfo;
use crate::jetstream::store::{Fetch, Filter, Store};
use crate::jetstream::stream::config::{Retention, StreamConfig, StreamSource};
use crate::jetstream::stream::headers::STREAM_SOURCE;
use crate::jetstream::stream::{Accepted, Fate, Publish, Stream};
use crate::protocol::headers::get;
use crate::time::{Nanos, WallTime};

/// Positions are kept this often: what came since is found by its headers.
const KEEP_EVERY: Duration = Duration::from_millis(250);
/// Where messages leave soon after they came, positions are kept each time, for up to so many sources.
const KEEP_AT_ONCE: usize = 16;
/// Messages looked at in one go when positions are found again.
const LOOK_AT: usize = 4096;
/// The store refused: its limits say that what is new has to wait.
const STORE_FAILED: u16 = 10077;

/// Whose stream it is.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The account's name.
    pub account: String,
    /// The stream's.
    pub stream: String,
    /// The server's domain, if it has one.
    pub domain: String,
}

/// The world as origins see it.
pub struct World<'a> {
    /// What time it is.
    pub now: Nanos,
    /// And on the wall.
    pub wall: WallTime,
    /// Whose stream it is.
    pub names: &'a Names,
    /// Random numbers.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Does anybody listen on a subject?
    pub reachable: &'a mut dyn FnMut(&[u8]) -> bool,
    /// What is to be done.
    pub effects: &'a mut Vec<Effect>,
}

/// Something for an origin.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Where it arrived.
    pub on: &'a [u8],
    /// The subject it shows.
    pub subject: &'a [u8],
    /// Its reply subject.
    pub reply: Option<&'a [u8]>,
    /// Its header block, or nothing.
    pub headers: &'a [u8],
    /// Its body.
    pub payload: &'a [u8],
}

/// What arrived behind a message that the disk has to bring something for first: a counter's last
/// total (JS-136). Bounded by the flow control of those who send, as that is answered in its turn.
#[derive(Debug)]
struct Early {
    id: u32,
    on: Box<[u8]>,
    subject: Box<[u8]>,
    reply: Option<Box<[u8]>>,
    headers: Box<[u8]>,
    payload: Bytes,
}

impl Early {
    fn new(id: u32, arrival: &Arrival<'_>) -> Self {
        Self {
            id,
            on: arrival.on.into(),
            subject: arrival.subject.into(),
            reply: arrival.reply.map(Box::from),
            headers: arrival.headers.into(),
            payload: Bytes::copy_from_slice(arrival.payload),
        }
    }

    fn arrival(&self) -> Arrival<'_> {
        Arrival {
            on: &self.on,
            subject: &self.subject,
            reply: self.reply.as_deref(),
            headers: &self.headers,
            payload: &self.payload,
        }
    }
}

/// What became of something that arrived.
enum Taken {
    Nothing,
    Stored(Accepted),
    TooEarly,
}

/// An answer to flow control that waits until what came before it is safe.
#[derive(Debug)]
struct Held {
    /// What must be durable: messages up to this one, or all that this ticket stands for.
    last: u64,
    ticket: u64,
    to: Box<[u8]>,
    delivered: u64,
    seq: u64,
}

/// All origins of a stream.
#[derive(Debug)]
pub struct Replication {
    names: Arc<Names>,
    is_mirror: bool,
    origins: BTreeMap<u32, Origin>,
    next_id: u32,
    positions: Positions,
    /// Messages whose headers are still to be looked at for positions.
    unseen: Option<(u64, u64)>,
    /// Each consumer waits for its answer, so there is one of each at most.
    held: VecDeque<Held>,
    /// What waits for the disk, in the order in which it came.
    early: VecDeque<Early>,
    /// Positions have changed since they were kept.
    unkept: bool,
    keep_at: Nanos,
    /// No origin has anything to do before.
    due: Nanos,
}

impl Replication {
    /// The origins a configuration names; `None` if it names none.
    pub fn new(stream: &Stream, names: Names, world_of: &mut World<'_>) -> Option<Self> {
        let config = stream.config();
        let is_mirror = config.mirror.is_some();
        if !is_mirror && config.sources.is_empty() {
            return None;
        }
        let (positions, unseen) = match is_mirror {
            true => (Positions::default(), None),
            false => Positions::read(stream.store()),
        };
        let mut replication = Self {
            names: Arc::new(names),
            is_mirror,
            origins: BTreeMap::new(),
            next_id: 0,
            positions,
            unseen,
            held: VecDeque::new(),
            early: VecDeque::new(),
            unkept: !is_mirror,
            keep_at: Nanos(0),
            due: Nanos(0),
        };
        for source in wanted(config) {
            replication.add(source, config, world_of);
        }
        Some(replication)
    }

    /// Whose stream it is.
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    fn add(&mut self, source: &StreamSource, config: &StreamConfig, world: &World<'_>) {
        let mut origin = Origin::new(self.next_id, source, config, self.is_mirror, world);
        if !self.is_mirror {
            origin.position = self.positions.of(&origin.name);
        }
        self.origins.insert(self.next_id, origin);
        self.next_id += 1;
        self.due = Nanos(0);
    }

    /// Takes over another configuration. What stays the same goes on.
    pub fn update(&mut self, config: &StreamConfig, world: &mut World<'_>) {
        let gone: Vec<u32> = self
            .origins
            .values()
            .filter(|it| !wanted(config).any(|source| *source == it.source))
            .map(|it| it.id)
            .collect();
        for id in gone {
            if let Some(mut origin) = self.origins.remove(&id) {
                origin.end(world);
                self.positions.set(&origin.name, origin.position);
            }
        }
        for source in wanted(config) {
            if !self.origins.values().any(|it| it.source == *source) {
                self.add(source, config, world);
            }
        }
        self.unkept = !self.is_mirror;
    }

    /// Its stream goes away, or follows nobody any more.
    pub fn end(&mut self, world: &mut World<'_>) {
        for origin in self.origins.values_mut() {
            origin.end(world);
        }
    }

    /// Does what is due; true if there is more to do at once.
    pub fn run(&mut self, stream: &mut Stream, world: &mut World<'_>) -> bool {
        if self.unseen.is_some() {
            match self.look_back(stream.store_mut()) {
                Looked::Reading => return false,
                Looked::More => return true,
                Looked::Done => {}
            }
        }
        if world.now >= self.due {
            let last = stream.store().state().last_seq;
            for origin in self.origins.values_mut() {
                origin.tick(last, world);
            }
            let due = self.origins.values().map(Origin::due).min();
            self.due = due.unwrap_or(Nanos(u64::MAX));
        }
        if self.unkept && (world.now >= self.keep_at || self.keeps_at_once(stream)) {
            self.keep(stream);
            self.keep_at = world.now + KEEP_EVERY;
        }
        self.answer_settled(stream.store(), world);
        false
    }

    /// Looks for positions in the headers of messages that came after they were kept.
    fn look_back(&mut self, store: &mut Store) -> Looked {
        for _ in 0..LOOK_AT {
            let Some((next, last)) = self.unseen else {
                return Looked::Done;
            };
            let next = store.next_match(next, &Filter::All);
            let Some(seq) = next.filter(|it| *it <= last) else {
                self.unseen = None;
                for origin in self.origins.values_mut() {
                    origin.position = self.positions.of(&origin.name);
                }
                return Looked::Done;
            };
            match store.fetch(seq) {
                Fetch::Reading => return Looked::Reading,
                Fetch::Message(message) => {
                    let from = get(&message.headers, STREAM_SOURCE).and_then(From::parse);
                    if let Some(From {
                        name,
                        seq,
                        identity,
                    }) = from
                    {
                        self.positions.set(&name, Position { seq, identity });
                    }
                }
                Fetch::Absent | Fetch::Damaged => {}
            }
            self.unseen = Some((seq + 1, last));
        }
        Looked::More
    }

    fn keeps_at_once(&self, stream: &Stream) -> bool {
        stream.config().retention != Retention::Limits && self.origins.len() <= KEEP_AT_ONCE
    }

    /// Keeps the positions as they are. To be called before messages are removed that tell of them;
    /// false if that has to wait until they are read.
    pub fn keep(&mut self, stream: &mut Stream) -> bool {
        if self.is_mirror {
            return true;
        }
        while self.unseen.is_some() {
            if let Looked::Reading = self.look_back(stream.store_mut()) {
                return false;
            }
        }
        for origin in self.origins.values() {
            self.positions.set(&origin.name, origin.position.clone());
        }
        let current: Vec<_> = self.origins.values().map(|it| &it.name).collect();
        self.positions.keep(stream.store_mut(), &current);
        self.unkept = false;
        true
    }

    /// Are the positions known, so that messages may leave?
    pub fn is_settled(&self) -> bool {
        self.unseen.is_none()
    }

    /// Is next to nothing missing that a mirror's origin has, or was there such a time?
    pub fn is_caught_up(&self) -> bool {
        self.is_mirror && self.origins.values().all(|it| it.caught_up)
    }

    fn answer_settled(&mut self, store: &Store, world: &mut World<'_>) {
        let durable = store.durable();
        let safe = |it: &mut Held| it.last <= durable || store.is_settled(it.ticket);
        while let Some(held) = self.held.pop_front_if(safe) {
            let header = format!(
                "NATS/1.0\r\nNats-Last-Consumer: {}\r\nNats-Last-Stream: {}\r\n\r\n",
                held.delivered, held.seq
            );
            world.effects.push(Effect::Publish {
                to: held.to,
                reply: None,
                header: header.into_bytes(),
                body: Vec::new(),
            });
        }
    }

    /// When [`Replication::run`] has something to do.
    pub fn due(&self) -> Nanos {
        match self.unkept {
            true => self.due.min(self.keep_at),
            false => self.due,
        }
    }

    /// Something has arrived for an origin; gives the message that was stored. What cannot be stored
    /// yet waits for [`Replication::go_on`], and all that comes behind it.
    pub fn arrived(
        &mut self,
        id: u32,
        arrival: &Arrival<'_>,
        stream: &mut Stream,
        interested: &dyn Fn(&[u8]) -> bool,
        world: &mut World<'_>,
    ) -> Option<Accepted> {
        let is_answer = self.origins.get(&id)?.expects_answer_on(arrival.on);
        let taken = match self.early.is_empty() || is_answer {
            true => self.take(id, arrival, stream, interested, world),
            false => Taken::TooEarly,
        };
        match taken {
            Taken::Stored(accepted) => return Some(accepted),
            Taken::TooEarly => self.early.push_back(Early::new(id, arrival)),
            Taken::Nothing => {}
        }
        None
    }

    /// Does anything wait for the disk?
    pub fn is_waiting(&self) -> bool {
        !self.early.is_empty()
    }

    /// Goes on with what waited, up to a message that was stored, which it gives with its body.
    pub fn go_on(
        &mut self,
        stream: &mut Stream,
        interested: &dyn Fn(&[u8]) -> bool,
        world: &mut World<'_>,
    ) -> Option<(Accepted, Bytes)> {
        while let Some(early) = self.early.pop_front() {
            match self.take(early.id, &early.arrival(), stream, interested, world) {
                Taken::Stored(accepted) => return Some((accepted, early.payload)),
                Taken::TooEarly => {
                    self.early.push_front(early);
                    return None;
                }
                Taken::Nothing => {}
            }
        }
        None
    }

    fn take(
        &mut self,
        id: u32,
        arrival: &Arrival<'_>,
        stream: &mut Stream,
        interested: &dyn Fn(&[u8]) -> bool,
        world: &mut World<'_>,
    ) -> Taken {
        let Some(origin) = self.origins.get_mut(&id) else {
            return Taken::Nothing;
        };
        if origin.expects_answer_on(arrival.on) {
            let last = stream.store().state().last_seq;
            let up_to = origin.answered(arrival.headers, arrival.payload, last, world);
            if let Some(up_to) = up_to {
                stream.store_mut().skip(up_to, None);
            }
            self.due = self.due.min(origin.due());
            return Taken::Nothing;
        }
        let arrived = origin.arrived(
            arrival.on,
            arrival.reply,
            arrival.headers,
            arrival.payload,
            world,
        );
        match arrived {
            Arrived::Nothing => {
                self.due = self.due.min(origin.due());
                Taken::Nothing
            }
            Arrived::FlowControl => {
                let (delivered, seq) = origin.progress();
                let mut last = stream.store().state().last_seq;
                if self.keeps_at_once(stream) {
                    // Messages may have left: then the position alone says that they were here.
                    last = u64::MAX;
                    if self.unkept {
                        self.keep(stream);
                    }
                }
                self.held.push_back(Held {
                    last,
                    ticket: stream.store().ticket(),
                    to: arrival.reply.unwrap_or_default().into(),
                    delivered,
                    seq,
                });
                Taken::Nothing
            }
            Arrived::Message { seq, time, before } => {
                let stored = store(
                    origin,
                    self.is_mirror,
                    (seq, time),
                    arrival,
                    stream,
                    interested,
                    world,
                );
                match stored {
                    Ok(accepted) if accepted.fate == Fate::TooEarly => {
                        origin.put_back(before);
                        Taken::TooEarly
                    }
                    Ok(accepted) => {
                        if !self.is_mirror && !std::mem::replace(&mut self.unkept, true) {
                            self.keep_at = world.now + KEEP_EVERY;
                        }
                        Taken::Stored(accepted)
                    }
                    Err(error) => {
                        origin.not_stored(before, world);
                        self.due = self.due.min(origin.due());
                        if error.err_code != STORE_FAILED {
                            self.warn(id, &error, world);
                        }
                        Taken::Nothing
                    }
                }
            }
        }
    }

    fn warn(&self, id: u32, error: &ApiError, world: &mut World<'_>) {
        let (account, stream) = (&self.names.account, &self.names.stream);
        let what = match self.origins.get(&id) {
            Some(it) if !self.is_mirror => format!("source \"{}\"", it.name),
            _ => "mirror message".to_owned(),
        };
        let line = format!("Error processing inbound {what} for '{account}' > '{stream}': {error}");
        world.effects.push(Effect::Warn(line));
    }

    /// How far a mirror is; `None` if it is none.
    pub fn mirror_info(&self, now: Nanos) -> Option<StreamSourceInfo> {
        let mut origins = self.origins.values().filter(|_| self.is_mirror);
        // Its place is its own last sequence: that is not told twice.
        let seq = 0;
        origins.next().map(|it| StreamSourceInfo {
            seq,
            ..it.info(now)
        })
    }

    /// How far it is with its sources.
    pub fn source_infos(&self, now: Nanos) -> Vec<StreamSourceInfo> {
        let origins = self.origins.values().filter(|_| !self.is_mirror);
        origins.map(|it| it.info(now)).collect()
    }
}

enum Looked {
    Done,
    Reading,
    More,
}

/// The origins a configuration names.
fn wanted(config: &StreamConfig) -> impl Iterator<Item = &StreamSource> {
    config.mirror.iter().chain(&config.sources)
}

fn store(
    origin: &Origin,
    is_mirror: bool,
    (seq, time): (u64, u64),
    arrival: &Arrival<'_>,
    stream: &mut Stream,
    interested: &dyn Fn(&[u8]) -> bool,
    world: &mut World<'_>,
) -> Result<Accepted, ApiError> {
    let renamed = origin.subject(arrival.subject, world.random);
    let mut headers = Vec::new();
    if is_mirror {
        append_for_mirror(&mut headers, arrival.headers);
    } else {
        let (name, identity) = (&origin.name, &origin.position.identity);
        append_for_source(
            &mut headers,
            arrival.headers,
            name,
            seq,
            arrival.subject,
            identity,
        );
    }
    let publish = Publish {
        subject: renamed.as_deref().unwrap_or(arrival.subject),
        headers: &headers,
        payload: arrival.payload,
        now: if is_mirror {
            WallTime(time)
        } else {
            world.wall
        },
        sourced: true,
    };
    if is_mirror {
        // What is missing there is missing here (JS-143).
        stream.store_mut().skip(seq - 1, None);
    }
    stream.publish(&publish, interested, &mut *world.random)
}
