//! What the core wants done outside. It appends, the turn carries out after the thinking.

use crate::auth::authenticate::PasswordCheck;
use crate::ids::Slot;
use crate::shard::internal::{AccountSought, InternalMessage, Question};

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
    /// Write a line to the log.
    Log(Level, String),
}
