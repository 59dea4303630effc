//! WebSocket (RFC 6455) under the NATS protocol, as a server and as a client: the HTTP request,
//! frames, and compression of single messages (RFC 7692).

pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod naive;
pub mod origin;
pub mod session;
pub mod settings;
pub mod upgrade;
