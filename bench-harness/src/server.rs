//! One server process: started alike whatever its make, its CPU and memory read, stopped.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{BenchError, io_error};

/// A start or stop slower than this is a failure (PROC-2, PROC-8 ask for less).
const START_STOP_MAX: Duration = Duration::from_secs(5);
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
    path: PathBuf,
    address: SocketAddr,
    log: Log,
}

impl Server {
    /// Starts `candidate` with `threads` threads on a free port of 127.0.0.1, on `cpus` only where
    /// given, and returns once it greets a connection.
    ///
    /// # Errors
    /// [`BenchError::Start`] with the end of its log.
    pub fn start(
        candidate: &Candidate,
        threads: usize,
        cpus: Option<&[usize]>,
    ) -> Result<Self, BenchError> {
        let address = free_address()?;
        let mut command = Command::new(&candidate.path);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
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
            path: candidate.path.clone(),
            address,
            log,
        };
        server.wait_until_greeting()?;
        Ok(server)
    }

    /// Where it accepts connections.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU and memory used so far.
    ///
    /// # Errors
    /// [`BenchError::Proc`] when it is gone.
    pub fn usage(&self) -> Result<Usage, BenchError> {
        Usage::of(&self.child.id().to_string())
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// [`BenchError::Start`] when it is still there after five seconds.
    pub fn stop(mut self) -> Result<(), BenchError> {
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

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time in seconds, in steps of a clock tick (10 ms).
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of this process: the generator.
    ///
    /// # Errors
    /// [`BenchError::Proc`].
    pub fn of_generator() -> Result<Self, BenchError> {
        Self::of("self")
    }

    fn of(process: &str) -> Result<Self, BenchError> {
        let path = format!("/proc/{process}/stat");
        fs::read_to_string(&path)
            .ok()
            .and_then(|stat| Self::parse(&stat))
            .ok_or(BenchError::Proc(path))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The command name, field 2, may hold blanks and brackets: count from its last bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Self {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}

/// Pins the calling thread, and every thread and process it starts from now on.
///
/// # Errors
/// [`BenchError::Io`] when the kernel refuses.
pub fn pin_this_thread(cpus: &[usize]) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).map_err(|errno| BenchError::Io {
        what: "pin to the CPUs given",
        source: errno.into(),
    })
}

/// A child inherits the CPUs of the thread that starts it, so that no unsafe hook is needed.
fn spawn_pinned(command: &mut Command, cpus: Option<&[usize]>) -> io::Result<Child> {
    let Some(cpus) = cpus else {
        return command.spawn();
    };
    let before = sched_getaffinity(None)?;
    pin_this_thread(cpus).map_err(|error| io::Error::other(error.to_string()))?;
    let child = command.spawn();
    sched_setaffinity(None, &before)?;
    child
}

fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(io_error("find a free port"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_strange_command_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 5 0 99 1000 3 18446744";
        let usage = Usage::parse(stat).unwrap();
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        assert!((usage.cpu_seconds - 200.0 * tick).abs() < 1e-9);
        assert_eq!(usage.rss_bytes, 3 * rustix::param::page_size() as u64);
    }
}
