//! The shards of one server, connected: each with each other, and all with whoever asks.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::io::wake::Waker;
use crate::limits;
use crate::listener::admission::{Admission, ShardLoad};
use crate::mesh::batch::Batch;
use crate::mesh::ring::{Consumer, Producer, ring};
use crate::shard::control::{Inbox, Post, inbox};
use crate::shard::internal::Mail;
use crate::shard::turn::{MeshLink, Parts};
use crate::shard::verify::Verifier;

/// Posts of all shards, and the parts of each, by id.
pub type Wired<S> = (Vec<Post<S>>, Vec<Parts<S>>);

/// Connects all shards of a server. The first one accepts connections, at most
/// `max_connections` at once. Messages for the server's own services go to `services`.
///
/// # Errors
/// When the process is out of descriptors.
pub fn wire<S: Send + 'static>(
    shards: usize,
    max_connections: Option<usize>,
    verifier: Arc<dyn Verifier<S>>,
    services: SyncSender<Mail>,
) -> io::Result<Wired<S>> {
    let wakers = (0..shards)
        .map(|_| Waker::new())
        .collect::<Result<Vec<_>, _>>()?;
    let (posts, inboxes): (Vec<Post<S>>, Vec<Inbox<S>>) =
        wakers.iter().map(|waker| inbox(waker.clone())).unzip();
    let load: Arc<[ShardLoad]> = (0..shards).map(|_| ShardLoad::default()).collect();
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
    let mut admission = Some(Admission::new(shards, max_connections));
    let parts = meshes
        .into_iter()
        .zip(inboxes)
        .zip(wakers)
        .map(|((mesh, inbox), waker)| Parts {
            mesh,
            inbox,
            waker,
            load: Arc::clone(&load),
            admission: admission.take(),
            posts: posts.clone(),
            verifier: Arc::clone(&verifier),
            services: services.clone(),
            turn_output: crate::limits::TURN_OUTPUT,
        });
    let parts = parts.collect();
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
        unfinished: None,
        to,
        from,
        spent,
        spare,
        waker: waker.clone(),
    }
}
