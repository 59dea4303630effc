//! The simulated driver: sockets are two byte queues, and chance decides what moves when.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ramjet::delivery::outbound::Chunk;
use ramjet::ids::StoreId;
use ramjet::io::{Driver, Event, Received};
use ramjet::jetstream::store::{DiskError, DiskOperation, DiskResult, OperationId};
use ramjet::time::{Nanos, WallTime};

/// Randomness of a world (xorshift64*): the same seed, the same world.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Both directions of one connection, seen from outside.
#[derive(Default)]
pub struct Wire {
    pub to_server: VecDeque<u8>,
    pub from_server: Vec<u8>,
    /// The client has closed: the server reads the end after what it was sent.
    pub client_gone: bool,
    /// The connection is cut: what was under way is lost, sends fail.
    pub cut: bool,
    /// The client does not read for now.
    pub stuck: bool,
    pub server_gone: bool,
}

/// What a socket is here.
pub type SimSocket = Rc<RefCell<Wire>>;

/// Time and chance, shared by all shards of a world.
pub struct Clock {
    pub now: u64,
    pub chance: Chance,
}

struct Sending {
    chunk: Box<Chunk>,
    bytes: Vec<u8>,
    sent: usize,
}

struct Connection {
    wire: SimSocket,
    paused: bool,
    ended: bool,
    closing: bool,
    sending: Option<Sending>,
}

/// One shard's driver.
pub struct SimDriver {
    clock: Rc<RefCell<Clock>>,
    connections: BTreeMap<u32, Connection>,
    buffers: BTreeMap<u16, Vec<u8>>,
    next_buffer: u16,
    /// This world's shards have no disk: every operation fails.
    disk_ended: Vec<(StoreId, OperationId, DiskResult)>,
}

impl SimDriver {
    pub fn new(clock: Rc<RefCell<Clock>>) -> Self {
        Self {
            clock,
            connections: BTreeMap::new(),
            buffers: BTreeMap::new(),
            next_buffer: 0,
            disk_ended: Vec::new(),
        }
    }
}

impl Driver for SimDriver {
    // A socket travels between shards through a queue that asks for `Send`; the world hands its
    // sockets out itself, so an index is enough.
    type Socket = usize;

    fn now(&mut self) -> Nanos {
        Nanos(self.clock.borrow().now)
    }

    fn wall(&mut self) -> WallTime {
        WallTime(self.clock.borrow().now)
    }

    fn attach(&mut self, connection: u32, socket: usize) {
        let wire = SOCKETS.with(|sockets| Rc::clone(&sockets.borrow()[socket]));
        let attached = Connection {
            wire,
            paused: false,
            ended: false,
            closing: false,
            sending: None,
        };
        assert!(
            self.connections.insert(connection, attached).is_none(),
            "the index is free"
        );
    }

    fn pause(&mut self, connection: u32) {
        if let Some(it) = self.connections.get_mut(&connection) {
            it.paused = true;
        }
    }

    fn resume(&mut self, connection: u32) {
        if let Some(it) = self.connections.get_mut(&connection) {
            it.paused = false;
        }
    }

    fn send(&mut self, connection: u32, chunk: Box<Chunk>) {
        let it = self.connections.get_mut(&connection).expect("attached");
        assert!(it.sending.is_none() && !it.closing, "one send at a time");
        let bytes: Vec<u8> = chunk.slices().flatten().copied().collect();
        assert_eq!(bytes.len(), chunk.len());
        it.sending = Some(Sending {
            chunk,
            bytes,
            sent: 0,
        });
    }

    fn close(&mut self, connection: u32) {
        let it = self.connections.get_mut(&connection).expect("attached");
        assert!(
            !it.closing,
            "told to close once: the index may be another's"
        );
        it.closing = true;
    }

    fn stop_accepting(&mut self) {}

    fn mount(&mut self, _store: StoreId, _directory: &Path) -> std::io::Result<()> {
        Ok(())
    }

    fn unmount(&mut self, _store: StoreId) {}

    fn disk(&mut self, store: StoreId, operation: DiskOperation) {
        let id = operation.id();
        let result = DiskResult::Failed(DiskError::NotFound);
        self.disk_ended.push((store, id, result));
    }

    fn turn(&mut self, _wait: Option<Duration>, events: &mut Vec<Event<usize>>) {
        let ended = self.disk_ended.drain(..);
        events.extend(ended.map(|(store, id, result)| Event::Disk {
            store,
            id,
            result,
            took: Duration::ZERO,
        }));
        let mut clock = self.clock.borrow_mut();
        clock.now += 1_000;
        let chance = &mut clock.chance;
        let mut closed = Vec::new();
        for (&connection, it) in &mut self.connections {
            let mut wire = it.wire.borrow_mut();
            if it.closing {
                wire.server_gone = true;
                // The kernel gives back what it has when it likes, in parts.
                if chance.one_in(3)
                    && let Some(Sending { chunk, .. }) = it.sending.take()
                {
                    events.push(Event::Sent {
                        connection,
                        chunk,
                        complete: chance.one_in(2),
                    });
                }
                if it.sending.is_none() && chance.one_in(3) {
                    closed.push(connection);
                }
                continue;
            }
            if wire.cut && chance.one_in(2) {
                if let Some(Sending { chunk, .. }) = it.sending.take() {
                    events.push(Event::Sent {
                        connection,
                        chunk,
                        complete: false,
                    });
                }
                if !std::mem::replace(&mut it.ended, true) {
                    let orderly = false;
                    events.push(Event::Ended {
                        connection,
                        orderly,
                    });
                }
                continue;
            }
            if let Some(sending) = &mut it.sending {
                // The client's socket takes a random part, often nothing.
                let left = sending.bytes.len() - sending.sent;
                let take = if wire.stuck || chance.one_in(3) {
                    0
                } else {
                    left.min(1 + chance.below(4096))
                };
                wire.from_server
                    .extend_from_slice(&sending.bytes[sending.sent..][..take]);
                sending.sent += take;
                if sending.sent == sending.bytes.len()
                    && let Some(Sending { chunk, .. }) = it.sending.take()
                {
                    events.push(Event::Sent {
                        connection,
                        chunk,
                        complete: true,
                    });
                }
            }
            if it.paused || it.ended || chance.one_in(4) {
                continue;
            }
            if wire.to_server.is_empty() {
                if wire.client_gone {
                    it.ended = true;
                    events.push(Event::Ended {
                        connection,
                        orderly: true,
                    });
                }
                continue;
            }
            let most = if chance.one_in(8) { 16_000 } else { 300 };
            let take = wire.to_server.len().min(1 + chance.below(most));
            let bytes: Vec<u8> = wire.to_server.drain(..take).collect();
            let received = Received {
                buffer: self.next_buffer,
                len: take as u32,
            };
            self.buffers.insert(self.next_buffer, bytes);
            self.next_buffer = self.next_buffer.wrapping_add(1);
            events.push(Event::Received {
                connection,
                received,
            });
        }
        for connection in closed {
            self.connections.remove(&connection);
            events.push(Event::Closed { connection });
        }
    }

    fn bytes(&self, received: Received) -> &[u8] {
        &self.buffers[&received.buffer]
    }

    fn release(&mut self, received: Received) {
        self.buffers
            .remove(&received.buffer)
            .expect("given back once");
    }

    fn submit(&mut self) {}

    fn ready(&mut self) -> bool {
        self.clock.borrow_mut().now += 1_000;
        false
    }
}

thread_local! {
    /// Sockets of the world of this thread, by number.
    pub static SOCKETS: RefCell<Vec<SimSocket>> = const { RefCell::new(Vec::new()) };
}
