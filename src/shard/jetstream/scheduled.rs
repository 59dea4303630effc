//! Messages that streams send themselves when they are due (section 10).

use crate::jetstream::stream::Sent;
use crate::limits;
use crate::shard::core::Core;

use super::hosted::{StreamKey, is_wanted};

/// Messages a stream sends in a turn before others have theirs.
const AT_ONCE: usize = 256;

impl Core {
    /// Stores what is due, as if it had just been published; true if there is more to do at once.
    pub(super) fn js_send_scheduled(&mut self, key: StreamKey) -> bool {
        let wall = self.local.wall;
        for _ in 0..AT_ONCE {
            let jetstream = &mut self.jetstream;
            let Some(hosted) = jetstream.streams.at_mut(key) else {
                return false;
            };
            // What the disk has not taken yet is bounded for these messages, too.
            let behind = hosted.stream.store().backlog() >= limits::STREAM_BACKLOG_HIGH;
            if hosted.restore.is_some() || behind {
                return false;
            }
            let consumers = &jetstream.consumers;
            let wanted = |subject: &[u8]| is_wanted(&hosted.consumers, consumers, subject);
            let local = &mut self.local;
            match hosted.stream.send_due(wall, wanted, || local.random()) {
                Sent::Nothing => return false,
                Sent::Dropped => {}
                Sent::Message(accepted, payload) => self.js_stored(key, accepted, &payload),
            }
        }
        true
    }
}
