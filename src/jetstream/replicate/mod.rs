//! A stream's messages that come from other streams: a mirror's origin, or sources (section 11).
//!
//! Each origin is read through a push consumer that is made over the API, wherever the origin is:
//! beside the stream, in another account, or behind a link. The consumer numbers what it sends; a
//! gap, a wrong number in a heartbeat, or silence, and another one is made that begins behind the
//! last message that is here. So nothing is lost and nothing comes twice.

mod delivered;
mod headers;
mod name;
mod origin;
mod positions;
mod replication;
mod request;

#[cfg(test)]
mod replication_tests;

pub use name::hash;
pub use origin::Effect;
pub use replication::{Arrival, Names, Replication, World};
