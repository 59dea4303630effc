//! One core and all it owns: the pure parts joined, and the loop that feeds them.

pub mod budget;
mod callout;
mod closed;
mod closing;
pub mod control;
pub mod core;
mod deliver;
pub mod effects;
pub mod events;
mod expiry;
pub mod identity;
#[cfg(test)]
mod import_tests;
mod input;
pub mod internal;
pub mod jetstream;
mod lame_duck;
mod latency;
pub mod leaf;
pub mod link_report;
mod login;
mod mapping;
mod message_trace;
mod oversized;
pub mod pace;
pub mod patience;
mod peer;
#[cfg(test)]
mod permission_tests;
mod publish;
mod query;
pub mod rates;
mod reload;
mod remote;
pub mod report;
mod request_info;
pub mod requested;
mod seek;
#[cfg(test)]
mod service_order_tests;
mod services;
pub mod settings;
mod shadows;
mod subscribe;
mod tables;
mod tenancy;
mod timers;
mod tracing;
mod transport;
pub mod turn;
pub mod verify;
pub mod wiring;
#[cfg(test)]
mod world_tests;
