//! A socket and what lies between it and the protocol.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::dial::{Dial, Wire};
use crate::tls::Tls;
use crate::websocket::WebSocket;

/// Longest wait of a connection that stays awake; then it sleeps as any.
const AWAKE_MAX: Duration = Duration::from_millis(5);

/// Bytes of the protocol in and out.
pub struct Channel {
    stream: TcpStream,
    layer: Layer,
    /// Waits for bytes with a thread that does not sleep.
    awake: bool,
}

enum Layer {
    None,
    Tls(Box<Tls>),
    WebSocket(Box<WebSocket>),
}

impl Channel {
    /// Over a socket as it is.
    pub fn plain(stream: TcpStream) -> Self {
        Self {
            stream,
            layer: Layer::None,
            awake: false,
        }
    }

    /// What comes before INFO.
    ///
    /// # Errors
    /// The socket's, and those of the layer.
    pub fn open(stream: TcpStream, dial: &Dial) -> io::Result<Self> {
        let layer = match dial.wire {
            Wire::Plain | Wire::Leaf | Wire::Tls(_) => Layer::None,
            Wire::WebSocket { frame } => {
                let websocket = WebSocket::open(&stream, dial.address, frame)?;
                Layer::WebSocket(Box::new(websocket))
            }
        };
        Ok(Self {
            layer,
            ..Self::plain(stream)
        })
    }

    /// What comes after INFO: the first flight of TLS.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn greeted(&mut self, dial: &Dial) -> io::Result<()> {
        if let Wire::Tls(config) = &dial.wire {
            self.layer = Layer::Tls(Box::new(Tls::begin(config, &self.stream)?));
        }
        Ok(())
    }

    /// The other flights; returns whether a session was resumed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn secure(&mut self) -> io::Result<bool> {
        match &mut self.layer {
            Layer::Tls(tls) => tls.finish(&self.stream),
            Layer::None | Layer::WebSocket(_) => Ok(false),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// From now on waits for bytes awake, as long as they come.
    pub fn stay_awake(&mut self) {
        self.awake = true;
    }

    /// Reads once; nothing at the end, `WouldBlock` or `TimedOut` when nothing has come.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (stream, awake) = (&self.stream, self.awake);
        let read = |buffer: &mut [u8]| read_socket(stream, awake, buffer);
        match &mut self.layer {
            Layer::None => read_socket(stream, awake, buffer),
            Layer::Tls(tls) => tls.read(stream, buffer, read),
            Layer::WebSocket(websocket) => websocket.read(buffer, read),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.layer {
            Layer::None => self.stream.write_all(bytes),
            Layer::Tls(tls) => tls.write(&self.stream, bytes),
            Layer::WebSocket(websocket) => websocket.write(&self.stream, bytes),
        }
    }
}

fn read_socket(mut stream: &TcpStream, awake: bool, buffer: &mut [u8]) -> io::Result<usize> {
    if awake {
        let until = Instant::now() + AWAKE_MAX;
        while Instant::now() < until {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(stream, &mut *buffer, flags) {
                Err(rustix::io::Errno::AGAIN) => std::hint::spin_loop(),
                received => return Ok(received.map(|(_, length)| length)?),
            }
        }
    }
    stream.read(buffer)
}
