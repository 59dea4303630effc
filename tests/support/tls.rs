//! Certificates made for one test, and TLS for the raw client.

use super::client::{Client, Wire};
use super::directory::TempDir;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SigningKey,
};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::fs;
use std::sync::Arc;

/// Signs certificates; they are written as `<name>.pem` and `<name>-key.pem`, its own as `ca.pem`.
pub struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM files.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Pair {
    /// As keys of a `tls` block.
    pub fn config(&self) -> String {
        format!("cert_file: {:?}, key_file: {:?}", self.cert, self.key)
    }

    /// The certificate itself.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).expect("a certificate")
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let dir = TempDir::new();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "case authority");
        let certificate = params.self_signed(&key).expect("signs itself");
        dir.write("ca.pem", &certificate.pem());
        Self {
            dir,
            issuer: Issuer::new(params, key),
        }
    }

    /// Signs any bytes, with ECDSA over P-256 and SHA-256.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(bytes).expect("signs")
    }

    /// Its certificate's file.
    pub fn ca(&self) -> String {
        self.dir.file("ca.pem")
    }

    /// A certificate of a server, for localhost and 127.0.0.1.
    pub fn server(&self) -> Pair {
        self.host("server", &["localhost"])
    }

    /// A certificate of a server for these names and 127.0.0.1.
    pub fn host(&self, file: &str, names: &[&str]) -> Pair {
        self.issue(file, |params| {
            let names = names.iter().map(|it| (*it).try_into().expect("a name"));
            params.subject_alt_names = names.map(SanType::DnsName).collect();
            let address = [127, 0, 0, 1].into();
            params.subject_alt_names.push(SanType::IpAddress(address));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// A certificate as `shape` makes it.
    pub fn issue(&self, file: &str, shape: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        shape(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        Pair {
            cert: self.dir.write(&format!("{file}.pem"), &certificate.pem()),
            key: self
                .dir
                .write(&format!("{file}-key.pem"), &key.serialize_pem()),
        }
    }

    /// A client that trusts it.
    pub fn client(&self) -> Dialer {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.ca()).expect("a certificate");
        roots.add(ca).expect("an authority");
        Dialer {
            roots,
            pair: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            name: "localhost".to_owned(),
        }
    }
}

/// How a client does TLS.
#[derive(Clone)]
pub struct Dialer {
    roots: RootCertStore,
    pair: Option<Pair>,
    versions: Vec<&'static SupportedProtocolVersion>,
    name: String,
}

impl Dialer {
    /// Shows this certificate.
    pub fn showing(mut self, pair: &Pair) -> Self {
        self.pair = Some(pair.clone());
        self
    }

    /// Speaks only this version.
    pub fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Asks for this host.
    pub fn host(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// A configuration that remembers its sessions, for several connections.
    pub fn config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let pem = fs::read(&pair.key).expect("a key");
                let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
                builder
                    .with_client_auth_cert(vec![pair.der()], key)
                    .expect("a pair")
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// Begins TLS on a connection; the handshake runs with its first bytes.
    pub fn begin(&self, client: &mut Client) {
        self.begin_with(&self.config(), client);
    }

    /// The same with a configuration that may know a session.
    pub fn begin_with(&self, config: &Arc<ClientConfig>, client: &mut Client) {
        client.through(|wire| self.stream(config, wire));
    }

    fn stream(&self, config: &Arc<ClientConfig>, wire: Box<dyn Wire>) -> Stream {
        let name = self.name.clone().try_into().expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        StreamOwned::new(connection, wire)
    }

    /// Does a handshake by itself: what came of it, and the stream.
    pub fn handshake(
        &self,
        config: &Arc<ClientConfig>,
        wire: impl Wire + 'static,
    ) -> Result<Stream, std::io::Error> {
        let mut stream = self.stream(config, Box::new(wire));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// TLS over whatever there is.
pub type Stream = StreamOwned<ClientConnection, Box<dyn Wire>>;
