//! The scenarios with streams, by name.

use clap::Subcommand;
use serde::Serialize;

use crate::error::BenchError;
use crate::measure::{Observed, Run};
use crate::scenario::{at_least_one, payload_size};
use crate::setup::{Flush, Setup};
use crate::stream::{Storage, StreamPublish};
use crate::stream_read::StreamRead;

/// What is measured of streams.
#[derive(Debug, Clone, Subcommand, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Streams {
    /// Publishes into a stream; counts acknowledgements
    StreamPublish {
        /// Publishers
        #[arg(long, default_value_t = 1, value_parser = at_least_one)]
        publishers: usize,
        /// Publishes without an acknowledgement, of each
        #[arg(long, default_value_t = 512, value_parser = at_least_one)]
        outstanding: usize,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
        /// Where the messages go
        #[arg(long, value_enum, default_value_t = Storage::File)]
        storage: Storage,
        /// When they are written through to the disk
        #[arg(long, value_enum, default_value_t = Flush::Default)]
        flush: Flush,
    },
    /// Reads a stream from its first message to its last through a consumer that pulls
    StreamRead {
        /// Messages in the stream
        #[arg(long, default_value_t = 500_000)]
        messages: u64,
        /// Payload bytes
        #[arg(long, default_value_t = 128, value_parser = payload_size)]
        size: usize,
        /// Messages a pull request asks for
        #[arg(long, default_value_t = 500)]
        batch: u64,
        /// Acknowledge each message
        #[arg(long)]
        acknowledged: bool,
        /// Where the messages are
        #[arg(long, value_enum, default_value_t = Storage::File)]
        storage: Storage,
    },
}

impl Streams {
    /// Title in the table.
    pub fn title(&self) -> String {
        match self {
            Self::StreamPublish {
                publishers,
                outstanding,
                size,
                storage,
                flush,
            } => format!(
                "stream publish {publishers} x {outstanding} outstanding {size} B{}{}",
                storage.words(),
                match flush {
                    Flush::Default => "",
                    Flush::Always => ", sync always",
                    Flush::Lazy => ", sync lazily",
                },
            ),
            Self::StreamRead {
                messages,
                size,
                batch,
                acknowledged,
                storage,
            } => format!(
                "stream read {messages} x {size} B by {batch}{}{}",
                if *acknowledged { ", acknowledged" } else { "" },
                storage.words(),
            ),
        }
    }

    /// What its server must be set up with.
    pub fn setup(&self) -> Setup {
        let flush = match *self {
            Self::StreamPublish { flush, .. } => flush,
            Self::StreamRead { .. } => Flush::Default,
        };
        Setup {
            streams: Some(flush),
            ..Setup::default()
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Any of [`BenchError`].
    pub fn run(&self, run: &Run<'_>) -> Result<Observed, BenchError> {
        match *self {
            Self::StreamPublish {
                publishers,
                outstanding,
                size,
                storage,
                flush: _,
            } => StreamPublish {
                publishers,
                outstanding,
                size,
                storage,
            }
            .run(run),
            Self::StreamRead {
                messages,
                size,
                batch,
                acknowledged,
                storage,
            } => StreamRead {
                messages,
                size,
                batch,
                acknowledged,
                storage,
            }
            .run(run),
        }
    }
}
