//! The bodies of answers, with stock's fields in stock's order (sections 1, 2 and 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::encode::to_json;
use super::errors::ApiError;
use super::subjects::Endpoint;
use super::timestamp::Timestamp;
use super::values::{Span, is_default};
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::stream::config::{ExternalStream, StreamConfig, SubjectTransform};

/// Names in an answer (JS-12).
pub const NAMES_MAX: usize = 1024;
/// Streams or consumers in an answer (JS-12).
pub const LIST_MAX: usize = 256;
/// Subjects in a stream's info (JS-12).
pub const SUBJECTS_MAX: usize = 100_000;

/// An answer of the API: its type, an error or none, and what it holds (JS-1). Some hold zeros
/// beside an error, others nothing: then the content is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct Response<T> {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Why it is not what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// The rest.
    #[serde(flatten)]
    pub content: Option<T>,
}

impl<T> Response<T> {
    /// What was asked for.
    pub const fn new(endpoint: Endpoint, content: T) -> Self {
        Self {
            kind: endpoint.response_type(),
            error: None,
            content: Some(content),
        }
    }

    /// An error, with the zeros that stand beside it.
    pub const fn with_error(endpoint: Endpoint, error: ApiError, content: T) -> Self {
        Self {
            kind: endpoint.response_type(),
            error: Some(error),
            content: Some(content),
        }
    }
}

/// An error by itself, with this `type`.
pub fn typed_error(kind: &'static str, error: ApiError) -> Vec<u8> {
    to_json(&Response::<()> {
        kind,
        error: Some(error),
        content: None,
    })
}

/// The fields beside an error (JS-1): zeros in some answers, nothing in others.
pub fn error_response(endpoint: Endpoint, error: ApiError) -> Vec<u8> {
    let none = Paging::default();
    match endpoint {
        Endpoint::StreamInfo => to_json(&Response::with_error(endpoint, error, none)),
        Endpoint::StreamNames => to_json(&Response::with_error(
            endpoint,
            error,
            StreamNames::default(),
        )),
        Endpoint::StreamList => to_json(&Response::with_error(
            endpoint,
            error,
            StreamList::default(),
        )),
        Endpoint::ConsumerNames => to_json(&Response::with_error(
            endpoint,
            error,
            ConsumerNames::default(),
        )),
        Endpoint::ConsumerList => to_json(&Response::with_error(
            endpoint,
            error,
            ConsumerList::default(),
        )),
        Endpoint::StreamPurge => to_json(&Response::with_error(endpoint, error, Purged::default())),
        Endpoint::StreamRestore => {
            to_json(&Response::with_error(endpoint, error, Restoring::default()))
        }
        Endpoint::ConsumerPause => {
            to_json(&Response::with_error(endpoint, error, Paused::default()))
        }
        Endpoint::ConsumerReset => {
            let content = ResetSequence::default();
            to_json(&Response::with_error(endpoint, error, content))
        }
        _ => typed_error(endpoint.response_type(), error),
    }
}

/// Which part of a list it is (JS-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Paging {
    /// How many there are.
    pub total: usize,
    /// How many were left out at the front.
    pub offset: usize,
    /// How many are shown at most.
    pub limit: usize,
}

impl Paging {
    /// The part of `total` that `offset` asks for, and where it is.
    pub fn page(total: usize, offset: i64, limit: usize) -> (Self, std::ops::Range<usize>) {
        let offset = usize::try_from(offset.max(0))
            .unwrap_or(usize::MAX)
            .min(total);
        let paging = Self {
            total,
            offset,
            limit,
        };
        (paging, offset..total.min(offset.saturating_add(limit)))
    }
}

/// JS-49: an account's streams are on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Purging {
    /// Are they?
    pub initiated: bool,
}

/// JS-23, JS-24, JS-26, JS-38: it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Success {
    /// Was it?
    #[serde(skip_serializing_if = "is_default")]
    pub success: bool,
}

/// JS-24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Purged {
    /// Was it done?
    #[serde(skip_serializing_if = "is_default")]
    pub success: bool,
    /// How many messages are gone.
    pub purged: u64,
}

/// An answer to a publish (section 4); an error beside zeros if it was refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PubAck<'a> {
    /// Why it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// Where it is stored.
    pub stream: &'a str,
    /// As which sequence.
    pub seq: u64,
    /// The server's domain.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub domain: &'a str,
    /// It was there already.
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate: bool,
    /// The counter's value (section 9).
    #[serde(rename = "val", skip_serializing_if = "str::is_empty")]
    pub value: &'a str,
    /// The batch's id (section 7).
    #[serde(skip_serializing_if = "str::is_empty")]
    pub batch: &'a str,
    /// Messages in the batch.
    #[serde(skip_serializing_if = "is_default")]
    pub count: u64,
}

/// What a stream holds (JS-22).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.StreamState", default)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Bytes, with what each message needs beside its own.
    pub bytes: u64,
    /// The first message's sequence; one more than the last if there is none.
    pub first_seq: u64,
    /// Its time.
    pub first_ts: Timestamp,
    /// The last sequence given out.
    pub last_seq: u64,
    /// Its time.
    pub last_ts: Timestamp,
    /// Different subjects.
    #[serde(skip_serializing_if = "is_default")]
    pub num_subjects: u64,
    /// How many messages of each; asked for only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", skip_deserializing)]
    pub subjects: BTreeMap<String, u64>,
    /// Sequences between the first and the last that are gone.
    #[serde(skip_serializing_if = "is_default")]
    pub num_deleted: u64,
    /// Which; asked for only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<u64>,
    /// What was damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostMessages>,
    /// Consumers, those of mirrors and sources too.
    pub consumer_count: u64,
}

/// Messages that could not be read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "server.LostStreamData", default)]
pub struct LostMessages {
    /// Which.
    pub msgs: Vec<u64>,
    /// How many bytes.
    pub bytes: u64,
}

/// Who leads (JS-22); a server alone leads everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ClusterInfo {
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The leader's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub leader: String,
}

/// How far a mirror or source is (section 11).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamSourceInfo {
    /// The other stream.
    pub name: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// Messages not here yet.
    pub lag: u64,
    /// A source's last message that is here.
    #[serde(skip_serializing_if = "is_default")]
    pub seq: u64,
    /// Since when nothing came; below zero: never did.
    pub active: Span,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// Only messages of these subjects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// The same, under other subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
}

/// A copy of the stream that can be read instead.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamAlternate {
    /// Its name.
    pub name: String,
    /// Its domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Its cluster.
    pub cluster: String,
}

/// A stream as it is (JS-22).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamInfo {
    /// With the server's metadata (JS-82), except in lists.
    pub config: StreamConfig,
    /// When it was made.
    pub created: Timestamp,
    /// What it holds.
    pub state: StreamState,
    /// The server's domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Who leads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
    /// How far it is with the stream it mirrors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSourceInfo>,
    /// How far it is with its sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSourceInfo>,
    /// Its mirrors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<StreamAlternate>,
    /// What an acknowledgement promises, where that is less than that the message is on the disk.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub ramjet_durability: &'static str,
    /// When this was said.
    pub ts: Timestamp,
}

/// JS-18.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamCreated {
    /// The stream.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// It was not there, or is as asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub did_create: bool,
}

/// JS-22: the paging of its subjects stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PagedStreamInfo {
    /// Of its subjects.
    #[serde(flatten)]
    pub paging: Paging,
    /// The stream.
    #[serde(flatten)]
    pub info: StreamInfo,
}

/// JS-20.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamNames {
    /// Which part.
    #[serde(flatten)]
    pub paging: Paging,
    /// `null` if there are none (JS-13).
    #[serde(serialize_with = "null_if_empty")]
    pub streams: Vec<String>,
}

fn null_if_empty<T: Serialize, S: Serializer>(
    all: &Vec<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if all.is_empty() {
        serializer.serialize_none()
    } else {
        all.serialize(serializer)
    }
}

/// JS-21.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamList {
    /// Which part.
    #[serde(flatten)]
    pub paging: Paging,
    /// Sorted by name.
    pub streams: Vec<StreamInfo>,
    /// Those that cannot be loaded (JS-256).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub offline: BTreeMap<String, String>,
}

/// A message as it is stored (JS-25).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StoredMessageInfo<'a> {
    /// Its subject.
    pub subject: &'a str,
    /// Its sequence.
    pub seq: u64,
    /// The header block as it came.
    #[serde(skip_serializing_if = "<[u8]>::is_empty", serialize_with = "base64")]
    pub hdrs: &'a [u8],
    /// The payload.
    #[serde(skip_serializing_if = "<[u8]>::is_empty", serialize_with = "base64")]
    pub data: &'a [u8],
    /// When it was stored.
    pub time: Timestamp,
}

fn base64<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&data_encoding::BASE64.encode(bytes))
}

/// JS-25.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MessageGot<'a> {
    /// What was asked for.
    #[serde(borrow = "'a")]
    pub message: StoredMessageInfo<'a>,
}

/// JS-27.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Snapshotting {
    /// As it is stored.
    pub config: StreamConfig,
    /// What it holds.
    pub state: StreamState,
}

/// JS-28.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Restoring {
    /// Where the pieces are to be sent.
    pub deliver_subject: String,
}

/// A place in a consumer's and its stream's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SequenceInfo {
    /// The consumer's.
    pub consumer_seq: u64,
    /// The stream's.
    pub stream_seq: u64,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active: Option<Timestamp>,
}

/// Who is pinned (JS-189).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PriorityGroupState {
    /// In which group.
    pub group: String,
    /// The id that client was given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pinned_client_id: String,
    /// Since when.
    pub pinned_ts: Timestamp,
}

/// A consumer as it is (JS-194).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConsumerInfo {
    /// Its stream.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// With the server's metadata (JS-82), except in lists.
    pub config: ConsumerConfig,
    /// The last delivered.
    pub delivered: SequenceInfo,
    /// All up to here are acknowledged.
    pub ack_floor: SequenceInfo,
    /// Messages in flight.
    pub num_ack_pending: u64,
    /// Messages delivered more than once.
    pub num_redelivered: u64,
    /// Pull requests that wait.
    pub num_waiting: u64,
    /// Messages not delivered yet.
    pub num_pending: u64,
    /// Who leads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
    /// Somebody subscribes to where it delivers.
    #[serde(skip_serializing_if = "is_default")]
    pub push_bound: bool,
    /// It delivers nothing for now.
    #[serde(skip_serializing_if = "is_default")]
    pub paused: bool,
    /// For how long.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub pause_remaining: Span,
    /// When this was said.
    pub ts: Timestamp,
    /// Who is pinned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<PriorityGroupState>,
}

/// JS-36.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConsumerNames {
    /// Which part.
    #[serde(flatten)]
    pub paging: Paging,
    /// Sorted.
    pub consumers: Vec<String>,
}

/// JS-36.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConsumerList {
    /// Which part.
    #[serde(flatten)]
    pub paging: Paging,
    /// Sorted by name.
    pub consumers: Vec<ConsumerInfo>,
    /// Those that cannot be loaded (JS-256).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub offline: BTreeMap<String, String>,
}

/// JS-41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Paused {
    /// Is it?
    pub paused: bool,
    /// Until when.
    pub pause_until: Timestamp,
    /// For how long.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub pause_remaining: Span,
}

/// JS-43, beside an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ResetSequence {
    /// Where it begins anew.
    pub reset_seq: u64,
}

/// JS-43.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConsumerReset {
    /// The consumer.
    #[serde(flatten)]
    pub info: ConsumerInfo,
    /// Where it begins anew.
    pub reset_seq: u64,
}

/// What an account may use (JS-244); -1: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AccountLimits {
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes on disk.
    pub max_storage: i64,
    /// Streams.
    pub max_streams: i64,
    /// Consumers of one stream.
    pub max_consumers: i64,
    /// Messages in flight of one consumer.
    pub max_ack_pending: i64,
    /// Bytes of one stream in memory; below one: no limit.
    pub memory_max_stream_bytes: i64,
    /// Bytes of one stream on disk; below one: no limit.
    pub storage_max_stream_bytes: i64,
    /// Streams must say how many bytes they may have.
    pub max_bytes_required: bool,
}

impl AccountLimits {
    /// What is shown where there are tiers.
    pub const NOTHING: Self = Self {
        max_memory: 0,
        max_storage: 0,
        max_streams: 0,
        max_consumers: 0,
        max_ack_pending: 0,
        memory_max_stream_bytes: 0,
        storage_max_stream_bytes: 0,
        max_bytes_required: false,
    };
}

impl Default for AccountLimits {
    /// No limits.
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// What an account uses, of one tier or of all (JS-17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TierUsage {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    pub storage: u64,
    /// Bytes set aside in memory.
    pub reserved_memory: u64,
    /// Bytes set aside on disk.
    pub reserved_storage: u64,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// What it may use.
    pub limits: AccountLimits,
}

/// Requests to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ApiUsage {
    /// The level this server speaks (JS-8).
    pub level: u32,
    /// How many came.
    pub total: u64,
    /// How many were answered with an error.
    pub errors: u64,
    /// How many are not answered yet.
    #[serde(skip_serializing_if = "is_default")]
    pub inflight: u64,
}

/// JS-17.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AccountInfo {
    /// All tiers together.
    #[serde(flatten)]
    pub usage: TierUsage,
    /// The server's domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Requests.
    pub api: ApiUsage,
    /// Each tier, if limits are by tier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierUsage>,
}
