//! TLS as a generator needs it: large reads, records opened where they lie, and a handshake in two
//! steps, so that thousands of them can be begun before the first is ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme, version};

/// Bytes of one read.
const INCOMING_SIZE: usize = 256 * 1024;
/// Plaintext of one record, and what sealing adds to it at most.
const FRAGMENT: usize = 16 * 1024;
const OVERHEAD: usize = 64;
/// Room for what a handshake says at a time.
const FLIGHT_MAX: usize = 16 * 1024;

/// A client that speaks TLS 1.3 and trusts everybody: what checking costs it is not the question.
pub fn config(resumes: bool) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider knows TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAll(provider)))
        .with_no_client_auth();
    if !resumes {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Arc::new(config)
}

/// One session.
pub struct Tls {
    connection: UnbufferedClientConnection,
    incoming: Vec<u8>,
    filled: usize,
    /// Plaintext for which the reader had no room.
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Tls {
    /// Sends the first flight.
    ///
    /// # Errors
    /// The socket's, and what TLS has to say as [`ErrorKind::InvalidData`].
    pub fn begin(config: &Arc<ClientConfig>, stream: &TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").map_err(invalid)?;
        let connection =
            UnbufferedClientConnection::new(Arc::clone(config), name).map_err(invalid)?;
        let mut tls = Self {
            connection,
            incoming: vec![0; INCOMING_SIZE],
            filled: 0,
            plain: Vec::new(),
            sealed: Vec::new(),
        };
        tls.process(stream, &mut [])?;
        Ok(tls)
    }

    /// Takes the other flights; returns whether the session was resumed.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn finish(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.connection.is_handshaking() {
            self.fill(|buffer| (&*stream).read(buffer))?;
            self.process(stream, &mut [])?;
        }
        Ok(self.connection.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Reads once with `read` and opens what is whole. [`ErrorKind::WouldBlock`] when nothing is.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn read(
        &mut self,
        stream: &TcpStream,
        buffer: &mut [u8],
        read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.plain.is_empty() {
            self.fill(read)?;
            let opened = self.process(stream, buffer)?;
            return if opened == 0 {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(opened)
            };
        }
        let count = self.plain.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }

    /// Seals and writes all of `bytes`.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn write(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let needed = bytes.len() + (bytes.len() / FRAGMENT + 1) * OVERHEAD;
        if self.sealed.len() < needed {
            self.sealed.resize(needed, 0);
        }
        let records = self
            .connection
            .process_tls_records(&mut self.incoming[..self.filled]);
        let ConnectionState::WriteTraffic(mut traffic) = records.state.map_err(invalid)? else {
            return Err(invalid("the session is not open"));
        };
        let count = traffic.encrypt(bytes, &mut self.sealed).map_err(invalid)?;
        stream.write_all(&self.sealed[..count])
    }

    fn fill(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        match read(&mut self.incoming[self.filled..])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// Takes all whole records; plaintext goes to `buffer`, as far as it has room.
    fn process(&mut self, mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut taken, mut opened) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } = self
                .connection
                .process_tls_records(&mut self.incoming[taken..self.filled]);
            match state.map_err(invalid)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let room = buffer[opened..].len().min(record.payload.len());
                        let (now, later) = record.payload.split_at(room);
                        buffer[opened..opened + room].copy_from_slice(now);
                        self.plain.extend_from_slice(later);
                        opened += room;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut flight = [0; FLIGHT_MAX];
                    let count = data.encode(&mut flight).map_err(invalid)?;
                    stream.write_all(&flight[..count])?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed if opened == 0 => {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                _ => {
                    taken += discard;
                    self.incoming.copy_within(taken..self.filled, 0);
                    self.filled -= taken;
                    return Ok(opened);
                }
            }
            taken += discard;
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

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
