//! Messages on disk: records in frames, frames in segments, one write under way at a time.
//!
//! Everything that lives is in the segments; a checkpoint repeats what must not be lost twice and
//! says how far the log must reach. Nothing in here opens a file: the log asks for operations and
//! is told how they ended.

mod ahead;
mod block;
mod cache;
mod checkpoint;
mod compact;
mod core;
mod digest;
mod digesting;
mod erase;
mod frame;
mod read;
mod record;
mod recovery;
mod scan;
mod sealer;
mod segment;
mod settings;
mod tasks;

pub use sealer::{Cipher, Encryption};
pub use settings::{FlushPolicy, Gap, Policy, Report, Settings};

pub(super) use self::core::Log;
pub(super) use record::{Kind, Record};
pub(super) use recovery::open;
