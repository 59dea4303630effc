//! Measurements of services, published in the account that has them (AUTH-60..66).

use std::sync::Arc;

use crate::accounts::import::ServiceImport;
use crate::accounts::latency;
use crate::accounts::replies::{Measured, Reply};
use crate::ids::{AccountId, Slot};
use crate::shard::core::Core;
use crate::shard::deliver::{Message, Sizes};
use crate::shard::request_info;
use crate::time::WallTime;

impl Core {
    /// What is to be remembered of a request, if it is one of those that are measured.
    pub(super) fn measured(
        &mut self,
        import: &ServiceImport,
        message: &Message<'_>,
    ) -> Option<Box<Measured>> {
        let latency = import.export.latency.as_ref()?;
        let header = message.header_len.and_then(|len| message.body.get(..len));
        let random = self.local.random();
        let header = latency::sampled(latency.sampling, header, random)?;
        Some(Box::new(Measured {
            share: message.hop.map_or(import.share, |hop| hop.share),
            header,
        }))
    }

    /// The answer to a measured request has come: once.
    pub(super) fn report_answer(&mut self, account: AccountId, message: &Message<'_>) {
        let responder = match message.source {
            Some((home, _)) if home != self.local.id => self.local.services.publisher(home),
            _ => self.shown(self.own_source(message), true),
        };
        let replies = self.local.services_of(account);
        let Some(entry) = replies.and_then(|it| it.find(message.subject)) else {
            return;
        };
        let Some(measured) = entry.measured.take() else {
            return;
        };
        let (requester, at) = (entry.requester, entry.at);
        let export = Arc::clone(&entry.export);
        let took = self.local.now.since(at).as_nanos() as u64;
        let mut metric = latency::Metric {
            status: 200,
            header: measured.header,
            ..latency::Metric::default()
        };
        let requester_rtt = self.rtt(requester);
        let rtt_of = |it: &serde_json::Value| it["rtt"].as_u64().unwrap_or(0);
        let responder_rtt = responder.as_ref().map_or(0, rtt_of);
        metric.service = took.saturating_sub(responder_rtt);
        metric.total = requester_rtt + took;
        metric.start = self.started(took + requester_rtt);
        metric.requestor = self.shown(requester, measured.share);
        metric.responder = responder;
        self.publish_metric(account, &export.latency_subject(), &metric);
    }

    /// Tells the shard where a request is measured who answers it, ahead of the answer.
    pub(super) fn introduce_responder(&mut self, slot: Slot, account: AccountId, subject: &[u8]) {
        let shards = self
            .tables
            .of(account)
            .interest
            .lookup(subject)
            .remote_plain;
        if shards == 0 {
            return;
        }
        let Some(responder) = self.shown(Some(slot), true) else {
            return;
        };
        let responder = responder.to_string();
        for shard in self.local.peers.others() {
            if shards & (1 << shard.0) != 0 {
                self.local.peers.outgoing(shard).about(responder.as_bytes());
            }
        }
    }

    /// A measured request gets no answer.
    pub(super) fn report_failure(&mut self, account: AccountId, reply: Reply, status: u16) {
        let Some(measured) = reply.measured else {
            return;
        };
        let took = self.local.now.since(reply.at).as_nanos() as u64;
        let metric = latency::Metric {
            status,
            header: measured.header,
            start: self.started(took + self.rtt(reply.requester)),
            requestor: self.shown(reply.requester, measured.share),
            ..latency::Metric::default()
        };
        self.publish_metric(account, &reply.export.latency_subject(), &metric);
    }

    /// A request that was to be measured wants no answer.
    pub(super) fn report_bad_request(
        &mut self,
        import: &ServiceImport,
        message: &Message<'_>,
        measured: Measured,
    ) {
        let requester = self.own_source(message);
        let metric = latency::Metric {
            status: 400,
            header: measured.header,
            start: self.started(self.rtt(requester)),
            requestor: self.shown(requester, import.share),
            ..latency::Metric::default()
        };
        self.publish_metric(import.account, &import.export.latency_subject(), &metric);
    }

    fn rtt(&self, slot: Option<Slot>) -> u64 {
        let connection = slot.and_then(|it| self.local.connections.get(it));
        let rtt = connection.and_then(|it| it.keep_alive.rtt);
        rtt.unwrap_or_default().as_nanos() as u64
    }

    fn started(&self, before_ns: u64) -> String {
        time(WallTime(self.local.wall.0.saturating_sub(before_ns)))
    }

    fn shown(&self, slot: Option<Slot>, detailed: bool) -> Option<serde_json::Value> {
        let connection = self.local.connections.get(slot?)?;
        let mut info = request_info::describe(connection, detailed);
        if detailed {
            info.server = &self.local.settings.info.server_name;
        }
        serde_json::to_value(info).ok()
    }

    fn publish_metric(&mut self, account: AccountId, subject: &str, metric: &latency::Metric) {
        let random = [self.local.secret_random(), self.local.secret_random()];
        let body = metric.json(&time(self.local.wall), random);
        let mut sizes = Sizes::default();
        let mut message = Message {
            reply: Some(b""),
            ..Message::own(account, subject.as_bytes(), &body, 0, &mut sizes)
        };
        self.route(&mut message);
    }
}

fn time(at: WallTime) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(at.0));
    time.unwrap_or_default().to_string()
}
