//! Encryption: each record's content under a key of its segment, and the files beside the segments
//! under a key of this opening.
//!
//! A key is used for one segment that one opening has made (its random number is on the segment's
//! label), and a record's place in the file is its nonce. No place is written twice with different
//! contents: an opening goes on in a new segment, and so does a log after a failed write. Heads of
//! records stay readable (sequence, time, lengths), so damage is told without the key; each is
//! bound to its content.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use super::record::{u32_at, u64_at};
use crate::jetstream::store::buffer::{Buffer, PAGE};

/// Bytes encryption adds to a content.
pub(super) const TAG: usize = 16;

const MAGIC: [u8; 8] = *b"RamjetX\x01";
const HEAD: usize = 48;

/// How contents are encrypted (JS-253).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305.
    ChaCha = 1,
    /// AES-256-GCM.
    Aes = 2,
}

/// What a store is encrypted with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// Of what is written from now on; what is there says its own.
    pub cipher: Cipher,
    /// The store's own key.
    pub key: [u8; 32],
    /// Random, never used before.
    pub session: [u8; 16],
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with a key", self.cipher)
    }
}

/// What the label of an encrypted segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealing {
    pub(super) cipher: Cipher,
    session: [u8; 16],
    /// Tells whether a key is the right one.
    check: [u8; 16],
}

/// Encrypts and decrypts contents of one segment, or files of one opening.
pub(super) struct Sealer {
    pub(super) sealing: Sealing,
    key: LessSafeKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.sealing.cipher)
    }
}

impl Sealing {
    pub(super) fn encode(this: Option<Self>) -> [u8; 40] {
        let mut bytes = [0; 40];
        if let Some(this) = this {
            bytes[0] = this.cipher as u8;
            bytes[8..24].copy_from_slice(&this.session);
            bytes[24..].copy_from_slice(&this.check);
        }
        bytes
    }

    /// `None` if the bytes are not what [`Sealing::encode`] makes.
    pub(super) fn decode(bytes: &[u8; 40]) -> Option<Option<Self>> {
        let cipher = match bytes[0] {
            0 => return Some(None),
            1 => Cipher::ChaCha,
            2 => Cipher::Aes,
            _ => return None,
        };
        let (mut session, mut check) = ([0; 16], [0; 16]);
        session.copy_from_slice(&bytes[8..24]);
        check.copy_from_slice(&bytes[24..]);
        Some(Some(Self {
            cipher,
            session,
            check,
        }))
    }
}

impl Sealer {
    /// For a segment that is about to be made.
    pub(super) fn of_new(encryption: &Encryption, number: u32, version: u32) -> Arc<Self> {
        let Encryption {
            cipher,
            key,
            session,
        } = encryption;
        Arc::new(Self::new(*cipher, key, *session, &place(number, version)))
    }

    /// For a segment that is there; `None` if the key is not the one it was made with.
    pub(super) fn of_old(
        encryption: &Encryption,
        sealing: Sealing,
        number: u32,
        version: u32,
    ) -> Option<Arc<Self>> {
        let place = place(number, version);
        let this = Self::new(sealing.cipher, &encryption.key, sealing.session, &place);
        (this.sealing.check == sealing.check).then(|| Arc::new(this))
    }

    fn new(cipher: Cipher, key: &[u8; 32], session: [u8; 16], what: &[u8]) -> Self {
        let store = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut context = session.to_vec();
        context.extend_from_slice(what);
        let own = hmac::sign(&store, &context);
        let algorithm = match cipher {
            Cipher::ChaCha => &CHACHA20_POLY1305,
            Cipher::Aes => &AES_256_GCM,
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), b"check");
        let mut check = [0; 16];
        check.copy_from_slice(&tag.as_ref()[..16]);
        // Both take 32 bytes, which is what SHA-256 gives.
        let key = UnboundKey::new(algorithm, own.as_ref()).expect("a key of 32 bytes");
        Self {
            sealing: Sealing {
                cipher,
                session,
                check,
            },
            key: LessSafeKey::new(key),
        }
    }

    /// Encrypts a content in place; its tag.
    pub(super) fn seal(&self, number: u64, bound: &[u8], content: &mut [u8]) -> [u8; TAG] {
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce(number), Aad::from(bound), content);
        // It refuses only what is longer than 64 GiB.
        let tag = sealed.expect("a content is short");
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Decrypts a content with its tag; `None` if it, or what it is bound to, is not what it was.
    pub(super) fn open(&self, number: u64, bound: &[u8], content: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = content.to_vec();
        let opened = self
            .key
            .open_in_place(nonce(number), Aad::from(bound), &mut bytes);
        let len = opened.ok()?.len();
        bytes.truncate(len);
        Some(bytes)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn place(number: u32, version: u32) -> [u8; 9] {
    let mut bytes = [b's'; 9];
    bytes[1..5].copy_from_slice(&number.to_le_bytes());
    bytes[5..].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// A whole file encrypted; `number` is used once in an opening.
pub(super) fn wrap(encryption: &Encryption, number: u64, content: &[u8]) -> Buffer {
    let Encryption {
        cipher,
        key,
        session,
    } = encryption;
    let sealer = Sealer::new(*cipher, key, *session, b"f");
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..16].copy_from_slice(&(content.len() as u64).to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    head[24..40].copy_from_slice(session);
    head[40] = *cipher as u8;
    let crc = crc32c::crc32c(&head[..44]);
    head[44..].copy_from_slice(&crc.to_le_bytes());
    let mut buffer = Buffer::with_capacity(HEAD + content.len() + TAG);
    buffer.extend(&head);
    buffer.extend(content);
    let tag = sealer.seal(number, &head, &mut buffer[HEAD..]);
    buffer.extend(&tag);
    buffer.pad(PAGE);
    buffer
}

/// What a file holds, encrypted or not; `None` if it cannot be decrypted.
pub(super) fn unwrap(encryption: Option<&Encryption>, bytes: Vec<u8>) -> Option<Vec<u8>> {
    let Some(head) = bytes.first_chunk::<HEAD>().filter(|it| is_wrapped(*it)) else {
        return Some(bytes);
    };
    let cipher = match head[40] {
        1 => Cipher::ChaCha,
        2 => Cipher::Aes,
        _ => return None,
    };
    let len = usize::try_from(u64_at(head, 8)).ok()?;
    let end = HEAD.checked_add(len)?.checked_add(TAG)?;
    let mut session = [0; 16];
    session.copy_from_slice(&head[24..40]);
    let sealer = Sealer::new(cipher, &encryption?.key, session, b"f");
    sealer.open(u64_at(head, 16), head, bytes.get(HEAD..end)?)
}

/// Is this the front of an encrypted file?
pub(super) fn is_wrapped(bytes: &[u8]) -> bool {
    let head = bytes.first_chunk::<HEAD>();
    head.is_some_and(|it| it[..8] == MAGIC && crc32c::crc32c(&it[..44]) == u32_at(it, 44))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(cipher: Cipher) -> Encryption {
        Encryption {
            cipher,
            key: [1; 32],
            session: [2; 16],
        }
    }

    #[test]
    fn opens_what_it_sealed_with_the_same_key_at_the_same_place_only() {
        for cipher in [Cipher::ChaCha, Cipher::Aes] {
            let right = encryption(cipher);
            let sealer = Sealer::of_new(&right, 3, 0);
            let mut content = b"content".to_vec();
            let tag = sealer.seal(4096, b"head", &mut content);
            content.extend_from_slice(&tag);
            assert!(!content.starts_with(b"content"));
            let opened = Sealer::of_old(&right, sealer.sealing, 3, 0).expect("the same key");
            assert_eq!(
                opened.open(4096, b"head", &content),
                Some(b"content".to_vec())
            );
            assert_eq!(opened.open(4104, b"head", &content), None);
            assert_eq!(opened.open(4096, b"heap", &content), None);
            let wrong = Encryption {
                key: [9; 32],
                ..right
            };
            assert!(Sealer::of_old(&wrong, sealer.sealing, 3, 0).is_none());
            assert!(Sealer::of_old(&right, sealer.sealing, 4, 0).is_none());
            let label = Sealing::encode(Some(sealer.sealing));
            assert_eq!(Sealing::decode(&label), Some(Some(sealer.sealing)));
        }
    }

    #[test]
    fn files_come_back_with_their_key_only() {
        let right = encryption(Cipher::Aes);
        let wrapped = wrap(&right, 5, b"a checkpoint").to_vec();
        assert!(is_wrapped(&wrapped));
        assert!(!wrapped.windows(5).any(|it| it == b"check"));
        let back =
            |encryption: Option<&Encryption>, bytes: &[u8]| unwrap(encryption, bytes.to_vec());
        assert_eq!(back(Some(&right), &wrapped), Some(b"a checkpoint".to_vec()));
        assert_eq!(back(None, &wrapped), None);
        assert_eq!(back(None, b"plain"), Some(b"plain".to_vec()));
        for at in 0..HEAD + 12 + TAG {
            let mut damaged = wrapped.clone();
            damaged[at] ^= 4;
            let found = back(Some(&right), &damaged);
            assert_ne!(found, Some(b"a checkpoint".to_vec()), "{at}");
        }
    }
}
