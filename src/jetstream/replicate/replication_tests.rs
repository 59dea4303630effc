//! Copies of a stream whose server, link and consumers come and go: whatever happens in between,
//! in the end each message is there once, in order.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Arrival, Effect, Names, Replication, World};
use crate::jetstream::store::{Fetch, Purge, Store};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::config::{Retention, StreamConfig, StreamSource};
use crate::time::{Nanos, WallTime};

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// What goes over the link.
#[derive(Debug, Clone)]
struct Sent {
    on: Vec<u8>,
    subject: Vec<u8>,
    reply: Option<Vec<u8>>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

/// A consumer of the origin.
struct Consumer {
    name: String,
    deliver: String,
    /// Next message to be sent, and its number.
    next: u64,
    number: u64,
    heard: Nanos,
}

/// The origin's side: messages `1..=last`, some of which are gone.
#[derive(Default)]
struct Origin {
    last: u64,
    gone: Vec<u64>,
    consumers: Vec<Consumer>,
    made: u64,
    link: VecDeque<Sent>,
    /// Subjects the other side wants.
    wanted: Vec<Vec<u8>>,
}

impl Origin {
    fn take(&mut self, effect: Effect, now: Nanos) {
        match effect {
            Effect::Subscribe(_, subject) => self.wanted.push(subject.to_vec()),
            Effect::Unsubscribe(subject) => self.wanted.retain(|it| **it != *subject),
            Effect::Publish {
                to, reply, body, ..
            } => {
                let to = String::from_utf8(to.to_vec()).expect("text");
                if to.contains("CONSUMER.CREATE") {
                    self.create(&reply.expect("an inbox"), &body, now);
                } else if let Some(name) = to.strip_prefix("$JS.far.API.CONSUMER.DELETE.R.") {
                    self.consumers.retain(|it| it.name != name);
                }
            }
            Effect::Warn(_) => {}
        }
    }

    fn create(&mut self, reply: &[u8], body: &[u8], now: Nanos) {
        let asked: Value = serde_json::from_slice(body).expect("JSON");
        let config = &asked["config"];
        self.made += 1;
        let name = format!("{}-{}", config["name"].as_str().expect("a name"), self.made);
        let start = config["opt_start_seq"].as_u64().unwrap_or(1);
        let deliver = config["deliver_subject"].as_str().expect("a subject");
        self.consumers.push(Consumer {
            name: name.clone(),
            deliver: deliver.to_owned(),
            next: start,
            number: 0,
            heard: now,
        });
        let answer =
            json!({"name": name, "config": config, "delivered": {"stream_seq": start - 1}});
        self.link.push_back(Sent {
            on: reply.to_vec(),
            subject: reply.to_vec(),
            reply: None,
            headers: b"NATS/1.0\r\nNats-Stream-Identity: identity\r\n\r\n".to_vec(),
            payload: answer.to_string().into_bytes(),
        });
    }

    /// Each consumer that is listened to sends a few messages, or says that it is there.
    fn send(&mut self, now: Nanos) {
        let (last, gone, wanted) = (self.last, &self.gone, &self.wanted);
        let link = &mut self.link;
        for it in &mut self.consumers {
            if !wanted
                .iter()
                .any(|subject| *subject == it.deliver.as_bytes())
            {
                continue;
            }
            let mut sent = 0;
            while it.next <= last && sent < 5 {
                if !gone.contains(&it.next) {
                    it.number += 1;
                    sent += 1;
                    let reply = format!(
                        "$JS.ACK.R.{}.1.{}.{}.{}.0",
                        it.name, it.next, it.number, it.next
                    );
                    link.push_back(Sent {
                        on: it.deliver.clone().into_bytes(),
                        subject: format!("r.{}", it.next % 7).into_bytes(),
                        reply: Some(reply.into_bytes()),
                        headers: Vec::new(),
                        payload: it.next.to_string().into_bytes(),
                    });
                }
                it.next += 1;
            }
            if sent == 0 && now.since(it.heard) >= Duration::from_secs(1) {
                it.heard = now;
                let head = format!(
                    "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {}\r\nNats-Last-Stream: {}\r\n\r\n",
                    it.number,
                    it.next - 1
                );
                link.push_back(Sent {
                    on: it.deliver.clone().into_bytes(),
                    subject: it.deliver.clone().into_bytes(),
                    reply: None,
                    headers: head.into_bytes(),
                    payload: Vec::new(),
                });
            }
        }
    }
}

fn config(mirror: bool, retention: Retention) -> StreamConfig {
    let source: StreamSource = serde_json::from_value(
        json!({"name": "R", "external": {"api": "$JS.far.API", "deliver": ""}}),
    )
    .expect("a source");
    StreamConfig {
        name: "S".to_owned(),
        retention,
        max_msg_size: -1,
        mirror: mirror.then(|| source.clone()),
        sources: if mirror { Vec::new() } else { vec![source] },
        ..StreamConfig::default()
    }
}

struct Rig {
    dice: Dice,
    now: Nanos,
    origin: Origin,
    stream: Stream,
    replication: Replication,
    reachable: bool,
    /// Payloads in the order they were stored.
    stored: Vec<u64>,
}

fn world<T>(
    now: Nanos,
    dice: &mut Dice,
    reachable: bool,
    call: impl FnOnce(&mut World<'_>) -> T,
) -> (T, Vec<Effect>) {
    let names = Names {
        account: "$G".to_owned(),
        stream: "S".to_owned(),
        domain: "near".to_owned(),
    };
    let mut effects = Vec::new();
    let done = call(&mut World {
        now,
        wall: WallTime(now.0 + 1),
        names: &names,
        random: &mut || dice.next(),
        reachable: &mut |_| reachable,
        effects: &mut effects,
    });
    (done, effects)
}

impl Rig {
    fn new(seed: u64, mirror: bool, retention: Retention) -> Self {
        let mut dice = Dice(seed);
        let now = Nanos(1_000_000_000);
        let stream = Stream::new(config(mirror, retention), WallTime(1), Store::memory());
        let (replication, _) = world(now, &mut dice, true, |world| {
            Replication::new(&stream, Names::default(), world)
        });
        Self {
            dice,
            now,
            origin: Origin::default(),
            stream,
            replication: replication.expect("an origin"),
            reachable: true,
            stored: Vec::new(),
        }
    }

    fn run(&mut self) {
        let (replication, stream) = (&mut self.replication, &mut self.stream);
        let (_, effects) = world(self.now, &mut self.dice, self.reachable, |world| {
            while replication.run(stream, world) {}
        });
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let lost = !self.reachable && matches!(effect, Effect::Publish { .. });
            if !lost {
                self.origin.take(effect, self.now);
            }
        }
    }

    fn arrive(&mut self, sent: &Sent) {
        if !self.origin.wanted.contains(&sent.on) {
            return;
        }
        let (replication, stream) = (&mut self.replication, &mut self.stream);
        let arrival = Arrival {
            on: &sent.on,
            subject: &sent.subject,
            reply: sent.reply.as_deref(),
            headers: &sent.headers,
            payload: &sent.payload,
        };
        let (accepted, effects) = world(self.now, &mut self.dice, self.reachable, |world| {
            replication.arrived(0, &arrival, stream, &|_| true, world)
        });
        if accepted.is_some() {
            let payload = std::str::from_utf8(&sent.payload).expect("text");
            self.stored.push(payload.parse().expect("a number"));
        }
        self.carry_out(effects);
    }

    /// The stream's server goes down at any moment and comes again: what it knows is in the store.
    fn crash(&mut self) {
        self.origin.wanted.clear();
        let stream = &self.stream;
        let (replication, _) = world(self.now, &mut self.dice, true, |world| {
            Replication::new(stream, Names::default(), world)
        });
        self.replication = replication.expect("an origin");
    }

    fn step(&mut self, calm: bool) {
        self.now = self.now + Duration::from_millis(self.dice.next() % 300);
        if !calm {
            if self.dice.one_in(3) {
                self.origin.last += self.dice.next() % 6;
            }
            if self.dice.one_in(40) {
                // The link goes down with what is on it.
                self.reachable = false;
                self.origin.link.clear();
            }
            if self.dice.one_in(60) && self.origin.last > 0 {
                self.origin.consumers.clear();
            }
            if self.dice.one_in(50) {
                self.crash();
            }
            if self.dice.one_in(30) {
                let keep = self.dice.next() % 3;
                let (replication, stream) = (&mut self.replication, &mut self.stream);
                assert!(replication.keep(stream));
                let filter = crate::jetstream::store::Filter::All;
                let purge = Purge {
                    filter: &filter,
                    up_to: 0,
                    keep,
                };
                stream.purge(purge);
            }
        }
        if !self.reachable && (calm || self.dice.one_in(6)) {
            self.reachable = true;
        }
        if self.reachable {
            self.origin.send(self.now);
            while let Some(sent) = self.origin.link.pop_front() {
                let lost = !calm && self.dice.one_in(50);
                if !lost {
                    self.arrive(&sent);
                }
                if !calm && self.dice.one_in(50) {
                    self.arrive(&sent);
                }
            }
        }
        self.run();
    }
}

#[test]
fn js_143_152_nothing_is_lost_and_nothing_comes_twice() {
    for seed in 0..300 {
        let mirror = seed % 3 == 0;
        let retention = match seed % 2 {
            0 => Retention::Limits,
            _ if mirror => Retention::Limits,
            _ => Retention::WorkQueue,
        };
        let mut rig = Rig::new(seed, mirror, retention);
        for _ in 0..400 {
            rig.step(false);
        }
        for _ in 0..400 {
            rig.step(true);
        }
        let all: Vec<u64> = (1..=rig.origin.last).collect();
        assert!(rig.origin.last > 100, "seed {seed}");
        assert_eq!(rig.stored, all, "seed {seed}");
        if mirror {
            let last = rig.stream.store().state().last_seq;
            assert_eq!(last, rig.origin.last, "seed {seed}");
            if let Fetch::Message(message) = rig.stream.store_mut().fetch(last) {
                assert_eq!(message.payload, last.to_string().as_bytes());
                assert_eq!(message.time, WallTime(last));
            }
        }
    }
}
