//! A consumer's configuration: every field with stock's JSON, in stock's order (section 14).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::api::values::{Span, is_default};

/// Where it begins (JS-174).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverPolicy {
    /// With the first message.
    #[default]
    #[serde(alias = "undefined")]
    All,
    /// With the last one.
    Last,
    /// With the next one.
    New,
    /// With a sequence.
    ByStartSequence,
    /// With the first of a time or later.
    ByStartTime,
    /// With the last one of each subject.
    LastPerSubject,
}

/// What is to be acknowledged (JS-175).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// Nothing.
    #[default]
    None,
    /// Any message, which acknowledges those before it.
    All,
    /// Each message.
    Explicit,
    /// Nothing; answers to flow control say how far the peer is.
    FlowControl,
}

/// How fast messages come (JS-180).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPolicy {
    /// At once.
    #[default]
    Instant,
    /// In the rhythm they were stored in.
    Original,
}

/// Who of several pullers gets messages (JS-189).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityPolicy {
    /// Who asked first.
    #[default]
    None,
    /// Who asks only for what others leave waits until there is enough of it.
    Overflow,
    /// One of them, until it goes away.
    PinnedClient,
    /// Who asks with the lowest number.
    Prioritized,
}

/// A consumer's configuration. `Default` is what an empty JSON object means, before defaults are
/// filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.ConsumerConfig", default)]
pub struct ConsumerConfig {
    /// JS-173.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durable_name: String,
    /// JS-173.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// JS-186.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JS-174.
    pub deliver_policy: DeliverPolicy,
    /// JS-174.
    #[serde(skip_serializing_if = "is_default")]
    pub opt_start_seq: u64,
    /// JS-174.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Timestamp>,
    /// JS-175.
    pub ack_policy: AckPolicy,
    /// How long an acknowledgement may take (JS-176).
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub ack_wait: Span,
    /// How often a message is delivered; -1: no limit (JS-177).
    #[serde(skip_serializing_if = "is_default")]
    pub max_deliver: i64,
    /// Waits between deliveries (JS-176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backoff: Vec<Span>,
    /// JS-179.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// JS-179.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter_subjects: Vec<String>,
    /// JS-180.
    pub replay_policy: ReplayPolicy,
    /// Bits per second (JS-186).
    #[serde(skip_serializing_if = "is_default")]
    pub rate_limit_bps: u64,
    /// Percentage of acknowledgements that are told of (JS-186).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample_freq: String,
    /// Pull requests that may wait (JS-183).
    #[serde(skip_serializing_if = "is_default")]
    pub max_waiting: i64,
    /// Messages in flight; -1: no limit (JS-178).
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
    /// JS-182.
    #[serde(skip_serializing_if = "is_default")]
    pub flow_control: bool,
    /// JS-186.
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
    /// Messages a pull may ask for (JS-184).
    #[serde(skip_serializing_if = "is_default")]
    pub max_batch: i64,
    /// How long a pull may wait (JS-184).
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub max_expires: Span,
    /// Bytes a pull may ask for (JS-184).
    #[serde(skip_serializing_if = "is_default")]
    pub max_bytes: i64,
    /// Where a push consumer delivers; empty: it is pulled from (JS-181).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
    /// JS-181.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_group: String,
    /// JS-182.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub idle_heartbeat: Span,
    /// JS-185.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub inactive_threshold: Span,
    /// Zero: as many as the stream (JS-187).
    pub num_replicas: i64,
    /// JS-187.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_storage: bool,
    /// A mirror or source reads with it; not shown to others (JS-191).
    #[serde(skip_serializing_if = "is_default")]
    pub direct: bool,
    /// JS-191.
    #[serde(skip_serializing_if = "is_default")]
    pub sourcing: bool,
    /// JS-186, JS-82.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// JS-188.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_until: Option<Timestamp>,
    /// JS-189.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<String>,
    /// JS-189.
    #[serde(skip_serializing_if = "is_default")]
    pub priority_policy: PriorityPolicy,
    /// How long a pinned client may be silent (JS-189).
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub priority_timeout: Span,
}

impl ConsumerConfig {
    /// Does it live on without interest?
    pub fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }

    /// Does it deliver without being asked?
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// The patterns of subjects it is for; none: all.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.filter_subject)
            .filter(|it| !it.is_empty())
            .chain(&self.filter_subjects)
            .map(String::as_str)
    }
}
