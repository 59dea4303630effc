//! argv -> `Server` -> exit code; nothing else.
fn main() {}
