//! Replays the corpus of every fuzz target, so that what a fuzzer once found stays found without
//! a fuzzer. A new target adds its check to `tests/fuzz/checks/`, its files to
//! `tests/fuzz/corpus/<target>/`, and a test here.

#![allow(unsafe_code)] // A global allocator is unsafe by its nature.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

#[path = "fuzz/checks/client_parser.rs"]
mod client_parser;
#[path = "fuzz/checks/config_parser.rs"]
mod config_parser;
#[path = "fuzz/checks/leaf.rs"]
mod leaf;
#[path = "fuzz/checks/store.rs"]
mod store;
#[path = "fuzz/checks/token.rs"]
mod token;
#[path = "fuzz/checks/transports.rs"]
mod transports;

/// Remembers the most a thread has asked for at once: nothing may allocate what a length in bytes
/// says.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn asked_for(size: usize) {
    // A thread that ends has none any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked_for(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked_for(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked_for(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

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
fn store() {
    replay("store", store::check);
    allocated_by_what_is_there();
}

/// No fuzzer is needed to get some way: `RAMJET_SEEDS=n` tries so many.
#[test]
fn store_with_random_damage() {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let seeds = std::env::var("RAMJET_SEEDS").ok();
    let seeds = seeds.and_then(|it| it.parse().ok()).unwrap_or(200);
    for seed in 0..seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut input = vec![0; 1 + random.next_u64() as usize % 60];
        random.fill_bytes(&mut input);
        println!("seed {seed}: {input:?}");
        store::check(&input);
    }
    allocated_by_what_is_there();
}

/// The files have less than 200 KiB; what is written ahead of a busy log is a mebibyte.
fn allocated_by_what_is_there() {
    let largest = LARGEST.with(Cell::get);
    assert!(largest <= 4 * 1024 * 1024, "{largest} bytes at once");
}

#[test]
fn token() {
    replay("token", token::check);
}

#[test]
fn transports() {
    replay("transports", transports::check);
}
