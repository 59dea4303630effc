//! Answers to monitoring.

use std::sync::Arc;

use serde_json::json;

use crate::connection::connection::Connection;
use crate::connection::leaf::LeafStage;
use crate::connection::registry::Subscription;
use crate::ids::{ConnectionId, ShardId};
use crate::routing::subject::patterns_overlap;
use crate::shard::core::Core;
use crate::shard::internal::INTERNAL;
use crate::shard::link_report::{LinkQuery, LinkReport};
use crate::shard::report::{
    AccountReport, ConnectionQuery, ConnectionRank, ConnectionReport, Counters, IssuedReport,
    Query, RESPONSES_SHOWN, ResponseReport, ShardReport, ShownCertificate, SubscriptionReport,
    TlsReport, TransportReport,
};
use crate::shard::settings::Settings;
use crate::time::{Nanos, WallTime};

impl Core {
    /// Answers a question about this shard.
    pub fn report(&mut self, query: &Query) -> ShardReport {
        let mut report = ShardReport {
            counters: self.counters(),
            closed: self.local.closed.count() as u64,
            ..ShardReport::default()
        };
        match query {
            Query::Counters => {}
            Query::Connections(wanted) => self.connections_into(wanted, &mut report),
            Query::Subscriptions => {
                let subscriptions = self.local.subscriptions.iter();
                let cids: Vec<(u32, ConnectionId)> = self
                    .local
                    .connections
                    .iter()
                    .map(|it| (it.slot.index, it.cid))
                    .collect();
                let cid = |index: u32| {
                    let at = cids.binary_search_by_key(&index, |&(index, _)| index);
                    at.map_or(ConnectionId(0), |at| cids[at].1)
                };
                let accounts = &self.local.settings.accounts;
                report.subscriptions = subscriptions
                    .filter(|it| it.connection != INTERNAL)
                    .map(|it| subscription(it, accounts.name(it.account), cid(it.connection)))
                    .collect();
            }
            Query::Links(wanted) => report.links = self.links(wanted),
            Query::Responses(account) => {
                let open = self.local.services_of(*account);
                let open = open.into_iter().flat_map(|it| it.iter());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
                report.responses = open
                    .take(RESPONSES_SHOWN)
                    .map(|(made_up, reply)| ResponseReport {
                        made_up: text(&made_up),
                        account: reply.account,
                        subject: text(reply.subject()),
                        reply: text(reply.reply()),
                        measured: reply.measured.is_some(),
                    })
                    .collect();
            }
            Query::JetStream(wanted) => report.jetstream = self.js_report(wanted),
            Query::Accounts => report.accounts = self.accounts(),
        }
        report
    }

    fn accounts(&self) -> Vec<AccountReport> {
        let accounts = &self.local.settings.accounts;
        let connections = self.local.connections.iter();
        let links: Vec<_> = connections
            .filter(|it| it.leaf.as_ref().is_some_and(|leaf| leaf.counted))
            .map(|it| (it.account, it.traffic))
            .collect();
        let tables = self.tables.iter();
        let reports = tables.map(|(id, table)| {
            let mut figures = table.figures;
            let own = links.iter().filter(|(account, _)| *account == id);
            own.for_each(|(_, traffic)| figures.add_link(*traffic));
            AccountReport {
                account: accounts.name(id).into(),
                figures,
                routing: table.interest.stats(),
            }
        });
        reports.collect()
    }

    /// Links that are open.
    fn links(&self, wanted: &LinkQuery) -> Vec<LinkReport> {
        let (wall, now, id) = (self.local.wall, self.local.now, self.local.id);
        let connections = self.local.connections.iter().filter(|it| !it.closing());
        let open = connections.filter_map(|it| {
            let leaf = it.leaf.as_deref()?;
            let account = wanted.account.as_deref();
            let named = account.is_none_or(|name| *it.tenant.name == *name);
            (named && leaf.stage == LeafStage::Open).then_some((it, leaf))
        });
        let text = |text: &str| text.to_owned().into_boxed_str();
        open.map(|(it, leaf)| {
            let mut connection = describe(it, id, wall, now);
            if wanted.subscriptions {
                let ids = it.sids.iter();
                let all = ids.filter_map(|&id| self.local.subscriptions.get(id));
                connection.subscriptions_list = all
                    .map(|one| subscription(one, &it.tenant.name, it.cid))
                    .collect();
            }
            LinkReport {
                connection,
                server: text(&leaf.server),
                spoke: leaf.spoke,
                isolated: leaf.isolated,
                compression: text(&leaf.compression),
                reconnects: leaf.solicited.as_ref().map(|it| it.reconnects),
            }
        })
        .collect()
    }

    /// The shard's totals.
    pub fn counters(&self) -> Counters {
        let routing = self.tables.stats();
        Counters {
            inserts: routing.inserts,
            removes: routing.removes,
            matches: routing.matches,
            cache_hits: routing.cache_hits,
            cache_entries: routing.cache_entries,
            max_fanout: routing.max_fanout,
            total_fanout: routing.total_fanout,
            ..self.local.counters
        }
    }

    /// The first open connections that are wanted. Counts all in the account asked for.
    fn wanted_open(&self, wanted: &ConnectionQuery, report: &mut ShardReport) -> Vec<&Connection> {
        let (wall, now) = (self.local.wall, self.local.now);
        let mut found = Vec::new();
        let clients = |it: &&Connection| !it.closing() && it.leaf.is_none();
        for connection in self.local.connections.iter().filter(clients) {
            let account = wanted.account.as_deref();
            let rank = rank(connection, wall, now);
            let in_account = account.is_none_or(|name| *connection.tenant.name == *name);
            if in_account {
                report.open += 1;
                report.pending_bytes += rank.pending_bytes;
            }
            // One found by its number is shown whoever it belongs to.
            let wanted_here = match wanted.cid {
                Some(cid) => connection.cid == cid,
                None => in_account && self.is_wanted(wanted, connection),
            };
            if wanted_here {
                found.push((wanted.order.key(&rank, wall), connection));
            }
        }
        if wanted.most < found.len() {
            if wanted.most > 0 {
                found.select_nth_unstable_by_key(wanted.most - 1, |(key, _)| *key);
            }
            found.truncate(wanted.most);
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        found
            .into_iter()
            .map(|(_, connection)| connection)
            .collect()
    }

    fn is_wanted(&self, wanted: &ConnectionQuery, connection: &Connection) -> bool {
        let user = connection.user.as_ref().map_or("", |user| &*user.name);
        let subscriptions = || {
            let ids = connection.sids.iter();
            ids.filter_map(|&id| self.local.subscriptions.get(id))
        };
        wanted.user.as_deref().is_none_or(|wanted| wanted == user)
            && wanted.filter_subject.as_deref().is_none_or(|pattern| {
                subscriptions().any(|it| patterns_overlap(it.subject(), pattern.as_bytes()))
            })
    }

    fn connections_into(&self, wanted: &ConnectionQuery, report: &mut ShardReport) {
        let (wall, now) = (self.local.wall, self.local.now);
        if wanted.open {
            for connection in self.wanted_open(wanted, report) {
                let mut described = describe(connection, self.local.id, wall, now);
                if wanted.subscriptions {
                    let ids = connection.sids.iter();
                    described.subscriptions_list = ids
                        .filter_map(|&id| self.local.subscriptions.get(id))
                        .map(|it| subscription(it, &connection.tenant.name, connection.cid))
                        .collect();
                }
                report.connections.push(described);
            }
        }
        if wanted.closed {
            let closed = self.local.closed.iter();
            // Whoever asks for an account, too, is told how many it has.
            let all = wanted.cid.is_none() || wanted.account.is_some();
            let closed = closed.filter(|(it, _)| all || wanted.cid == Some(it.cid));
            report.connections.extend(closed.map(|(it, subscriptions)| {
                let mut described = it.clone();
                if wanted.subscriptions {
                    described.subscriptions_list = subscriptions.to_vec();
                }
                described
            }));
        }
    }
}

/// What a connection is sorted by.
fn rank(connection: &Connection, wall: WallTime, now: Nanos) -> ConnectionRank {
    let idle = now.since(connection.keep_alive.last_in).as_nanos() as u64;
    ConnectionRank {
        cid: connection.cid,
        start: connection.start,
        last_activity: WallTime(wall.0.saturating_sub(idle)),
        closed: None,
        rtt: connection.keep_alive.rtt,
        pending_bytes: connection.outbound.pending() as u64,
        traffic: connection.traffic,
        subscriptions: connection.sids.len() as u64,
    }
}

/// The token it came with, as monitoring shows it.
fn issued(connection: &Connection) -> Option<Arc<IssuedReport>> {
    let issued = connection.user.as_ref()?.issued.as_ref()?;
    let bearer = issued.claims.body.limits.bearer_token;
    Some(Arc::new(IssuedReport {
        issuer_key: issuer_key(connection).unwrap_or_default().into(),
        // Whoever has it needs nothing else.
        jwt: if bearer { "" } else { &connection.options.jwt }.into(),
        tags: issued.claims.body.tags.clone(),
    }))
}

/// The key that issued its token.
pub(super) fn issuer_key(connection: &Connection) -> Option<&str> {
    let issued = connection.user.as_ref()?.issued.as_ref()?;
    Some(
        issued
            .signing_key
            .as_deref()
            .unwrap_or(&connection.tenant.name),
    )
}

/// How a connection reached us.
fn transport(connection: &Connection) -> TransportReport {
    let transport = connection.transport.as_ref();
    let tls = transport.and_then(|it| it.tls()).map(|tls| {
        let certificates = tls.peer_certificates().iter();
        Arc::new(TlsReport {
            version: tls.version(),
            cipher_suite: tls.cipher_suite(),
            first: transport.is_some_and(|it| it.tls_first()),
            peer: certificates
                .filter_map(|it| ShownCertificate::read(it))
                .collect(),
        })
    });
    TransportReport {
        listener: connection.listener,
        tls,
        proxy: connection.proxy.clone(),
    }
}

/// A connection as monitoring shows it.
pub(super) fn describe(
    connection: &Connection,
    shard: ShardId,
    wall: WallTime,
    now: Nanos,
) -> ConnectionReport {
    let idle = now.since(connection.keep_alive.last_in).as_nanos() as u64;
    let options = &connection.options;
    ConnectionReport {
        cid: connection.cid,
        shard,
        address: connection.address,
        start: connection.start,
        last_activity: WallTime(wall.0.saturating_sub(idle)),
        closed: None,
        rtt: connection.keep_alive.rtt,
        pending_bytes: connection.outbound.pending() as u64,
        in_msgs: connection.traffic.in_msgs,
        out_msgs: connection.traffic.out_msgs,
        in_bytes: connection.traffic.in_bytes,
        out_bytes: connection.traffic.out_bytes,
        stalls: connection.stalls,
        rate_limited: connection.rate_limited,
        subscriptions: connection.sids.len() as u64,
        name: options.name.as_str().into(),
        lang: options.lang.as_str().into(),
        version: options.version.as_str().into(),
        transport: transport(connection),
        authorized_user: connection
            .user
            .as_ref()
            .map_or_else(|| Arc::from(""), |user| Arc::clone(&user.name)),
        account: Arc::clone(&connection.tenant.name),
        name_tag: Arc::clone(&connection.tenant.name_tag),
        issued: issued(connection),
        subscriptions_list: Vec::new(),
    }
}

/// A subscription as monitoring shows it.
pub(super) fn subscription(
    it: &Subscription,
    account: &str,
    cid: ConnectionId,
) -> SubscriptionReport {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    SubscriptionReport {
        account: account.into(),
        subject: text(it.subject()),
        queue: it.queue.as_deref().map(text),
        sid: text(it.sid()),
        msgs: it.delivered,
        max: it.max,
        cid,
    }
}

/// A time of day as HTTP has it.
pub(super) fn http_date(wall: WallTime) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(wall.0)).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The answer to `$SYS.REQ.USER.INFO` (MON-56).
pub(super) fn user_info(connection: &Connection, settings: &Settings, wall: WallTime) -> Vec<u8> {
    let user = connection.user.as_ref();
    let mut data = json!({
        "user": user.map_or("", |user| &user.name),
        "account": &*connection.tenant.name,
        "account_name": &*connection.tenant.name_tag,
    });
    let trust = settings.authenticator.trust();
    if let Some(issued) = user.and_then(|user| user.issued.as_ref()) {
        let name = &issued.claims.standard.name;
        if trust.is_some() && !name.is_empty() {
            data["user_name"] = name.as_str().into();
        }
        if let Some(end) = issued.expires {
            // Whole seconds, in nanoseconds.
            let left = end.0.saturating_sub(wall.0) / 1_000_000_000 * 1_000_000_000;
            data["expires"] = left.into();
        }
    }
    if let Some(permissions) = user.and_then(|user| user.permissions.as_ref()) {
        data["permissions"] = permissions.describe();
    }
    let server = settings.identity.stamp(wall);
    format!("{{\"server\":{server},\"data\":{data}}}").into_bytes()
}
