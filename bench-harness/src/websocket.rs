//! WebSocket as a generator needs it: a request, masked frames of a set size, and frames of the
//! server taken apart where they lie.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Any will do; not zero, so that unmasking is work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const REQUEST_ANSWER_MAX: usize = 4096;
const CLOSE: u8 = 8;

/// One WebSocket.
pub struct WebSocket {
    /// Bytes of the protocol in one frame at most.
    frame: usize,
    framed: Vec<u8>,
    /// What came behind the answer to the request.
    early: Vec<u8>,
    frames: Frames,
}

impl WebSocket {
    /// Asks for an upgrade and waits for it.
    ///
    /// # Errors
    /// The socket's, and [`ErrorKind::InvalidData`] when it is not granted.
    pub fn open(mut stream: &TcpStream, address: SocketAddr, frame: usize) -> io::Result<Self> {
        stream.write_all(
            format!(
                "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let mut answer = Vec::new();
        loop {
            if let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
                if !answer.starts_with(b"HTTP/1.1 101 ") {
                    let text = String::from_utf8_lossy(&answer[..end]).into_owned();
                    return Err(io::Error::new(ErrorKind::InvalidData, text));
                }
                return Ok(Self {
                    frame,
                    framed: Vec::new(),
                    early: answer.split_off(end + 4),
                    frames: Frames::default(),
                });
            }
            let mut part = [0; REQUEST_ANSWER_MAX];
            match stream.read(&mut part)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&part[..read]),
            }
        }
    }

    /// Reads once with `read`; [`ErrorKind::WouldBlock`] when that holds no payload.
    ///
    /// # Errors
    /// The socket's; [`ErrorKind::UnexpectedEof`] at a close frame.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = if self.early.is_empty() {
            read(buffer)?
        } else {
            let early = std::mem::take(&mut self.early);
            buffer[..early.len()].copy_from_slice(&early);
            early.len()
        };
        if count == 0 {
            return Ok(0);
        }
        match self.frames.unwrap(&mut buffer[..count])? {
            0 => Err(ErrorKind::WouldBlock.into()),
            payload => Ok(payload),
        }
    }

    /// Writes all of `bytes` in frames.
    ///
    /// # Errors
    /// The socket's.
    pub fn write(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        self.framed.clear();
        for payload in bytes.chunks(self.frame) {
            push_frame(&mut self.framed, payload);
        }
        stream.write_all(&self.framed)
    }
}

fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x82);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    let (words, rest) = out[start..].as_chunks_mut::<4>();
    let mask = u32::from_ne_bytes(MASK);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(MASK) {
        *byte ^= mask;
    }
}

/// Where in the server's frames the stream is.
#[derive(Default)]
struct Frames {
    /// Payload of the frame at hand that has not come.
    left: usize,
    header: Vec<u8>,
}

impl Frames {
    /// Moves the payloads in `bytes` to its front; returns their length.
    fn unwrap(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if self.left > 0 {
                let count = self.left.min(bytes.len() - at);
                bytes.copy_within(at..at + count, kept);
                at += count;
                kept += count;
                self.left -= count;
                continue;
            }
            self.header.push(bytes[at]);
            at += 1;
            let Some(length) = payload_length(&self.header) else {
                continue;
            };
            if self.header[0] & 0x0f == CLOSE {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.left = length;
            self.header.clear();
        }
        Ok(kept)
    }
}

/// `None` while the header is not whole.
fn payload_length(header: &[u8]) -> Option<usize> {
    match header.get(1)? & 0x7f {
        126 => {
            let length = header.get(2..4)?.try_into().ok()?;
            Some(usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = header.get(2..10)?.try_into().ok()?;
            Some(u64::from_be_bytes(length) as usize)
        }
        short => Some(usize::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_out_of_frames_cut_anywhere() {
        let mut stream = vec![0x82, 3, b'a', b'b', b'c', 0x82, 126, 0, 200];
        stream.extend([b'x'; 200]);
        stream.extend([0x82, 0, 0x82, 1, b'z']);
        for cut in 1..stream.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in stream.chunks(cut) {
                let mut part = part.to_vec();
                let kept = frames.unwrap(&mut part).unwrap();
                got.extend_from_slice(&part[..kept]);
            }
            assert_eq!(got.len(), 204, "cut {cut}");
            assert!(
                got.starts_with(b"abcx") && got.ends_with(b"xz"),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn what_is_sent_is_masked() {
        let mut out = Vec::new();
        push_frame(&mut out, b"PING\r\n");
        assert_eq!(out[..2], [0x82, 0x86]);
        let unmasked: Vec<u8> = (0..6).map(|at| out[6 + at] ^ MASK[at % 4]).collect();
        assert_eq!(unmasked, b"PING\r\n");
    }
}
