//! An archive becomes a stream again, entry by entry.

use super::archive::{ArchiveError, Entry, Reader};
use super::contents::{CONSUMERS, STATE, SavedConsumer};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::response::StreamState;
use crate::jetstream::stream::Stream;
use crate::time::WallTime;

/// Bytes of a consumer's entry, or the state's, at most: a million messages out are less.
const CONTENT_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a subject a message may have, as stores have it.
const SUBJECT_MAX: usize = u16::MAX as usize;

/// Why a copy is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What it says cannot be.
    #[error("{0}")]
    Content(String),
    /// The stream does not take it.
    #[error("{}", .0.description)]
    Stream(ApiError),
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Stream(error) => error,
            other => errors::stream_restore(other),
        }
    }
}

/// How far it is.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    State,
    /// So many consumers are to come.
    Consumers(u64),
    Messages,
    End,
}

/// A stream on its way out of an archive. Bounded by the largest entry that is let through.
#[derive(Debug, Default)]
pub struct Restoration {
    archive: Reader,
    stage: Stage,
    state: StreamState,
    consumers: Vec<(String, SavedConsumer)>,
    last: u64,
}

impl Restoration {
    /// Takes bytes of the archive.
    pub fn push(&mut self, bytes: &[u8]) {
        // What follows the end is no part of it.
        if !matches!(self.stage, Stage::End) {
            self.archive.push(bytes);
        }
    }

    /// Takes the next entry. False where there is none yet. Messages may have `max_payload` bytes.
    ///
    /// # Errors
    /// [`RestoreError`]: nothing can come of it any more.
    pub fn step(
        &mut self,
        stream: &mut Stream,
        max_payload: usize,
        now: WallTime,
    ) -> Result<bool, RestoreError> {
        let max = match self.stage {
            Stage::End => return Ok(false),
            Stage::State | Stage::Consumers(_) => CONTENT_MAX,
            Stage::Messages => max_payload,
        };
        let Some(entry) = self.archive.next_entry(max)? else {
            return Ok(false);
        };
        match self.stage {
            Stage::State => {
                if entry.name != STATE.as_bytes() {
                    return Err(content("expected state.json first"));
                }
                self.state = serde_json::from_slice(entry.payload)
                    .map_err(|why| content(format_args!("error in state.json: {why}")))?;
                stream
                    .store_mut()
                    .skip(self.state.first_seq.saturating_sub(1), None);
                self.last = stream.store().last_seq();
                self.stage = consumers_left(self.state.consumer_count);
            }
            Stage::Consumers(left) => {
                self.consumers.push(consumer(&entry)?);
                self.stage = consumers_left(left - 1);
            }
            Stage::Messages if entry.seq == 0 => {
                if !entry.is_end() {
                    return Err(content("expected message sequence"));
                }
                self.stage = Stage::End;
                // Sequences at its end are not given out again.
                stream.store_mut().skip(self.state.last_seq, None);
            }
            Stage::Messages => {
                let seq = entry.seq;
                check_message(&entry, stream.config().max_msg_size)?;
                if seq <= self.last {
                    let why = format_args!("message sequence {seq} out of order");
                    return Err(content(why));
                }
                self.last = seq;
                let stored = stream.restore_message(&entry, now);
                stored.map_err(RestoreError::Stream)?;
            }
            Stage::End => {}
        }
        Ok(true)
    }

    /// All has come: the consumers by name.
    ///
    /// # Errors
    /// The archive's end is missing.
    pub fn finish(&mut self) -> Result<Vec<(String, SavedConsumer)>, RestoreError> {
        match self.stage {
            Stage::End => Ok(std::mem::take(&mut self.consumers)),
            _ => Err(content("backup was truncated")),
        }
    }
}

fn content(why: impl ToString) -> RestoreError {
    RestoreError::Content(why.to_string())
}

fn consumers_left(count: u64) -> Stage {
    match count {
        0 => Stage::Messages,
        left => Stage::Consumers(left),
    }
}

fn consumer(entry: &Entry<'_>) -> Result<(String, SavedConsumer), RestoreError> {
    let name = String::from_utf8_lossy(entry.name);
    let Some(name) = name.strip_prefix(CONSUMERS) else {
        return Err(content(format_args!("expected consumer, found {name:?}")));
    };
    let saved = serde_json::from_slice(entry.payload).map_err(|why| {
        content(format_args!(
            "failed to decode consumer {name:?} state: {why}"
        ))
    })?;
    Ok((name.to_owned(), saved))
}

fn check_message(entry: &Entry<'_>, max_msg_size: i32) -> Result<(), RestoreError> {
    let seq = entry.seq;
    let len = entry.headers.len() + entry.payload.len();
    if usize::try_from(max_msg_size).is_ok_and(|max| len > max) {
        let why = format_args!("message sequence {seq} exceeds maximum message size");
        return Err(content(why));
    }
    let valid = crate::routing::subject::is_valid_literal(entry.name);
    if !valid || entry.name.len() > SUBJECT_MAX || seq == u64::MAX {
        let why = format_args!("message sequence {seq} has no valid subject");
        return Err(content(why));
    }
    Ok(())
}
