//! Is a peer let in, as far as its authorities know (CORE-89)? In stock's order and words.

use std::sync::Mutex;
use std::sync::PoisonError;

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::cache::Cache;
use crate::auth::certificate::subject_and_issuer;
use crate::listener::ocsp::{self, Answer, OcspError, Status};
use crate::listener::staple::now;
use crate::options::OcspPeerOptions;
use crate::server::stapling;
use crate::transport::chain::Chain;
use crate::transport::settings::TlsSettings;

/// Bytes of an answer at most.
const ANSWER_MAX: u64 = 256 * 1024;

/// A certificate and the one that has signed it.
struct Link<'a> {
    certificate: &'a CertificateDer<'static>,
    issuer: &'a CertificateDer<'static>,
    responders: Vec<String>,
}

/// Base64 of a certificate's SHA-256.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    BASE64.encode(&Sha256::digest(certificate))
}

/// Is one of the chains good? `tell` hears of each link that is not, and why.
pub(super) fn is_good(
    chains: &[Chain],
    settings: &TlsSettings,
    options: &OcspPeerOptions,
    cache: &Mutex<Cache>,
    mut tell: impl FnMut(&CertificateDer<'static>, &str),
) -> bool {
    log::debug!(
        "Peer OCSP enabled: {} TLS client chain(s) will be evaluated",
        chains.len()
    );
    if chains.is_empty() {
        log::error!("Peer certificate is nil, rejecting OCSP peer");
    }
    for (at, chain) in chains.iter().enumerate() {
        log::debug!("Chain [{at}]: {} total link(s)", chain.len());
        if chain.len() == 1 {
            log::debug!("Chain [{at}] is self-signed, thus peer is valid");
            return true;
        }
        let links: Vec<Link<'_>> = chain
            .windows(2)
            .map(|pair| Link {
                certificate: &pair[0],
                issuer: &pair[1],
                responders: responders(&pair[0]),
            })
            .filter(|link| !link.responders.is_empty())
            .collect();
        if links.is_empty() {
            log::debug!("Chain [{at}] has no OCSP eligible links, thus peer is valid");
            return true;
        }
        log::debug!("Chain [{at}] has {} OCSP eligible link(s)", links.len());
        let judge = Judge {
            settings,
            options,
            cache,
        };
        let bad = links
            .iter()
            .find_map(|link| Some((link, judge.judge(link).err()?)));
        let Some((link, why)) = bad else {
            log::debug!("Chain [{at}] is OCSP valid for all eligible links, thus peer is valid");
            return true;
        };
        log::debug!("{why}");
        tell(link.certificate, &why);
    }
    log::debug!("No OCSP valid chains, thus peer is invalid");
    false
}

/// The responders of a certificate that can be asked over the web.
fn responders(certificate: &CertificateDer<'_>) -> Vec<String> {
    let mut named = ocsp::responders(certificate);
    named.retain(|it| it.starts_with("http://") || it.starts_with("https://"));
    named
}

struct Judge<'a> {
    settings: &'a TlsSettings,
    options: &'a OcspPeerOptions,
    cache: &'a Mutex<Cache>,
}

impl Judge<'_> {
    fn with_cache<T>(&self, act: impl FnOnce(&mut Cache) -> T) -> T {
        act(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, link: &Link<'_>, raw: &[u8]) -> Result<Answer, OcspError> {
        let algorithms = &self.settings.algorithms;
        ocsp::read(raw, link.certificate, link.issuer, algorithms)
    }

    fn is_current(&self, answer: &Answer) -> bool {
        let (skew, lifetime) = (self.options.clock_skew, self.options.lifetime);
        answer.is_current(now(), skew.as_secs(), lifetime.as_secs())
    }

    /// # Errors
    /// Why the link is bad.
    fn judge(&self, link: &Link<'_>) -> Result<(), String> {
        let key = fingerprint(link.certificate);
        let (subject, _) = subject_and_issuer(link.certificate);
        let (known, revoked) = self.known(link, &key, &subject);
        let answer = match known {
            Some(answer) => answer,
            None => match self.ask(link, &key, &subject, revoked)? {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        let status = answer.status;
        let good =
            status == Status::Good || status == Status::Unknown && self.options.unknown_is_good;
        if !good {
            let status = status.name();
            log::warn!("OCSP verify fail for [{subject}] with CA status [{status}]");
            return self
                .refuse(&subject, format!("Invalid OCSP response status: {status}"))
                .map(|_| ());
        }
        log::debug!("OCSP verify pass for [{subject}]");
        Ok(())
    }

    /// What is in the cache, if it still holds; and whether it said: revoked.
    fn known(&self, link: &Link<'_>, key: &str, subject: &str) -> (Option<Answer>, bool) {
        log::debug!("Checking OCSP peer cache for [{subject}], key [{key}]");
        let Some(raw) = self.with_cache(|cache| cache.get(key)) else {
            return (None, false);
        };
        let Ok(answer) = self.read(link, &raw) else {
            log::debug!("Invalid cached OCSP response for [{subject}] with fingerprint [{key}]");
            self.with_cache(|cache| cache.remove(key));
            return (None, false);
        };
        let (revoked, status) = (answer.status == Status::Revoked, answer.status.name());
        if !self.is_current(&answer) {
            log::debug!("Cached OCSP response is expired, status [{status}]");
            self.with_cache(|cache| cache.remove(key));
            return (None, revoked);
        }
        log::debug!("Cached OCSP response is current, status [{status}]");
        (Some(answer), revoked)
    }

    /// Asks the authority. `None` lets the peer in although nothing is known.
    fn ask(
        &self,
        link: &Link<'_>,
        key: &str,
        subject: &str,
        revoked: bool,
    ) -> Result<Option<Answer>, String> {
        let raw = match self.fetch(link) {
            Ok(raw) => raw,
            Err(error) => {
                log::warn!(
                    "Attempt to obtain OCSP response from CA responder for [{subject}] failed: {error}"
                );
                let unreachable = "Failed to obtain OCSP CA response for";
                let set = "but AllowWhenCAUnreachable set;";
                if !self.options.warn_only && self.options.allow_unreachable {
                    if !revoked {
                        log::warn!(
                            "{unreachable} [{subject}] {set} no cached revocation so allowing"
                        );
                        return Ok(None);
                    }
                    log::warn!(
                        "{unreachable} [{subject}] {set} cached revocation exists so rejecting"
                    );
                }
                return self.refuse(subject, "Failed OCSP response fetch".into());
            }
        };
        let answer = match self.read(link, &raw) {
            Ok(answer) => answer,
            Err(OcspError::Delegation) => {
                let why = format!("Invalid OCSP response delegation: {subject}");
                log::warn!("{why}");
                return self.refuse(subject, why);
            }
            Err(error) => {
                log::error!("Could not parse OCSP CA response for [{subject}]: {error}");
                return self.refuse(subject, "Failed OCSP response parse".into());
            }
        };
        if !self.is_current(&answer) {
            log::warn!("New OCSP CA response obtained for [{subject}] but not current");
            return self.refuse(subject, "OCSP response not in effectivity window".into());
        }
        self.with_cache(|cache| cache.put(key, subject, &raw, &answer));
        Ok(Some(answer))
    }

    /// A bad link, unless that is only to be warned of.
    fn refuse(&self, subject: &str, why: String) -> Result<Option<Answer>, String> {
        if self.options.warn_only {
            log::warn!("OCSP verify fail for [{subject}] but WarnOnly is true so allowing");
            return Ok(None);
        }
        Err(why)
    }

    fn fetch(&self, link: &Link<'_>) -> Result<Vec<u8>, String> {
        let question = ocsp::request(link.certificate, link.issuer);
        let question = question.map_err(|error| error.to_string())?;
        let question = escaped(&BASE64.encode(&question));
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.options.timeout))
            .user_agent("ramjet")
            .tls_config(stapling::tls_config())
            .build()
            .new_agent();
        let mut why = "no available OCSP servers".to_owned();
        for responder in &link.responders {
            log::debug!("Trying OCSP responder url [{responder}]");
            let url = format!("{}/{question}", responder.trim_end_matches('/'));
            match get(&agent, &url) {
                Ok(raw) if !raw.is_empty() => return Ok(raw),
                Ok(_) => return Err("empty answer".into()),
                Err(error) => why = format!("exhausted OCSP responders: {error}"),
            }
        }
        Err(why)
    }
}

fn get(agent: &ureq::Agent, url: &str) -> Result<Vec<u8>, String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = answer.status();
    if status != 200 {
        return Err(format!(
            "bad OCSP responder http status: [{}]",
            status.as_u16()
        ));
    }
    let body = answer.body_mut().with_config().limit(ANSWER_MAX);
    body.read_to_vec().map_err(|error| error.to_string())
}

/// What base64 has and a URL must not.
fn escaped(base64: &str) -> String {
    base64
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}
