//! A copy as servers before 2.15 made it becomes a stream again: the files of its directory, one
//! after the other (JS-170).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::archive::Entry;
use super::blocks::{self, Record};
use super::contents::SavedConsumer;
use super::restoration::{CONTENT_MAX, RestoreError, SUBJECT_MAX, check_message, content};
use super::tar::TarReader;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::consumer::saved::SavedState;
use crate::jetstream::store::{Filter, Purge};
use crate::jetstream::stream::Stream;
use crate::time::WallTime;

/// Bytes a record has beside its message's subject, headers and body.
const RECORD_MORE: usize = 64;

/// The file at hand.
#[derive(Debug)]
enum Part {
    /// One that is read as a whole.
    Whole(String),
    /// One of messages.
    Messages,
    /// One that says nothing new.
    Other,
}

/// What matters here of a stream's own file.
#[derive(Deserialize)]
struct Meta {
    name: String,
}

/// A stream on its way out of its files.
#[derive(Debug, Default)]
pub struct Files {
    tar: TarReader,
    part: Option<Part>,
    named: bool,
    /// No sequence up to here is given out again.
    last: u64,
    consumers: BTreeMap<String, (Option<ConsumerConfig>, SavedState)>,
}

impl Files {
    /// Takes bytes of the archive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.tar.push(bytes);
    }

    /// Takes the next thing there is. False where there is none yet. Messages may have
    /// `max_payload` bytes.
    ///
    /// # Errors
    /// [`RestoreError`]: nothing can come of it any more.
    pub fn step(
        &mut self,
        stream: &mut Stream,
        max_payload: usize,
        now: WallTime,
    ) -> Result<bool, RestoreError> {
        let Some(part) = &self.part else {
            return self.next_part(stream);
        };
        let (bytes, is_all) = self.tar.content();
        let mut taken = bytes.len();
        let mut is_over = is_all;
        match part {
            Part::Other => {}
            Part::Whole(_) if !is_all => return Ok(false),
            Part::Whole(name) => {
                let (name, bytes) = (name.clone(), bytes.to_vec());
                self.whole(&name, &bytes, stream)?;
            }
            Part::Messages if bytes.is_empty() => {}
            Part::Messages => {
                let max = max_payload.saturating_add(SUBJECT_MAX + RECORD_MORE);
                let found = blocks::record(bytes, max);
                let Some((record, len)) = found.map_err(|_| malformed("a message"))? else {
                    return match is_all {
                        true => Err(malformed("a message")),
                        false => Ok(false),
                    };
                };
                taken = len;
                is_over = is_all && len == bytes.len();
                self.last = self.last.max(taken_up(record, stream, now)?);
            }
        }
        self.tar.take(taken);
        if is_over {
            self.part = None;
        }
        Ok(is_over || taken > 0)
    }

    fn next_part(&mut self, stream: &mut Stream) -> Result<bool, RestoreError> {
        let Some(file) = self.tar.next_file().map_err(content)? else {
            if self.tar.is_ended() {
                stream.store_mut().skip(self.last, None);
            }
            return Ok(false);
        };
        let path: Vec<&str> = file.name.split('/').collect();
        self.part = Some(match path[..] {
            ["msgs", name] if name.ends_with(".blk") => Part::Messages,
            ["meta.inf"]
            | ["errors.txt"]
            | ["msgs", "index.db"]
            | ["obs", _, "meta.inf" | "o.dat"] => {
                if file.size > CONTENT_MAX as u64 {
                    return Err(malformed(&file.name));
                }
                Part::Whole(file.name)
            }
            _ => Part::Other,
        });
        Ok(true)
    }

    fn whole(&mut self, name: &str, bytes: &[u8], stream: &mut Stream) -> Result<(), RestoreError> {
        let path: Vec<&str> = name.split('/').collect();
        match path[..] {
            ["meta.inf"] => {
                let meta: Meta = serde_json::from_slice(bytes).map_err(content)?;
                if meta.name != stream.config().name {
                    return Err(content("stream names do not match"));
                }
                self.named = true;
            }
            ["errors.txt"] => return Err(content(String::from_utf8_lossy(bytes))),
            ["msgs", "index.db"] => {
                // It is not always written, and tells little that the messages do not.
                if let Ok((first, last)) = blocks::bounds(bytes) {
                    let purge = Purge {
                        filter: &Filter::All,
                        up_to: first,
                        keep: 0,
                    };
                    if first > 0 {
                        stream.store_mut().purge(purge);
                    }
                    self.last = self.last.max(last);
                }
            }
            ["obs", consumer, file] => {
                let failed = |why: &str| {
                    content(format_args!(
                        "error restoring consumer [{consumer:?}]: {why}"
                    ))
                };
                let known = self.consumers.entry(consumer.to_owned()).or_default();
                if file == "meta.inf" {
                    let config = serde_json::from_slice(bytes);
                    known.0 = Some(config.map_err(|why| failed(&why.to_string()))?);
                } else {
                    let state = blocks::consumer_state(bytes);
                    known.1 = state.map_err(|_| failed("corrupt state file"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// All has come: the consumers by name.
    ///
    /// # Errors
    /// Something is missing.
    pub fn finish(&mut self) -> Result<Vec<(String, SavedConsumer)>, RestoreError> {
        if !self.tar.is_ended() {
            return Err(content("unexpected EOF"));
        }
        if !self.named {
            return Err(malformed("meta.inf"));
        }
        let consumers = std::mem::take(&mut self.consumers).into_iter();
        let consumers = consumers.map(|(name, (config, state))| {
            let missing = || content(format_args!("error restoring consumer [{name:?}]: no file"));
            let config = config.ok_or_else(missing)?;
            Ok((name, SavedConsumer { config, state }))
        });
        consumers.collect()
    }
}

fn malformed(what: &str) -> RestoreError {
    content(format_args!("{what} cannot be read"))
}

/// Does with a record what it tells. Gives its sequence.
fn taken_up(record: Record<'_>, stream: &mut Stream, now: WallTime) -> Result<u64, RestoreError> {
    let (seq, time, subject, headers, payload) = match record {
        Record::Erased(seq) => return Ok(seq),
        Record::Removed(seq) => {
            stream.store_mut().remove(seq, false);
            return Ok(seq);
        }
        Record::Message {
            seq,
            time,
            subject,
            headers,
            payload,
        } => (seq, time, subject, headers, payload),
    };
    let entry = Entry {
        name: subject,
        time,
        seq,
        headers,
        payload,
    };
    check_message(&entry, stream.config().max_msg_size)?;
    // What was written again stands where it was first.
    if seq > stream.store().last_seq() {
        let stored = stream.restore_message(&entry, now);
        stored.map_err(RestoreError::Stream)?;
    }
    Ok(seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::store::Store;
    use crate::jetstream::stream::config::StreamConfig;

    const NOW: WallTime = WallTime(5_000);

    /// A file as a tar archive has it.
    fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        head[156] = b'0';
        head[148..156].fill(b' ');
        let sum: u64 = head.iter().map(|&byte| u64::from(byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        head.extend_from_slice(bytes);
        head.resize(head.len().next_multiple_of(512), 0);
        head
    }

    fn record(seq: u64, subject: &str, payload: &str) -> Vec<u8> {
        let len = 22 + subject.len() + payload.len() + 8;
        let mut record = (len as u32).to_le_bytes().to_vec();
        record.extend(seq.to_le_bytes());
        record.extend(100_u64.to_le_bytes());
        record.extend((subject.len() as u16).to_le_bytes());
        record.extend([subject.as_bytes(), payload.as_bytes(), &[0; 8]].concat());
        record
    }

    /// Messages 1 to 6, of which the second was removed and the third erased; the first is no more.
    fn archive() -> Vec<u8> {
        let block = [
            record(1, "a", "one"),
            record(2, "a", "two"),
            record(3 | 1 << 63, "", "xxxx"),
            record(4, "b", "four"),
        ];
        let other = [record(2 | 1 << 62, "", ""), record(6, "a", "six")];
        let index = [11, 4, 2, 100, 4, 8, 9, 8];
        let mut bytes = file("meta.inf", br#"{"Created":"x","name":"S"}"#);
        bytes.extend(file("meta.sum", b"0123"));
        bytes.extend(file("msgs/1.blk", &block.concat()));
        bytes.extend(file("msgs/2.blk", &other.concat()));
        bytes.extend(file("msgs/index.db", &index));
        bytes.extend(file(
            "obs/c/meta.inf",
            br#"{"Name":"c","durable_name":"c"}"#,
        ));
        bytes.extend(file(
            "obs/c/o.dat",
            &[22, 2, 1, 1, 3, 4, 1, 40, 3, 2, 10, 1, 3, 5],
        ));
        bytes.extend([0; 1024]);
        bytes
    }

    type Restored = (Stream, Vec<(String, SavedConsumer)>);

    fn restored(bytes: &[u8], by: usize) -> Result<Restored, RestoreError> {
        let config = StreamConfig {
            name: "S".into(),
            max_msg_size: -1,
            ..StreamConfig::default()
        };
        let mut stream = Stream::new(config, NOW, Store::memory());
        let mut files = Files::default();
        for piece in bytes.chunks(by) {
            files.push(piece);
            while files.step(&mut stream, 1000, NOW)? {}
        }
        Ok((stream, files.finish()?))
    }

    #[test]
    fn js_170_files_become_a_stream() {
        for by in [1, 7, 512, 100_000] {
            let (stream, consumers) = restored(&archive(), by).expect("a stream");
            let store = stream.store();
            let state = store.state();
            assert_eq!((state.messages, state.first_seq, state.last_seq), (2, 4, 9));
            assert!(store.contains(4) && store.contains(6));
            assert_eq!(store.subject_of(4), Some(&b"b"[..]));
            assert_eq!(consumers.len(), 1);
            let (name, saved) = &consumers[0];
            assert_eq!((&name[..], &saved.config.durable_name[..]), ("c", "c"));
            let state = &saved.state;
            assert_eq!(
                (state.ack_floor.stream_seq, state.delivered.stream_seq),
                (1, 4)
            );
            assert_eq!(state.pending[&4].sequence, 3);
            assert_eq!(state.pending[&4].timestamp, 15_000_000_000);
            assert_eq!(state.redelivered[&4], 5);
        }
    }

    #[test]
    fn js_170_files_that_are_not_whole() {
        let good = archive();
        for at in (0..good.len() - 1024).step_by(97) {
            assert!(restored(&good[..at], 512).is_err(), "{at}");
        }
        let other = [file("meta.inf", br#"{"name":"T"}"#), vec![0; 1024]].concat();
        let why = restored(&other, 512).map(|_| ()).expect_err("no stream");
        assert_eq!(why.to_string(), "stream names do not match");
        assert!(restored(&[0; 1024], 512).is_err());
    }

    /// Damage anywhere: never a panic.
    #[test]
    fn js_170_damaged_files() {
        let good = archive();
        for at in (0..good.len()).filter(|&at| good[at] != 0 || at % 31 == 0) {
            for bit in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let _ = restored(&bad, 4096); // any outcome will do
            }
        }
    }
}
