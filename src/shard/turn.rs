//! The loop of one shard: take all that has completed, think, then write once per peer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::Duration;

use crate::connection::leaf::{LinkNews, Solicited};
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress, ShardId};
use crate::io::wake::Waker;
use crate::io::{Driver, Event};
use crate::limits;
use crate::listener::admission::{Admission, ShardLoad};
use crate::mesh::batch::Batch;
use crate::mesh::ring::{Consumer, Producer};
use crate::shard::control::{Control, Inbox, NewSettings, Post};
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::internal::Mail;
use crate::shard::jetstream::Command;
use crate::shard::jetstream::disk::Stores;
use crate::shard::pace::Pace;
use crate::shard::patience::{LOOK_AROUND_MAX, Patience};
use crate::shard::report::{Query, ShardReport};
use crate::shard::verify::Verifier;
use crate::time::Nanos;

/// Longest sleep, so that a lost deadline is a delay and not a hang.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// Longest time to let go of connections at the end. Each has its own, shorter, time to take its
/// last bytes; this one only matters when the whole thread gets no CPU.
const ENDING_MAX: Duration = Duration::from_secs(2);
/// Pauses of the processor between two looks.
const LOOK_AROUND_PAUSE: u32 = 8;
/// Longest wait for a shard that takes no batches because it is busy.
const CONGESTED_WAIT: Duration = Duration::from_micros(50);

/// Both directions to one other shard.
pub struct MeshLink {
    /// Batches to it.
    pub to: Producer<Box<Batch>>,
    /// Batches from it.
    pub from: Consumer<Box<Batch>>,
    /// Empty batches back to it.
    pub spent: Producer<Box<Batch>>,
    /// Our own empty batches, back from it.
    pub spare: Consumer<Box<Batch>>,
    /// Wakes it.
    pub waker: Waker,
    /// A batch from it that is not finished, and where to go on.
    pub unfinished: Option<(Box<Batch>, usize)>,
}

/// What a shard is made of besides its core and driver.
pub struct Parts<S> {
    /// Links to the other shards, by id; `None` at the own place.
    pub mesh: Vec<Option<MeshLink>>,
    /// Requests.
    pub inbox: Inbox<S>,
    /// Who wakes this shard.
    pub waker: Waker,
    /// Its load, for the one who hands out connections.
    pub load: Arc<[ShardLoad]>,
    /// Decides who serves accepted connections; with the shard that accepts.
    pub admission: Option<Admission>,
    /// Requests to the other shards, by id.
    pub posts: Vec<Post<S>>,
    /// Where passwords are checked.
    pub verifier: Arc<dyn Verifier<S>>,
    /// Where messages for the server's own services go.
    pub services: SyncSender<Mail>,
    /// Bytes a turn puts out, about: [`limits::TURN_OUTPUT`], or less to try the bound itself.
    pub turn_output: u64,
}

/// A shard: the core, what it stands on, and what it is connected to.
pub struct Shard<D: Driver> {
    id: ShardId,
    core: Core,
    driver: D,
    parts: Parts<D::Socket>,
    events: Vec<Event<D::Socket>>,
    /// Events that wait until what came before them has been put out. Bounded by the driver's
    /// receive buffers, which they hold.
    waiting: VecDeque<Event<D::Socket>>,
    /// Connections that come and go, more than one turn takes; in order, because an index that is
    /// free is soon somebody else's.
    comings: VecDeque<Event<D::Socket>>,
    /// When comings may go on.
    comings_pace: Pace,
    /// When handshakes may go on.
    handshakes_pace: Pace,
    effects: Vec<Effect>,
    /// The shard whose batches were looked at first.
    first_link: usize,
    /// Questions of monitoring, answered once this turn's events are taken.
    questions: Vec<(Query, SyncSender<(ShardId, ShardReport)>)>,
    /// Told at the end of the turn that what they asked for is done.
    taken: Vec<SyncSender<()>>,
    ending: Option<Nanos>,
    patience: Patience,
    /// Who made the links to other servers, by remote.
    links: HashMap<u32, Sender<LinkNews>>,
}

impl<D: Driver> Shard<D> {
    /// Joins the parts.
    pub fn new(id: ShardId, core: Core, driver: D, parts: Parts<D::Socket>) -> Self {
        Self {
            id,
            core,
            driver,
            parts,
            events: Vec::new(),
            waiting: VecDeque::new(),
            comings: VecDeque::new(),
            comings_pace: Pace::new(0),
            handshakes_pace: Pace::new(1),
            effects: Vec::new(),
            first_link: 0,
            questions: Vec::new(),
            taken: Vec::new(),
            ending: None,
            patience: Patience::default(),
            links: HashMap::new(),
        }
    }

    /// Has it been told to end, and let go of everything?
    pub fn ended(&mut self) -> bool {
        self.ending.is_some_and(|by| {
            let done = self.core.connections() == 0 && self.core.is_settled();
            done || self.driver.now() >= by
        })
    }

    /// Has it been told to end?
    pub fn ending(&self) -> bool {
        self.ending.is_some()
    }

    /// One turn, asleep for as long as there is nothing to do.
    pub fn run_turn(&mut self) {
        let now = self.driver.now();
        self.core.turn_ended(now);
        if self.congested() {
            return self.turn(Some(CONGESTED_WAIT));
        }
        if self.core.has_work() || !self.waiting.is_empty() || self.comings_due(now) {
            return self.turn(None);
        }
        let idle_since = now;
        if self.patience.looks_around() {
            let until = idle_since + LOOK_AROUND_MAX;
            let (found, at) = self.look_around(until);
            self.patience.looked_around(found, at.since(idle_since));
            if found {
                return self.turn(None);
            }
        }
        self.parts.waker.announce_sleep();
        let wait = if self.mail_waits() {
            None
        } else {
            Some(self.sleep_length(now))
        };
        self.turn(wait);
        self.patience.rested(self.core.now().since(idle_since));
    }

    /// Waits awake for something to do. Says whether something came, and when it stopped.
    fn look_around(&mut self, until: Nanos) -> (bool, Nanos) {
        self.driver.submit();
        loop {
            let found = self.mail_waits() || self.driver.ready();
            let now = self.driver.now();
            if found || now >= until {
                return (found, now);
            }
            for _ in 0..LOOK_AROUND_PAUSE {
                std::hint::spin_loop();
            }
        }
    }

    fn sleep_length(&self, now: Nanos) -> Duration {
        let handshakes = self.core.handshakes_wait() > 0;
        let handshakes = handshakes.then_some(self.handshakes_pace.next());
        let comings = (!self.comings.is_empty()).then_some(self.comings_pace.next());
        let deadline = self
            .core
            .next_deadline()
            .into_iter()
            .chain(self.ending)
            .chain(handshakes)
            .chain(comings)
            .min();
        deadline
            .map_or(SLEEP_MAX, |at| at.since(now))
            .min(SLEEP_MAX)
    }

    /// Has another thread left something for us?
    fn mail_waits(&mut self) -> bool {
        !self.parts.inbox.is_empty()
            || self
                .parts
                .mesh
                .iter_mut()
                .flatten()
                .any(|link| link.unfinished.is_some() || !link.from.is_empty())
    }

    /// Does a batch wait for a shard that has no room for it?
    fn congested(&self) -> bool {
        let links = self.parts.mesh.iter().enumerate();
        links
            .filter(|(_, link)| link.is_some())
            .any(|(at, _)| self.core.has_batch(ShardId(at as u8)))
    }

    /// One turn of this shard: the only order in which anything happens here.
    pub fn turn(&mut self, wait: Option<Duration>) {
        self.driver.turn(wait, &mut self.events);
        self.parts.waker.announce_awake();
        let (now, wall) = (self.driver.now(), self.driver.wall());
        self.core.set_time(now, wall);

        // Interest first: a message read below must see what was told before it was sent.
        self.take_batches();
        while let Some(control) = self.parts.inbox.take() {
            self.control(control);
        }
        self.take_events();
        // After the events: who has read our answer must not be shown it as still pending.
        while let Some((query, answer)) = self.questions.pop() {
            // The asker may have given up: then nobody misses the answer.
            let _ = answer.try_send((self.id, self.core.report(&query)));
        }
        self.core.tick();
        self.core.release_barriers();
        self.run_handshakes();
        while self.core.run_ready() {}
        self.core.run_jetstream();
        self.core.keep_budget();

        self.carry_out();
        self.hand_over_batches();
        // While a batch waits for a shard that has no room for it nothing leaves for clients: a PONG
        // must not arrive before the messages it follows are where their receivers are.
        if !self.congested() {
            for _ in 0..limits::TURN_SENDS {
                let Some((connection, chunk)) = self.core.next_send() else {
                    break;
                };
                self.driver.send(connection, chunk);
            }
        }
        self.carry_out();
        for taken in self.taken.drain(..) {
            // The asker may have given up: then nobody misses the answer.
            let _ = taken.try_send(());
        }
        let load = &self.parts.load[usize::from(self.id.0)];
        load.departed.store(self.core.departed(), Ordering::Release);
        load.bytes.store(self.core.bytes(), Ordering::Relaxed);
    }

    /// Takes steps of handshakes, unless the last ones were a moment ago.
    fn run_handshakes(&mut self) {
        if self.core.handshakes_wait() == 0 {
            return;
        }
        let begun = self.driver.now();
        if begun < self.handshakes_pace.next() {
            return;
        }
        let before = self.core.handshakes_wait();
        self.core.run_handshakes();
        let left = self.core.handshakes_wait();
        let ended = self.driver.now();
        let done = before - left;
        self.handshakes_pace.took((begun, ended), done, left, false);
    }

    /// Do connections that come or go wait, and may they?
    fn comings_due(&self, now: Nanos) -> bool {
        let waits = !self.comings.is_empty() && !self.core.is_starting();
        waits && (now >= self.comings_pace.next() || self.ending.is_some())
    }

    /// Has some connections come and go.
    fn run_comings(&mut self) {
        if self.comings.is_empty() {
            return;
        }
        let begun = self.driver.now();
        if !self.comings_due(begun) {
            return;
        }
        let some = self.comings.len().min(limits::COMINGS_PER_TURN);
        for _ in 0..some {
            if let Some(event) = self.comings.pop_front() {
                self.take(event);
            }
        }
        let (ended, left) = (self.driver.now(), self.comings.len());
        // The kernel may have more for us than it has reported.
        let full = some == limits::COMINGS_PER_TURN;
        self.comings_pace.took((begun, ended), some, left, full);
    }

    /// Takes what the driver reports, until this turn has put out enough. What is sent goes first:
    /// it makes room.
    fn take_events(&mut self) {
        for event in self.events.drain(..) {
            match event {
                Event::Sent {
                    connection,
                    chunk,
                    complete,
                } => self.core.sent(connection, chunk, complete),
                event => self.waiting.push_back(event),
            }
        }
        while let Some(event) = self.waiting.pop_front() {
            // Behind the messages of this turn, in their own order.
            if matches!(
                event,
                Event::Accepted { .. } | Event::Ended { .. } | Event::Closed { .. }
            ) {
                self.comings.push_back(event);
                continue;
            }
            self.take(event);
            if self.core.turn_output() >= self.parts.turn_output {
                break;
            }
        }
        self.run_comings();
    }

    fn take(&mut self, event: Event<D::Socket>) {
        match event {
            Event::Received {
                connection,
                received,
            } => {
                self.core.receive(connection, self.driver.bytes(received));
                self.driver.release(received);
            }
            Event::Sent { .. } => {} // taken already
            Event::Ended {
                connection,
                orderly,
            } => self.core.ended(connection, orderly),
            Event::Closed { connection } => self.core.forget(connection),
            Event::Accepted {
                socket,
                address,
                listener,
            } => self.accepted(socket, address, listener),
            Event::AcceptFailed(error) => {
                log::error!("Client Accept Error: {error}; trying again");
            }
            Event::Disk {
                store,
                id,
                result,
                took,
            } => self.core.disk_ended(store, id, result, took),
            Event::Woken => {} // the mesh and the inbox are looked at in every turn
        }
    }

    fn accepted(&mut self, socket: D::Socket, address: PeerAddress, listener: Listener) {
        let Some(admission) = &mut self.parts.admission else {
            return;
        };
        let (shard, cid, refused) = match listener {
            Listener::Leaf => {
                let (shard, cid) = admission.admit_link(&self.parts.load);
                (shard, cid, false)
            }
            _ => admission.admit(&self.parts.load),
        };
        if shard == self.id {
            self.serve(socket, (cid, address, listener), refused);
        } else {
            self.parts.posts[usize::from(shard.0)].send(Control::Serve {
                socket,
                cid,
                address,
                listener,
                refused,
            });
        }
    }

    fn serve(
        &mut self,
        socket: D::Socket,
        (cid, address, listener): (ConnectionId, PeerAddress, Listener),
        refused: bool,
    ) {
        let connection = self.core.accept(cid, address, listener, refused);
        self.driver.attach(connection, socket);
    }

    fn control(&mut self, control: Control<D::Socket>) {
        match control {
            Control::Serve {
                socket,
                cid,
                address,
                listener,
                refused,
            } => {
                self.serve(socket, (cid, address, listener), refused);
            }
            Control::Link {
                socket,
                cid,
                address,
                with,
                news,
            } => self.link(socket, (cid, address), with, news),
            Control::LinkOpened {
                identity,
                cid,
                from,
                slot,
            } => {
                self.core.replace_link(&identity, cid);
                self.parts.posts[usize::from(from.0)].send(Control::LinkReplaced(slot));
            }
            Control::LinkReplaced(slot) => self.core.link_replaced(slot),
            Control::Verified {
                slot,
                check,
                matches,
            } => self.core.verified(slot, check, matches),
            Control::Answered {
                slot,
                asked,
                answer,
            } => self.core.answered(slot, asked, *answer),
            Control::Sought(slot) => self.core.sought(slot),
            Control::PeerChecked { slot, good } => self.core.peer_checked(slot, good),
            Control::Internal(action) => self.core.act(action),
            Control::JetStream(command) => self.core.take_command(*command),
            Control::Query(query, answer) => self.questions.push((query, answer)),
            Control::Settings(new) => self.take_settings(new),
            Control::CloseSurplus(count) => self.core.close_surplus(count),
            Control::ToClient(cid, action, outcome) => {
                if let Some(done) = self.core.act_on(cid, action) {
                    // The asker may have given up: then nobody misses the answer.
                    let _ = outcome.try_send(done);
                }
            }
            Control::Tell(event, told) => {
                self.core.tell_server_event(event);
                self.taken.push(told);
            }
            Control::CloseOverAccountLimit(surplus) => {
                self.core.close_over_account_limit(&surplus);
            }
            Control::LameDuck => {
                self.driver.stop_accepting();
                self.core.announce_lame_duck();
            }
            Control::CloseOver(time) => self.core.close_over(time),
            Control::Shutdown => {
                self.driver.stop_accepting();
                self.core.close_all();
                self.core.keep_all();
                self.ending = Some(self.driver.now() + ENDING_MAX);
            }
        }
    }

    /// Takes on a connection to another server, or hands it to the shard that is to have it.
    fn link(
        &mut self,
        socket: D::Socket,
        (cid, address): (Option<ConnectionId>, PeerAddress),
        with: Box<Solicited>,
        news: Sender<LinkNews>,
    ) {
        let (shard, cid) = match (cid, &mut self.parts.admission) {
            (Some(cid), _) => (self.id, cid),
            (None, Some(admission)) => admission.admit_link(&self.parts.load),
            (None, None) => return, // only shard 0 gives numbers
        };
        if shard != self.id {
            self.parts.posts[usize::from(shard.0)].send(Control::Link {
                socket,
                cid: Some(cid),
                address,
                with,
                news,
            });
            return;
        }
        if !self.core.has_remote(with.remote) {
            return; // it went while it was connected to
        }
        self.links.insert(with.remote, news);
        let connection = self.core.solicit(cid, address, *with);
        self.driver.attach(connection, socket);
    }

    fn take_settings(&mut self, new: NewSettings) {
        if let Some(admission) = &mut self.parts.admission {
            admission.set_max_connections(new.settings.limits.max_connections);
            for (at, post) in self.parts.posts.iter().enumerate() {
                if at != usize::from(self.id.0) {
                    post.send(Control::Settings(new.clone()));
                }
            }
        }
        self.core
            .take_settings(new.settings, new.changed.as_deref());
        self.taken.push(new.taken);
    }

    fn take_batches(&mut self) {
        let shards = self.parts.mesh.len();
        let enough = self.parts.turn_output / 2;
        // Another one is the first in each turn: none waits for the others' output for ever.
        self.first_link = (self.first_link + 1) % shards;
        for at in (self.first_link..shards).chain(0..self.first_link) {
            let Some(link) = &mut self.parts.mesh[at] else {
                continue;
            };
            while self.core.turn_output() < enough {
                let next = link.unfinished.take();
                let Some((mut batch, place)) = next.or_else(|| Some((link.from.pop()?, 0))) else {
                    break;
                };
                if place == 0 && batch.inviting {
                    self.patience.invite();
                }
                let shard = ShardId(at as u8);
                if let Some(place) = self.core.apply(shard, &batch, place, enough) {
                    link.unfinished = Some((batch, place));
                    break;
                }
                batch.clear();
                if batch.capacity() <= limits::BATCH_KEPT_MAX {
                    // No room means its owner has enough: then this one is dropped.
                    let _ = link.spent.try_push(batch);
                }
            }
        }
    }

    fn hand_over_batches(&mut self) {
        for (at, link) in self.parts.mesh.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let shard = ShardId(at as u8);
            if !self.core.has_batch(shard) || link.to.is_full() {
                continue;
            }
            let spare = || link.spare.pop().unwrap_or_default();
            if let Some(mut batch) = self.core.take_batch(shard, spare) {
                batch.inviting = self.patience.tries();
                // Interest alone can wait until the other wakes: it reads the mesh before it acts.
                let wake = batch.urgent || link.to.len() >= limits::MESH_SLOTS / 2;
                let pushed = link.to.try_push(batch);
                assert!(
                    pushed.is_ok(),
                    "there was room and we are the only producer"
                );
                if wake {
                    link.waker.wake();
                }
            }
        }
    }

    fn stores(&self) -> Option<Arc<dyn Stores>> {
        self.core.settings().jetstream.as_ref()?.stores.clone()
    }

    fn create_store(
        &mut self,
        account: AccountId,
        account_name: Arc<str>,
        stream: Box<str>,
        max_bytes: Option<u64>,
    ) {
        let Some(stores) = self.stores() else { return };
        let post = self.parts.posts[usize::from(self.id.0)].clone();
        let name = stream.clone();
        let done = move |opened| {
            let opened = Box::new(opened);
            let command = Command::Opened {
                account,
                name,
                opened,
            };
            // False means that the shard has ended, and with it everybody who waits.
            post.send(Control::JetStream(Box::new(command)));
        };
        stores.create(account_name, stream, max_bytes, Box::new(done));
    }

    fn carry_out(&mut self) {
        self.core.take_effects(&mut self.effects);
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Pause(connection) => self.driver.pause(connection),
                Effect::Resume(connection) => self.driver.resume(connection),
                Effect::Close(connection) => self.driver.close(connection),
                Effect::Verify(slot, check) => {
                    self.parts.verifier.verify(
                        slot,
                        check,
                        &self.parts.posts[usize::from(self.id.0)],
                    );
                }
                Effect::Internal(message) => {
                    // Nobody answers, or he is far behind: the requester's patience ends.
                    let _ = self.parts.services.try_send(Mail::Message(message));
                }
                Effect::Ask(question) => {
                    let slot = question.slot;
                    let asked = question.ask.account;
                    let mail = Mail::Question(question);
                    if self.parts.services.try_send(mail).is_err() {
                        let why = "too many logins wait for the auth service";
                        self.core.answered(slot, asked, Err(why.into()));
                    }
                }
                Effect::LinkNews(remote, news) => {
                    let ended = matches!(news, LinkNews::Ended { .. });
                    // Who made it may have ended: then nobody makes another.
                    if let Some(maker) = self.links.get(&remote) {
                        let _ = maker.send(news);
                    }
                    if ended {
                        self.links.remove(&remote);
                    }
                }
                Effect::LinkOpened(identity, cid, slot) => {
                    for (at, post) in self.parts.posts.iter().enumerate() {
                        if at != usize::from(self.id.0) {
                            post.send(Control::LinkOpened {
                                identity: identity.clone(),
                                cid,
                                from: self.id,
                                slot,
                            });
                        }
                    }
                }
                Effect::Seek(sought) => {
                    let slot = sought.slot;
                    if self.parts.services.try_send(Mail::Seek(sought)).is_err() {
                        self.core.sought(slot);
                    }
                }
                Effect::CheckPeer(check) => {
                    let slot = check.slot;
                    if self.parts.services.try_send(Mail::Peer(check)).is_err() {
                        self.core.peer_checked(slot, false);
                    }
                }
                Effect::CreateStore {
                    account,
                    account_name,
                    stream,
                    max_bytes,
                } => self.create_store(account, account_name, stream, max_bytes),
                Effect::RemoveStore(path) => {
                    if let Some(stores) = self.stores() {
                        stores.remove(path);
                    }
                }
                Effect::Mount(store, path) => {
                    if let Err(error) = self.driver.mount(store, &path) {
                        log::error!("JetStream: {} cannot be opened: {error}", path.display());
                    }
                }
                Effect::Unmount(store) => self.driver.unmount(store),
                Effect::Disk(store, operation) => self.driver.disk(store, operation),
                Effect::JetStream(shard, command) => {
                    // False means that the shard has ended, and with it everybody who waits.
                    self.parts.posts[usize::from(shard.0)].send(Control::JetStream(command));
                }
                Effect::Log(level, line) => log(level, &line),
            }
        }
        self.effects = effects;
    }
}

fn log(level: Level, line: &str) {
    match level {
        Level::Error => log::error!("{line}"),
        Level::Warn => log::warn!("{line}"),
        Level::Info => log::info!("{line}"),
        Level::Debug => log::debug!("{line}"),
        Level::Trace => log::trace!("{line}"),
    }
}
