//! What every answer of the server says of the server itself (MON-41).

use std::sync::Arc;

use serde_json::Value;

use crate::server::reload::Reloader;
use crate::server::shards::wall_time;
use crate::shard::identity::event_id;

/// Describes the server, each time with the next number.
pub(in crate::server) struct Envelope {
    reloader: Arc<Reloader>,
}

impl Envelope {
    pub fn new(reloader: Arc<Reloader>) -> Self {
        Self { reloader }
    }

    /// The server's id.
    pub fn server_id(&self) -> String {
        self.reloader.info().server_id.clone()
    }

    /// An id for an event (MON-68).
    pub fn event_id(&self) -> String {
        event_id(|| getrandom::u64().unwrap_or_default())
    }

    /// The `server` of an answer.
    pub fn server(&self) -> Value {
        let stamp = self.reloader.identity().stamp(wall_time());
        serde_json::from_str(&stamp).unwrap_or_default()
    }
}
