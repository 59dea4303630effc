//! A few shards, a few clients, and what must be true at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use ramjet::auth::authenticate::PasswordCheck;
use ramjet::ids::{ConnectionId, Listener, ShardId, Slot};
use ramjet::limits::MESH_SLOTS;
use ramjet::routing::subject::pattern_matches;
use ramjet::shard::control::{Control, NewSettings, Post};
use ramjet::shard::core::Core;
use ramjet::shard::report::{Query, ShardReport};
use ramjet::shard::settings::Settings;
use ramjet::shard::turn::Shard;
use ramjet::shard::verify::Verifier;
use ramjet::shard::wiring;

use crate::client::{Client, Flush, Seen, Subscription};
use crate::network::{Chance, Clock, SOCKETS, SimDriver};
use crate::settings::{ACCOUNTS, settings};

const SUBJECTS: [&str; 5] = ["a", "a.b", "a.c", "b.c", "b.c.d"];
const PATTERNS: [&str; 9] = ["a", "a.b", "a.*", "a.>", "*.c", "b.c.>", ">", "*", "b.*.d"];
const QUEUES: [&str; 2] = ["one", "two"];
const STEPS: usize = 1500;
/// Rounds in which everything under way comes to rest; far more than any seed has needed.
const SETTLE_ROUNDS: usize = 20_000;

struct NoPasswords;

impl Verifier<usize> for NoPasswords {
    fn verify(&self, _: Slot, _: PasswordCheck, _: &Post<usize>) {
        unreachable!("nobody has a password here");
    }
}

pub struct World {
    seed: u64,
    clock: Rc<RefCell<Clock>>,
    chance: Chance,
    shards: Vec<Shard<SimDriver>>,
    posts: Vec<Post<usize>>,
    settings: Arc<Settings>,
    clients: Vec<Client>,
    /// Messages published so far, by publisher.
    numbers: Vec<u64>,
    /// What was published: subject by publisher and number.
    published: BTreeMap<Seen, &'static str>,
    /// Numbers of all publishers when a member of any queue group first began to leave.
    first_leave: Option<Vec<u64>>,
    next_sid: u64,
    /// Receivers may be given up as too slow.
    tight: bool,
    /// Of a hundred acts so many end a connection.
    churn: usize,
    /// A shard that gets no CPU, and until which step.
    frozen: (usize, usize),
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let clock = Rc::new(RefCell::new(Clock {
            now: 0,
            chance: Chance::new(seed ^ 0xface),
        }));
        let tight = chance.one_in(4);
        let churn = [1, 2, 8][chance.below(3)];
        let settings = Arc::new(settings(if tight { 20_000 } else { 64 << 20 }));
        let count = 1 + chance.below(4);
        let (posts, parts) = wiring::wire(
            count,
            Some(1000),
            Arc::new(NoPasswords),
            std::sync::mpsc::sync_channel(1).0,
        )
        .expect("descriptors");
        // Turns that are cut short almost at once, or a little later, or never.
        let turn_output = [100, 2_000, u64::MAX][chance.below(3)];
        let shards = parts.into_iter().enumerate().map(|(at, mut parts)| {
            parts.turn_output = turn_output;
            let id = ShardId(at as u8);
            let mut secret = [at as u8; 32];
            secret[..8].copy_from_slice(&seed.to_le_bytes());
            let core = Core::new(id, count, Arc::clone(&settings), secret);
            Shard::new(id, core, SimDriver::new(Rc::clone(&clock)), parts)
        });
        let shards = shards.collect();
        SOCKETS.with(|sockets| sockets.borrow_mut().clear());
        let mut world = Self {
            seed,
            clock,
            chance,
            shards,
            posts,
            settings,
            clients: Vec::new(),
            numbers: Vec::new(),
            published: BTreeMap::new(),
            first_leave: None,
            next_sid: 1,
            tight,
            churn,
            frozen: (0, 0),
        };
        for _ in 0..2 + world.chance.below(6) {
            world.join();
        }
        world
    }

    /// A new client on a random shard.
    fn join(&mut self) {
        let shard = self.chance.below(self.shards.len());
        let account = ACCOUNTS[self.chance.below(ACCOUNTS.len())];
        self.join_on(shard, account);
    }

    fn join_on(&mut self, shard: usize, account: &'static str) {
        let wire = crate::network::SimSocket::default();
        let socket = SOCKETS.with(|sockets| {
            sockets.borrow_mut().push(Rc::clone(&wire));
            sockets.borrow().len() - 1
        });
        self.numbers.push(0);
        self.clients.push(Client::new(wire, account));
        let cid = ConnectionId(self.clients.len() as u64);
        let address = ([127, 0, 0, 1], 1).into();
        self.posts[shard].send(Control::Serve {
            socket,
            cid,
            address,
            listener: Listener::Client,
            refused: false,
        });
    }

    /// Fills the queue from one shard to another that does not run, then has the publisher ask
    /// for a PONG: it must not come before its messages are where their receiver is.
    pub fn pong_waits_for_room(&mut self) {
        let publisher = self.clients.len();
        self.join_on(0, ACCOUNTS[0]);
        let subscriber = self.clients.len();
        self.join_on(1, ACCOUNTS[0]);
        self.clients[subscriber].subscribe(1, ">", None);
        self.settle();
        for _ in 0..3 * MESH_SLOTS {
            self.publish(publisher, "a", 1);
            for _ in 0..20 {
                self.shards[0].run_turn();
            }
        }
        self.ping(publisher);
        for _ in 0..100 {
            self.shards[0].run_turn();
        }
        self.listen();
        assert!(self.clients[publisher].waits(), "nothing overtakes a batch");
        self.settle();
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    pub fn run(&mut self) {
        for step in 0..STEPS {
            if self.chance.one_in(100) {
                // Long enough for the queues to it to fill while others leave and come.
                let until = step + self.chance.below(150);
                self.frozen = (self.chance.below(self.shards.len()), until);
            }
            self.act();
            // Some shards run often, some rarely: queues between them fill.
            for _ in 0..self.chance.below(3) {
                let shard = self.chance.below(self.shards.len());
                if step < self.frozen.1 && shard == self.frozen.0 {
                    continue;
                }
                let burst = if self.chance.one_in(20) { 30 } else { 1 };
                for _ in 0..burst {
                    self.shards[shard].run_turn();
                }
            }
            if self.chance.one_in(2) {
                self.listen();
            }
        }
        self.settle();
        // Interest must have converged: from here every message reaches exactly who matches.
        for client in 0..self.clients.len() {
            for subject in SUBJECTS {
                self.publish(client, subject, 0);
            }
        }
        self.settle();
    }

    fn act(&mut self) {
        let client = self.chance.below(self.clients.len());
        if self.clients[client].gone {
            return;
        }
        if self.chance.below(100) < self.churn {
            return self.leave(client);
        }
        match self.chance.below(100) {
            0..4 if self.clients.iter().filter(|client| !client.gone).count() < 8 => self.join(),
            4 => {
                let stuck = &mut self.clients[client].wire.borrow_mut().stuck;
                *stuck = !*stuck;
            }
            5..12 => {
                let pattern = PATTERNS[self.chance.below(PATTERNS.len())];
                let queue = self
                    .chance
                    .one_in(3)
                    .then(|| QUEUES[self.chance.below(QUEUES.len())]);
                let sid = self.next_sid;
                self.next_sid += 1;
                self.clients[client].subscribe(sid, pattern, queue);
            }
            12..18 => {
                let sids: Vec<u64> = self.clients[client].subscriptions.keys().copied().collect();
                if !sids.is_empty() {
                    let sid = sids[self.chance.below(sids.len())];
                    let numbers = self.numbers.clone();
                    self.first_leave.get_or_insert_with(|| numbers.clone());
                    self.clients[client].unsubscribe(sid, &numbers);
                }
            }
            18..20 => self.ping(client),
            20 => self.reload(),
            _ => {
                let subject = SUBJECTS[self.chance.below(SUBJECTS.len())];
                let padding = match self.chance.below(20) {
                    0 => 6000,
                    1 if !self.tight => 60_000,
                    2..8 => 0,
                    _ => 1 + self.chance.below(100),
                };
                self.publish(client, subject, padding);
            }
        }
    }

    fn ping(&mut self, client: usize) {
        let confirmed = self.clients.iter().map(|it| it.confirmed).collect();
        self.clients[client].ping(self.numbers[client], confirmed);
    }

    /// The client's connection ends, one way or another; often the next takes its place at once.
    fn leave(&mut self, client: usize) {
        self.first_leave.get_or_insert_with(|| self.numbers.clone());
        match self.chance.below(4) {
            0 => self.clients[client].close(),
            1 => self.clients[client].cut(),
            also_close => self.clients[client].misbehave(also_close == 2),
        }
        for _ in 0..self.chance.below(3) {
            self.join();
        }
    }

    /// Other settings for all shards, some while the ones before are still on their way. Nobody
    /// is to notice.
    fn reload(&mut self) {
        let settings = Settings {
            number: self.settings.number + 1,
            ..Settings::clone(&self.settings)
        };
        self.settings = Arc::new(settings);
        let (taken, _) = std::sync::mpsc::sync_channel(self.shards.len());
        self.posts[0].send(Control::Settings(NewSettings {
            settings: Arc::clone(&self.settings),
            changed: None,
            taken,
        }));
    }

    fn publish(&mut self, client: usize, subject: &'static str, padding: usize) {
        if self.clients[client].gone {
            return;
        }
        self.numbers[client] += 1;
        let seen = Seen {
            publisher: client,
            number: self.numbers[client],
        };
        self.published.insert(seen, subject);
        if padding == 0 {
            self.clients[client].request(subject, seen);
        } else {
            self.clients[client].publish(subject, seen, padding);
        }
    }

    fn listen(&mut self) {
        let numbers = self.numbers.clone();
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            client.listen(&numbers);
            if client.wire.borrow().server_gone {
                assert!(self.tight, "RAMJET_SEED={}: closed for nothing", self.seed);
                client.gone = true;
                self.first_leave.get_or_insert_with(|| numbers.clone());
            }
        }
    }

    /// Runs until nothing moves any more.
    fn settle(&mut self) {
        for client in 0..self.clients.len() {
            if !self.clients[client].gone {
                self.clients[client].wire.borrow_mut().stuck = false;
                self.ping(client);
            }
        }
        let mut quiet = 0;
        for _ in 0..SETTLE_ROUNDS {
            self.clock.borrow_mut().now += 100_000;
            for shard in &mut self.shards {
                shard.run_turn();
            }
            let before: usize = self.clients.iter().map(|client| client.heard.len()).sum();
            self.listen();
            let after: usize = self.clients.iter().map(|client| client.heard.len()).sum();
            let waiting = self.clients.iter().any(|client| match client.gone {
                true => !client.wire.borrow().server_gone,
                false => client.waits(),
            });
            quiet = if before == after && !waiting {
                quiet + 1
            } else {
                0
            };
            if quiet > 50 {
                return;
            }
        }
        panic!("seed {}: does not come to rest", self.seed);
    }

    /// Every byte every client was sent.
    pub fn everything_received(&self) -> Vec<Vec<u8>> {
        self.clients
            .iter()
            .map(|client| client.heard.clone())
            .collect()
    }

    pub fn check(&mut self) {
        for (at, client) in self.clients.iter().enumerate() {
            for (sid, subscription) in &client.subscriptions {
                let context = format!("RAMJET_SEED={} client {at} sid {sid}", self.seed);
                let pattern = subscription.pattern.as_bytes();
                let mut last: BTreeMap<usize, u64> = BTreeMap::new();
                for (subject, seen) in &subscription.seen {
                    let said = self.published.get(seen).copied();
                    let publisher = &self.clients[seen.publisher];
                    assert_eq!(publisher.account, client.account, "{context}: {seen:?}");
                    assert_eq!(said, Some(subject.as_str()), "{context}: right subject");
                    assert!(
                        pattern_matches(pattern, subject.as_bytes()),
                        "{context}: matches"
                    );
                    if subscription.queue.is_some() && self.may_take_a_detour(seen) {
                        continue;
                    }
                    let before = last.insert(seen.publisher, seen.number).unwrap_or(0);
                    assert!(
                        before < seen.number,
                        "{context}: in order, none twice: {seen:?}"
                    );
                }
                if subscription.queue.is_none() && !client.gone {
                    self.check_complete(client, subscription, &context);
                }
                if subscription.queue.is_none() {
                    for flush in &client.flushes {
                        self.check_flush(client, *sid, flush, &context);
                    }
                }
            }
        }
        self.check_queues();
        self.check_requests();
        self.check_leftovers();
    }

    /// A requester is told that nobody is there only if nobody was, and in the last round always.
    fn check_requests(&self) {
        let everything = self.clients.iter().flat_map(|it| it.subscriptions.values());
        let heard: BTreeSet<Seen> = everything
            .flat_map(|it| it.seen.iter().map(|(_, seen)| *seen))
            .collect();
        for (publisher, client) in self.clients.iter().enumerate() {
            let mut told = BTreeSet::new();
            for &number in &client.unheard {
                let seen = Seen { publisher, number };
                let context = format!("RAMJET_SEED={} {seen:?}", self.seed);
                assert!(told.insert(number), "{context}: told once");
                assert!(!heard.contains(&seen), "{context}: somebody heard it");
            }
            for number in 1..=self.numbers[publisher] {
                let seen = Seen { publisher, number };
                if !client.gone && self.in_last_round(&seen) && !heard.contains(&seen) {
                    let context = format!("RAMJET_SEED={} {seen:?}", self.seed);
                    assert!(told.contains(&number), "{context}: nobody heard it");
                }
            }
        }
    }

    /// The shards hold those who are there and what they asked for, nothing else.
    fn check_leftovers(&mut self) {
        let (answer, reports) = std::sync::mpsc::sync_channel(self.shards.len());
        for (shard, post) in self.shards.iter_mut().zip(&self.posts) {
            post.send(Control::Query(Query::Counters, answer.clone()));
            shard.run_turn();
        }
        let reports: Vec<_> = reports.try_iter().map(|(_, report)| report).collect();
        assert_eq!(reports.len(), self.shards.len());
        let sum = |figure: fn(&ShardReport) -> u64| reports.iter().map(figure).sum::<u64>();
        let there = || self.clients.iter().filter(|client| !client.gone);
        let subscriptions = there().map(|client| {
            let all = client.subscriptions.values();
            // One more: its inbox.
            1 + all.filter(|it| it.ended_at.is_none()).count() as u64
        });
        let context = format!("RAMJET_SEED={}", self.seed);
        let connections = sum(|it| it.counters.connections);
        assert_eq!(connections, there().count() as u64, "{context}");
        let held = sum(|it| it.counters.subscriptions);
        assert_eq!(held, subscriptions.sum::<u64>(), "{context}");
    }

    /// A queue message finds no member where there was one, and is passed on to another shard: what
    /// is published later may come earlier. Not before anybody leaves, nor once all is at rest.
    fn may_take_a_detour(&self, seen: &Seen) -> bool {
        let first_leave = self.first_leave.as_ref();
        first_leave
            .is_some_and(|numbers| seen.number > numbers.get(seen.publisher).copied().unwrap_or(0))
            && !self.in_last_round(seen)
    }

    fn in_last_round(&self, seen: &Seen) -> bool {
        !self.clients[seen.publisher].gone
            && seen.number + SUBJECTS.len() as u64 > self.numbers[seen.publisher]
    }

    /// A plain subscription misses nothing between its confirmation and its end.
    fn check_complete(&self, client: &Client, subscription: &Subscription, context: &str) {
        let Some(from) = &subscription.confirmed_at else {
            return;
        };
        let seen: BTreeSet<Seen> = subscription.seen.iter().map(|(_, seen)| *seen).collect();
        for (message, subject) in &self.published {
            let matches = pattern_matches(subscription.pattern.as_bytes(), subject.as_bytes());
            let after = message.number > from.get(message.publisher).copied().unwrap_or(0);
            // Where it was given up the end is not sharp: what was under way may come or not.
            let stayed = subscription.ended_at.is_none();
            let publisher = &self.clients[message.publisher];
            let publisher_stayed = !publisher.gone && publisher.account == client.account;
            if matches && after && stayed && publisher_stayed {
                assert!(
                    seen.contains(message),
                    "{context}: lost {message:?} on {subject}"
                );
            }
        }
    }

    /// Was a member of the group, anywhere, confirmed before the message and never given up, and
    /// was there none that may have taken the message with it as it closed?
    fn has_steady_member(&self, queue: &str, seen: &Seen, subject: &str) -> bool {
        let mut steady = false;
        let account = self.clients[seen.publisher].account;
        for client in self.clients.iter().filter(|it| it.account == account) {
            for subscription in client.subscriptions.values() {
                let pattern = subscription.pattern.as_bytes();
                if subscription.queue.as_deref() != Some(queue)
                    || !pattern_matches(pattern, subject.as_bytes())
                {
                    continue;
                }
                if client.gone {
                    return false;
                }
                steady |= subscription.ended_at.is_none()
                    && subscription.confirmed_at.as_ref().is_some_and(|from| {
                        seen.number > from.get(seen.publisher).copied().unwrap_or(0)
                    });
            }
        }
        steady
    }

    /// A PONG after a publish, then a PONG at the subscriber: the message is there. So nothing may
    /// leave a shard before the batches that belong to it.
    fn check_flush(&self, client: &Client, sid: u64, flush: &Flush, context: &str) {
        let it = &client.subscriptions[&sid];
        let (Some(from), None) = (&it.confirmed_at, &it.ended_at) else {
            return;
        };
        let there = flush.seen.get(&sid).copied().unwrap_or(0);
        let seen: BTreeSet<Seen> = it.seen[..there].iter().map(|(_, seen)| *seen).collect();
        let confirmed = flush.confirmed.iter().enumerate();
        let same = |it: &(usize, _)| self.clients[it.0].account == client.account;
        for (publisher, &confirmed) in confirmed.filter(same) {
            let from = from.get(publisher).copied().unwrap_or(0);
            for number in from + 1..=confirmed {
                let message = Seen { publisher, number };
                let subject = self.published[&message];
                assert!(
                    seen.contains(&message)
                        || !pattern_matches(it.pattern.as_bytes(), subject.as_bytes()),
                    "{context}: {message:?} confirmed on both sides and not there"
                );
            }
        }
    }

    /// No queue group gets a message twice, none with a member that stays misses one; the last round, when all was at rest, reaches each
    /// group that has a member exactly once.
    fn check_queues(&self) {
        let mut taken: BTreeMap<(&str, Seen), usize> = BTreeMap::new();
        for client in &self.clients {
            for subscription in client.subscriptions.values() {
                let Some(queue) = &subscription.queue else {
                    continue;
                };
                for (_, seen) in &subscription.seen {
                    *taken.entry((queue, *seen)).or_default() += 1;
                }
            }
        }
        for ((queue, seen), times) in &taken {
            let context = format!("RAMJET_SEED={} queue {queue} {seen:?}", self.seed);
            assert_eq!(*times, 1, "{context}: once");
        }
        for (seen, subject) in &self.published {
            if self.clients[seen.publisher].gone {
                continue;
            }
            for queue in QUEUES {
                if self.has_steady_member(queue, seen, subject) {
                    let context = format!("RAMJET_SEED={} queue {queue} {seen:?}", self.seed);
                    assert!(taken.contains_key(&(queue, *seen)), "{context}: lost");
                }
                if !self.in_last_round(seen) {
                    continue;
                }
                let has_member = self
                    .clients
                    .iter()
                    .filter(|client| !client.gone)
                    .filter(|client| client.account == self.clients[seen.publisher].account)
                    .any(|client| {
                        client.subscriptions.values().any(|subscription| {
                            subscription.queue.as_deref() == Some(queue)
                                && subscription.ended_at.is_none()
                                && pattern_matches(
                                    subscription.pattern.as_bytes(),
                                    subject.as_bytes(),
                                )
                        })
                    });
                let got = taken.contains_key(&(queue, *seen));
                let context = format!("RAMJET_SEED={} queue {queue} {seen:?}", self.seed);
                assert_eq!(got, has_member, "{context} on {subject}");
            }
        }
    }
}
