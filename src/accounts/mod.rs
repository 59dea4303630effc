//! Tenants: each account is a subject space of its own.

pub mod account;
pub mod mapping;
#[cfg(test)]
mod naive;
pub mod registry;
pub mod transform;
