//! Tenants: each account is a subject space of its own.

pub mod account;
pub mod registry;
