//! From options to running shards.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use super::handle::{ServerHandle, Shared};
use super::identity;
use super::lame_duck::LameDuck;
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::ids::ShardId;
use crate::io::executor::{self, ShardThread};
use crate::io::probe::{self, ProbeError};
use crate::io::ring::Ring;
use crate::io::wake::Waker;
use crate::io::{Socket, socket};
use crate::limits;
use crate::listener::admission::{Admission, ShardLoad};
use crate::mesh::batch::Batch;
use crate::mesh::ring::{Consumer, Producer, ring};
use crate::options::Options;
use crate::shard::control::{Inbox, Post, inbox};
use crate::shard::core::Core;
use crate::shard::settings::Settings;
use crate::shard::turn::{MeshLink, Parts, Shard};
use crate::shard::verify::{Verifier, VerifierThreads};

/// Threads that check passwords: logins must not take more of the machine than messages.
const VERIFIER_THREADS: usize = 1;
/// Turns after which other tasks of the executor are let in.
const TURNS_PER_YIELD: u32 = 256;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine lacks something.
    #[error(transparent)]
    Machine(#[from] ProbeError),
    /// The `authorization` block contradicts itself.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// The client address cannot be listened on (PROC-7).
    #[error("Error listening on port: {address}, {}", listen_text(address, cause))]
    Listen {
        /// `host:port` asked for.
        address: String,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// Options that contradict each other, in stock's words (CFG-75).
    #[error("{0}")]
    Options(&'static str),
    /// A shard's thread or ring could not be made.
    #[error(
        "shard {shard} does not start: {cause}. Cure: fewer shards (`--shards`), or higher limits for locked memory and open files"
    )]
    Shard {
        /// Which one.
        shard: usize,
        /// Why.
        cause: std::io::Error,
    },
}

fn listen_text(address: &str, cause: &std::io::Error) -> String {
    let what = match cause.kind() {
        std::io::ErrorKind::AddrInUse => "bind: address already in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "bind: permission denied".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "bind: cannot assign requested address".to_owned(),
        _ => cause.to_string(),
    };
    format!("\"listen tcp {address}: {what}\"")
}

/// A NATS server inside this process.
///
/// ```
/// use std::io::Read;
///
/// let server = ramjet::Server::builder().host("127.0.0.1").port(-1).shards(2).start()?;
/// let mut client = std::net::TcpStream::connect(server.client_address())?;
/// let mut greeting = [0; 5];
/// client.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"INFO ");
/// server.shutdown(); // clients are flushed and closed, threads are joined
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server(());

impl Server {
    /// Options with stock's defaults, to be changed and started.
    pub fn builder() -> Builder {
        Builder {
            options: Options::default(),
        }
    }
}

/// Options of a server about to start.
#[derive(Debug, Clone)]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Address to listen on.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.options.host = host.into();
        self
    }

    /// Port to listen on; -1 lets the kernel choose.
    #[must_use]
    pub fn port(mut self, port: i32) -> Self {
        self.options.port = port;
        self
    }

    /// Shard threads.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.options.shards = Some(shards);
        self
    }

    /// Starts the server; returns once it accepts clients. Each shard is a thread of its own,
    /// pinned to a CPU if there are as many shards as CPUs and pinning is allowed.
    ///
    /// # Errors
    /// [`StartError`] names what is missing or contradictory and the cure.
    pub fn start(self) -> Result<ServerHandle, StartError> {
        start(self.options)
    }
}

fn start(options: Options) -> Result<ServerHandle, StartError> {
    if options.client.max_payload > options.client.max_pending {
        return Err(StartError::Options(
            "max_payload cannot be higher than max_pending",
        ));
    }
    if options.lame_duck_grace_period >= options.lame_duck_duration {
        return Err(StartError::Options(
            "lame duck grace period should be strictly lower than lame duck duration",
        ));
    }
    let authenticator = Arc::new(Authenticator::new(&options.auth)?);
    let cpus = executor::allowed_cpus();
    let shards = options
        .shards
        .unwrap_or(cpus.len())
        .clamp(1, limits::SHARDS_MAX);
    probe::run(shards)?;

    let listener = listen(&options.host, options.port)?;
    let client_address = listener.local_addr().map_err(|cause| StartError::Listen {
        address: format!("{}:{}", options.host, options.port),
        cause,
    })?;
    let info = Arc::new(identity::info(
        &options,
        &authenticator,
        client_address.port(),
    ));
    let settings = Arc::new(Settings {
        limits: options.client.clone(),
        info: Arc::clone(&info),
        auth_timeout: options.auth.timeout,
        feature_flags: identity::feature_flags(&options),
        debug: options.log.debug,
        trace: options.log.trace,
        trace_headers: options.log.trace_headers,
        max_traced_msg_len: options.log.max_traced_msg_len,
        authenticator,
    });

    let (posts, ends) = wire(shards, options.client.max_connections)
        .map_err(|cause| StartError::Shard { shard: 0, cause })?;
    let pin = shards == cpus.len() && executor::may_pin();
    let mut listener = Some(listener);
    let epoch = Instant::now();
    let mut threads = Vec::with_capacity(shards);
    let shared = Arc::new(Shared::new(posts));
    for (shard, parts) in ends.into_iter().enumerate() {
        let settings = Arc::clone(&settings);
        let listener = listener.take();
        let cpu = pin.then(|| cpus[shard]);
        let spawned = spawn(shard, shards, cpu, parts, settings, listener, epoch);
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(cause) => {
                shared.end();
                threads.into_iter().for_each(ShardThread::join);
                return Err(StartError::Shard { shard, cause });
            }
        }
    }
    let lame_duck = LameDuck {
        duration: options.lame_duck_duration,
        grace: options.lame_duck_grace_period,
    };
    Ok(ServerHandle {
        shared,
        threads,
        info,
        client_address,
        lame_duck,
    })
}

fn listen(host: &str, port: i32) -> Result<std::net::TcpListener, StartError> {
    let asked = u16::try_from(port).unwrap_or(0);
    let failed = |cause| StartError::Listen {
        address: format!("{host}:{}", port.max(0)),
        cause,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (host, asked).to_socket_addrs().map_err(failed)?.collect();
    let first = addresses.first().copied();
    let address = first.ok_or_else(|| failed(std::io::ErrorKind::AddrNotAvailable.into()))?;
    socket::listen(address).map_err(failed)
}

/// Posts of all shards, and the parts of each.
type Wired = (Vec<Post<Socket>>, Vec<Parts<Socket>>);

/// Connects the shards with each other.
fn wire(shards: usize, max_connections: Option<usize>) -> std::io::Result<Wired> {
    let wakers = (0..shards)
        .map(|_| Waker::new())
        .collect::<Result<Vec<_>, _>>()?;
    let (posts, inboxes): (Vec<Post<Socket>>, Vec<Inbox<Socket>>) =
        wakers.iter().map(|waker| inbox(waker.clone())).unzip();
    let load: Arc<[ShardLoad]> = (0..shards).map(|_| ShardLoad::default()).collect();
    let verifier: Arc<dyn Verifier<Socket>> = Arc::new(VerifierThreads::start(VERIFIER_THREADS)?);
    let mut meshes: Vec<Vec<Option<MeshLink>>> = (0..shards)
        .map(|_| (0..shards).map(|_| None).collect())
        .collect();
    for low in 0..shards {
        for high in low + 1..shards {
            let (up, down) = (Way::new(), Way::new());
            meshes[low][high] = Some(link(up.front, down.back, &wakers[high]));
            meshes[high][low] = Some(link(down.front, up.back, &wakers[low]));
        }
    }
    let mut admission = Some(Admission::new(posts.clone(), max_connections));
    let parts = meshes
        .into_iter()
        .zip(inboxes)
        .zip(wakers)
        .zip(&posts)
        .map(|(((mesh, inbox), waker), post)| Parts {
            mesh,
            inbox,
            waker,
            load: Arc::clone(&load),
            admission: admission.take(),
            verifier: Arc::clone(&verifier),
            post: post.clone(),
        })
        .collect();
    Ok((posts, parts))
}

/// One direction between two shards: batches forth, empty ones back.
struct Way {
    front: (Producer<Box<Batch>>, Consumer<Box<Batch>>),
    back: (Consumer<Box<Batch>>, Producer<Box<Batch>>),
}

impl Way {
    fn new() -> Self {
        let (to, from) = ring(limits::MESH_SLOTS);
        let (spent, spare) = ring(limits::MESH_SLOTS);
        Self {
            front: (to, spare),
            back: (from, spent),
        }
    }
}

fn link(
    (to, spare): (Producer<Box<Batch>>, Consumer<Box<Batch>>),
    (from, spent): (Consumer<Box<Batch>>, Producer<Box<Batch>>),
    waker: &Waker,
) -> MeshLink {
    MeshLink {
        to,
        from,
        spent,
        spare,
        waker: waker.clone(),
    }
}

/// Starts one shard and waits until it runs.
fn spawn(
    shard: usize,
    shards: usize,
    cpu: Option<usize>,
    parts: Parts<Socket>,
    settings: Arc<Settings>,
    listener: Option<std::net::TcpListener>,
    epoch: Instant,
) -> std::io::Result<ShardThread> {
    let id = ShardId(shard as u8);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    let (started, starting) = sync_channel(1);
    let thread = executor::spawn(&format!("shard-{shard}"), cpu, move || async move {
        let _fail_stop = AbortOnPanic;
        let ring = match Ring::new(parts.waker.clone(), listener, epoch) {
            Ok(ring) => ring,
            Err(error) => {
                let _ = started.send(Err(error)); // the starter waits for exactly this
                return;
            }
        };
        let core = Core::new(id, shards, settings, seed);
        let mut shard = Shard::new(id, core, ring, parts);
        let _ = started.send(Ok(()));
        while !shard.ended() {
            for _ in 0..TURNS_PER_YIELD {
                shard.run_turn();
                if shard.ending() {
                    break;
                }
            }
            executor::yield_if_needed().await;
        }
    })?;
    match starting.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => {
            thread.join();
            Err(error)
        }
        Err(_) => Err(std::io::Error::other("its thread ended at once")),
    }
}

/// Half a server is worse than none: a panic of a shard ends the process, also where the program
/// that embeds us unwinds.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
