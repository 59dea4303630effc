//! Connections come to their accounts, and go.

use std::sync::Arc;

use crate::auth::jwt::trust::Refused;
use crate::connection::close_reason::CloseReason;
use crate::ids::AccountId;
use crate::protocol::error_text;
use crate::shard::core::Core;
use crate::shard::effects::Level;

impl Core {
    /// Puts a connection into an account and under its limits (AUTH-29). False if the account has
    /// as many as it may (CORE-16): the connection is told and closed.
    pub(super) fn enter_account(&mut self, index: u32, account: AccountId) -> bool {
        if self.join(index, account) {
            return true;
        }
        let known = self.local.settings.accounts.get(account).is_some();
        let text = match known {
            true => error_text::MAXIMUM_ACCOUNT_CONNECTIONS,
            false => error_text::FAILED_ACCOUNT_REGISTRATION,
        };
        self.local.log(Level::Error, index, text);
        self.send_error(index, text);
        self.close(index, CloseReason::MaximumAccountConnectionsExceeded);
        false
    }

    /// Brings what a connection has of its account up to date. An account that has gone takes its
    /// connections with it.
    pub(super) fn renew_account(&mut self, index: u32) -> bool {
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let (account, before) = (connection.account, Arc::clone(&connection.tenant));
        if self.join(index, account) {
            let now = self.local.settings.accounts.get(account);
            if now.is_some_and(|now| now.stream_imports != before.stream_imports) {
                self.renew_shadows(index);
            }
            return true;
        }
        match self.local.settings.authenticator.trust() {
            Some(_) => self.expel(index, &Refused::NoAccount),
            None => self.close(index, CloseReason::ClientClosed),
        }
        false
    }

    /// Puts a connection into an account, if there is room.
    pub(super) fn join(&mut self, index: u32, account: AccountId) -> bool {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let same = connection.counted && connection.account == account;
        let linked = connection.leaf.as_ref().is_some_and(|it| it.counted);
        let Some(tenant) = settings.accounts.get(account) else {
            return false;
        };
        self.leave(index);
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let limits = tenant.limits;
        let own = |limit: Option<u32>| limit.map(|limit| limit as usize);
        let least =
            |ours: Option<usize>, theirs: Option<usize>| ours.into_iter().chain(theirs).min();
        connection.account = account;
        connection.tenant = Arc::clone(tenant);
        connection.max_subscriptions = least(
            settings.limits.max_subscriptions,
            own(limits.max_subscriptions),
        );
        connection.limits.max_payload = own(limits.max_payload)
            .map_or(settings.limits.max_payload, |max| {
                max.min(settings.limits.max_payload)
            });
        if connection.leaf.is_some() {
            // Links are counted for themselves, once they are open.
            return !linked || self.enter_link(index);
        }
        // One that says CONNECT again has its place already.
        connection.counted = tenant.usage.enter(limits.max_connections.filter(|_| !same));
        if connection.counted {
            self.tables.of(account).figures.connections += 1;
        }
        connection.counted
    }

    /// Counts a link in its account. False if that has as many as it may (TOPO-40): the other side
    /// is told, and the link closed.
    pub(super) fn enter_link(&mut self, index: u32) -> bool {
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(leaf) = &mut connection.leaf else {
            return false;
        };
        let max = connection.tenant.limits.max_leafnodes;
        if leaf.counted || !connection.tenant.usage.enter_link(max) {
            let text = error_text::MAXIMUM_ACCOUNT_CONNECTIONS;
            self.local.log(Level::Error, index, text);
            self.send_error(index, text);
            self.close(index, CloseReason::MaximumAccountConnectionsExceeded);
            return false;
        }
        leaf.counted = true;
        let account = connection.account;
        self.local.counters.links += 1;
        self.tables.of(account).figures.links += 1;
        true
    }

    /// A connection of an account is closed.
    pub(super) fn leave_account(&mut self, index: u32, reason: CloseReason) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let slow = matches!(
            reason,
            CloseReason::SlowConsumerPendingBytes | CloseReason::SlowConsumerWriteDeadline
        );
        self.tables.of(connection.account).figures.slow_consumers += u64::from(slow);
        self.leave(index);
    }

    fn leave(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if let Some(leaf) = &mut connection.leaf
            && std::mem::take(&mut leaf.counted)
        {
            connection.tenant.usage.leave_link();
            self.local.counters.links -= 1;
            let figures = &mut self.tables.of(connection.account).figures;
            figures.links -= 1;
            figures.add_link(connection.traffic);
            return;
        }
        if std::mem::take(&mut connection.counted) {
            connection.tenant.usage.leave();
            self.tables.of(connection.account).figures.connections -= 1;
        }
    }
}
