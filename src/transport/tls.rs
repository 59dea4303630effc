//! TLS of one connection, as a server, or as a client where we have connected.

use std::sync::Arc;

use rustls::client::{ClientConfig, ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, InvalidMessage, ProtocolVersion};

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
    /// Is the server's certificate good, but somebody else's?
    pub fn is_wrong_name(&self) -> bool {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Self::Library(rustls::Error::InvalidCertificate(error)) = self else {
            return false;
        };
        matches!(error, NotValidForName | NotValidForNameContext { .. })
    }

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

/// Which side of a session we are.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The same step on either side.
macro_rules! either {
    ($side:expr, $connection:ident => $step:expr) => {
        match $side {
            Side::Server($connection) => $step,
            Side::Client($connection) => $step,
        }
    };
}

impl Side {
    fn state(&self) -> &CommonState {
        either!(self, connection => connection)
    }
}

/// What both sides do with records.
trait Records {
    /// The library's own.
    type Data;

    fn process<'a, 'b>(
        &'a mut self,
        incoming: &'b mut [u8],
    ) -> UnbufferedStatus<'a, 'b, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'a, 'b>(
        &'a mut self,
        incoming: &'b mut [u8],
    ) -> UnbufferedStatus<'a, 'b, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'a, 'b>(
        &'a mut self,
        incoming: &'b mut [u8],
    ) -> UnbufferedStatus<'a, 'b, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// One TLS session.
pub struct TlsSession {
    side: Side,
    /// Wire bytes of a message whose rest has not come, at most [`INCOMING_MAX`].
    incoming: Vec<u8>,
    /// The peer has said that it sends no more.
    peer_closed: bool,
    /// Nothing more is done with it.
    failed: bool,
}

impl TlsSession {
    /// A session that waits for its client.
    ///
    /// # Errors
    /// None with a configuration that was checked.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self::of(Side::Server(connection)))
    }

    /// A session with a server of that name. Its first bytes are appended to `wire`.
    ///
    /// # Errors
    /// None with a configuration that was checked.
    pub fn dial(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        wire: &mut Vec<u8>,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name)?;
        let mut this = Self::of(Side::Client(connection));
        this.receive(&[], &mut Vec::new(), wire)?;
        Ok(this)
    }

    fn of(side: Side) -> Self {
        Self {
            side,
            incoming: Vec::new(),
            peer_closed: false,
            failed: false,
        }
    }

    /// Is the handshake still going on?
    pub fn is_handshaking(&self) -> bool {
        self.side.state().is_handshaking()
    }

    /// Has the peer ended its side?
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// `1.2` or `1.3`, as monitoring shows it; empty before the handshake.
    pub fn version(&self) -> &'static str {
        match self.side.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "",
        }
    }

    /// Go's name of the cipher suite; empty before the handshake.
    pub fn cipher_suite(&self) -> &'static str {
        let suite = self.side.state().negotiated_cipher_suite();
        suite.map_or("", |suite| super::settings::suite_name(suite.suite()))
    }

    /// The peer's certificates, its own first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.side.state().peer_certificates().unwrap_or_default()
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
        let (incoming, closed) = (&mut self.incoming, &mut self.peer_closed);
        let outcome = either!(&mut self.side, connection => {
            process(connection, incoming, (&mut taken, closed), plain, wire)
        });
        self.incoming.drain(..taken);
        if outcome.is_err() {
            self.failed = true;
            self.take_alert(wire);
        } else if self.incoming.is_empty() {
            self.incoming = Vec::new(); // an idle connection holds no buffer
        } else if self.incoming.len() > INCOMING_MAX {
            return Err(TlsError::TooLong);
        }
        outcome
    }

    /// What is still to be said to the peer, the alert last. Not a step further: after an error
    /// rustls must not be made to look at another record.
    fn take_alert(&mut self, wire: &mut Vec<u8>) {
        let incoming = &mut self.incoming;
        either!(&mut self.side, connection => {
            while connection.wants_write() {
                let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(incoming).state
                else {
                    break;
                };
                append(wire, |free| data.encode(free));
            }
        });
        self.incoming = Vec::new();
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
        if self.failed {
            return Err(rustls::Error::HandshakeNotComplete.into());
        }
        wire.reserve(bytes.len() + (bytes.len() / FRAGMENT + 1) * RECORD_OVERHEAD);
        // With the bytes that wait, because rustls remembers places in them.
        let incoming = &mut self.incoming;
        either!(&mut self.side, connection => seal(connection, incoming, bytes, wire))
    }

    /// Appends the notice that we send no more.
    pub fn close(&mut self, wire: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        let incoming = &mut self.incoming;
        either!(&mut self.side, connection => {
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) = connection.process(incoming).state
            {
                append(wire, |free| traffic.queue_close_notify(free));
            }
        });
    }
}

/// Takes what `incoming` holds; `taken` bytes of it are done with, and `closed` says whether the
/// peer has ended its side.
fn process(
    connection: &mut impl Records,
    incoming: &mut [u8],
    (taken, closed): (&mut usize, &mut bool),
    plain: &mut Vec<u8>,
    wire: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let whole = incoming.len();
    loop {
        let UnbufferedStatus { discard, state } = connection.process(&mut incoming[*taken..]);
        let mut used = discard;
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                *taken += used;
                return Err(error.into());
            }
        };
        match state {
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
                *closed = true;
                *taken = whole;
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

fn seal(
    connection: &mut impl Records,
    incoming: &mut [u8],
    bytes: &[u8],
    wire: &mut Vec<u8>,
) -> Result<(), TlsError> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process(incoming);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
        SupportedProtocolVersion, version,
    };

    use super::*;

    #[derive(Debug)]
    struct TrustsAll(Arc<CryptoProvider>);

    impl ServerCertVerifier for TrustsAll {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    /// A server that asks for certificates of its own authority, and a client with that or with
    /// another certificate.
    fn sides(
        good: bool,
        only: &'static SupportedProtocolVersion,
    ) -> (TlsSession, ClientConnection) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = || {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(["x".to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("signs");
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            (certificate.der().clone(), key)
        };
        let authority = {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new([]).expect("no names");
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).expect("signs");
            (certificate.der().clone(), rcgen::Issuer::new(params, key))
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.0).expect("an authority");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (own, key) = pair();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[only])
            .expect("a version")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![own], key)
            .expect("a pair");
        let (shown, key) = if good {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(["y".to_owned()]).expect("a name");
            let certificate = params.signed_by(&key, &authority.1).expect("signs");
            let der = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            (certificate.der().clone(), der)
        } else {
            pair()
        };
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[only])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAll(provider)))
            .with_client_auth_cert(vec![shown], key)
            .expect("a pair");
        let name = "x".try_into().expect("a name");
        (
            TlsSession::new(&Arc::new(server)).expect("a session"),
            ClientConnection::new(Arc::new(client), name).expect("a client"),
        )
    }

    /// A conversation over a network that cuts where it likes and may damage bytes. Gives what the
    /// server read.
    fn talk(
        (server, client): (&mut TlsSession, &mut ClientConnection),
        mut random: impl FnMut(u64) -> u64,
        damage: bool,
    ) -> Result<Vec<u8>, TlsError> {
        let (mut plain, mut wire, mut echoed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut gather, mut said) = (Vec::new(), false);
        for _ in 0..100 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("into memory");
            }
            if damage && !bytes.is_empty() && random(3) == 0 {
                let at = random(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random(8);
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let cut = 1 + random(rest.len() as u64) as usize;
                server.receive(&rest[..cut], &mut plain, &mut wire)?;
                rest = &rest[cut..];
                if !server.is_handshaking() && random(2) == 0 {
                    let mut chunk = Chunk::default();
                    chunk.bytes.extend_from_slice(b"said ");
                    server.seal(&chunk, &mut gather, &mut wire)?;
                }
            }
            let mut from = &wire[..];
            while !from.is_empty() && client.read_tls(&mut from).is_ok() {
                if client.process_new_packets().is_err() {
                    break;
                }
            }
            wire.clear();
            let _ = std::io::Read::read_to_end(&mut client.reader(), &mut echoed);
            if !client.is_handshaking() && !std::mem::replace(&mut said, true) {
                client
                    .writer()
                    .write_all(&[b'x'; 40_000])
                    .expect("into memory");
            }
        }
        Ok(plain)
    }

    fn chance(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d) % below.max(1)
        }
    }

    #[test]
    fn bytes_pass_however_they_are_cut() {
        for (seed, only) in (1..20).zip([&version::TLS12, &version::TLS13].into_iter().cycle()) {
            let (mut server, mut client) = sides(true, only);
            let heard = talk((&mut server, &mut client), chance(seed), false);
            assert_eq!(heard.expect("agreed").len(), 40_000, "{seed}");
            assert!(server.incoming.is_empty() && server.peer_certificates().len() == 1);
        }
    }

    #[test]
    fn certificates_of_others_are_refused() {
        for only in [&version::TLS12, &version::TLS13] {
            for seed in 1..30 {
                let (mut server, mut client) = sides(false, only);
                let heard = talk((&mut server, &mut client), chance(seed), false);
                assert!(heard.is_err(), "{seed}");
            }
        }
    }

    /// Whatever is damaged, it ends in an error or in silence, and nothing but what was said is
    /// heard.
    #[test]
    fn damage_is_no_panic() {
        for (seed, only) in (1..150).zip([&version::TLS12, &version::TLS13].into_iter().cycle()) {
            let (mut server, mut client) = sides(seed % 5 > 0, only);
            if let Ok(heard) = talk((&mut server, &mut client), chance(seed), true) {
                assert!(heard.iter().all(|&it| it == b'x'), "{seed}");
            }
        }
    }
}
