//! Who has signed whom: from a peer's certificate to the authorities that are trusted.

use der::{Any, Decode, Encode};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates of a chain at most: the library that has verified the peer allows for fewer.
const CHAIN_MAX: usize = 8;
/// Chains looked for at most.
const CHAINS_MAX: usize = 8;
/// Signatures checked at most: a peer chooses what it sends.
const CHECKS_MAX: usize = 64;

/// A peer's certificate first, the authority's last.
pub type Chain = Vec<CertificateDer<'static>>;

/// The chains from `sent[0]` over what else was sent to one of `authorities`.
///
/// Whether they are good for anything (names, times, purposes) is not looked at: the peer has been
/// verified, and this says by which way that was possible.
pub fn chains(
    sent: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Vec<Chain> {
    let Some(leaf) = sent.first() else {
        return Vec::new();
    };
    let mut search = Search {
        between: &sent[1..],
        authorities,
        algorithms,
        checks: 0,
        found: Vec::new(),
    };
    search.go_on(&mut vec![leaf.clone()]);
    search.found
}

struct Search<'a> {
    between: &'a [CertificateDer<'static>],
    authorities: &'a [CertificateDer<'static>],
    algorithms: &'a WebPkiSupportedAlgorithms,
    checks: usize,
    found: Vec<Chain>,
}

impl Search<'_> {
    fn go_on(&mut self, chain: &mut Chain) {
        let Some(last) = chain.last().cloned() else {
            return;
        };
        if self.authorities.contains(&last) {
            self.found.push(chain.clone());
            return;
        }
        let (authorities, between) = (self.authorities, self.between);
        // One that is trusted and was sent, too, needs to be found once.
        let between = between.iter().filter(|it| !authorities.contains(it));
        for next in authorities.iter().chain(between) {
            let full = chain.len() >= CHAIN_MAX || self.found.len() >= CHAINS_MAX;
            if full || self.checks >= CHECKS_MAX {
                return;
            }
            if chain.contains(next) || !is_named_by(&last, next) {
                continue;
            }
            self.checks += 1;
            if is_issuer(&last, next, self.algorithms) {
                chain.push(next.clone());
                self.go_on(chain);
                chain.pop();
            }
        }
    }
}

/// Does `leaf` name `issuer`? Cheap, unlike looking at its signature.
fn is_named_by(leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let (Ok((_, child)), Ok((_, parent))) = (
        X509Certificate::from_der(leaf),
        X509Certificate::from_der(issuer),
    ) else {
        return false;
    };
    child.issuer().as_raw() == parent.subject().as_raw()
}

/// Has `issuer` signed `leaf`, and may it?
pub fn is_issuer(
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let (Ok((_, parsed)), Ok(child), Ok(parent)) = (
        X509Certificate::from_der(leaf),
        Certificate::from_der(leaf),
        Certificate::from_der(issuer),
    ) else {
        return false;
    };
    let Ok((_, authority)) = X509Certificate::from_der(issuer) else {
        return false;
    };
    authority.is_ca()
        && child.tbs_certificate.issuer == parent.tbs_certificate.subject
        && is_signed(
            parsed.tbs_certificate.as_ref(),
            &child.signature_algorithm,
            child.signature.raw_bytes(),
            &parent.tbs_certificate.subject_public_key_info,
            algorithms,
        )
}

/// Is `signature` over `message` made with this key?
pub fn is_signed(
    message: &[u8],
    by: &AlgorithmIdentifierOwned,
    signature: &[u8],
    key: &SubjectPublicKeyInfoOwned,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let (Some(by), Some(of)) = (contents(by), contents(&key.algorithm)) else {
        return false;
    };
    let key = key.subject_public_key.raw_bytes();
    algorithms.all.iter().any(|algorithm| {
        algorithm.signature_alg_id().as_ref() == by
            && algorithm.public_key_alg_id().as_ref() == of
            && algorithm.verify_signature(key, message, signature).is_ok()
    })
}

/// An algorithm's name without the header around it, as the library compares them.
fn contents(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let der = algorithm.to_der().ok()?;
    Some(Any::from_der(&der).ok()?.value().to_vec())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::crypto::aws_lc_rs;

    use super::*;

    struct Made {
        params: CertificateParams,
        key: KeyPair,
        der: CertificateDer<'static>,
    }

    fn make(name: &str, authority: bool, by: Option<&Made>) -> Made {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let made = match by {
            Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)),
            None => params.self_signed(&key),
        };
        let der = made.expect("signed").der().clone();
        Made { params, key, der }
    }

    fn found(sent: &[&Made], authorities: &[&Made]) -> Vec<Chain> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let der = |all: &[&Made]| all.iter().map(|it| it.der.clone()).collect::<Vec<_>>();
        chains(&der(sent), &der(authorities), &algorithms)
    }

    #[test]
    fn a_chain_ends_with_an_authority_that_is_trusted() {
        let root = make("root", true, None);
        let middle = make("middle", true, Some(&root));
        let leaf = make("leaf", false, Some(&middle));
        let chain = |all: &[&Made]| all.iter().map(|it| it.der.clone()).collect::<Chain>();
        assert_eq!(
            found(&[&leaf, &middle], &[&root]),
            [chain(&[&leaf, &middle, &root])]
        );
        // Both are trusted: the shorter one comes to its end first.
        assert_eq!(
            found(&[&leaf, &middle], &[&middle, &root]),
            [chain(&[&leaf, &middle])]
        );
        assert_eq!(found(&[&leaf], &[&root]), Vec::<Chain>::new());
        assert_eq!(found(&[&leaf], &[&leaf]), [chain(&[&leaf])]);
        assert_eq!(found(&[], &[&root]), Vec::<Chain>::new());
    }

    #[test]
    fn a_name_is_not_enough() {
        let (root, other) = (make("root", true, None), make("root", true, None));
        let leaf = make("leaf", false, Some(&root));
        assert!(found(&[&leaf], &[&other]).is_empty());
        let no_authority = make("leaf 2", false, Some(&leaf));
        assert!(found(&[&no_authority, &leaf], &[&root]).is_empty());
    }

    #[test]
    fn many_certificates_cost_a_bounded_number_of_checks() {
        let same: Vec<Made> = (0..CHECKS_MAX + 20)
            .map(|_| make("a", true, None))
            .collect();
        let mut sent: Vec<&Made> = same.iter().collect();
        let leaf = make("leaf", false, Some(&same[0]));
        sent.insert(0, &leaf);
        sent.remove(1);
        assert!(found(&sent, &[&same[0]]).len() == 1);
        assert!(found(&sent, &[&make("b", true, None)]).is_empty());
    }

    #[test]
    fn what_is_no_certificate_has_no_chain() {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let none = CertificateDer::from(Vec::new());
        assert!(!is_issuer(&none, &none, &algorithms));
        let other = CertificateDer::from(vec![0x30, 0x80]);
        assert!(chains(&[none], &[other], &algorithms).is_empty());
    }
}
