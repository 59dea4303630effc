//! Questions to a server's monitoring port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::error::{BenchError, io_error};
use crate::wire::STALL_MAX;

/// The JSON at `path`, query included.
///
/// # Errors
/// [`BenchError::Io`], [`BenchError::Monitoring`].
pub fn json(address: SocketAddr, path: &str) -> Result<Value, BenchError> {
    let mut stream = TcpStream::connect(address).map_err(io_error("connect to monitoring"))?;
    stream
        .set_read_timeout(Some(STALL_MAX))
        .map_err(io_error("set a read timeout"))?;
    // 1.0: the server closes at the end, and sends no chunks.
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .map_err(io_error("ask monitoring"))?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(io_error("read from monitoring"))?;
    body(&answer).map_err(|reason| BenchError::Monitoring {
        path: path.to_owned(),
        reason,
    })
}

fn body(answer: &str) -> Result<Value, String> {
    let first_line = answer.lines().next().unwrap_or_default();
    if first_line.split(' ').nth(1) != Some("200") {
        return Err(first_line.to_owned());
    }
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    serde_json::from_str(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_has_a_body() {
        let good = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":1}";
        assert_eq!(body(good).unwrap()["a"], 1);
        assert!(body("HTTP/1.1 404 Not Found\r\n\r\n{}").is_err());
        assert!(body("HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
        assert!(body("").is_err());
    }
}
