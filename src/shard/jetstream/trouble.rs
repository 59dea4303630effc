//! A stream whose disk fails takes no messages until the disk does: who is told, and when it is over
//! (JS-242, JS-250).

use serde::Serialize;

use crate::jetstream::api::encode::to_json;
use crate::jetstream::store::DiskError;
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::identity::{event_id, rfc3339};
use crate::time::Nanos;

use super::hosted::StreamKey;
use super::send::Outgoing;

const OUT_OF_STORAGE: &[u8] = b"$JS.EVENT.ADVISORY.SERVER.OUT_OF_STORAGE";

/// What was told of a stream's disk.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// When it failed.
    since: Option<Nanos>,
    /// It is being tried again: once this is settled it works.
    trying: Option<u64>,
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    server: &'a str,
    server_id: &'a str,
    stream: &'a str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

impl Core {
    /// Tells of a disk that has begun to fail, and of one that works again.
    pub(super) fn js_watch_disk(&mut self, key: StreamKey) {
        let now = self.local.now;
        let Some(hosted) = self.jetstream.streams.at_mut(key) else {
            return;
        };
        let (store, trouble) = (hosted.stream.store(), &mut hosted.trouble);
        match (store.trouble(), trouble.since) {
            (None, None) => {}
            (Some(_), Some(_)) => trouble.trying = None,
            (Some(error), None) => {
                (trouble.since, trouble.trying) = (Some(now), None);
                self.js_tell_failed(key, error);
            }
            (None, Some(since)) => {
                let ticket = *trouble.trying.get_or_insert(store.ticket());
                if store.is_settled(ticket) {
                    *trouble = Trouble::default();
                    let line = format!(
                        "JetStream stream '{}' takes messages again after {:?}",
                        self.js_shown_name(key),
                        now.since(since)
                    );
                    self.local.effects.push(Effect::Log(Level::Info, line));
                }
            }
        }
    }

    #[cold]
    fn js_tell_failed(&mut self, key: StreamKey, error: DiskError) {
        let line = format!(
            "JetStream stream '{}' critical write error: {error}; it takes no messages until its \
             disk does",
            self.js_shown_name(key)
        );
        self.local.effects.push(Effect::Log(Level::Error, line));
        if error != DiskError::NoSpace {
            return;
        }
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return;
        };
        let stream = hosted.stream.config().name.clone();
        let Some(account) = self.local.settings.accounts.system() else {
            return;
        };
        let interest = &mut self.tables.of(account).interest;
        if interest.lookup(OUT_OF_STORAGE).is_nobody() {
            return;
        }
        let local = &mut self.local;
        let settings = local.settings.jetstream.clone();
        let info = std::sync::Arc::clone(&local.settings.info);
        let body = to_json(&Event {
            r#type: "io.nats.jetstream.advisory.v1.server_out_of_space",
            id: &event_id(|| local.random()),
            timestamp: &rfc3339(local.wall),
            server: &info.server_name,
            server_id: &info.server_id,
            stream: &stream,
            cluster: "",
            domain: settings.as_ref().map_or("", |it| &it.domain),
        });
        self.js_send(&Outgoing {
            account,
            to: OUT_OF_STORAGE,
            reply: Some(b""),
            payload: &body,
            ..Outgoing::default()
        });
    }

    /// A stream's account and name, as the log has them.
    fn js_shown_name(&self, key: StreamKey) -> String {
        let Some(hosted) = self.jetstream.streams.at(key) else {
            return String::new();
        };
        let account = self.local.settings.accounts.name(hosted.account);
        format!("{account} > {}", hosted.stream.config().name)
    }
}
