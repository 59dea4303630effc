//! One peer: who it is, how far it has come, what it has asked for.

pub mod close_reason;
#[allow(clippy::module_inception)]
pub mod connection;
pub mod held;
pub mod jetstream_wall;
pub mod leaf;
pub mod rate;
pub mod registry;
