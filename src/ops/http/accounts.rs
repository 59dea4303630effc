//! `/accountz` and `/accstatz`: the accounts there are, `$G` and the system account (MON-30..32).

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Parameters};
use super::subsz::SublistStats;
use crate::ids::GLOBAL_ACCOUNT;
use crate::shard::report::{Counters, Figures, Query};

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
        let all = [GLOBAL_ACCOUNT, system];
        answer.accounts = Some(all.into_iter().filter(|name| !name.is_empty()).collect());
    } else if is_account(facts, wanted) {
        let is_system = wanted == system;
        let counters = if is_system {
            Counters::default()
        } else {
            totals(figures)
        };
        answer.account_detail = Some(AccountInfo {
            account_name: wanted.into(),
            update_time: format::time(facts.start),
            is_system,
            expired: false,
            complete: true,
            jetstream_enabled: false,
            leafnode_connections: 0,
            client_connections: counters.connections,
            subscriptions: counters.subscriptions,
            imports: if is_system || system.is_empty() {
                Vec::new()
            } else {
                system_imports(wanted, system)
            },
            name_tag: wanted.into(),
            sublist_stats: SublistStats::of(&counters),
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
    let counters = totals(figures);
    let stat = |name: &'a str, counters: &Counters| AccountStat {
        acc: name,
        name,
        conns: counters.connections,
        leafnodes: 0,
        total_conns: counters.connections,
        num_subscriptions: counters.subscriptions,
        sent: DataStats {
            msgs: counters.out_msgs,
            bytes: counters.out_bytes,
            ..DataStats::default()
        },
        received: DataStats {
            msgs: counters.in_msgs,
            bytes: counters.in_bytes,
            ..DataStats::default()
        },
        slow_consumers: counters.slow_consumers,
    };
    let mut account_statz = Vec::new();
    if unused || counters.connections > 0 {
        account_statz.push(stat(GLOBAL_ACCOUNT, &counters));
    }
    let system = system_account(facts);
    if unused && !system.is_empty() {
        account_statz.push(stat(system, &Counters::default()));
    }
    Ok(Accstatz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        account_statz,
    })
}

/// Is there an account of this name?
pub(super) fn is_account(facts: &ServerFacts, name: &str) -> bool {
    !name.is_empty() && (name == GLOBAL_ACCOUNT || name == system_account(facts))
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
