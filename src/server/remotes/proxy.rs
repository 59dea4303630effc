//! A tunnel through an HTTP proxy (TOPO-47).

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use data_encoding::BASE64;

use super::place::Place;
use crate::options::HttpProxyOptions;

/// Bytes an answer may have.
const ANSWER_MAX: usize = 8 * 1024;
/// Headers it may have.
const HEADERS_MAX: usize = 32;

/// Connects to `place` through the proxy.
///
/// # Errors
/// Why that is not possible, in stock's words.
pub(super) fn tunnel(
    proxy: &HttpProxyOptions,
    place: &Place,
    usual: Duration,
) -> Result<TcpStream, String> {
    let timeout = proxy.timeout.unwrap_or(usual);
    let until = Instant::now() + timeout;
    let failed = |error: String| format!("failed to connect to proxy: {error}");
    let at = Place::of_proxy(&proxy.url).ok_or_else(|| failed("no address".into()))?;
    let addresses = (at.host.as_str(), at.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| failed(error.to_string()))?;
    let mut last = "no address".to_owned();
    let stream = addresses.into_iter().find_map(|address| {
        let stream = TcpStream::connect_timeout(&address, timeout);
        stream.map_err(|error| last = error.to_string()).ok()
    });
    let mut stream = stream.ok_or_else(|| failed(last))?;
    let target = place.address();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = &proxy.user {
        let word = BASE64.encode(format!("{user}:{password}").as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {word}\r\n"));
    }
    request.push_str("\r\n");
    let written = stream.write_all(request.as_bytes());
    written.map_err(|error| format!("failed to write CONNECT request: {error}"))?;
    let status = answer(&mut stream, until)
        .map_err(|error| format!("failed to read proxy response: {error}"))?;
    if !status.starts_with("200") {
        return Err(format!("proxy CONNECT failed: {status}"));
    }
    let whole = stream.set_read_timeout(None);
    whole.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// The status line of an answer. Not a byte after the answer is taken: that is the tunnel's.
fn answer(stream: &mut TcpStream, until: Instant) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("i/o timeout".into());
        }
        if head.len() == ANSWER_MAX {
            return Err("the answer is too long".into());
        }
        let mut byte = [0];
        let set = stream.set_read_timeout(Some(left));
        set.map_err(|error| error.to_string())?;
        stream
            .read_exact(&mut byte)
            .map_err(|error| error.to_string())?;
        head.extend_from_slice(&byte);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(&head).map_err(|error| error.to_string())?;
    match (parsed, response.code) {
        (httparse::Status::Complete(_), Some(code)) => {
            Ok(format!("{code} {}", response.reason.unwrap_or_default()))
        }
        _ => Err("malformed HTTP response".into()),
    }
}
