//! A raw client: text in, lines out. It knows the protocol just enough to keep cases tiny.

use super::PATIENCE;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject it was published to.
    pub subject: String,
    /// Subscription it was delivered to.
    pub sid: String,
    /// Reply subject, empty when none.
    pub reply: String,
    /// Header block with its blank line, empty for MSG.
    pub headers: Vec<u8>,
    /// Payload after the header block.
    pub payload: Vec<u8>,
}

/// What bytes go through.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// One connection. Answers the server's pings unless [`Client::raw_line`] reads them.
pub struct Client {
    stream: Box<dyn Wire>,
    socket: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    /// The first INFO, later the newest one read by [`Client::connect`] or [`Client::info_line`].
    pub info: Value,
}

impl Client {
    /// Connects and reads INFO.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        let mut client = Self::dial(address);
        client.info_line();
        client
    }

    /// Connects and reads nothing.
    #[track_caller]
    pub fn dial(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("client port"))
    }

    /// What came over a connection, and what is to leave over it: where the case is the server.
    #[track_caller]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("read timeout");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("write timeout");
        Self {
            socket: stream.try_clone().expect("another handle"),
            stream: Box::new(stream),
            buffer: Vec::new(),
            start: 0,
            info: Value::Null,
        }
    }

    /// Sends CONNECT with all features on, overlaid with the fields of `options`, and waits for
    /// the PONG of a PING; where the protocol promises a second INFO, for that too.
    #[track_caller]
    pub fn connect(&mut self, options: &str) {
        let mut fields = json!({
            "verbose": false, "pedantic": false, "echo": true, "headers": true,
            "no_responders": true, "protocol": 1, "lang": "raw", "version": "1.0", "name": "case",
        });
        let overlay: Value = serde_json::from_str(options).expect("options are JSON");
        for (key, value) in overlay.as_object().expect("options are an object") {
            fields[key] = value.clone();
        }
        self.send(format!("CONNECT {fields}\r\n"));
        if fields["verbose"] == json!(true) {
            self.expect(&["+OK"]);
        }
        self.send("PING\r\n");
        self.expect(&["PONG"]);
        if fields["protocol"] == json!(1) {
            self.info_line();
        }
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    /// Writes bytes, or as many as the server takes before it closes.
    pub fn send_until_closed(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The socket, for options.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Takes what has arrived and was not read.
    pub fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        unread
    }

    /// Puts something between the socket and the protocol: TLS, WebSocket.
    #[track_caller]
    pub fn through<W: Wire + 'static>(&mut self, wrap: impl FnOnce(Box<dyn Wire>) -> W) {
        assert_eq!(self.start, self.buffer.len(), "nothing is left unread");
        let stream = std::mem::replace(&mut self.stream, Box::new(std::io::empty()));
        self.stream = Box::new(wrap(stream));
    }

    /// Appends what arrives next to the buffer; false at the end of the stream.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            // A server that closes with our bytes unread resets the connection.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                ) =>
            {
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                let end = self.buffer.len().saturating_sub(200);
                panic!(
                    "{error} after {:?}",
                    String::from_utf8_lossy(&self.buffer[end..])
                )
            }
        }
    }

    #[track_caller]
    fn next_line(&mut self) -> Option<String> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(end) = memchr::memmem::find(unread, b"\r\n") {
                let line = String::from_utf8_lossy(&unread[..end]).into_owned();
                self.start += end + 2;
                return Some(line);
            }
            if !self.fill() {
                let rest = &self.buffer[self.start..];
                assert!(
                    rest.is_empty(),
                    "half a line: {:?}",
                    String::from_utf8_lossy(rest)
                );
                return None;
            }
        }
    }

    /// The next bytes as they are.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() - self.start < count {
            assert!(self.fill(), "the server closed the connection");
        }
        let bytes = self.buffer[self.start..][..count].to_vec();
        self.start += count;
        bytes
    }

    /// The next line without its end, pings included.
    #[track_caller]
    pub fn raw_line(&mut self) -> String {
        self.next_line().expect("the server closed the connection")
    }

    /// The next line without its end; a PING is answered and passed over.
    #[track_caller]
    pub fn line(&mut self) -> String {
        loop {
            let line = self.raw_line();
            if line != "PING" {
                return line;
            }
            self.send("PONG\r\n");
        }
    }

    /// The next line without its end, pings passed over; `None` at the end of the stream.
    #[track_caller]
    pub fn line_unless_closed(&mut self) -> Option<String> {
        loop {
            match self.next_line()? {
                line if line == "PING" => self.send_until_closed("PONG\r\n"),
                line => return Some(line),
            }
        }
    }

    /// What comes up to this line, which is included.
    #[track_caller]
    pub fn up_to(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != last) {
            lines.push(self.line());
        }
        lines
    }

    /// The next lines must be these.
    #[track_caller]
    pub fn expect(&mut self, lines: &[&str]) {
        for expected in lines {
            assert_eq!(self.line(), *expected);
        }
    }

    /// Reads an INFO line into `info`.
    #[track_caller]
    pub fn info_line(&mut self) -> Value {
        let line = self.line();
        let json = line
            .strip_prefix("INFO ")
            .unwrap_or_else(|| panic!("not INFO: {line}"));
        self.info = serde_json::from_str(json).expect("INFO is JSON");
        self.info.clone()
    }

    /// Sends `text` and a PING; gives the lines that come before the PONG.
    #[track_caller]
    pub fn ask(&mut self, text: impl AsRef<[u8]>) -> Vec<String> {
        let mut bytes = text.as_ref().to_vec();
        bytes.extend_from_slice(b"PING\r\n");
        self.send(bytes);
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == "PONG" => return lines,
                line => lines.push(line),
            }
        }
    }

    /// Sends `text` and waits for the PONG, before which nothing may come.
    #[track_caller]
    pub fn quietly(&mut self, text: impl AsRef<[u8]>) {
        assert_eq!(self.ask(text), [""; 0]);
    }

    /// Lines until the server closes the connection.
    #[track_caller]
    pub fn closed(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line())
            .filter(|line| line != "PING")
            .collect()
    }

    /// Lets the server's pings go by until it gives up.
    #[track_caller]
    pub fn closed_without_answering(&mut self) {
        while self.next_line().is_some() {}
    }

    /// Reads and forgets bytes until the server closes the connection; gives their number.
    #[track_caller]
    pub fn drained(&mut self) -> usize {
        let mut total = self.buffer.len() - self.start;
        loop {
            self.start = self.buffer.len();
            if !self.fill() {
                return total;
            }
            total += self.buffer.len();
        }
    }

    /// The next message; any other line fails.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        let line = self.line();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let verb = words.remove(0);
        let number = |text: &str| text.parse::<usize>().expect("size");
        let total = number(words.pop().expect("total size"));
        let header_size = match verb {
            "MSG" => 0,
            "HMSG" => number(words.pop().expect("header size")),
            _ => panic!("not a message: {line}"),
        };
        while self.buffer.len() - self.start < total + 2 {
            assert!(self.fill(), "closed inside a message: {line}");
        }
        let body = &self.buffer[self.start..][..total];
        let message = Message {
            subject: words[0].to_owned(),
            sid: words[1].to_owned(),
            reply: words.get(2).unwrap_or(&"").to_string(),
            headers: body[..header_size].to_vec(),
            payload: body[header_size..].to_vec(),
        };
        assert_eq!(
            &self.buffer[self.start + total..][..2],
            b"\r\n",
            "after {line}"
        );
        self.start += total + 2;
        message
    }
}

/// Has `publisher` send `text`, then a mark that `subscriber` receives after it; gives every line
/// `subscriber` got before the mark. So "nothing arrives" needs no waiting.
#[track_caller]
pub fn delivered(publisher: &mut Client, subscriber: &mut Client, text: &str) -> Vec<String> {
    let mut lines = subscriber.ask("SUB _MARK mark\r\n");
    publisher.send(text);
    publisher.send("PUB _MARK 6\r\n=mark=\r\n");
    loop {
        match subscriber.line() {
            line if line == "MSG _MARK mark 6" => break,
            line => lines.push(line),
        }
    }
    lines.extend(subscriber.ask("UNSUB mark\r\n"));
    // Wildcards of the subscriber hear the mark too.
    lines.retain(|line| !line.starts_with("MSG _MARK ") && line != "=mark=");
    lines
}
