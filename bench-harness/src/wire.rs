//! The protocol as a generator needs it: a handshake, blocks of ready-made publishes, and a scanner
//! that counts messages of one known length.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::channel::Channel;
use crate::dial::{Dial, PASSWORD, Wire};
use crate::error::{BenchError, io_error};

/// A side of the run that makes no progress for this long has failed.
pub const STALL_MAX: Duration = Duration::from_secs(30);
/// How often a waiting reader looks whether the run is over.
pub const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// Bytes of one publish write: large enough that the system call does not count, small enough to
/// stay in the L2 cache.
const BLOCK_SIZE: usize = 64 * 1024;
/// Bytes of one read.
const READ_SIZE: usize = 512 * 1024;
/// Bytes of one read while shaking hands.
const HANDSHAKE_SIZE: usize = 8 * 1024;

const CONNECT: &str = concat!(
    r#""verbose":false,"pedantic":false,"echo":true,"headers":true,"no_responders":true,"#,
    r#""protocol":1,"lang":"rust","version":"1","name":"bench-harness""#
);

/// One connection that has shaken hands.
pub struct Connection {
    channel: Channel,
    role: &'static str,
    id: u64,
    resumed: bool,
    /// Subscriptions told before the first PONG.
    told: u64,
}

/// A connection on its way, so that many can be at once.
pub struct Opening {
    channel: Channel,
    dial: Dial,
    role: &'static str,
    id: u64,
}

impl Opening {
    /// Connects.
    ///
    /// # Errors
    /// [`BenchError::Io`].
    pub fn connect(dial: &Dial, role: &'static str) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(dial.address).map_err(io_error("connect"))?;
        stream.set_nodelay(true).map_err(io_error("set no delay"))?;
        stream
            .set_read_timeout(Some(STALL_MAX))
            .map_err(io_error("set a read timeout"))?;
        stream
            .set_write_timeout(Some(STALL_MAX))
            .map_err(io_error("set a write timeout"))?;
        Ok(Self {
            channel: Channel::open(stream, dial).map_err(io_error("ask for an upgrade"))?,
            dial: dial.clone(),
            role,
            id: 0,
        })
    }

    /// Waits for the greeting and begins what comes after it.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn greet(&mut self) -> Result<(), BenchError> {
        self.id = greeting(&mut self.channel, self.role)?;
        let begun = self.channel.greeted(&self.dial);
        begun.map_err(io_error("begin a TLS handshake"))
    }

    /// Ends it, and says hello and PING.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn hello(mut self, subjects: &[&str]) -> Result<Connection, BenchError> {
        let resumed = self.channel.secure();
        let resumed = resumed.map_err(io_error("end a TLS handshake"))?;
        self.channel
            .stream()
            .set_read_timeout(Some(READ_TIMEOUT))
            .map_err(io_error("set a read timeout"))?;
        let mut connection = Connection {
            channel: self.channel,
            role: self.role,
            id: self.id,
            resumed,
            told: 0,
        };
        connection.write(hello(&self.dial, connection.id, subjects).as_bytes())?;
        Ok(connection)
    }
}

/// What a client says after the greeting; a leaf has a name of its own, by its number.
fn hello(dial: &Dial, id: u64, subjects: &[&str]) -> String {
    if let Wire::Leaf = dial.wire {
        let mut hello = format!("CONNECT {{\"name\":\"bench{id}\",\"version\":\"2.15.1\",");
        let _ = write!(hello, "\"server_id\":\"BENCH{id}\",\"headers\":true}}\r\n");
        for subject in subjects {
            let _ = write!(hello, "LS+ {subject}\r\n");
        }
        hello.push_str("PING\r\n");
        return hello;
    }
    let who = dial.user.as_ref().map_or(String::new(), |user| {
        format!(r#""user":"{user}","pass":"{PASSWORD}","#)
    });
    let mut hello = format!("CONNECT {{{who}{CONNECT}}}\r\n");
    for (index, subject) in subjects.iter().enumerate() {
        let _ = write!(hello, "SUB {subject} {}\r\n", index + 1);
    }
    hello.push_str("PING\r\n");
    hello
}

impl Connection {
    /// Connects as `role` (a word for error texts) and subscribes to `subjects` with sids from 1
    /// on; returns when the server has confirmed all of it.
    ///
    /// # Errors
    /// [`BenchError::Io`], [`BenchError::Closed`], [`BenchError::Unexpected`].
    pub fn open(dial: &Dial, role: &'static str, subjects: &[&str]) -> Result<Self, BenchError> {
        let mut opening = Opening::connect(dial, role)?;
        opening.greet()?;
        let mut connection = opening.hello(subjects)?;
        connection.confirm()?;
        Ok(connection)
    }

    /// Waits for the answer to the first PING.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn confirm(&mut self) -> Result<(), BenchError> {
        let mut buffer = vec![0; HANDSHAKE_SIZE];
        let messages = self.pong(&mut Scanner::control_only(), &mut buffer)?;
        debug_assert_eq!(messages, 0, "a scanner without messages finds none");
        Ok(())
    }

    /// A connection that needs no handshake: its peer is no server.
    pub fn adopt(stream: TcpStream, role: &'static str) -> Self {
        Self {
            channel: Channel::plain(stream),
            role,
            id: 0,
            resumed: false,
            told: 0,
        }
    }

    /// Was a TLS session resumed for it?
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Subscriptions a leaf was told of while it shook hands.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The number the server knows it by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The socket, to wait on.
    pub fn stream(&self) -> &TcpStream {
        self.channel.stream()
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`BenchError::Io`], also when the server does not take it for [`STALL_MAX`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.channel
            .write(bytes)
            .map_err(io_error("write to the server"))
    }

    /// Reads once, answers PINGs, and hands each whole message to `each`.
    ///
    /// Finds nothing when [`READ_TIMEOUT`] passes without a byte.
    ///
    /// # Errors
    /// [`BenchError::Io`], [`BenchError::Closed`], [`BenchError::Unexpected`].
    pub fn receive(
        &mut self,
        scanner: &mut Scanner,
        buffer: &mut [u8],
        each: impl FnMut(&[u8]),
    ) -> Result<Found, BenchError> {
        let carried = scanner.restore(buffer);
        let read = match self.channel.read(&mut buffer[carried..]) {
            Ok(0) => return Err(BenchError::Closed { role: self.role }),
            Ok(read) => read,
            Err(error) if is_timeout(error.kind()) => 0,
            Err(source) => {
                return Err(BenchError::Io {
                    what: "read from the server",
                    source,
                });
            }
        };
        let found = scanner
            .scan(&buffer[..carried + read], each)
            .map_err(|line| BenchError::Unexpected {
                role: self.role,
                line,
            })?;
        for _ in 0..found.pings {
            self.write(b"PONG\r\n")?;
        }
        Ok(found)
    }

    /// From now on waits for bytes awake, as long as they come. What a sleeping client costs is its
    /// own wake-up: it is added to every latency, and the server pays for the waking.
    pub fn stay_awake(&mut self) {
        self.channel.stay_awake();
    }

    /// Sends PING and reads up to its PONG; returns the messages that came before it.
    ///
    /// # Errors
    /// As [`Self::receive`]; [`BenchError::Stalled`] without a PONG in [`STALL_MAX`].
    pub fn barrier(&mut self, scanner: &mut Scanner, buffer: &mut [u8]) -> Result<u64, BenchError> {
        self.write(b"PING\r\n")?;
        self.pong(scanner, buffer)
    }

    fn pong(&mut self, scanner: &mut Scanner, buffer: &mut [u8]) -> Result<u64, BenchError> {
        let deadline = Instant::now() + STALL_MAX;
        let mut messages = 0;
        while Instant::now() < deadline {
            let found = self.receive(scanner, buffer, |_| ())?;
            messages += found.messages;
            self.told += found.interests;
            if found.pongs > 0 {
                return Ok(messages);
            }
        }
        Err(BenchError::Stalled {
            role: self.role,
            seconds: STALL_MAX.as_secs(),
            received: 0,
            expected: 1,
        })
    }
}

/// Reads the server's INFO line and returns the connection's number in it.
fn greeting(channel: &mut Channel, role: &'static str) -> Result<u64, BenchError> {
    let mut line = Vec::new();
    let deadline = Instant::now() + STALL_MAX;
    while !line.ends_with(b"\n") && Instant::now() < deadline {
        let mut part = [0; HANDSHAKE_SIZE];
        match channel.read(&mut part) {
            Ok(0) => return Err(BenchError::Closed { role }),
            Ok(read) => line.extend_from_slice(&part[..read]),
            Err(error) if is_timeout(error.kind()) => (),
            Err(source) => return Err(io_error("read the greeting")(source)),
        }
    }
    line.strip_prefix(b"INFO ")
        .and_then(|info| serde_json::from_slice::<serde_json::Value>(info).ok())
        .map(|info| info["client_id"].as_u64().unwrap_or(0))
        .ok_or_else(|| BenchError::Unexpected {
            role,
            line: first_line(&line),
        })
}

/// A buffer for [`Connection::receive`]; one serves all connections of a thread.
pub fn read_buffer() -> Vec<u8> {
    vec![0; READ_SIZE]
}

/// As many whole publishes to `subject` with `size` bytes of payload as fit one block, one at
/// least, and their number.
pub fn publish_block(subject: &str, size: usize) -> (Vec<u8>, u64) {
    let mut one = Vec::new();
    append_publish(&mut one, subject, size);
    let count = (BLOCK_SIZE / one.len()).max(1);
    (one.repeat(count), count as u64)
}

/// One publish to each of `subjects`, in blocks.
pub fn publish_blocks(subjects: impl Iterator<Item = String>, size: usize) -> Vec<(Vec<u8>, u64)> {
    let mut blocks: Vec<(Vec<u8>, u64)> = Vec::new();
    for subject in subjects {
        if blocks
            .last()
            .is_none_or(|(block, _)| block.len() + subject.len() + size + 20 > BLOCK_SIZE)
        {
            blocks.push((Vec::with_capacity(BLOCK_SIZE), 0));
        }
        if let Some((block, count)) = blocks.last_mut() {
            append_publish(block, &subject, size);
            *count += 1;
        }
    }
    blocks
}

fn append_publish(block: &mut Vec<u8>, subject: &str, size: usize) {
    block.extend_from_slice(format!("PUB {subject} {size}\r\n").as_bytes());
    block.resize(block.len() + size, b'x');
    block.extend_from_slice(b"\r\n");
}

/// What one read held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whole messages.
    pub messages: u64,
    /// PINGs of the server.
    pub pings: u64,
    /// PONGs of the server.
    pub pongs: u64,
    /// Subscriptions the server told a leaf of, begun or ended.
    pub interests: u64,
}

/// Finds messages that all start alike. Where all are equally long it looks at their first and last
/// bytes only, however long they are.
pub struct Scanner {
    prefix: Vec<u8>,
    length: Length,
    carry: Vec<u8>,
}

/// Of a whole message.
enum Length {
    /// Known beforehand.
    Fixed(usize),
    /// Said by the last number of each head.
    Told,
}

impl Length {
    /// Of the message `input` starts with; `None` when its head is not there yet.
    fn of(&self, input: &[u8]) -> Result<Option<usize>, String> {
        if let Self::Fixed(length) = self {
            return Ok(Some(*length));
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let head = input[..end].trim_ascii_end();
        let size = head.rsplit(|&byte| byte == b' ').next();
        let size: Option<usize> = size
            .and_then(|size| std::str::from_utf8(size).ok())
            .and_then(|size| size.parse().ok());
        match size {
            Some(size) if size <= READ_SIZE / 4 => Ok(Some(end + 1 + size + 2)),
            _ => Err(first_line(input)),
        }
    }
}

impl Scanner {
    /// For messages that start with `prefix` and are `length` bytes long, head and both line ends
    /// included. A quarter of the read buffer is the most.
    pub fn new(prefix: &str, length: usize) -> Self {
        assert!(
            length >= prefix.len() + 2 && length <= READ_SIZE / 4,
            "message of {length} bytes"
        );
        Self {
            prefix: prefix.as_bytes().to_vec(),
            length: Length::Fixed(length),
            carry: Vec::with_capacity(length),
        }
    }

    /// For messages that start with `prefix`, without headers, of at most a quarter of the read
    /// buffer.
    pub fn of_any_length(prefix: &str) -> Self {
        Self {
            prefix: prefix.as_bytes().to_vec(),
            length: Length::Told,
            carry: Vec::new(),
        }
    }

    /// For a connection that gets no messages.
    pub fn control_only() -> Self {
        // A blank starts no line of the protocol.
        Self {
            prefix: b" ".to_vec(),
            length: Length::Fixed(0),
            carry: Vec::new(),
        }
    }

    /// Puts the unfinished end of the last read in front of `buffer`.
    fn restore(&mut self, buffer: &mut [u8]) -> usize {
        buffer[..self.carry.len()].copy_from_slice(&self.carry);
        self.carry.len()
    }

    fn scan(&mut self, input: &[u8], mut each: impl FnMut(&[u8])) -> Result<Found, String> {
        let mut found = Found::default();
        let mut rest = input;
        loop {
            if rest.starts_with(&self.prefix) {
                let length = self.length.of(rest)?;
                let Some((message, after)) = length.and_then(|it| rest.split_at_checked(it)) else {
                    break;
                };
                if !message.ends_with(b"\r\n") {
                    return Err(first_line(message));
                }
                each(message);
                found.messages += 1;
                rest = after;
            } else if self.prefix.starts_with(rest) {
                break;
            } else {
                let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                    break;
                };
                let (line, after) = rest.split_at(end + 1);
                match line {
                    b"PING\r\n" => found.pings += 1,
                    b"PONG\r\n" => found.pongs += 1,
                    _ if line.starts_with(b"INFO ") => (),
                    _ if line.starts_with(b"LS+ ") || line.starts_with(b"LS- ") => {
                        found.interests += 1;
                    }
                    _ => return Err(first_line(line)),
                }
                rest = after;
            }
        }
        self.carry.clear();
        self.carry.extend_from_slice(rest);
        Ok(found)
    }
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(200)])
        .trim_end()
        .to_owned()
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"INFO {}\r\nMSG s 1 2\r\nab\r\nPING\r\nMSG s 1 2\r\nMS\r\nPONG\r\n";

    /// Feeds `input` in two parts, cut at every place.
    #[track_caller]
    fn check(input: &[u8], expected: Result<Found, &str>) {
        for cut in 0..=input.len() {
            let mut scanner = Scanner::new("MSG s 1 2\r\n", 15);
            let mut buffer = [0; 256];
            let mut total = Found::default();
            let mut error = None;
            for part in [&input[..cut], &input[cut..]] {
                let carried = scanner.restore(&mut buffer);
                buffer[carried..carried + part.len()].copy_from_slice(part);
                match scanner.scan(&buffer[..carried + part.len()], |_| ()) {
                    Ok(found) => {
                        total.messages += found.messages;
                        total.pings += found.pings;
                        total.pongs += found.pongs;
                    }
                    Err(line) => error = error.or(Some(line)),
                }
            }
            let got = error.as_deref().map_or(Ok(total), Err);
            assert_eq!(got, expected, "cut at {cut}");
        }
    }

    #[test]
    fn every_split_gives_the_same_count() {
        check(
            STREAM,
            Ok(Found {
                messages: 2,
                pings: 1,
                pongs: 1,
                interests: 0,
            }),
        );
    }

    #[test]
    fn a_length_may_be_told_by_each_head() {
        let mut scanner = Scanner::of_any_length("MSG s ");
        let mut seen = Vec::new();
        let input = b"MSG s 1 2\r\nab\r\nMSG s 1 0\r\n\r\nPING\r\nMSG s 1 5\r\nab";
        let found = scanner.scan(input, |message| seen.push(message.len()));
        assert_eq!(found.map(|it| (it.messages, it.pings)), Ok((2, 1)));
        assert_eq!(seen, [15, 13]);
        assert_eq!(scanner.carry, b"MSG s 1 5\r\nab");
        let endless = scanner.scan(b"MSG s 1 99999999\r\n", |_| ());
        assert_eq!(endless, Err("MSG s 1 99999999".into()));
    }

    #[test]
    fn another_length_or_line_is_refused() {
        check(b"MSG s 1 3\r\nabc\r\n", Err("MSG s 1 3"));
        check(b"-ERR 'Slow Consumer'\r\n", Err("-ERR 'Slow Consumer'"));
    }

    #[test]
    fn a_block_holds_whole_publishes() {
        let (block, count) = publish_block("s", 16);
        assert_eq!(block.len() as u64, count * 28);
        assert!(block.len() <= BLOCK_SIZE && block.len() + 28 > BLOCK_SIZE);
        assert_eq!(publish_block("s", 100_000).1, 1);
    }

    #[test]
    fn blocks_hold_each_subject_once() {
        let blocks = publish_blocks((0..9000).map(|number| format!("s.{number}")), 16);
        assert_eq!(blocks.iter().map(|(_, count)| count).sum::<u64>(), 9000);
        assert!(blocks.len() > 1 && blocks.iter().all(|(block, _)| block.len() <= BLOCK_SIZE));
        let text: Vec<u8> = blocks.into_iter().flat_map(|(block, _)| block).collect();
        assert!(text.starts_with(b"PUB s.0 16\r\nxxxxxxxxxxxxxxxx\r\nPUB s.1 16\r\n"));
    }
}
