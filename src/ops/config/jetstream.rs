//! `jetstream` of the server and of an account, `store_dir`, `default_js_domain` (CFG-65, CFG-69,
//! JS-244, JS-246, JS-247). What is for clusters, and `tpm`, is checked and not kept.

use std::time::Duration;

use super::error::ProblemKind;
use super::inactive::check::{Fields, block, flag, integer, storage_bytes, storage_size, text};
use super::report::{Report, strict_duration, type_in};
use super::value::{Map, Node, Value};
use crate::options::{
    AccountTiers, JetStreamAccountLimits, JetStreamLimits, JetStreamOptions, Options, StoreCipher,
};
use crate::routing::subject::is_valid_pattern;

/// Reads `jetstream` of the server.
pub fn read(report: &mut Report, value: &Value, options: &mut JetStreamOptions) {
    options.enabled = match &value.node {
        Node::Bool(on) => *on,
        Node::Map(map) => entries(report, map, options),
        _ => word(report, value),
    };
}

/// `enabled` or `disabled`.
fn word(report: &mut Report, value: &Value) -> bool {
    let Node::String(_) = &value.node else {
        let text = "Expected map, bool or string to define JetStream, got ";
        report.error(value, type_in(text, value));
        return false;
    };
    let Some(text) = report.keep(value, value.text()) else {
        return false;
    };
    match text.to_lowercase().as_str() {
        "enabled" | "enable" => true,
        "disabled" | "disable" => false,
        _ => {
            let found = format!("'{text}'");
            let text = "Expected 'enabled' or 'disabled' for string value, got ";
            report.error(value, ProblemKind::TypeIn { text, found });
            false
        }
    }
}

/// Whether the block switches it on.
fn entries(report: &mut Report, map: &Map, options: &mut JetStreamOptions) -> bool {
    let mut enabled = true;
    for (key, value) in map.iter() {
        let name = String::from_utf8_lossy(key);
        match name.to_lowercase().as_str() {
            "strict" => keep(report, value, value.boolean(), &mut options.strict),
            "store" | "store_dir" | "storedir" => store_dir(report, value, options),
            "sync" | "sync_interval" => sync(report, &name, value, options),
            "max_memory_store" | "max_mem_store" | "max_mem" => {
                options.max_memory = size(report, "max_mem_store", value);
            }
            "max_file_store" | "max_file" => {
                options.max_storage = size(report, "max_file_store", value);
            }
            "domain" => options.domain = filled(report, value),
            "enable" | "enabled" => keep(report, value, value.boolean(), &mut enabled),
            "key" | "ek" | "encryption_key" => options.key = filled(report, value),
            "prev_key" | "prev_ek" | "prev_encryption_key" => {
                options.previous_key = filled(report, value);
            }
            "cipher" => cipher(report, value, &mut options.cipher),
            "limits" => limits(report, value, &mut options.limits),
            "max_buffered_size" => {
                let bytes = storage_bytes(report, "max_buffered_size", value);
                options.max_buffered_size = bytes.map_or(0, |it| u64::try_from(it).unwrap_or(0));
            }
            "max_buffered_msgs" => {
                options.max_buffered_msgs = parseable_size(report, &name, value)
                    .map_or(0, |it| usize::try_from(it).unwrap_or(0));
            }
            "request_queue_limit" => {
                if let Some(limit) = queue_limit(report, &name, value) {
                    options.request_queue_limit = limit;
                }
            }
            "info_queue_limit" => {
                options.info_queue_limit = queue_limit(report, &name, value);
            }
            other => match FOR_CLUSTERS
                .iter()
                .find(|(names, _)| names.contains(&other))
            {
                Some((_, check)) => check(report, &name, value),
                None => report.unknown_field(key, value),
            },
        }
    }
    enabled
}

fn keep<T>(report: &mut Report, value: &Value, read: Result<T, ProblemKind>, to: &mut T) {
    if let Some(found) = report.keep(value, read) {
        *to = found;
    }
}

/// Empty text means the default, as in stock.
fn filled(report: &mut Report, value: &Value) -> Option<String> {
    let text = report.keep(value, value.text())?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// `store_dir`, here or at the top level: both at once is one too many.
pub fn store_dir(report: &mut Report, value: &Value, options: &mut JetStreamOptions) {
    if options.store_dir.is_some() {
        let text = "Duplicate 'store_dir' configuration";
        return report.error(value, ProblemKind::Stock(text));
    }
    options.store_dir = filled(report, value).map(Into::into);
}

/// Below zero is the default, as in stock.
fn size(report: &mut Report, shown: &str, value: &Value) -> Option<u64> {
    storage_bytes(report, shown, value).and_then(|it| u64::try_from(it).ok())
}

fn sync(report: &mut Report, key: &str, value: &Value, options: &mut JetStreamOptions) {
    options.sync_always =
        matches!(&value.node, Node::String(it) if it.eq_ignore_ascii_case(b"always"));
    if options.sync_always {
        options.sync_interval = JetStreamOptions::default().sync_interval;
    } else if let Some(nanos) = report.duration(key, value) {
        // Without an interval stock takes its default.
        if let Ok(nanos) = u64::try_from(nanos)
            && nanos > 0
        {
            options.sync_interval = Duration::from_nanos(nanos);
            options.sync_given = true;
        }
    }
}

fn cipher(report: &mut Report, value: &Value, to: &mut StoreCipher) {
    let Some(name) = report.keep(value, value.text()) else {
        return;
    };
    match name.to_lowercase().as_str() {
        "chacha" | "chachapoly" => *to = StoreCipher::ChaCha,
        "aes" => *to = StoreCipher::Aes,
        _ => report.error(
            value,
            ProblemKind::Value {
                before: "Unknown cipher type: ",
                value: name.to_owned(),
                after: "",
            },
        ),
    }
}

/// JS-247.
fn limits(report: &mut Report, value: &Value, limits: &mut JetStreamLimits) {
    let Some(map) = report.map("Expected a map to define JetStreamLimits, got ", value) else {
        return;
    };
    for (key, value) in map.iter() {
        let number = match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "max_ack_pending" => &mut limits.max_ack_pending,
            "max_request_batch" => &mut limits.max_request_batch,
            "default_max_consumers" => &mut limits.default_max_consumers,
            "max_ha_assets" => {
                integer(report, "", value);
                continue;
            }
            "duplicate_window" => {
                duration(report, value, &mut limits.duplicate_window);
                continue;
            }
            "batch" => {
                batch(report, value, limits);
                continue;
            }
            _ => {
                report.unknown_field(key, value);
                continue;
            }
        };
        keep(report, value, value.integer(), number);
    }
}

fn batch(report: &mut Report, value: &Value, limits: &mut JetStreamLimits) {
    let Some(map) = report.map("Expected a map to define batch limits, got ", value) else {
        return;
    };
    for (key, value) in map.iter() {
        let number = match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "max_inflight_per_stream" => &mut limits.batch_max_inflight_per_stream,
            "max_inflight_total" => &mut limits.batch_max_inflight_total,
            "max_msgs" => &mut limits.batch_max_msgs,
            "timeout" => {
                duration(report, value, &mut limits.batch_timeout);
                continue;
            }
            _ => {
                report.unknown_field(key, value);
                continue;
            }
        };
        keep(report, value, value.integer(), number);
    }
}

/// A duration that may not be a number.
fn duration(report: &mut Report, value: &Value, to: &mut Duration) {
    if let Some(nanos) = report.keep(value, strict_duration(value, "")) {
        *to = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    }
}

/// Below one is none, as in stock.
fn queue_limit(report: &mut Report, key: &str, value: &Value) -> Option<usize> {
    let limit = parseable_size(report, key, value)?;
    usize::try_from(limit).ok().filter(|&it| it > 0)
}

const FOR_CLUSTERS: Fields = &[
    (&["extension_hint"], text),
    (&["tpm"], tpm),
    (&["unique_tag"], text),
    (&["max_outstanding_catchup"], storage_size),
    (&["meta_compact"], absolute_size),
    (&["meta_compact_size"], |report, key, value| {
        match value.node {
            Node::Integer(_) => absolute_size(report, key, value),
            _ => storage_size(report, key, value),
        }
    }),
    (&["meta_compact_sync"], flag),
    (&["max_concurrent_io"], concurrent_io),
];

fn tpm(report: &mut Report, _: &str, value: &Value) {
    block(
        report,
        value,
        "Expected a map to define JetStreamLimits, got ",
        &[
            (&["keys_file"], text),
            (&["encryption_password"], text),
            (&["srk_password"], text),
            (&["pcr"], integer),
            (&["cipher"], |report, _, value| {
                cipher(report, value, &mut StoreCipher::default());
            }),
        ],
    );
}

fn parseable_size(report: &mut Report, key: &str, value: &Value) -> Option<i64> {
    if let Node::Integer(number) = value.node {
        return Some(number);
    }
    let found = format!("{key:?}, got {}", value.node.shown());
    let text = "Expected a parseable size for ";
    report.error(value, ProblemKind::TypeIn { text, found });
    None
}

fn absolute_size(report: &mut Report, key: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(0..)) {
        let found = format!("{key:?}, got {}", value.node.shown());
        let text = "Expected an absolute size for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

fn concurrent_io(report: &mut Report, key: &str, value: &Value) {
    if !matches!(value.node, Node::Integer(4..=8192)) {
        let found = format!("{key:?} between 4 and 8192, got {}", value.node.shown());
        let text = "Expected an absolute size for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

/// `default_js_domain`: accounts and their domains.
pub fn default_domains(
    report: &mut Report,
    value: &Value,
    options: &mut JetStreamOptions,
) -> Result<(), ProblemKind> {
    let Node::Map(map) = &value.node else {
        let text = "error default_js_domain config: unsupported type ";
        return Err(type_in(text, value));
    };
    for (account, domain) in map.iter() {
        if let Some(text) = report.keep(domain, domain.text()) {
            let account = String::from_utf8_lossy(account).into_owned();
            options.default_domains.insert(account, text.to_owned());
        }
    }
    Ok(())
}

/// `jetstream` of an account; `None` if it has none (JS-244).
pub fn of_account(report: &mut Report, value: &Value) -> Option<AccountTiers> {
    let mut limits = JetStreamAccountLimits::default();
    let limits = match &value.node {
        Node::Bool(on) => on.then_some(limits),
        Node::Map(map) => {
            account_limits(report, map, &mut limits);
            Some(limits)
        }
        _ => word(report, value).then_some(limits),
    };
    limits.map(AccountTiers::One)
}

fn account_limits(report: &mut Report, map: &Map, limits: &mut JetStreamAccountLimits) {
    for (key, value) in map.iter() {
        let name = String::from_utf8_lossy(key);
        let number = match name.to_lowercase().as_str() {
            "max_memory" | "max_mem" | "mem" | "memory" => &mut limits.max_memory,
            "max_store" | "max_file" | "max_disk" | "store" | "disk" => &mut limits.max_storage,
            "max_streams" | "streams" => &mut limits.max_streams,
            "max_consumers" | "consumers" => &mut limits.max_consumers,
            "mem_max_stream_bytes" | "memory_max_stream_bytes" => {
                &mut limits.memory_max_stream_bytes
            }
            "disk_max_stream_bytes" | "store_max_stream_bytes" => {
                &mut limits.storage_max_stream_bytes
            }
            "max_ack_pending" => &mut limits.max_ack_pending,
            "max_bytes_required" | "max_stream_bytes" | "max_bytes" => {
                keep(
                    report,
                    value,
                    value.boolean(),
                    &mut limits.max_bytes_required,
                );
                continue;
            }
            "cluster_traffic" => {
                cluster_traffic(report, &name, value);
                continue;
            }
            _ => {
                report.unknown_field(key, value);
                continue;
            }
        };
        if let Some(size) = parseable_size(report, &name, value) {
            *number = size;
        }
    }
}

fn cluster_traffic(report: &mut Report, key: &str, value: &Value) {
    if let Some(text) = report.keep(value, value.text())
        && !matches!(text, "" | "system" | "owner")
    {
        let found = format!("{key:?}, got {text}");
        let text = "Expected 'system' or 'owner' string value for ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}

/// What must hold between JetStream's keys and others.
///
/// # Errors
/// What does not, in stock's order.
pub fn validate(options: &Options) -> Result<(), ProblemKind> {
    let wrong = |found: String| Err(ProblemKind::TypeIn { text: "", found });
    let subject_of = |domain: &str| format!("$JS.{domain}.API.>");
    let jetstream = &options.jetstream;
    let in_operator_mode = !options.operator.operators.is_empty();
    for (name, domain) in &jetstream.default_domains {
        let account = options.accounts.iter().find(|it| it.name == *name);
        if in_operator_mode {
            let valid = name.starts_with('A') && nkeys::KeyPair::from_public_key(name).is_ok();
            if !valid {
                return wrong(format!(
                    "default_js_domain contains account name {name:?}, which is not a valid public account nkey"
                ));
            }
        } else if let Some(account) = account {
            if account.jetstream.is_some() && !domain.is_empty() {
                return wrong(format!(
                    "default_js_domain contains account name {name:?} with enabled JetStream"
                ));
            }
        } else if name != crate::ids::GLOBAL_ACCOUNT {
            return wrong(format!(
                "in non operator mode, `default_js_domain` references non existing account {name:?}"
            ));
        }
    }
    for (name, domain) in &jetstream.default_domains {
        if *name == options.system_account {
            return wrong(format!(
                "system account {name:?} can not be in default_js_domain"
            ));
        }
        if !domain.is_empty() && !is_valid_pattern(subject_of(domain).as_bytes()) {
            return wrong(format!(
                "default_js_domain contains account {name:?} with invalid domain name {domain:?}"
            ));
        }
    }
    if let Some(domain) = &jetstream.domain {
        let subject = subject_of(domain);
        if !is_valid_pattern(subject.as_bytes()) {
            return wrong(format!(
                "invalid domain name: derived {subject:?} is not a valid subject"
            ));
        }
        if domain.contains(['.', '*', '>']) {
            return wrong("invalid domain name: may not contain ., * or >".to_owned());
        }
    }
    Ok(())
}
