//! Newtypes for the things that are counted and must not be mixed up.

/// Index of a shard, `0..shards`. Shard 0 is the one writer of control state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

/// A connection's server-wide number (`cid`), unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A connection's place in its shard's table. Reused after the connection is gone; the
/// generation beside it tells an old holder from the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Index into the shard's connection table.
    pub index: u32,
    /// Counts how often that index has been handed out.
    pub generation: u32,
}

/// A subscription's place in its shard's subscription table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u32);

/// Address of a host: data, not a socket.
pub type IpAddr = std::net::IpAddr;

/// Address and port of a peer: data, not a socket.
pub type PeerAddress = std::net::SocketAddr;

/// A stream's store among those of its shard, while the stream lives there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u32);

/// Which listener accepted a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listener {
    /// The port of plain NATS clients.
    #[default]
    Client,
    /// The port of WebSocket clients.
    WebSocket,
    /// The port of leaf nodes; and those that we have connected to.
    Leaf,
}

impl Listener {
    /// What those who come by it are called in events, advisories and `/connz`.
    pub const fn client_type(self) -> &'static str {
        match self {
            Self::Client => "nats",
            Self::WebSocket => "websocket",
            Self::Leaf => "leafnode",
        }
    }
}

/// An account's number: the same on every shard, given out by the one writer of control state, and
/// never given to another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountId(pub u32);

impl AccountId {
    /// The account of everybody who is in no other (AUTH-28).
    pub const GLOBAL: Self = Self(0);
}

/// The name of [`AccountId::GLOBAL`].
pub const GLOBAL_ACCOUNT: &str = "$G";

/// The name of the system account where none is named (AUTH-28).
pub const SYSTEM_ACCOUNT: &str = "$SYS";
