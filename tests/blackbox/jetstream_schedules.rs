//! Section 10 of JetStream: messages that are sent later.

use std::time::{Duration, SystemTime};

use crate::support::jetstream::{JetStream, texts};
use crate::support::wait_until;
use data_encoding::BASE64;
use rustix::process::Signal;
use serde_json::{Value, json};

const NEVER: &str = "Nats-Schedule: @at 2099-01-01T00:00:00Z";

fn scheduling(jetstream: &mut JetStream, name: &str, more: Value) {
    let mut config = json!({"allow_msg_schedules": true});
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let subjects = format!("{}.>", name.to_lowercase());
    jetstream.stream(name, &[&subjects], config);
}

/// What a publish is answered with: the sequence, or the error's number.
fn outcome(jetstream: &mut JetStream, subject: &str, headers: &str) -> Result<u64, u64> {
    let message = jetstream.request(subject, headers, "body");
    let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
    match answer["error"]["err_code"].as_u64() {
        Some(number) => Err(number),
        None => Ok(answer["seq"].as_u64().expect("a sequence")),
    }
}

fn subjects(jetstream: &mut JetStream, stream: &str) -> Value {
    let request = json!({"subjects_filter": ">"});
    jetstream.done(&format!("STREAM.INFO.{stream}"), request)["state"]["subjects"].clone()
}

/// The last message of a subject, once there is one: headers without the first line, body, time.
#[track_caller]
fn last(jetstream: &mut JetStream, stream: &str, subject: &str) -> (String, String, String) {
    let request = json!({"last_by_subj": subject});
    let message = wait_until("the message", || {
        let answer = jetstream.ask(&format!("STREAM.MSG.GET.{stream}"), &request);
        answer.get("message").cloned()
    });
    let decoded = |field: &str| {
        let text = message[field].as_str().unwrap_or_default();
        let bytes = BASE64.decode(text.as_bytes()).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    let headers = decoded("hdrs");
    let headers = headers.strip_prefix("NATS/1.0\r\n").unwrap_or(&headers);
    let time = message["time"].as_str().expect("a time").to_owned();
    (headers.to_owned(), decoded("data"), time)
}

/// Waits until a subject has no messages.
#[track_caller]
fn gone(jetstream: &mut JetStream, stream: &str, subject: &str) {
    wait_until("its end", || {
        let subjects = subjects(jetstream, stream);
        subjects.get(subject).is_none().then_some(())
    });
}

/// A time so many seconds from now, as `@at` takes it.
fn from_now(seconds: u64) -> String {
    let at = SystemTime::now() + Duration::from_secs(seconds);
    let at = jiff::Timestamp::try_from(at).expect("a time");
    at.strftime("%FT%TZ").to_string()
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time")
}

#[test]
fn js_137_patterns() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    let mut seq = 0;
    for pattern in [
        "@at 2099-01-01T00:00:00Z",
        "@at 2099-01-01T00:00:00.25+05:30",
        "@every 1h",
        "@every 1h30m0.5s",
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "0 0 0 1 1 *",
        "0 30 3-6,20-23 1/3 * ?",
        "0 0 0 * JAN-mar MON",
        "*/30 59 23 31 dec *",
        "0 0 0 29 2 *",
    ] {
        let headers = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Target: a.t");
        seq += 1;
        let stored = outcome(&mut jetstream, "a.s", &headers);
        assert_eq!(stored, Ok(seq), "{pattern}");
    }
    for pattern in [
        "junk",
        "@at x",
        "@at",
        "@every 999ms",
        "@every x",
        "@every -1h",
        "@Daily",
        "* * * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * * 0 * *",
        "* * * * * 7",
        "5-1 * * * * *",
        "*/0 * * * * *",
        "1-2-3 * * * * *",
        "* * * * monday *",
        "0 0 0 31 2 *",
    ] {
        let headers = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Target: a.t");
        let refused = outcome(&mut jetstream, "a.s", &headers);
        assert_eq!(refused, Err(10189), "{pattern}");
    }
    // Without a pattern it is a message like any other.
    let stored = outcome(&mut jetstream, "a.t", "Nats-Schedule:\r\nX: y");
    assert_eq!(stored, Ok(seq + 1));
    assert_eq!(subjects(&mut jetstream, "A"), json!({"a.s": 1, "a.t": 1}));
}

#[test]
fn js_137_time_zones() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    for (pattern, zone, expected) in [
        ("@daily", " Europe/Paris", Ok(1)),
        ("0 0 5 * * *", " UTC", Ok(2)),
        (
            "0 0 5 * * mon-fri",
            " America/Argentina/Buenos_Aires",
            Ok(3),
        ),
        ("@daily", " Nowhere/Land", Err(10223)),
        ("@daily", " ../UTC", Err(10223)),
        ("@daily", "", Err(10223)),
        ("junk", " Nowhere/Land", Err(10223)),
        ("@every 1h", " Europe/Paris", Err(10189)),
        ("@at 2099-01-01T00:00:00Z", " UTC", Err(10189)),
    ] {
        let headers = format!(
            "Nats-Schedule: {pattern}\r\nNats-Schedule-Target: a.t\r\nNats-Schedule-Time-Zone:{zone}"
        );
        let outcome = outcome(&mut jetstream, "a.s", &headers);
        assert_eq!(outcome, expected, "{pattern} {zone}");
    }
}

#[test]
fn js_137_what_repeats_is_sent_again_and_again() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    for (name, pattern) in [("every", "@every 1s"), ("cron", "* * * * * *")] {
        let headers = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Target: a.t.{name}");
        jetstream.store(&format!("a.s.{name}"), &headers, name);
    }
    let info = wait_until("two of each", || {
        let subjects = subjects(&mut jetstream, "A");
        let sent = |name: &str| subjects[format!("a.t.{name}")].as_u64() >= Some(2);
        (sent("every") && sent("cron")).then_some(subjects)
    });
    assert_eq!(
        (&info["a.s.every"], &info["a.s.cron"]),
        (&json!(1), &json!(1))
    );
    for name in ["every", "cron"] {
        let subject = format!("a.t.{name}");
        let (headers, body, stored) = last(&mut jetstream, "A", &subject);
        let front = format!("Nats-Scheduler: a.s.{name}\r\nNats-Schedule-Next: ");
        let next = headers
            .strip_prefix(&front)
            .expect("two headers")
            .trim_end();
        assert_eq!(body, name);
        // The next second, or one further where the clock was late.
        let span = time(next).duration_since(time(&stored)).as_secs_f64();
        assert!((-2.5..2.0).contains(&span), "{next} {stored}");
        assert!(next.ends_with('Z') && next.len() == 20, "{next}");
    }
}

#[test]
fn js_138_what_is_asked_of_a_schedule() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({"allow_msg_ttl": true}));
    scheduling(&mut jetstream, "B", json!({}));
    let target = |more: &str| format!("{NEVER}\r\nNats-Schedule-Target: a.t\r\n{more}");
    for (headers, expected) in [
        (NEVER.to_owned(), Err(10190)),
        (format!("{NEVER}\r\nNats-Schedule-Target: a.s"), Err(10190)),
        (format!("{NEVER}\r\nNats-Schedule-Target: a.*"), Err(10190)),
        (format!("{NEVER}\r\nNats-Schedule-Target: b.t"), Err(10190)),
        (target("Nats-Schedule-TTL: x"), Err(10191)),
        (target("Nats-Schedule-TTL: 500ms"), Err(10191)),
        (target("Nats-Schedule-TTL: 1m"), Ok(1)),
        (target("Nats-Schedule-TTL: never"), Ok(2)),
        (target("Nats-Schedule-Rollup: all"), Err(10192)),
        (target("Nats-Schedule-Rollup: SUB"), Err(10192)),
        (target("Nats-Schedule-Rollup: sub"), Ok(3)),
        (target("Nats-Schedule-Source: a.*"), Err(10203)),
        (target("Nats-Schedule-Source: a.s"), Err(10203)),
        (target("Nats-Schedule-Source: a.t"), Err(10203)),
        (target("Nats-Schedule-Source: b.x"), Err(10203)),
        (target("Nats-Schedule-Source: a.x"), Ok(4)),
        (target("Nats-Rollup: all"), Err(10192)),
        (target("Nats-Rollup: SUB"), Ok(5)),
        // The first that is wrong is told.
        (
            format!("{NEVER}\r\nNats-Schedule-TTL: x\r\nNats-Schedule-Rollup: x"),
            Err(10191),
        ),
        (
            format!("{NEVER}\r\nNats-Schedule-Target: b.t\r\nNats-Schedule-Source: b.x"),
            Err(10190),
        ),
        (
            format!("{NEVER}\r\nNats-Schedule-Target: b.t\r\nNats-Schedule-Source: a.s"),
            Err(10203),
        ),
        (target("Nats-Expected-Last-Sequence: 77"), Err(10071)),
    ] {
        let outcome = outcome(&mut jetstream, "a.s", &headers);
        assert_eq!(outcome, expected, "{headers}");
    }
    let ttl = format!("{NEVER}\r\nNats-Schedule-Target: b.t\r\nNats-Schedule-TTL: 1m");
    assert_eq!(outcome(&mut jetstream, "b.s", &ttl), Err(10166));
}

/// JS-78: schedules need rollups, and stay.
#[test]
fn js_138_streams_with_schedules() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    let info = jetstream.done("STREAM.INFO.A", "");
    let config = &info["config"];
    assert_eq!(config["allow_msg_schedules"], true);
    assert_eq!(config["allow_rollup_hdrs"], true);
    assert_eq!(config["metadata"]["_nats.req.level"], "2");
    let off = json!({"name": "A", "subjects": ["a.>"]});
    assert_eq!(jetstream.refused("STREAM.UPDATE.A", off).1, 10052);
    // They can be switched on later.
    jetstream.stream("B", &["b.>"], json!({}));
    let headers = format!(
        "Nats-Schedule: @at {}\r\nNats-Schedule-Target: b.t",
        from_now(0)
    );
    assert_eq!(outcome(&mut jetstream, "b.s", &headers), Err(10188));
    let on = json!({"name": "B", "subjects": ["b.>"], "allow_msg_schedules": true});
    jetstream.done("STREAM.UPDATE.B", on);
    assert_eq!(outcome(&mut jetstream, "b.s", &headers), Ok(1));
    assert_eq!(last(&mut jetstream, "B", "b.t").1, "body");
}

#[test]
fn js_139_a_schedule_replaces_what_is_there() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    jetstream.publish("a.s", "1");
    jetstream.publish("a.s", "2");
    let headers = format!("X: y\r\n{NEVER}\r\nNats-Schedule-Target: a.t");
    for at in 3..5 {
        assert_eq!(jetstream.store("a.s", &headers, "later")["seq"], at);
        assert_eq!(subjects(&mut jetstream, "A"), json!({"a.s": 1}));
    }
    let (stored, body, _) = last(&mut jetstream, "A", "a.s");
    let rollup = "Nats-Rollup: sub\r\n\r\n";
    assert_eq!(
        (stored, body),
        (format!("{headers}\r\n{rollup}"), "later".to_owned())
    );
}

/// What replaces a schedule keeps it from being sent.
#[test]
fn js_139_what_was_replaced_is_not_sent() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    // Again, where the machine was so slow that the first one was due before it was replaced.
    for attempt in 0..5 {
        let due = from_now(3);
        for (name, at, second) in [("r", from_now(4), true), ("p", from_now(4), false)] {
            let schedule = |at: &str, target: &str| {
                format!("Nats-Schedule: @at {at}\r\nNats-Schedule-Target: a.{target}.{attempt}")
            };
            let subject = format!("a.{name}.{attempt}");
            jetstream.store(&subject, &schedule(&due, "early"), "first");
            match second {
                true => jetstream.store(&subject, &schedule(&at, "late"), "second"),
                false => jetstream.store(&subject, "", "plain"),
            };
        }
        let in_time = SystemTime::now() < SystemTime::from(time(&due));
        let (_, body, _) = last(&mut jetstream, "A", &format!("a.late.{attempt}"));
        assert_eq!(body, "second");
        if in_time {
            let subjects = subjects(&mut jetstream, "A");
            assert_eq!(subjects.get(format!("a.early.{attempt}")), None);
            return;
        }
    }
    panic!("the machine is too slow");
}

/// Schedules are checked and replace what is there in a batch, too (JS-125).
#[test]
fn js_139_schedules_in_a_batch() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({"allow_atomic": true}));
    let past = "Nats-Schedule: @at 2020-01-01T00:00:00Z\r\nNats-Schedule-Target: a.t\r\n";
    let never = format!("{NEVER}\r\nNats-Schedule-Target: a.t\r\n");
    let end = "Nats-Schedule-Next: purge\r\nNats-Scheduler: a.x\r\n";
    let none = "Nats-Schedule: @at x\r\n";
    for (at, (messages, expected)) in [
        ([("a.x", &never[..]), ("a.y", end)], Ok(2)),
        ([("a.x", ""), ("a.y", end)], Err(10212)),
        ([("a.s", ""), ("a.s", past)], Err(10111)),
        ([("a.s", ""), ("a.r", none)], Err(10189)),
        ([("a.s", past), ("a.y", "")], Ok(4)),
    ]
    .into_iter()
    .enumerate()
    {
        let [(first, headers), (last, more)] = messages;
        let batch = format!("Nats-Batch-Id: b{at}\r\nNats-Batch-Sequence");
        let staged = jetstream.request(first, &format!("{headers}{batch}: 1"), "x");
        assert_eq!(staged.text(), "", "{at}");
        let headers = format!("{more}{batch}: 2\r\nNats-Batch-Commit: 1");
        assert_eq!(outcome(&mut jetstream, last, &headers), expected, "{at}");
    }
    last(&mut jetstream, "A", "a.t");
    gone(&mut jetstream, "A", "a.s");
    assert_eq!(subjects(&mut jetstream, "A"), json!({"a.t": 1, "a.y": 2}));
}

#[test]
fn js_140_what_is_sent() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({"allow_msg_ttl": true}));
    let filter = json!({"filter_subject": "a.t.>", "ack_policy": "none"});
    jetstream.consumer("A", "c", filter);
    jetstream.store("a.src", "Y: 1\r\nNats-Msg-Id: m", "latest");
    let past = "Nats-Schedule: @at 2020-01-01T00:00:00Z";
    for (name, lines, expected, body) in [
        ("plain", "", "", "own"),
        (
            "headers",
            "\r\nX: y\r\nNats-Msg-Id: i\r\nNats-TTL: 1h\r\nZ:\r\nNats-Expected-Stream: A",
            "X: y\r\nZ:\r\n",
            "own",
        ),
        (
            "source",
            "\r\nX: y\r\nNats-Schedule-Source: a.src",
            "Y: 1\r\n",
            "latest",
        ),
        (
            "none",
            "\r\nX: y\r\nNats-Schedule-Source: a.none",
            "X: y\r\n",
            "own",
        ),
    ] {
        let (subject, target) = (format!("a.s.{name}"), format!("a.t.{name}"));
        let headers = format!("{past}\r\nNats-Schedule-Target: {target}{lines}");
        jetstream.store(&subject, &headers, "own");
        let (sent, sent_body, _) = last(&mut jetstream, "A", &target);
        let own = format!("Nats-Scheduler: {subject}\r\nNats-Schedule-Next: purge\r\n");
        assert_eq!(sent, format!("{expected}{own}\r\n"), "{name}");
        assert_eq!(sent_body, body, "{name}");
        gone(&mut jetstream, "A", &subject);
    }
    let wish = json!({"batch": 4, "expires": 30_000_000_000_u64});
    let got = jetstream.pull("A", "c", &wish, 4);
    assert_eq!(texts(&got), ["own", "own", "latest", "own"]);
    let both = "Nats-Schedule-TTL: 1h\r\nNats-Schedule-Rollup: sub\r\nNats-TTL: 2h";
    let headers = format!("{past}\r\nNats-Schedule-Target: a.t.plain\r\n{both}");
    jetstream.store("a.s.both", &headers, "new");
    let got = jetstream.pull("A", "c", &wish, 1);
    assert_eq!(texts(&got), ["new"]);
    gone(&mut jetstream, "A", "a.s.both");
    let (sent, ..) = last(&mut jetstream, "A", "a.t.plain");
    assert_eq!(
        sent,
        "Nats-Scheduler: a.s.both\r\nNats-Schedule-Next: purge\r\nNats-TTL: 1h\r\nNats-Rollup: sub\r\n\r\n"
    );
    assert_eq!(subjects(&mut jetstream, "A")["a.t.plain"], 1);
}

#[test]
fn js_141_a_schedule_is_cancelled() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    let headers = format!("{NEVER}\r\nNats-Schedule-Target: a.t");
    jetstream.store("a.s", &headers, "x");
    jetstream.publish("a.plain", "x");
    let end = |next: &str, of: &str| format!("Nats-Schedule-Next: {next}\r\nNats-Scheduler: {of}");
    for (headers, expected) in [
        (end("now", "a.s"), Err(10212)),
        ("Nats-Scheduler: a.s".to_owned(), Err(10212)),
        ("Nats-Schedule-Next: purge".to_owned(), Err(10212)),
        (end("purge", "a.*"), Err(10212)),
        (end("purge", "a.x"), Ok(3)),
        (end("purge", "a.plain"), Err(10212)),
    ] {
        let subject = if expected.is_ok() { "a.y" } else { "a.x" };
        let outcome = outcome(&mut jetstream, subject, &headers);
        assert_eq!(outcome, expected, "{headers}");
    }
    assert_eq!(
        outcome(&mut jetstream, "a.s", &end("purge", "a.s")),
        Err(10212)
    );
    assert_eq!(outcome(&mut jetstream, "a.t", &end("purge", "a.s")), Ok(4));
    assert_eq!(
        subjects(&mut jetstream, "A"),
        json!({"a.plain": 1, "a.t": 1, "a.y": 1})
    );
}

#[test]
fn js_141_schedules_are_there_after_a_restart() {
    let mut jetstream = JetStream::start();
    scheduling(&mut jetstream, "A", json!({}));
    let soon = from_now(4);
    let later = from_now(8);
    for (name, pattern) in [
        ("missed", format!("@at {soon}")),
        ("later", format!("@at {later}")),
        ("every", "@every 1s".to_owned()),
    ] {
        let headers = format!("Nats-Schedule: {pattern}\r\nNats-Schedule-Target: a.t.{name}");
        jetstream.store(&format!("a.s.{name}"), &headers, name);
    }
    last(&mut jetstream, "A", "a.t.every");
    jetstream.server.signal(Signal::TERM);
    jetstream.server.exited();
    wait_until("the time", || {
        (SystemTime::now() > SystemTime::from(time(&soon))).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    let mut jetstream = jetstream.crash();
    for name in ["missed", "later"] {
        assert_eq!(last(&mut jetstream, "A", &format!("a.t.{name}")).1, name);
        assert_eq!(subjects(&mut jetstream, "A")[format!("a.t.{name}")], 1);
    }
    // What was missed comes once: each is followed by one that is still to come.
    let count = subjects(&mut jetstream, "A")["a.t.every"].as_u64();
    wait_until("one more", || {
        let now = subjects(&mut jetstream, "A")["a.t.every"].as_u64();
        (now > count).then_some(())
    });
    let last = jetstream.done("STREAM.INFO.A", "")["state"]["last_seq"].as_u64();
    for seq in 1..=last.expect("a sequence") {
        let answer = jetstream.ask("STREAM.MSG.GET.A", json!({"seq": seq}));
        let message = &answer["message"];
        if message["subject"] != "a.t.every" {
            continue;
        }
        let headers = BASE64.decode(message["hdrs"].as_str().expect("text").as_bytes());
        let headers = String::from_utf8(headers.expect("base64")).expect("text");
        let next = headers
            .split("Nats-Schedule-Next: ")
            .nth(1)
            .expect("a time");
        let stored = time(message["time"].as_str().expect("a time"));
        let span = time(next.trim_end()).duration_since(stored).as_secs_f64();
        assert!((-2.5..1.6).contains(&span), "{span}: {answer}");
    }
}
