//! One WebSocket: its request, then its frames.

use super::deflate::{COMPRESS_ABOVE, Deflate, InflateError};
use super::frame::{self, Decoder, FrameError, Opcode, Piece, Place};
use super::handshake::{Browser, Upgraded};
use crate::delivery::outbound::Chunk;

/// Frames a browser gets (WS-9).
const BROWSER_FRAME: usize = 4096;

/// Reserved for the wire's end: "no status".
const STATUS_NONE: u16 = 1005;

/// Why a WebSocket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// The peer has closed it; our answer is in the output.
    #[error("EOF")]
    Closed,
    /// Its frames make no sense; that is said in the output.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A control frame makes no sense; that is said in the output.
    #[error("close frame payload cannot be 1 byte")]
    ShortClose,
    /// The same.
    #[error("invalid close status code {0}")]
    Status(u16),
    /// A compressed message is too long.
    #[error("maximum payload exceeded")]
    TooLong,
    /// A compressed message is none.
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

/// A WebSocket after its upgrade.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    /// Compressed message whose last frame has not come; bounded, see [`Session::receive`].
    compressed: Vec<u8>,
    compress: bool,
    browser: Browser,
    /// We are the client, and mask our frames.
    masks: Option<Masks>,
    close_sent: bool,
}

/// The masks of our frames, one after another. They keep what a page sends from looking like HTTP
/// to what is on the way; a server that connects to another sends no page's bytes.
#[derive(Debug)]
struct Masks(u64);

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ mixed >> 29) as u32).to_ne_bytes()
    }
}

impl Session {
    /// As agreed.
    pub fn new(upgraded: &Upgraded) -> Self {
        Self {
            decoder: Decoder::new(upgraded.compress, upgraded.masked),
            compressed: Vec::new(),
            compress: upgraded.compress,
            browser: upgraded.browser,
            masks: None,
            close_sent: false,
        }
    }

    /// As the server has agreed to what we asked for; our frames are masked if there is a `seed`.
    pub fn dialed(compress: bool, seed: Option<u64>) -> Self {
        Self {
            decoder: Decoder::new(compress, false),
            compressed: Vec::new(),
            compress,
            browser: Browser::No,
            masks: seed.map(Masks),
            close_sent: false,
        }
    }

    /// Are messages compressed?
    pub fn compresses(&self) -> bool {
        self.compress
    }

    /// Masks the frames from `start` on, if we must.
    fn mask_from(&mut self, start: usize, out: &mut Vec<u8>) {
        if let Some(masks) = &mut self.masks {
            frame::mask_from(out, start, || masks.next());
        }
    }

    /// Takes bytes of frames. Payload is appended to `plain`, answers to `out`. A compressed
    /// message may take `compressed_max` bytes before and `inflated_max` after.
    ///
    /// # Errors
    /// [`WebSocketError`]; `plain` has what came before.
    pub fn receive(
        &mut self,
        mut input: &[u8],
        bounds: Bounds,
        deflate: &mut Deflate,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        loop {
            let piece = match self.decoder.next(&mut input) {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.protocol_error(error.into(), out)),
            };
            match piece {
                Piece::Data {
                    payload,
                    compressed: false,
                    ..
                } => self.decoder.unmask_into(payload, plain),
                Piece::Data { payload, last, .. } => {
                    if self.compressed.len() + payload.len() > bounds.compressed {
                        self.compressed = Vec::new();
                        return Err(WebSocketError::TooLong);
                    }
                    self.decoder.unmask_into(payload, &mut self.compressed);
                    if last {
                        let message = std::mem::take(&mut self.compressed);
                        deflate
                            .inflate(&message, bounds.inflated, plain)
                            .map_err(|error| match error {
                                InflateError::TooLong => WebSocketError::TooLong,
                                InflateError::Corrupt => error.into(),
                            })?;
                    }
                }
                Piece::Control { opcode, payload } => self.control(opcode, &payload, out)?,
            }
        }
    }

    fn control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        match opcode {
            Opcode::Ping => {
                let start = out.len();
                frame::push_header(out, Opcode::Pong, Place::WHOLE, false, payload.len());
                out.extend_from_slice(payload);
                self.mask_from(start, out);
                Ok(())
            }
            Opcode::Close => Err(self.closed(payload, out)),
            Opcode::Pong | Opcode::Binary => Ok(()),
        }
    }

    /// The peer closes: it is told the same.
    fn closed(&mut self, payload: &[u8], out: &mut Vec<u8>) -> WebSocketError {
        let (status, text) = match *payload {
            [] => (STATUS_NONE, &[][..]),
            [_] => return self.protocol_error(WebSocketError::ShortClose, out),
            [high, low, ref text @ ..] => (u16::from_be_bytes([high, low]), text),
        };
        let start = out.len();
        if status == STATUS_NONE && payload.is_empty() {
            frame::push_header(out, Opcode::Close, Place::WHOLE, false, 0);
        } else if !is_valid_status(status) {
            return self.protocol_error(WebSocketError::Status(status), out);
        } else {
            match std::str::from_utf8(text) {
                Ok(text) => frame::push_close(out, status, text),
                Err(_) => frame::push_close(out, 1007, "invalid utf8 body in close frame"),
            }
        }
        self.mask_from(start, out);
        self.close_sent = true;
        WebSocketError::Closed
    }

    fn protocol_error(&mut self, error: WebSocketError, out: &mut Vec<u8>) -> WebSocketError {
        self.close(1002, &error.to_string(), out);
        error
    }

    /// Appends a close frame, once.
    pub fn close(&mut self, status: u16, text: &str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.close_sent, true) {
            let start = out.len();
            frame::push_close(out, status, text);
            self.mask_from(start, out);
        }
    }

    /// Wraps a chunk into one frame, or into several where the browser wants small ones. Appends
    /// to `wire`; large payloads are passed on by reference. `scratch` is scratch.
    pub fn wrap(
        &mut self,
        chunk: &mut Chunk,
        deflate: &mut Deflate,
        scratch: &mut Vec<u8>,
        wire: &mut Chunk,
    ) {
        let (len, start) = (chunk.len(), wire.bytes.len());
        if self.compress && len > COMPRESS_ABOVE {
            let gathered = gather(chunk, scratch);
            let mut packed = Vec::with_capacity(gathered.len() / 2 + 64);
            deflate.deflate(gathered, &mut packed);
            let frame = match self.browser {
                Browser::Yes => BROWSER_FRAME,
                Browser::No | Browser::Safari => usize::MAX,
            };
            push_frames(&mut wire.bytes, &packed, frame, true);
            return self.mask_from(start, &mut wire.bytes);
        }
        if self.masks.is_some() {
            push_frames(&mut wire.bytes, gather(chunk, scratch), usize::MAX, false);
            return self.mask_from(start, &mut wire.bytes);
        }
        if self.browser != Browser::No && len > BROWSER_FRAME {
            let gathered = gather(chunk, scratch);
            for piece in gathered.chunks(BROWSER_FRAME) {
                push_frames(&mut wire.bytes, piece, BROWSER_FRAME, false);
            }
            return;
        }
        frame::push_header(&mut wire.bytes, Opcode::Binary, Place::WHOLE, false, len);
        wire.append(chunk);
    }
}

/// How long a compressed message may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// On the wire.
    pub compressed: usize,
    /// In full.
    pub inflated: usize,
}

/// The chunk as one piece.
fn gather<'a>(chunk: &'a Chunk, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if chunk.shared.is_empty() {
        return &chunk.bytes;
    }
    scratch.clear();
    for piece in chunk.slices() {
        scratch.extend_from_slice(piece);
    }
    scratch
}

/// One message in frames of at most `max` bytes.
fn push_frames(out: &mut Vec<u8>, message: &[u8], max: usize, compressed: bool) {
    let count = message.len().div_ceil(max).max(1);
    for at in 0..count {
        let from = at * max;
        let piece = &message[from..message.len().min(from.saturating_add(max))];
        let place = Place {
            first: at == 0,
            last: at + 1 == count,
        };
        frame::push_header(
            out,
            Opcode::Binary,
            place,
            compressed && place.first,
            piece.len(),
        );
        out.extend_from_slice(piece);
    }
}

/// May a peer give this status (RFC 6455, 7.4)?
fn is_valid_status(status: u16) -> bool {
    matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_the_standard() {
        for good in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(is_valid_status(good), "{good}");
        }
        for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert!(!is_valid_status(bad), "{bad}");
        }
    }
}
