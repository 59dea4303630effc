//! Events of consumers (section 18).

use bytes::Bytes;
use serde::Serialize;

use super::settings::Names;
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::timestamp::Timestamp;
use crate::time::WallTime;

/// Something that happened, for those who listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advisory {
    /// The consumer was made (JS-233). Whoever makes it says so.
    Created,
    /// It is gone.
    Deleted,
    /// A message was sent as often as it may be (JS-234).
    MaxDeliveries {
        /// Its sequence.
        stream_seq: u64,
        /// How often.
        deliveries: u64,
    },
    /// A client gave a message back (JS-235).
    Naked(Message),
    /// A message will not be sent again (JS-235).
    Terminated {
        /// Which.
        message: Message,
        /// Why; may be empty.
        reason: Bytes,
    },
    /// A sampled acknowledgement (JS-243).
    Acked {
        /// Of which.
        message: Message,
        /// Nanoseconds since it was sent.
        ack_time: i64,
    },
    /// Deliveries stop, or go on (JS-236).
    Pause {
        /// They stop.
        paused: bool,
        /// Until then, if it ever was paused.
        until: Option<WallTime>,
    },
    /// A client got the pin of a group (JS-237).
    Pinned {
        /// The group.
        group: String,
        /// The pin.
        id: Bytes,
    },
    /// A client lost it.
    Unpinned {
        /// The group.
        group: String,
        /// `admin` or `timeout`.
        reason: &'static str,
    },
}

/// Which delivery an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The delivery's sequence.
    pub consumer_seq: u64,
    /// The message's.
    pub stream_seq: u64,
    /// How often it had been sent.
    pub deliveries: u64,
}

/// The fields of all events, in the order stock writes them. What is absent in one is left out.
#[derive(Serialize, Default)]
struct Json<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    account: &'a str,
    stream: &'a str,
    consumer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_until: Option<Timestamp>,
    /// Why a message was given up.
    #[serde(skip_serializing_if = "str::is_empty", rename = "reason")]
    given_up: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Json<'a> {
    fn message(self, message: &Message) -> Self {
        Self {
            consumer_seq: Some(message.consumer_seq),
            stream_seq: Some(message.stream_seq),
            deliveries: Some(message.deliveries),
            ..self
        }
    }
}

impl Advisory {
    /// The end of its type, and its place under `$JS.EVENT`.
    const fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Created => ("advisory.v1.consumer_action", "ADVISORY.CONSUMER.CREATED"),
            Self::Deleted => ("advisory.v1.consumer_action", "ADVISORY.CONSUMER.DELETED"),
            Self::MaxDeliveries { .. } => (
                "advisory.v1.max_deliver",
                "ADVISORY.CONSUMER.MAX_DELIVERIES",
            ),
            Self::Naked(_) => ("advisory.v1.nak", "ADVISORY.CONSUMER.MSG_NAKED"),
            Self::Terminated { .. } => {
                ("advisory.v1.terminated", "ADVISORY.CONSUMER.MSG_TERMINATED")
            }
            Self::Acked { .. } => ("metric.v1.consumer_ack", "METRIC.CONSUMER.ACK"),
            Self::Pause { .. } => ("advisory.v1.consumer_pause", "ADVISORY.CONSUMER.PAUSE"),
            Self::Pinned { .. } => (
                "advisory.v1.consumer_group_pinned",
                "ADVISORY.CONSUMER.PINNED",
            ),
            Self::Unpinned { .. } => (
                "advisory.v1.consumer_group_unpinned",
                "ADVISORY.CONSUMER.UNPINNED",
            ),
        }
    }

    /// The subject it is published on.
    pub fn subject(&self, names: &Names) -> String {
        format!(
            "$JS.EVENT.{}.{}.{}",
            self.kind().1,
            names.stream,
            names.consumer
        )
    }

    /// Its JSON, with an id and the time it happened (JS-231).
    pub fn json(&self, names: &Names, id: &str, now: WallTime) -> Vec<u8> {
        let kind = format!("io.nats.jetstream.{}", self.kind().0);
        let base = Json {
            r#type: &kind,
            id,
            timestamp: now.into(),
            stream: &names.stream,
            consumer: &names.consumer,
            domain: &names.domain,
            ..Json::default()
        };
        let reason_text;
        let json = match self {
            Self::Created => Json {
                action: "create",
                ..base
            },
            Self::Deleted => Json {
                action: "delete",
                ..base
            },
            Self::MaxDeliveries {
                stream_seq,
                deliveries,
            } => Json {
                stream_seq: Some(*stream_seq),
                deliveries: Some(*deliveries),
                ..base
            },
            Self::Naked(message) => base.message(message),
            Self::Terminated { message, reason } => {
                reason_text = String::from_utf8_lossy(reason);
                Json {
                    given_up: &reason_text,
                    ..base.message(message)
                }
            }
            Self::Acked { message, ack_time } => Json {
                ack_time: Some(*ack_time),
                ..base.message(message)
            },
            Self::Pause { paused, until } => Json {
                paused: Some(*paused),
                pause_until: Some(until.map_or(Timestamp::ZERO, Timestamp::from)),
                ..base
            },
            Self::Pinned { group, id } => Json {
                account: &names.account,
                group: Some(group),
                pinned_id: Some(str::from_utf8(id).unwrap_or_default()),
                ..base
            },
            Self::Unpinned { group, reason } => Json {
                account: &names.account,
                group: Some(group),
                reason: Some(reason),
                ..base
            },
        };
        to_json(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_233_to_243_events_as_stock_writes_them() {
        let names = Names {
            account: "A".into(),
            stream: "S".into(),
            consumer: "c".into(),
            ..Names::default()
        };
        let message = Message {
            consumer_seq: 2,
            stream_seq: 7,
            deliveries: 1,
        };
        let front = |kind: &str| {
            format!(
                r#"{{"type":"io.nats.jetstream.{kind}","id":"ID","timestamp":"1970-01-01T00:00:01.5Z","#
            )
        };
        let check = |advisory: Advisory, kind: &str, subject: &str, rest: &str| {
            assert_eq!(advisory.subject(&names), format!("$JS.EVENT.{subject}.S.c"));
            let json = advisory.json(&names, "ID", WallTime(1_500_000_000));
            assert_eq!(String::from_utf8_lossy(&json), front(kind) + rest);
        };
        check(
            Advisory::Created,
            "advisory.v1.consumer_action",
            "ADVISORY.CONSUMER.CREATED",
            r#""stream":"S","consumer":"c","action":"create"}"#,
        );
        let numbers = r#""stream":"S","consumer":"c","consumer_seq":2,"stream_seq":7,"#;
        check(
            Advisory::MaxDeliveries {
                stream_seq: 7,
                deliveries: 3,
            },
            "advisory.v1.max_deliver",
            "ADVISORY.CONSUMER.MAX_DELIVERIES",
            r#""stream":"S","consumer":"c","stream_seq":7,"deliveries":3}"#,
        );
        check(
            Advisory::Naked(message),
            "advisory.v1.nak",
            "ADVISORY.CONSUMER.MSG_NAKED",
            &format!("{numbers}\"deliveries\":1}}"),
        );
        check(
            Advisory::Terminated {
                message,
                reason: Bytes::from_static(b"a<b"),
            },
            "advisory.v1.terminated",
            "ADVISORY.CONSUMER.MSG_TERMINATED",
            &format!("{numbers}\"deliveries\":1,\"reason\":\"a\\u003cb\"}}"),
        );
        check(
            Advisory::Acked {
                message,
                ack_time: 55,
            },
            "metric.v1.consumer_ack",
            "METRIC.CONSUMER.ACK",
            &format!("{numbers}\"ack_time\":55,\"deliveries\":1}}"),
        );
        check(
            Advisory::Pause {
                paused: false,
                until: None,
            },
            "advisory.v1.consumer_pause",
            "ADVISORY.CONSUMER.PAUSE",
            r#""stream":"S","consumer":"c","paused":false,"pause_until":"0001-01-01T00:00:00Z"}"#,
        );
        check(
            Advisory::Pinned {
                group: "g".into(),
                id: Bytes::from_static(b"P"),
            },
            "advisory.v1.consumer_group_pinned",
            "ADVISORY.CONSUMER.PINNED",
            r#""account":"A","stream":"S","consumer":"c","group":"g","pinned_id":"P"}"#,
        );
        check(
            Advisory::Unpinned {
                group: "g".into(),
                reason: "timeout",
            },
            "advisory.v1.consumer_group_unpinned",
            "ADVISORY.CONSUMER.UNPINNED",
            r#""account":"A","stream":"S","consumer":"c","group":"g","reason":"timeout"}"#,
        );
    }
}
