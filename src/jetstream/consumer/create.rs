//! Requests to create and update consumers: which configuration comes of them, or why none
//! (JS-33, JS-34, JS-35).

use super::check::{
    ConsumerSurroundings, INACTIVE_THRESHOLD, check_consumer, check_consumer_update, fill_consumer,
    replicas,
};
use super::config::{AckPolicy, ConsumerConfig, DeliverPolicy};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::{copy_level, stamp_consumer};
use crate::jetstream::api::request::{ConsumerAction, ConsumerCreateRequest};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::limits::{AccountTiers, ServerLimits};
use crate::jetstream::stream::config::{NAME_MAX, Retention, Storage, StreamConfig};
use crate::routing::subject::patterns_overlap;

/// Holds a request against its subject, and takes over the name that only the subject says.
///
/// # Errors
/// What does not fit.
pub fn fit_subject(
    request: &mut ConsumerCreateRequest,
    subject: &ApiSubject<'_>,
) -> Result<(), ApiError> {
    let config = &mut request.config;
    let legacy = subject.endpoint == Endpoint::ConsumerDurableCreate;
    let named = legacy || !subject.consumer.is_empty();
    let name = if named {
        subject.consumer
    } else {
        config.name.as_str()
    };
    if subject.stream != request.stream_name {
        return Err(errors::STREAM_MISMATCH);
    }
    if name.contains(['/', '\\']) {
        return Err(errors::CONSUMER_NAME_CONTAINS_PATH_SEPARATORS);
    }
    if legacy && config.durable_name.is_empty() {
        return Err(errors::CONSUMER_DURABLE_NAME_NOT_SET);
    }
    if named && !config.durable_name.is_empty() && subject.consumer != config.durable_name {
        return Err(errors::CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
    }
    if !named && !config.durable_name.is_empty() {
        return Err(errors::CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
    }
    if named {
        config.name = subject.consumer.to_owned();
    }
    if !subject.rest.is_empty() {
        if !config.filter_subjects.is_empty() {
            return Err(errors::CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED);
        }
        if config.filter_subject != subject.rest {
            return Err(errors::CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
        }
    }
    if config.num_replicas > 1 {
        return Err(errors::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    Ok(())
}

/// A stream with its consumers, as a request to create one finds them.
pub trait Consumers {
    /// The configuration of one.
    fn consumer(&self, name: &str) -> Option<&ConsumerConfig>;
    /// All of them with their names.
    fn each(&self, visit: &mut dyn FnMut(&str, &ConsumerConfig));
    /// Does somebody subscribe to where that one delivers?
    fn is_bound(&self, name: &str) -> bool;
}

/// What comes of a request to create a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerCreation {
    /// A consumer of this name, to be configured so.
    New(String, Box<ConsumerConfig>),
    /// One that is there, to be configured so from now on; maybe as it is.
    Update(String, Box<ConsumerConfig>),
}

/// Judges a request, after [`fit_subject`]. `random_name` makes names for those that have none; it
/// is asked again for one that is taken.
///
/// # Errors
/// Why there will be none.
pub fn create_consumer(
    request: ConsumerCreateRequest,
    stream: &StreamConfig,
    (server, account): (&ServerLimits, &AccountTiers),
    consumers: &dyn Consumers,
    mut random_name: impl FnMut() -> String,
) -> Result<ConsumerCreation, ApiError> {
    let mut config = request.config;
    if let Some(existing) = consumers.consumer(&config.name) {
        // JS-188: that is what PAUSE is for.
        config.pause_until = existing.pause_until;
    }
    stamp_consumer(&mut config);
    let account = account.select(replicas(&config, stream))?;
    let around = ConsumerSurroundings {
        server,
        account,
        stream,
    };
    fill_consumer(&mut config, around, request.pedantic)?;
    check_consumer(&config, around)?;
    let name = match config.durable_name.as_str() {
        "" => config.name.clone(),
        durable => durable.to_owned(),
    };
    if let Some(existing) = consumers.consumer(&name).filter(|_| !name.is_empty()) {
        return update_existing(config, name, request.action, existing, around, consumers);
    }
    if request.action == ConsumerAction::Update {
        return Err(errors::CONSUMER_DOES_NOT_EXIST);
    }
    check_count(around, consumers)?;
    check_work_queue(&config, &name, stream, consumers)?;
    check_name_length(&config, &name, stream)?;
    // A name nobody chose is not part of the configuration.
    let mut name = name;
    while name.is_empty() || consumers.consumer(&name).is_some() {
        name = random_name();
    }
    stamp_threshold(&mut config);
    Ok(ConsumerCreation::New(name, Box::new(config)))
}

/// JS-15. In stock only the name of a durable consumer is measured; another one's has to do as the
/// name of a folder, where there is one.
fn check_name_length(
    config: &ConsumerConfig,
    name: &str,
    stream: &StreamConfig,
) -> Result<(), ApiError> {
    if name.len() <= NAME_MAX {
        return Ok(());
    }
    let on_disk = stream.storage == Storage::File && !config.mem_storage;
    match (config.is_durable(), on_disk) {
        (true, _) => Err(errors::consumer_name_too_long(NAME_MAX)),
        (false, true) => Err(errors::consumer_create("error creating store for consumer")),
        (false, false) => Ok(()),
    }
}

/// JS-185.
fn stamp_threshold(config: &mut ConsumerConfig) {
    if !config.is_durable() && config.inactive_threshold.is_zero() {
        config.inactive_threshold = INACTIVE_THRESHOLD;
    }
}

/// JS-35, JS-192, JS-193.
fn update_existing(
    mut config: ConsumerConfig,
    name: String,
    action: ConsumerAction,
    existing: &ConsumerConfig,
    around: ConsumerSurroundings<'_>,
    consumers: &dyn Consumers,
) -> Result<ConsumerCreation, ApiError> {
    if action == ConsumerAction::Create {
        copy_level(&mut config.metadata, &existing.metadata);
        if config != *existing {
            return Err(errors::CONSUMER_ALREADY_EXISTS);
        }
    }
    let queue = around.stream.retention == Retention::WorkQueue;
    if queue && !is_partition(&config, &name, consumers) {
        return Err(errors::CONSUMER_WORK_QUEUE_CONSUMER_NOT_UNIQUE);
    }
    check_consumer_update(existing, &config, consumers.is_bound(&name))?;
    config.pause_until = config.pause_until.map(Timestamp::utc);
    if config.inactive_threshold != existing.inactive_threshold {
        stamp_threshold(&mut config);
    }
    Ok(ConsumerCreation::Update(name, Box::new(config)))
}

/// JS-64.
fn check_count(
    around: ConsumerSurroundings<'_>,
    consumers: &dyn Consumers,
) -> Result<(), ApiError> {
    let (own, of_account) = (around.stream.max_consumers, around.account.max_consumers);
    let mut most = own;
    if own <= 0 || (of_account > 0 && of_account < own) {
        most = of_account;
    }
    if most <= 0 {
        most = around.server.default_max_consumers;
    }
    if most > 0 && count(consumers) >= most {
        return Err(errors::MAXIMUM_CONSUMERS_LIMIT);
    }
    Ok(())
}

/// Consumers that are somebody's, not a mirror's or source's.
fn count(consumers: &dyn Consumers) -> i64 {
    let mut count = 0;
    consumers.each(&mut |_, it| count += i64::from(!it.direct && !it.sourcing));
    count
}

/// Each message of a work queue has one consumer.
fn check_work_queue(
    config: &ConsumerConfig,
    name: &str,
    stream: &StreamConfig,
    consumers: &dyn Consumers,
) -> Result<(), ApiError> {
    if stream.retention != Retention::WorkQueue || config.direct || config.sourcing {
        return Ok(());
    }
    if !matches!(
        config.ack_policy,
        AckPolicy::Explicit | AckPolicy::FlowControl
    ) {
        return Err(errors::CONSUMER_WORK_QUEUE_REQUIRES_EXPLICIT_ACK);
    }
    if config.deliver_policy != DeliverPolicy::All {
        return Err(errors::CONSUMER_WORK_QUEUE_CONSUMER_NOT_DELIVER_ALL);
    }
    if count(consumers) > 0 {
        if config.filters().next().is_none() {
            return Err(errors::CONSUMER_WORK_QUEUE_MULTIPLE_UNFILTERED);
        }
        if !is_partition(config, name, consumers) {
            return Err(errors::CONSUMER_WORK_QUEUE_CONSUMER_NOT_UNIQUE);
        }
    }
    Ok(())
}

/// Does it take nothing that another consumer takes?
fn is_partition(config: &ConsumerConfig, name: &str, consumers: &dyn Consumers) -> bool {
    let mut unique = true;
    consumers.each(&mut |other_name, other| {
        if other_name == name || other.direct || other.sourcing {
            return;
        }
        let takes_all = other.filters().next().is_none();
        unique &= config.filters().all(|mine| {
            let apart = |theirs: &str| !patterns_overlap(mine.as_bytes(), theirs.as_bytes());
            !takes_all && other.filters().all(apart)
        });
    });
    unique
}
