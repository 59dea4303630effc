//! Tenants: each account is a subject space of its own.

pub mod account;
pub mod client_info;
mod default_domain;
pub mod export;
pub mod graph;
pub mod import;
pub mod latency;
pub mod mapping;
#[cfg(test)]
pub(crate) mod naive;
pub mod registry;
pub mod replies;
pub mod transform;
