//! One consumer: how it is configured, and which message goes to whom.

pub mod check;
pub mod config;
pub mod create;
