//! Consumers: which messages of a stream a client gets, in which order, and what became of each.
//!
//! Pure: [`Consumer`] takes requests, acknowledgements and time, and gives effects. It knows no
//! subscriptions and no files: whoever owns it tells it who listens and keeps its encoded state.

mod ack;
mod acknowledge;
mod advisory;
pub mod check;
pub mod config;
#[allow(clippy::module_inception, reason = "the type the folder is about")]
mod consumer;
pub mod create;
mod effect;
mod flow;
mod outstanding;
mod priority;
mod pull;
mod random;
mod removal;
mod request;
mod run;
pub mod saved;
mod settings;
mod state;
mod status;
mod usage;
mod waiting;

#[cfg(test)]
mod ack_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod pull_tests;
#[cfg(test)]
mod push_tests;
#[cfg(test)]
mod rig;

pub use ack::{AckKind, AckReply, AckToken, account_hash, ack_patterns, flow_patterns};
pub use advisory::{Advisory, Message};
pub use consumer::{Consumer, Figures, GroupFigures, Sequences};
pub use effect::{Bounds, Delivery, Effect, Now, Presence, StreamView, Turn};
pub use removal::ResetError;
pub use run::Run;
pub use settings::{Beginning, Names, Priority, PullLimits, Push, Rate, Settings, Surroundings};
pub use state::StateError;
