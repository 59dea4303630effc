//! Bytes to operations and back: the wire protocol between a client and the server.
//!
//! Pure: every function takes bytes and limits and gives borrowed slices or appends to a buffer
//! of the caller's. What an operation means is decided in `connection`.

pub mod connect;
pub mod encode;
pub mod error;
pub mod error_text;
pub mod headers;
pub mod info;
pub mod json;
pub mod leaf;
pub mod log_prefix;
pub mod op;
pub mod parser;
pub mod peer_port;
mod publish_head;
pub mod redact;
pub mod trace;

#[cfg(test)]
mod naive;
