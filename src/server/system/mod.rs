//! The server's own services: what it answers as a client of itself, on a thread of its own.

mod answer;
pub(super) mod callout;
pub(super) mod envelope;
mod options;
mod profile;
pub(super) mod requests;
pub mod services;
mod statsz;
pub(super) mod traces;
