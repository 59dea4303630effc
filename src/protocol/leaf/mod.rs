//! The leaf node protocol: what two servers say to each other over a leaf link (TOPO-8..39).

pub mod connect;
pub mod encode;
pub mod info;
pub mod op;
pub mod parser;
pub mod shown;
pub mod version;
