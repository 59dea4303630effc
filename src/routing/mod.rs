//! A subject and who receives it.

mod delivery_list;
mod entry;
pub mod interest;
pub mod links;
pub mod match_cache;
pub mod queue_group;
pub mod subject;
pub mod trie;

#[cfg(test)]
mod naive;
