//! The scenarios by name, with their knobs and what the table calls them.

use clap::Subcommand;
use serde::Serialize;

use crate::dial::Wire;
use crate::error::BenchError;
use crate::flow::{By, Flow, Then, name};
use crate::handshakes::Handshakes;
use crate::idle::Idle;
use crate::isolation;
use crate::leaf::Leaf;
use crate::measure::{Observed, Run};
use crate::reqrep::{Inbox, RequestReply, STAMP_SIZE};
use crate::setup::Setup;
use crate::slow::Slow;
use crate::storm::Storm;
use crate::streams::Streams;
use crate::tls;
use crate::wire::publish_block;

/// Largest payload the generator's buffer takes; the server's default `max_payload` is 1 MiB.
const SIZE_MAX: usize = 100 * 1024;

/// What is measured.
#[derive(Debug, Clone, Subcommand, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Publish only: nobody listens
    Pub {
        /// Publishers, each with its subject
        #[arg(long, default_value_t = 1, value_parser = at_least_one)]
        publishers: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 16, value_parser = payload_size)]
        size: usize,
    },
    /// One publisher, one subscriber
    Pubsub {
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// N publishers, each with its subject and subscriber
    Pairs {
        /// Pairs
        #[arg(long, default_value_t = 4, value_parser = at_least_one)]
        pairs: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// N publishers, one subscriber
    Fanin {
        /// Publishers
        #[arg(long, default_value_t = 10, value_parser = at_least_one)]
        publishers: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// One publisher, M subscribers; counts deliveries
    Fanout {
        /// Subscribers
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        subscribers: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// Request-reply with K outstanding; a round trip counts two messages
    Reqrep {
        /// Requests in flight per pair
        #[arg(long, default_value_t = 10, value_parser = at_least_one)]
        outstanding: usize,
        /// Requester and responder pairs
        #[arg(long, default_value_t = 1, value_parser = at_least_one)]
        pairs: usize,
        /// Payload bytes, 8 at least
        #[arg(long, default_value_t = 128, value_parser = stamped_payload_size)]
        size: usize,
        /// Reply subjects
        #[arg(long, value_enum, default_value_t = Inbox::Unique)]
        inbox: Inbox,
        /// Let requester and responder sleep while they wait, as most clients do
        #[arg(long)]
        asleep: bool,
    },
    /// Request-reply at a fixed rate; latency counts from the time a request was meant to leave
    Open {
        /// Requests a second per pair
        #[arg(long, default_value_t = 10_000, value_parser = rate)]
        rate: u32,
        /// Requester and responder pairs
        #[arg(long, default_value_t = 1, value_parser = at_least_one)]
        pairs: usize,
        /// Payload bytes, 8 at least
        #[arg(long, default_value_t = 128, value_parser = stamped_payload_size)]
        size: usize,
    },
    /// One publisher, one subscriber, then the same beside subscriptions that come and go
    Churn {
        /// Subscriptions made a second, and as many ended
        #[arg(long, default_value_t = 10_000, value_parser = rate)]
        rate: u32,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// One publisher on one subject, then round-robin over many
    Many {
        /// Subjects
        #[arg(long, default_value_t = 1_000_000, value_parser = many)]
        subjects: usize,
        /// Subscribers to all of them; 0 only publishes
        #[arg(long, default_value_t = 0)]
        subscribers: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 16, value_parser = payload_size)]
        size: usize,
    },
    /// Many subscribers, then one more that does not read; latency of the others
    Slow {
        /// Subscribers that read
        #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
        subscribers: usize,
        /// Messages a second to each
        #[arg(long, default_value_t = 50, value_parser = rate)]
        rate: u32,
        /// Payload bytes, 8 at least
        #[arg(long, default_value_t = 128, value_parser = stamped_payload_size)]
        size: usize,
    },
    /// Connections that do nothing; memory of each, CPU of all
    Idle {
        /// Connections
        #[arg(long, default_value_t = 5000, value_parser = at_least_one)]
        connections: usize,
    },
    /// One publisher, one subscriber in clear, then over TLS 1.3
    Tls {
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// Connections made one after the other over TLS 1.3, up to the first PONG
    TlsHandshakes {
        /// Each client resumes its session
        #[arg(long)]
        resumed: bool,
        /// Clients at a time
        #[arg(long, default_value_t = 8, value_parser = at_least_one)]
        clients: usize,
    },
    /// One publisher, one subscriber, both over WebSocket
    Websocket {
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
        /// Messages in one of the publisher's frames; 0 for 64 KiB of them
        #[arg(long, default_value_t = 1)]
        per_frame: usize,
    },
    /// One publisher, one subscriber of an account beside many others, then without their clients
    Accounts {
        /// Other accounts
        #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
        accounts: usize,
        /// Connections of each, which listen to the same subject
        #[arg(long, default_value_t = 10, value_parser = at_least_one)]
        connections: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// One publisher, one subscriber without permissions, then with many
    Permissions {
        /// Patterns of each user, half of them allow and half deny, for either direction
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        patterns: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// One publisher, one subscriber in an account, then through a stream import into another
    CrossAccount {
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// With streams
    #[command(flatten)]
    Streams(Streams),
    /// Over a leaf link
    #[command(flatten)]
    Leaf(Leaf),
    /// Request-reply at a fixed rate over TLS while many TLS clients are dropped and come back
    ReconnectStorm {
        /// Clients that come back
        #[arg(long, default_value_t = 2000, value_parser = at_least_one)]
        clients: usize,
        /// Requests a second of the one that stays
        #[arg(long, default_value_t = 2000, value_parser = rate)]
        rate: u32,
    },
}

impl Scenario {
    /// Title in the table.
    pub fn title(&self) -> String {
        match self {
            Self::Pub { publishers, size } => format!("publish only {publishers} x {size} B"),
            Self::Pubsub { size } => format!("1:1 {size} B"),
            Self::Pairs { pairs, size } => format!("{pairs} pairs {size} B"),
            Self::Fanin { publishers, size } => format!("fan-in {publishers}:1 {size} B"),
            Self::Fanout { subscribers, size } => format!("fan-out 1:{subscribers} {size} B"),
            Self::Reqrep {
                outstanding,
                pairs,
                size,
                inbox,
                asleep,
            } => format!(
                "request-reply {outstanding} outstanding{} {size} B{}{}",
                times(*pairs),
                match inbox {
                    Inbox::Fixed => ", fixed inbox",
                    Inbox::Unique => "",
                },
                if *asleep { ", sleeping clients" } else { "" },
            ),
            Self::Open { rate, pairs, size } => {
                format!("request-reply {rate}/s{} {size} B", times(*pairs))
            }
            Self::Churn { rate, size } => format!("1:1 {size} B beside {rate} sub+unsub/s"),
            Self::Many {
                subjects,
                subscribers,
                size,
            } => match subscribers {
                0 => format!("publish only {size} B, {subjects} subjects"),
                _ => format!("1:{subscribers} {size} B, {subjects} subjects"),
            },
            Self::Slow {
                subscribers,
                rate,
                size,
            } => format!("fan-out 1:{subscribers} {rate}/s {size} B, one stalled"),
            Self::Idle { connections } => format!("{connections} idle connections"),
            Self::Tls { size } => format!("TLS 1:1 {size} B"),
            Self::TlsHandshakes { resumed, clients } => format!(
                "TLS handshakes, {}, {clients} clients",
                if *resumed { "resumed" } else { "full" }
            ),
            Self::Websocket { size, per_frame } => match per_frame {
                0 => format!("WebSocket 1:1 {size} B, 64 KiB a frame"),
                _ => format!("WebSocket 1:1 {size} B, {per_frame} a frame"),
            },
            Self::Accounts {
                accounts,
                connections,
                size,
            } => format!("1:1 {size} B beside {accounts} accounts x {connections} connections"),
            Self::Permissions { patterns, size } => {
                format!("1:1 {size} B, {patterns} permissions each")
            }
            Self::CrossAccount { size } => format!("1:1 {size} B across accounts"),
            Self::Streams(streams) => streams.title(),
            Self::Leaf(leaf) => leaf.title(),
            Self::ReconnectStorm { clients, rate } => {
                format!("{clients} TLS clients come back beside request-reply {rate}/s")
            }
        }
    }

    /// Does the generator set the rate?
    pub fn is_paced(&self) -> bool {
        matches!(
            self,
            Self::Open { .. }
                | Self::Slow { .. }
                | Self::Idle { .. }
                | Self::ReconnectStorm { .. }
                | Self::Leaf(Leaf::Slow { .. } | Leaf::Idle { .. })
        )
    }

    /// What its server must be set up with.
    pub fn setup(&self) -> Setup {
        let secured = |resumes, plain_too| Setup {
            wire: Wire::Tls(tls::config(resumes)),
            plain_too,
            ..Setup::default()
        };
        match *self {
            Self::Tls { .. } => secured(false, true),
            Self::TlsHandshakes { resumed, .. } => secured(resumed, false),
            Self::ReconnectStorm { .. } => secured(false, false),
            Self::Websocket { size, per_frame } => {
                let (block, count) = publish_block(&name(0), size);
                let messages = if per_frame == 0 {
                    count as usize
                } else {
                    per_frame
                };
                Setup {
                    wire: Wire::WebSocket {
                        frame: block.len() / count as usize * messages,
                    },
                    ..Setup::default()
                }
            }
            Self::Accounts { accounts, .. } => Setup::of(isolation::many_accounts(accounts)),
            Self::Permissions { patterns, .. } => Setup::of(isolation::permissions(patterns)),
            Self::CrossAccount { .. } => Setup::of(isolation::import()),
            Self::Streams(ref streams) => streams.setup(),
            Self::Leaf(ref leaf) => leaf.setup(),
            _ => Setup::default(),
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Any of [`BenchError`]; received is not sent among them.
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        let flow = |publishers: Vec<usize>, subscribers: Vec<usize>, size, then| {
            Flow {
                publishers,
                subscribers,
                size,
                then,
                by: By::default(),
            }
            .run(run)
        };
        let distinct = |count| (0..count).collect::<Vec<_>>();
        let plain = Then::Nothing;
        let request_reply = |pairs, size, outstanding, inbox, asleep, rate: Option<u32>| {
            RequestReply {
                outstanding,
                pairs,
                size,
                inbox,
                asleep,
                rate: rate.map(f64::from),
            }
            .run(run)
            .map(|(observed, _)| observed)
        };
        match *self {
            Self::Pub { publishers, size } => flow(distinct(publishers), vec![], size, plain),
            Self::Pubsub { size } => flow(vec![0], vec![0], size, plain),
            Self::Pairs { pairs, size } => flow(distinct(pairs), distinct(pairs), size, plain),
            Self::Fanin { publishers, size } => flow(vec![0; publishers], vec![0], size, plain),
            Self::Fanout { subscribers, size } => flow(vec![0], vec![0; subscribers], size, plain),
            Self::Churn { rate, size } => flow(vec![0], vec![0], size, Then::Churn(rate)),
            Self::Many {
                subjects,
                subscribers,
                size,
            } => flow(vec![0], vec![0; subscribers], size, Then::Spread(subjects)),
            Self::Reqrep {
                outstanding,
                pairs,
                size,
                inbox,
                asleep,
            } => request_reply(pairs, size, outstanding, inbox, asleep, None),
            Self::Open { rate, pairs, size } => {
                request_reply(pairs, size, 0, Inbox::Unique, true, Some(rate))
            }
            Self::Slow {
                subscribers,
                rate,
                size,
            } => Slow {
                subscribers,
                rate,
                size,
            }
            .run(run),
            Self::Idle { connections } => Idle { connections }.run(run),
            Self::Tls { size } => isolation::tls(size, run),
            Self::TlsHandshakes { resumed, clients } => Handshakes { resumed, clients }.run(run),
            Self::Websocket { size, .. } => flow(vec![0], vec![0], size, plain),
            Self::Accounts {
                accounts,
                connections,
                size,
            } => isolation::beside(accounts, connections, size, run),
            Self::Permissions { size, .. } => isolation::with_permissions(size, run),
            Self::CrossAccount { size } => isolation::across(size, run),
            Self::ReconnectStorm { clients, rate } => Storm { clients, rate }.run(run),
            Self::Streams(ref streams) => streams.run(run),
            Self::Leaf(ref leaf) => leaf.run(run),
        }
    }
}

fn times(pairs: usize) -> String {
    match pairs {
        1 => String::new(),
        _ => format!(" x {pairs}"),
    }
}

/// Parses a count.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    bounded(text, 1, 100_000)
}

/// Parses a payload size that has room for a time of sending.
pub fn stamped_payload_size(text: &str) -> Result<usize, String> {
    bounded(text, STAMP_SIZE, SIZE_MAX)
}

/// Parses a payload size.
pub fn payload_size(text: &str) -> Result<usize, String> {
    bounded(text, 0, SIZE_MAX)
}

fn many(text: &str) -> Result<usize, String> {
    bounded(text, 1, 10_000_000)
}

/// Parses a number a second.
pub fn rate(text: &str) -> Result<u32, String> {
    bounded(text, 1, 10_000_000).map(|rate| rate as u32)
}

fn bounded(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let number: usize = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number"))?;
    if number < min || number > max {
        return Err(format!("{number} is not in {min}..={max}"));
    }
    Ok(number)
}
