//! Pull requests (section 16), row by row.

use std::time::Duration;

use super::rig::{Rig, filtered};
use super::{Beginning, Priority, PullLimits, Run, Settings};
use crate::time::WallTime;

const MILLI: Duration = Duration::from_millis(1);
const NONE: [&str; 0] = [];

fn rig(messages: usize) -> Rig {
    Rig::new(Settings::default(), &vec!["s.a"; messages])
}

#[test]
fn js_211_no_wait_ends_when_nothing_is_left() {
    let mut rig = rig(0);
    rig.request("R", r#"{"batch":5,"no_wait":true}"#);
    assert_eq!(rig.run(), ["R <- 404 No Messages"]);
    rig.append("s.a");
    rig.request("R", r#"{"batch":5,"no_wait":true}"#);
    let partly = ["R <- s.a #1 1 d1 +0", "R <- 404 No Messages"];
    assert_eq!(rig.run(), partly);
    rig.request("R", r#"{"batch":5,"no_wait":true,"expires":5000000000}"#);
    assert_eq!(rig.run(), NONE);
    rig.append("s.a");
    assert_eq!(rig.run(), ["R <- s.a #2 2 d1 +0", "R <- 404 No Messages"]);
}

#[test]
fn js_212_requests_end_in_time_with_what_is_left() {
    let mut rig = rig(1);
    rig.request("R", r#"{"batch":3,"expires":2000000,"max_bytes":500}"#);
    let size = 500 - "s.a".len() - "x".len() - "$JS.ACK.S.c.1.1.1.1000000000000.0".len();
    let expired =
        format!("R <- 408 Request Timeout; Nats-Pending-Messages: 2; Nats-Pending-Bytes: {size}");
    assert_eq!(rig.run_for(5 * MILLI), ["R <- s.a #1 1 d1 +0", &expired]);
    rig.request("R", r#"{"batch":1,"expires":-5}"#);
    let expired = "R <- 408 Request Timeout; Nats-Pending-Messages: 1; Nats-Pending-Bytes: 0";
    assert_eq!(rig.run(), [expired]);
}

#[test]
fn js_213_no_wait_behind_others_who_need_everything() {
    let mut rig = Rig::new(filtered(&["s.a"]), &["s.a", "s.a"]);
    rig.with(|it, turn| it.pause(turn, Some(WallTime(u64::MAX / 2))));
    rig.request("R", "10");
    rig.request("Q", r#"{"batch":1,"no_wait":true}"#);
    assert_eq!(rig.run(), ["paused true", "Q <- 408 Requests Pending"]);
}

#[test]
fn js_214_bytes_bound_a_request() {
    let mut rig = rig(3);
    let size = "s.a".len() + "x".len() + "$JS.ACK.S.c.1.1.1.1000000000000.2".len();
    rig.request("R", &format!(r#"{{"batch":5,"max_bytes":{}}}"#, size + 5));
    let too_big =
        "R <- 409 Message Size Exceeds MaxBytes; Nats-Pending-Messages: 4; Nats-Pending-Bytes: 5";
    assert_eq!(rig.run(), ["R <- s.a #1 1 d1 +2", too_big]);
    rig.request("R", &format!(r#"{{"batch":1,"max_bytes":{}}}"#, size + 7));
    let rest = "R <- 409 Batch Completed; Nats-Pending-Messages: 0; Nats-Pending-Bytes: 7";
    assert_eq!(rig.run(), ["R <- s.a #2 2 d1 +1", rest]);
    rig.request("R", &format!(r#"{{"batch":9,"max_bytes":{size}}}"#));
    assert_eq!(rig.run(), ["R <- s.a #3 3 d1 +0"]);
    assert_eq!(rig.figures(), "3-3 0-0 out 3 again 0 waiting 0 pending 0");
}

#[test]
fn js_215_limits_of_requests() {
    let settings = Settings {
        pull: PullLimits {
            waiting: 1,
            batch: 2,
            expires: 1_500_000_000,
            bytes: 100,
        },
        ..Settings::default()
    };
    let mut rig = Rig::new(settings, &[]);
    for body in [
        "3",
        r#"{"expires":1500000001}"#,
        r#"{"max_bytes":101}"#,
        "2",
        "2",
    ] {
        rig.request("R", body);
    }
    rig.request(
        "R",
        r#"{"batch":1,"expires":1000000000,"idle_heartbeat":100000000}"#,
    );
    let refused = [
        "R <- 409 Exceeded MaxRequestBatch of 2",
        "R <- 409 Exceeded MaxRequestExpires of 1.5s",
        "R <- 409 Exceeded MaxRequestMaxBytes of 100",
        "R <- 409 Exceeded MaxWaiting",
    ];
    assert_eq!(rig.run(), refused);
    rig.gone.insert("R");
    rig.request("Q", "1");
    assert_eq!(rig.run(), NONE);
    assert_eq!(rig.figures(), "0-0 0-0 out 0 again 0 waiting 1 pending 0");
}

#[test]
fn js_216_deletion_is_told() {
    let mut rig = rig(0);
    rig.request("R", "1");
    rig.request("Q", "1");
    rig.with(|it, turn| it.deleted(turn));
    assert_eq!(
        rig.run(),
        [
            "deleted",
            "R <- 409 Consumer Deleted",
            "Q <- 409 Consumer Deleted"
        ]
    );
}

#[test]
fn js_217_heartbeats_of_a_request() {
    let mut rig = rig(1);
    rig.request(
        "R",
        r#"{"batch":2,"expires":100000000,"idle_heartbeat":60000000}"#,
    );
    assert_eq!(
        rig.run(),
        ["R <- 400 Bad Request - heartbeat value too large"]
    );
    rig.request(
        "R",
        r#"{"batch":2,"expires":100000000,"idle_heartbeat":40000000}"#,
    );
    let beat = "R <- 100 Idle Heartbeat; Nats-Last-Consumer: 1; Nats-Last-Stream: 1";
    let end = "R <- 408 Request Timeout; Nats-Pending-Messages: 1; Nats-Pending-Bytes: 0";
    let all = ["R <- s.a #1 1 d1 +0", beat, beat, end];
    assert_eq!(rig.run_for(200 * MILLI), all);
}

#[test]
fn js_218_requests_without_a_client_are_dropped() {
    let mut rig = rig(2);
    rig.gone.insert("R");
    rig.import_gone.insert("I");
    rig.request("R", "1");
    rig.request("I", "1");
    rig.request("Q", "1");
    let told = [
        "I <- 408 Interest Expired; Nats-Pending-Messages: 1; Nats-Pending-Bytes: 0",
        "Q <- s.a #1 1 d1 +1",
    ];
    assert_eq!(rig.run(), told);
    rig.request("R", "1");
    assert_eq!(rig.run(), NONE);
    assert_eq!(rig.figures(), "1-1 0-0 out 1 again 0 waiting 0 pending 1");
}

#[test]
fn js_219_requests_are_served_in_turn() {
    let mut rig = rig(5);
    rig.request("P", "2");
    rig.request("Q", "2");
    rig.request("R", "2");
    let to: Vec<_> = rig.run().iter().map(|it| it[..1].to_owned()).collect();
    assert_eq!(to.concat(), "PQRPQ");
}

#[test]
fn js_220_overflow_waits_for_enough() {
    let settings = Settings {
        priority: Priority::Overflow,
        priority_groups: vec![b"g"[..].into()],
        ..Settings::default()
    };
    let mut rig = Rig::new(settings, &["s.a"; 2]);
    rig.request("R", r#"{"batch":9,"group":"g","min_pending":3}"#);
    rig.request("Q", r#"{"batch":9,"group":"g","min_ack_pending":1}"#);
    assert_eq!(rig.run(), NONE);
    rig.append("s.a");
    let served = [
        "R <- s.a #1 1 d1 +2",
        "Q <- s.a #2 2 d1 +1",
        "Q <- s.a #3 3 d1 +0",
    ];
    assert_eq!(rig.run(), served);
    rig.request("S", r#"{"batch":1,"group":"g"}"#);
    rig.append("s.a");
    rig.ack(1, 1, "");
    rig.ack(2, 2, "");
    rig.ack(3, 3, "");
    let served = [
        "A <- answer",
        "A <- answer",
        "A <- answer",
        "S <- s.a #4 4 d1 +0",
    ];
    assert_eq!(rig.run(), served);
}

fn pinned() -> Settings {
    Settings {
        priority: Priority::Pinned(Duration::from_secs(1)),
        priority_groups: vec![b"g"[..].into()],
        ..Settings::default()
    }
}

#[test]
fn js_221_pinned_client_gets_all() {
    let mut rig = Rig::new(pinned(), &["s.a"; 2]);
    rig.whole = true;
    rig.request("P", r#"{"batch":1,"group":"g"}"#);
    rig.request("Q", r#"{"batch":9,"group":"g"}"#);
    let told = rig.run();
    assert_eq!((told.len(), &told[0][..]), (2, "pinned g"));
    let header = "\"NATS/1.0\\r\\nNats-Pin-Id: ";
    let (start, id) = told[1].split_once(header).expect("a pin");
    assert_eq!(start, "P <- s.a #1 1 d1 +1 ");
    let id = &id[..22];
    rig.whole = false;
    rig.request("W", r#"{"batch":1,"group":"g","id":"wrong"}"#);
    assert_eq!(rig.run(), ["W <- 423 Nats-Pin-Id mismatch"]);
    rig.request("P", &format!(r#"{{"batch":1,"group":"g","id":"{id}"}}"#));
    assert_eq!(rig.run(), ["P <- s.a #2 2 d1 +0"]);
    rig.append("s.a");
    // Silent for too long: who stands by gets it.
    let told = rig.run_for(Duration::from_secs(1));
    assert_eq!(
        told,
        ["unpinned g timeout", "pinned g", "Q <- s.a #3 3 d1 +0"]
    );
    rig.with(|it, turn| it.unpin(turn, "g"));
    rig.request("P", &format!(r#"{{"batch":1,"group":"g","id":"{id}"}}"#));
    rig.append("s.a");
    // The request that was pinned holds a pin that is none any more.
    let late = "Q <- 423 Nats-Wrong-Pin-Id; Nats-Pending-Messages: 8; Nats-Pending-Bytes: 0";
    let wrong = "P <- 423 Nats-Wrong-Pin-Id; Nats-Pending-Messages: 1; Nats-Pending-Bytes: 0";
    assert_eq!(rig.run(), ["unpinned g admin", late, wrong]);
}

#[test]
fn js_222_lower_priority_is_served_first() {
    let settings = Settings {
        priority: Priority::Prioritized,
        priority_groups: vec![b"g"[..].into()],
        ..Settings::default()
    };
    let mut rig = Rig::new(settings, &["s.a"; 5]);
    rig.request("P", r#"{"batch":9,"group":"g","priority":2}"#);
    rig.request("Q", r#"{"batch":1,"group":"g","priority":1}"#);
    rig.request("R", r#"{"batch":2,"group":"g","priority":1}"#);
    rig.request("X", r#"{"batch":2,"group":"g","priority":10}"#);
    let told = rig.run();
    assert_eq!(
        told[0],
        "X <- 400 Bad Request - Priority must be between 0 and 9"
    );
    let to: Vec<_> = told[1..].iter().map(|it| it[..1].to_owned()).collect();
    assert_eq!(to.concat(), "QRRPP");
}

#[test]
fn js_223_groups_must_be_named_and_known() {
    let mut rig = Rig::new(pinned(), &[]);
    rig.request("R", r#"{"batch":1}"#);
    rig.request("R", r#"{"batch":1,"group":"x"}"#);
    rig.request("R", r#"{"batch":1,"group":"g","min_pending":1}"#);
    let mut plain = Rig::new(Settings::default(), &[]);
    plain.request("R", r#"{"batch":1,"id":"x"}"#);
    plain.request("R", r#"{"batch":1,"group":"x"}"#);
    let told = [
        "R <- 400 Bad Request - Priority Group missing",
        "R <- 400 Bad Request - Invalid Priority Group",
        "R <- 400 Bad Request - Not a Overflow Priority consumer",
    ];
    assert_eq!(rig.run(), told);
    let told = ["R <- 400 Bad Request - Not a Pinned Client Priority consumer"];
    assert_eq!(plain.run(), told);
}

#[test]
fn js_174_beginnings() {
    let subjects = ["s.a", "s.b", "s.a", "s.b", "s.c"];
    let check = |beginning: Beginning, patterns: &[&str], seqs: &[u64]| {
        let settings = Settings {
            beginning,
            ..filtered(patterns)
        };
        let mut rig = Rig::new(settings, &subjects);
        let pending = format!("pending {}", seqs.len());
        assert!(
            rig.figures().ends_with(&pending),
            "{beginning:?} {}",
            rig.figures()
        );
        rig.append("s.a");
        rig.request("R", "99");
        // Who begins later than the stream ends waits for it.
        let ahead = matches!(beginning, Beginning::Sequence(99));
        let expected = [seqs, if ahead { &[] } else { &[6] }].concat();
        let told = rig.run();
        let told = told.iter().map(|it| {
            let seq = it.split_once('#').expect("a message").1;
            seq.split_once(' ')
                .expect("a number")
                .0
                .parse::<u64>()
                .expect("a number")
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            expected,
            "{beginning:?} {patterns:?}"
        );
    };
    check(Beginning::First, &[], &[1, 2, 3, 4, 5]);
    check(Beginning::First, &["s.a", "s.c"], &[1, 3, 5]);
    check(Beginning::Last, &[], &[5]);
    check(Beginning::Last, &["s.a"], &[3]);
    check(Beginning::New, &[], &[]);
    check(Beginning::Sequence(4), &[], &[4, 5]);
    check(Beginning::Sequence(99), &[], &[]);
    check(Beginning::LastPerSubject, &["s.>"], &[3, 4, 5]);
    check(Beginning::LastPerSubject, &["s.a", "s.b"], &[3, 4]);
    check(
        Beginning::Time(WallTime(1_000_000_000_000 + 2_000_000)),
        &[],
        &[3, 4, 5],
    );
    check(Beginning::Time(WallTime(u64::MAX)), &[], &[]);
}

#[test]
fn js_174_last_messages_count_once_a_subject() {
    let settings = Settings {
        beginning: Beginning::LastPerSubject,
        ..filtered(&["s.>"])
    };
    let mut rig = Rig::new(settings, &["s.a", "s.b", "s.a", "s.c", "s.b"]);
    assert_eq!(rig.figures(), "0-2 0-2 out 0 again 0 waiting 0 pending 3");
    rig.append("s.a");
    rig.remove(1);
    rig.remove(3);
    assert_eq!(rig.figures(), "0-2 0-2 out 0 again 0 waiting 0 pending 3");
    rig.request("R", "9");
    let told = [
        "R <- s.c #4 1 d1 +2",
        "R <- s.b #5 2 d1 +1",
        "R <- s.a #6 3 d1 +0",
    ];
    assert_eq!(rig.run(), told);
}

#[test]
fn js_206_replay_keeps_the_distances() {
    let settings = Settings {
        replay_original: true,
        ..Settings::default()
    };
    let mut rig = Rig::new(settings, &[]);
    rig.append("s.a");
    rig.pass(200 * MILLI);
    rig.append("s.a");
    rig.append("s.a");
    rig.consumer = super::Consumer::new(
        super::rig::names(),
        rig.consumer.settings().clone(),
        7,
        rig.now(),
        &rig.stream,
    );
    rig.request("R", "9");
    assert_eq!(rig.run_for(199 * MILLI), ["R <- s.a #1 1 d1 +2"]);
    assert_eq!(
        rig.run_for(MILLI),
        ["R <- s.a #2 2 d1 +1", "R <- s.a #3 3 d1 +0"]
    );
    rig.pass(500 * MILLI);
    rig.append("s.a");
    assert_eq!(rig.run(), ["R <- s.a #4 4 d1 +0"]);
}

#[test]
fn reading_and_damage_hold_the_order() {
    let mut rig = rig(3);
    rig.stream.reading.insert(1);
    rig.request("R", "9");
    assert_eq!(rig.with(|it, turn| it.run(turn, 9)), Run::Reading);
    assert_eq!(rig.run(), NONE);
    rig.stream.reading.clear();
    rig.stream.damaged.insert(2);
    assert_eq!(rig.run(), ["R <- s.a #1 1 d1 +2", "R <- s.a #3 2 d1 +0"]);
    rig.append("s.a");
    rig.append("s.a");
    assert_eq!(rig.with(|it, turn| it.run(turn, 1)), Run::More);
    assert_eq!(rig.run().len(), 2);
}
