//! What a consumer was asked to be, in the form the state machine uses.

use std::time::Duration;

use bytes::Bytes;

use super::config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
use crate::jetstream::api::values::Span;
use crate::jetstream::store::Filter;
use crate::time::WallTime;

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Where a consumer begins (JS-174).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beginning {
    /// At the stream's first message.
    #[default]
    First,
    /// At the last message the filters match.
    Last,
    /// After the last message there is.
    New,
    /// At this sequence, or the first message after it.
    Sequence(u64),
    /// At the first message of this time or later.
    Time(WallTime),
    /// With the last message of each subject the filters match, then everything new.
    LastPerSubject,
}

/// Who among several pulling clients is served (JS-189).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// All in turn.
    #[default]
    None,
    /// Some only while much is waiting (JS-220).
    Overflow,
    /// One, until it is silent for this long (JS-221).
    Pinned(Duration),
    /// The lowest number first (JS-222).
    Prioritized,
}

/// A push consumer's way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Subject the messages are sent to.
    pub subject: Bytes,
    /// Flow control is on (JS-227).
    pub flow_control: bool,
    /// How often the consumer shows that it lives when it is silent (JS-226).
    pub heartbeat: Option<Duration>,
    /// Bounds what is sent (JS-228).
    pub rate: Option<Rate>,
}

/// A bucket of tokens, one a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second: an eighth of `rate_limit_bps`.
    pub bytes_per_second: u64,
    /// Tokens of the full bucket: the largest message there can be.
    pub burst: u64,
}

/// Bounds of a pull consumer's requests; 0 is no bound (JS-184).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullLimits {
    /// Requests waiting at once.
    pub waiting: usize,
    /// Messages a request may ask for.
    pub batch: i64,
    /// Nanoseconds a request may wait.
    pub expires: i64,
    /// Bytes a request may ask for.
    pub bytes: i64,
}

/// Everything the state machine is told about a consumer; defaults are already filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to begin.
    pub beginning: Beginning,
    /// What must be acknowledged.
    pub ack_policy: AckPolicy,
    /// How long to wait for an acknowledgement before the message is sent again.
    pub ack_wait: Duration,
    /// Instead of `ack_wait`, by how often the message was sent; the last one goes on. Its first
    /// is `ack_wait`, too.
    pub backoff: Vec<Duration>,
    /// Times a message is sent at most; 0 is without end.
    pub max_deliver: u64,
    /// Messages out at most; 0 is no bound.
    pub max_ack_pending: usize,
    /// Which subjects.
    pub filter: Filter,
    /// The patterns `filter` was made of, as configured.
    pub patterns: Vec<Box<[u8]>>,
    /// Messages keep the distance in time they were published with (JS-206).
    pub replay_original: bool,
    /// Bodies are left out (JS-205).
    pub headers_only: bool,
    /// Percent of acknowledgements that are reported (JS-207).
    pub sample_percent: u32,
    /// The consumer ends when nobody has used it for this long; none: never.
    pub inactive_threshold: Option<Duration>,
    /// Nothing is delivered before (JS-208).
    pub pause_until: Option<WallTime>,
    /// Who is served.
    pub priority: Priority,
    /// Groups a request may name (JS-223).
    pub priority_groups: Vec<Box<[u8]>>,
    /// Bounds of pull requests.
    pub pull: PullLimits,
    /// Where messages are pushed to; none for a pull consumer.
    pub push: Option<Push>,
    /// The stream holds one message a subject, so its last is its only one.
    pub one_per_subject: bool,
    /// The stream removes what is acknowledged (work queue, interest): say what is.
    pub retention_by_acks: bool,
    /// The state is not kept on disk.
    pub memory: bool,
}

impl Default for Settings {
    /// A pull consumer of everything with explicit acknowledgements and stock's defaults.
    fn default() -> Self {
        Self {
            beginning: Beginning::First,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            backoff: Vec::new(),
            max_deliver: 0,
            max_ack_pending: 1000,
            filter: Filter::All,
            patterns: Vec::new(),
            replay_original: false,
            headers_only: false,
            sample_percent: 0,
            inactive_threshold: None,
            pause_until: None,
            priority: Priority::None,
            priority_groups: Vec::new(),
            pull: PullLimits {
                waiting: 512,
                ..PullLimits::default()
            },
            push: None,
            one_per_subject: false,
            retention_by_acks: false,
            memory: false,
        }
    }
}

/// What a consumer's settings also depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The stream's `max_msgs_per_subject` is 1.
    pub one_per_subject: bool,
    /// The stream's retention is by work queue or interest.
    pub retention_by_acks: bool,
    /// The stream or the consumer is kept in memory.
    pub memory: bool,
    /// The largest message: the stream's `max_msg_size`, or the account's or server's payload.
    pub message_max: u64,
}

impl Settings {
    /// What a checked configuration with its defaults filled in means.
    pub fn new(config: &ConsumerConfig, surroundings: Surroundings) -> Self {
        let count = |number: i64| usize::try_from(number).unwrap_or(0);
        let patterns: Vec<Box<[u8]>> = config.filters().map(|it| it.as_bytes().into()).collect();
        let beginning = match config.deliver_policy {
            DeliverPolicy::All => Beginning::First,
            DeliverPolicy::Last => Beginning::Last,
            DeliverPolicy::New => Beginning::New,
            DeliverPolicy::ByStartSequence => Beginning::Sequence(config.opt_start_seq),
            DeliverPolicy::ByStartTime => {
                Beginning::Time(config.opt_start_time.unwrap_or_default().wall())
            }
            DeliverPolicy::LastPerSubject => Beginning::LastPerSubject,
        };
        let push = config.is_push().then(|| Push {
            subject: config.deliver_subject.clone().into(),
            flow_control: config.flow_control,
            heartbeat: (config.idle_heartbeat.0 > 0).then(|| config.idle_heartbeat.duration()),
            rate: (config.rate_limit_bps > 0).then_some(Rate {
                bytes_per_second: config.rate_limit_bps / 8,
                burst: surroundings.message_max,
            }),
        });
        let pause = config.pause_until.filter(|it| !it.is_zero());
        Self {
            beginning,
            ack_policy: config.ack_policy,
            ack_wait: match config.ack_wait {
                // Nobody waits where answers to flow control acknowledge (JS-190).
                Span::ZERO => NEVER,
                wait => wait.duration(),
            },
            backoff: config.backoff.iter().map(|it| it.duration()).collect(),
            max_deliver: u64::try_from(config.max_deliver).unwrap_or(0),
            max_ack_pending: match config.ack_policy {
                AckPolicy::None => 0,
                _ => count(config.max_ack_pending),
            },
            filter: Filter::new(&patterns),
            patterns,
            replay_original: config.replay_policy == ReplayPolicy::Original,
            headers_only: config.headers_only,
            sample_percent: {
                let percent = config.sample_freq.trim_end_matches('%');
                percent.parse().unwrap_or(0)
            },
            inactive_threshold: (config.inactive_threshold.0 > 0)
                .then(|| config.inactive_threshold.duration()),
            pause_until: pause.map(|it| it.wall()),
            priority: match config.priority_policy {
                PriorityPolicy::None => Priority::None,
                PriorityPolicy::Overflow => Priority::Overflow,
                PriorityPolicy::PinnedClient => {
                    Priority::Pinned(config.priority_timeout.duration())
                }
                PriorityPolicy::Prioritized => Priority::Prioritized,
            },
            priority_groups: {
                let groups = config.priority_groups.iter();
                groups.map(|it| it.as_bytes().into()).collect()
            },
            pull: PullLimits {
                waiting: count(config.max_waiting),
                batch: config.max_batch,
                expires: config.max_expires.0,
                bytes: config.max_bytes,
            },
            push,
            one_per_subject: surroundings.one_per_subject,
            retention_by_acks: surroundings.retention_by_acks,
            memory: surroundings.memory,
        }
    }

    /// Waits for an acknowledgement by how often a message was sent; not empty.
    pub(super) fn waits(&self) -> Vec<i64> {
        let nanos = |it: &Duration| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX);
        if self.backoff.is_empty() {
            vec![nanos(&self.ack_wait)]
        } else {
            self.backoff.iter().map(nanos).collect()
        }
    }

    /// Is more than one message acknowledged at once?
    pub(super) fn acks_all(&self) -> bool {
        matches!(self.ack_policy, AckPolicy::All | AckPolicy::FlowControl)
    }
}

/// What a consumer and its surroundings are called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The account.
    pub account: String,
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// The JetStream domain, or empty.
    pub domain: String,
    /// First 8 characters of the account's hash: acknowledgements and flow control use subjects of
    /// version 2 (JS-195). `None` is version 1.
    pub account_hash: Option<String>,
}
