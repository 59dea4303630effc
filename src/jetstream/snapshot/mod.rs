//! Copies of streams: what is in them, and how they become streams again (section 13).
//!
//! A copy is an archive of entries: the stream's state first, its consumers, its messages by
//! sequence, and an empty entry at the end. It travels compressed, in pieces; that is the business
//! of who sends and receives it. Servers before 2.15 made tar archives of files: those are read, too.

pub mod archive;
mod blocks;
pub mod contents;
mod files;
pub mod restoration;
mod tar;
