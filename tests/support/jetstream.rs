//! A server with JetStream, and a client that asks its API.

use super::client::{Client, Message};
use super::server::Server;
use serde_json::{Value, json};

/// A server, and one client of it.
pub struct JetStream {
    /// The server.
    pub server: Server,
    /// Who asks.
    pub client: Client,
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

    #[track_caller]
    fn of(server: Server, options: &str) -> Self {
        let mut options: Value = serde_json::from_str(options).expect("JSON");
        for (key, value) in [
            ("verbose", false),
            ("headers", true),
            ("no_responders", true),
        ] {
            options[key] = json!(value);
        }
        let mut client = server.client_with(&options.to_string());
        client.quietly("SUB answer.> 1\r\n");
        Self {
            server,
            client,
            asked: 0,
        }
    }

    fn send(&mut self, subject: &str, headers: &str, body: &[u8]) -> String {
        self.asked += 1;
        let reply = format!("answer.{}", self.asked);
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
        serde_json::from_slice(&message.payload).expect("JSON")
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
        let reply = self.send("$JS.API.INFO", "", b"");
        let message = self.client.message();
        assert_ne!(message.subject, silent, "{subject}");
        assert_eq!(message.subject, reply);
    }

    /// Stores a message; gives its sequence.
    #[track_caller]
    pub fn publish(&mut self, subject: &str, payload: &str) -> u64 {
        let message = self.request(subject, "", payload);
        let answer: Value = serde_json::from_slice(&message.payload).expect("JSON");
        answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"))
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
