//! What stands between a connection's bytes on the wire and its protocol: a PROXY header, TLS,
//! WebSocket frames, or several of them. Plain connections have none of it and pay nothing.
//!
//! A [`Transport`](transport::Transport) belongs to one connection and moves with it. It is a pure
//! state machine: wire bytes in, plaintext out; chunks of output in, wire bytes out. It has no
//! socket and no clock; what must be known of the world is in [`settings`].

pub mod chain;
mod compressed;
pub mod dial;
pub mod identity;
mod output;
pub mod proxy_protocol;
pub mod rate;
pub mod s2;
pub mod settings;
pub mod tls;
#[expect(
    clippy::module_inception,
    reason = "the folder is named for its main type"
)]
pub mod transport;
pub mod websocket;
