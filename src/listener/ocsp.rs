//! What an authority says of a certificate of ours: the question, and an answer that is checked
//! (RFC 6960, CORE-88).

use std::time::Duration;

use der::asn1::{Null, ObjectIdentifier, OctetString};
use der::{Any, Decode, Encode};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use x509_cert::Certificate;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, TbsRequest,
};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::transport::chain::{is_issuer, is_signed};

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const TLS_FEATURES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
/// The TLS extension by which a client asks for a staple.
const STATUS_REQUEST: u64 = 5;

/// Between two looks where an answer does not say when the next one comes.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Between two looks at least.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(2 * 60);

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Not DER, or not what it should be.
    #[error("asn1: structure error: {0}")]
    Structure(&'static str),
    /// The responder does not want to.
    #[error("ocsp: error from server: {0}")]
    Refused(&'static str),
    /// An answer for other certificates.
    #[error("no response matching the supplied certificate")]
    Other,
    /// Not signed by whom it should be.
    #[error("bad OCSP signature: {0}")]
    Signature(&'static str),
    /// Signed by somebody whom the issuer has not told to.
    #[error("bad OCSP signature: its signer was not told to")]
    Delegation,
    /// Too old; seconds since 1970.
    #[error("invalid ocsp NextUpdate, is past time: {0}")]
    Past(u64),
    /// Too young; seconds since 1970.
    #[error("invalid ocsp ThisUpdate, is future time: {0}")]
    Future(u64),
}

/// What is said of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

impl Status {
    /// In stock's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// A checked answer. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub status: Status,
    /// From when on.
    pub this_update: u64,
    /// Until when, if it says so.
    pub next_update: Option<u64>,
}

impl Answer {
    /// Does it hold at `now`?
    ///
    /// # Errors
    /// [`OcspError::Past`], [`OcspError::Future`].
    pub fn check_time(&self, now: u64) -> Result<(), OcspError> {
        match self.next_update {
            Some(next) if next < now => Err(OcspError::Past(next)),
            _ if self.this_update > now => Err(OcspError::Future(self.this_update)),
            _ => Ok(()),
        }
    }

    /// Does it hold at `now` for clocks that differ by up to `skew`? Where it does not say until
    /// when, it holds for `lifetime`. All in seconds.
    pub fn is_current(&self, now: u64, skew: u64, lifetime: u64) -> bool {
        let unsaid = self.this_update.saturating_add(lifetime);
        let until = self.next_update.unwrap_or(unsaid);
        until >= now.saturating_sub(skew) && self.this_update <= now.saturating_add(skew)
    }

    /// When to ask again: halfway to its end.
    pub fn look_again(&self, now: u64) -> Duration {
        match self.next_update {
            None => LOOK_AGAIN,
            Some(next) if next < now => LOOK_AGAIN_MIN,
            Some(next) => Duration::from_secs((next - now) / 2).max(LOOK_AGAIN_MIN),
        }
    }
}

/// Does a certificate want to be shown with a staple (RFC 7633)?
pub fn must_staple(leaf: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(leaf) else {
        return false;
    };
    let extensions = parsed.tbs_certificate.extensions.unwrap_or_default();
    let features = extensions.iter().find(|it| it.extn_id == TLS_FEATURES);
    let features: Option<Vec<u64>> =
        features.and_then(|it| Decode::from_der(it.extn_value.as_bytes()).ok());
    features.is_some_and(|it| it.contains(&STATUS_REQUEST))
}

/// URLs of the responders a certificate names.
pub fn responders(leaf: &CertificateDer<'_>) -> Vec<String> {
    const OCSP: &str = "1.3.6.1.5.5.7.48.1";
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for extension in parsed.extensions() {
        if let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() {
            for description in access.iter() {
                if let GeneralName::URI(url) = &description.access_location
                    && description.access_method.to_id_string() == OCSP
                {
                    found.push((*url).to_owned());
                }
            }
        }
    }
    found
}

/// The question, DER.
///
/// # Errors
/// [`OcspError::Structure`] when one of them is no certificate.
pub fn request(
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
) -> Result<Vec<u8>, OcspError> {
    let request = Request {
        req_cert: certificate_id(&decoded(leaf)?, &decoded(issuer)?)?,
        single_request_extensions: None,
    };
    let request = OcspRequest {
        tbs_request: TbsRequest {
            request_list: vec![request],
            ..TbsRequest::default()
        },
        optional_signature: None,
    };
    request
        .to_der()
        .map_err(|_| OcspError::Structure("request"))
}

/// What `raw` says of `leaf`, signed by `issuer` or by somebody whom it has told to.
///
/// # Errors
/// [`OcspError`], but for its times.
pub fn read(
    raw: &[u8],
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<Answer, OcspError> {
    let response = OcspResponse::from_der(raw).map_err(|_| OcspError::Structure("response"))?;
    let bytes = match (response.response_status, response.response_bytes) {
        (OcspResponseStatus::Successful, Some(bytes)) if bytes.response_type == BASIC => bytes,
        (OcspResponseStatus::Successful, _) => return Err(OcspError::Structure("response type")),
        (OcspResponseStatus::MalformedRequest, _) => return Err(OcspError::Refused("malformed")),
        (OcspResponseStatus::InternalError, _) => {
            return Err(OcspError::Refused("internal error"));
        }
        (OcspResponseStatus::TryLater, _) => return Err(OcspError::Refused("try later")),
        (OcspResponseStatus::SigRequired, _) => {
            return Err(OcspError::Refused("signature required"));
        }
        (OcspResponseStatus::Unauthorized, _) => return Err(OcspError::Refused("unauthorized")),
    };
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes())
        .map_err(|_| OcspError::Structure("basic response"))?;
    let (child, parent) = (decoded(leaf)?, decoded(issuer)?);
    check_signature(&basic, &parent, issuer, algorithms)?;
    let id = certificate_id(&child, &parent)?;
    let said = basic.tbs_response_data.responses.iter().find(|it| {
        // Which hash the responder has used is its own affair; a signed serial number is enough.
        it.cert_id.serial_number == id.serial_number
    });
    let said = said.ok_or(OcspError::Other)?;
    let seconds = |time: &OcspGeneralizedTime| time.0.to_unix_duration().as_secs();
    Ok(Answer {
        status: match said.cert_status {
            CertStatus::Good(_) => Status::Good,
            CertStatus::Revoked(_) => Status::Revoked,
            CertStatus::Unknown(_) => Status::Unknown,
        },
        this_update: seconds(&said.this_update),
        next_update: said.next_update.as_ref().map(seconds),
    })
}

fn check_signature(
    basic: &BasicOcspResponse,
    parent: &Certificate,
    issuer: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), OcspError> {
    let said = basic.tbs_response_data.to_der();
    let said = said.map_err(|_| OcspError::Structure("response data"))?;
    let signed_by = |key: &SubjectPublicKeyInfoOwned| {
        let signature = basic.signature.raw_bytes();
        is_signed(
            &said,
            &basic.signature_algorithm,
            signature,
            key,
            algorithms,
        )
    };
    if signed_by(&parent.tbs_certificate.subject_public_key_info) {
        return Ok(());
    }
    let delegate = basic.certs.iter().flatten().next();
    let delegate = delegate.ok_or(OcspError::Signature("not the issuer's"))?;
    if !signed_by(&delegate.tbs_certificate.subject_public_key_info) {
        return Err(OcspError::Signature(
            "neither the issuer's nor its delegate's",
        ));
    }
    let der = delegate.to_der().map(CertificateDer::from);
    let der = der.map_err(|_| OcspError::Structure("responder's certificate"))?;
    let may_sign = X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| {
        let usage = parsed.extended_key_usage().ok().flatten();
        usage.is_some_and(|it| it.value.ocsp_signing)
    });
    if !may_sign || !is_issuer(&der, issuer, algorithms) {
        return Err(OcspError::Delegation);
    }
    Ok(())
}

fn decoded(certificate: &CertificateDer<'_>) -> Result<Certificate, OcspError> {
    Certificate::from_der(certificate).map_err(|_| OcspError::Structure("certificate"))
}

fn certificate_id(leaf: &Certificate, issuer: &Certificate) -> Result<CertId, OcspError> {
    let broken = |_: der::Error| OcspError::Structure("certificate");
    let issuer = &issuer.tbs_certificate;
    let name = issuer.subject.to_der().map_err(broken)?;
    let key = issuer
        .subject_public_key_info
        .subject_public_key
        .raw_bytes();
    let hash = |bytes: &[u8]| OctetString::new(&*Sha1::digest(bytes)).map_err(broken);
    Ok(CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: SHA1,
            parameters: Some(Any::encode_from(&Null).map_err(broken)?),
        },
        issuer_name_hash: hash(&name)?,
        issuer_key_hash: hash(key)?,
        serial_number: leaf.tbs_certificate.serial_number.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_088_looked_at_again_halfway_to_the_end() {
        let answer = |next_update| Answer {
            status: Status::Good,
            this_update: 1000,
            next_update,
        };
        for (next_update, seconds) in [
            (None, 24 * 3600),
            (Some(2000 + 7200), 3600),
            (Some(2010), 120),
            (Some(1999), 120),
        ] {
            let wait = answer(next_update).look_again(2000);
            assert_eq!(wait.as_secs(), seconds, "{next_update:?}");
        }
        assert_eq!(answer(Some(2000)).check_time(2000), Ok(()));
        assert_eq!(answer(None).check_time(5000), Ok(()));
        assert_eq!(
            answer(Some(1999)).check_time(2000),
            Err(OcspError::Past(1999))
        );
        assert_eq!(answer(None).check_time(999), Err(OcspError::Future(1000)));
    }

    #[test]
    fn core_089_clocks_may_differ() {
        let answer = |this_update, next_update| Answer {
            status: Status::Good,
            this_update,
            next_update,
        };
        for (this_update, next_update, current) in [
            (1000, Some(1970), true),
            (1000, Some(1969), false),
            (2030, None, true),
            (2031, None, false),
            (1870, None, true), // 100 seconds of its own, and those of the clocks
            (1869, None, false),
        ] {
            let answer = answer(this_update, next_update);
            assert_eq!(answer.is_current(2000, 30, 100), current, "{answer:?}");
        }
        assert!(answer(u64::MAX, None).is_current(u64::MAX, u64::MAX, u64::MAX));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider();
        let algorithms = algorithms.signature_verification_algorithms;
        let none = CertificateDer::from(Vec::new());
        for raw in [
            &b""[..],
            b"\x30",
            b"\x30\x03\x0a\x01\x06",
            b"\x30\x80",
            &[0xff; 64],
        ] {
            assert!(read(raw, &none, &none, &algorithms).is_err(), "{raw:?}");
        }
        assert!(!must_staple(&none) && responders(&none).is_empty());
        assert!(request(&none, &none).is_err());
    }
}
