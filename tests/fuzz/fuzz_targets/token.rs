//! Any bytes as a token, any JSON as claims: no panic, no hang, and twice the same.
#![no_main]

#[path = "../checks/token.rs"]
mod token;

libfuzzer_sys::fuzz_target!(|data: &[u8]| token::check(data));
