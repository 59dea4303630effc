//! Is a consumer's configuration one that can be? Fills in what was left out, and says what may
//! change later (section 14). Checks come in stock's order, as the first that fails is the answer.

use super::config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::response::AccountLimits;
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::ServerLimits;
use crate::jetstream::stream::config::{
    DESCRIPTION_MAX, METADATA_MAX, Retention, StreamConfig, is_valid_name,
};
use crate::routing::subject::{is_literal, is_valid_pattern, pattern_subset};

/// Pull requests that may wait (JS-183).
const MAX_WAITING: i64 = 512;
/// How long an acknowledgement may take (JS-176).
const ACK_WAIT: Span = Span::seconds(30);
/// Messages in flight (JS-178).
const MAX_ACK_PENDING: i64 = 1_000;
/// How long a pinned client may be silent (JS-189).
const PINNED_TTL: Span = Span::seconds(120);
/// The one heartbeat of consumers that are acknowledged by flow control (JS-190).
const FLOW_CONTROL_HEARTBEAT: Span = Span::seconds(1);
/// How long a consumer that is not durable lives without interest (JS-185).
pub const INACTIVE_THRESHOLD: Span = Span::seconds(5);

/// What a consumer's configuration is judged by besides itself.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerSurroundings<'a> {
    /// What the server has.
    pub server: &'a ServerLimits,
    /// What the account may have, of the tier of [`replicas`].
    pub account: &'a AccountLimits,
    /// The stream it is on.
    pub stream: &'a StreamConfig,
}

/// How many replicas it has on a stream (JS-187).
pub fn replicas(config: &ConsumerConfig, stream: &StreamConfig) -> i64 {
    if config.num_replicas != 0 && config.num_replicas <= stream.num_replicas {
        return config.num_replicas;
    }
    let plain = !config.is_durable() && stream.retention == Retention::Limits;
    if plain && config.num_replicas == 0 {
        1
    } else {
        stream.num_replicas
    }
}

/// Fills in what was left out. What is adjusted silently is an error if `pedantic` (JS-16).
///
/// # Errors
/// What would be adjusted.
pub fn fill_consumer(
    config: &mut ConsumerConfig,
    around: ConsumerSurroundings<'_>,
    pedantic: bool,
) -> Result<(), ApiError> {
    fill_unset(config, pedantic)?;
    let (server, limits) = (around.server, around.stream.consumer_limits);
    let adjust = |what: &str| match pedantic {
        true => Err(errors::pedantic(what)),
        false => Ok(()),
    };
    if !config.is_push() && config.max_waiting == 0 {
        config.max_waiting = MAX_WAITING;
    }
    let acknowledged = matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::All);
    if config.ack_wait.is_zero() && acknowledged {
        config.ack_wait = ACK_WAIT;
    }
    if let Some(&first) = config.backoff.first() {
        if config.ack_wait != first {
            adjust("first backoff value has to equal batch AckWait")?;
        }
        config.ack_wait = first;
    }
    if config.max_ack_pending == 0 {
        if limits.max_ack_pending > 0 {
            adjust("max_ack_pending must be set if it's configured in stream limits")?;
        }
        config.max_ack_pending = limits.max_ack_pending;
    }
    if config.inactive_threshold.is_zero() {
        if limits.inactive_threshold > Span::ZERO {
            adjust("inactive_threshold must be set if it's configured in stream limits")?;
        }
        config.inactive_threshold = limits.inactive_threshold;
    }
    if config.max_ack_pending == 0 && config.ack_policy != AckPolicy::None {
        let bounds = [server.max_ack_pending, around.account.max_ack_pending];
        let least = bounds.into_iter().filter(|it| *it > 0).min();
        config.max_ack_pending = least.map_or(MAX_ACK_PENDING, |it| it.min(MAX_ACK_PENDING));
    }
    if !config.is_push() && config.max_batch == 0 && server.max_request_batch > 0 {
        adjust("max_request_batch must be set if it's JetStream limits are set")?;
        config.max_batch = server.max_request_batch;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.priority_timeout.is_zero() {
        config.priority_timeout = PINNED_TTL;
    }
    if config.ack_policy == AckPolicy::FlowControl && !pedantic {
        config.flow_control = true;
        config.idle_heartbeat = FLOW_CONTROL_HEARTBEAT;
    }
    Ok(())
}

/// Numbers below what they can be.
fn fill_unset(config: &mut ConsumerConfig, pedantic: bool) -> Result<(), ApiError> {
    if config.max_deliver < -1 && pedantic {
        return Err(errors::pedantic("max_deliver must be set to -1"));
    }
    if config.max_deliver < 1 {
        config.max_deliver = -1;
    }
    let not_negative = |number: &mut i64, name: &str| {
        if *number < 0 {
            if pedantic {
                return Err(errors::pedantic(format_args!(
                    "{name} must not be negative"
                )));
            }
            *number = 0;
        }
        Ok(())
    };
    not_negative(&mut config.max_waiting, "max_waiting")?;
    if config.max_ack_pending < -1 {
        if pedantic {
            return Err(errors::pedantic("max_ack_pending must be set to -1"));
        }
        config.max_ack_pending = -1;
    }
    not_negative(&mut config.max_batch, "max_batch")?;
    not_negative(&mut config.max_expires.0, "max_expires")?;
    not_negative(&mut config.max_bytes, "max_bytes")?;
    not_negative(&mut config.idle_heartbeat.0, "idle_heartbeat")?;
    not_negative(&mut config.inactive_threshold.0, "inactive_threshold")?;
    not_negative(&mut config.priority_timeout.0, "priority_timeout")
}

/// The first rule it breaks, after [`fill_consumer`].
///
/// # Errors
/// That rule's.
pub fn check_consumer(
    config: &ConsumerConfig,
    around: ConsumerSurroundings<'_>,
) -> Result<(), ApiError> {
    check_place(config, around.stream)?;
    check_acknowledgement(config)?;
    if config.is_push() {
        check_push(config, around.stream)?;
    } else {
        check_pull(config, around)?;
    }
    check_limits(config, around)?;
    check_filters(config)?;
    check_start(config)?;
    check_rest(config)?;
    check_priority(config)
}

/// JS-15, JS-187.
fn check_place(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    for (name, kind) in [(&config.name, ""), (&config.durable_name, "durable ")] {
        if !name.is_empty() && !is_valid_name(name) {
            return Err(errors::stream_invalid_config(format_args!(
                "consumer {kind}name can not contain '.', '*', '>', '\\', '/'"
            )));
        }
    }
    if config.num_replicas > 0 && config.num_replicas > stream.num_replicas {
        return Err(errors::CONSUMER_REPLICAS_EXCEEDS_STREAM);
    }
    if config.num_replicas < 0 {
        return Err(errors::REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    if stream.retention != Retention::Limits
        && config.num_replicas != 0
        && config.num_replicas != stream.num_replicas
    {
        return Err(errors::CONSUMER_REPLICAS_SHOULD_MATCH_STREAM);
    }
    Ok(())
}

/// JS-176, JS-177, JS-190.
fn check_acknowledgement(config: &ConsumerConfig) -> Result<(), ApiError> {
    if config.backoff.iter().any(|it| *it < Span::ZERO) {
        return Err(errors::CONSUMER_BACK_OFF_NEGATIVE);
    }
    if config.ack_wait < Span::ZERO {
        return Err(errors::CONSUMER_ACK_WAIT_NEGATIVE);
    }
    if config.ack_policy == AckPolicy::FlowControl {
        if !config.is_push() {
            return Err(errors::CONSUMER_ACK_FLOW_CONTROL_REQUIRES_PUSH);
        }
        if !config.flow_control {
            return Err(errors::CONSUMER_ACK_FLOW_CONTROL_REQUIRES_FLOW_CONTROL);
        }
        if config.idle_heartbeat != FLOW_CONTROL_HEARTBEAT {
            return Err(errors::stream_invalid_config(
                "flow control ack policy heartbeat needs to be 1s",
            ));
        }
        if config.max_ack_pending <= 0 {
            return Err(errors::CONSUMER_ACK_FLOW_CONTROL_REQUIRES_MAX_ACK_PENDING);
        }
        if !config.ack_wait.is_zero() || !config.backoff.is_empty() {
            return Err(errors::CONSUMER_ACK_FLOW_CONTROL_REQUIRES_NO_ACK_WAIT);
        }
        if config.max_deliver > 0 {
            return Err(errors::CONSUMER_ACK_FLOW_CONTROL_REQUIRES_NO_MAX_DELIVER);
        }
    }
    check_backoff(config)?;
    if config.description.len() > DESCRIPTION_MAX {
        return Err(errors::consumer_description_too_long(DESCRIPTION_MAX));
    }
    Ok(())
}

/// JS-177.
fn check_backoff(config: &ConsumerConfig) -> Result<(), ApiError> {
    let waits = i64::try_from(config.backoff.len()).unwrap_or(i64::MAX);
    if waits > 0 && config.max_deliver != -1 && waits > config.max_deliver {
        return Err(errors::CONSUMER_MAX_DELIVER_BACKOFF);
    }
    Ok(())
}

/// JS-178, JS-181, JS-182, JS-183.
fn check_push(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let subject = config.deliver_subject.as_bytes();
    if !is_literal(subject) {
        return Err(errors::CONSUMER_DELIVER_TO_WILDCARDS);
    }
    if !is_valid_pattern(subject) {
        return Err(errors::CONSUMER_INVALID_DELIVER_SUBJECT);
    }
    if stream
        .subjects
        .iter()
        .any(|it| pattern_subset(subject, it.as_bytes()))
    {
        return Err(errors::CONSUMER_DELIVER_CYCLE);
    }
    if config.max_waiting != 0 {
        return Err(errors::CONSUMER_PUSH_MAX_WAITING);
    }
    if config.max_ack_pending > 0 && config.ack_policy == AckPolicy::None {
        return Err(errors::CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED);
    }
    if !config.idle_heartbeat.is_zero() && config.idle_heartbeat < Span::millis(100) {
        return Err(errors::CONSUMER_SMALL_HEARTBEAT);
    }
    Ok(())
}

/// JS-182, JS-184, JS-186.
fn check_pull(config: &ConsumerConfig, around: ConsumerSurroundings<'_>) -> Result<(), ApiError> {
    let queue = around.stream.retention == Retention::WorkQueue;
    if queue && config.ack_policy == AckPolicy::None {
        return Err(errors::CONSUMER_PULL_REQUIRES_ACK);
    }
    if config.rate_limit_bps > 0 {
        return Err(errors::CONSUMER_PULL_WITH_RATE_LIMIT);
    }
    if !config.idle_heartbeat.is_zero() {
        return Err(errors::CONSUMER_HEARTBEAT_REQUIRES_PUSH);
    }
    if config.flow_control {
        return Err(errors::CONSUMER_FLOW_CONTROL_REQUIRES_PUSH);
    }
    if !config.max_expires.is_zero() && config.max_expires < Span::millis(1) {
        return Err(errors::CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL);
    }
    let most = around.server.max_request_batch;
    if most > 0 && config.max_batch > most {
        return Err(errors::consumer_max_request_batch_exceeded(most));
    }
    Ok(())
}

/// JS-178, JS-185, JS-191.
fn check_limits(config: &ConsumerConfig, around: ConsumerSurroundings<'_>) -> Result<(), ApiError> {
    let of_stream = around.stream.consumer_limits;
    for most in [
        around.server.max_ack_pending,
        around.account.max_ack_pending,
        of_stream.max_ack_pending,
    ] {
        if most > 0 && config.max_ack_pending > most {
            return Err(errors::consumer_max_pending_ack_excess(most));
        }
    }
    let longest = of_stream.inactive_threshold;
    if longest > Span::ZERO && config.inactive_threshold > longest {
        return Err(errors::consumer_inactive_threshold_excess(longest));
    }
    if config.direct && !config.is_push() {
        return Err(errors::CONSUMER_DIRECT_REQUIRES_PUSH);
    }
    if config.direct && config.is_durable() {
        return Err(errors::CONSUMER_DIRECT_REQUIRES_EPHEMERAL);
    }
    Ok(())
}

/// JS-179.
fn check_filters(config: &ConsumerConfig) -> Result<(), ApiError> {
    let bad = || errors::stream_invalid_config("invalid subject");
    let single = &config.filter_subject;
    if !single.is_empty() && !config.filter_subjects.is_empty() {
        return Err(errors::CONSUMER_DUPLICATE_FILTER_SUBJECTS);
    }
    if !single.is_empty() && !is_valid_pattern(single.as_bytes()) {
        return Err(bad());
    }
    if config.filter_subjects.iter().any(String::is_empty) {
        return Err(errors::CONSUMER_EMPTY_FILTER);
    }
    for (at, filter) in config.filter_subjects.iter().enumerate() {
        if !is_valid_pattern(filter.as_bytes()) {
            return Err(bad());
        }
        let covers = |(other, it): (usize, &String)| {
            other != at && pattern_subset(filter.as_bytes(), it.as_bytes())
        };
        if config.filter_subjects.iter().enumerate().any(covers) {
            return Err(errors::CONSUMER_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    Ok(())
}

/// JS-174.
fn check_start(config: &ConsumerConfig) -> Result<(), ApiError> {
    use DeliverPolicy::{All, ByStartSequence, ByStartTime, Last, LastPerSubject, New};
    let policy = match config.deliver_policy {
        All => "all",
        Last => "last",
        New => "new",
        LastPerSubject => "last per subject",
        ByStartSequence => "by start sequence",
        ByStartTime => "by start time",
    };
    let set = |what: &str| {
        Err(errors::consumer_invalid_policy(format_args!(
            "consumer delivery policy is deliver {policy}, but optional start {what} is also set"
        )))
    };
    let unset = |what: &str| {
        Err(errors::consumer_invalid_policy(format_args!(
            "consumer delivery policy is deliver {policy}, but optional {what} is not set"
        )))
    };
    let (sequence, time) = (config.opt_start_seq > 0, config.opt_start_time.is_some());
    match config.deliver_policy {
        ByStartSequence if !sequence => unset("start sequence"),
        ByStartSequence if time => set("time"),
        ByStartTime if !time => unset("start time"),
        // The word is doubled in stock, too.
        ByStartTime if sequence => set("start sequence"),
        ByStartSequence | ByStartTime => Ok(()),
        _ if sequence => set("sequence"),
        _ if time => set("time"),
        LastPerSubject if config.filters().next().is_none() => unset("filter subject"),
        _ => Ok(()),
    }
}

/// JS-173, JS-182, JS-186.
fn check_rest(config: &ConsumerConfig) -> Result<(), ApiError> {
    if !config.sample_freq.is_empty() {
        sample_percentage(&config.sample_freq).map_err(errors::consumer_invalid_sampling)?;
    }
    if config.flow_control && config.idle_heartbeat.is_zero() {
        return Err(errors::CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS);
    }
    if config.is_durable() && !config.name.is_empty() && config.name != config.durable_name {
        return Err(errors::CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH);
    }
    let metadata: usize = config
        .metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if metadata > METADATA_MAX {
        let most = format_args!("{}KB", METADATA_MAX / 1024).to_string();
        return Err(errors::consumer_metadata_length(most));
    }
    Ok(())
}

/// How many of a hundred acknowledgements are told of (JS-186).
///
/// # Errors
/// What is wrong with it, in stock's words.
pub fn sample_percentage(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(format!("strconv.Atoi: parsing {number:?}: invalid syntax"));
    }
    let Ok(percentage) = number.parse::<i64>() else {
        return Err(format!(
            "strconv.Atoi: parsing {number:?}: value out of range"
        ));
    };
    // Stock has nothing to say about numbers below zero.
    u64::try_from(percentage).map_err(|_| "<nil>".to_owned())
}

/// JS-189.
fn check_priority(config: &ConsumerConfig) -> Result<(), ApiError> {
    if config.priority_policy == PriorityPolicy::None {
        if !config.priority_groups.is_empty() {
            return Err(errors::CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE);
        }
        if config.priority_timeout > Span::ZERO {
            return Err(errors::CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE);
        }
        return Ok(());
    }
    if config.is_push() {
        return Err(errors::CONSUMER_PUSH_WITH_PRIORITY_GROUP);
    }
    if config.priority_groups.is_empty() {
        return Err(errors::CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP);
    }
    for group in &config.priority_groups {
        if group.is_empty() {
            return Err(errors::CONSUMER_EMPTY_GROUP_NAME);
        }
        if !is_valid_group(group) {
            return Err(errors::CONSUMER_INVALID_GROUP_NAME);
        }
    }
    Ok(())
}

/// Can it be the name of a priority group? (JS-189)
pub fn is_valid_group(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/_=-".contains(&byte);
    (1..=16).contains(&name.len()) && name.bytes().all(fine)
}

/// Whether a consumer configured as `old` may become `new`, both filled in. `is_bound`: somebody
/// subscribes to where it delivers now (JS-192).
///
/// # Errors
/// What may not change.
pub fn check_consumer_update(
    old: &ConsumerConfig,
    new: &ConsumerConfig,
    is_bound: bool,
) -> Result<(), ApiError> {
    let changed = [
        (old.deliver_policy != new.deliver_policy, "deliver policy"),
        (old.mem_storage != new.mem_storage, "storage type"),
        (old.direct != new.direct, "direct"),
        (old.sourcing != new.sourcing, "sourcing"),
        (old.opt_start_seq != new.opt_start_seq, "start sequence"),
        (
            // The same time, wherever its clock stands.
            old.opt_start_time.map(Timestamp::instant)
                != new.opt_start_time.map(Timestamp::instant),
            "start time",
        ),
        (old.ack_policy != new.ack_policy, "ack policy"),
        (old.replay_policy != new.replay_policy, "replay policy"),
        (old.idle_heartbeat != new.idle_heartbeat, "heart beats"),
        (old.flow_control != new.flow_control, "flow control"),
    ];
    let fixed = |what: &str| errors::consumer_create(format_args!("{what} can not be updated"));
    if let Some((_, what)) = changed.into_iter().find(|(changed, _)| *changed) {
        return Err(fixed(what));
    }
    if old.deliver_subject != new.deliver_subject {
        if !old.is_push() {
            return Err(errors::consumer_create(
                "can not update pull consumer to push based",
            ));
        }
        if !new.is_push() {
            return Err(errors::consumer_create(
                "can not update push consumer to pull based",
            ));
        }
        if is_bound {
            return Err(errors::CONSUMER_NAME_EXIST);
        }
    }
    if old.max_waiting != new.max_waiting {
        return Err(fixed("max waiting"));
    }
    check_backoff(new)
}
