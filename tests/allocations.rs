//! In steady state a message costs no allocation: publish, 1:1, fan-out, and across shards.
//!
//! The cores are driven by hand, so that what is counted is theirs alone.

#![allow(unsafe_code)] // A global allocator is unsafe by its nature.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ramjet::accounts::registry::Accounts;
use ramjet::auth::authenticate::Authenticator;
use ramjet::ids::{ConnectionId, Listener, ShardId};
use ramjet::mesh::batch::Batch;
use ramjet::options::{
    AccountOptions, AuthOptions, ClientLimits, DestinationOptions, ExportOptions, ImportOptions,
    MappingOptions, Options, PermissionsOptions, Shared, SubjectPermission, UserOptions,
};
use ramjet::shard::core::Core;
use ramjet::shard::settings::Settings;
use ramjet::time::{Nanos, WallTime};

/// Counts what the thread that asks for it allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Turns before counting begins: buffers find their size, caches fill.
const WARM_UP: usize = 200;
const TURNS: usize = 1000;
const MESSAGES_PER_TURN: usize = 20;

/// Some cores, connected by hand.
#[expect(clippy::vec_box, reason = "batches travel as boxes")]
struct Shards {
    cores: Vec<Core>,
    spare: Vec<Box<Batch>>,
    now: u64,
    next_cid: u64,
    delivered: u64,
}

impl Shards {
    fn new(count: usize) -> Self {
        Self::with_users(count, &AuthOptions::default())
    }

    fn with_users(count: usize, users: &AuthOptions) -> Self {
        Self::with_accounts(count, users, Vec::new())
    }

    fn with_accounts(count: usize, users: &AuthOptions, accounts: Vec<AccountOptions>) -> Self {
        let options = Options {
            accounts,
            client: ClientLimits {
                ping_interval: Duration::from_secs(3600),
                ..ClientLimits::default()
            },
            ..Options::default()
        };
        let accounts = Arc::new(Accounts::new(&options).expect("accounts"));
        let authenticator = Authenticator::with_accounts(users, &accounts);
        let settings = Arc::new(Settings::of(
            &options,
            accounts,
            Arc::new(authenticator.expect("plain users")),
        ));
        let core = |at| Core::new(ShardId(at as u8), count, Arc::clone(&settings), [1; 32]);
        let cores = (0..count).map(core).collect();
        Self {
            cores,
            spare: Vec::new(),
            now: 0,
            next_cid: 0,
            delivered: 0,
        }
    }

    fn connect(&mut self, shard: usize, says: &str) -> u32 {
        let says = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{says}");
        self.open(shard, &says)
    }

    fn open(&mut self, shard: usize, says: &str) -> u32 {
        self.next_cid += 1;
        let address = ([127, 0, 0, 1], 4222).into();
        let cid = ConnectionId(self.next_cid);
        let connection = self.cores[shard].accept(cid, address, Listener::Client, false);
        self.cores[shard].receive(connection, says.as_bytes());
        for _ in 0..4 {
            self.turn();
        }
        connection
    }

    /// One turn of every shard, its output taken at once.
    fn turn(&mut self) {
        self.now += 1000;
        for shard in 0..self.cores.len() {
            self.cores[shard].set_time(Nanos(self.now), WallTime(self.now));
            self.cores[shard].tick();
            self.cores[shard].release_barriers();
            while self.cores[shard].run_ready() {}
            for other in (0..self.cores.len()).filter(|&other| other != shard) {
                let spare = &mut self.spare;
                let batch = self.cores[shard]
                    .take_batch(ShardId(other as u8), || spare.pop().unwrap_or_default());
                if let Some(mut batch) = batch {
                    self.cores[other].apply(ShardId(shard as u8), &batch, 0, u64::MAX);
                    batch.clear();
                    self.spare.push(batch);
                }
            }
            while let Some((connection, chunk)) = self.cores[shard].next_send() {
                self.delivered += chunk.len() as u64;
                self.cores[shard].sent(connection, chunk, true);
            }
        }
    }

    /// Allocations while `publisher` of shard 0 sends, after the warm-up.
    #[track_caller]
    fn check(&mut self, publisher: u32, subject: &str, receivers: u64) {
        let message = format!("PUB {subject} 128\r\n{}\r\n", "x".repeat(128));
        let bytes = message.repeat(MESSAGES_PER_TURN);
        let mut before = (0, 0);
        for turn in 0..WARM_UP + TURNS {
            if turn == WARM_UP {
                before = (ALLOCATIONS.with(Cell::get), self.delivered);
            }
            self.cores[0].receive(publisher, bytes.as_bytes());
            self.turn();
        }
        let allocations = ALLOCATIONS.with(Cell::get) - before.0;
        assert_eq!(
            allocations,
            0,
            "allocations for {} messages",
            TURNS * MESSAGES_PER_TURN
        );
        let messages = (TURNS * MESSAGES_PER_TURN) as u64;
        assert!(
            self.delivered - before.1 >= messages * receivers * 128,
            "messages were delivered"
        );
    }
}

#[test]
fn publishing_to_nobody_allocates_nothing() {
    let mut shards = Shards::new(1);
    let publisher = shards.connect(0, "");
    shards.check(publisher, "a.b", 0);
}

#[test]
fn one_to_one_allocates_nothing() {
    let mut shards = Shards::new(1);
    shards.connect(0, "SUB a.* 1\r\n");
    let publisher = shards.connect(0, "");
    shards.check(publisher, "a.b", 1);
}

#[test]
fn fan_out_and_queue_groups_allocate_nothing() {
    let mut shards = Shards::new(1);
    for sid in 0..10 {
        shards.connect(0, &format!("SUB a.> {sid}\r\nSUB a.b group 1{sid}\r\n"));
    }
    let publisher = shards.connect(0, "");
    shards.check(publisher, "a.b", 11);
}

#[test]
fn crossing_to_another_shard_allocates_nothing() {
    let mut shards = Shards::new(2);
    shards.connect(1, "SUB a.b 1\r\nSUB a.b group 2\r\n");
    let publisher = shards.connect(0, "");
    shards.check(publisher, "a.b", 2);
}

/// Requests of a client that wants to hear of missing responders; sends `PUB subject inbox`.
#[track_caller]
fn check_requests(shards: &mut Shards, requester: u32, subject: &str, bytes_each: u64) {
    let bytes = format!("PUB {subject} inbox 4\r\nping\r\n").repeat(MESSAGES_PER_TURN);
    let mut before = (0, 0);
    for turn in 0..WARM_UP + TURNS {
        if turn == WARM_UP {
            before = (ALLOCATIONS.with(Cell::get), shards.delivered);
        }
        shards.cores[0].receive(requester, bytes.as_bytes());
        shards.turn();
    }
    shards.turn();
    let requests = (TURNS * MESSAGES_PER_TURN) as u64;
    assert_eq!(
        ALLOCATIONS.with(Cell::get) - before.0,
        0,
        "{requests} requests"
    );
    assert!(shards.delivered - before.1 >= requests * bytes_each);
}

const REQUESTER: &str =
    "CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\nSUB inbox 1\r\n";

#[test]
fn requests_to_other_shards_allocate_nothing() {
    let mut shards = Shards::new(3);
    shards.connect(1, "SUB svc 1\r\n");
    shards.connect(2, "SUB svc 1\r\n");
    let requester = shards.open(0, REQUESTER);
    let received = "MSG svc 1 inbox 4\r\nping\r\n".len() as u64;
    check_requests(&mut shards, requester, "svc", 2 * received);
}

#[test]
fn requests_that_other_shards_cannot_deliver_allocate_nothing() {
    let user = |name: &str, permissions| UserOptions {
        username: name.into(),
        password: "p".into(),
        permissions,
        ..Default::default()
    };
    let deny = PermissionsOptions {
        subscribe: Some(SubjectPermission {
            allow: None,
            deny: vec!["svc.no".into()],
        }),
        ..Default::default()
    };
    let users = AuthOptions {
        users: vec![user("deaf", Some(deny)), user("open", None)],
        no_auth_user: Some("open".into()),
        timeout: Duration::from_secs(2),
        ..Default::default()
    };
    let mut shards = Shards::with_users(3, &users);
    for shard in [1, 2] {
        shards.open(
            shard,
            "CONNECT {\"user\":\"deaf\",\"pass\":\"p\",\"verbose\":false}\r\nSUB svc.* 1\r\n",
        );
    }
    let requester = shards.open(0, REQUESTER);
    let answer = "HMSG inbox 1 38 38\r\n".len() as u64 + 38 + 2;
    check_requests(&mut shards, requester, "svc.no", answer);
}

/// `E` exports a stream, a service and a mapping of its own; `I` imports both.
fn importing_shards(count: usize) -> Shards {
    let user = |name: &str, account: &str| UserOptions {
        username: name.into(),
        account: account.into(),
        ..Default::default()
    };
    let users = AuthOptions {
        users: vec![user("e", "E"), user("i", "I")],
        ..Default::default()
    };
    let export = |shared, subject: &str| ExportOptions {
        shared,
        subject: subject.into(),
        ..Default::default()
    };
    let import = |shared, subject: &str, to: &str| ImportOptions {
        shared,
        account: "E".into(),
        subject: subject.into(),
        to: to.into(),
        ..Default::default()
    };
    let accounts = vec![
        AccountOptions {
            name: "E".into(),
            exports: vec![
                export(Shared::Stream, "s.>"),
                export(Shared::Service, "q.*"),
            ],
            mappings: vec![MappingOptions {
                source: "m.*".into(),
                destinations: vec![DestinationOptions {
                    subject: "n.{{wildcard(1)}}.{{partition(9,1)}}".into(),
                    weight: 100,
                    cluster: None,
                }],
            }],
            ..Default::default()
        },
        AccountOptions {
            name: "I".into(),
            imports: vec![
                import(Shared::Stream, "s.>", "local.>"),
                import(Shared::Service, "q.*", "ask.$1"),
            ],
            ..Default::default()
        },
    ];
    Shards::with_accounts(count, &users, accounts)
}

fn login(name: &str, says: &str) -> String {
    format!(
        "CONNECT {{\"user\":\"{name}\",\"pass\":\"\",\"verbose\":false,\"headers\":true}}\r\n{says}"
    )
}

#[test]
fn imported_streams_allocate_nothing() {
    for shards in [1, 2] {
        let mut shards = importing_shards(shards);
        let importer = shards.cores.len() - 1;
        shards.open(importer, &login("i", "SUB local.a 1\r\nSUB local.> 2\r\n"));
        let publisher = shards.open(0, &login("e", ""));
        shards.check(publisher, "s.a", 2);
    }
}

#[test]
fn requests_to_other_accounts_allocate_nothing() {
    for shards in [1, 2] {
        let mut shards = importing_shards(shards);
        let service = shards.cores.len() - 1;
        shards.open(service, &login("e", "SUB q.a 1\r\n"));
        let requester = shards.open(0, &login("i", ""));
        shards.check(requester, "ask.a", 1);
    }
}

#[test]
fn mapped_messages_allocate_nothing() {
    let mut shards = importing_shards(1);
    shards.open(0, &login("e", "SUB n.a.* 1\r\n"));
    let publisher = shards.open(0, &login("e", ""));
    shards.check(publisher, "m.a", 1);
}
