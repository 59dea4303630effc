//! `jetstream` of the server and of an account (CFG-65).

use super::super::error::ProblemKind;
use super::super::report::{Report, type_in};
use super::super::value::{Node, Value};
use super::check::{Fields, block, duration, flag, integer, storage_size, text, text_duration};

/// Checks the value; whether it switches JetStream on.
pub fn jetstream(report: &mut Report, value: &Value) -> bool {
    match &value.node {
        Node::Bool(on) => *on,
        Node::Map(map) => {
            block(report, value, "", JETSTREAM);
            let switch = map.find("enabled").or(map.find("enable"));
            switch.is_none_or(|it| it.node != Node::Bool(false))
        }
        _ => word(report, value),
    }
}

/// `enabled` or `disabled`.
fn word(report: &mut Report, value: &Value) -> bool {
    let Node::String(_) = &value.node else {
        let text = "Expected map, bool or string to define JetStream, got ";
        report.error(value, type_in(text, value));
        return false;
    };
    let Some(text) = report.keep(value, value.text()) else {
        return false;
    };
    match text.to_lowercase().as_str() {
        "enabled" | "enable" => true,
        "disabled" | "disable" => false,
        _ => {
            let found = format!("'{text}'");
            let text = "Expected 'enabled' or 'disabled' for string value, got ";
            report.error(value, ProblemKind::TypeIn { text, found });
            false
        }
    }
}

const JETSTREAM: Fields = &[
    (&["strict"], flag),
    (&["store", "store_dir", "storedir"], text),
    (&["sync", "sync_interval"], sync),
    (
        &["max_memory_store", "max_mem_store", "max_mem"],
        |report, _, value| storage_size(report, "max_mem_store", value),
    ),
    (&["max_file_store", "max_file"], |report, _, value| {
        storage_size(report, "max_file_store", value);
    }),
    (&["domain"], text),
    (&["enable", "enabled"], flag),
    (&["key", "ek", "encryption_key"], text),
    (&["prev_key", "prev_ek", "prev_encryption_key"], text),
    (&["cipher"], cipher),
    (&["extension_hint"], text),
    (&["limits"], limits),
    (&["tpm"], tpm),
    (&["unique_tag"], text),
    (&["max_outstanding_catchup"], storage_size),
    (&["max_buffered_size"], storage_size),
    (&["max_buffered_msgs"], size),
    (&["request_queue_limit"], size),
    (&["info_queue_limit"], size),
    (&["meta_compact"], absolute_size),
    (&["meta_compact_size"], |report, key, value| {
        match value.node {
            Node::Integer(_) => absolute_size(report, key, value),
            _ => storage_size(report, key, value),
        }
    }),
    (&["meta_compact_sync"], flag),
    (&["max_concurrent_io"], concurrent_io),
];

fn sync(report: &mut Report, key: &str, value: &Value) {
    let always = matches!(&value.node, Node::String(it) if it.eq_ignore_ascii_case(b"always"));
    if !always {
        duration(report, key, value);
    }
}

fn cipher(report: &mut Report, _: &str, value: &Value) {
    if let Some(name) = report.keep(value, value.text())
        && !["chacha", "chachapoly", "aes"].contains(&name.to_lowercase().as_str())
    {
        report.error(
            value,
            ProblemKind::Value {
                before: "Unknown cipher type: ",
                value: name.to_owned(),
                after: "",
            },
        );
    }
}

fn limits(report: &mut Report, _: &str, value: &Value) {
    block(
        report,
        value,
        "Expected a map to define JetStreamLimits, got ",
        &[
            (&["max_ack_pending"], integer),
            (&["max_ha_assets"], integer),
            (&["max_request_batch"], integer),
            (&["duplicate_window"], text_duration),
            (&["batch"], batch),
        ],
    );
}

fn batch(report: &mut Report, _: &str, value: &Value) {
    block(
        report,
        value,
        "Expected a map to define batch limits, got ",
        &[
            (&["max_inflight_per_stream"], integer),
            (&["max_inflight_total"], integer),
            (&["max_msgs"], integer),
            (&["timeout"], text_duration),
        ],
    );
}

fn tpm(report: &mut Report, _: &str, value: &Value) {
    block(
        report,
        value,
        "Expected a map to define JetStreamLimits, got ",
        &[
            (&["keys_file"], text),
            (&["encryption_password"], text),
            (&["srk_password"], text),
            (&["pcr"], integer),
            (&["cipher"], cipher),
        ],
    );
}

fn size(report: &mut Report, key: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(_)) {
        let found = format!("{key:?}, got {}", value.node.shown());
        let text = "Expected a parseable size for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

fn absolute_size(report: &mut Report, key: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(0..)) {
        let found = format!("{key:?}, got {}", value.node.shown());
        let text = "Expected an absolute size for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

fn concurrent_io(report: &mut Report, key: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(4..=8192)) {
        let found = format!("{key:?} between 4 and 8192, got {}", value.node.shown());
        let text = "Expected an absolute size for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

/// `jetstream` of an account.
pub fn of_account(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::Bool(_) => {}
        Node::Map(_) => block(
            report,
            value,
            "",
            &[
                (&["max_memory", "max_mem", "mem", "memory"], size),
                (
                    &["max_store", "max_file", "max_disk", "store", "disk"],
                    size,
                ),
                (&["max_streams", "streams"], size),
                (&["max_consumers", "consumers"], size),
                (
                    &["max_bytes_required", "max_stream_bytes", "max_bytes"],
                    flag,
                ),
                (&["mem_max_stream_bytes", "memory_max_stream_bytes"], size),
                (&["disk_max_stream_bytes", "store_max_stream_bytes"], size),
                (&["max_ack_pending"], size),
                (&["cluster_traffic"], text),
            ],
        ),
        _ => _ = word(report, value),
    }
}
