//! Any bytes from the other side of a leaf link, in every state of its handshake.
#![no_main]

#[path = "../checks/leaf.rs"]
mod leaf;

libfuzzer_sys::fuzz_target!(|data: &[u8]| leaf::check(data));
