//! The ports of routes and gateways. Links to other servers are not made there yet: whoever comes
//! is told why he is not taken, above all clients that have the wrong port.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::start::{StartError, listen};
use crate::ids::PeerAddress;
use crate::ops::background::Background;
use crate::options::{Options, PeerPortOptions};
use crate::protocol::info::ServerInfo;
use crate::protocol::leaf::info::SERVER_PROTOCOL;
use crate::protocol::log_prefix::{LogKind, log_prefix};
use crate::protocol::peer_port::{PeerInfo, PeerPort, Refusal, judge};

/// Time for the first words, stock's default.
const FIRST_WORDS: Duration = Duration::from_secs(2);
/// Time the last bytes have to leave.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Peers heard at once; more wait to be accepted.
const PEERS_MAX: usize = 64;
/// Pause after a failed accept, usually for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A port that is open.
pub(super) struct Opened {
    port: PeerPort,
    listener: TcpListener,
    address: SocketAddr,
}

/// The ports while they are served. Dropping this closes them.
pub(super) struct PeerPorts {
    _background: Option<Background>,
    /// Where routes come.
    pub(super) routes: Option<SocketAddr>,
    /// Where gateways come.
    pub(super) gateways: Option<SocketAddr>,
}

/// What one port says.
struct Door {
    port: PeerPort,
    info: String,
    cluster: String,
    ids: Arc<AtomicU64>,
}

/// The address a block asks for.
pub(super) fn host(options: &PeerPortOptions) -> &str {
    match options.host.as_str() {
        "" => "0.0.0.0",
        host => host,
    }
}

/// Opens the ports that the options ask for.
pub(super) fn open(options: &Options) -> Result<Vec<Opened>, StartError> {
    let both = [
        (PeerPort::Route, &options.routes),
        (PeerPort::Gateway, &options.gateways),
    ];
    let asked = both.into_iter().filter(|(_, its)| its.port != 0);
    asked
        .map(|(port, its)| {
            let (listener, address) = listen(host(its), its.port)?;
            Ok(Opened {
                port,
                listener,
                address,
            })
        })
        .collect()
}

/// Serves them from a thread of their own.
pub(super) fn serve(
    opened: Vec<Opened>,
    options: &Options,
    server: &ServerInfo,
) -> Result<PeerPorts, std::io::Error> {
    let address = |port| opened.iter().find(|it| it.port == port);
    let address = |port| address(port).map(|it| it.address);
    let (routes, gateways) = (address(PeerPort::Route), address(PeerPort::Gateway));
    let ids = Arc::new(AtomicU64::new(0));
    let mut doors = Vec::with_capacity(opened.len());
    for Opened {
        port,
        listener,
        address,
    } in opened
    {
        listener.set_nonblocking(true)?;
        let its = match port {
            PeerPort::Route => &options.routes,
            PeerPort::Gateway => &options.gateways,
        };
        let cluster = options.cluster_name.clone().unwrap_or_default();
        let info = PeerInfo {
            server_id: &server.server_id,
            server_name: &server.server_name,
            version: &server.version,
            proto: SERVER_PROTOCOL,
            go: &server.go,
            host: host(its),
            port: address.port(),
            headers: server.headers,
            max_payload: server.max_payload,
            cluster: Some(&*cluster).filter(|_| port == PeerPort::Route),
            gateway: Some(&*options.gateway_name).filter(|_| port == PeerPort::Gateway),
        };
        let door = Door {
            port,
            info: info.line(),
            cluster,
            ids: Arc::clone(&ids),
        };
        doors.push((listener, Arc::new(door)));
    }
    let background = match doors.is_empty() {
        true => None,
        false => Some(Background::start("peer-ports", move || async {
            let mut all = tokio::task::JoinSet::new();
            for (listener, door) in doors {
                all.spawn(accept(listener, door));
            }
            all.join_all().await;
        })?),
    };
    Ok(PeerPorts {
        _background: background,
        routes,
        gateways,
    })
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("A port for servers closes: {error}"),
    };
    let places = Arc::new(Semaphore::new(PEERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    // One that has gone meanwhile needs no answer.
                    let _ = hear(stream, address, &door).await;
                    drop(place);
                });
            }
            Err(error) => {
                log::error!("Error accepting a server's connection: {error}; trying again");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Hears the first words and answers them.
async fn hear(mut stream: TcpStream, address: SocketAddr, door: &Door) -> std::io::Result<()> {
    let (kind, created, closed) = match door.port {
        PeerPort::Route => (LogKind::Route, "Route connection created", "Router"),
        PeerPort::Gateway => (
            LogKind::Gateway,
            "Processing inbound gateway connection",
            "Gateway",
        ),
    };
    let id = door.ids.fetch_add(1, Ordering::Relaxed) + 1;
    let who = log_prefix(PeerAddress::from(address), kind, id);
    log::info!("{who} - {created}");
    stream.write_all(door.info.as_bytes()).await?;
    let words = tokio::time::timeout(FIRST_WORDS, first_words(&mut stream, door));
    let refusal = match words.await {
        Ok(heard) => heard?,
        Err(_) => Some(Refusal::Timeout),
    };
    let Some(refusal) = refusal else {
        log::info!("{who} - {closed} connection closed: Client Closed");
        return Ok(());
    };
    log::error!("{who} - {refusal}");
    stream.write_all(refusal.line().as_bytes()).await?;
    stream.shutdown().await?;
    log::info!(
        "{who} - {closed} connection closed: {}",
        refusal.close_reason()
    );
    // What it still sends is read, or it would lose our answer to a reset.
    let mut rest = [0; 4096];
    let drained = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LAST_WORDS, drained).await;
    Ok(())
}

/// Why it is not taken; `None` if it goes before that can be told. What is kept of its words is
/// bounded by [`judge`].
async fn first_words(stream: &mut TcpStream, door: &Door) -> std::io::Result<Option<Refusal>> {
    let mut words = Vec::new();
    loop {
        if let Some(refusal) = judge(door.port, &door.cluster, &words) {
            return Ok(Some(refusal));
        }
        words.reserve(4096);
        if stream.read_buf(&mut words).await? == 0 {
            return Ok(None);
        }
    }
}
