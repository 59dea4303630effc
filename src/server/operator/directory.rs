//! Tokens of accounts as files, one each, in stock's layout (AUTH-72): `<dir>/<key>.jwt`.
//!
//! A file is there whole or as it was before: it is written beside its place, flushed, and moved
//! there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::auth::jwt::token::{Token, is_public_key};
use crate::auth::jwt::trust::seconds;
use crate::limits;
use crate::options::DirectoryOptions;
use crate::server::shards::wall_time;

const EXTENSION: &str = "jwt";
/// What is added to the names of files whose accounts were deleted.
const DELETED: &str = ".deleted";

/// Why a token was not stored or deleted; texts are stock's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not an account's public key, and so no file name (T9).
    #[error("invalid public key")]
    Key,
    /// As many as there may be.
    #[error("jwt store is full")]
    Full,
    /// Deleting was not allowed.
    #[error("store is not set up to for delete")]
    NoDelete,
    /// A pack message that is none.
    #[error("line in package didn't contain 2 entries: {0:?}")]
    Pack(String),
    /// A pack message about something else.
    #[error("key to merge is not a valid public account key")]
    PackKey,
    /// The token is another account's.
    #[error("jwt subject nkey and provided nkey do not match")]
    Subject,
    /// The token is none.
    #[error(transparent)]
    Token(#[from] crate::auth::jwt::token::TokenError),
    /// The file system.
    #[error("{path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

/// Tokens of a cache where nothing is said.
const CACHE_LIMIT: usize = 1000;

/// A token, and how long it stays.
struct Stored {
    token: String,
    /// Second from which it is not kept any more: its own, or the cache's.
    expires: Option<i64>,
    /// The higher, the later it was used.
    used: u64,
}

/// A directory of tokens, and what is in it.
pub(in crate::server) struct Directory {
    options: DirectoryOptions,
    /// It has not all of them: what has not been used for the longest time makes room (AUTH-73).
    cache: bool,
    tokens: HashMap<String, Stored>,
    /// How often one was used.
    uses: u64,
    /// All hashes of tokens, each bit counted modulo two: the same on servers with the same tokens.
    hash: [u8; 32],
}

impl Directory {
    /// Opens a directory of all tokens, made if it is not there, and reads what is in it.
    pub fn open(options: &DirectoryOptions) -> Result<Self, StoreError> {
        Self::read(options.clone(), false)
    }

    /// Opens a directory of those tokens that were needed.
    pub fn open_cache(options: &DirectoryOptions) -> Result<Self, StoreError> {
        let options = DirectoryOptions {
            allow_delete: true,
            hard_delete: true,
            limit: options.limit.or(Some(CACHE_LIMIT)),
            ..options.clone()
        };
        Self::read(options, true)
    }

    fn read(options: DirectoryOptions, cache: bool) -> Result<Self, StoreError> {
        let mut this = Self {
            options,
            cache,
            tokens: HashMap::new(),
            uses: 0,
            hash: [0; 32],
        };
        let dir = this.options.dir.clone();
        fs::create_dir_all(&dir).map_err(|cause| failed(&dir, cause))?;
        let dir = &dir;
        for entry in fs::read_dir(dir).map_err(|cause| failed(dir, cause))? {
            let path = entry.map_err(|cause| failed(dir, cause))?.path();
            let key = path
                .file_stem()
                .and_then(|it| it.to_str())
                .unwrap_or_default();
            let token = path.extension().is_some_and(|it| it == EXTENSION);
            if !token || !is_public_key(key, 'A') {
                continue;
            }
            let small = fs::metadata(&path).is_ok_and(|it| it.len() <= limits::TOKEN_FILE_MAX);
            match fs::read_to_string(&path) {
                Ok(text) if small && !text.is_empty() => this.track(key, text),
                Ok(_) => log::warn!("{}: not a token, passed over", path.display()),
                Err(cause) => return Err(failed(&path, cause)),
            }
        }
        Ok(this)
    }

    /// Reads all files again: somebody may have put one there by hand. The accounts whose tokens
    /// are others than before.
    ///
    /// # Errors
    /// The directory or a file in it cannot be read; nothing has changed.
    pub fn reread(&mut self) -> Result<Vec<String>, StoreError> {
        let new = Self::read(self.options.clone(), self.cache)?;
        let before = std::mem::replace(self, new);
        let changed = self
            .iter()
            .filter(|&(key, token)| before.token(key) != Some(token));
        Ok(changed.map(|(key, _)| key.clone()).collect())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.options.dir
    }

    /// May accounts be deleted?
    pub fn allows_delete(&self) -> bool {
        self.options.allow_delete
    }

    /// All tokens by account, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.tokens.iter().map(|(key, stored)| (key, &stored.token))
    }

    /// Is it one of those that were needed, and not of all?
    pub fn is_cache(&self) -> bool {
        self.cache
    }

    /// An account's token.
    pub fn token(&self, key: &str) -> Option<&String> {
        self.tokens.get(key).map(|it| &it.token)
    }

    /// An account's token, which is kept for longer now.
    pub fn use_token(&mut self, key: &str) -> Option<&String> {
        self.uses += 1;
        let ends = self.ttl_end();
        let stored = self.tokens.get_mut(key)?;
        stored.used = self.uses;
        stored.expires = ends.or(stored.expires);
        Some(&stored.token)
    }

    fn ttl_end(&self) -> Option<i64> {
        let ttl = self.options.ttl.filter(|it| !it.is_zero())?;
        Some(seconds(wall_time()) + ttl.as_secs().max(1) as i64)
    }

    /// Removes tokens whose time is over; accounts that are in use stay as they are.
    pub fn expire(&mut self) {
        let now = seconds(wall_time());
        let over = |it: &Stored| it.expires.is_some_and(|end| end <= now);
        let tokens = self.tokens.iter();
        let over: Vec<String> = tokens
            .filter(|(_, stored)| over(stored))
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &str) {
        match fs::remove_file(self.file(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("{}: {error}", self.file(key).display());
            }
            _ => self.untrack(key),
        }
    }

    /// The token that has not been used for the longest time.
    fn oldest(&self) -> Option<String> {
        let tokens = self.tokens.iter();
        let oldest = tokens.min_by_key(|(_, stored)| stored.used);
        oldest.map(|(key, _)| key.clone())
    }

    /// See [`Directory`].
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Stores a token, durably. True if it is another than before.
    pub fn save(&mut self, key: &str, token: &str) -> Result<bool, StoreError> {
        if !is_public_key(key, 'A') || token.is_empty() {
            return Err(StoreError::Key);
        }
        if self.use_token(key).is_some_and(|it| it == token) {
            return Ok(false);
        }
        let full = self
            .options
            .limit
            .is_some_and(|max| self.tokens.len() >= max);
        if full && !self.tokens.contains_key(key) {
            match self.oldest().filter(|_| self.cache) {
                Some(oldest) => self.remove(&oldest),
                None => return Err(StoreError::Full),
            }
        }
        let path = self.file(key);
        self.write(&path, token)
            .map_err(|cause| failed(&path, cause))?;
        self.untrack(key);
        self.track(key, token.to_owned());
        Ok(true)
    }

    /// Stores a token unless the one there is newer (AUTH-79). True if it is another than before.
    pub fn save_newer(&mut self, key: &str, token: &str) -> Result<bool, StoreError> {
        let new = Token::decode(token)?;
        if new.standard.subject != key {
            return Err(StoreError::Subject);
        }
        let old = self.token(key).and_then(|it| Token::decode(it).ok());
        if old.is_some_and(|old| old.standard.issued_at > new.standard.issued_at) {
            return Ok(false);
        }
        self.save(key, token)
    }

    /// Takes over what another server sent of its store: lines of `key|token`. Returns the accounts
    /// that changed.
    pub fn merge(&mut self, pack: &str) -> Result<Vec<String>, StoreError> {
        let mut changed = Vec::new();
        for line in pack.lines().filter(|it| !it.is_empty()) {
            let (key, token) = line
                .split_once('|')
                .filter(|(_, token)| !token.contains('|'))
                .ok_or_else(|| StoreError::Pack(line.to_owned()))?;
            if !is_public_key(key, 'A') {
                return Err(StoreError::PackKey);
            }
            if self.save_newer(key, token)? {
                changed.push(key.to_owned());
            }
        }
        Ok(changed)
    }

    /// Deletes an account's token; fine if there is none. True if there was one.
    pub fn delete(&mut self, key: &str) -> Result<bool, StoreError> {
        if !self.options.allow_delete {
            return Err(StoreError::NoDelete);
        }
        if !is_public_key(key, 'A') {
            return Err(StoreError::Key);
        }
        let path = self.file(key);
        let gone = match self.options.hard_delete {
            true => fs::remove_file(&path),
            false => fs::rename(
                &path,
                self.options.dir.join(format!("{key}.{EXTENSION}{DELETED}")),
            ),
        };
        match gone {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(failed(&path, cause)),
        }
        self.flush_names().map_err(|cause| failed(&path, cause))?;
        self.untrack(key);
        Ok(true)
    }

    fn file(&self, key: &str) -> PathBuf {
        self.options.dir.join(format!("{key}.{EXTENSION}"))
    }

    fn write(&self, path: &Path, token: &str) -> io::Result<()> {
        let beside = path.with_extension("tmp");
        let mut file = File::create(&beside)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        self.flush_names()
    }

    fn flush_names(&self) -> io::Result<()> {
        File::open(&self.options.dir)?.sync_all()
    }

    fn track(&mut self, key: &str, token: String) {
        self.mix(&token);
        self.uses += 1;
        let own = || Token::decode(&token).ok().map(|it| it.standard.expires);
        let expires = self.ttl_end().or_else(|| own().filter(|&it| it > 0));
        let stored = Stored {
            token,
            expires,
            used: self.uses,
        };
        self.tokens.insert(key.to_owned(), stored);
    }

    fn untrack(&mut self, key: &str) {
        if let Some(stored) = self.tokens.remove(key) {
            self.mix(&stored.token);
        }
    }

    fn mix(&mut self, token: &str) {
        let hash = Sha256::digest(token.as_bytes());
        self.hash
            .iter_mut()
            .zip(hash)
            .for_each(|(all, one)| *all ^= one);
    }
}

fn failed(path: &Path, cause: io::Error) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        cause,
    }
}
