//! From options to running shards.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::handle::{ServerHandle, Shared};
use super::jetstream::folder::StoreFolder;
use super::jetstream::{recovery, room};
use super::lame_duck::LameDuck;
use super::operator::{Logins, NewResolver, OperatorError, Resolver, Source, Vouched, view};
use super::peers::{PeerChecks, PeerJudges};
use super::reload::Reloader;
use super::remotes::Remotes;
use super::system::callout::CalloutService;
use super::system::envelope::Envelope;
use super::system::requests::Requests;
use super::system::services::{self, Service};
use super::system::traces::Traces;
use super::transports::{Doors, listen_websocket};
use super::{identity, leafnodes, peer_ports, shards};
use crate::accounts::registry::Accounts;
use crate::ids::{Listener, SYSTEM_ACCOUNT};
use crate::io::probe::{self, ProbeError};
use crate::io::{executor, socket};
use crate::limits;
use crate::listener::tls::TlsLoadError;
use crate::ops::banner;
use crate::ops::config::leaf_check;
use crate::ops::http::answers::Answers;
use crate::ops::http::facts::{CurrentFacts, ServerFacts};
use crate::ops::http::{Monitor, MonitorError};
use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::shard::budget::output_share;
use crate::shard::identity::{ServerIdentity, Told};
use crate::shard::jetstream::disk::Stores;
use crate::shard::leaf::settings::LeafSettings;
use crate::shard::rates::RateTable;
use crate::shard::settings::Settings;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine lacks something.
    #[error(transparent)]
    Machine(#[from] ProbeError),
    /// Accounts, users or operators contradict themselves.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The client address cannot be listened on (PROC-7).
    #[error("{}", banner::listen_failure(host, *port, cause))]
    Listen {
        /// Host asked for.
        host: String,
        /// Port asked for.
        port: i32,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// The monitoring address cannot be listened on.
    #[error("{}", banner::monitor_failure(host, *port, cause))]
    MonitorListen {
        /// Host asked for.
        host: String,
        /// Port asked for.
        port: i32,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// Monitoring with and without TLS (CFG-24).
    #[error("Can't start monitoring: can't specify both HTTP ({http}) and HTTPs ({https}) ports")]
    HttpAndHttps {
        /// Port without.
        http: i32,
        /// Port with.
        https: i32,
    },
    /// Monitoring with TLS for which there is no certificate (CFG-24).
    #[error("Can't start monitoring: TLS cert and key required for HTTPS")]
    HttpsWithoutTls,
    /// The WebSocket address cannot be listened on.
    #[error("Unable to listen for websocket connections: {0}")]
    WebSocketListen(String),
    /// What a `tls` block names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsLoadError),
    /// Monitoring does not start.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// Not an address.
    #[error("invalid ClientAdvertise value of {value}, err={why}")]
    ClientAdvertise {
        /// As configured.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Options that contradict each other, in stock's words (CFG-75).
    #[error("{0}")]
    Options(&'static str),
    /// The same, of leaf nodes.
    #[error("{0}")]
    LeafNodes(String),
    /// This process may not choose its CPUs.
    #[error(
        "`pin_shards`: this process may not choose its CPUs. Cure: allow sched_setaffinity (systemd: `SystemCallFilter=@resources`; containers: perf/seccomp.json), or leave `pin_shards` out"
    )]
    Pinning,
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

    /// Starts the server; returns once it accepts clients. Each shard is a thread of its own.
    ///
    /// # Errors
    /// [`StartError`] names what is missing or contradictory and the cure.
    pub fn start(self) -> Result<ServerHandle, StartError> {
        start(self.options)
    }
}

fn start(options: Options) -> Result<ServerHandle, StartError> {
    check(&options)?;
    let folder = match options.jetstream.enabled {
        true => StoreFolder::new(&options.jetstream).map(Arc::new).map(Some),
        false => Ok(None),
    };
    let folder = folder.map_err(|cause| StartError::Shard { shard: 0, cause })?;
    let (mut vouched, source) = Vouched::new(&options)?;
    if let Some(folder) = &folder {
        vouched.load_those(&folder.accounts(), &source);
    }
    let (accounts, logins) = view(None, &options, &vouched)?;
    let accounts = Arc::new(accounts);
    let cpus = executor::allowed_cpus();
    let asked = options.shards.unwrap_or(cpus.len());
    let shards = asked.clamp(1, limits::SHARDS_MAX);
    probe::run(shards)?;
    // Left to the scheduler unless asked for: it puts a shard beside whom it wakes, which spares the
    // wake-up of a CPU that sleeps.
    let pin = options.pin_shards;
    if pin && !executor::may_pin() {
        return Err(StartError::Pinning);
    }

    let monitor = listen_monitor(&options)?;
    let (listener, client_address) = listen(&options.host, options.port)?;
    let websocket = listen_websocket(&options)?;
    let websocket_address = websocket.as_ref().map(|(_, address)| *address);
    let leaf = leafnodes::listen_leafnodes(&options.leafnodes)?;
    let leaf_address = leaf.as_ref().map(|(_, address)| *address);
    let peer_ports = peer_ports::open(&options)?;
    let mut doors = Doors::new(&options, websocket_address)?;
    let stapled = std::mem::take(&mut doors.stapled);
    let keys = Arc::new(identity::ServerKeys::new());
    let info = Arc::new(identity::info(
        &keys,
        &options,
        &logins.client,
        client_address.port(),
    ));
    let peer_ports = peer_ports::serve(peer_ports, &options, &info)
        .map_err(|cause| StartError::Shard { shard: 0, cause })?;
    let leaf_port = leaf_address.map_or(0, |it| it.port());
    let remotes = Remotes::default().after(&options.leafnodes);
    let modes = remotes.modes(&options.leafnodes);
    let leaf_settings = leafnodes::settings(&options, &accounts, (leaf_port, modes))
        .map_err(OperatorError::from)?;
    let mut settings = settings(
        None,
        &options,
        shards,
        Arc::clone(&info),
        accounts,
        logins,
        (doors, leaf_settings),
    );
    settings.jetstream = folder.as_ref().and_then(|folder| {
        let room = room::find(folder.root(), options.memory_limit);
        let stores = Arc::clone(folder) as Arc<dyn Stores>;
        let found = (Some(stores), room);
        super::jetstream::settings::of(&options, &settings.accounts, found, None)
    });
    let settings = Arc::new(settings);
    let (to_services, messages) = services::queue();
    let (posts, ends) = shards::wire(shards, options.client.max_connections, to_services)
        .map_err(|cause| StartError::Shard { shard: 0, cause })?;
    let unrecovered = match (&folder, &settings.jetstream) {
        (Some(folder), Some(jetstream)) => {
            recovery::run(folder, (&settings.accounts, jetstream), &posts)
        }
        _ => Vec::new(),
    };
    let lame_duck = LameDuck {
        duration: options.lame_duck_duration,
        grace: options.lame_duck_grace_period,
    };
    let start = shards::wall_time();
    let feature_flags = identity::feature_flags(&options);
    let facts = Arc::new(CurrentFacts::new(ServerFacts {
        info,
        ramjet_version: identity::OWN_VERSION,
        options: Arc::new(options),
        accounts: Arc::clone(&settings.accounts),
        trusted: vouched.accounts(),
        token_times: Arc::default(),
        transports: Arc::clone(&settings.transports),
        peer_cache: Arc::default(),
        http_port: monitor.as_ref().map_or(0, |(_, address)| address.port()),
        leaf_port,
        shards,
        feature_flags,
        unrecovered: unrecovered.into(),
        start,
        config_load: start,
    }));
    let shared = Arc::new(Shared::new(posts));
    // From here on an early return drops the handle, which ends what has been started.
    let mut handle = ServerHandle {
        reloader: Arc::new(Reloader::new(
            Arc::clone(&shared),
            Arc::clone(&settings),
            Arc::clone(&facts),
            client_address.port(),
            websocket_address,
            vouched,
            folder,
        )),
        shared,
        threads: Vec::with_capacity(shards),
        monitor: None,
        judges: None,
        client_address,
        websocket_address,
        leaf_address,
        peer_ports,
        monitor_address: monitor.as_ref().map(|(_, address)| *address),
        lame_duck,
    };
    let answers = Arc::new(Answers::new(
        Arc::clone(&facts),
        handle.figures(),
        Arc::clone(&handle.shared.ready),
    ));
    if let Some((listener, _)) = monitor {
        handle.monitor = Some(Monitor::start(listener, Arc::clone(&answers))?);
    }
    // Before the shards run: their first turn has the subscriptions.
    let envelope = Arc::new(Envelope::new(Arc::clone(&handle.reloader)));
    let mut services = operators_services(&settings, &answers, &handle);
    let resolver = resolver(&settings, source, &handle, &facts, &envelope);
    services.push(Box::new(resolver));
    let posts = || handle.shared.shards.0.clone();
    let judges = PeerJudges::new(Arc::clone(&facts), Arc::clone(&envelope), posts());
    services.push(Box::new(PeerChecks::new(Arc::clone(&judges))));
    services.push(Box::new(CalloutService::new(keys, envelope, posts())));
    handle.judges = Some(judges);
    if let Some(first) = handle.shared.shards.0.first() {
        services::start(services, messages, first)
            .map_err(|cause| StartError::Shard { shard: 0, cause })?;
    }
    let mut listeners = vec![(Listener::Client, listener)];
    listeners.extend(websocket.map(|(listener, _)| (Listener::WebSocket, listener)));
    listeners.extend(leaf.map(|(listener, _)| (Listener::Leaf, listener)));
    let epoch = Instant::now();
    for (shard, parts) in ends.into_iter().enumerate() {
        let cpu = pin.then(|| cpus[shard % cpus.len()]);
        let settings = Arc::clone(&settings);
        let thread = shards::spawn(
            shard,
            shards,
            cpu,
            parts,
            settings,
            std::mem::take(&mut listeners),
            epoch,
        )
        .map_err(|cause| StartError::Shard { shard, cause })?;
        handle.threads.push(thread);
    }
    handle
        .reloader
        .solicit(remotes)
        .map_err(|cause| StartError::Shard { shard: 0, cause })?;
    handle.shared.ready.store(true, Ordering::Release);
    handle.reloader.watch(stapled);
    Ok(handle)
}

/// What operators ask. These come first: shards know them by their place.
fn operators_services(
    settings: &Settings,
    answers: &Arc<Answers>,
    handle: &ServerHandle,
) -> Vec<Box<dyn Service>> {
    let Some(system) = settings.accounts.system() else {
        return Vec::new();
    };
    let requests = Requests::new(
        Arc::clone(answers),
        Arc::clone(&handle.reloader),
        Arc::clone(&handle.shared),
        system,
    );
    let traces = Traces::new(Arc::clone(&handle.reloader));
    vec![Box::new(requests), Box::new(traces)]
}

/// Where accounts come from, and what is told of them.
fn resolver(
    settings: &Settings,
    source: Source,
    handle: &ServerHandle,
    facts: &CurrentFacts,
    envelope: &Arc<Envelope>,
) -> Resolver {
    let named = |system| (system, settings.accounts.name(system).to_owned());
    let first = NewResolver {
        source,
        options: Arc::clone(&facts.now().options.operator),
    };
    Resolver::new(
        first,
        Arc::clone(&handle.reloader),
        Arc::clone(envelope),
        settings.accounts.system().map(named),
        handle.shared.shards.0.clone(),
    )
}

/// The view of the shards that options come to; it follows the one `before`.
pub(super) fn settings(
    before: Option<&Settings>,
    options: &Options,
    shards: usize,
    info: Arc<ServerInfo>,
    accounts: Arc<Accounts>,
    logins: Logins,
    (doors, leaf): (Doors, LeafSettings),
) -> Settings {
    let sequence = before.map_or_else(Arc::default, |it| it.identity.sequence());
    let told = Told {
        cluster: Some(info.cluster.as_str()).filter(|it| !it.is_empty()),
        tags: &options.tags,
        metadata: &options.metadata,
        feature_flags: &identity::feature_flags(options),
        jetstream: options.jetstream.enabled,
        domain: options.jetstream.domain.as_deref(),
    };
    let jetstream = before.and_then(|it| it.jetstream.as_deref());
    let jetstream = jetstream.and_then(|it| {
        let found = (it.stores.clone(), it.room);
        super::jetstream::settings::of(options, &accounts, found, jetstream)
    });
    Settings {
        identity: ServerIdentity::new(&info, told, sequence),
        number: before.map_or(0, |it| it.number + 1),
        leaf: LeafSettings {
            cluster: info.cluster.clone(),
            ..leaf
        },
        info,
        output_share: options.memory_limit.map(|it| output_share(it, shards)),
        websocket_authenticator: logins.websocket,
        transports: doors.transports,
        rates: RateTable::new(&options.rates),
        jetstream,
        ..Settings::of(options, accounts, logins.client)
    }
}

/// Options that contradict each other, in stock's words.
pub(super) fn check(options: &Options) -> Result<(), StartError> {
    match (options.monitor.http_port, options.monitor.https_port) {
        (_, 0) => {}
        (0, _) if options.tls.is_none() => return Err(StartError::HttpsWithoutTls),
        (0, _) => {}
        (http, https) => return Err(StartError::HttpAndHttps { http, https }),
    }
    if options.client.max_payload > options.client.max_pending {
        return Err(StartError::Options(
            "max_payload cannot be higher than max_pending",
        ));
    }
    leaf_check::check(options).map_err(StartError::LeafNodes)?;
    if options.lame_duck_grace_period >= options.lame_duck_duration {
        return Err(StartError::Options(
            "lame duck grace period should be strictly lower than lame duck duration",
        ));
    }
    let operator =
        !options.operator.operators.is_empty() || !options.operator.trusted_keys.is_empty();
    let system = &options.system_account;
    let there = |name: &str| options.accounts.iter().any(|it| it.name == name);
    if !operator && system != SYSTEM_ACCOUNT && !there(system) && !options.no_system_account {
        let text = "error resolving system account: account missing";
        return Err(StartError::Options(text));
    }
    if let Some(value) = &options.client_advertise {
        identity::advertised(value, 0).map_err(|why| StartError::ClientAdvertise {
            value: value.clone(),
            why,
        })?;
    }
    Ok(())
}

fn listen_monitor(options: &Options) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let monitor = &options.monitor;
    let port = match (monitor.http_port, monitor.https_port) {
        (0, 0) => return Ok(None),
        (0, https) => https,
        (http, _) => http,
    };
    let host = if monitor.http_host.is_empty() {
        &options.host
    } else {
        &monitor.http_host
    };
    let failed = |error| match error {
        StartError::Listen { host, port, cause } => StartError::MonitorListen { host, port, cause },
        other => other,
    };
    listen(host, port).map(Some).map_err(failed)
}

pub(super) fn listen(host: &str, port: i32) -> Result<(TcpListener, SocketAddr), StartError> {
    let asked = u16::try_from(port).unwrap_or(0);
    let failed = |cause| StartError::Listen {
        host: host.to_owned(),
        port,
        cause,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = (bare, asked).to_socket_addrs().map_err(failed)?.next();
    let address = address.ok_or_else(|| failed(std::io::ErrorKind::AddrNotAvailable.into()))?;
    let listener = socket::listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
