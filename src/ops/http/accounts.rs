//! `/accountz` and `/accstatz`: the accounts there are (MON-30..32).

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Parameters};
use super::subsz::SublistStats;
use crate::ids::GLOBAL_ACCOUNT;
use crate::routing::interest::RoutingStats;
use crate::shard::report::{AccountFigures, Counters, Figures, Query, Volume};

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
struct AccountInfo {
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imports: Vec<Value>,
    name_tag: String,
    sublist_stats: SublistStats,
}

/// What every account but the system's own may ask of it (MON-57).
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
    let import = |(subject, local, share): (String, &str, bool)| {
        json!({
            "subject": subject, "account": system, "to": local, "local_subject": local,
            "type": "service", "invalid": false, "share": share, "tracking": false,
        })
    };
    asked.into_iter().map(import).collect()
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
    } else if is_account(facts, wanted) {
        let is_system = wanted == system;
        let report = of_accounts(figures).remove(wanted).unwrap_or_default();
        answer.account_detail = Some(AccountInfo {
            account_name: wanted.into(),
            update_time: format::time(facts.start),
            is_system,
            expired: false,
            complete: true,
            jetstream_enabled: false,
            leafnode_connections: 0,
            client_connections: report.figures.connections,
            subscriptions: report.figures.subscriptions,
            imports: if is_system || system.is_empty() {
                Vec::new()
            } else {
                system_imports(wanted, system)
            },
            name_tag: wanted.into(),
            sublist_stats: SublistStats::of_account(&report.figures, &report.routing),
        });
    } else {
        return Err(BadRequest(format!("Account {wanted} does not exist")));
    }
    Ok(answer)
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
    let reports = of_accounts(figures);
    let data = |volume: Volume| DataStats {
        msgs: volume.msgs,
        bytes: volume.bytes,
        ..DataStats::default()
    };
    let stat = |name: &'a str| {
        let counts = reports.get(name).copied().unwrap_or_default().figures;
        (unused || counts.connections > 0).then(|| AccountStat {
            acc: name,
            name,
            conns: counts.connections,
            leafnodes: 0,
            total_conns: counts.connections,
            num_subscriptions: counts.subscriptions,
            sent: data(counts.sent),
            received: data(counts.received),
            slow_consumers: counts.slow_consumers,
        })
    };
    let account_statz = names(facts).into_iter().filter_map(stat).collect();
    Ok(Accstatz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        account_statz,
    })
}

/// Is there an account of this name?
pub(super) fn is_account(facts: &ServerFacts, name: &str) -> bool {
    names(facts).contains(&name)
}

/// All accounts, `$G` and the system's first.
fn names(facts: &ServerFacts) -> Vec<&str> {
    let mut names = vec![GLOBAL_ACCOUNT];
    let configured = facts.options.accounts.iter().map(|it| it.name.as_str());
    for name in std::iter::once(system_account(facts)).chain(configured) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
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
