//! Events of streams and consumers that come and go (JS-232, JS-233).

use serde::Serialize;

use crate::ids::AccountId;
use crate::shard::core::Core;
use crate::shard::identity::{event_id, rfc3339};

use super::send::Outgoing;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Created,
    Updated,
    Deleted,
}

impl Happened {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Created => ("CREATED", "create"),
            Self::Updated => ("UPDATED", "modify"),
            Self::Deleted => ("DELETED", "delete"),
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    consumer: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

impl Core {
    /// Publishes what happened to a stream, or to its consumer if there is a name, if anybody
    /// listens.
    pub(super) fn js_tell_of(
        &mut self,
        account: AccountId,
        stream: &str,
        consumer: &str,
        happened: Happened,
    ) {
        let (word, action) = happened.words();
        let (subject, kind) = match consumer {
            "" => (
                format!("$JS.EVENT.ADVISORY.STREAM.{word}.{stream}"),
                "io.nats.jetstream.advisory.v1.stream_action",
            ),
            consumer => (
                format!("$JS.EVENT.ADVISORY.CONSUMER.{word}.{stream}.{consumer}"),
                "io.nats.jetstream.advisory.v1.consumer_action",
            ),
        };
        let interest = &mut self.tables.of(account).interest;
        if interest.lookup(subject.as_bytes()).is_nobody() {
            return;
        }
        let local = &mut self.local;
        let settings = local.settings.jetstream.clone();
        let event = Event {
            r#type: kind,
            id: &event_id(|| local.random()),
            timestamp: &rfc3339(local.wall),
            stream,
            consumer,
            action,
            domain: settings.as_ref().map_or("", |it| &it.domain),
        };
        let body = crate::jetstream::api::encode::to_json(&event);
        self.js_send(&Outgoing {
            account,
            to: subject.as_bytes(),
            payload: &body,
            ..Outgoing::default()
        });
    }
}
