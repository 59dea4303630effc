//! One stream's messages, in memory or in a log on disk, behind one type.
//!
//! It owns the records, their index and the log's format. It does not know what a stream's limits
//! or consumers are: whoever owns the stream removes what is too much and keeps small records here.

mod buffer;
mod core;
mod entries;
mod error;
mod expiry;
mod filelog;
mod filter;
mod index;
mod memory;
mod message;
mod operation;
mod postings;
mod states;
mod subjects;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod filelog_tests;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod simulated_disk;
#[cfg(test)]
mod store_tests;

pub use self::core::Store;
pub use buffer::{Buffer, PAGE};
pub use error::StoreError;
pub use filelog::{Cipher, Encryption, FlushPolicy, Gap, Policy, Report, Settings};
pub use filter::Filter;
pub use message::{
    Append, Expired, Fetch, Lifetime, Purge, StorageKind, StoreState, StoredMessage, SubjectState,
};
pub use operation::{
    Directory, DiskError, DiskOperation, DiskResult, Ended, FileName, OperationId,
};
