//! The other end of a leaf link that the server under test makes: the case plays the hub.

use super::client::Client;
use super::{PATIENCE, wait_until};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Words for a remote that is to wait for a slow hub.
pub const PATIENT: &str = "first_info_timeout: \"20s\",";

/// A port where leaf nodes come to.
pub struct Hub {
    listener: TcpListener,
}

/// A link up to the leaf's CONNECT, which is read.
pub struct Greeted {
    /// The link.
    pub link: Client,
    /// What the leaf said of itself.
    pub connect: Value,
}

impl Hub {
    /// A free port of 127.0.0.1.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        Self { listener }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// A `leafnodes` block of a server that connects here, with more words for the remote. It waits
    /// long for a case that is slow.
    pub fn remote(&self, more: &str) -> String {
        let patience = match more.contains("first_info_timeout") {
            true => "",
            false => PATIENT,
        };
        format!(
            "leafnodes {{ reconnect: \"100ms\", remotes [
                {{ url: \"nats-leaf://{}\", {patience} {more} }} ] }}",
            self.address()
        )
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Client {
        wait_until("a leaf node that connects", || self.accepted())
    }

    fn accepted(&self) -> Option<Client> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("blocking");
                Some(Client::over(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    /// Nobody connects for this long.
    #[track_caller]
    pub fn expect_nobody(&self, time: Duration) {
        assert!(time < PATIENCE, "too long for a case");
        let until = Instant::now() + time;
        while Instant::now() < until {
            assert!(self.accepted().is_none(), "somebody has connected");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a hub's first INFO says.
    pub fn info() -> Value {
        json!({"server_id": "HUB", "server_name": "hub", "version": "2.15.1", "proto": 3,
               "host": "127.0.0.1", "port": 7422, "headers": true, "max_payload": 1_048_576,
               "client_id": 7, "nonce": "abc", "leafnode_urls": [], "info_on_connect": true})
    }

    /// The next connection, greeted with this INFO, up to its CONNECT. One whose leaf has gone
    /// meanwhile is passed over.
    #[track_caller]
    pub fn greet(&self, info: &Value) -> Greeted {
        loop {
            let mut link = self.accept();
            link.send_until_closed(format!("INFO {info}\r\n"));
            let Some(line) = link.line_unless_closed() else {
                continue;
            };
            let json = line.strip_prefix("CONNECT ");
            let json = json.unwrap_or_else(|| panic!("not CONNECT: {line}"));
            return Greeted {
                link,
                connect: serde_json::from_str(json).expect("CONNECT is JSON"),
            };
        }
    }

    /// The next connection, let in.
    #[track_caller]
    pub fn link(&self) -> Client {
        self.greet(&Self::info()).let_in()
    }
}

impl Greeted {
    /// The answer to CONNECT. Interest comes after it.
    pub fn let_in(mut self) -> Client {
        let mut info = Hub::info();
        info["connect_info"] = json!(true);
        info["remote_account"] = json!("$G");
        self.link.send(format!("INFO {info}\r\n"));
        self.link
    }
}
