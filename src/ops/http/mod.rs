//! Monitoring over HTTP: one thread, one file for each endpoint. Figures come from the shards by
//! message, so no request ever holds one up for longer than its answer takes to write.

mod account_detail;
mod accounts;
pub mod answers;
mod connz;
pub mod facts;
pub mod format;
mod healthz;
mod index;
mod jetstream;
mod jetstream_metrics;
mod leafz;
mod links;
mod metrics;
pub mod peers;
mod process;
pub mod query;
mod server;
#[cfg(test)]
mod server_tests;
mod subsz;
mod threads;
mod transports;
mod varz;

pub use server::{Monitor, MonitorError};
