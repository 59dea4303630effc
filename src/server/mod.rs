//! Starting, steering and ending a whole server.

mod figures;
mod handle;
mod identity;
mod lame_duck;
pub mod run;
mod shards;
mod start;
mod transports;

pub use handle::ServerHandle;
pub use identity::{COMMIT, COMPATIBLE_VERSION, OWN_VERSION};
pub use start::{Builder, Server, StartError};
