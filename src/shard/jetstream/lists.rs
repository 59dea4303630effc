//! Questions about all streams of an account (JS-17, JS-20, JS-21).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::decode::{decode, is_json};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::API_LEVEL;
use crate::jetstream::api::request::{StreamListRequest, StreamNamesRequest};
use crate::jetstream::api::response::{
    AccountInfo, AccountLimits, ApiUsage, LIST_MAX, NAMES_MAX, Paging, Response, StreamInfo,
    StreamList, StreamNames, TierUsage,
};
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::limits::{AccountTiers, tier_name};
use crate::jetstream::stream::config::Storage;
use crate::shard::core::Core;

use super::command::{Command, Request};

/// Questions to all shards that are not answered yet.
#[derive(Default)]
pub(super) struct Gathers {
    asked: u64,
    open: BTreeMap<u64, Gather>,
}

impl Gathers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

struct Gather {
    request: Request,
    paging: Paging,
    /// Shards that have not answered.
    missing: usize,
    streams: Vec<StreamInfo>,
    names: Arc<[Box<str>]>,
    /// It is about the account, not its streams.
    account: bool,
}

impl Core {
    /// JS-20.
    pub(super) fn js_stream_names(&mut self, request: &Request) -> Result<(), ApiError> {
        let asked: StreamNamesRequest = match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?,
            false => StreamNamesRequest::default(),
        };
        let registry = &self.jetstream.registry;
        let all = registry.overlapping(request.account, &asked.subject);
        let names: Vec<String> = all.map(|(name, _)| name.to_owned()).collect();
        let (paging, page) = Paging::page(names.len(), asked.offset, NAMES_MAX);
        let content = StreamNames {
            paging,
            streams: names[page].to_vec(),
        };
        self.js_answer_json(request, &Response::new(Endpoint::StreamNames, content));
        Ok(())
    }

    /// JS-21: those who have the streams tell of them.
    pub(super) fn js_stream_list(&mut self, request: &Request) -> Result<(), ApiError> {
        let asked: StreamListRequest = match is_json(&request.body) {
            true => decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?,
            false => StreamListRequest::default(),
        };
        let registry = &self.jetstream.registry;
        let all = registry.overlapping(request.account, &asked.subject);
        let names: Vec<Box<str>> = all.map(|(name, _)| name.into()).collect();
        let (paging, page) = Paging::page(names.len(), asked.offset, LIST_MAX);
        self.js_gather(request, paging, names[page].into(), false);
        Ok(())
    }

    /// JS-17.
    pub(super) fn js_account_info(&mut self, request: &Request) -> Result<(), ApiError> {
        let all = self.jetstream.registry.of(request.account);
        let names = all.map(|(name, _)| Box::from(name)).collect();
        self.js_gather(request, Paging::default(), names, true);
        Ok(())
    }

    fn js_gather(
        &mut self,
        request: &Request,
        paging: Paging,
        names: Arc<[Box<str>]>,
        account: bool,
    ) {
        let shards: Vec<ShardId> = self.local.peers.others().chain([self.local.id]).collect();
        let gathers = &mut self.jetstream.gathers;
        gathers.asked += 1;
        let gather = gathers.asked;
        gathers.open.insert(
            gather,
            Gather {
                request: request.clone(),
                paging,
                missing: shards.len(),
                streams: Vec::new(),
                names: Arc::clone(&names),
                account,
            },
        );
        for shard in shards {
            let command = Command::List {
                gather,
                account: request.account,
                names: Arc::clone(&names),
            };
            self.js_command(shard, command);
        }
    }

    /// Tells shard 0 of those of the streams that are here.
    pub(super) fn js_list(&mut self, gather: u64, account: AccountId, names: &[Box<str>]) {
        let (mut streams, mut direct) = (Vec::new(), Vec::new());
        for name in names {
            let Some(key) = self.jetstream.find(account, name) else {
                continue;
            };
            let all = self.jetstream.streams.at(key);
            let all = all.map_or(0, |it| it.consumers.len() as u64);
            if let Some(info) = self.js_stream_info(key, false) {
                direct.push(all.saturating_sub(info.state.consumer_count));
                streams.push(info);
            }
        }
        let command = Command::Listed {
            gather,
            streams,
            direct,
        };
        self.js_command(ShardId(0), command);
    }

    /// A shard has told of its streams.
    pub(super) fn js_listed(&mut self, gather: u64, streams: Vec<StreamInfo>, direct: Vec<u64>) {
        let gathers = &mut self.jetstream.gathers;
        let Some(open) = gathers.open.get_mut(&gather) else {
            return;
        };
        // An account's usage counts all, what is told of a stream those that clients see.
        let account = open.account;
        open.streams
            .extend(streams.into_iter().zip(direct).map(|(mut stream, direct)| {
                stream.state.consumer_count += if account { direct } else { 0 };
                stream
            }));
        open.missing -= 1;
        if open.missing > 0 {
            return;
        }
        let Some(mut done) = gathers.open.remove(&gather) else {
            return;
        };
        if done.account {
            return self.js_tell_account(&done.request, &done.streams);
        }
        done.streams
            .sort_by(|a, b| a.config.name.cmp(&b.config.name));
        let registry = &self.jetstream.registry;
        let account = done.request.account;
        let offline = done.names.iter().filter_map(|name| {
            let offline = registry.offline(account, name)?;
            Some((name.to_string(), offline.reason.clone()))
        });
        let offline: BTreeMap<String, String> = offline.collect();
        let content = StreamList {
            paging: done.paging,
            streams: done.streams,
            missing: offline.keys().cloned().collect(),
            offline,
        };
        let answer = Response::new(Endpoint::StreamList, content);
        self.js_answer_json(&done.request, &answer);
    }

    fn js_tell_account(&mut self, request: &Request, streams: &[StreamInfo]) {
        let (_, limits) = self.js_limits(request.account);
        let mut usage = TierUsage::default();
        let mut tiers = BTreeMap::new();
        match limits {
            AccountTiers::One(limits) => usage.limits = limits,
            AccountTiers::ByReplicas(all) => {
                usage.limits = AccountLimits::NOTHING;
                tiers.extend(all.into_iter().map(|(tier, limits)| {
                    let tier_usage = TierUsage {
                        limits,
                        ..TierUsage::default()
                    };
                    (tier, tier_usage)
                }));
            }
        }
        for it in streams {
            add(&mut usage, it);
            if let Some(tier) = tiers.get_mut(&tier_name(it.config.num_replicas)) {
                add(tier, it);
            }
        }
        let requests = self.jetstream.registry.requests(request.account);
        let settings = self.local.settings.jetstream.as_ref();
        let content = AccountInfo {
            usage,
            domain: settings.map(|it| it.domain.clone()).unwrap_or_default(),
            api: ApiUsage {
                level: API_LEVEL,
                // This one counts once it is answered.
                total: requests.total.saturating_sub(1),
                errors: requests.errors,
                inflight: 0,
            },
            tiers,
        };
        self.js_answer_json(request, &Response::new(Endpoint::AccountInfo, content));
    }
}

/// Counts a stream.
fn add(usage: &mut TierUsage, stream: &StreamInfo) {
    let reserved = u64::try_from(stream.config.max_bytes).unwrap_or(0);
    let (used, promised) = match stream.config.storage {
        Storage::Memory => (&mut usage.memory, &mut usage.reserved_memory),
        Storage::File => (&mut usage.storage, &mut usage.reserved_storage),
    };
    *used += stream.state.bytes;
    *promised += reserved;
    usage.streams += 1;
    usage.consumers += stream.state.consumer_count;
}
