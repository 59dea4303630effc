//! The server's log: lines as stock writes them, to standard error, a file or syslog
//! (CFG-97..103).
//!
//! Code that logs uses the `log` crate: `error!`, `warn!`, `info!`, `debug!` and `trace!` become
//! `[ERR] [WRN] [INF] [DBG] [TRC]`, and `error!(target: FATAL, ..)` becomes `[FTL]` and returns
//! once it is written. All other lines go through a bounded queue to one writer thread, so that
//! a slow disk or terminal never holds up a shard.

mod error;
mod file;
mod install;
mod line;
mod queue;
mod rate_limit;
mod syslog;
mod writer;

pub use error::LogError;
pub use install::{LogHandle, NewLog, start};
pub use line::FATAL;
pub use rate_limit::{RateLimiter, rate_limited};
