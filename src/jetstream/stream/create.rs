//! Requests to create and update streams: which configuration comes of them, or why none
//! (JS-18, JS-19).

use super::check::{check_stream, invalid};
use super::config::{Discard, Retention, StreamConfig, StreamSource};
use crate::accounts::transform::Transform;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::{copy_level, stamp_stream};
use crate::jetstream::api::request::StreamConfigRequest;
use crate::jetstream::api::values::Span;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::limits::Surroundings;
use crate::routing::subject::{is_valid_pattern, patterns_overlap};

/// What comes of a request to create a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// A stream, to be configured so.
    New(Box<StreamConfig>),
    /// The one that is there, and configured just so.
    Same,
}

/// Judges a request to create the stream `name`, as its subject says.
///
/// # Errors
/// Why there will be none.
pub fn create_stream(
    request: &StreamConfigRequest,
    name: &str,
    around: Surroundings<'_>,
) -> Result<Creation, ApiError> {
    let mut config = request.config.clone();
    stamp_stream(&mut config);
    if name != config.name {
        return Err(errors::STREAM_MISMATCH);
    }
    if name.contains(['/', '\\']) {
        return Err(errors::STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    if config.sealed {
        return Err(invalid("stream configuration for create can not be sealed"));
    }
    if config.mirror_direct && config.mirror.is_none() {
        return Err(invalid("stream has no mirror but does have mirror direct"));
    }
    let limits = around.account.select(config.num_replicas)?;
    if limits.max_streams > 0 && around.count_others(&config) >= limits.max_streams {
        return Err(errors::MAXIMUM_STREAMS_LIMIT);
    }
    around.check_room(&config, limits, config.max_bytes)?;
    let mut config = check_stream(&config, around, request.pedantic)?;
    if config.num_replicas > 1 {
        return Err(errors::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    if let Some(existing) = around.streams.stream(name) {
        copy_level(&mut config.metadata, &existing.metadata);
        return if config == *existing {
            Ok(Creation::Same)
        } else {
            Err(errors::STREAM_NAME_EXIST)
        };
    }
    let limits = around.account.select(config.num_replicas)?;
    around.check_room(&config, limits, config.max_bytes)?;
    if let Some(mirror) = &config.mirror {
        check_filters(mirror, "mirror")?;
    }
    for source in &config.sources {
        check_filters(source, "source")?;
    }
    check_overlap(&config, around)?;
    Ok(Creation::New(Box::new(config)))
}

/// Filters that were not looked at before; stock says so in words of their own.
fn check_filters(source: &StreamSource, whose: &str) -> Result<(), ApiError> {
    let filter = &source.filter_subject;
    if source.subject_transforms.is_empty()
        && !filter.is_empty()
        && !is_valid_pattern(filter.as_bytes())
    {
        let colon = if whose == "mirror" { "" } else { ":" };
        return Err(errors::stream_create(format_args!(
            "subject filter '{filter}' for the {whose}{colon} invalid subject"
        )));
    }
    for transform in &source.subject_transforms {
        let (from, to) = (&transform.src, &transform.dest);
        let source = if from.is_empty() { ">" } else { from };
        if !to.is_empty()
            && let Err(error) = Transform::new(source, to)
        {
            return Err(errors::stream_create(format_args!(
                "subject transform from '{from}' to '{to}' for the {whose}: {error}"
            )));
        }
    }
    Ok(())
}

/// JS-55: a message has one stream in an account.
fn check_overlap(config: &StreamConfig, around: Surroundings<'_>) -> Result<(), ApiError> {
    let mut overlaps = false;
    around.streams.each(&mut |other| {
        let collides = |subject: &String| {
            let subject = subject.as_bytes();
            let mine = config.subjects.iter();
            mine.into_iter()
                .any(|it| patterns_overlap(it.as_bytes(), subject))
        };
        overlaps |= other.name != config.name && other.subjects.iter().any(collides);
    });
    if overlaps {
        return Err(errors::STREAM_SUBJECT_OVERLAP);
    }
    Ok(())
}

/// Judges a request to update the stream `name`, which has `consumers`.
///
/// # Errors
/// Why it stays as it is.
pub fn update_stream<'c>(
    request: &StreamConfigRequest,
    name: &str,
    around: Surroundings<'_>,
    consumers: impl Iterator<Item = (&'c str, &'c ConsumerConfig)>,
) -> Result<StreamConfig, ApiError> {
    let mut config = check_stream(&request.config, around, request.pedantic)?;
    if name != config.name {
        return Err(errors::STREAM_MISMATCH);
    }
    let Some(old) = around.streams.stream(name) else {
        return Err(errors::STREAM_NOT_FOUND);
    };
    stamp_stream(&mut config);
    let config = check_stream_update(old, &config, around, request.pedantic)?;
    check_consumer_limits(old, &config, consumers)?;
    check_overlap(&config, around)?;
    Ok(config)
}

/// The configuration a stream gets that is configured as `old` and shall be as `new` (section 3).
///
/// # Errors
/// The first rule that forbids it.
pub fn check_stream_update(
    old: &StreamConfig,
    new: &StreamConfig,
    around: Surroundings<'_>,
    pedantic: bool,
) -> Result<StreamConfig, ApiError> {
    let mut config = check_stream(new, around, pedantic)?;
    if config.name != old.name {
        return Err(invalid("stream configuration name must match original"));
    }
    if config.num_replicas > 1 {
        return Err(errors::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    if config.storage != old.storage {
        return Err(invalid(
            "stream configuration update can not change storage type",
        ));
    }
    let is_queue = |it: Retention| it == Retention::WorkQueue;
    if config.retention != old.retention && (is_queue(old.retention) || is_queue(config.retention))
    {
        return Err(invalid(
            "stream configuration update can not change retention policy to/from workqueue",
        ));
    }
    // What was once denied stays so.
    for (before, after, what) in [
        (old.sealed, config.sealed, "unseal a sealed stream"),
        (
            old.deny_delete,
            config.deny_delete,
            "cancel deny message deletes",
        ),
        (old.deny_purge, config.deny_purge, "cancel deny purge"),
    ] {
        if before && !after {
            return Err(invalid(format_args!(
                "stream configuration update can not {what}"
            )));
        }
    }
    if config.mirror.is_some() && config.mirror != old.mirror {
        return Err(errors::STREAM_MIRROR_NOT_UPDATABLE);
    }
    if old.allow_msg_ttl && !config.allow_msg_ttl {
        return Err(invalid("message TTL status can not be disabled"));
    }
    if config.allow_msg_counter != old.allow_msg_counter {
        return Err(invalid(
            "stream configuration update can not change message counter setting",
        ));
    }
    if old.allow_msg_schedules && !config.allow_msg_schedules {
        return Err(invalid("message schedules can not be disabled"));
    }
    if config.persist_mode != old.persist_mode {
        return Err(invalid(
            "stream configuration update can not change persist mode",
        ));
    }
    if config.sealed {
        // JS-70.
        config.max_age = Span::ZERO;
        config.discard = Discard::New;
        config.deny_delete = true;
        config.deny_purge = true;
        config.allow_rollup_hdrs = false;
    }
    let limits = around
        .account
        .select(config.num_replicas)
        .or_else(|_| around.account.select(old.num_replicas))?;
    // Only what is more than before needs room.
    let more = config.max_bytes.max(0) - old.max_bytes.max(0);
    around.check_room(&config, limits, more.max(0))?;
    Ok(config)
}

/// JS-74: consumers that are there must still be within the limits.
fn check_consumer_limits<'c>(
    old: &StreamConfig,
    new: &StreamConfig,
    consumers: impl Iterator<Item = (&'c str, &'c ConsumerConfig)>,
) -> Result<(), ApiError> {
    let (before, after) = (old.consumer_limits, new.consumer_limits);
    if before == after {
        return Ok(());
    }
    let (threshold, pending) = (after.inactive_threshold, after.max_ack_pending);
    let mut beyond: Vec<&str> = consumers
        .filter(|(_, consumer)| {
            (threshold > Span::ZERO && consumer.inactive_threshold > threshold)
                || (pending > 0 && consumer.max_ack_pending > pending)
        })
        .map(|(name, _)| name)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    beyond.sort_unstable();
    Err(errors::stream_update(format_args!(
        "change to limits violates consumers: {}",
        beyond.join(", ")
    )))
}
