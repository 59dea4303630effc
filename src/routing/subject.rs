//! Subjects and patterns: tokens between dots, `*` for one token, a last `>` for all the rest.

/// Bytes that end a subject on the wire, or would; no token holds one.
const BLANKS: &[u8] = b" \t\n\x0c\r";

/// The tokens of a subject or pattern; empty ones included.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|&byte| byte == b'.')
}

/// May this be subscribed to? No empty token, no blank, `>` only at the end (CORE-67).
pub fn is_valid_pattern(pattern: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(pattern) {
        if ended || token.is_empty() || token.iter().any(|byte| BLANKS.contains(byte)) {
            return false;
        }
        ended = token == b">";
    }
    true
}

/// Number of tokens in a subject or pattern; empty ones count.
pub fn token_count(subject: &[u8]) -> usize {
    tokens(subject).count()
}

/// May a pedantic client publish to this? No empty token and no wildcard token. Blanks are not
/// looked for, as in stock: the one that reaches here, a form feed, is a byte like others (CORE-73).
pub fn is_valid_literal(subject: &[u8]) -> bool {
    !tokens(subject).any(|token| matches!(token, b"" | b"*" | b">"))
}

/// Is there no wildcard token in it? `*` and `>` inside a longer token are ordinary characters.
pub fn is_literal(pattern: &[u8]) -> bool {
    !tokens(pattern).any(|token| token == b"*" || token == b">")
}

/// Does `pattern` match the published `subject`? Wildcard characters in the subject are
/// literals (CORE-68); a subject with an empty token matches nothing.
pub fn pattern_matches(pattern: &[u8], subject: &[u8]) -> bool {
    let mut subject = tokens(subject);
    for token in tokens(pattern) {
        let Some(found) = subject.next() else {
            return false;
        };
        if found.is_empty() {
            return false;
        }
        match token {
            b">" => return subject.all(|rest| !rest.is_empty()),
            b"*" => {}
            literal if literal == found => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Does `of` match every subject that `pattern` matches? Both are valid patterns.
pub fn pattern_subset(pattern: &[u8], of: &[u8]) -> bool {
    let mut pattern = tokens(pattern);
    for outer in tokens(of) {
        let Some(inner) = pattern.next() else {
            return false;
        };
        match outer {
            b">" => return true,
            b"*" if inner != b">" => {}
            literal if literal == inner => {}
            _ => return false,
        }
    }
    pattern.next().is_none()
}

/// Is there a subject that both valid patterns match?
pub fn patterns_overlap(a: &[u8], b: &[u8]) -> bool {
    let (mut a, mut b) = (tokens(a), tokens(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
            (Some(x), Some(y)) if x == y || x == b"*" || y == b"*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_may_be_subscribed_to_if_whole() {
        for valid in ["a", "a.b", "*", ">", "a.*.>", "a.b*", "a>.b", "*.*"] {
            assert!(is_valid_pattern(valid.as_bytes()), "{valid}");
        }
        for invalid in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a\t"] {
            assert!(!is_valid_pattern(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn pedantic_clients_may_publish_to_literals() {
        for valid in ["a", "a.b*", "a.>b", "a.b c", "a.\x0c", "\u{fc}.\u{2603}"] {
            assert!(is_valid_literal(valid.as_bytes()), "{valid}");
        }
        for invalid in ["", ".", "a.", "a..b", "a.*", ">", "a.>", "*.a"] {
            assert!(!is_valid_literal(invalid.as_bytes()), "{invalid}");
        }
        assert!(is_literal(b"a.b*") && is_literal(b"a..b") && !is_literal(b"a.*.b"));
        assert_eq!([token_count(b"a"), token_count(b"a..b")], [1, 3]);
    }

    #[test]
    fn patterns_match_by_the_book() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*", "a.b", false),
            ("a.*", "a.*", true),
            ("a.b", "a.*", false),
            (">", "a..b", false),
            ("a.*.b", "a..b", false),
        ];
        for (pattern, subject, expected) in cases {
            let got = pattern_matches(pattern.as_bytes(), subject.as_bytes());
            assert_eq!(got, expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn subsets_and_overlaps() {
        let subset = |a: &str, b: &str| pattern_subset(a.as_bytes(), b.as_bytes());
        assert!(subset("a.b", "a.*") && subset("a.*", "a.*") && subset("a.>", ">"));
        assert!(subset("a.*.c", "a.>") && !subset("a.>", "a.*") && !subset("a", "a.>"));
        assert!(!subset("a.*", "a.b") && !subset("a.b.c", "a.b"));
        let overlap = |a: &str, b: &str| patterns_overlap(a.as_bytes(), b.as_bytes());
        assert!(overlap("a.*", "*.b") && overlap("a.>", "a.b.c") && overlap("*.c", "a.>"));
        assert!(!overlap("a.b", "a.c") && !overlap("a", "a.>") && !overlap("a.*", "a.b.c"));
    }

    /// All valid patterns of up to three tokens of `a`, `b` and wildcards.
    fn patterns() -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut begun = vec![Vec::new()];
        for _ in 0..3 {
            let mut longer = Vec::new();
            for start in &begun {
                for token in [b"a", b"b", b"*", b">"] {
                    let pattern: Vec<u8> = match start.is_empty() {
                        true => token.to_vec(),
                        false => [start, &b"."[..], token].concat(),
                    };
                    if token != b">" {
                        longer.push(pattern.clone());
                    }
                    all.push(pattern);
                }
            }
            begun = longer;
        }
        all
    }

    /// Subset and overlap are about sets of subjects: here the sets are written out. Patterns of
    /// three tokens tell subjects of up to four apart, and `c` stands for all other tokens.
    #[test]
    fn subset_and_overlap_are_those_of_the_subjects() {
        let mut subjects: Vec<Vec<u8>> = Vec::new();
        let mut begun = vec![Vec::new()];
        for _ in 0..4 {
            begun = begun
                .iter()
                .flat_map(|start: &Vec<&[u8]>| {
                    [b"a", b"b", b"c"].map(|token| [&start[..], &[&token[..]]].concat())
                })
                .collect();
            subjects.extend(begun.iter().map(|tokens| tokens.join(&b'.')));
        }
        let patterns = patterns();
        assert_eq!((patterns.len(), subjects.len()), (52, 120));
        for a in &patterns {
            assert!(is_valid_pattern(a));
            for b in &patterns {
                let both =
                    |subject: &&Vec<u8>| (pattern_matches(a, subject), pattern_matches(b, subject));
                let context = || format!("{} {}", a.escape_ascii(), b.escape_ascii());
                let subset = subjects.iter().map(|it| both(&it)).all(|it| !it.0 || it.1);
                assert_eq!(pattern_subset(a, b), subset, "{}", context());
                let overlap = subjects.iter().any(|it| both(&it) == (true, true));
                assert_eq!(patterns_overlap(a, b), overlap, "{}", context());
            }
        }
    }
}
