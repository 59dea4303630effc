//! A running server, to be steered from any thread.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::figures::Shards;
use super::lame_duck::{self, LameDuck};
use super::peer_ports::PeerPorts;
use super::peers::PeerJudges;
use super::reload::{ReloadError, Reloader};
use crate::io::Socket;
use crate::io::executor::ShardThread;
use crate::ops::http::Monitor;
use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::shard::control::{Control, Post};
use crate::shard::events::ServerEvent;
use crate::shard::report::{Figures, Query};

/// Longest wait for the last event to leave.
const TELL_MAX: Duration = Duration::from_millis(200);

/// A running server. Dropping it shuts the server down and waits for the end.
pub struct ServerHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<ShardThread>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) monitor: Option<Monitor>,
    pub(super) judges: Option<Arc<PeerJudges>>,
    pub(super) client_address: SocketAddr,
    pub(super) websocket_address: Option<SocketAddr>,
    pub(super) leaf_address: Option<SocketAddr>,
    pub(super) peer_ports: PeerPorts,
    pub(super) monitor_address: Option<SocketAddr>,
    pub(super) lame_duck: LameDuck,
}

/// What outlives a borrow of the handle.
pub(super) struct Shared {
    pub(super) shards: Arc<Shards>,
    pub(super) lame_duck: AtomicBool,
    /// Clients are accepted; monitoring looks at it.
    pub(super) ready: Arc<AtomicBool>,
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Shared {
    pub(super) fn new(posts: Vec<Post<Socket>>) -> Self {
        let shards = Arc::new(Shards(posts));
        Self {
            shards,
            lame_duck: AtomicBool::new(false),
            ready: Arc::default(),
            ended: Mutex::new(false),
            ending: Condvar::new(),
        }
    }

    pub(super) fn tell_all(&self, control: impl Fn() -> Control<Socket>) {
        for post in &self.shards.0 {
            post.send(control());
        }
    }

    /// Connections open now, over all shards.
    pub(super) fn connections(&self) -> u64 {
        self.shards
            .ask(Query::Counters)
            .iter()
            .map(|report| report.counters.connections)
            .sum()
    }

    /// Tells the system account; returns when it is on its way to every shard.
    pub(super) fn tell_system(&self, event: ServerEvent) {
        let (told, waiting) = sync_channel(1);
        if let Some(first) = self.shards.0.first()
            && first.send(Control::Tell(event, told))
        {
            // A shard too busy for that does not keep the server from ending.
            let _ = waiting.recv_timeout(TELL_MAX);
        }
    }

    /// Ends all shards; whoever waits for the end goes on.
    pub(super) fn end(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.store(false, Ordering::Release);
        if !std::mem::replace(&mut *ended, true) {
            self.tell_system(ServerEvent::Shutdown);
            self.tell_all(|| Control::Shutdown);
        }
        self.ending.notify_all();
    }

    /// Has the end begun?
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ending.wait_while(ended, |ended| !*ended));
    }
}

impl ServerHandle {
    /// Address clients connect to; the real port where the options left it to the kernel.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Address WebSocket clients connect to, if they can.
    pub fn websocket_address(&self) -> Option<SocketAddr> {
        self.websocket_address
    }

    /// Address leaf nodes connect to, if they can.
    pub fn leaf_address(&self) -> Option<SocketAddr> {
        self.leaf_address
    }

    /// Address of the monitoring endpoints, if they are on.
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor_address
    }

    /// What the server says of itself in every INFO.
    pub fn info(&self) -> Arc<ServerInfo> {
        self.reloader.info()
    }

    /// Puts other options in force while the server runs (CFG-91): those of now, changed. Returns
    /// once every shard has taken them.
    ///
    /// # Errors
    /// [`ReloadError`] says what is wrong with them or cannot be changed; then nothing has.
    pub fn reload(&self, options: Options) -> Result<(), ReloadError> {
        self.reloader.apply(options)
    }

    /// Figures of all shards.
    pub fn figures(&self) -> Arc<dyn Figures> {
        Arc::clone(&self.shared.shards) as Arc<dyn Figures>
    }

    /// Starts lame duck mode (CORE-94): no new clients, those there are told and closed bit by
    /// bit, then the server ends. Returns at once; [`ServerHandle::wait`] waits for the end.
    pub fn lame_duck(&self) {
        lame_duck::start(Arc::clone(&self.shared), self.lame_duck);
    }

    /// Waits until the server ends by itself, after [`ServerHandle::lame_duck`] or
    /// [`ServerHandle::begin_shutdown`] on another thread.
    pub fn wait(&self) {
        self.shared.wait();
    }

    /// Has lame duck mode begun?
    pub fn in_lame_duck(&self) -> bool {
        self.shared.lame_duck.load(Ordering::Acquire)
    }

    /// Makes the server end; returns at once.
    pub fn begin_shutdown(&self) {
        self.shared.end();
    }

    /// Ends the server: clients get what waits for them and are closed. Returns when every shard
    /// has ended.
    pub fn shutdown(self) {}
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        drop(self.monitor.take());
        self.shared.end();
        for thread in self.threads.drain(..) {
            thread.join();
        }
        if let Some(judges) = &self.judges {
            judges.save();
        }
    }
}
