//! Which endpoint a subject below `$JS.API.` is, and whom it is about (section 2).

/// What all subjects of the API begin with.
pub const PREFIX: &str = "$JS.API.";

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// JS-17.
    AccountInfo,
    /// JS-18.
    StreamCreate,
    /// JS-19.
    StreamUpdate,
    /// JS-20.
    StreamNames,
    /// JS-21.
    StreamList,
    /// JS-22.
    StreamInfo,
    /// JS-23.
    StreamDelete,
    /// JS-24.
    StreamPurge,
    /// JS-25.
    MessageGet,
    /// JS-26.
    MessageDelete,
    /// JS-27.
    StreamSnapshot,
    /// JS-28.
    StreamRestore,
    /// JS-29.
    StreamLeaderStepDown,
    /// JS-30.
    StreamPeerRemove,
    /// JS-31.
    StreamPeerEvacuate,
    /// JS-32.
    StreamCancelMove,
    /// JS-33: with a name, and a filter, or without.
    ConsumerCreate,
    /// JS-34.
    ConsumerDurableCreate,
    /// JS-36.
    ConsumerNames,
    /// JS-36.
    ConsumerList,
    /// JS-37.
    ConsumerInfo,
    /// JS-38.
    ConsumerDelete,
    /// JS-39.
    MessageNext,
    /// JS-40.
    ConsumerLeaderStepDown,
    /// JS-41.
    ConsumerPause,
    /// JS-42.
    ConsumerUnpin,
    /// JS-43.
    ConsumerReset,
    /// JS-44: by a body, or the last of a subject.
    DirectGet,
}

/// What a token of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Is(&'static str),
    Stream,
    Consumer,
    /// One token or more.
    Rest,
}

use Token::{Consumer, Is, Rest, Stream};

impl Endpoint {
    const ALL: [(Self, &'static [Token]); 31] = [
        (
            Self::MessageNext,
            &[Is("CONSUMER"), Is("MSG"), Is("NEXT"), Stream, Consumer],
        ),
        (Self::DirectGet, &[Is("DIRECT"), Is("GET"), Stream, Rest]),
        (Self::DirectGet, &[Is("DIRECT"), Is("GET"), Stream]),
        (Self::AccountInfo, &[Is("INFO")]),
        (Self::StreamCreate, &[Is("STREAM"), Is("CREATE"), Stream]),
        (Self::StreamUpdate, &[Is("STREAM"), Is("UPDATE"), Stream]),
        (Self::StreamNames, &[Is("STREAM"), Is("NAMES")]),
        (Self::StreamList, &[Is("STREAM"), Is("LIST")]),
        (Self::StreamInfo, &[Is("STREAM"), Is("INFO"), Stream]),
        (Self::StreamDelete, &[Is("STREAM"), Is("DELETE"), Stream]),
        (Self::StreamPurge, &[Is("STREAM"), Is("PURGE"), Stream]),
        (
            Self::MessageGet,
            &[Is("STREAM"), Is("MSG"), Is("GET"), Stream],
        ),
        (
            Self::MessageDelete,
            &[Is("STREAM"), Is("MSG"), Is("DELETE"), Stream],
        ),
        (
            Self::StreamSnapshot,
            &[Is("STREAM"), Is("SNAPSHOT"), Stream],
        ),
        (Self::StreamRestore, &[Is("STREAM"), Is("RESTORE"), Stream]),
        (
            Self::StreamLeaderStepDown,
            &[Is("STREAM"), Is("LEADER"), Is("STEPDOWN"), Stream],
        ),
        (
            Self::StreamPeerRemove,
            &[Is("STREAM"), Is("PEER"), Is("REMOVE"), Stream],
        ),
        (
            Self::StreamPeerEvacuate,
            &[Is("STREAM"), Is("PEER"), Is("EVACUATE"), Stream],
        ),
        (
            Self::StreamCancelMove,
            &[Is("STREAM"), Is("CANCEL_MOVE"), Stream],
        ),
        (
            Self::ConsumerCreate,
            &[Is("CONSUMER"), Is("CREATE"), Stream],
        ),
        (
            Self::ConsumerCreate,
            &[Is("CONSUMER"), Is("CREATE"), Stream, Consumer],
        ),
        (
            Self::ConsumerCreate,
            &[Is("CONSUMER"), Is("CREATE"), Stream, Consumer, Rest],
        ),
        (
            Self::ConsumerDurableCreate,
            &[
                Is("CONSUMER"),
                Is("DURABLE"),
                Is("CREATE"),
                Stream,
                Consumer,
            ],
        ),
        (Self::ConsumerNames, &[Is("CONSUMER"), Is("NAMES"), Stream]),
        (Self::ConsumerList, &[Is("CONSUMER"), Is("LIST"), Stream]),
        (
            Self::ConsumerInfo,
            &[Is("CONSUMER"), Is("INFO"), Stream, Consumer],
        ),
        (
            Self::ConsumerDelete,
            &[Is("CONSUMER"), Is("DELETE"), Stream, Consumer],
        ),
        (
            Self::ConsumerPause,
            &[Is("CONSUMER"), Is("PAUSE"), Stream, Consumer],
        ),
        (
            Self::ConsumerUnpin,
            &[Is("CONSUMER"), Is("UNPIN"), Stream, Consumer],
        ),
        (
            Self::ConsumerReset,
            &[Is("CONSUMER"), Is("RESET"), Stream, Consumer],
        ),
        (
            Self::ConsumerLeaderStepDown,
            &[
                Is("CONSUMER"),
                Is("LEADER"),
                Is("STEPDOWN"),
                Stream,
                Consumer,
            ],
        ),
    ];

    /// The `type` of its answers, error or not (JS-51); none where answers are messages.
    pub const fn response_type(self) -> &'static str {
        match self {
            Self::AccountInfo => "io.nats.jetstream.api.v1.account_info_response",
            Self::StreamCreate => "io.nats.jetstream.api.v1.stream_create_response",
            Self::StreamUpdate => "io.nats.jetstream.api.v1.stream_update_response",
            Self::StreamCancelMove => "io.nats.jetstream.api.v1.stream_cancel_move_response",
            Self::StreamNames => "io.nats.jetstream.api.v1.stream_names_response",
            Self::StreamList => "io.nats.jetstream.api.v1.stream_list_response",
            Self::StreamInfo => "io.nats.jetstream.api.v1.stream_info_response",
            Self::StreamDelete => "io.nats.jetstream.api.v1.stream_delete_response",
            Self::StreamPurge => "io.nats.jetstream.api.v1.stream_purge_response",
            Self::MessageGet => "io.nats.jetstream.api.v1.stream_msg_get_response",
            Self::MessageDelete => "io.nats.jetstream.api.v1.stream_msg_delete_response",
            Self::StreamSnapshot => "io.nats.jetstream.api.v1.stream_snapshot_response",
            Self::StreamRestore => "io.nats.jetstream.api.v1.stream_restore_response",
            Self::StreamLeaderStepDown => {
                "io.nats.jetstream.api.v1.stream_leader_stepdown_response"
            }
            Self::StreamPeerRemove => "io.nats.jetstream.api.v1.stream_remove_peer_response",
            Self::StreamPeerEvacuate => "io.nats.jetstream.api.v1.stream_evacuate_peer_response",
            Self::ConsumerCreate | Self::ConsumerDurableCreate => {
                "io.nats.jetstream.api.v1.consumer_create_response"
            }
            Self::ConsumerNames => "io.nats.jetstream.api.v1.consumer_names_response",
            Self::ConsumerList => "io.nats.jetstream.api.v1.consumer_list_response",
            Self::ConsumerInfo => "io.nats.jetstream.api.v1.consumer_info_response",
            Self::ConsumerDelete => "io.nats.jetstream.api.v1.consumer_delete_response",
            Self::ConsumerLeaderStepDown => {
                "io.nats.jetstream.api.v1.consumer_leader_stepdown_response"
            }
            Self::ConsumerPause => "io.nats.jetstream.api.v1.consumer_pause_response",
            Self::ConsumerUnpin => "io.nats.jetstream.api.v1.consumer_unpin_response",
            Self::ConsumerReset => "io.nats.jetstream.api.v1.consumer_reset_response",
            Self::MessageNext | Self::DirectGet => "",
        }
    }

    /// Does it only ask, so that it waits in the queue for those? (JS-9)
    pub const fn is_info(self) -> bool {
        matches!(
            self,
            Self::AccountInfo
                | Self::StreamNames
                | Self::StreamList
                | Self::StreamInfo
                | Self::ConsumerNames
                | Self::ConsumerList
                | Self::ConsumerInfo
        )
    }
}

/// A subject of the API, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiSubject<'a> {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// Which stream it is about; empty if about none.
    pub stream: &'a str,
    /// Which consumer; empty if about none.
    pub consumer: &'a str,
    /// A subject behind them: a consumer's filter, or that of a direct get. Empty if there is none.
    pub rest: &'a str,
}

impl<'a> ApiSubject<'a> {
    /// Takes `subject`, with its prefix, apart; `None` for one that nobody answers (JS-5).
    pub fn parse(subject: &'a [u8]) -> Option<Self> {
        let below = std::str::from_utf8(subject).ok()?.strip_prefix(PREFIX)?;
        Endpoint::ALL
            .into_iter()
            .find_map(|(endpoint, pattern)| Self::matching(endpoint, pattern, below))
    }

    fn matching(endpoint: Endpoint, pattern: &[Token], subject: &'a str) -> Option<Self> {
        let mut found = Self {
            endpoint,
            stream: "",
            consumer: "",
            rest: "",
        };
        let mut left = Some(subject);
        for token in pattern {
            let rest = left?;
            if *token == Rest {
                found.rest = rest;
                left = None;
                continue;
            }
            let (first, after) = match rest.split_once('.') {
                Some((first, after)) => (first, Some(after)),
                None => (rest, None),
            };
            left = after;
            match token {
                Is(word) if *word == first => {}
                Is(_) => return None,
                Stream => found.stream = first,
                Consumer | Rest => found.consumer = first,
            }
        }
        left.is_none().then_some(found)
    }
}

/// What is asked below a domain, `$JS.<domain>.API.`; with `$` in front it is no request to the API.
/// Leaf nodes' interest has these names, too (TOPO-54).
pub const IN_DOMAIN: [&str; 9] = [
    "INFO",
    "STREAM.>",
    "CONSUMER.>",
    "DIRECT.>",
    "META.>",
    "SERVER.>",
    "ACCOUNT.>",
    "$KV.>",
    "$OBJ.>",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(subject: &str) -> Option<(Endpoint, &str, &str, &str)> {
        let subject = format!("{PREFIX}{subject}").leak();
        let found = ApiSubject::parse(subject.as_bytes())?;
        Some((found.endpoint, found.stream, found.consumer, found.rest))
    }

    #[test]
    fn subjects_are_taken_apart() {
        // JS-52: where the stream and the consumer stand.
        let cases = [
            ("INFO", Endpoint::AccountInfo, "", "", ""),
            ("STREAM.CREATE.s", Endpoint::StreamCreate, "s", "", ""),
            ("STREAM.MSG.GET.s", Endpoint::MessageGet, "s", "", ""),
            (
                "STREAM.LEADER.STEPDOWN.s",
                Endpoint::StreamLeaderStepDown,
                "s",
                "",
                "",
            ),
            (
                "STREAM.PEER.REMOVE.s",
                Endpoint::StreamPeerRemove,
                "s",
                "",
                "",
            ),
            ("CONSUMER.CREATE.s", Endpoint::ConsumerCreate, "s", "", ""),
            (
                "CONSUMER.CREATE.s.c",
                Endpoint::ConsumerCreate,
                "s",
                "c",
                "",
            ),
            (
                "CONSUMER.CREATE.s.c.a.*.>",
                Endpoint::ConsumerCreate,
                "s",
                "c",
                "a.*.>",
            ),
            (
                "CONSUMER.DURABLE.CREATE.s.c",
                Endpoint::ConsumerDurableCreate,
                "s",
                "c",
                "",
            ),
            (
                "CONSUMER.LEADER.STEPDOWN.s.c",
                Endpoint::ConsumerLeaderStepDown,
                "s",
                "c",
                "",
            ),
            ("CONSUMER.MSG.NEXT.s.c", Endpoint::MessageNext, "s", "c", ""),
            ("DIRECT.GET.s", Endpoint::DirectGet, "s", "", ""),
            ("DIRECT.GET.s.a.b", Endpoint::DirectGet, "s", "", "a.b"),
        ];
        for (subject, endpoint, stream, consumer, rest) in cases {
            assert_eq!(
                parsed(subject),
                Some((endpoint, stream, consumer, rest)),
                "{subject}"
            );
        }
    }

    #[test]
    fn others_are_nobodys() {
        // JS-5.
        for subject in [
            "FOO",
            "STREAM.TEMPLATE.CREATE.s",
            "STREAM.CREATE",
            "STREAM.CREATE.a.b",
            "CONSUMER.INFO.s",
            "INFO.s",
            "STREAM.NAMES.s",
            "META.LEADER.STEPDOWN",
        ] {
            assert_eq!(parsed(subject), None, "{subject}");
        }
        assert_eq!(ApiSubject::parse(b"$JS.API"), None);
        assert_eq!(ApiSubject::parse(b"$JS.API.STREAM.INFO.\xff"), None);
    }
}
