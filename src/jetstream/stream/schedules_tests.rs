//! Schedules of a stream in memory, with a clock that is turned by hand (JS-137 to JS-141).

use super::config::StreamConfig;
use super::scheduling::Sent;
use super::{Fate, Publish, Stream};
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::store::{Fetch, Store};
use crate::time::WallTime;

struct Rig {
    stream: Stream,
    now: WallTime,
}

impl Rig {
    fn new() -> Self {
        let config = StreamConfig {
            name: "S".to_owned(),
            subjects: vec![">".to_owned()],
            allow_msg_schedules: true,
            allow_rollup_hdrs: true,
            max_msgs_per_subject: -1,
            max_msg_size: 200,
            ..StreamConfig::default()
        };
        let start: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
        Self {
            stream: Stream::new(config, WallTime(0), Store::memory()),
            now: start.wall(),
        }
    }

    #[track_caller]
    fn publish(&mut self, subject: &str, lines: &str, body: &str) -> u64 {
        let accepted = self.try_publish(subject, lines, body);
        let accepted = accepted.expect("it is stored");
        assert_eq!(accepted.fate, Fate::Stored);
        accepted.seq
    }

    fn try_publish(
        &mut self,
        subject: &str,
        lines: &str,
        body: &str,
    ) -> Result<super::Accepted, crate::jetstream::api::errors::ApiError> {
        let block = match lines {
            "" => String::new(),
            lines => format!("NATS/1.0\r\n{lines}\r\n\r\n"),
        };
        let publish = Publish {
            subject: subject.as_bytes(),
            headers: block.as_bytes(),
            payload: body.as_bytes(),
            now: self.now,
            sourced: false,
        };
        self.stream.publish(&publish, |_| true, || 0)
    }

    fn schedule(&mut self, subject: &str, pattern: &str) -> u64 {
        let lines = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Target: t.{subject}");
        self.publish(subject, &lines, subject)
    }

    /// The server is started again, at once.
    fn restart(&mut self) {
        let fresh = Rig::new().stream;
        let before = std::mem::replace(&mut self.stream, fresh);
        let (config, created) = (before.config().clone(), before.created());
        self.stream = Stream::new(config, created, before.store);
        self.stream.begin_rescan(self.now);
        while self.stream.find_schedules() {}
    }

    /// Seconds until something is due.
    fn due(&self) -> Option<u64> {
        let due = self.stream.next_scheduled()?;
        Some(due.0.saturating_sub(self.now.0) / 1_000_000_000)
    }

    /// Goes on by so many seconds; the messages that are sent then, each `subject next`.
    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.now.0 += seconds * 1_000_000_000;
        let mut sent = Vec::new();
        loop {
            match self.stream.send_due(self.now, |_| true, || 0) {
                Sent::Nothing => return sent,
                Sent::Dropped => {}
                Sent::Message(accepted, _) => {
                    let Fetch::Message(it) = self.stream.store_mut().fetch(accepted.seq) else {
                        panic!("it is stored");
                    };
                    let subject = String::from_utf8_lossy(&it.subject);
                    let next = crate::protocol::headers::get(&it.headers, b"Nats-Schedule-Next");
                    let next = String::from_utf8_lossy(next.unwrap_or_default());
                    sent.push(format!("{subject} {next}"));
                }
            }
        }
    }
}

#[test]
fn js_140_once_and_then_it_is_gone() {
    let mut rig = Rig::new();
    rig.schedule("a", "@at 2026-11-23T12:00:10Z");
    rig.schedule("b", "@at 2026-11-23T12:00:05Z");
    rig.schedule("c", "@at 2020-01-01T00:00:00Z");
    assert_eq!(rig.due(), Some(0));
    assert_eq!(rig.after(0), ["t.c purge"]);
    assert_eq!(rig.due(), Some(5));
    assert_eq!(rig.after(4), [""; 0]);
    assert_eq!(rig.after(10), ["t.b purge", "t.a purge"]);
    assert_eq!(rig.due(), None);
    assert_eq!(rig.stream.store().state().messages, 3);
}

#[test]
fn js_139_the_last_on_a_subject_counts() {
    let mut rig = Rig::new();
    rig.schedule("a", "@every 10s");
    rig.schedule("a", "@every 20s");
    assert_eq!(rig.stream.store().state().messages, 1);
    assert_eq!(rig.due(), Some(20));
    // A message of another schedule leaves it alone, one of its own right ends it.
    let lines = "Nats-Schedule: @at 2026-11-23T12:00:01Z\r\nNats-Schedule-Target: a";
    rig.publish("b", lines, "");
    assert_eq!(rig.after(1), ["a purge"]);
    assert_eq!(rig.due(), Some(19));
    rig.restart();
    assert_eq!(rig.due(), Some(19));
    rig.publish("a", "", "plain");
    assert_eq!(rig.due(), None);
    rig.restart();
    assert_eq!(rig.due(), None);
}

#[test]
fn js_141_a_restart_forgets_nothing_and_makes_up_for_nothing() {
    let mut rig = Rig::new();
    rig.schedule("a", "@every 10s");
    rig.schedule("b", "0 */10 * * * *");
    let c = rig.schedule("c", "@at 2026-11-23T12:00:25Z");
    assert_eq!(rig.after(10), ["t.a 2026-11-23T12:00:20Z"]);
    assert_eq!(rig.after(12), ["t.a 2026-11-23T12:00:30Z"]);
    rig.restart();
    assert_eq!(rig.due(), Some(3));
    assert_eq!(rig.after(2), [""; 0]);
    // Half an hour without a server.
    rig.now.0 += 1800 * 1_000_000_000;
    rig.restart();
    assert_eq!(
        rig.after(0),
        [
            "t.c purge",
            "t.a 2026-11-23T12:30:34Z",
            "t.b 2026-11-23T12:40:00Z",
        ]
    );
    rig.restart();
    assert_eq!(rig.due(), Some(10));
    assert!(!rig.stream.store().contains(c));
    // What is removed is sent no more, and leaves nothing behind.
    rig.stream.remove(1, false);
    rig.stream.remove(2, false);
    assert_eq!(rig.after(3600), [""; 0]);
    assert_eq!(rig.due(), None);
    assert_eq!(rig.stream.store().states().count(), 0);
}

#[test]
fn a_restart_forgets_records_of_what_has_gone() {
    let mut rig = Rig::new();
    rig.schedule("a", "@every 10s");
    assert_eq!(rig.after(10).len(), 1);
    assert_eq!(rig.stream.store().states().count(), 1);
    rig.stream.remove(1, false);
    rig.restart();
    assert_eq!(rig.stream.store().states().count(), 0);
    assert_eq!(rig.due(), None);
}

#[test]
fn js_141_who_published_it_may_end_it() {
    let mut rig = Rig::new();
    rig.schedule("a", "@every 10s");
    rig.publish("b", "", "");
    let end = |of: &str| format!("Nats-Schedule-Next: purge\r\nNats-Scheduler: {of}");
    let refused = rig
        .try_publish("x", &end("b"), "")
        .expect_err("no schedule");
    assert_eq!(refused.err_code, 10212);
    rig.publish("x", &end("nothing"), "");
    rig.publish("x", &end("a"), "");
    assert_eq!((rig.due(), rig.stream.store().subject(b"a")), (None, None));
}

#[test]
fn what_cannot_be_stored_is_tried_again() {
    let mut rig = Rig::new();
    let target = "t".repeat(60);
    let lines = format!("Nats-Schedule: @every 10s\r\nNats-Schedule-Target: {target}");
    rig.publish("a", &lines, "");
    rig.stream.config.max_msg_size = 10;
    assert_eq!(rig.after(10), [""; 0]);
    assert_eq!(rig.due(), Some(5));
    rig.stream.config.max_msg_size = -1;
    let sent = format!("{target} 2026-11-23T12:00:20Z");
    assert_eq!(rig.after(5), [sent]);
    assert_eq!(rig.due(), Some(5));
    // Sealed, it does nothing, and wakes nobody.
    rig.stream.config.sealed = true;
    assert_eq!((rig.after(100), rig.due()), (Vec::new(), None));
}

#[test]
fn schedules_that_were_removed_are_not_kept_for_ever() {
    let mut rig = Rig::new();
    for at in 0..10_000 {
        let seq = rig.schedule(&format!("s{at}"), "@yearly");
        rig.stream.remove(seq, false);
    }
    assert!(rig.stream.schedules.len() <= 1024);
    // Those that are there are, however many.
    for at in 0..3_000 {
        rig.schedule(&format!("s{at}"), "@yearly");
    }
    assert!((3_000..=4_024).contains(&rig.stream.schedules.len()));
}
