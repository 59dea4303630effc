//! A stream's configuration: every field with stock's JSON, in stock's order (section 3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::api::values::{Span, is_default};

/// Bytes a stream's or consumer's name may have (JS-15).
pub const NAME_MAX: usize = 255;
/// Bytes a description may have (JS-54).
pub const DESCRIPTION_MAX: usize = 4 * 1024;
/// Bytes all keys and values of metadata may have together (JS-54).
pub const METADATA_MAX: usize = 128 * 1024;
/// Replicas a stream may ask for (JS-59).
pub const REPLICAS_MAX: i64 = 5;

/// Can this be the name of a stream or consumer? Length is another question (JS-15).
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .bytes()
            .any(|byte| b" \t\r\n\x0c.*>\\/".contains(&byte))
}

/// When messages are removed though no limit asks for it (JS-57).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Never.
    #[default]
    Limits,
    /// Once every consumer that wanted it has acknowledged it.
    Interest,
    /// Once one consumer has acknowledged it.
    WorkQueue,
}

/// Where messages are kept (JS-58).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory, lost with the process.
    Memory,
}

/// What gives way at a limit (JS-63).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest message.
    #[default]
    Old,
    /// The one that comes.
    New,
}

/// Whether stored messages are compressed (JS-66).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No.
    #[default]
    None,
    /// Each block, with S2.
    S2,
}

/// When a publish is answered (JS-79).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistMode {
    /// After it was written.
    #[default]
    #[serde(alias = "")]
    Default,
    /// Before.
    Async,
}

/// Where in a cluster the stream shall be (JS-68).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.Placement", default)]
pub struct Placement {
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Tags each server must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The server that shall lead; for step-downs only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preferred: String,
}

/// Another stream's messages come in here (section 11).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.StreamSource", default)]
pub struct StreamSource {
    /// The other stream's name.
    pub name: String,
    /// Begin with this sequence.
    #[serde(skip_serializing_if = "is_default")]
    pub opt_start_seq: u64,
    /// Begin at this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Timestamp>,
    /// Only messages of these subjects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Only messages of these subjects, under another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// It is behind another API prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// Take this consumer of it instead of making one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<StreamConsumerSource>,
}

/// Where a stream of another account or domain is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.ExternalStream", default)]
pub struct ExternalStream {
    /// Prefix of its API.
    pub api: String,
    /// Prefix of the subjects it delivers to.
    pub deliver: String,
}

/// A consumer made by somebody else that a mirror or source takes messages from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.StreamConsumerSource", default)]
pub struct StreamConsumerSource {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it delivers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
}

/// One subject made of another (JS-73).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.SubjectTransformConfig", default)]
pub struct SubjectTransform {
    /// Pattern of the subjects it is for; empty: all.
    pub src: String,
    /// What they become.
    pub dest: String,
}

/// Stored messages are published again (JS-73).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.RePublish", default)]
pub struct Republish {
    /// Pattern of the subjects it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// Where they are published.
    pub dest: String,
    /// Leave the payload out.
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
}

/// Defaults and bounds for the stream's consumers (JS-74).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.StreamConsumerLimits", default)]
pub struct ConsumerLimits {
    /// How long one may be without interest.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub inactive_threshold: Span,
    /// How many messages one may have in flight.
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
}

/// A stream's configuration. `Default` is what an empty JSON object means, before defaults are
/// filled in; limits below one mean none and are -1 after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.StreamConfig", default)]
pub struct StreamConfig {
    /// JS-53.
    pub name: String,
    /// JS-54.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JS-55.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// JS-57.
    pub retention: Retention,
    /// Consumers at the same time (JS-64).
    pub max_consumers: i64,
    /// Messages kept (JS-60).
    pub max_msgs: i64,
    /// Bytes kept (JS-60).
    pub max_bytes: i64,
    /// How long a message is kept; zero: for ever (JS-61).
    pub max_age: Span,
    /// Messages kept of one subject (JS-60).
    pub max_msgs_per_subject: i64,
    /// Bytes of headers and payload of one message (JS-60).
    #[serde(skip_serializing_if = "is_default")]
    pub max_msg_size: i32,
    /// JS-63.
    pub discard: Discard,
    /// JS-58.
    pub storage: Storage,
    /// JS-59.
    pub num_replicas: i64,
    /// Publishes are not answered (JS-65).
    #[serde(skip_serializing_if = "is_default")]
    pub no_ack: bool,
    /// How long a message's id is remembered (JS-62).
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub duplicate_window: Span,
    /// JS-68.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// It is a copy of another stream (JS-80).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSource>,
    /// Other streams' messages come in as well (JS-80).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSource>,
    /// JS-66.
    pub compression: Compression,
    /// The first message's sequence (JS-67).
    #[serde(skip_serializing_if = "is_default")]
    pub first_seq: u64,
    /// Messages are stored under another subject (JS-73).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_transform: Option<SubjectTransform>,
    /// JS-73.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<Republish>,
    /// Direct gets are answered (JS-69).
    pub allow_direct: bool,
    /// Direct gets of the mirrored stream are answered (JS-69).
    pub mirror_direct: bool,
    /// `discard: new` for the limit per subject, too (JS-63).
    #[serde(skip_serializing_if = "is_default")]
    pub discard_new_per_subject: bool,
    /// Nothing comes in and nothing goes (JS-70).
    pub sealed: bool,
    /// JS-71.
    pub deny_delete: bool,
    /// JS-71.
    pub deny_purge: bool,
    /// JS-72.
    pub allow_rollup_hdrs: bool,
    /// JS-74.
    pub consumer_limits: ConsumerLimits,
    /// Messages may say how long they are kept (JS-75).
    pub allow_msg_ttl: bool,
    /// How long a marker stays where the last message of a subject went (JS-75).
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub subject_delete_marker_ttl: Span,
    /// JS-77.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_msg_counter: bool,
    /// JS-76.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_atomic: bool,
    /// JS-78.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_msg_schedules: bool,
    /// JS-79.
    #[serde(skip_serializing_if = "is_default")]
    pub persist_mode: PersistMode,
    /// JS-76.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_batched: bool,
    /// JS-54, JS-82.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
