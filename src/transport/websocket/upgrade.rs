//! The HTTP request by which we ask a server for a WebSocket, and its answer (TOPO-46).

use data_encoding::BASE64;

use super::handshake::{self, REQUEST_MAX};

/// How many headers an answer may have.
const HEADERS_MAX: usize = 64;

/// What we ask for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The `Host` header.
    pub host: String,
    /// The path, without the slash in front.
    pub path: String,
    /// Messages may be compressed.
    pub compress: bool,
    /// Our frames are masked; if not, the server is asked whether it takes them as they are.
    pub masked: bool,
    /// Random bytes that the server proves to have read.
    pub key: [u8; 16],
    /// Where the masks of our frames begin.
    pub seed: u64,
}

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its end has not come.
    More,
    /// A WebSocket; what follows after `used` bytes is frames.
    Agreed {
        /// Bytes of the answer.
        used: usize,
        /// Messages are compressed.
        compress: bool,
        /// Our frames are masked.
        masked: bool,
    },
    /// None; why, in stock's words.
    Refused(&'static str),
}

impl Request {
    /// Bytes of the request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "GET /{} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n\
             Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
            self.path,
            self.host,
            BASE64.encode(&self.key)
        );
        if self.compress {
            text.push_str("Sec-WebSocket-Extensions: permessage-deflate; ");
            text.push_str("server_no_context_takeover; client_no_context_takeover\r\n");
        }
        if !self.masked {
            text.push_str("Nats-No-Masking: true\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Reads the answer.
    pub fn answer(&self, input: &[u8]) -> Answer {
        const INVALID: Answer = Answer::Refused("invalid websocket connection");
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let used = match response.parse(input) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if input.len() < REQUEST_MAX => return Answer::More,
            Ok(httparse::Status::Partial) | Err(_) => return INVALID,
        };
        let first = |name: &str| {
            let found = response.headers.iter();
            let found = found.filter(|it| it.name.eq_ignore_ascii_case(name));
            found.map(|it| it.value.trim_ascii()).next()
        };
        let is = |name: &str, value: &str| {
            first(name).is_some_and(|it| it.eq_ignore_ascii_case(value.as_bytes()))
        };
        let accepted = handshake::accept_key(&BASE64.encode(&self.key));
        let upgraded = response.code == Some(101)
            && is("upgrade", "websocket")
            && is("connection", "upgrade")
            && first("sec-websocket-accept") == Some(accepted.as_bytes());
        if !upgraded {
            return INVALID;
        }
        let extensions = first("sec-websocket-extensions").unwrap_or_default();
        let words = extensions
            .split(|it| matches!(it, b',' | b';'))
            .map(<[u8]>::trim_ascii);
        let has = |word: &[u8]| words.clone().any(|it| it.eq_ignore_ascii_case(word));
        let compress = self.compress && has(b"permessage-deflate");
        let fresh = has(b"server_no_context_takeover") && has(b"client_no_context_takeover");
        if compress && !fresh {
            return Answer::Refused("compression negotiation error");
        }
        Answer::Agreed {
            used,
            compress,
            masked: self.masked || !is("nats-no-masking", "true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            host: "h:1".into(),
            path: "leafnode".into(),
            compress: false,
            masked: true,
            // The key of RFC 6455, 1.3.
            key: *b"the sample nonce",
            seed: 1,
        }
    }

    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    #[track_caller]
    fn check(request: &Request, more: &str, expected: Answer) {
        let text = format!("{AGREED}{more}\r\n");
        for end in 0..text.len() {
            assert_eq!(request.answer(&text.as_bytes()[..end]), Answer::More);
        }
        let expected = match expected {
            Answer::Agreed {
                compress, masked, ..
            } => Answer::Agreed {
                used: text.len(),
                compress,
                masked,
            },
            other => other,
        };
        assert_eq!(request.answer(format!("{text}rest").as_bytes()), expected);
    }

    const fn agreed(compress: bool, masked: bool) -> Answer {
        Answer::Agreed {
            used: 0,
            compress,
            masked,
        }
    }

    #[test]
    fn topo_046_what_is_agreed() {
        let plain = request();
        let text = String::from_utf8(plain.bytes()).expect("text");
        assert!(
            text.starts_with("GET /leafnode HTTP/1.1\r\nHost: h:1\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "{text}"
        );
        check(&plain, "", agreed(false, true));
        check(&plain, "Nats-No-Masking: true\r\n", agreed(false, true));
        let all = Request {
            compress: true,
            masked: false,
            ..request()
        };
        let both = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                    client_no_context_takeover\r\n";
        check(
            &all,
            &format!("{both}Nats-No-Masking: true\r\n"),
            agreed(true, false),
        );
        check(&all, "", agreed(false, true));
        let half = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        check(&all, half, Answer::Refused("compression negotiation error"));
    }

    #[test]
    fn topo_046_what_is_no_websocket() {
        let refused = Answer::Refused("invalid websocket connection");
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            "INFO {}\r\n".to_owned(),
            format!("{}\r\n", AGREED.replace("s3p", "s4p")),
            format!("{}\r\n", AGREED.replace("WebSocket\r", "h2c\r")),
        ] {
            assert_eq!(request().answer(text.as_bytes()), refused, "{text}");
        }
        let endless = format!("HTTP/1.1 101 x\r\nA: {}", "x".repeat(REQUEST_MAX));
        assert_eq!(request().answer(endless.as_bytes()), refused);
    }
}
