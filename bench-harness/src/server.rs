//! One server process: started alike whatever its make, asked for its figures, stopped.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::dial::{Dial, Wire};
use crate::error::{BenchError, io_error};
use crate::monitoring;
use crate::setup::{Prepared, Setup, Side};
use crate::usage::Usage;
use crate::wire::{Connection, Scanner, read_buffer};

/// A start or stop slower than this is a failure (PROC-2, PROC-8 ask for less).
const START_STOP_MAX: Duration = Duration::from_secs(30);
/// Time for interest to cross a link.
const SETTLING: Duration = Duration::from_millis(300);
/// Lines of log shown when a server does not come up or dies.
const LOG_LINES_KEPT: usize = 20;

/// How an executable is told its number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// nats-server: `GOMAXPROCS` in the environment.
    Stock,
    /// Ramjet: `--shards`.
    Ramjet,
}

/// An executable to measure.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Column title, unique in a run.
    pub name: String,
    /// How it is started.
    pub make: Make,
    /// The executable.
    pub path: PathBuf,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    make: Make,
    path: PathBuf,
    address: SocketAddr,
    monitoring: SocketAddr,
    dial: Dial,
    /// Where those come who are not plain clients.
    door: SocketAddr,
    /// Where it is a leaf.
    hub: Option<Box<Server>>,
    log: Log,
    /// Its configuration and certificates, which go with it.
    _prepared: Prepared,
}

impl Server {
    /// Starts `candidate` as `setup` says, its hub before it where there is one.
    ///
    /// # Errors
    /// As [`Self::start_alone`]; [`BenchError::Start`] when they do not find each other.
    pub fn start(
        candidate: &Candidate,
        threads: usize,
        cpus: Option<&[usize]>,
        setup: &Setup,
    ) -> Result<Self, BenchError> {
        if !setup.hub {
            return Self::start_alone(candidate, threads, cpus, setup, Side::Alone);
        }
        let hub = Self::start_alone(candidate, threads, cpus, setup, Side::Hub)?;
        let side = Side::Leaf(hub.door);
        let mut leaf = Self::start_alone(candidate, threads, cpus, setup, side)?;
        if !joined(&leaf.dial, &hub.dial)? {
            return Err(leaf.failure("does not reach its hub".into()));
        }
        leaf.hub = Some(Box::new(hub));
        Ok(leaf)
    }

    /// Starts `candidate` as `setup` says with `threads` threads on a free port of 127.0.0.1, on
    /// `cpus` only where given, and returns once it greets a connection.
    ///
    /// # Errors
    /// [`BenchError::Start`] with the end of its log.
    fn start_alone(
        candidate: &Candidate,
        threads: usize,
        cpus: Option<&[usize]>,
        setup: &Setup,
        side: Side,
    ) -> Result<Self, BenchError> {
        let [address, monitoring, door] = free_addresses()?;
        let prepared = setup.prepare(side, door)?;
        let mut command = Command::new(&candidate.path);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
        command.args(["-m", &monitoring.port().to_string()]);
        command.arg("-c").arg(prepared.config());
        match candidate.make {
            Make::Stock => command.env("GOMAXPROCS", threads.to_string()),
            Make::Ramjet => command.args(["--shards", &threads.to_string()]),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = spawn_pinned(&mut command, cpus).map_err(|source| BenchError::Start {
            path: candidate.path.clone(),
            reason: source.to_string(),
            log: String::new(),
        })?;
        let log = Log::default();
        if let Some(stderr) = child.stderr.take() {
            log.follow(stderr);
        }
        let mut server = Self {
            child,
            make: candidate.make,
            path: candidate.path.clone(),
            address,
            monitoring,
            dial: match &setup.wire {
                Wire::WebSocket { .. } | Wire::Leaf => Dial::new(door, setup.wire.clone()),
                wire => Dial::new(address, wire.clone()),
            },
            door,
            hub: None,
            log,
            _prepared: prepared,
        };
        server.wait_until_greeting()?;
        Ok(server)
    }

    /// How clients of this run come to it.
    pub fn dial(&self) -> &Dial {
        &self.dial
    }

    /// The way without TLS or WebSocket, where the setup leaves it open.
    pub fn plain_dial(&self) -> Dial {
        Dial::new(self.address, Wire::Plain)
    }

    /// How clients come to the other end of its link; to itself where it has none.
    pub fn far_dial(&self) -> &Dial {
        self.hub.as_ref().map_or(&self.dial, |hub| &hub.dial)
    }

    /// Waits until a hub knows of subscriptions its leaf has confirmed: nothing tells when.
    pub fn settle(&self) {
        if self.hub.is_some() {
            thread::sleep(SETTLING);
        }
    }

    /// What it is.
    pub fn make(&self) -> Make {
        self.make
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Shard that serves connection `cid`; Ramjet only.
    ///
    /// # Errors
    /// [`BenchError::Monitoring`] when it does not say.
    pub fn shard_of(&self, cid: u64) -> Result<u64, BenchError> {
        let path = format!("/connz?shard=1&cid={cid}");
        let answer = monitoring::json(self.monitoring, &path)?;
        answer["connections"][0]["shard"]
            .as_u64()
            .ok_or_else(|| BenchError::Monitoring {
                path,
                reason: "no shard in the answer".into(),
            })
    }

    /// CPU and memory used so far, with its hub's.
    ///
    /// # Errors
    /// [`BenchError::Proc`] when it is gone.
    pub fn usage(&self) -> Result<Usage, BenchError> {
        let own = Usage::of(&self.child.id().to_string())?;
        let Some(hub) = self.hub_usage()? else {
            return Ok(own);
        };
        Ok(Usage {
            cpu_seconds: own.cpu_seconds + hub.cpu_seconds,
            rss_bytes: own.rss_bytes + hub.rss_bytes,
        })
    }

    /// CPU and memory its hub used so far, where it has one.
    ///
    /// # Errors
    /// As [`Self::usage`].
    pub fn hub_usage(&self) -> Result<Option<Usage>, BenchError> {
        self.hub.as_ref().map(|hub| hub.usage()).transpose()
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// [`BenchError::Start`] when it is still there after five seconds.
    pub fn stop(mut self) -> Result<(), BenchError> {
        if let Some(hub) = self.hub.take() {
            hub.stop()?;
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|errno| BenchError::Io {
            what: "stop the server",
            source: errno.into(),
        })?;
        let deadline = Instant::now() + START_STOP_MAX;
        while Instant::now() < deadline {
            if self
                .child
                .try_wait()
                .map_err(io_error("wait for the server"))?
                .is_some()
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(self.failure("does not end on SIGTERM".into()))
    }

    fn wait_until_greeting(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(io_error("wait for the server"))?
            {
                return Err(self.failure(format!("ended at its start with {status}")));
            }
            if greets(self.address) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(self.failure(format!("does not accept connections on {}", self.address)))
    }

    fn failure(&self, reason: String) -> BenchError {
        BenchError::Start {
            path: self.path.clone(),
            reason,
            log: self.log.to_string(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The calling thread, and every thread and process it starts, on some CPUs only; dropping it
/// frees the calling thread again.
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// To these.
    ///
    /// # Errors
    /// [`BenchError::Io`] when the kernel refuses.
    pub fn to(cpus: &[usize]) -> Result<Self, BenchError> {
        let refused = |errno: rustix::io::Errno| BenchError::Io {
            what: "pin to the CPUs given",
            source: errno.into(),
        };
        let before = sched_getaffinity(None).map_err(refused)?;
        let mut set = CpuSet::new();
        for &cpu in cpus {
            set.set(cpu);
        }
        sched_setaffinity(None, &set).map_err(refused)?;
        Ok(Self { before })
    }
}

/// The CPUs of this thread in two parts: all but the last, and the last; one alone is both.
///
/// # Errors
/// [`BenchError::Io`] when the kernel does not say.
pub fn split_cpus() -> Result<(Vec<usize>, Vec<usize>), BenchError> {
    let refused = |errno: rustix::io::Errno| BenchError::Io {
        what: "ask for the CPUs of a thread",
        source: errno.into(),
    };
    let set = sched_getaffinity(None).map_err(refused)?;
    let mut all: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect();
    let last = all.split_off(all.len().saturating_sub(1));
    let rest = if all.is_empty() { last.clone() } else { all };
    Ok((rest, last))
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// A child inherits the CPUs of the thread that starts it, so that no unsafe hook is needed.
fn spawn_pinned(command: &mut Command, cpus: Option<&[usize]>) -> io::Result<Child> {
    let pinned = cpus.map(Pinned::to).transpose();
    let _pinned = pinned.map_err(|error| io::Error::other(error.to_string()))?;
    command.spawn()
}

/// Held together until all are known, so that they differ.
fn free_addresses() -> Result<[SocketAddr; 3], BenchError> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(io_error("find a free port"));
    let all = [bind()?, bind()?, bind()?];
    let address =
        |listener: &TcpListener| listener.local_addr().map_err(io_error("find a free port"));
    Ok([address(&all[0])?, address(&all[1])?, address(&all[2])?])
}

/// Waits until what is published at a leaf comes to its hub.
fn joined(leaf: &Dial, hub: &Dial) -> Result<bool, BenchError> {
    let mut subscriber = Connection::open(hub, "subscriber", &["bench.joined"])?;
    let mut publisher = Connection::open(leaf, "publisher", &[])?;
    let mut scanner = Scanner::of_any_length("MSG bench.joined ");
    let mut buffer = read_buffer();
    let deadline = Instant::now() + START_STOP_MAX;
    while Instant::now() < deadline {
        publisher.write(b"PUB bench.joined 0\r\n\r\n")?;
        // Waits a while for a message.
        let found = subscriber.receive(&mut scanner, &mut buffer, |_| ())?;
        if found.messages > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut greeting = [0; 5];
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && greeting == *b"INFO "
}

/// The last lines a server logged.
#[derive(Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Reads to the end of `output` on a thread of its own: a full pipe would stop the server.
    fn follow(&self, output: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LOG_LINES_KEPT {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
