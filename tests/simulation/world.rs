//! A few shards, a few clients, and what must be true at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ramjet::auth::authenticate::{Authenticator, PasswordCheck};
use ramjet::ids::{ConnectionId, Listener, ShardId, Slot};
use ramjet::options::{AuthOptions, ClientLimits};
use ramjet::protocol::info::ServerInfo;
use ramjet::routing::subject::pattern_matches;
use ramjet::shard::control::{Control, Post};
use ramjet::shard::core::Core;
use ramjet::shard::settings::Settings;
use ramjet::shard::turn::Shard;
use ramjet::shard::verify::Verifier;
use ramjet::shard::wiring;

use crate::client::{Client, Seen};
use crate::network::{Chance, Clock, SOCKETS, SimDriver};

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
    clients: Vec<Client>,
    /// Messages published so far, by publisher.
    numbers: Vec<u64>,
    /// What was published: subject by publisher and number.
    published: BTreeMap<Seen, &'static str>,
    next_sid: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let clock = Rc::new(RefCell::new(Clock {
            now: 0,
            chance: Chance::new(seed ^ 0xface),
        }));
        let settings = Arc::new(Settings {
            limits: ClientLimits {
                ping_interval: Duration::from_secs(3600),
                ..Default::default()
            },
            info: Arc::new(ServerInfo::default()),
            authenticator: Arc::new(Authenticator::new(&AuthOptions::default()).expect("open")),
            auth_timeout: Duration::from_secs(2),
            transports: Arc::default(),
            feature_flags: BTreeMap::new(),
            debug: false,
            trace: false,
            trace_headers: false,
            max_traced_msg_len: 0,
        });
        let count = 1 + chance.below(4);
        let (posts, parts) =
            wiring::wire(count, Some(1000), Arc::new(NoPasswords)).expect("descriptors");
        let shards = parts.into_iter().enumerate().map(|(at, parts)| {
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
            clients: Vec::new(),
            numbers: Vec::new(),
            published: BTreeMap::new(),
            next_sid: 1,
        };
        for _ in 0..2 + world.chance.below(6) {
            world.join();
        }
        world
    }

    /// A new client on a random shard.
    fn join(&mut self) {
        let wire = crate::network::SimSocket::default();
        let socket = SOCKETS.with(|sockets| {
            sockets.borrow_mut().push(Rc::clone(&wire));
            sockets.borrow().len() - 1
        });
        self.numbers.push(0);
        self.clients.push(Client::new(wire));
        let shard = self.chance.below(self.shards.len());
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

    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.act();
            // Some shards run often, some rarely: queues between them fill.
            for _ in 0..self.chance.below(3) {
                let shard = self.chance.below(self.shards.len());
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
        match self.chance.below(100) {
            0 => self.clients[client].close(),
            1 if self.clients.len() < 12 => self.join(),
            2..12 => {
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
                    self.clients[client].unsubscribe(sid, &numbers);
                }
            }
            18..20 => self.clients[client].ping(),
            _ => {
                let subject = SUBJECTS[self.chance.below(SUBJECTS.len())];
                let padding = if self.chance.one_in(20) {
                    6000
                } else {
                    self.chance.below(100)
                };
                self.publish(client, subject, padding);
            }
        }
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
        self.clients[client].publish(subject, seen, padding);
    }

    fn listen(&mut self) {
        let numbers = self.numbers.clone();
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            client.listen(&numbers);
        }
    }

    /// Runs until nothing moves any more.
    fn settle(&mut self) {
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            client.ping();
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

    pub fn check(&self) {
        for (at, client) in self.clients.iter().enumerate() {
            for (sid, subscription) in &client.subscriptions {
                let context = format!("RAMJET_SEED={} client {at} sid {sid}", self.seed);
                let pattern = subscription.pattern.as_bytes();
                let mut last: BTreeMap<usize, u64> = BTreeMap::new();
                for (subject, seen) in &subscription.seen {
                    let said = self.published.get(seen).copied();
                    assert_eq!(said, Some(subject.as_str()), "{context}: right subject");
                    assert!(
                        pattern_matches(pattern, subject.as_bytes()),
                        "{context}: matches"
                    );
                    let before = last.insert(seen.publisher, seen.number).unwrap_or(0);
                    assert!(
                        before < seen.number,
                        "{context}: in order, none twice: {seen:?}"
                    );
                }
                if subscription.queue.is_none() && !client.gone {
                    self.check_complete(subscription, &context);
                }
            }
        }
        self.check_queues();
    }

    /// A plain subscription misses nothing between its confirmation and its end.
    fn check_complete(&self, subscription: &crate::client::Subscription, context: &str) {
        let Some(from) = &subscription.confirmed_at else {
            return;
        };
        let seen: BTreeSet<Seen> = subscription.seen.iter().map(|(_, seen)| *seen).collect();
        for (message, subject) in &self.published {
            let matches = pattern_matches(subscription.pattern.as_bytes(), subject.as_bytes());
            let after = message.number > from.get(message.publisher).copied().unwrap_or(0);
            // Where it was given up the end is not sharp: what was under way may come or not.
            let stayed = subscription.ended_at.is_none();
            let publisher_stayed = !self.clients[message.publisher].gone;
            if matches && after && stayed && publisher_stayed {
                assert!(
                    seen.contains(message),
                    "{context}: lost {message:?} on {subject}"
                );
            }
        }
    }

    /// No queue group gets a message twice; the last round, when all was at rest, reaches each
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
            let last_round = seen.number + SUBJECTS.len() as u64 > self.numbers[seen.publisher];
            if self.clients[seen.publisher].gone || !last_round {
                continue;
            }
            for queue in QUEUES {
                let has_member = self
                    .clients
                    .iter()
                    .filter(|client| !client.gone)
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
