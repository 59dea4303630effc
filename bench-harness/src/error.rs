//! What can end a run early; each text says which side is to blame.

use std::io;
use std::path::PathBuf;

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A system call of the harness failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The executable did not accept connections in time, or ended at once.
    #[error("{path}: {reason}\n{log}")]
    Start {
        /// The executable.
        path: PathBuf,
        /// What was seen instead.
        reason: String,
        /// Last lines it logged.
        log: String,
    },
    /// The server closed a connection of the generator.
    #[error("the server closed the connection of a {role}")]
    Closed {
        /// Publisher, subscriber, requester or responder.
        role: &'static str,
    },
    /// The server sent what the scenario does not expect, an `-ERR` for one.
    #[error("a {role} received {line:?}")]
    Unexpected {
        /// Publisher, subscriber, requester or responder.
        role: &'static str,
        /// The line as received.
        line: String,
    },
    /// Nothing moved for [`crate::wire::STALL_MAX`].
    #[error("a {role} waited {seconds} s without progress: {received} of {expected} received")]
    Stalled {
        /// Publisher, subscriber, requester or responder.
        role: &'static str,
        /// How long it waited.
        seconds: u64,
        /// Messages it has.
        received: u64,
        /// Messages it should have.
        expected: u64,
    },
    /// More messages than were sent.
    #[error("a {role} received {received} messages, {expected} were sent to it")]
    Miscounted {
        /// Subscriber or requester.
        role: &'static str,
        /// Messages it has.
        received: u64,
        /// Messages it should have.
        expected: u64,
    },
    /// A generator thread panicked.
    #[error("a {role} thread panicked")]
    Panicked {
        /// Publisher, subscriber, requester or responder.
        role: &'static str,
    },
    /// The monitoring port did not say what was asked for.
    #[error("monitoring answer to {path}: {reason}")]
    Monitoring {
        /// Path and query.
        path: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A pause longer than allowed.
    #[error("the longest pause, {longest_ms:.1} ms, is above {max_ms:.1} ms")]
    Paused {
        /// The longest between two replies.
        longest_ms: f64,
        /// The most allowed.
        max_ms: f64,
    },
    /// The chart could not be drawn.
    #[error("cannot draw the chart: {0}")]
    Plot(String),
    /// A file of `/proc` was not in its documented form.
    #[error("cannot read {0}")]
    Proc(String),
}

/// Adds what was being done to an [`io::Error`].
pub fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io { what, source }
}
