//! One origin of a stream: who is asked for its messages, what is awaited, how far it is.

use std::time::Duration;

use super::delivered::Delivered;
use super::name::{OriginName, random_token};
use super::replication::World;
use super::request::{self, Answer, Begin, Level};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::response::StreamSourceInfo;
use crate::jetstream::api::values::Span;
use crate::jetstream::consumer::config::AckPolicy;
use crate::jetstream::stream::Rewrite;
use crate::jetstream::stream::config::{StreamConfig, StreamSource};
use crate::protocol::headers::get;
use crate::routing::subject;
use crate::time::Nanos;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a consumer may be silent that is to be heard each second.
const SILENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is anybody to ask. Costs one look at this shard's interest.
const LOOK: Duration = Duration::from_millis(100);
/// Least time between two consumers, and the first wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Waits are up to this much longer, so that many do not ask at once.
const JITTER: Duration = Duration::from_millis(50);

/// A mirror that lacks fewer messages may answer for its origin (JS-159).
const CAUGHT_UP: u64 = 10;

const LAST_CONSUMER: &[u8] = b"Nats-Last-Consumer";
const STALLED: &[u8] = b"Nats-Consumer-Stalled";
const IDENTITY: &[u8] = b"Nats-Stream-Identity";
const LEVEL_NOT_KNOWN: u16 = 10185;
const FIELD_NOT_KNOWN: u16 = 10025;
const OTHER_IDENTITY: u16 = 10225;

/// What is to be done for an origin, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// What is published on this subject is for the origin of this number.
    Subscribe(u32, Box<[u8]>),
    /// No more.
    Unsubscribe(Box<[u8]>),
    /// Publish this.
    Publish {
        /// Subject.
        to: Box<[u8]>,
        /// Where the answer is awaited.
        reply: Option<Box<[u8]>>,
        /// Header block, or nothing.
        header: Vec<u8>,
        /// Body.
        body: Vec<u8>,
    },
    /// Something an operator should know.
    Warn(String),
}

/// How far reading of an origin has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Last sequence that is here, or was passed over.
    pub seq: u64,
    /// Which stream of that name it was; empty if that is not known.
    pub identity: String,
}

#[derive(Debug)]
enum Phase {
    /// Somebody is asked then.
    Waiting { until: Nanos },
    /// An answer is awaited on this subject, so long.
    Asked {
        inbox: Box<[u8]>,
        until: Nanos,
        level: Level,
        deliver_subject: String,
    },
    /// Messages come from this consumer, on this subject.
    Following {
        consumer: String,
        subject: Box<[u8]>,
    },
}

/// What an arrival is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Done with it.
    Nothing,
    /// It wants to hear how far we are: on this subject, once all that came before is safe.
    FlowControl,
    /// A message, to be stored: its sequence at its origin, and when it was stored there.
    Message {
        seq: u64,
        time: u64,
        before: (u64, u64),
    },
}

/// One origin.
#[derive(Debug)]
pub(super) struct Origin {
    pub id: u32,
    pub name: OriginName,
    pub source: StreamSource,
    pub position: Position,
    is_mirror: bool,
    transforms: Vec<Rewrite>,
    /// Name of its consumer, or the front of it.
    stable_name: String,
    phase: Phase,
    /// Number of the last delivery.
    delivered: u64,
    lag: u64,
    /// There was a time when next to nothing was missing.
    pub caught_up: bool,
    heard: Option<Nanos>,
    error: Option<ApiError>,
    /// Attempts that came to nothing, one after the other.
    fails: u32,
    asked_at: Option<Nanos>,
    /// When it is looked next whether the origin can be reached, and what was seen last.
    look_at: Nanos,
    reachable: bool,
}

impl Origin {
    pub fn new(
        id: u32,
        source: &StreamSource,
        config: &StreamConfig,
        is_mirror: bool,
        world: &World<'_>,
    ) -> Self {
        let transforms = source.subject_transforms.iter();
        Self {
            id,
            name: OriginName::of(source),
            position: Position::default(),
            is_mirror,
            transforms: transforms
                .filter_map(|it| Rewrite::new(&it.src, &it.dest))
                .collect(),
            stable_name: request::stable_name(source, config, world.names, is_mirror),
            source: source.clone(),
            phase: Phase::Waiting { until: world.now },
            delivered: 0,
            lag: 0,
            caught_up: false,
            heard: None,
            error: None,
            fails: 0,
            asked_at: None,
            look_at: world.now,
            reachable: true,
        }
    }

    /// The subject a message is stored by.
    pub fn subject(&self, of: &[u8], random: &mut dyn FnMut() -> u64) -> Option<Vec<u8>> {
        self.transforms
            .iter()
            .find_map(|it| it.apply(of, &mut *random))
    }

    /// When [`Origin::tick`] has something to do.
    pub fn due(&self) -> Nanos {
        match &self.phase {
            Phase::Waiting { until } | Phase::Asked { until, .. } => *until,
            Phase::Following { .. } => {
                let silence = self.heard.unwrap_or_default() + SILENCE;
                match self.source.external {
                    Some(_) => silence.min(self.look_at),
                    None => silence,
                }
            }
        }
    }

    /// Does what is due. `last` is the last sequence of the stream itself.
    pub fn tick(&mut self, last: u64, world: &mut World<'_>) {
        if world.now < self.due() {
            return;
        }
        match &self.phase {
            Phase::Waiting { .. } => {
                let ask = request::api_subject(&self.source, &self.ask_below(""));
                if (world.reachable)(ask.as_bytes()) {
                    self.ask(Level::Identities, last, world);
                } else {
                    self.phase = Phase::Waiting {
                        until: world.now + LOOK,
                    };
                }
            }
            Phase::Asked { .. } => self.failed(world),
            Phase::Following { .. } => {
                let silent = world.now.since(self.heard.unwrap_or_default()) >= SILENCE;
                if silent || self.has_come_back(world) {
                    self.begin_again(world);
                }
            }
        }
    }

    /// Was the origin out of reach, and is no more? What it sent meanwhile went nowhere.
    fn has_come_back(&mut self, world: &mut World<'_>) -> bool {
        if world.now < self.look_at {
            return false;
        }
        self.look_at = world.now + LOOK;
        let ask = request::api_subject(&self.source, &self.ask_below(""));
        let before = self.reachable;
        self.reachable = (world.reachable)(ask.as_bytes());
        self.reachable && !before
    }

    /// What is asked for, below the API.
    fn ask_below(&self, filter: &str) -> String {
        let stream = &self.source.name;
        match &self.source.consumer {
            Some(made) => format!("CONSUMER.RESET.{stream}.{}", made.name),
            None if filter.is_empty() => format!("CONSUMER.CREATE.{stream}"),
            None => filter.to_owned(),
        }
    }

    fn ask(&mut self, level: Level, last: u64, world: &mut World<'_>) {
        // A mirror has its origin's sequences, and no use for identities.
        if self.is_mirror {
            self.position.seq = last;
        }
        let level = match level {
            Level::Identities if self.is_mirror => Level::Sourcing,
            level => level,
        };
        let inbox = format!("$JSC.R.{}", random_token((world.random)()));
        let deliver_subject = match &self.source.consumer {
            Some(made) => made.deliver_subject.clone(),
            None => {
                let token = random_token((world.random)());
                request::deliver_subject(&self.source, self.is_mirror, &token)
            }
        };
        let begin = match (self.position.seq, self.source.opt_start_seq) {
            (0, 0) => self.source.opt_start_time.map_or(Begin::First, Begin::Time),
            (0, seq) => Begin::Sequence(seq),
            (seq, _) => Begin::Sequence(seq + 1),
        };
        let mut name = self.stable_name.clone();
        if level == Level::Plain {
            name = format!("{name}_{}", random_token((world.random)()));
        }
        let config = request::consumer(
            &self.source,
            world.names,
            self.is_mirror,
            name,
            &deliver_subject,
            begin,
            level,
        );
        let below = match config.filter_subject.as_str() {
            "" => self.ask_below(""),
            filter => self.ask_below(&format!(
                "CONSUMER.CREATE.{}.{}.{filter}",
                self.source.name, config.name
            )),
        };
        let body = match &self.source.consumer {
            Some(_) => Vec::new(),
            None => request::body(&self.source.name, &config),
        };
        let header = match (&self.source.consumer, self.is_mirror) {
            (Some(_), true) => Vec::new(),
            _ => level.header(&self.position.identity),
        };
        let inbox: Box<[u8]> = inbox.into_bytes().into();
        world
            .effects
            .push(Effect::Subscribe(self.id, inbox.clone()));
        world.effects.push(Effect::Publish {
            to: request::api_subject(&self.source, &below)
                .into_bytes()
                .into(),
            reply: Some(inbox.clone()),
            header,
            body,
        });
        self.asked_at = Some(world.now);
        self.phase = Phase::Asked {
            inbox,
            until: world.now + PATIENCE,
            level,
            deliver_subject,
        };
    }

    /// Ends what is under way.
    pub fn stop(&mut self, world: &mut World<'_>) {
        let until = world.now;
        match std::mem::replace(&mut self.phase, Phase::Waiting { until }) {
            Phase::Waiting { .. } => {}
            Phase::Asked { inbox, .. } => world.effects.push(Effect::Unsubscribe(inbox)),
            Phase::Following { consumer, subject } => {
                world.effects.push(Effect::Unsubscribe(subject));
                // One that keeps its name goes on where it was, for whoever comes next.
                if self.source.consumer.is_none() && consumer != self.stable_name {
                    self.delete(&consumer, world);
                }
            }
        }
    }

    /// Ends for good.
    pub fn end(&mut self, world: &mut World<'_>) {
        self.stop(world);
        if self.source.consumer.is_none() {
            let name = self.stable_name.clone();
            self.delete(&name, world);
        }
    }

    fn delete(&self, consumer: &str, world: &mut World<'_>) {
        let below = format!("CONSUMER.DELETE.{}.{consumer}", self.source.name);
        world.effects.push(Effect::Publish {
            to: request::api_subject(&self.source, &below)
                .into_bytes()
                .into(),
            reply: None,
            header: Vec::new(),
            body: Vec::new(),
        });
    }

    /// What came does not go on from what is here: another consumer is asked for, soon.
    pub fn begin_again(&mut self, world: &mut World<'_>) {
        self.stop(world);
        let soonest = self.asked_at.map_or(world.now, |at| at + RETRY);
        self.wait_until(soonest.max(world.now), world);
    }

    /// Something did not work out: again after a while.
    fn failed(&mut self, world: &mut World<'_>) {
        self.stop(world);
        let wait = RETRY * (1 << self.fails.min(4));
        self.fails += 1;
        self.wait_until(world.now + wait.min(RETRY_MAX), world);
    }

    fn wait_until(&mut self, at: Nanos, world: &mut World<'_>) {
        let jitter = (world.random)() % (JITTER.as_nanos() as u64);
        self.phase = Phase::Waiting {
            until: at + Duration::from_nanos(jitter),
        };
    }

    /// Does this subject belong to the answer awaited?
    pub fn expects_answer_on(&self, on: &[u8]) -> bool {
        matches!(&self.phase, Phase::Asked { inbox, .. } if **inbox == *on)
    }

    /// An answer. Gives the sequence up to which a mirror's origin has nothing for it.
    pub fn answered(
        &mut self,
        header: &[u8],
        body: &[u8],
        last: u64,
        world: &mut World<'_>,
    ) -> Option<u64> {
        let Phase::Asked {
            level,
            deliver_subject,
            ..
        } = &self.phase
        else {
            return None;
        };
        let (level, deliver_subject) = (*level, deliver_subject.clone());
        self.stop(world);
        if header.starts_with(b"NATS/1.0 503") {
            // It has gone just now.
            self.wait_until(world.now + LOOK, world);
            return None;
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
            self.error = Some(errors::invalid_json("the answer cannot be read"));
            self.failed(world);
            return None;
        };
        if let Some(error) = answer.error {
            let not_understood = [LEVEL_NOT_KNOWN, FIELD_NOT_KNOWN].contains(&error.err_code);
            if not_understood
                && let Some(below) = level.below()
                && self.source.consumer.is_none()
            {
                self.ask(below, last, world);
                return None;
            }
            if error.err_code == OTHER_IDENTITY {
                world.effects.push(Effect::Warn(format!(
                    "JetStream source stream {:?} for stream '{} > {}' was recreated, resetting source state",
                    self.source.name, world.names.account, world.names.stream
                )));
                self.position = Position::default();
                self.ask(level, last, world);
                return None;
            }
            let error = ApiError {
                code: error.code,
                err_code: error.err_code,
                description: error.description.into(),
            };
            self.refused(error, world);
            return None;
        }
        let Some(config) = answer.config.filter(|_| !answer.name.is_empty()) else {
            let why = "invalid consumer create response";
            self.refused(self.setup_failed(why), world);
            return None;
        };
        if self.source.consumer.is_some() && config.ack_policy != AckPolicy::FlowControl {
            self.error = Some(match self.is_mirror {
                true => errors::MIRROR_CONSUMER_REQUIRES_ACK_FLOW_CONTROL,
                false => errors::SOURCE_CONSUMER_REQUIRES_ACK_FLOW_CONTROL,
            });
            self.failed(world);
            return None;
        }
        let on = match self.source.consumer {
            Some(_) => deliver_subject,
            None => config.deliver_subject,
        };
        if !subject::is_literal(on.as_bytes()) || !subject::is_valid_pattern(on.as_bytes()) {
            self.refused(self.setup_failed("invalid delivery subject"), world);
            return None;
        }
        if let Some(identity) = get(header, IDENTITY)
            && let Ok(identity) = std::str::from_utf8(identity)
            && !identity.contains(' ')
        {
            self.position.identity = identity.to_owned();
        }
        let on: Box<[u8]> = on.into_bytes().into();
        world.effects.push(Effect::Subscribe(self.id, on.clone()));
        self.position.seq = self.position.seq.max(answer.delivered.stream_seq);
        self.caught_up |= answer.num_pending.is_some_and(|it| it < CAUGHT_UP);
        self.delivered = 0;
        self.heard = Some(world.now);
        self.error = None;
        self.fails = 0;
        self.reachable = true;
        self.look_at = world.now + LOOK;
        self.phase = Phase::Following {
            consumer: answer.name,
            subject: on,
        };
        (self.is_mirror && self.position.seq > last).then_some(self.position.seq)
    }

    fn setup_failed(&self, why: &str) -> ApiError {
        match self.is_mirror {
            true => errors::mirror_consumer_setup_failed(why),
            false => errors::source_consumer_setup_failed(why),
        }
    }

    /// The origin's server said no.
    fn refused(&mut self, error: ApiError, world: &mut World<'_>) {
        world.effects.push(Effect::Warn(match self.is_mirror {
            true => format!("JetStream error response for create mirror consumer: {error}"),
            false => format!(
                "JetStream error response for stream {} create source consumer {}: {error}",
                world.names.stream, self.source.name
            ),
        }));
        self.error = Some(error);
        self.failed(world);
    }

    /// Something on the subject the consumer delivers to.
    pub fn arrived(
        &mut self,
        on: &[u8],
        reply: Option<&[u8]>,
        header: &[u8],
        payload: &[u8],
        world: &mut World<'_>,
    ) -> Arrived {
        let Phase::Following { consumer, subject } = &self.phase else {
            return Arrived::Nothing;
        };
        if **subject != *on {
            return Arrived::Nothing;
        }
        if payload.is_empty() && header.starts_with(b"NATS/1.0 100 ") {
            self.heard = Some(world.now);
            if reply.is_some() {
                return Arrived::FlowControl;
            }
            self.heartbeat(header, world);
            return Arrived::Nothing;
        }
        let Some(it) = reply.and_then(Delivered::parse) else {
            return Arrived::Nothing;
        };
        // What a consumer sends that was there before says nothing.
        if it.consumer != consumer.as_bytes() || it.deliveries > 1 {
            return Arrived::Nothing;
        }
        self.heard = Some(world.now);
        let before = (self.position.seq, self.delivered);
        if it.consumer_seq != self.delivered + 1 {
            if it.consumer_seq > self.delivered && it.stream_seq > self.position.seq {
                self.begin_again(world);
            }
            return Arrived::Nothing;
        }
        self.delivered += 1;
        if it.stream_seq <= self.position.seq {
            return Arrived::Nothing;
        }
        self.position.seq = it.stream_seq;
        self.lag = it.pending.saturating_sub(1);
        self.caught_up |= it.pending < CAUGHT_UP;
        Arrived::Message {
            seq: it.stream_seq,
            time: it.time,
            before,
        }
    }

    fn heartbeat(&mut self, header: &[u8], world: &mut World<'_>) {
        let last =
            get(header, LAST_CONSUMER).and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        if last.is_some_and(|last: u64| last > 0 && last != self.delivered) {
            self.begin_again(world);
        } else if let Some(to) = get(header, STALLED).filter(|it| !it.is_empty()) {
            world.effects.push(Effect::Publish {
                to: to.into(),
                reply: None,
                header: Vec::new(),
                body: Vec::new(),
            });
        }
    }

    /// A message could not be stored: it comes again.
    pub fn not_stored(&mut self, before: (u64, u64), world: &mut World<'_>) {
        self.put_back(before);
        self.failed(world);
    }

    /// A message is handed over once more, later.
    pub fn put_back(&mut self, before: (u64, u64)) {
        (self.position.seq, self.delivered) = before;
    }

    /// How far we are, as the consumer is told.
    pub fn progress(&self) -> (u64, u64) {
        (self.delivered, self.position.seq)
    }

    /// JS-154.
    pub fn info(&self, now: Nanos) -> StreamSourceInfo {
        StreamSourceInfo {
            name: self.source.name.clone(),
            external: self.source.external.clone(),
            lag: self.lag,
            seq: self.position.seq,
            active: self.heard.map_or(Span(-1), |at| now.since(at).into()),
            error: self.error.clone(),
            filter_subject: self.source.filter_subject.clone(),
            subject_transforms: self.source.subject_transforms.clone(),
        }
    }
}
