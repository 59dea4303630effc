//! How a client comes to a server: where, by which wire, as whom.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

/// What lies between a socket and the protocol.
#[derive(Debug, Clone, Default)]
pub enum Wire {
    /// Nothing.
    #[default]
    Plain,
    /// TLS, begun after INFO as every client does.
    Tls(Arc<ClientConfig>),
    /// WebSocket without TLS.
    WebSocket {
        /// Bytes of the protocol in one frame at most; servers choose theirs.
        frame: usize,
    },
    /// Nothing, and the client is a leaf: it speaks the protocol between servers.
    Leaf,
}

/// All that a connection needs to know before it is made.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where.
    pub address: SocketAddr,
    /// Through what.
    pub wire: Wire,
    /// As whom, where somebody is asked for.
    pub user: Option<String>,
}

impl Dial {
    /// To `address` as nobody in particular.
    pub fn new(address: SocketAddr, wire: Wire) -> Self {
        Self {
            address,
            wire,
            user: None,
        }
    }

    /// The same as `user`, whose password is [`PASSWORD`].
    pub fn as_user(&self, user: Option<&str>) -> Self {
        Self {
            user: user.map(str::to_owned),
            ..self.clone()
        }
    }
}

/// Every user's.
pub const PASSWORD: &str = "bench";
