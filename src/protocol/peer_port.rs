//! What the ports of routes and gateways say to whoever comes there (TOPO-4). No links are made on
//! them yet: who has come to the wrong port is told so, and servers are told that they are not
//! taken.

use serde::{Deserialize, Serialize};

use super::error_text;
use super::op::ClientOp;
use super::parser::{self, Limits, Progress};

/// Most bytes of a CONNECT, which may bring a token along.
const CONNECT_MAX: usize = 64 * 1024;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPort {
    /// Servers of the same cluster.
    Route,
    /// Servers of other clusters.
    Gateway,
}

/// INFO of these ports, in stock's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerInfo<'a> {
    /// Public server nkey.
    pub server_id: &'a str,
    /// The server's name.
    pub server_name: &'a str,
    /// Version that others compare against.
    pub version: &'a str,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Language runtime's version.
    pub go: &'a str,
    /// Address of the port.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Whether the server takes headers.
    pub headers: bool,
    /// Most bytes in a message.
    pub max_payload: i32,
    /// Name of the cluster, on a route port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<&'a str>,
    /// Name of the gateway, on a gateway port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<&'a str>,
}

impl PeerInfo<'_> {
    /// The line.
    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default(); // plain fields do not fail
        format!("INFO {json} \r\n")
    }
}

/// Why somebody is not taken; its text is what the log says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something else than a CONNECT came first.
    #[error("authentication error")]
    NoConnect,
    /// Nothing came in time.
    #[error("authentication timeout")]
    Timeout,
    /// It is no server, or one for another port.
    #[error("{}", wrong(*.0))]
    WrongPort(PeerPort),
    /// A server of another cluster.
    #[error("Rejecting connection, cluster name {theirs:?} does not match {ours:?}")]
    ClusterName {
        /// Its own.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// A server that would be taken if links were made.
    #[error("{0} are not supported yet by this server")]
    NotYet(&'static str),
}

const fn wrong(port: PeerPort) -> &'static str {
    match port {
        PeerPort::Route => error_text::CONNECTED_TO_ROUTE_PORT,
        PeerPort::Gateway => error_text::CONNECTED_TO_GATEWAY_PORT,
    }
}

impl Refusal {
    /// The line it is told with.
    pub fn line(&self) -> String {
        match self {
            Self::NoConnect => "-ERR 'Authorization Violation'\r\n".to_owned(),
            Self::Timeout => "-ERR 'Authentication Timeout'\r\n".to_owned(),
            other => format!("-ERR '{other}'\r\n"),
        }
    }

    /// Why the connection closes, as the log says it.
    pub const fn close_reason(&self) -> &'static str {
        match self {
            Self::NoConnect => "Authentication Failure",
            Self::Timeout => "Authentication Timeout",
            Self::WrongPort(_) => "Incorrect Port",
            Self::ClusterName { .. } => "Cluster Name Conflict",
            Self::NotYet(_) => "Protocol Violation",
        }
    }
}

/// What of a CONNECT tells who it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    lang: String,
    cluster: String,
    gateway: String,
}

/// Why the one who sent these first bytes is not taken; `None` while it cannot be told. `cluster`
/// is the name of ours.
pub fn judge(port: PeerPort, cluster: &str, bytes: &[u8]) -> Option<Refusal> {
    let first = bytes.first()?;
    if !first.eq_ignore_ascii_case(&b'C') {
        return Some(Refusal::NoConnect);
    }
    let limits = Limits {
        max_control_line: CONNECT_MAX,
        max_payload: 0,
        headers: false,
    };
    let json = match parser::next_op(bytes, &limits) {
        Ok(Progress::Op {
            op: ClientOp::Connect { json },
            ..
        }) => json,
        Ok(Progress::Incomplete { .. }) => return None,
        _ => return Some(Refusal::NoConnect),
    };
    let Ok(said) = serde_json::from_slice::<Said>(json) else {
        return Some(Refusal::NoConnect);
    };
    // Only clients say what language they are written in.
    let is_client = !said.lang.is_empty();
    Some(match port {
        _ if is_client => Refusal::WrongPort(port),
        PeerPort::Route if !said.gateway.is_empty() => Refusal::WrongPort(port),
        PeerPort::Route if said.cluster != cluster => Refusal::ClusterName {
            theirs: said.cluster,
            ours: cluster.to_owned(),
        },
        PeerPort::Route => Refusal::NotYet("clusters"),
        PeerPort::Gateway if said.gateway.is_empty() => Refusal::WrongPort(port),
        PeerPort::Gateway => Refusal::NotYet("gateways"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topo_004_who_comes_to_the_wrong_port_is_told_so() {
        use PeerPort::{Gateway, Route};
        let line = |port, text: &str| judge(port, "C", text.as_bytes()).map(|it| it.line());
        for (port, text, told) in [
            (Route, "HELLO", "Authorization Violation"),
            (Gateway, "P", "Authorization Violation"),
            (Route, "CONFUSE\r\n", "Authorization Violation"),
            (Route, "CONNECT {\"lang\":1}\r\n", "Authorization Violation"),
            (
                Route,
                "CONNECT {\"lang\":\"go\"}\r\n",
                "attempted to connect to route port",
            ),
            (
                Gateway,
                "connect {\"lang\":\"go\",\"name\":\"c\"}\r\nPING\r\n",
                "attempted to connect to gateway port",
            ),
            (
                Gateway,
                "CONNECT {\"cluster\":\"C\"}\r\n",
                "attempted to connect to gateway port",
            ),
            (
                Route,
                "CONNECT {\"cluster\":\"D\"}\r\n",
                "Rejecting connection, cluster name \"D\" does not match \"C\"",
            ),
            (
                Route,
                "CONNECT {\"cluster\":\"C\"}\r\n",
                "clusters are not supported yet by this server",
            ),
            (
                Gateway,
                "CONNECT {\"gateway\":\"G\"}\r\n",
                "gateways are not supported yet by this server",
            ),
        ] {
            let told = format!("-ERR '{told}'\r\n");
            assert_eq!(line(port, text), Some(told), "{text}");
        }
        assert_eq!(line(Route, ""), None);
        assert_eq!(line(Route, "CONNECT {\"lang\""), None);
        let endless = format!("CONNECT {}", "x".repeat(2 * CONNECT_MAX));
        assert_eq!(
            judge(Route, "C", endless.as_bytes()),
            Some(Refusal::NoConnect)
        );
    }
}
