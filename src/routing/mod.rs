//! A subject and who receives it.

pub mod interest;
pub mod match_cache;
pub mod subject;
pub mod trie;
