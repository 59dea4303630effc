//! What other shards tell us.

use crate::ids::ShardId;
use crate::mesh::batch::{Batch, Body, Item, RemoteMessage};
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::publish::{Choice, NOBODY};

impl Core {
    /// Applies a batch of another shard, in its order.
    pub fn apply(&mut self, from: ShardId, batch: &Batch) {
        self.local.peers.received(from, batch);
        for item in batch.items() {
            match item {
                Item::Interest {
                    pattern,
                    queue,
                    weight,
                } => {
                    self.interest.set_remote(from, pattern, queue, weight);
                    self.local.peers.applied(from);
                }
                Item::Message(message) => self.deliver_remote(from, &message),
                Item::Stall { slot, first } => self.local.stall_for_receiver(slot, first),
                Item::Resume(slot) => self.local.end_stall(slot),
            }
        }
    }

    /// Delivers a message published on another shard to our own subscriptions.
    fn deliver_remote(&mut self, from: ShardId, remote: &RemoteMessage<'_>) {
        let source = (remote.source != NOBODY).then_some((from, remote.source));
        let mut message = Message {
            subject: remote.subject,
            reply: remote.reply,
            header_len: remote.header_len,
            header_size_text: remote.header_size_text,
            size_text: remote.size_text,
            body: remote.body.as_slice(),
            tail: remote.tail,
            shared: match remote.body {
                Body::Shared(bytes) => Some(bytes.clone()),
                Body::Inline(_) => None,
            },
            source,
        };
        let delivery = self.interest.lookup(remote.subject);
        if remote.plain {
            message.share_for(delivery.plain.len());
            for &member in &delivery.plain {
                self.local.deliver(member, None, &message);
            }
        }
        for name in remote.queues {
            // The group may have left us since the sender looked.
            let Some(group) = delivery.queues.iter().find(|group| group.name[..] == *name) else {
                continue;
            };
            let at = self.local.random() as usize;
            match self.local.choose_local(group, &message, remote.tried, at) {
                Choice::Delivered | Choice::Nobody => {}
                Choice::Remote(shard) => {
                    self.local
                        .forward(0, &[(shard, name)], &message, remote.tried);
                }
            }
        }
        self.after_delivery();
    }
}
