//! One stream: how it is configured, and what it does with a message.

pub mod config;
