//! Accounts that use the JetStream of a domain as if it were their own (JS-259).

use crate::options::{DestinationOptions, MappingOptions};

/// Subjects of JetStream, each with its name below the API of a domain.
const SUBJECTS: [(&str, &str); 9] = [
    ("$JS.API.INFO", "INFO"),
    ("$JS.API.STREAM.>", "STREAM.>"),
    ("$JS.API.CONSUMER.>", "CONSUMER.>"),
    ("$JS.API.DIRECT.>", "DIRECT.>"),
    ("$JS.API.META.>", "META.>"),
    ("$JS.API.SERVER.>", "SERVER.>"),
    ("$JS.API.ACCOUNT.>", "ACCOUNT.>"),
    ("$KV.>", "$KV.>"),
    ("$OBJ.>", "$OBJ.>"),
];

/// What leads to a domain.
pub(super) fn mappings(domain: &str) -> impl Iterator<Item = MappingOptions> {
    SUBJECTS.iter().map(move |(source, name)| MappingOptions {
        source: (*source).to_owned(),
        destinations: vec![DestinationOptions {
            subject: format!("$JS.{domain}.API.{name}"),
            weight: 100,
            cluster: None,
        }],
    })
}
