//! What stands in front of a connection's log lines (CFG-98).

use crate::ids::PeerAddress;

use super::trace::push_quoted;

/// Kind of a connection, as its log lines name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// NATS client: `cid`.
    Client,
    /// Client over WebSocket: `wid`.
    WebSocket,
    /// MQTT client: `mid`.
    Mqtt,
    /// MQTT client over WebSocket: `mid_ws`.
    MqttWebSocket,
    /// Route: `rid`.
    Route,
    /// Gateway: `gid`.
    Gateway,
    /// Leaf node: `lid`.
    Leaf,
    /// Leaf node over WebSocket: `lid_ws`.
    LeafWebSocket,
}

impl LogKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Client => "cid",
            Self::WebSocket => "wid",
            Self::Mqtt => "mid",
            Self::MqttWebSocket => "mid_ws",
            Self::Route => "rid",
            Self::Gateway => "gid",
            Self::Leaf => "lid",
            Self::LeafWebSocket => "lid_ws",
        }
    }
}

/// A connection as its lines name it from the start: `127.0.0.1:4321 - cid:5`. A line is this,
/// ` - ` and the text.
pub fn log_prefix(peer: PeerAddress, kind: LogKind, id: u64) -> String {
    format!("{peer} - {}:{id}", kind.label())
}

/// Who a client said it was in its first CONNECT. Empty strings are things not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogIdentity<'a> {
    /// Version of the client library.
    pub version: &'a str,
    /// Its language.
    pub lang: &'a str,
    /// Name of the connection.
    pub name: &'a str,
    /// Account it was put into.
    pub account: &'a str,
    /// Public nkey.
    pub nkey: &'a str,
    /// User name.
    pub user: &'a str,
    /// Public key of the user JWT, if one was sent.
    pub jwt_user: &'a str,
    /// Whether a token was sent; the token itself is never shown.
    pub has_token: bool,
}

impl LogIdentity<'_> {
    /// The prefix after CONNECT: `<prefix> - "v1.2:go:name" - "$G/user:joe"`, without the parts
    /// nothing is known of.
    pub fn extend_prefix(&self, prefix: &str) -> String {
        let mut out = prefix.to_owned();
        let version = if self.version.is_empty() {
            String::new()
        } else {
            format!("v{}", self.version)
        };
        let library: Vec<_> = [version.as_str(), self.lang, self.name]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        push_part(&mut out, &library.join(":"));
        if let Some(user) = self.user_label() {
            push_part(&mut out, &format!("{}/{user}", self.account));
        }
        out
    }

    /// First of what authentication looks at.
    fn user_label(&self) -> Option<String> {
        if !self.nkey.is_empty() {
            Some(format!("nkey:{}", self.nkey))
        } else if !self.user.is_empty() {
            Some(format!("user:{}", self.user))
        } else if !self.jwt_user.is_empty() {
            Some(format!("jwt:{}", self.jwt_user))
        } else {
            self.has_token.then(|| "token".to_owned())
        }
    }
}

fn push_part(out: &mut String, part: &str) {
    if !part.is_empty() {
        out.push_str(" - \"");
        push_quoted(out, part.as_bytes());
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_98_kinds() {
        let peer = "127.0.0.1:4321".parse().unwrap();
        assert_eq!(
            log_prefix(peer, LogKind::Client, 5),
            "127.0.0.1:4321 - cid:5"
        );
        let peer = "[::1]:80".parse().unwrap();
        assert_eq!(
            log_prefix(peer, LogKind::LeafWebSocket, 6),
            "[::1]:80 - lid_ws:6"
        );
    }

    #[test]
    fn cfg_98_identity() {
        let check = |identity: LogIdentity<'_>, expected: &str| {
            assert_eq!(identity.extend_prefix("p"), expected);
        };
        let anybody = LogIdentity {
            account: "$G",
            ..LogIdentity::default()
        };
        check(anybody, "p");
        check(
            LogIdentity {
                name: "only",
                ..anybody
            },
            "p - \"only\"",
        );
        check(
            LogIdentity {
                version: "1.2",
                lang: "py",
                name: "n\"\u{20ac}\n",
                ..anybody
            },
            "p - \"v1.2:py:n\\\"\u{20ac}\\n\"",
        );
        check(
            LogIdentity {
                lang: "go",
                user: "a",
                has_token: true,
                ..anybody
            },
            "p - \"go\" - \"$G/user:a\"",
        );
        check(
            LogIdentity {
                has_token: true,
                ..anybody
            },
            "p - \"$G/token\"",
        );
        check(
            LogIdentity {
                nkey: "UA",
                user: "a",
                ..anybody
            },
            "p - \"$G/nkey:UA\"",
        );
        check(
            LogIdentity {
                jwt_user: "UA",
                ..anybody
            },
            "p - \"$G/jwt:UA\"",
        );
    }
}
