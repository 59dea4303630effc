//! The API level a stream or consumer needs, and the metadata that says so (JS-7, JS-8, JS-82).

use std::collections::BTreeMap;

use super::values::Span;
use crate::jetstream::consumer::config::{AckPolicy, ConsumerConfig, PriorityPolicy};
use crate::jetstream::stream::config::{PersistMode, StreamConfig};

/// The level this server speaks.
pub const API_LEVEL: u32 = 5;

const REQUIRED: &str = "_nats.req.level";
const VERSION: &str = "_nats.ver";
const LEVEL: &str = "_nats.level";

type Metadata = BTreeMap<String, String>;

/// Can a request with this header's value not be answered? It names a level, or should.
pub fn is_beyond(required: &[u8]) -> bool {
    if required.is_empty() {
        return false;
    }
    let level = std::str::from_utf8(required)
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    level.is_none_or(|level| level > i64::from(API_LEVEL))
}

/// The level an asset says it needs; empty if it says none.
pub fn required(metadata: &Metadata) -> &str {
    metadata.get(REQUIRED).map_or("", String::as_str)
}

/// Is an asset with this metadata one this server understands? (JS-256)
pub fn is_supported(metadata: &Metadata) -> bool {
    !is_beyond(required(metadata).as_bytes())
}

/// What only answers carry is taken out.
fn remove_dynamic(metadata: &mut Metadata) {
    metadata.remove(VERSION);
    metadata.remove(LEVEL);
}

fn set_required(metadata: &mut Metadata, level: u32) {
    remove_dynamic(metadata);
    metadata.insert(REQUIRED.to_owned(), level.to_string());
}

/// Says in the metadata of a stream to be stored which level it needs.
pub fn stamp_stream(config: &mut StreamConfig) {
    let mut level = 0;
    if config.allow_msg_ttl || config.subject_delete_marker_ttl > Span::ZERO {
        level = 1;
    }
    if config.allow_msg_counter
        || config.allow_atomic
        || config.allow_msg_schedules
        || config.persist_mode == PersistMode::Async
    {
        level = 2;
    }
    if config.allow_batched {
        level = 4;
    }
    set_required(&mut config.metadata, level);
}

/// Says in the metadata of a consumer to be stored which level it needs.
pub fn stamp_consumer(config: &mut ConsumerConfig) {
    let mut level = 0;
    if config.pause_until.is_some_and(|until| !until.is_zero())
        || config.priority_policy != PriorityPolicy::None
        || !config.priority_timeout.is_zero()
        || !config.priority_groups.is_empty()
    {
        level = 1;
    }
    if config.ack_policy == AckPolicy::FlowControl {
        level = 4;
    }
    set_required(&mut config.metadata, level);
}

/// Gives `metadata` the level that `before` has, so that two configurations can be compared.
pub fn copy_level(metadata: &mut Metadata, before: &Metadata) {
    remove_dynamic(metadata);
    match before.get(REQUIRED) {
        Some(level) => metadata.insert(REQUIRED.to_owned(), level.clone()),
        None => metadata.remove(REQUIRED),
    };
}

/// The metadata as answers carry it: with the server's `version` and level.
pub fn shown(metadata: &Metadata, version: &str) -> Metadata {
    let mut shown = metadata.clone();
    shown.insert(VERSION.to_owned(), version.to_owned());
    shown.insert(LEVEL.to_owned(), API_LEVEL.to_string());
    shown
}
