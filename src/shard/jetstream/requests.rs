//! Requests to the API that wait for shard 0 (JS-9).

use std::collections::VecDeque;

use serde::Serialize;

use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::subjects::ApiSubject;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::identity::{event_id, rfc3339};

use super::command::Request;
use super::send::Outgoing;

const LIMIT_REACHED: &[u8] = b"$JS.EVENT.ADVISORY.API.LIMIT_REACHED";
/// Requests looked at in one go; then the shard's other work has its turn.
const AT_ONCE: usize = 64;

/// Requests in the order they came. Those that only ask wait for all others.
#[derive(Default)]
pub(super) struct Requests {
    others: VecDeque<Request>,
    asking: VecDeque<Request>,
}

impl Requests {
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.asking.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.others.len() + self.asking.len()
    }

    fn pop(&mut self) -> Option<Request> {
        self.others.pop_front().or_else(|| self.asking.pop_front())
    }
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    dropped: usize,
}

impl Core {
    /// Puts a request behind those before it. Where too many wait all of them are dropped: their
    /// senders have given up, or will ask again.
    pub(super) fn js_queue_request(&mut self, request: Request) {
        let Some(settings) = &self.local.settings.jetstream else {
            return;
        };
        let subject = ApiSubject::parse(&request.subject);
        let requests = &mut self.jetstream.requests;
        let (queue, limit, name) = match subject.is_some_and(|it| it.endpoint.is_info()) {
            true => {
                let limit = settings.info_queue_limit;
                (&mut requests.asking, limit, "JetStream API info queue")
            }
            false => {
                let limit = settings.request_queue_limit;
                (&mut requests.others, limit, "JetStream API queue")
            }
        };
        queue.push_back(request);
        let dropped = queue.len();
        if dropped >= limit {
            queue.clear();
            let line = format!("{name} limit reached, dropping {dropped} requests");
            self.local.effects.push(Effect::Log(Level::Warn, line));
            self.js_tell_dropped(dropped);
        }
    }

    /// Looks at the first of those that wait.
    pub(super) fn js_take_requests(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(request) = self.jetstream.requests.pop() else {
                return;
            };
            self.js_request(&request);
        }
    }

    fn js_tell_dropped(&mut self, dropped: usize) {
        let Some(account) = self.local.settings.accounts.system() else {
            return;
        };
        let interest = &mut self.tables.of(account).interest;
        if interest.lookup(LIMIT_REACHED).is_nobody() {
            return;
        }
        let local = &mut self.local;
        let settings = local.settings.jetstream.clone();
        let info = std::sync::Arc::clone(&local.settings.info);
        let body = to_json(&Event {
            r#type: "io.nats.jetstream.advisory.v1.api_limit_reached",
            id: &event_id(|| local.random()),
            timestamp: &rfc3339(local.wall),
            server: &info.server_name,
            domain: settings.as_ref().map_or("", |it| &it.domain),
            dropped,
        });
        self.js_send(&Outgoing {
            account,
            to: LIMIT_REACHED,
            reply: Some(b""),
            payload: &body,
            ..Outgoing::default()
        });
    }
}
