//! What an account has of another's: streams it may subscribe to as if they were its own, services
//! it may ask (AUTH-32, AUTH-33).

use std::sync::Arc;

use super::export::ServiceExport;
use super::transform::{Transform, TransformError, numbered, unnumbered};
use crate::ids::AccountId;
use crate::routing::subject::{is_literal, pattern_subset};

/// A stream of another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamImport {
    /// The exporter.
    pub account: AccountId,
    /// The exporter's subject or pattern.
    pub from: Box<str>,
    /// The importer's.
    pub to: Box<str>,
    /// Message traces go on into it.
    pub allow_trace: bool,
    names: Names,
}

/// How the names of one side become those of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    /// They are the same.
    Same,
    /// There is one.
    Only,
    /// There and back.
    Transformed(Box<[Transform; 2]>),
}

impl StreamImport {
    /// # Errors
    /// What is wrong with `to`.
    pub(super) fn new(
        account: AccountId,
        from: &str,
        to: &str,
        allow_trace: bool,
    ) -> Result<Self, TransformError> {
        let (names, pattern) = if is_literal(from.as_bytes()) {
            (Names::Only, to.to_owned())
        } else if from == to {
            (Names::Same, to.to_owned())
        } else {
            let destination = numbered(to);
            let there = Transform::strict(from, &destination)?;
            let back = back(from, &destination)?;
            let (pattern, _) = unnumbered(to);
            (Names::Transformed(Box::new([there, back])), pattern)
        };
        Ok(Self {
            account,
            from: from.into(),
            to: pattern.into(),
            allow_trace,
            names,
        })
    }

    /// Writes the importer's name of one of the exporter's messages.
    pub fn local_subject(&self, subject: &[u8], out: &mut Vec<u8>) {
        match &self.names {
            Names::Same => out.extend_from_slice(subject),
            Names::Only => out.extend_from_slice(self.to.as_bytes()),
            Names::Transformed(both) => both[0].apply(subject, out, || 0),
        }
    }

    /// What of the exporter's subjects a subscription of the importer to `pattern` is for; `None`
    /// if nothing.
    pub fn shadow(&self, pattern: &[u8]) -> Option<Vec<u8>> {
        let to = self.to.as_bytes();
        let narrowed = if pattern_subset(pattern, to) {
            pattern.to_vec()
        } else if pattern_subset(to, pattern) {
            to.to_vec()
        } else {
            overlap(pattern, to)?
        };
        Some(match &self.names {
            Names::Same => narrowed,
            Names::Only => self.from.as_bytes().to_vec(),
            Names::Transformed(_) if narrowed == to => self.from.as_bytes().to_vec(),
            Names::Transformed(both) => {
                let mut out = Vec::new();
                both[1].apply(&narrowed, &mut out, || 0);
                out
            }
        })
    }
}

/// The transform from `destination`'s subjects to `source`'s, given that from `source` to
/// `destination`.
fn back(source: &str, destination: &str) -> Result<Transform, TransformError> {
    let (pattern, placeholders) = unnumbered(destination);
    // Wildcard n of the source stands where its placeholder is in the destination.
    let mut number = 0;
    let tokens: Vec<String> = source
        .split('.')
        .map(|token| {
            if token != "*" {
                return token.to_owned();
            }
            number += 1;
            let is_it = |placeholder: &String| index_of(placeholder) == Some(number);
            match placeholders.iter().position(is_it) {
                Some(at) => format!("${}", at + 1),
                None => token.to_owned(),
            }
        })
        .collect();
    Transform::new(&pattern, &tokens.join("."))
}

/// The number in `$1` or `{{wildcard(1)}}`.
fn index_of(placeholder: &str) -> Option<usize> {
    let digits = placeholder.trim_matches(|it: char| !it.is_ascii_digit());
    digits.parse().ok()
}

/// The subjects of `pattern` that `within` has, too, where neither holds the other.
fn overlap(pattern: &[u8], within: &[u8]) -> Option<Vec<u8>> {
    let mut tokens: Vec<&[u8]> = pattern.split(|&it| it == b'.').collect();
    let inner: Vec<&[u8]> = within.split(|&it| it == b'.').collect();
    for (token, narrower) in tokens.iter_mut().zip(&inner) {
        if *token == b"*" && *narrower != b">" {
            *token = narrower;
        }
    }
    if tokens.last() == Some(&&b">"[..]) && inner.len() >= tokens.len() {
        let last = tokens.len() - 1;
        tokens.truncate(last);
        tokens.extend_from_slice(&inner[last..]);
    }
    let narrowed = tokens.join(&b'.');
    pattern_subset(&narrowed, within).then_some(narrowed)
}

/// A service of another account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImport {
    /// The exporter.
    pub account: AccountId,
    /// The importer's subject or pattern.
    pub from: Box<str>,
    /// The exporter's.
    pub to: Box<str>,
    /// The export it is of.
    pub export: Arc<ServiceExport>,
    /// The exporter is told who asks.
    pub share: bool,
    names: Names,
}

impl ServiceImport {
    /// # Errors
    /// What is wrong with `from`, with the text around it.
    pub(super) fn new(
        export: &Arc<ServiceExport>,
        account: AccountId,
        from: &str,
        to: &str,
        share: bool,
    ) -> Result<Self, TransformError> {
        let (names, pattern) = if is_literal(to.as_bytes()) {
            (Names::Only, from.to_owned())
        } else if from == to {
            (Names::Same, from.to_owned())
        } else {
            let (plain, _) = unnumbered(to);
            let destination = numbered(from);
            let there = Transform::strict(&plain, &destination)?;
            let back = back(&plain, &destination)?;
            let (pattern, _) = unnumbered(from);
            (Names::Transformed(Box::new([back, there])), pattern)
        };
        Ok(Self {
            account,
            from: pattern.into(),
            to: to.into(),
            export: Arc::clone(export),
            share,
            names,
        })
    }

    /// Writes the exporter's name of one of the importer's requests.
    pub fn remote_subject(&self, subject: &[u8], out: &mut Vec<u8>) {
        match &self.names {
            Names::Same => out.extend_from_slice(subject),
            Names::Only => out.extend_from_slice(self.to.as_bytes()),
            Names::Transformed(both) => both[0].apply(subject, out, || 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shadows(from: &str, to: &str, cases: &[(&str, Option<&str>)]) {
        let import = StreamImport::new(AccountId(1), from, to, false).expect("valid");
        for (pattern, expected) in cases {
            let found = import.shadow(pattern.as_bytes());
            let found = found.map(|it| String::from_utf8(it).expect("text"));
            assert_eq!(found.as_deref(), *expected, "{pattern} of {from} -> {to}");
        }
    }

    #[test]
    fn auth_032_subscriptions_to_imported_streams() {
        shadows(
            "s.>",
            "s.>",
            &[
                ("s.a", Some("s.a")),
                ("s.*", Some("s.*")),
                (">", Some("s.>")),
                ("*.a", Some("s.a")),
                ("*.*.b", Some("s.*.b")),
                ("t.>", None),
                ("s", None),
            ],
        );
        shadows(
            "s.>",
            "pre.s.>",
            &[
                ("pre.s.a.b", Some("s.a.b")),
                ("pre.>", Some("s.>")),
                ("*.*.x", Some("s.x")),
                ("s.a", None),
            ],
        );
        shadows(
            "w.*.*",
            "t.$2.$1",
            &[
                ("t.x.*", Some("w.*.x")),
                ("t.*.y", Some("w.y.*")),
                ("t.x.y", Some("w.y.x")),
                ("t.>", Some("w.*.*")),
                (">", Some("w.*.*")),
                ("*.x.>", Some("w.*.x")),
                ("t.x", None),
            ],
        );
        shadows(
            "a",
            "b.c",
            &[("b.c", Some("a")), ("b.*", Some("a")), ("a", None)],
        );
    }

    #[test]
    fn auth_032_messages_get_the_importers_name() {
        for (from, to, subject, expected) in [
            ("s.>", "s.>", "s.a.b", "s.a.b"),
            ("s.>", "p.s.>", "s.a.b", "p.s.a.b"),
            ("w.*.*", "t.$2.{{wildcard(1)}}", "w.a.b", "t.b.a"),
            ("a", "b", "a", "b"),
        ] {
            let import = StreamImport::new(AccountId(1), from, to, false).expect("valid");
            let mut out = Vec::new();
            import.local_subject(subject.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn auth_033_requests_get_the_exporters_name() {
        let export = Arc::new(ServiceExport::new(AccountId(1), &Default::default()));
        for (from, to, subject, expected) in [
            ("q", "q", "q", "q"),
            ("local.q", "q", "local.q", "q"),
            ("q.*.*", "q.*.*", "q.a.b", "q.a.b"),
            ("l.$2.$1", "q.*.*", "l.b.a", "q.a.b"),
            ("l.{{wildcard(1)}}.>", "q.*.>", "l.b.a.c", "q.b.a.c"),
        ] {
            let import = ServiceImport::new(&export, AccountId(1), from, to, false).expect("valid");
            let mut out = Vec::new();
            import.remote_subject(subject.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
