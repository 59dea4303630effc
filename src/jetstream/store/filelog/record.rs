//! One record: a fixed head with its own checksum, and a content with another.
//!
//! Two checksums, so that a record whose content was damaged, or erased on purpose, still says
//! whose place it holds and where the next one begins.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | crc32c of the rest of the head, seeded |
//! | 4 | 4 | crc32c of the content, seeded |
//! | 8 | 4 | length of head and content |
//! | 12 | 4 | length of the headers |
//! | 16 | 8 | sequence |
//! | 24 | 8 | time |
//! | 32 | 2 | length of the subject |
//! | 34 | 1 | kind |
//! | 35 | 1 | flags |
//! | 36 | 4 | zero |
//!
//! Content: the time to go (8 bytes, with [`flag::TTL`] only), subject, headers, payload; then
//! compressed and encrypted, as the flags say; zeros up to a multiple of 8.

use std::borrow::Cow;
use std::sync::Arc;

use super::sealer::{Sealer, TAG};
use crate::jetstream::store::buffer::Buffer;
use crate::jetstream::store::entries::flag;

/// Bytes of a record's head.
pub(super) const HEAD: usize = 40;

/// Numbers of frames, checkpoints and small records stay below this one however long a log lives: so
/// one can be added to what was read.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

/// What stands in place of a content that was erased.
pub(super) const ERASED: u8 = 0xe5;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jetstream::store) enum Kind {
    /// A message.
    Message = 1,
    /// Messages were removed: the payload lists ranges, see [`ranges`].
    Removed = 2,
    /// Sequences up to this one were used up.
    Skip = 3,
    /// A small record of the owner's: its name is the subject, its version the sequence.
    State = 4,
    /// One of those is no more.
    StateRemoved = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Message,
            Self::Removed,
            Self::Skip,
            Self::State,
            Self::StateRemoved,
        ];
        all.into_iter().find(|&it| it as u8 == byte)
    }
}

/// Contents shorter than this are not compressed: there is nothing to win.
const COMPRESSED_FROM: usize = 128;
/// No content is longer once it is decompressed.
const CONTENT_MAX: usize = 80 * 1024 * 1024;

/// How contents shall stand in a segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    pub(super) compressed: bool,
    pub(super) sealer: Option<Arc<Sealer>>,
}

/// A record's content.
#[derive(Debug, Clone, Copy)]
pub(in crate::jetstream::store) struct Record<'a> {
    pub(in crate::jetstream::store) kind: Kind,
    pub(in crate::jetstream::store) flags: u8,
    pub(in crate::jetstream::store) seq: u64,
    pub(in crate::jetstream::store) time: u64,
    /// With [`flag::TTL`] only.
    pub(in crate::jetstream::store) expires: u64,
    pub(in crate::jetstream::store) subject: &'a [u8],
    pub(in crate::jetstream::store) headers: &'a [u8],
    pub(in crate::jetstream::store) payload: &'a [u8],
}

/// A record's head, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) crc: u32,
    content_crc: u32,
    len: u32,
    headers: u32,
    pub(super) seq: u64,
    pub(super) time: u64,
    subject: u16,
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

impl<'a> Record<'a> {
    /// A record that is no message.
    pub(super) fn note(kind: Kind, seq: u64, time: u64, name: &'a [u8], payload: &'a [u8]) -> Self {
        Self {
            kind,
            flags: 0,
            seq,
            time,
            expires: 0,
            subject: name,
            headers: &[],
            payload,
        }
    }

    fn expires(&self) -> Option<[u8; 8]> {
        (self.flags & flag::TTL != 0).then(|| self.expires.to_le_bytes())
    }

    /// Adds the record to `out`, padded, as what stands at `at` in its segment; returns its
    /// checksum and its flags.
    pub(super) fn encode(&self, seed: u32, form: &Form, at: u64, out: &mut Buffer) -> (u32, u8) {
        let start = out.len();
        out.extend(&[0; HEAD]);
        if let Some(expires) = self.expires() {
            out.extend(&expires);
        }
        out.extend(self.subject);
        out.extend(self.headers);
        out.extend(self.payload);
        let mut flags = self.flags & !flag::FORM;
        if form.compressed
            && let Some(shorter) = compress(&out[start + HEAD..])
        {
            out.truncate(start + HEAD);
            out.extend(&shorter);
            flags |= flag::COMPRESSED;
        }
        let mut head = [0; HEAD];
        head[12..16].copy_from_slice(&(self.headers.len() as u32).to_le_bytes());
        head[16..24].copy_from_slice(&self.seq.to_le_bytes());
        head[24..32].copy_from_slice(&self.time.to_le_bytes());
        head[32..34].copy_from_slice(&(self.subject.len() as u16).to_le_bytes());
        head[34] = self.kind as u8;
        if let Some(sealer) = &form.sealer {
            flags |= flag::SEALED;
            head[35] = flags;
            let tag = sealer.seal(at, &head[12..], &mut out[start + HEAD..]);
            out.extend(&tag);
        }
        head[35] = flags;
        // In one piece: the checksum of a few bytes costs as much as that of many.
        let content_crc = crc32c::crc32c_append(seed, &out[start + HEAD..]);
        head[4..8].copy_from_slice(&content_crc.to_le_bytes());
        head[8..12].copy_from_slice(&((out.len() - start) as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &head[4..]);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        out[start..start + HEAD].copy_from_slice(&head);
        out.pad(8);
        (crc, flags)
    }
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` if it is not one.
    pub(super) fn decode(seed: u32, bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD>()?;
        let crc = u32_at(head, 0);
        if crc32c::crc32c_append(seed, &head[4..]) != crc {
            return None;
        }
        let this = Self {
            crc,
            content_crc: u32_at(head, 4),
            len: u32_at(head, 8),
            headers: u32_at(head, 12),
            seq: u64_at(head, 16),
            time: u64_at(head, 24),
            subject: u16::from_le_bytes([head[32], head[33]]),
            kind: Kind::from_byte(head[34])?,
            flags: head[35],
        };
        let least = HEAD as u64
            + match this.flags & flag::FORM {
                0 => u64::from(this.own_time()) + u64::from(this.subject) + u64::from(this.headers),
                _ => 0,
            };
        let most = match this.kind {
            Kind::Message | Kind::Removed | Kind::Skip => u64::MAX,
            Kind::State | Kind::StateRemoved => NUMBER_MAX,
        };
        (u64::from(this.len) >= least && this.seq < most).then_some(this)
    }

    fn own_time(&self) -> u8 {
        if self.flags & flag::TTL != 0 { 8 } else { 0 }
    }

    /// Bytes to the next record.
    pub(super) fn padded_len(&self) -> usize {
        (self.len as usize).next_multiple_of(8)
    }

    /// Bytes of head and content.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Where in the plain content subject, headers and payload begin.
    pub(super) fn parts(&self) -> [usize; 3] {
        let subject = usize::from(self.own_time());
        let headers = subject + usize::from(self.subject);
        [subject, headers, headers + self.headers as usize]
    }

    /// Was the content of the record that begins with this head overwritten on purpose?
    pub(super) fn is_erased(&self, bytes: &[u8]) -> bool {
        let content = bytes.get(HEAD..self.len()).unwrap_or_default();
        !content.is_empty() && content.iter().all(|&it| it == ERASED)
    }

    /// Is the content of the record whose bytes begin with this head as it was written?
    pub(super) fn is_intact(&self, seed: u32, bytes: &[u8]) -> bool {
        let content = bytes.get(HEAD..self.len());
        content.is_some_and(|it| crc32c::crc32c_append(seed, it) == self.content_crc)
    }

    /// The plain content of the record whose bytes begin with this head and stand at `at`; `None`
    /// if it is cut or damaged, or cannot be decrypted.
    pub(super) fn content<'a>(
        &self,
        seed: u32,
        sealer: Option<&Sealer>,
        at: u64,
        bytes: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        if !self.is_intact(seed, bytes) {
            return None;
        }
        let mut content = Cow::Borrowed(bytes.get(HEAD..self.len())?);
        if self.flags & flag::SEALED != 0 {
            content = Cow::Owned(sealer?.open(at, bytes.get(12..HEAD)?, &content)?);
        }
        if self.flags & flag::COMPRESSED != 0 {
            content = Cow::Owned(decompress(&content)?);
        }
        (content.len() >= self.parts()[2]).then_some(content)
    }

    /// The record of this head and its plain content.
    pub(super) fn record<'a>(&self, bytes: &'a [u8]) -> Record<'a> {
        let [subject, headers, payload] = self.parts();
        Record {
            kind: self.kind,
            flags: self.flags,
            seq: self.seq,
            time: self.time,
            expires: if subject > 0 { u64_at(bytes, 0) } else { 0 },
            subject: &bytes[subject..headers],
            headers: &bytes[headers..payload],
            payload: &bytes[payload..],
        }
    }
}

/// The same content in fewer bytes, if that is worth it.
fn compress(content: &[u8]) -> Option<Vec<u8>> {
    if content.len() < COMPRESSED_FROM {
        return None;
    }
    let shorter = snap::raw::Encoder::new().compress_vec(content).ok()?;
    (shorter.len() + content.len() / 8 <= content.len()).then_some(shorter)
}

fn decompress(content: &[u8]) -> Option<Vec<u8>> {
    let len = snap::raw::decompress_len(content).ok()?;
    // At its best it makes 64 bytes of three.
    if len > CONTENT_MAX || len / 32 > content.len() {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(content).ok()
}

/// Bytes encryption adds to a record in this form.
pub(super) fn added(form: u8) -> usize {
    if form & flag::SEALED != 0 { TAG } else { 0 }
}

/// Ranges of sequences, first and last, as a [`Kind::Removed`] record lists them.
pub(super) fn ranges(payload: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    payload
        .chunks_exact(16)
        .map(|it| (u64_at(it, 0), u64_at(it, 8)))
}

/// The payload [`ranges`] reads.
pub(super) fn encode_ranges(ranges: &[(u64, u64)]) -> Vec<u8> {
    let both = ranges.iter().flat_map(|&(first, last)| [first, last]);
    both.flat_map(u64::to_le_bytes).collect()
}

/// Four bytes as a number. The caller knows that they are there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |it| u32::from_le_bytes(*it))
}

/// Eight bytes as a number. The caller knows that they are there.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |it| u64::from_le_bytes(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Record<'static> {
        Record {
            kind: Kind::Message,
            flags: flag::TTL,
            seq: 7,
            time: 8,
            expires: 9,
            subject: b"a.b",
            headers: b"NATS/1.0\r\n\r\n",
            payload: b"hello",
        }
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let mut bytes = Buffer::default();
        message().encode(5, &Form::default(), 0, &mut bytes);
        assert_eq!(bytes.len() % 8, 0);
        let head = Head::decode(5, &bytes).expect("a head");
        assert_eq!(head.padded_len(), bytes.len());
        let content = head.content(5, None, 0, &bytes).expect("a content");
        let record = head.record(&content);
        assert_eq!(format!("{record:?}"), format!("{:?}", message()));
        assert!(Head::decode(6, &bytes).is_none(), "another segment's");
        for bit in 0..head.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = Head::decode(5, &damaged).filter(|it| it.is_intact(5, &damaged));
            assert!(found.is_none(), "{bit}");
            let intact = Head::decode(5, &damaged).is_some();
            assert_eq!(intact, bit / 8 >= HEAD, "{bit}");
        }
        for end in 0..head.len() {
            let cut = Head::decode(5, &bytes[..end]).filter(|it| it.is_intact(5, &bytes[..end]));
            assert!(cut.is_none());
        }
    }

    #[test]
    fn a_long_content_is_compressed_where_it_gets_shorter() {
        let form = Form {
            compressed: true,
            sealer: None,
        };
        for (payload, shrinks) in [(vec![7; 1000], true), ((0..100).collect(), false)] {
            let record = Record {
                payload: &payload,
                ..message()
            };
            let mut bytes = Buffer::default();
            let (_, flags) = record.encode(5, &form, 0, &mut bytes);
            assert_eq!(flags & flag::COMPRESSED != 0, shrinks);
            let head = Head::decode(5, &bytes).expect("a head");
            let content = head.content(5, None, 0, &bytes).expect("a content");
            assert_eq!(head.record(&content).payload, payload);
            assert_eq!(head.record(&content).subject, b"a.b");
        }
        assert_eq!(decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f]), None);
    }

    #[test]
    fn ranges_come_back() {
        let all = [(1, 1), (5, 900), (u64::MAX - 1, u64::MAX)];
        assert_eq!(ranges(&encode_ranges(&all)).collect::<Vec<_>>(), all);
    }
}
