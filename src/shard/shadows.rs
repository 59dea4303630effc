//! Subscriptions to other accounts' streams (AUTH-32): for each import that a subscription
//! overlaps, the exporter's interest gets a shadow of it, which gives its messages the importer's
//! names. Who imports nothing has none of this.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::connection::registry::{Shadow, Subscription};
use crate::ids::SubscriptionId;
use crate::routing::interest::Member;
use crate::shard::core::{Core, Local};
use crate::shard::deliver::Message;

/// Shadows of a subscription.
pub(super) type Shadows = SmallVec<[SubscriptionId; 2]>;

impl Core {
    /// Adds the shadows of a new subscription.
    pub(super) fn add_shadows(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.local.subscriptions.get(id) else {
            return;
        };
        let index = subscription.connection;
        let pattern: SmallVec<[u8; 64]> = subscription.subject().into();
        let sid: SmallVec<[u8; 16]> = subscription.sid().into();
        let queue = subscription.queue.clone();
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let tenant = Arc::clone(&connection.tenant);
        let mut shadows = Shadows::new();
        for import in &tenant.stream_imports {
            let Some(subject) = import.shadow(&pattern) else {
                continue;
            };
            let (account, queue) = (import.account, queue.as_deref());
            let mut shadow = Subscription::new(index, account, &subject, queue, &sid);
            shadow.shadow = Some(Box::new(Shadow {
                of: id,
                import: Arc::clone(import),
            }));
            let id = self.local.subscriptions.insert_unnamed(shadow);
            shadows.push(id);
            self.local.counters.subscriptions += 1;
            let member = Member {
                subscription: id,
                connection: index,
            };
            let table = self.tables.of(account);
            table.figures.subscriptions += 1;
            let change = self.change_interest(account, &subject, queue, |interest| {
                interest.insert_local(&subject, queue, member)
            });
            self.interest_changed(index, account, &subject, queue, change);
        }
        if !shadows.is_empty() {
            self.local.shadows.insert(id, shadows);
        }
    }

    /// Takes the shadows of a subscription out.
    pub(super) fn remove_shadows(&mut self, id: SubscriptionId) {
        for id in self.local.shadows.remove(&id).unwrap_or_default() {
            let Some(shadow) = self.local.subscriptions.remove_unnamed(id) else {
                continue;
            };
            self.local.counters.subscriptions -= 1;
            let member = Member {
                subscription: id,
                connection: shadow.connection,
            };
            let (pattern, queue) = (shadow.subject(), shadow.queue.as_deref());
            let table = self.tables.of(shadow.account);
            table.figures.subscriptions -= 1;
            let change = self.change_interest(shadow.account, pattern, queue, |interest| {
                interest.remove_local(pattern, queue, member)
            });
            self.interest_changed(shadow.connection, shadow.account, pattern, queue, change);
        }
    }

    /// Makes the shadows of a connection those of its account's imports of now (AUTH-39).
    pub(super) fn renew_shadows(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let ids: Vec<SubscriptionId> = connection.sids.iter().copied().collect();
        for id in ids {
            self.remove_shadows(id);
            self.add_shadows(id);
        }
    }
}

impl Local {
    /// Delivers to the subscription that a shadow stands for.
    #[inline(never)]
    pub(super) fn deliver_shadow(
        &mut self,
        member: Member,
        queue: Option<&[u8]>,
        message: &Message<'_>,
    ) -> bool {
        let Some(subscription) = self.subscriptions.get(member.subscription) else {
            return false;
        };
        let Some(shadow) = &subscription.shadow else {
            return false;
        };
        // What came through a service does not go on as a stream.
        if message.crossed {
            return false;
        }
        let mut subject = self.scratch.pop().unwrap_or_default();
        shadow.import.local_subject(message.subject, &mut subject);
        let member = Member {
            subscription: shadow.of,
            connection: member.connection,
        };
        let renamed = Message {
            to: None,
            subject: &subject,
            renamed: true,
            shared: message.shared.clone(),
            ..*message
        };
        let delivered = self.deliver(member, queue, &renamed);
        self.give_back(subject);
        delivered
    }
}
