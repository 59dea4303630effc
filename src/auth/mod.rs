//! Who may connect, and what they may do.

pub mod authenticate;
pub mod cache;
pub mod permissions;
pub mod responses;
