//! Servers inside this very process: several at once, started, used, ended, started again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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
            .set_read_timeout(Some(Duration::from_secs(10)))
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
