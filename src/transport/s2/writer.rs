//! Output into chunks.

use minlz::s2::Encoder;

use super::level::Level;
use super::{IDENTIFIER, checksum, kind};

/// Bytes of a block at most: what the other side must keep at once.
const BLOCK_MAX: usize = 128 * 1024;
/// Below this a block is not worth looking at.
const COMPRESS_MIN: usize = 32;

/// One direction of a link.
#[derive(Debug)]
pub struct Writer {
    level: Level,
    begun: bool,
}

impl Writer {
    /// At this level.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            begun: false,
        }
    }

    /// From now on at this level.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// How hard it compresses.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Appends `bytes` to `out`, as chunks.
    pub fn write(&mut self, bytes: &[u8], encoder: &mut Encoder, out: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&IDENTIFIER);
        }
        for block in bytes.chunks(BLOCK_MAX) {
            let packed = match self.level {
                _ if block.len() < COMPRESS_MIN => None,
                Level::Uncompressed => None,
                Level::Fast => Some(encoder.encode(block)),
                Level::Better => Some(encoder.encode_better(block)),
                Level::Best => Some(encoder.encode_best(block)),
            };
            match packed.filter(|it| it.len() < block.len()) {
                Some(packed) => push(kind::COMPRESSED, block, &packed, out),
                None => push(kind::UNCOMPRESSED, block, block, out),
            }
        }
    }
}

/// Appends a chunk with this body, whose content is `block`.
fn push(kind: u8, block: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let checksum = checksum(block).to_le_bytes();
    let [low, middle, high, _] = ((checksum.len() + body.len()) as u32).to_le_bytes();
    out.extend_from_slice(&[kind, low, middle, high]);
    out.extend_from_slice(&checksum);
    out.extend_from_slice(body);
}
