//! Operator mode: the tokens of accounts, where they are kept, and who asks for them.

mod claims;
mod directory;
mod vouched;

pub(super) use claims::ClaimsService;
pub(super) use directory::Directory;
pub use directory::StoreError;
pub use vouched::OperatorError;
pub(super) use vouched::{Logins, Vouched, view};
