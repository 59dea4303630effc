//! A link that is cut, held, slowed and left dangling, over and over, with thousands of subscriptions
//! on either side and load on it: all interest is back soon after the link's return, each time.
//! `make chaos` does it fifty times with ten thousand, and soon is within two seconds there; elsewhere
//! the machine may be busy with other things.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::leaf_copies;
use crate::support::cable::Cable;
use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::tls::Authority;
use crate::support::{PATIENCE, wait_until};

/// Subjects that are published to before somebody looks what came.
const PIECE: usize = 500;

/// How long things may take.
pub struct Pace {
    /// Between the servers' pings.
    ping_interval: Duration,
    /// Pings that may be unanswered.
    ping_max: u32,
    /// From the link's return to the return of all interest, and of copies.
    pub return_max: Duration,
    /// Subscriptions whose interest must be back, in each direction.
    subscriptions: usize,
    /// Messages of the load at once, each way.
    load: usize,
}

/// A machine of one's own.
pub const STRICT: Pace = Pace {
    ping_interval: Duration::from_millis(700),
    ping_max: 2,
    return_max: Duration::from_secs(2),
    subscriptions: 10_000,
    load: 100,
};

/// One that others keep busy: these clients, too, must answer pings.
pub const PATIENT: Pace = Pace {
    ping_interval: Duration::from_secs(2),
    ping_max: 4,
    return_max: Duration::from_secs(90),
    subscriptions: 2_000,
    load: 10,
};

impl Pace {
    /// By when both ends of a half-open link have found out.
    fn detected(&self) -> Duration {
        self.ping_interval * (self.ping_max + 1) + Duration::from_millis(400)
    }
}

/// What a link goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing but TCP.
    Tcp,
    /// TLS behind the first INFO.
    Tls,
    /// WebSocket within TLS.
    WebSocket,
}

impl Over {
    /// Where a server takes such links.
    #[track_caller]
    fn port(self, hub: &Server) -> SocketAddr {
        if self == Self::WebSocket {
            return hub.websocket_address();
        }
        let line = hub.logged(LISTENING);
        let address = line.rsplit(LISTENING).next().expect("an address").trim();
        address.parse().expect("an address")
    }
}

/// A hub, a leaf of it, and the cable between them.
pub struct Rig {
    over: Over,
    /// Keeps the files of certificates.
    _authority: Authority,
    /// What is expected of them.
    pub pace: Pace,
    /// The hub.
    pub hub: Server,
    /// The leaf.
    pub leaf: Server,
    /// From the leaf to the hub.
    pub cable: Cable,
}

/// Somebody with a stake in the link, besides those with plain subscriptions.
pub trait Witness {
    /// The link is about to break.
    fn before_break(&mut self, rig: &Rig);
    /// It is back, and so is all plain interest. Whoever waits calls `stay` meanwhile.
    fn after_return(&mut self, rig: &Rig, stay: &mut dyn FnMut());
}

const LISTENING: &str = "Listening for leafnode connections on ";

impl Rig {
    /// Links of both sides' `more` words of configuration.
    #[track_caller]
    pub fn new(pace: Pace, over: Over, hub_more: &str, leaf_more: &str) -> Self {
        let (interval, max) = (pace.ping_interval, pace.ping_max);
        let pings = format!("ping_interval: \"{interval:?}\"\nping_max: {max}\n");
        let authority = Authority::new();
        let pair = authority.server().config();
        let server_tls = format!("tls {{ {pair}, timeout: 10 }}");
        let leaf_tls = format!("tls {{ ca_file: {:?}, timeout: 10 }}", authority.ca());
        let listen = "listen: \"127.0.0.1:-1\"";
        let (hub, scheme, remote) = match over {
            Over::Tcp => (
                format!("leafnodes {{ {listen} }}"),
                "nats-leaf",
                String::new(),
            ),
            Over::Tls => (
                format!("leafnodes {{ {listen}, {server_tls} }}"),
                "tls",
                leaf_tls,
            ),
            Over::WebSocket => (
                format!("leafnodes {{ {listen} }}\nwebsocket {{ {listen}, {server_tls} }}"),
                "wss",
                leaf_tls,
            ),
        };
        let hub = Server::with_config(&format!("{pings}{hub_more}\n{hub}"));
        let cable = Cable::to(over.port(&hub));
        let leaf = format!(
            "{pings}{leaf_more}\nleafnodes {{ reconnect: \"200ms\", remotes [
                {{ url: \"{scheme}://{}\", ignore_discovered_servers: true, {remote} }} ] }}",
            cable.address()
        );
        let leaf = Server::with_config(&leaf);
        Self {
            over,
            _authority: authority,
            pace,
            hub,
            leaf,
            cable,
        }
    }

    /// Kills one of the two and starts it again.
    #[track_caller]
    pub fn crash(mut self, of_hub: bool) -> Self {
        if of_hub {
            self.cable.cut();
            self.hub = self.hub.crash();
            self.cable.lead_to(self.over.port(&self.hub));
            self.cable.mend();
        } else {
            self.leaf = self.leaf.crash();
        }
        self
    }
}

/// Who subscribes to thousands of subjects on one side, and is reached from the other.
struct Many {
    /// Subjects of its own: what the other direction publishes counts for nothing here.
    name: &'static str,
    subscriptions: usize,
    here: Client,
    there: Client,
    mark: u64,
}

impl Many {
    fn new(name: &'static str, subscriptions: usize, here: &Server, there: &Server) -> Self {
        let mut this = Self {
            name,
            subscriptions,
            here: here.client(),
            there: there.client(),
            mark: 0,
        };
        let all: String = (0..subscriptions)
            .map(|number| format!("SUB {name}.{number} {number}\r\n"))
            .collect();
        this.here.quietly(all);
        this
    }

    /// Publishes to every subject once, and a mark behind it. How many arrived, or `None` if not
    /// even the mark did by then.
    fn reached(&mut self, patience: Duration) -> Option<usize> {
        self.mark += 1;
        let text = format!("{}", self.mark);
        let name = self.name;
        let mark = format!("MARK.{name}.{}", self.mark);
        // What an earlier round published may still come.
        self.here.ask(format!("SUB {mark}.* mark\r\n"));
        let mut reached = 0;
        let [first, last] = ["first", "last"].map(|it| format!("{mark}.{it}"));
        let mut marked = self.hears(&first, &text, &mut reached, Duration::from_millis(50));
        if marked {
            for begin in (0..self.subscriptions).step_by(PIECE) {
                let piece: String = (begin..begin + PIECE)
                    .map(|number| format!("PUB {name}.{number} {}\r\n{text}\r\n", text.len()))
                    .collect();
                self.there.quietly(piece);
                reached += count(&self.here.ask(""), &text);
            }
            // It goes the same way, behind all that.
            marked = self.hears(&last, &text, &mut reached, patience);
        }
        self.here.ask("UNSUB mark\r\n");
        marked.then_some(reached)
    }

    /// Publishes the mark until it is heard, for some time. Counts messages of this round.
    fn hears(&mut self, mark: &str, text: &str, reached: &mut usize, time: Duration) -> bool {
        let until = Instant::now() + time;
        let heard = format!("MSG {mark} ");
        let mut marked = false;
        while !marked && Instant::now() < until {
            self.there.quietly(format!("PUB {mark} 0\r\n\r\n"));
            let lines = self.here.ask("");
            marked = lines.iter().any(|line| line.starts_with(&heard));
            *reached += count(&lines, text);
        }
        marked
    }

    /// Answers the servers' pings.
    fn stay(&mut self) {
        self.here.ask("");
        self.there.ask("");
    }
}

/// How often this stands there.
fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| *line == text).count()
}

/// Waits until every subject is reached in each direction, both at the same time; gives when the
/// publishing that reached the last of them began.
#[track_caller]
fn all_reached(sides: &mut [Many], limit: Duration) -> Instant {
    let deadline = Instant::now() + limit;
    let open = AtomicU64::new(sides.len() as u64);
    let reach = |side: &mut Many| loop {
        let began = Instant::now();
        let reached = side.reached(limit);
        let all = reached == Some(side.subscriptions);
        if all || began > deadline {
            open.fetch_sub(1, Ordering::Relaxed);
            // Whoever is done answers pings until the other is.
            while open.load(Ordering::Relaxed) > 0 {
                side.stay();
                thread::sleep(Duration::from_millis(5));
            }
            assert!(all, "{reached:?} of {} subjects", side.subscriptions);
            return began;
        }
    };
    thread::scope(|scope| {
        let reach = &reach;
        let threads: Vec<_> = sides
            .iter_mut()
            .map(|side| scope.spawn(move || reach(side)))
            .collect();
        let began = threads.into_iter().map(|it| it.join().expect("reached"));
        began.max().unwrap_or_else(Instant::now)
    })
}

/// Lets time pass.
fn rest(sides: &mut [Many], time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        sides.iter_mut().for_each(Many::stay);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Messages that cross the link all the time, both ways.
struct Load {
    over: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn new(rig: &Rig) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for (from, to) in [(&rig.hub, &rig.leaf), (&rig.leaf, &rig.hub)] {
            let (mut from, mut to) = (from.client(), to.client());
            let subject = format!("load.{}", threads.len());
            to.quietly(format!("SUB {subject} 1\r\n"));
            let [ended, listening] = [Arc::clone(&over), Arc::clone(&over)];
            let batch =
                format!("PUB {subject} 100\r\n{}\r\n", "x".repeat(100)).repeat(rig.pace.load);
            threads.push(thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    from.ask(&batch);
                    thread::sleep(Duration::from_millis(5));
                }
            }));
            let heard = Arc::clone(&heard);
            threads.push(thread::spawn(move || {
                while !listening.load(Ordering::Relaxed) {
                    let lines = to.ask("");
                    heard.fetch_add(lines.len() as u64 / 2, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            }));
        }
        Self {
            over,
            heard,
            threads,
        }
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the load runs to its end");
        }
    }
}

/// Breaks the link so many times, in all ways.
pub fn chaos(rig: &Rig, breaks: usize, witnesses: &mut [&mut dyn Witness]) {
    assert_eq!(breaks % 5, 0, "all ways, as often as each other");
    let mut sides = [
        Many::new("down", rig.pace.subscriptions, &rig.leaf, &rig.hub),
        Many::new("up", rig.pace.subscriptions, &rig.hub, &rig.leaf),
    ];
    all_reached(&mut sides, PATIENT.return_max);
    let load = Load::new(rig);
    for number in 0..breaks {
        for witness in &mut *witnesses {
            witness.before_break(rig);
        }
        let heard = load.heard();
        let connected = rig.cable.connected();
        let way = match number % 5 {
            0 => {
                rig.cable.cut();
                rest(&mut sides, Duration::from_millis(300));
                "cut"
            }
            1 => {
                rig.cable.dangle_near();
                // Whoever was left finds out by pings.
                let until = Instant::now() + PATIENCE;
                while rig.cable.connected() == connected {
                    assert!(Instant::now() < until, "the leaf does not notice");
                    rest(&mut sides, Duration::from_millis(10));
                }
                "left dangling at the leaf"
            }
            2 => {
                rig.cable.hold();
                rest(&mut sides, rig.pace.detected());
                rig.cable.cut();
                "held until both ends gave up"
            }
            3 => {
                rig.cable.dangle_far();
                "left dangling at the hub"
            }
            _ => {
                rig.cable.slow(Duration::from_millis(20));
                rest(&mut sides, Duration::from_millis(200));
                rig.cable.cut();
                rest(&mut sides, Duration::from_millis(50));
                "slowed, then cut"
            }
        };
        rig.cable.mend();
        let mended = Instant::now();
        let limit = rig.pace.return_max;
        let took = all_reached(&mut sides, 2 * limit).saturating_duration_since(mended);
        println!("break {number}, {way}: all interest back after {took:?}");
        assert!(took <= limit, "break {number}, {way}: {took:?}");
        for witness in &mut *witnesses {
            witness.after_return(rig, &mut || sides.iter_mut().for_each(Many::stay));
        }
        wait_until("the load to go on", || {
            sides.iter_mut().for_each(Many::stay);
            (load.heard() > heard).then_some(())
        });
    }
    load.end();
}

/// Breaks a link between servers with streams, and looks at these.
fn breaks(number: usize, pace: Pace, over: Over) {
    let rig = leaf_copies::rig(pace, over, "");
    let mut copies = leaf_copies::Copies::new(&rig);
    chaos(&rig, number, &mut [&mut copies]);
    copies.end(&rig);
}

#[test]
fn five_breaks() {
    breaks(5, PATIENT, Over::Tcp);
}

/// Strict, or as much more patient as `make chaos RETURN=seconds` says.
fn asked_for() -> Pace {
    let seconds = std::env::var("RAMJET_CHAOS_RETURN").ok();
    match seconds.and_then(|it| it.parse().ok()) {
        Some(seconds @ 3..) => Pace {
            return_max: Duration::from_secs(seconds),
            subscriptions: STRICT.subscriptions,
            ..PATIENT
        },
        _ => STRICT,
    }
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn fifty_breaks() {
    breaks(50, asked_for(), Over::Tcp);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn fifty_breaks_over_tls() {
    breaks(50, asked_for(), Over::Tls);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn fifty_breaks_over_websocket() {
    breaks(50, asked_for(), Over::WebSocket);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn ten_restarts_of_the_hub() {
    leaf_copies::restarts(10, asked_for());
}
