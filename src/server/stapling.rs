//! What authorities say of our certificates: fetched at the start and at each reload, kept in
//! files, asked for again halfway to its end on a thread of its own (CORE-88).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::listener::ocsp::{self, Answer, OcspError, Status};
use crate::listener::staple::{Staple, now};
use crate::listener::tls::{self, TlsLoadError};
use crate::ops::http::format;
use crate::options::{OcspMode, OcspOptions, Options, TlsOptions};
use crate::time::WallTime;
use crate::time::duration::Shown;

/// Time an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const ANSWER_MAX: u64 = 256 * 1024;
/// Below the folder of all stored things.
const FOLDER: &str = "ocsp";

/// Why nothing can be said of a certificate.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Answer(#[from] OcspError),
    #[error("no available ocsp servers")]
    NoResponder,
    #[error("exhausted ocsp servers: {0}")]
    Unreachable(String),
    #[error("failed to write ocsp status: {0}")]
    Store(#[from] io::Error),
}

/// A certificate that is shown with a staple, and where that comes from.
#[derive(Debug)]
pub(super) struct Stapled {
    /// What handshakes look at.
    staple: Arc<Staple>,
    leaf: CertificateDer<'static>,
    issuer: CertificateDer<'static>,
    /// The certificate's file, for the log.
    file: String,
    responders: Vec<String>,
    store: Option<PathBuf>,
    ends_when_revoked: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Ends its thread when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    _until: SyncSender<()>,
}

/// The staple of a block's first certificate, if there is to be one.
///
/// # Errors
/// [`TlsLoadError`]: without an issuer, or without a good answer where one is needed.
pub(super) fn of(
    block: &TlsOptions,
    options: &Options,
    key: &Arc<CertifiedKey>,
) -> Result<Option<Stapled>, TlsLoadError> {
    let OcspOptions { mode, urls } = &options.ocsp;
    let Some(leaf) = key.cert.first() else {
        return Ok(None);
    };
    let file = match block.certificates.first() {
        Some(pair) if !block.numbered => pair.certificate.display().to_string(),
        _ => String::new(),
    };
    let wanted = ocsp::must_staple(leaf);
    match mode {
        OcspMode::Never => {
            if wanted {
                log::warn!("Certificate at '{file}' has MustStaple but OCSP is disabled");
            }
            return Ok(None);
        }
        OcspMode::Always => {}
        OcspMode::Auto | OcspMode::Must if !wanted => return Ok(None),
        OcspMode::Auto | OcspMode::Must => {}
    }
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let issuer = tls::issuer(leaf, &key.cert, block.ca_file.as_deref(), &algorithms)?;
    let stapled = Stapled {
        staple: Arc::new(Staple::new(Arc::clone(key))),
        leaf: leaf.clone().into_owned(),
        issuer,
        responders: if urls.is_empty() {
            ocsp::responders(leaf)
        } else {
            urls.clone()
        },
        store: options
            .jetstream
            .store_dir
            .as_ref()
            .map(|it| it.join(FOLDER)),
        ends_when_revoked: matches!(mode, OcspMode::Always | OcspMode::Must),
        file,
        algorithms,
    };
    let answer = stapled
        .kept()
        .map_or_else(|| stapled.fetch(), Ok)
        .map_err(|why| TlsLoadError::Status {
            file: stapled.file.clone(),
            why: why.to_string(),
        })?;
    if stapled.ends_when_revoked && answer.status != Status::Good {
        return Err(TlsLoadError::Revoked {
            file: stapled.file,
            status: answer.status.name(),
        });
    }
    Ok(Some(stapled))
}

impl Stapled {
    /// What handshakes look at.
    pub(super) fn staple(&self) -> Arc<Staple> {
        Arc::clone(&self.staple)
    }

    /// Asks again when it is time, until the watch is dropped. `end` is called where a revoked
    /// certificate ends the server.
    pub(super) fn watch(self, end: impl FnOnce() + Send + 'static) -> Option<Watch> {
        log::info!("OCSP Stapling enabled for Client connections");
        let (until, dropped) = sync_channel(0);
        let watching = thread::Builder::new().name("ocsp".into()).spawn(move || {
            let Some(mut wait) = self.first_wait() else {
                return end();
            };
            while dropped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                match self.look_again() {
                    Some(next) => wait = next,
                    None if self.ends_when_revoked => return end(),
                    None => return,
                }
            }
        });
        match watching {
            Ok(_) => Some(Watch { _until: until }),
            Err(error) => {
                log::error!("OCSP status will not be renewed: no thread for it: {error}");
                None
            }
        }
    }

    /// `None` where a bad status is known already that ends the server.
    fn first_wait(&self) -> Option<Duration> {
        let file = &self.file;
        match self.staple.answer() {
            Some(answer) if answer.status == Status::Good => {
                let (next, wait) = told(&answer);
                log::info!(
                    "Found OCSP status for Client certificate at '{file}': good, next update \
                     {next}, checking again in {wait}"
                );
                Some(answer.look_again(now()))
            }
            Some(answer) if self.ends_when_revoked => {
                let status = answer.status.name();
                log::error!("Found OCSP status for Client certificate at '{file}': {status}");
                None
            }
            _ => Some(Duration::ZERO),
        }
    }

    /// When to look the next time; `None` after a bad status.
    fn look_again(&self) -> Option<Duration> {
        let file = &self.file;
        match self.fetch() {
            Err(why) => {
                let wait = self
                    .staple
                    .answer()
                    .map_or(TIMEOUT, |it| it.look_again(now()));
                log::error!(
                    "Bad OCSP status update for certificate '{file}': {why}, trying again in {}",
                    Shown::from(wait)
                );
                Some(wait)
            }
            Ok(answer) if answer.status == Status::Good => {
                let (next, wait) = told(&answer);
                log::info!(
                    "Received OCSP status for Client certificate '{file}': good, next update \
                     {next}, checking again in {wait}"
                );
                Some(answer.look_again(now()))
            }
            Ok(answer) => {
                let status = answer.status.name();
                log::error!("Received OCSP status for Client certificate '{file}': {status}");
                None
            }
        }
    }

    fn read(&self, raw: &[u8]) -> Result<Answer, OcspError> {
        let answer = ocsp::read(raw, &self.leaf, &self.issuer, &self.algorithms)?;
        answer.check_time(now())?;
        Ok(answer)
    }

    fn kept_in(&self) -> Option<PathBuf> {
        let name = data_encoding::HEXLOWER.encode(&Sha256::digest(&self.leaf));
        Some(self.store.as_ref()?.join(name))
    }

    /// What was kept and still holds.
    fn kept(&self) -> Option<Answer> {
        let raw = fs::read(self.kept_in()?).ok()?;
        let answer = self.read(&raw).ok()?;
        self.staple.put(raw, answer);
        Some(answer)
    }

    /// Asks the responders, and keeps what they say.
    fn fetch(&self) -> Result<Answer, StatusError> {
        let question = ocsp::request(&self.leaf, &self.issuer)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .user_agent("ramjet")
            .tls_config(tls_config())
            .build()
            .new_agent();
        let mut why = StatusError::NoResponder;
        for responder in &self.responders {
            let raw = match ask(&agent, responder.trim_end_matches('/'), &question) {
                Ok(raw) => raw,
                Err(reason) => {
                    why = StatusError::Unreachable(reason);
                    continue;
                }
            };
            let answer = self.read(&raw)?;
            if let Some(file) = self.kept_in() {
                keep(&file, &raw)?;
            }
            self.staple.put(raw, answer);
            return Ok(answer);
        }
        Err(why)
    }
}

/// How long an answer holds, and when it is asked for again, in words.
fn told(answer: &Answer) -> (String, String) {
    // Go's zero time, where it does not say.
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let next = answer.next_update.map_or(NEVER.to_owned(), |at| {
        format::time(WallTime(at.saturating_mul(1_000_000_000)))
    });
    (next, Shown::from(answer.look_again(now())).to_string())
}

/// By POST, or by GET where that fails.
fn ask(agent: &ureq::Agent, responder: &str, question: &[u8]) -> Result<Vec<u8>, String> {
    let body = |answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>| {
        let mut answer = answer.map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(ANSWER_MAX);
        body.read_to_vec().map_err(|error| error.to_string())
    };
    let posted = agent
        .post(responder)
        .header("Content-Type", "application/ocsp-request")
        .header("Accept", "application/ocsp-response")
        .send(question);
    body(posted).or_else(|by_post| {
        let encoded = data_encoding::BASE64.encode(question);
        let got = agent.get(format!("{responder}/{encoded}")).call();
        body(got).map_err(|by_get| format!("{by_post}\n{by_get}"))
    })
}

/// Whom responders and others are asked with over HTTPS: those whom the system trusts.
pub(super) fn tls_config() -> TlsConfig {
    let system = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = system
        .iter()
        .map(|it| Certificate::from_der(it).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build()
}

/// Into a file that is either the old or the new one, whatever happens.
fn keep(file: &Path, raw: &[u8]) -> io::Result<()> {
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder)?;
    let next = file.with_extension("new");
    fs::write(&next, raw)?;
    fs::rename(&next, file)
}
