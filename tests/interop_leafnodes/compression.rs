//! Links that are compressed (TOPO-41..44).

use crate::{exchange, ours, pair_with, stock};

fn hub(more: &str) -> String {
    format!("leafnodes {{ listen: \"127.0.0.1:-1\", {more} }}")
}

fn leaf(more: &str) -> String {
    format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [ {{ url: \"nats-leaf://l:p@@HUB@\", {more} }} ] }}"
    )
}

/// Every pairing with these words of the configuration on the two sides.
fn check(hub_says: &str, leaf_says: &str) {
    let [ours, stock] = [ours(), stock()];
    for (at_hub, at_leaf) in [(&ours, &ours), (&ours, &stock), (&stock, &ours)] {
        let (hub, leaf) = pair_with(at_hub, at_leaf, &hub(hub_says), &leaf(leaf_says));
        exchange(&hub, &leaf);
    }
}

#[test]
fn topo_041_each_mode_with_defaults_over_there() {
    for mode in [
        "s2_fast",
        "s2_better",
        "s2_best",
        "s2_auto",
        "accept",
        "off",
    ] {
        check(&format!("compression: {mode}"), "");
        check("", &format!("compression: {mode}"));
    }
}

#[test]
fn topo_043_who_accepts_gets_the_others_mode() {
    for mode in ["s2_fast", "s2_best", "s2_auto", "accept", "not_supported"] {
        check("compression: accept", &format!("compression: {mode}"));
        check(&format!("compression: {mode}"), "compression: accept");
    }
}

#[test]
fn topo_041_auto_with_round_trips_of_its_own() {
    // Every round trip is longer than a nanosecond: the last level.
    for times in [
        "[\"1ns\"]",
        "[\"0s\", \"1ns\"]",
        "[\"1ns\", \"2ns\", \"3ns\"]",
    ] {
        let words = format!("compression {{ mode: s2_auto, rtt_thresholds: {times} }}");
        check(&words, &words);
    }
}

/// Large and repetitive, large and random, and many small messages arrive as they were sent.
#[test]
fn topo_042_payloads_of_all_kinds() {
    let [ours, stock] = [ours(), stock()];
    for (at_hub, at_leaf) in [(&ours, &ours), (&ours, &stock), (&stock, &ours)] {
        for mode in ["s2_fast", "s2_better", "s2_best"] {
            let words = format!("compression: {mode}");
            let (hub, leaf) = pair_with(at_hub, at_leaf, &hub(&words), &leaf(&words));
            for (here, there) in [(&hub, &leaf), (&leaf, &hub)] {
                let (mut near, mut far) = (here.client(), there.client());
                crate::linked(&mut near, &mut far);
                far.quietly("SUB payload 1\r\n");
                crate::reaches(&mut near, &mut far, "sync.payload");
                let mut seed = 1_u32;
                let mut random = move || {
                    seed ^= seed << 13;
                    seed ^= seed >> 17;
                    seed ^= seed << 5;
                    seed as u8
                };
                let payloads: Vec<Vec<u8>> = (0..200)
                    .map(|number| match number % 40 {
                        0 => vec![b'a'; 1_000_000],
                        1 => (0..700_000).map(|_| random()).collect(),
                        2 => b"0123456789abcdef".repeat(20_000),
                        _ => format!("{{\"number\":{number},\"text\":\"hello\"}}").into_bytes(),
                    })
                    .collect();
                // A piece at a time, so that nobody takes the reader for a slow one.
                for piece in payloads.chunks(20) {
                    for payload in piece {
                        near.send(format!("PUB payload {}\r\n", payload.len()));
                        near.send(payload);
                        near.send("\r\n");
                    }
                    for payload in piece {
                        assert!(far.message().payload == *payload);
                    }
                }
            }
        }
    }
}
