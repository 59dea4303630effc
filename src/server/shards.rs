//! The shard threads of a server: wired with each other, started, stopped by their own panic.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::ids::{Listener, ShardId};
use crate::io::Socket;
use crate::io::executor::{self, ShardThread};
use crate::io::ring::Ring;
use crate::shard::core::Core;
use crate::shard::internal::Mail;
use crate::shard::settings::Settings;
use crate::shard::turn::{Parts, Shard};
use crate::shard::verify::VerifierThreads;
use crate::shard::wiring::{self, Wired};
use crate::time::WallTime;

/// Threads that check passwords: logins must not take more of the machine than messages.
const VERIFIER_THREADS: usize = 1;
/// Turns after which other tasks of the executor are let in.
const TURNS_PER_YIELD: u32 = 256;

/// Wires the shards of one server, with threads that check its passwords.
pub(super) fn wire(
    shards: usize,
    max_connections: Option<usize>,
    services: SyncSender<Mail>,
) -> std::io::Result<Wired<Socket>> {
    let verifier = Arc::new(VerifierThreads::start(VERIFIER_THREADS)?);
    wiring::wire(shards, max_connections, verifier, services)
}

/// Starts one shard and waits until it runs.
pub(super) fn spawn(
    shard: usize,
    shards: usize,
    cpu: Option<usize>,
    parts: Parts<Socket>,
    settings: Arc<Settings>,
    listeners: Vec<(Listener, TcpListener)>,
    epoch: Instant,
) -> std::io::Result<ShardThread> {
    let id = ShardId(shard as u8);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    let (started, starting) = sync_channel(1);
    let thread = executor::spawn(&format!("shard-{shard}"), cpu, move || async move {
        let _fail_stop = AbortOnPanic;
        let ring = match Ring::new(parts.waker.clone(), listeners, epoch) {
            Ok(ring) => ring,
            Err(error) => {
                let _ = started.send(Err(error)); // the starter waits for exactly this
                return;
            }
        };
        let core = Core::new(id, shards, settings, seed);
        let mut shard = Shard::new(id, core, ring, parts);
        let _ = started.send(Ok(()));
        while !shard.ended() {
            for _ in 0..TURNS_PER_YIELD {
                shard.run_turn();
                if shard.ending() {
                    break;
                }
            }
            executor::yield_if_needed().await;
        }
    })?;
    match starting.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => {
            thread.join();
            Err(error)
        }
        Err(_) => Err(std::io::Error::other("its thread ended at once")),
    }
}

/// Time of day, for what is shown to people.
pub(super) fn wall_time() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(since.as_nanos() as u64)
}

/// Half a server is worse than none: a panic of a shard ends the process, also where the program
/// that embeds us unwinds.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
