//! TLS settings from files and names. Everything that can be wrong with a `tls` block is found
//! here, before a listener opens or a reload changes anything.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, RootCertStore, SupportedCipherSuite, version};

use sha2::{Digest, Sha256};

use super::staple::Staple;
use crate::options::{PathPair, TlsOptions};
use crate::transport::chain;
use crate::transport::identity;
use crate::transport::rate::HandshakeRate;
use crate::transport::settings::{HANDSHAKE_TIMEOUT, SUITES, TlsSettings};

/// What is wrong with a `tls` block. The texts are stock's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum TlsLoadError {
    /// A certificate without its key.
    #[error("missing 'key_file' in TLS configuration")]
    NoKey,
    /// A key without its certificate.
    #[error("missing 'cert_file' in TLS configuration")]
    NoCertificate,
    /// Something about a certificate or its key.
    #[error("error parsing X509 certificate/key pair{place}: {problem}")]
    Pair {
        /// ` 1/2`, where there are several.
        place: String,
        /// What.
        problem: PairProblem,
    },
    /// The CA file cannot be read.
    #[error("open {file}: {cause}")]
    Ca {
        /// The file.
        file: String,
        /// In the system's words, as Go spells them.
        cause: String,
    },
    /// Nothing in it is a certificate.
    #[error("failed to parse root ca certificate")]
    NoCa,
    /// The system has no certificates of authorities.
    #[error("no certificates of authorities found on this system: name some with ca_file")]
    NoSystemCa,
    /// The authority of a certificate that needs a staple is not known.
    #[error("no issuers found")]
    NoIssuer,
    /// Nothing can be said of a certificate that needs a staple.
    #[error("bad OCSP status update for certificate at '{file}': {why}")]
    Status {
        /// The certificate's.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Something bad is said of it.
    #[error("found existing OCSP status for certificate at '{file}': {status}")]
    Revoked {
        /// The certificate's.
        file: String,
        /// In a word.
        status: &'static str,
    },
    /// Names of which none can be used.
    #[error("none of these {what} is supported: use some of {known}")]
    Unsupported {
        /// What they name.
        what: &'static str,
        /// What could be named.
        known: String,
    },
    /// Nobody's certificate would be asked for.
    #[error(
        "OCSP peer verification for client connections requires TLS verify (mTLS) to be enabled"
    )]
    PeersNotVerified,
    /// The library refuses what it was given.
    #[error("error in TLS configuration: {0}")]
    Library(#[from] rustls::Error),
    /// The same, for whom to trust.
    #[error("error in TLS configuration: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What is wrong with a certificate and its key.
#[derive(Debug, thiserror::Error)]
pub enum PairProblem {
    /// A file cannot be read.
    #[error("open {file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// In the system's words, as Go spells them.
        cause: String,
    },
    /// Nothing of PEM in it.
    #[error("tls: failed to find any PEM data in {0} input")]
    NoPem(&'static str),
    /// Damaged.
    #[error("tls: failed to parse {0}")]
    Damaged(&'static str),
    /// Not each other's.
    #[error("tls: private key does not match public key")]
    Mismatch,
}

/// Reads everything a `tls` block of a listener names.
///
/// # Errors
/// [`TlsLoadError`].
pub fn load(options: &TlsOptions) -> Result<Arc<TlsSettings>, TlsLoadError> {
    load_stapled(options, |_| Ok(None))
}

/// The same; the first certificate is shown with what `staple` has for it.
///
/// # Errors
/// [`TlsLoadError`], that of `staple` among them.
pub fn load_stapled(
    options: &TlsOptions,
    staple: impl FnOnce(&Arc<CertifiedKey>) -> Result<Option<Arc<Staple>>, TlsLoadError>,
) -> Result<Arc<TlsSettings>, TlsLoadError> {
    if options.ocsp_peer.is_some() && !options.verify {
        return Err(TlsLoadError::PeersNotVerified);
    }
    let provider = Arc::new(provider(options)?);
    let mut certificates = certificates(options, &provider)?;
    if let Some(first) = certificates.first_mut() {
        first.staple = staple(&first.key)?;
    }
    let not_after = certificates
        .first()
        .and_then(|it| it.key.cert.first())
        .and_then(identity::not_after);
    let mut chains = Sha256::new();
    for chain in certificates.iter().flat_map(|it| &it.key.cert) {
        chains.update(chain);
    }
    let versions: &[_] = if options.only_tls13 {
        &[&version::TLS13]
    } else {
        &[&version::TLS13, &version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let mut authorities = Vec::new();
    let builder = if options.verify {
        authorities = trusted(options.ca_file.as_deref())?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        builder.with_client_cert_verifier(verifier.build()?)
    } else {
        if let Some(file) = &options.ca_file {
            roots(Some(file))?; // not needed, but a mistake all the same
        }
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates(certificates)));
    config.ignore_client_order = !options.cipher_suites.is_empty();
    // Tickets are sealed with keys of this very configuration: a session of another listener, or of
    // the time before a reload, is not resumed where other peers are trusted (T16).
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    let rate = options.connection_rate_limit;
    Ok(Arc::new(TlsSettings {
        config: Arc::new(config),
        timeout: options.timeout.unwrap_or(HANDSHAKE_TIMEOUT),
        handshake_first: options.handshake_first,
        pinned: pins(options),
        verify: options.verify,
        map: options.map,
        rate: (rate > 0).then(|| Arc::new(HandshakeRate::new(rate))),
        authorities,
        algorithms: provider.signature_verification_algorithms,
        ocsp_peer: options.ocsp_peer.clone(),
        certificates: chains.finalize().into(),
        not_after,
    }))
}

/// `pinned_certs` as bytes.
pub fn pins(options: &TlsOptions) -> HashSet<[u8; 32]> {
    let pins = options.pinned_certs.iter();
    pins.filter_map(|it| {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(it.as_bytes());
        bytes.ok()?.try_into().ok()
    })
    .collect()
}

/// Algorithms, as far as the block restricts them (CORE-80).
pub(super) fn provider(options: &TlsOptions) -> Result<CryptoProvider, TlsLoadError> {
    let mut provider = aws_lc_rs::default_provider();
    if !options.cipher_suites.is_empty() {
        provider.cipher_suites = suites(&options.cipher_suites, &provider.cipher_suites)?;
    }
    let groups = if options.curves.is_empty() {
        GROUPS.map(|(_, group)| group).to_vec()
    } else {
        let named = options.curves.iter();
        let found = named.filter_map(|name| GROUPS.iter().find(|(known, _)| known == name));
        found.map(|(_, group)| *group).collect()
    };
    if groups.is_empty() {
        return Err(TlsLoadError::Unsupported {
            what: "curve_preferences",
            known: GROUPS.map(|(name, _)| name).join(", "),
        });
    }
    let all = aws_lc_rs::ALL_KX_GROUPS;
    provider.kx_groups = groups
        .into_iter()
        .filter_map(|group| all.iter().copied().find(|it| it.name() == group))
        .collect();
    Ok(provider)
}

/// Groups by Go's names, best first, in stock's order. `CurveP521` is not among them: it is known
/// to the configuration and left out here.
const GROUPS: [(&str, NamedGroup); 4] = [
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
];

/// The suites named, in that order. Those of TLS 1.3 are always there and not to be chosen, as in
/// Go.
fn suites(
    names: &[String],
    all: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, TlsLoadError> {
    let find = |name: &String| {
        let (_, suite) = SUITES.iter().find(|(known, _)| known == name)?;
        all.iter().copied().find(|it| it.suite() == *suite)
    };
    let named: Vec<_> = names.iter().filter_map(find).collect();
    if named.is_empty() {
        return Err(TlsLoadError::Unsupported {
            what: "cipher_suites",
            known: SUITES.map(|(name, _)| name).join(", "),
        });
    }
    let tls13 = all.iter().copied().filter(|it| it.tls13().is_some());
    let tls12 = named.into_iter().filter(|it| it.tls13().is_none());
    Ok(tls13.chain(tls12).collect())
}

/// Whom to trust: the authorities of a file, or the system's.
///
/// # Errors
/// [`TlsLoadError`] where there are none.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsLoadError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted(file)?);
    Ok(roots)
}

/// The certificates of [`roots`].
fn trusted(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsLoadError> {
    let Some(file) = file else {
        let mut found = rustls_native_certs::load_native_certs().certs;
        found.retain(is_usable);
        return if found.is_empty() {
            Err(TlsLoadError::NoSystemCa)
        } else {
            Ok(found)
        };
    };
    let text = std::fs::read(file).map_err(|error| TlsLoadError::Ca {
        file: file.display().to_string(),
        cause: go_cause(&error),
    })?;
    let certificates = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    let found: Vec<_> = certificates.filter(is_usable).collect();
    if found.is_empty() {
        return Err(TlsLoadError::NoCa);
    }
    Ok(found)
}

/// Can the library use it as an authority?
fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

/// The certificate of the authority that signed `leaf`: the next of its chain, or one that is
/// trusted.
///
/// # Errors
/// [`TlsLoadError::NoIssuer`], or that of a file.
pub fn issuer(
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'static>],
    ca_file: Option<&Path>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<CertificateDer<'static>, TlsLoadError> {
    let signs = |it: &CertificateDer<'static>| chain::is_issuer(leaf, it, algorithms);
    if let Some(next) = chain.get(1) {
        return Some(next.clone())
            .filter(signs)
            .ok_or(TlsLoadError::NoIssuer);
    }
    let trusted = match ca_file {
        Some(file) => trusted(Some(file))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let found = trusted.into_iter().find(signs);
    found.ok_or(TlsLoadError::NoIssuer)
}

pub(super) fn certificates(
    options: &TlsOptions,
    provider: &CryptoProvider,
) -> Result<Vec<Named>, TlsLoadError> {
    let count = options.certificates.len();
    let pairs = options.certificates.iter().enumerate();
    pairs
        .map(|(at, pair)| {
            if !options.numbered {
                if pair.key.as_os_str().is_empty() {
                    return Err(TlsLoadError::NoKey);
                }
                if pair.certificate.as_os_str().is_empty() {
                    return Err(TlsLoadError::NoCertificate);
                }
            }
            certificate(pair, provider).map_err(|problem| {
                let place = if options.numbered {
                    format!(" {}/{count}", at + 1)
                } else {
                    String::new()
                };
                TlsLoadError::Pair { place, problem }
            })
        })
        .collect()
}

fn certificate(pair: &PathPair, provider: &CryptoProvider) -> Result<Named, PairProblem> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| PairProblem::File {
            file: path.display().to_string(),
            cause: go_cause(&error),
        })
    };
    let (chain, key) = (read(&pair.certificate)?, read(&pair.key)?);
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PairProblem::Damaged("certificate"))?;
    let Some(leaf) = chain.first() else {
        return Err(PairProblem::NoPem("certificate"));
    };
    let names = identity::host_names(leaf).ok_or(PairProblem::Damaged("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
        pem::Error::NoItemsFound => PairProblem::NoPem("key"),
        _ => PairProblem::Damaged("private key"),
    })?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| PairProblem::Damaged("private key"))?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(PairProblem::Mismatch)
        }
        _ => Ok(Named {
            key: Arc::new(key),
            names,
            staple: None,
        }),
    }
}

/// A certificate with the host names it is for.
#[derive(Debug)]
pub(super) struct Named {
    /// Its chain and key.
    pub key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// It is shown with this or not at all.
    staple: Option<Arc<Staple>>,
}

impl Named {
    fn shown(&self) -> Option<Arc<CertifiedKey>> {
        match &self.staple {
            Some(staple) => staple.shown(),
            None => Some(Arc::clone(&self.key)),
        }
    }
}

/// The certificates of a listener: the first that the client can use, or the first (CORE-86).
#[derive(Debug)]
struct Certificates(Vec<Named>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.0.first()?;
        if self.0.len() == 1 {
            return first.shown();
        }
        let usable = |it: &&Named| {
            let name_fits = hello
                .server_name()
                .is_none_or(|name| it.names.iter().any(|known| is_for(known, name)));
            name_fits
                && it
                    .key
                    .key
                    .choose_scheme(hello.signature_schemes())
                    .is_some()
        };
        self.0.iter().find(usable).unwrap_or(first).shown()
    }
}

/// Is a certificate for `pattern` for this host? `*` stands for the first label alone.
fn is_for(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// An error of the system in Go's words: lower case, without a number.
fn go_cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
