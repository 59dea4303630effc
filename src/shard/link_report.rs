//! Links to other servers as monitoring shows them (TOPO-57).

use super::report::ConnectionReport;

/// Which links to report and how much of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkQuery {
    /// Only those in this account.
    pub account: Option<Box<str>>,
    /// With the list of what the other side wants.
    pub subscriptions: bool,
}

/// One link that is open.
#[derive(Debug, Clone)]
pub struct LinkReport {
    /// The connection it is.
    pub connection: ConnectionReport,
    /// Name of the server over there.
    pub server: Box<str>,
    /// We are its leaf node.
    pub spoke: bool,
    /// It is not told of other leaf nodes' interest.
    pub isolated: bool,
    /// How it is compressed.
    pub compression: Box<str>,
    /// How often it was made again, where we make it.
    pub reconnects: Option<u64>,
}
