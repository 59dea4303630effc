//! `/jsz` and `/ipqueuesz` of a server without JetStream (MON-35, MON-38).

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Parameters};

/// Parameters that are truth values; read for their errors only.
const FLAGS: [&str; 8] = [
    "accounts",
    "streams",
    "consumers",
    "direct-consumers",
    "config",
    "leader-only",
    "raft",
    "stream-leader-only",
];

#[derive(Serialize)]
pub(super) struct Jsz<'a> {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: Value,
    server_id: &'a str,
    now: String,
    disabled: bool,
    config: Value,
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    total: u64,
}

/// Answers `/jsz`.
pub(super) fn jsz<'a>(
    facts: &'a ServerFacts,
    parameters: &Parameters,
) -> Result<Jsz<'a>, BadRequest> {
    for name in FLAGS {
        parameters.bool(name)?;
    }
    for name in ["offset", "limit"] {
        parameters.int(name)?;
    }
    Ok(Jsz {
        memory: 0,
        storage: 0,
        reserved_memory: 0,
        reserved_storage: 0,
        accounts: 0,
        ha_assets: 0,
        api: json!({ "level": 0, "total": 0, "errors": 0 }),
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        disabled: true,
        config: json!({ "max_memory": 0, "max_storage": 0 }),
        streams: 0,
        consumers: 0,
        messages: 0,
        bytes: 0,
        total: 0,
    })
}

/// Answers `/ipqueuesz`: such queues belong to JetStream and links.
pub(super) fn ipqueuesz(parameters: &Parameters) -> Result<Value, BadRequest> {
    parameters.bool("all").map(|_| json!({}))
}
