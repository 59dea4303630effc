//! An archive becomes a stream again, entry by entry.

use super::archive::{ArchiveError, Entry, MAGIC, Reader};
use super::contents::{CONSUMERS, STATE, SavedConsumer};
use super::files::Files;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::response::StreamState;
use crate::jetstream::stream::Stream;
use crate::time::WallTime;

/// Bytes of a consumer's entry, or the state's, at most: a million messages out are less.
pub(super) const CONTENT_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a subject a message may have, as stores have it.
pub(super) const SUBJECT_MAX: usize = u16::MAX as usize;

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
    /// What has come while it is too short to say what it is.
    front: Vec<u8>,
    /// It is of a server before 2.15.
    files: Option<Box<Files>>,
    archive: Reader,
    stage: Stage,
    state: StreamState,
    consumers: Vec<(String, SavedConsumer)>,
    last: u64,
}

impl Restoration {
    /// Takes bytes of the archive.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(files) = &mut self.files {
            return files.push(bytes);
        }
        if self.front.len() < MAGIC.len() {
            self.front.extend_from_slice(bytes);
            if self.front.len() >= MAGIC.len() {
                let front = self.front.clone();
                match front.starts_with(&MAGIC) {
                    true => self.archive.push(&front),
                    false => self.files.get_or_insert_default().push(&front),
                }
                self.front.truncate(MAGIC.len());
            }
            return;
        }
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
        if let Some(files) = &mut self.files {
            return files.step(stream, max_payload, now);
        }
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
        if let Some(files) = &mut self.files {
            return files.finish();
        }
        match self.stage {
            Stage::End => Ok(std::mem::take(&mut self.consumers)),
            _ => Err(content("backup was truncated")),
        }
    }
}

pub(super) fn content(why: impl ToString) -> RestoreError {
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

pub(super) fn check_message(entry: &Entry<'_>, max_msg_size: i32) -> Result<(), RestoreError> {
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

#[cfg(test)]
mod tests {
    use super::super::archive::MAGIC;
    use super::super::contents::write_front;
    use super::*;
    use crate::jetstream::store::Store;
    use crate::jetstream::stream::config::StreamConfig;

    const NOW: WallTime = WallTime(5_000);

    fn stream() -> Stream {
        let config = StreamConfig {
            name: "S".into(),
            max_msg_size: -1,
            ..StreamConfig::default()
        };
        Stream::new(config, NOW, Store::memory())
    }

    /// An archive of messages with these sequences, of a stream from 3 to 9.
    fn archive(seqs: &[u64]) -> Vec<u8> {
        let state = StreamState {
            first_seq: 3,
            last_seq: 9,
            ..StreamState::default()
        };
        let mut bytes = MAGIC.to_vec();
        write_front(&state, &[], NOW, &mut bytes);
        for &seq in seqs {
            let entry = Entry {
                name: b"a",
                time: 100,
                seq,
                headers: b"",
                payload: b"hello",
            };
            entry.write(&mut bytes);
        }
        Entry::default().write(&mut bytes);
        bytes
    }

    fn restored(bytes: &[u8]) -> Result<Stream, RestoreError> {
        let (mut stream, mut restoration) = (stream(), Restoration::default());
        for piece in bytes.chunks(7) {
            restoration.push(piece);
            while restoration.step(&mut stream, 1000, NOW)? {}
        }
        restoration.finish().map(|_| stream)
    }

    #[test]
    fn js_169_sequences_stay_where_they_were() {
        let stream = restored(&archive(&[4, 6])).expect("a stream");
        let state = stream.store().state();
        assert_eq!((state.messages, state.first_seq, state.last_seq), (2, 4, 9));
        assert_eq!(stream.store().size_and_time(6), Some((22, WallTime(100))));
        let empty = restored(&archive(&[])).expect("a stream");
        assert_eq!(empty.store().last_seq(), 9);
    }

    #[test]
    fn js_170_what_is_wrong_is_told() {
        let why = |bytes: &[u8]| restored(bytes).expect_err("no stream").to_string();
        let good = archive(&[4, 6]);
        assert_eq!(why(&good[..good.len() - 1]), "backup was truncated");
        assert_eq!(why(b""), "backup was truncated");
        assert_eq!(why(&archive(&[6, 4])), "message sequence 4 out of order");
        assert_eq!(why(b"meta.inf"), "unexpected EOF");
        let no_tar = [b'x'; 600];
        assert_eq!(why(&no_tar), "archive/tar: invalid tar header");
        let mut other = MAGIC.to_vec();
        Entry::default().write(&mut other);
        assert_eq!(why(&other), "expected state.json first");
    }

    /// Damage anywhere: never a panic.
    #[test]
    fn js_170_damaged_archives() {
        let good = archive(&[4, 6]);
        for at in 0..good.len() {
            for bit in [1, 0x10, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let _ = restored(&bad); // any outcome will do
            }
        }
    }
}
