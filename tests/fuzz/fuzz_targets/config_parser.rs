//! Any bytes of a configuration file: no panic, no hang, and twice the same.
#![no_main]

#[path = "../checks/config_parser.rs"]
mod config_parser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config_parser::check(data));
