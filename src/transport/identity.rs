//! What a peer's certificate says of it.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// SHA-256 of the DER of a certificate's SubjectPublicKeyInfo (CORE-84); `None` for what is no
/// certificate.
pub fn public_key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(parsed.tbs_certificate.subject_pki.raw).into())
}

/// Is a peer with these certificates one of those whose keys are `pinned`? Without pins everybody
/// is.
pub fn is_pinned(pinned: &HashSet<[u8; 32]>, certificates: &[CertificateDer<'_>]) -> bool {
    if pinned.is_empty() {
        return true;
    }
    let hash = certificates.first().and_then(public_key_hash);
    hash.is_some_and(|hash| pinned.contains(&hash))
}

/// The host names a certificate is for; `None` for what is no certificate.
pub fn host_names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|it| &it.value.general_names);
    Some(
        names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect(),
    )
}

/// End of a certificate's validity, in seconds since 1970.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
