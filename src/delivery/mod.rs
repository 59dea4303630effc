//! From a matched message to bytes that wait for their socket.

pub mod outbound;
