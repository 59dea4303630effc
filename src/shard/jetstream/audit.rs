//! Events that tell of every request to the API (JS-242).

use serde::Serialize;
use serde_json::Value;

use crate::accounts::client_info::ClientInfo;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::identity::{event_id, rfc3339};
use crate::shard::request_info;

use super::command::{Command, Request};
use super::send::Outgoing;

const SUBJECT: &[u8] = b"$JS.EVENT.ADVISORY.API";
const COPIES: [&[u8]; 2] = [b"$JS.API.STREAM.SNAPSHOT.", b"$JS.API.STREAM.RESTORE."];

#[derive(Serialize)]
struct Audit<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: &'a str,
    server: &'a str,
    client: &'a Value,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    response: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

impl Core {
    /// Who makes a request, if somebody wants to hear of it.
    pub(super) fn js_audited(&mut self, message: &Message<'_>) -> Option<Box<Value>> {
        let interest = &mut self.tables.of(message.account).interest;
        // Events of copies name their client, too.
        let subject = message.destination();
        let of_copies = COPIES.iter().any(|it| subject.starts_with(it));
        if !of_copies && interest.lookup(SUBJECT).is_nobody() {
            return None;
        }
        let settings = std::sync::Arc::clone(&self.local.settings);
        let slot = self.own_source(message);
        let connection = slot.and_then(|it| self.local.connections.of(it));
        let mut info = match connection {
            Some(connection) => request_info::describe(connection, true),
            // A mirror or source asks for messages.
            None => ClientInfo {
                acc: settings.accounts.name(message.account),
                kind: "JetStream",
                ..ClientInfo::default()
            },
        };
        info.server = &settings.info.server_name;
        Some(Box::new(serde_json::to_value(info).unwrap_or_default()))
    }

    /// Tells those who want to hear of it what was answered to a request: from where the answer
    /// leaves, behind it.
    pub(super) fn js_audit(&mut self, request: &Request, response: &[u8]) {
        let Some(client) = &request.client else {
            return;
        };
        if self.local.id != request.home {
            let command = Command::Audit(Box::new(request.clone()), response.into());
            return self.js_command(request.home, command);
        }
        let local = &mut self.local;
        let settings = local.settings.jetstream.clone();
        let info = std::sync::Arc::clone(&local.settings.info);
        let event = Audit {
            r#type: "io.nats.jetstream.advisory.v1.api_audit",
            id: &event_id(|| local.random()),
            timestamp: &rfc3339(local.wall),
            server: &info.server_name,
            client,
            subject: &String::from_utf8_lossy(&request.subject),
            request: &String::from_utf8_lossy(&request.body),
            response: &String::from_utf8_lossy(response),
            domain: settings.as_ref().map_or("", |it| &it.domain),
        };
        let body = crate::jetstream::api::encode::to_json(&event);
        self.js_send(&Outgoing {
            account: request.account,
            to: SUBJECT,
            reply: Some(b""),
            payload: &body,
            ..Outgoing::default()
        });
    }
}
