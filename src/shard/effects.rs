//! What the core wants done outside. It appends, the turn carries out after the thinking.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::authenticate::PasswordCheck;
use crate::ids::{AccountId, ConnectionId, ShardId, Slot, StoreId};
use crate::jetstream::store::DiskOperation;
use crate::shard::internal::{AccountSought, InternalMessage, PeerCheck, Question};
use crate::shard::jetstream::Command;
use crate::shard::leaf::{LinkIdentity, LinkNews};

/// Weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// Landmarks.
    Info,
    /// What happens to connections.
    Debug,
    /// Every operation.
    Trace,
}

/// One thing to be done.
#[derive(Debug)]
pub enum Effect {
    /// Stop receiving from this connection.
    Pause(u32),
    /// Receive from it again.
    Resume(u32),
    /// End it.
    Close(u32),
    /// Check a password on another thread; the answer comes back as a control message.
    Verify(Slot, PasswordCheck),
    /// Have an auth service asked; the answer comes back as a control message.
    Ask(Box<Question>),
    /// Have an account looked for; that it is done comes back as a control message.
    Seek(Box<AccountSought>),
    /// Have a peer's authorities asked; the answer comes back as a control message.
    CheckPeer(Arc<PeerCheck>),
    /// Hand a message to one of the server's own services.
    Internal(Box<InternalMessage>),
    /// Have a store made for a stream; it comes as a control message.
    CreateStore {
        /// Account of the stream.
        account: AccountId,
        /// Its name.
        account_name: Arc<str>,
        /// Name of the stream.
        stream: Box<str>,
        /// Bytes it may have.
        max_bytes: Option<u64>,
    },
    /// Have the files of a store removed.
    RemoveStore(PathBuf),
    /// Make a store's directory known to the driver.
    Mount(StoreId, PathBuf),
    /// Its files are used no more.
    Unmount(StoreId),
    /// Do this on the disk.
    Disk(StoreId, DiskOperation),
    /// Ask something of another shard about streams.
    JetStream(ShardId, Box<Command>),
    /// Tell whoever made the link to this remote.
    LinkNews(u32, LinkNews),
    /// A server has connected: the other shards may have an older link of it.
    LinkOpened(Box<LinkIdentity>, ConnectionId, Slot),
    /// Write a line to the log.
    Log(Level, String),
}
