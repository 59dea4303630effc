//! The only folder that names the runtime: glommio, io_uring and libc stay in here.
//!
//! What a shard needs of the outside world is one trait, [`Driver`]. [`ring::Ring`] is the real
//! one; the simulation in `tests/simulation` is the other. The surface is small on purpose, so
//! that a driver on epoll fits behind it.

#![allow(unsafe_code)] // Rings, buffers and descriptors are shared with the kernel.

mod buffers;
pub mod disk;
mod door;
pub mod executor;
pub mod interfaces;
pub mod probe;
pub mod ring;
pub mod socket;
pub mod wake;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::delivery::outbound::Chunk;
use crate::ids::{Listener, StoreId};
use crate::jetstream::store::{DiskOperation, DiskResult, OperationId};
use crate::time::{Nanos, WallTime};

/// A socket on its way from the shard that accepted it to the one that will serve it.
pub type Socket = std::os::fd::OwnedFd;

/// Sockets, files, time and sleep for one shard. Nothing in here blocks but [`Driver::turn`].
///
/// A connection is named by its index in the shard's table. The index stays taken from
/// [`Driver::attach`] until the [`Event::Closed`] that follows [`Driver::close`].
pub trait Driver {
    /// What an accepted connection is until a shard serves it.
    type Socket: Send + 'static;

    /// Monotonic time.
    fn now(&mut self) -> Nanos;

    /// Time of day.
    fn wall(&mut self) -> WallTime;

    /// Takes over `socket` as connection number `connection` and starts receiving.
    fn attach(&mut self, connection: u32, socket: Self::Socket);

    /// Stops receiving. What the kernel has handed over already still arrives.
    fn pause(&mut self, connection: u32);

    /// Receives again after [`Driver::pause`].
    fn resume(&mut self, connection: u32);

    /// Sends all of `chunk`; [`Event::Sent`] gives it back. At most one is under way for each
    /// connection: the caller keeps the next one until then.
    fn send(&mut self, connection: u32, chunk: Box<Chunk>);

    /// Ends the connection both ways; [`Event::Closed`] follows once nothing is under way.
    fn close(&mut self, connection: u32);

    /// Stops accepting, for good.
    fn stop_accepting(&mut self);

    /// Makes the directory of a store known; its files are opened as operations name them.
    ///
    /// # Errors
    /// If the directory cannot be opened.
    fn mount(&mut self, store: StoreId, directory: &Path) -> std::io::Result<()>;

    /// Closes the files of a store. Operations under way still end; the number is free after the
    /// last of them.
    fn unmount(&mut self, store: StoreId);

    /// Carries out what a mounted store asks for; [`Event::Disk`] says how it ended.
    fn disk(&mut self, store: StoreId, operation: DiskOperation);

    /// Hands over everything queued so far and collects what has completed, waiting up to `wait`
    /// for the first completion (`None`: not at all).
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event<Self::Socket>>);

    /// Hands over everything queued so far.
    fn submit(&mut self);

    /// Has something completed that [`Driver::turn`] would report? Asks no kernel.
    fn ready(&mut self) -> bool;

    /// The bytes of an [`Event::Received`].
    fn bytes(&self, received: Received) -> &[u8];

    /// Gives the buffer back; must follow each [`Event::Received`].
    fn release(&mut self, received: Received);
}

/// Bytes waiting in one of the driver's receive buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which buffer.
    pub buffer: u16,
    /// Bytes in it.
    pub len: u32,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<S> {
    /// A listener accepted a connection.
    Accepted {
        /// The connection.
        socket: S,
        /// Its peer.
        address: SocketAddr,
        /// Which listener.
        listener: Listener,
    },
    /// Accepting failed for want of something (descriptors, memory); the driver tries again by
    /// itself after a pause.
    AcceptFailed(std::io::Error),
    /// Bytes came in.
    Received {
        /// On this connection.
        connection: u32,
        /// Here.
        received: Received,
    },
    /// The peer sent its last byte, or the connection broke.
    Ended {
        /// This connection.
        connection: u32,
        /// True for an orderly end.
        orderly: bool,
    },
    /// A [`Driver::send`] is done, for better or worse.
    Sent {
        /// On this connection.
        connection: u32,
        /// The chunk, for reuse.
        chunk: Box<Chunk>,
        /// False if not all of it left.
        complete: bool,
    },
    /// Nothing is under way any more: the index is free.
    Closed {
        /// This connection.
        connection: u32,
    },
    /// A [`Driver::disk`] operation is over.
    Disk {
        /// Of this store.
        store: StoreId,
        /// This operation.
        id: OperationId,
        /// How it ended.
        result: DiskResult,
        /// How long it took, from [`Driver::disk`] on.
        took: Duration,
    },
    /// Another thread asked for attention.
    Woken,
}
