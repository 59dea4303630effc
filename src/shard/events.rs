//! What the server tells the system account of its clients and of itself (MON-59..64). Made only
//! where somebody listens: otherwise it costs one look into the match cache.

use serde::Serialize;

use crate::connection::close_reason::CloseReason;
use crate::connection::connection::Connection;
use crate::ids::AccountId;
use crate::shard::core::Core;
use crate::shard::identity::{event_id, rfc3339};
use crate::shard::internal::InternalPublish;
use crate::shard::query;
use crate::time::WallTime;

const CONNECT_TYPE: &str = "io.nats.server.advisory.v1.client_connect";
const DISCONNECT_TYPE: &str = "io.nats.server.advisory.v1.client_disconnect";
/// Where an account hears of logins that failed in it (MON-61).
const ACCOUNT_AUTH_ERROR: &str = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";

/// Something that happens to the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerEvent {
    /// It ends.
    Shutdown,
    /// It accepts nobody any more and will end (CORE-94).
    LameDuck,
}

/// A client as events describe it.
#[derive(Serialize)]
struct ClientInfo<'a> {
    start: String,
    host: String,
    id: u64,
    acc: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ver: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    jwt: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer_key: &'a str,
    name_tag: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_type: &'static str,
}

#[derive(Serialize)]
struct Traffic {
    msgs: u64,
    bytes: u64,
}

/// What a connection presented as its name: never a secret (T20).
fn presented(connection: &Connection) -> &str {
    let options = &connection.options;
    if !options.nkey.is_empty() {
        &options.nkey
    } else if !options.user.is_empty() {
        &options.user
    } else if !options.auth_token.is_empty() {
        "[REDACTED]"
    } else {
        connection.user.as_ref().map_or("", |user| &user.name)
    }
}

fn client_info(connection: &Connection, stop: Option<WallTime>) -> ClientInfo<'_> {
    let options = &connection.options;
    let rtt = connection.keep_alive.rtt;
    let user = connection.user.as_ref();
    let issued = user.and_then(|user| user.issued.as_ref());
    let (kind, client_type) = match &connection.leaf {
        Some(_) => ("Leafnode", ""),
        None => ("Client", connection.listener.client_type()),
    };
    ClientInfo {
        start: rfc3339(connection.start),
        host: connection.address.ip().to_string(),
        id: connection.cid.0,
        acc: &connection.tenant.name,
        user: presented(connection),
        name: &options.name,
        lang: &options.lang,
        ver: &options.version,
        rtt: stop
            .and(rtt)
            .map(|rtt| rtt.as_nanos() as u64)
            .filter(|&rtt| rtt > 0),
        stop: stop.map(rfc3339),
        jwt: &options.jwt,
        issuer_key: query::issuer_key(connection).unwrap_or_default(),
        name_tag: &connection.tenant.name_tag,
        tags: issued.map_or(&[], |it| &it.claims.body.tags),
        kind,
        client_type,
    }
}

/// JSON of a value that has text for keys, and so cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Core {
    /// The account that hears of events, if somebody in it wants this one.
    fn listening(&mut self, account: Option<AccountId>, subject: &str) -> Option<AccountId> {
        let account = account?;
        let interest = &mut self.tables.of(account).interest;
        (!interest.lookup(subject.as_bytes()).is_nobody()).then_some(account)
    }

    fn system_account(&self) -> Option<AccountId> {
        self.local.settings.accounts.system()
    }

    fn publish_event(&mut self, account: AccountId, subject: &str, body: String) {
        self.publish_internal(&InternalPublish {
            account,
            subject: subject.as_bytes().into(),
            payload: body.into_bytes().into(),
            ..InternalPublish::default()
        });
    }

    /// The front of an event: type, id, time and server.
    fn event_front(&mut self, kind: &str) -> String {
        let id = event_id(|| self.local.secret_random());
        let wall = self.local.wall;
        let server = self.local.settings.identity.stamp(wall);
        let time = rfc3339(wall);
        format!(
            "{{\"type\":\"{kind}\",\"id\":\"{id}\",\"timestamp\":\"{time}\",\"server\":{server}"
        )
    }

    /// A client has said who it is (MON-59), or a link begins (TOPO-40).
    pub(super) fn tell_connected(&mut self, index: u32) {
        let system = self.system_account();
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if let Some(leaf) = &mut connection.leaf {
            leaf.told = true;
            // As in stock nobody hears of those whom users of that port alone let in.
            if leaf.solicited.is_none() && self.local.settings.leaf.authenticator.is_some() {
                return;
            }
        }
        let subject = format!("$SYS.ACCOUNT.{}.CONNECT", connection.tenant.name);
        let Some(system) = self.listening(system, &subject) else {
            return;
        };
        let front = self.event_front(CONNECT_TYPE);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let client = json(&client_info(connection, None));
        self.publish_event(system, &subject, format!("{front},\"client\":{client}}}"));
    }

    /// A client goes (MON-60), or a link that was told of.
    pub(super) fn tell_disconnected(&mut self, index: u32, reason: CloseReason) {
        let system = self.system_account();
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.leaf.as_ref().is_some_and(|it| !it.told) {
            return;
        }
        let subject = format!("$SYS.ACCOUNT.{}.DISCONNECT", connection.tenant.name);
        if let Some(system) = self.listening(system, &subject) {
            self.publish_departure(system, &subject, index, reason);
        }
    }

    /// A login has failed (MON-61). The account it would have been in, or that newcomers are in, or
    /// whose auth service did not want it, hears of it too.
    pub(super) fn tell_refused(&mut self, index: u32, account: AccountId, reason: CloseReason) {
        let Some(system) = self.system_account() else {
            return;
        };
        let subject = format!(
            "$SYS.SERVER.{}.CLIENT.AUTH.ERR",
            self.local.settings.info.server_id
        );
        if let Some(account) = self.listening(Some(account), ACCOUNT_AUTH_ERROR) {
            self.publish_departure(account, ACCOUNT_AUTH_ERROR, index, reason);
        }
        if let Some(system) = self.listening(Some(system), &subject) {
            self.publish_departure(system, &subject, index, reason);
        }
    }

    fn publish_departure(
        &mut self,
        account: AccountId,
        subject: &str,
        index: u32,
        reason: CloseReason,
    ) {
        let front = self.event_front(DISCONNECT_TYPE);
        let wall = self.local.wall;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let client = json(&client_info(connection, Some(wall)));
        let traffic = connection.traffic;
        let sent = json(&Traffic {
            msgs: traffic.in_msgs,
            bytes: traffic.in_bytes,
        });
        let received = json(&Traffic {
            msgs: traffic.out_msgs,
            bytes: traffic.out_bytes,
        });
        let body = format!(
            "{front},\"client\":{client},\"sent\":{sent},\"received\":{received},\"reason\":\"{}\"}}",
            reason.text()
        );
        self.publish_event(account, subject, body);
    }

    /// Says what happens to the server (MON-64). Once, on shard 0.
    pub fn tell_server_event(&mut self, event: ServerEvent) {
        let system = self.system_account();
        let kind = match event {
            ServerEvent::Shutdown => "SHUTDOWN",
            ServerEvent::LameDuck => "LAMEDUCK",
        };
        let subject = format!("$SYS.SERVER.{}.{kind}", self.local.settings.info.server_id);
        if let Some(system) = self.listening(system, &subject) {
            let server = self.local.settings.identity.stamp(self.local.wall);
            self.publish_event(system, &subject, server);
        }
    }
}
