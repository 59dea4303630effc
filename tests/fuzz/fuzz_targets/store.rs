//! Any bytes in a stream's files: no panic, no hang, nothing made up, and the store goes on.
#![no_main]

#[path = "../checks/store.rs"]
mod store;

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::check(data));
