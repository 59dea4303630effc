//! Who may connect, and what they may do.

pub mod authenticate;
pub mod cache;
pub mod callout;
pub mod certificate;
pub mod distinguished_name;
pub mod jwt;
pub mod nkey;
pub mod password;
mod pattern_set;
pub mod permissions;
pub mod recheck;
pub mod responses;
pub mod user;

#[cfg(test)]
mod authenticate_tests;
#[cfg(test)]
pub(crate) mod naive;
