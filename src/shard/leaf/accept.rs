//! The handshake where the other side has connected (TOPO-8..14).

use std::sync::Arc;

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::{Holds, Owed};
use crate::connection::jetstream_wall::{JetStreamWall, Neighbours};
use crate::connection::leaf::{Leaf, LeafStage};
use crate::ids::{AccountId, Listener, Slot};
use crate::protocol::error_text;
use crate::protocol::leaf::connect::LeafConnect;
use crate::protocol::leaf::info::{LeafInfo, SERVER_PROTOCOL, SubjectLists};
use crate::protocol::leaf::version;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::leaf::settings::lines_max;

/// Who is at the other end of a link, so that a later one of the same server takes its place
/// (TOPO-14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkIdentity {
    /// Name of the server.
    pub server: String,
    /// Its cluster.
    pub cluster: String,
    /// Account over there.
    pub remote_account: String,
    /// Account here.
    pub account: String,
}

impl Core {
    /// A server asked for a leaf link over a WebSocket. False where none are taken (TOPO-46).
    pub(in crate::shard) fn becomes_leaf(&mut self, index: u32) -> bool {
        let settings = Arc::clone(&self.local.settings);
        if settings.leaf.port == 0 {
            return false;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        connection.listener = Listener::Leaf;
        connection.limits.max_control_line = lines_max(&settings);
        connection.leaf = Some(Box::new(Leaf::accepted(settings.leaf.isolate)));
        self.join(index, AccountId::GLOBAL);
        self.prepare(index);
        self.local
            .log(Level::Info, index, "Leafnode connection created");
        true
    }

    /// Sends the INFO of a leaf listener; `connected` for the second one, after CONNECT.
    pub(in crate::shard) fn send_leaf_info(&mut self, index: u32, connected: bool) {
        let settings = Arc::clone(&self.local.settings);
        let compression = self.offered_compression(index);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection
            .leaf
            .as_ref()
            .is_none_or(|it| it.solicited.is_some())
        {
            return;
        }
        let server = &settings.info;
        let own = &settings.leaf;
        let tls = settings.transports.leaf_tls.as_ref();
        let mut info = LeafInfo {
            server_id: server.server_id.clone(),
            server_name: server.server_name.clone(),
            version: server.version.clone(),
            proto: SERVER_PROTOCOL,
            git_commit: server.git_commit.clone(),
            go: server.go.clone(),
            host: own.host.clone(),
            port: own.port,
            headers: server.headers,
            auth_required: true,
            tls_required: tls.is_some(),
            tls_verify: tls.is_some_and(|it| it.verify),
            max_payload: i32::try_from(settings.limits.max_payload).unwrap_or(i32::MAX),
            jetstream: server.jetstream,
            client_id: connection.cid.0,
            cluster: own.cluster.clone(),
            domain: server.domain.clone(),
            ip: format!("{}:{}", own.host, own.port),
            leafnode_urls: Some(own.urls.clone()),
            ws_connect_urls: Some(server.ws_connect_urls.clone()).filter(|it| !it.is_empty()),
            info_on_connect: true,
            api_lvl: server.api_lvl,
            ..LeafInfo::default()
        };
        if connected {
            info.connect_info = true;
            info.remote_account = connection.tenant.name.to_string();
            info.acc_is_sys = settings.accounts.system() == Some(connection.account);
            let user = connection.user.as_ref();
            if let Some(permissions) = user.and_then(|user| user.permissions.as_ref()) {
                let [publish, subscribe] = permissions.lists();
                let answers = permissions.responses().is_some();
                let lists = |(allow, deny): (Option<Vec<String>>, Vec<String>)| {
                    // Nothing but answers: the list of answers is not told.
                    let allow = allow.filter(|it| !it.is_empty() || !answers);
                    let some = allow.is_some() || !deny.is_empty();
                    some.then_some(SubjectLists { allow, deny })
                };
                info.import = lists(subscribe);
                info.export = lists(publish);
            }
        } else {
            info.nonce = String::from_utf8_lossy(&connection.nonce).into_owned();
            info.compression = match &connection.leaf {
                // Again, after both agreed.
                Some(leaf) if leaf.negotiated && leaf.adapts.is_none() => {
                    leaf.compression.to_string()
                }
                _ => compression.to_owned(),
            };
        }
        let line = info.line();
        self.send(index, &line);
        let json = line.get(5..).unwrap_or_default().trim_ascii();
        self.local.trace_out(index, "INFO", Some(json));
    }

    /// CONNECT.
    pub(super) fn leaf_connect(&mut self, index: u32, json: &[u8]) {
        let settings = Arc::clone(&self.local.settings);
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let read = LeafConnect::parse(json)
            .and_then(|connect| connection.options.update(json).map(|()| connect));
        let connect = match read {
            Ok(connect) => connect,
            Err(error) => {
                self.local.log(Level::Error, index, &error.to_string());
                return self.close(index, CloseReason::ParseError);
            }
        };
        // Only clients say what language they are written in (TOPO-4).
        if !connection.options.lang.is_empty() {
            return self.leaf_refuse(index, "attempted to connect to leaf node port");
        }
        let options = &mut connection.options;
        options.verbose = false;
        options.pedantic = false;
        options.no_responders = false;
        connection.connected = true;
        connection.deadlines.auth = crate::connection::connection::NEVER;
        connection.keep_alive.rtt = Some(now.since(connection.start_at));
        connection.limits.headers = !settings.limits.no_header_support && connect.headers;
        if let Some(leaf) = &mut connection.leaf {
            if !std::mem::replace(&mut leaf.negotiated, true) && !connect.compress_mode.is_empty() {
                leaf.compression = connect.compress_mode.into();
            }
            leaf.spoke = connect.is_hub;
            leaf.traces = connect.protocol >= SERVER_PROTOCOL;
            leaf.server = connect.name;
            leaf.domain = connect.domain;
            leaf.account = connect.remote_account;
            leaf.isolated |= connect.isolate;
            leaf.set_cluster(connect.cluster);
            leaf.refuse(connect.deny_pub);
            leaf.gateway = connect.gateway;
        }
        self.authenticate(index);
    }

    /// The rest of a CONNECT after the credentials were found good.
    pub(in crate::shard) fn leaf_connected(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &connection.leaf else {
            return;
        };
        if leaf.cluster.contains(' ') {
            return self.leaf_refuse(index, "cluster name cannot contain spaces");
        }
        if !leaf.cluster.is_empty() && leaf.cluster == settings.leaf.cluster {
            return self.leaf_refuse(index, "remote leafnode has same cluster name");
        }
        if !leaf.gateway.is_empty() {
            let text = format!(
                "Rejecting connection from gateway {:?} on the leafnode port",
                leaf.gateway
            );
            return self.leaf_refuse(index, &text);
        }
        if let Some(least) = &settings.leaf.min_version
            && !version::is_at_least(&connection.options.version, least)
        {
            self.send_leaf_info(index, true);
            let text = format!("connection rejected since minimum version required is {least:?}");
            return self.leaf_refuse(index, &text);
        }
        if !self.enter_link(index) {
            return;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &connection.leaf else {
            return;
        };
        let identity = LinkIdentity {
            server: leaf.server.clone(),
            cluster: leaf.cluster.clone(),
            remote_account: leaf.account.clone(),
            account: connection.tenant.name.to_string(),
        };
        let (cid, slot) = (connection.cid, connection.slot);
        if identity.server.is_empty() || identity.remote_account.is_empty() {
            return self.leaf_let_in(index);
        }
        self.replace_link(&identity, cid);
        let others = self.local.peers.others().count();
        if others == 0 {
            return self.leaf_let_in(index);
        }
        // What an older link brought must be gone before this one hears what interest there is:
        // its own would look like a loop to it.
        if let Some(connection) = self.local.connections.at(index)
            && let Some(leaf) = &mut connection.leaf
        {
            leaf.replacing = others;
            connection.holds.add(Holds::VERIFY);
        }
        let news = Effect::LinkOpened(Box::new(identity), cid, slot);
        self.local.effects.push(news);
    }

    /// Another shard has no older link of this server any more, and has said so to the others.
    pub fn link_replaced(&mut self, slot: Slot) {
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        leaf.replacing = leaf.replacing.saturating_sub(1);
        if leaf.replacing > 0 || connection.closing() || !connection.holds.remove(Holds::VERIFY) {
            return;
        }
        if !connection.holds.any() {
            self.local.ready.push(slot);
        }
        // What it said to us comes before the answer to this.
        self.local.peers.broadcast_mark();
        connection.interest_mark = self.local.peers.interest_sent();
        self.after_barrier(slot.index, Owed::Link);
    }

    /// Answers CONNECT.
    pub(in crate::shard) fn leaf_let_in(&mut self, index: u32) {
        let interval = self.local.settings.limits.ping_interval;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.closing() {
            return; // while it waited: nobody may speak to its place any more
        }
        let first_ping = interval.min(crate::limits::FIRST_PING);
        connection.deadlines.ping = self.local.now + first_ping;
        if let Some(leaf) = &mut connection.leaf {
            leaf.stage = LeafStage::Open;
        }
        self.local.arm(index);
        self.leaf_separates(index);
        self.send_leaf_info(index, true);
        self.announce_all(index);
    }

    /// Decides what of JetStream stays on this side of a link (TOPO-51..54).
    pub(super) fn leaf_separates(&mut self, index: u32) {
        let settings = Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let system = settings.accounts.system() == Some(connection.account);
        let account = &connection.tenant.name;
        let mut without_domain = settings.leaf.without_domain.iter();
        let without_domain = without_domain.any(|it| **it == **account);
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        let (domain, remote_domain) = (settings.info.domain.as_str(), leaf.domain.as_str());
        let text = match system {
            true => format!("System account connected from {}", leaf.decorated()),
            false => format!("JetStream using domains: local {domain:?}, remote {remote_domain:?}"),
        };
        leaf.wall = JetStreamWall::between(Neighbours {
            domain,
            remote_domain,
            enabled: settings.info.jetstream,
            system,
            without_domain,
        });
        self.local.log(Level::Info, index, &text);
        if system {
            let text = "JetStream not extended, domains differ";
            self.local.log(Level::Info, index, text);
        }
    }

    /// Closes an older link of the same server in the same accounts.
    pub fn replace_link(&mut self, identity: &LinkIdentity, by: crate::ids::ConnectionId) {
        let old = self.local.connections.iter().find(|it| {
            let same = |leaf: &crate::connection::leaf::Leaf| {
                leaf.solicited.is_none()
                    && leaf.server == identity.server
                    && leaf.cluster == identity.cluster
                    && leaf.account == identity.remote_account
            };
            it.cid < by
                && it.connected
                && !it.closing()
                && *it.tenant.name == *identity.account
                && it.leaf.as_deref().is_some_and(same)
        });
        let Some(index) = old.map(|it| it.slot.index) else {
            return;
        };
        self.complain(index, "Duplicate Remote LeafNode Connection");
        self.close(index, CloseReason::DuplicateRemoteLeafNode);
    }

    pub(super) fn leaf_refuse(&mut self, index: u32, text: &str) {
        self.complain(index, text);
        self.close(index, CloseReason::ProtocolViolation);
    }

    /// A link may say nothing before its CONNECT (TOPO-10).
    pub(in crate::shard) fn leaf_must_connect(&mut self, index: u32) {
        self.send_error(index, error_text::AUTHORIZATION_VIOLATION);
        self.close(index, CloseReason::ProtocolViolation);
    }
}
