//! The thread of one remote.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::identity;
use super::place::{Place, Scheme};
use super::proxy;
use super::route::{Route, shuffle};
use super::running::Orders;
use crate::ids::GLOBAL_ACCOUNT;
use crate::listener::tls::{TlsLoadError, pins};
use crate::listener::tls_client;
use crate::options::{HandshakeFirst, Options, RemoteOptions, TlsOptions};
use crate::server::handle::Shared;
use crate::shard::control::Control;
use crate::shard::leaf::{LinkNews, Solicited};
use crate::transport::dial::DialTls;
use crate::transport::settings::HANDSHAKE_TIMEOUT;
use crate::transport::websocket::upgrade::Request;

/// Time the first INFO may take where nothing else is said (TOPO-18).
const FIRST_INFO_TIMEOUT: Duration = Duration::from_secs(1);
/// A waiting thread looks this often whether the server ends.
const LOOK: Duration = Duration::from_millis(50);
/// A link that lasted this long was a good one: it is made again soon.
const GOOD: Duration = Duration::from_secs(5);

/// One remote, from one reload to another.
pub(super) struct Remote {
    number: u32,
    orders: Arc<Orders>,
    /// As they are for the attempt that is made.
    options: Arc<RemoteOptions>,
    reconnect: Duration,
    dial_timeout: Duration,
    /// Of our own listener, whose pins hold for hubs, too.
    listener_tls: Option<TlsOptions>,
    /// Every how many attempts in vain the log says so: before the first link, and after it.
    reports: [u64; 2],
}

/// What came of a link.
struct Ended {
    /// Time to wait before the next one on top of the usual.
    delay: Option<Duration>,
    /// How long it lasted.
    lasted: Duration,
}

impl Remote {
    pub fn new(number: u32, options: &Options, orders: Arc<Orders>) -> Self {
        let leaf = &options.leafnodes;
        let own = orders.options();
        Self {
            number,
            reconnect: leaf.reconnect,
            dial_timeout: own.dial_timeout.unwrap_or(leaf.dial_timeout),
            listener_tls: leaf.tls.clone(),
            reports: [
                options.connect_error_reports,
                options.reconnect_error_reports,
            ]
            .map(|it| u64::try_from(it).unwrap_or(1).max(1)),
            orders,
            options: own,
        }
    }

    /// Starts its thread, which connects for as long as the remote and the server are there.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(mut self, shared: &Arc<Shared>) -> std::io::Result<()> {
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name(format!("leaf-{}", self.number))
            .spawn(move || self.keep_connected(&shared))
            .map(drop)
    }

    fn is_over(&self, shared: &Shared) -> bool {
        self.orders.are_over() || shared.has_ended()
    }

    fn keep_connected(&mut self, shared: &Shared) {
        let mut route = Route::new(&self.options, random);
        // Stock's too: it is asked for by `wss`, a block, or a hub that wants it.
        let mut tls = self.options.tls.clone();
        let mut attempts: u64 = 0;
        let mut links: u64 = 0;
        while !self.is_over(shared) {
            let Some(place) = route.next() else {
                return;
            };
            let options = self.orders.options();
            if options.tls != self.options.tls {
                tls = options.tls.clone();
            }
            self.options = options;
            let wait = match self.connect(&place, (&mut route, links), &mut tls, shared) {
                Ok(ended) => {
                    attempts = 0;
                    links += 1;
                    // Links of the same hub all end at once when it does: they come back one
                    // after another.
                    let usual = match ended.lasted >= GOOD {
                        true => self.reconnect.mul_f64(random() / 2.0),
                        false => self.reconnect.mul_f64(0.5 + random()),
                    };
                    usual + ended.delay.unwrap_or_default()
                }
                Err(error) => {
                    attempts += 1;
                    let every = self.reports[usize::from(links > 0)];
                    let text = format!(
                        "Error trying to connect as leafnode to remote server {:?} (attempt \
                         {attempts}): {error}",
                        place.address()
                    );
                    if attempts == 1 || attempts.is_multiple_of(every) {
                        log::error!("{text}");
                    } else {
                        log::debug!("{text}");
                    }
                    self.reconnect.mul_f64(0.5 + random())
                }
            };
            self.pause(wait, shared);
        }
    }

    /// One connection, from its making to its end.
    fn connect(
        &self,
        place: &Place,
        (route, links): (&mut Route, u64),
        tls: &mut Option<TlsOptions>,
        shared: &Shared,
    ) -> Result<Ended, String> {
        let mut with = self.solicited(place, route, tls.as_ref())?;
        with.reconnects = links;
        let (stream, address) = self.dial(place)?;
        let (news, told) = channel();
        let first = shared.shards.0.first().ok_or("the server ends")?;
        let began = Instant::now();
        first.send(Control::Link {
            socket: stream.into(),
            cid: None,
            address,
            with: Box::new(with),
            news,
        });
        let mut ended = self.follow(&told, route, tls);
        ended.lasted = began.elapsed();
        Ok(ended)
    }

    /// Hears what becomes of a link until it ends.
    fn follow(
        &self,
        told: &Receiver<LinkNews>,
        route: &mut Route,
        tls: &mut Option<TlsOptions>,
    ) -> Ended {
        let mut delay = None;
        // The other end goes with the link, or with the shard.
        while let Ok(news) = told.recv() {
            match news {
                LinkNews::Places(_) if self.options.ignore_discovered => {}
                LinkNews::Places(places) => route.learn(&places),
                LinkNews::Ended {
                    delay: wait,
                    wants_tls,
                    wrong_name,
                } => {
                    delay = wait;
                    if wants_tls {
                        tls.get_or_insert_default();
                    }
                    if wrong_name {
                        route.forget_tls_name();
                    }
                    break;
                }
            }
        }
        Ended {
            delay,
            lasted: Duration::ZERO,
        }
    }

    /// Connects to a place. Its name is looked up each time; where it has several addresses they
    /// are tried in any order.
    fn dial(&self, place: &Place) -> Result<(TcpStream, SocketAddr), String> {
        let proxy = self.options.proxy.as_ref();
        if let Some(proxy) = proxy.filter(|_| place.scheme != Scheme::Tcp) {
            return ready(proxy::tunnel(proxy, place, self.dial_timeout)?);
        }
        let found = (place.host.as_str(), place.port).to_socket_addrs();
        let found = found.map_err(|error| format!("lookup for host {:?}: {error}", place.host))?;
        let mut addresses: Vec<_> = found.collect();
        shuffle(&mut addresses, &mut random);
        let mut last = String::from("no address");
        for address in addresses {
            let shown = address.to_string();
            let also = match shown == place.address() {
                true => String::new(),
                false => format!(" ({shown})"),
            };
            log::debug!(
                "Trying to connect as leafnode to remote server on {:?}{also}",
                place.address()
            );
            match TcpStream::connect_timeout(&address, self.dial_timeout) {
                Ok(stream) => return ready(stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    fn pause(&self, time: Duration, shared: &Shared) {
        let until = Instant::now() + time;
        while !self.is_over(shared) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn solicited(
        &self,
        place: &Place,
        route: &Route,
        tls: Option<&TlsOptions>,
    ) -> Result<Solicited, String> {
        let (jwt, signer) = identity::read(&self.options)?;
        let options = &self.options;
        let secure = tls.is_some() || place.scheme == Scheme::SecureWebSocket;
        let settings = secure.then(|| self.dial_tls(&route.tls_name(place), tls));
        let first = tls.is_some_and(|it| it.handshake_first != HandshakeFirst::Off);
        Ok(Solicited {
            remote: self.number,
            account: match options.account.as_str() {
                "" => GLOBAL_ACCOUNT.to_owned(),
                account => account.to_owned(),
            },
            user: place.user.clone(),
            jwt,
            signer,
            hub: options.hub,
            deny_imports: options.deny_imports.clone(),
            deny_exports: options.deny_exports.clone(),
            isolated: options.isolate,
            request_isolation: options.request_isolation,
            first_info_timeout: options.first_info_timeout.unwrap_or(FIRST_INFO_TIMEOUT),
            tls: settings.transpose()?,
            tls_first: first,
            compression: options.compression.clone(),
            reconnects: 0,
            websocket: route.is_websocket().then(|| self.request(place)),
        })
    }

    fn dial_tls(&self, name: &str, tls: Option<&TlsOptions>) -> Result<DialTls, String> {
        let usual = TlsOptions::default();
        let options = tls.unwrap_or(&usual);
        let said = |error: TlsLoadError| error.to_string();
        let config = tls_client::load(options).map_err(said)?;
        let mut pinned = pins(options);
        if let Some(own) = self.listener_tls.as_ref().filter(|_| pinned.is_empty()) {
            pinned = pins(own);
        }
        let name = name.to_owned().try_into();
        Ok(DialTls {
            config,
            name: name.map_err(|_| "not a name that a certificate can be for")?,
            timeout: options.timeout.unwrap_or(HANDSHAKE_TIMEOUT),
            pinned: Arc::new(pinned),
        })
    }

    fn request(&self, place: &Place) -> Request {
        let mut key = [0; 24];
        // Without it the hub's proof proves nothing, and a mask hides nothing: both are for
        // others than servers.
        let _ = getrandom::fill(&mut key);
        let (key, seed) = key.split_at(16);
        let path = match place.path.as_str() {
            "" => "leafnode".to_owned(),
            path => format!("{path}/leafnode"),
        };
        Request {
            host: place.address(),
            path,
            compress: self.options.websocket_compression,
            masked: !self.options.websocket_no_masking,
            key: key.try_into().unwrap_or_default(),
            seed: u64::from_le_bytes(seed.try_into().unwrap_or_default()),
        }
    }
}

/// A connection that is made, and who is at the other end.
fn ready(stream: TcpStream) -> Result<(TcpStream, SocketAddr), String> {
    let made = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
    made.map(|address| (stream, address))
        .map_err(|error| error.to_string())
}

/// From 0 to below 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without it everybody comes back at once, and that is all.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
