//! The shard threads of a server: wired with each other, started, stopped by their own panic.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::ids::ShardId;
use crate::io::Socket;
use crate::io::executor::{self, ShardThread};
use crate::io::ring::Ring;
use crate::io::wake::Waker;
use crate::limits;
use crate::listener::admission::{Admission, ShardLoad};
use crate::mesh::batch::Batch;
use crate::mesh::ring::{Consumer, Producer, ring};
use crate::shard::control::{Inbox, Post, inbox};
use crate::shard::core::Core;
use crate::shard::settings::Settings;
use crate::shard::turn::{MeshLink, Parts, Shard};
use crate::shard::verify::{Verifier, VerifierThreads};
use crate::time::WallTime;

/// Threads that check passwords: logins must not take more of the machine than messages.
const VERIFIER_THREADS: usize = 1;
/// Turns after which other tasks of the executor are let in.
const TURNS_PER_YIELD: u32 = 256;

/// Posts of all shards, and the parts of each.
pub(super) type Wired = (Vec<Post<Socket>>, Vec<Parts<Socket>>);

/// Connects the shards with each other.
pub(super) fn wire(shards: usize, max_connections: Option<usize>) -> std::io::Result<Wired> {
    let wakers = (0..shards)
        .map(|_| Waker::new())
        .collect::<Result<Vec<_>, _>>()?;
    let (posts, inboxes): (Vec<Post<Socket>>, Vec<Inbox<Socket>>) =
        wakers.iter().map(|waker| inbox(waker.clone())).unzip();
    let load: Arc<[ShardLoad]> = (0..shards).map(|_| ShardLoad::default()).collect();
    let verifier: Arc<dyn Verifier<Socket>> = Arc::new(VerifierThreads::start(VERIFIER_THREADS)?);
    let mut meshes: Vec<Vec<Option<MeshLink>>> = (0..shards)
        .map(|_| (0..shards).map(|_| None).collect())
        .collect();
    for low in 0..shards {
        for high in low + 1..shards {
            let (up, down) = (Way::new(), Way::new());
            meshes[low][high] = Some(link(up.front, down.back, &wakers[high]));
            meshes[high][low] = Some(link(down.front, up.back, &wakers[low]));
        }
    }
    let mut admission = Some(Admission::new(posts.clone(), max_connections));
    let parts = meshes
        .into_iter()
        .zip(inboxes)
        .zip(wakers)
        .zip(&posts)
        .map(|(((mesh, inbox), waker), post)| Parts {
            mesh,
            inbox,
            waker,
            load: Arc::clone(&load),
            admission: admission.take(),
            verifier: Arc::clone(&verifier),
            post: post.clone(),
        })
        .collect();
    Ok((posts, parts))
}

/// One direction between two shards: batches forth, empty ones back.
struct Way {
    front: (Producer<Box<Batch>>, Consumer<Box<Batch>>),
    back: (Consumer<Box<Batch>>, Producer<Box<Batch>>),
}

impl Way {
    fn new() -> Self {
        let (to, from) = ring(limits::MESH_SLOTS);
        let (spent, spare) = ring(limits::MESH_SLOTS);
        Self {
            front: (to, spare),
            back: (from, spent),
        }
    }
}

fn link(
    (to, spare): (Producer<Box<Batch>>, Consumer<Box<Batch>>),
    (from, spent): (Consumer<Box<Batch>>, Producer<Box<Batch>>),
    waker: &Waker,
) -> MeshLink {
    MeshLink {
        to,
        from,
        spent,
        spare,
        waker: waker.clone(),
    }
}

/// Starts one shard and waits until it runs.
pub(super) fn spawn(
    shard: usize,
    shards: usize,
    cpu: Option<usize>,
    parts: Parts<Socket>,
    settings: Arc<Settings>,
    listener: Option<TcpListener>,
    epoch: Instant,
) -> std::io::Result<ShardThread> {
    let id = ShardId(shard as u8);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    let (started, starting) = sync_channel(1);
    let thread = executor::spawn(&format!("shard-{shard}"), cpu, move || async move {
        let _fail_stop = AbortOnPanic;
        let ring = match Ring::new(parts.waker.clone(), listener, epoch) {
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
