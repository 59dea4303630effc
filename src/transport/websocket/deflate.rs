//! Compression of single messages (RFC 7692) without context takeover: nothing of one message is
//! needed for the next, so one compressor serves all connections of a shard.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Messages of so many bytes or fewer are sent as they are (WS-8).
pub const COMPRESS_ABOVE: usize = 64;

/// What a flush ends with and the wire leaves out.
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The same and an empty last block, which ends the stream.
const LAST_BLOCK: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
/// Inflated bytes made room for at once.
const STEP: usize = 16 * 1024;

/// Why a message is not inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It would be longer than anything it may carry.
    #[error("maximum payload exceeded")]
    TooLong,
    /// No deflate stream.
    #[error("flate: corrupt input")]
    Corrupt,
}

/// One shard's compressor and decompressor; made when first needed.
#[derive(Debug, Default)]
pub struct Deflate {
    compress: Option<Compress>,
    decompress: Option<Decompress>,
}

impl Deflate {
    /// Appends `input` to `out`, compressed.
    pub fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let compress = self
            .compress
            .get_or_insert_with(|| Compress::new(Compression::fast(), false));
        compress.reset();
        let start = out.len();
        let mut input = input;
        loop {
            // Room for what deflate may add to bytes it cannot make shorter, and for the flush.
            out.reserve(input.len() + input.len() / 1000 + 64);
            let before = compress.total_in();
            let full = out.capacity();
            let done = compress.compress_vec(input, out, FlushCompress::Sync);
            let used = (compress.total_in() - before) as usize;
            input = &input[used..];
            // A flush is complete once it leaves room in the output.
            if done.is_err() || (input.is_empty() && out.len() < full) {
                break;
            }
        }
        if out[start..].ends_with(&FLUSH_TAIL) {
            out.truncate(out.len() - FLUSH_TAIL.len());
        }
    }

    /// Appends a compressed message to `out`, inflated to at most `max` bytes.
    ///
    /// # Errors
    /// [`InflateError`]; `out` has what came before.
    pub fn inflate(
        &mut self,
        message: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let decompress = self
            .decompress
            .get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        let start = out.len();
        for mut input in [message, &LAST_BLOCK] {
            loop {
                let room = STEP.min((start + max + 1).saturating_sub(out.len()));
                out.reserve_exact(room);
                let (before, full) = (decompress.total_in(), out.len());
                let limit = full + room;
                out.resize(limit, 0);
                let produced = decompress.total_out();
                let status =
                    decompress.decompress(input, &mut out[full..limit], FlushDecompress::None);
                let used = (decompress.total_in() - before) as usize;
                let made = (decompress.total_out() - produced) as usize;
                out.truncate(full + made);
                input = &input[used..];
                if out.len() - start > max {
                    out.truncate(start + max);
                    return Err(InflateError::TooLong);
                }
                match status {
                    Ok(Status::StreamEnd) => return Ok(()),
                    Ok(_) | Err(_) if input.is_empty() && made < room => break,
                    Ok(_) if used > 0 || made > 0 => {}
                    _ => return Err(InflateError::Corrupt),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(input: &[u8]) {
        let mut deflate = Deflate::default();
        let (mut small, mut back) = (b"before".to_vec(), Vec::new());
        deflate.deflate(input, &mut small);
        let small = &small[6..];
        assert_eq!(deflate.inflate(small, input.len(), &mut back), Ok(()));
        assert!(back == input);
        if !input.is_empty() {
            back.clear();
            let short = deflate.inflate(small, input.len() - 1, &mut back);
            assert_eq!(short, Err(InflateError::TooLong));
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut noise = 7_u64;
        let mut next = || {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        };
        for len in [0, 1, 65, 1000, 16_384, 200_000] {
            round(&vec![b'a'; len]);
            let random: Vec<u8> = (0..len).map(|_| next()).collect();
            round(&random);
        }
    }

    /// T17.
    #[test]
    fn t17_a_bomb_makes_no_more_than_it_may() {
        let mut deflate = Deflate::default();
        let (mut bomb, mut out) = (Vec::new(), Vec::new());
        deflate.deflate(&vec![0; 64 << 20], &mut bomb);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(
            deflate.inflate(&bomb, 4096, &mut out),
            Err(InflateError::TooLong)
        );
        assert!(out.capacity() <= 64 * 1024);
    }

    #[test]
    fn noise_is_no_stream() {
        let mut out = Vec::new();
        assert_eq!(
            Deflate::default().inflate(&[0xff; 40], 1000, &mut out),
            Err(InflateError::Corrupt)
        );
    }
}
