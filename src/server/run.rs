//! The server as a program: log, signals, files, and a server between its first and last line.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::check_store::check_store;
use super::identity::{self, COMMIT};
use super::reload::Program;
use super::{Server, ServerHandle, StartError};
use super::{leafnodes, peer_ports, transports};
use crate::io::interfaces;
use crate::ops::banner::{self, Banner, Listening};
use crate::ops::cli::{self, Command};
use crate::ops::config::{self, Configured};
use crate::ops::logging::{self, LogHandle};
use crate::ops::ports_file::{Ports, PortsFile, urls};
use crate::ops::signals::{SignalEvent, SignalWatch};
use crate::ops::{memory_limit, pid_file, signal_command};

/// The program: `argv` without the program's own name.
pub fn main(argv: &[OsString]) -> ExitCode {
    // First of all: a signal must find us prepared, however early it comes (PROC-2).
    let signals = match SignalWatch::register() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let environment = |name: &str| std::env::var(name).ok();
    if let Err(error) = memory_limit::parse(environment(memory_limit::VARIABLE).as_deref()) {
        eprintln!("{error}");
        return ExitCode::from(memory_limit::EXIT_CODE);
    }
    let command = match cli::parse(argv, &environment) {
        Ok(command) => command,
        Err(error) => {
            print!("{}", error.stdout);
            eprint!("{}", error.stderr);
            return ExitCode::from(error.exit_code);
        }
    };
    match &command {
        Command::Run(configured) => return run(signals, configured),
        Command::CheckConfig { .. } => eprint!("{}", command.message()),
        Command::CheckStore {
            path,
            options,
            repairs,
        } => {
            let out = &mut std::io::stdout();
            return match check_store(path, &options.jetstream, *repairs, out) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => fail(&error),
            };
        }
        Command::PrintVersion
        | Command::PrintHelp
        | Command::PrintTlsHelp
        | Command::PrintConfigHelp => {
            print!("{}", command.message());
        }
        Command::Signal { command, target } => {
            if let Err(error) = signal_command::run(command, target) {
                return fail(&error);
            }
        }
    }
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("nats-server: {error}");
    ExitCode::FAILURE
}

/// Runs a server until a signal ends it.
fn run(signals: SignalWatch, configured: &Configured) -> ExitCode {
    let options = &configured.options;
    for warning in &configured.warnings {
        eprintln!("{warning}");
    }
    let log = match logging::start(&options.log) {
        Ok(log) => log,
        Err(error) => {
            return fail(&error);
        }
    };
    let code = match start(configured, &log) {
        Ok(started) => {
            serve(signals, &started, log.clone());
            started.end();
            log::info!("{}", banner::EXITING);
            ExitCode::SUCCESS
        }
        // What stock finds before it has a log.
        Err(RunError::Start(
            error @ (StartError::Options(_)
            | StartError::Operator(_)
            | StartError::LeafNodes(_)
            | StartError::ClientAdvertise { .. }),
        )) => fail(&error),
        Err(error) => {
            log::error!(target: logging::FATAL, "{error}");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

/// A server and the files that say so.
struct Started {
    server: Arc<ServerHandle>,
    ports_file: Arc<Mutex<Option<PortsFile>>>,
}

impl Started {
    /// Waits for the end of everything. The thread of signals may be about to let go of the server:
    /// the program must not end while that one waits for the shards.
    fn end(self) {
        // Now, though a reload may still hold it.
        drop(lock(&self.ports_file).take());
        let mut server = self.server;
        while let Err(shared) = Arc::try_unwrap(server).map(drop) {
            server = shared;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    PidFile(#[from] pid_file::PidFileError),
}

fn start(configured: &Configured, log: &LogHandle) -> Result<Started, RunError> {
    let options = &configured.options;
    let server = Server::builder().options(options.clone()).start()?;
    let info = server.info();
    let flags = identity::feature_flags(options);
    let lines = Banner {
        git_commit: COMMIT,
        cluster: None,
        name: &info.server_name,
        id: &info.server_id,
        feature_flags: if options.feature_flags.is_empty() {
            &options.feature_flags
        } else {
            &flags
        },
        config_file: options.config_file.as_deref(),
        config_digest: &options.config_digest,
    };
    for line in lines.lines() {
        log::info!("{line}");
    }
    for (level, line) in banner::operator_lines(options) {
        log::log!(level, "{line}");
    }
    if let Some(warning) = configured.inactive_line() {
        log::warn!("{warning}");
    }
    for warning in config::start_warnings(options) {
        log::warn!("{warning}");
    }
    if let Some(path) = &options.pid_file {
        pid_file::write(path)?;
    }
    let interfaces = interfaces::addresses();
    let mut ports = Ports::default();
    if let Some(monitor) = server.monitor_address() {
        let scheme = match options.monitor.https_port {
            0 => "http",
            _ => "https",
        };
        let host = match options.monitor.http_host.as_str() {
            "" => &options.host,
            host => host,
        };
        log::info!(
            "{}",
            banner::listening(Listening::Monitor { scheme }, host, monitor.port())
        );
        ports.monitoring = urls(scheme, monitor, &interfaces);
    }
    if let Some(address) = server.peer_ports.gateways {
        log::info!("Gateway name is {}", options.gateway_name);
        let host = peer_ports::host(&options.gateways);
        let line = banner::listening(Listening::Gateways, host, address.port());
        log::info!("{line}");
    }
    if let Some(address) = server.websocket_address() {
        let websocket = &options.websocket;
        let scheme = if websocket.tls.is_some() { "wss" } else { "ws" };
        let host = transports::websocket_host(websocket);
        let what = Listening::WebSocket { scheme };
        log::info!("{}", banner::listening(what, host, address.port()));
        if websocket.tls.is_none() {
            log::warn!("{}", banner::WEBSOCKET_WITHOUT_TLS);
        }
        ports.websocket = urls(scheme, address, &interfaces);
    }
    if let Some(address) = server.leaf_address() {
        let host = leafnodes::host(&options.leafnodes);
        let what = Listening::LeafNodes;
        log::info!("{}", banner::listening(what, host, address.port()));
    }
    if let Some(address) = server.peer_ports.routes {
        let host = peer_ports::host(&options.routes);
        let line = banner::listening(Listening::Routes, host, address.port());
        log::info!("{line}");
        ports.cluster = urls("nats", address, &interfaces);
    }
    let clients = server.client_address();
    log::info!(
        "{}",
        banner::listening(Listening::Clients, &options.host, clients.port())
    );
    for (level, line) in banner::transport_lines(options) {
        log::log!(level, "{line}");
    }
    let scheme = if options.tls.is_some() { "tls" } else { "nats" };
    ports.nats = urls(scheme, clients, &interfaces);
    log::info!("{}", banner::READY);
    // Whoever waits for the ports file may look at the log next.
    log.flush();
    let ports_file = PortsFile::write_logged(options, &ports);
    let ports_file = Arc::new(Mutex::new(ports_file));
    server.reloader.attach(Program {
        flags: configured.flags.clone(),
        log: log.clone(),
        ports,
        ports_file: Arc::clone(&ports_file),
    });
    Ok(Started {
        server: Arc::new(server),
        ports_file,
    })
}

/// Does what signals say until the server ends.
fn serve(signals: SignalWatch, started: &Started, log: LogHandle) {
    let server = Arc::downgrade(&started.server);
    let watching = signals.deliver(move |event| {
        let Some(server) = server.upgrade() else {
            return;
        };
        match event {
            SignalEvent::Quit => end(&server),
            // In lame duck mode the server ends by itself (CORE-96).
            SignalEvent::Terminate if server.in_lame_duck() => {}
            SignalEvent::Terminate => end(&server),
            SignalEvent::ReopenLog => log.reopen(),
            SignalEvent::LameDuck => server.lame_duck(),
            // What comes of it is in the log.
            SignalEvent::Reload => server.reloader.request(drop),
        }
    });
    if let Err(error) = watching {
        log::error!("{error}");
    }
    started.server.wait();
}

fn end(server: &ServerHandle) {
    log::info!("{}", banner::SHUTDOWN);
    server.begin_shutdown();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
