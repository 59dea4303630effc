//! The server's figures as it tells them by itself and when it is asked (MON-44, MON-63).

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::ops::http::answers::Answers;
use crate::shard::identity::{ServerIdentity, rfc3339};
use crate::shard::report::Query;
use crate::time::WallTime;

/// The first message comes this long after the start.
const FIRST: Duration = Duration::from_millis(250);
/// From then on twice as long from one to the next, up to this.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// When the next figures are due.
pub(super) struct Heartbeat {
    next: Instant,
    interval: Duration,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now + FIRST,
            interval: FIRST,
        }
    }

    /// Is it time? If so the next time is set.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.interval = (self.interval * 2).min(INTERVAL_MAX);
        self.next = now + self.interval;
        true
    }
}

#[derive(Serialize)]
struct Volume {
    msgs: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ByKind {
    clients: u64,
    routes: u64,
    gateways: u64,
    leafs: u64,
}

impl ByKind {
    fn clients(clients: u64) -> Option<Self> {
        (clients > 0).then_some(Self {
            clients,
            routes: 0,
            gateways: 0,
            leafs: 0,
        })
    }
}

#[derive(Serialize)]
struct Statsz {
    start: String,
    mem: u64,
    cores: usize,
    cpu: f64,
    connections: u64,
    total_connections: u64,
    active_accounts: usize,
    subscriptions: u64,
    sent: Volume,
    sent_to_clients: Volume,
    received: Volume,
    received_from_clients: Volume,
    slow_consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_consumer_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "is_zero")]
    stale_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_connection_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "is_zero")]
    stalled_clients: u64,
    active_servers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetstream: Option<Value>,
    #[serde(skip_serializing_if = "is_zero")]
    gomemlimit: u64,
    gomaxprocs: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The message, in its own envelope.
pub(super) fn message(answers: &Answers, identity: &ServerIdentity, now: WallTime) -> String {
    let facts = answers.facts();
    let counters = answers.totals();
    let usage = answers.usage();
    let mut active: Vec<_> = answers
        .figures()
        .ask(Query::Accounts)
        .into_iter()
        .flat_map(|report| report.accounts)
        .filter(|it| it.figures.connections > 0)
        .map(|it| it.account)
        .collect();
    active.sort_unstable();
    active.dedup();
    let sent = || Volume {
        msgs: counters.out_msgs,
        bytes: counters.out_bytes,
    };
    let received = || Volume {
        msgs: counters.in_msgs,
        bytes: counters.in_bytes,
    };
    let statsz = Statsz {
        start: rfc3339(facts.start),
        mem: usage.memory,
        cores: usage.cores,
        cpu: usage.cpu,
        connections: counters.connections,
        total_connections: counters.total_connections,
        active_accounts: active.len(),
        subscriptions: counters.subscriptions,
        sent: sent(),
        sent_to_clients: sent(),
        received: received(),
        received_from_clients: received(),
        slow_consumers: counters.slow_consumers,
        slow_consumer_stats: ByKind::clients(counters.slow_consumers),
        stale_connections: counters.stale_connections,
        stale_connection_stats: ByKind::clients(counters.stale_connections),
        stalled_clients: counters.stalled_clients,
        active_servers: 1,
        jetstream: answers.jetstream(),
        gomemlimit: facts.options.memory_limit.unwrap_or(0),
        gomaxprocs: facts.shards,
    };
    let statsz = serde_json::to_string(&statsz).unwrap_or_default();
    format!("{{\"server\":{},\"statsz\":{statsz}}}", identity.stamp(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_063_the_interval_doubles_up_to_ten_seconds() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        let mut due = Vec::new();
        for tick in 0..200 {
            let now = start + Duration::from_millis(250 * tick);
            if heartbeat.is_due(now) {
                due.push((now - start).as_millis());
            }
        }
        assert_eq!(
            due,
            [250, 750, 1750, 3750, 7750, 15750, 25750, 35750, 45750]
        );
    }
}
