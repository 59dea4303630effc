//! Messages that a publisher sends as one: all or nothing (section 7), or as many as there is room
//! for (section 8).

mod atomic;
mod check;
mod fast;
mod inflight;

pub use atomic::{Abandoned, Reason, Staging};
pub(super) use atomic::{AtomicBatches, remove_torn};
pub(super) use fast::FastBatches;
pub use fast::{FastMessage, FastReply, Ingested, SUFFIX};
pub use inflight::{BatchLimits, InFlight};
