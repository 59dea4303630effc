//! Which user a certificate stands for (AUTH-24).

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;

use super::authenticate::{Authenticator, Credentials, Decision, RefuseReason, User};
use super::distinguished_name::{Attribute, DistinguishedName};
use super::user::Proof;

/// Who a certificate says its owner is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateNames {
    /// Mail addresses, DNS names and URIs, in the order in which they are tried.
    alternatives: Vec<String>,
    /// The subject; `None` where it has attributes nobody has a name for.
    subject: Option<DistinguishedName>,
    /// The subject as Go spells it, with the domain components behind it and without them.
    spelled: Vec<String>,
}

/// A certificate as monitoring shows it (MON-20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The subject as Go spells it.
    pub subject: String,
    /// SHA-256 of the public key, hex.
    pub spki_sha256: String,
    /// SHA-256 of the certificate, hex.
    pub cert_sha256: String,
}

impl ShownCertificate {
    /// Reads a certificate; `None` for what is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        let name = certificate.subject();
        // What Go has no field for stands behind what it has one for.
        let others: Vec<_> = name
            .iter_attributes()
            .filter(|it| {
                let number = it.attr_type().to_id_string();
                !TYPES
                    .iter()
                    .any(|(known, _, spelled)| *spelled && *known == number)
            })
            .collect();
        let others = others.iter().rev().map(|it| {
            let value = it.attr_value();
            let mut der = vec![value.tag().0 as u8, value.data.len() as u8];
            der.extend_from_slice(value.data);
            format!(
                "{}=#{}",
                it.attr_type().to_id_string(),
                data_encoding::HEXLOWER.encode(&der)
            )
        });
        let known = Some(spell(name)).filter(|it| !it.is_empty());
        let parts: Vec<String> = known.into_iter().chain(others).collect();
        Some(Self {
            subject: parts.join(","),
            spki_sha256: hex(certificate.tbs_certificate.subject_pki.raw),
            cert_sha256: hex(der),
        })
    }
}

/// What a connection's certificate has to do with its login.
#[derive(Debug, Clone, Copy, Default)]
pub enum CertificateProof<'a> {
    /// Nothing: this listener does not map certificates to users.
    #[default]
    Unused,
    /// It says who the user is; there may be none.
    Maps(Option<&'a CertificateNames>),
}

const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";

/// Types of attributes by number, in Go's order: their names, and whether Go spells them so.
const TYPES: [(&str, &str, bool); 10] = [
    ("2.5.4.6", "C", true),
    ("2.5.4.10", "O", true),
    ("2.5.4.11", "OU", true),
    ("2.5.4.7", "L", true),
    ("2.5.4.8", "ST", true),
    ("2.5.4.9", "STREET", true),
    ("2.5.4.17", "POSTALCODE", true),
    ("2.5.4.3", "CN", true),
    ("2.5.4.5", "SERIALNUMBER", true),
    (DOMAIN_COMPONENT, "DC", false),
];

impl CertificateNames {
    /// Reads a certificate; `None` for what is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names: Vec<_> = names
            .iter()
            .flat_map(|it| &it.value.general_names)
            .collect();
        let of_kind = |pick: fn(&GeneralName<'_>) -> Option<String>| {
            names.iter().filter_map(move |&name| pick(name))
        };
        let alternatives = of_kind(|name| match name {
            GeneralName::RFC822Name(text) => Some((*text).to_owned()),
            _ => None,
        })
        .chain(of_kind(|name| match name {
            GeneralName::DNSName(text) => Some((*text).to_owned()),
            _ => None,
        }))
        .chain(of_kind(|name| match name {
            GeneralName::URI(text) => Some((*text).to_owned()),
            _ => None,
        }))
        .collect();
        let spelled = spell(certificate.subject());
        let components = domain_components(certificate.subject());
        let mut both = Vec::new();
        if !components.is_empty() {
            both.push(format!("{spelled},{components}"));
        }
        both.push(spelled);
        Some(Self {
            alternatives,
            subject: subject(certificate.subject()),
            spelled: both,
        })
    }
}

/// Subject and issuer of a certificate as Go spells them; empty for what is none.
pub fn subject_and_issuer(der: &[u8]) -> (String, String) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Default::default();
    };
    (spell(certificate.subject()), spell(certificate.issuer()))
}

fn text(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> Option<String> {
    attribute.as_str().ok().map(str::to_owned).or_else(|| {
        let value = attribute.attr_value();
        // Latin-1 in old certificates; two bytes a character in older ones.
        match value.tag().0 {
            20 => Some(value.data.iter().map(|&it| char::from(it)).collect()),
            30 => {
                let units = value.data.chunks_exact(2);
                let units: Vec<u16> = units.map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
                String::from_utf16(&units).ok()
            }
            _ => None,
        }
    })
}

/// The subject's parts from the last to the first, as names are written.
fn subject(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.iter().rev().map(|part| {
        part.iter()
            .map(|attribute| {
                let number = attribute.attr_type().to_id_string();
                let (_, kind, _) = TYPES.iter().find(|(known, ..)| *known == number)?;
                Some(Attribute::new(kind, &text(attribute)?))
            })
            .collect::<Option<Vec<_>>>()
    });
    let parts = parts.collect::<Option<Vec<_>>>()?;
    Some(DistinguishedName::new(parts))
}

/// The subject as Go spells it: by type, in its own order, what has no name left out.
fn spell(name: &X509Name<'_>) -> String {
    let mut parts = Vec::new();
    for (number, kind, _) in TYPES.iter().filter(|(_, _, spelled)| *spelled) {
        let attributes = name.iter_attributes();
        let mut values: Vec<String> = attributes
            .filter(|it| it.attr_type().to_id_string() == *number)
            .filter_map(text)
            .collect();
        // Of these Go keeps the last.
        if matches!(*kind, "CN" | "SERIALNUMBER") {
            values = values
                .pop()
                .filter(|it| !it.is_empty())
                .into_iter()
                .collect();
        }
        if values.is_empty() {
            continue;
        }
        let values = values
            .iter()
            .map(|value| format!("{kind}={}", escape(value)));
        parts.push(values.collect::<Vec<_>>().join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn escape(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        // Into a String: it cannot fail.
        let _ = write!(out, "{}{character}", if special { "\\" } else { "" });
    }
    out
}

fn domain_components(name: &X509Name<'_>) -> String {
    let all = name.iter_attributes();
    let components = all.filter(|it| it.attr_type().to_id_string() == DOMAIN_COMPONENT);
    let components: Vec<String> = components
        .filter_map(|it| Some(format!("DC={}", text(it)?)))
        .collect();
    components.join(",")
}

impl Authenticator {
    /// The user a certificate stands for, of those who may come this way: the first name that is a
    /// user's, in stock's order; a subject that equals a user's name read as one goes before one
    /// whose parts stand in another order.
    pub(super) fn mapped(
        &self,
        names: &CertificateNames,
        connection_type: &str,
    ) -> Option<&Arc<User>> {
        let by_name = |name: &String| {
            let user = self.users.get(name)?;
            user.may_use(connection_type).then_some(user)
        };
        names
            .alternatives
            .iter()
            .find_map(by_name)
            .or_else(|| self.by_subject(names.subject.as_ref()?, connection_type))
            .or_else(|| names.spelled.iter().find_map(by_name))
    }

    fn by_subject(&self, subject: &DistinguishedName, connection_type: &str) -> Option<&Arc<User>> {
        let candidates = || {
            self.users
                .values()
                .filter(|user| user.may_use(connection_type))
                .filter_map(|user| Some((user, DistinguishedName::parse(&user.name)?)))
                .filter(|(_, name)| !name.is_empty())
        };
        candidates()
            .find(|(_, name)| name == subject)
            .or_else(|| candidates().find(|(_, name)| name.has_same_parts(subject)))
            .map(|(user, _)| user)
    }

    /// Decides by the certificate; a password of the user is asked for all the same.
    pub(super) fn by_certificate(
        &self,
        names: Option<&CertificateNames>,
        credentials: &Credentials<'_>,
    ) -> Decision {
        match names.and_then(|it| self.mapped(it, credentials.connection_type)) {
            Some(user) => self.by_password(user, credentials),
            None => Decision::Refuse(RefuseReason::Credentials),
        }
    }

    /// Is this somebody whom only a certificate proves: without a password, where some listener
    /// maps certificates to such users (AUTH-25)?
    pub(super) fn needs_certificate(&self, user: &User) -> bool {
        let no_password = matches!(&user.proof, Proof::Password(it) if it.is_empty());
        no_password && self.mapping.iter().any(|kind| user.may_use(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_go_does() {
        assert_eq!(escape(" a,b+c "), r"\ a\,b\+c\ ");
        assert_eq!(escape("#x#"), r"\#x#");
        assert_eq!(escape(r#"a"\<>;="#), r#"a\"\\\<\>\;="#);
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for der in [&[][..], &[0x30], &[0x30, 0x80], &[0xff; 64]] {
            assert_eq!(CertificateNames::read(der), None);
        }
    }
}
