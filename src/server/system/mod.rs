//! The server's own services: what it answers as a client of itself, on a thread of its own.

pub(super) mod callout;
pub(super) mod envelope;
pub mod services;
