//! The frame decoder as one would write it without a network: the whole stream is there, one byte
//! is looked at after the other. Slow, and obviously right; tests and the fuzz target hold the
//! real one against it.

use super::frame::{FrameError, Opcode};

/// What a stream says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Payload of all data frames.
    pub data: Vec<u8>,
    /// Control frames.
    pub controls: Vec<(Opcode, Vec<u8>)>,
    /// Whole messages: compressed or not, and their length.
    pub messages: Vec<(bool, usize)>,
    open: usize,
}

impl Decoded {
    /// Counts a piece of a message.
    pub fn note(&mut self, compressed: bool, last: bool, len: usize) {
        self.open += len;
        if last {
            self.messages
                .push((compressed, std::mem::take(&mut self.open)));
        }
    }
}

/// Decodes masked frames until the stream or its sense ends.
pub fn decode(stream: &[u8], compress: bool) -> (Decoded, Option<FrameError>) {
    let mut decoded = Decoded::default();
    let error = decode_into(stream, compress, &mut decoded).err().flatten();
    (decoded, error)
}

/// `Err(None)`: the stream ends inside a frame.
fn decode_into(
    stream: &[u8],
    compress: bool,
    decoded: &mut Decoded,
) -> Result<(), Option<FrameError>> {
    let mut bytes = stream.iter().copied();
    let mut take = || bytes.next().ok_or(None::<FrameError>);
    let (mut in_message, mut message_compressed) = (false, false);
    loop {
        let Ok(first) = take() else { return Ok(()) };
        let compressed = first & 0x40 != 0;
        if first & 0x30 != 0 {
            return Err(Some(FrameError::ReservedBits));
        }
        if compressed && !compress {
            return Err(Some(FrameError::NotNegotiated));
        }
        let second = take()?;
        if second & 0x80 == 0 {
            return Err(Some(FrameError::Unmasked));
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let mut len = u64::from(second & 0x7f);
        let control = match opcode {
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            0..=2 => None,
            _ => return Err(Some(FrameError::Opcode(opcode))),
        };
        let wrong = match (control.is_some(), opcode) {
            (true, _) if len > 125 => Some(FrameError::ControlTooLong),
            (true, _) if !fin => Some(FrameError::ControlFragmented),
            (true, _) if compressed => Some(FrameError::ControlCompressed),
            (false, 0) if !in_message || compressed => Some(FrameError::Continuation),
            (false, 1 | 2) if in_message => Some(FrameError::Interleaved),
            _ => None,
        };
        if wrong.is_some() {
            return Err(wrong);
        }
        let more = match len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more > 0 {
            len = 0;
            for _ in 0..more {
                len = len << 8 | u64::from(take()?);
            }
        }
        if len >> 63 != 0 {
            return Err(Some(FrameError::Length));
        }
        let mut mask = [0; 4];
        for byte in &mut mask {
            *byte = take()?;
        }
        if control.is_none() {
            in_message = !fin;
            if opcode != 0 {
                message_compressed = compressed;
            }
        }
        let mut payload = Vec::new();
        let mut whole = true;
        for at in 0..len {
            match take() {
                Ok(byte) => payload.push(byte ^ mask[(at % 4) as usize]),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        if let Some(opcode) = control {
            if whole {
                decoded.controls.push((opcode, payload));
            }
        } else {
            decoded.note(message_compressed, fin && whole, payload.len());
            decoded.data.extend(payload);
        }
        if !whole {
            return Err(None);
        }
    }
}
