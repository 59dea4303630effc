//! Streams and consumers where they live: on a shard, as receivers of subjects (design, section 4).
//!
//! A stream is on one shard with its consumers. What it takes, and what clients say to it and its
//! consumers, reaches that shard by interest, as any message does. Shard 0 knows which streams
//! there are and hands requests about them on to their owners.

mod acks;
mod advise;
mod api;
mod audit;
mod batches;
mod caches;
mod command;
mod consumers;
mod copies;
mod deliver;
mod direct;
pub mod disk;
pub mod disk_figures;
mod early;
pub(in crate::shard) mod groups;
mod hosted;
mod keep;
mod lists;
mod messages;
mod offline;
pub(in crate::shard) mod pace;
mod presence;
mod pressure;
mod receive;
mod registry;
mod replicate;
pub mod report;
mod requests;
mod restore;
mod scheduled;
mod send;
pub mod settings;
mod snapshot;
mod start;
mod state;
mod streams;
mod traced;
mod trouble;
mod turn;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod retention_tests;

pub use command::Command;
pub use state::JetStream;
