//! What comes before the protocol: connections whose bytes pass a transport (TLS, WebSocket, PROXY
//! header) on their way in and out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::authenticate::CertificateNames;
use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, NEVER, Phase, WebSocketClient};
use crate::ids::{AccountId, Listener, Slot};
use crate::limits;
use crate::protocol::error_text;
use crate::protocol::info::ServerInfo;
use crate::shard::core::{Core, Local};
use crate::shard::effects::{Effect, Level};
use crate::transport::s2::reader::BLOCK_MAX;
use crate::transport::settings::TransportSettings;
use crate::transport::transport::{Context, Expired, Progress, TransportError};
use crate::transport::websocket::deflate::InflateError;
use crate::transport::websocket::handshake::Endpoint;
use crate::transport::websocket::session::{Bounds, WebSocketError};

/// TLS handshakes of a shard: so many a turn, the others wait in a queue, so that a storm of
/// reconnects costs those who are connected a bounded part of each turn. The shell says when.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    left: u32,
    queue: VecDeque<Slot>,
}

impl Handshakes {
    /// A turn begins.
    pub(super) fn renew(&mut self) {
        self.left = limits::HANDSHAKES_PER_TURN;
    }
}

/// What of INFO depends on how a connection reached us (CORE-12..14).
pub(super) fn shape_info(
    connection: &Connection,
    settings: &TransportSettings,
    connected: bool,
    info: &mut ServerInfo,
) {
    match (connection.listener, &settings.websocket) {
        (Listener::WebSocket, Some(websocket)) => {
            info.host.clone_from(&websocket.host);
            info.port = websocket.port;
            info.tls_required = websocket.tls.is_some();
            info.tls_available = info.tls_required;
            info.connect_urls = std::mem::take(&mut info.ws_connect_urls);
        }
        _ => {
            info.ws_connect_urls = Vec::new();
            if connection
                .transport
                .as_ref()
                .is_some_and(|it| it.tls_first())
            {
                info.tls_required = true;
            }
            if settings.proxy_protocol && !connected {
                info.client_ip = String::new();
            }
        }
    }
}

impl Core {
    /// Begins what comes first on a new connection.
    pub(super) fn begin(&mut self, index: u32) {
        let now = self.local.now;
        self.prepare(index);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let is_client = connection.listener == Listener::Client;
        if is_client {
            // Until it says who it is it is nobody's in particular.
            self.join(index, AccountId::GLOBAL);
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        match &connection.transport {
            None => {
                self.start_clocks(index);
                self.send_info(index, false);
            }
            Some(transport) => {
                let greets = transport.greets_first();
                connection.deadlines.transport = now + transport.patience();
                self.local.arm(index);
                if greets {
                    self.send_info(index, false);
                }
            }
        }
        if is_client {
            self.count(index);
        }
    }

    /// Takes bytes of a connection with a transport.
    pub(super) fn receive_through(&mut self, index: u32, bytes: &[u8]) {
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        let Some(transport) = &connection.transport else {
            return;
        };
        let queued = !connection.early.is_empty();
        if queued || transport.costs_handshake() {
            connection.early.extend_from_slice(bytes);
            let (slot, full) = (
                connection.slot,
                connection.early.len() > limits::BACKLOG_MAX,
            );
            if full && !std::mem::replace(&mut connection.paused, true) {
                local.effects.push(Effect::Pause(index));
            }
            if !queued {
                local.handshakes.queue.push_back(slot);
            }
            return;
        }
        self.pass(index, bytes);
    }

    /// Takes the last bytes of a peer that has gone in the middle of a handshake: it may have been
    /// done for its part, and has sent what it had to say.
    pub(super) fn finish_handshake(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let begun = connection
            .transport
            .as_ref()
            .is_some_and(|it| it.is_handshaking());
        if begun && !connection.closing() && !connection.early.is_empty() {
            let early = std::mem::take(&mut connection.early);
            self.pass(index, &early);
        }
    }

    /// How many handshakes wait for [`Core::run_handshakes`].
    pub fn handshakes_wait(&self) -> usize {
        self.local.handshakes.queue.len()
    }

    /// Goes on with handshakes, as many as this turn still may.
    pub fn run_handshakes(&mut self) {
        while self.local.handshakes.left > 0 {
            let Some(slot) = self.local.handshakes.queue.pop_front() else {
                return;
            };
            let Some(connection) = self.local.connections.of(slot) else {
                continue;
            };
            if connection.closing() {
                continue;
            }
            let early = std::mem::take(&mut connection.early);
            if std::mem::take(&mut connection.paused) {
                self.local.effects.push(Effect::Resume(slot.index));
            }
            self.local.handshakes.left -= 1;
            self.pass(slot.index, &early);
        }
    }

    /// Has bytes pass the transport, and acts on what comes of it.
    fn pass(&mut self, index: u32, bytes: &[u8]) {
        let bounds = self.bounds(index);
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        let Some(transport) = &mut connection.transport else {
            return;
        };
        let mut plain = std::mem::take(&mut local.plain);
        plain.clear();
        let mut context = Context {
            codec: &mut local.codec,
            now: local.now,
            bounds,
        };
        let outcome = transport.receive(bytes, &mut context, &mut plain);
        if transport.has_output() && !std::mem::replace(&mut connection.dirty, true) {
            local.dirty.push_back(index);
        }
        match outcome {
            Ok(progress) => {
                let ended = progress.ended;
                self.progressed(index, progress);
                self.receive_plain(index, &plain);
                self.decompress(index);
                if ended {
                    self.ended(index, true);
                }
            }
            Err(error) => {
                self.receive_plain(index, &plain);
                self.transport_failed(index, error);
            }
        }
        if plain.capacity() <= limits::PLAIN_KEPT_MAX {
            self.local.plain = plain;
        }
    }

    /// Takes what has come of a compressed link, as much of it as one turn may.
    fn decompress(&mut self, index: u32) {
        let bounds = self.bounds(index);
        let mut left = limits::DECOMPRESSED_PER_TURN;
        loop {
            let Some(connection) = self.local.connections.at(index) else {
                return;
            };
            let max = match connection.phase {
                Phase::Unauthenticated => bounds.compressed,
                _ => BLOCK_MAX,
            };
            let (slot, closing) = (connection.slot, connection.closing());
            let Some(transport) = &mut connection.transport else {
                return;
            };
            if closing || transport.compression().is_none() {
                return;
            }
            if left == 0 {
                if !std::mem::replace(&mut connection.paused, true) {
                    self.local.effects.push(Effect::Pause(index));
                }
                return self.local.handshakes.queue.push_back(slot);
            }
            let mut plain = std::mem::take(&mut self.local.plain);
            plain.clear();
            let mut context = Context {
                codec: &mut self.local.codec,
                now: self.local.now,
                bounds,
            };
            let outcome = transport.next_block(max, &mut context, &mut plain);
            let has_output = transport.has_output();
            if has_output && !std::mem::replace(&mut connection.dirty, true) {
                self.local.dirty.push_back(index);
            }
            self.receive_plain(index, &plain);
            left = left.saturating_sub(plain.len());
            if plain.capacity() <= limits::PLAIN_KEPT_MAX {
                self.local.plain = plain;
            }
            match outcome {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.transport_failed(index, error),
            }
        }
    }

    /// Compression has begun: `rest` came with what agreed on it. It is looked at soon.
    pub(super) fn compression_begins(&mut self, index: u32, rest: &[u8]) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let slot = connection.slot;
        if let Some(transport) = &mut connection.transport {
            transport.push_compressed(rest);
            if !rest.is_empty() {
                self.local.handshakes.queue.push_back(slot);
            }
        }
    }

    /// How long a compressed message of this connection may be (WS-8).
    fn bounds(&mut self, index: u32) -> Bounds {
        const COMPRESSED_MAX: usize = 64 * 1024 * 1024;
        let Some(connection) = self.local.connections.at(index) else {
            return Bounds {
                compressed: 0,
                inflated: 0,
            };
        };
        let inflated = connection.limits.max_payload;
        let compressed = match connection.phase {
            // Whoever has not said who he is keeps us little: a CONNECT, and what may follow it.
            Phase::Unauthenticated => limits::BACKLOG_MAX,
            _ => inflated.saturating_mul(8).min(COMPRESSED_MAX),
        };
        Bounds {
            compressed,
            inflated,
        }
    }

    fn progressed(&mut self, index: u32, progress: Progress) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let kind = match connection.listener {
            Listener::Client => Some("client connection"),
            Listener::Leaf => Some("leafnode server"),
            Listener::WebSocket => None, // its request has one bound for all
        };
        if let Some(client) = progress.client {
            connection.address = client;
        }
        if let Some(kind) = kind.filter(|_| progress.tls_began) {
            if let Some(transport) = &connection.transport {
                connection.deadlines.transport = now + transport.patience();
            }
            self.local.arm(index);
            self.local
                .debug(index, || format!("Starting TLS {kind} handshake"));
        }
        if let Some(upgraded) = progress.upgraded {
            if upgraded.endpoint == Endpoint::Leaf && !self.becomes_leaf(index) {
                let text = "Not configured to accept leaf node connections".to_owned();
                self.local.effects.push(Effect::Log(Level::Error, text));
                return self.close(index, CloseReason::ClientClosed);
            }
            let Some(connection) = self.local.connections.at(index) else {
                return;
            };
            connection.websocket = Some(Box::new(WebSocketClient {
                cookies: upgraded.cookies,
                forwarded_for: upgraded.forwarded_for,
            }));
        }
        if progress.opened && !self.ask_about_peer(index) {
            self.protocol_begins(index, progress.plain);
        }
    }

    /// The protocol begins.
    pub(super) fn protocol_begins(&mut self, index: u32, plain: bool) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection
            .transport
            .as_ref()
            .is_some_and(|it| it.is_dialed())
        {
            if !std::mem::replace(&mut connection.dirty, true) {
                self.local.dirty.push_back(index);
            }
            self.debug_tls(index);
            return self.dialed(index);
        }
        connection.deadlines.transport = NEVER;
        let greeted = connection
            .transport
            .as_ref()
            .is_some_and(|it| !it.tls_first() && it.listener() != Listener::WebSocket);
        let tls = connection.transport.as_ref().and_then(|it| it.tls());
        let leaf = tls.and_then(|it| it.peer_certificates().first());
        let certificate = leaf.and_then(|leaf| CertificateNames::read(leaf));
        connection.certificate = certificate.map(Box::new);
        let is_leaf = connection.leaf.is_some();
        let by_websocket = connection.transport.as_ref();
        let by_websocket = by_websocket.is_some_and(|it| it.listener() == Listener::WebSocket);
        if plain {
            connection.transport = None;
        }
        // Settings may have changed since it came.
        let authenticator = settings.authenticator(connection.listener);
        connection.phase = if authenticator.required() || is_leaf {
            Phase::Unauthenticated
        } else {
            Phase::Open
        };
        // What was held back until now may leave.
        if !std::mem::replace(&mut connection.dirty, true) {
            self.local.dirty.push_back(index);
        }
        if by_websocket && !is_leaf {
            self.join(index, AccountId::GLOBAL);
        }
        self.start_clocks(index);
        if !greeted {
            self.send_info(index, false);
        }
        if by_websocket && !is_leaf {
            return self.count(index);
        }
        self.debug_tls(index);
    }

    fn debug_tls(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let tls = connection.transport.as_ref().and_then(|it| it.tls());
        if let Some((version, suite)) = tls.map(|it| (it.version(), it.cipher_suite())) {
            self.local
                .debug(index, || "TLS handshake complete".to_owned());
            self.local.debug(index, || {
                format!("TLS version {version}, cipher suite {suite}")
            });
        }
    }

    pub(super) fn transport_failed(&mut self, index: u32, error: TransportError) {
        let local = &mut self.local;
        let Some(connection) = local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return;
        }
        // Only what the transport itself has to say still leaves.
        if error != TransportError::Throttled {
            connection.outbound.discard(&mut local.pool);
        }
        let is_client = connection.is_client;
        let is_link = connection.leaf.is_some();
        let established = connection.deadlines.transport == NEVER;
        let address = connection.address;
        let plainly = |local: &mut Local, level, text| local.effects.push(Effect::Log(level, text));
        match error {
            TransportError::Proxy(error) => {
                plainly(
                    local,
                    Level::Warn,
                    format!("Error reading PROXY protocol header from {address}: {error}"),
                );
                self.close(index, CloseReason::ProtocolViolation);
            }
            TransportError::Throttled => {
                self.send_error(index, error_text::CONNECTION_THROTTLING);
                self.close(index, CloseReason::MaximumConnectionsExceeded);
            }
            TransportError::Tls(error) if established => {
                self.local
                    .log(Level::Error, index, &format!("read error: {error}"));
                self.close(index, CloseReason::ReadError);
            }
            TransportError::NotUpgraded(why) => {
                let text = format!("Error soliciting websocket connection: {why}");
                self.local.log(Level::Error, index, &text);
                self.close(index, CloseReason::ReadError);
            }
            TransportError::Tls(error) if !is_client && !is_link => {
                plainly(
                    local,
                    Level::Error,
                    format!("websocket: http: TLS handshake error from {address}: {error}"),
                );
                self.close(index, CloseReason::TlsHandshakeError);
            }
            TransportError::Tls(error) if is_link => {
                if error.is_wrong_name()
                    && let Some(connection) = local.connections.at(index)
                    && let Some(leaf) = &mut connection.leaf
                {
                    leaf.wrong_name = true;
                }
                let text = format!("TLS leafnode handshake error: {error}");
                match error.is_probe() {
                    true => self.local.debug(index, || text),
                    false => self.local.log(Level::Error, index, &text),
                }
                self.close(index, CloseReason::TlsHandshakeError);
            }
            error @ (TransportError::Tls(_)
            | TransportError::NotPinned
            | TransportError::PeerRevoked) => {
                let probe = matches!(&error, TransportError::Tls(error) if error.is_probe());
                let kind = if is_link { "leafnode " } else { "" };
                let text = format!("TLS {kind}handshake error: {error}");
                if probe {
                    self.local.debug(index, || text);
                } else {
                    self.local.log(Level::Error, index, &text);
                }
                self.close(index, CloseReason::TlsHandshakeError);
            }
            TransportError::Refused(refusal) => {
                if let Some(reason) = &refusal.reason {
                    plainly(
                        local,
                        Level::Error,
                        format!("{address} - websocket handshake error: {reason}"),
                    );
                }
                let answer = refusal.answer(&crate::shard::query::http_date(self.local.wall));
                if let Some(connection) = self.local.connections.at(index)
                    && let Some(transport) = &mut connection.transport
                {
                    transport.say(&answer);
                }
                self.close(index, CloseReason::ClientClosed);
            }
            TransportError::S2(error) => {
                self.local
                    .log(Level::Error, index, &format!("read error: {error}"));
                self.close(index, CloseReason::ReadError);
            }
            TransportError::WebSocket(WebSocketError::Closed) => {
                self.close(index, CloseReason::ClientClosed);
            }
            TransportError::WebSocket(error) => {
                self.local
                    .log(Level::Error, index, &format!("read error: {error}"));
                let reason = match error {
                    WebSocketError::Inflate(InflateError::TooLong) | WebSocketError::TooLong => {
                        CloseReason::MaximumPayloadExceeded
                    }
                    _ => CloseReason::ProtocolViolation,
                };
                self.close(index, reason);
            }
        }
    }

    fn is_dialed(&mut self, index: u32) -> bool {
        let connection = self.local.connections.at(index);
        let transport = connection.and_then(|it| it.transport.as_ref());
        transport.is_some_and(|it| it.is_dialed())
    }

    /// What comes before the protocol has taken too long.
    pub(super) fn transport_due(&mut self, index: u32) {
        let allow_non_tls = self.local.settings.transports.allow_non_tls;
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.transport = NEVER;
        let Some(transport) = &mut connection.transport else {
            return;
        };
        match transport.expire(allow_non_tls) {
            Expired::Plain => self.protocol_begins(index, true),
            Expired::SendInfo(patience) => {
                connection.deadlines.transport = now + patience;
                self.send_info(index, false);
            }
            Expired::Proxy => {
                let text = format!(
                    "Error reading PROXY protocol header from {}: i/o timeout",
                    connection.address
                );
                self.local.effects.push(Effect::Log(Level::Warn, text));
                self.close(index, CloseReason::ProtocolViolation);
            }
            Expired::Tls => {
                self.local.log(Level::Error, index, "TLS handshake timeout");
                self.close(index, CloseReason::TlsHandshakeError);
            }
            Expired::Request if self.is_dialed(index) => {
                let text = "Error soliciting websocket connection: i/o timeout";
                self.local.log(Level::Error, index, text);
                self.close(index, CloseReason::ReadError);
            }
            Expired::Request => self.close(index, CloseReason::ClientClosed),
        }
    }

    /// A user whom the certificate names goes by that name, whatever the CONNECT said.
    pub(super) fn name_by_certificate(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(user) = &connection.user else { return };
        if !settings.transports.maps(connection.listener)
            || !connection.options.nkey.is_empty()
            || connection.options.user == *user.name
        {
            return;
        }
        let name = user.name.to_string();
        let said = std::mem::replace(&mut connection.options.user, name);
        if !said.is_empty() {
            let text = format!("User {said:?} found in connect proto, but user required from cert");
            self.local.effects.push(Effect::Log(Level::Warn, text));
        }
    }
}
