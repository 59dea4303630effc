//! The first moments: clients are served once every shard knows what there is.

use crate::ids::ShardId;
use crate::shard::core::Core;

use super::command::Command;

/// How far a shard has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Start {
    /// It has not had its first turn.
    #[default]
    Before,
    /// The other shards hear of its streams, up to this change of interest.
    Telling(u64),
    /// They know.
    Done,
}

impl Core {
    /// May clients not be served yet? What they publish would find no stream.
    pub fn is_starting(&self) -> bool {
        self.local.id == ShardId(0)
            && self.local.settings.jetstream.is_some()
            && self.jetstream.ready_shards <= self.local.peers.others().count()
    }

    /// Goes on with the start: this shard has its streams since its first turn.
    pub(super) fn js_begin(&mut self) {
        if self.jetstream.start == Start::Done || self.local.settings.jetstream.is_none() {
            return;
        }
        let peers = &mut self.local.peers;
        if self.jetstream.start == Start::Before {
            let mark = peers.interest_sent();
            peers.hurry(mark);
            self.jetstream.start = Start::Telling(mark);
        }
        if let Start::Telling(mark) = self.jetstream.start
            && peers.reached(mark)
        {
            self.jetstream.start = Start::Done;
            self.js_command(ShardId(0), Command::Ready);
        }
    }

    /// One more shard is ready; on shard 0.
    pub(super) fn js_shard_ready(&mut self) {
        self.jetstream.ready_shards += 1;
    }
}
