//! The real executable over real sockets, a case for every row of the specification.
//!
//! `RAMJET_TEST_SERVER=/path/to/nats-server cargo test --test blackbox` runs the same cases
//! against another server.

#[path = "../support/mod.rs"]
mod support;

mod connect;
