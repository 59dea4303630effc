//! Were the certificates of peers revoked? Their authorities are asked (CORE-89).

mod advisory;
mod cache;
mod checks;
mod judge;

pub(super) use checks::{PeerChecks, PeerJudges};
