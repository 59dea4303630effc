//! `/connz`: connections (MON-17..25).

use std::cmp::Reverse;

use serde::Serialize;

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Page, Parameters};
use crate::ids::ConnectionId;
use crate::ids::GLOBAL_ACCOUNT;
use crate::routing::subject::pattern_matches;
use crate::shard::report::{
    ConnectionQuery, ConnectionReport, Figures, Query, ShardReport, SubscriptionReport,
};
use crate::time::WallTime;

#[derive(Serialize)]
pub(super) struct Connz<'a> {
    server_id: &'a str,
    now: String,
    num_connections: usize,
    total: usize,
    offset: i64,
    limit: i64,
    connections: Vec<ConnInfo>,
}

#[derive(Serialize)]
struct ConnInfo {
    cid: u64,
    kind: &'static str,
    r#type: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<String>,
    uptime: String,
    idle: String,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stalls: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized_user: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list_detail: Option<Vec<SubDetail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_tag: Option<Box<str>>,
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
    /// With the account it is in (`/subsz`) or without (`/connz`).
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
    sort: Sort,
    auth: bool,
    subs: Subs,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Cid,
    Start,
    Subs,
    Pending,
    MsgsTo,
    MsgsFrom,
    BytesTo,
    BytesFrom,
    Last,
    Idle,
    Rtt,
    Uptime,
    Stop,
    Reason,
}

impl Request {
    fn read(parameters: &Parameters) -> Result<Self, BadRequest> {
        let subs = if parameters.text("subs") == "detail" {
            Subs::Detail
        } else if parameters.bool("subs")? {
            Subs::Subjects
        } else {
            Subs::No
        };
        let auth = parameters.bool("auth")?;
        let page = Page::of(parameters)?;
        let cid = parameters.uint("cid")?;
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
            "" | "cid" => Sort::Cid,
            "start" => Sort::Start,
            "subs" => Sort::Subs,
            "pending" => Sort::Pending,
            "msgs_to" => Sort::MsgsTo,
            "msgs_from" => Sort::MsgsFrom,
            "bytes_to" => Sort::BytesTo,
            "bytes_from" => Sort::BytesFrom,
            "last" => Sort::Last,
            "idle" => Sort::Idle,
            "rtt" => Sort::Rtt,
            "uptime" => Sort::Uptime,
            "stop" => Sort::Stop,
            "reason" => Sort::Reason,
            other => return Err(BadRequest(format!("invalid sorting option: {other}"))),
        };
        if state != State::Closed && matches!(sort, Sort::Stop | Sort::Reason) {
            let by = if sort == Sort::Stop { "stop" } else { "reason" };
            return Err(BadRequest(format!(
                "sort by {by} only valid on closed connections"
            )));
        }
        Ok(Self {
            sort,
            auth,
            subs,
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
        ConnectionQuery {
            open: self.state != State::Closed,
            closed: self.state != State::Open,
            subscriptions: self.subs != Subs::No || self.filters_subject(),
            cid: (self.cid > 0).then_some(ConnectionId(self.cid)),
        }
    }

    /// A subject counts only together with an account.
    fn filters_subject(&self) -> bool {
        !self.filter_subject.is_empty() && !self.account.is_empty()
    }

    fn keeps(&self, report: &ConnectionReport) -> bool {
        (self.user.is_empty() || *report.authorized_user == *self.user)
            && (self.account.is_empty() || *report.account == *self.account)
            && self.mqtt_client.is_empty()
            && (!self.filters_subject()
                || report.subscriptions_list.iter().any(|subscription| {
                    pattern_matches(
                        subscription.subject.as_bytes(),
                        self.filter_subject.as_bytes(),
                    )
                }))
    }

    fn describe(&self, report: ConnectionReport, now: WallTime) -> ConnInfo {
        let until = report.closed.map_or(now, |(stop, _)| stop);
        let in_global = *report.account == *GLOBAL_ACCOUNT;
        let user = (self.auth && !report.authorized_user.is_empty())
            .then(|| Box::from(&*report.authorized_user));
        let mut list = report.subscriptions_list;
        list.sort_by(|a, b| a.subject.cmp(&b.subject));
        let detail = |list: Vec<SubscriptionReport>| {
            list.into_iter()
                .map(|it| SubDetail::of(it, false))
                .collect::<Vec<_>>()
        };
        let (subjects, details) = match self.subs {
            _ if list.is_empty() => (None, None),
            Subs::No => (None, None),
            Subs::Subjects => (Some(list.into_iter().map(|it| it.subject).collect()), None),
            Subs::Detail => (None, Some(detail(list))),
        };
        ConnInfo {
            cid: report.cid.0,
            kind: "Client",
            r#type: "nats",
            ip: report.address.ip().to_string(),
            port: report.address.port(),
            start: format::time(report.start),
            last_activity: format::time(report.last_activity.max(report.start)),
            stop: report.closed.map(|(stop, _)| format::time(stop)),
            reason: report.closed.map(|(_, reason)| reason),
            rtt: report.rtt.map(|rtt| format::duration(rounded(rtt))),
            uptime: format::uptime(format::since(report.start, until)),
            idle: format::uptime(format::since(report.last_activity.max(report.start), until)),
            pending_bytes: report.pending_bytes,
            in_msgs: report.in_msgs,
            out_msgs: report.out_msgs,
            in_bytes: report.in_bytes,
            out_bytes: report.out_bytes,
            stalls: report.stalls,
            subscriptions: report.subscriptions,
            name: Box::from(&*report.name),
            lang: Box::from(&*report.lang),
            version: Box::from(&*report.version),
            authorized_user: user,
            account: (self.auth && !in_global).then(|| Box::from(&*report.account)),
            subscriptions_list: subjects,
            subscriptions_list_detail: details,
            name_tag: self.auth.then(|| Box::from(&*report.account)),
        }
    }
}

/// A round trip to the microsecond; finer is noise.
fn rounded(rtt: std::time::Duration) -> std::time::Duration {
    if rtt < std::time::Duration::from_micros(1) {
        return rtt;
    }
    std::time::Duration::from_micros(rtt.as_micros() as u64)
}

impl Sort {
    fn apply(self, rows: &mut [ConnectionReport], now: WallTime) {
        rows.sort_by_key(|row| row.cid);
        let idle = |row: &ConnectionReport| now.0.saturating_sub(row.last_activity.0);
        let stop = |row: &ConnectionReport| row.closed.map_or(now, |(stop, _)| stop);
        match self {
            Self::Cid => {}
            Self::Start => rows.sort_by_key(|row| row.start),
            Self::Subs => rows.sort_by_key(|row| Reverse(row.subscriptions)),
            Self::Pending => rows.sort_by_key(|row| Reverse(row.pending_bytes)),
            Self::MsgsTo => rows.sort_by_key(|row| Reverse(row.out_msgs)),
            Self::MsgsFrom => rows.sort_by_key(|row| Reverse(row.in_msgs)),
            Self::BytesTo => rows.sort_by_key(|row| Reverse(row.out_bytes)),
            Self::BytesFrom => rows.sort_by_key(|row| Reverse(row.in_bytes)),
            Self::Last => rows.sort_by_key(|row| Reverse(row.last_activity)),
            Self::Idle => rows.sort_by_key(|row| Reverse(idle(row))),
            Self::Rtt => rows.sort_by_key(|row| Reverse(row.rtt)),
            Self::Uptime => rows.sort_by_key(|row| stop(row).0.saturating_sub(row.start.0)),
            Self::Stop => rows.sort_by_key(|row| stop(row)),
            Self::Reason => rows.sort_by_key(|row| row.closed.map(|(_, reason)| reason)),
        }
    }
}

/// Answers a request.
pub(super) fn connz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Connz<'a>, BadRequest> {
    let request = Request::read(parameters)?;
    let reports = figures.ask(Query::Connections(request.query()));
    let mut page = request.page;
    if request.cid > 0 {
        page = Page {
            offset: 0,
            limit: 1,
        };
    }
    let (rows, total) = rows(&request, reports);
    let now = format::now();
    let mut rows: Vec<ConnectionReport> = rows.into_iter().filter(|it| request.keeps(it)).collect();
    request.sort.apply(&mut rows, now);
    let connections: Vec<ConnInfo> = page
        .cut(rows)
        .into_iter()
        .map(|row| request.describe(row, now))
        .collect();
    Ok(Connz {
        server_id: &facts.info.server_id,
        now: format::time(now),
        num_connections: connections.len(),
        total,
        offset: page.offset,
        limit: page.limit,
        connections,
    })
}

/// All connections of all shards, and how many there are before anything is left out.
fn rows(request: &Request, reports: Vec<ShardReport>) -> (Vec<ConnectionReport>, usize) {
    let open: u64 = reports
        .iter()
        .map(|report| report.counters.connections)
        .sum();
    let rows: Vec<ConnectionReport> = reports
        .into_iter()
        .flat_map(|report| report.connections)
        .collect();
    let total = if request.cid > 0 {
        open as usize
    } else {
        rows.len()
    };
    (rows, total)
}
