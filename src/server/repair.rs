//! `check-store DIR --repair`: a damaged store gives way to one of all that can still be read.
//!
//! Messages keep their sequences and times, what was lost becomes what was deleted, and everything
//! beside messages (the configuration, consumers and their states) goes along. The damaged store is
//! not written to; it is moved out of the streams' folder and kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::ids::StoreId;
use crate::io::disk::StoreDirectory;
use crate::io::ring::Ring;
use crate::io::wake::Waker;
use crate::io::{Driver, Event};
use crate::jetstream::store::{DiskOperation, Fetch, Filter, Settings, Store, StoredMessage};
use crate::jetstream::stream::kept_message;

/// Folder of stores that gave way.
pub(super) const DAMAGED: &str = "damaged";
/// Folder of those that are being made.
pub(super) const BEGUN: &str = "repaired";

const OLD: StoreId = StoreId(0);
const NEW: StoreId = StoreId(1);
/// Bytes that may wait to be written before more is read.
const BACKLOG: usize = 16 * 1024 * 1024;

/// What came of it.
pub(super) struct Repaired {
    /// Messages that could be read.
    pub messages: u64,
    /// Where the damaged store is now.
    pub kept: PathBuf,
}

/// Both stores, and what carries out what they ask of the disk.
struct Bench {
    ring: Ring,
    events: Vec<Event<<Ring as Driver>::Socket>>,
    damaged: Store,
    whole: Store,
}

/// Puts a store in the place of the one at `path`, which was read as `damaged`. `settings` are those
/// of the new one, made from the directory it is to be in.
///
/// # Errors
/// What stands in the way; the store is where it was then, and as it was.
pub(super) fn repair(
    path: &Path,
    damaged: Store,
    settings: impl FnOnce(&Path) -> Result<Settings, String>,
) -> Result<Repaired, String> {
    if let Some(process) = user_of(path) {
        return Err(format!(
            "process {process} has it open: stop the server, then repair"
        ));
    }
    let (begun, kept) = (beside(path, BEGUN), beside(path, DAMAGED));
    let made = StoreDirectory::create(&begun).map_err(text)?;
    let mut directory = made;
    let whole = Store::open(settings(&begun)?, &mut directory)
        .map_err(text)?
        .0;
    let mut bench = Bench::new((path, damaged), (&begun, whole)).map_err(text)?;
    bench.copy()?;
    let messages = bench.whole.state().messages;
    drop(bench);
    if let Some(folder) = kept.parent() {
        fs::create_dir_all(folder).map_err(text)?;
    }
    fs::rename(path, &kept).map_err(text)?;
    fs::rename(&begun, path).map_err(text)?;
    for changed in [&begun, &kept, path] {
        let folder = changed.parent().and_then(|it| File::open(it).ok());
        folder.map_or(Ok(()), |it| it.sync_all()).map_err(text)?;
    }
    // Others may be under way there.
    let _ = begun.parent().map(fs::remove_dir);
    Ok(Repaired { messages, kept })
}

impl Bench {
    fn new(damaged: (&Path, Store), whole: (&Path, Store)) -> io::Result<Self> {
        let mut ring = Ring::new(Waker::new()?, Vec::new(), Instant::now())?;
        ring.mount(OLD, damaged.0)?;
        ring.mount(NEW, whole.0)?;
        Ok(Self {
            ring,
            events: Vec::new(),
            damaged: damaged.1,
            whole: whole.1,
        })
    }

    /// Has everything that can be read stored anew, and that on the disk.
    fn copy(&mut self) -> Result<(), String> {
        for (name, bytes) in self.damaged.states() {
            self.whole.put_state(name, bytes);
        }
        let (all, last) = (Filter::new(&[">"]), self.damaged.last_seq());
        let mut next = 1;
        while let Some(seq) = self.damaged.next_match(next, &all) {
            next = seq + 1;
            if let Some(message) = self.message(seq)? {
                self.store(&message)?;
            }
            while self.whole.backlog() > BACKLOG {
                self.turn()?;
            }
        }
        self.whole.skip(last, None);
        self.whole.close();
        while !self.whole.is_closed() {
            self.turn()?;
        }
        Ok(())
    }

    /// A message; `None` if it cannot be read.
    fn message(&mut self, seq: u64) -> Result<Option<StoredMessage>, String> {
        loop {
            match self.damaged.fetch(seq) {
                Fetch::Message(message) => return Ok(Some(message)),
                Fetch::Absent | Fetch::Damaged => return Ok(None),
                Fetch::Reading => self.turn()?,
            }
        }
    }

    fn store(&mut self, message: &StoredMessage) -> Result<(), String> {
        self.whole.skip(message.seq - 1, None);
        self.whole.append(kept_message(message)).map_err(text)?;
        Ok(())
    }

    /// Lets the disk get on.
    fn turn(&mut self) -> Result<(), String> {
        while let Some(operation) = self.damaged.next_operation() {
            // What a start would mend in it stays undone.
            if let DiskOperation::Read { .. } = operation {
                self.ring.disk(OLD, operation);
            }
        }
        while let Some(operation) = self.whole.next_operation() {
            self.ring.disk(NEW, operation);
        }
        self.ring
            .turn(Some(Duration::from_millis(10)), &mut self.events);
        for event in self.events.drain(..) {
            if let Event::Disk {
                store, id, result, ..
            } = event
            {
                let store = match store {
                    OLD => &mut self.damaged,
                    _ => &mut self.whole,
                };
                store.completed(id, result);
            }
        }
        match self.whole.trouble() {
            Some(error) => Err(format!("the new store cannot be written: {error}")),
            None => Ok(()),
        }
    }
}

/// A place of this kind for a store, out of the folder in which a start looks for streams.
fn beside(path: &Path, kind: &str) -> PathBuf {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{name}.{}", now.as_secs());
    let streams = path.parent().unwrap_or(path);
    let above = streams.parent().unwrap_or(streams);
    above.join(kind).join(name)
}

/// A process that has a file of a folder open.
fn user_of(path: &Path) -> Option<u32> {
    let path = path.canonicalize().ok()?;
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    numbers.find(|number| {
        let files = fs::read_dir(format!("/proc/{number}/fd")).into_iter();
        let mut open = files.flatten().flatten();
        *number != own
            && open.any(|it| fs::read_link(it.path()).is_ok_and(|it| it.starts_with(&path)))
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
