//! Small records of whoever owns the stream: the latest under each name.

use std::collections::BTreeMap;

use bytes::Bytes;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Counts all changes of all of them.
    pub(super) version: u64,
    pub(super) bytes: Bytes,
    /// The segment of the log it is in; 0 for none.
    pub(super) segment: u32,
}

/// All of them by name.
pub(super) type States = BTreeMap<Bytes, State>;
