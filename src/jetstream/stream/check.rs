//! Is a stream's configuration one that can be? Fills in what was left out (section 3). Checks
//! come in stock's order, as the first that fails is the answer.

use super::config::{
    DESCRIPTION_MAX, Discard, METADATA_MAX, NAME_MAX, PersistMode, Placement, REPLICAS_MAX,
    Retention, Storage, StreamConfig, is_valid_name,
};
use super::origins::check_origins;
use crate::accounts::mapping::look_over;
use crate::accounts::transform::{Transform, TransformError};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::Surroundings;
use crate::routing::subject::{is_valid_pattern, pattern_subset, patterns_overlap};

/// Where nothing else is said (JS-62).
const DUPLICATE_WINDOW: Span = Span::seconds(120);
/// Shorter spans than this are refused (JS-61, JS-62).
const SPAN_MIN: Span = Span::millis(100);
/// A shorter marker is refused (JS-75).
const MARKER_MIN: Span = Span::seconds(1);

/// 10052 with `what`.
pub(super) fn invalid(what: impl std::fmt::Display) -> ApiError {
    errors::stream_invalid_config(what)
}

/// The configuration with everything filled in. What is adjusted silently is an error if
/// `pedantic` (JS-16).
///
/// # Errors
/// The first rule it breaks.
pub fn check_stream(
    config: &StreamConfig,
    around: Surroundings<'_>,
    pedantic: bool,
) -> Result<StreamConfig, ApiError> {
    check_names(config)?;
    let mut config = config.clone();
    fill_limits(&mut config, pedantic)?;
    fill_window(&mut config, around.server.duplicate_window, pedantic)?;
    check_switches(&mut config, pedantic)?;
    check_origins(&mut config, around, pedantic)?;
    fill_subjects(&mut config)?;
    check_max_bytes(&config, around)?;
    check_subject_transform(&config)?;
    fill_republish(&mut config, pedantic)?;
    // An empty object asks for nothing.
    config.placement = config.placement.filter(|it| *it != Placement::default());
    if config
        .placement
        .as_ref()
        .is_some_and(|it| !it.preferred.is_empty())
    {
        return Err(invalid("preferred server not permitted in placement"));
    }
    Ok(config)
}

/// JS-15, JS-53, JS-54.
fn check_names(config: &StreamConfig) -> Result<(), ApiError> {
    if !is_valid_name(&config.name) {
        return Err(invalid(
            "stream name is required and can not contain '.', '*', '>', '\\', '/'",
        ));
    }
    if config.name.len() > NAME_MAX {
        return Err(invalid(format_args!(
            "stream name is too long, maximum allowed is {NAME_MAX}"
        )));
    }
    if config.description.len() > DESCRIPTION_MAX {
        return Err(invalid(format_args!(
            "stream description is too long, maximum allowed is {DESCRIPTION_MAX}"
        )));
    }
    let metadata: usize = config
        .metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if metadata > METADATA_MAX {
        return Err(invalid(format_args!(
            "stream metadata exceeds maximum size of {METADATA_MAX} bytes"
        )));
    }
    Ok(())
}

/// JS-59, JS-60, JS-61.
fn fill_limits(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    if config.num_replicas == 0 {
        config.num_replicas = 1;
    }
    if config.num_replicas > REPLICAS_MAX {
        return Err(invalid(format_args!("maximum replicas is {REPLICAS_MAX}")));
    }
    if config.num_replicas < 0 {
        return Err(errors::REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    let unlimited = |limit: &mut i64, name: &str| {
        if *limit < -1 && pedantic {
            return Err(errors::pedantic(format_args!("{name} must be set to -1")));
        }
        if *limit < 1 {
            *limit = -1;
        }
        Ok(())
    };
    unlimited(&mut config.max_msgs, "max_msgs")?;
    unlimited(&mut config.max_msgs_per_subject, "max_msgs_per_subject")?;
    unlimited(&mut config.max_bytes, "max_bytes")?;
    let mut size = i64::from(config.max_msg_size);
    unlimited(&mut size, "max_msg_size")?;
    config.max_msg_size = i32::try_from(size).unwrap_or(-1);
    unlimited(&mut config.max_consumers, "max_consumers")?;
    if config.max_age < Span::ZERO {
        return Err(invalid("max age can not be negative"));
    }
    if !config.max_age.is_zero() && config.max_age < SPAN_MIN {
        return Err(invalid("max age needs to be >= 100ms"));
    }
    Ok(())
}

/// JS-62.
fn fill_window(config: &mut StreamConfig, limit: Span, pedantic: bool) -> Result<(), ApiError> {
    let limited = limit > Span::ZERO;
    let (age, window) = (config.max_age, &mut config.duplicate_window);
    let is_copy = config.mirror.is_some() || !config.sources.is_empty();
    if window.is_zero() && !is_copy {
        *window = DUPLICATE_WINDOW;
        if limited && *window > limit {
            if pedantic {
                return Err(errors::pedantic(
                    "duplicate window limits are higher than current limits",
                ));
            }
            *window = limit;
        }
        if !age.is_zero() && age < *window {
            if pedantic {
                return Err(errors::pedantic(
                    "duplicate window cannot be bigger than max age",
                ));
            }
            *window = age;
        }
    }
    let window = *window;
    if window < Span::ZERO {
        return Err(invalid("duplicates window can not be negative"));
    }
    if !age.is_zero() && window > age {
        return Err(invalid("duplicates window can not be larger then max age"));
    }
    if limited && window > limit {
        return Err(invalid(format_args!(
            "duplicates window can not be larger then server limit of {limit}"
        )));
    }
    if !window.is_zero() && window < SPAN_MIN {
        return Err(invalid("duplicates window needs to be >= 100ms"));
    }
    Ok(())
}

/// What may not be switched on together (JS-63, JS-71, JS-75, JS-77, JS-78, JS-79).
fn check_switches(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    if config.deny_purge && config.allow_rollup_hdrs {
        return Err(invalid("roll-ups require the purge permission"));
    }
    if config.allow_msg_counter {
        let what = if config.discard == Discard::New {
            "counter stream cannot use discard new"
        } else if config.allow_msg_ttl {
            "counter stream cannot use message TTLs"
        } else if config.allow_msg_schedules {
            "counter stream cannot use message schedules"
        } else if config.retention != Retention::Limits {
            "counter stream can only use limits retention"
        } else {
            ""
        };
        if !what.is_empty() {
            return Err(invalid(what));
        }
    }
    check_discard_per_subject(config)?;
    fill_markers(config, pedantic)?;
    if config.allow_msg_schedules {
        if config.discard == Discard::New {
            return Err(invalid("message scheduling cannot use discard new"));
        }
        allow_rollups(config, pedantic, "message scheduling")?;
    }
    if config.persist_mode == PersistMode::Async {
        if config.storage != Storage::File {
            return Err(invalid(
                "async persist mode is only supported on file storage",
            ));
        }
        if config.num_replicas > 1 {
            return Err(invalid(
                "async persist mode is not supported on replicated streams",
            ));
        }
        if config.allow_atomic {
            return Err(invalid(
                "async persist mode is not supported with atomic batch publish",
            ));
        }
    }
    Ok(())
}

/// JS-63.
fn check_discard_per_subject(config: &StreamConfig) -> Result<(), ApiError> {
    if config.discard_new_per_subject {
        if config.discard != Discard::New {
            return Err(invalid(
                "discard new per subject requires discard new policy to be set",
            ));
        }
        if config.max_msgs_per_subject <= 0 {
            return Err(invalid(
                "discard new per subject requires max msgs per subject > 0",
            ));
        }
    }
    Ok(())
}

/// JS-75.
fn fill_markers(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    let marker = config.subject_delete_marker_ttl;
    if marker < Span::ZERO {
        return Err(invalid("subject delete marker TTL must not be negative"));
    }
    if marker.is_zero() {
        return Ok(());
    }
    if marker < MARKER_MIN {
        return Err(invalid(
            "subject delete marker TTL must be at least 1 second",
        ));
    }
    if !config.allow_msg_ttl {
        if pedantic {
            return Err(invalid(
                "subject delete marker cannot be set if message TTLs are disabled",
            ));
        }
        config.allow_msg_ttl = true;
    }
    allow_rollups(config, pedantic, "subject delete marker")
}

fn allow_rollups(config: &mut StreamConfig, pedantic: bool, what: &str) -> Result<(), ApiError> {
    if !config.allow_rollup_hdrs {
        if pedantic {
            return Err(invalid(format_args!(
                "{what} cannot be set if roll-ups are disabled"
            )));
        }
        config.allow_rollup_hdrs = true;
        config.deny_purge = false;
    }
    Ok(())
}

/// JS-55, JS-56.
fn fill_subjects(config: &mut StreamConfig) -> Result<(), ApiError> {
    if config.subjects.is_empty() {
        if config.mirror.is_none() && config.sources.is_empty() {
            config.subjects.push(config.name.clone());
        }
        return Ok(());
    }
    for (at, subject) in config.subjects.iter().enumerate() {
        let (before, from) = config.subjects.split_at(at);
        let pattern = subject.as_bytes();
        if !is_valid_pattern(pattern) {
            return Err(invalid("invalid subject"));
        }
        if before.contains(subject) {
            return Err(invalid("duplicate subjects detected"));
        }
        if subject == ">" {
            if !config.no_ack {
                return Err(invalid("capturing all subjects requires no-ack to be true"));
            }
            if config.num_replicas != 1 {
                return Err(invalid("capturing all subjects requires replicas of 1"));
            }
        }
        if !config.no_ack {
            check_reserved(pattern)?;
        }
        let overlaps = |other: &&String| patterns_overlap(other.as_bytes(), pattern);
        if let Some(other) = from.iter().skip(1).find(overlaps) {
            return Err(invalid(format_args!(
                "subject {subject:?} overlaps with {other:?}"
            )));
        }
    }
    Ok(())
}

/// Answers to publishes would come in again where a stream takes what the server itself publishes
/// (JS-56).
fn check_reserved(pattern: &[u8]) -> Result<(), ApiError> {
    let overlaps = |namespace: &[u8]| patterns_overlap(pattern, namespace);
    let api = [b"$JS.>".as_slice(), b"$JSC.>", b"$NRG.>"];
    if api.into_iter().any(overlaps) && !pattern_subset(pattern, b"$JS.EVENT.>") {
        return Err(invalid(
            "subjects that overlap with jetstream api require no-ack to be true",
        ));
    }
    if overlaps(b"$SYS.>") && !pattern_subset(pattern, b"$SYS.ACCOUNT.>") {
        return Err(invalid(
            "subjects that overlap with system api require no-ack to be true",
        ));
    }
    Ok(())
}

/// JS-81.
fn check_max_bytes(config: &StreamConfig, around: Surroundings<'_>) -> Result<(), ApiError> {
    let Ok(limits) = around.account.select(config.num_replicas) else {
        return Ok(());
    };
    let most = match config.storage {
        Storage::Memory => limits.memory_max_stream_bytes,
        Storage::File => limits.storage_max_stream_bytes,
    };
    if limits.max_bytes_required && config.max_bytes <= 0 {
        return Err(errors::STREAM_MAX_BYTES_REQUIRED);
    }
    if most > 0 && config.max_bytes > most {
        return Err(errors::STREAM_MAX_STREAM_BYTES_EXCEEDED);
    }
    Ok(())
}

/// Can subjects that match `source` become `destination`? An empty source is `>`, an empty
/// destination leaves them as they are.
pub(super) fn check_transform(source: &str, destination: &str) -> Result<(), TransformError> {
    if destination.is_empty() {
        return Ok(());
    }
    let source = if source.is_empty() { ">" } else { source };
    look_over(destination)?;
    Transform::new(source, destination).map(drop)
}

/// JS-73.
fn check_subject_transform(config: &StreamConfig) -> Result<(), ApiError> {
    let Some(transform) = &config.subject_transform else {
        return Ok(());
    };
    if !transform.src.is_empty() && !is_valid_pattern(transform.src.as_bytes()) {
        let what = format_args!("invalid subject {}", transform.src);
        return Err(errors::stream_transform_invalid_source(what));
    }
    check_transform(&transform.src, &transform.dest)
        .map_err(errors::stream_transform_invalid_destination)
}

/// JS-73.
fn fill_republish(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    let Some(republish) = &mut config.republish else {
        return Ok(());
    };
    if republish.src.is_empty() {
        if pedantic {
            return Err(errors::pedantic("republish source can not be empty"));
        }
        republish.src = ">".to_owned();
    }
    // All, under the subjects a transform gives them: then that does not come in again.
    if (republish.src.as_str(), republish.dest.as_str()) == (">", ">")
        && let Some(transform) = &config.subject_transform
        && config.subjects.len() == 1
        && config.subjects.first() == Some(&transform.src)
    {
        if pedantic {
            return Err(errors::pedantic(
                "implicit republish based on subject transform",
            ));
        }
        republish.src.clone_from(&transform.dest);
        republish.dest.clone_from(&transform.dest);
    }
    let (source, destination) = (&republish.src, &republish.dest);
    let comes_in = |subject: &String| patterns_overlap(destination.as_bytes(), subject.as_bytes());
    if config.subjects.iter().any(comes_in) {
        return Err(invalid(
            "stream configuration for republish destination forms a cycle",
        ));
    }
    if !destination.is_empty() && Transform::new(source, destination).is_err() {
        return Err(invalid(format_args!(
            "stream configuration for republish with transform from '{source}' to '{destination}' not valid"
        )));
    }
    Ok(())
}
