//! What a store asks of the disk, and what it is told. The store itself touches no file.

use bytes::Bytes;

use super::buffer::Buffer;

/// Names one operation under way; never used twice by one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// A file of a store. Its directory belongs to the store alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// Records. A rewritten segment keeps its number and gets the next version.
    Segment {
        /// Place in the order of segments, from 1.
        number: u32,
        /// How often it was rewritten.
        version: u32,
    },
    /// What opening the log would find in a segment; may be missing.
    Digest {
        /// Of this segment.
        number: u32,
        /// Of this version of it.
        version: u32,
    },
    /// One of two copies of the store's own key, encrypted. The store itself does not touch it.
    Key {
        /// 0 or 1.
        slot: u8,
    },
    /// One of two copies of what is not in the segments' records alone.
    Checkpoint {
        /// 0 or 1.
        slot: u8,
    },
}

impl FileName {
    /// The name in the store's directory.
    pub fn file_name(self) -> String {
        match self {
            Self::Segment { number, version } => format!("{number:08}.{version}.segment"),
            Self::Digest { number, version } => format!("{number:08}.{version}.digest"),
            Self::Key { slot } => format!("key.{slot}"),
            Self::Checkpoint { slot } => format!("checkpoint.{slot}"),
        }
    }

    /// The file a name stands for; `None` for what is not a store's.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let found = match (parts.next()?, parts.next()?, parts.next()) {
            ("key", slot, None) => Self::Key {
                slot: slot.parse().ok().filter(|&it| it < 2)?,
            },
            ("checkpoint", slot, None) => Self::Checkpoint {
                slot: slot.parse().ok().filter(|&it| it < 2)?,
            },
            (number, version, Some(kind)) => {
                let (number, version) = (number.parse().ok()?, version.parse().ok()?);
                match kind {
                    "segment" => Self::Segment { number, version },
                    "digest" => Self::Digest { number, version },
                    _ => return None,
                }
            }
            _ => return None,
        };
        (found.file_name() == name).then_some(found)
    }
}

/// Something the disk shall do. Operations under way at once may end in any order.
#[derive(Debug)]
pub enum DiskOperation {
    /// Write all of `bytes` at `offset`, both whole pages; the address of the bytes is one's, too.
    Write {
        /// To be told with the result.
        id: OperationId,
        /// Into this file.
        file: FileName,
        /// The file is new: make it, and make its name durable before this is done.
        create: bool,
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
        /// Done means on the disk, not only on its way.
        flush: bool,
    },
    /// Read `len` bytes at `offset`, both whole pages; fewer only at the end of the file.
    Read {
        /// To be told with the result.
        id: OperationId,
        /// From this file.
        file: FileName,
        /// Where.
        offset: u64,
        /// How many.
        len: usize,
    },
    /// Flush what was written to a file without flushing.
    Flush {
        /// To be told with the result.
        id: OperationId,
        /// This file.
        file: FileName,
    },
    /// Remove a file, and make that durable. One that is not there is removed.
    Remove {
        /// To be told with the result.
        id: OperationId,
        /// This file.
        file: FileName,
    },
}

impl DiskOperation {
    /// The operation's name for [`super::Store::completed`].
    pub fn id(&self) -> OperationId {
        match self {
            Self::Write { id, .. }
            | Self::Read { id, .. }
            | Self::Flush { id, .. }
            | Self::Remove { id, .. } => *id,
        }
    }
}

/// How an operation ended.
#[derive(Debug)]
pub enum DiskResult {
    /// A write, flush or removal is done as asked.
    Done,
    /// Bytes read; the first number of them are valid.
    Read(Buffer, usize),
    /// It failed; what a failed write left on the disk is unknown.
    Failed(DiskError),
}

/// What an operation that has ended was for, for whoever measures disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// One write made all of this durable, or as durable as the policy asks.
    Commit {
        /// Messages.
        messages: u64,
        /// Bytes as written.
        bytes: u64,
    },
    /// A flush of what was written before.
    Flush,
    /// A read.
    Read,
    /// Space ahead, checkpoints, digests, rewriting, removing: nobody waits for these.
    Upkeep,
    /// It failed, whatever it was.
    Failed,
    /// It was another store's.
    Unknown,
}

/// Why the disk did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The disk, a quota, or what the process may put into a file is full.
    #[error("no space left on the disk")]
    NoSpace,
    /// The file is not there.
    #[error("file not found")]
    NotFound,
    /// Anything else, by the system's error number.
    #[error("disk error {0}")]
    Os(i32),
}

/// A store's directory while it is opened: whoever recovers waits for the disk.
pub trait Directory {
    /// The store's files with their lengths.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    fn files(&mut self) -> Result<Vec<(FileName, u64)>, DiskError>;

    /// Reads at `offset` until `bytes` is full or the file ends; the number of bytes read.
    ///
    /// # Errors
    /// If the file cannot be read there.
    fn read(&mut self, file: FileName, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError>;

    /// So many bytes of so many are read or need not be read.
    fn progress(&mut self, _done: u64, _total: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let all = [
            (
                FileName::Segment {
                    number: 7,
                    version: 2,
                },
                "00000007.2.segment",
            ),
            (
                FileName::Digest {
                    number: 8,
                    version: 0,
                },
                "00000008.0.digest",
            ),
            (FileName::Key { slot: 0 }, "key.0"),
            (FileName::Checkpoint { slot: 1 }, "checkpoint.1"),
        ];
        for (file, name) in all {
            assert_eq!(file.file_name(), name);
            assert_eq!(FileName::parse(name), Some(file));
        }
        for other in [
            "",
            "7.2.segment",
            "checkpoint.2",
            "checkpoint.1.x",
            "00000007.2.blk",
            "x",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
