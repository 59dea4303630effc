//! What the core wants done outside. It appends, the turn carries out after the thinking.

use crate::auth::authenticate::PasswordCheck;
use std::time::Duration;

use crate::ids::{ConnectionId, Slot};
use crate::shard::internal::{AccountSought, InternalMessage, Question};
use crate::shard::leaf::LinkIdentity;

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
    /// Hand a message to one of the server's own services.
    Internal(Box<InternalMessage>),
    /// A link that we had made has ended; the next one is to be made after this time, where it is
    /// not the usual one.
    LinkEnded(u32, Option<Duration>),
    /// A server has connected: the other shards may have an older link of it.
    LinkOpened(Box<LinkIdentity>, ConnectionId),
    /// Write a line to the log.
    Log(Level, String),
}
