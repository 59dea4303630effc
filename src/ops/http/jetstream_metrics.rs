//! JetStream's part of `/metrics`, under the exporter's names and labels.
//!
//! Whoever makes streams could make metrics without end: after the first [`STREAMS_MAX`] streams,
//! [`CONSUMERS_MAX`] consumers and [`ORIGINS_MAX`] mirrors and sources the others are only counted, in
//! `jetstream_server_left_out_streams`, `_consumers` and `_origins`. The sums are always of all. What
//! the disks took is not told apart by streams.

use super::facts::ServerFacts;
use super::jetstream::Gathered;
use super::metrics::{Distribution, Labels, Metrics};
use crate::jetstream::api::response::StreamSourceInfo;
use crate::jetstream::limits::AccountTiers;
use crate::shard::jetstream::disk_figures::{Histogram, MICROS, PAGE};
use crate::shard::jetstream::report::{JetStreamQuery, StreamReport};
use crate::shard::report::Figures;

/// Streams with metrics of their own.
const STREAMS_MAX: usize = 1_000;
/// Consumers with metrics of their own.
const CONSUMERS_MAX: usize = 2_000;
/// Mirrors and sources with metrics of their own.
const ORIGINS_MAX: usize = 2_000;

/// How many more may have metrics of their own.
struct Room {
    consumers: usize,
    origins: usize,
}

/// Adds all there is.
pub(super) fn add(facts: &ServerFacts, figures: &dyn Figures, metrics: &mut Metrics) {
    let query = JetStreamQuery {
        streams: true,
        consumers: true,
        account: None,
        most: STREAMS_MAX,
    };
    let own = vec![
        ("server_name", facts.info.server_name.clone()),
        ("cluster", String::new()),
        (
            "domain",
            facts.options.jetstream.domain.clone().unwrap_or_default(),
        ),
        ("meta_leader", String::new()),
        ("is_meta_leader", "true".to_owned()),
    ];
    let Some(gathered) = Gathered::ask(facts, figures, query) else {
        metrics.put("jetstream_server_jetstream_disabled", own, 1.0);
        return;
    };
    let total = gathered.total();
    let shown_streams = gathered.streams.len().min(STREAMS_MAX);
    let mut room = Room {
        consumers: CONSUMERS_MAX,
        origins: ORIGINS_MAX,
    };
    for stream in gathered.streams.iter().take(shown_streams) {
        add_stream(facts, metrics, &own, stream, &mut room);
    }
    let shown_consumers = (CONSUMERS_MAX - room.consumers) as u64;
    let shown_origins = (ORIGINS_MAX - room.origins) as u64;
    let limits = &gathered.settings.server;
    for (name, value) in [
        ("jetstream_disabled", 0.0),
        ("total_streams", total.streams as f64),
        ("total_consumers", total.consumers as f64),
        ("total_messages", total.messages as f64),
        ("total_message_bytes", (total.memory + total.storage) as f64),
        ("max_memory", limits.max_memory as f64),
        ("max_storage", limits.max_storage as f64),
        ("api_requests", total.requests as f64),
        ("api_errors", total.errors as f64),
        ("api_inflight", gathered.requests_in_flight as f64),
        (
            "left_out_streams",
            total.streams.saturating_sub(shown_streams as u64) as f64,
        ),
        (
            "left_out_consumers",
            total.shown_consumers.saturating_sub(shown_consumers) as f64,
        ),
        (
            "left_out_origins",
            total.origins.saturating_sub(shown_origins) as f64,
        ),
    ] {
        metrics.put(&format!("jetstream_server_{name}"), own.clone(), value);
    }
    add_disk(metrics, &gathered, &own);
    for (account, usage) in gathered.accounts() {
        let mut labels = own.clone();
        labels.extend(account_labels(facts, account));
        let id = facts.accounts.find(account);
        let limits = id.and_then(|id| gathered.settings.accounts.get(&id));
        let (memory, storage) = match limits {
            Some(AccountTiers::One(limits)) => (limits.max_memory, limits.max_storage),
            _ => (-1, -1),
        };
        for (name, value) in [
            ("max_memory", memory as f64),
            ("max_storage", storage as f64),
            ("memory_used", usage.memory as f64),
            ("storage_used", usage.storage as f64),
            ("memory_reserved", usage.reserved_memory as f64),
            ("storage_reserved", usage.reserved_storage as f64),
            ("total_streams", usage.streams as f64),
            ("total_consumers", usage.consumers as f64),
            ("total_messages", usage.messages as f64),
            ("api_requests", usage.requests as f64),
            ("api_errors", usage.errors as f64),
        ] {
            metrics.put(&format!("jetstream_account_{name}"), labels.clone(), value);
        }
    }
}

/// What the disks took and what waits for them.
fn add_disk(metrics: &mut Metrics, gathered: &Gathered, own: &Labels) {
    let disk = &gathered.disk;
    for (name, value) in [
        ("backlog_bytes", gathered.backlog),
        ("cached_bytes", gathered.cached),
        ("failures", disk.failures),
        ("read_only_streams", gathered.read_only),
    ] {
        let name = format!("jetstream_store_{name}");
        metrics.put(&name, own.clone(), value as f64);
    }
    let seconds = |it: &Histogram<20>| distribution(it, MICROS, 1e-6);
    for (name, distribution) in [
        ("write_seconds", seconds(&disk.write)),
        ("flush_seconds", seconds(&disk.flush)),
        ("read_seconds", seconds(&disk.read)),
        (
            "commit_messages",
            distribution(&disk.commit_messages, 1, 1.0),
        ),
        ("commit_bytes", distribution(&disk.commit_bytes, PAGE, 1.0)),
    ] {
        metrics.put_distribution(&format!("jetstream_store_{name}"), distribution);
    }
}

/// `unit` is what the first range holds, `scale` what one is to be shown as.
fn distribution<const N: usize>(it: &Histogram<N>, unit: u64, scale: f64) -> Distribution {
    let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |it| (it * unit) as f64 * scale);
    Distribution {
        sum: it.sum() as f64 * scale,
        ranges: it.ranges().map(|it| (bound(it.0), it.1)).collect(),
    }
}

fn account_labels(facts: &ServerFacts, account: &str) -> Labels {
    let found = facts.accounts.find(account);
    let found = found.and_then(|id| facts.accounts.get(id));
    let shown = found.map_or(account, |it| &it.name_tag).to_owned();
    vec![("account", shown), ("account_id", account.to_owned())]
}

fn add_stream(
    facts: &ServerFacts,
    metrics: &mut Metrics,
    own: &Labels,
    report: &StreamReport,
    room: &mut Room,
) {
    let info = &report.info;
    let leader = &facts.info.server_name;
    let mut labels = own.clone();
    labels.extend(account_labels(facts, &report.account));
    labels.push(("stream_name", info.config.name.clone()));
    labels.push(("stream_leader", leader.clone()));
    labels.push(("is_stream_leader", "true".to_owned()));
    let state = &info.state;
    for (name, value) in [
        ("total_messages", state.messages),
        ("total_bytes", state.bytes),
        ("first_seq", state.first_seq),
        ("last_seq", state.last_seq),
        ("consumer_count", state.consumer_count),
        ("subject_count", state.num_subjects),
    ] {
        let name = format!("jetstream_stream_{name}");
        metrics.put(&name, labels.clone(), value as f64);
    }
    for (name, limit) in [
        ("limit_bytes", info.config.max_bytes),
        ("limit_messages", info.config.max_msgs),
    ] {
        let name = format!("jetstream_stream_{name}");
        metrics.put(&name, labels.clone(), limit as f64);
    }
    let mirror = info.mirror.iter().map(|it| ("mirror", it));
    let sources = info.sources.iter().map(|it| ("source", it));
    for (kind, origin) in mirror.chain(sources) {
        if room.origins == 0 {
            break;
        }
        room.origins -= 1;
        add_origin(metrics, &labels, kind, origin);
    }
    for consumer in &report.consumers {
        if room.consumers == 0 {
            return;
        }
        room.consumers -= 1;
        let mut labels = labels.clone();
        labels.push(("consumer_name", consumer.name.clone()));
        labels.push(("consumer_leader", String::new()));
        labels.push(("is_consumer_leader", "true".to_owned()));
        labels.push(("consumer_desc", consumer.config.description.clone()));
        for (name, value) in [
            ("delivered_consumer_seq", consumer.delivered.consumer_seq),
            ("delivered_stream_seq", consumer.delivered.stream_seq),
            ("num_ack_pending", consumer.num_ack_pending),
            ("num_redelivered", consumer.num_redelivered),
            ("num_waiting", consumer.num_waiting),
            ("num_pending", consumer.num_pending),
            ("ack_floor_stream_seq", consumer.ack_floor.stream_seq),
            ("ack_floor_consumer_seq", consumer.ack_floor.consumer_seq),
        ] {
            let name = format!("jetstream_consumer_{name}");
            metrics.put(&name, labels.clone(), value as f64);
        }
    }
}

/// How far a mirror or a source is. While nothing is heard of an origin nobody knows how much it has:
/// the lag stays what it was last, and `active_duration_ns` grows (below zero: nothing came yet).
fn add_origin(
    metrics: &mut Metrics,
    stream: &Labels,
    kind: &'static str,
    origin: &StreamSourceInfo,
) {
    let external = origin.external.clone().unwrap_or_default();
    let transforms = origin.subject_transforms.iter();
    let mut filters: Vec<String> = transforms
        .map(|it| format!("{} {}", it.src, it.dest))
        .collect();
    if !origin.filter_subject.is_empty() {
        filters.push(origin.filter_subject.clone());
    }
    let names = match kind {
        "mirror" => [
            "mirror_name",
            "mirror_api",
            "mirror_deliver",
            "mirror_filter",
        ],
        _ => [
            "source_name",
            "source_api",
            "source_deliver",
            "source_filter",
        ],
    };
    let values = [
        origin.name.clone(),
        external.api,
        external.deliver,
        filters.join(","),
    ];
    let mut labels = stream.clone();
    labels.extend(names.into_iter().zip(values));
    for (name, value) in [
        ("lag", origin.lag as f64),
        ("active_duration_ns", origin.active.0 as f64),
    ] {
        let name = format!("jetstream_stream_{kind}_{name}");
        metrics.put(&name, labels.clone(), value);
    }
}
