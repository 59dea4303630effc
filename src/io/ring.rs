//! The real driver: one io_uring ring of our own per shard, for sockets and files.
//!
//! Why not glommio's sockets: there each read and write is an operation with a timer and three
//! rings' housekeeping; with many connections awake that cost two to three times as much CPU.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::buffers::{Buffers, GROUP};
use super::disk::{Disks, Flushing};
use super::door::Door;
use super::wake::Waker;
use super::{Driver, Event, Received, socket};
use crate::delivery::outbound::Chunk;
use crate::ids::{Listener, StoreId};
use crate::jetstream::store::DiskOperation;
use crate::time::{Nanos, WallTime};

/// Submissions the ring holds before it must be entered.
const SUBMISSIONS: u32 = 1024;
/// Completions it holds. At 2048/8192 only three rings fit into 8 MiB of locked memory.
const COMPLETIONS: u32 = 4096;
/// Connections of a listener that one turn accepts. All who wait at once would keep a shard in the
/// kernel for as long as clients come, 40 ms for 800 of them.
const ACCEPTS: usize = 4;
/// Pause after a failed accept. Short: the usual cause, too many open files, ends with any close.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Kinds of operation, in the upper half of a submission's user data.
mod op {
    pub const RECEIVE: u64 = 1 << 32;
    pub const SEND: u64 = 2 << 32;
    pub const ACCEPT: u64 = 3 << 32;
    pub const WAKE: u64 = 4 << 32;
    pub const CANCEL: u64 = 5 << 32;
    pub const ACCEPT_TIMER: u64 = 6 << 32;
    pub(super) use crate::io::disk::{LINKED_FLUSH, OPERATION as DISK};
    pub const KIND: u64 = 0xffff_ffff << 32;
}

/// One shard's sockets.
pub struct Ring {
    // Declared first so that it is dropped first: the kernel must let go of what the fields
    // below own.
    ring: IoUring,
    buffers: Buffers,
    connections: Vec<Connection>,
    listeners: Vec<Accepting>,
    disks: Disks,
    waker: Waker,
    wake_count: Box<u64>,
    accept_retry: Box<types::Timespec>,
    /// Connections that were idle when they were closed, to be reported at the next turn.
    closed: VecDeque<u32>,
    completions: Vec<cqueue::Entry>,
    epoch: Instant,
}

/// A listener of this ring.
struct Accepting {
    kind: Listener,
    /// `None` once it has stopped.
    door: Option<Door>,
}

#[derive(Default)]
struct Connection {
    socket: Option<OwnedFd>,
    /// A multishot receive is with the kernel.
    receiving: bool,
    /// We want bytes: false while paused.
    wanted: bool,
    closing: bool,
    sending: Option<Sending>,
    /// Addresses of a vectored send; boxed because the kernel keeps a pointer to it.
    vectors: Option<Box<Vectors>>,
}

struct Sending {
    chunk: Box<Chunk>,
    sent: usize,
}

struct Vectors {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

impl Ring {
    /// A ring for this thread. `epoch` is the start of [`Driver::now`], the same for all shards.
    ///
    /// # Errors
    /// When the kernel refuses the ring or its buffers.
    pub fn new(
        waker: Waker,
        listeners: Vec<(Listener, TcpListener)>,
        epoch: Instant,
    ) -> io::Result<Self> {
        let mut ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun() // without it: 37 % more CPU at request-reply 10
            .setup_taskrun_flag() // says without a system call that there is something
            .setup_submit_all()
            .build(SUBMISSIONS)?;
        // Saves the descriptor look-up of each enter; older kernels do without.
        let _ = ring.submitter().register_ring_fd();
        let buffers = Buffers::register(&ring)?;
        ring.completion().sync();
        let mut this = Self {
            ring,
            buffers,
            connections: Vec::new(),
            listeners: listeners
                .into_iter()
                .map(|(kind, socket)| {
                    Ok(Accepting {
                        kind,
                        door: Some(Door::new(socket)?),
                    })
                })
                .collect::<io::Result<_>>()?,
            disks: Disks::default(),
            waker,
            wake_count: Box::new(0),
            accept_retry: Box::new(
                types::Timespec::new()
                    .nsec(ACCEPT_RETRY.subsec_nanos())
                    .sec(ACCEPT_RETRY.as_secs()),
            ),
            closed: VecDeque::new(),
            completions: Vec::with_capacity(COMPLETIONS as usize),
            epoch,
        };
        this.arm_wake();
        for listener in 0..this.listeners.len() {
            this.arm_accept(listener);
        }
        Ok(this)
    }

    /// Makes writes durable in another way than usual.
    pub fn set_flushing(&mut self, flushing: Flushing) {
        self.disks.flushing = flushing;
    }

    fn push(&mut self, entry: &squeue::Entry) {
        self.push_all(std::slice::from_ref(entry));
    }

    /// Queues entries that the kernel must get in one submission: a link does not reach further.
    fn push_all(&mut self, entries: &[squeue::Entry]) {
        loop {
            // SAFETY: every entry built in this file and in `disk` points only at memory that
            // lives until its completion: boxed fields of `self`, receive buffers, chunks held in
            // `sending`, and what a job of `disks` owns.
            if unsafe { self.ring.submission().push_multiple(entries) }.is_ok() {
                return;
            }
            // The queue is full: let the kernel take it. It takes all or reports an error that
            // means the ring itself is unusable, and half a server is worse than none.
            self.enter(0, None).expect("the kernel takes submissions");
        }
    }

    fn enter(&mut self, want: u32, wait: Option<Duration>) -> io::Result<()> {
        let submissions = self.ring.submission().len() as u32;
        let timeout = wait.map(types::Timespec::from);
        let mut arguments = types::SubmitArgs::new();
        if let Some(timeout) = &timeout {
            arguments = arguments.timespec(timeout);
        }
        const GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 1 << 3;
        // SAFETY: EXT_ARG says that the argument is a SubmitArgs, which outlives the call.
        let result = unsafe {
            self.ring
                .submitter()
                .enter(submissions, want, GETEVENTS | EXT_ARG, Some(&arguments))
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Time is up, a signal came, or completions must be collected first.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Queues what the disks want, and reports what is over.
    fn drive_disks(&mut self, events: &mut Vec<Event<OwnedFd>>) {
        let mut submissions = std::mem::take(&mut self.disks.submissions);
        for entries in submissions.drain(..) {
            self.push_all(&entries);
        }
        self.disks.submissions = submissions;
        let ended = self.disks.ended.drain(..);
        events.extend(ended.map(|(store, id, result, took)| Event::Disk {
            store,
            id,
            result,
            took,
        }));
    }

    fn arm_wake(&mut self) {
        let fd = types::Fd(self.waker.descriptor());
        let entry = opcode::Read::new(fd, (&raw mut *self.wake_count).cast(), 8)
            .build()
            .user_data(op::WAKE);
        self.push(&entry);
    }

    fn arm_accept(&mut self, listener: usize) {
        let Some(door) = &self.listeners[listener].door else {
            return;
        };
        let entry = opcode::PollAdd::new(types::Fd(door.bell()), libc::POLLIN as u32)
            .build()
            .user_data(op::ACCEPT | listener as u64);
        self.push(&entry);
    }

    fn arm_receive(&mut self, connection: u32) {
        let Some(fd) = self.descriptor(connection) else {
            return;
        };
        self.connections[connection as usize].receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(fd), GROUP)
            .build()
            .user_data(op::RECEIVE | u64::from(connection));
        self.push(&entry);
    }

    fn cancel(&mut self, user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data)
            .build()
            .user_data(op::CANCEL);
        self.push(&entry);
    }

    fn descriptor(&self, connection: u32) -> Option<RawFd> {
        self.connections[connection as usize]
            .socket
            .as_ref()
            .map(AsRawFd::as_raw_fd)
    }

    /// (Re)submits what is left of the connection's chunk.
    fn submit_send(&mut self, connection: u32) {
        let Some(fd) = self.descriptor(connection) else {
            return;
        };
        let this = &mut self.connections[connection as usize];
        let Some(Sending { chunk, sent }) = &this.sending else {
            return;
        };
        // WAITALL: the kernel sends the rest by itself when the socket's buffer has room again.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let user_data = op::SEND | u64::from(connection);
        let entry = if chunk.shared.is_empty() {
            let rest = &chunk.bytes[*sent..];
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            opcode::Send::new(types::Fd(fd), rest.as_ptr(), len)
                .flags(flags)
                .build()
        } else {
            let vectors = this.vectors.get_or_insert_with(Vectors::boxed);
            vectors.fill(chunk, *sent);
            opcode::SendMsg::new(types::Fd(fd), &raw const vectors.header)
                .flags(flags as u32)
                .build()
        };
        self.push(&entry.user_data(user_data));
    }

    fn complete(&mut self, entry: &cqueue::Entry, events: &mut Vec<Event<OwnedFd>>) {
        let connection = entry.user_data() as u32;
        match entry.user_data() & op::KIND {
            op::RECEIVE => self.received(connection, entry, events),
            op::SEND => self.sent(connection, entry.result(), events),
            op::ACCEPT => self.accept(connection as usize, events),
            op::ACCEPT_TIMER => self.arm_accept(connection as usize),
            op::WAKE => {
                self.arm_wake();
                events.push(Event::Woken);
            }
            op::DISK | op::LINKED_FLUSH => {
                self.disks.complete(entry.user_data(), entry.result());
                self.drive_disks(events);
            }
            _ => {} // a cancellation's own completion says nothing
        }
    }

    fn received(
        &mut self,
        connection: u32,
        entry: &cqueue::Entry,
        events: &mut Vec<Event<OwnedFd>>,
    ) {
        let more = cqueue::more(entry.flags());
        let this = &mut self.connections[connection as usize];
        this.receiving = more;
        let closing = this.closing;
        let wanted = this.wanted;
        match (entry.result(), cqueue::buffer_select(entry.flags())) {
            (len @ 1.., Some(buffer)) => {
                let received = Received {
                    buffer,
                    len: len as u32,
                };
                if closing {
                    self.release(received);
                } else {
                    events.push(Event::Received {
                        connection,
                        received,
                    });
                }
                if !more && wanted && !closing {
                    self.arm_receive(connection);
                }
            }
            // All buffers are taken: common under load. Those of this turn are released before
            // the next enter, so asking again at once is right.
            (error, _) if -error == libc::ENOBUFS || -error == libc::EINTR => {
                if wanted && !closing {
                    self.arm_receive(connection);
                }
            }
            (error, _) if -error == libc::ECANCELED => {
                // A pause; resumed in the meantime?
                if wanted && !closing {
                    self.arm_receive(connection);
                }
            }
            (result, buffer) => {
                if let Some(buffer) = buffer {
                    self.release(Received { buffer, len: 0 });
                }
                self.connections[connection as usize].wanted = false;
                if !closing {
                    events.push(Event::Ended {
                        connection,
                        orderly: result == 0,
                    });
                }
            }
        }
        self.finish_close(connection, events);
    }

    fn sent(&mut self, connection: u32, result: i32, events: &mut Vec<Event<OwnedFd>>) {
        let this = &mut self.connections[connection as usize];
        let Some(sending) = &mut this.sending else {
            return;
        };
        let transient = result == -libc::EINTR || result == -libc::EAGAIN;
        if result > 0 || transient {
            sending.sent += result.max(0) as usize;
            if sending.sent < sending.chunk.len() && !this.closing {
                return self.submit_send(connection);
            }
        }
        let Some(Sending { chunk, sent }) = this.sending.take() else {
            return;
        };
        let complete = sent == chunk.len();
        events.push(Event::Sent {
            connection,
            chunk,
            complete,
        });
        self.finish_close(connection, events);
    }

    /// Lets in who waits at a listener, a few at a time.
    fn accept(&mut self, listener: usize, events: &mut Vec<Event<OwnedFd>>) {
        let Accepting { kind, door } = &self.listeners[listener];
        let Some(door) = door else {
            return;
        };
        for _ in 0..ACCEPTS {
            match door.accept() {
                Ok(Some((socket, address))) => events.push(Event::Accepted {
                    socket,
                    address,
                    listener: *kind,
                }),
                Ok(None) => break,
                Err(error) => {
                    events.push(Event::AcceptFailed(error));
                    let entry = opcode::Timeout::new(&raw const *self.accept_retry)
                        .build()
                        .user_data(op::ACCEPT_TIMER | listener as u64);
                    return self.push(&entry);
                }
            }
        }
        self.arm_accept(listener);
    }

    /// Lets go of a closing connection once nothing of it is with the kernel.
    fn finish_close(&mut self, connection: u32, events: &mut Vec<Event<OwnedFd>>) {
        let this = &mut self.connections[connection as usize];
        if this.closing && !this.receiving && this.sending.is_none() {
            *this = Connection::default();
            events.push(Event::Closed { connection });
        }
    }
}

impl Driver for Ring {
    type Socket = OwnedFd;

    fn now(&mut self) -> Nanos {
        Nanos(self.epoch.elapsed().as_nanos() as u64)
    }

    fn wall(&mut self) -> WallTime {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        WallTime(since.as_nanos() as u64)
    }

    fn attach(&mut self, connection: u32, socket: OwnedFd) {
        socket::prepare(&socket);
        let index = connection as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, Connection::default);
        }
        let this = &mut self.connections[index];
        assert!(this.socket.is_none(), "index is free");
        this.socket = Some(socket);
        this.wanted = true;
        self.arm_receive(connection);
    }

    fn pause(&mut self, connection: u32) {
        let this = &mut self.connections[connection as usize];
        if std::mem::replace(&mut this.wanted, false) && this.receiving {
            self.cancel(op::RECEIVE | u64::from(connection));
        }
    }

    fn resume(&mut self, connection: u32) {
        let this = &mut self.connections[connection as usize];
        if this.closing || std::mem::replace(&mut this.wanted, true) {
            return;
        }
        // Still with the kernel: the cancellation is under way and its completion re-arms.
        if !this.receiving {
            self.arm_receive(connection);
        }
    }

    fn send(&mut self, connection: u32, chunk: Box<Chunk>) {
        let this = &mut self.connections[connection as usize];
        assert!(
            this.sending.is_none() && !this.closing,
            "one send at a time"
        );
        this.sending = Some(Sending { chunk, sent: 0 });
        self.submit_send(connection);
    }

    fn close(&mut self, connection: u32) {
        let this = &mut self.connections[connection as usize];
        if std::mem::replace(&mut this.closing, true) {
            return;
        }
        if let Some(socket) = &this.socket {
            socket::shutdown(socket);
        }
        if !this.receiving && this.sending.is_none() {
            self.closed.push_back(connection);
        } else if this.receiving {
            // The shutdown ends it as well, but not where the peer's last bytes fill the pool.
            self.cancel(op::RECEIVE | u64::from(connection));
        }
    }

    fn stop_accepting(&mut self) {
        for listener in 0..self.listeners.len() {
            let this = &mut self.listeners[listener];
            if this.door.take().is_some() {
                let all = types::CancelBuilder::user_data(op::ACCEPT | listener as u64).all();
                let entry = opcode::AsyncCancel2::new(all).build();
                self.push(&entry.user_data(op::CANCEL));
            }
        }
    }

    fn mount(&mut self, store: StoreId, directory: &Path) -> io::Result<()> {
        self.disks.mount(store, directory)
    }

    fn unmount(&mut self, store: StoreId) {
        self.disks.unmount(store);
    }

    fn disk(&mut self, store: StoreId, operation: DiskOperation) {
        self.disks.start(store, operation);
    }

    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event<OwnedFd>>) {
        self.drive_disks(events);
        let idle = self.closed.is_empty() && events.is_empty();
        let wait = if idle { wait } else { None };
        let want = u32::from(wait.is_some());
        self.enter(want, wait).expect("the ring stays usable");
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion());
        for entry in &completions {
            self.complete(entry, events);
        }
        completions.clear();
        self.completions = completions;
        while let Some(connection) = self.closed.pop_front() {
            self.finish_close(connection, events);
        }
    }

    fn submit(&mut self) {
        let submissions = std::mem::take(&mut self.disks.submissions);
        for entries in &submissions {
            self.push_all(entries);
        }
        if !self.ring.submission().is_empty() {
            self.enter(0, None).expect("the ring stays usable");
        }
    }

    fn ready(&mut self) -> bool {
        self.ring.submission().taskrun()
            || !self.ring.completion().is_empty()
            || !self.disks.ended.is_empty()
    }

    fn bytes(&self, received: Received) -> &[u8] {
        self.buffers.bytes(received.buffer, received.len)
    }

    fn release(&mut self, received: Received) {
        self.buffers.release(received.buffer);
    }
}

impl Vectors {
    fn boxed() -> Box<Self> {
        // SAFETY: all-zero is a valid empty msghdr.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self {
            header,
            parts: Vec::new(),
        })
    }

    /// Points at what is left of `chunk` after `sent` bytes.
    fn fill(&mut self, chunk: &Chunk, sent: usize) {
        let mut skip = sent;
        self.parts.clear();
        for slice in chunk.slices() {
            let rest = &slice[skip.min(slice.len())..];
            skip = skip.saturating_sub(slice.len());
            if !rest.is_empty() {
                self.parts.push(libc::iovec {
                    iov_base: rest.as_ptr().cast_mut().cast(),
                    iov_len: rest.len(),
                });
                // The kernel takes no more at once; the rest goes with the next submission.
                if self.parts.len() == libc::UIO_MAXIOV as usize {
                    break;
                }
            }
        }
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len();
    }
}
