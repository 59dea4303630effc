//! Any bytes before the protocol, cut anywhere.
#![no_main]

#[path = "../checks/transports.rs"]
mod transports;

libfuzzer_sys::fuzz_target!(|data: &[u8]| transports::check(data));
