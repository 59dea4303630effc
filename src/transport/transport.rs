//! One connection's transport: which of PROXY header, TLS, HTTP request and frames it has come to.

use core::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::dial::{Dial, DialTls};
use super::proxy_protocol::{self, ProxyHeaderError};
use super::s2::reader::S2Error;
use super::s2::session::{S2Session, Scratch};
use super::settings::{HANDSHAKE_TIMEOUT, PROXY_HEADER_TIMEOUT, TlsSettings, TransportSettings};
use super::tls::{TlsError, TlsSession};
use super::websocket::deflate::Deflate;
use super::websocket::handshake::{self, REQUEST_MAX, Refusal, Upgraded};
use super::websocket::session::{Bounds, Session, WebSocketError};
use super::websocket::settings::{UPGRADE_TIMEOUT, WebSocketSettings};
use super::websocket::upgrade::{Answer, Request};
use crate::delivery::outbound::Chunk;
use crate::ids::Listener;
use crate::options::HandshakeFirst;
use crate::time::Nanos;

/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What one shard's transports share: none of it outlives a call.
#[derive(Debug, Default)]
pub struct Codec {
    pub(super) deflate: Deflate,
    /// Plaintext on its way from TLS to WebSocket.
    pub(super) decrypted: Vec<u8>,
    /// Frames on their way from WebSocket to TLS.
    pub(super) framed: Chunk,
    /// A chunk as one piece.
    pub(super) gather: Vec<u8>,
    /// Of compressed links.
    pub(super) s2: Scratch,
}

/// What a call of [`Transport::receive`] needs besides bytes.
pub struct Context<'a> {
    /// The shard's.
    pub codec: &'a mut Codec,
    /// This turn's time.
    pub now: Nanos,
    /// Bounds of compressed messages.
    pub bounds: Bounds,
}

/// What has come of received bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// A proxy said who the client is.
    pub client: Option<SocketAddr>,
    /// A TLS handshake has begun.
    pub tls_began: bool,
    /// The protocol begins here: what was appended to the plaintext belongs to it.
    pub opened: bool,
    /// It needs no transport: drop it.
    pub plain: bool,
    /// A WebSocket was agreed on.
    pub upgraded: Option<Box<Upgraded>>,
    /// The peer has ended its side.
    pub ended: bool,
}

/// Why a connection ends before or below its protocol.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TransportError {
    /// No PROXY header after all.
    #[error(transparent)]
    Proxy(#[from] ProxyHeaderError),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A good certificate, but not one of those that are let in.
    #[error("certificate not pinned")]
    NotPinned,
    /// A good certificate, but nobody says that it was not revoked.
    #[error("client not OCSP valid")]
    PeerRevoked,
    /// Too many handshakes this second.
    #[error("Connection throttling is active. Please try again later.")]
    Throttled,
    /// Not upgraded.
    #[error("websocket handshake error")]
    Refused(Refusal),
    /// The server we connected to does not upgrade.
    #[error("{0}")]
    NotUpgraded(&'static str),
    /// Frames without sense.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// Not compressed as agreed.
    #[error(transparent)]
    S2(#[from] S2Error),
}

/// What has come of waiting for too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Expired {
    /// Nothing was said: it is a plain connection, as in stock.
    Plain,
    /// The client waits for INFO. It gets it in clear, and this much time.
    SendInfo(Duration),
    /// A PROXY header did not come.
    Proxy,
    /// A TLS handshake did not end.
    Tls,
    /// An HTTP request did not end.
    Request,
}

/// How TLS is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsPolicy {
    Never,
    Always,
    /// By the first byte.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A PROXY header may come.
    Proxy,
    /// The first byte decides on TLS.
    First,
    /// TLS negotiates.
    Handshake,
    /// An HTTP request comes.
    Request,
    /// The protocol runs.
    Open,
    /// Nothing more is taken.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub struct Transport {
    listener: Listener,
    pub(super) stage: Stage,
    policy: TlsPolicy,
    /// INFO waits for TLS (CORE-83).
    tls_first: bool,
    /// Output may leave as it is: TLS has not begun.
    pub(super) clear: bool,
    /// Front of a PROXY header or HTTP request: bounded by what these may have.
    held: Vec<u8>,
    tls_settings: Option<Arc<TlsSettings>>,
    pub(super) tls: Option<Box<TlsSession>>,
    websocket_settings: Option<Arc<WebSocketSettings>>,
    pub(super) websocket: Option<Box<Session>>,
    /// What we ask for, where we have connected.
    dialed: Option<Box<Dial>>,
    /// A link to another server is compressed.
    pub(super) s2: Option<Box<S2Session>>,
    /// Leaves next, as it is.
    pub(super) wire: Vec<u8>,
    /// Leaves after that, sealed where there is TLS.
    pub(super) frames: Vec<u8>,
    /// The connection closes: the last bytes for TLS or WebSocket, after all other output.
    pub(super) ending: Option<(u16, &'static str)>,
    /// TLS seals no more.
    pub(super) broken: bool,
}

impl Transport {
    /// For a new connection; `None` where nothing stands before the protocol.
    pub fn new(listener: Listener, settings: &TransportSettings) -> Option<Box<Self>> {
        let (tls, websocket) = match listener {
            Listener::Client => (settings.tls.clone(), None),
            Listener::WebSocket => {
                let websocket = settings.websocket.clone()?;
                (websocket.tls.clone(), Some(websocket))
            }
            Listener::Leaf => (settings.leaf_tls.clone(), None),
        };
        let proxy = settings.proxy_protocol && listener != Listener::WebSocket;
        if tls.is_none() && websocket.is_none() && !proxy {
            return None;
        }
        let tls_first = websocket.is_none()
            && tls
                .as_ref()
                .is_some_and(|it| it.handshake_first != HandshakeFirst::Off);
        let either = settings.allow_non_tls && listener == Listener::Client && !tls_first;
        let policy = match tls {
            None => TlsPolicy::Never,
            Some(_) if either => TlsPolicy::Either,
            Some(_) => TlsPolicy::Always,
        };
        Some(Box::new(Self {
            listener,
            stage: match (proxy, policy) {
                (true, _) => Stage::Proxy,
                (false, TlsPolicy::Never) => Stage::Request,
                (false, _) => Stage::First,
            },
            policy,
            tls_first,
            clear: websocket.is_none() && !tls_first,
            held: Vec::new(),
            tls_settings: tls,
            tls: None,
            websocket_settings: websocket,
            websocket: None,
            dialed: None,
            s2: None,
            wire: Vec::new(),
            frames: Vec::new(),
            ending: None,
            broken: false,
        }))
    }

    /// For a link whose protocol has begun, with nothing before it so far.
    pub fn open() -> Box<Self> {
        Box::new(Self {
            listener: Listener::Leaf,
            stage: Stage::Open,
            policy: TlsPolicy::Never,
            tls_first: false,
            clear: false,
            held: Vec::new(),
            tls_settings: None,
            tls: None,
            websocket_settings: None,
            websocket: None,
            dialed: None,
            s2: None,
            wire: Vec::new(),
            frames: Vec::new(),
            ending: None,
            broken: false,
        })
    }

    /// For a connection that we have made. Its first bytes are ready to leave.
    ///
    /// # Errors
    /// None with settings that were checked.
    pub fn dial(dial: Dial) -> Result<Box<Self>, TransportError> {
        let mut wire = Vec::new();
        let session = |it: &DialTls| TlsSession::dial(&it.config, it.name.clone(), &mut wire);
        let tls = dial.tls.as_ref().map(session).transpose()?.map(Box::new);
        let mut this = Box::new(Self {
            listener: Listener::Leaf,
            stage: Stage::Handshake,
            policy: TlsPolicy::Never,
            tls_first: true,
            clear: false,
            held: Vec::new(),
            tls_settings: None,
            tls,
            websocket_settings: None,
            websocket: None,
            dialed: Some(Box::new(dial)),
            s2: None,
            wire,
            frames: Vec::new(),
            ending: None,
            broken: false,
        });
        if this.tls.is_none() {
            this.after_tls(&mut Progress::default());
        }
        Ok(this)
    }

    /// Have we made the connection?
    pub fn is_dialed(&self) -> bool {
        self.dialed.is_some()
    }

    /// Does a WebSocket come, or is it here?
    fn has_websocket(&self) -> bool {
        self.websocket_settings.is_some() || self.request().is_some()
    }

    fn request(&self) -> Option<&Request> {
        self.dialed.as_ref().and_then(|it| it.websocket.as_ref())
    }

    /// TLS is settled: what comes next?
    fn after_tls(&mut self, progress: &mut Progress) {
        if !self.has_websocket() {
            self.stage = Stage::Open;
            progress.opened = true;
            return;
        }
        self.stage = Stage::Request;
        if let Some(request) = self.request() {
            let bytes = request.bytes();
            self.frames.extend_from_slice(&bytes);
        }
    }

    /// Does INFO leave at once, in clear?
    pub fn greets_first(&self) -> bool {
        self.clear
    }

    /// Did TLS come before INFO (CORE-83)?
    pub fn tls_first(&self) -> bool {
        self.tls_first
    }

    /// Has the protocol begun?
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Has TLS begun, and not ended its handshake?
    pub fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshake
    }

    /// The listener it came by.
    pub fn listener(&self) -> Listener {
        self.listener
    }

    /// Its TLS, once negotiated.
    pub fn tls(&self) -> Option<&TlsSession> {
        self.tls.as_deref().filter(|it| !it.is_handshaking())
    }

    /// Its TLS settings, those it began with.
    pub fn tls_settings(&self) -> Option<&Arc<TlsSettings>> {
        self.tls_settings.as_ref()
    }

    /// Would bytes cost the work of a TLS handshake now?
    pub fn costs_handshake(&self) -> bool {
        match self.stage {
            Stage::Handshake => true,
            Stage::Proxy | Stage::First => self.policy != TlsPolicy::Never,
            _ => false,
        }
    }

    /// Time it has for what it waits for.
    pub fn patience(&self) -> Duration {
        if let Some(websocket) = &self.websocket_settings {
            return websocket.handshake_timeout.unwrap_or(UPGRADE_TIMEOUT);
        }
        if let Some(dialed) = &self.dialed {
            return match &dialed.tls {
                Some(tls) if self.stage == Stage::Handshake => tls.timeout,
                _ => HANDSHAKE_TIMEOUT,
            };
        }
        let tls = self.tls_settings.as_ref();
        match tls.map(|it| it.handshake_first) {
            Some(HandshakeFirst::Fallback(delay)) if self.tls_first && self.tls.is_none() => delay,
            // Stock tries twice.
            _ if self.stage == Stage::Proxy => 2 * PROXY_HEADER_TIMEOUT,
            _ => tls.map_or(HANDSHAKE_TIMEOUT, |it| it.timeout),
        }
    }

    /// That time is up. Afterwards it must be told what to wait for anew.
    pub fn expire(&mut self, allow_non_tls: bool) -> Expired {
        let fallback = self
            .tls_settings
            .as_ref()
            .is_some_and(|it| matches!(it.handshake_first, HandshakeFirst::Fallback(_)));
        if self.tls_first && fallback && self.tls.is_none() && self.held.is_empty() {
            self.tls_first = false;
            self.clear = true;
            if allow_non_tls {
                self.policy = TlsPolicy::Either;
            }
            return Expired::SendInfo(self.patience());
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        match stage {
            Stage::Proxy => Expired::Proxy,
            Stage::First if self.policy == TlsPolicy::Either => Expired::Plain,
            Stage::Request => Expired::Request,
            _ => Expired::Tls,
        }
    }

    /// Takes bytes from the wire; the protocol's are appended to `plain`.
    ///
    /// # Errors
    /// [`TransportError`]: nothing more may be taken. What is to be said to the peer is in the
    /// output, `plain` has what came before.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
    ) -> Result<Progress, TransportError> {
        let mut progress = Progress::default();
        let kept: Vec<u8>;
        let mut bytes = bytes;
        if self.stage == Stage::Proxy {
            self.held.extend_from_slice(bytes);
            let found = proxy_protocol::read(&self.held).map_err(|error| self.fail(error))?;
            let used = match found {
                proxy_protocol::Progress::More => return Ok(progress),
                proxy_protocol::Progress::None => 0,
                proxy_protocol::Progress::Header { used, client } => {
                    progress.client = client;
                    used
                }
            };
            kept = std::mem::take(&mut self.held);
            bytes = kept.get(used..).unwrap_or_default();
            self.stage = Stage::First;
        }
        if self.stage == Stage::First {
            let is_tls = match (self.policy, bytes.first()) {
                (TlsPolicy::Never, _) => false,
                (_, None) => return Ok(progress),
                (TlsPolicy::Always, _) => true,
                (TlsPolicy::Either, Some(&first)) => first == HANDSHAKE_RECORD,
            };
            if !is_tls {
                plain.extend_from_slice(bytes);
                self.stage = Stage::Open;
                progress.opened = true;
                progress.plain = true;
                return Ok(progress);
            }
            self.begin_tls(context.now)?;
            progress.tls_began = true;
        }
        let outcome = match self.s2.is_some() {
            false => self.decode(bytes, context, plain, &mut progress),
            true => self.take_compressed(bytes, context, &mut progress),
        };
        outcome.map_err(|error| self.fail(error))?;
        Ok(progress)
    }

    pub(super) fn fail(&mut self, error: impl Into<TransportError>) -> TransportError {
        self.stage = Stage::Failed;
        error.into()
    }

    fn begin_tls(&mut self, now: Nanos) -> Result<(), TransportError> {
        let Some(settings) = &self.tls_settings else {
            return Err(TlsError::TooLong.into());
        };
        if settings.rate.as_ref().is_some_and(|it| !it.allow(now)) {
            self.clear = true; // that is said without TLS
            return Err(self.fail(TransportError::Throttled));
        }
        self.tls = Some(Box::new(TlsSession::new(&settings.config)?));
        self.clear = false;
        self.stage = Stage::Handshake;
        Ok(())
    }

    /// Bytes after the PROXY header.
    fn decode(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), TransportError> {
        if self.tls.is_none() {
            return self.unwrap(bytes, context, plain, progress);
        }
        if !self.has_websocket() {
            return self.decrypt(bytes, plain, progress);
        }
        let mut decrypted = std::mem::take(&mut context.codec.decrypted);
        decrypted.clear();
        let outcome = self
            .decrypt(bytes, &mut decrypted, progress)
            .and_then(|()| self.unwrap(&decrypted, context, plain, progress));
        context.codec.decrypted = decrypted;
        outcome
    }

    pub(super) fn decrypt(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), TransportError> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        let silent = self.wire.len();
        if let Err(error) = tls.receive(bytes, plain, &mut self.wire) {
            if error.is_probe() && self.stage == Stage::Handshake {
                self.wire.truncate(silent); // whoever speaks no TLS understands no alert
            }
            return Err(error.into());
        }
        progress.ended |= tls.peer_closed();
        if self.stage != Stage::Handshake || tls.is_handshaking() {
            return Ok(());
        }
        let certificates = tls.peer_certificates();
        let dialed = self.dialed.as_ref().and_then(|it| it.tls.as_ref());
        let admitted = self
            .tls_settings
            .as_ref()
            .is_none_or(|it| it.admits(certificates))
            && dialed.is_none_or(|it| it.admits(certificates));
        if !admitted {
            return Err(TransportError::NotPinned);
        }
        self.after_tls(progress);
        Ok(())
    }

    /// Bytes without TLS: a request, then frames.
    fn unwrap(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), TransportError> {
        let answer: Vec<u8>;
        let mut bytes = bytes;
        if self.stage == Stage::Request && self.dialed.is_some() {
            // An answer and what may follow it at once: no more than one of them is kept.
            if self.held.len() > REQUEST_MAX {
                return Err(TransportError::NotUpgraded("invalid websocket connection"));
            }
            self.held.extend_from_slice(bytes);
            let Some(used) = self.answered(progress)? else {
                return Ok(());
            };
            answer = std::mem::take(&mut self.held);
            bytes = answer.get(used..).unwrap_or_default();
        } else if self.stage == Stage::Request {
            let Some(settings) = &self.websocket_settings else {
                return Ok(());
            };
            // Not a byte more than a request may have, and one to see that it has more.
            let room = (REQUEST_MAX + 1).saturating_sub(self.held.len());
            self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if self.held.is_empty() {
                return Ok(());
            }
            bytes = &[];
            match handshake::read(&self.held, settings, self.tls.is_some()) {
                handshake::Progress::More => return Ok(()),
                handshake::Progress::Refused(refusal) => {
                    return Err(TransportError::Refused(refusal));
                }
                handshake::Progress::Upgrade(upgraded) => {
                    self.held = Vec::new();
                    self.frames.extend_from_slice(&upgraded.answer);
                    self.websocket = Some(Box::new(Session::new(&upgraded)));
                    self.stage = Stage::Open;
                    progress.opened = true;
                    progress.upgraded = Some(upgraded);
                }
            }
        }
        let Some(websocket) = &mut self.websocket else {
            return Ok(());
        };
        let deflate = &mut context.codec.deflate;
        websocket.receive(bytes, context.bounds, deflate, plain, &mut self.frames)?;
        Ok(())
    }

    /// Reads the server's answer to our request; how long it is once it is whole.
    fn answered(&mut self, progress: &mut Progress) -> Result<Option<usize>, TransportError> {
        let Some(request) = self.request() else {
            return Ok(None);
        };
        match request.answer(&self.held) {
            Answer::More => Ok(None),
            Answer::Refused(why) => Err(TransportError::NotUpgraded(why)),
            Answer::Agreed {
                used,
                compress,
                masked,
            } => {
                let seed = masked.then_some(request.seed);
                self.websocket = Some(Box::new(Session::dialed(compress, seed)));
                self.stage = Stage::Open;
                progress.opened = true;
                Ok(Some(used))
            }
        }
    }

    /// Can nothing be sent any more?
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

const _: () = {
    // A connection may move to another shard with its transport.
    const fn is_send<T: Send>() {}
    is_send::<Transport>();
};
