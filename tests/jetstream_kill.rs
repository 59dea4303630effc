//! A server with streams on disk that is killed under load: nothing it acknowledged may be lost.

#[allow(dead_code, reason = "shared with tests that use more of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use support::directory::TempDir;
use support::server::Server;

/// Times the server is killed.
const ROUNDS: u64 = 10;
/// Messages published in a round; it is killed somewhere among them.
const MESSAGES: u64 = 4000;
/// Messages that wait for their acknowledgement at the same time.
const OUTSTANDING: u64 = 64;

struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Client {
    fn open(address: SocketAddr) -> Self {
        let writer = TcpStream::connect(address).expect("the server listens");
        let timeout = Some(Duration::from_secs(60));
        writer.set_read_timeout(timeout).expect("a timeout");
        let reader = BufReader::new(writer.try_clone().expect("a second handle"));
        let mut client = Self { reader, writer };
        let greeting = client.line().expect("INFO");
        assert!(greeting.starts_with("INFO "));
        let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n";
        client.send(&format!("{hello}SUB in.* 1\r\nPING\r\n"));
        while client.line().expect("PONG") != "PONG" {}
        client
    }

    fn send(&mut self, text: &str) {
        // A server that is being killed takes nothing any more; what it does not answer shows it.
        let _ = self.writer.write_all(text.as_bytes());
    }

    /// The next line; `None` once the server is gone.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// Subject and body of the next message; `None` once the server is gone.
    fn message(&mut self) -> Option<(String, String)> {
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            let headed = match words.next() {
                Some("MSG") => false,
                Some("HMSG") => true,
                _ => continue,
            };
            let subject = words.next()?.to_owned();
            let mut block = String::new();
            if headed {
                while let Some(line) = self.line() {
                    if line.is_empty() {
                        break;
                    }
                    block += &line;
                }
            }
            let body = self.line()?;
            return Some((subject, block + &body));
        }
    }

    fn request(&mut self, subject: &str, body: &str) -> String {
        let length = body.len();
        self.send(&format!("PUB {subject} in.api {length}\r\n{body}\r\n"));
        loop {
            let (to, body) = self.message().expect("an answer");
            if to == "in.api" {
                return body;
            }
        }
    }
}

fn number(json: &str, key: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    value.pointer(key).and_then(|it| it.as_u64()).unwrap_or(0)
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let store = TempDir::new();
    let mut server = start(&store);
    let mut client = Client::open(server.address());
    let config = r#"{"name":"K","subjects":["k.*"],"storage":"file"}"#;
    let made = client.request("$JS.API.STREAM.CREATE.K", config);
    assert!(made.contains("did_create"), "{made}");
    let config = r#"{"stream_name":"K","config":{"durable_name":"c","ack_policy":"explicit"}}"#;
    let made = client.request("$JS.API.CONSUMER.CREATE.K.c", config);
    assert!(made.contains("\"name\":\"c\""), "{made}");
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let stop = 200 + round * 311 % (MESSAGES - 200);
        let (mut sent, mut answered) = (0, 0);
        let mut killed = false;
        while sent < MESSAGES {
            while sent - answered < OUTSTANDING && sent < MESSAGES {
                let body = format!("{round}.{sent}");
                let length = body.len();
                let lane = sent % 7;
                client.send(&format!("PUB k.{lane} in.{sent} {length}\r\n{body}\r\n"));
                sent += 1;
            }
            if answered > stop && !killed {
                killed = true;
                server.signal(Signal::KILL);
            }
            let Some((subject, body)) = client.message() else {
                break;
            };
            let Some(which) = subject.strip_prefix("in.") else {
                continue;
            };
            answered += 1;
            let seq = number(&body, "/seq");
            assert!(seq > 0, "{body}");
            acknowledged.insert(seq, format!("{round}.{which}"));
        }
        assert!(killed, "it was killed under load");
        server.exited();
        server = start(&store);
        client = Client::open(server.address());
        let info = client.request("$JS.API.STREAM.INFO.K", "");
        let last = acknowledged.last_key_value().map_or(0, |it| *it.0);
        assert!(number(&info, "/state/last_seq") >= last, "{info}");
        assert_eq!(number(&info, "/state/first_seq"), 1, "{info}");
        for (seq, body) in acknowledged
            .iter()
            .rev()
            .take(500)
            .chain(acknowledged.iter().take(50))
        {
            let asked = format!("{{\"seq\":{seq}}}");
            let found = client.request("$JS.API.STREAM.MSG.GET.K", &asked);
            let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
            let data = found.pointer("/message/data").and_then(|it| it.as_str());
            let data = data.unwrap_or_else(|| panic!("sequence {seq} is lost: {found}"));
            let data = data_encoding::BASE64
                .decode(data.as_bytes())
                .expect("base64");
            assert_eq!(String::from_utf8_lossy(&data), *body, "sequence {seq}");
        }
        let info = client.request("$JS.API.CONSUMER.INFO.K.c", "");
        assert!(info.contains("\"name\":\"c\""), "{info}");
    }
}

/// JS-122. Of a batch that was acknowledged all messages are there, of any other all or none.
#[test]
fn batches_are_whole_or_not_there_after_kill_9() {
    const ROUNDS: u64 = 6;
    /// A batch fills many frames on the disk.
    const SIZE: u64 = 60;
    const OUTSTANDING: u64 = 4;
    let store = TempDir::new();
    let mut server = start(&store);
    let mut client = Client::open(server.address());
    let config = r#"{"name":"W","subjects":["w.*"],"storage":"file","allow_atomic":true}"#;
    let made = client.request("$JS.API.STREAM.CREATE.W", config);
    assert!(made.contains("did_create"), "{made}");
    let padding = "x".repeat(6000);
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut begun = 0;
    for round in 0..ROUNDS {
        let mut answered = 0;
        let mut under_way = 0;
        loop {
            while under_way < OUTSTANDING {
                for at in 1..=SIZE {
                    let (reply, commit) = match at == SIZE {
                        true => (format!(" in.{begun}"), "Nats-Batch-Commit: 1\r\n"),
                        false => (String::new(), ""),
                    };
                    let block = format!(
                        "NATS/1.0\r\nNats-Batch-Id: {begun}\r\nNats-Batch-Sequence: {at}\r\n{commit}\r\n"
                    );
                    let (head, total) = (block.len(), block.len() + padding.len());
                    client.send(&format!(
                        "HPUB w.{begun}{reply} {head} {total}\r\n{block}{padding}\r\n"
                    ));
                }
                begun += 1;
                under_way += 1;
            }
            if answered == 2 + round {
                // Somewhere within what the disk is doing.
                std::thread::sleep(Duration::from_micros(700 * round));
                server.signal(Signal::KILL);
                answered += 1;
            }
            let Some((subject, body)) = client.message() else {
                break;
            };
            let Some(which) = subject.strip_prefix("in.") else {
                continue;
            };
            assert_eq!(number(&body, "/count"), SIZE, "{body}");
            acknowledged.push(which.parse().expect("a number"));
            answered += 1;
            under_way -= 1;
        }
        server.exited();
        server = start(&store);
        client = Client::open(server.address());
        let info = client.request("$JS.API.STREAM.INFO.W", r#"{"subjects_filter":">"}"#);
        let messages = |batch: u64| number(&info, &format!("/state/subjects/w.{batch}"));
        for batch in 0..begun {
            let found = messages(batch);
            assert!(found == 0 || found == SIZE, "batch {batch}: {found}");
        }
        for batch in &acknowledged {
            assert_eq!(messages(*batch), SIZE, "batch {batch} was acknowledged");
        }
    }
}

/// JS-253. Nothing is readable on the disk; another configured key takes over with the one before
/// it; a wrong one is refused in clear words and destroys nothing.
#[test]
fn an_encrypted_stream_needs_its_key_and_keeps_its_own_through_rotation() {
    let store = TempDir::new();
    let path = store.path().display().to_string();
    let configured = |keys: &str| {
        let text = format!("jetstream {{ store_dir: \"{path}\", {keys} }}");
        Server::with_config(&text)
    };
    let stop = |mut server: Server| {
        server.signal(Signal::TERM);
        server.exited();
    };
    let server = configured("key: first");
    let mut client = Client::open(server.address());
    let config = r#"{"name":"E","subjects":["secret.*"],"storage":"file","compression":"s2"}"#;
    let made = client.request("$JS.API.STREAM.CREATE.E", config);
    assert!(made.contains("did_create"), "{made}");
    let payload = "what nobody may read ".repeat(20);
    let published = client.request("secret.subject", &payload);
    assert_eq!(number(&published, "/seq"), 1, "{published}");
    stop(server);
    let folder = store.path().join("jetstream/$G/streams/E");
    for file in std::fs::read_dir(&folder).expect("a directory").flatten() {
        let bytes = std::fs::read(file.path()).expect("a file");
        for secret in [&b"nobody may"[..], b"secret."] {
            let found = bytes.windows(secret.len()).any(|it| it == secret);
            assert!(!found, "{:?}", file.path());
        }
    }
    for (keys, there) in [
        ("key: second, cipher: aes", false),
        ("domain: d", false),
        ("key: second, prev_key: first, cipher: aes", true),
        ("key: second, cipher: aes", true),
        ("key: first", false),
    ] {
        let server = configured(keys);
        let mut client = Client::open(server.address());
        let found = client.request("$JS.API.STREAM.MSG.GET.E", r#"{"seq":1}"#);
        let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
        let data = found.pointer("/message/data").and_then(|it| it.as_str());
        let expected = data_encoding::BASE64.encode(payload.as_bytes());
        assert_eq!(
            data,
            Some(&expected[..]).filter(|_| there),
            "{keys}: {found}"
        );
        if !there {
            let why = match keys.contains("key") {
                true => "unable to recover keys",
                false => "it is encrypted and no key is given",
            };
            server.logged(why);
        }
        stop(server);
    }
}

/// A server over this directory.
fn start(store: &TempDir) -> Server {
    let path = store.path().display();
    Server::with_config(&format!("jetstream {{ store_dir: \"{path}\" }}"))
}
