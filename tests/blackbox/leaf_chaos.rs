//! A link that is cut, held, slowed and left dangling, over and over, with ten thousand
//! subscriptions on either side and load on it: all interest is back within two seconds of the
//! link's return, each time. `make chaos` does it fifty times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::leaf_copies;
use crate::support::cable::Cable;
use crate::support::client::Client;
use crate::support::server::Server;

/// Subscriptions whose interest must be back, in each direction.
const SUBSCRIPTIONS: usize = 10_000;
/// Time for that.
const RETURN_MAX: Duration = Duration::from_secs(2);
/// More than pings take to find a half-open link, with `PINGS`.
const DETECTION_MAX: Duration = Duration::from_secs(10);
const PINGS: &str = "ping_interval: \"700ms\"\nping_max: 2\n";

/// A hub, a leaf of it, and the cable between them.
pub struct Rig {
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
    /// It is back, and so is all plain interest.
    fn after_return(&mut self, rig: &Rig);
}

const LISTENING: &str = "Listening for leafnode connections on ";

/// Where a server takes leaf nodes.
#[track_caller]
fn leaf_port(hub: &Server) -> SocketAddr {
    let line = hub.logged(LISTENING);
    let address = line.rsplit(LISTENING).next().expect("an address").trim();
    address.parse().expect("an address")
}

impl Rig {
    /// Links of both sides' `more` words of configuration.
    #[track_caller]
    pub fn new(hub_more: &str, leaf_more: &str) -> Self {
        let hub = format!("{PINGS}{hub_more}\nleafnodes {{ listen: \"127.0.0.1:-1\" }}");
        let hub = Server::with_config(&hub);
        let cable = Cable::to(leaf_port(&hub));
        let leaf = format!(
            "{PINGS}{leaf_more}\nleafnodes {{ reconnect: \"200ms\", remotes [
                {{ url: \"nats-leaf://{}\", ignore_discovered_servers: true }} ] }}",
            cable.address()
        );
        let leaf = Server::with_config(&leaf);
        Self { hub, leaf, cable }
    }

    /// Kills one of the two and starts it again.
    #[track_caller]
    pub fn crash(self, of_hub: bool) -> Self {
        let Self { hub, leaf, cable } = self;
        if !of_hub {
            let leaf = leaf.crash();
            return Self { hub, leaf, cable };
        }
        cable.cut();
        let hub = hub.crash();
        cable.lead_to(leaf_port(&hub));
        cable.mend();
        Self { hub, leaf, cable }
    }
}

/// Who subscribes to ten thousand subjects on one side, and is reached from the other.
struct Many {
    here: Client,
    there: Client,
    mark: u64,
}

impl Many {
    fn new(here: &Server, there: &Server) -> Self {
        let mut this = Self {
            here: here.client(),
            there: there.client(),
            mark: 0,
        };
        let all: String = (0..SUBSCRIPTIONS)
            .map(|number| format!("SUB many.{number} {number}\r\n"))
            .collect();
        this.here.quietly(all);
        this
    }

    /// Publishes to every subject once, and a mark behind it. How many arrived, or `None` if not
    /// even the mark did.
    fn reached(&mut self) -> Option<usize> {
        self.mark += 1;
        let text = format!("{}", self.mark);
        let mark = format!("MARK.{}", self.mark);
        // What an earlier round published may still come.
        self.here.ask(format!("SUB {mark}.* mark\r\n"));
        let mut reached = 0;
        let [first, last] = ["first", "last"].map(|it| format!("{mark}.{it}"));
        let mut marked = self.hears(&first, &text, &mut reached, Duration::from_millis(50));
        if marked {
            let mut batch = String::with_capacity(SUBSCRIPTIONS * 32);
            for number in 0..SUBSCRIPTIONS {
                batch.push_str(&format!("PUB many.{number} {}\r\n{text}\r\n", text.len()));
            }
            self.there.quietly(batch);
            // It goes the same way, behind all that.
            marked = self.hears(&last, &text, &mut reached, RETURN_MAX);
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
            *reached += lines.iter().filter(|line| **line == text).count();
        }
        marked
    }

    /// Answers the servers' pings.
    fn stay(&mut self) {
        self.here.ask("");
        self.there.ask("");
    }
}

/// Waits until every subject is reached in each direction; gives when the publishing that reached
/// the last of them began.
#[track_caller]
fn all_reached(sides: &mut [Many], limit: Duration) -> Instant {
    let deadline = Instant::now() + limit + RETURN_MAX;
    let mut last = Instant::now();
    let mut open: Vec<_> = (0..sides.len()).collect();
    while !open.is_empty() {
        open.retain(|&side| {
            let began = Instant::now();
            let reached = sides[side].reached();
            let all = reached == Some(SUBSCRIPTIONS);
            if all {
                last = last.max(began);
            }
            assert!(
                all || began < deadline,
                "side {side}: {reached:?} of {SUBSCRIPTIONS} subjects reached"
            );
            !all
        });
        sides.iter_mut().for_each(Many::stay);
    }
    last
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
            let batch = format!("PUB {subject} 100\r\n{}\r\n", "x".repeat(100)).repeat(100);
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
        Many::new(&rig.leaf, &rig.hub),
        Many::new(&rig.hub, &rig.leaf),
    ];
    all_reached(&mut sides, RETURN_MAX);
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
                let until = Instant::now() + DETECTION_MAX;
                while rig.cable.connected() == connected {
                    assert!(Instant::now() < until, "the leaf does not notice");
                    rest(&mut sides, Duration::from_millis(10));
                }
                "left dangling at the leaf"
            }
            2 => {
                rig.cable.hold();
                rest(&mut sides, Duration::from_millis(2500));
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
        let took = all_reached(&mut sides, RETURN_MAX).saturating_duration_since(mended);
        println!("break {number}, {way}: all interest back after {took:?}");
        assert!(took <= RETURN_MAX, "break {number}, {way}: {took:?}");
        for witness in &mut *witnesses {
            witness.after_return(rig);
        }
        assert!(load.heard() > heard, "the load goes on");
    }
    load.end();
}

#[test]
fn five_breaks() {
    let rig = leaf_copies::rig();
    let mut copies = leaf_copies::Copies::new(&rig);
    chaos(&rig, 5, &mut [&mut copies]);
    copies.end(&rig);
}

#[test]
#[ignore = "takes minutes: make chaos"]
fn fifty_breaks() {
    let rig = leaf_copies::rig();
    let mut copies = leaf_copies::Copies::new(&rig);
    chaos(&rig, 50, &mut [&mut copies]);
    copies.end(&rig);
}
