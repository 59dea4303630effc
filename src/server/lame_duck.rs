//! Lame duck mode: announced, a time of grace, clients closed bit by bit, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::handle::Shared;
use crate::shard::control::Control;
use crate::shard::events::ServerEvent;

/// How often the remaining clients are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// The two times of the options.
#[derive(Debug, Clone, Copy)]
pub(super) struct LameDuck {
    pub duration: Duration,
    pub grace: Duration,
}

/// Runs lame duck mode on a thread of its own; a second call changes nothing.
pub(super) fn start(server: Arc<Shared>, times: LameDuck) {
    if server.lame_duck.swap(true, Ordering::AcqRel) {
        return;
    }
    let spawned = std::thread::Builder::new().name("lame-duck".into()).spawn({
        let server = Arc::clone(&server);
        move || run(&server, times)
    });
    if spawned.is_err() {
        // No thread to be had: an abrupt end is still an end.
        server.end();
    }
}

fn run(server: &Shared, times: LameDuck) {
    log::info!("Entering lame duck mode, stop accepting new clients");
    server.ready.store(false, Ordering::Release);
    server.tell_system(ServerEvent::LameDuck);
    server.tell_all(|| Control::LameDuck);
    let spread = times.duration.saturating_sub(times.grace);
    let deadline = Instant::now() + times.duration;
    wait_for_clients(server, Instant::now() + times.grace);
    if server.connections() > 0 {
        log::info!("Closing existing clients");
        server.tell_all(|| Control::CloseOver(spread));
        wait_for_clients(server, deadline);
    }
    server.end();
}

/// Waits until the last client has gone, at most until `deadline`.
fn wait_for_clients(server: &Shared, deadline: Instant) {
    while server.connections() > 0 && Instant::now() < deadline {
        std::thread::sleep(COUNT_EVERY.min(deadline.saturating_duration_since(Instant::now())));
    }
}
