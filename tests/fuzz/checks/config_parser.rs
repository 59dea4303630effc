//! What must hold for any bytes of a configuration file.

use std::path::Path;

use ramjet::ops::config::{digest::digest, from_tree, parser::parse_bytes};

/// Parses, turns into options, prints errors; the same bytes give the same result.
pub fn check(input: &[u8]) {
    // Files named by a corpus must not depend on the machine.
    let names = |word: &[u8]| {
        let mut windows = input.windows(word.len());
        windows.any(|it| it.eq_ignore_ascii_case(word))
    };
    if names(b"include") || names(b"_file") {
        return;
    }
    let environment = |name: &str| match name {
        "LIST" => Some("[a, {b: $WORD}]".to_owned()),
        "WORD" => Some("x y".to_owned()),
        "LOOP" => Some("$LOOP".to_owned()),
        _ => None,
    };
    let name = "fuzz.conf";
    let first = parse_bytes(input, name, &environment);
    assert_eq!(first, parse_bytes(input, name, &environment));
    match first {
        Ok(map) => {
            assert_eq!(digest(&map).len(), "sha256:".len() + 64);
            if let Err(errors) = from_tree(&map, Path::new(name), false) {
                assert!(!errors.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
