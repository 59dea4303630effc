//! Frames: headers, masks, fragments, control frames (WS-6, WS-7).

/// Payload of a control frame at most.
pub const CONTROL_MAX: usize = 125;
/// Header of a frame a client sends, and of one we send.
const HEADER_MAX: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// Data, as the client likes to call it.
    Binary,
    /// The connection ends.
    Close,
    /// To be answered.
    Ping,
    /// An answer.
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// A stream of frames that makes no sense. The texts are stock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Bits nobody has agreed on.
    #[error("RSV2 and RSV3 must be clear")]
    ReservedBits,
    /// A compressed message that was not agreed on.
    #[error("compressed frame received without negotiated permessage-deflate")]
    NotNegotiated,
    /// A client must mask.
    #[error("mask bit missing")]
    Unmasked,
    /// More than 125 bytes.
    #[error("control frame length bigger than maximum allowed of 125 bytes")]
    ControlTooLong,
    /// A control frame in pieces.
    #[error("control frame does not have final bit set")]
    ControlFragmented,
    /// A compressed control frame.
    #[error("control frame must not be compressed")]
    ControlCompressed,
    /// A message inside a message.
    #[error("new message started before final frame for previous message was received")]
    Interleaved,
    /// A piece of no message.
    #[error("invalid continuation frame")]
    Continuation,
    /// Neither data nor control.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// The top bit of a 64-bit length.
    #[error("invalid 64-bit payload length")]
    Length,
}

/// One step through the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Part of a message's payload, still masked: see [`Decoder::unmask_into`].
    Data {
        /// The bytes.
        payload: &'a [u8],
        /// The message is compressed.
        compressed: bool,
        /// The message ends with them.
        last: bool,
    },
    /// A control frame, unmasked.
    Control {
        /// Which.
        opcode: Opcode,
        /// At most [`CONTROL_MAX`] bytes.
        payload: Control,
    },
}

/// Payload of a control frame.
pub type Control = smallvec::SmallVec<[u8; 32]>;

/// Reads frames from a stream cut anywhere. It stores a header or a control frame at most; the
/// payload of data is handed on as it comes.
#[derive(Debug)]
pub struct Decoder {
    /// Compression was agreed on.
    compress: bool,
    /// The client masks.
    masked: bool,
    /// Front of a frame whose header, or whose control payload, has not come.
    held: smallvec::SmallVec<[u8; HEADER_MAX]>,
    /// Payload of the data frame at hand that has not come.
    left: u64,
    in_frame: bool,
    /// A message's last frame has not come.
    in_message: bool,
    /// The frame at hand is its message's last.
    last: bool,
    compressed: bool,
    mask: [u8; 4],
    /// Where in the mask the next byte stands.
    phase: usize,
}

/// A frame's header.
struct Header {
    len: usize,
    opcode: u8,
    fin: bool,
    compressed: bool,
    payload: u64,
    mask: [u8; 4],
}

impl Decoder {
    /// Before the first frame.
    pub fn new(compress: bool, masked: bool) -> Self {
        Self {
            compress,
            masked,
            held: smallvec::SmallVec::new(),
            left: 0,
            in_frame: false,
            in_message: false,
            last: false,
            compressed: false,
            mask: [0; 4],
            phase: 0,
        }
    }

    /// Takes the next piece off the front of `input`; `None` when it is used up.
    ///
    /// # Errors
    /// [`FrameError`]: the rest of the stream has no meaning.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        loop {
            if self.in_frame {
                let take = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                // An empty frame says something where it ends a message.
                if take == 0 && self.left > 0 {
                    return Ok(None);
                }
                let (payload, rest) = input.split_at(take);
                *input = rest;
                self.left -= take as u64;
                self.in_frame = self.left > 0;
                return Ok(Some(Piece::Data {
                    payload,
                    compressed: self.compressed,
                    last: self.last && !self.in_frame,
                }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            // A header is read from the input where it is whole there, from `held` where not.
            let control = if self.held.is_empty() {
                let Some(header) = self.header(input)? else {
                    self.held.extend_from_slice(input);
                    *input = &[];
                    return Ok(None);
                };
                let total = header.total();
                if header.is_control() && input.len() < total {
                    self.held.extend_from_slice(input);
                    *input = &[];
                    return Ok(None);
                }
                let (front, rest) = input.split_at(total.min(input.len()));
                *input = rest;
                self.begin(&header, front)?
            } else {
                let (byte, rest) = input.split_at(1);
                *input = rest;
                self.held.extend_from_slice(byte);
                let held = std::mem::take(&mut self.held);
                match self.header(&held)? {
                    Some(header) if held.len() >= header.total() => self.begin(&header, &held)?,
                    _ => {
                        self.held = held;
                        continue;
                    }
                }
            };
            if control.is_some() {
                return Ok(control);
            }
        }
    }

    /// Goes into a frame, or makes a piece of a control frame.
    fn begin<'a>(
        &mut self,
        header: &Header,
        front: &[u8],
    ) -> Result<Option<Piece<'a>>, FrameError> {
        if header.is_control() {
            let mut payload = Control::from_slice(&front[header.len..]);
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte ^= header.mask[at & 3];
            }
            let opcode = match header.opcode {
                8 => Opcode::Close,
                9 => Opcode::Ping,
                _ => Opcode::Pong,
            };
            return Ok(Some(Piece::Control { opcode, payload }));
        }
        if header.opcode != 0 {
            self.compressed = header.compressed;
        }
        self.last = header.fin;
        self.in_message = !header.fin;
        self.left = header.payload;
        self.mask = header.mask;
        self.phase = 0;
        self.in_frame = true;
        Ok(None)
    }

    /// Reads a header; `None` where its end has not come. What is wrong is found as early as stock
    /// finds it: at the first byte that shows it.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, FrameError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let (fin, compressed, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0f);
        if first & 0x30 != 0 {
            return Err(FrameError::ReservedBits);
        }
        if compressed && !self.compress {
            return Err(FrameError::NotNegotiated);
        }
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        if self.masked && second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = second & 0x7f;
        match opcode {
            8..=10 if usize::from(short) > CONTROL_MAX => return Err(FrameError::ControlTooLong),
            8..=10 if !fin => return Err(FrameError::ControlFragmented),
            8..=10 if compressed => return Err(FrameError::ControlCompressed),
            8..=10 => {}
            1 | 2 if self.in_message => return Err(FrameError::Interleaved),
            1 | 2 => {}
            0 if !self.in_message || compressed => return Err(FrameError::Continuation),
            0 => {}
            _ => return Err(FrameError::Opcode(opcode)),
        }
        let (payload, mut len) = match short {
            126 => match input.get(2..4).and_then(|it| it.try_into().ok()) {
                Some(bytes) => (u64::from(u16::from_be_bytes(bytes)), 4),
                None => return Ok(None),
            },
            127 => match input.get(2..10).and_then(|it| it.try_into().ok()) {
                Some(bytes) => (u64::from_be_bytes(bytes), 10),
                None => return Ok(None),
            },
            _ => (u64::from(short), 2),
        };
        if payload >> 63 != 0 {
            return Err(FrameError::Length);
        }
        let mut mask = [0; 4];
        if self.masked {
            let Some(bytes) = input.get(len..len + 4) else {
                return Ok(None);
            };
            mask.copy_from_slice(bytes);
            len += 4;
        }
        Ok(Some(Header {
            len,
            opcode,
            fin,
            compressed,
            payload,
            mask,
        }))
    }

    /// Appends the payload of a [`Piece::Data`] to `into`, unmasked, in one pass. To be called
    /// once for each piece, in order.
    pub fn unmask_into(&mut self, payload: &[u8], into: &mut Vec<u8>) {
        if !self.masked {
            into.extend_from_slice(payload);
            return;
        }
        let start = into.len();
        into.resize(start + payload.len(), 0);
        let key: [u8; 16] = std::array::from_fn(|at| self.mask[(self.phase + at) & 3]);
        let key = u128::from_ne_bytes(key);
        // Sixteen bytes at a time: the compiler makes vector instructions of it.
        let (from, from_tail) = payload.as_chunks::<16>();
        let (to, to_tail) = into[start..].as_chunks_mut::<16>();
        for (to, from) in to.iter_mut().zip(from) {
            *to = (u128::from_ne_bytes(*from) ^ key).to_ne_bytes();
        }
        let key = key.to_ne_bytes();
        for ((to, from), key) in to_tail.iter_mut().zip(from_tail).zip(key) {
            *to = from ^ key;
        }
        self.phase = (self.phase + payload.len()) & 3;
    }
}

impl Header {
    const fn is_control(&self) -> bool {
        self.opcode >= 8
    }

    /// Bytes that must be there before the frame is begun: with the payload of a control frame.
    fn total(&self) -> usize {
        if self.is_control() {
            self.len + self.payload as usize // at most 125
        } else {
            self.len
        }
    }
}

/// A frame's place in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// It begins the message.
    pub first: bool,
    /// It ends it.
    pub last: bool,
}

impl Place {
    /// A message of one frame.
    pub const WHOLE: Self = Self {
        first: true,
        last: true,
    };
}

/// Appends the header of an unmasked frame.
pub fn push_header(
    out: &mut Vec<u8>,
    opcode: Opcode,
    place: Place,
    compressed: bool,
    payload: usize,
) {
    let mut first = if place.first { opcode.bits() } else { 0 };
    first |= if place.last { 0x80 } else { 0 };
    first |= if compressed { 0x40 } else { 0 };
    out.push(first);
    match payload {
        0..=125 => out.push(payload as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// Masks the unmasked frames that `out` has from `start` to its end, as a client must.
pub fn mask_from(out: &mut Vec<u8>, start: usize, mut mask: impl FnMut() -> [u8; 4]) {
    let mut at = start;
    while let Some(&short) = out.get(at + 1) {
        let (len, head) = match short {
            126 => (be(out, at + 2, 2), 4),
            127 => (be(out, at + 2, 8), 10),
            len => (usize::from(len), 2),
        };
        let mask = mask();
        out[at + 1] |= 0x80;
        let body = at + head;
        out.splice(body..body, mask);
        let body = body + mask.len();
        let end = (body + len).min(out.len());
        let key = u128::from_ne_bytes(std::array::from_fn(|at| mask[at & 3]));
        let (whole, tail) = out[body..end].as_chunks_mut::<16>();
        for bytes in whole {
            *bytes = (u128::from_ne_bytes(*bytes) ^ key).to_ne_bytes();
        }
        for (byte, key) in tail.iter_mut().zip(key.to_ne_bytes()) {
            *byte ^= key;
        }
        at = end;
    }
}

/// A big-endian number of `len` bytes.
fn be(bytes: &[u8], at: usize, len: usize) -> usize {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Appends a close frame; a long text is cut.
pub fn push_close(out: &mut Vec<u8>, status: u16, text: &str) {
    const TEXT_MAX: usize = CONTROL_MAX - 2;
    let (text, more) = if text.len() > TEXT_MAX {
        (&text.as_bytes()[..TEXT_MAX - 3], &b"..."[..])
    } else {
        (text.as_bytes(), &b""[..])
    };
    let len = 2 + text.len() + more.len();
    push_header(out, Opcode::Close, Place::WHOLE, false, len);
    out.extend_from_slice(&status.to_be_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(more);
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;

    /// Everything a stream says, cut into pieces of `cut` bytes.
    fn decode(stream: &[u8], compress: bool, cut: usize) -> (naive::Decoded, Option<FrameError>) {
        let mut decoder = Decoder::new(compress, true);
        let mut decoded = naive::Decoded::default();
        for mut input in stream.chunks(cut.max(1)) {
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(Piece::Data {
                        payload,
                        compressed,
                        last,
                    })) => {
                        let before = decoded.data.len();
                        decoder.unmask_into(payload, &mut decoded.data);
                        let len = decoded.data.len() - before;
                        decoded.note(compressed, last, len);
                    }
                    Ok(Some(Piece::Control { opcode, payload })) => {
                        decoded.controls.push((opcode, payload.to_vec()));
                    }
                    Ok(None) => break,
                    Err(error) => return (decoded, Some(error)),
                }
            }
            assert!(input.is_empty());
            assert!(decoder.held.len() < HEADER_MAX + CONTROL_MAX, "bounded");
        }
        (decoded, None)
    }

    fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut frame = Vec::new();
        push_header(
            &mut frame,
            Opcode::Binary,
            Place::WHOLE,
            false,
            payload.len(),
        );
        frame[0] = first;
        frame[1] |= 0x80;
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    #[track_caller]
    fn refused(stream: &[u8], error: FrameError) {
        for cut in [1, 2, 3, 1000] {
            assert_eq!(decode(stream, true, cut).1, Some(error), "cut {cut}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(&[0xa2, 0x80], FrameError::ReservedBits);
        refused(&[0x82, 0x05], FrameError::Unmasked);
        refused(&[0x89, 0xfe], FrameError::ControlTooLong);
        refused(&[0x09, 0x80], FrameError::ControlFragmented);
        refused(&[0xc9, 0x80], FrameError::ControlCompressed);
        refused(&[0x80, 0x80], FrameError::Continuation);
        refused(&[0x83, 0x80], FrameError::Opcode(3));
        refused(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], FrameError::Length);
        let mut stream = masked(0x02, b"a", [1, 2, 3, 4]);
        stream.extend(masked(0x82, b"b", [1, 2, 3, 4]));
        refused(&stream, FrameError::Interleaved);
        assert_eq!(
            decode(&[0xc2, 0x80], false, 9).1,
            Some(FrameError::NotNegotiated)
        );
    }

    /// Random streams, cut anywhere, against a decoder that has all of it before it begins.
    #[test]
    fn agrees_with_the_naive_decoder() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
        };
        for round in 0..2000 {
            let mut stream = Vec::new();
            let mut open = false;
            for _ in 0..random(8) {
                let len = [0, 1, 7, 125, 126, 300, 70_000][random(7) as usize];
                let len = if round % 50 == 0 { len } else { len.min(300) };
                let payload: Vec<u8> = (0..len).map(|_| random(256) as u8).collect();
                let mask = [(); 4].map(|()| random(256) as u8);
                let last = random(3) > 0;
                let first = match random(5) {
                    0 => 0x88 + random(3) as u8,
                    _ if open => u8::from(last) << 7,
                    _ => (u8::from(last) << 7) | (0x40 * random(2) as u8) | (1 + random(2) as u8),
                };
                if first & 8 == 0 {
                    open = !last;
                    stream.extend(masked(first, &payload, mask));
                } else {
                    stream.extend(masked(first, &payload[..payload.len().min(125)], mask));
                }
            }
            if random(4) == 0 && !stream.is_empty() {
                let at = random(stream.len() as u64) as usize;
                stream[at] ^= 1 << random(8);
            }
            let cut = 1 + random(40) as usize;
            assert_eq!(
                decode(&stream, true, cut),
                naive::decode(&stream, true),
                "round {round}, cut {cut}"
            );
        }
    }

    #[test]
    fn headers_of_ours() {
        let header = |place, compressed, len| {
            let mut out = Vec::new();
            push_header(&mut out, Opcode::Binary, place, compressed, len);
            out
        };
        assert_eq!(header(Place::WHOLE, false, 5), [0x82, 5]);
        assert_eq!(header(Place::WHOLE, true, 126), [0xc2, 126, 0, 126]);
        let middle = Place {
            first: false,
            last: false,
        };
        assert_eq!(
            header(middle, false, 65536),
            [0, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        let mut close = Vec::new();
        push_close(&mut close, 1000, &"x".repeat(200));
        assert_eq!(close.len(), 2 + CONTROL_MAX);
        assert!(close.ends_with(b"x..."));
    }
}
