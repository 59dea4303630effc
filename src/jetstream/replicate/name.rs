//! Names that both ends make of the same things: of an origin, of its consumer, of a stream's
//! making.

use sha2::{Digest, Sha256};

use crate::jetstream::stream::config::StreamSource;

/// Stands between several filters or destinations.
const BETWEEN: &str = "\u{c}";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of a hash.
const HASH: usize = 8;

/// A short name of a text: eight letters and digits of its SHA-256.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().take(HASH);
    digits
        .map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()]))
        .collect()
}

/// Random letters and digits, for subjects nobody else has.
pub(super) fn random_token(random: u64) -> String {
    let mut rest = random;
    let mut token = String::with_capacity(HASH);
    for _ in 0..HASH {
        token.push(char::from(DIGITS[(rest % 62) as usize]));
        rest /= 62;
    }
    token
}

/// What tells an origin of a stream from its others: the stream and where it is, which of its
/// messages, and what becomes of their subjects. In headers it stands in parts (JS-144).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OriginName {
    /// The stream's name, with a hash of where it is reached and of a consumer made before.
    pub stream: String,
    pub filters: String,
    pub destinations: String,
}

impl OriginName {
    pub fn of(source: &StreamSource) -> Self {
        let mut stream = source.name.clone();
        if let Some(external) = &source.external {
            stream = format!("{stream}:{}", hash(&external.api));
        }
        if let Some(consumer) = &source.consumer {
            stream = format!("{stream}:C={}", hash(&consumer.name));
        }
        let or_all = |subject: &str| match subject {
            "" => ">".to_owned(),
            some => some.to_owned(),
        };
        let (filters, destinations) = match source.subject_transforms.as_slice() {
            [] => (or_all(&source.filter_subject), ">".to_owned()),
            transforms => {
                let (filters, destinations): (Vec<_>, Vec<_>) = transforms
                    .iter()
                    .map(|it| (or_all(&it.src), or_all(&it.dest)))
                    .unzip();
                (filters.join(BETWEEN), destinations.join(BETWEEN))
            }
        };
        Self {
            stream,
            filters,
            destinations,
        }
    }
}

impl std::fmt::Display for OriginName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.stream, self.filters, self.destinations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::stream::config::{ExternalStream, SubjectTransform};

    #[test]
    fn names_tell_origins_apart() {
        let plain = StreamSource {
            name: "R".to_owned(),
            filter_subject: "r.a".to_owned(),
            ..StreamSource::default()
        };
        assert_eq!(OriginName::of(&plain).to_string(), "R r.a >");
        let mapped = StreamSource {
            name: "R".to_owned(),
            subject_transforms: vec![
                SubjectTransform {
                    src: "a".to_owned(),
                    dest: String::new(),
                },
                SubjectTransform {
                    src: String::new(),
                    dest: "b".to_owned(),
                },
            ],
            external: Some(ExternalStream {
                api: "$JS.hub.API".to_owned(),
                deliver: String::new(),
            }),
            ..StreamSource::default()
        };
        let expected = format!("R:{} a\u{c}> >\u{c}b", hash("$JS.hub.API"));
        assert_eq!(OriginName::of(&mapped).to_string(), expected);
    }

    #[test]
    fn hashes_have_eight_letters_and_digits() {
        let hash = hash("2026-11-23T06:00:00Z");
        assert_eq!(hash.len(), 8);
        assert!(hash.bytes().all(|it| it.is_ascii_alphanumeric()));
    }
}
