//! What must hold for any bytes before the protocol: PROXY headers, HTTP requests, frames.

use ramjet::transport::proxy_protocol;
use ramjet::transport::websocket::deflate::Deflate;
use ramjet::transport::websocket::frame::{Decoder, Piece};
use ramjet::transport::websocket::settings::WebSocketSettings;
use ramjet::transport::websocket::{handshake, naive};

/// The first byte says what the rest is, and how it is cut.
pub fn check(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let cut = usize::from(how >> 2) + 1;
    match how & 3 {
        0 => headers(bytes),
        1 => frames(bytes, cut, false),
        2 => frames(bytes, cut, true),
        _ => inflates(bytes),
    }
}

fn headers(bytes: &[u8]) {
    if let Ok(proxy_protocol::Progress::Header { used, .. }) = proxy_protocol::read(bytes) {
        for end in 0..used {
            let front = proxy_protocol::read(&bytes[..end]);
            assert_eq!(front, Ok(proxy_protocol::Progress::More));
        }
    }
    let settings = WebSocketSettings {
        compression: true,
        ..WebSocketSettings::default()
    };
    if let handshake::Progress::Upgrade(upgraded) = handshake::read(bytes, &settings, false) {
        assert!(upgraded.answer.starts_with(b"HTTP/1.1 101 "));
        assert!(upgraded.answer.ends_with(b"\r\n\r\n"));
        // Nothing of the request can add a line to the answer.
        assert!(bytecount(&upgraded.answer, b'\n') <= 7);
    }
}

fn bytecount(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().filter(|&&it| it == byte).count()
}

/// The same as the naive decoder says, wherever the stream is cut.
fn frames(bytes: &[u8], cut: usize, compress: bool) {
    let mut decoder = Decoder::new(compress, true);
    let mut decoded = naive::Decoded::default();
    let mut failure = None;
    'stream: for mut input in bytes.chunks(cut) {
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
                Err(error) => {
                    failure = Some(error);
                    break 'stream;
                }
            }
        }
    }
    assert_eq!((decoded, failure), naive::decode(bytes, compress));
}

fn inflates(bytes: &[u8]) {
    let mut out = Vec::new();
    let _ = Deflate::default().inflate(bytes, 4096, &mut out);
    assert!(out.len() <= 4096);
}
