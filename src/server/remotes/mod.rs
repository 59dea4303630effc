//! Servers that this one connects to as a leaf node: a thread each, which connects again for as
//! long as the server runs.

mod identity;
mod place;
mod proxy;
mod remote;
mod route;
mod running;

pub(super) use running::Remotes;
