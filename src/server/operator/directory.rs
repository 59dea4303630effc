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
use crate::limits;
use crate::options::DirectoryOptions;

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

/// A directory of tokens, and what is in it.
pub(in crate::server) struct Directory {
    options: DirectoryOptions,
    tokens: HashMap<String, String>,
    /// All hashes of tokens, each bit counted modulo two: the same on servers with the same tokens.
    hash: [u8; 32],
}

impl Directory {
    /// Opens a directory, made if it is not there, and reads what is in it.
    pub fn open(options: &DirectoryOptions) -> Result<Self, StoreError> {
        let dir = &options.dir;
        fs::create_dir_all(dir).map_err(|cause| failed(dir, cause))?;
        let mut this = Self {
            options: options.clone(),
            tokens: HashMap::new(),
            hash: [0; 32],
        };
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
        self.tokens.iter()
    }

    /// An account's token.
    pub fn token(&self, key: &str) -> Option<&String> {
        self.tokens.get(key)
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
        if self.tokens.get(key).is_some_and(|it| it == token) {
            return Ok(false);
        }
        let full = self
            .options
            .limit
            .is_some_and(|max| self.tokens.len() >= max);
        if full && !self.tokens.contains_key(key) {
            return Err(StoreError::Full);
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
        let old = self.tokens.get(key).and_then(|it| Token::decode(it).ok());
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
        self.tokens.insert(key.to_owned(), token);
    }

    fn untrack(&mut self, key: &str) {
        if let Some(token) = self.tokens.remove(key) {
            self.mix(&token);
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
