//! The bodies of requests; fields as clients write them (section 2).

use serde::{Deserialize, Serialize};

use super::decode::{DecodeError, decode, decode_with_flag};
use super::response::StreamState;
use super::timestamp::Timestamp;
use super::values::Span;
use crate::jetstream::consumer::config::ConsumerConfig;
use crate::jetstream::stream::config::{Placement, StreamConfig};

/// Create or update a stream (JS-18, JS-19).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamConfigRequest {
    /// As wished.
    pub config: StreamConfig,
    /// What would be adjusted is an error instead (JS-16).
    pub pedantic: bool,
}

impl StreamConfigRequest {
    /// Reads it; see [`decode`].
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(body: &[u8], strict: bool) -> Result<Self, DecodeError> {
        let name = "server.StreamConfigRequest";
        let (config, pedantic) = decode_with_flag(body, strict, name, "pedantic")?;
        Ok(Self { config, pedantic })
    }
}

/// Whether a consumer may, or must, be there already (JS-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerAction {
    /// It may.
    #[default]
    #[serde(rename = "")]
    CreateOrUpdate,
    /// It must not, unless configured the same.
    Create,
    /// It must.
    Update,
}

/// Create or update a consumer (JS-33).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.CreateConsumerRequest", default)]
pub struct ConsumerCreateRequest {
    /// Of which stream; as in the subject.
    pub stream_name: String,
    /// As wished.
    pub config: ConsumerConfig,
    /// JS-35.
    pub action: ConsumerAction,
    /// JS-16.
    pub pedantic: bool,
}

macro_rules! paged_requests {
    ($($(#[$doc:meta])* $name:ident = $stock:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
            #[serde(rename = $stock, default)]
            pub struct $name {
                /// How many to leave out at the front (JS-12).
                pub offset: i64,
                $($(#[$field_doc])* pub $field: $type,)*
            }
        )*
    };
}

paged_requests! {
    /// Names of streams (JS-20).
    StreamNamesRequest = "server.JSApiStreamNamesRequest" {
        /// Only those whose subjects overlap it; empty: all.
        subject: String,
    }
    /// Streams (JS-21).
    StreamListRequest = "server.JSApiStreamListRequest" {
        /// Only those whose subjects overlap it; empty: all.
        subject: String,
    }
    /// One stream (JS-22).
    StreamInfoRequest = "server.JSApiStreamInfoRequest" {
        /// List the sequences that are gone.
        deleted_details: bool,
        /// List the subjects that match.
        subjects_filter: String,
    }
    /// Consumers, or their names (JS-36).
    ConsumersRequest = "server.JSApiConsumersRequest" {}
}

/// Remove messages (JS-24).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiStreamPurgeRequest", default)]
pub struct StreamPurgeRequest {
    /// Those before this sequence; zero: all.
    pub seq: u64,
    /// Those of subjects that match; empty: all.
    pub filter: String,
    /// But leave so many.
    pub keep: u64,
}

/// One message or several (JS-25, section 12).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiMsgGetRequest", default)]
pub struct MessageGetRequest {
    /// That of this sequence.
    pub seq: u64,
    /// The last of a subject.
    pub last_by_subj: String,
    /// The next of a subject, from `seq` on.
    pub next_by_subj: String,
    /// At most so many; direct gets only.
    pub batch: i64,
    /// At most so many bytes; direct gets only.
    pub max_bytes: i64,
    /// The first of this time or later.
    pub start_time: Option<Timestamp>,
    /// The last of each subject that matches; direct gets only.
    pub multi_last: Vec<String>,
    /// As of this sequence.
    pub up_to_seq: u64,
    /// As of this time.
    pub up_to_time: Option<Timestamp>,
    /// Without headers.
    pub no_hdr: bool,
}

/// Remove a message (JS-26).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiMsgDeleteRequest", default)]
pub struct MessageDeleteRequest {
    /// Which.
    pub seq: u64,
    /// Do not overwrite it.
    pub no_erase: bool,
}

/// Copy a stream (JS-27).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiStreamSnapshotRequest", default)]
pub struct SnapshotRequest {
    /// Where the pieces go.
    pub deliver_subject: String,
    /// Leave the consumers out.
    pub no_consumers: bool,
    /// Bytes of a piece.
    pub chunk_size: i64,
    /// Bytes under way.
    pub window_size: i64,
    /// Look at each message's checksum first.
    pub jsck: bool,
}

/// Make a stream of a copy (JS-28).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiStreamRestoreRequest", default)]
pub struct RestoreRequest {
    /// As it was.
    pub config: StreamConfig,
    /// As it was.
    pub state: StreamState,
}

/// Take a server out of a stream's group (JS-30).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiStreamRemovePeerRequest", default)]
pub struct PeerRequest {
    /// Its name or id.
    pub peer: String,
}

/// Let another lead (JS-29, JS-40).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiLeaderStepdownRequest", default)]
pub struct StepDownRequest {
    /// Whom.
    pub placement: Option<Placement>,
}

/// Pause a consumer (JS-41).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiConsumerPauseRequest", default)]
pub struct PauseRequest {
    /// Until when; zero, or in the past: go on.
    pub pause_until: Timestamp,
}

/// Let another client be pinned (JS-42).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiConsumerUnpinRequest", default)]
pub struct UnpinRequest {
    /// Of which group.
    pub group: String,
}

/// Let a consumer begin anew (JS-43).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.JSApiConsumerResetRequest", default)]
pub struct ResetRequest {
    /// With which sequence; zero: behind what is acknowledged.
    pub seq: u64,
}

/// Messages, please (JS-39, section 16).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename = "server.", default)]
pub struct NextRequest {
    /// How long to wait; zero: for ever.
    pub expires: Span,
    /// How many.
    pub batch: i64,
    /// How many bytes; zero: no limit.
    pub max_bytes: i64,
    /// Do not wait.
    pub no_wait: bool,
    /// Say so every now and then while there are none.
    pub idle_heartbeat: Span,
    /// For which group (JS-189).
    pub group: String,
    /// Only if so many are pending.
    pub min_pending: i64,
    /// Only if so many are in flight.
    pub min_ack_pending: i64,
    /// Which pinned client asks.
    pub id: String,
    /// Lower ones are served first.
    pub priority: i64,
}

impl NextRequest {
    /// Reads a pull request: nothing, a number, or JSON; anything else asks for one message. JSON
    /// that cannot be read is an error.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = body.trim_ascii();
        if body.first() == Some(&b'{') {
            return decode(body, false);
        }
        let batch = std::str::from_utf8(body)
            .ok()
            .and_then(|text| text.parse().ok());
        Ok(Self {
            batch: batch.unwrap_or(1),
            ..Self::default()
        })
    }
}
