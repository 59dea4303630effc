//! `/connz`: connections (MON-17..25).

use std::time::Duration;

use serde::Serialize;

use super::accounts::is_account;
use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Page, Parameters};
use super::transports::{ConnTls, ProxyInfo};
use crate::ids::{ConnectionId, GLOBAL_ACCOUNT, Listener};
use crate::routing::subject::patterns_overlap;
use crate::shard::report::{
    ConnectionOrder, ConnectionQuery, ConnectionReport, Figures, Query, ShardReport,
    SubscriptionReport,
};
use crate::time::WallTime;
use crate::time::duration::Shown;

#[derive(Serialize)]
pub(super) struct Connz<'a> {
    server_id: &'a str,
    now: String,
    num_connections: usize,
    total: usize,
    offset: i64,
    limit: i64,
    connections: Option<Vec<ConnInfo>>,
}

/// One connection (MON-20).
#[derive(Serialize)]
struct ConnInfo {
    cid: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    r#type: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    rtt: String,
    uptime: String,
    idle: String,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stalls: u64,
    /// Ours; there only where a rate limit has been met.
    #[serde(skip_serializing_if = "is_zero")]
    rate_limited: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: Box<str>,
    #[serde(flatten)]
    tls: ConnTls,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized_user: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list_detail: Option<Vec<SubDetail>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    jwt: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer_key: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_tag: Option<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyInfo>,
    /// Ours; shown only to who asks with `shard=1`, because stock has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u8>,
}

/// One subscription in full (MON-22).
#[derive(Serialize)]
pub(super) struct SubDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_tag: Option<Box<str>>,
    subject: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgroup: Option<Box<str>>,
    sid: Box<str>,
    msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    cid: u64,
}

impl SubDetail {
    /// With the account it is in (`/subsz`, closed connections) or without (`/connz`).
    pub(super) fn of(report: SubscriptionReport, with_account: bool) -> Self {
        let account = with_account.then(|| Box::from(&*report.account));
        Self {
            account_tag: account.clone(),
            account,
            subject: report.subject,
            qgroup: report.queue,
            sid: report.sid,
            msgs: report.msgs,
            max: report.max,
            cid: report.cid.0,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a request asks for.
struct Request {
    sort: ConnectionOrder,
    auth: bool,
    subs: Subs,
    shard: bool,
    page: Page,
    cid: u64,
    state: State,
    user: String,
    account: String,
    filter_subject: String,
    mqtt_client: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subs {
    No,
    Subjects,
    Detail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Any,
}

impl Request {
    fn read(parameters: &Parameters) -> Result<Self, BadRequest> {
        let auth = parameters.bool("auth")?;
        let subs = if parameters.text("subs").eq_ignore_ascii_case("detail") {
            Subs::Detail
        } else if parameters.bool("subs")? {
            Subs::Subjects
        } else {
            Subs::No
        };
        let mut page = Page::of(parameters)?;
        let cid = parameters.uint("cid")?;
        if cid > 0 {
            page.limit = 1;
        }
        let state = match parameters.text("state").to_ascii_lowercase().as_str() {
            "" | "open" => State::Open,
            "closed" => State::Closed,
            "any" | "all" => State::Any,
            _ => {
                let text = format!("Error decoding state for {}", parameters.text("state"));
                return Err(BadRequest(text));
            }
        };
        let sort = match parameters.text("sort") {
            "" | "cid" => ConnectionOrder::Cid,
            "start" => ConnectionOrder::Start,
            "subs" => ConnectionOrder::Subscriptions,
            "pending" => ConnectionOrder::Pending,
            "msgs_to" => ConnectionOrder::MsgsTo,
            "msgs_from" => ConnectionOrder::MsgsFrom,
            "bytes_to" => ConnectionOrder::BytesTo,
            "bytes_from" => ConnectionOrder::BytesFrom,
            "last" => ConnectionOrder::Last,
            "idle" => ConnectionOrder::Idle,
            "rtt" => ConnectionOrder::Rtt,
            "uptime" => ConnectionOrder::Uptime,
            "stop" => ConnectionOrder::Stop,
            "reason" => ConnectionOrder::Reason,
            other => return Err(BadRequest(format!("invalid sorting option: {other}"))),
        };
        if state != State::Closed && matches!(sort, ConnectionOrder::Stop | ConnectionOrder::Reason)
        {
            let by = if sort == ConnectionOrder::Stop {
                "stop"
            } else {
                "reason"
            };
            return Err(BadRequest(format!(
                "sort by {by} only valid on closed connections"
            )));
        }
        Ok(Self {
            sort,
            auth,
            subs,
            shard: parameters.bool("shard")?,
            page,
            cid,
            state,
            user: parameters.text("user").into(),
            account: parameters.text("acc").into(),
            filter_subject: parameters.text("filter_subject").into(),
            mqtt_client: parameters.text("mqtt_client").into(),
        })
    }

    /// What the shards must be asked for.
    fn query(&self) -> ConnectionQuery {
        let given = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        let size = |number: i64| usize::try_from(number).unwrap_or(0);
        ConnectionQuery {
            open: self.state != State::Closed,
            closed: self.state != State::Open,
            subscriptions: self.subs != Subs::No || self.filters_subject(),
            cid: (self.cid > 0).then_some(ConnectionId(self.cid)),
            user: given(&self.user),
            account: given(&self.account),
            filter_subject: given(&self.filter_subject).filter(|_| self.filters_subject()),
            order: self.sort,
            // Nobody speaks MQTT here, so nobody has the id asked for.
            most: match self.mqtt_client.is_empty() || self.cid > 0 {
                true => size(self.page.offset).saturating_add(size(self.page.limit)),
                false => 0,
            },
        }
    }

    /// A subject counts only together with an account.
    fn filters_subject(&self) -> bool {
        !self.filter_subject.is_empty() && !self.account.is_empty()
    }

    /// Is a closed connection wanted? Open ones have been chosen on their shards.
    fn keeps(&self, report: &ConnectionReport) -> bool {
        if report.closed.is_none() {
            return true;
        }
        if self.cid > 0 && report.cid.0 != self.cid {
            return false;
        }
        (self.user.is_empty() || *report.authorized_user == *self.user)
            && (self.account.is_empty() || *report.account == *self.account)
            // Nobody speaks MQTT here, so nobody has the id asked for.
            && self.mqtt_client.is_empty()
            && (!self.filters_subject()
                || report.subscriptions_list.iter().any(|subscription| {
                    let subject = subscription.subject.as_bytes();
                    patterns_overlap(subject, self.filter_subject.as_bytes())
                }))
    }

    fn describe(&self, report: ConnectionReport, now: WallTime) -> ConnInfo {
        let until = report.closed.map_or(now, |(stop, _)| stop);
        let in_global = *report.account == *GLOBAL_ACCOUNT;
        let user = (self.auth && !report.authorized_user.is_empty())
            .then(|| Box::from(&*report.authorized_user));
        let issued = report.issued.as_deref().filter(|_| self.auth);
        let mut list = report.subscriptions_list;
        list.sort_by(|a, b| a.subject.cmp(&b.subject));
        let is_closed = report.closed.is_some();
        let detail = |list: Vec<SubscriptionReport>| {
            list.into_iter()
                .map(|it| SubDetail::of(it, is_closed))
                .collect::<Vec<_>>()
        };
        let (subjects, details) = match self.subs {
            _ if list.is_empty() => (None, None),
            Subs::No => (None, None),
            Subs::Subjects => (Some(list.into_iter().map(|it| it.subject).collect()), None),
            Subs::Detail => (None, Some(detail(list))),
        };
        let (kind, r#type) = match report.transport.listener {
            Listener::Leaf => ("Leafnode", ""),
            listener => ("Client", listener.client_type()),
        };
        ConnInfo {
            cid: report.cid.0,
            kind,
            r#type,
            ip: report.address.ip().to_string(),
            port: report.address.port(),
            start: format::time(report.start),
            last_activity: format::time(report.last_activity.max(report.start)),
            stop: report.closed.map(|(stop, _)| format::time(stop)),
            reason: report.closed.map(|(_, reason)| reason),
            rtt: Shown::from(rounded(report.rtt.unwrap_or_default())).to_string(),
            uptime: format::uptime(format::since(report.start, until)),
            idle: format::uptime(format::since(report.last_activity.max(report.start), until)),
            pending_bytes: report.pending_bytes,
            in_msgs: report.in_msgs,
            out_msgs: report.out_msgs,
            in_bytes: report.in_bytes,
            out_bytes: report.out_bytes,
            stalls: report.stalls,
            rate_limited: report.rate_limited,
            subscriptions: report.subscriptions,
            name: Box::from(&*report.name),
            lang: Box::from(&*report.lang),
            version: Box::from(&*report.version),
            tls: ConnTls::of(&report.transport, self.auth),
            proxy: ProxyInfo::of(&report.transport),
            authorized_user: user,
            account: (self.auth && !in_global).then(|| Box::from(&*report.account)),
            subscriptions_list: subjects,
            subscriptions_list_detail: details,
            // Stock leaves it out for what was in the global account and is closed.
            name_tag: (self.auth && !(in_global && report.closed.is_some()))
                .then(|| Box::from(&*report.name_tag)),
            jwt: issued.map_or_else(Box::default, |it| it.jwt.clone()),
            issuer_key: issued.map_or_else(Box::default, |it| it.issuer_key.clone()),
            tags: issued.map_or_else(Vec::new, |it| it.tags.clone()),
            shard: self.shard.then_some(report.shard.0),
        }
    }
}

/// A round trip below a millisecond is shown to the microsecond.
fn rounded(rtt: Duration) -> Duration {
    if (Duration::from_micros(1)..Duration::from_millis(1)).contains(&rtt) {
        Duration::from_micros(rtt.as_micros() as u64)
    } else {
        rtt
    }
}

/// Answers a request.
pub(super) fn connz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Connz<'a>, BadRequest> {
    let request = Request::read(parameters)?;
    let now = format::now();
    let mut answer = Connz {
        server_id: "",
        now: format::time(now),
        num_connections: 0,
        total: 0,
        offset: request.page.offset,
        limit: request.page.limit,
        connections: None,
    };
    // Stock's answer about an account it does not know is this empty frame.
    if !request.account.is_empty() && !is_account(facts, &request.account) {
        return Ok(answer);
    }
    answer.server_id = &facts.info.server_id;
    let reports = figures.ask(Query::Connections(request.query()));
    let closed_max = facts.options.client.max_closed_clients;
    answer.total = request.total(&reports, closed_max);
    let mut rows: Vec<ConnectionReport> = reports
        .into_iter()
        .flat_map(|report| report.connections)
        .collect();
    forget_oldest(&mut rows, closed_max);
    rows.retain(|row| request.keeps(row));
    rows.sort_by_key(|row| request.sort.key(&row.rank(), now));
    let page = request.page.cut(rows).into_iter();
    let connections: Vec<ConnInfo> = page.map(|row| request.describe(row, now)).collect();
    answer.num_connections = connections.len();
    answer.connections = Some(connections);
    Ok(answer)
}

impl Request {
    /// Connections in the wanted state before anything else is asked of them, save the account.
    fn total(&self, reports: &[ShardReport], closed_max: usize) -> usize {
        let sum = |count: fn(&ShardReport) -> u64| reports.iter().map(count).sum::<u64>();
        let open = match self.state {
            State::Closed => 0,
            State::Open | State::Any => sum(|report| report.open) as usize,
        };
        let closed = match self.state {
            State::Open => 0,
            _ if self.account.is_empty() => sum(|report| report.closed) as usize,
            _ => {
                let rows = reports.iter().flat_map(|report| &report.connections);
                rows.filter(|row| row.closed.is_some() && *row.account == *self.account)
                    .count()
            }
        };
        open + closed.min(closed_max)
    }
}

/// Each shard remembers as many closed connections as the server is to show (MON-24): of all of
/// them together the last ones stay.
fn forget_oldest(rows: &mut Vec<ConnectionReport>, closed_max: usize) {
    let mut stops: Vec<WallTime> = rows.iter().filter_map(|row| Some(row.closed?.0)).collect();
    let Some(surplus) = stops.len().checked_sub(closed_max).filter(|&it| it > 0) else {
        return;
    };
    stops.sort_unstable();
    let mut left = surplus;
    // Of several that closed in the same nanosecond, as many go as there are too many.
    let last_to_go = stops[surplus - 1];
    rows.retain(|row| {
        let goes = left > 0 && row.closed.is_some_and(|(stop, _)| stop <= last_to_go);
        left -= usize::from(goes);
        !goes
    });
}
