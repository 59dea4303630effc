//! What the rest of the process asks of a shard. Rare, so through an ordinary queue; messages of
//! clients never pass through here.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::time::Duration;

use crate::auth::authenticate::PasswordCheck;
use crate::auth::jwt::user::UserClaims;
use crate::connection::leaf::Solicited;
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress, ShardId, Slot};
use crate::io::wake::Waker;
use crate::shard::events::ServerEvent;
use crate::shard::internal::InternalAction;
use crate::shard::jetstream::Command;
use crate::shard::leaf::{LinkIdentity, LinkNews};
use crate::shard::report::{Query, ShardReport};
use crate::shard::requested::{ClientAction, ClientOutcome};
use crate::shard::settings::Settings;

/// One request to a shard.
pub enum Control<S> {
    /// Serve this connection.
    Serve {
        /// The connection.
        socket: S,
        /// Its number.
        cid: ConnectionId,
        /// Its peer.
        address: PeerAddress,
        /// The listener it came by.
        listener: Listener,
        /// There are too many: greet it, say so, close.
        refused: bool,
    },
    /// Take on this connection that we have made to another server. To shard 0, which hands it on.
    Link {
        /// The connection.
        socket: S,
        /// Its number; none until shard 0 has given it one.
        cid: Option<ConnectionId>,
        /// Its peer.
        address: PeerAddress,
        /// What to say.
        with: Box<Solicited>,
        /// Told what becomes of it.
        news: Sender<LinkNews>,
    },
    /// A server has connected to another shard: an older link of it is to end.
    LinkOpened {
        /// Who it is.
        identity: Box<LinkIdentity>,
        /// The new link.
        cid: ConnectionId,
        /// Its shard, which waits to hear that this was done.
        from: ShardId,
        /// Its place there.
        slot: Slot,
    },
    /// An older link of the server at this place has ended here, if there was one.
    LinkReplaced(Slot),
    /// A password has been checked.
    Verified {
        /// Connection it belongs to.
        slot: Slot,
        /// What was asked.
        check: PasswordCheck,
        /// Does it match?
        matches: bool,
    },
    /// An auth service has answered (AUTH-83).
    Answered {
        /// Connection it was asked about.
        slot: Slot,
        /// Account it was asked in.
        asked: AccountId,
        /// Its answer, or why there is none.
        answer: Box<Result<UserClaims, String>>,
    },
    /// An account that a connection waits for has been looked for.
    Sought(Slot),
    /// A peer's authorities have been asked (CORE-89).
    PeerChecked {
        /// Its connection.
        slot: Slot,
        /// Is it let in?
        good: bool,
    },
    /// The server acts as a client of itself. Only on shard 0.
    Internal(InternalAction),
    /// Another shard asks something about streams.
    JetStream(Box<Command>),
    /// Answer with figures.
    Query(Query, SyncSender<(ShardId, ShardReport)>),
    /// Go on under these settings.
    Settings(NewSettings),
    /// Close that many clients: there are more than there may be now (CFG-95).
    CloseSurplus(u64),
    /// Do something to one client. Answered only by the shard that has it.
    ToClient(ConnectionId, ClientAction, SyncSender<ClientOutcome>),
    /// Tell the system account what happens to the server. Only on shard 0; answered once it is on
    /// its way.
    Tell(ServerEvent, SyncSender<()>),
    /// Close these clients: their account may not have them any more (AUTH-56).
    CloseOverAccountLimit(Arc<[ConnectionId]>),
    /// Stop accepting and tell the clients that this server goes away.
    LameDuck,
    /// Close the clients one by one over this time.
    CloseOver(Duration),
    /// Close everything and end.
    Shutdown,
}

/// Settings on their way to the shards (design: control changes have one writer).
///
/// They are given to shard 0, which accepts connections. It hands them on to the others, so that
/// each gets them in order with the connections it is given.
#[derive(Clone)]
pub struct NewSettings {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Accounts that are not as before, where nothing else has changed; `None` where anything may
    /// have.
    pub changed: Option<Arc<[AccountId]>>,
    /// Told by each shard once it runs under them and has judged its connections anew. Has room
    /// for all of them.
    pub taken: SyncSender<()>,
}

/// Where requests to one shard are put, from any thread.
pub struct Post<S> {
    sender: Sender<Control<S>>,
    waker: Waker,
}

impl<S> Clone for Post<S> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            waker: self.waker.clone(),
        }
    }
}

impl<S> Post<S> {
    /// Hands a request over and wakes the shard. False if the shard has ended.
    pub fn send(&self, control: Control<S>) -> bool {
        let sent = self.sender.send(control).is_ok();
        self.waker.wake();
        sent
    }
}

/// A shard's end of its [`Post`].
pub struct Inbox<S> {
    receiver: Receiver<Control<S>>,
    /// Looked at but not taken yet.
    waiting: Option<Control<S>>,
}

impl<S> Inbox<S> {
    /// The next request, if there is one.
    pub fn take(&mut self) -> Option<Control<S>> {
        self.waiting
            .take()
            .or_else(|| self.receiver.try_recv().ok())
    }

    /// Is there a request?
    pub fn is_empty(&mut self) -> bool {
        if self.waiting.is_none() {
            self.waiting = self.receiver.try_recv().ok();
        }
        self.waiting.is_none()
    }
}

/// A queue of requests to the shard that `waker` wakes.
pub fn inbox<S>(waker: Waker) -> (Post<S>, Inbox<S>) {
    let (sender, receiver) = channel();
    (
        Post { sender, waker },
        Inbox {
            receiver,
            waiting: None,
        },
    )
}
