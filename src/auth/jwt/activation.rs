//! Activations: an exporter's word that one account may import (AUTH-57).

use serde::Deserialize;

use super::account::{AccountClaims, Export, Import, is_revoked};
use super::token::{Kind, Token, TokenError};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    subject: String,
    kind: String,
    /// Old spelling of `kind`.
    #[serde(rename = "type")]
    old_kind: String,
    issuer_account: String,
}

/// May `importer` (a public key) have, at this second, what it imports of a private export?
pub fn activates(
    exporter: &AccountClaims,
    export: &Export,
    importer: &str,
    import: &Import,
    now: i64,
) -> bool {
    let Ok(activation) = Activation::decode(&import.token) else {
        return false;
    };
    let standard = &activation.token.standard;
    let account = &exporter.standard.subject;
    let issuer = &standard.issuer;
    let signed = issuer == account || exporter.signing_keys.contains_key(issuer);
    import.account == *account
        && signed
        && activation.problem(importer, import).is_none()
        && standard.in_time(now)
        && !is_revoked(&export.revocations, importer, standard.issued_at)
}

/// What is wrong with the token of an import, whatever its exporter says; in stock's words.
pub fn problem(importer: &str, import: &Import) -> Option<String> {
    match Activation::decode(&import.token) {
        Ok(activation) => activation.problem(importer, import),
        Err(_) => Some(format!(
            "import {:?} contains an invalid activation token",
            import.subject
        )),
    }
}

struct Activation {
    token: Token,
    body: Body,
}

impl Activation {
    fn decode(text: &str) -> Result<Self, TokenError> {
        let token = Token::decode_kind(text, Kind::Activation)?;
        let body = token.body()?;
        Ok(Self { token, body })
    }

    fn problem(&self, importer: &str, import: &Import) -> Option<String> {
        let (standard, body) = (&self.token.standard, &self.body);
        let subject = &import.subject;
        let kind = match self.token.version {
            1 => &body.old_kind,
            _ => &body.kind,
        };
        let wanted = match import.kind == "service" && !import.to.is_empty() {
            true => &import.to,
            false => subject,
        };
        if standard.issuer != import.account && body.issuer_account != import.account {
            Some(format!(
                "activation token doesn't match account for import {subject:?}"
            ))
        } else if standard.subject != importer {
            Some(format!(
                "activation token doesn't match account it is being included in, {subject:?}"
            ))
        } else if *kind != import.kind {
            Some(format!(
                "mismatch between token import type {kind} and type of import {}",
                import.kind
            ))
        } else if !is_within(wanted, &body.subject) {
            Some(format!(
                "activation token import subject {:?} doesn't match import {subject:?}",
                body.subject
            ))
        } else {
            None
        }
    }
}

/// Does everything that matches one pattern match the other?
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    let mut inner = inner.split('.');
    let mut outer = outer.split('.').peekable();
    while let Some(token) = outer.next() {
        match inner.next() {
            Some(_) if token == ">" && outer.peek().is_none() => return true,
            Some(own) if token == own || token == "*" && own != ">" => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_within_patterns() {
        for (inner, outer, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.*", true),
            ("a.*", "a.*", true),
            ("a.b.c", "a.>", true),
            ("a.>", "a.>", true),
            ("a.>", "a.*", false),
            ("a", "a.>", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("*", "a", false),
            ("x", ">", true),
        ] {
            assert_eq!(is_within(inner, outer), expected, "{inner} {outer}");
        }
    }
}
