//! Operator mode: the tokens of accounts, where they are kept, and who asks for them.

mod account_server;
mod claims;
mod directory;
mod fetches;
mod lookups;
mod outcome;
mod search;
mod updates;
mod vouched;
mod waiting;

pub(super) use claims::ClaimsService;
pub use directory::StoreError;
pub(super) use fetches::Fetches;
pub(super) use updates::Updates;
pub use vouched::OperatorError;
pub(super) use vouched::{Logins, Source, Vouched, view};
pub(super) use waiting::Waiting;
