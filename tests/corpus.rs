//! Replays the corpus of every fuzz target, so that what a fuzzer once found stays found without
//! a fuzzer. A new target adds its check to `tests/fuzz/checks/`, its files to
//! `tests/fuzz/corpus/<target>/`, and a test here.

use std::fs;
use std::path::Path;

#[path = "fuzz/checks/client_parser.rs"]
mod client_parser;
#[path = "fuzz/checks/config_parser.rs"]
mod config_parser;
#[path = "fuzz/checks/leaf.rs"]
mod leaf;
#[path = "fuzz/checks/token.rs"]
mod token;
#[path = "fuzz/checks/transports.rs"]
mod transports;

/// Calls `check` with the bytes of each file in the target's corpus.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("corpus folder") {
        let path = entry.expect("corpus entry").path();
        println!("{}", path.display());
        check(&fs::read(&path).expect("corpus file"));
        files += 1;
    }
    assert!(files > 0, "no corpus in {}", folder.display());
}

#[test]
fn client_parser() {
    replay("client_parser", client_parser::check);
}

#[test]
fn config_parser() {
    replay("config_parser", config_parser::check);
}

#[test]
fn leaf() {
    replay("leaf", leaf::check);
}

#[test]
fn token() {
    replay("token", token::check);
}

#[test]
fn transports() {
    replay("transports", transports::check);
}
