//! SUB and UNSUB.

use crate::connection::connection::Owed;
use crate::connection::registry::Subscription;
use crate::ids::SubscriptionId;
use crate::protocol::error_text;
use crate::routing::interest::Member;
use crate::routing::subject;
use crate::shard::core::Core;
use crate::shard::effects::Level;

/// Queue group the server keeps for itself (CORE-52).
const SYSTEM_QUEUE: &[u8] = b"_sys_";

impl Core {
    /// SUB.
    pub(super) fn subscribe(
        &mut self,
        index: u32,
        pattern: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.keep_alive.last_in = now;
        let permissions = connection
            .user
            .as_ref()
            .and_then(|user| user.permissions.as_deref());
        let allowed = permissions.is_none_or(|it| it.can_subscribe(pattern, queue))
            && queue != Some(SYSTEM_QUEUE);
        if !allowed {
            let mut text = Vec::new();
            error_text::subscription_violation(&mut text, pattern, queue);
            return self.complain(index, &text);
        }
        let filtered = permissions.is_some_and(|it| it.filters_deliveries_of(pattern, queue));
        let account = connection.account;
        let imports = !connection.tenant.stream_imports.is_empty();
        let limits = &self.local.settings.limits;
        if let Some(max) = limits.max_subscription_tokens
            && subject::token_count(pattern) > usize::from(max)
        {
            let mut text = Vec::new();
            error_text::too_many_tokens(&mut text, pattern);
            return self.complain(index, &text);
        }
        if connection
            .max_subscriptions
            .is_some_and(|max| connection.sids.len() >= max)
        {
            return self.complain(index, error_text::MAXIMUM_SUBSCRIPTIONS);
        }
        if connection.rates.is_some() && !self.may_subscribe_now(index, pattern, queue) {
            return;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        // A sid in use keeps its first subscription (CORE-35).
        if self
            .local
            .subscriptions
            .find(sid, &connection.sids)
            .is_none()
        {
            if !subject::is_valid_pattern(pattern) {
                return self.send_error(index, error_text::INVALID_SUBJECT);
            }
            let mut subscription = Subscription::new(index, account, pattern, queue, sid);
            subscription.filtered = filtered;
            let id = self
                .local
                .subscriptions
                .insert(subscription, &mut connection.sids);
            self.local.counters.subscriptions += 1;
            let member = Member {
                subscription: id,
                connection: index,
            };
            let table = self.tables.of(account);
            table.figures.subscriptions += 1;
            let change = self.change_interest(account, pattern, queue, |interest| {
                interest.insert_local(pattern, queue, member)
            });
            self.interest_changed(index, account, pattern, queue, change);
            if imports {
                self.add_shadows(id);
            }
        }
        self.acknowledge(index);
    }

    /// UNSUB.
    pub(super) fn unsubscribe(&mut self, index: u32, sid: &[u8], max: Option<u64>) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.keep_alive.last_in = now;
        if let Some(id) = self.local.subscriptions.find(sid, &connection.sids)
            && let Some(subscription) = self.local.subscriptions.get_mut(id)
        {
            match max {
                Some(max) if max > subscription.delivered => subscription.max = max,
                _ => self.end_subscription(id),
            }
        }
        self.acknowledge(index);
    }

    /// The `+OK` of a verbose client, once publishers anywhere would reach (or miss) it.
    fn acknowledge(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.options.verbose {
            self.after_barrier(index, Owed::Ok);
        }
    }

    /// Takes a subscription out of everything that knows it.
    pub(super) fn end_subscription(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.local.subscriptions.get(id) else {
            return;
        };
        let index = subscription.connection;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let is_link = connection.leaf.is_some();
        let Some(subscription) = self.local.subscriptions.remove(id, &mut connection.sids) else {
            return;
        };
        if !self.local.shadows.is_empty() {
            self.remove_shadows(id);
        }
        self.local.counters.subscriptions -= 1;
        let member = Member {
            subscription: id,
            connection: index,
        };
        if is_link {
            return self.end_link_subscription(id, &subscription);
        }
        let (pattern, queue) = (subscription.subject(), subscription.queue.as_deref());
        let account = subscription.account;
        self.tables.of(account).figures.subscriptions -= 1;
        let change = self.change_interest(account, pattern, queue, |interest| {
            interest.remove_local(pattern, queue, member)
        });
        self.interest_changed(index, account, pattern, queue, change);
        self.abandon_unheard(account, pattern);
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn drop_subscriptions(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        // In the order in which they were made, as their memory lies, and without a look at a
        // table of which nothing is left.
        let sids = std::mem::take(&mut connection.sids);
        let mut ids: Vec<SubscriptionId> = sids.into_iter().collect();
        ids.sort_unstable_by_key(|it| it.0);
        for id in ids {
            self.end_subscription(id);
        }
    }

    /// Ends the subscriptions that had their last message.
    pub(super) fn end_expired(&mut self) {
        while let Some(id) = self.local.expired.pop() {
            self.end_subscription(id);
        }
    }

    /// Sends an error that leaves the connection open, and logs it.
    pub(super) fn complain(&mut self, index: u32, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.send_error(index, text);
        self.local
            .log(Level::Error, index, &String::from_utf8_lossy(text));
    }
}
