//! The folder streams are kept in: `jetstream/<account>/streams/<stream>` below the store directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crate::io::disk::StoreDirectory;
use crate::jetstream::store::{FlushPolicy, Settings, Store};
use crate::options::JetStreamOptions;
use crate::shard::jetstream::disk::{OpenedStore, Stores};

use super::keys::Keys;
use super::settings::flush_policy;

/// What the folder's thread is asked to do.
type Job = Box<dyn FnOnce() + Send>;

/// The folder, and a thread that waits for the disk so that no shard does.
#[derive(Debug)]
pub(in crate::server) struct StoreFolder {
    root: PathBuf,
    flush: FlushPolicy,
    keys: Option<Keys>,
    jobs: Sender<Job>,
}

/// A stream's place in the folder.
pub(in crate::server) struct Found {
    /// Name of its account.
    pub account: String,
    /// Its own name.
    pub stream: String,
    /// Its directory.
    pub path: PathBuf,
}

impl StoreFolder {
    /// The folder the options name. Nothing is made or read yet.
    ///
    /// # Errors
    /// When the process may have no more threads.
    pub(in crate::server) fn new(options: &JetStreamOptions) -> io::Result<Self> {
        let above = options.store_dir.clone();
        let above = above.unwrap_or_else(|| std::env::temp_dir().join("nats"));
        let (jobs, todo) = channel::<Job>();
        std::thread::Builder::new()
            .name("stores".into())
            .spawn(move || todo.iter().for_each(|job| job()))?;
        Ok(Self {
            root: above.join("jetstream"),
            flush: flush_policy(options),
            keys: Keys::of(options),
            jobs,
        })
    }

    /// Where it is.
    pub(in crate::server) fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the accounts that have something there.
    pub(in crate::server) fn accounts(&self) -> Vec<String> {
        let all = folders(&self.root).unwrap_or_default();
        all.into_iter().map(|(folder, _)| plain(&folder)).collect()
    }

    /// The streams that are there, by account and name.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub(in crate::server) fn streams(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for (account, path) in folders(&self.root)? {
            for (stream, path) in folders(&path.join("streams"))? {
                found.push(Found {
                    account: plain(&account),
                    stream,
                    path,
                });
            }
        }
        Ok(found)
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::server) fn open(
        place: &Found,
        max_bytes: Option<u64>,
        flush: FlushPolicy,
        keys: Option<&Keys>,
        progress: impl FnMut(u64, u64),
    ) -> Result<(Store, crate::jetstream::store::Report), String> {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).map_err(|it| it.to_string())?;
        let mut settings = Settings::new(u64::from_ne_bytes(epoch), max_bytes);
        settings.policy.flush = flush;
        let path = &place.path;
        let directory = StoreDirectory::create(path).map_err(|it| it.to_string())?;
        if let Some(keys) = keys {
            let encryption = keys.encryption(&place.account, &place.stream, path)?;
            settings.encryption = Some(encryption);
        }
        let mut directory = directory.telling(progress);
        Store::open(settings, &mut directory).map_err(|it| it.to_string())
    }

    /// What its stores are encrypted with.
    pub(in crate::server) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// How its stores flush.
    pub(in crate::server) fn flush(&self) -> FlushPolicy {
        self.flush
    }
}

impl Stores for StoreFolder {
    fn create(
        &self,
        account: Arc<str>,
        stream: Box<str>,
        max_bytes: Option<u64>,
        done: Box<dyn FnOnce(Result<OpenedStore, String>) + Send>,
    ) {
        let path = self.root.join(file_name(&account)).join("streams");
        let path = path.join(&*stream);
        let (flush, keys) = (self.flush, self.keys.clone());
        let place = Found {
            account: account.to_string(),
            stream: stream.into(),
            path,
        };
        let job: Job = Box::new(move || {
            let opened = Self::open(&place, max_bytes, flush, keys.as_ref(), |_, _| ());
            let path = place.path;
            done(opened.map(|(store, _)| OpenedStore { store, path }));
        });
        // The thread lives as long as this does.
        let _ = self.jobs.send(job);
    }

    fn remove(&self, path: PathBuf) {
        let job: Job = Box::new(move || {
            if let Err(error) = StoreDirectory::at(&path).remove() {
                log::warn!("JetStream: {} is not removed: {error}", path.display());
            }
        });
        // The thread lives as long as this does.
        let _ = self.jobs.send(job);
    }
}

/// Account and name of the stream whose store this path is, if it can be one.
pub(in crate::server) fn place_of(path: &Path) -> Option<(String, String)> {
    let mut above = path.ancestors().filter_map(|it| it.file_name()?.to_str());
    let (stream, streams, account) = (above.next()?, above.next()?, above.next()?);
    (streams == "streams").then(|| (plain(account), stream.to_owned()))
}

/// The folders in a folder by name; none if it is not there.
fn folders(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// An account's name as a folder's: what a file system could misread is escaped.
fn file_name(account: &str) -> String {
    let mut name = String::new();
    for (at, byte) in account.bytes().enumerate() {
        match byte {
            b'/' | b'\\' | b'%' | 0..=b' ' => name += &format!("%{byte:02x}"),
            b'.' if at == 0 => name += "%2e",
            byte => name.push(char::from(byte)),
        }
    }
    if account.is_ascii() {
        name
    } else {
        account.replace('/', "%2f")
    }
}

/// The account's name a folder stands for.
fn plain(folder: &str) -> String {
    let mut name = Vec::new();
    let mut rest = folder.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%'
            && let Some(digits) = after.get(..2)
            && let Ok(digits) = std::str::from_utf8(digits)
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            name.push(byte);
            rest = &after[2..];
        } else {
            name.push(*first);
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whose_store_it_is() {
        let place = |path: &str| place_of(Path::new(path));
        let found = place("/x/jetstream/a%2fb/streams/S");
        assert_eq!(found, Some(("a/b".to_owned(), "S".to_owned())));
        assert_eq!(place("/x/jetstream/a/other/S"), None);
        assert_eq!(place("/S"), None);
    }

    #[test]
    fn accounts_have_folders() {
        for account in ["$G", "a/b", "..", "50%", "ä/ö"] {
            let folder = file_name(account);
            assert!(
                !folder.contains('/') && !folder.starts_with('.'),
                "{folder}"
            );
            assert_eq!(plain(&folder), account);
        }
    }
}
