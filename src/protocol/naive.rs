//! The client parser again, one byte at a time, slow and obviously right: the real one must agree
//! with it after every single byte, and for every way to cut a stream into reads.

use super::error::ProtocolError;
use super::info;
use super::op::{ClientOp, Publish};
use super::parser::{Limits, Progress, common_publish, next_op};

const VERBS: [&str; 11] = [
    "PUB", "HPUB", "PING", "PONG", "SUB", "UNSUB", "CONNECT", "INFO", "+OK", "-ERR", "HMSG",
];

enum State {
    Verb(Vec<u8>),
    /// After the verb; true once a blank was seen.
    Blanks(&'static str, bool, usize),
    Arguments(&'static str, Vec<u8>),
    /// What PING, PONG and +OK ignore.
    Ignored(&'static str, usize),
    /// Arguments, and what came of header, payload and CRLF.
    Body(&'static str, Vec<u8>, Vec<u8>),
    Failed(ProtocolError),
}

struct Naive {
    limits: Limits,
    state: State,
    /// `Debug` of each operation.
    ops: Vec<String>,
}

impl Naive {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Verb(Vec::new()),
            ops: Vec::new(),
        }
    }

    fn failed(&self) -> Option<ProtocolError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn feed(&mut self, byte: u8) {
        let state = std::mem::replace(&mut self.state, State::Verb(Vec::new()));
        self.state = self.step(state, byte).unwrap_or_else(State::Failed);
    }

    fn step(&mut self, state: State, byte: u8) -> Result<State, ProtocolError> {
        let blank = byte == b' ' || byte == b'\t';
        Ok(match state {
            State::Failed(error) => return Err(error),
            State::Verb(mut verb) => {
                verb.push(byte.to_ascii_uppercase());
                match VERBS
                    .iter()
                    .find(|known| known.as_bytes().starts_with(&verb))
                {
                    None => return Err(ProtocolError::UnknownOperation),
                    Some(&known) if known.len() > verb.len() => State::Verb(verb),
                    Some(&known @ ("PING" | "PONG" | "+OK")) => State::Ignored(known, 0),
                    Some(&known) => State::Blanks(known, false, 0),
                }
            }
            State::Ignored(verb, _) if byte == b'\n' => {
                self.emit(match verb {
                    "PING" => ClientOp::Ping,
                    "PONG" => ClientOp::Pong,
                    _ => ClientOp::Ok,
                });
                State::Verb(Vec::new())
            }
            State::Ignored(_, count) if count > self.limits.max_control_line => {
                return Err(ProtocolError::ControlLineTooLong);
            }
            State::Ignored(verb, count) => State::Ignored(verb, count + 1),
            State::Blanks(_, _, count) if blank && count == self.limits.max_control_line => {
                return Err(ProtocolError::ControlLineTooLong);
            }
            State::Blanks(verb, _, count) if blank => State::Blanks(verb, true, count + 1),
            State::Blanks(verb, seen, _) if !seen && verb != "CONNECT" && verb != "INFO" => {
                return Err(ProtocolError::UnknownOperation);
            }
            State::Blanks(verb, ..) => self.argument_byte(verb, vec![byte])?,
            State::Arguments(verb, args) if byte == b'\n' => self.line(verb, &args)?,
            State::Arguments(verb, mut args) => {
                args.push(byte);
                self.argument_byte(verb, args)?
            }
            State::Body(verb, args, mut body) => {
                body.push(byte);
                self.body(verb, args, body)?
            }
        })
    }

    fn argument_byte(&self, verb: &'static str, args: Vec<u8>) -> Result<State, ProtocolError> {
        if without_return(&args).len() > self.limits.max_control_line {
            return Err(ProtocolError::ControlLineTooLong);
        }
        Ok(State::Arguments(verb, args))
    }

    fn line(&mut self, verb: &'static str, args: &[u8]) -> Result<State, ProtocolError> {
        let args = without_return(args).to_vec();
        let bad = ProtocolError::BadArguments { verb };
        let separators: &[u8] = if verb.ends_with("SUB") {
            b" \t\r\n"
        } else {
            b" \t"
        };
        let words: Vec<&[u8]> = args
            .split(|byte| separators.contains(byte))
            .filter(|word| !word.is_empty())
            .collect();
        match (verb, &words[..]) {
            ("HMSG", _) => return Err(ProtocolError::UnknownOperation),
            ("CONNECT", _) => self.emit(ClientOp::Connect { json: &args }),
            ("-ERR", _) => self.emit(ClientOp::Err { text: &args }),
            ("INFO", _) if info::is_acceptable(&args) => self.emit(ClientOp::Info),
            ("SUB", [subject, sid]) => self.emit(ClientOp::Subscribe {
                subject,
                queue: None,
                sid,
            }),
            ("SUB", [subject, queue, sid]) => {
                self.emit(ClientOp::Subscribe {
                    subject,
                    queue: Some(queue),
                    sid,
                });
            }
            ("UNSUB", [sid]) => self.emit(ClientOp::Unsubscribe { sid, max: None }),
            ("UNSUB", [sid, max]) => {
                let max = number(max).filter(|&max| max != 0).map(|max| max as u64);
                self.emit(ClientOp::Unsubscribe { sid, max });
            }
            ("HPUB", _) if !self.limits.headers => return Err(ProtocolError::HeadersNotSupported),
            ("PUB" | "HPUB", _) => {
                let publish = publish(verb, &args, &[]).ok_or(bad)?;
                let size = number(publish.size_text).unwrap_or(0);
                if size > self.limits.max_payload {
                    return Err(ProtocolError::MaxPayload { size });
                }
                return Ok(State::Body(verb, args, Vec::new()));
            }
            _ => return Err(bad),
        }
        Ok(State::Verb(Vec::new()))
    }

    fn body(
        &mut self,
        verb: &'static str,
        args: Vec<u8>,
        body: Vec<u8>,
    ) -> Result<State, ProtocolError> {
        let mut op = publish(verb, &args, &[]).unwrap();
        let size = number(op.size_text).unwrap();
        let end = body.get(size..).unwrap_or_default();
        if !b"\r\n".starts_with(end) {
            return Err(ProtocolError::UnknownOperation);
        }
        if end.len() < 2 {
            return Ok(State::Body(verb, args, body));
        }
        op.body = &body[..size];
        self.emit(ClientOp::Publish(op));
        Ok(State::Verb(Vec::new()))
    }

    fn emit(&mut self, op: ClientOp<'_>) {
        self.ops.push(format!("{op:?}"));
    }
}

fn without_return(args: &[u8]) -> &[u8] {
    if args[1..].contains(&b'\r') {
        &args[..args.len() - 1]
    } else {
        args
    }
}

fn number(text: &[u8]) -> Option<usize> {
    let digits = (1..=9).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).unwrap().parse().unwrap())
}

fn publish<'a>(verb: &str, line: &'a [u8], body: &'a [u8]) -> Option<Publish<'a>> {
    let has_header = verb == "HPUB";
    let mut words: Vec<&[u8]> = line
        .split(|byte| b" \t".contains(byte))
        .filter(|word| !word.is_empty())
        .collect();
    let size_text = words.pop()?;
    let header_size_text = if has_header { words.pop()? } else { b"" };
    let (subject, reply) = match words[..] {
        [subject] => (subject, None),
        [subject, reply] => (subject, Some(reply)),
        _ => return None,
    };
    let header_len = if has_header {
        number(header_size_text)?
    } else {
        0
    };
    (header_len <= number(size_text)?).then_some(Publish {
        subject,
        reply,
        has_header,
        header_len,
        header_size_text,
        size_text,
        body,
        line,
        tail: b"", // checked by `without_tail` against the other fields
    })
}

/// The operation without its tail, which is checked to be what the other fields say and to be
/// there if the operation is written as most clients write it.
fn without_tail<'a>(op: ClientOp<'a>, input: &[u8]) -> ClientOp<'a> {
    let ClientOp::Publish(mut publish) = op else {
        return op;
    };
    let header = publish.has_header.then_some(publish.header_size_text);
    let parts = [publish.reply, header, Some(publish.size_text)];
    let mut tail = parts.into_iter().flatten().collect::<Vec<_>>().join(&b' ');
    tail.extend_from_slice(b"\r\n");
    tail.extend_from_slice(publish.body);
    tail.extend_from_slice(b"\r\n");
    let verb: &[u8] = if publish.has_header {
        b"HPUB "
    } else {
        b"PUB "
    };
    let common = [verb, publish.subject, b" ", &tail].concat();
    let words = [publish.subject, publish.reply.unwrap_or_default()].concat();
    if input.starts_with(&common) && words.iter().all(|&byte| byte > b' ') {
        assert_eq!(publish.tail, tail);
    } else {
        assert!(publish.tail.is_empty() || publish.tail == tail);
    }
    publish.tail = b"";
    ClientOp::Publish(publish)
}

/// The real parser behind a buffer, as a connection has it.
struct Buffered {
    limits: Limits,
    pending: Vec<u8>,
    ops: Vec<String>,
    failed: Option<ProtocolError>,
}

impl Buffered {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: Vec::new(),
            ops: Vec::new(),
            failed: None,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while self.failed.is_none() && !self.pending.is_empty() {
            match next_op(&self.pending, &self.limits) {
                Ok(Progress::Op { op, used }) => {
                    assert!(used > 0);
                    let common = common_publish(&self.pending, &self.limits);
                    if let Some((publish, length)) = common {
                        assert_eq!((ClientOp::Publish(publish), length), (op, used));
                    }
                    let op = without_tail(op, &self.pending);
                    self.ops.push(format!("{op:?}"));
                    self.pending.drain(..used);
                }
                Ok(Progress::Incomplete { needed }) => {
                    match needed {
                        Some(needed) => assert!(needed > self.pending.len()),
                        None => assert!(self.pending.len() <= self.limits.longest_head()),
                    }
                    return;
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

/// A small generator of our own: a failing seed must mean the same stream for good.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn blanks(&mut self, out: &mut Vec<u8>) {
        let run: &str = if self.one_in(40) {
            &"           \t                                    "[..1 + self.below(40)]
        } else {
            self.pick(&[" ", " ", " ", " ", " ", "\t", "  ", " \t "])
        };
        out.extend_from_slice(run.as_bytes());
    }

    fn word(&mut self, out: &mut Vec<u8>) {
        let word: &[u8] = self.pick(&[
            b"a",
            b"foo.bar",
            b"_INBOX.abcdefgh.12",
            b"12",
            b"5x",
            b"7",
            b"*",
            b">",
            b"a\x01b",
            b"\xc3\xa9",
            b"\0",
            b"000000001",
            b"orders.eu.new.items.one",
        ]);
        out.extend_from_slice(word);
    }

    fn line_end(&mut self, out: &mut Vec<u8>) {
        let end: &str = self.pick(&["\r\n", "\r\n", "\r\n", "\n", "\r\r\n", " \r\n", "\r \n"]);
        out.extend_from_slice(end.as_bytes());
    }

    fn op(&mut self, out: &mut Vec<u8>) {
        let verb: &str = self.pick(&[
            "PUB", "PUB", "PUB", "HPUB", "HPUB", "SUB", "UNSUB", "PING", "PONG", "+OK", "INFO",
            "-ERR", "CONNECT", "HMSG", "MSG",
        ]);
        // Rare verbs that end the stream must stay rare.
        let verb = if matches!(verb, "HMSG" | "MSG") && !self.one_in(8) {
            "PUB"
        } else {
            verb
        };
        for byte in verb.bytes() {
            out.push(if self.one_in(6) {
                byte.to_ascii_lowercase()
            } else {
                byte
            });
        }
        match verb {
            "PING" | "PONG" | "+OK" => {
                if self.one_in(4) {
                    self.word(out);
                }
                return self.line_end(out);
            }
            "CONNECT" | "INFO" => {
                let json: &str =
                    self.pick(&[" {}", "{}", " null", " {\"verbose\":false}", "\t { }"]);
                out.extend_from_slice(json.as_bytes());
                return self.line_end(out);
            }
            _ => {}
        }
        let words = if self.one_in(20) {
            self.below(6)
        } else {
            1 + self.below(2)
        };
        for _ in 0..words {
            self.blanks(out);
            self.word(out);
        }
        if !verb.ends_with("PUB") {
            if verb != "UNSUB" || self.one_in(2) {
                self.blanks(out);
                self.word(out);
            }
            return self.line_end(out);
        }
        let size = self.below(30);
        if verb == "HPUB" {
            self.blanks(out);
            let header = if self.one_in(10) {
                30
            } else {
                self.below(size + 1)
            };
            out.extend_from_slice(header.to_string().as_bytes());
        }
        self.blanks(out);
        let zeros: &str = self.pick(&["", "", "", "", "0", "0000000"]);
        out.extend_from_slice(format!("{zeros}{size}").as_bytes());
        self.line_end(out);
        out.extend((0..size).map(|_| self.below(256) as u8));
        out.extend_from_slice(b"\r\n");
    }

    fn mutate(&mut self, stream: &mut Vec<u8>) {
        let at = self.below(stream.len());
        match self.below(4) {
            0 => stream[at] = self.below(256) as u8,
            1 => drop(stream.remove(at)),
            2 => stream.insert(
                at,
                *self
                    .pick(&[b" ", b"\r", b"\n", b"9", b"\t"])
                    .first()
                    .unwrap(),
            ),
            _ => stream.truncate(at),
        }
    }
}

/// `RAMJET_SEED=n` runs one seed.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var("RAMJET_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => 1..1_500,
    }
}

fn check(seed: u64, random: &mut Random, stream: &[u8], limits: Limits) {
    let mut naive = Naive::new(limits);
    let mut bytewise = Buffered::new(limits);
    for (index, &byte) in stream.iter().enumerate() {
        naive.feed(byte);
        bytewise.feed(&[byte]);
        let shown = stream[..=index].escape_ascii();
        assert_eq!(bytewise.failed, naive.failed(), "seed {seed}: {shown}");
        assert_eq!(bytewise.ops.len(), naive.ops.len(), "seed {seed}: {shown}");
    }
    assert_eq!(bytewise.ops, naive.ops, "seed {seed}");
    let mut at_once = Buffered::new(limits);
    at_once.feed(stream);
    let mut in_chunks = Buffered::new(limits);
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(1 + random.below(rest.len().min(40)));
        in_chunks.feed(chunk);
        rest = later;
    }
    for other in [at_once, in_chunks] {
        assert_eq!(
            (other.failed, other.ops),
            (naive.failed(), naive.ops.clone()),
            "seed {seed}"
        );
    }
}

#[test]
fn agrees_with_the_naive_parser_at_every_split() {
    let mut ops = 0;
    for seed in seeds() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let limits = Limits {
            max_control_line: *random
                .pick(&[&[4096][..], &[4096], &[24], &[60]])
                .first()
                .unwrap(),
            max_payload: *random
                .pick(&[&[usize::MAX][..], &[1 << 20], &[25]])
                .first()
                .unwrap(),
            headers: !random.one_in(5),
        };
        let mut stream = Vec::new();
        for _ in 0..=random.below(12) {
            random.op(&mut stream);
        }
        check(seed, &mut random, &stream, limits);
        for _ in 0..3 {
            random.mutate(&mut stream);
            if stream.is_empty() {
                break;
            }
            check(seed, &mut random, &stream, limits);
        }
        let mut naive = Naive::new(limits);
        stream.iter().for_each(|&byte| naive.feed(byte));
        ops += naive.ops.len();
    }
    // A generator that only makes errors would prove nothing.
    assert!(ops > 1_000 || seeds().count() == 1, "{ops}");
}

#[test]
fn any_two_bytes_then_anything() {
    let limits = Limits {
        max_control_line: 16,
        max_payload: 16,
        headers: true,
    };
    let mut random = Random(7);
    for first in 0..=255 {
        for second in 0..=255 {
            let tail = [random.below(256) as u8, b'\n'];
            check(0, &mut random, &[first, second, tail[0], tail[1]], limits);
        }
    }
}
