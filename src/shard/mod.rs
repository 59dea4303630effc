//! One core and all it owns: the pure parts joined, and the loop that feeds them.

pub mod budget;
mod closed;
mod closing;
pub mod control;
pub mod core;
mod deliver;
pub mod effects;
mod input;
pub mod internal;
mod lame_duck;
mod login;
mod mapping;
pub mod patience;
mod publish;
mod query;
mod reload;
mod remote;
pub mod report;
pub mod settings;
mod subscribe;
mod tables;
mod tenancy;
mod timers;
mod tracing;
pub mod turn;
pub mod verify;
pub mod wiring;
