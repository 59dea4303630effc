//! Bytes and operations of the wire protocol.

pub mod trace;
