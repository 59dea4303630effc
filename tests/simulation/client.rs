//! A simulated client: says what the world tells it to, and understands what it hears.

use std::collections::BTreeMap;

use crate::network::SimSocket;

/// A message as a subscriber saw it: publisher and its running number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub publisher: usize,
    pub number: u64,
}

/// A subscription and what came for it.
pub struct Subscription {
    pub pattern: String,
    pub queue: Option<String>,
    /// Numbers of all publishers at the moment the server confirmed it: all later ones must come.
    pub confirmed_at: Option<Vec<u64>>,
    /// The same at the moment it was given up: later ones must not come.
    pub ended_at: Option<Vec<u64>>,
    /// ... and at the moment the server confirmed that.
    pub end_confirmed_at: Option<Vec<u64>>,
    pub seen: Vec<(String, Seen)>,
}

/// What the next PONG will confirm.
enum Awaited {
    Start(u64),
    End(u64),
    Flush { said: u64, confirmed: Vec<u64> },
}

/// A PING was answered: what had been confirmed to its publishers before must be here.
pub struct Flush {
    /// Numbers of all publishers.
    pub confirmed: Vec<u64>,
    /// Messages that had come, by sid.
    pub seen: BTreeMap<u64, usize>,
}

pub struct Client {
    pub wire: SimSocket,
    /// Its subjects are this account's.
    pub account: &'static str,
    pub subscriptions: BTreeMap<u64, Subscription>,
    pub gone: bool,
    /// Running numbers of its requests that were answered with "nobody is there".
    pub unheard: Vec<u64>,
    /// Number up to which its own messages are confirmed by a PONG.
    pub confirmed: u64,
    pub flushes: Vec<Flush>,
    /// Every byte it was sent.
    pub heard: Vec<u8>,
    awaited: std::collections::VecDeque<Awaited>,
    parsed: usize,
}

impl Client {
    pub fn new(wire: SimSocket, account: &'static str) -> Self {
        let mut client = Self {
            wire,
            account,
            subscriptions: BTreeMap::new(),
            gone: false,
            unheard: Vec::new(),
            confirmed: 0,
            flushes: Vec::new(),
            heard: Vec::new(),
            awaited: std::collections::VecDeque::new(),
            parsed: 0,
        };
        let connect = format!(
            "CONNECT {{\"user\":\"{account}\",\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\nSUB _in.* 0\r\n"
        );
        client.say(connect.as_bytes());
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.wire.borrow_mut().to_server.extend(bytes);
    }

    pub fn publish(&mut self, subject: &str, seen: Seen, padding: usize) {
        let payload = format!("{} {} {}", seen.publisher, seen.number, "x".repeat(padding));
        self.say(format!("PUB {subject} {}\r\n{payload}\r\n", payload.len()).as_bytes());
    }

    pub fn request(&mut self, subject: &str, seen: Seen) {
        let payload = format!("{} {} ", seen.publisher, seen.number);
        let (number, len) = (seen.number, payload.len());
        self.say(format!("PUB {subject} _in.{number} {len}\r\n{payload}\r\n").as_bytes());
    }

    pub fn subscribe(&mut self, sid: u64, pattern: &str, queue: Option<&str>) {
        let name = queue.map(|queue| format!("{queue} ")).unwrap_or_default();
        self.say(format!("SUB {pattern} {name}{sid}\r\nPING\r\n").as_bytes());
        self.awaited.push_back(Awaited::Start(sid));
        let subscription = Subscription {
            pattern: pattern.into(),
            queue: queue.map(Into::into),
            confirmed_at: None,
            ended_at: None,
            end_confirmed_at: None,
            seen: Vec::new(),
        };
        self.subscriptions.insert(sid, subscription);
    }

    pub fn unsubscribe(&mut self, sid: u64, numbers: &[u64]) {
        let Some(subscription) = self.subscriptions.get_mut(&sid) else {
            return;
        };
        if subscription.ended_at.is_none() {
            subscription.ended_at = Some(numbers.to_vec());
            self.say(format!("UNSUB {sid}\r\nPING\r\n").as_bytes());
            self.awaited.push_back(Awaited::End(sid));
        }
    }

    /// `said` is the number of its last message, `confirmed` how far each publisher is known to be.
    pub fn ping(&mut self, said: u64, confirmed: Vec<u64>) {
        self.say(b"PING\r\n");
        self.awaited.push_back(Awaited::Flush { said, confirmed });
    }

    /// Is an answer still to come?
    pub fn waits(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub fn close(&mut self) {
        self.gone = true;
        self.wire.borrow_mut().client_gone = true;
    }

    /// Its connection breaks.
    pub fn cut(&mut self) {
        self.gone = true;
        self.wire.borrow_mut().cut = true;
    }

    /// Says what the server closes connections for, and goes on talking.
    pub fn misbehave(&mut self, also_close: bool) {
        self.say(b"PING\r\nSUB a 1000000\r\nNONSENSE\r\nSUB a 1000001\r\nPUB a 7\r\nnothing\r\n");
        self.gone = true;
        self.wire.borrow_mut().client_gone = also_close;
    }

    /// Takes in what came; `numbers` is how far each publisher is.
    pub fn listen(&mut self, numbers: &[u64]) {
        self.heard.append(&mut self.wire.borrow_mut().from_server);
        while let Some(len) = self.heard[self.parsed..]
            .windows(2)
            .position(|it| it == b"\r\n")
        {
            let line = String::from_utf8_lossy(&self.heard[self.parsed..][..len]).into_owned();
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "HMSG" => {
                    let number = words[1].strip_prefix("_in.").map(str::parse);
                    let size: usize = words[words.len() - 1].parse().expect("a size");
                    let start = self.parsed + len + 2;
                    let Some(body) = self.heard.get(start..start + size + 2) else {
                        return;
                    };
                    assert!(body.starts_with(b"NATS/1.0 503\r\n"), "{line}");
                    self.unheard
                        .push(number.expect("a request's").expect("a number"));
                    self.parsed = start + size + 2;
                    continue;
                }
                "MSG" => {
                    let size: usize = words[words.len() - 1].parse().expect("a size");
                    let start = self.parsed + len + 2;
                    let Some(body) = self.heard.get(start..start + size + 2) else {
                        return;
                    };
                    let body = String::from_utf8_lossy(body).into_owned();
                    self.parsed = start + size + 2;
                    self.delivered(words[1], words[2], &body);
                    continue;
                }
                "PONG" => self.confirmed(numbers),
                "INFO" | "PING" => {}
                other => panic!("unexpected {other}: {line}"),
            }
            self.parsed += len + 2;
        }
    }

    fn delivered(&mut self, subject: &str, sid: &str, body: &str) {
        assert!(body.ends_with("\r\n"), "payload and size agree");
        let mut words = body.split(' ').map(|word| word.trim().parse::<u64>());
        let mut number = || words.next().and_then(Result::ok).expect("a number");
        let seen = Seen {
            publisher: number() as usize,
            number: number(),
        };
        let sid: u64 = sid.parse().expect("a sid");
        let subscription = self
            .subscriptions
            .get_mut(&sid)
            .expect("a sid of this client");
        assert!(
            subscription.end_confirmed_at.is_none(),
            "message after the end was confirmed"
        );
        subscription.seen.push((subject.into(), seen));
    }

    fn confirmed(&mut self, numbers: &[u64]) {
        let awaited = self.awaited.pop_front().expect("a PONG for a PING");
        let known = "a sid of this client";
        match awaited {
            Awaited::Start(sid) => {
                let subscription = self.subscriptions.get_mut(&sid).expect(known);
                subscription.confirmed_at = Some(numbers.to_vec());
            }
            Awaited::End(sid) => {
                let subscription = self.subscriptions.get_mut(&sid).expect(known);
                subscription.end_confirmed_at = Some(numbers.to_vec());
            }
            Awaited::Flush { said, confirmed } => {
                self.confirmed = said;
                let all = self.subscriptions.iter();
                let seen = all.map(|(&sid, it)| (sid, it.seen.len())).collect();
                self.flushes.push(Flush { confirmed, seen });
            }
        }
    }
}
