//! Between shards: what one turn tells another, and the rings it travels through.

pub mod batch;
pub mod claim;
pub mod peers;
pub mod ring;
