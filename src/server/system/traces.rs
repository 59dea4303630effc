//! The tracing service: puts the parts of traces together and publishes them (CORE-98).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::pack;
use super::requests::wall;
use super::services::{Outlet, Service};
use crate::server::reload::Reloader;
use crate::shard::internal::{InternalMessage, InternalPublish};

/// Longest wait for the part of a shard.
const PATIENCE: Duration = Duration::from_secs(1);
/// Traces that wait for parts; those of more are dropped.
const WAITING_MAX: usize = 1024;

/// The service.
pub(in crate::server) struct Traces {
    reloader: Arc<Reloader>,
    waiting: HashMap<u64, Waiting>,
}

/// A trace some of whose parts are not there.
struct Waiting {
    since: Instant,
    /// What came from where the message came in.
    origin: Option<(InternalMessage, Value)>,
    events: Vec<Value>,
    /// Parts that have come, and parts that are known to come.
    parts: u64,
    expected: u64,
    /// Links it left by.
    hops: u64,
}

impl Waiting {
    fn is_whole(&self) -> bool {
        self.origin.is_some() && self.parts == self.expected
    }
}

impl Traces {
    /// The service.
    pub(in crate::server) fn new(reloader: Arc<Reloader>) -> Self {
        Self {
            reloader,
            waiting: HashMap::new(),
        }
    }

    fn publish(&self, whole: Waiting, outlet: &Outlet) {
        let Some((origin, request)) = whole.origin else {
            return;
        };
        let Some(destination) = origin.reply.clone() else {
            return;
        };
        let server = self.reloader.identity().stamp(wall());
        let events = Value::Array(whole.events);
        let hops = match whole.hops {
            0 => String::new(),
            hops => format!("\"hops\":{hops},"),
        };
        let event =
            format!("{{\"server\":{server},\"request\":{request},{hops}\"events\":{events}}}");
        let (header, payload) = pack(&origin, event);
        outlet.publish(InternalPublish {
            account: origin.account,
            subject: destination,
            header: header.into(),
            payload: payload.into(),
            ..InternalPublish::default()
        });
    }
}

impl Service for Traces {
    fn start(&mut self, _outlet: &Outlet) {}

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        let id = std::str::from_utf8(&message.subject).ok();
        let Some(id) = id.and_then(|it| it.parse::<u64>().ok()) else {
            return;
        };
        let Ok(Value::Object(mut part)) = serde_json::from_slice(&message.payload) else {
            return;
        };
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&id) {
            return;
        }
        let waiting = self.waiting.entry(id).or_insert_with(|| Waiting {
            since: Instant::now(),
            origin: None,
            events: Vec::new(),
            parts: 0,
            expected: 0,
            hops: 0,
        });
        waiting.expected += part.get("parts").and_then(Value::as_u64).unwrap_or(0);
        waiting.hops += part.get("hops").and_then(Value::as_u64).unwrap_or(0);
        let Some(Value::Array(mut events)) = part.remove("events") else {
            return;
        };
        if message.reply.is_some() {
            let request = part.remove("request").unwrap_or_default();
            waiting.origin = Some((message.clone(), request));
            // What came in stands in front.
            events.append(&mut waiting.events);
            waiting.events = events;
        } else {
            waiting.parts += 1;
            waiting.events.append(&mut events);
        }
        if waiting.is_whole()
            && let Some(whole) = self.waiting.remove(&id)
        {
            self.publish(whole, outlet);
        }
    }

    fn tick(&mut self, now: Instant, outlet: &Outlet) {
        let late: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, it)| now.saturating_duration_since(it.since) > PATIENCE)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(part) = self.waiting.remove(&id) {
                self.publish(part, outlet);
            }
        }
    }
}
