//! What a stream keeps, as consumers come and go, against a model that looks at everything each time
//! (section 5): limits, interest, work queues; the oldest or the newest gives way, age, one subject's share.

use std::collections::{BTreeMap, BTreeSet};

use super::disk_tests::Rig;
use crate::jetstream::store::{Filter, FlushPolicy};

const SUBJECTS: [&str; 3] = ["s.a", "s.b", "s.c"];
const NAMES: [&str; 4] = ["one", "two", "three", "four"];
/// Steps of one seed: then a new stream begins.
const STEPS: u32 = 400;
/// Seeds of one kind of retention. With [`STEPS`] and their number a million steps.
const SEEDS: u64 = 834;
/// What passes at once, sometimes: much longer than all steps of a seed take by themselves.
const LONG: u64 = 20 * 60 * 1_000_000_000;
/// Messages live a little less than this many times [`LONG`].
const LIFE: u64 = 3;

/// Numbers that look random.
struct Random(u64);

impl Random {
    /// Below `most`.
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
struct Reader {
    /// Everything if `None`.
    filter: Option<&'static str>,
    policy: &'static str,
    /// Nothing before concerns it.
    next: u64,
    begin: u64,
    done: BTreeSet<u64>,
    /// Handed out and not acknowledged, with the subject to acknowledge on.
    out: BTreeMap<u64, String>,
}

impl Reader {
    fn matches(&self, subject: &str) -> bool {
        self.filter.is_none_or(|it| it == subject)
    }

    fn needs(&self, seq: u64, subject: &str) -> bool {
        self.matches(subject) && seq >= self.begin && !self.done.contains(&seq)
    }
}

#[derive(Debug)]
struct Model {
    retention: &'static str,
    max_msgs: u64,
    max_per_subject: u64,
    /// What is too much is refused, not made room for.
    refuses: bool,
    /// One subject's next message is refused, too, when that has its share.
    refuses_per_subject: bool,
    ages: bool,
    last: u64,
    messages: BTreeMap<u64, &'static str>,
    /// How often [`LONG`] had passed when each came, and by now.
    came: BTreeMap<u64, u64>,
    passed: u64,
    readers: BTreeMap<&'static str, Reader>,
}

impl Model {
    fn config(&self) -> String {
        let limit = |it: u64| if it == 0 { -1 } else { it as i64 };
        format!(
            r#"{{"name":"S","subjects":["s.>"],"storage":"memory","retention":"{}","max_msgs":{},"max_msgs_per_subject":{},"discard":"{}","discard_new_per_subject":{},"max_age":{}}}"#,
            self.retention,
            limit(self.max_msgs),
            limit(self.max_per_subject),
            if self.refuses { "new" } else { "old" },
            self.refuses_per_subject,
            if self.ages { LIFE * LONG - LONG / 2 } else { 0 },
        )
    }

    /// The sequence, or why it is not stored (JS-96, JS-97).
    fn publish(&mut self, subject: &'static str) -> Result<u64, &'static str> {
        let wanted = self.readers.values().any(|it| it.matches(subject));
        if self.retention == "interest" && !wanted {
            self.last += 1;
            return Ok(self.last);
        }
        let of_subject = self.messages.values().filter(|it| **it == subject);
        let full = self.max_per_subject > 0 && of_subject.count() as u64 >= self.max_per_subject;
        if full && self.refuses_per_subject {
            return Err("maximum messages per subject exceeded");
        }
        // One that takes an older one's place is let in.
        let most = self.max_msgs > 0 && self.messages.len() as u64 >= self.max_msgs;
        if self.refuses && most && !full {
            return Err("maximum messages exceeded");
        }
        self.last += 1;
        self.messages.insert(self.last, subject);
        self.came.insert(self.last, self.passed);
        self.limit();
        Ok(self.last)
    }

    /// What is old goes.
    fn age(&mut self) {
        self.passed += 1;
        if self.ages {
            let (came, now) = (&self.came, self.passed);
            self.messages.retain(|it, _| came[it] + LIFE > now);
        }
    }

    fn limit(&mut self) {
        for subject in SUBJECTS {
            let of_subject = self.messages.iter().filter(|it| *it.1 == subject);
            let mut seqs: Vec<u64> = of_subject.map(|it| *it.0).collect();
            if self.max_per_subject > 0 && seqs.len() as u64 > self.max_per_subject {
                seqs.truncate(seqs.len() - self.max_per_subject as usize);
                self.messages.retain(|it, _| !seqs.contains(it));
            }
        }
        while !self.refuses && self.max_msgs > 0 && self.messages.len() as u64 > self.max_msgs {
            self.messages.pop_first();
        }
    }

    /// A reader is done with messages.
    fn done(&mut self, name: &str, seqs: &[u64]) {
        if let Some(reader) = self.readers.get_mut(name) {
            for seq in seqs {
                reader.out.remove(seq);
                reader.done.insert(*seq);
            }
        }
        for seq in seqs {
            match self.retention {
                "workqueue" => {
                    self.messages.remove(seq);
                }
                "interest" => self.drop_unneeded(Some(*seq)),
                _ => {}
            }
        }
    }

    /// Interest: what nobody needs goes.
    fn drop_unneeded(&mut self, only: Option<u64>) {
        let readers = &self.readers;
        self.messages.retain(|seq, subject| {
            only.is_some_and(|it| it != *seq) || readers.values().any(|it| it.needs(*seq, subject))
        });
    }

    /// The stream becomes one that keeps what is wanted (JS-114).
    fn becomes_interest(&mut self) {
        let readers = &self.readers;
        self.messages.retain(|seq, subject| {
            let mut all = readers.values();
            !readers.is_empty()
                && (all.clone().any(|it| it.needs(*seq, subject))
                    || !all.any(|it| it.matches(subject)))
        });
    }

    /// What a reader is handed next.
    fn next(&mut self, name: &str) -> Option<u64> {
        let reader = self.readers.get_mut(name)?;
        let mut ahead = self.messages.range(reader.next..);
        let found = ahead.find(|it| reader.filter.is_none_or(|filter| filter == *it.1));
        let seq = *found?.0;
        reader.next = seq + 1;
        Some(seq)
    }
}

struct World {
    rig: Rig,
    client: u32,
    model: Model,
    random: Random,
}

impl World {
    fn new(seed: u64, retention: &'static str) -> Self {
        let mut rig = Rig::new(FlushPolicy::Durable);
        let client = rig.connect("answer.>");
        let mut random = Random(seed);
        let max_per_subject = random.of(&[0, 0, 2]);
        let refuses = random.below(3) == 0;
        let model = Model {
            retention,
            max_msgs: random.of(&[0, 0, 6]),
            max_per_subject,
            refuses,
            refuses_per_subject: refuses && max_per_subject > 0 && random.below(2) == 0,
            ages: random.below(3) == 0,
            last: 0,
            messages: BTreeMap::new(),
            came: BTreeMap::new(),
            passed: 0,
            readers: BTreeMap::new(),
        };
        rig.stream(client, &model.config());
        Self {
            rig,
            client,
            model,
            random,
        }
    }

    /// What comes back to this.
    fn tell(&mut self, subject: &str, body: &str) -> String {
        let text = format!("PUB {subject} answer.0 {}\r\n{body}\r\n", body.len());
        self.rig.core.receive(self.client, text.as_bytes());
        // A request goes from one queue to the next.
        let mut answer = String::new();
        for _ in 0..4 {
            self.rig.turn();
            answer += &self.rig.taken(self.client);
            if !answer.is_empty() || subject.starts_with("$JS.ACK.") {
                break;
            }
        }
        answer
    }

    #[track_caller]
    fn ask(&mut self, endpoint: &str, body: &str) -> String {
        let answer = self.tell(&format!("$JS.API.{endpoint}"), body);
        assert!(answer.contains("_response"), "{endpoint}: {answer}");
        answer
    }

    fn step(&mut self) -> String {
        match self.random.below(100) {
            0..40 => {
                let subject = self.random.of(&SUBJECTS);
                let answer = self.tell(subject, "x");
                let stored = self.model.publish(subject);
                let expected = match stored {
                    Ok(seq) => format!("\"seq\":{seq}}}"),
                    Err(why) => format!("\"err_code\":10077,\"description\":\"{why}\""),
                };
                assert!(answer.contains(&expected), "{answer}, not {expected}");
                format!("publish {subject}: {stored:?}")
            }
            40..65 => self.pull(),
            65..85 => self.acknowledge(),
            85..90 => self.make_reader(),
            90..92 => self.drop_reader(),
            92..95 => {
                let seq = 1 + self.random.below(self.model.last.max(1));
                self.ask("STREAM.MSG.DELETE.S", &format!("{{\"seq\":{seq}}}"));
                self.model.messages.remove(&seq);
                format!("delete {seq}")
            }
            95..97 => self.purge(),
            97 => {
                self.rig.pass(LONG);
                (0..3).for_each(|_| self.rig.turn());
                // The server asks whether we are there.
                self.rig.core.receive(self.client, b"PONG\r\n");
                self.rig.turn();
                self.rig.taken(self.client);
                self.model.age();
                "time passes".to_owned()
            }
            _ => self.change(),
        }
    }

    fn pull(&mut self) -> String {
        let name = self.random.of(&NAMES);
        if !self.model.readers.contains_key(name) {
            return String::new();
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.S.{name}");
        let got = self.tell(&subject, r#"{"batch":1,"no_wait":true}"#);
        let ack = got.split([' ', '\r']).find(|it| it.starts_with("$JS.ACK."));
        let seq = ack.map(|it| it.split('.').nth(5).expect("a sequence"));
        let seq: Option<u64> = seq.map(|it| it.parse().expect("a number"));
        assert_eq!(seq, self.model.next(name), "{name}: {got}");
        if let (Some(seq), Some(ack)) = (seq, ack)
            && let Some(reader) = self.model.readers.get_mut(name)
        {
            match reader.policy {
                "none" => self.model.done(name, &[seq]),
                _ => drop(reader.out.insert(seq, ack.to_owned())),
            }
        }
        format!("{name} gets {seq:?}")
    }

    fn acknowledge(&mut self) -> String {
        let name = self.random.of(&NAMES);
        let Some(reader) = self.model.readers.get(name) else {
            return String::new();
        };
        let out: Vec<(u64, String)> = reader.out.clone().into_iter().collect();
        if out.is_empty() {
            return String::new();
        }
        let (seq, to) = &out[self.random.below(out.len() as u64) as usize];
        let word = match reader.policy {
            "explicit" => self.random.of(&["+ACK", "+TERM", ""]),
            _ => "+ACK",
        };
        let done: Vec<u64> = match reader.policy {
            "all" => out.iter().map(|it| it.0).filter(|it| it <= seq).collect(),
            _ => vec![*seq],
        };
        self.tell(to, word);
        self.model.done(name, &done);
        format!("{name} {word} {seq}")
    }

    fn make_reader(&mut self) -> String {
        let name = self.random.of(&NAMES);
        if self.model.readers.contains_key(name) {
            return String::new();
        }
        let retention = self.model.retention;
        let filter = self
            .random
            .of(&[None, Some("s.a"), Some("s.b"), Some("s.c")]);
        let (mut policy, mut begin) = ("explicit", 0);
        if retention == "workqueue" {
            // One way for each subject.
            let meets = |it: &Reader| match (filter, it.filter) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            if self.model.readers.values().any(meets) {
                return String::new();
            }
        } else {
            policy = self.random.of(&["explicit", "all", "none"]);
            begin = self.random.of(&[0, self.model.last + 1]);
        }
        let deliver = if begin == 0 { "all" } else { "new" };
        let filtered = filter.map_or(String::new(), |it| format!(r#","filter_subject":"{it}""#));
        // Nothing is handed out again.
        let wait = 10_000 * LONG;
        let body = format!(
            r#"{{"stream_name":"S","config":{{"durable_name":"{name}","ack_policy":"{policy}","ack_wait":{wait},"deliver_policy":"{deliver}"{filtered}}}}}"#
        );
        let answer = self.ask(&format!("CONSUMER.CREATE.S.{name}"), &body);
        assert!(!answer.contains("\"error\""), "{answer}");
        let reader = Reader {
            filter,
            policy,
            next: begin,
            begin,
            done: BTreeSet::new(),
            out: BTreeMap::new(),
        };
        self.model.readers.insert(name, reader);
        format!("{name} comes: {filtered} {policy} from {begin}")
    }

    fn drop_reader(&mut self) -> String {
        let name = self.random.of(&NAMES);
        if self.model.readers.remove(name).is_none() {
            return String::new();
        }
        self.ask(&format!("CONSUMER.DELETE.S.{name}"), "");
        if self.model.retention == "interest" {
            self.model.drop_unneeded(None);
        }
        format!("{name} goes")
    }

    fn purge(&mut self) -> String {
        let filter = self.random.of(&[None, Some("s.a"), Some("s.b")]);
        let matching = self.model.messages.iter();
        let matching = matching.filter(|it| filter.is_none_or(|filter| filter == *it.1));
        let mut gone: Vec<u64> = matching.map(|it| *it.0).collect();
        let named = filter.map_or(String::new(), |it| format!(r#""filter":"{it}","#));
        let body = if self.random.below(2) == 0 {
            let up_to = 1 + self.random.below(self.model.last + 2);
            gone.retain(|&it| it < up_to);
            if filter.is_none() {
                // The stream begins there then, whether it has come so far or not.
                self.model.last = self.model.last.max(up_to - 1);
            }
            format!(r#"{{{named}"seq":{up_to}}}"#)
        } else {
            let keep = 1 + self.random.below(3);
            gone.truncate(gone.len().saturating_sub(keep as usize));
            format!(r#"{{{named}"keep":{keep}}}"#)
        };
        self.model.messages.retain(|it, _| !gone.contains(it));
        let answer = self.ask("STREAM.PURGE.S", &body);
        assert!(
            answer.contains(&format!("\"purged\":{}", gone.len())),
            "{answer}"
        );
        format!("purge {body}")
    }

    /// Other limits, or limits for interest and the other way round (JS-57).
    fn change(&mut self) -> String {
        let before = self.model.retention;
        if before != "workqueue" {
            self.model.retention = self.random.of(&["limits", "interest"]);
        }
        self.model.max_msgs = self.random.of(&[0, 0, 4, 6]);
        let answer = self.ask("STREAM.UPDATE.S", &self.model.config());
        assert!(!answer.contains("\"error\""), "{answer}");
        self.model.limit();
        if before == "limits" && self.model.retention == "interest" {
            self.model.becomes_interest();
        }
        format!("{before} becomes {}", self.model.config())
    }

    fn kept(&self) -> Vec<u64> {
        let streams = self.rig.core.jetstream.streams.iter();
        let mut kept = Vec::new();
        for (_, hosted) in streams {
            let (store, mut from) = (hosted.stream.store(), 0);
            while let Some(seq) = store.next_match(from, &Filter::All) {
                kept.push(seq);
                from = seq + 1;
            }
            let state = store.state();
            assert_eq!(state.messages, kept.len() as u64);
            assert_eq!(state.last_seq, self.model.last);
            let first = kept.first().copied().unwrap_or(state.last_seq + 1);
            assert!(state.first_seq == first || state.last_seq == 0, "{state:?}");
        }
        kept
    }
}

fn play(retention: &'static str) {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, retention);
        let mut history = Vec::new();
        for _ in 0..STEPS {
            history.push(world.step());
            let expected: Vec<u64> = world.model.messages.keys().copied().collect();
            if world.kept() != expected {
                history.retain(|it| !it.is_empty());
                let kept = world.kept();
                panic!("seed {seed}: kept {kept:?}, expected {expected:?}\n{history:#?}");
            }
        }
    }
}

#[test]
fn js_105_limits_alone_decide() {
    play("limits");
}

#[test]
fn js_106_what_somebody_needs_stays() {
    play("interest");
}

#[test]
fn js_108_what_is_done_leaves_a_work_queue() {
    play("workqueue");
}
