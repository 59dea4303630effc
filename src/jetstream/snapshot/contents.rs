//! The entries that are no messages.

use serde::{Deserialize, Serialize};

use super::archive::Entry;
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::response::StreamState;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::consumer::saved::SavedState;
use crate::time::WallTime;

/// Name of the entry with the stream's state.
pub const STATE: &str = "state.json";
/// Front of the names of consumers' entries.
pub const CONSUMERS: &str = "consumers/";

/// A consumer in a copy of its stream.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct SavedConsumer {
    /// Its configuration, with its name in it.
    pub config: ConsumerConfig,
    /// How far it was.
    pub state: SavedState,
}

/// Appends what stands in front of the messages.
pub fn write_front(
    state: &StreamState,
    consumers: &[SavedConsumer],
    now: WallTime,
    out: &mut Vec<u8>,
) {
    let time = now.0.cast_signed();
    let mut put = |name: &str, payload: &[u8]| {
        let entry = Entry {
            name: name.as_bytes(),
            time,
            payload,
            ..Entry::default()
        };
        entry.write(out);
    };
    put(STATE, &to_json(state));
    for it in consumers {
        let name = format!("{CONSUMERS}{}", it.config.name);
        put(&name, &to_json(it));
    }
}
