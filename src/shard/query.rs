//! Answers to monitoring.

use std::sync::Arc;

use serde_json::json;

use crate::connection::connection::Connection;
use crate::connection::registry::Subscription;
use crate::ids::{ConnectionId, ShardId};
use crate::shard::core::Core;
use crate::shard::internal::INTERNAL;
use crate::shard::report::{
    AccountReport, ConnectionQuery, ConnectionReport, Counters, Query, ShardReport,
    ShownCertificate, SubscriptionReport, TlsReport, TransportReport,
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
            Query::Accounts => {
                let accounts = &self.local.settings.accounts;
                let tables = self.tables.iter();
                report.accounts = tables
                    .map(|(id, table)| AccountReport {
                        account: accounts.name(id).into(),
                        figures: table.figures,
                        routing: table.interest.stats(),
                    })
                    .collect();
            }
        }
        report
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

    fn connections_into(&self, wanted: &ConnectionQuery, report: &mut ShardReport) {
        let (wall, now) = (self.local.wall, self.local.now);
        let is_wanted = |cid: ConnectionId| wanted.cid.is_none_or(|only| only == cid);
        if wanted.open {
            let open = self.local.connections.iter().filter(|it| !it.closing());
            for connection in open.filter(|it| is_wanted(it.cid)) {
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
            let closed = closed.filter(|(it, _)| is_wanted(it.cid));
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
    let time = jiff::Timestamp::from_nanosecond(i128::from(wall.0)).unwrap_or_default();
    let user = connection.user.as_ref();
    let mut data = json!({
        "user": user.map_or("", |user| &user.name),
        "account": &*connection.tenant.name,
        "account_name": &*connection.tenant.name,
    });
    if let Some(permissions) = user.and_then(|user| user.permissions.as_ref()) {
        data["permissions"] = permissions.describe();
    }
    json!({
        "server": {
            "name": settings.info.server_name,
            "host": settings.info.host,
            "id": settings.info.server_id,
            "ver": settings.info.version,
            "feature_flags": settings.feature_flags,
            "jetstream": false,
            "flags": 0,
            "seq": 1,
            "time": time.to_string(),
        },
        "data": data,
    })
    .to_string()
    .into_bytes()
}
