//! The scenarios by name, with their knobs and what the table calls them.

use clap::Subcommand;

use crate::error::BenchError;
use crate::flow::Flow;
use crate::measure::{Observed, Window};
use crate::reqrep::{Inbox, RequestReply, STAMP_SIZE};
use crate::server::Server;

/// Largest payload, of the server's default `max_payload` (1 MiB) what the generator's buffer takes.
const SIZE_MAX: usize = 60 * 1024;

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
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
    },
}

/// What to run.
#[derive(Debug, Clone, Subcommand)]
pub enum Choice {
    #[command(flatten)]
    One(Scenario),
    /// All of the above with their defaults; request-reply with 1, 10 and 100 outstanding
    All,
}

impl Choice {
    /// The scenarios it stands for.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let reqrep = |outstanding| Scenario::Reqrep {
            outstanding,
            pairs: 1,
            size: 128,
            inbox: Inbox::Unique,
        };
        match self {
            Self::One(scenario) => vec![scenario.clone()],
            Self::All => vec![
                Scenario::Pub {
                    publishers: 1,
                    size: 16,
                },
                Scenario::Pub {
                    publishers: 4,
                    size: 1024,
                },
                Scenario::Pubsub { size: 128 },
                Scenario::Pairs {
                    pairs: 4,
                    size: 128,
                },
                Scenario::Fanin {
                    publishers: 10,
                    size: 128,
                },
                Scenario::Fanout {
                    subscribers: 100,
                    size: 128,
                },
                reqrep(1),
                reqrep(10),
                reqrep(100),
            ],
        }
    }
}

impl Scenario {
    /// Title in the table.
    pub fn title(&self) -> String {
        match self {
            Self::Pub { publishers, size } => format!("pub {publishers} x {size} B"),
            Self::Pubsub { size } => format!("pubsub 1:1 {size} B"),
            Self::Pairs { pairs, size } => format!("pairs {pairs}:{pairs} {size} B"),
            Self::Fanin { publishers, size } => format!("fanin {publishers}:1 {size} B"),
            Self::Fanout { subscribers, size } => {
                format!("fanout 1:{subscribers} {size} B, deliveries")
            }
            Self::Reqrep {
                outstanding,
                pairs,
                size,
                inbox,
            } => {
                let inbox = if *inbox == Inbox::Fixed {
                    ", fixed inbox"
                } else {
                    ""
                };
                format!("reqrep {outstanding} outstanding x {pairs}, {size} B{inbox}")
            }
        }
    }

    /// Runs it once against `server`.
    ///
    /// # Errors
    /// Any of [`BenchError`]; received is not sent among them.
    pub fn run(&self, server: &Server, window: Window) -> Result<Observed, BenchError> {
        let flow = |publishers: Vec<usize>, subscribers: Vec<usize>, size| {
            Flow {
                publishers,
                subscribers,
                size,
            }
            .run(server, window)
        };
        let distinct = |count| (0..count).collect::<Vec<_>>();
        match *self {
            Self::Pub { publishers, size } => flow(distinct(publishers), vec![], size),
            Self::Pubsub { size } => flow(vec![0], vec![0], size),
            Self::Pairs { pairs, size } => flow(distinct(pairs), distinct(pairs), size),
            Self::Fanin { publishers, size } => flow(vec![0; publishers], vec![0], size),
            Self::Fanout { subscribers, size } => flow(vec![0], vec![0; subscribers], size),
            Self::Reqrep {
                outstanding,
                pairs,
                size,
                inbox,
            } => RequestReply {
                outstanding,
                pairs,
                size,
                inbox,
            }
            .run(server, window),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    bounded(text, 1, 100_000)
}

fn payload_size(text: &str) -> Result<usize, String> {
    bounded(text, 0, SIZE_MAX)
}

fn stamped_payload_size(text: &str) -> Result<usize, String> {
    bounded(text, STAMP_SIZE, SIZE_MAX)
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
