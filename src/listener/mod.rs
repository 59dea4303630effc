//! From the network to a shard: who is let in, and who serves them.

pub mod admission;
pub mod ocsp;
pub mod staple;
pub mod tls;
pub mod tls_client;
