//! Servers inside this very process: several at once, started, used, ended, started again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ramjet::options::Options;
use ramjet::{Server, ServerHandle, StartError};

fn start(port: i32) -> ServerHandle {
    Server::builder()
        .host("127.0.0.1")
        .port(port)
        .shards(2)
        .start()
        .expect("it starts")
}

/// A raw client that has read its INFO.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let mut client = Self(stream);
        assert!(client.until("\r\n").starts_with("INFO {"));
        client
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("sent");
    }

    fn until(&mut self, end: &str) -> String {
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(end) {
            self.0.read_exact(&mut byte).expect("more");
            text.push(char::from(byte[0]));
        }
        text
    }
}

#[test]
fn several_servers_live_side_by_side_and_share_nothing() {
    let servers = [start(-1), start(-1), start(-1)];
    let mut subscribers = Vec::new();
    for server in &servers {
        let mut client = Client::connect(server.client_address());
        client.say("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
        client.until("PONG\r\n");
        subscribers.push(client);
    }
    for (number, server) in servers.iter().enumerate() {
        let mut publisher = Client::connect(server.client_address());
        publisher.say(&format!(
            "CONNECT {{\"verbose\":false}}\r\nPUB a 1\r\n{number}\r\nPING\r\n"
        ));
        publisher.until("PONG\r\n");
    }
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(subscriber.until("\r\n"), "MSG a 1 1\r\n");
        assert_eq!(
            subscriber.until("\r\n"),
            format!("{number}\r\n"),
            "only its own server's"
        );
    }
}

#[test]
fn a_shutdown_delivers_what_waits_and_frees_the_port() {
    let server = start(-1);
    let address = server.client_address();
    let mut subscriber = Client::connect(address);
    subscriber.say("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
    subscriber.until("PONG\r\n");
    let mut publisher = Client::connect(address);
    publisher.say(&format!(
        "CONNECT {{\"verbose\":false}}\r\n{}PING\r\n",
        "PUB a 0\r\n\r\n".repeat(50)
    ));
    publisher.until("PONG\r\n");
    server.shutdown();
    let mut rest = String::new();
    subscriber
        .0
        .read_to_string(&mut rest)
        .expect("an orderly end");
    assert_eq!(rest.matches("MSG a 1 0").count(), 50);

    let again = start(i32::from(address.port()));
    assert_eq!(again.client_address(), address);
}

#[test]
fn a_port_in_use_is_named() {
    let server = start(-1);
    let port = i32::from(server.client_address().port());
    let error = Server::builder()
        .host("127.0.0.1")
        .port(port)
        .start()
        .err()
        .expect("refused");
    assert!(matches!(error, StartError::Listen { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&format!("127.0.0.1:{port}")) && text.contains("address already in use"),
        "{text}"
    );
}

#[test]
fn options_change_while_it_runs_or_not_at_all() {
    let mut options = Options {
        host: "127.0.0.1".into(),
        port: -1,
        shards: Some(3),
        ..Options::default()
    };
    let server = Server::builder().options(options.clone()).start();
    let server = server.expect("it starts");
    let mut client = Client::connect(server.client_address());
    client.say("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
    client.until("PONG\r\n");
    // Several at once: one after the other, and none lost.
    std::thread::scope(|scope| {
        for max_payload in [3000, 4000, 5000] {
            let mut options = options.clone();
            options.client.max_payload = max_payload;
            let server = &server;
            scope.spawn(move || server.reload(options).expect("it reloads"));
        }
    });
    options.client.max_payload = 2000;
    server.reload(options.clone()).expect("it reloads");
    assert_eq!(server.info().max_payload, 2000);
    let id = server.info().server_id.clone();

    options.client.max_payload = 1000;
    options.client.max_pending += 1;
    let refused = server.reload(options.clone()).expect_err("needs a restart");
    let text = "config reload not supported for MaxPending: old=67108864, new=67108865";
    assert_eq!(refused.to_string(), text);
    assert_eq!(
        (server.info().max_payload, &server.info().server_id),
        (2000, &id)
    );

    let payload = "x".repeat(2000);
    client.say(&format!("PUB a 2000\r\n{payload}\r\nPUB a 2001\r\n"));
    client.until("MSG a 1 2000\r\n");
    client.until("-ERR 'Maximum Payload Violation'\r\n");

    server.begin_shutdown();
    server.wait();
    options.client.max_pending -= 1;
    let shards_are_gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        server.reload(options.clone()).is_err()
    });
    assert!(shards_are_gone);
}
