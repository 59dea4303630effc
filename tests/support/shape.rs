//! What JetStream's answers look like: which fields there must be, which there may be, and what is in
//! them. A field that is in no shape is a mistake.
//!
//! A shape is text: `name:kind`, with `?` behind the name of a field that may be missing. Kinds:
//! `s` text, `u` number from 0, `i` number, `b` truth value, `t` time in UTC, `*` anything, `@shape`
//! an object, `[kind]` a list or null, `<kind>` an object with any keys. `+shape` includes another one.

use serde_json::{Map, Value};

/// Shapes by name; answers by their type, without its front and its `_response`.
const SHAPES: [(&str, &str); 42] = [
    ("error", "code:u err_code:u description:s"),
    ("paging", "total:u offset:u limit:u"),
    ("success", "success:b"),
    (
        "limits",
        "max_memory:i max_storage:i max_streams:i max_consumers:i max_ack_pending:i \
         memory_max_stream_bytes:i storage_max_stream_bytes:i max_bytes_required:b",
    ),
    ("api", "level:u total:u errors:u inflight?:u"),
    (
        "usage",
        "memory:u storage:u reserved_memory:u reserved_storage:u streams:u consumers:u limits:@limits",
    ),
    ("account_info", "+usage domain?:s api:@api tiers?:<@usage>"),
    ("account_purge", "initiated:b"),
    ("transform", "src:s dest:s"),
    ("republish", "src?:s dest:s headers_only?:b"),
    ("external", "api:s deliver?:s"),
    (
        "source",
        "name:s opt_start_seq?:u opt_start_time?:s filter_subject?:s external?:@external \
         subject_transforms?:[@transform] consumer?:*",
    ),
    (
        "consumer_limits",
        "inactive_threshold?:u max_ack_pending?:i",
    ),
    ("placement", "cluster?:s tags?:[s] preferred?:s"),
    (
        "stream_config",
        "name:s description?:s subjects?:[s] retention:s max_consumers:i max_msgs:i max_bytes:i \
         max_age:u max_msgs_per_subject:i max_msg_size?:i discard:s discard_new_per_subject?:b \
         storage:s num_replicas:u no_ack?:b template_owner?:s duplicate_window?:u \
         placement?:@placement mirror?:@source sources?:[@source] compression:s first_seq?:u \
         subject_transform?:@transform republish?:@republish allow_direct:b mirror_direct:b sealed:b \
         deny_delete:b deny_purge:b allow_rollup_hdrs:b consumer_limits:@consumer_limits \
         allow_msg_ttl:b subject_delete_marker_ttl?:u allow_msg_counter?:b allow_atomic?:b \
         allow_batched?:b allow_msg_schedules?:b persist_mode?:s metadata?:<s>",
    ),
    (
        "state",
        "messages:u bytes:u first_seq:u first_ts:t last_seq:u last_ts:t num_subjects?:u \
         subjects?:<u> num_deleted?:u deleted?:[u] lost?:* consumer_count:u",
    ),
    ("cluster", "name?:s leader?:s"),
    (
        "source_info",
        "name:s external?:@external lag:u seq?:u active:i error?:@error filter_subject?:s \
         subject_transforms?:[@transform]",
    ),
    (
        "stream",
        "config:@stream_config created:t state:@state domain?:s cluster?:@cluster \
         mirror?:@source_info sources?:[@source_info] alternates?:[*] ramjet_durability?:s \
         ts:t",
    ),
    ("stream_create", "+stream did_create?:b"),
    ("stream_update", "+stream"),
    ("stream_info", "+paging +stream"),
    ("stream_snapshot", "config:@stream_config state:@state"),
    ("stream_restore", "deliver_subject:s"),
    ("stream_names", "+paging streams:[s]"),
    (
        "stream_list",
        "+paging streams:[@stream] missing?:[s] offline?:<s>",
    ),
    ("stream_delete", "+success"),
    ("stream_purge", "+success purged:u"),
    ("stream_msg_delete", "+success"),
    ("message", "subject:s seq:u hdrs?:s data?:s time:t"),
    ("stream_msg_get", "message:@message"),
    (
        "consumer_config",
        "durable_name?:s name?:s description?:s deliver_policy:s opt_start_seq?:u opt_start_time?:s \
         ack_policy:s ack_wait?:u max_deliver?:i backoff?:[u] filter_subject?:s filter_subjects?:[s] \
         replay_policy:s rate_limit_bps?:u sample_freq?:s max_waiting?:u max_ack_pending?:i \
         flow_control?:b headers_only?:b max_batch?:u max_expires?:u max_bytes?:u \
         inactive_threshold?:u num_replicas:u mem_storage?:b deliver_subject?:s deliver_group?:s \
         idle_heartbeat?:u direct?:b sourcing?:b metadata?:<s> pause_until?:s priority_groups?:[s] \
         priority_policy?:s priority_timeout?:u",
    ),
    ("place", "consumer_seq:u stream_seq:u last_active?:t"),
    ("group", "group:s pinned_client_id?:s pinned_ts:t"),
    (
        "consumer",
        "stream_name:s name:s created:t config:@consumer_config delivered:@place ack_floor:@place \
         num_ack_pending:u num_redelivered:u num_waiting:u num_pending:u cluster?:@cluster \
         push_bound?:b paused?:b pause_remaining?:u ts:t priority_groups?:[@group]",
    ),
    ("consumer_create", "+consumer"),
    ("consumer_info", "+consumer"),
    ("consumer_reset", "+consumer reset_seq:u"),
    ("consumer_names", "+paging consumers:[s]"),
    (
        "consumer_list",
        "+paging consumers:[@consumer] missing?:[s] offline?:<s>",
    ),
    ("consumer_delete", "+success"),
    (
        "consumer_pause",
        "paused:b pause_until:t pause_remaining?:u",
    ),
];

/// What the acknowledgement of a publish looks like.
const PUB_ACK: &str =
    "stream:s seq:u domain?:s duplicate?:b val?:s batch?:s count?:u error?:@error";

fn shape(name: &str) -> Option<&'static str> {
    let found = SHAPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, shape)| *shape)
}

/// Fails unless this is a well-formed answer: of its own type, or an error.
#[track_caller]
pub fn check_answer(answer: &Value) {
    let kind = answer["type"].as_str().unwrap_or_default();
    let name = kind.strip_prefix("io.nats.jetstream.api.v1.");
    let name = name.and_then(|it| it.strip_suffix("_response"));
    let Some(name) = name else {
        panic!("no answer's type: {answer}");
    };
    // Those without a shape carry nothing but success, or are judged where they are tested.
    let text = shape(name).unwrap_or("success?:b");
    let failed = answer.get("error").is_some();
    let mut object = answer.as_object().expect("an object").clone();
    object.remove("type");
    let outcome = match object.remove("error") {
        Some(error) => check(&error, "@error", "error"),
        None => Ok(()),
    };
    let outcome = outcome.and_then(|()| check_fields(&object, text, name, !failed));
    if let Err(why) = outcome {
        panic!("{why} in {answer}");
    }
}

/// Fails unless this is the acknowledgement of a publish, or its refusal.
#[track_caller]
pub fn check_pub_ack(answer: &Value) {
    let object = answer.as_object().expect("an object");
    if let Err(why) = check_fields(object, PUB_ACK, "ack", true) {
        panic!("{why} in {answer}");
    }
}

/// All fields of a shape, those of included ones too.
fn fields(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let words = text.split_whitespace();
    words
        .flat_map(|word| match word.strip_prefix('+') {
            Some(name) => fields(shape(name).expect("a shape")),
            None => vec![word.split_once(':').expect("name and kind")],
        })
        .collect()
}

fn check_fields(
    object: &Map<String, Value>,
    text: &'static str,
    path: &str,
    complete: bool,
) -> Result<(), String> {
    let known = fields(text);
    for (name, kind) in &known {
        let required = !name.ends_with('?');
        let name = name.trim_end_matches('?');
        match object.get(name) {
            Some(value) => check(value, kind, &format!("{path}.{name}"))?,
            None if required && complete => return Err(format!("no {path}.{name}")),
            None => {}
        }
    }
    let is_known = |name: &str| known.iter().any(|it| it.0.trim_end_matches('?') == name);
    match object.keys().find(|name| !is_known(name)) {
        Some(name) => Err(format!("unknown {path}.{name}")),
        None => Ok(()),
    }
}

fn check(value: &Value, kind: &'static str, path: &str) -> Result<(), String> {
    let inner = |ends: usize| &kind[1..kind.len() - ends];
    let fits = match &kind[..1] {
        "s" => value.is_string(),
        "u" => value.is_u64(),
        "i" => value.is_i64() || value.is_u64(),
        "b" => value.is_boolean(),
        "t" => value.as_str().is_some_and(is_time),
        "@" => {
            let text = shape(inner(0)).expect("a shape");
            match value.as_object() {
                Some(object) => return check_fields(object, text, path, true),
                None => false,
            }
        }
        "[" => match value {
            Value::Array(all) => {
                return all.iter().try_for_each(|it| check(it, inner(1), path));
            }
            other => other.is_null(),
        },
        "<" => match value.as_object() {
            Some(object) => {
                let mut all = object.values();
                return all.try_for_each(|it| check(it, inner(1), path));
            }
            None => false,
        },
        _ => true,
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{path} is {value}, no {kind}")),
    }
}

/// RFC 3339 with `Z` at its end.
fn is_time(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let Some((date, time)) = text.strip_suffix('Z').and_then(|it| it.split_once('T')) else {
        return false;
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    date.split('-').map(str::len).eq([4, 2, 2])
        && date.split('-').all(digits)
        && time.split(':').map(str::len).eq([2, 2, 2])
        && time.split(':').all(digits)
        && digits(fraction)
        && fraction.len() <= 9
}
