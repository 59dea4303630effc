//! Subjects a stream gives messages instead of their own (JS-101, JS-102).

use crate::accounts::transform::Transform;
use crate::routing::subject;

/// A pattern and what subjects that match it become.
#[derive(Debug)]
pub(in crate::jetstream) struct Rewrite {
    pattern: Box<[u8]>,
    /// `None` leaves them as they are.
    transform: Option<Transform>,
}

impl Rewrite {
    /// An empty source is everything, an empty destination the subject itself. `None` if the two
    /// do not go together, which has been checked before.
    pub(in crate::jetstream) fn new(source: &str, destination: &str) -> Option<Self> {
        let source = if source.is_empty() { ">" } else { source };
        let transform = match destination {
            "" => None,
            destination => Some(Transform::new(source, destination).ok()?),
        };
        Some(Self {
            pattern: source.as_bytes().into(),
            transform,
        })
    }

    /// What the subject becomes; `None` if it does not match.
    pub(in crate::jetstream) fn apply(
        &self,
        of: &[u8],
        random: impl FnMut() -> u64,
    ) -> Option<Vec<u8>> {
        if !subject::pattern_matches(&self.pattern, of) {
            return None;
        }
        let mut out = Vec::new();
        match &self.transform {
            Some(transform) => transform.apply(of, &mut out, random),
            None => out.extend_from_slice(of),
        }
        Some(out)
    }
}
