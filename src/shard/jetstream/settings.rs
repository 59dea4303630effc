//! What shards are told of JetStream.

/// Settings of JetStream on this server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JetStreamSettings {
    /// Its domain; empty without one.
    pub domain: String,
    /// Requests with unknown fields are refused (JS-3).
    pub strict: bool,
    /// Bytes all streams in memory may take; -1 is no bound.
    pub max_memory: i64,
    /// Bytes all streams on disk may take; -1 is no bound.
    pub max_store: i64,
}
