//! Blocks of features that are still to come: their keys and types are checked as stock checks
//! them, so that a mistake is found today, and nothing of them is kept.

pub mod accounts;
pub mod check;
pub mod links;
pub mod listeners;
