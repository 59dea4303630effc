//! Both directions of a compressed link.

use minlz::s2::Encoder;

use super::level::Level;
use super::reader::Reader;
use super::writer::Writer;
use crate::delivery::outbound::Chunk;

/// What one shard's links share: none of it outlives a call.
#[derive(Default)]
pub struct Scratch {
    encoder: Option<Box<Encoder>>,
    gathered: Vec<u8>,
    packed: Vec<u8>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

/// A compressed link.
#[derive(Debug)]
pub struct S2Session {
    /// What comes.
    pub reader: Reader,
    /// What leaves.
    pub writer: Writer,
}

impl S2Session {
    /// Nothing has been said yet.
    pub fn new(level: Level) -> Self {
        Self {
            reader: Reader::default(),
            writer: Writer::new(level),
        }
    }

    /// Puts a chunk of output into chunks of the stream.
    pub fn pack(&mut self, chunk: &mut Chunk, scratch: &mut Scratch) {
        let Scratch {
            encoder,
            gathered,
            packed,
        } = scratch;
        let encoder = encoder.get_or_insert_with(|| Box::new(Encoder::new()));
        packed.clear();
        if chunk.shared.is_empty() {
            self.writer.write(&chunk.bytes, encoder, packed);
        } else {
            gathered.clear();
            for piece in chunk.slices() {
                gathered.extend_from_slice(piece);
            }
            self.writer.write(gathered, encoder, packed);
        }
        chunk.clear();
        std::mem::swap(&mut chunk.bytes, packed);
    }
}
