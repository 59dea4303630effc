//! TLS of one connection, as a server.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{InvalidMessage, ProtocolVersion};

use crate::delivery::outbound::Chunk;

/// Wire bytes kept of a record or handshake message whose rest has not come. A handshake message
/// is at most 64 KiB and a record 18 KiB; rustls refuses longer ones before this bound is met.
const INCOMING_MAX: usize = 128 * 1024;

/// Plaintext of one record (RFC 8446, 5.1).
const FRAGMENT: usize = 16 * 1024;
/// Most that sealing adds to one record: header, explicit nonce, tag, type.
const RECORD_OVERHEAD: usize = 64;

/// Why TLS with a peer has failed. What is to be said to the peer is in the wire bytes already.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// In the library's words.
    #[error("{0}")]
    Library(#[from] rustls::Error),
    /// A peer that goes on talking in the middle of a message.
    #[error("tls: message too long")]
    TooLong,
}

impl TlsError {
    /// Did the peer not speak TLS at all? Probes and load balancers do that.
    pub fn is_probe(&self) -> bool {
        matches!(
            self,
            Self::Library(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion
            ))
        )
    }
}

/// One TLS session.
pub struct TlsSession {
    connection: UnbufferedServerConnection,
    /// Wire bytes of a message whose rest has not come, at most [`INCOMING_MAX`].
    incoming: Vec<u8>,
    /// The peer has said that it sends no more.
    peer_closed: bool,
}

impl TlsSession {
    /// A session that waits for its client.
    ///
    /// # Errors
    /// None with a configuration that was checked.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(Arc::clone(config))?,
            incoming: Vec::new(),
            peer_closed: false,
        })
    }

    /// Is the handshake still going on?
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Has the peer ended its side?
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// `1.2` or `1.3`, as monitoring shows it; empty before the handshake.
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "",
        }
    }

    /// Go's name of the cipher suite; empty before the handshake.
    pub fn cipher_suite(&self) -> &'static str {
        let suite = self.connection.negotiated_cipher_suite();
        suite.map_or("", |suite| super::settings::suite_name(suite.suite()))
    }

    /// The peer's certificates, its own first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// Takes wire bytes. What they say is appended to `plain`, what must be answered to `wire`.
    ///
    /// # Errors
    /// [`TlsError`]: the session is over once `wire` has left.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        self.incoming.extend_from_slice(bytes);
        let mut taken = 0;
        let outcome = self.process(&mut taken, plain, wire);
        self.incoming.drain(..taken);
        if self.incoming.is_empty() {
            self.incoming = Vec::new(); // an idle connection holds no buffer
        } else if self.incoming.len() > INCOMING_MAX {
            return Err(TlsError::TooLong);
        }
        if outcome.is_err() {
            self.take_alert(wire);
        }
        outcome
    }

    fn process(
        &mut self,
        taken: &mut usize,
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        loop {
            let UnbufferedStatus { discard, state } = self
                .connection
                .process_tls_records(&mut self.incoming[*taken..]);
            let mut used = discard;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        used += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => append(wire, |free| data.encode(free)),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.peer_closed = true;
                    *taken = self.incoming.len();
                    return Ok(());
                }
                // Nothing else is left to do with these bytes. Early data is never offered.
                _ => {
                    *taken += used;
                    return Ok(());
                }
            }
            *taken += used;
        }
    }

    /// The alert that tells the peer of an error.
    fn take_alert(&mut self, wire: &mut Vec<u8>) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(&mut []).state
        {
            append(wire, |free| data.encode(free));
        }
    }

    /// Appends `chunk` to `wire`, sealed in records of up to 16 KiB. `gather` is scratch.
    ///
    /// # Errors
    /// When the session cannot send any more.
    pub fn seal(
        &mut self,
        chunk: &Chunk,
        gather: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if chunk.shared.is_empty() {
            return self.seal_bytes(&chunk.bytes, wire);
        }
        // One piece, so that no record is spent on the forty bytes in front of a payload.
        gather.clear();
        for piece in chunk.slices() {
            gather.extend_from_slice(piece);
        }
        self.seal_bytes(gather, wire)
    }

    /// Appends sealed `bytes` to `wire`.
    ///
    /// # Errors
    /// When the session cannot send any more.
    pub fn seal_bytes(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> Result<(), TlsError> {
        wire.reserve(bytes.len() + (bytes.len() / FRAGMENT + 1) * RECORD_OVERHEAD);
        loop {
            // With the bytes that wait, because rustls remembers places in them.
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            debug_assert_eq!(discard, 0, "what waits has been looked at");
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(wire, |free| traffic.encrypt(bytes, free));
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(mut data) => append(wire, |free| data.encode(free)),
                ConnectionState::TransmitTlsData(mut data) => {
                    if let Some(mut traffic) = data.may_encrypt_app_data() {
                        append(wire, |free| traffic.encrypt(bytes, free));
                        data.done();
                        return Ok(());
                    }
                    data.done();
                }
                _ => return Err(rustls::Error::HandshakeNotComplete.into()),
            }
        }
    }

    /// Appends the notice that we send no more.
    pub fn close(&mut self, wire: &mut Vec<u8>) {
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self
            .connection
            .process_tls_records(&mut self.incoming)
            .state
        {
            append(wire, |free| traffic.queue_close_notify(free));
        }
    }
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsSession {{ {} }}", self.version())
    }
}

/// How much room a writer asks for.
trait NeedsRoom {
    fn required(&self) -> Option<usize>;
}

impl NeedsRoom for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(error) => Some(error.required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl NeedsRoom for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(error) => Some(error.required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Appends what `write` puts into free room: what it asks for.
fn append<E: NeedsRoom>(wire: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, E>) {
    let start = wire.len();
    let needed = match write(&mut []) {
        Ok(_) => return,
        Err(error) => error.required(),
    };
    let Some(needed) = needed else { return };
    wire.resize(start + needed, 0);
    let written = write(&mut wire[start..]).unwrap_or(0);
    wire.truncate(start + written);
}

/// The first byte of a TLS connection: a handshake record.
pub const HANDSHAKE_RECORD: u8 = 0x16;
