//! A disk in memory that does to writes what disks do: until a flush is done any of their sectors
//! may be on it or not, in any order, and a power cut shows which.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::buffer::{Buffer, PAGE};
use super::core::Store;
use super::operation::{Directory, DiskError, DiskOperation, DiskResult, FileName, OperationId};

/// What reaches the disk whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Default, Clone)]
struct SimulatedFile {
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// What reading gives.
    content: Vec<u8>,
    /// Written since the last flush.
    unflushed: Vec<(u64, Bytes)>,
    /// Its name survives a power cut.
    named: bool,
}

#[derive(Debug, Default)]
pub(super) struct SimulatedDisk {
    files: BTreeMap<FileName, SimulatedFile>,
    under_way: Vec<DiskOperation>,
    /// One write in so many fails; 0: none.
    pub(super) failures: u64,
    /// No write succeeds.
    pub(super) full: bool,
    /// Bytes there is room for.
    pub(super) capacity: Option<usize>,
    pub(super) operations: u64,
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(bytes);
}

impl SimulatedDisk {
    /// Takes what the store asks for, and ends a random part of what is under way. False if there
    /// was nothing to do.
    pub(super) fn pump(&mut self, store: &mut Store, rng: &mut ChaCha8Rng, most: u64) -> bool {
        for _ in 0..=most {
            while let Some(operation) = store.next_operation() {
                self.check(&operation);
                self.under_way.push(operation);
            }
            if self.under_way.is_empty() {
                return false;
            }
            let at = (rng.next_u64() % self.under_way.len() as u64) as usize;
            let operation = self.under_way.swap_remove(at);
            let (id, result) = self.carry_out(operation, rng);
            store.completed(id, result);
        }
        true
    }

    /// Until nothing is left to do.
    pub(super) fn settle(&mut self, store: &mut Store, rng: &mut ChaCha8Rng) {
        let rounds = (0..100_000).take_while(|_| self.pump(store, rng, 0));
        assert!(rounds.count() < 100_000, "the store comes to rest");
    }

    /// The rules of direct I/O, and one write at a time to what may tear.
    fn check(&mut self, operation: &DiskOperation) {
        self.operations += 1;
        match operation {
            DiskOperation::Write {
                offset,
                bytes,
                file,
                ..
            } => {
                assert_eq!(*offset as usize % PAGE, 0);
                assert_eq!(bytes.len() % PAGE, 0);
                assert_eq!(bytes.as_ptr().align_offset(PAGE), 0);
                let range = *offset..*offset + bytes.len() as u64;
                for other in &self.under_way {
                    if let DiskOperation::Write {
                        offset,
                        bytes,
                        file: of,
                        ..
                    } = other
                    {
                        let end = offset + bytes.len() as u64;
                        let apart = of != file || end <= range.start || range.end <= *offset;
                        assert!(apart, "two writes to one place: {operation:?} {other:?}");
                    }
                }
            }
            DiskOperation::Read { offset, len, .. } => {
                assert_eq!((*offset as usize % PAGE, len % PAGE), (0, 0));
            }
            DiskOperation::Flush { .. } | DiskOperation::Remove { .. } => {}
        }
    }

    fn carry_out(
        &mut self,
        operation: DiskOperation,
        rng: &mut ChaCha8Rng,
    ) -> (OperationId, DiskResult) {
        let id = operation.id();
        let fails = self.failures > 0 && rng.next_u64().is_multiple_of(self.failures);
        let no_room = match &operation {
            DiskOperation::Write {
                file,
                offset,
                bytes,
                ..
            } => !self.has_room(*file, *offset as usize + bytes.len()),
            _ => false,
        };
        let error = match (self.full || no_room, fails) {
            (true, _) => Some(DiskError::NoSpace),
            (false, true) => Some(DiskError::Os(5)),
            (false, false) => None,
        };
        let result = match operation {
            DiskOperation::Write {
                file,
                create,
                offset,
                bytes,
                flush,
                ..
            } => {
                if create {
                    self.files.entry(file).or_default();
                }
                let Some(this) = self.files.get_mut(&file) else {
                    return (id, DiskResult::Failed(DiskError::NotFound));
                };
                if let Some(error) = error {
                    // Any part of it may have been written.
                    if rng.next_u64().is_multiple_of(2) {
                        let part = rng.next_u64() as usize % (bytes.len() / SECTOR + 1) * SECTOR;
                        this.unflushed.push((offset, bytes.slice(..part)));
                        write(&mut this.content, offset, &bytes[..part]);
                    }
                    return (id, DiskResult::Failed(error));
                }
                write(&mut this.content, offset, &bytes);
                this.named |= flush;
                match flush {
                    true => this.write_durably(offset, &bytes),
                    false => this.unflushed.push((offset, bytes)),
                }
                DiskResult::Done
            }
            DiskOperation::Read {
                file, offset, len, ..
            } => {
                let mut buffer = Buffer::zeroed(len);
                match self.read(file, offset, &mut buffer) {
                    Ok(read) => DiskResult::Read(buffer, read),
                    Err(error) => DiskResult::Failed(error),
                }
            }
            DiskOperation::Flush { file, .. } => match self.files.get_mut(&file) {
                Some(this) => {
                    this.flush();
                    DiskResult::Done
                }
                None => DiskResult::Failed(DiskError::NotFound),
            },
            DiskOperation::Remove { file, .. } => {
                self.files.remove(&file);
                DiskResult::Done
            }
        };
        (id, result)
    }

    /// Is there room for a file of this length?
    fn has_room(&self, file: FileName, len: usize) -> bool {
        let all = self.files.values().map(|it| it.content.len());
        let grows = len.saturating_sub(self.len(file));
        let Some(capacity) = self.capacity else {
            return true;
        };
        grows == 0 || all.sum::<usize>() + grows <= capacity
    }

    /// The power goes and comes back.
    pub(super) fn cut(&mut self, rng: &mut ChaCha8Rng) {
        for operation in std::mem::take(&mut self.under_way) {
            match operation {
                DiskOperation::Write {
                    file,
                    create,
                    offset,
                    bytes,
                    ..
                } => {
                    if create {
                        self.files.entry(file).or_default();
                    }
                    if let Some(this) = self.files.get_mut(&file) {
                        this.unflushed.push((offset, bytes));
                    }
                }
                DiskOperation::Remove { file, .. } if rng.next_u64().is_multiple_of(2) => {
                    self.files.remove(&file);
                }
                _ => {}
            }
        }
        self.files
            .retain(|_, this| this.named || rng.next_u64().is_multiple_of(2));
        for this in self.files.values_mut() {
            for (offset, bytes) in std::mem::take(&mut this.unflushed) {
                // All, nothing, or any sectors of it.
                let mode = rng.next_u64() % 4;
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if mode == 0 || mode > 1 && rng.next_u64().is_multiple_of(2) {
                        let at = offset + (number * SECTOR) as u64;
                        write(&mut this.durable, at, sector);
                    }
                }
            }
            this.content.clone_from(&this.durable);
            this.named = true;
        }
    }

    /// The store is closed in order, or another looks at the same disk.
    pub(super) fn names(&self) -> Vec<FileName> {
        self.files.keys().copied().collect()
    }

    pub(super) fn forget(&mut self, file: FileName) {
        self.files.remove(&file);
    }

    pub(super) fn len(&self, file: FileName) -> usize {
        self.files.get(&file).map_or(0, |it| it.content.len())
    }

    /// Do these bytes stand anywhere on the disk?
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        let mut files = self.files.values();
        files.any(|it| it.durable.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Cuts a file off.
    pub(super) fn truncate(&mut self, file: FileName, len: usize) {
        if let Some(this) = self.files.get_mut(&file) {
            this.content.truncate(len);
            this.durable.truncate(len);
        }
    }

    /// Changes one bit on the disk.
    pub(super) fn rot(&mut self, file: FileName, byte: usize, bit: u8) {
        if let Some(this) = self.files.get_mut(&file) {
            for bytes in [&mut this.content, &mut this.durable] {
                if let Some(byte) = bytes.get_mut(byte) {
                    *byte ^= 1 << bit;
                }
            }
        }
    }
}

impl SimulatedFile {
    /// Nothing but this write is durable then; older ones below it are covered for good.
    fn write_durably(&mut self, offset: u64, bytes: &[u8]) {
        write(&mut self.durable, offset, bytes);
        let end = offset + bytes.len() as u64;
        for (start, older) in std::mem::take(&mut self.unflushed) {
            let len = older.len() as u64;
            let before = offset.saturating_sub(start).min(len);
            let after = end.saturating_sub(start).min(len);
            if before > 0 {
                self.unflushed.push((start, older.slice(..before as usize)));
            }
            if after < len {
                let rest = older.slice(after as usize..);
                self.unflushed.push((start + after, rest));
            }
        }
    }

    fn flush(&mut self) {
        for (offset, bytes) in self.unflushed.drain(..) {
            write(&mut self.durable, offset, &bytes);
        }
        self.named = true;
    }
}

impl Directory for SimulatedDisk {
    fn files(&mut self) -> Result<Vec<(FileName, u64)>, DiskError> {
        let all = self.files.iter();
        Ok(all
            .map(|(&name, it)| (name, it.content.len() as u64))
            .collect())
    }

    fn read(&mut self, file: FileName, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError> {
        let content = &self.files.get(&file).ok_or(DiskError::NotFound)?.content;
        let from = content.get(offset as usize..).unwrap_or_default();
        let len = from.len().min(bytes.len());
        bytes[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}
