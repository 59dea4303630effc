//! What a user's token says about its connections: their limits, their end (AUTH-53, AUTH-55).

use crate::auth::jwt::trust::Refused;
use crate::connection::close_reason::CloseReason;
use crate::connection::connection::NEVER;
use crate::ids::ConnectionId;
use crate::protocol::error_text;
use crate::shard::core::Core;

impl Core {
    /// Puts a connection under the limits of its user's token, which come on top of the account's,
    /// and notes when the token ends.
    pub(super) fn limit_by_token(&mut self, index: u32) {
        let (now, wall) = (self.local.now, self.local.wall);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.expiry = NEVER;
        let Some(issued) = connection.user.as_ref().and_then(|it| it.issued.as_ref()) else {
            return;
        };
        if let Some(max) = issued.limits.max_subscriptions {
            let max = max as usize;
            let least = connection.max_subscriptions.map_or(max, |it| it.min(max));
            connection.max_subscriptions = Some(least);
        }
        if let Some(max) = issued.limits.max_payload {
            let payload = &mut connection.limits.max_payload;
            *payload = (*payload).min(max as usize);
        }
        let ends = issued.expires.into_iter().chain(issued.account_expires);
        if let Some(end) = ends.map(|it| it.0).min() {
            let left = std::time::Duration::from_nanos(end.saturating_sub(wall.0));
            connection.deadlines.expiry = now + left;
            self.local.arm(index);
        }
    }

    /// The user's token, or the account's, counts no more.
    pub(super) fn expiry_due(&mut self, index: u32) {
        let wall = self.local.wall;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.expiry = NEVER;
        let issued = connection.user.as_ref().and_then(|it| it.issued.as_ref());
        let account = issued.and_then(|it| it.account_expires);
        let text = match account.is_some_and(|end| end.0 <= wall.0) {
            true => error_text::ACCOUNT_AUTHENTICATION_EXPIRED,
            false => error_text::USER_AUTHENTICATION_EXPIRED,
        };
        self.expire(index, text);
    }

    fn expire(&mut self, index: u32, text: &str) {
        self.local.debug(index, || text.to_owned());
        self.send_error(index, text);
        self.close(index, CloseReason::AuthenticationExpired);
    }

    /// Somebody who was let in before may not stay, in stock's words for each reason.
    pub(super) fn expel(&mut self, index: u32, refused: &Refused) {
        match refused {
            Refused::Revoked => {
                let text = error_text::USER_AUTHENTICATION_REVOKED;
                self.local.debug(index, || text.to_owned());
                self.send_error(index, text);
                self.close(index, CloseReason::CredentialsRevoked);
            }
            Refused::AccountExpired | Refused::NoAccount => {
                self.expire(index, error_text::ACCOUNT_AUTHENTICATION_EXPIRED);
            }
            // Stock closes these without a word; they come back and hear it then.
            Refused::SignerChanged => self.close(index, CloseReason::AuthenticationFailure),
            other => {
                self.local.debug(index, || other.why().to_owned());
                self.send_error(index, error_text::AUTHORIZATION_VIOLATION);
                self.close(index, CloseReason::AuthenticationFailure);
            }
        }
    }

    /// Closes connections that their account may not have any more (AUTH-56).
    pub fn close_over_account_limit(&mut self, surplus: &[ConnectionId]) {
        let open = self.local.connections.iter().filter(|it| !it.closing());
        let those = open.filter(|it| surplus.contains(&it.cid));
        let indices: Vec<u32> = those.map(|it| it.slot.index).collect();
        for index in indices {
            self.complain(index, error_text::MAXIMUM_ACCOUNT_CONNECTIONS);
            self.close(index, CloseReason::MaximumAccountConnectionsExceeded);
        }
    }
}
