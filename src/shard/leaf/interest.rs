//! Interest over leaf links: LS+ and LS- from the other side, and what it is told of ours.

use crate::connection::close_reason::CloseReason;
use crate::connection::leaf::{LOOP_DETECTION, Leaf};
use crate::connection::registry::Subscription;
use crate::ids::{AccountId, SubscriptionId};
use crate::protocol::error_text;
use crate::protocol::leaf::encode;
use crate::routing::interest::{Interest, Member};
use crate::routing::links::{LinkMember, Origin, Reach};
use crate::routing::subject;
use crate::shard::core::Core;
use crate::shard::effects::Level;
use crate::shard::leaf::standing::{self, loop_subject};

/// Seconds before the next attempt after a loop or a violation (TOPO-21).
const LONG_DELAY: std::time::Duration = std::time::Duration::from_secs(30);

impl Core {
    /// Changes interest in a pattern, or in a queue group of it, and tells the links.
    pub(in crate::shard) fn change_interest<R>(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        change: impl FnOnce(&mut Interest) -> R,
    ) -> R {
        let table = self.tables.of(account);
        if table.links.is_empty() {
            return change(&mut table.interest);
        }
        let before = table.interest.reach(pattern, queue);
        let result = change(&mut table.interest);
        let after = table.interest.reach(pattern, queue);
        if before != after {
            self.announce(account, (pattern, queue), &before, &after);
        }
        result
    }

    /// Tells the links what is news to them (TOPO-29).
    fn announce(
        &mut self,
        account: AccountId,
        (pattern, queue): (&[u8], Option<&[u8]>),
        before: &Reach,
        after: &Reach,
    ) {
        let links = std::mem::take(&mut self.tables.of(account).links);
        for &index in &links {
            let Some(connection) = self.local.connections.at(index) else {
                continue;
            };
            let Some(leaf) = &connection.leaf else {
                continue;
            };
            let [was, is] = [before, after].map(|it| told(it, index, leaf, pattern));
            let news = match queue {
                None => (was > 0) != (is > 0),
                Some(_) => was != is,
            };
            let user = connection.user.as_ref();
            let user = user.and_then(|user| user.permissions.as_deref());
            if news && leaf.may_announce(pattern, user) {
                self.local
                    .append(index, |out| encode::interest(out, pattern, queue, is));
            }
        }
        self.tables.of(account).links = links;
    }

    /// Tells a link all there is, and of changes from now on (TOPO-31).
    pub(super) fn announce_all(&mut self, index: u32) {
        let settings = std::sync::Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &connection.leaf else {
            return;
        };
        let account = connection.account;
        let user = connection.user.as_ref();
        let user = user.and_then(|user| user.permissions.as_deref());
        let table = self.tables.of(account);
        let mut lines = Vec::new();
        table.interest.each_reach(|pattern, queue, reach| {
            let weight = told(&reach, index, leaf, pattern);
            if weight > 0 && leaf.may_announce(pattern, user) {
                encode::interest(&mut lines, pattern, queue, weight);
            }
        });
        // What mappings begin with is wanted, too.
        for source in connection.tenant.mappings.sources() {
            let known = told(&table.interest.reach(source, None), index, leaf, source) > 0;
            if !known && leaf.may_announce(source, user) {
                encode::interest(&mut lines, source, None, 1);
            }
        }
        standing::each(&settings, account, |subject| {
            if leaf.may_announce(subject, user) {
                encode::interest(&mut lines, subject, None, 1);
            }
        });
        let own = loop_subject(&settings.info.server_id, &connection.tenant.name);
        encode::interest(&mut lines, &own, None, 1);
        table.links.push(index);
        self.local
            .append(index, |out| out.extend_from_slice(&lines));
        self.js_link_opened();
    }

    /// A link closes: it is told nothing more.
    pub(in crate::shard) fn leaf_closed(&mut self, index: u32) {
        if let Some(connection) = self.local.connections.at(index) {
            let links = &mut self.tables.of(connection.account).links;
            let before = links.len();
            links.retain(|&it| it != index);
            if links.len() < before {
                self.js_link_closed();
            }
        }
    }

    /// LS+.
    pub(super) fn leaf_subscribe(
        &mut self,
        index: u32,
        pattern: &[u8],
        queue: Option<(&[u8], u32)>,
        key: &[u8],
    ) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.keep_alive.last_in = now;
        let Some(leaf) = &connection.leaf else {
            return;
        };
        let detects_loops = pattern.starts_with(LOOP_DETECTION);
        let name = &connection.tenant.name;
        let id = &self.local.settings.info.server_id;
        if detects_loops && pattern == loop_subject(id, name) {
            return self.leaf_loop(index);
        }
        let (queue, weight) = match queue {
            Some((name, weight)) => (Some(name), weight),
            None => (None, 1),
        };
        let user = connection.user.as_ref();
        let permissions = user.and_then(|user| user.permissions.as_deref());
        if !detects_loops && subject::is_literal(pattern) {
            let (solicited, spoke) = (leaf.solicited.is_some(), leaf.spoke);
            let allowed = leaf.may_send(pattern)
                && (solicited || permissions.is_none_or(|it| it.can_deliver(pattern, None)));
            if !allowed {
                // A hub's interest in what its leaf may not send is nothing to the leaf.
                if !spoke {
                    let shown = String::from_utf8_lossy(pattern).into_owned();
                    self.leaf_violation(index, "Subscription", &shown);
                }
                return;
            }
        }
        let origin = leaf.origin;
        let known = self.local.subscriptions.find(key, &connection.sids);
        let max = connection.max_subscriptions;
        if known.is_none() && max.is_some_and(|max| connection.sids.len() >= max) {
            return self.complain(index, error_text::MAXIMUM_SUBSCRIPTIONS);
        }
        if !subject::is_valid_pattern(pattern) {
            return self.send_error(index, "Invalid Subscription");
        }
        let account = connection.account;
        let imports = !connection.tenant.stream_imports.is_empty();
        let id = known.unwrap_or_else(|| {
            let mut subscription = Subscription::new(index, account, pattern, queue, key);
            subscription.filtered = true;
            let sids = &mut connection.sids;
            self.local.subscriptions.insert(subscription, sids)
        });
        if known.is_none() {
            self.local.counters.subscriptions += 1;
            self.tables.of(account).figures.subscriptions += 1;
        }
        self.set_link(index, id, (pattern, queue), (origin, weight));
        if known.is_none() && imports {
            self.add_shadows(id);
        }
    }

    /// LS-.
    pub(super) fn leaf_unsubscribe(&mut self, index: u32, key: &[u8]) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.keep_alive.last_in = now;
        if let Some(id) = self.local.subscriptions.find(key, &connection.sids) {
            self.end_subscription(id);
        }
    }

    /// The part of [`Core::end_subscription`] that is a link's own.
    pub(in crate::shard) fn end_link_subscription(
        &mut self,
        id: SubscriptionId,
        subscription: &Subscription,
    ) {
        let index = subscription.connection;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &connection.leaf else {
            return;
        };
        let origin = leaf.origin;
        let (pattern, queue) = (subscription.subject(), subscription.queue.as_deref());
        self.tables.of(subscription.account).figures.subscriptions -= 1;
        self.set_link(index, id, (pattern, queue), (origin, 0));
    }

    /// Sets what a link wants, and tells the other shards and links.
    fn set_link(
        &mut self,
        index: u32,
        subscription: SubscriptionId,
        (pattern, queue): (&[u8], Option<&[u8]>),
        (origin, weight): (Origin, u32),
    ) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.account;
        let link = LinkMember {
            member: Member {
                subscription,
                connection: index,
            },
            weight,
            origin,
        };
        let set = |interest: &mut Interest| interest.set_link(pattern, queue, link);
        let table = self.tables.of(account);
        // A link hears nothing of its own interest: where it is alone nobody need be asked.
        let (before, after) = match table.links.iter().all(|&it| it == index) {
            true => set(&mut table.interest),
            false => self.change_interest(account, pattern, queue, set),
        };
        if before == after {
            return;
        }
        let peers = &mut self.local.peers;
        let whose = (origin.cluster, origin.from_hub);
        peers.broadcast_links(account, (pattern, queue), whose, after);
        if let Some(connection) = self.local.connections.at(index) {
            connection.interest_mark = peers.interest_sent();
        }
        // A push consumer may wait for it on a shard that sleeps.
        self.js_interest_changed();
    }

    /// Our own loop detection came back (TOPO-32).
    fn leaf_loop(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.tenant.name.to_string();
        if let Some(leaf) = &mut connection.leaf {
            leaf.delay = Some(LONG_DELAY);
        }
        let text = loop_text(&account);
        self.send_error(index, &text);
        self.local.log(Level::Error, index, &text);
        self.close(index, CloseReason::ProtocolViolation);
    }

    /// The other side does what it may not (TOPO-35). It is told, once, and closed; messages that
    /// came with it are delivered, as in stock.
    pub(super) fn leaf_violation(&mut self, index: u32, action: &str, subject: &str) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let slot = connection.slot;
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        leaf.delay = Some(LONG_DELAY);
        if std::mem::replace(&mut leaf.violated, true) {
            return;
        }
        self.local.violators.push(slot);
        let wire = match action {
            "Publish" => format!("Permissions Violation for Publish to {subject:?}"),
            _ => format!("Permissions Violation for Subscription to {subject:?}"),
        };
        self.send_error(index, wire);
        let line = format!("{action} Violation on {subject:?} - Check other side configuration");
        self.local.log(Level::Error, index, &line);
    }

    /// Closes the links that did what they may not.
    pub(in crate::shard) fn close_violators(&mut self) {
        while let Some(slot) = self.local.violators.pop() {
            if self.local.connections.of(slot).is_some() {
                self.close(slot.index, CloseReason::ProtocolViolation);
            }
        }
    }
}

/// What a link is told of interest in a pattern: members, or for plain interest whether there is any.
fn told(reach: &Reach, index: u32, leaf: &Leaf, pattern: &[u8]) -> u32 {
    if leaf.isolated {
        return reach.own;
    }
    // Loops are to be found across hubs.
    let spoke = leaf.spoke && !pattern.starts_with(LOOP_DETECTION);
    reach.told(index, leaf.origin, spoke)
}

/// What both sides of a loop say of it.
pub(super) fn loop_text(account: &str) -> String {
    format!("Loop detected for leafnode account={account:?}. Delaying attempt to reconnect for 30s")
}
