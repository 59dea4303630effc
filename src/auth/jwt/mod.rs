//! Trust without a list of users: an operator vouches for accounts, accounts for users, each by a
//! signed token (AUTH-50..59). Decoding, checking and what follows from it; nothing here fetches or
//! stores tokens, and time is an argument.

pub mod account;
pub mod activation;
pub mod operator;
pub mod scope;
pub mod setup;
mod shape;
pub mod token;
pub mod trust;
pub mod user;
pub mod window;
