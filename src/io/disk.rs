//! Files of streams through a shard's ring, around the page cache where the file system lets us.
//!
//! Every operation is a small sequence of the ring's: open, transfer, flush, flush of the
//! directory. Nothing in here blocks but [`StoreDirectory`], which is for start-up.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};
use smallvec::SmallVec;

use crate::ids::StoreId;
use crate::jetstream::store::{
    Buffer, Directory, DiskError, DiskOperation, DiskResult, FileName, OperationId, PAGE,
};

/// Entries that belong together: the kernel must get all of them in one submission.
pub(super) type Entries = SmallVec<[squeue::Entry; 2]>;

/// User data of an operation's own completion; its job's number is in the lower half.
pub(super) const OPERATION: u64 = 7 << 32;
/// User data of the flush that is linked to a write.
pub(super) const LINKED_FLUSH: u64 = 8 << 32;

/// How a write becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flushing {
    /// A flush is linked to it.
    Linked,
    /// It is marked to be durable itself: as fast as a linked flush or faster, for a fifth to a
    /// half less CPU, because the kernel's worker is woken once instead of twice.
    #[default]
    WithWrite,
}

/// The stores of one shard.
#[derive(Default)]
pub(super) struct Disks {
    pub(super) flushing: Flushing,
    stores: HashMap<StoreId, Mounted, ahash::RandomState>,
    jobs: Vec<Option<Job>>,
    free: Vec<u32>,
    /// To be handed to the ring.
    pub(super) submissions: Vec<Entries>,
    /// Operations that are over, to be reported.
    pub(super) ended: Vec<(StoreId, OperationId, DiskResult, Duration)>,
}

struct Mounted {
    directory: OwnedFd,
    files: HashMap<FileName, FileState, ahash::RandomState>,
    /// Around the page cache; false once the file system has refused.
    direct: bool,
}

enum FileState {
    /// Being opened; these jobs wait for it.
    Opening(Vec<u32>),
    Open {
        fd: OwnedFd,
        /// The directory was flushed since the file was made.
        named: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    Transfer,
    FlushDirectory,
    Unlink,
}

struct Job {
    store: StoreId,
    began: Instant,
    operation: DiskOperation,
    step: Step,
    /// Bytes written or read so far.
    done: usize,
    /// Its file is opened around the page cache.
    direct: bool,
    /// Where a read puts its bytes.
    buffer: Buffer,
    /// Kept for the kernel while it looks at it.
    path: CString,
    /// Completions still to come, and what those that came said.
    pending: u8,
    result: i32,
    flushed: i32,
}

impl Disks {
    /// Makes a directory's files known under a number.
    pub(super) fn mount(&mut self, store: StoreId, path: &Path) -> io::Result<()> {
        let mounted = Mounted {
            directory: OwnedFd::from(File::open(path)?),
            files: HashMap::default(),
            direct: true,
        };
        self.stores.insert(store, mounted);
        Ok(())
    }

    /// Closes the files. What is under way still ends.
    pub(super) fn unmount(&mut self, store: StoreId) {
        self.stores.remove(&store);
    }

    /// Begins an operation.
    pub(super) fn start(&mut self, store: StoreId, operation: DiskOperation) {
        let buffer = match operation {
            DiskOperation::Read { len, .. } => Buffer::zeroed(len),
            _ => Buffer::default(),
        };
        let job = Job {
            store,
            began: Instant::now(),
            operation,
            step: Step::Open,
            done: 0,
            direct: false,
            buffer,
            path: CString::default(),
            pending: 0,
            result: 0,
            flushed: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            (self.jobs.len() - 1) as u32
        });
        self.jobs[index as usize] = Some(job);
        self.begin(index);
    }

    fn job(&mut self, index: u32) -> Option<&mut Job> {
        self.jobs.get_mut(index as usize)?.as_mut()
    }

    /// Goes on with a job whose file may be open by now.
    fn begin(&mut self, index: u32) {
        let Some(job) = self.jobs[index as usize].as_mut() else {
            return;
        };
        let Some(mounted) = self.stores.get_mut(&job.store) else {
            return self.end(index, Err(libc::EBADF));
        };
        let file = match &job.operation {
            DiskOperation::Remove { file, .. } => {
                mounted.files.remove(file);
                job.path = c_name(*file);
                let fd = types::Fd(mounted.directory.as_raw_fd());
                let entry = opcode::UnlinkAt::new(fd, job.path.as_ptr()).build();
                return self.submit(index, Step::Unlink, entry);
            }
            DiskOperation::Write { file, .. }
            | DiskOperation::Read { file, .. }
            | DiskOperation::Flush { file, .. } => *file,
        };
        match mounted.files.get_mut(&file) {
            Some(FileState::Open { fd, .. }) => {
                let fd = fd.as_raw_fd();
                self.transfer(index, fd);
            }
            Some(FileState::Opening(waiting)) => waiting.push(index),
            None => {
                mounted.files.insert(file, FileState::Opening(vec![index]));
                self.open(index, file);
            }
        }
    }

    fn open(&mut self, index: u32, file: FileName) {
        let Some(job) = self.jobs[index as usize].as_mut() else {
            return;
        };
        let Some(mounted) = self.stores.get(&job.store) else {
            return self.end(index, Err(libc::EBADF));
        };
        let create = matches!(job.operation, DiskOperation::Write { create: true, .. });
        job.path = c_name(file);
        let mut flags = libc::O_RDWR | libc::O_CLOEXEC;
        if create {
            flags |= libc::O_CREAT;
        }
        job.direct = mounted.direct;
        if job.direct {
            flags |= libc::O_DIRECT;
        }
        let fd = types::Fd(mounted.directory.as_raw_fd());
        let entry = opcode::OpenAt::new(fd, job.path.as_ptr())
            .flags(flags)
            .mode(0o640)
            .build();
        self.submit(index, Step::Open, entry);
    }

    fn submit(&mut self, index: u32, step: Step, entry: squeue::Entry) {
        let Some(job) = self.job(index) else {
            return;
        };
        job.step = step;
        job.pending = 1;
        let entry = entry.user_data(OPERATION | u64::from(index));
        self.submissions.push(Entries::from_iter([entry]));
    }

    /// Submits what is left to be read, written or flushed.
    fn transfer(&mut self, index: u32, fd: RawFd) {
        let flushing = self.flushing;
        let Some(job) = self.job(index) else {
            return;
        };
        let fd = types::Fd(fd);
        let data_only = types::FsyncFlags::DATASYNC;
        let entry = match &job.operation {
            DiskOperation::Write {
                offset,
                bytes,
                flush,
                create,
                ..
            } => {
                let rest = &bytes[job.done..];
                let with_write = *flush && !create && flushing == Flushing::WithWrite;
                let entry = opcode::Write::new(fd, rest.as_ptr(), rest.len() as u32)
                    .offset(offset + job.done as u64)
                    .rw_flags(if with_write { libc::RWF_DSYNC } else { 0 })
                    .build();
                if *flush && !with_write {
                    let flush = opcode::Fsync::new(fd).flags(data_only).build();
                    let data = u64::from(index);
                    (job.step, job.pending) = (Step::Transfer, 2);
                    let entry = entry
                        .flags(squeue::Flags::IO_LINK)
                        .user_data(OPERATION | data);
                    let both = [entry, flush.user_data(LINKED_FLUSH | data)];
                    return self.submissions.push(Entries::from_iter(both));
                }
                entry
            }
            DiskOperation::Read { offset, .. } => {
                let rest = &mut job.buffer[job.done..];
                opcode::Read::new(fd, rest.as_mut_ptr(), rest.len() as u32)
                    .offset(*offset + job.done as u64)
                    .build()
            }
            DiskOperation::Flush { .. } => opcode::Fsync::new(fd).flags(data_only).build(),
            DiskOperation::Remove { .. } => return,
        };
        self.submit(index, Step::Transfer, entry);
    }

    /// Takes a completion.
    pub(super) fn complete(&mut self, user_data: u64, result: i32) {
        let index = user_data as u32;
        let Some(job) = self.job(index) else {
            return;
        };
        job.pending -= 1;
        match user_data & !0xffff_ffff {
            LINKED_FLUSH => job.flushed = result,
            _ => job.result = result,
        }
        if job.pending > 0 {
            return;
        }
        match job.step {
            Step::Open => self.opened(index),
            Step::Transfer => self.transferred(index),
            Step::Unlink => match job.result {
                result if result < 0 && result != -libc::ENOENT => self.end(index, Err(-result)),
                _ => self.flush_directory(index),
            },
            Step::FlushDirectory => self.named(index),
        }
    }

    /// A file is open, or cannot be opened.
    fn opened(&mut self, index: u32) {
        let Some(job) = self.jobs[index as usize].as_mut() else {
            return;
        };
        let result = job.result;
        // SAFETY: the kernel has just opened this descriptor for us and told nobody else.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(mounted) = self.stores.get_mut(&job.store) else {
            return self.end(index, Err(libc::EBADF));
        };
        let Some(file) = file_of(&job.operation) else {
            return;
        };
        if result == -libc::EINVAL && job.direct {
            // Another file may have been refused meanwhile.
            mounted.direct = false;
            return self.open(index, file);
        }
        let before = match fd {
            Some(fd) => mounted
                .files
                .insert(file, FileState::Open { fd, named: false }),
            None => mounted.files.remove(&file),
        };
        let Some(FileState::Opening(waiting)) = before else {
            return self.end(index, Err(libc::EBADF));
        };
        for index in waiting {
            match result {
                0.. => self.begin(index),
                _ => self.end(index, Err(-result)),
            }
        }
    }

    fn transferred(&mut self, index: u32) {
        let Some(job) = self.jobs[index as usize].as_mut() else {
            return;
        };
        let file = file_of(&job.operation);
        let mounted = self.stores.get_mut(&job.store);
        let Some((mounted, file)) = mounted.zip(file) else {
            return self.end(index, Err(libc::EBADF));
        };
        let Some(FileState::Open { fd, named }) = mounted.files.get(&file) else {
            return self.end(index, Err(libc::EBADF));
        };
        let raw = fd.as_raw_fd();
        match job.result {
            again if again == -libc::EINTR || again == -libc::EAGAIN => {
                return self.transfer(index, raw);
            }
            refused if refused == -libc::EINVAL && is_direct(raw) => {
                // Opened but not written: some file systems say so only now.
                mounted.direct = false;
                through_cache(raw);
                return self.transfer(index, raw);
            }
            error if error < 0 => return self.end(index, Err(-error)),
            _ => {}
        }
        let DiskOperation::Write {
            bytes,
            create,
            flush,
            ..
        } = &job.operation
        else {
            let read = job.result as usize; // 0 where it is a flush
            job.done += read;
            // Fewer bytes than asked for need not be the file's end.
            let more = read > 0 && read.is_multiple_of(PAGE) && job.done < job.buffer.len();
            return match more {
                true => self.transfer(index, raw),
                false => self.end(index, Ok(())),
            };
        };
        let written = job.result as usize;
        if written < bytes.len() - job.done {
            // Whole pages count; what a linked flush covered is flushed again with the rest.
            job.done += written - written % PAGE;
            return match written < PAGE {
                true => self.end(index, Err(libc::ENOSPC)),
                false => self.transfer(index, raw),
            };
        }
        if *flush && job.flushed < 0 {
            let error = -job.flushed;
            return self.end(index, Err(error));
        }
        match *create && !named {
            true => self.flush_directory(index),
            false => self.end(index, Ok(())),
        }
    }

    fn flush_directory(&mut self, index: u32) {
        let Some(job) = self.jobs[index as usize].as_ref() else {
            return;
        };
        let Some(mounted) = self.stores.get(&job.store) else {
            return self.end(index, Err(libc::EBADF));
        };
        let fd = types::Fd(mounted.directory.as_raw_fd());
        self.submit(index, Step::FlushDirectory, opcode::Fsync::new(fd).build());
    }

    /// The directory is flushed, or could not be.
    fn named(&mut self, index: u32) {
        let Some(job) = self.jobs[index as usize].as_ref() else {
            return;
        };
        if job.result < 0 {
            let error = -job.result;
            return self.end(index, Err(error));
        }
        let files = self.stores.get_mut(&job.store).map(|it| &mut it.files);
        let file = files
            .zip(file_of(&job.operation))
            .and_then(|(files, file)| files.get_mut(&file));
        if let Some(FileState::Open { named, .. }) = file {
            *named = true;
        }
        self.end(index, Ok(()));
    }

    fn end(&mut self, index: u32, outcome: Result<(), i32>) {
        let Some(job) = self.jobs[index as usize].take() else {
            return;
        };
        self.free.push(index);
        let result = match (outcome, &job.operation) {
            (Err(error), _) => DiskResult::Failed(disk_error(error)),
            (Ok(()), DiskOperation::Read { .. }) => DiskResult::Read(job.buffer, job.done),
            (Ok(()), _) => DiskResult::Done,
        };
        let took = job.began.elapsed();
        self.ended
            .push((job.store, job.operation.id(), result, took));
    }
}

impl Drop for Disks {
    /// The kernel may still be busy with what was not finished: its memory is never used again.
    fn drop(&mut self) {
        for job in self.jobs.drain(..).flatten() {
            std::mem::forget(job);
        }
    }
}

fn file_of(operation: &DiskOperation) -> Option<FileName> {
    match operation {
        DiskOperation::Write { file, .. }
        | DiskOperation::Read { file, .. }
        | DiskOperation::Flush { file, .. } => Some(*file),
        DiskOperation::Remove { .. } => None,
    }
}

fn c_name(file: FileName) -> CString {
    CString::new(file.file_name()).unwrap_or_default()
}

fn is_direct(fd: RawFd) -> bool {
    // SAFETY: no pointers; a descriptor we own.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_DIRECT != 0
}

fn through_cache(fd: RawFd) {
    // SAFETY: no pointers; a descriptor we own. If it fails, so does the next transfer.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_DIRECT);
    }
}

fn disk_error(error: i32) -> DiskError {
    match error {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => DiskError::NoSpace,
        libc::ENOENT => DiskError::NotFound,
        other => DiskError::Os(other),
    }
}

fn from_io(error: &io::Error) -> DiskError {
    disk_error(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A store's directory for [`crate::jetstream::store::Store::open`]. Waits for the disk.
pub struct StoreDirectory<'a> {
    path: PathBuf,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

impl<'a> StoreDirectory<'a> {
    /// A directory that is there.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            progress: None,
        }
    }

    /// Tells `told` now and then how many bytes of how many are done with.
    pub fn telling(mut self, told: impl FnMut(u64, u64) + 'a) -> Self {
        self.progress = Some(Box::new(told));
        self
    }

    /// Makes a directory, and its name durable, if it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            let above = path.ancestors().skip(1).filter(|it| it.is_dir());
            for directory in above {
                File::open(directory)?.sync_all()?;
            }
        }
        Ok(Self::at(path))
    }

    /// Removes a store with all its files; others that stand there stay.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().and_then(FileName::parse).is_some() {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(&self.path)?;
        match self.path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Directory for StoreDirectory<'_> {
    fn files(&mut self) -> Result<Vec<(FileName, u64)>, DiskError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|it| from_io(&it))? {
            let entry = entry.map_err(|it| from_io(&it))?;
            if let Some(file) = entry.file_name().to_str().and_then(FileName::parse) {
                let metadata = entry.metadata().map_err(|it| from_io(&it))?;
                files.push((file, metadata.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn read(&mut self, file: FileName, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError> {
        let open = File::open(self.path.join(file.file_name())).map_err(|it| from_io(&it))?;
        let mut done = 0;
        while done < bytes.len() {
            match open.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(&error)),
            }
        }
        Ok(done)
    }

    fn progress(&mut self, done: u64, total: u64) {
        if let Some(told) = &mut self.progress {
            told(done, total);
        }
    }
}
