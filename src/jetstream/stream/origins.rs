//! Where a stream's messages come from besides publishes: a mirror's origin, sources (JS-80,
//! section 11).

use std::collections::{HashSet, VecDeque};

use super::check::{check_transform, invalid};
use super::config::{StreamConfig, StreamSource, SubjectTransform, is_valid_name};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::values::Span;
use crate::jetstream::limits::Surroundings;
use crate::routing::subject::{is_literal, is_valid_pattern, pattern_subset, patterns_overlap};

/// The errors that a mirror and a source have each their own of.
struct Words {
    consumer: ApiError,
    filters: ApiError,
    filter: fn(String) -> ApiError,
    transform: fn(String) -> ApiError,
    message_size: ApiError,
}

/// What was said of all of them.
#[derive(Default)]
struct Seen {
    /// Subjects of the streams that are here.
    subjects: Vec<String>,
    delivery: Vec<String>,
    api: Vec<String>,
}

pub(super) fn check_origins(
    config: &mut StreamConfig,
    around: Surroundings<'_>,
    pedantic: bool,
) -> Result<(), ApiError> {
    let mut seen = Seen::default();
    check_mirror(config, around, pedantic, &mut seen)?;
    check_sources(config, around, &mut seen)?;
    check_prefixes(&seen)?;
    check_cycles(config, around)?;
    if config.mirror.is_some() && !config.subjects.is_empty() {
        return Err(errors::MIRROR_WITH_SUBJECTS);
    }
    Ok(())
}

fn check_mirror(
    config: &mut StreamConfig,
    around: Surroundings<'_>,
    pedantic: bool,
    seen: &mut Seen,
) -> Result<(), ApiError> {
    let Some(mirror) = &config.mirror else {
        return Ok(());
    };
    let refused = [
        (config.first_seq > 0, errors::MIRROR_WITH_FIRST_SEQ),
        (!config.subjects.is_empty(), errors::MIRROR_WITH_SUBJECTS),
        (!config.sources.is_empty(), errors::MIRROR_WITH_SOURCES),
        (config.allow_msg_counter, errors::MIRROR_WITH_COUNTERS),
        (config.allow_atomic, errors::MIRROR_WITH_ATOMIC_PUBLISH),
        (config.allow_batched, errors::MIRROR_WITH_BATCH_PUBLISH),
        (
            config.allow_msg_schedules,
            errors::MIRROR_WITH_MSG_SCHEDULES,
        ),
    ];
    if let Some((_, error)) = refused.into_iter().find(|(set, _)| *set) {
        return Err(error);
    }
    let words = Words {
        consumer: errors::MIRROR_DURABLE_CONSUMER_CFG_INVALID,
        filters: errors::MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED,
        filter: errors::mirror_invalid_subject_filter,
        transform: errors::mirror_invalid_transform_destination,
        message_size: errors::MIRROR_MAX_MESSAGE_SIZE_TOO_BIG,
    };
    check_consumer(mirror, &words)?;
    check_one_filter(mirror, &words)?;
    if config.subject_delete_marker_ttl > Span::ZERO {
        return Err(invalid("subject delete markers forbidden on mirrors"));
    }
    for (at, transform) in mirror.subject_transforms.iter().enumerate() {
        check_one_transform(&transform.src, &transform.dest, &words)?;
        let overlaps = |(other, it): (usize, &SubjectTransform)| {
            other != at && patterns_overlap(transform.src.as_bytes(), it.src.as_bytes())
        };
        if mirror.subject_transforms.iter().enumerate().any(overlaps) {
            return Err(errors::MIRROR_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    if mirror.external.is_none() && !is_valid_name(&mirror.name) {
        return Err(errors::MIRROR_INVALID_STREAM_NAME);
    }
    look_at_origin(mirror, config.max_msg_size, around, &words, seen)?;
    if mirror.external.is_none()
        && let Some(origin) = around.streams.stream(&mirror.name)
    {
        // JS-69: who answers for the origin does so as the origin would.
        if pedantic && config.mirror_direct != origin.allow_direct {
            return Err(errors::pedantic(
                "origin stream has direct get set, mirror has it disabled",
            ));
        }
        config.mirror_direct = origin.allow_direct;
    }
    Ok(())
}

fn check_sources(
    config: &StreamConfig,
    around: Surroundings<'_>,
    seen: &mut Seen,
) -> Result<(), ApiError> {
    if !config.sources.is_empty() && config.allow_msg_schedules {
        return Err(errors::SOURCE_WITH_MSG_SCHEDULES);
    }
    let words = Words {
        consumer: errors::SOURCE_DURABLE_CONSUMER_CFG_INVALID,
        filters: errors::SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED,
        filter: errors::source_invalid_subject_filter,
        transform: errors::source_invalid_transform_destination,
        message_size: errors::SOURCE_MAX_MESSAGE_SIZE_TOO_BIG,
    };
    let (mut names, mut consumers) = (HashSet::new(), HashSet::new());
    for source in &config.sources {
        if !is_valid_name(&source.name) {
            return Err(errors::SOURCE_INVALID_STREAM_NAME);
        }
        if !names.insert(Identity::of(source)) {
            return Err(errors::SOURCE_DUPLICATE_DETECTED);
        }
        check_one_filter(source, &words)?;
        for transform in &source.subject_transforms {
            check_one_transform(&transform.src, &transform.dest, &words)?;
        }
        let transforms = || source.subject_transforms.iter().enumerate();
        for (at, transform) in transforms() {
            let covers = |(other, it): (usize, &SubjectTransform)| {
                other != at && pattern_subset(transform.src.as_bytes(), it.src.as_bytes())
            };
            if transforms().any(covers) {
                return Err(errors::SOURCE_OVERLAPPING_SUBJECT_FILTERS);
            }
        }
        check_consumer(source, &words)?;
        if let Some(consumer) = &source.consumer
            && !consumers.insert((&source.name, api_prefix(source), &consumer.name))
        {
            return Err(errors::SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED);
        }
        look_at_origin(source, config.max_msg_size, around, &words, seen)?;
    }
    Ok(())
}

/// What must differ between two sources: the stream, or which of its messages, or their subjects.
#[derive(PartialEq, Eq, Hash)]
struct Identity<'a> {
    stream: &'a str,
    api: Option<&'a str>,
    consumer: Option<&'a str>,
    /// What is taken, and what it becomes.
    subjects: Vec<(&'a str, &'a str)>,
}

impl<'a> Identity<'a> {
    fn of(source: &'a StreamSource) -> Self {
        let or_all = |subject: &'a String| match subject.as_str() {
            "" => ">",
            some => some,
        };
        let transforms = source.subject_transforms.iter();
        let mut subjects: Vec<_> = transforms
            .map(|it| (or_all(&it.src), or_all(&it.dest)))
            .collect();
        if subjects.is_empty() {
            subjects.push((or_all(&source.filter_subject), ">"));
        }
        Self {
            stream: &source.name,
            api: api_prefix(source),
            consumer: source.consumer.as_ref().map(|it| it.name.as_str()),
            subjects,
        }
    }
}

fn api_prefix(source: &StreamSource) -> Option<&str> {
    source.external.as_ref().map(|it| it.api.as_str())
}

fn check_consumer(source: &StreamSource, words: &Words) -> Result<(), ApiError> {
    let Some(consumer) = &source.consumer else {
        return Ok(());
    };
    let subject = consumer.deliver_subject.as_bytes();
    if !is_valid_name(&consumer.name)
        || !is_literal(subject)
        || !is_valid_pattern(subject)
        || source.opt_start_seq != 0
        || source.opt_start_time.is_some()
        || !source.filter_subject.is_empty()
    {
        return Err(words.consumer.clone());
    }
    Ok(())
}

fn check_one_filter(source: &StreamSource, words: &Words) -> Result<(), ApiError> {
    if !source.filter_subject.is_empty() && !source.subject_transforms.is_empty() {
        return Err(words.filters.clone());
    }
    Ok(())
}

fn check_one_transform(source: &str, destination: &str, words: &Words) -> Result<(), ApiError> {
    if !source.is_empty() && !is_valid_pattern(source.as_bytes()) {
        return Err((words.filter)(format!("invalid subject {source}")));
    }
    check_transform(source, destination).map_err(|error| (words.transform)(error.to_string()))
}

/// A stream that is here tells its subjects and the size of its messages; one that is not is known
/// by its prefixes only.
fn look_at_origin(
    source: &StreamSource,
    max_msg_size: i32,
    around: Surroundings<'_>,
    words: &Words,
    seen: &mut Seen,
) -> Result<(), ApiError> {
    let Some(external) = &source.external else {
        if let Some(origin) = around.streams.stream(&source.name) {
            seen.subjects.extend(origin.subjects.iter().cloned());
            if max_msg_size > 0 && origin.max_msg_size > max_msg_size {
                return Err(words.message_size.clone());
            }
        }
        return Ok(());
    };
    let given = |prefix: &String| (!prefix.is_empty()).then(|| prefix.clone());
    seen.delivery.extend(given(&external.deliver));
    seen.api.extend(given(&external.api));
    Ok(())
}

fn check_prefixes(seen: &Seen) -> Result<(), ApiError> {
    let publishable =
        |subject: &str| is_valid_pattern(subject.as_bytes()) && is_literal(subject.as_bytes());
    for prefix in &seen.delivery {
        if !publishable(prefix) {
            return Err(errors::stream_invalid_external_delivery_subj(prefix));
        }
        for subject in &seen.subjects {
            let delivered = format!("{prefix}.{subject}");
            if patterns_overlap(subject.as_bytes(), delivered.as_bytes()) {
                return Err(errors::stream_external_del_prefix_overlaps(prefix, subject));
            }
        }
    }
    for prefix in &seen.api {
        if !publishable(prefix) {
            return Err(invalid(format_args!(
                "stream external api prefix {prefix:?} must be a valid subject without wildcards"
            )));
        }
        if prefix == "$JS.API" {
            return Err(errors::stream_external_api_overlap(prefix, "$JS.API"));
        }
    }
    Ok(())
}

/// No message may come back to where it has been.
fn check_cycles(config: &StreamConfig, around: Surroundings<'_>) -> Result<(), ApiError> {
    let mut visited = HashSet::new();
    let mut to_visit = VecDeque::from([config]);
    while let Some(at) = to_visit.pop_front() {
        visited.insert(at.name.as_str());
        for source in at.sources.iter().filter(|it| it.external.is_none()) {
            let filter = source.filter_subject.as_bytes();
            let comes_back = || {
                let overlaps = |it: &String| patterns_overlap(it.as_bytes(), filter);
                filter.is_empty() || at.subjects.iter().any(overlaps)
            };
            if !visited.contains(source.name.as_str()) {
                to_visit.extend(around.streams.stream(&source.name));
            } else if comes_back() {
                return Err(invalid("detected cycle"));
            }
        }
        if let Some(mirror) = at.mirror.as_ref().filter(|it| it.external.is_none()) {
            if visited.contains(mirror.name.as_str()) {
                return Err(invalid("detected cycle"));
            }
            to_visit.extend(around.streams.stream(&mirror.name));
        }
    }
    Ok(())
}
