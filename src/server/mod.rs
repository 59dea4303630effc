//! Starting, steering and ending a whole server.

mod check_store;
mod figures;
mod handle;
mod identity;
mod jetstream;
mod lame_duck;
mod leafnodes;
mod operator;
mod peer_ports;
mod peers;
mod reload;
mod remotes;
mod repair;
pub mod run;
mod shards;
mod stapling;
mod start;
pub mod system;
mod transports;

pub use handle::ServerHandle;
pub use identity::{COMMIT, COMPATIBLE_VERSION, OWN_VERSION};
pub use operator::{OperatorError, StoreError};
pub use reload::{ReloadError, Reloader};
pub use start::{Builder, Server, StartError};
