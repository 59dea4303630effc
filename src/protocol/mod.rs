//! Bytes and operations of the wire protocol.

pub mod log_prefix;
pub mod trace;
