//! One core and all it owns.

pub mod report;
