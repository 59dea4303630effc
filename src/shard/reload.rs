//! New settings for a shard that runs: what they mean for the connections it has (CFG-93..95).
//!
//! Everything that looks at the settings when it acts needs nothing here. What a connection has
//! been given of them is brought up to date by [`Core::take_settings`]; who it is and what it may
//! do, by `recheck`.

use std::sync::Arc;

use crate::auth::authenticate::{Authenticator, Decision, RefuseReason};
use crate::auth::recheck::Recheck;
use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, Holds, NEVER, Phase};
use crate::connection::leaf::{Leaf, LeafStage};
use crate::ids::{AccountId, Slot, SubscriptionId};
use crate::protocol::error_text;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::login::credentials;
use crate::shard::settings::Settings;

impl Core {
    /// Goes on under these settings. `changed` are the accounts that are not as before; everything
    /// may be another where it is `None`.
    pub fn take_settings(&mut self, settings: Arc<Settings>, changed: Option<&[AccountId]>) {
        debug_assert!(
            settings.number > self.local.settings.number,
            "views come in their order"
        );
        let before = std::mem::replace(&mut self.local.settings, settings);
        let accounts = Arc::clone(&self.local.settings.accounts);
        self.install_services(Some(&before.accounts), &accounts);
        self.js_listen();
        let limits = &self.local.settings.limits;
        let control_line = limits.max_control_line;
        let open = self.local.connections.iter().filter(|it| !it.closing());
        let concerned = open.filter(|it| changed.is_none_or(|all| all.contains(&it.account)));
        let has_rates = before.rates.is_some() || self.local.settings.rates.is_some();
        let slots: Vec<Slot> = concerned.map(|it| it.slot).collect();
        for slot in slots {
            if let Some(connection) = self.local.connections.of(slot) {
                connection.limits.max_control_line = control_line;
            }
            let stays = changed.is_some() || self.renew_link(slot.index, &before);
            if !stays || !self.renew_account(slot.index) {
                continue;
            }
            self.recheck(slot, Some(&before));
            if has_rates {
                self.renew_rates(slot.index);
            }
        }
    }

    /// Judges a connection anew, as stock does at every reload whatever has changed. `before`
    /// found its credentials good; `None` if that is not known.
    pub(super) fn recheck(&mut self, slot: Slot, before: Option<&Settings>) {
        let settings = Arc::clone(&self.local.settings);
        let wall = self.local.wall;
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        let unsettled = |leaf: &Leaf| leaf.solicited.is_some() || leaf.stage != LeafStage::Open;
        if connection.leaf.as_deref().is_some_and(unsettled) {
            return; // nothing was decided, or not by us
        }
        // Its password is being checked: the answer will be found to be outdated.
        if connection.closing() || connection.holds.has(Holds::VERIFY) {
            return;
        }
        // Before its protocol nothing was decided: that is done with the settings of then.
        if !connection.protocol_runs() {
            return;
        }
        if connection.is_unpinned(&settings.transports) {
            return self.close(slot.index, CloseReason::TlsHandshakeError);
        }
        let authenticator = settings.authenticator(connection.listener);
        if connection.phase == Phase::Unauthenticated {
            return self.recheck_newcomer(slot.index, authenticator);
        }
        match authenticator.proxy(&connection.options.proxy_sig, &connection.nonce) {
            Ok(None) if connection.proxy.is_some() => {
                let reason = RefuseReason::ProxyNotTrusted;
                return self.authentication_failed(slot.index, reason);
            }
            Ok(proxy) => connection.proxy = proxy,
            Err(reason) => return self.authentication_failed(slot.index, reason),
        }
        let presented = credentials(connection, &settings, wall);
        let nobody = Authenticator::default();
        let before = before.map(|it| &**it.authenticator(connection.listener));
        let before = before.unwrap_or(&nobody);
        let user = connection.user.as_ref();
        match authenticator.recheck(before, user, &presented, &connection.nonce) {
            Recheck::Decided(Decision::Verify(check)) => self.verify(slot, check, true),
            Recheck::Decided(decision) => self.rechecked(slot, decision),
            Recheck::Expelled(refused) => self.expel(slot.index, &refused),
            Recheck::Gone => self.close(slot.index, CloseReason::ClientClosed),
        }
    }

    /// One that has not said who it is: let in where nobody asks any more, told to go where
    /// nobody stands for it, as stock does with those it finds without credentials.
    fn recheck_newcomer(&mut self, index: u32, authenticator: &Authenticator) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if !authenticator.required() {
            connection.phase = Phase::Open;
            connection.deadlines.auth = NEVER;
        } else if authenticator.first_info_auth_required() {
            self.authentication_failed(index, RefuseReason::Credentials);
        }
    }

    /// Acts on what was decided about a connection that had been let in before.
    pub(super) fn rechecked(&mut self, slot: Slot, decision: Decision) {
        let index = slot.index;
        let user = match decision {
            Decision::Accept(user) => user,
            Decision::Refuse(reason) => return self.authentication_failed(index, reason),
            Decision::Verify(check) => return self.verify(slot, check, true),
            // Its subscriptions are in the account it was in: it comes back, and is asked about.
            Decision::Ask(_) | Decision::Seek(_) => {
                return self.close(index, CloseReason::ClientClosed);
            }
        };
        let settings = &self.local.settings;
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        let authenticator = settings.authenticator(connection.listener);
        let lists = |user| authenticator.lists(user);
        let limited = user
            .as_ref()
            .is_some_and(|user| lists(user) || user.issued.is_some());
        let account = user.as_ref().map_or(AccountId::GLOBAL, |user| user.account);
        // Its subscriptions are in the old one: it comes back, and is in the new.
        if connection.account != account {
            return self.close(index, CloseReason::ClientClosed);
        }
        if !self.authenticated(index, user) {
            return;
        }
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if connection.leaf.is_some() {
            return; // what it may do is looked at for each message
        }
        // Stock looks at the limit anew only for those in `users`, and asks for less than it, not
        // for no more (CORE-56).
        let max = connection.max_subscriptions;
        if limited && max.is_some_and(|max| connection.sids.len() >= max) {
            self.complain(index, error_text::MAXIMUM_SUBSCRIPTIONS);
            return self.close(index, CloseReason::MaximumSubscriptionsExceeded);
        }
        self.recheck_subscriptions(index);
    }

    /// Ends the subscriptions that the permissions of now would not allow (CORE-47).
    fn recheck_subscriptions(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let who = shown(connection);
        let user = connection.user.clone();
        let permissions = user.as_ref().and_then(|user| user.permissions.as_deref());
        let ids: Vec<SubscriptionId> = connection.sids.iter().copied().collect();
        for id in ids {
            let Some(subscription) = self.local.subscriptions.get_mut(id) else {
                continue;
            };
            let (pattern, queue) = (subscription.subject(), subscription.queue.as_deref());
            if permissions.is_none_or(|it| it.can_subscribe(pattern, queue)) {
                subscription.filtered =
                    permissions.is_some_and(|it| it.filters_deliveries_of(pattern, queue));
                continue;
            }
            let (mut text, mut line) = (Vec::new(), b"Removed sub ".to_vec());
            error_text::subscription_removed(&mut text, pattern, queue, subscription.sid());
            let prefix = b"Permissions Violation for Subscription to ";
            line.extend_from_slice(text.strip_prefix(prefix).unwrap_or(&text));
            line.extend_from_slice(format!(" for {who} - not authorized").as_bytes());
            self.end_subscription(id);
            self.send_error(index, &text);
            let line = String::from_utf8_lossy(&line).into_owned();
            self.local.effects.push(Effect::Log(Level::Info, line));
        }
    }

    /// Closes that many clients (CFG-95). Which ones is left to chance, as in stock.
    pub fn close_surplus(&mut self, count: u64) {
        let clients = |it: &&Connection| !it.closing() && it.leaf.is_none();
        let open = self.local.connections.iter().filter(clients);
        let surplus = usize::try_from(count).unwrap_or(usize::MAX);
        let surplus: Vec<u32> = open.map(|it| it.slot.index).take(surplus).collect();
        for index in surplus {
            self.complain(index, error_text::MAXIMUM_CONNECTIONS);
            self.close(index, CloseReason::MaximumConnectionsExceeded);
        }
    }
}

/// Who it is, for the log.
fn shown(connection: &Connection) -> String {
    let options = &connection.options;
    let name = match (&*options.user, &connection.user) {
        ("", Some(user)) if options.auth_token.is_empty() => &user.name,
        (name, _) => name,
    };
    if !options.nkey.is_empty() {
        format!("Nkey {:?}", options.nkey)
    } else if !name.is_empty() {
        format!("User {name:?}")
    } else if !options.auth_token.is_empty() {
        "Token \"[REDACTED]\"".into()
    } else {
        "User \"N/A\"".into()
    }
}
