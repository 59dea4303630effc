//! One client connection: everything the shard knows about it.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::accounts::account::Account;
use crate::auth::authenticate::{CertificateNames, User};
use crate::auth::cache::VerdictCache;
use crate::auth::responses::Responses;
use crate::connection::close_reason::CloseReason;
use crate::connection::held::Backlog;
use crate::connection::leaf::Leaf;
use crate::connection::rate::ConnectionRates;
use crate::delivery::outbound::Outbound;
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress, Slot, SubscriptionId};
use crate::protocol::connect::ConnectOptions;
use crate::protocol::log_prefix::{LogIdentity, LogKind, log_prefix};
use crate::protocol::parser::Limits;
use crate::time::{Nanos, WallTime};
use crate::transport::settings::TransportSettings;
use crate::transport::transport::Transport;
use crate::transport::websocket::handshake::Cookies;

/// Far enough away never to come.
pub const NEVER: Nanos = Nanos(u64::MAX);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Credentials are asked for and have not been accepted.
    Unauthenticated,
    /// May publish and subscribe.
    Open,
    /// Closing: nothing more is taken from it, the rest of its output may still leave.
    Closing(CloseReason),
}

/// Why nothing more is taken from a connection for now. It goes on when no reason is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holds(u8);

impl Holds {
    /// Its PONG (or `+OK`) waits until the other shards know its interest.
    pub const BARRIER: Self = Self(1);
    /// A receiver it feeds is behind.
    pub const STALL: Self = Self(2);
    /// Its password is being checked on another thread.
    pub const VERIFY: Self = Self(4);

    /// Adds a reason.
    pub fn add(&mut self, reason: Self) {
        self.0 |= reason.0;
    }

    /// Removes a reason; true if it was there.
    pub fn remove(&mut self, reason: Self) -> bool {
        let had = self.has(reason);
        self.0 &= !reason.0;
        had
    }

    /// Is this reason there?
    pub fn has(self, reason: Self) -> bool {
        self.0 & reason.0 != 0
    }

    /// Is any reason there?
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

/// A password check that is under way on another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PendingCheck {
    /// Number of the settings it was begun under; its answer means nothing under others.
    pub view: u64,
    /// The connection had been let in before and is judged anew (CFG-94).
    pub again: bool,
}

/// What a connection held at the barrier is owed when it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// A PONG.
    Pong,
    /// The `+OK` of a verbose client.
    Ok,
    /// The answer to a link's CONNECT, and our interest.
    Link,
}

/// What a connection has sent or was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages from it.
    pub in_msgs: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages to it.
    pub out_msgs: u64,
    /// Their bytes.
    pub out_bytes: u64,
}

/// Times at which something is due; [`NEVER`] where nothing is.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// CONNECT must have come.
    pub auth: Nanos,
    /// The next PING.
    pub ping: Nanos,
    /// The send under way must be done.
    pub write: Nanos,
    /// A closing connection's last bytes must have left.
    pub linger: Nanos,
    /// A publisher held back goes on.
    pub stall: Nanos,
    /// What comes before the protocol must be over.
    pub transport: Nanos,
    /// The token of its user, or of its account, counts no more (AUTH-53).
    pub expiry: Nanos,
    /// Earliest entry the timer queue holds for this connection.
    pub armed: Nanos,
}

impl Deadlines {
    /// The earliest of them.
    pub fn next(&self) -> Nanos {
        self.auth
            .min(self.ping)
            .min(self.write)
            .min(self.linger)
            .min(self.stall)
            .min(self.transport)
            .min(self.expiry)
    }
}

/// Keep-alive by PING and PONG, both ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAlive {
    /// PINGs sent and not answered.
    pub outstanding: u32,
    /// When the last one left.
    pub sent_at: Option<Nanos>,
    /// Last round trip; `None` until one was measured.
    pub rtt: Option<std::time::Duration>,
    /// Last message, subscription or PING from the peer.
    pub last_in: Nanos,
    /// The first PONG has been sent: from then on the client may be told of changes.
    pub first_pong_sent: bool,
}

/// What is known of a client from its HTTP request.
#[derive(Debug, Default)]
pub struct WebSocketClient {
    /// In place of what its CONNECT leaves out (WS-10).
    pub cookies: Cookies,
    /// Shown in the log in front of its address (WS-12).
    pub forwarded_for: Option<String>,
}

impl WebSocketClient {
    /// Fills in what a CONNECT has left out (WS-10).
    pub fn complete(&self, connect: &mut ConnectOptions) {
        let cookies = &self.cookies;
        for (field, cookie) in [
            (&mut connect.jwt, &cookies.jwt),
            (&mut connect.user, &cookies.user),
            (&mut connect.pass, &cookies.pass),
            (&mut connect.auth_token, &cookies.token),
        ] {
            if field.is_empty() {
                field.clone_from(cookie);
            }
        }
    }
}

/// A client connection.
pub struct Connection {
    /// Its place in the shard's table.
    pub slot: Slot,
    /// Server-wide number.
    pub cid: ConnectionId,
    /// Peer.
    pub address: PeerAddress,
    /// Accepted at.
    pub start: WallTime,
    /// The same on the shard's clock.
    pub start_at: Nanos,
    /// The listener it came by.
    pub listener: Listener,
    /// What stands between it and the wire; `None` for plain bytes.
    pub transport: Option<Box<Transport>>,
    /// Who its certificate says it is.
    pub certificate: Option<Box<CertificateNames>>,
    /// Public nkey of the proxy that vouches for it (CORE-92).
    pub proxy: Option<Arc<str>>,
    /// What its HTTP request said.
    pub websocket: Option<Box<WebSocketClient>>,
    /// It is a link to another server.
    pub leaf: Option<Box<Leaf>>,
    /// It counts among `max_connections`.
    pub admitted: bool,
    /// It counts among the clients: not before its WebSocket is one.
    pub is_client: bool,
    /// How far it has come.
    pub phase: Phase,
    /// CONNECT has been received.
    pub connected: bool,
    /// Its CONNECT; defaults until one came (CORE-24).
    pub options: Box<ConnectOptions>,
    /// Random text it must sign; empty where nobody signs.
    pub nonce: Box<[u8]>,
    /// Who it is; `None` where nobody asks.
    pub user: Option<Arc<User>>,
    /// Account its subjects are in.
    pub account: AccountId,
    /// The same account; its [`crate::accounts::account::Usage`] counts the connection if
    /// `counted`.
    pub tenant: Arc<Account>,
    /// See `tenant`.
    pub counted: bool,
    /// Subscriptions it may have at once.
    pub max_subscriptions: Option<usize>,
    /// Answers of [`crate::auth::permissions::Permissions::can_publish`] by subject.
    pub publish_cache: Option<Box<VerdictCache>>,
    /// Answers of [`crate::auth::permissions::Permissions::can_deliver`] outside queue groups.
    pub delivery_cache: Option<Box<VerdictCache>>,
    /// Reply subjects it may publish to (AUTH-15).
    pub responses: Option<Box<Responses>>,
    /// What it may send in a second, if that is limited.
    pub rates: Option<Box<ConnectionRates>>,
    /// Messages and subscriptions refused for that.
    pub rate_limited: u64,
    /// Bounds of what it may send.
    pub limits: Limits,
    /// Front of an operation whose rest has not come. Bounded by `max_control_line` until its
    /// length is known, by that and `max_payload` from then on.
    pub partial: Vec<u8>,
    /// Length of the operation in `partial`, once known.
    pub partial_needed: Option<usize>,
    /// Bytes received while held, bounded by [`crate::limits::BACKLOG_MAX`] and what the kernel
    /// had received by then.
    pub backlog: Backlog,
    /// Bytes from the wire that wait for their TLS handshake; bounded like `backlog`.
    pub early: Vec<u8>,
    /// Why it is held.
    pub holds: Holds,
    /// What the password check under way is for.
    pub check: PendingCheck,
    /// Its account has been looked for since its CONNECT.
    pub sought: bool,
    /// What it waits for at the barrier.
    pub owed: Option<Owed>,
    /// The driver has been told to end it. Told once: the index is somebody else's soon after.
    pub released: bool,
    /// Its receiving is paused in the driver.
    pub paused: bool,
    /// Count of interest changes the others must have applied before its PONG.
    pub interest_mark: u64,
    /// Requests of it went to other shards since its last PING: an answer that nobody is there
    /// may be on its way.
    pub asked_elsewhere: bool,
    /// Its subscriptions by sid.
    pub sids: HashTable<SubscriptionId>,
    /// Output.
    pub outbound: Outbound,
    /// It is on the shard's list of connections with new output.
    pub dirty: bool,
    /// When its socket last took bytes.
    pub progress_at: Nanos,
    /// Publishers held back for it, by shard and slot.
    pub stalled_sources: Vec<(crate::ids::ShardId, Slot)>,
    /// Counts.
    pub traffic: Traffic,
    /// Receivers (and mesh queues) that want it held back.
    pub stallers: u32,
    /// When this connection, as a receiver, last asked for a publisher to be held back.
    pub pressed_at: Nanos,
    /// When a write began that is past its deadline and goes on (CORE-63).
    pub late_since: Option<Nanos>,
    /// Times it was held back.
    pub stalls: u64,
    /// What is due when.
    pub deadlines: Deadlines,
    /// Keep-alive.
    pub keep_alive: KeepAlive,
}

impl Connection {
    /// A connection just accepted at `now`.
    pub fn new(
        slot: Slot,
        cid: ConnectionId,
        address: PeerAddress,
        tenant: Arc<Account>,
        limits: Limits,
        start: WallTime,
        now: Nanos,
    ) -> Self {
        Self {
            slot,
            cid,
            address,
            start,
            start_at: now,
            listener: Listener::Client,
            transport: None,
            certificate: None,
            proxy: None,
            websocket: None,
            leaf: None,
            admitted: true,
            is_client: true,
            phase: Phase::Open,
            connected: false,
            options: Box::default(),
            nonce: Box::default(),
            user: None,
            account: tenant.id,
            tenant,
            counted: false,
            max_subscriptions: None,
            publish_cache: None,
            delivery_cache: None,
            responses: None,
            rates: None,
            rate_limited: 0,
            limits,
            partial: Vec::new(),
            partial_needed: None,
            backlog: Backlog::default(),
            early: Vec::new(),
            holds: Holds::default(),
            check: PendingCheck::default(),
            sought: false,
            owed: None,
            released: false,
            paused: false,
            interest_mark: 0,
            asked_elsewhere: false,
            sids: HashTable::new(),
            outbound: Outbound::default(),
            dirty: false,
            progress_at: now,
            stalled_sources: Vec::new(),
            traffic: Traffic::default(),
            stallers: 0,
            pressed_at: NEVER,
            late_since: None,
            stalls: 0,
            deadlines: Deadlines {
                auth: NEVER,
                ping: NEVER,
                write: NEVER,
                linger: NEVER,
                stall: NEVER,
                transport: NEVER,
                expiry: NEVER,
                armed: NEVER,
            },
            keep_alive: KeepAlive {
                last_in: now,
                ..KeepAlive::default()
            },
        }
    }

    /// What stands in front of its log lines (CFG-98).
    pub fn log_prefix(&self) -> String {
        let kind = match self.listener {
            Listener::Client => LogKind::Client,
            Listener::WebSocket => LogKind::WebSocket,
            Listener::Leaf => LogKind::Leaf,
        };
        let mut prefix = log_prefix(self.address, kind, self.cid.0);
        let forwarded_for = self.websocket.as_ref().map(|it| &it.forwarded_for);
        if let Some(Some(ip)) = forwarded_for {
            let ip = if ip.contains(':') {
                format!("[{ip}]/")
            } else {
                format!("{ip}/")
            };
            prefix.insert_str(0, &ip);
        }
        // A server at the other end of a link is named by its lines themselves.
        if !self.connected || self.leaf.is_some() {
            return prefix;
        }
        let options = &self.options;
        let identity = LogIdentity {
            version: &options.version,
            lang: &options.lang,
            name: &options.name,
            account: &self.tenant.name,
            nkey: &options.nkey,
            user: &options.user,
            jwt_user: "",
            has_token: !options.auth_token.is_empty(),
        };
        identity.extend_prefix(&prefix)
    }

    /// May it publish with nothing to check or to answer for each message?
    pub fn publishes_freely(&self) -> bool {
        self.phase == Phase::Open
            && !self.options.verbose
            && !self.options.pedantic
            && self.tenant.mappings.is_empty()
            && self.rates.is_none()
            && self.leaf.is_none()
    }

    /// Has its protocol begun? Not while TLS or WebSocket are agreed on.
    pub fn protocol_runs(&self) -> bool {
        self.transport.as_ref().is_none_or(|it| it.is_open())
    }

    /// Is its certificate none of those that are let in now (CORE-84)?
    pub fn is_unpinned(&self, settings: &TransportSettings) -> bool {
        let Some(tls) = self.transport.as_ref().and_then(|it| it.tls()) else {
            return false;
        };
        let now = match self.listener {
            Listener::Client => settings.tls.as_ref(),
            Listener::WebSocket => settings.websocket.as_ref().and_then(|it| it.tls.as_ref()),
            Listener::Leaf => settings.leaf_tls.as_ref(),
        };
        now.is_some_and(|now| !now.admits(tls.peer_certificates()))
    }

    /// Is there anything to send, or being sent?
    pub fn has_output(&self) -> bool {
        self.outbound.pending() > 0 || self.transport.as_ref().is_some_and(|it| it.has_output())
    }

    /// Is it on its way out?
    pub fn closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }

    /// Is anything from it to be taken now?
    pub fn takes_input(&self) -> bool {
        !self.closing() && !self.holds.any()
    }
}
