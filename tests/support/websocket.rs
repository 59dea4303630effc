//! WebSocket for the raw client: what it writes goes out as one masked frame, what comes in
//! frames is read as one stream.

use super::client::{Client, Wire};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

/// The key of every request here, and what must be answered to it (RFC 6455, 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A request with these headers added.
pub fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// One frame, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// What a server said in frames besides data.
#[derive(Debug, Default, Clone)]
pub struct Said {
    /// Opcode and payload length of each data frame.
    pub frames: Vec<(u8, usize)>,
    /// Payloads of pongs.
    pub pongs: Vec<Vec<u8>>,
    /// Status and text of the close frame.
    pub close: Option<(u16, String)>,
}

/// Frames over whatever there is.
pub struct Frames {
    wire: Box<dyn Wire>,
    input: Vec<u8>,
    ready: Vec<u8>,
    said: Arc<Mutex<Said>>,
    inflate: flate2::Decompress,
}

/// Asks for an upgrade, which must be granted; gives the answer's head and what will be said.
#[track_caller]
pub fn upgrade(client: &mut Client, path: &str, headers: &str) -> (String, Arc<Mutex<Said>>) {
    client.send(request(path, headers));
    let mut head = String::new();
    loop {
        let line = client.raw_line();
        if line.is_empty() {
            break;
        }
        head.push_str(&line);
        head.push('\n');
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let said = Arc::new(Mutex::new(Said::default()));
    let hand = Arc::clone(&said);
    let left = client.take_unread();
    client.through(move |wire| Frames {
        wire,
        input: left,
        ready: Vec::new(),
        said: hand,
        inflate: flate2::Decompress::new(false),
    });
    (head, said)
}

impl Frames {
    /// Takes a whole frame off the input.
    fn take(&mut self) -> Option<()> {
        let (&first, &second) = (self.input.first()?, self.input.get(1)?);
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let (len, from) = match second {
            126 => {
                let bytes = self.input.get(2..4)?;
                (usize::from(u16::from_be_bytes(bytes.try_into().ok()?)), 4)
            }
            127 => {
                let bytes = self.input.get(2..10)?;
                (u64::from_be_bytes(bytes.try_into().ok()?) as usize, 10)
            }
            short => (usize::from(short), 2),
        };
        let payload = self.input.get(from..from + len)?.to_vec();
        self.input.drain(..from + len);
        let mut said = self.said.lock().expect("nobody panicked");
        match first & 0x0f {
            8 => {
                let status = payload
                    .get(..2)
                    .map_or(1005, |it| u16::from_be_bytes([it[0], it[1]]));
                let text = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                said.close = Some((status, text.into_owned()));
            }
            9 => {}
            10 => said.pongs.push(payload),
            _ => {
                said.frames.push((first, len));
                if first & 0x40 != 0 {
                    self.inflate.reset(false);
                    let mut whole = payload;
                    whole.extend([0, 0, 0xff, 0xff]);
                    let mut out = Vec::with_capacity(1 << 20);
                    let flush = flate2::FlushDecompress::Sync;
                    self.inflate
                        .decompress_vec(&whole, &mut out, flush)
                        .expect("deflated");
                    self.ready.extend(out);
                } else {
                    self.ready.extend(payload);
                }
            }
        }
        Some(())
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if self.take().is_some() {
                continue;
            }
            let mut chunk = [0; 65536];
            match self.wire.read(&mut chunk) {
                Ok(0) => return Ok(0),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let count = self.ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[..count]);
        self.ready.drain(..count);
        Ok(count)
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A frame made by the case leaves as it is.
        match bytes.strip_prefix(RAW) {
            Some(raw) => self.wire.write_all(raw)?,
            None => self.wire.write_all(&frame(0x82, bytes))?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

/// Stands before bytes that are frames already.
const RAW: &[u8] = b"\0raw\0";

/// Sends frames as they are.
#[track_caller]
pub fn send_frames(client: &mut Client, frames: &[u8]) {
    client.send([RAW, frames].concat());
}
