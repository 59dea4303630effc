//! Why a store refuses.

use super::operation::DiskError;

/// Why something could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Longer than a record can be: a subject over 65,535 bytes, or 64 MiB in all.
    #[error("message is larger than a record can be")]
    TooLarge,
    /// All sequences are used up.
    #[error("no sequence is left")]
    OutOfSequences,
    /// The disk failed; nothing is stored until that is over, reading and removing goes on.
    #[error("stream is read-only: {0}")]
    ReadOnly(DiskError),
    /// The disk failed while the store was opened.
    #[error("store cannot be opened: {0}")]
    Disk(#[from] DiskError),
    /// It is encrypted, and no key was given.
    #[error("store cannot be opened: it is encrypted and no key is given")]
    Encrypted,
    /// It was encrypted with another key.
    #[error("store cannot be opened: the key is not the one it was encrypted with")]
    WrongKey,
    /// There are files, but neither a checkpoint nor a segment says whose they are.
    #[error("store cannot be opened: its files hold no readable label")]
    Unreadable,
}
