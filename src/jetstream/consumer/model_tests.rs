//! The consumer against a model that looks at everything each time: slow, and by the book.

use std::collections::BTreeMap;
use std::time::Duration;

use super::random::Random;
use super::rig::{Rig, filtered};
use super::{Beginning, Settings};
use crate::jetstream::consumer::config::AckPolicy;

/// Steps of one seed: then a new consumer begins.
const STEPS: usize = 250;
/// Seeds of one test. With [`STEPS`] and the number of tests a million steps.
const SEEDS: u64 = 1000;
const REPLIES: [&str; 3] = ["P", "Q", "R"];
const SUBJECTS: [&str; 3] = ["s.a", "s.b", "s.c"];

/// A message that is out.
#[derive(Debug, Clone, Copy)]
struct Out {
    consumer_seq: u64,
    since: i64,
    /// Its place among those to be sent again.
    again: Option<u64>,
}

#[derive(Debug)]
struct Model {
    settings: Settings,
    messages: BTreeMap<u64, &'static str>,
    last: u64,
    cursor: u64,
    next: u64,
    out: BTreeMap<u64, Out>,
    /// How often each was sent again.
    again: BTreeMap<u64, u64>,
    places: u64,
    waiting: Vec<(&'static str, i64)>,
    /// Nothing up to here counts any more (acknowledge all).
    acked: (u64, u64),
    told_acked: u64,
    /// Messages were given up, so that what is told of the floor may stay behind.
    gave_up: bool,
    told: Vec<String>,
}

impl Model {
    fn matches(&self, subject: &str) -> bool {
        self.settings.filter.matches(subject.as_bytes())
    }

    fn wait(&self, seq: u64) -> i64 {
        let waits = self.settings.waits();
        let count = self.again.get(&seq).copied().unwrap_or(0) as usize;
        waits[count.min(waits.len() - 1)]
    }

    fn pending(&self) -> usize {
        let ahead = self.messages.range(self.cursor..);
        ahead.filter(|it| self.matches(it.1)).count()
    }

    fn give_up(&mut self, seq: u64, deliveries: u64) {
        self.told
            .push(format!("max deliveries #{seq} d{deliveries}"));
        self.out.remove(&seq);
        self.gave_up = true;
    }

    fn send_again(&mut self, seq: u64) {
        self.places += 1;
        if let Some(out) = self.out.get_mut(&seq)
            && out.again.is_none()
        {
            out.again = Some(self.places);
        }
    }

    fn run(&mut self, now: i64) {
        let due: Vec<u64> = self
            .out
            .iter()
            .filter(|it| it.1.again.is_none() && it.1.since + self.wait(*it.0) <= now)
            .map(|it| *it.0)
            .collect();
        let most = self.settings.max_deliver;
        // Those that come due together keep their distances.
        let mut shift = None;
        for seq in due {
            let deliveries = self.again.get(&seq).copied().unwrap_or(0).max(1);
            if most > 0 && deliveries >= most {
                if deliveries == most {
                    self.give_up(seq, deliveries);
                } else {
                    self.out.remove(&seq);
                }
                self.again.insert(seq, deliveries);
            } else {
                self.send_again(seq);
                if let Some(out) = self.out.get_mut(&seq) {
                    out.since += *shift.get_or_insert(now - out.since);
                }
            }
        }
        while !self.waiting.is_empty() && self.deliver(now) {}
    }

    fn deliver(&mut self, now: i64) -> bool {
        let first = self
            .out
            .iter()
            .filter_map(|(seq, out)| Some((out.again?, *seq)));
        if let Some((_, seq)) = first.min() {
            let count = self.again.entry(seq).or_insert(0);
            *count += 1;
            let deliveries = *count + 1;
            let most = self.settings.max_deliver;
            if most > 0 && deliveries > most {
                self.give_up(seq, most);
            } else {
                self.send(seq, deliveries, now);
            }
            return true;
        }
        let most = self.settings.max_ack_pending;
        if most > 0 && self.out.len() >= most {
            return false;
        }
        let mut ahead = self.messages.range(self.cursor..);
        let found = ahead.find(|it| self.matches(it.1)).map(|it| *it.0);
        self.cursor = found.unwrap_or(self.last) + 1;
        if let Some(seq) = found {
            self.send(seq, 1, now);
        }
        found.is_some()
    }

    fn send(&mut self, seq: u64, deliveries: u64, now: i64) {
        let (to, batch) = self.waiting.remove(0);
        if batch > 1 {
            self.waiting.push((to, batch - 1));
        }
        let (subject, next, pending) = (self.messages[&seq], self.next, self.pending());
        self.told.push(format!(
            "{to} <- {subject} #{seq} {next} d{deliveries} +{pending}"
        ));
        if self.settings.ack_policy != AckPolicy::None {
            let consumer_seq = self.out.get(&seq).map_or(next, |it| it.consumer_seq);
            let out = Out {
                consumer_seq,
                since: now,
                again: None,
            };
            self.out.insert(seq, out);
        }
        self.next += 1;
    }

    /// Takes a message as done; true if that is answered.
    fn done(&mut self, seq: u64, consumer_seq: u64) -> bool {
        if seq >= self.cursor {
            return false;
        }
        if self.settings.ack_policy == AckPolicy::All && consumer_seq >= self.next {
            return true;
        }
        if self.settings.ack_policy == AckPolicy::All {
            if seq > self.acked.1 {
                self.acked = (consumer_seq.max(self.acked.0), seq);
                // What was not out any more moves what is told no further.
                if self.out.contains_key(&seq) {
                    self.told_acked = self.acked.0;
                }
                let gone: Vec<u64> = self.out.range(..=seq).map(|it| *it.0).collect();
                for gone in gone {
                    self.out.remove(&gone);
                    self.again.remove(&gone);
                }
            }
            if !self.out.contains_key(&seq) {
                self.again.remove(&seq);
            }
        } else {
            self.out.remove(&seq);
            self.again.remove(&seq);
        }
        true
    }

    fn ack(&mut self, seq: u64, consumer_seq: u64, body: &str, now: i64) {
        let out = self.out.get(&seq).copied();
        let answered = match body {
            "" => self.done(seq, consumer_seq),
            "+TERM" => {
                let answered = self.done(seq, consumer_seq);
                self.told.push(format!("term #{seq} d1"));
                answered
            }
            "+WPI" => {
                if let Some(out) = self.out.get_mut(&seq) {
                    out.since = now;
                }
                true
            }
            _ => {
                if out.is_some() && consumer_seq <= self.next {
                    self.told.push(format!("nak #{seq} {consumer_seq}"));
                    if body == "-NAK" {
                        self.send_again(seq);
                    } else if let Some(out) = self.out.get_mut(&seq) {
                        let ack_wait = self.settings.ack_wait.as_nanos() as i64;
                        out.since = now - ack_wait + 15_000_000;
                        out.again = None;
                    }
                }
                true
            }
        };
        if answered {
            self.told.push("A <- answer".to_owned());
        }
    }

    /// Deliveries up to here are done with.
    fn floor(&self) -> u64 {
        if self.settings.ack_policy == AckPolicy::All {
            return self.acked.0;
        }
        let first = self.out.values().map(|it| it.consumer_seq).min();
        first.map_or(self.next, |it| it) - 1
    }
}

fn random_settings(random: &mut Random) -> Settings {
    let mut pick = |count: u64| random.next() % count;
    let milli = Duration::from_millis;
    let backoff = match pick(3) {
        0 => vec![milli(20), milli(50), milli(100)],
        _ => Vec::new(),
    };
    Settings {
        ack_policy: [
            AckPolicy::Explicit,
            AckPolicy::Explicit,
            AckPolicy::All,
            AckPolicy::None,
        ][pick(4) as usize],
        ack_wait: backoff.first().copied().unwrap_or(milli(30)),
        backoff,
        max_deliver: [0, 0, 1, 2, 3][pick(5) as usize],
        max_ack_pending: [0, 2, 5, 1000][pick(4) as usize],
        beginning: Beginning::First,
        ..filtered([&[][..], &["s.a"], &["s.a", "s.b"], &["s.*"]][pick(4) as usize])
    }
}

/// One consumer's life.
fn live(seed: u64) {
    let mut random = Random(seed);
    let settings = random_settings(&mut random);
    let mut rig = Rig::new(settings.clone(), &[]);
    let mut model = Model {
        settings,
        messages: BTreeMap::new(),
        last: 0,
        cursor: 1,
        next: 1,
        out: BTreeMap::new(),
        again: BTreeMap::new(),
        places: 0,
        waiting: Vec::new(),
        acked: (0, 0),
        told_acked: 0,
        gave_up: false,
        told: Vec::new(),
    };
    // Every delivery, to say something about: message and delivery.
    let mut sent: Vec<(u64, u64)> = vec![(1, 1)];
    for step in 0..STEPS {
        let mut pick = |count: u64| random.next() % count;
        let now = rig.nanos as i64;
        let what = pick(100);
        match what {
            0..30 => {
                let subject = SUBJECTS[pick(3) as usize];
                rig.append(subject);
                model.last += 1;
                model.messages.insert(model.last, subject);
            }
            30..45 if model.waiting.len() < 10 => {
                let (reply, batch) = (REPLIES[pick(3) as usize], pick(4) as i64 + 1);
                rig.request(reply, &batch.to_string());
                model.waiting.push((reply, batch));
            }
            45..75 if model.settings.ack_policy != AckPolicy::None => {
                // Mostly something recent.
                let back = 1 + (pick(8) as usize).min(sent.len() - 1);
                let (seq, consumer_seq) = sent[sent.len() - back];
                // Or nothing that was ever sent, where each stands for itself.
                let made_up = model.settings.ack_policy == AckPolicy::Explicit && pick(50) == 0;
                let seq = if made_up { seq + pick(3) } else { seq };
                let kinds = ["", "", "", "+WPI", "-NAK", "-NAK 15ms", "+TERM"];
                let kind = kinds[pick(7) as usize];
                rig.ack(seq, consumer_seq, kind);
                model.ack(seq, consumer_seq, kind, now);
            }
            75..80 if !model.messages.is_empty() => {
                let nth = pick(model.messages.len() as u64) as usize;
                let seq = *model.messages.keys().nth(nth).expect("counted");
                rig.remove(seq);
                model.messages.remove(&seq);
                if model.out.remove(&seq).is_some() {
                    let deliveries = model.again.get(&seq).copied().unwrap_or(0).max(1);
                    // It may have been the one the floor waited for.
                    model.gave_up |= model.settings.ack_policy == AckPolicy::All;
                    model.again.remove(&seq);
                    model.told.push(format!(
                        "term #{seq} d{deliveries} Unacknowledged message was deleted"
                    ));
                } else if seq < model.cursor {
                    model.again.remove(&seq);
                }
            }
            80..82 => rig.restart(Duration::ZERO),
            _ => rig.pass(Duration::from_millis(pick(25))),
        }
        if (80..82).contains(&what) {
            // Requests and the order of those to be sent again are not kept.
            model.waiting.clear();
            for out in model.out.values_mut() {
                out.again = None;
            }
        }
        model.run(rig.nanos as i64);
        let told = rig.run();
        let expected = std::mem::take(&mut model.told);
        assert_eq!(
            told, expected,
            "seed {seed} step {step} {:?}",
            model.settings
        );
        for line in told.iter().filter(|it| it.contains('#')) {
            let Some((_, rest)) = line.split_once(" <- ") else {
                continue;
            };
            let mut words = rest.split_once('#').expect("filtered").1.split(' ');
            let mut number = || {
                words
                    .next()
                    .and_then(|it| it.parse().ok())
                    .expect("a number")
            };
            sent.push((number(), number()));
        }
        compare(&mut rig, &model, seed, step);
    }
}

/// What is told of the consumer against the model.
fn compare(rig: &mut Rig, model: &Model, seed: u64, step: usize) {
    let told = rig.with(|it, turn| it.figures(turn));
    let at = format!("seed {seed} step {step} {model:?} {told:?}");
    assert_eq!(told.ack_pending, model.out.len() as u64, "{at}");
    assert_eq!(told.pending, model.pending() as u64, "{at}");
    assert_eq!(told.waiting, model.waiting.len() as u64, "{at}");
    let again = match model.settings.max_deliver {
        1 => 0,
        _ => model.again.len() as u64,
    };
    assert_eq!(
        told.redelivered, again,
        "{at} {:?}",
        rig.consumer.out.redelivered
    );
    assert_eq!(told.delivered.consumer, model.next - 1, "{at}");
    let floor = told.ack_floor;
    assert!(floor.consumer <= told.delivered.consumer, "{at}");
    if let Some((first, _)) = model.out.first_key_value() {
        assert!(
            floor.stream < *first,
            "nothing out is below the floor: {at}"
        );
    }
    if !model.gave_up {
        let expected = match model.settings.ack_policy {
            AckPolicy::All => model.told_acked,
            _ => model.floor(),
        };
        assert_eq!(floor.consumer, expected, "{at}");
    }
}

fn seeds(part: u64) {
    match std::env::var("RAMJET_SEED") {
        Ok(seed) => live(seed.parse().expect("RAMJET_SEED is a number")),
        Err(_) => (part * SEEDS..(part + 1) * SEEDS).for_each(live),
    }
}

#[test]
fn model_agrees_1() {
    seeds(0);
}

#[test]
fn model_agrees_2() {
    seeds(1);
}

#[test]
fn model_agrees_3() {
    seeds(2);
}

#[test]
fn model_agrees_4() {
    seeds(3);
}
