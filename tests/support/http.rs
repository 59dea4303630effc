//! A minimal HTTP client for the monitoring port: one request per connection.

use super::PATIENCE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One answer of the monitoring port.
pub struct Response {
    /// Status code of the first line.
    pub status: u16,
    /// Header lines, unchanged.
    pub head: String,
    /// Body with any chunked coding removed.
    pub body: String,
}

impl Response {
    /// Value of a header; its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.body))
    }
}

/// `GET path`.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path)
}

/// `METHOD path` without a body.
#[track_caller]
pub fn request(address: SocketAddr, method: &str, path: &str) -> Response {
    request_over(connect(address), address, method, path)
}

/// A connection to the monitoring port.
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("monitoring port");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("read timeout");
    stream
}

/// The same over a connection, which may be TLS.
#[track_caller]
pub fn request_over(
    mut stream: impl Read + Write,
    address: SocketAddr,
    method: &str,
    path: &str,
) -> Response {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("end of the head");
    let status = head
        .split(' ')
        .nth(1)
        .expect("status")
        .parse()
        .expect("status number");
    let mut response = Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    if response.header("Transfer-Encoding") == Some("chunked") {
        response.body = join_chunks(body);
    }
    response
}

fn join_chunks(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("chunk size");
        if size == 0 {
            break;
        }
        whole.push_str(&tail[..size]);
        rest = &tail[size + 2..];
    }
    whole
}
