//! The core of one shard: a complete single-threaded server without sockets, clocks or threads.
//! Bytes, batches and time go in; output, batches and effects come out.
//!
//! It is split in two so that a delivery list can be walked while connections change: `tables`
//! say who receives, [`Local`] is everything else.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, Holds, NEVER};
use crate::connection::leaf::Leaf;
use crate::connection::registry::{Connections, Subscriptions};
use crate::delivery::outbound::{Chunk, ChunkPool};
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress, ShardId, Slot, SubscriptionId};
use crate::limits;
use crate::mesh::batch::Batch;
use crate::mesh::claim::Claims;
use crate::mesh::peers::Peers;
use crate::protocol::parser::Limits;
use crate::protocol::{encode, error_text};
use crate::routing::interest::InterestChange;
use crate::shard::budget::OutputSeen;
use crate::shard::closed::ClosedConnections;
use crate::shard::effects::{Effect, Level};
use crate::shard::internal::InternalSubscriptions;
use crate::shard::jetstream::JetStream;
use crate::shard::jetstream::groups::Chosen;
use crate::shard::jetstream::pace::is_consumer;
use crate::shard::lame_duck::GradualClose;
use crate::shard::leaf::settings::lines_max;
use crate::shard::message_trace::Trace;
use crate::shard::report::Counters;
use crate::shard::services::Services;
use crate::shard::settings::Settings;
use crate::shard::shadows::Shadows;
use crate::shard::tables::Tables;
use crate::shard::timers::Timers;
use crate::shard::transport::Handshakes;
use crate::time::{Nanos, WallTime};
use crate::transport::transport::{Codec, Transport};

/// One shard's state.
pub struct Core {
    pub(super) tables: Tables,
    pub(super) local: Local,
    pub(super) jetstream: Box<JetStream>,
}

/// Everything of a shard but its tables of accounts.
pub struct Local {
    pub(super) id: ShardId,
    pub(super) settings: Arc<Settings>,
    pub(super) connections: Connections,
    pub(super) subscriptions: Subscriptions,
    /// Those of the server itself.
    pub(super) internal: InternalSubscriptions,
    /// The message in hand is traced.
    pub(super) trace: Option<Box<Trace>>,
    /// The message that another shard brings next is traced.
    pub(super) trace_mark: Option<(ShardId, Box<[u8]>)>,
    /// The subject under which the message that another shard brings next is seen.
    pub(super) shown: Option<(ShardId, Box<[u8]>)>,
    /// The message in hand came over a link from the cluster with that hash of its name; 0 if it
    /// did not.
    pub(super) from_cluster: u64,
    /// Messages that were looked at for links.
    pub(super) link_stamp: u64,
    pub(super) traces_begun: u64,
    pub(super) peers: Peers,
    pub(super) claims: Claims,
    pub(super) pool: ChunkPool,
    pub(super) effects: Vec<Effect>,
    pub(super) counters: Counters,
    pub(super) closed: ClosedConnections,
    pub(super) timers: Timers,
    pub(super) now: Nanos,
    pub(super) wall: WallTime,
    /// Time of the turn before this one.
    pub(super) last_turn: Nanos,
    /// [`Counters::output`] when this turn began.
    turn_began_at: u64,
    /// Connections whose input this turn took. Bounded by the driver's receive buffers.
    pub(super) read: Vec<Slot>,
    /// Connections with new output.
    pub(super) dirty: VecDeque<u32>,
    /// The next send is that of the connection that has waited longest, not shortest.
    oldest_next: bool,
    /// Connections that may be read on.
    pub(super) ready: Vec<Slot>,
    /// Shadows by the subscription they stand for.
    pub(super) shadows: HashMap<SubscriptionId, Shadows, ahash::RandomState>,
    /// Requests to other accounts that wait for answers.
    pub(super) services: Services,
    /// Scratch: buffers for subjects and messages made here. As many as are in use at once.
    pub(super) scratch: Vec<Vec<u8>>,
    /// Scratch: connections whose stall ends.
    pub(super) unstalled: Vec<Slot>,
    /// Connections to close when the message in hand has been delivered.
    pub(super) doomed: Vec<(u32, CloseReason)>,
    /// Links that did what they may not. What came with it is dealt with first, then they are
    /// closed.
    pub(super) violators: Vec<Slot>,
    /// Subscriptions that had their last message.
    pub(super) expired: Vec<SubscriptionId>,
    /// Connections that were admitted and are closed: the accepting shard subtracts them.
    pub(super) departed: u64,
    /// What transports share.
    pub(super) codec: Codec,
    /// Plaintext of the connection at hand.
    pub(super) plain: Vec<u8>,
    /// TLS handshakes of this turn, and those that wait for another.
    pub(super) handshakes: Handshakes,
    /// Consumers that receivers hold back or let go.
    pub(super) held_consumers: Vec<(u32, bool)>,
    /// What JetStream was chosen for as a member of queue groups.
    pub(super) chosen: VecDeque<Chosen>,
    /// How much output waited when it was looked at last.
    pub(super) output_seen: OutputSeen,
    /// Clients are being closed one by one.
    pub(super) gradual_close: Option<GradualClose>,
    /// The server is going down and clients have been told (CORE-94).
    pub(super) lame_duck: bool,
    random: u64,
    secret: ChaCha12Rng,
}

impl Core {
    /// The core of shard `id` of `shards`. `seed` drives the choice of queue members, nonces and
    /// the jitter of timers.
    pub fn new(id: ShardId, shards: usize, settings: Arc<Settings>, seed: [u8; 32]) -> Self {
        let closed = ClosedConnections::new(settings.limits.max_closed_clients);
        let mut secret = ChaCha12Rng::from_seed(seed);
        let random = secret.next_u64() | 1; // xorshift must not start at zero
        let accounts = Arc::clone(&settings.accounts);
        let mut core = Self {
            tables: Tables::default(),
            local: Local {
                id,
                settings,
                connections: Connections::default(),
                subscriptions: Subscriptions::default(),
                internal: InternalSubscriptions::default(),
                trace: None,
                trace_mark: None,
                shown: None,
                from_cluster: 0,
                link_stamp: 0,
                traces_begun: 0,
                peers: Peers::new(id, shards),
                claims: Claims::default(),
                pool: ChunkPool::default(),
                effects: Vec::new(),
                counters: Counters::default(),
                closed,
                timers: Timers::default(),
                now: Nanos(0),
                wall: WallTime(0),
                last_turn: Nanos(0),
                turn_began_at: 0,
                read: Vec::new(),
                dirty: VecDeque::new(),
                oldest_next: false,
                ready: Vec::new(),
                shadows: HashMap::default(),
                services: Services::default(),
                scratch: Vec::new(),
                unstalled: Vec::new(),
                doomed: Vec::new(),
                violators: Vec::new(),
                expired: Vec::new(),
                departed: 0,
                codec: Codec::default(),
                plain: Vec::new(),
                handshakes: Handshakes::default(),
                held_consumers: Vec::new(),
                chosen: VecDeque::new(),
                output_seen: OutputSeen::default(),
                gradual_close: None,
                lame_duck: false,
                secret,
                random,
            },
            jetstream: Box::default(),
        };
        core.install_services(None, &accounts);
        core.js_listen();
        core
    }

    /// Sets the time of this turn.
    pub fn set_time(&mut self, now: Nanos, wall: WallTime) {
        let local = &mut self.local;
        local.last_turn = std::mem::replace(&mut local.now, now);
        local.wall = wall;
        local.turn_began_at = local.counters.output();
        local.read.clear();
        local.handshakes.renew();
    }

    /// Time of this turn.
    pub fn now(&self) -> Nanos {
        self.local.now
    }

    /// Bytes this turn has put out so far, roughly.
    pub fn turn_output(&self) -> u64 {
        self.local.counters.output() - self.local.turn_began_at
    }

    /// Takes on an accepted connection and greets it. `refused`: there are too many already; it is
    /// told so and closed (CORE-15).
    pub fn accept(
        &mut self,
        cid: ConnectionId,
        address: PeerAddress,
        listener: Listener,
        refused: bool,
    ) -> u32 {
        let local = &mut self.local;
        let (now, wall) = (local.now, local.wall);
        let limits = Limits {
            max_control_line: match listener {
                Listener::Leaf => lines_max(&local.settings),
                _ => local.settings.limits.max_control_line,
            },
            max_payload: local.settings.limits.max_payload,
            headers: false,
        };
        let transport = Transport::new(listener, &local.settings.transports);
        let accounts = &local.settings.accounts;
        let Some(tenant) = accounts.get(AccountId::GLOBAL) else {
            unreachable!("every view has the global account");
        };
        let slot = local.connections.insert(|slot| {
            let tenant = Arc::clone(tenant);
            let mut connection = Connection::new(slot, cid, address, tenant, limits, wall, now);
            connection.listener = listener;
            connection.transport = transport;
            connection.admitted = !refused;
            connection.is_client = false;
            if listener == Listener::Leaf {
                connection.admitted = false;
                let leaf = Leaf::accepted(local.settings.leaf.isolate);
                connection.leaf = Some(Box::new(leaf));
            }
            connection
        });
        // Until it says who it is it is nobody's in particular.
        self.join(slot.index, AccountId::GLOBAL);
        self.begin(slot.index);
        slot.index
    }

    /// It is a client from now on, and may be one too many.
    pub(super) fn count(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.is_client = true;
        let admitted = connection.admitted;
        self.local.counters.total_connections += u64::from(admitted);
        self.local.counters.connections += 1;
        if !admitted {
            self.send_error(index, error_text::MAXIMUM_CONNECTIONS);
            self.close(index, CloseReason::MaximumConnectionsExceeded);
        } else if self.address_may_connect(index) {
            self.local
                .debug(index, || "Client connection created".into());
        }
    }

    /// The driver has let go of a connection: its index is free.
    pub fn forget(&mut self, index: u32) {
        self.local.connections.remove(index);
    }

    /// The next connection with output to send, and that output. Empty when there is no more.
    ///
    /// A turn may send to fewer than there are. So it goes from both ends: what is new does not
    /// wait behind a fan-out to thousands, and that one does not wait for ever.
    pub fn next_send(&mut self) -> Option<(u32, Box<Chunk>)> {
        self.close_doomed();
        self.close_violators();
        let local = &mut self.local;
        loop {
            local.oldest_next = !local.oldest_next;
            let index = match local.oldest_next {
                true => local.dirty.pop_front(),
                false => local.dirty.pop_back(),
            }?;
            let now = local.now;
            let Some(connection) = local.connections.at(index) else {
                continue;
            };
            connection.dirty = false;
            if connection.released {
                continue; // its transport may have had more to say
            }
            let chunk = match &mut connection.transport {
                None => connection.outbound.start_send(),
                Some(transport) => {
                    let chunk = transport.start_send(
                        &mut connection.outbound,
                        &mut local.pool,
                        &mut local.codec,
                    );
                    if transport.is_broken() {
                        local.doomed.push((index, CloseReason::WriteError));
                    }
                    chunk
                }
            };
            if let Some(chunk) = chunk {
                connection.progress_at = now;
                let usual = local.settings.limits.write_deadline;
                connection.deadlines.write = now
                    + match &connection.leaf {
                        None => usual,
                        Some(_) => local.settings.leaf.write_deadline.unwrap_or(usual),
                    };
                local.arm(index);
                return Some((index, chunk));
            }
        }
    }

    /// The next thing to be done outside.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.local.effects);
    }

    /// When [`Core::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.local
            .timers
            .next()
            .into_iter()
            .chain(self.next_gradual_close())
            .chain(self.local.services.due())
            .chain(self.js_due())
            .min()
    }

    /// Is there input or output that a turn would go on with by itself?
    pub fn has_work(&self) -> bool {
        !self.local.ready.is_empty() || !self.local.dirty.is_empty() || self.jetstream.has_work()
    }

    /// The batch for another shard, if there is one to hand over.
    pub fn take_batch(
        &mut self,
        shard: ShardId,
        spare: impl FnOnce() -> Box<Batch>,
    ) -> Option<Box<Batch>> {
        let batch = self.local.peers.take(shard, spare)?;
        let mut stalled = std::mem::take(&mut self.local.unstalled);
        self.local.peers.take_stalled(shard, &mut stalled);
        for slot in stalled.drain(..) {
            self.local.end_stall(slot);
        }
        self.local.unstalled = stalled;
        Some(batch)
    }

    /// Is there a batch to hand over to `shard`?
    pub fn has_batch(&self, shard: ShardId) -> bool {
        self.local.peers.has_batch(shard)
    }

    /// How many admitted connections have left since the start.
    pub fn departed(&self) -> u64 {
        self.local.departed
    }

    /// Message bytes in and out since the start.
    pub fn bytes(&self) -> u64 {
        self.local.counters.in_bytes + self.local.counters.out_bytes
    }

    /// Connections the table holds, closing ones included.
    pub fn connections(&self) -> usize {
        self.local.connections.len()
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.local.settings
    }

    /// Tells the other shards what changed of our interest, and the connection what to wait for.
    pub(super) fn interest_changed(
        &mut self,
        index: u32,
        account: AccountId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        change: InterestChange,
    ) {
        let weight = match change {
            InterestChange::None => return,
            InterestChange::Plain { present } => u32::from(present),
            InterestChange::Queue { count } => count,
        };
        let peers = &mut self.local.peers;
        peers.broadcast_interest(account, pattern, queue, weight);
        if let Some(connection) = self.local.connections.at(index) {
            connection.interest_mark = peers.interest_sent();
        }
        // A push consumer may wait for it on a shard that sleeps.
        self.js_interest_changed();
    }

    /// Appends protocol bytes to a connection's output.
    pub(super) fn send(&mut self, index: u32, bytes: &[u8]) {
        self.local.append(index, |out| out.extend_from_slice(bytes));
    }

    /// Appends a `+OK` line.
    pub(super) fn send_ok(&mut self, index: u32) {
        self.send(index, encode::OK);
        self.local.trace_out(index, "OK", None);
    }

    /// Appends an `-ERR` line.
    pub(super) fn send_error(&mut self, index: u32, text: impl AsRef<[u8]>) {
        self.local.trace_out(index, "-ERR", Some(text.as_ref()));
        self.local
            .append(index, |out| encode::err_line(out, text.as_ref()));
    }
}

impl Local {
    /// Appends to a connection's output; nothing once it is closing.
    pub(super) fn append(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        write(&mut connection.outbound.queue(&mut self.pool).bytes);
        let (slot, pending) = (connection.slot, connection.outbound.pending());
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push_back(index);
        }
        if pending > limits::receiver_high(self.settings.limits.max_pending) {
            self.pressed(index, pending, Some((self.id, slot)));
        }
    }

    /// Makes sure the timer queue wakes us for the connection's next deadline.
    pub(super) fn arm(&mut self, index: u32) {
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        let next = connection.deadlines.next();
        if next < connection.deadlines.armed {
            connection.deadlines.armed = next;
            self.timers.arm(next, connection.slot);
        }
    }

    /// An empty buffer, to be given back by [`Local::give_back`].
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.scratch.pop().unwrap_or_default()
    }

    /// Takes a buffer back for the next one who needs it.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= limits::SCRATCH_KEPT_MAX {
            buffer.clear();
            self.scratch.push(buffer);
        }
    }

    /// A pseudo-random number (xorshift64*): queue members and jitter need spread, not secrecy.
    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A random number nobody outside can guess.
    pub(super) fn secret_random(&mut self) -> u64 {
        self.secret.next_u64()
    }

    /// Logs a line about a connection, with what is known of it in front (CFG-98).
    pub(super) fn log(&mut self, level: Level, index: u32, text: &str) {
        let Some(connection) = self.connections.at(index) else {
            return;
        };
        let line = format!("{} - {text}", connection.log_prefix());
        self.effects.push(Effect::Log(level, line));
    }

    /// Logs what happens to a connection, if anybody wants to know.
    pub(super) fn debug(&mut self, index: u32, text: impl FnOnce() -> String) {
        if self.settings.debug {
            self.log(Level::Debug, index, &text());
        }
    }

    /// Holds a publisher back for at most [`limits::STALL_MAX`]. `first`: by somebody who has not
    /// asked for it yet, and will call [`Local::end_stall`] once. True if it ran until now.
    pub(super) fn stall(&mut self, slot: Slot, first: bool) -> bool {
        let now = self.now;
        if is_consumer(slot) {
            self.hold_consumer(slot, true);
            return false;
        }
        let Some(connection) = self.connections.of(slot) else {
            return false;
        };
        connection.stallers += u32::from(first);
        if connection.closing() || connection.holds.has(Holds::STALL) {
            return false;
        }
        connection.holds.add(Holds::STALL);
        connection.deadlines.stall = now + limits::STALL_MAX;
        self.arm(slot.index);
        true
    }

    /// Holds a publisher back because a receiver cannot keep up with it (CORE-64).
    pub(super) fn stall_for_receiver(&mut self, slot: Slot, first: bool) {
        if self.stall(slot, first) {
            self.counters.stalled_clients += 1;
            if let Some(connection) = self.connections.of(slot) {
                connection.stalls += 1;
            }
        }
    }

    /// One of those who hold a publisher back needs it no more; it goes on after the last.
    pub(super) fn end_stall(&mut self, slot: Slot) {
        if is_consumer(slot) {
            return self.hold_consumer(slot, false);
        }
        let Some(connection) = self.connections.of(slot) else {
            return;
        };
        connection.stallers = connection.stallers.saturating_sub(1);
        if connection.stallers == 0 {
            self.go_on(slot);
        }
    }

    /// A publisher goes on, whoever wants it held back.
    pub(super) fn go_on(&mut self, slot: Slot) {
        let Some(connection) = self.connections.of(slot) else {
            return;
        };
        connection.deadlines.stall = NEVER;
        if connection.holds.remove(Holds::STALL) && !connection.holds.any() {
            self.ready.push(slot);
        }
    }
}
