//! Ramjet: a NATS-compatible messaging server for Linux, thread per core, on io_uring.

pub mod ids;
pub mod ops;
pub mod options;
pub mod protocol;
pub mod shard;
pub mod time;
