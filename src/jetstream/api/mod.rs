//! What `$JS.API.>` speaks: subjects, requests, answers, errors, and JSON as clients write it.

pub mod decode;
pub mod encode;
pub mod errors;
pub mod levels;
pub mod request;
pub mod response;
#[cfg(test)]
mod response_tests;
pub mod subjects;
mod syntax;
pub mod timestamp;
pub mod values;
