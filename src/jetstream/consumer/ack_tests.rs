//! Acknowledgement, redelivery and removal (sections 14, 15), row by row.

use std::time::Duration;

use super::rig::{Rig, filtered};
use super::{Beginning, ResetError, Settings};
use crate::jetstream::consumer::config::AckPolicy;
use crate::time::WallTime;

const MILLI: Duration = Duration::from_millis(1);
const NONE: [&str; 0] = [];

fn settings() -> Settings {
    Settings {
        ack_wait: 100 * MILLI,
        ..Settings::default()
    }
}

/// A consumer of which so many messages are out.
fn rig(settings: Settings, messages: usize) -> Rig {
    let mut rig = Rig::new(settings, &vec!["s.a"; messages]);
    rig.request("R", &messages.to_string());
    assert_eq!(rig.run().len(), messages);
    rig
}

#[test]
fn js_198_acknowledgements_are_answered_once_they_are_taken() {
    let mut rig = rig(settings(), 3);
    for body in ["", "+ACK", "+OK", "+WPI", "junk"] {
        rig.ack(1, 1, body);
        assert_eq!(rig.run(), ["A <- answer"], "{body}");
    }
    rig.ack(9, 9, "");
    assert_eq!(rig.run(), NONE, "never sent");
    assert_eq!(rig.figures(), "3-3 1-1 out 2 again 0 waiting 0 pending 0");
}

#[test]
fn js_199_explicit_moves_the_floor_over_what_is_done() {
    let mut rig = rig(settings(), 4);
    rig.ack(2, 2, "");
    rig.ack(3, 3, "");
    assert_eq!(rig.figures(), "4-4 0-0 out 2 again 0 waiting 0 pending 0");
    rig.ack(1, 1, "");
    assert_eq!(rig.figures(), "4-4 3-3 out 1 again 0 waiting 0 pending 0");
    rig.ack(4, 4, "");
    assert_eq!(rig.figures(), "4-4 4-4 out 0 again 0 waiting 0 pending 0");
}

#[test]
fn js_199_all_acknowledges_everything_before() {
    let all = Settings {
        ack_policy: AckPolicy::All,
        retention_by_acks: true,
        ..settings()
    };
    let mut rig = rig(all, 4);
    rig.ack(3, 3, "");
    assert_eq!(
        rig.run(),
        ["acked #1", "acked #2", "acked #3", "A <- answer"]
    );
    rig.ack(2, 2, "");
    assert_eq!(rig.run(), ["A <- answer"]);
    assert_eq!(rig.figures(), "4-4 3-3 out 1 again 0 waiting 0 pending 0");
}

#[test]
fn js_200_unacknowledged_messages_come_again() {
    let mut rig = rig(settings(), 2);
    rig.ack(2, 2, "");
    rig.request("Q", "5");
    rig.run();
    assert_eq!(rig.run_for(99 * MILLI), NONE);
    assert_eq!(rig.run_for(MILLI), ["Q <- s.a #1 3 d2 +0"]);
    assert_eq!(rig.figures(), "3-2 0-0 out 1 again 1 waiting 1 pending 0");
    rig.ack(1, 3, "");
    assert_eq!(rig.figures(), "3-2 3-2 out 0 again 0 waiting 1 pending 0");
}

#[test]
fn js_200_backoff_goes_on_with_its_last() {
    let settings = Settings {
        backoff: vec![10 * MILLI, 30 * MILLI],
        ack_wait: 10 * MILLI,
        ..Settings::default()
    };
    let mut rig = rig(settings, 1);
    rig.request("Q", "5");
    for (wait, line) in [
        (10, "Q <- s.a #1 2 d2 +0"),
        (30, "Q <- s.a #1 3 d3 +0"),
        (30, "Q <- s.a #1 4 d4 +0"),
    ] {
        assert_eq!(rig.run_for((wait - 1) * MILLI), NONE);
        assert_eq!(rig.run_for(MILLI), [line]);
    }
}

#[test]
fn js_197_work_in_progress_begins_the_wait_anew() {
    let mut rig = rig(settings(), 1);
    rig.request("Q", "5");
    rig.pass(60 * MILLI);
    rig.ack(1, 1, "+WPI");
    assert_eq!(rig.run_for(99 * MILLI), ["A <- answer"]);
    assert_eq!(rig.run_for(MILLI), ["Q <- s.a #1 2 d2 +0"]);
}

#[test]
fn js_201_nak_comes_again_before_what_is_new() {
    let mut rig = rig(settings(), 2);
    rig.append("s.a");
    rig.ack(2, 2, "-NAK");
    rig.ack(1, 1, "-NAK junk");
    rig.request("Q", "9");
    let told = [
        "nak #2 2",
        "A <- answer",
        "nak #1 1",
        "A <- answer",
        "Q <- s.a #2 3 d2 +1",
        "Q <- s.a #1 4 d2 +1",
        "Q <- s.a #3 5 d1 +0",
    ];
    assert_eq!(rig.run(), told);
    rig.ack(3, 5, "-NAK 30ms");
    rig.ack(9, 9, "-NAK");
    assert_eq!(
        rig.run_for(29 * MILLI),
        ["nak #3 5", "A <- answer", "A <- answer"]
    );
    assert_eq!(rig.run_for(MILLI), ["Q <- s.a #3 6 d2 +0"]);
}

#[test]
fn js_197_next_acknowledges_and_asks() {
    let mut rig = rig(settings(), 1);
    rig.append("s.a");
    rig.append("s.a");
    rig.ack(1, 1, "+NXT 2");
    assert_eq!(rig.run(), ["A <- s.a #2 2 d1 +1", "A <- s.a #3 3 d1 +0"]);
    rig.ack(2, 2, r#"+NXT {"batch":1,"no_wait":true}"#);
    assert_eq!(rig.run(), ["A <- 404 No Messages"]);
    assert_eq!(rig.figures(), "3-3 2-2 out 1 again 0 waiting 0 pending 0");
}

#[test]
fn js_235_term_ends_a_message() {
    let mut rig = rig(settings(), 2);
    rig.ack(1, 1, "+TERM no good");
    assert_eq!(rig.run(), ["term #1 d1 no good", "A <- answer"]);
    rig.request("Q", "9");
    assert_eq!(rig.run_for(100 * MILLI), ["Q <- s.a #2 3 d2 +0"]);
}

#[test]
fn js_202_one_delivery_is_the_last() {
    let settings = Settings {
        max_deliver: 1,
        ..settings()
    };
    let mut rig = rig(settings, 2);
    rig.ack(2, 2, "");
    rig.request("Q", "9");
    assert_eq!(rig.run(), ["A <- answer"]);
    assert_eq!(rig.run_for(300 * MILLI), ["max deliveries #1 d1"]);
    assert_eq!(rig.figures(), "2-2 0-0 out 0 again 0 waiting 1 pending 0");
    assert!(rig.consumer.needs(1, b"s.a") && !rig.consumer.needs(2, b"s.a"));
}

#[test]
fn js_202_more_deliveries_end_when_the_next_would_come() {
    let settings = Settings {
        max_deliver: 2,
        ..settings()
    };
    let mut rig = rig(settings, 1);
    rig.append("s.a");
    assert_eq!(rig.run_for(100 * MILLI), NONE);
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["Q <- s.a #1 2 d2 +1"]);
    assert_eq!(rig.run_for(500 * MILLI), NONE);
    assert_eq!(rig.figures(), "2-1 0-0 out 1 again 1 waiting 0 pending 1");
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["max deliveries #1 d2", "Q <- s.a #2 3 d1 +0"]);
    assert_eq!(rig.figures(), "3-2 0-0 out 1 again 1 waiting 0 pending 0");
}

#[test]
fn js_203_max_ack_pending_stops_what_is_new() {
    let settings = Settings {
        max_ack_pending: 2,
        ..settings()
    };
    let mut rig = Rig::new(settings, &["s.a"; 4]);
    rig.request("R", r#"{"batch":9,"no_wait":true}"#);
    assert_eq!(rig.run().len(), 2, "and the request waits");
    assert_eq!(
        rig.run_for(100 * MILLI),
        ["R <- s.a #1 3 d2 +2", "R <- s.a #2 4 d2 +2"]
    );
    rig.ack(1, 1, "");
    assert_eq!(rig.run(), ["A <- answer", "R <- s.a #3 5 d1 +1"]);
}

#[test]
fn js_207_samples() {
    let settings = Settings {
        sample_percent: 100,
        ..settings()
    };
    let mut rig = rig(settings, 1);
    rig.pass(5 * MILLI);
    rig.ack(1, 1, "");
    assert_eq!(rig.run(), ["acked #1 5000000", "A <- answer"]);
}

#[test]
fn js_209_resets() {
    let mut rig = rig(settings(), 4);
    rig.ack(1, 1, "");
    rig.run();
    let reset = |rig: &mut Rig, seq| rig.with(|it, turn| it.reset(turn, seq));
    assert_eq!(reset(&mut rig, 0), Ok(2));
    assert_eq!(rig.figures(), "0-1 0-1 out 0 again 0 waiting 0 pending 3");
    assert_eq!(reset(&mut rig, 4), Ok(4));
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["Q <- s.a #4 1 d1 +0"]);
    let at = |beginning, seq| {
        let settings = Settings {
            beginning,
            ..settings()
        };
        let mut rig = Rig::new(settings, &["s.a"; 4]);
        reset(&mut rig, seq)
    };
    assert_eq!(
        at(Beginning::Sequence(3), 2),
        Err(ResetError::BelowStartSequence)
    );
    assert_eq!(at(Beginning::Sequence(3), 3), Ok(3));
    let second = WallTime(1_000_000_000_000 + 1_000_000);
    assert_eq!(
        at(Beginning::Time(second), 1),
        Err(ResetError::BelowStartTime)
    );
    assert_eq!(at(Beginning::New, 1), Err(ResetError::NotAllowed));
    assert_eq!(at(Beginning::New, 0), Ok(5));
}

#[test]
fn removed_messages_are_given_up() {
    let mut rig = rig(settings(), 3);
    rig.append("s.a");
    rig.remove(4);
    rig.remove(2);
    assert_eq!(rig.run(), ["term #2 d1 Unacknowledged message was deleted"]);
    assert_eq!(rig.figures(), "3-3 0-0 out 2 again 0 waiting 0 pending 0");
    // The stream may also forget to say so.
    rig.stream.remove(1);
    rig.request("Q", "1");
    let told = rig.run_for(100 * MILLI);
    assert_eq!(
        told,
        [
            "term #1 d1 Unacknowledged message was deleted",
            "Q <- s.a #3 4 d2 +0"
        ]
    );
}

#[test]
fn purges_move_the_consumer() {
    let mut rig = rig(settings(), 3);
    rig.append("s.a");
    for seq in 1..=4 {
        rig.stream.remove(seq);
    }
    rig.with(|it, turn| it.purged(turn, b""));
    assert_eq!(rig.run(), NONE);
    assert_eq!(rig.figures(), "3-4 3-4 out 0 again 0 waiting 0 pending 0");
    rig.append("s.a");
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["Q <- s.a #5 4 d1 +0"]);
}

#[test]
fn purges_of_a_subject_touch_only_its_messages() {
    let subjects = ["s.a", "s.b", "s.a", "s.b"];
    let mut wide = Rig::new(settings(), &subjects);
    let mut narrow = Rig::new(
        Settings {
            ack_wait: 100 * MILLI,
            ..filtered(&["s.b"])
        },
        &subjects,
    );
    for rig in [&mut wide, &mut narrow] {
        rig.request("R", "1");
        rig.run();
        rig.stream.remove(1);
        rig.stream.remove(3);
        rig.with(|it, turn| it.purged(turn, b"s.a"));
    }
    assert_eq!(wide.figures(), "1-1 1-1 out 0 again 0 waiting 0 pending 2");
    assert_eq!(
        narrow.figures(),
        "1-2 0-0 out 1 again 0 waiting 0 pending 1"
    );
}

#[test]
fn state_survives_a_restart() {
    let settings = Settings {
        backoff: vec![100 * MILLI, 500 * MILLI],
        ..settings()
    };
    let mut rig = rig(settings, 4);
    rig.append("s.a");
    rig.ack(2, 2, "");
    rig.ack(1, 1, "-NAK");
    rig.request("Q", "1");
    rig.run();
    rig.ack(4, 4, "-NAK 10s");
    rig.run();
    let before = rig.figures();
    assert_eq!(before, "5-4 0-0 out 3 again 1 waiting 0 pending 1");
    rig.restart(50 * MILLI);
    assert_eq!(rig.figures(), before);
    rig.request("P", "9");
    assert_eq!(rig.run(), ["P <- s.a #5 6 d1 +0"]);
    assert_eq!(rig.run_for(50 * MILLI), ["P <- s.a #3 7 d2 +0"]);
    rig.ack(5, 6, "");
    rig.ack(3, 7, "");
    rig.run();
    assert_eq!(rig.run_for(400 * MILLI), ["P <- s.a #1 8 d3 +0"]);
}

#[test]
fn a_stream_that_lost_its_end_takes_its_consumers_back() {
    let mut rig = rig(settings(), 4);
    rig.ack(1, 1, "");
    rig.run();
    rig.stream.remove(4);
    rig.stream.remove(3);
    rig.stream.last = 2;
    rig.restart(MILLI);
    assert_eq!(rig.figures(), "4-2 1-1 out 1 again 0 waiting 0 pending 0");
    rig.append("s.a");
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["Q <- s.a #3 5 d1 +0"]);
}

#[test]
fn last_messages_of_subjects_go_on_after_a_restart() {
    let settings = Settings {
        beginning: Beginning::LastPerSubject,
        ..filtered(&["s.>"])
    };
    let mut rig = Rig::new(settings, &["s.a", "s.b", "s.a", "s.c"]);
    rig.request("R", "1");
    assert_eq!(rig.run(), ["R <- s.b #2 1 d1 +2"]);
    rig.append("s.a");
    rig.restart(MILLI);
    rig.request("R", "9");
    let told = rig.run();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("R <- s.a #3 2 d1"), "{told:?}");
    assert!(told[2].starts_with("R <- s.a #5 4 d1"), "{told:?}");
}

#[test]
fn damaged_state_is_refused() {
    let mut rig = rig(settings(), 4);
    let now = rig.now();
    let bytes = rig.consumer.encode(now);
    for end in 0..bytes.len() {
        let restored = super::Consumer::restore(
            super::rig::names(),
            settings(),
            1,
            now,
            &rig.stream,
            &bytes[..end],
        );
        assert!(restored.is_err(), "{end}");
    }
}

#[test]
fn js_225_undelivered_messages_come_again_as_new() {
    let mut rig = rig(settings(), 1);
    rig.with(|it, turn| it.undelivered(turn, 1, b"R"));
    rig.request("Q", "1");
    assert_eq!(rig.run(), ["Q <- s.a #1 2 d1 +0"]);
    assert_eq!(rig.figures(), "2-1 0-0 out 1 again 0 waiting 0 pending 0");
}
