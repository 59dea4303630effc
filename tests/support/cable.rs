//! A cable between two servers that can be cut, held, slowed, or left dangling at one end.

use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A reading thread looks this often whether the cable still is as it was.
const LOOK: Duration = Duration::from_millis(5);
/// Bytes that are on their way at most: what is held must hold back those who send.
const PIECE: usize = 64 * 1024;

/// How the cable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// All passes.
    Whole,
    /// All passes, each piece so much later.
    Slow(Duration),
    /// Connections stay, nothing passes.
    Held,
    /// Who connects is sent away.
    Cut,
}

struct State {
    condition: Condition,
    connections: Vec<Connection>,
    target: SocketAddr,
    over: bool,
    /// When somebody was last connected.
    connected: Option<Instant>,
}

/// Both ends of a connection through the cable.
struct Connection {
    /// Of who has connected.
    near: TcpStream,
    /// Of who was connected to.
    far: TcpStream,
    /// Nothing is passed on any more, whatever comes.
    dangling: Arc<Mutex<bool>>,
}

/// A cable. Connect to [`Cable::address`] to be connected to its target.
pub struct Cable {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Cable {
    /// A whole one that leads to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            condition: Condition::Whole,
            connections: Vec::new(),
            target,
            over: false,
            connected: None,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &shared));
        Self { address, state }
    }

    /// From now on it leads there: the other end has been moved.
    pub fn lead_to(&self, target: SocketAddr) {
        lock(&self.state).target = target;
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When somebody was last connected.
    pub fn connected(&self) -> Option<Instant> {
        lock(&self.state).connected
    }

    fn set(&self, condition: Condition) {
        lock(&self.state).condition = condition;
    }

    /// All connections are reset, new ones too.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.condition = Condition::Cut;
        for connection in state.connections.drain(..) {
            reset(&connection.near);
            reset(&connection.far);
        }
    }

    /// Nothing passes, and nobody is told.
    pub fn hold(&self) {
        self.set(Condition::Held);
    }

    /// Everything takes so much longer, each way.
    pub fn slow(&self, by: Duration) {
        self.set(Condition::Slow(by));
    }

    /// It is whole again, and what was held back passes.
    pub fn mend(&self) {
        self.set(Condition::Whole);
    }

    /// Who has connected keeps its connections, and nobody is at the other end any more: that one
    /// is reset, and what is sent into the near end is taken and lost.
    pub fn dangle_near(&self) {
        for connection in lock(&self.state).connections.drain(..) {
            *lock(&connection.dangling) = true;
            reset(&connection.far);
        }
    }

    /// The other way round: who was connected to keeps its connections.
    pub fn dangle_far(&self) {
        for connection in lock(&self.state).connections.drain(..) {
            *lock(&connection.dangling) = true;
            reset(&connection.near);
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        lock(&self.state).over = true;
        // Wakes who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a connection as a broken one ends: without a farewell.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    for near in listener.incoming() {
        let Ok(near) = near else { continue };
        let mut locked = lock(state);
        if locked.over {
            return;
        }
        if locked.condition == Condition::Cut {
            reset(&near);
            continue;
        }
        let Ok(far) = TcpStream::connect(locked.target) else {
            reset(&near);
            continue;
        };
        let dangling = Arc::new(Mutex::new(false));
        for stream in [&near, &far] {
            stream.set_nodelay(true).expect("no delay");
            stream.set_read_timeout(Some(LOOK)).expect("read timeout");
        }
        for (from, into) in [(&near, &far), (&far, &near)] {
            let from = from.try_clone().expect("another handle");
            let into = into.try_clone().expect("another handle");
            let (state, dangling) = (Arc::clone(state), Arc::clone(&dangling));
            thread::spawn(move || pass(from, into, &state, &dangling));
        }
        locked.connected = Some(Instant::now());
        locked.connections.push(Connection {
            near,
            far,
            dangling,
        });
    }
}

/// Passes on what comes, one way.
fn pass(mut from: TcpStream, mut into: TcpStream, state: &Mutex<State>, dangling: &Mutex<bool>) {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        loop {
            let condition = lock(state).condition;
            match condition {
                Condition::Held => thread::sleep(LOOK),
                Condition::Slow(by) => break thread::sleep(by),
                Condition::Whole | Condition::Cut => break,
            }
        }
        if *lock(dangling) {
            continue;
        }
        if into.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    if !*lock(dangling) {
        reset(&into);
    }
    reset(&from);
}
