//! What is told of copies of streams that are made and taken (JS-171).

use serde::Serialize;
use serde_json::Value;

use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::response::StreamState;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::identity::{event_id, rfc3339};
use crate::time::WallTime;

use super::command::Request;
use super::send::Outgoing;

/// What has happened to a copy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Copied<'a> {
    /// One is being made of a stream with this state.
    SnapshotCreate(&'a StreamState),
    /// It is made; or why not.
    SnapshotComplete(WallTime, &'a str),
    /// A stream is being made of one.
    RestoreCreate,
    /// It is made, of so many bytes.
    RestoreComplete(WallTime, u64),
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: String,
    id: &'a str,
    timestamp: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a StreamState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    client: Option<&'a Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

impl Core {
    /// Publishes what happened to a stream's copy, if anybody listens.
    pub(super) fn js_tell_of_copy(&mut self, request: &Request, stream: &str, copied: Copied<'_>) {
        let word = match copied {
            Copied::SnapshotCreate(_) => "SNAPSHOT_CREATE",
            Copied::SnapshotComplete(..) => "SNAPSHOT_COMPLETE",
            Copied::RestoreCreate => "RESTORE_CREATE",
            Copied::RestoreComplete(..) => "RESTORE_COMPLETE",
        };
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.{word}.{stream}");
        let interest = &mut self.tables.of(request.account).interest;
        if interest.lookup(subject.as_bytes()).is_nobody() {
            return;
        }
        let local = &mut self.local;
        let settings = local.settings.jetstream.clone();
        let now = rfc3339(local.wall);
        let id = event_id(|| local.random());
        let mut event = Event {
            r#type: format!("io.nats.jetstream.advisory.v1.{}", word.to_lowercase()),
            id: &id,
            timestamp: &now,
            stream,
            state: None,
            start: None,
            end: None,
            bytes: None,
            client: request.client.as_deref().filter(|it| !it.is_null()),
            domain: settings.as_ref().map_or("", |it| &it.domain),
            error: "",
        };
        match copied {
            Copied::SnapshotCreate(state) => event.state = Some(state),
            Copied::SnapshotComplete(start, error) => {
                event.start = Some(rfc3339(start));
                event.end = Some(&now);
                event.error = error;
            }
            Copied::RestoreCreate => {}
            Copied::RestoreComplete(start, bytes) => {
                event.start = Some(rfc3339(start));
                event.end = Some(&now);
                event.bytes = Some(bytes);
            }
        }
        let body = to_json(&event);
        self.js_send(&Outgoing {
            account: request.account,
            to: subject.as_bytes(),
            reply: Some(b""),
            payload: &body,
            ..Outgoing::default()
        });
    }

    /// A line about a stream's copy: `what` stands before the stream's name, `how` behind it.
    pub(super) fn js_log_copy(&mut self, level: Level, request: &Request, texts: [&str; 3]) {
        let [what, stream, how] = texts;
        let account = self.local.settings.accounts.name(request.account);
        let line = format!("{what} for stream '{account} > {stream}'{how}");
        self.local.effects.push(Effect::Log(level, line));
    }
}
