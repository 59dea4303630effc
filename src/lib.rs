//! Ramjet: a NATS-compatible messaging server for Linux, thread per core, on io_uring.

pub mod accounts;
pub mod auth;
pub mod connection;
pub mod delivery;
pub mod ids;
pub mod io;
pub mod jetstream;
pub mod limits;
pub mod listener;
pub mod mesh;
pub mod ops;
pub mod options;
pub mod protocol;
pub mod routing;
pub mod server;
pub mod shard;
pub mod time;
pub mod transport;

pub use server::{ReloadError, Server, ServerHandle, StartError};
