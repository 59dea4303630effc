//! Keys of stores: each has one of its own, which stands beside it twice, encrypted under a key made
//! from the configured one. So another configured key means two short files per stream (JS-253).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use crate::jetstream::store::{Cipher, Encryption, FileName};
use crate::options::{JetStreamOptions, StoreCipher};

const MAGIC: &[u8; 8] = b"RamjetK\x01";
const NONCE: usize = 12;
/// Magic, cipher, nonce, encrypted key with its tag.
const LEN: usize = 8 + 1 + NONCE + 32 + 16;

/// What the configuration says of encryption.
#[derive(Clone)]
pub(in crate::server) struct Keys {
    current: String,
    previous: Option<String>,
    cipher: Cipher,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.cipher)
    }
}

impl Keys {
    /// `None` if nothing is to be encrypted.
    pub(in crate::server) fn of(options: &JetStreamOptions) -> Option<Self> {
        Some(Self {
            current: options.key.clone()?,
            previous: options.previous_key.clone(),
            cipher: match options.cipher {
                StoreCipher::ChaCha => Cipher::ChaCha,
                StoreCipher::Aes => Cipher::Aes,
            },
        })
    }

    /// The cipher's name as stock logs it.
    pub(in crate::server) fn cipher_name(&self) -> &'static str {
        match self.cipher {
            Cipher::ChaCha => "ChaCha20-Poly1305",
            Cipher::Aes => "AES-GCM",
        }
    }

    /// What the store of a stream is opened with. A new store gets a key; one whose key is under
    /// the previous configured key gets it under the current one.
    ///
    /// # Errors
    /// If its key is under neither, or the files cannot be read or written.
    pub(in crate::server) fn encryption(
        &self,
        account: &str,
        stream: &str,
        path: &Path,
    ) -> Result<Encryption, String> {
        let mut session = [0; 16];
        getrandom::fill(&mut session).map_err(|it| it.to_string())?;
        let key = self.store_key(&[account, "\0", stream].concat(), path)?;
        Ok(Encryption {
            cipher: self.cipher,
            key,
            session,
        })
    }

    /// The same for who only reads: nothing is made or changed. `None` if the store has no key.
    ///
    /// # Errors
    /// As for [`Keys::encryption`].
    pub(in crate::server) fn read(
        &self,
        account: &str,
        stream: &str,
        path: &Path,
    ) -> Result<Option<Encryption>, String> {
        let files = key_files(path);
        let whose = [account, "\0", stream].concat();
        let key = self.find_key(&whose, &files, &copies_of(&files)?)?;
        Ok(key.map(|key| Encryption {
            cipher: self.cipher,
            key,
            session: [0; 16],
        }))
    }

    /// The key that stands in one of these copies; `None` if none was ever written.
    fn find_key(
        &self,
        whose: &str,
        files: &[PathBuf; 2],
        copies: &[Option<Vec<u8>>],
    ) -> Result<Option<[u8; 32]>, String> {
        let open = |configured: &str| {
            let all = copies.iter().flatten();
            all.filter_map(|it| unwrap(configured, whose, it)).next()
        };
        let current = open(&self.current);
        let found = current.or_else(|| open(self.previous.as_deref()?));
        // Never in place of keys that are there: somebody may still have theirs.
        if found.is_none() && copies.iter().flatten().any(|it| !it.is_empty()) {
            return Err(format!(
                "unable to recover keys: {} is under another key than the configured one; \
                 give that one as 'prev_encryption_key'",
                files[0].display()
            ));
        }
        Ok(found)
    }

    fn store_key(&self, whose: &str, path: &Path) -> Result<[u8; 32], String> {
        let files = key_files(path);
        let copies = copies_of(&files)?;
        let key = match self.find_key(whose, &files, &copies)? {
            Some(key) => key,
            None => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|it| it.to_string())?;
                key
            }
        };
        for (file, copy) in files.iter().zip(&copies) {
            let good = copy
                .as_ref()
                .and_then(|it| unwrap(&self.current, whose, it));
            if good != Some(key) {
                let wrapped = wrap(self.cipher, &self.current, whose, key)?;
                write(path, file, &wrapped).map_err(|it| format!("{}: {it}", file.display()))?;
            }
        }
        Ok(key)
    }
}

fn key_files(path: &Path) -> [PathBuf; 2] {
    [0, 1].map(|slot| path.join(FileName::Key { slot }.file_name()))
}

fn copies_of(files: &[PathBuf; 2]) -> Result<Vec<Option<Vec<u8>>>, String> {
    let read = |file: &PathBuf| match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    };
    files.iter().map(read).collect()
}

/// Writes a file so that it is the old one or the new one, whenever the power goes.
fn write(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = File::create(&new)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

fn key_for(cipher: u8, configured: &str, whose: &str) -> Option<LessSafeKey> {
    let algorithm = match cipher {
        1 => &CHACHA20_POLY1305,
        2 => &AES_256_GCM,
        _ => return None,
    };
    let configured = hmac::Key::new(hmac::HMAC_SHA256, configured.as_bytes());
    let own = hmac::sign(&configured, whose.as_bytes());
    let key = UnboundKey::new(algorithm, own.as_ref()).ok()?;
    Some(LessSafeKey::new(key))
}

fn wrap(cipher: Cipher, configured: &str, whose: &str, key: [u8; 32]) -> Result<Vec<u8>, String> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|it| it.to_string())?;
    let mut bytes = MAGIC.to_vec();
    bytes.push(cipher as u8);
    bytes.extend_from_slice(&nonce);
    let mut wrapped = key.to_vec();
    let sealer = key_for(cipher as u8, configured, whose).ok_or("no such cipher")?;
    sealer
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&bytes[..9]),
            &mut wrapped,
        )
        .map_err(|_| "the key cannot be encrypted")?;
    bytes.extend_from_slice(&wrapped);
    Ok(bytes)
}

fn unwrap(configured: &str, whose: &str, bytes: &[u8]) -> Option<[u8; 32]> {
    let bytes = bytes.first_chunk::<LEN>()?;
    let (head, wrapped) = bytes.split_at(9 + NONCE);
    if head[..8] != *MAGIC {
        return None;
    }
    let nonce = Nonce::try_assume_unique_for_key(&head[9..]).ok()?;
    let mut wrapped = wrapped.to_vec();
    let opened = key_for(head[8], configured, whose)?
        .open_in_place(nonce, Aad::from(&head[..9]), &mut wrapped)
        .ok()?;
    opened.first_chunk::<32>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &str, previous: Option<&str>, cipher: Cipher) -> Keys {
        Keys {
            current: current.to_owned(),
            previous: previous.map(str::to_owned),
            cipher,
        }
    }

    #[test]
    fn a_store_keeps_its_key_under_whatever_key_is_configured() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path();
        let first = keys("one", None, Cipher::ChaCha);
        let key = first.store_key("a\0s", path).expect("a new key");
        assert_eq!(first.store_key("a\0s", path), Ok(key));
        // Another stream's, another configured key's.
        let is_refused = |keys: &Keys, whose: &str| {
            let why = keys.store_key(whose, path).expect_err("another key");
            why.contains("unable to recover keys") && why.contains("key.0")
        };
        assert!(is_refused(&first, "a\0t"));
        assert!(is_refused(&keys("two", None, Cipher::Aes), "a\0s"));
        let rotated = keys("two", Some("one"), Cipher::Aes);
        assert_eq!(rotated.store_key("a\0s", path), Ok(key));
        assert!(is_refused(&first, "a\0s"), "it is gone");
        // One copy is enough, and becomes two again.
        let second = keys("two", None, Cipher::Aes);
        for slot in [0, 1] {
            fs::write(path.join(format!("key.{slot}")), b"torn").expect("written");
            assert_eq!(second.store_key("a\0s", path), Ok(key));
        }
        assert_eq!(second.store_key("a\0s", path), Ok(key));
    }
}
