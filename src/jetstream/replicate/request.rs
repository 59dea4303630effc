//! The request that makes an origin's consumer, and its answer (JS-146..149).

use serde::{Deserialize, Serialize};

use super::name::{OriginName, hash};
use super::replication::Names;
use crate::jetstream::api::timestamp::Timestamp;
use crate::jetstream::api::values::Span;
use crate::jetstream::consumer::config::{AckPolicy, ConsumerConfig, DeliverPolicy};
use crate::jetstream::stream::config::{StreamConfig, StreamSource};

/// How often the consumer says that it is there.
const HEARTBEAT: Span = Span::seconds(1);
/// How long it lives without us.
const INACTIVE: Span = Span::seconds(10);
const ACK_WAIT: Span = Span::seconds(22 * 3600);

/// What an origin's server is asked to understand: less where it says that it does not (JS-147).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// It tells streams of one name apart.
    Identities,
    /// It knows what a sourcing consumer is.
    Sourcing,
    /// Neither.
    Plain,
}

impl Level {
    /// What to ask if it does not understand this.
    pub fn below(self) -> Option<Self> {
        match self {
            Self::Identities => Some(Self::Sourcing),
            Self::Sourcing => Some(Self::Plain),
            Self::Plain => None,
        }
    }

    /// Appends the header block of a request.
    pub fn header(self, identity: &str) -> Vec<u8> {
        match self {
            Self::Identities => format!(
                "NATS/1.0\r\nNats-Required-Api-Level: 5\r\nNats-Stream-Identity: {identity}\r\n\r\n"
            ),
            Self::Sourcing => "NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n".to_owned(),
            Self::Plain => String::new(),
        }
        .into_bytes()
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    First,
    Sequence(u64),
    Time(Timestamp),
}

/// The front of an origin's consumers' names: the same after each start, so that a work queue knows
/// who has taken what.
pub(super) fn stable_name(
    source: &StreamSource,
    config: &StreamConfig,
    names: &Names,
    is_mirror: bool,
) -> String {
    let mut id = format!("{} {}", names.stream, names.account);
    if !names.domain.is_empty() {
        id = format!("{id} {}", names.domain);
    }
    let id = hash(&id);
    if is_mirror {
        return format!("JS_MIRROR_{id}");
    }
    // Of several origins of one name, each has its own.
    let same = config.sources.iter().filter(|it| it.name == source.name);
    let id = match same.count() {
        0 | 1 => id,
        _ => format!("{id} {}", OriginName::of(source)),
    };
    format!("JS_SRC_{}", hash(&id))
}

/// The request's configuration.
pub(super) fn consumer(
    source: &StreamSource,
    names: &Names,
    is_mirror: bool,
    name: String,
    deliver_subject: &str,
    begin: Begin,
    level: Level,
) -> ConsumerConfig {
    let kind = if is_mirror { "mirror" } else { "src" };
    let mut metadata = std::collections::BTreeMap::new();
    let mut note = |what: &str, value: &str| {
        if !value.is_empty() {
            metadata.insert(format!("_nats.{kind}.{what}"), value.to_owned());
        }
    };
    note("stream", &names.stream);
    note("acc", &names.account);
    note("domain", &names.domain);
    let mut filters: Vec<String> = source
        .subject_transforms
        .iter()
        .map(|it| it.src.clone())
        .collect();
    let mut filter_subject = source.filter_subject.clone();
    if filter_subject.is_empty() && filters.len() == 1 {
        filter_subject = filters.remove(0);
    }
    let (deliver_policy, opt_start_seq, opt_start_time) = match begin {
        Begin::First => (DeliverPolicy::All, 0, None),
        Begin::Sequence(seq) => (DeliverPolicy::ByStartSequence, seq, None),
        Begin::Time(time) => (DeliverPolicy::ByStartTime, 0, Some(time)),
    };
    ConsumerConfig {
        name,
        deliver_subject: deliver_subject.to_owned(),
        deliver_policy,
        opt_start_seq,
        opt_start_time,
        ack_policy: AckPolicy::None,
        ack_wait: ACK_WAIT,
        max_deliver: 1,
        idle_heartbeat: HEARTBEAT,
        flow_control: true,
        direct: true,
        sourcing: level != Level::Plain,
        inactive_threshold: INACTIVE,
        filter_subject,
        filter_subjects: filters,
        metadata,
        ..ConsumerConfig::default()
    }
}

/// The body of a request to make it.
pub(super) fn body(stream: &str, config: &ConsumerConfig) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        stream_name: &'a str,
        config: &'a ConsumerConfig,
        action: &'a str,
    }
    let body = Body {
        stream_name: stream,
        config,
        action: "",
    };
    crate::jetstream::api::encode::to_json(&body)
}

/// Where to ask for something that stands below the API.
pub(super) fn api_subject(source: &StreamSource, below: &str) -> String {
    let prefix = source.external.as_ref().map(|it| it.api.as_str());
    let prefix = prefix.filter(|it| !it.is_empty()).unwrap_or("$JS.API");
    format!("{prefix}.{below}").replace("..", ".")
}

/// Where such a consumer delivers to.
pub(super) fn deliver_subject(source: &StreamSource, is_mirror: bool, token: &str) -> String {
    let letter = if is_mirror { "M" } else { "S" };
    let prefix = source.external.as_ref().map(|it| it.deliver.as_str());
    match prefix.filter(|it| !it.is_empty()) {
        Some(prefix) => format!("{prefix}.{letter}.{token}").replace("..", "."),
        None => format!("$JS.{letter}.{token}"),
    }
}

/// An answer, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub error: Option<AnswerError>,
    pub name: String,
    pub config: Option<AnswerConfig>,
    pub delivered: AnswerSequences,
    pub num_pending: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerError {
    pub code: u16,
    pub err_code: u16,
    pub description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerConfig {
    pub deliver_subject: String,
    pub ack_policy: AckPolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerSequences {
    pub stream_seq: u64,
}
