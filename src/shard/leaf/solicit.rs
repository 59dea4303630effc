//! The handshake where we have connected (TOPO-18..21).

use std::sync::Arc;
use std::time::Duration;

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Connection, NEVER, Phase};
use crate::connection::leaf::{Leaf, LeafStage, LinkNews, Solicited};
use crate::ids::{AccountId, ConnectionId, Listener, PeerAddress};
use crate::protocol::leaf::connect::LeafConnect;
use crate::protocol::leaf::encode;
use crate::protocol::leaf::info::{LeafInfo, SERVER_PROTOCOL};
use crate::protocol::parser::Limits;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::leaf::settings::lines_max;
use crate::transport::dial::Dial;
use crate::transport::transport::Transport;

/// Time the INFO that answers our CONNECT may take (TOPO-11).
const ANSWER_MAX: Duration = Duration::from_secs(2);

impl Core {
    /// Takes on a connection that we have made to another server.
    pub fn solicit(&mut self, cid: ConnectionId, address: PeerAddress, with: Solicited) -> u32 {
        let settings = Arc::clone(&self.local.settings);
        let (now, wall) = (self.local.now, self.local.wall);
        let limits = Limits {
            max_control_line: lines_max(&settings),
            max_payload: settings.limits.max_payload,
            headers: !settings.limits.no_header_support,
        };
        let account = settings.accounts.find(&with.account);
        let name = with.account.clone();
        let Some(tenant) = settings.accounts.get(account.unwrap_or(AccountId::GLOBAL)) else {
            unreachable!("every view has the global account");
        };
        let patience = with.first_info_timeout;
        let opening = with.opening();
        let slot = self.local.connections.insert(|slot| {
            let tenant = Arc::clone(tenant);
            let mut connection = Connection::new(slot, cid, address, tenant, limits, wall, now);
            connection.listener = Listener::Leaf;
            connection.admitted = false;
            connection.is_client = false;
            connection.options.verbose = false;
            connection.options.pedantic = false;
            connection.deadlines.auth = now + patience;
            connection.phase = Phase::Open;
            let leaf = Leaf::solicited(with, settings.leaf.isolate);
            connection.leaf = Some(Box::new(leaf));
            connection
        });
        self.local.arm(slot.index);
        let text = format!("Leafnode connection created for account: {name}");
        self.local.log(Level::Info, slot.index, &text);
        if let Some(opening) = opening {
            self.dial(slot.index, opening);
        }
        match account {
            Some(account) => _ = self.join(slot.index, account),
            None => {
                self.local.log(
                    Level::Error,
                    slot.index,
                    "Unable to lookup account for solicited leafnode connection",
                );
                self.close(slot.index, CloseReason::AuthenticationFailure);
            }
        }
        slot.index
    }

    /// INFO.
    pub(super) fn leaf_info(&mut self, index: u32, json: &[u8]) {
        let info = match LeafInfo::parse(json) {
            Ok(info) => info,
            Err(error) => {
                self.local.log(Level::Error, index, &error.to_string());
                return self.close(index, CloseReason::ParseError);
            }
        };
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        if leaf.solicited.is_none() {
            return self.leaf_chose(index, &info);
        }
        if let Some(solicited) = &leaf.solicited {
            let places = match solicited.websocket {
                Some(_) => info.ws_connect_urls.clone(),
                None => info.leafnode_urls.clone(),
            };
            if let Some(places) = places.filter(|it| !it.is_empty()) {
                let news = LinkNews::Places(places);
                let news = Effect::LinkNews(solicited.remote, news);
                self.local.effects.push(news);
            }
        }
        if info.import.is_some() || info.export.is_some() {
            leaf.allow(info.import.clone(), info.export.clone());
        }
        match leaf.stage {
            LeafStage::AwaitsInfo => self.leaf_greeted(index, info),
            LeafStage::AwaitsCompressed => self.leaf_answer(index, info),
            LeafStage::AwaitsAnswer if info.connect_info => {
                leaf.account = info.remote_account;
                self.leaf_opened(index);
            }
            _ => {}
        }
    }

    /// Begins what comes before the protocol, or before its next part.
    fn dial(&mut self, index: u32, dial: Dial) {
        let now = self.local.now;
        let transport = match Transport::dial(dial) {
            Ok(transport) => transport,
            Err(error) => return self.transport_failed(index, error),
        };
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.auth = NEVER;
        connection.deadlines.transport = now + transport.patience();
        let is_tls = transport.is_handshaking();
        connection.transport = Some(transport);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.local.dirty.push_back(index);
        }
        self.local.arm(index);
        if is_tls {
            self.local
                .debug(index, || "Starting TLS leafnode client handshake".into());
        }
    }

    /// What came before the protocol, or before its next part, is done.
    pub(in crate::shard) fn dialed(&mut self, index: u32) {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.transport = NEVER;
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        if let Some(info) = leaf.greeting.take() {
            return self.leaf_secured(index, *info);
        }
        let patience = leaf.solicited.as_ref().map(|it| it.first_info_timeout);
        connection.deadlines.auth = now + patience.unwrap_or(ANSWER_MAX);
        self.local.arm(index);
    }

    /// The first INFO: is it a server's leaf port, and may we go on?
    fn leaf_greeted(&mut self, index: u32, info: LeafInfo) {
        if info.client_id == 0 || info.leafnode_urls.is_none() {
            self.local
                .log(Level::Error, index, "attempted to connect to wrong port");
            return self.close(index, CloseReason::WrongPort);
        }
        if info.cluster.contains(' ') {
            return self.leaf_refuse(index, "cluster name cannot contain spaces");
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        // A transport that is there has done what TLS there is to be.
        let is_plain = connection.transport.is_none();
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        let tls = leaf.solicited.as_ref().and_then(|it| it.tls.clone());
        match tls.filter(|_| is_plain) {
            Some(tls) => {
                leaf.stage = LeafStage::AwaitsTls;
                leaf.greeting = Some(Box::new(info));
                let dial = Dial {
                    tls: Some(tls),
                    websocket: None,
                };
                self.dial(index, dial);
            }
            None if is_plain && info.tls_required => {
                leaf.wants_tls = true;
                self.local
                    .debug(index, || "The hub requires TLS: connecting again".into());
                self.close(index, CloseReason::TlsHandshakeError);
            }
            None => self.leaf_secured(index, info),
        }
    }

    /// The first INFO is here, and TLS where it is to be.
    fn leaf_secured(&mut self, index: u32, info: LeafInfo) {
        if self.leaf_chooses(index, &info) {
            let now = self.local.now;
            if let Some(connection) = self.local.connections.at(index) {
                connection.deadlines.auth = now + ANSWER_MAX;
                self.local.arm(index);
            }
            return;
        }
        self.leaf_answer(index, info);
    }

    /// Sends CONNECT.
    fn leaf_answer(&mut self, index: u32, info: LeafInfo) {
        let settings = Arc::clone(&self.local.settings);
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.account;
        connection.limits.headers &= info.headers;
        connection.connected = true;
        connection.deadlines.auth = now + ANSWER_MAX;
        connection.deadlines.ping = now + settings.limits.ping_interval;
        connection.keep_alive.rtt = Some(now.since(connection.start_at));
        let headers = connection.limits.headers;
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        leaf.stage = LeafStage::AwaitsAnswer;
        let compression = leaf.compression.to_string();
        leaf.server = match info.server_name.as_str() {
            "" => info.server_id.clone(),
            _ => info.server_name,
        };
        leaf.domain = info.domain;
        leaf.traces = info.proto >= SERVER_PROTOCOL;
        leaf.set_cluster(info.cluster);
        let Some(solicited) = &leaf.solicited else {
            return;
        };
        let (user, pass) = solicited.user.clone().unwrap_or_default();
        let signature = solicited.signer.as_ref().and_then(|it| {
            let signature = it.sign(info.nonce.as_bytes()).ok()?;
            Some(data_encoding::BASE64URL_NOPAD.encode(&signature))
        });
        let nkey = solicited.signer.as_ref().map(|it| it.public_key());
        let connect = LeafConnect {
            version: settings.info.version.clone(),
            nkey: nkey
                .filter(|_| solicited.jwt.is_empty())
                .unwrap_or_default(),
            jwt: solicited.jwt.clone(),
            sig: signature.unwrap_or_default(),
            auth_token: if pass.is_empty() {
                user.clone()
            } else {
                String::new()
            },
            user,
            pass,
            server_id: settings.info.server_id.clone(),
            domain: settings.info.domain.clone(),
            name: settings.info.server_name.clone(),
            is_hub: solicited.hub,
            cluster: settings.leaf.cluster.clone(),
            headers,
            // In a cluster an account is taken to have it somewhere.
            jetstream: settings.leaf.clustered
                || settings
                    .jetstream
                    .as_ref()
                    .is_some_and(|it| it.accounts.contains_key(&account)),
            compress_mode: compression,
            deny_pub: solicited.deny_imports.clone(),
            isolate: solicited.request_isolation,
            remote_account: solicited.account.clone(),
            protocol: SERVER_PROTOCOL,
            ..LeafConnect::default()
        };
        let json = connect.json();
        self.local.append(index, |out| encode::connect(out, &json));
        self.local.arm(index);
        self.local
            .debug(index, || "Remote leafnode connect msg sent".into());
        if !info.info_on_connect {
            self.leaf_opened(index);
        }
    }

    /// A link has closed: one that we made is made again.
    pub(in crate::shard) fn leaf_ended(&mut self, index: u32, reason: CloseReason) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.tenant.name.to_string();
        let ended = connection.leaf.as_ref().and_then(|leaf| {
            let solicited = leaf.solicited.as_ref()?;
            let news = LinkNews::Ended {
                delay: leaf.delay,
                wants_tls: leaf.wants_tls,
                wrong_name: leaf.wrong_name,
            };
            Some(Effect::LinkNews(solicited.remote, news))
        });
        self.local.effects.extend(ended);
        let text = format!(
            "Leafnode connection closed: {} - Account: {account}",
            reason.text()
        );
        self.local.log(Level::Info, index, &text);
    }

    /// The other side has let us in.
    fn leaf_opened(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.deadlines.auth = NEVER;
        if !self.enter_link(index) {
            return;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if let Some(leaf) = &mut connection.leaf {
            leaf.stage = LeafStage::Open;
        }
        self.leaf_separates(index);
        self.announce_all(index);
        self.tell_connected(index);
    }
}
