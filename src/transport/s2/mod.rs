//! S2 streams (TOPO-41..44): what links to other servers may be compressed with. Chunks, each a
//! block with its checksum; blocks are Snappy's with longer matches. The blocks themselves are the
//! library's business, the chunks are ours.

pub mod level;
pub mod reader;
pub mod session;
pub mod writer;

/// The first chunk of a stream, and of each part of it that begins anew.
const IDENTIFIER: [u8; 10] = *b"\xff\x06\x00\x00S2sTwO";
/// The same of a Snappy stream, which is an S2 stream that uses less of it.
const SNAPPY_IDENTIFIER: [u8; 10] = *b"\xff\x06\x00\x00sNaPpY";

/// What a chunk is, by its first byte.
mod kind {
    pub const COMPRESSED: u8 = 0;
    pub const UNCOMPRESSED: u8 = 1;
    /// From here on chunks may be passed over by who does not know them.
    pub const SKIPPABLE: u8 = 0x80;
    pub const IDENTIFIER: u8 = 0xff;
}

/// The checksum of a chunk's content, in the form in which it is sent.
fn checksum(content: &[u8]) -> u32 {
    crc32c::crc32c(content)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}
