//! JetStream's part of the server: what the shards are told of it, and where its files are.

pub(super) mod folder;
pub(super) mod keys;
pub(super) mod recovery;
pub(super) mod room;
pub(super) mod settings;
