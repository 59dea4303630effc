//! Streams: messages kept in order and handed to consumers. Pure: time and bytes are arguments,
//! what the disk shall do is asked of the caller.

pub mod api;
pub mod consumer;
#[cfg(test)]
mod golden_tests;
pub mod limits;
pub mod offline;
pub mod replicate;
pub mod snapshot;
pub mod store;
pub mod stream;
pub mod usage;
