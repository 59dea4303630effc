//! Who is there: push consumers and those who subscribe to where they deliver, on any shard. Links to
//! other servers wait for changes of interest as push consumers do.

use std::collections::BTreeMap;

use crate::ids::{AccountId, ShardId};
use crate::shard::core::Core;

use super::command::Command;
use super::hosted::ConsumerKey;

/// Push consumers of this shard, and the shards that have any.
#[derive(Default)]
pub(super) struct Pushing {
    accounts: BTreeMap<AccountId, OfAccount>,
    /// Links of this shard.
    links: usize,
    /// Shards that have push consumers or links, this one not counted: they are woken for changes
    /// of interest.
    elsewhere: u64,
}

#[derive(Default)]
struct OfAccount {
    consumers: Vec<ConsumerKey>,
    /// Changes of the account's interest when it was looked at last.
    seen: Option<u64>,
}

impl Pushing {
    fn is_idle(&self) -> bool {
        self.accounts.is_empty() && self.links == 0
    }
}

impl Core {
    /// A link to another server is here now.
    pub(in crate::shard) fn js_link_opened(&mut self) {
        let pushing = &mut self.jetstream.pushing;
        let first = pushing.is_idle();
        pushing.links += 1;
        if first {
            self.js_tell_pushing(true);
        }
    }

    /// It has gone.
    pub(in crate::shard) fn js_link_closed(&mut self) {
        let pushing = &mut self.jetstream.pushing;
        pushing.links = pushing.links.saturating_sub(1);
        if pushing.is_idle() {
            self.js_tell_pushing(false);
        }
    }

    /// A consumer that delivers by itself is here now.
    pub(super) fn js_begin_pushing(&mut self, account: AccountId, consumer: ConsumerKey) {
        let first = self.jetstream.pushing.is_idle();
        let accounts = &mut self.jetstream.pushing.accounts;
        let of_account = accounts.entry(account).or_default();
        of_account.consumers.push(consumer);
        of_account.seen = None;
        if first {
            self.js_tell_pushing(true);
        }
    }

    /// It has gone.
    pub(super) fn js_end_pushing(&mut self, account: AccountId, consumer: ConsumerKey) {
        let accounts = &mut self.jetstream.pushing.accounts;
        let Some(of_account) = accounts.get_mut(&account) else {
            return;
        };
        of_account.consumers.retain(|it| *it != consumer);
        if of_account.consumers.is_empty() {
            accounts.remove(&account);
            if self.jetstream.pushing.is_idle() {
                self.js_tell_pushing(false);
            }
        }
    }

    /// Where consumers of an account deliver has changed: it is looked at again.
    pub(super) fn js_look_again(&mut self, account: AccountId) {
        if let Some(it) = self.jetstream.pushing.accounts.get_mut(&account) {
            it.seen = None;
        }
    }

    fn js_tell_pushing(&mut self, any: bool) {
        let shard = self.local.id;
        for other in self.local.peers.others() {
            self.js_command(other, Command::Pushing { shard, any });
        }
    }

    /// Another shard has push consumers now, or has none any more.
    pub(super) fn js_pushes_elsewhere(&mut self, shard: ShardId, any: bool) {
        let bit = 1 << shard.0;
        let elsewhere = &mut self.jetstream.pushing.elsewhere;
        *elsewhere &= !bit;
        if any {
            *elsewhere |= bit;
            // It may have slept through what it was told a moment ago.
            self.local.peers.prod(bit);
        }
    }

    /// The interest of this shard has changed: shards whose consumers may wait for that are woken.
    pub(in crate::shard) fn js_interest_changed(&mut self) {
        let shards = self.jetstream.pushing.elsewhere;
        if shards != 0 {
            self.local.peers.wake(shards);
        }
    }

    /// Tells push consumers who came and went, where their account's interest has changed.
    pub(super) fn js_watch_interest(&mut self) {
        if self.jetstream.pushing.accounts.is_empty() {
            return;
        }
        let mut changed = Vec::new();
        for (&account, it) in &mut self.jetstream.pushing.accounts {
            let changes = Some(self.tables.of(account).interest.changes());
            if std::mem::replace(&mut it.seen, changes) != changes {
                changed.extend(it.consumers.iter().map(|&consumer| (account, consumer)));
            }
        }
        for (account, key) in changed {
            let enabled = self.js_enabled(account);
            let Some(it) = self.jetstream.consumers.at_mut(key) else {
                continue;
            };
            let interest = &mut self.tables.of(account).interest;
            let group = Some(it.config.deliver_group.as_bytes()).filter(|it| !it.is_empty());
            let active = enabled && interest.is_wanted(it.config.deliver_subject.as_bytes(), group);
            if std::mem::replace(&mut it.active, active) != active {
                self.js_with_consumer(key, |consumer, turn| consumer.interest(turn, active));
            }
        }
    }
}
