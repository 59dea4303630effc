//! One core and all it owns: the pure parts joined, and the loop that feeds them.

pub mod budget;
mod closed;
mod closing;
pub mod control;
pub mod core;
mod deliver;
pub mod effects;
mod input;
mod lame_duck;
mod login;
pub mod patience;
mod publish;
mod query;
mod reload;
mod remote;
pub mod report;
pub mod settings;
mod subscribe;
mod timers;
mod tracing;
mod transport;
pub mod turn;
pub mod verify;
pub mod wiring;
