//! Why a store refuses.

/// Why something could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Longer than a record can be: a subject over 65,535 bytes, or 64 MiB in all.
    #[error("message is larger than a record can be")]
    TooLarge,
    /// All sequences are used up.
    #[error("no sequence is left")]
    OutOfSequences,
}
