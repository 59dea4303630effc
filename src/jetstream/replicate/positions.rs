//! How far a stream is with its sources, as it is kept beside its messages.
//!
//! What it says may lag behind the messages, never run ahead of them: it says as of which of the
//! stream's own messages it is, and the headers of those behind say the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::OriginName;
use super::origin::Position;
use crate::jetstream::store::Store;

/// Name of the record.
const NAME: &[u8] = b"sources";
/// Sources that are none any more whose positions are still known.
const FORMER_MAX: usize = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The stream's last message then.
    last: u64,
    /// By name: sequence and identity.
    sources: BTreeMap<String, (u64, String)>,
}

/// Positions of sources by name, of former ones, too.
#[derive(Debug, Default)]
pub(super) struct Positions {
    known: BTreeMap<String, Position>,
}

impl Positions {
    /// Reads the record; gives the first and last of the messages whose headers are to be looked
    /// at, if there are any.
    pub fn read(store: &Store) -> (Self, Option<(u64, u64)>) {
        let record = store.states().find(|(name, _)| *name == NAME);
        let record: Record = record
            .and_then(|(_, bytes)| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let state = store.state();
        let known = record.sources.into_iter();
        let positions = Self {
            known: known
                .map(|(name, (seq, identity))| (name, Position { seq, identity }))
                .collect(),
        };
        let first = (record.last + 1).max(state.first_seq);
        let unseen = state.messages > 0 && first <= state.last_seq;
        (positions, unseen.then_some((first, state.last_seq)))
    }

    pub fn of(&self, name: &OriginName) -> Position {
        self.known
            .get(&name.to_string())
            .cloned()
            .unwrap_or_default()
    }

    pub fn set(&mut self, name: &OriginName, position: Position) {
        self.known.insert(name.to_string(), position);
    }

    /// Writes the record. `current` are the names of the sources there are.
    pub fn keep(&mut self, store: &mut Store, current: &[&OriginName]) {
        if self.known.len() > current.len() + FORMER_MAX {
            let current: Vec<String> = current.iter().map(ToString::to_string).collect();
            self.known.retain(|name, _| current.contains(name));
        }
        let sources = self.known.iter();
        let record = Record {
            last: store.state().last_seq,
            sources: sources
                .map(|(name, it)| (name.clone(), (it.seq, it.identity.clone())))
                .collect(),
        };
        store.put_state(NAME, &crate::jetstream::api::encode::to_json(&record));
    }
}
