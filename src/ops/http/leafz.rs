//! `/leafz`, and what `/varz` and `/metrics` say of leaf nodes (MON-28, TOPO-57).

use serde::Serialize;

use super::facts::ServerFacts;
use super::format::{self, Number};
use super::metrics::{Labels, Metrics};
use super::query::{BadRequest, Parameters};
use super::transports::ProxyInfo;
use crate::ids::GLOBAL_ACCOUNT;
use crate::options::RemoteOptions;
use crate::shard::link_report::{LinkQuery, LinkReport};
use crate::shard::report::{Figures, Query};
use crate::time::duration::Shown;
use crate::transport::settings::HANDSHAKE_TIMEOUT;

#[derive(Serialize)]
pub(super) struct Leafz<'a> {
    server_id: &'a str,
    now: String,
    leafnodes: usize,
    leafs: Vec<LeafInfo>,
}

#[derive(Serialize)]
struct LeafInfo {
    id: u64,
    name: Box<str>,
    is_spoke: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_isolated: bool,
    account: Box<str>,
    ip: String,
    port: u16,
    rtt: String,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<Box<str>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    compression: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyInfo>,
}

impl LeafInfo {
    fn of(link: LinkReport) -> Self {
        let it = link.connection;
        let mut list: Vec<_> = it.subscriptions_list.into_iter().collect();
        list.sort_unstable_by(|a, b| a.subject.cmp(&b.subject));
        Self {
            id: it.cid.0,
            name: link.server,
            is_spoke: link.spoke,
            is_isolated: link.isolated,
            account: (&*it.account).into(),
            ip: it.address.ip().to_string(),
            port: it.address.port(),
            rtt: Shown::from(it.rtt.unwrap_or_default()).to_string(),
            in_msgs: it.in_msgs,
            out_msgs: it.out_msgs,
            in_bytes: it.in_bytes,
            out_bytes: it.out_bytes,
            subscriptions: it.subscriptions,
            subscriptions_list: list.into_iter().map(|one| one.subject).collect(),
            compression: link.compression,
            proxy: ProxyInfo::of(&it.transport),
        }
    }
}

/// Links that are open, by their numbers.
fn links(figures: &dyn Figures, wanted: LinkQuery) -> Vec<LinkReport> {
    let reports = figures.ask(Query::Links(wanted));
    let mut links: Vec<_> = reports.into_iter().flat_map(|it| it.links).collect();
    links.sort_unstable_by_key(|it| it.connection.cid);
    links
}

/// Answers `/leafz`.
pub(super) fn leafz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Leafz<'a>, BadRequest> {
    let account = match parameters.text("acc") {
        "" => parameters.text("account"),
        account => account,
    };
    let wanted = LinkQuery {
        account: Some(account).filter(|it| !it.is_empty()).map(Into::into),
        subscriptions: parameters.bool("subs")? || parameters.bool("subscriptions")?,
    };
    let leafs: Vec<_> = links(figures, wanted)
        .into_iter()
        .map(LeafInfo::of)
        .collect();
    Ok(Leafz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        leafnodes: leafs.len(),
        leafs,
    })
}

/// The `leaf` block of `/varz`.
#[derive(Serialize, Default)]
pub(super) struct LeafVarz<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_timeout: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_timeout: Option<Number>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remotes: Vec<RemoteVarz<'a>>,
}

#[derive(Serialize)]
struct RemoteVarz<'a> {
    local_account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_timeout: Option<Number>,
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<DenyRules<'a>>,
}

#[derive(Serialize)]
struct DenyRules<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    exports: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    imports: &'a [String],
}

/// Of a URL only where it leads: who connects there is nobody's business.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or(rest);
    place.rsplit_once('@').map_or(place, |(_, address)| address)
}

impl<'a> LeafVarz<'a> {
    pub(super) fn of(facts: &'a ServerFacts) -> Self {
        let options = &facts.options.leafnodes;
        let seconds = |tls: Option<&crate::options::TlsOptions>| {
            let given = tls.and_then(|it| it.timeout);
            Number(given.unwrap_or(HANDSHAKE_TIMEOUT).as_secs_f64())
        };
        let listens = options.port != 0;
        let remote = |it: &'a RemoteOptions| RemoteVarz {
            local_account: match it.account.as_str() {
                "" => GLOBAL_ACCOUNT,
                account => account,
            },
            tls_timeout: it.tls.as_ref().map(|tls| seconds(Some(tls))),
            urls: it.urls.iter().map(|url| address(url).to_owned()).collect(),
            deny: (!it.deny_exports.is_empty() || !it.deny_imports.is_empty()).then_some(
                DenyRules {
                    exports: &it.deny_exports,
                    imports: &it.deny_imports,
                },
            ),
        };
        let tls = options.tls.as_ref();
        Self {
            host: listens.then_some(match options.host.as_str() {
                "" => "0.0.0.0",
                host => host,
            }),
            port: listens.then_some(facts.leaf_port),
            auth_timeout: listens.then_some(Number(options.auth_timeout.as_secs_f64())),
            tls_timeout: listens.then(|| seconds(tls)),
            tls_required: tls.is_some(),
            tls_verify: tls.is_some_and(|it| it.verify),
            remotes: options.remotes.iter().map(remote).collect(),
        }
    }
}

/// Adds what is known of each link.
pub(super) fn add_metrics(figures: &dyn Figures, metrics: &mut Metrics) {
    for link in links(figures, LinkQuery::default()) {
        let it = link.connection;
        let labels: Labels = vec![
            ("account", it.account.to_string()),
            ("name", link.server.to_string()),
            ("ip", it.address.ip().to_string()),
            ("port", it.address.port().to_string()),
            ("is_spoke", link.spoke.to_string()),
        ];
        let rtt = it.rtt.unwrap_or_default().as_secs_f64();
        let values = [
            ("conn_rtt", Some(rtt)),
            ("conn_in_msgs", Some(it.in_msgs as f64)),
            ("conn_out_msgs", Some(it.out_msgs as f64)),
            ("conn_in_bytes", Some(it.in_bytes as f64)),
            ("conn_out_bytes", Some(it.out_bytes as f64)),
            ("conn_subscriptions_total", Some(it.subscriptions as f64)),
            ("conn_pending_bytes", Some(it.pending_bytes as f64)),
            ("conn_reconnects", link.reconnects.map(|it| it as f64)),
            ("info", Some(1.0)),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                metrics.put(&format!("gnatsd_leafz_{name}"), labels.clone(), value);
            }
        }
    }
}
