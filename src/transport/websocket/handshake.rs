//! The HTTP request that turns a connection into a WebSocket (WS-3, WS-4).

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use super::settings::WebSocketSettings;

/// Bytes of a request, and how many headers. Browsers send about 1 KiB; a cookie with a JWT may
/// have some more. What is longer is refused before more of it is stored.
pub const REQUEST_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Appended to a client's key before it is hashed (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its end has not come.
    More,
    /// A WebSocket; what follows on the wire is frames.
    Upgrade(Box<Upgraded>),
    /// Refused.
    Refused(Refusal),
}

/// An agreed upgrade.
#[derive(Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// Bytes of the answer.
    pub answer: Vec<u8>,
    /// What it is for.
    pub endpoint: Endpoint,
    /// Messages may be compressed.
    pub compress: bool,
    /// The client masks its frames, as it must unless it said that it does not.
    pub masked: bool,
    /// What kind of browser it is.
    pub browser: Browser,
    /// What cookies say in place of a CONNECT (WS-10).
    pub cookies: Cookies,
    /// `X-Forwarded-For` (WS-12).
    pub forwarded_for: Option<String>,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Any path: a client.
    Client,
    /// A path that ends in `/leafnode`.
    Leaf,
    /// A path that ends in `/mqtt`.
    Mqtt,
}

/// What must be known of a browser (WS-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Browser {
    /// None.
    #[default]
    No,
    /// Wants small frames.
    Yes,
    /// Wants small frames, but compressed messages in one piece.
    Safari,
}

/// Values of the cookies the listener names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cookies {
    /// User JWT.
    pub jwt: String,
    /// User name.
    pub user: String,
    /// Password.
    pub pass: String,
    /// Token.
    pub token: String,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies") // secrets
    }
}

/// Why there is no upgrade: the answer, and what the log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For the log; `None` where stock's HTTP library refuses by itself and says nothing.
    pub reason: Option<String>,
    /// What that library adds to the status.
    detail: &'static str,
    /// The request was a HEAD: no body.
    head: bool,
}

impl Refusal {
    fn logged(status: u16, reason: impl Into<String>) -> Progress {
        Progress::Refused(Self {
            status,
            reason: Some(reason.into()),
            detail: "",
            head: false,
        })
    }

    fn silent(status: u16, detail: &'static str) -> Progress {
        Progress::Refused(Self {
            status,
            reason: None,
            detail,
            head: false,
        })
    }

    /// Bytes of the answer; `date` is an HTTP date.
    pub fn answer(&self, date: &str) -> Vec<u8> {
        let text = match self.status {
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        };
        let status = self.status;
        if self.reason.is_none() {
            let body = match self.detail {
                "" => format!("{status} {text}"),
                detail => format!("{status} {text}: {detail}"),
            };
            return format!(
                "HTTP/1.1 {body}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: \
                 close\r\n\r\n{body}"
            )
            .into_bytes();
        }
        format!(
            "HTTP/1.1 {status} {text}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Sec-Websocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\nDate: {date}\r\n\
             Content-Length: {}\r\n\r\n{}",
            text.len() + 1,
            if self.head {
                String::new()
            } else {
                format!("{text}\n")
            },
        )
        .into_bytes()
    }
}

/// Reads a request. `tls`: it came through TLS.
pub fn read(input: &[u8], settings: &WebSocketSettings, tls: bool) -> Progress {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let used = match request.parse(input) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if input.len() < REQUEST_MAX => return Progress::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Refusal::silent(431, "");
        }
        Err(httparse::Error::Version) => {
            return Refusal::silent(505, "unsupported protocol version");
        }
        Err(_) => return Refusal::silent(400, ""),
    };
    answer(&request, &input[used..], settings, tls)
}

fn answer(
    request: &httparse::Request<'_, '_>,
    rest: &[u8],
    settings: &WebSocketSettings,
    tls: bool,
) -> Progress {
    let headers = Headers(request.headers);
    let path = request.path.unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let endpoint = if path.ends_with("/leafnode") {
        Endpoint::Leaf
    } else if path.ends_with("/mqtt") {
        Endpoint::Mqtt
    } else {
        Endpoint::Client
    };
    let hosts = headers.all("host").count();
    if hosts == 0 && request.version == Some(1) {
        return Refusal::silent(400, "missing required Host header");
    }
    if hosts > 1 {
        return Refusal::silent(400, "too many Host headers");
    }
    if endpoint == Endpoint::Mqtt {
        return Refusal::logged(404, "mqtt websocket endpoint not enabled");
    }
    if request.method != Some("GET") {
        return Progress::Refused(Refusal {
            status: 405,
            reason: Some("request method must be GET".into()),
            detail: "",
            head: request.method == Some("HEAD"),
        });
    }
    let host = headers.first("host");
    if host.is_empty() {
        return Refusal::logged(400, "'Host' missing in request");
    }
    if !headers.contains("upgrade", "websocket") {
        return Refusal::logged(400, "invalid value for header 'Upgrade'");
    }
    if !headers.contains("connection", "upgrade") {
        return Refusal::logged(400, "invalid value for header 'Connection'");
    }
    let key = headers.first("sec-websocket-key");
    if key.is_empty() {
        return Refusal::logged(400, "key missing");
    }
    if BASE64
        .decode(key.as_bytes())
        .ok()
        .is_none_or(|it| it.len() != 16)
    {
        return Refusal::logged(400, "invalid websocket key");
    }
    if !headers.contains("sec-websocket-version", "13") {
        return Refusal::logged(400, "invalid version");
    }
    let origin = ["origin", "sec-websocket-origin"]
        .map(|name| headers.first(name))
        .into_iter()
        .find(|it| !it.is_empty());
    if let Err(error) = settings.origins.check(origin, host, tls) {
        return Refusal::logged(403, format!("origin not allowed: {error}"));
    }
    if !rest.is_empty() {
        return Refusal::logged(400, "client sent data before handshake is complete");
    }
    let compress = settings.compression && headers.offers_compression();
    let masked = headers.first("nats-no-masking") != "true";
    let user_agent = headers.first("user-agent");
    let browser = match user_agent.starts_with("Mozilla/") {
        // Chrome names Safari as well; only Safari itself names a Version.
        true if user_agent.contains("Version/") && user_agent.contains("Safari/") => {
            Browser::Safari
        }
        true => Browser::Yes,
        false => Browser::No,
    };
    let forwarded_for = headers.first("x-forwarded-for");
    Progress::Upgrade(Box::new(Upgraded {
        answer: accept(key, compress, masked, &settings.headers),
        endpoint,
        compress,
        masked,
        browser,
        cookies: headers.cookies(settings),
        forwarded_for: forwarded_for
            .parse::<core::net::IpAddr>()
            .is_ok()
            .then(|| forwarded_for.to_owned()),
    }))
}

/// What a server answers to the key of a request, to show that it has read it.
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    BASE64.encode(&hash.finalize())
}

fn accept(key: &str, compress: bool, masked: bool, headers: &str) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(key)
    );
    if compress {
        answer.push_str(
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n",
        );
    }
    if !masked {
        answer.push_str("Nats-No-Masking: true\r\n");
    }
    answer.push_str(headers);
    answer.push_str("\r\n");
    answer.into_bytes()
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl Headers<'_> {
    /// Values of all headers of a name; what is no text counts as empty.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |it| it.name.eq_ignore_ascii_case(name))
            .map(|it| std::str::from_utf8(it.value).unwrap_or_default().trim())
    }

    fn first(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Is `value` in the lists of these headers?
    fn contains(&self, name: &str, value: &str) -> bool {
        self.all(name)
            .flat_map(|list| list.split(','))
            .any(|it| it.trim_matches([' ', '\t']).eq_ignore_ascii_case(value))
    }

    fn offers_compression(&self) -> bool {
        self.all("sec-websocket-extensions")
            .flat_map(|list| list.split([',', ';']))
            .any(|it| {
                it.trim_matches([' ', '\t'])
                    .eq_ignore_ascii_case("permessage-deflate")
            })
    }

    fn cookies(&self, settings: &WebSocketSettings) -> Cookies {
        let names = &settings.cookies;
        let mut found = Cookies::default();
        let pairs = self.all("cookie").flat_map(|line| line.split(';'));
        for (name, value) in pairs.filter_map(|it| it.trim().split_once('=')) {
            let place = [
                (&names.jwt, &mut found.jwt),
                (&names.user, &mut found.user),
                (&names.pass, &mut found.pass),
                (&names.token, &mut found.token),
            ];
            let place = place
                .into_iter()
                .find(|(known, _)| !known.is_empty() && *known == name);
            if let Some((_, place)) = place
                && let Some(value) = cookie_value(value)
            {
                value.clone_into(place);
            }
        }
        found
    }
}

/// A cookie's value without its quotes; `None` where it has bytes no cookie may have.
fn cookie_value(value: &str) -> Option<&str> {
    let inner = value
        .strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'))
        .unwrap_or(value);
    let is_fine = |it: u8| (0x20..0x7f).contains(&it) && !b"\";\\".contains(&it);
    inner.bytes().all(is_fine).then_some(inner)
}
