//! Copies of streams: what is in them, and how they become streams again (section 13).
//!
//! A copy is an archive of entries: the stream's state first, its consumers, its messages by
//! sequence, and an empty entry at the end. It travels compressed, in pieces; that is the business
//! of who sends and receives it.

pub mod archive;
pub mod contents;
pub mod restoration;
