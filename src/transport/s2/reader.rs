//! Chunks back into bytes.

use minlz::s2::{decode_into, decode_len};

use super::{IDENTIFIER, SNAPPY_IDENTIFIER, checksum, kind};

/// Bytes of a block at most, as the format says.
pub const BLOCK_MAX: usize = 4 * 1024 * 1024;
/// Kind and length.
const HEAD: usize = 4;
const CHECKSUM: usize = 4;

/// Not an S2 stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum S2Error {
    /// It does not begin as one, or a checksum or block is wrong.
    #[error("s2: corrupt input")]
    Corrupt,
    /// A chunk that cannot be passed over is of a kind that we do not know.
    #[error("s2: unsupported input")]
    Unsupported,
    /// More at once than may be.
    #[error("s2: decoded block is too large")]
    TooLarge,
}

/// One direction of a link.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes that have come, from `at` on those that were not looked at.
    held: Vec<u8>,
    at: usize,
    /// So many more belong to a chunk that is passed over.
    skip: usize,
    begun: bool,
}

/// What is at the front of the bytes that have come.
enum Front<'a> {
    /// Not all of it.
    Part,
    /// Nothing that is to be kept.
    Passed(usize),
    /// A block.
    Block {
        used: usize,
        compressed: bool,
        checksum: [u8; CHECKSUM],
        body: &'a [u8],
    },
}

impl Reader {
    /// Takes bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at == self.held.len() {
            self.held.clear();
            self.at = 0;
        } else if self.at > self.held.len() / 2 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.held.len() - self.at
    }

    /// Appends the next block, which may have `max` bytes, to `plain`. False where there is none
    /// yet.
    ///
    /// # Errors
    /// [`S2Error`].
    pub fn next_block(&mut self, max: usize, plain: &mut Vec<u8>) -> Result<bool, S2Error> {
        let max = max.min(BLOCK_MAX);
        loop {
            let skipped = self.skip.min(self.waiting());
            self.skip -= skipped;
            self.at += skipped;
            if self.skip > 0 {
                return Ok(false);
            }
            let waiting = self.held.get(self.at..).unwrap_or_default();
            match front(waiting, self.begun, max)? {
                Front::Part => return Ok(false),
                Front::Passed(used) => {
                    self.begun = true;
                    self.skip = used;
                }
                Front::Block {
                    used,
                    compressed,
                    checksum: expected,
                    body,
                } => {
                    let from = plain.len();
                    match compressed {
                        true => decode(body, max, plain)?,
                        false => plain.extend_from_slice(body),
                    }
                    let sum = checksum(plain.get(from..).unwrap_or_default());
                    if sum.to_le_bytes() != expected {
                        plain.truncate(from);
                        return Err(S2Error::Corrupt);
                    }
                    self.at += used;
                    return Ok(true);
                }
            }
        }
    }
}

fn front(waiting: &[u8], begun: bool, max: usize) -> Result<Front<'_>, S2Error> {
    let Some((head, rest)) = waiting.split_first_chunk::<HEAD>() else {
        return Ok(Front::Part);
    };
    let [kind, low, middle, high] = *head;
    let len = u32::from_le_bytes([low, middle, high, 0]) as usize;
    match kind {
        kind::IDENTIFIER => {
            if len != IDENTIFIER.len() - HEAD {
                return Err(S2Error::Corrupt);
            }
            match waiting.get(..IDENTIFIER.len()) {
                None => Ok(Front::Part),
                Some(it) if *it == IDENTIFIER || *it == SNAPPY_IDENTIFIER => {
                    Ok(Front::Passed(IDENTIFIER.len()))
                }
                Some(_) => Err(S2Error::Corrupt),
            }
        }
        _ if !begun => Err(S2Error::Corrupt),
        kind::COMPRESSED | kind::UNCOMPRESSED => {
            // Nobody sends a block that is longer than what it stands for by more than its head.
            if len < CHECKSUM {
                return Err(S2Error::Corrupt);
            }
            if len > max + 2 * CHECKSUM {
                return Err(S2Error::TooLarge);
            }
            let Some(body) = rest.get(..len) else {
                return Ok(Front::Part);
            };
            let Some((checksum, body)) = body.split_first_chunk::<CHECKSUM>() else {
                return Err(S2Error::Corrupt);
            };
            Ok(Front::Block {
                used: HEAD + len,
                compressed: kind == kind::COMPRESSED,
                checksum: *checksum,
                body,
            })
        }
        kind::SKIPPABLE.. => Ok(Front::Passed(HEAD + len)),
        _ => Err(S2Error::Unsupported),
    }
}

fn decode(body: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), S2Error> {
    let (len, _) = decode_len(body).map_err(|_| S2Error::Corrupt)?;
    if len > max {
        return Err(S2Error::TooLarge);
    }
    let from = plain.len();
    plain.resize(from + len, 0);
    let room = plain.get_mut(from..).unwrap_or_default();
    if decode_into(room, body).is_err() {
        plain.truncate(from);
        return Err(S2Error::Corrupt);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use minlz::s2::Encoder;

    use super::super::level::Level;
    use super::super::writer::Writer;
    use super::*;

    fn written(level: Level, parts: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::new(level);
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        for part in parts {
            writer.write(part, &mut encoder, &mut out);
        }
        out
    }

    /// All that `stream` says, fed in pieces of `step` bytes.
    fn read(stream: &[u8], step: usize, max: usize) -> Result<Vec<u8>, S2Error> {
        let (mut reader, mut plain) = (Reader::default(), Vec::new());
        for piece in stream.chunks(step) {
            reader.push(piece);
            while reader.next_block(max, &mut plain)? {}
        }
        Ok(plain)
    }

    fn long() -> Vec<u8> {
        let line = |number: u32| format!("LMSG a.b.{} 5\r\nhello\r\n", number % 97);
        (0..20_000).map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn topo_042_what_is_written_is_read_again_at_every_level() {
        let long = long();
        for level in [Level::Uncompressed, Level::Fast, Level::Better, Level::Best] {
            let stream = written(level, &[b"PING\r\n", &long, b"", b"PONG\r\n"]);
            assert_eq!(level != Level::Uncompressed, stream.len() < long.len() / 2);
            let expected = [b"PING\r\n", &long[..], b"PONG\r\n"].concat();
            for step in [1, 7, 4096, usize::MAX] {
                assert_eq!(read(&stream, step, BLOCK_MAX).as_ref(), Ok(&expected));
            }
        }
    }

    #[test]
    fn topo_044_a_stream_may_begin_anew_and_has_chunks_to_pass_over() {
        let one = written(Level::Fast, &[b"one"]);
        let two = written(Level::Best, &[b"two"]);
        let padding = b"\xfe\x05\x00\x00abcde\x99\x00\x00\x00";
        let stream = [&one[..], padding, &two].concat();
        for step in 1..stream.len() {
            assert_eq!(read(&stream, step, 3), Ok(b"onetwo".to_vec()));
        }
    }

    #[test]
    fn topo_042_snappy_streams_are_read_too() {
        let mut stream = SNAPPY_IDENTIFIER.to_vec();
        let text = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let packed = minlz::s2::encode_snappy(text);
        stream.extend_from_slice(&[0, 4 + packed.len() as u8, 0, 0]);
        stream.extend_from_slice(&checksum(text).to_le_bytes());
        stream.extend_from_slice(&packed);
        assert_eq!(read(&stream, 3, 100), Ok(text.to_vec()));
    }

    #[test]
    fn t19_what_is_no_stream_is_refused() {
        let good = written(Level::Fast, &[&[b'x'; 1000]]);
        assert_eq!(read(&good, 5, 999), Err(S2Error::TooLarge));
        assert_eq!(read(b"INFO {}\r\n", 3, 100), Err(S2Error::Corrupt));
        assert_eq!(read(&good[10..], 3, 1000), Err(S2Error::Corrupt));
        assert_eq!(
            read(b"\xff\x07\x00\x00S2sTwO_", 3, 9),
            Err(S2Error::Corrupt)
        );
        let with = |chunk: &[u8]| [&IDENTIFIER[..], chunk].concat();
        let unknown = with(b"\x02\x00\x00\x00");
        assert_eq!(read(&unknown, 3, 9), Err(S2Error::Unsupported));
        assert_eq!(
            read(&with(b"\x00\x03\x00\x00abc"), 3, 9),
            Err(S2Error::Corrupt)
        );
        let huge = with(b"\x00\xff\xff\xff");
        assert_eq!(read(&huge, 3, BLOCK_MAX), Err(S2Error::TooLarge));
    }

    /// Damage anywhere: never a panic, and never bytes that were not sent.
    #[test]
    fn t19_damaged_streams() {
        let long = long();
        let text = &long[..3000];
        for level in [Level::Fast, Level::Better, Level::Best, Level::Uncompressed] {
            let good = written(level, &[text]);
            for at in 0..good.len() {
                for bit in [1, 0x10, 0x80, 0xff] {
                    let mut bad = good.clone();
                    bad[at] ^= bit;
                    if let Ok(plain) = read(&bad, usize::MAX, BLOCK_MAX) {
                        assert!(plain.is_empty() || plain == text, "{at}");
                    }
                }
            }
        }
    }
}
