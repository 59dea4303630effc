//! Sections 1 and 2 of JetStream: how its API answers, and what each endpoint of a server alone
//! says.

use crate::support::jetstream::JetStream;
use serde_json::{Value, json};

const NAME: &str = "io.nats.jetstream.api.v1.";

/// A stream `A` of `a.>`, with three messages.
fn filled() -> JetStream {
    let mut jetstream = JetStream::start();
    let config = json!({"name": "A", "subjects": ["a.>"]});
    jetstream.done("STREAM.CREATE.A", config);
    for at in 1..=3 {
        assert_eq!(jetstream.publish(&format!("a.{at}"), "x"), at);
    }
    jetstream
}

fn add_consumer(jetstream: &mut JetStream, name: &str) -> Value {
    let config = json!({"durable_name": name, "ack_policy": "explicit"});
    let request = json!({"stream_name": "A", "config": config});
    jetstream.done(&format!("CONSUMER.CREATE.A.{name}"), request)
}

/// JS-1, JS-7, JS-51: an error has the type of its endpoint, and the zeros of some.
#[test]
fn js_001_errors_have_their_endpoints_type() {
    let mut jetstream = JetStream::start();
    let page = json!({"total": 0, "offset": 0, "limit": 0});
    let with = |key: &str, value: Value| {
        let mut page = page.clone();
        page[key] = value;
        page
    };
    for (endpoint, kind, beside) in [
        ("INFO", "account_info", json!({})),
        ("STREAM.CREATE.A", "stream_create", json!({})),
        ("STREAM.UPDATE.A", "stream_update", json!({})),
        ("STREAM.NAMES", "stream_names", with("streams", Value::Null)),
        ("STREAM.LIST", "stream_list", with("streams", json!([]))),
        ("STREAM.INFO.A", "stream_info", page.clone()),
        ("STREAM.DELETE.A", "stream_delete", json!({})),
        ("STREAM.PURGE.A", "stream_purge", json!({"purged": 0})),
        ("STREAM.MSG.GET.A", "stream_msg_get", json!({})),
        ("STREAM.MSG.DELETE.A", "stream_msg_delete", json!({})),
        ("STREAM.SNAPSHOT.A", "stream_snapshot", json!({})),
        (
            "STREAM.RESTORE.A",
            "stream_restore",
            json!({"deliver_subject": ""}),
        ),
        ("CONSUMER.CREATE.A", "consumer_create", json!({})),
        ("CONSUMER.CREATE.A.c", "consumer_create", json!({})),
        ("CONSUMER.CREATE.A.c.f.g", "consumer_create", json!({})),
        ("CONSUMER.DURABLE.CREATE.A.c", "consumer_create", json!({})),
        (
            "CONSUMER.NAMES.A",
            "consumer_names",
            with("consumers", json!([])),
        ),
        (
            "CONSUMER.LIST.A",
            "consumer_list",
            with("consumers", json!([])),
        ),
        ("CONSUMER.INFO.A.c", "consumer_info", json!({})),
        ("CONSUMER.DELETE.A.c", "consumer_delete", json!({})),
        (
            "CONSUMER.PAUSE.A.c",
            "consumer_pause",
            json!({"paused": false, "pause_until": "0001-01-01T00:00:00Z"}),
        ),
        ("CONSUMER.UNPIN.A.c", "consumer_unpin", json!({})),
    ] {
        let mut expected = beside;
        expected["type"] = json!(format!("{NAME}{kind}_response"));
        expected["error"] = json!({
            "code": 412, "err_code": 10185,
            "description": "JetStream minimum api level required",
        });
        for level in ["6", "x"] {
            let header = format!("Nats-Required-Api-Level: {level}");
            let subject = format!("$JS.API.{endpoint}");
            let message = jetstream.request(&subject, &header, "{}");
            let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
            assert_eq!(answer, expected, "{endpoint}");
        }
    }
    let message = jetstream.request("$JS.API.INFO", "Nats-Required-Api-Level: 5", "");
    let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
    assert_eq!(answer["api"]["level"], 5);
}

#[test]
fn js_005_unknown_endpoints_are_silent_and_pulls_of_nobody_are_not() {
    let mut jetstream = JetStream::start();
    for endpoint in ["FOO", "STREAM.TEMPLATE.CREATE.x", "STREAM.CREATE"] {
        jetstream.silent(&format!("$JS.API.{endpoint}"), "");
    }
    let message = jetstream.request("$JS.API.CONSUMER.MSG.NEXT.A.c", "", "");
    assert!(message.headers.starts_with(b"NATS/1.0 503"));
}

/// JS-10, JS-29, JS-30, JS-40.
#[test]
fn js_029_what_needs_a_cluster_says_so() {
    let mut jetstream = JetStream::start();
    for endpoint in [
        "STREAM.LEADER.STEPDOWN.A",
        "STREAM.PEER.REMOVE.A",
        "STREAM.CANCEL_MOVE.A",
        "CONSUMER.LEADER.STEPDOWN.A.c",
    ] {
        let (code, number, text) = jetstream.refused(endpoint, "");
        assert_eq!((code, number), (503, 10010), "{endpoint}");
        assert_eq!(text, "JetStream clustering support required");
    }
}

#[test]
fn js_017_an_accounts_info_has_its_usage_and_limits() {
    let mut jetstream = JetStream::start();
    let expected = json!({
        "max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1,
        "max_ack_pending": -1, "memory_max_stream_bytes": -1, "storage_max_stream_bytes": -1,
        "max_bytes_required": false,
    });
    let info = jetstream.done("INFO", "");
    assert_eq!(info["type"], format!("{NAME}account_info_response"));
    assert_eq!(info["limits"], expected);
    for zero in [
        "memory",
        "storage",
        "reserved_storage",
        "streams",
        "consumers",
    ] {
        assert_eq!(info[zero], 0, "{zero}");
    }
    jetstream.done("STREAM.CREATE.A", json!({"name": "A", "max_bytes": 1000}));
    jetstream.refused("STREAM.INFO.B", "");
    add_consumer(&mut jetstream, "c");
    let info = jetstream.done("INFO", "");
    assert_eq!(
        (&info["streams"], &info["consumers"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(info["reserved_storage"], 1000);
    assert_eq!(info["api"]["level"], 5);
    assert_eq!(info["api"]["errors"], 1);
    assert!(info["api"]["total"].as_u64() >= Some(4));
}

/// JS-10, JS-17: requests for messages count only when they fail, those to a consumer itself do not,
/// and a message that is not there to be deleted is no error.
#[test]
fn js_017_requests_are_counted_as_stock_counts_them() {
    let mut jetstream = filled();
    add_consumer(&mut jetstream, "c");
    let mut told = (0, 0);
    let count = |value: &Value| value.as_u64().expect("a number");
    for (endpoint, body, more) in [
        ("STREAM.INFO.A", "", (1, 0)),
        ("STREAM.INFO.NONE", "", (1, 1)),
        ("STREAM.MSG.GET.A", r#"{"seq":2}"#, (0, 0)),
        ("STREAM.MSG.GET.A", r#"{"seq":9}"#, (1, 1)),
        ("CONSUMER.RESET.A.c", "", (0, 0)),
        ("STREAM.MSG.DELETE.A", r#"{"seq":2}"#, (1, 0)),
        ("STREAM.MSG.DELETE.A", r#"{"seq":2}"#, (1, 0)),
        ("STREAM.MSG.DELETE.A", "{", (1, 1)),
    ] {
        jetstream.ask(endpoint, body);
        let api = jetstream.done("INFO", "")["api"].clone();
        let now = (count(&api["total"]), count(&api["errors"]));
        if told != (0, 0) {
            assert_eq!(
                (now.0 - told.0 - 1, now.1 - told.1),
                more,
                "{endpoint} {body}"
            );
        }
        told = now;
    }
}

#[test]
fn js_018_a_stream_is_created_once_and_shown() {
    let mut jetstream = JetStream::start();
    let created = jetstream.done("STREAM.CREATE.A", r#"{"name":"A"}"#);
    assert_eq!(created["type"], format!("{NAME}stream_create_response"));
    assert_eq!(created["did_create"], true);
    let state = json!({
        "messages": 0, "bytes": 0, "first_seq": 0, "first_ts": "0001-01-01T00:00:00Z",
        "last_seq": 0, "last_ts": "0001-01-01T00:00:00Z", "consumer_count": 0,
    });
    assert_eq!(created["state"], state);
    for time in ["created", "ts"] {
        let text = created[time].as_str().expect("a time");
        assert!(text.starts_with("20") && text.ends_with('Z'), "{text}");
    }
    let again = jetstream.done("STREAM.CREATE.A", r#"{"name":"A"}"#);
    assert_eq!(again["created"], created["created"]);
    let updated = jetstream.done("STREAM.UPDATE.A", r#"{"name":"A","description":"d"}"#);
    assert_eq!(updated["type"], format!("{NAME}stream_update_response"));
    assert_eq!(updated["config"]["description"], "d");
    assert_eq!(updated.get("did_create"), None);
}

/// JS-12, JS-13, JS-20, JS-21.
#[test]
fn js_012_lists_come_in_pages_sorted_by_name() {
    let mut jetstream = JetStream::start();
    let names = jetstream.done("STREAM.NAMES", "");
    assert_eq!(names["streams"], Value::Null);
    assert_eq!(
        (&names["total"], &names["limit"]),
        (&json!(0), &json!(1024))
    );
    let list = jetstream.done("STREAM.LIST", "");
    assert_eq!(
        (&list["streams"], &list["limit"]),
        (&json!([]), &json!(256))
    );
    for name in ["C", "A", "B"] {
        let subject = format!("{}.*", name.to_lowercase());
        let config = json!({"name": name, "subjects": [subject]});
        jetstream.done(&format!("STREAM.CREATE.{name}"), config);
    }
    for (body, offset, expected) in [
        ("", 0, json!(["A", "B", "C"])),
        ("not json", 0, json!(["A", "B", "C"])),
        (r#"{"offset":1}"#, 1, json!(["B", "C"])),
        (r#"{"offset":9}"#, 3, Value::Null),
        (r#"{"offset":-1}"#, 0, json!(["A", "B", "C"])),
    ] {
        let names = jetstream.done("STREAM.NAMES", body);
        assert_eq!(names["streams"], expected, "{body}");
        assert_eq!(
            (&names["total"], &names["offset"]),
            (&json!(3), &json!(offset))
        );
    }
    for (subject, expected) in [
        ("a.1", json!(["A"])),
        ("*.x", json!(["A", "B", "C"])),
        ("d.*", Value::Null),
    ] {
        let names = jetstream.done("STREAM.NAMES", json!({"subject": subject}));
        assert_eq!(names["streams"], expected, "{subject}");
    }
    let list = jetstream.done("STREAM.LIST", r#"{"subject":"b.>"}"#);
    let streams = list["streams"].as_array().expect("a list");
    assert_eq!((list["total"].as_u64(), streams.len()), (Some(1), 1));
    // JS-82: not in lists.
    assert_eq!(
        streams[0]["config"]["metadata"],
        json!({"_nats.req.level": "0"})
    );
    assert_eq!(streams[0]["config"]["name"], "B");
}

#[test]
fn js_022_a_streams_info_shows_its_state() {
    let mut jetstream = filled();
    let info = jetstream.done("STREAM.INFO.A", "");
    assert_eq!(info["type"], format!("{NAME}stream_info_response"));
    let state = &info["state"];
    assert_eq!(
        (&state["messages"], &state["last_seq"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&state["num_subjects"], state.get("subjects")),
        (&json!(3), None)
    );
    assert_eq!(state.get("num_deleted"), None);
    assert!(info["cluster"]["leader"].is_string());
    assert_eq!((&info["total"], &info["limit"]), (&json!(0), &json!(0)));
    jetstream.done("STREAM.MSG.DELETE.A", r#"{"seq":2}"#);
    let body = r#"{"deleted_details":true,"subjects_filter":"a.*"}"#;
    let info = jetstream.done("STREAM.INFO.A", body);
    let state = &info["state"];
    assert_eq!(state["subjects"], json!({"a.1": 1, "a.3": 1}));
    assert_eq!(
        (&info["total"], &info["limit"]),
        (&json!(2), &json!(100_000))
    );
    assert_eq!(state["deleted"], json!([2]));
    assert_eq!(
        (&state["num_deleted"], &state["messages"]),
        (&json!(1), &json!(2))
    );
    let info = jetstream.done("STREAM.INFO.A", r#"{"subjects_filter":"a.1"}"#);
    assert_eq!(info["state"]["subjects"], json!({"a.1": 1}));
    let refused = jetstream.refused("STREAM.INFO.B", "");
    assert_eq!(refused, (404, 10059, "stream not found".to_owned()));
}

/// JS-4, JS-23, JS-37, JS-38.
#[test]
fn js_023_deleting_takes_no_body() {
    let mut jetstream = filled();
    add_consumer(&mut jetstream, "c");
    let error = (400, 10038, "expected an empty request payload".to_owned());
    for endpoint in [
        "STREAM.DELETE.A",
        "CONSUMER.DELETE.A.c",
        "CONSUMER.INFO.A.c",
    ] {
        for body in [r#"{"a":1}"#, "x", "[]"] {
            assert_eq!(
                jetstream.refused(endpoint, body),
                error,
                "{endpoint} {body}"
            );
        }
    }
    let info = jetstream.done("CONSUMER.INFO.A.c", " { } ");
    assert_eq!(info["name"], "c");
    let deleted = jetstream.done("CONSUMER.DELETE.A.c", "{}");
    let kind = format!("{NAME}consumer_delete_response");
    assert_eq!(deleted, json!({"type": kind, "success": true}));
    let missing = (404, 10014, "consumer not found".to_owned());
    assert_eq!(jetstream.refused("CONSUMER.DELETE.A.c", ""), missing);
    let deleted = jetstream.done("STREAM.DELETE.A", "");
    let kind = format!("{NAME}stream_delete_response");
    assert_eq!(deleted, json!({"type": kind, "success": true}));
    let (_, number, _) = jetstream.refused("STREAM.DELETE.A", "");
    assert_eq!(number, 10059);
}

#[test]
fn js_024_purges_take_what_is_asked() {
    let mut jetstream = filled();
    let (code, number, text) = jetstream.refused("STREAM.PURGE.A", r#"{"seq":2,"keep":1}"#);
    assert_eq!((code, number, text.as_str()), (400, 10003, "bad request"));
    let purged = jetstream.done("STREAM.PURGE.A", r#"{"filter":"a.2"}"#);
    let kind = format!("{NAME}stream_purge_response");
    assert_eq!(purged, json!({"type": kind, "success": true, "purged": 1}));
    let purged = jetstream.done("STREAM.PURGE.A", r#"{"seq":2}"#);
    assert_eq!(purged["purged"], 1);
    jetstream.publish("a.4", "x");
    assert_eq!(
        jetstream.done("STREAM.PURGE.A", r#"{"keep":1}"#)["purged"],
        1
    );
    assert_eq!(jetstream.done("STREAM.PURGE.A", "not json")["purged"], 1);
    let info = jetstream.done("STREAM.INFO.A", "");
    let state = &info["state"];
    assert_eq!(
        (&state["first_seq"], &state["last_seq"]),
        (&json!(5), &json!(4))
    );
}

#[test]
fn js_025_messages_are_got_by_sequence_and_by_subject() {
    let mut jetstream = filled();
    let headers = "K: v";
    jetstream.request("a.1", headers, "last");
    for (body, expected) in [
        (r#"{"seq":2}"#, 2),
        (r#"{"last_by_subj":"a.1"}"#, 4),
        (r#"{"last_by_subj":"a.*"}"#, 4),
        (r#"{"next_by_subj":"a.1"}"#, 1),
        (r#"{"next_by_subj":"a.1","seq":2}"#, 4),
        (r#"{"next_by_subj":"a.>","seq":2}"#, 2),
        (r#"{"start_time":"2020-01-01T00:00:00Z"}"#, 1),
        (
            r#"{"start_time":"2020-01-01T00:00:00Z","next_by_subj":"a.3"}"#,
            3,
        ),
    ] {
        let got = jetstream.done("STREAM.MSG.GET.A", body);
        assert_eq!(got["message"]["seq"], expected, "{body}");
    }
    let got = jetstream.done("STREAM.MSG.GET.A", r#"{"seq":4}"#);
    assert_eq!(got["type"], format!("{NAME}stream_msg_get_response"));
    let message = &got["message"];
    assert_eq!(
        (&message["subject"], &message["data"]),
        (&json!("a.1"), &json!("bGFzdA=="))
    );
    assert_eq!(message["hdrs"], "TkFUUy8xLjANCks6IHYNCg0K");
    assert!(message["time"].as_str().is_some_and(|it| it.ends_with('Z')));
    let got = jetstream.done("STREAM.MSG.GET.A", r#"{"seq":4,"no_hdr":true}"#);
    assert_eq!(got["message"].get("hdrs"), None);
    for body in [
        "",
        "{}",
        r#"{"seq":1,"last_by_subj":"a.1"}"#,
        r#"{"last_by_subj":"a.1","next_by_subj":"a.1"}"#,
        r#"{"seq":1,"batch":2}"#,
        r#"{"seq":1,"max_bytes":2}"#,
        r#"{"seq":1,"start_time":"2020-01-01T00:00:00Z"}"#,
    ] {
        let (_, number, _) = jetstream.refused("STREAM.MSG.GET.A", body);
        assert_eq!(number, 10003, "{body}");
    }
    for body in [
        r#"{"seq":9}"#,
        r#"{"last_by_subj":"zzz"}"#,
        r#"{"next_by_subj":"a.2","seq":3}"#,
    ] {
        let refused = jetstream.refused("STREAM.MSG.GET.A", body);
        assert_eq!(
            refused,
            (404, 10037, "no message found".to_owned()),
            "{body}"
        );
    }
}

#[test]
fn js_026_messages_are_deleted_once() {
    let mut jetstream = filled();
    let deleted = jetstream.done("STREAM.MSG.DELETE.A", r#"{"seq":2}"#);
    let kind = format!("{NAME}stream_msg_delete_response");
    assert_eq!(deleted, json!({"type": kind, "success": true}));
    let refused = jetstream.refused("STREAM.MSG.DELETE.A", r#"{"seq":2}"#);
    assert_eq!(refused, (400, 10043, "sequence 2 not found".to_owned()));
    let refused = jetstream.refused("STREAM.MSG.DELETE.A", r#"{"seq":9}"#);
    assert_eq!(refused, (500, 10057, "stream store EOF".to_owned()));
    jetstream.done("STREAM.CREATE.B", json!({"name": "B", "subjects": ["b.>"]}));
    for subject in ["b.1", "b.2", "b.3"] {
        jetstream.publish(subject, "x");
    }
    // What is before the first is told of otherwise than what is between others.
    jetstream.done("STREAM.PURGE.B", r#"{"seq":3}"#);
    for seq in [0, 1, 2] {
        let refused = jetstream.refused("STREAM.MSG.DELETE.B", json!({"seq": seq}));
        assert_eq!(refused, (500, 10057, "no message found".to_owned()));
    }
    jetstream.done("STREAM.MSG.DELETE.A", r#"{"seq":3,"no_erase":true}"#);
    let config = json!({"name": "A", "subjects": ["a.>"], "deny_delete": true});
    jetstream.done("STREAM.UPDATE.A", config);
    let refused = jetstream.refused("STREAM.MSG.DELETE.A", r#"{"seq":1}"#);
    assert_eq!(
        refused,
        (500, 10057, "message delete not permitted".to_owned())
    );
    let config = json!({"name": "A", "subjects": ["a.>"], "sealed": true, "deny_delete": true});
    jetstream.done("STREAM.UPDATE.A", config);
    let (_, number, _) = jetstream.refused("STREAM.MSG.DELETE.A", r#"{"seq":1}"#);
    assert_eq!(number, 10109);
}

/// JS-33, JS-36, JS-37, JS-194.
#[test]
fn js_036_consumers_are_listed_and_shown() {
    let mut jetstream = filled();
    let names = jetstream.done("CONSUMER.NAMES.A", "");
    assert_eq!(
        (&names["consumers"], &names["limit"]),
        (&json!([]), &json!(1024))
    );
    let created = add_consumer(&mut jetstream, "c");
    assert_eq!(created["type"], format!("{NAME}consumer_create_response"));
    add_consumer(&mut jetstream, "b");
    let names = jetstream.done("CONSUMER.NAMES.A", "");
    assert_eq!(names["consumers"], json!(["b", "c"]));
    let names = jetstream.done("CONSUMER.NAMES.A", r#"{"offset":1}"#);
    assert_eq!(
        (&names["consumers"], &names["total"]),
        (&json!(["c"]), &json!(2))
    );
    let list = jetstream.done("CONSUMER.LIST.A", "");
    assert_eq!(
        (&list["limit"], &list["consumers"][0]["name"]),
        (&json!(256), &json!("b"))
    );
    let mut info = jetstream.done("CONSUMER.INFO.A.c", "");
    for time in ["created", "ts"] {
        let text = info[time].take();
        assert!(text.as_str().is_some_and(|it| it.ends_with('Z')), "{text}");
    }
    let metadata = json!({"_nats.level": "5", "_nats.req.level": "0", "_nats.ver": "2.15.1"});
    let expected = json!({
        "type": format!("{NAME}consumer_info_response"),
        "stream_name": "A", "name": "c", "created": null,
        "config": {
            "durable_name": "c", "name": "c", "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": 30_000_000_000_u64, "max_deliver": -1, "replay_policy": "instant",
            "max_waiting": 512, "max_ack_pending": 1000, "num_replicas": 0, "metadata": metadata,
        },
        "delivered": {"consumer_seq": 0, "stream_seq": 0},
        "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
        "num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0, "num_pending": 3,
        "ts": null,
    });
    assert_eq!(info, expected);
    let info = jetstream.done("STREAM.INFO.A", "");
    assert_eq!(info["state"]["consumer_count"], 2);
    let (_, number, _) = jetstream.refused("CONSUMER.INFO.A.x", "");
    assert_eq!(number, 10014);
    for endpoint in ["CONSUMER.INFO.B.x", "CONSUMER.NAMES.B", "CONSUMER.LIST.B"] {
        let (_, number, _) = jetstream.refused(endpoint, "");
        assert_eq!(number, 10059, "{endpoint}");
    }
}

#[test]
fn js_041_consumers_are_paused_and_go_on() {
    let mut jetstream = filled();
    add_consumer(&mut jetstream, "c");
    let body = r#"{"pause_until":"2999-01-01T01:00:00+01:00"}"#;
    let paused = jetstream.done("CONSUMER.PAUSE.A.c", body);
    assert_eq!(paused["type"], format!("{NAME}consumer_pause_response"));
    assert_eq!(
        (&paused["paused"], &paused["pause_until"]),
        (&json!(true), &json!("2999-01-01T00:00:00Z"))
    );
    assert!(paused["pause_remaining"].as_u64() > Some(0));
    let info = jetstream.done("CONSUMER.INFO.A.c", "");
    assert_eq!(
        (&info["paused"], &info["config"]["pause_until"]),
        (&json!(true), &json!("2999-01-01T00:00:00Z"))
    );
    assert_eq!(info["config"]["metadata"]["_nats.req.level"], "1");
    for body in ["", "{}", r#"{"pause_until":"2001-01-01T00:00:00Z"}"#] {
        let paused = jetstream.done("CONSUMER.PAUSE.A.c", body);
        assert_eq!(
            (&paused["paused"], paused.get("pause_remaining")),
            (&json!(false), None)
        );
    }
    let info = jetstream.done("CONSUMER.INFO.A.c", "");
    assert_eq!(info.get("paused"), None);
}

#[test]
fn js_042_only_groups_there_are_can_be_unpinned() {
    let mut jetstream = filled();
    let config = json!({
        "durable_name": "c", "ack_policy": "explicit", "priority_policy": "pinned_client",
        "priority_groups": ["g"],
    });
    let request = json!({"stream_name": "A", "config": config});
    jetstream.done("CONSUMER.CREATE.A.c", request);
    let unpinned = jetstream.done("CONSUMER.UNPIN.A.c", r#"{"group":"g"}"#);
    assert_eq!(unpinned["type"], format!("{NAME}consumer_unpin_response"));
    for (body, expected) in [
        (r#"{"group":"x"}"#, 10160),
        (r#"{"group":"a b"}"#, 10162),
        ("", 10025),
    ] {
        let (_, number, _) = jetstream.refused("CONSUMER.UNPIN.A.c", body);
        assert_eq!(number, expected, "{body}");
    }
}

/// JS-8.
#[test]
fn js_008_info_says_that_jetstream_is_on() {
    let jetstream = JetStream::start();
    let info = jetstream.server.open().info;
    assert_eq!(
        (&info["jetstream"], &info["api_lvl"]),
        (&json!(true), &json!(5))
    );
}

/// JS-6.
#[test]
fn js_006_an_account_without_jetstream_is_told_so() {
    let config = r#"
        jetstream { store_dir: "@DIR@/store" }
        accounts {
          A { jetstream: enabled, users [ { user: a, password: p } ] }
          B { users [ { user: b, password: p } ] }
        }
    "#;
    let mut with = JetStream::with_config(config, r#"{"user":"a","pass":"p"}"#);
    with.done("INFO", "");
    let mut without = JetStream::with_config(config, r#"{"user":"b","pass":"p"}"#);
    let refused = without.refused("INFO", "");
    let expected = (503, 10039, "JetStream not enabled for account".to_owned());
    assert_eq!(refused, expected);
}

/// JS-121, JS-129: what is not served is refused, in the words of a stream that does not allow it.
#[test]
fn js_121_batches_are_refused_by_streams_that_could_have_them() {
    let mut jetstream = JetStream::start();
    let config = json!({"name": "A", "subjects": ["a"]});
    jetstream.done("STREAM.CREATE.A", config);
    let head = "NATS/1.0\r\nNats-Batch-Id: b\r\nNats-Batch-Sequence: 1\r\n\r\n";
    let len = head.len();
    let (client, inbox) = (&mut jetstream.client, &jetstream.inbox);
    client.send(format!("HPUB a {inbox}.b {len} {len}\r\n{head}\r\n"));
    let answer = String::from_utf8(client.message().payload).expect("text");
    assert!(answer.contains("\"err_code\":10174"), "{answer}");
    client.send(format!("PUB a {inbox}.b.10.ok.1.0.$FI 1\r\nx\r\n"));
    let answer = String::from_utf8(client.message().payload).expect("text");
    assert!(answer.contains("\"err_code\":10205"), "{answer}");
}
