//! Any bytes from a client, cut anywhere: no panic, and the cut changes nothing.
#![no_main]

#[path = "../checks/client_parser.rs"]
mod client_parser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client_parser::check(data));
