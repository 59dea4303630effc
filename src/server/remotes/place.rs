//! A remote's URL in parts.

use std::net::IpAddr;

/// Port of leaf nodes where a URL names none (TOPO-1).
const DEFAULT_PORT: u16 = 7422;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// TCP, with TLS if that is asked for.
    Tcp,
    /// A WebSocket.
    WebSocket,
    /// A WebSocket over TLS.
    SecureWebSocket,
}

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// How.
    pub scheme: Scheme,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What stands before `leafnode` in the path of a WebSocket, without slashes around it.
    pub path: String,
}

impl Place {
    /// Reads `[scheme://][user[:password]@]host[:port][/path]`.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats-leaf", url));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" => Scheme::WebSocket,
            "wss" => Scheme::SecureWebSocket,
            _ => Scheme::Tcp,
        };
        let (rest, path) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let user = user.map(|it| {
            let (name, password) = it.split_once(':').unwrap_or((it, ""));
            (percent_decoded(name), percent_decoded(password))
        });
        let bracketed = address.ends_with(']');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !bracketed => (host, port.parse().ok()?),
            _ => (address, scheme.default_port()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self {
            scheme,
            user,
            host: host.to_owned(),
            port,
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// Where an HTTP proxy is.
    pub fn of_proxy(url: &str) -> Option<Self> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        Self::parse(&format!("ws://{rest}"))
    }

    /// One that a hub names, reached in the same way as `like`. `None` for what is no place: an
    /// address that stands for all addresses would lead back here.
    pub fn named_by_hub(address: &str, like: &Self) -> Option<Self> {
        let place = Self::parse(address)?;
        let ip = place.host.parse::<IpAddr>();
        let user = like.user.clone();
        (!address.contains(['/', '@']) && !ip.is_ok_and(|it| it.is_unspecified())).then(|| Self {
            scheme: like.scheme,
            user,
            path: like.path.clone(),
            ..place
        })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Is the host a name rather than an address?
    pub fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Do both lead to the same server?
    pub fn is_at(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Tcp => DEFAULT_PORT,
            Self::WebSocket => 80,
            Self::SecureWebSocket => 443,
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(scheme: Scheme, user: Option<(&str, &str)>, host: &str, port: u16) -> Place {
        Place {
            scheme,
            user: user.map(|(name, pass)| (name.to_owned(), pass.to_owned())),
            host: host.to_owned(),
            port,
            path: String::new(),
        }
    }

    #[test]
    fn urls_of_remotes() {
        let check = |url: &str, expected| assert_eq!(Place::parse(url), expected, "{url}");
        let tcp = |user, host, port| Some(place(Scheme::Tcp, user, host, port));
        check("nats-leaf://h:1", tcp(None, "h", 1));
        check("nats://u:p%40@h", tcp(Some(("u", "p@")), "h", 7422));
        check("tls://t@[::1]:5", tcp(Some(("t", "")), "::1", 5));
        check("[::1]", tcp(None, "::1", 7422));
        check("nats://h:x", None);
        check("ws://h", Some(place(Scheme::WebSocket, None, "h", 80)));
        let deep = Place {
            path: "a/b".into(),
            ..place(Scheme::SecureWebSocket, None, "h", 443)
        };
        check("wss://h/a/b/", Some(deep));
        let shown = Place::parse("nats://u:secret@[::1]:5").map(|it| it.address());
        assert_eq!(shown.as_deref(), Some("[::1]:5"));
    }

    #[test]
    fn topo_017_places_that_a_hub_names() {
        let like = Place::parse("wss://u:p@h:1/x").expect("a place");
        let named = Place::named_by_hub("other:5", &like).expect("a place");
        assert_eq!(named.scheme, Scheme::SecureWebSocket);
        assert_eq!((named.user, named.path), (like.user.clone(), "x".into()));
        for address in ["0.0.0.0:7422", "[::]:7422", "", "a@b:1", "http://h:1"] {
            assert_eq!(Place::named_by_hub(address, &like), None, "{address}");
        }
    }
}
