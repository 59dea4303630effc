//! What every test that runs the real executable needs: a server process and a raw client.
//!
//! The executable is Ramjet's own, or the one named by `RAMJET_TEST_SERVER`: every case also has to
//! pass against the stock server, else the case is wrong.

pub mod cable;
pub mod client;
pub mod directory;
pub mod http;
pub mod hub;
pub mod jetstream;
pub mod responder;
pub mod server;
pub mod shape;
pub mod signer;
pub mod tls;
pub mod websocket;

use std::time::{Duration, Instant};

/// How long any awaited thing may take before its test fails. Long, because tests share a machine:
/// a passing test never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `ready` until it gives a value; fails with `what` once [`PATIENCE`] is over.
#[track_caller]
pub fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
