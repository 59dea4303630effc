//! Leaf nodes: links to other servers over which accounts' interest and messages pass (TOPO-8..57).

mod accept;
mod compression;
mod deliver;
mod input;
mod interest;
mod publish;
mod reload;
pub mod settings;
mod solicit;
mod standing;
mod tracing;

pub use crate::connection::leaf::{LinkNews, Solicited};
pub use accept::LinkIdentity;
pub(super) use deliver::LinkChoices;
pub(super) use tracing::{HOP, Hops, LEAF};
