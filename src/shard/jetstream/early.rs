//! Messages that cannot be stored before the disk has brought what they build on: a counter's last
//! total (section 9). All that come for their stream wait behind them, in order.

use bytes::Bytes;

use crate::ids::AccountId;
use crate::shard::core::Core;
use crate::shard::deliver::Message;

use super::hosted::StreamKey;
use super::receive::{Arrived, Stored, split};

/// Bytes that wait at one stream, with what each message takes beside its own; what comes beyond
/// them is refused as by a full queue (JS-98).
const WAITING_MAX: usize = 16 << 20;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Early {
    account: AccountId,
    subject: Bytes,
    reply: Option<Bytes>,
    header: Bytes,
    payload: Bytes,
}

impl Early {
    fn new(message: &Message<'_>) -> Self {
        let (header, payload) = split(message);
        Self {
            account: message.account,
            subject: Bytes::copy_from_slice(message.subject),
            reply: message.reply.map(Bytes::copy_from_slice),
            header: Bytes::copy_from_slice(header),
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn size(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, Bytes::len);
        let own = self.subject.len() + reply + self.header.len() + self.payload.len();
        size_of::<Self>() + own
    }
}

impl Core {
    /// Lets a message wait if others of its stream do.
    pub(super) fn js_waits_behind(&mut self, key: StreamKey, message: &Message<'_>) -> bool {
        let hosted = self.jetstream.streams.at(key);
        let is_behind = hosted.is_some_and(|it| !it.early.is_empty());
        if is_behind {
            self.js_wait(key, message);
        }
        is_behind
    }

    /// Lets a message wait until the disk has answered.
    pub(super) fn js_wait(&mut self, key: StreamKey, message: &Message<'_>) {
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let early = Early::new(message);
        if hosted.early_bytes + early.size() > WAITING_MAX {
            return self.js_refuse_for_now(key, message);
        }
        hosted.early_bytes += early.size();
        hosted.early.push_back(early);
        self.jetstream.touch(key);
    }

    /// Stores what waited, as far as the disk has brought what it builds on.
    pub(super) fn js_store_early(&mut self, key: StreamKey) {
        while let Some(hosted) = self.jetstream.streams.at_mut(key)
            && let Some(early) = hosted.early.pop_front()
        {
            let arrived = Arrived {
                account: early.account,
                subject: &early.subject,
                reply: early.reply.as_deref(),
                header: &early.header,
                payload: &early.payload,
            };
            let stored = self.js_store(key, &arrived);
            let Some(hosted) = self.jetstream.streams.at_mut(key) else {
                return;
            };
            if stored == Stored::TooEarly {
                hosted.early.push_front(early);
                return;
            }
            hosted.early_bytes -= early.size();
        }
    }
}
