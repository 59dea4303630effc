//! Section 17 of JetStream, and what of section 15 needs no requests: consumers that deliver by
//! themselves.

use crate::support::client::{Client, Message};
use crate::support::jetstream::{JetStream, texts};
use crate::support::server::beyond_stock;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A stream `A` of `a` with `m1`, `m2`, ...
fn filled(count: u64) -> JetStream {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({}));
    for at in 1..=count {
        assert_eq!(jetstream.publish("a", &format!("m{at}")), at);
    }
    jetstream
}

/// Somebody who has just subscribed to `d`.
fn receiver(jetstream: &JetStream) -> Client {
    let mut client = jetstream.server.client();
    client.send("SUB d 1\r\n");
    client
}

fn next(client: &mut Client, count: usize) -> Vec<Message> {
    (0..count).map(|_| client.message()).collect()
}

/// JS-224, JS-225.
#[test]
fn js_224_messages_wait_for_who_subscribes_to_just_that() {
    let mut jetstream = filled(2);
    // All shards have somebody to listen, and somebody else does.
    let mut others = jetstream.server.clients();
    for client in &mut others {
        client.quietly("SUB *.x 1\r\nSUB d.> 2\r\nSUB > 3\r\n");
    }
    let config = json!({"deliver_subject": "d.x", "idle_heartbeat": 100_000_000});
    let created = jetstream.consumer("A", "c", config);
    assert_eq!(created.get("push_bound"), None);
    std::thread::sleep(Duration::from_millis(250));
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info["delivered"]["consumer_seq"], 0);
    for (at, client) in others.iter_mut().enumerate() {
        let mut listener = jetstream.server.client();
        listener.send("SUB d.x 9\r\n");
        let message = listener.message();
        let info = jetstream.consumer_info("A", "c");
        assert_eq!(info["push_bound"], true, "{at}");
        assert!(message.status().is_some() == (at > 0), "{message:?}");
        drop(listener);
        jetstream.until("A", "c", |info| info.get("push_bound").is_none());
        client.send("UNSUB 3\r\n");
    }
}

#[test]
fn js_225_who_comes_back_gets_what_came_meanwhile() {
    let mut jetstream = filled(2);
    let config = json!({"deliver_subject": "d", "ack_policy": "none"});
    jetstream.consumer("A", "c", config);
    for expected in [["m1", "m2"], ["m3", "m4"], ["m5", "m6"]] {
        let mut client = receiver(&jetstream);
        assert_eq!(texts(&next(&mut client, 2)), expected);
        client.quietly("UNSUB 1\r\n");
        jetstream.until("A", "c", |info| info.get("push_bound").is_none());
        let last = jetstream.done("STREAM.INFO.A", "")["state"]["last_seq"].as_u64();
        for at in 1..=2 {
            let at = last.expect("a sequence") + at;
            jetstream.publish("a", &format!("m{at}"));
        }
    }
}

#[test]
fn js_225_a_consumer_nobody_listens_to_goes() {
    let mut jetstream = filled(1);
    let config = json!({"deliver_subject": "d", "inactive_threshold": 300_000_000});
    let mut client = receiver(&jetstream);
    client.quietly("");
    jetstream.consumer("A", "c", config);
    std::thread::sleep(Duration::from_millis(800));
    jetstream.consumer_info("A", "c");
    drop(client);
    crate::support::wait_until("the consumer to go", || {
        let names = jetstream.done("CONSUMER.NAMES.A", "");
        (names["consumers"] == json!([])).then_some(())
    });
}

#[test]
fn js_226_heartbeats_tell_what_came_last() {
    let mut jetstream = filled(3);
    let mut client = receiver(&jetstream);
    let config = json!({"deliver_subject": "d", "idle_heartbeat": 100_000_000});
    jetstream.consumer("A", "c", config);
    assert_eq!(texts(&next(&mut client, 3)), ["m1", "m2", "m3"]);
    for _ in 0..2 {
        let beat = client.message();
        assert_eq!(
            (beat.status(), &*beat.reply),
            (Some("100 Idle Heartbeat"), "")
        );
        assert_eq!(beat.header("Nats-Last-Consumer"), "3");
        assert_eq!(beat.header("Nats-Last-Stream"), "3");
    }
}

#[test]
fn js_227_topo_118_who_controls_the_flow_gets_no_more_than_he_answers_for() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({"storage": "memory"}));
    let payload = "x".repeat(100_000);
    for _ in 0..60 {
        jetstream.publish("a", &payload);
    }
    let mut client = receiver(&jetstream);
    let config = json!({
        "deliver_subject": "d", "flow_control": true, "idle_heartbeat": 200_000_000,
    });
    jetstream.consumer("A", "c", config);
    // Unanswered, it stops at the window, and heartbeats say why.
    let mut messages = 0;
    let mut asked = String::new();
    let stalled = loop {
        let message = client.message();
        match message.status() {
            None => messages += 1,
            Some("100 FlowControl Request") => asked = message.reply,
            Some("100 Idle Heartbeat") if !message.header("Nats-Consumer-Stalled").is_empty() => {
                break message;
            }
            Some(other) => assert_eq!(other, "100 Idle Heartbeat"),
        }
    };
    assert!((15..40).contains(&messages), "{messages}");
    assert!(asked.starts_with("$JS.FC.A.c."), "{asked}");
    assert_eq!(stalled.header("Nats-Consumer-Stalled"), asked);
    // Answered, it goes on to the end.
    client.send(format!("PUB {asked} 0\r\n\r\n"));
    while messages < 60 {
        let message = client.message();
        match message.status() {
            None => messages += 1,
            Some("100 FlowControl Request") => {
                client.send(format!("PUB {} 0\r\n\r\n", message.reply));
            }
            Some(_) => {}
        }
    }
}

#[test]
fn js_228_bits_per_second_are_bounded() {
    let mut jetstream = JetStream::start();
    jetstream.stream("A", &["a"], json!({"max_msg_size": 1000}));
    let payload = "x".repeat(900);
    for _ in 0..12 {
        jetstream.publish("a", &payload);
    }
    let mut client = receiver(&jetstream);
    let config = json!({"deliver_subject": "d", "rate_limit_bps": 80_000});
    let began = Instant::now();
    jetstream.consumer("A", "c", config);
    next(&mut client, 12);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}");
}

/// What clients make of it is up to them; the server's part is that nothing is left out.
#[test]
fn js_229_an_ordered_consumer_gets_all_in_order() {
    let mut jetstream = filled(20);
    let mut client = receiver(&jetstream);
    let config = json!({
        "deliver_subject": "d", "ack_policy": "none", "max_deliver": 1, "flow_control": true,
        "idle_heartbeat": 5_000_000_000_u64, "mem_storage": true, "num_replicas": 1,
        "ack_wait": 79_200_000_000_000_u64, "deliver_policy": "by_start_sequence",
        "opt_start_seq": 5,
    });
    let request = json!({"stream_name": "A", "config": config});
    let created = jetstream.done("CONSUMER.CREATE.A", request);
    assert_eq!(created["config"]["inactive_threshold"], 5_000_000_000_u64);
    for (at, message) in (1..).zip(next(&mut client, 16)) {
        let place = message.place();
        assert_eq!((place.consumer, place.stream), (at, at + 4));
        assert_eq!((place.deliveries, place.pending), (1, 16 - at));
    }
}

#[test]
fn js_230_members_of_a_group_share() {
    let mut jetstream = filled(0);
    let config = json!({"deliver_subject": "d", "deliver_group": "g", "ack_policy": "explicit"});
    jetstream.consumer("A", "c", config);
    let mut lone = receiver(&jetstream);
    let info = jetstream.consumer_info("A", "c");
    assert_eq!(info.get("push_bound"), None);
    let mut members = jetstream.server.clients();
    for member in &mut members {
        member.quietly("SUB d g 1\r\n");
    }
    jetstream.until("A", "c", |info| info["push_bound"] == true);
    // Where somebody is there already the answer to its creation says so.
    let again = json!({"deliver_subject": "d", "deliver_group": "g", "name": "e"});
    let created = jetstream.consumer("A", "e", again);
    assert_eq!(created["push_bound"], true);
    jetstream.done("CONSUMER.DELETE.A.e", "");
    for at in 1..=200 {
        jetstream.publish("a", &format!("m{at}"));
    }
    let mut all = Vec::new();
    for member in &mut members {
        // Their part comes before the answer to what they ask now.
        let lines = member.ask("");
        let own = lines.iter().filter(|it| it.starts_with("MSG a 1 ")).count();
        assert!(own > 0, "a member without a message");
        all.extend(lines.into_iter().filter(|it| it.starts_with('m')));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 200);
    // One who is not in the group is nobody to it, but hears what is said there.
    let lines = lone.ask("");
    assert_eq!(
        lines.iter().filter(|it| it.starts_with("MSG a 1 ")).count(),
        200
    );
}

#[test]
fn js_206_the_first_time_can_be_replayed() {
    let mut jetstream = filled(1);
    std::thread::sleep(Duration::from_millis(300));
    jetstream.publish("a", "m2");
    let mut client = receiver(&jetstream);
    let config = json!({"deliver_subject": "d", "replay_policy": "original"});
    let began = Instant::now();
    jetstream.consumer("A", "c", config);
    assert_eq!(client.message().text(), "m1");
    assert_eq!(client.message().text(), "m2");
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[test]
fn js_208_a_paused_consumer_delivers_nothing_but_lives() {
    let mut jetstream = filled(1);
    let mut events = jetstream.server.client();
    events.quietly("SUB $JS.EVENT.ADVISORY.CONSUMER.PAUSE.A.c 1\r\n");
    let config = json!({"deliver_subject": "d", "idle_heartbeat": 100_000_000});
    jetstream.consumer("A", "c", config);
    let body = json!({"pause_until": "2999-01-01T00:00:00Z"});
    jetstream.done("CONSUMER.PAUSE.A.c", body);
    let event: Value = serde_json::from_str(events.message().text()).expect("JSON");
    assert_eq!(
        (&event["paused"], &event["stream"]),
        (&json!(true), &json!("A"))
    );
    let mut client = receiver(&jetstream);
    for beat in next(&mut client, 2) {
        assert_eq!(beat.status(), Some("100 Idle Heartbeat"));
    }
    jetstream.done("CONSUMER.PAUSE.A.c", "");
    let event: Value = serde_json::from_str(events.message().text()).expect("JSON");
    assert_eq!(event["paused"], false);
    let got = std::iter::repeat_with(|| client.message()).find(|it| it.status().is_none());
    assert_eq!(got.expect("a message").text(), "m1");
}

/// Who reads slowly is waited for, whichever shard has him: nobody is cut off for what a stream has.
#[test]
fn js_225_slow_receivers_hold_their_consumers_back() {
    if !beyond_stock() {
        return;
    }
    let config = "max_pending: 16MB\njetstream { store_dir: \"@DIR@/store\" }\n";
    let mut jetstream = JetStream::with_config(config, "{}");
    jetstream.stream("A", &["a"], json!({"storage": "memory"}));
    let payload = "x".repeat(100_000);
    for _ in 0..600 {
        jetstream.publish("a", &payload);
    }
    let mut clients = jetstream.server.clients();
    for (at, client) in clients.iter_mut().enumerate().take(4) {
        client.quietly(format!("SUB d.{at} 1\r\n"));
        let config = json!({"deliver_subject": format!("d.{at}"), "ack_policy": "none"});
        jetstream.consumer("A", &format!("c{at}"), config);
    }
    for at in 0..600 {
        for client in clients.iter_mut().take(4) {
            assert_eq!(client.message().place().stream, at + 1);
        }
        if at % 10 == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
