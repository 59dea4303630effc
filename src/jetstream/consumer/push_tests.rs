//! Push consumers, flow control, pauses and inactivity (section 17), row by row.

use std::time::Duration;

use bytes::Bytes;

use super::rig::{Rig, filtered};
use super::{Consumer, Push, Rate, Settings};
use crate::jetstream::consumer::config::AckPolicy;
use crate::time::WallTime;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NONE: [&str; 0] = [];

fn push() -> Push {
    Push {
        subject: Bytes::from_static(b"D"),
        flow_control: false,
        heartbeat: None,
        rate: None,
    }
}

fn settings(push: Push) -> Settings {
    Settings {
        push: Some(push),
        ack_policy: AckPolicy::None,
        max_ack_pending: 0,
        ..Settings::default()
    }
}

#[test]
fn js_224_push_only_while_somebody_listens() {
    let mut rig = Rig::new(settings(push()), &["s.a"; 2]);
    assert_eq!(rig.run(), NONE);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.a #1 1 d1 +1", "D <- s.a #2 2 d1 +0"]);
    assert_eq!(rig.figures(), "2-2 2-2 out 0 again 0 waiting 0 pending 0");
    rig.interest(false);
    rig.append("s.a");
    assert_eq!(rig.run(), NONE);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.a #3 3 d1 +0"]);
}

#[test]
fn js_215_pull_requests_to_push_consumers_are_refused() {
    let mut rig = Rig::new(settings(push()), &[]);
    rig.request("R", "1");
    assert_eq!(rig.run(), ["R <- 409 Consumer is push based"]);
}

#[test]
fn js_225_unused_ephemerals_end() {
    let mut settings = settings(push());
    settings.inactive_threshold = Some(5 * SECOND);
    let mut rig = Rig::new(settings, &[]);
    rig.run();
    rig.interest(true);
    assert_eq!(rig.run_for(60 * SECOND), NONE);
    rig.interest(false);
    rig.interest(true);
    rig.interest(false);
    assert_eq!(rig.run_for(5 * SECOND - MILLI), NONE);
    assert_eq!(rig.run_for(MILLI), ["expired"]);
    assert_eq!(rig.run_for(60 * SECOND), NONE);
}

#[test]
fn js_185_pull_consumers_end_when_nobody_asks() {
    let settings = Settings {
        inactive_threshold: Some(5 * SECOND),
        ack_wait: 10 * SECOND,
        max_deliver: 1,
        ..Settings::default()
    };
    let mut rig = Rig::new(settings, &["s.a"]);
    assert_eq!(rig.run_for(5 * SECOND + 99 * MILLI), NONE);
    rig.request("R", "1");
    assert_eq!(rig.run().len(), 1);
    // Who got a message may work on it.
    let told = rig.run_for(15 * SECOND);
    assert_eq!(told, ["max deliveries #1 d1"]);
    rig.request("R", "1");
    assert_eq!(rig.run_for(60 * SECOND), NONE, "somebody waits");
    rig.gone.insert("R");
    assert_eq!(rig.run_for(12 * SECOND), ["expired"]);
}

#[test]
fn js_226_heartbeats_of_a_silent_consumer() {
    let mut push = push();
    push.heartbeat = Some(100 * MILLI);
    let mut rig = Rig::new(settings(push), &["s.a"; 2]);
    assert_eq!(rig.run_for(250 * MILLI), NONE);
    rig.interest(true);
    assert_eq!(rig.run().len(), 2);
    let beat = "D <- 100 Idle Heartbeat; Nats-Last-Consumer: 2; Nats-Last-Stream: 2";
    assert_eq!(rig.run_for(99 * MILLI), NONE);
    assert_eq!(rig.run_for(101 * MILLI), [beat, beat]);
    rig.with(|it, turn| it.pause(turn, Some(WallTime(u64::MAX / 2))));
    assert_eq!(rig.run_for(100 * MILLI), ["paused true", beat]);
}

fn flow(rig: &mut Rig, subject: &str, headers: &str) {
    let (subject, headers) = (subject.as_bytes().to_vec(), headers.as_bytes().to_vec());
    rig.with(|it: &mut Consumer, turn| it.flow(turn, &subject, &headers));
}

/// The subject in brackets of the question among the lines.
fn question(told: &[String]) -> String {
    let line = told.iter().find(|it| it.contains("FlowControl Request"));
    let (_, rest) = line.and_then(|it| it.split_once('(')).expect("a question");
    rest.trim_end_matches(')').to_owned()
}

#[test]
fn js_227_flow_control_stops_at_the_window() {
    let big: &'static str = "x".repeat(65536).leak();
    let mut it = push();
    it.flow_control = true;
    it.heartbeat = Some(100 * MILLI);
    let mut rig = Rig::new(settings(it), &[]);
    for _ in 0..100 {
        let seq = rig.stream.append("s.a", big, WallTime(5));
        rig.consumer.appended(seq, b"s.a");
    }
    rig.interest(true);
    let told = rig.run();
    let asked_at = told.iter().position(|it| it.contains("FlowControl"));
    // Half of 2 MiB are 16 messages of 64 KiB; the whole 32, with their subjects a little less.
    assert_eq!((asked_at, told.len()), (Some(16), 33));
    let subject = question(&told);
    let random = subject.strip_prefix("$JS.FC.S.c.").expect("version 1");
    assert_eq!(random.len(), 4);
    let stalled = format!(
        "D <- 100 Idle Heartbeat; Nats-Last-Consumer: 32; Nats-Last-Stream: 32; Nats-Consumer-Stalled: {subject}"
    );
    assert_eq!(rig.run_for(100 * MILLI), [stalled]);
    flow(&mut rig, "$JS.FC.S.c.no", "");
    assert_eq!(rig.run(), NONE);
    flow(&mut rig, &subject, "");
    let told = rig.run();
    assert_eq!(told.len(), 100 - 32 - 20 + 1, "the window is 4 MiB now");
}

#[test]
fn js_190_flow_control_acknowledges() {
    let mut it = push();
    it.flow_control = true;
    it.heartbeat = Some(SECOND);
    let mut settings = settings(it);
    settings.ack_policy = AckPolicy::FlowControl;
    settings.max_ack_pending = 3;
    let mut rig = Rig::new(settings, &["s.a"; 5]);
    rig.interest(true);
    let told = rig.run();
    assert_eq!(told.len(), 4, "{told:?}");
    let headers = "NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 2\r\n\r\n";
    flow(&mut rig, &question(&told), headers);
    assert_eq!(rig.figures(), "3-3 2-2 out 1 again 0 waiting 0 pending 2");
    assert_eq!(rig.run().len(), 3);
}

#[test]
fn js_228_rate_limit_spreads_messages() {
    let mut it = push();
    let size = "s.a".len() + "x".len() + "$JS.ACK.S.c.1.1.1.1000000000000.2".len();
    it.rate = Some(Rate {
        bytes_per_second: 10 * size as u64,
        burst: size as u64,
    });
    let mut rig = Rig::new(settings(it), &["s.a"; 3]);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.a #1 1 d1 +2"]);
    assert_eq!(rig.run_for(99 * MILLI), NONE);
    assert_eq!(rig.run_for(2 * MILLI), ["D <- s.a #2 2 d1 +1"]);
    assert_eq!(rig.run_for(102 * MILLI), ["D <- s.a #3 3 d1 +0"]);
}

#[test]
fn a_held_message_waits_for_a_listener_and_survives_a_restart() {
    let mut it = push();
    it.rate = Some(Rate {
        bytes_per_second: 20,
        burst: 50,
    });
    let mut rig = Rig::new(settings(it), &["s.a"; 3]);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.a #1 1 d1 +2"]);
    rig.interest(false);
    assert_eq!(rig.run_for(SECOND), NONE);
    rig.interest(true);
    assert_eq!(rig.run_for(SECOND), ["D <- s.a #2 2 d1 +1"]);
    rig.restart(MILLI);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.a #3 3 d1 +0"]);
}

#[test]
fn js_229_ordered_consumers_count_without_gaps() {
    let mut it = push();
    it.flow_control = true;
    it.heartbeat = Some(5 * SECOND);
    let mut settings = settings(it);
    settings.filter = filtered(&["s.b"]).filter;
    settings.max_deliver = 1;
    settings.memory = true;
    let mut rig = Rig::new(settings, &["s.a", "s.b", "s.a", "s.b"]);
    rig.interest(true);
    assert_eq!(rig.run(), ["D <- s.b #2 1 d1 +1", "D <- s.b #4 2 d1 +0"]);
    rig.append("s.a");
    rig.append("s.b");
    assert_eq!(rig.run(), ["D <- s.b #6 3 d1 +0"]);
}

#[test]
fn js_205_headers_only() {
    let settings = Settings {
        headers_only: true,
        ..settings(push())
    };
    let mut rig = Rig::new(settings, &["s.a"]);
    let seq = rig.stream.append("s.a", "body", WallTime(5));
    let message = rig.stream.messages.get_mut(&seq).expect("stored");
    message.headers = Bytes::from_static(b"NATS/1.0\r\nA: b\r\n\r\n");
    rig.consumer.appended(seq, b"s.a");
    rig.whole = true;
    rig.interest(true);
    let told = rig.run();
    assert!(
        told[0].ends_with(r#""NATS/1.0\r\nNats-Msg-Size: 1\r\n\r\n" """#),
        "{told:?}"
    );
    let both = r#""NATS/1.0\r\nA: b\r\nNats-Msg-Size: 4\r\n\r\n" """#;
    assert!(told[1].ends_with(both), "{told:?}");
}

#[test]
fn js_208_pause_and_resume() {
    let mut rig = Rig::new(settings(push()), &["s.a"]);
    let until = WallTime(rig.now().wall.0 + 1_000_000_000);
    rig.with(|it, turn| it.pause(turn, Some(until)));
    rig.interest(true);
    assert_eq!(rig.run_for(SECOND - MILLI), ["paused true"]);
    let left = rig.with(|it, turn| it.figures(turn)).pause_remaining;
    assert_eq!(left, Some(MILLI));
    assert_eq!(rig.run_for(MILLI), ["paused false", "D <- s.a #1 1 d1 +0"]);
    rig.append("s.a");
    rig.with(|it, turn| it.pause(turn, Some(WallTime(u64::MAX / 2))));
    rig.with(|it, turn| it.pause(turn, None));
    assert_eq!(
        rig.run(),
        ["paused true", "paused false", "D <- s.a #2 2 d1 +0"]
    );
}

#[test]
fn a_changed_deliver_subject_gets_all_that_is_out() {
    let mut settings = settings(push());
    settings.ack_policy = AckPolicy::Explicit;
    let mut rig = Rig::new(settings.clone(), &["s.a"; 2]);
    rig.interest(true);
    assert_eq!(rig.run().len(), 2);
    let mut other = push();
    other.subject = Bytes::from_static(b"E");
    settings.push = Some(other);
    rig.with(|it, turn| it.update(turn, settings));
    assert_eq!(rig.run(), ["E <- s.a #1 3 d2 +0", "E <- s.a #2 4 d2 +0"]);
}
