//! One stream: how it is configured, and what it does with a message.

pub mod batch;
pub mod check;
pub mod config;
mod counter;
pub mod create;
mod cron;
mod dedupe;
pub mod headers;
mod origins;
mod publish;
mod republish;
mod restore;
mod rewrite;
mod schedule;
mod schedules;
mod scheduling;
#[allow(clippy::module_inception, reason = "the type the folder is about")]
mod stream;
mod ttl;

#[cfg(test)]
mod schedules_tests;

pub use publish::{Accepted, Fate, Publish, Republished};
pub use restore::kept_message;
pub(in crate::jetstream) use rewrite::Rewrite;
pub use scheduling::Sent;
pub use stream::{Gone, Stream};
pub use ttl::marker_ttl;
