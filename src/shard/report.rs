//! What a shard answers when it is asked for figures. Asked and answered by message between two
//! turns, so monitoring never takes a lock a message would wait for.

use std::sync::Arc;
use std::time::Duration;

pub use crate::auth::certificate::ShownCertificate;
use crate::connection::connection::Traffic;
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress, ShardId};
use crate::routing::interest::RoutingStats;
use crate::shard::jetstream::report::{JetStreamQuery, JetStreamReport};
use crate::shard::link_report::{LinkQuery, LinkReport};
use crate::time::WallTime;

/// A question put to every shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Only the counters.
    Counters,
    /// Counters and connections.
    Connections(ConnectionQuery),
    /// Counters and every subscription, for `/subsz`.
    Subscriptions,
    /// Counters and those of each account.
    Accounts,
    /// Counters and links to other servers.
    Links(LinkQuery),
    /// Counters and the requests to this account that wait for answers.
    Responses(AccountId),
    /// Counters and streams.
    JetStream(JetStreamQuery),
}

/// Which connections to report and how much of each.
///
/// Open ones are filtered and put in order where they are, so that no more of them are copied than
/// a page can show. Closed ones are at most `max_closed_clients` and all come: which of them are
/// the last ones of the server only who sees all shards can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionQuery {
    /// Those open now.
    pub open: bool,
    /// Those closed, up to `max_closed_clients`.
    pub closed: bool,
    /// With the list of their subscriptions.
    pub subscriptions: bool,
    /// Only this one.
    pub cid: Option<ConnectionId>,
    /// Only open ones of this user.
    pub user: Option<Box<str>>,
    /// Only open ones in this account.
    pub account: Option<Box<str>>,
    /// Only open ones with a subscription that overlaps this pattern.
    pub filter_subject: Option<Box<str>>,
    /// Which open ones come first.
    pub order: ConnectionOrder,
    /// At most as many open ones.
    pub most: usize,
}

/// By what connections are sorted; those equal by it, by their number (MON-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionOrder {
    /// Number.
    #[default]
    Cid,
    /// Start.
    Start,
    /// Subscriptions, most first, as all that follow.
    Subscriptions,
    /// Bytes waiting.
    Pending,
    /// Messages to it.
    MsgsTo,
    /// Messages from it.
    MsgsFrom,
    /// Bytes to it.
    BytesTo,
    /// Bytes from it.
    BytesFrom,
    /// Last activity.
    Last,
    /// Time without activity.
    Idle,
    /// Round trip.
    Rtt,
    /// Time it has been open, least first.
    Uptime,
    /// When it closed, last first.
    Stop,
    /// Why it closed, by text.
    Reason,
}

/// What connections are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRank {
    /// Number.
    pub cid: ConnectionId,
    /// Accepted at.
    pub start: WallTime,
    /// Last activity.
    pub last_activity: WallTime,
    /// When and why it closed.
    pub closed: Option<(WallTime, &'static str)>,
    /// Round trip.
    pub rtt: Option<Duration>,
    /// Bytes waiting.
    pub pending_bytes: u64,
    /// What went either way.
    pub traffic: Traffic,
    /// Its subscriptions.
    pub subscriptions: u64,
}

impl ConnectionOrder {
    /// What to sort by, least first.
    pub fn key(self, it: &ConnectionRank, now: WallTime) -> (u64, &'static str, ConnectionId) {
        let stop = it.closed.map_or(now, |(stop, _)| stop);
        let most_first = |number: u64| !number;
        let number = match self {
            Self::Cid | Self::Start | Self::Reason => 0,
            Self::Subscriptions => most_first(it.subscriptions),
            Self::Pending => most_first(it.pending_bytes),
            Self::MsgsTo => most_first(it.traffic.out_msgs),
            Self::MsgsFrom => most_first(it.traffic.in_msgs),
            Self::BytesTo => most_first(it.traffic.out_bytes),
            Self::BytesFrom => most_first(it.traffic.in_bytes),
            Self::Last => most_first(it.last_activity.0),
            Self::Idle => most_first(now.0.saturating_sub(it.last_activity.0)),
            Self::Rtt => most_first(it.rtt.map_or(0, |rtt| rtt.as_nanos() as u64)),
            Self::Uptime => stop.0.saturating_sub(it.start.0),
            Self::Stop => most_first(stop.0),
        };
        let reason = match self {
            Self::Reason => it.closed.map_or("", |(_, reason)| reason),
            _ => "",
        };
        (number, reason, it.cid)
    }
}

/// One shard's answer.
#[derive(Debug, Clone, Default)]
pub struct ShardReport {
    /// Totals of the shard.
    pub counters: Counters,
    /// Closed connections it remembers.
    pub closed: u64,
    /// Open connections in the account asked for, or all, if connections were asked for.
    pub open: u64,
    /// Bytes that wait for them.
    pub pending_bytes: u64,
    /// Connections, if asked for; open ones in the order asked for, closed ones unordered.
    pub connections: Vec<ConnectionReport>,
    /// Subscriptions, if asked for; unordered.
    pub subscriptions: Vec<SubscriptionReport>,
    /// Accounts that did something on this shard, if asked for; unordered.
    pub accounts: Vec<AccountReport>,
    /// JetStream, if asked for.
    pub jetstream: JetStreamReport,
    /// Links that are open, if asked for; unordered.
    pub links: Vec<LinkReport>,
    /// Requests that wait for answers, if asked for: at most [`RESPONSES_SHOWN`].
    pub responses: Vec<ResponseReport>,
}

/// More requests that wait for answers a shard does not show.
pub const RESPONSES_SHOWN: usize = 10_000;

/// A request that waits for its answer.
#[derive(Debug, Clone)]
pub struct ResponseReport {
    /// The subject the server has made up for the answer.
    pub made_up: Box<str>,
    /// The account that asked.
    pub account: AccountId,
    /// The subject it asked on.
    pub subject: Box<str>,
    /// Where its answer goes.
    pub reply: Box<str>,
    /// Its latency is measured.
    pub measured: bool,
}

/// One account on one shard.
#[derive(Debug, Clone)]
pub struct AccountReport {
    /// Its name.
    pub account: Arc<str>,
    /// Counts.
    pub figures: AccountFigures,
    /// Counts of its interest.
    pub routing: RoutingStats,
}

/// What an account does on a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountFigures {
    /// Connections open now.
    pub connections: u64,
    /// Links open now.
    pub links: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// From its clients and links.
    pub received: Volume,
    /// Delivered of its subjects.
    pub sent: Volume,
    /// Of what it received, from links.
    pub links_received: Volume,
    /// Of what it sent, to links.
    pub links_sent: Volume,
    /// Connections closed as slow consumers.
    pub slow_consumers: u64,
}

impl AccountFigures {
    /// Adds what passed over a link.
    pub fn add_link(&mut self, traffic: Traffic) {
        let volume = |msgs, bytes| Volume { msgs, bytes };
        let received = volume(traffic.in_msgs, traffic.in_bytes);
        let sent = volume(traffic.out_msgs, traffic.out_bytes);
        self.links_received = self.links_received.plus(received);
        self.links_sent = self.links_sent.plus(sent);
    }

    /// Of two shards together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            links: self.links + other.links,
            subscriptions: self.subscriptions + other.subscriptions,
            received: self.received.plus(other.received),
            sent: self.sent.plus(other.sent),
            links_received: self.links_received.plus(other.links_received),
            links_sent: self.links_sent.plus(other.links_sent),
            slow_consumers: self.slow_consumers + other.slow_consumers,
        }
    }
}

/// Messages and their bytes, headers included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages.
    pub msgs: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Volume {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            msgs: self.msgs + other.msgs,
            bytes: self.bytes + other.bytes,
        }
    }

    /// What came since `before`, an earlier count of the same.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            msgs: self.msgs - before.msgs,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Totals of one shard since its start. `in` is from clients, `out` is to clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages in.
    pub in_msgs: u64,
    /// Their payload and header bytes.
    pub in_bytes: u64,
    /// Messages out.
    pub out_msgs: u64,
    /// Their payload and header bytes.
    pub out_bytes: u64,
    /// Of what came in, from links.
    pub in_links: Volume,
    /// Of what went out, to links.
    pub out_links: Volume,
    /// Links open now.
    pub links: u64,
    /// Links closed as slow consumers.
    pub slow_links: u64,
    /// Links closed because they answered no PING.
    pub stale_links: u64,
    /// Connections open now.
    pub connections: u64,
    /// Connections ever accepted.
    pub total_connections: u64,
    /// Connections closed as slow consumers.
    pub slow_consumers: u64,
    /// Connections closed because they answered no PING.
    pub stale_connections: u64,
    /// Times a publisher was held back for a receiver.
    pub stalled_clients: u64,
    /// Messages, subscriptions and connections refused for a rate limit.
    pub rate_limited: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Subscriptions ever inserted.
    pub inserts: u64,
    /// Subscriptions ever removed.
    pub removes: u64,
    /// Subjects matched.
    pub matches: u64,
    /// Of those, found in the match cache.
    pub cache_hits: u64,
    /// Subjects in the match cache now.
    pub cache_entries: u64,
    /// Most receivers of any cached subject.
    pub max_fanout: u64,
    /// Sum of the receivers of all cached subjects (for the average).
    pub total_fanout: u64,
}

impl Counters {
    /// What went out.
    #[inline]
    pub fn sent(&self) -> Volume {
        Volume {
            msgs: self.out_msgs,
            bytes: self.out_bytes,
        }
    }

    /// Bytes put out, heads of messages included, roughly.
    pub fn output(&self) -> u64 {
        self.out_bytes + 32 * self.out_msgs
    }

    /// Of several shards together; the largest fan-out is that of any.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            in_msgs: sum.in_msgs + one.in_msgs,
            in_bytes: sum.in_bytes + one.in_bytes,
            out_msgs: sum.out_msgs + one.out_msgs,
            out_bytes: sum.out_bytes + one.out_bytes,
            in_links: sum.in_links.plus(one.in_links),
            out_links: sum.out_links.plus(one.out_links),
            links: sum.links + one.links,
            slow_links: sum.slow_links + one.slow_links,
            stale_links: sum.stale_links + one.stale_links,
            connections: sum.connections + one.connections,
            total_connections: sum.total_connections + one.total_connections,
            slow_consumers: sum.slow_consumers + one.slow_consumers,
            stale_connections: sum.stale_connections + one.stale_connections,
            stalled_clients: sum.stalled_clients + one.stalled_clients,
            rate_limited: sum.rate_limited + one.rate_limited,
            subscriptions: sum.subscriptions + one.subscriptions,
            inserts: sum.inserts + one.inserts,
            removes: sum.removes + one.removes,
            matches: sum.matches + one.matches,
            cache_hits: sum.cache_hits + one.cache_hits,
            cache_entries: sum.cache_entries + one.cache_entries,
            max_fanout: sum.max_fanout.max(one.max_fanout),
            total_fanout: sum.total_fanout + one.total_fanout,
        })
    }
}

/// The token a connection came with.
#[derive(Debug)]
pub struct IssuedReport {
    /// Key that issued it.
    pub issuer_key: Box<str>,
    /// The token itself; empty where it alone lets somebody in.
    pub jwt: Box<str>,
    /// Labels of its user.
    pub tags: Vec<String>,
}

/// One connection, open or closed.
#[derive(Debug, Clone)]
pub struct ConnectionReport {
    /// Server-wide number.
    pub cid: ConnectionId,
    /// Shard that serves it, or served it last.
    pub shard: ShardId,
    /// Peer's address.
    pub address: PeerAddress,
    /// When it was accepted.
    pub start: WallTime,
    /// Last message, subscription or unsubscription.
    pub last_activity: WallTime,
    /// When and why it closed.
    pub closed: Option<(WallTime, &'static str)>,
    /// Last round trip of a PING, if one was answered.
    pub rtt: Option<Duration>,
    /// Bytes queued for it.
    pub pending_bytes: u64,
    /// Messages from it.
    pub in_msgs: u64,
    /// Messages to it.
    pub out_msgs: u64,
    /// Bytes from it.
    pub in_bytes: u64,
    /// Bytes to it.
    pub out_bytes: u64,
    /// Times it was held back for a receiver.
    pub stalls: u64,
    /// Messages and subscriptions refused for a rate limit.
    pub rate_limited: u64,
    /// Its subscriptions now.
    pub subscriptions: u64,
    /// `name` of its CONNECT.
    pub name: Arc<str>,
    /// `lang` of its CONNECT.
    pub lang: Arc<str>,
    /// `version` of its CONNECT.
    pub version: Arc<str>,
    /// How it reached us.
    pub transport: TransportReport,
    /// User it authenticated as; public nkey of an nkey user, `[REDACTED]` for a token.
    pub authorized_user: Arc<str>,
    /// Account it is in.
    pub account: Arc<str>,
    /// That account's name for people.
    pub name_tag: Arc<str>,
    /// The token it came with, in operator mode.
    pub issued: Option<Arc<IssuedReport>>,
    /// Its subscriptions, if asked for.
    pub subscriptions_list: Vec<SubscriptionReport>,
}

impl ConnectionReport {
    /// What it is sorted by.
    pub fn rank(&self) -> ConnectionRank {
        ConnectionRank {
            cid: self.cid,
            start: self.start,
            last_activity: self.last_activity,
            closed: self.closed,
            rtt: self.rtt,
            pending_bytes: self.pending_bytes,
            traffic: Traffic {
                in_msgs: self.in_msgs,
                in_bytes: self.in_bytes,
                out_msgs: self.out_msgs,
                out_bytes: self.out_bytes,
            },
            subscriptions: self.subscriptions,
        }
    }
}

/// How a connection reached us.
#[derive(Debug, Clone, Default)]
pub struct TransportReport {
    /// By which listener.
    pub listener: Listener,
    /// Its TLS.
    pub tls: Option<Arc<TlsReport>>,
    /// Public nkey of the trusted proxy it came through (CORE-92).
    pub proxy: Option<Arc<str>>,
}

/// TLS of a connection.
#[derive(Debug)]
pub struct TlsReport {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// Go's name of the cipher suite.
    pub cipher_suite: &'static str,
    /// TLS came before INFO (CORE-83).
    pub first: bool,
    /// The peer's certificates, its own first.
    pub peer: Vec<ShownCertificate>,
}

/// One subscription.
#[derive(Debug, Clone)]
pub struct SubscriptionReport {
    /// Account it is in.
    pub account: Arc<str>,
    /// Subject or pattern.
    pub subject: Box<str>,
    /// Queue group.
    pub queue: Option<Box<str>>,
    /// Client's name for it.
    pub sid: Box<str>,
    /// Messages delivered.
    pub msgs: u64,
    /// Messages after which it ends; 0 is never.
    pub max: u64,
    /// Connection it belongs to.
    pub cid: ConnectionId,
}

/// Somebody who can put a [`Query`] to all shards.
pub trait Figures: Send + Sync + 'static {
    /// Asks every shard and waits for the answers, in shard order; blocks the calling thread for
    /// at most a second. A shard that did not answer in time is left out.
    fn ask(&self, query: Query) -> Vec<ShardReport>;
}
