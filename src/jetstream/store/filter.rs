//! Which subjects a question is about.

use crate::routing::subject;

/// A set of subjects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// This one.
    Literal(Box<[u8]>),
    /// All that one of these patterns matches; not empty.
    Patterns(Box<[Box<[u8]>]>),
}

impl Filter {
    /// What any of these valid patterns matches; everything if there is none.
    pub fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Self {
        match patterns {
            [] => Self::All,
            _ if patterns.iter().any(|it| it.as_ref() == b">") => Self::All,
            [one] if subject::is_literal(one.as_ref()) => Self::Literal(one.as_ref().into()),
            several => Self::Patterns(several.iter().map(|it| it.as_ref().into()).collect()),
        }
    }

    /// Is this subject in the set?
    pub fn matches(&self, subject: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Literal(literal) => **literal == *subject,
            Self::Patterns(patterns) => patterns
                .iter()
                .any(|it| subject::pattern_matches(it, subject)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_the_cheapest_filter() {
        assert_eq!(Filter::new::<&[u8]>(&[]), Filter::All);
        assert_eq!(Filter::new(&["a", ">"]), Filter::All);
        assert_eq!(Filter::new(&["a.b"]), Filter::Literal(b"a.b"[..].into()));
        let two = Filter::new(&["a.*", "b"]);
        assert!(two.matches(b"a.x") && two.matches(b"b") && !two.matches(b"a"));
    }
}
