//! The scenarios of leaf links, by name: a hub and its leaf, both of the same make, or a hub whose
//! leaves the generator plays.

use clap::Subcommand;
use serde::Serialize;

use crate::dial::Wire;
use crate::error::BenchError;
use crate::flow::{By, Flow};
use crate::idle::Idle;
use crate::leaf_announce::Announce;
use crate::leaf_stream::CatchUp;
use crate::measure::{Observed, Run};
use crate::reqrep::{Inbox, RequestReply};
use crate::scenario::{at_least_one, payload_size, rate, stamped_payload_size};
use crate::setup::{Flush, Setup};
use crate::slow::Slow;

/// What is measured of leaf links.
#[derive(Debug, Clone, Subcommand, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// One publisher at a leaf, one subscriber at its hub
    #[command(name = "leaf-pubsub")]
    Pubsub {
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
        /// The other way round
        #[arg(long)]
        downwards: bool,
    },
    /// Request-reply with K outstanding, the requester at a leaf, the responder at its hub
    #[command(name = "leaf-reqrep")]
    Reqrep {
        /// Requests in flight
        #[arg(long, default_value_t = 10, value_parser = at_least_one)]
        outstanding: usize,
        /// Payload bytes, 8 at least
        #[arg(long, default_value_t = 128, value_parser = stamped_payload_size)]
        size: usize,
    },
    /// Leaf links that do nothing; memory of each, CPU of all
    #[command(name = "leaf-idle")]
    Idle {
        /// Links
        #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
        links: usize,
    },
    /// Leaf links made one after the other; counts subscriptions told to each
    #[command(name = "leaf-announce")]
    Announce {
        /// Subscriptions told
        #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
        subscriptions: usize,
        /// The leaf tells the hub
        #[arg(long)]
        inwards: bool,
    },
    /// A stream of a leaf sources all that one of its hub has
    #[command(name = "leaf-catch-up")]
    CatchUp {
        /// Messages the hub's stream has
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
    },
    /// Many leaves, then one more that does not read; latency of the others
    #[command(name = "leaf-slow")]
    Slow {
        /// Leaves that read
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        links: usize,
        /// Messages a second to each
        #[arg(long, default_value_t = 50, value_parser = rate)]
        rate: u32,
        /// Payload bytes, 8 at least
        #[arg(long, default_value_t = 128, value_parser = stamped_payload_size)]
        size: usize,
    },
}

impl Leaf {
    /// Title in the table.
    pub fn title(&self) -> String {
        match self {
            Self::Pubsub { size, downwards } => match downwards {
                false => format!("leaf to hub, 1:1 {size} B"),
                true => format!("hub to leaf, 1:1 {size} B"),
            },
            Self::Reqrep { outstanding, size } => {
                format!("leaf to hub, request-reply {outstanding} outstanding {size} B")
            }
            Self::Idle { links } => format!("{links} idle leaf links"),
            Self::Announce {
                subscriptions,
                inwards,
            } => format!(
                "leaf link begins, {subscriptions} subscriptions told {}",
                if *inwards {
                    "by the leaf"
                } else {
                    "by the hub"
                }
            ),
            Self::CatchUp { messages, size } => {
                format!("leaf sources a backlog of {messages} x {size} B")
            }
            Self::Slow { links, rate, size } => {
                format!("fan-out to {links} leaves {rate}/s {size} B, one stalled")
            }
        }
    }

    /// What its servers must be set up with.
    pub fn setup(&self) -> Setup {
        let pair = Setup {
            hub: true,
            ..Setup::default()
        };
        match self {
            Self::Pubsub { .. } | Self::Reqrep { .. } => pair,
            Self::CatchUp { .. } => Setup {
                streams: Some(Flush::Default),
                ..pair
            },
            Self::Idle { .. } | Self::Announce { .. } | Self::Slow { .. } => Setup {
                wire: Wire::Leaf,
                ..Setup::default()
            },
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Any of [`BenchError`].
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        match *self {
            Self::Pubsub { size, downwards } => Flow {
                publishers: vec![0],
                subscribers: vec![0],
                size,
                by: By {
                    downwards,
                    ..By::default()
                },
                ..Flow::default()
            }
            .run(run),
            Self::Reqrep { outstanding, size } => RequestReply {
                outstanding,
                pairs: 1,
                size,
                inbox: Inbox::Unique,
                asleep: false,
                rate: None,
            }
            .run(run)
            .map(|(observed, _)| observed),
            Self::Idle { links } => Idle { connections: links }.run(run),
            Self::Announce {
                subscriptions,
                inwards,
            } => Announce {
                subscriptions,
                inwards,
            }
            .run(run),
            Self::CatchUp { messages, size } => CatchUp { messages, size }.run(run),
            Self::Slow { links, rate, size } => Slow {
                subscribers: links,
                rate,
                size,
            }
            .run(run),
        }
    }
}
