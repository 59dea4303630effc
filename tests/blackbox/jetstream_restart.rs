//! Section 20 of JetStream: what is there after the server has been stopped and started again.

use crate::support::directory::TempDir;
use crate::support::jetstream::{JetStream, texts};
use rustix::process::Signal;
use serde_json::{Value, json};

fn stop(mut jetstream: JetStream) {
    jetstream.server.signal(Signal::TERM);
    jetstream.server.exited();
}

#[test]
fn js_252_streams_consumers_and_their_states_are_kept() {
    let kept = TempDir::new();
    let path = kept.path().to_str().expect("text");
    let config = format!("jetstream {{ store_dir: \"{path}\" }}");
    let mut jetstream = JetStream::with_config(&config, "{}");
    let fields = json!({"description": "kept", "allow_msg_ttl": true, "metadata": {"k": "v"}});
    jetstream.stream("S", &["s.>"], fields);
    jetstream.stream("M", &["m"], json!({"storage": "memory"}));
    jetstream.publish("m", "x");
    for at in 1..=6 {
        jetstream.publish(&format!("s.{at}"), &format!("m{at}"));
    }
    jetstream.store("s.7", "Nats-Msg-Id: i7", "m7");
    jetstream.store("s.8", "Nats-TTL: 1s", "m8");
    jetstream.done("STREAM.MSG.DELETE.S", json!({"seq": 4}));
    let explicit = json!({"durable_name": "c", "ack_policy": "explicit", "ack_wait": 500_000_000});
    jetstream.consumer("S", "c", explicit);
    let paused = json!({
        "durable_name": "p", "ack_policy": "all", "pause_until": "2500-01-01T00:00:00Z",
    });
    jetstream.consumer("S", "p", paused);
    let got = jetstream.pull("S", "c", json!({"batch": 4}), 4);
    assert_eq!(texts(&got), ["m1", "m2", "m3", "m5"]);
    jetstream.ack(&got[0], "");
    jetstream.ack(&got[2], "");
    let without_times = |mut info: Value| {
        for field in ["ts", "cluster"] {
            info.as_object_mut().expect("an object").remove(field);
        }
        // These go on.
        for (field, inner) in [("delivered", "last_active"), ("ack_floor", "last_active")] {
            let object = info[field].as_object_mut();
            object.and_then(|it| it.remove(inner));
        }
        info.as_object_mut()
            .expect("an object")
            .remove("pause_remaining");
        info
    };
    let before = without_times(jetstream.consumer_info("S", "c"));
    let stream = jetstream.done("STREAM.INFO.S", json!({"deleted_details": true}));
    stop(jetstream);

    let mut jetstream = JetStream::with_config(&config, "{}");
    let after = jetstream.done("STREAM.INFO.S", json!({"deleted_details": true}));
    for field in ["config", "created"] {
        assert_eq!(after[field], stream[field], "{field}");
    }
    assert_eq!(after["state"]["last_seq"], 8);
    assert_eq!(jetstream.refused("STREAM.INFO.M", "").1, 10059);
    let now = without_times(jetstream.consumer_info("S", "c"));
    for field in [
        "config",
        "created",
        "delivered",
        "ack_floor",
        "name",
        "stream_name",
    ] {
        assert_eq!(now[field], before[field], "{field}");
    }
    assert_eq!(now["num_ack_pending"], before["num_ack_pending"]);
    assert_eq!(jetstream.consumer_info("S", "p")["paused"], true);
    // What was out comes again, what was acknowledged does not.
    let body = json!({"batch": 20, "expires": 1_500_000_000});
    let got = jetstream.pull("S", "c", body, 20);
    let mut all = texts(&got);
    all.retain(|it| it.starts_with('m') && *it != "m8");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, ["m2", "m5", "m6", "m7"]);
    let messages = got.iter().filter(|it| it.status().is_none());
    let again = messages.filter(|it| it.place().deliveries == 2 && it.place().stream < 6);
    assert_eq!(again.count(), 2);
    let again = jetstream.store("s.7", "Nats-Msg-Id: i7", "m7");
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(7), &json!(true))
    );
    crate::support::wait_until("its end", || {
        let got = jetstream.ask("STREAM.MSG.GET.S", json!({"seq": 8}));
        got.get("error").is_some().then_some(())
    });
    assert_eq!(jetstream.publish("s.9", "m9"), 9);
}
