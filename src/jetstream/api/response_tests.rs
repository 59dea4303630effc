//! Answers, byte by byte as 2.15.1 writes them.

use serde::Serialize;

use super::encode::to_json;
use super::errors;
use super::response::*;
use super::subjects::Endpoint;
use super::timestamp::Timestamp;
use crate::jetstream::stream::config::StreamConfig;

fn text<T: Serialize>(response: &T) -> String {
    String::from_utf8(to_json(response)).expect("text")
}

/// JS-1: what 2.15.1 said beside an error.
#[test]
fn errors_stand_beside_the_same_zeros_as_in_stock() {
    for (endpoint, kind, beside) in [
        (Endpoint::AccountInfo, "account_info", ""),
        (Endpoint::StreamCreate, "stream_create", ""),
        (Endpoint::StreamUpdate, "stream_update", ""),
        (
            Endpoint::StreamNames,
            "stream_names",
            r#","total":0,"offset":0,"limit":0,"streams":null"#,
        ),
        (
            Endpoint::StreamList,
            "stream_list",
            r#","total":0,"offset":0,"limit":0,"streams":[]"#,
        ),
        (
            Endpoint::StreamInfo,
            "stream_info",
            r#","total":0,"offset":0,"limit":0"#,
        ),
        (Endpoint::StreamDelete, "stream_delete", ""),
        (Endpoint::StreamPurge, "stream_purge", r#","purged":0"#),
        (Endpoint::MessageGet, "stream_msg_get", ""),
        (Endpoint::MessageDelete, "stream_msg_delete", ""),
        (Endpoint::StreamSnapshot, "stream_snapshot", ""),
        (
            Endpoint::StreamRestore,
            "stream_restore",
            r#","deliver_subject":"""#,
        ),
        (Endpoint::StreamLeaderStepDown, "stream_leader_stepdown", ""),
        (Endpoint::StreamPeerRemove, "stream_remove_peer", ""),
        (Endpoint::StreamPeerEvacuate, "stream_evacuate_peer", ""),
        (Endpoint::StreamCancelMove, "stream_cancel_move", ""),
        (Endpoint::ConsumerCreate, "consumer_create", ""),
        (
            Endpoint::ConsumerNames,
            "consumer_names",
            r#","total":0,"offset":0,"limit":0,"consumers":[]"#,
        ),
        (
            Endpoint::ConsumerList,
            "consumer_list",
            r#","total":0,"offset":0,"limit":0,"consumers":[]"#,
        ),
        (Endpoint::ConsumerInfo, "consumer_info", ""),
        (Endpoint::ConsumerDelete, "consumer_delete", ""),
        (
            Endpoint::ConsumerPause,
            "consumer_pause",
            r#","paused":false,"pause_until":"0001-01-01T00:00:00Z""#,
        ),
        (Endpoint::ConsumerUnpin, "consumer_unpin", ""),
        (
            Endpoint::ConsumerLeaderStepDown,
            "consumer_leader_stepdown",
            "",
        ),
    ] {
        let error = r#"{"code":404,"err_code":10059,"description":"stream not found"}"#;
        let expected = format!(
            r#"{{"type":"io.nats.jetstream.api.v1.{kind}_response","error":{error}{beside}}}"#
        );
        let got = error_response(endpoint, errors::STREAM_NOT_FOUND);
        assert_eq!(String::from_utf8(got).expect("text"), expected);
    }
}

/// As 2.15.1 writes them, byte by byte.
#[test]
fn answers_have_stocks_fields_in_stocks_order() {
    let time: Timestamp = "2026-11-23T07:12:03.98Z".parse().expect("a time");
    let config = StreamConfig {
        name: "A".to_owned(),
        subjects: vec!["a.>".to_owned()],
        max_msgs: -1,
        num_replicas: 1,
        ..StreamConfig::default()
    };
    let info = StreamInfo {
        config,
        created: time,
        cluster: Some(ClusterInfo {
            leader: "S".to_owned(),
            ..ClusterInfo::default()
        }),
        ts: time,
        ..StreamInfo::default()
    };
    let stream = r#""config":{"name":"A","subjects":["a.\u003e"],"retention":"limits","max_consumers":0,"max_msgs":-1,"max_bytes":0,"max_age":0,"max_msgs_per_subject":0,"discard":"old","storage":"file","num_replicas":1,"compression":"none","allow_direct":false,"mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false,"consumer_limits":{},"allow_msg_ttl":false},"created":"2026-11-23T07:12:03.98Z","state":{"messages":0,"bytes":0,"first_seq":0,"first_ts":"0001-01-01T00:00:00Z","last_seq":0,"last_ts":"0001-01-01T00:00:00Z","consumer_count":0},"cluster":{"leader":"S"},"ts":"2026-11-23T07:12:03.98Z""#;
    let paged = PagedStreamInfo {
        paging: Paging::default(),
        info: info.clone(),
    };
    assert_eq!(
        text(&Response::new(Endpoint::StreamInfo, paged)),
        format!(
            r#"{{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,{stream}}}"#
        )
    );
    let created = StreamCreated {
        info,
        did_create: true,
    };
    assert_eq!(
        text(&Response::new(Endpoint::StreamCreate, created)),
        format!(
            r#"{{"type":"io.nats.jetstream.api.v1.stream_create_response",{stream},"did_create":true}}"#
        )
    );
    let consumer = ConsumerInfo {
        stream_name: "A".to_owned(),
        name: "c".to_owned(),
        created: time,
        ts: time,
        ..ConsumerInfo::default()
    };
    assert_eq!(
        text(&Response::new(Endpoint::ConsumerInfo, consumer)),
        r#"{"type":"io.nats.jetstream.api.v1.consumer_info_response","stream_name":"A","name":"c","created":"2026-11-23T07:12:03.98Z","config":{"deliver_policy":"all","ack_policy":"none","replay_policy":"instant","num_replicas":0},"delivered":{"consumer_seq":0,"stream_seq":0},"ack_floor":{"consumer_seq":0,"stream_seq":0},"num_ack_pending":0,"num_redelivered":0,"num_waiting":0,"num_pending":0,"ts":"2026-11-23T07:12:03.98Z"}"#
    );
    let account = AccountInfo {
        api: ApiUsage {
            level: 5,
            total: 27,
            errors: 27,
            inflight: 0,
        },
        ..AccountInfo::default()
    };
    assert_eq!(
        text(&Response::new(Endpoint::AccountInfo, account)),
        r#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":0,"reserved_memory":0,"reserved_storage":0,"streams":0,"consumers":0,"limits":{"max_memory":-1,"max_storage":-1,"max_streams":-1,"max_consumers":-1,"max_ack_pending":-1,"memory_max_stream_bytes":-1,"storage_max_stream_bytes":-1,"max_bytes_required":false},"api":{"level":5,"total":27,"errors":27}}"#
    );
    let message = MessageGot {
        message: StoredMessageInfo {
            subject: "a.b0",
            seq: 1,
            hdrs: b"NATS/1.0\r\nK: v\r\n\r\n",
            data: b"hi>",
            time,
        },
    };
    assert_eq!(
        text(&Response::new(Endpoint::MessageGet, message)),
        r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"a.b0","seq":1,"hdrs":"TkFUUy8xLjANCks6IHYNCg0K","data":"aGk+","time":"2026-11-23T07:12:03.98Z"}}"#
    );
    let refused = PubAck {
        error: Some(errors::stream_wrong_last_sequence(4)),
        stream: "A",
        ..PubAck::default()
    };
    assert_eq!(
        text(&refused),
        r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"stream":"A","seq":0}"#
    );
}

/// JS-12.
#[test]
fn pages_are_within_bounds() {
    let page = |total, offset, limit| {
        let (paging, range) = Paging::page(total, offset, limit);
        (paging.offset, range)
    };
    assert_eq!(page(5, 0, 2), (0, 0..2));
    assert_eq!(page(5, 4, 2), (4, 4..5));
    assert_eq!(page(5, 9, 2), (5, 5..5));
    assert_eq!(page(5, -3, 2), (0, 0..2));
}
