//! Hostile clients in numbers: `make hostile` runs this against the optimised executable, a minute
//! in all. The same attacks, smaller, are in `hostile.rs` and run in `make test`.
//!
//! What is measured is printed: descriptors, memory, and the round trips of two neighbours before
//! and during the attack. Only what no load on the machine excuses is asserted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::{PATIENCE, wait_until};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections of an attack, where descriptors allow.
const ATTACKERS: usize = 50_000;
/// Readers that do not read.
const READERS: usize = 10_000;
/// Descriptors left for everything else, in the server and here.
const SPARE: u64 = 500;
/// Connections from one source address: below the number of its ephemeral ports.
const PER_ADDRESS: usize = 10_000;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Raises the limit of descriptors, which the server inherits, and gives how many may attack.
fn attackers(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the hard limit may be used");
    let allowed = limit
        .maximum
        .map_or(u64::MAX, |max| max.saturating_sub(SPARE));
    wanted.min(usize::try_from(allowed).unwrap_or(wanted))
}

/// A connection from the loopback address that belongs to its number.
fn connect(to: SocketAddr, number: usize, receive_buffer: Option<usize>) -> TcpStream {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("receive buffer");
    }
    let from = Ipv4Addr::new(127, 0, 1, 1 + (number / PER_ADDRESS) as u8);
    net::bind(&socket, &SocketAddrV4::new(from, 0)).expect("a port");
    net::connect(&socket, &to).expect("the server accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

/// Two clients that ask and answer each other, and measure how long it takes.
struct Neighbours {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Neighbours {
    fn start(mut requester: Client, mut responder: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            requester.quietly("SUB answer 1\r\n");
            responder.quietly("SUB question 1\r\n");
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                requester.send("PUB question answer 5\r\nhello\r\n");
                responder.expect(&["MSG question 1 answer 5", "hello"]);
                responder.send("PUB answer 5\r\nworld\r\n");
                requester.expect(&["MSG answer 1 5", "world"]);
                times.push(start.elapsed());
                // A thousand a second: what is measured is waiting, not throughput.
                std::thread::sleep(Duration::from_millis(1));
            }
            times.sort_unstable();
            times
        });
        Self { stop, thread }
    }

    fn stop(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let times = self.thread.join().expect("the neighbours are served");
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
        let (count, p50, p99, worst) = (times.len(), at(0.5), at(0.99), at(1.0));
        println!(
            "  neighbours {what}: {count} round trips, p50 {p50} us, p99 {p99} us, longest {worst} us"
        );
    }
}

fn rest(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// H3: half-open logins by the ten thousand, that drip on.
#[test]
#[ignore = "takes most descriptors and a minute: make hostile"]
fn h3_half_open_connections_are_cheap_and_end_in_time() {
    let count = attackers(ATTACKERS);
    let server = Server::builder()
        .config("authorization { token: t, timeout: 15 }")
        .flags("-m -1")
        .start();
    let good = || server.client_with("{\"auth_token\":\"t\"}");
    println!("H3: {count} connections of {ATTACKERS}");
    let calm = Neighbours::start(good(), good());
    rest(5);
    calm.stop("before");

    let memory = server.resident_size();
    let beside = Neighbours::start(good(), good());
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let mut stream = connect(server.address(), number, None);
        stream
            .write_all(b"CONNECT {\"auth_tok")
            .expect("it is read");
        slow.push(stream);
    }
    println!("  connected in {:?}", start.elapsed());
    beside.stop("while they connect");
    let beside = Neighbours::start(good(), good());
    for stream in &mut slow {
        // Gone already where connecting took longer than the timeout.
        let _ = stream.write_all(b"e");
    }
    let each = server.resident_size().saturating_sub(memory) / count as u64;
    println!("  {each} bytes of memory each");
    let limit = if beyond_stock() { 4 * KIB } else { 64 * KIB };
    assert!(each <= limit, "{each} bytes each");
    let mut ended = 0;
    let mut text = Vec::new();
    for stream in &mut slow {
        text.clear();
        // A reset is an end as well: bytes of ours may have crossed with the close.
        let _ = stream.read_to_end(&mut text);
        ended += usize::from(text.ends_with(b"-ERR 'Authentication Timeout'\r\n"));
    }
    let took = start.elapsed();
    beside.stop("while they drip and end");
    println!("  {ended} of {count} were told, the last {took:?} after the first connected");
    assert_eq!(ended, count, "told and closed");
    drop(slow);
    wait_until("the connections to be gone", || {
        (server.json("/varz")["connections"] == 0).then_some(())
    });
}

/// H9: readers by the ten thousand that do not read.
#[test]
#[ignore = "takes most descriptors and a minute: make hostile"]
fn h9_readers_with_closed_windows_are_bounded() {
    const MAX_PENDING: u64 = 128 * KIB;
    let count = attackers(READERS);
    let server = Server::builder()
        .config("max_pending: 128KB\nmax_payload: 64KB")
        .flags("-m -1")
        .start();
    println!("H9: {count} readers of {READERS}");
    let calm = Neighbours::start(server.client(), server.client());
    rest(5);
    calm.stop("before");

    let mut readers = Vec::new();
    for number in 0..count {
        let mut stream = connect(server.address(), number, Some(4096));
        let hello = b"CONNECT {\"verbose\":false}\r\nSUB flood 1\r\nPING\r\n";
        stream.write_all(hello).expect("it is read");
        readers.push(stream);
    }
    for stream in &mut readers {
        let mut text = Vec::new();
        while !text.ends_with(b"PONG\r\n") {
            let mut chunk = [0; 2048];
            let len = stream.read(&mut chunk).expect("INFO and PONG");
            assert!(len > 0, "closed: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&chunk[..len]);
        }
    }
    let memory = server.resident_size();
    let idle = Neighbours::start(server.client(), server.client());
    rest(4);
    idle.stop("beside idle readers");

    let beside = Neighbours::start(server.client(), server.client());
    let mut publisher = server.client();
    let start = Instant::now();
    let mut highest = 0;
    let mut sent = 0;
    let slow = || {
        server.json("/varz")["slow_consumers"]
            .as_u64()
            .expect("a number")
    };
    while slow() < count as u64 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} closed",
            slow()
        );
        let size = [1000, 8000][sent % 2];
        publisher.send(format!("PUB flood {size}\r\n{}\r\n", "x".repeat(size)));
        publisher.quietly("");
        sent += 1;
        highest = highest.max(server.resident_size().saturating_sub(memory));
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = start.elapsed();
    beside.stop("while the readers fill and are closed");
    println!(
        "  {sent} messages to each, all closed after {took:?}, {} MiB more memory at most",
        highest / MIB
    );
    // Each may hold its max_pending and a write in flight.
    assert!(highest < count as u64 * 2 * MAX_PENDING, "{highest}");
    let after = Neighbours::start(server.client(), server.client());
    rest(4);
    after.stop("after");
}
