//! `/accountz` and `/accstatz`: the accounts there are (MON-30..32).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::account_detail::{self, TokenDetail};
use super::facts::ServerFacts;
use super::format;
use super::jetstream;
use super::query::{BadRequest, Parameters};
use super::subsz::SublistStats;
use crate::accounts::account::Account;
use crate::routing::interest::RoutingStats;
use crate::shard::report::{AccountFigures, Counters, Figures, Query, Volume};
use crate::time::WallTime;

#[derive(Serialize)]
pub(super) struct Accountz<'a> {
    server_id: &'a str,
    now: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    system_account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_detail: Option<AccountInfo>,
}

#[derive(Serialize)]
pub(super) struct AccountInfo {
    account_name: String,
    update_time: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_system: bool,
    expired: bool,
    complete: bool,
    jetstream_enabled: bool,
    leafnode_connections: u64,
    client_connections: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mappings: BTreeMap<String, Vec<Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exports: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imports: Vec<Value>,
    name_tag: String,
    #[serde(flatten)]
    token: TokenDetail,
    sublist_stats: SublistStats,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    responses: BTreeMap<Box<str>, Value>,
}

/// What streams are asked on.
const JETSTREAM: &str = "$JS.API.>";

/// What the system account offers the others.
fn system_exports() -> Vec<Value> {
    let offered = [
        ("$SYS.REQ.ACCOUNT.*.CONNZ", "Streamed"),
        ("$SYS.REQ.ACCOUNT.*.STATZ", "Streamed"),
        ("$SYS.DEBUG.SUBSCRIBERS", "Singleton"),
        ("$SYS.REQ.USER.*.INFO", "Singleton"),
    ];
    let export = |(subject, answers): (&str, &str)| json!({ "subject": subject, "type": "service", "response_type": answers });
    offered.into_iter().map(export).collect()
}

/// What every account may ask of the system's (MON-57): about itself; that one itself only about its
/// users.
fn system_imports(account: &str, system: &str) -> Vec<Value> {
    let asked = [
        (
            format!("$SYS.REQ.ACCOUNT.{account}.CONNZ"),
            "$SYS.REQ.SERVER.PING.CONNZ",
            false,
        ),
        (
            format!("$SYS.REQ.ACCOUNT.{account}.STATZ"),
            "$SYS.REQ.ACCOUNT.PING.STATZ",
            false,
        ),
        (
            format!("$SYS.REQ.USER.{account}.INFO"),
            "$SYS.REQ.USER.INFO",
            true,
        ),
        (
            format!("$SYS.REQ.ACCOUNT.{account}.CONNZ"),
            "$SYS.REQ.ACCOUNT.PING.CONNZ",
            false,
        ),
    ];
    let asked = asked
        .into_iter()
        .filter(|(_, local, _)| account != system || *local == "$SYS.REQ.USER.INFO");
    let import = |(subject, local, share): (String, &str, bool)| {
        json!({
            "subject": subject, "account": system, "to": local, "local_subject": local,
            "type": "service", "invalid": false, "share": share, "tracking": false,
        })
    };
    asked.map(import).collect()
}

/// Local subjects of the services an account imports, each of which stock has a subscription for.
pub(super) fn imported_services(facts: &ServerFacts, name: &str) -> Vec<String> {
    let account = facts.accounts.find(name);
    let Some(account) = account.and_then(|id| facts.accounts.get(id)) else {
        return Vec::new();
    };
    let system = system_account(facts);
    let asked = match system.is_empty() {
        true => Vec::new(),
        false => system_imports(name, system),
    };
    let asked = asked.iter().filter_map(|it| it["to"].as_str());
    let own = account.service_imports.iter().map(|it| &*it.from);
    let streams = asks_for_streams(facts, name).then_some(JETSTREAM);
    asked.chain(own).chain(streams).map(str::to_owned).collect()
}

/// How many they are: asked for all accounts at once.
fn count_imported_services(facts: &ServerFacts, name: &str) -> u64 {
    let accounts = &facts.accounts;
    let own = accounts.find(name).and_then(|id| accounts.get(id));
    let asked = match system_account(facts) {
        "" => 0,
        system if system == name => 1,
        _ => 4,
    };
    let own = own.map_or(0, |it| it.service_imports.len());
    asked + own as u64 + u64::from(asks_for_streams(facts, name))
}

/// Has this account the service of the system account's that streams are?
fn asks_for_streams(facts: &ServerFacts, name: &str) -> bool {
    let system = system_account(facts);
    facts.options.jetstream.enabled && !system.is_empty() && name != system
}

/// Answers `/accountz`.
pub(super) fn accountz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Accountz<'a>, BadRequest> {
    let system = system_account(facts);
    let wanted = parameters.text("acc");
    let mut answer = Accountz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        system_account: system,
        accounts: None,
        account_detail: None,
    };
    if wanted.is_empty() {
        answer.accounts = Some(names(facts));
    } else {
        answer.account_detail = Some(account_info(facts, figures, wanted)?);
    }
    Ok(answer)
}

/// Everything about one account.
pub(super) fn account_info(
    facts: &ServerFacts,
    figures: &dyn Figures,
    wanted: &str,
) -> Result<AccountInfo, BadRequest> {
    let account = facts.accounts.find(wanted);
    let Some(account) = account.and_then(|id| facts.accounts.get(id)) else {
        return Err(BadRequest(format!("Account {wanted} does not exist")));
    };
    let trusted = facts.trusted.get(wanted).map(|it| &**it);
    let mut exports = account_detail::exports(account, trusted);
    if wanted == system_account(facts) {
        exports.extend(system_exports());
    }
    let system = system_account(facts);
    let is_system = wanted == system;
    let mut imports = account_detail::imports(facts, account);
    if !system.is_empty() {
        imports.extend(system_imports(wanted, system));
    }
    if asks_for_streams(facts, wanted) {
        imports.push(json!({
            "subject": JETSTREAM, "account": system, "to": JETSTREAM,
            "local_subject": JETSTREAM, "type": "service", "invalid": false, "share": true,
            "tracking": false,
        }));
    }
    let mut mappings = match trusted {
        Some(trusted) => account_detail::mappings(&trusted.claims.mappings()),
        None => {
            let mut all = facts.options.accounts.iter();
            let own = all.find(|it| it.name == wanted);
            account_detail::mappings(own.map_or(&[], |it| &it.mappings))
        }
    };
    mappings.extend(account_detail::of_domain(facts, is_system));
    let report = of_accounts(figures).remove(wanted).unwrap_or_default();
    Ok(AccountInfo {
        account_name: wanted.into(),
        update_time: format::time(updated(facts, wanted)),
        is_system,
        expired: trusted.is_some_and(|it| account_detail::is_expired(it, format::now())),
        complete: true,
        jetstream_enabled: jetstream::is_enabled_for(facts, figures, wanted),
        leafnode_connections: report.figures.links,
        client_connections: report.figures.connections,
        subscriptions: report.figures.subscriptions + count_imported_services(facts, wanted),
        mappings,
        exports,
        imports,
        token: trusted.map(TokenDetail::of).unwrap_or_default(),
        name_tag: name_tag(facts, wanted).into(),
        sublist_stats: SublistStats::of_account(&report.figures, &report.routing),
        responses: responses(facts, figures, account),
    })
}

/// When it became as it is: with its token, or with the configuration.
fn updated(facts: &ServerFacts, name: &str) -> WallTime {
    match facts.token_times.get(name) {
        Some(time) => *time,
        None if facts.trusted.contains_key(name) => facts.start,
        None => facts.config_load,
    }
}

/// Requests to it that wait for answers, by the subjects these go to.
fn responses(
    facts: &ServerFacts,
    figures: &dyn Figures,
    account: &Account,
) -> BTreeMap<Box<str>, Value> {
    if account.service_exports.is_empty() {
        return BTreeMap::new();
    }
    let reports = figures.ask(Query::Responses(account.id));
    let open = reports.into_iter().flat_map(|it| it.responses);
    open.map(|it| (it.made_up.clone(), account_detail::response(facts, &it)))
        .collect()
}

#[derive(Serialize)]
pub(super) struct Accstatz<'a> {
    server_id: &'a str,
    now: String,
    account_statz: Vec<AccountStat<'a>>,
}

#[derive(Serialize)]
struct AccountStat<'a> {
    acc: &'a str,
    name: &'a str,
    conns: u64,
    leafnodes: u64,
    total_conns: u64,
    num_subscriptions: u64,
    sent: DataStats,
    received: DataStats,
    slow_consumers: u64,
}

#[derive(Serialize, Default)]
struct DataStats {
    msgs: u64,
    bytes: u64,
    gateways: MsgBytes,
    routes: MsgBytes,
    leafs: MsgBytes,
}

#[derive(Serialize, Default)]
struct MsgBytes {
    msgs: u64,
    bytes: u64,
}

/// Answers `/accstatz`.
pub(super) fn accstatz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Accstatz<'a>, BadRequest> {
    let unused = parameters.bool("unused")?;
    Ok(figures_of(facts, figures, None, unused))
}

/// Figures of the accounts named, or of all.
pub(super) fn figures_of<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    named: Option<&[String]>,
    unused: bool,
) -> Accstatz<'a> {
    let reports = of_accounts(figures);
    let data = |volume: Volume, links: Volume| DataStats {
        msgs: volume.msgs,
        bytes: volume.bytes,
        leafs: MsgBytes {
            msgs: links.msgs,
            bytes: links.bytes,
        },
        ..DataStats::default()
    };
    let stat = |name: &'a str| {
        let counts = reports.get(name).copied().unwrap_or_default().figures;
        (unused || counts.connections + counts.links > 0).then(|| AccountStat {
            acc: name,
            name: name_tag(facts, name),
            conns: counts.connections,
            leafnodes: counts.links,
            total_conns: counts.connections + counts.links,
            num_subscriptions: counts.subscriptions + count_imported_services(facts, name),
            sent: data(counts.sent, counts.links_sent),
            received: data(counts.received, counts.links_received),
            slow_consumers: counts.slow_consumers,
        })
    };
    let wanted = |name: &&str| named.is_none_or(|named| named.iter().any(|it| it == name));
    let account_statz = names(facts)
        .into_iter()
        .filter(wanted)
        .filter_map(stat)
        .collect();
    Accstatz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        account_statz,
    }
}

/// Is there an account of this name?
pub(super) fn is_account(facts: &ServerFacts, name: &str) -> bool {
    facts.accounts.find(name).is_some()
}

/// All accounts, `$G` and the system's first.
fn names(facts: &ServerFacts) -> Vec<&str> {
    facts.accounts.iter().map(|it| &*it.name).collect()
}

/// An account's name for people.
fn name_tag<'a>(facts: &'a ServerFacts, name: &'a str) -> &'a str {
    let accounts = &facts.accounts;
    let account = accounts.find(name).and_then(|id| accounts.get(id));
    account.map_or(name, |account| &account.name_tag)
}

/// What all shards together say of one account.
#[derive(Clone, Copy, Default)]
pub(super) struct OfAccount {
    pub figures: AccountFigures,
    pub routing: RoutingStats,
}

/// What all shards together say of each account that did something.
pub(super) fn of_accounts(figures: &dyn Figures) -> HashMap<Arc<str>, OfAccount> {
    let mut all: HashMap<Arc<str>, OfAccount> = HashMap::new();
    let reports = figures.ask(Query::Accounts);
    for report in reports.into_iter().flat_map(|it| it.accounts) {
        let sum = all.entry(report.account).or_default();
        sum.figures = sum.figures.plus(report.figures);
        sum.routing = sum.routing.plus(report.routing);
    }
    all
}

fn system_account(facts: &ServerFacts) -> &str {
    if facts.options.no_system_account {
        ""
    } else {
        &facts.options.system_account
    }
}

/// Counters of all shards together.
pub(super) fn totals(figures: &dyn Figures) -> Counters {
    Counters::sum(
        figures
            .ask(Query::Counters)
            .iter()
            .map(|report| &report.counters),
    )
}
