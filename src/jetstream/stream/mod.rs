//! One stream: how it is configured, and what it does with a message.

pub mod check;
pub mod config;
pub mod create;
mod origins;
