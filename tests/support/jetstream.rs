//! A server with JetStream, and a client that asks its API.

use super::client::{Client, Message};
use super::server::Server;
use super::shape;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// A server, and one client of it.
pub struct JetStream {
    /// The server.
    pub server: Server,
    /// Who asks.
    pub client: Client,
    /// Where it is answered: nobody else is, on no server.
    pub inbox: String,
    /// Requests so far.
    asked: u64,
}

impl JetStream {
    /// With files in the server's own directory.
    #[track_caller]
    pub fn start() -> Self {
        let builder = Server::builder().flags("-js -sd @DIR@/store");
        Self::of(builder.start(), "{}")
    }

    /// With this configuration, and a client that connects with `options`.
    #[track_caller]
    pub fn with_config(text: &str, options: &str) -> Self {
        Self::of(Server::with_config(text), options)
    }

    /// With a server that runs, and a client that connects with `options`.
    #[track_caller]
    pub fn of(server: Server, options: &str) -> Self {
        let client = server.open();
        Self::through(server, client, options)
    }

    /// With a client of the server that has yet to say who it is.
    #[track_caller]
    pub fn through(server: Server, mut client: Client, options: &str) -> Self {
        let mut options: Value = serde_json::from_str(options).expect("JSON");
        for (key, value) in [
            ("verbose", false),
            ("headers", true),
            ("no_responders", true),
        ] {
            options[key] = json!(value);
        }
        client.connect(&options.to_string());
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let inbox = format!("answer.{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
        client.quietly(format!("SUB {inbox}.> 1\r\n"));
        Self {
            server,
            client,
            inbox,
            asked: 0,
        }
    }

    fn send(&mut self, subject: &str, headers: &str, body: &[u8]) -> String {
        self.asked += 1;
        let reply = format!("{}.{}", self.inbox, self.asked);
        let mut text = if headers.is_empty() {
            format!("PUB {subject} {reply} {}\r\n", body.len()).into_bytes()
        } else {
            let block = format!("NATS/1.0\r\n{headers}\r\n\r\n");
            let (head, total) = (block.len(), block.len() + body.len());
            format!("HPUB {subject} {reply} {head} {total}\r\n{block}").into_bytes()
        };
        text.extend_from_slice(body);
        text.extend_from_slice(b"\r\n");
        self.client.send(text);
        reply
    }

    /// What comes back for `body` with `headers` (lines without their ends) on `subject`.
    #[track_caller]
    pub fn request(&mut self, subject: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
        let reply = self.send(subject, headers, body.as_ref());
        loop {
            let message = self.client.message();
            if message.subject == reply {
                return message;
            }
        }
    }

    /// The answer of an endpoint, by its subject behind `$JS.API.`.
    #[track_caller]
    pub fn ask(&mut self, endpoint: &str, body: impl ToString) -> Value {
        let message = self.request(&format!("$JS.API.{endpoint}"), "", body.to_string());
        let answer = serde_json::from_slice(&message.payload);
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {message:?}"));
        shape::check_answer(&answer);
        answer
    }

    /// The same, which must be no error.
    #[track_caller]
    pub fn done(&mut self, endpoint: &str, body: impl ToString) -> Value {
        let answer = self.ask(endpoint, body);
        assert_eq!(answer.get("error"), None, "{endpoint}: {answer}");
        answer
    }

    /// The same, which must be an error: its three parts.
    #[track_caller]
    pub fn refused(&mut self, endpoint: &str, body: impl ToString) -> (u64, u64, String) {
        let answer = self.ask(endpoint, body);
        let error = &answer["error"];
        let number = |part: &str| error[part].as_u64().unwrap_or_else(|| panic!("{answer}"));
        let (code, number) = (number("code"), number("err_code"));
        let text = error["description"].as_str().expect("text");
        (code, number, text.to_owned())
    }

    /// Nothing answers on `subject`: not before the account's info, asked for after it.
    #[track_caller]
    pub fn silent(&mut self, subject: &str, body: &str) {
        let silent = self.send(subject, "", body.as_bytes());
        self.silent_until(&silent, "$JS.API.INFO");
    }

    /// Nothing answers on `subject`: not before `other`, asked after it.
    #[track_caller]
    pub fn silent_for(&mut self, subject: &str, other: &str) {
        let silent = self.send(subject, "", b"");
        self.silent_until(&silent, other);
    }

    #[track_caller]
    fn silent_until(&mut self, silent: &str, other: &str) {
        let reply = self.send(other, "", b"");
        let message = self.client.message();
        assert_ne!(message.subject, silent, "an answer");
        assert_eq!(message.subject, reply);
    }

    /// Stores a message; gives its sequence.
    #[track_caller]
    pub fn publish(&mut self, subject: &str, payload: &str) -> u64 {
        let answer = self.store(subject, "", payload);
        assert_eq!(answer.get("error"), None, "{answer}");
        answer["seq"].as_u64().expect("a sequence")
    }

    /// What a stream says of a message with `headers`.
    #[track_caller]
    pub fn store(&mut self, subject: &str, headers: &str, payload: &str) -> Value {
        let message = self.request(subject, headers, payload);
        let answer = serde_json::from_slice(&message.payload);
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {message:?}"));
        shape::check_pub_ack(&answer);
        answer
    }

    /// Makes a stream of `subjects`, with other `fields` of its configuration.
    #[track_caller]
    pub fn stream(&mut self, name: &str, subjects: &[&str], fields: Value) -> Value {
        let mut config = fields;
        config["name"] = json!(name);
        config["subjects"] = json!(subjects);
        self.done(&format!("STREAM.CREATE.{name}"), config)
    }

    /// Makes a consumer `c` of a stream, or changes it.
    #[track_caller]
    pub fn consumer(&mut self, stream: &str, name: &str, config: Value) -> Value {
        let request = wish(stream, name, config);
        self.done(&format!("CONSUMER.CREATE.{stream}.{name}"), request)
    }

    /// The same, which must fail: code, number and text.
    #[track_caller]
    pub fn no_consumer(&mut self, stream: &str, name: &str, config: Value) -> (u64, u64, String) {
        let request = wish(stream, name, config);
        self.refused(&format!("CONSUMER.CREATE.{stream}.{name}"), request)
    }

    /// A consumer's info.
    #[track_caller]
    pub fn consumer_info(&mut self, stream: &str, name: &str) -> Value {
        self.done(&format!("CONSUMER.INFO.{stream}.{name}"), "")
    }

    /// Asks a consumer for messages without waiting for them.
    pub fn begin_pull(&mut self, stream: &str, name: &str, body: impl ToString) -> String {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        self.send(&subject, "", body.to_string().as_bytes())
    }

    /// Asks a consumer for messages: what comes until `count` of them are there, or a status that
    /// ends the request.
    #[track_caller]
    pub fn pull(
        &mut self,
        stream: &str,
        name: &str,
        body: impl ToString,
        count: usize,
    ) -> Vec<Message> {
        self.begin_pull(stream, name, body);
        self.received(count)
    }

    /// What comes of a message published to `subject`, such as an acknowledgement that asks for more.
    #[track_caller]
    pub fn request_next(&mut self, subject: &str, body: &str, count: usize) -> Vec<Message> {
        self.send(subject, "", body.as_bytes());
        self.received(count)
    }

    /// The next messages, as [`JetStream::pull`] gives them.
    #[track_caller]
    pub fn received(&mut self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            let message = self.client.message();
            let ends = message.status().is_some_and(|it| !it.starts_with("100"));
            all.push(message);
            if ends {
                break;
            }
        }
        all
    }

    /// Waits until a consumer's info says so.
    #[track_caller]
    pub fn until(&mut self, stream: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        super::wait_until("the consumer", || {
            let info = self.consumer_info(stream, name);
            holds(&info).then_some(info)
        })
    }

    /// Answers a delivered message, and waits until that is taken.
    #[track_caller]
    pub fn ack(&mut self, message: &Message, with: &str) {
        let answer = self.request(&message.reply, "", with);
        assert_eq!((answer.status(), answer.payload.len()), (None, 0));
    }

    /// From now on another client asks.
    #[track_caller]
    pub fn switch(self, options: &str) -> Self {
        Self::of(self.server, options)
    }

    /// Ends the server in good order and starts it again.
    #[track_caller]
    pub fn restart(self) -> Self {
        Self::of(self.server.restart(), "{}")
    }

    /// Kills the server, if it still runs, and starts it again.
    #[track_caller]
    pub fn crash(self) -> Self {
        Self::of(self.server.crash(), "{}")
    }

    /// Deletes every stream.
    #[track_caller]
    pub fn clear(&mut self) {
        let names = self.done("STREAM.NAMES", "");
        for name in names["streams"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            self.done(&format!("STREAM.DELETE.{name}"), "");
        }
    }
}

fn wish(stream: &str, name: &str, mut config: Value) -> Value {
    if config.get("durable_name").is_none() {
        config["name"] = json!(name);
    }
    json!({"stream_name": stream, "config": config})
}

/// What an acknowledgement's subject tells (JS-195).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How often the message was delivered.
    pub deliveries: u64,
    /// Its sequence in the stream.
    pub stream: u64,
    /// Its sequence in the consumer.
    pub consumer: u64,
    /// Messages behind it.
    pub pending: u64,
}

impl Message {
    /// Its body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("text")
    }

    /// Code and text of its status; none if it is a message.
    pub fn status(&self) -> Option<&str> {
        let block = std::str::from_utf8(&self.headers).expect("text");
        let line = block.lines().next()?;
        let status = line.strip_prefix("NATS/1.0")?.trim();
        (!status.is_empty()).then_some(status)
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let block = std::str::from_utf8(&self.headers).expect("text");
        let values = block.lines().filter_map(|line| line.split_once(": "));
        let mut values = values.filter(|(key, _)| *key == name);
        values.next().map_or("", |(_, value)| value)
    }

    /// What its reply subject tells.
    #[track_caller]
    pub fn place(&self) -> Place {
        let tokens: Vec<&str> = self.reply.split('.').collect();
        assert_eq!((tokens.len(), tokens[0], tokens[1]), (9, "$JS", "ACK"));
        let number = |at: usize| tokens[at].parse().expect("a number");
        Place {
            deliveries: number(4),
            stream: number(5),
            consumer: number(6),
            pending: number(8),
        }
    }
}

/// Bodies of messages, and texts of statuses.
pub fn texts(messages: &[Message]) -> Vec<&str> {
    let all = messages.iter();
    all.map(|it| it.status().unwrap_or_else(|| it.text()))
        .collect()
}
