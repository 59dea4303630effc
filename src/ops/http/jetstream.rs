//! `/jsz` and `/ipqueuesz` (MON-35, MON-38, JS-261).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Parameters};
use crate::jetstream::api::levels::API_LEVEL;
use crate::jetstream::api::response::{ClusterInfo, ConsumerInfo};
use crate::jetstream::limits::AccountTiers;
use crate::shard::jetstream::disk_figures::DiskFigures;
use crate::shard::jetstream::report::{AccountUsage, JetStreamQuery, StreamReport};
use crate::shard::jetstream::settings::JetStreamSettings;
use crate::shard::report::{Figures, Query};

/// Accounts on a page unless another number is asked for.
const ACCOUNTS: i64 = 1024;

/// What all shards together say.
pub(super) struct Gathered {
    /// How it is set up.
    pub settings: Arc<JetStreamSettings>,
    /// Accounts with JetStream, by name.
    accounts: BTreeMap<Arc<str>, AccountUsage>,
    /// Streams by account and name, if asked for.
    pub streams: Vec<StreamReport>,
    /// What the disks took.
    pub disk: DiskFigures,
    /// Bytes that wait to be written.
    pub backlog: u64,
    /// Bytes of files that are kept in memory.
    pub cached: u64,
    /// Streams nothing can be written to.
    pub read_only: u64,
    /// Requests to the API that are not answered yet.
    pub requests_in_flight: u64,
}

impl Gathered {
    /// Asks all shards; `None` if JetStream is off.
    pub fn ask(facts: &ServerFacts, figures: &dyn Figures, query: JetStreamQuery) -> Option<Self> {
        if !facts.options.jetstream.enabled {
            return None;
        }
        let (mut settings, mut streams) = (None, Vec::new());
        let mut disk = DiskFigures::default();
        let (mut backlog, mut cached, mut read_only, mut requests_in_flight) = (0, 0, 0, 0);
        let mut usage: HashMap<Arc<str>, AccountUsage> = HashMap::new();
        for report in figures.ask(Query::JetStream(query)) {
            let report = report.jetstream;
            settings = settings.or(report.settings);
            streams.extend(report.streams);
            disk.add(&report.disk);
            backlog += report.backlog;
            cached += report.cached;
            read_only += report.read_only;
            requests_in_flight += report.requests_in_flight;
            for it in report.accounts {
                let sum = usage.entry(Arc::clone(&it.account));
                sum.or_insert_with(|| AccountUsage {
                    account: Arc::clone(&it.account),
                    ..AccountUsage::default()
                })
                .add(&it);
            }
        }
        let settings = settings?;
        let enabled = settings.accounts.keys();
        let accounts = enabled.map(|id| {
            let name: Arc<str> = facts.accounts.name(*id).into();
            let usage = usage.remove(&name).unwrap_or_default();
            (name, usage)
        });
        let accounts = accounts.collect();
        streams.sort_by(|a, b| {
            let key = |it: &StreamReport| (Arc::clone(&it.account), it.info.config.name.clone());
            key(a).cmp(&key(b))
        });
        Some(Self {
            settings,
            accounts,
            streams,
            disk,
            backlog,
            cached,
            read_only,
            requests_in_flight,
        })
    }

    /// Has this account JetStream?
    pub fn has(&self, account: &str) -> bool {
        self.accounts.contains_key(account)
    }

    /// Accounts and what they have.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &AccountUsage)> {
        self.accounts.iter().map(|(name, usage)| (&**name, usage))
    }

    /// All accounts together.
    pub fn total(&self) -> AccountUsage {
        let mut total = AccountUsage::default();
        self.accounts.values().for_each(|it| total.add(it));
        total
    }

    fn stats(&self) -> Stats {
        let total = self.total();
        Stats {
            memory: total.memory,
            storage: total.storage,
            reserved_memory: total.reserved_memory,
            reserved_storage: total.reserved_storage,
            accounts: self.accounts.len() as u64,
            ha_assets: 0,
            api: Api {
                level: API_LEVEL,
                total: total.requests,
                errors: total.errors,
                inflight: self.requests_in_flight,
            },
        }
    }

    fn config(&self, facts: &ServerFacts, with_directory: bool) -> Value {
        let options = &facts.options.jetstream;
        let mut config = Map::new();
        let limits = &self.settings.server;
        config.insert("max_memory".into(), limits.max_memory.into());
        config.insert("max_storage".into(), limits.max_storage.into());
        if with_directory {
            let above = options.store_dir.clone();
            let above = above.unwrap_or_else(|| std::env::temp_dir().join("nats"));
            let path = above.join("jetstream").display().to_string();
            config.insert("store_dir".into(), path.into());
        }
        let interval = options.sync_interval.as_nanos() as u64;
        if interval > 0 {
            config.insert("sync_interval".into(), interval.into());
        }
        if options.sync_always {
            config.insert("sync_always".into(), true.into());
        }
        if !self.settings.domain.is_empty() {
            config.insert("domain".into(), self.settings.domain.as_str().into());
        }
        // Stock says so where both limits are given.
        if [options.max_memory, options.max_storage]
            .iter()
            .all(|it| it.is_some_and(|it| it > 0))
        {
            config.insert("compress_ok".into(), true.into());
        }
        if self.settings.strict {
            config.insert("strict".into(), true.into());
        }
        config.into()
    }
}

#[derive(Serialize, Default)]
struct Api {
    level: u32,
    total: u64,
    errors: u64,
    #[serde(skip_serializing_if = "is_zero")]
    inflight: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize, Default)]
struct Stats {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: Api,
}

/// Limits of the server that are set.
fn limits(facts: &ServerFacts) -> Value {
    let limits = &facts.options.jetstream.limits;
    let nanos = |it: std::time::Duration| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX);
    let set = [
        ("max_request_batch", limits.max_request_batch),
        ("max_ack_pending", limits.max_ack_pending),
        ("max_duplicate_window", nanos(limits.duplicate_window)),
        (
            "max_batch_inflight_per_stream",
            limits.batch_max_inflight_per_stream,
        ),
        ("max_batch_inflight_total", limits.batch_max_inflight_total),
        ("max_batch_size", limits.batch_max_msgs),
        ("max_batch_timeout", nanos(limits.batch_timeout)),
        ("default_max_consumers", limits.default_max_consumers),
    ];
    let set = set.into_iter().filter(|(_, it)| *it != 0);
    let set = set.map(|(name, it)| (name.to_owned(), it.into()));
    Value::Object(set.collect())
}

/// The part of `/varz`, and of what the server tells by itself, which leaves out where its files
/// are.
pub(super) fn varz(facts: &ServerFacts, figures: &dyn Figures, with_directory: bool) -> Value {
    match Gathered::ask(facts, figures, JetStreamQuery::default()) {
        None => json!({}),
        Some(gathered) => json!({
            "config": gathered.config(facts, with_directory),
            "stats": gathered.stats(),
            "limits": limits(facts),
        }),
    }
}

/// Has this account JetStream?
pub(super) fn is_enabled_for(facts: &ServerFacts, figures: &dyn Figures, account: &str) -> bool {
    let gathered = Gathered::ask(facts, figures, JetStreamQuery::default());
    gathered.is_some_and(|it| it.has(account))
}

/// What is to be shown of accounts.
#[derive(Default)]
struct Detail {
    streams: bool,
    consumers: bool,
    direct: bool,
    config: bool,
    raft: bool,
}

impl Detail {
    fn of(parameters: &Parameters) -> Result<Self, BadRequest> {
        let consumers = parameters.bool("consumers")?;
        Ok(Self {
            streams: parameters.bool("streams")? || consumers,
            consumers,
            direct: parameters.bool("direct-consumers")?,
            config: parameters.bool("config")?,
            raft: parameters.bool("raft")?,
        })
    }

    fn query(&self, account: Option<&str>) -> JetStreamQuery {
        JetStreamQuery {
            streams: self.streams,
            consumers: self.consumers,
            account: account.map(Into::into),
            most: usize::MAX,
        }
    }

    /// One account.
    fn account(&self, facts: &ServerFacts, gathered: &Gathered, name: &str) -> Value {
        let usage = gathered.accounts.get(name).cloned().unwrap_or_default();
        let id = facts.accounts.find(name);
        let limits = id.and_then(|id| gathered.settings.accounts.get(&id));
        // What stock calls reserved are the account's limits; none is all.
        let (memory, storage) = match limits {
            Some(AccountTiers::One(limits)) => {
                (limits.max_memory as u64, limits.max_storage as u64)
            }
            _ => (0, 0),
        };
        let tag = id.and_then(|id| facts.accounts.get(id));
        let mut answer = json!({
            "name": tag.map_or(name, |it| &it.name_tag),
            "id": name,
            "memory": usage.memory,
            "storage": usage.storage,
            "reserved_memory": memory,
            "reserved_storage": storage,
            "accounts": 0,
            "ha_assets": 0,
            "api": { "level": 0, "total": usage.requests, "errors": usage.errors },
        });
        let streams = gathered.streams.iter().filter(|it| *it.account == *name);
        let streams: Vec<Value> = streams.map(|it| self.stream(facts, it)).collect();
        if !streams.is_empty() {
            answer["stream_detail"] = streams.into();
        }
        answer
    }

    fn stream(&self, facts: &ServerFacts, report: &StreamReport) -> Value {
        let info = &report.info;
        let cluster = ClusterInfo {
            leader: facts.info.server_name.clone(),
            ..ClusterInfo::default()
        };
        let mut answer = json!({
            "name": info.config.name,
            "created": info.created,
            "cluster": cluster,
        });
        if self.config {
            answer["config"] = json!(info.config);
        }
        answer["state"] = json!(info.state);
        for (name, consumers, wanted) in [
            ("consumer_detail", &report.consumers, self.consumers),
            (
                "direct_consumer_detail",
                &report.direct,
                self.consumers && self.direct,
            ),
        ] {
            if wanted && !consumers.is_empty() {
                let all: Vec<Value> = consumers.iter().map(|it| self.consumer(it)).collect();
                answer[name] = all.into();
            }
        }
        if let Some(mirror) = &info.mirror {
            answer["mirror"] = json!(mirror);
        }
        if !info.sources.is_empty() {
            answer["sources"] = json!(info.sources);
        }
        answer
    }

    fn consumer(&self, info: &ConsumerInfo) -> Value {
        let mut answer = json!(info);
        if !self.config
            && let Some(fields) = answer.as_object_mut()
        {
            fields.shift_remove("config");
        }
        answer
    }
}

/// Answers `/jsz`.
pub(super) fn jsz(
    facts: &ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Value, BadRequest> {
    let detail = Detail::of(parameters)?;
    let accounts = parameters.bool("accounts")?;
    let leader_only = parameters.bool("leader-only")?;
    parameters.bool("stream-leader-only")?;
    let offset = parameters.int("offset")?.max(0);
    let limit = match parameters.int("limit")? {
        0 => ACCOUNTS,
        limit => limit,
    };
    let wanted = parameters.text("acc");
    // One that is not there is as none.
    let only = facts.accounts.find(wanted).filter(|_| !accounts);
    let query = detail.query(only.map(|_| wanted));
    let Some(gathered) = Gathered::ask(facts, figures, query) else {
        if leader_only {
            return Err(BadRequest("skip zreq: not leader".into()));
        }
        let mut answer = json!(Stats::default());
        answer["server_id"] = facts.info.server_id.as_str().into();
        answer["now"] = format::time(format::now()).into();
        answer["disabled"] = true.into();
        answer["config"] = json!({ "max_memory": 0, "max_storage": 0 });
        for field in ["streams", "consumers", "messages", "bytes", "total"] {
            answer[field] = 0.into();
        }
        return Ok(answer);
    };
    let total = gathered.total();
    let mut answer = json!(gathered.stats());
    answer["server_id"] = facts.info.server_id.as_str().into();
    answer["now"] = format::time(format::now()).into();
    answer["config"] = gathered.config(facts, true);
    answer["limits"] = limits(facts);
    answer["streams"] = total.streams.into();
    if detail.raft && total.streams > 0 {
        answer["streams_leader"] = total.streams.into();
    }
    answer["consumers"] = total.shown_consumers.into();
    if detail.raft && total.shown_consumers > 0 {
        answer["consumers_leader"] = total.shown_consumers.into();
    }
    answer["messages"] = total.messages.into();
    answer["bytes"] = (total.memory + total.storage).into();
    let all = gathered.accounts.keys().map(|it| &**it);
    let shown: Vec<&str> = match (gathered.has(wanted), limit) {
        (true, _) => vec![wanted],
        (false, limit) if accounts || (detail.streams && wanted.is_empty()) => {
            let (skip, most) = match usize::try_from(limit) {
                Ok(most) => (usize::try_from(offset).unwrap_or(usize::MAX), most),
                Err(_) => (0, usize::MAX),
            };
            all.skip(skip).take(most).collect()
        }
        _ => Vec::new(),
    };
    if !shown.is_empty() {
        let shown = shown.iter();
        let details: Vec<Value> = shown
            .map(|name| detail.account(facts, &gathered, name))
            .collect();
        answer["account_details"] = details.into();
    }
    answer["total"] = gathered.accounts.len().into();
    Ok(answer)
}

/// One account, as `/jsz` shows it.
pub(super) fn account(
    facts: &ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Value, BadRequest> {
    let name = parameters.text("acc");
    let mut detail = Detail::of(parameters)?;
    // Whoever asks for one account says itself what it wants of it.
    detail.streams = parameters.bool("streams")?;
    let Some(gathered) = Gathered::ask(facts, figures, detail.query(Some(name))) else {
        return Err(BadRequest("jetstream not enabled".into()));
    };
    if facts.accounts.find(name).is_none() {
        return Err(BadRequest(format!("account {name:?} not found")));
    }
    if !gathered.has(name) {
        let why = format!("account {name:?} not jetstream enabled");
        return Err(BadRequest(why));
    }
    Ok(detail.account(facts, &gathered, name))
}

/// Answers `/ipqueuesz`: such queues belong to JetStream and links.
pub(super) fn ipqueuesz(parameters: &Parameters) -> Result<Value, BadRequest> {
    parameters.bool("all").map(|_| json!({}))
}
