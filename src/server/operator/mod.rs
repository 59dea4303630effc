//! Operator mode: the tokens of accounts, where they are kept, and who asks for them.

mod account_server;
mod claims;
mod directory;
mod fetches;
mod lookups;
mod outcome;
mod resolver;
mod search;
mod updates;
mod vouched;
mod waiting;

pub use directory::StoreError;
pub(super) use resolver::{NewResolver, Resolver};
pub use vouched::OperatorError;
pub(super) use vouched::{Logins, Source, Vouched, view};
