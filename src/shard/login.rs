//! Who the client is and whether it is still there: INFO, CONNECT, PING and PONG.

use std::time::Duration;

use crate::auth::authenticate::{
    CertificateProof, Credentials, Decision, PasswordCheck, RefuseReason, User,
};
use crate::auth::cache::VerdictCache;
use crate::auth::responses::Responses;
use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, Holds, NEVER, Owed, PendingCheck, Phase};
use crate::connection::leaf::LeafStage;
use crate::ids::{AccountId, Listener, Slot};
use crate::limits;
use crate::protocol::{encode, error_text};
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::settings::Settings;
use crate::shard::transport::shape_info;
use crate::time::WallTime;
use std::sync::Arc;

/// What `allowed_connection_types` calls a client of this listener (AUTH-8).
const fn connection_type(listener: Listener) -> &'static str {
    match listener {
        Listener::Client => "STANDARD",
        Listener::WebSocket => "WEBSOCKET",
        Listener::Leaf => "LEAFNODE",
    }
}

/// Bytes of a nonce before their base64 spelling (CORE-8).
const NONCE_BYTES: usize = 11;

impl Core {
    /// Prepares a new connection for its first INFO.
    pub(super) fn prepare(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let authenticator = settings.authenticator(connection.listener);
        // A server that connects proves itself, or says that it need not (TOPO-8).
        let is_leaf = connection.leaf.is_some();
        let required = authenticator.required() || is_leaf;
        let nonce = (authenticator.nonce_required() || is_leaf).then(|| self.nonce());
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.nonce = nonce.unwrap_or_default();
        if required {
            connection.phase = Phase::Unauthenticated;
        }
    }

    /// Starts the clocks of a connection whose protocol begins.
    pub(super) fn start_clocks(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let websocket = settings.transports.websocket.as_ref();
        let websocket = websocket.filter(|_| connection.listener == Listener::WebSocket);
        if connection.phase == Phase::Unauthenticated {
            let own = websocket.and_then(|it| it.auth_timeout);
            let usual = match connection.leaf {
                Some(_) => settings.leaf.auth_timeout,
                None => settings.auth_timeout,
            };
            connection.deadlines.auth = now + own.unwrap_or(usual);
        }
        // A link is asked once it is let in: until then the other side may already take all that
        // comes for compressed.
        connection.deadlines.ping = match connection.leaf {
            Some(_) => NEVER,
            None => now + settings.ping_interval(connection.listener),
        };
        self.local.arm(index);
    }

    fn nonce(&mut self) -> Box<[u8]> {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // 15 characters of unpadded base64url spell 11 bytes; the last holds only 4 bits of them.
        let characters = (NONCE_BYTES * 8).div_ceil(6);
        (0..characters)
            .map(|at| {
                let value = (self.local.secret_random() % 64) as usize;
                ALPHABET[if at + 1 == characters {
                    value & !3
                } else {
                    value
                }]
            })
            .collect()
    }

    /// Sends an INFO; `connected` for the second one, which answers the first PING (CORE-9).
    pub(super) fn send_info(&mut self, index: u32, connected: bool) {
        let lame_duck = self.local.lame_duck;
        self.send_info_with(index, connected, lame_duck);
    }

    /// Tells one client that this server goes away (CORE-97).
    pub(super) fn send_lame_duck_info(&mut self, index: u32) {
        self.send_info_with(index, false, true);
    }

    fn send_info_with(&mut self, index: u32, connected: bool, lame_duck: bool) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.leaf.is_some() {
            return self.send_leaf_info(index, connected);
        }
        let mut info = (*settings.info).clone();
        info.client_id = connection.cid.0;
        info.client_ip = connection.address.ip().to_string();
        info.ldm = lame_duck;
        info.max_payload = i32::try_from(connection.limits.max_payload).unwrap_or(i32::MAX);
        if !connection.nonce.is_empty() && !connected {
            info.nonce = String::from_utf8_lossy(&connection.nonce).into_owned();
        }
        if connected {
            info.connect_info = true;
            info.acc_is_sys = settings.accounts.system() == Some(connection.account);
            info.remote_account = connection.tenant.name.to_string();
            info.auth_required = settings.authenticator(connection.listener).required();
        } else {
            let authenticator = settings.authenticator(connection.listener);
            // Only the client port hides it where a user stands for others (CORE-7).
            info.auth_required = match connection.listener {
                Listener::Client => authenticator.first_info_auth_required(),
                Listener::WebSocket | Listener::Leaf => authenticator.required(),
            };
        }
        shape_info(connection, &settings.transports, connected, &mut info);
        let line = info.line();
        self.send(index, &line);
        let json = line.get(5..).unwrap_or_default().trim_ascii();
        self.local.trace_out(index, "INFO", Some(json));
    }

    /// The first byte of an operation on a connection that has not proved itself: only a CONNECT
    /// may start, unless a user stands for those without credentials (CORE-31).
    pub(super) fn admit(&mut self, index: u32, first: u8) -> bool {
        if first.eq_ignore_ascii_case(&b'C') {
            return true;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        if let Some(leaf) = &connection.leaf {
            // They may have to say first how they want to be compressed.
            if !leaf.negotiated && first.eq_ignore_ascii_case(&b'I') {
                return true;
            }
            self.leaf_must_connect(index);
            return false;
        }
        let kind = connection_type(connection.listener);
        let settings = &self.local.settings;
        let authenticator = settings.authenticator(connection.listener);
        // Where certificates say who clients are, nobody stands for those who say nothing.
        let maps = settings.transports.maps(connection.listener);
        if !maps && let Some(user) = authenticator.no_auth_user(kind) {
            let let_in = self.authenticated(index, Some(user)) && self.user_may_connect(index);
            if let_in {
                self.tell_connected(index);
            }
            return let_in;
        }
        self.authentication_failed(index, RefuseReason::Credentials);
        false
    }

    /// CONNECT.
    pub(super) fn connect(&mut self, index: u32, json: &[u8]) {
        let settings = Arc::clone(&self.local.settings);
        let now = self.local.now;
        let jitter = self.local.random();
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let interval = settings.ping_interval(connection.listener);
        connection.deadlines.auth = NEVER;
        connection.sought = false;
        connection.keep_alive.rtt = Some(now.since(connection.start_at));
        let first_ping = interval.min(limits::FIRST_PING);
        let spread = first_ping.as_nanos() as u64 / 5;
        connection.deadlines.ping =
            now + first_ping + Duration::from_nanos(jitter.checked_rem(spread).unwrap_or(0));
        let again = std::mem::replace(&mut connection.connected, true);
        // A second CONNECT changes only what it names, as decoding into the same value does.
        if let Err(error) = connection.options.update(json) {
            self.local.log(Level::Error, index, &error.to_string());
            return self.close(index, CloseReason::ParseError);
        }
        if let Some(websocket) = &connection.websocket {
            websocket.complete(&mut connection.options);
        }
        connection.limits.headers =
            !self.local.settings.limits.no_header_support && connection.options.headers;
        self.local.arm(index);
        if again {
            self.drop_subscriptions(index);
        }
        self.authenticate(index);
    }

    pub(super) fn authenticate(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let wall = self.local.wall;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let authenticator = settings.authenticator(connection.listener);
        match authenticator.proxy(&connection.options.proxy_sig, &connection.nonce) {
            Ok(proxy) => connection.proxy = proxy,
            Err(reason) => return self.authentication_failed(index, reason),
        }
        let credentials = credentials(connection, &settings, wall);
        let decision = authenticator.begin(&credentials, &connection.nonce);
        let slot = connection.slot;
        self.decided(slot, decision);
    }

    /// Goes on with a connection that an auth service has let in.
    pub(super) fn let_in(&mut self, slot: Slot, user: Arc<User>) {
        self.decided(slot, Decision::Accept(Some(user)));
    }

    /// Acts on a decision about a login.
    fn decided(&mut self, slot: Slot, decision: Decision) {
        if self.local.connections.of(slot).is_none() {
            return;
        }
        match decision {
            Decision::Accept(user) => {
                let is_leaf = self
                    .local
                    .connections
                    .of(slot)
                    .is_some_and(|it| it.leaf.is_some());
                if is_leaf {
                    if self.authenticated(slot.index, user) {
                        self.tell_connected(slot.index);
                        self.leaf_connected(slot.index);
                    }
                } else if self.authenticated(slot.index, user) && self.user_may_connect(slot.index)
                {
                    self.tell_connected(slot.index);
                    self.connected(slot.index);
                }
            }
            Decision::Refuse(reason) => self.authentication_failed(slot.index, reason),
            Decision::Verify(check) => self.verify(slot, check, false),
            Decision::Ask(ask) => self.ask_service(slot, *ask),
            Decision::Seek(key) => self.seek_account(slot, key),
        }
    }

    /// Has a password checked on another thread; `again` for somebody who was let in before.
    pub(super) fn verify(&mut self, slot: Slot, check: PasswordCheck, again: bool) {
        let view = self.local.settings.number;
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        connection.holds.add(Holds::VERIFY);
        connection.check = PendingCheck { view, again };
        self.local.effects.push(Effect::Verify(slot, check));
    }

    /// A password check on another thread is done.
    pub fn verified(&mut self, slot: Slot, check: PasswordCheck, matches: bool) {
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if !connection.holds.remove(Holds::VERIFY) || connection.closing() {
            return;
        }
        if !connection.holds.any() {
            self.local.ready.push(slot);
        }
        let PendingCheck { view, again } = connection.check;
        let current = view == self.local.settings.number;
        match (again, current) {
            (false, true) => self.decided(slot, check.finish(matches)),
            // Asked under settings that are no more.
            (false, false) => self.authenticate(slot.index),
            (true, true) => self.rechecked(slot, check.finish(matches)),
            (true, false) => self.recheck(slot, None),
        }
    }

    /// The connection is `user` from now on; `None` where nobody asks who it is. False if its
    /// account has no room for it.
    pub(super) fn authenticated(&mut self, index: u32, user: Option<Arc<User>>) -> bool {
        let account = user.as_ref().map_or(AccountId::GLOBAL, |user| user.account);
        if !self.enter_account(index, account) {
            return false;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let permissions = user.as_ref().and_then(|user| user.permissions.as_deref());
        connection.publish_cache = permissions.map(|_| Box::new(VerdictCache::new()));
        connection.delivery_cache = permissions.map(|_| Box::new(VerdictCache::new()));
        connection.responses = permissions
            .and_then(|permissions| permissions.responses())
            .map(|grant| Box::new(Responses::new(grant)));
        connection.phase = Phase::Open;
        connection.deadlines.auth = NEVER;
        connection.user = user;
        self.limit_by_token(index);
        self.name_by_certificate(index);
        true
    }

    /// The rest of a CONNECT after the credentials were found good.
    fn connected(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let options = &connection.options;
        if options.new_account || !options.account.is_empty() {
            return self.authentication_failed(index, RefuseReason::Credentials);
        }
        if !(0..=1).contains(&options.protocol) {
            self.send_error(index, error_text::INVALID_CLIENT_PROTOCOL);
            return self.close(index, CloseReason::BadClientProtocolVersion);
        }
        if options.no_responders && !connection.limits.headers {
            self.send_error(index, error_text::NO_RESPONDERS_REQUIRES_HEADERS);
            return self.close(index, CloseReason::NoRespondersRequiresHeaders);
        }
        if options.verbose {
            self.send_ok(index);
        }
    }

    pub(super) fn authentication_failed(&mut self, index: u32, reason: RefuseReason) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.account;
        self.authentication_failed_in(index, account, reason);
    }

    /// The same, told to this account.
    pub(super) fn authentication_failed_in(
        &mut self,
        index: u32,
        account: AccountId,
        reason: RefuseReason,
    ) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let who = who_tried(connection);
        self.local
            .log(Level::Error, index, &format!("authentication error{who}"));
        if let RefuseReason::Untrusted(why) = reason {
            self.local.debug(index, || why.into());
        }
        self.send_error(index, error_text::AUTHORIZATION_VIOLATION);
        let reason = match reason {
            RefuseReason::Credentials | RefuseReason::Untrusted(_) => {
                CloseReason::AuthenticationFailure
            }
            RefuseReason::ProxyRequired => CloseReason::ProxyRequired,
            RefuseReason::ProxyNotTrusted => CloseReason::ProxyNotTrusted,
        };
        let connection = self.local.connections.at(index);
        if connection.is_some_and(|it| it.leaf.is_none()) {
            self.tell_refused(index, account, reason);
        }
        self.close(index, reason);
    }

    /// PING: a PONG once the other shards know this connection's interest, and have said to which
    /// of its requests nobody is there.
    pub(super) fn ping(&mut self, index: u32) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.keep_alive.last_in = now;
        if std::mem::take(&mut connection.asked_elsewhere) {
            self.local.peers.broadcast_mark();
            connection.interest_mark = self.local.peers.interest_sent();
        }
        self.after_barrier(index, Owed::Pong);
    }

    /// Pays what is owed as soon as every shard has applied the connection's interest changes.
    pub(super) fn after_barrier(&mut self, index: u32, owed: Owed) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let (mark, slot) = (connection.interest_mark, connection.slot);
        if self.local.peers.reached(mark) {
            return self.pay(index, owed);
        }
        connection.owed = Some(owed);
        connection.holds.add(Holds::BARRIER);
        self.local.peers.wait(mark, slot);
    }

    /// Lets go of connections whose barrier has been reached.
    pub fn release_barriers(&mut self) {
        while let Some(slot) = self.local.peers.next_reached() {
            let Some(connection) = self.local.connections.of(slot) else {
                continue;
            };
            let owed = connection.owed.take();
            if connection.holds.remove(Holds::BARRIER) && !connection.holds.any() {
                self.local.ready.push(slot);
            }
            if let Some(owed) = owed {
                self.pay(slot.index, owed);
            }
        }
    }

    fn pay(&mut self, index: u32, owed: Owed) {
        match owed {
            Owed::Ok => self.send_ok(index),
            Owed::Link => self.leaf_let_in(index),
            Owed::Pong => {
                self.send(index, encode::PONG);
                self.local.trace_out(index, "PONG", None);
                let Some(connection) = self.local.connections.at(index) else {
                    return;
                };
                if connection.connected
                    && connection.leaf.is_none()
                    && !std::mem::replace(&mut connection.keep_alive.first_pong_sent, true)
                    && connection.options.protocol >= 1
                {
                    self.send_info(index, true);
                }
            }
        }
    }

    /// PONG.
    pub(super) fn pong(&mut self, index: u32) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let keep_alive = &mut connection.keep_alive;
        if keep_alive.outstanding > 0 {
            keep_alive.rtt = keep_alive.sent_at.map(|sent_at| now.since(sent_at));
        }
        keep_alive.outstanding = 0;
        if connection.leaf.is_some() {
            self.leaf_adapts(index);
        }
    }

    /// The PING timer of a connection went off (CORE-59, CORE-60).
    pub(super) fn ping_due(&mut self, index: u32) {
        let now = self.local.now;
        let settings = Arc::clone(&self.local.settings);
        let max = settings.limits.ping_max;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let interval = settings.ping_interval(connection.listener);
        connection.deadlines.ping = now + interval;
        let keep_alive = &mut connection.keep_alive;
        let rtt_fresh = keep_alive
            .sent_at
            .is_some_and(|sent_at| now.since(sent_at) < limits::RTT_VALID);
        if now.since(keep_alive.last_in) < interval && rtt_fresh {
            return;
        }
        if keep_alive.outstanding + 1 > max {
            self.local.counters.stale_links += u64::from(connection.leaf.is_some());
            self.local.counters.stale_connections += 1;
            self.local
                .debug(index, || "Stale Client Connection - Closing".into());
            self.send_error(index, error_text::STALE_CONNECTION);
            return self.close(index, CloseReason::StaleConnection);
        }
        keep_alive.outstanding += 1;
        keep_alive.sent_at = Some(now);
        self.send(index, encode::PING);
        self.local.trace_out(index, "PING", None);
    }

    /// No CONNECT came in time (CORE-58).
    pub(super) fn auth_due(&mut self, index: u32) {
        let connection = self.local.connections.at(index);
        let leaf = connection.and_then(|it| it.leaf.as_ref());
        if leaf.is_some_and(|it| it.stage == LeafStage::AwaitsInfo) {
            self.local
                .log(Level::Error, index, "read error: no INFO came in time");
            return self.close(index, CloseReason::ReadError);
        }
        if leaf.is_some_and(|it| it.solicited.is_some()) {
            let text = "Stale Leaf Node Connection - Closing";
            self.local.debug(index, || text.into());
            self.send_error(index, text);
            return self.close(index, CloseReason::StaleConnection);
        }
        self.send_error(index, error_text::AUTHENTICATION_TIMEOUT);
        self.close(index, CloseReason::AuthenticationTimeout);
    }
}

/// What a connection has presented.
pub(super) fn credentials<'a>(
    connection: &'a Connection,
    settings: &Settings,
    now: WallTime,
) -> Credentials<'a> {
    let options = &connection.options;
    let certificate = if settings.transports.maps(connection.listener) {
        CertificateProof::Maps(connection.certificate.as_deref())
    } else {
        CertificateProof::Unused
    };
    Credentials {
        user: &options.user,
        pass: &options.pass,
        token: &options.auth_token,
        nkey: &options.nkey,
        sig: &options.sig,
        connection_type: connection_type(connection.listener),
        certificate,
        proxied: connection.proxy.is_some(),
        jwt: &options.jwt,
        address: Some(connection.address.ip()),
        now,
    }
}

/// What the log says of a failed login: a name, never a secret.
fn who_tried(connection: &Connection) -> String {
    let options = &connection.options;
    if !options.nkey.is_empty() {
        format!(" - Nkey {:?}", options.nkey)
    } else if !options.user.is_empty() {
        format!(" - User {:?}", options.user)
    } else if !options.auth_token.is_empty() {
        " - Token \"[REDACTED]\"".into()
    } else {
        String::new()
    }
}
